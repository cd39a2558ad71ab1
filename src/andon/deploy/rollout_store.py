"""Automatic rollouts as they are kept: begun, asked something, looked up.

One at a time is on its way. It is kept among the workspace's states, by name (``v2#3``), with its revision: two
controllers, or a person and a controller, cannot both decide on the same state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from andon.deploy.frozen import put, word_of
from andon.deploy.rollout_plan import Pattern, plan_of
from andon.deploy.rollout_record import Evidence, Rollout, Transition, Word, waits_for_a_word
from andon.deploy.standing import bundles_of, first_route
from andon.deploy.transition import Stamp
from andon.errors import Conflict, NotFound, Unavailable, UsageError

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["KIND", "Kept", "Pending", "active", "ask", "drafted", "freeze", "kept", "may_resume", "newest", "start"]

KIND = "rollout"
"""The kind under which rollouts are kept among the workspace's states."""

_TRIES = 20


class Pending(msgspec.Struct, frozen=True):
    """A transition that was decided and is being made: with all it was decided from, so that it can be made again."""

    transition: Transition
    evidence: Evidence
    now_us: int


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rollout as it is stored. ``failed`` says what went wrong when it last acted; ``word`` is a person's."""

    rollout: Rollout
    pending: Pending | None = None
    word: Word | None = None
    failed: str = ""


def kept(workspace: Workspace) -> dict[str, Kept]:
    """Every rollout there ever was, by name, in the order in which they were begun."""
    found = workspace.states.list(KIND, Kept)
    return dict(sorted(found.items(), key=lambda item: _number(item[0])))


def active(workspace: Workspace) -> Kept | None:
    """The newest rollout that has not ended; None where there is none."""
    return next((one for one in reversed(kept(workspace).values()) if not one.rollout.ended), None)


def newest(workspace: Workspace) -> Kept | None:
    """The newest rollout, ended or not."""
    return next(reversed(kept(workspace).values()), None)


def _number(name: str) -> int:
    return int(name.rpartition("#")[2])


def start(
    workspace: Workspace,
    charter: Charter,
    version: str,
    *,
    actor: str,
    reason: str = "",
    pattern: Pattern = "canary",
    steps: Sequence[float] | None = None,
) -> Rollout:
    """Begin the automatic rollout of a release; the controller does the rest. Raises what ``drafted`` does."""
    made = drafted(workspace, charter, version, actor=actor, reason=reason, pattern=pattern, steps=steps)
    workspace.states.put(KIND, made.name, Kept(made), 0)
    evidence = {"what": "begin", "plan": msgspec.to_builtins(made.plan)}
    workspace.journal.append("rollout.asked", made.name, actor, reason, evidence)
    return made


def drafted(
    workspace: Workspace,
    charter: Charter,
    version: str,
    *,
    actor: str,
    reason: str = "",
    pattern: Pattern = "canary",
    steps: Sequence[float] | None = None,
) -> Rollout:
    """The rollout that would begin; nothing is changed.

    One that is on its way is superseded, unless it has taken over, goes back or is frozen. Raises ``Conflict`` then,
    ``UsageError`` where nothing can be judged, ``NotFound`` for an unknown release.
    """
    route = workspace.routes.current()
    if route is None:  # the line has not begun: as it will
        route = first_route(charter, Stamp(actor, reason, 0, 0))
    if route.live is None and not {"assist", "partial", "full"} & set(route.levels.values()):
        raise UsageError(
            f"no version is live and people decide everything (level {', '.join(dict.fromkeys(route.levels.values()))}), so "
            f"{version} would answer nothing; its way is by levels: andon deploy shadow, then andon automate"
        )
    if route.live == version:
        raise UsageError(f"{version} is live already")
    bundles_of(workspace, version)
    all_of = kept(workspace)
    now = next((one.rollout for one in reversed(all_of.values()) if not one.rollout.ended), None)
    if now is None and route.candidate is not None:
        raise Conflict(
            f"{route.candidate} is the candidate, by hand, with a share of {route.share:.4g}; roll it back or switch to it "
            "before an automatic rollout begins"
        )
    if now is not None and now.plan.version == version:
        raise Conflict(f"the rollout {now.name} of {version} is on its way already ({now.state})")
    if now is not None and (now.place in ("blue_green", "bake") or now.state in ("rolling_back", "frozen")):
        raise Conflict(
            f"the rollout {now.name} is not over ({now.state}): {now.sentence}; settle it (andon deploy switch) or roll it back first"
        )
    clock, name = workspace.clock.now(), f"{version}#{max(map(_number, all_of), default=0) + 1}"
    live = route.live or ""
    plan = plan_of(charter, version, live, pattern=pattern, steps=steps, actor=actor, reason=reason)
    said = f"{actor} asked for it"
    return Rollout(name, plan, began_us=clock, since_us=clock, first_epoch=route.epoch, sentence=said)


