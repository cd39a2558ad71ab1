"""What a line stands on: the charter's rules as a route has them, the first route, what a version is, where a rollback goes.

Both that act (``andon.deploy.line``) and that only say what an action would do (``andon.deploy.prospect``) read it here,
so that they cannot differ. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from andon.core.record import Level, Route
from andon.core.registry import did_you_mean
from andon.deploy import transition
from andon.deploy.chronicle import route_view
from andon.deploy.crew import alive
from andon.deploy.transition import Stamp
from andon.errors import Corrupt, NotFound, Unavailable, UsageError

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["bundles_of", "deploy_status", "first_route", "predicates_of", "route_before", "rules"]


class _Release(msgspec.Struct):
    """What a route needs of a release record."""

    version: str
    bundle: str


def rules(charter: Charter, slices: Mapping[str, str]) -> dict[str, Any]:
    """The charter's rules as fields of a route that names these slices."""
    partial, review = charter.automation.partial, charter.review
    return {
        "only": None if partial.only is None else tuple(partial.only),
        "blind": partial.blind,
        "audit_share": partial.audit_share,
        "safe_default": charter.safe_default,
        "review_seconds": review.deadline_us / 1e6,
        "slices": {name: charter.slices.get(name, text) for name, text in slices.items()},
    }


def first_route(charter: Charter, stamp: Stamp) -> Route:
    """The route of a line that has none yet, as its charter says; it has epoch 1."""
    level = charter.automation
    levels: dict[str, Level] = {"*": level.level, **level.slices}
    return transition.begin(
        stamp, levels=levels, **rules(charter, {name: charter.slices[name] for name in level.slices})
    )


def bundles_of(workspace: Workspace, version: str) -> dict[str, str]:
    """The bundle of a release; with the database gone, as far as the route plane knows it.

    Raises ``NotFound`` with the closest, or ``Unavailable``.
    """
    try:
        return {version: workspace.records.get("release", version, _Release).bundle}
    except (Unavailable, Corrupt) as error:
        for route in workspace.routes.history():
            if version in route.bundles:
                return {version: route.bundles[version]}
        raise Unavailable(f"{version} cannot be looked up: {error.message}") from error


def route_before(workspace: Workspace, route: Route) -> Route:
    """The route that a rollback from this one restores. Raises ``UsageError`` where there is none."""
    if route.previous < 1:
        raise UsageError(f"route {route.epoch} is the first one that answers; there is nothing to roll back to")
    return workspace.routes.at(route.previous)


def predicates_of(charter: Charter, slice: str) -> dict[str, str] | None:
    """The predicates of the charter's slices in the order they are tried; None for "*". Raises ``NotFound``."""
    if slice == "*":
        return None
    if slice not in charter.slices:
        raise NotFound(f"the charter has no slice {slice!r}; {did_you_mean(slice, charter.slices)}")
    order = dict.fromkeys((*charter.automation.slices, *charter.slices))
    return {name: charter.slices[name] for name in order}


def deploy_status(workspace: Workspace) -> dict[str, Any]:
    """The route, the rollout by hand (or None) and the workers, as plain values (CONTRACT: ``deploy status``)."""
    route = workspace.routes.current()
    workers = [
        {"worker": ack.worker, "epoch": ack.epoch, "loaded": list(ack.loaded), "faults": dict(ack.faults)}
        for ack in alive(workspace.routes.acks())
    ]
    if route is None:
        return {"route": None, "rollout": None, "workers": workers}
    return {"route": route_view(route), "rollout": _rollout(workspace, route), "workers": workers}


def _rollout(workspace: Workspace, route: Route) -> dict[str, Any] | None:
    if route.candidate is None:
        return None
    begun = next((r for r in workspace.routes.history() if r.candidate != route.candidate), None)
    first = route if begun is None else workspace.routes.at(begun.epoch + 1)
    return {
        "candidate": route.candidate,
        "share": route.share,
        "held": route.held,
        "pattern": first.action,
        "mode": "by hand",
        "since_us": first.time_us,
        "actor": first.actor,
        "reason": first.reason,
    }
