"""Every page and command of the board, in one place: what the pages, the API and its document are made from."""

from __future__ import annotations

from importlib import import_module

from andon.surface.page import Command, Page, Raw

__all__ = ["AREAS", "COMMANDS", "PAGES", "RAWS"]

#: The modules of ``andon.surface.view`` that bring pages and commands, in the order of the board's tabs.
AREAS: tuple[str, ...] = (
    "line",
    "scope",
    "data",
    "models",
    "models_release",
    "deploy",
    "deploy_automation",
    "review",
    "watch",
    "watch_metric",
    "watch_alarms",
    "watch_feedback",
    "watch_versions",
    "decision",
    "decision_life",
    "journal",
    "settings",
)


def _gather(name: str) -> tuple[object, ...]:
    modules = [import_module(f"andon.surface.view.{area}") for area in AREAS]
    return tuple(one for module in modules for one in getattr(module, name, ()))


PAGES: tuple[Page, ...] = tuple(one for one in _gather("PAGES") if isinstance(one, Page))
COMMANDS: tuple[Command, ...] = tuple(one for one in _gather("COMMANDS") if isinstance(one, Command))
RAWS: tuple[Raw, ...] = tuple(one for one in _gather("RAWS") if isinstance(one, Raw))