def ask(workspace: Workspace, what: Literal["freeze", "resume"], *, actor: str, reason: str = "") -> Rollout:
    """Freeze the rollout that is on its way, or let it go on. Raises ``NotFound`` or ``UsageError`` where that is nothing.

    It is done with the controller's next look. A freeze is a route first of all (``andon.deploy.frozen``), so that nothing
    which was decided before can be done any more, whether or not the controller has the database.
    """
    now = active(workspace)
    if now is None:
        raise NotFound("no automatic rollout is on its way; andon deploy hold keeps the share of one by hand")
    rollout = now.rollout
    if what == "freeze" and rollout.state in ("frozen", "rolling_back"):
        raise UsageError(f"the rollout {rollout.name} is {rollout.state.replace('_', ' ')} already: {rollout.sentence}")
    last = word_of(workspace.routes, rollout.first_epoch)
    asked = last is not None and last.what == "freeze"  # the controller may not have seen it yet
    if what == "resume" and not may_resume(rollout) and (not asked or rollout.state == "frozen"):
        raise UsageError(_no_way_on(rollout))
    if workspace.routes.current() is not None and (what == "freeze" or asked):
        put(workspace, what, actor=actor, reason=reason)
    _write(workspace, rollout.name, Word(what, actor, reason))
    workspace.journal.append("rollout.asked", rollout.name, actor, reason, {"what": what})
    return rollout


def freeze(workspace: Workspace, *, actor: str, reason: str = "") -> tuple[str, str]:
    """Freeze the rollout that is on its way, also with the database gone; (its name, or "" where that is not known, a sentence).

    Raises ``NotFound`` or ``UsageError`` where nothing is to be frozen.
    """
    try:
        made = ask(workspace, "freeze", actor=actor, reason=reason)
    except Unavailable as error:
        route = put(workspace, "freeze", actor=actor, reason=reason)
        return "", f"route {route.epoch} freezes whatever rollout is on its way; it is told later: {error.message}"
    return made.name, f"the rollout {made.name} is frozen with the controller's next look"


def _write(workspace: Workspace, name: str, word: Word) -> None:
    """Keep a word for the controller, which may be writing the same state."""
    for _ in range(_TRIES):
        found = workspace.states.get(KIND, name, Kept)
        assert found is not None
        try:
            workspace.states.put(KIND, name, msgspec.structs.replace(found[0], word=word), found[1])
            return
        except Conflict:
            continue
    raise Conflict(f"the rollout {name} changes faster than it can be written; try again")


def may_resume(rollout: Rollout) -> bool:
    """Whether it waits for a person's word to go on."""
    return (rollout.state, rollout.reason) == ("frozen", "person") or waits_for_a_word(rollout)


def _no_way_on(rollout: Rollout) -> str:
    if rollout.state == "frozen":
        return (
            f"the rollout {rollout.name} is frozen and does not go on ({rollout.sentence}); "
            "andon deploy rollback ends it, andon deploy switch ends it the other way"
        )
    return f"the rollout {rollout.name} waits for nobody ({rollout.state}): {rollout.sentence}"
