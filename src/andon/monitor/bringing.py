"""Has a release loaded by every worker before its rollout gives it anything to answer, and waits for nobody.

A model may take minutes to load, and the controller has other duties. So the release is asked for by a route (``warm``),
and each look sees how far the workers are: the rollout holds (``dependency``), says so, and goes on once all have it. Whoever
is killed in between leaves that route; the next one sees it. A release that a worker cannot load, or has not loaded after
``andon.deploy.loading.LONGEST`` seconds, is unfit, and the workers drop it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from andon.core.record import Route
from andon.deploy.loading import Loading, ask_for, give_up, is_needed, loading
from andon.deploy.rollout_record import CONTROLLER, ENDED, Evidence, Rollout, Transition
from andon.deploy.standing import bundles_of

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["Bringing"]

_BEFORE = ("preflight", "shadow")  # where a version answers nothing yet
_QUICK = 2.0  # seconds that are waited at first: most models are loaded by then, and nothing needs to be told
_STEP = 0.01


class Bringing:
    """How far the workers are with the releases that rollouts are about to give something to answer."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def seen(self, rollout: Rollout, evidence: Evidence) -> Evidence:
        """The evidence with what the workers say of the version: that it is loading, or why it is unfit."""
        found = self._loading(rollout)
        if found is None:
            return evidence
        wall = self._workspace.clock.wall()
        if why := found.given_up(wall):
            return msgspec.structs.replace(evidence, unfit=evidence.unfit or why)
        return msgspec.structs.replace(evidence, loading=found.sentence(wall))

    def first(
        self, rollout: Rollout, made: Transition | None, evidence: Evidence, only: Callable[[Route], None]
    ) -> Evidence | None:
        """Ask for the version where a transition would give it something to answer; then the evidence to decide on again.

        None where nothing has to be loaded first. Raises ``Conflict`` where ``only`` refuses, and ``Unavailable``.
        """
        version, workspace = rollout.plan.version, self._workspace
        if made is None or made.do not in ("canary", "switch") or not is_needed(workspace.routes, version):
            return None
        said = f"{version} is loaded before it gets a unit"
        ask_for(workspace, version, bundles_of(workspace, version), actor=CONTROLLER, reason=said, only=only)
        until = time.monotonic() + _QUICK
        while (found := self._loading(rollout)) is not None and not found.fault and time.monotonic() < until:
            time.sleep(_STEP)
        return None if found is None else self.seen(rollout, evidence)

    def drop(self, rollout: Rollout, made: Transition) -> None:
        """Where a transition ends the way of a version that the workers have not loaded: they need not go on."""
        if made.after in ENDED or made.after == "rolling_back":
            version = rollout.plan.version
            if loading(self._workspace.routes, version, self._workspace.clock.wall()) is not None:
                give_up(self._workspace, version, actor=CONTROLLER, reason=f"{version} did not load")

    def _loading(self, rollout: Rollout) -> Loading | None:
        if rollout.place not in _BEFORE:
            return None
        return loading(self._workspace.routes, rollout.plan.version, self._workspace.clock.wall())
