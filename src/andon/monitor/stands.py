"""The line as an automatic rollout sees it: who answers, since whose act, and what a worker says is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from andon.core.record import Route
from andon.deploy.crew import alive
from andon.deploy.rollout_record import Rollout, Standing
from andon.errors import AndonError

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["standing"]


def standing(workspace: Workspace, rollout: Rollout) -> Standing:
    """The line as the rollout sees it."""
    route = workspace.routes.current()
    if route is None:
        return Standing(0, None)
    since = route
    for epoch in range(route.epoch - 1, rollout.first_epoch - 1, -1):
        try:
            before = workspace.routes.at(epoch)
        except AndonError:
            break
        if _answers(before) != _answers(route):
            break
        since = before
    version = rollout.plan.version
    wanted = version in (route.live, route.candidate)
    faults = [fault for ack in alive(workspace.routes.acks()) for key, fault in ack.faults.items() if key == version]
    return Standing(
        epoch=route.epoch,
        live=route.live,
        candidate=route.candidate,
        share=route.share,
        held=route.held,
        shadows=route.shadows,
        stopped=bool(route.stopped),
        asked=any(level != "human" for level in route.levels.values()),
        used=any(level not in ("human", "shadow") for level in route.levels.values()),
        trouble=faults[0] if faults and wanted else "",
        actor=since.actor,
        action=since.action,
        why=since.reason,
    )


def _answers(route: Route) -> tuple[object, ...]:
    return route.live, route.candidate, route.share, route.held, route.shadows
