"""The Deploy pages: who answers, how that came about, a rollout's evidence, what a shadow says, and the commands that change the line."""

from __future__ import annotations

from andon.surface.view.deploy_act import COMMANDS as BY_HAND
from andon.surface.view.deploy_auto import COMMANDS as BY_EVIDENCE
from andon.surface.view.deploy_history import PAGE as HISTORY
from andon.surface.view.deploy_now import PAGE as NOW
from andon.surface.view.deploy_race import PAGE as ROLLOUT
from andon.surface.view.deploy_shadow import PAGE as SHADOW

__all__ = ["COMMANDS", "PAGES"]

COMMANDS = (*BY_HAND, *BY_EVIDENCE)
PAGES = (NOW, ROLLOUT, HISTORY, SHADOW)
