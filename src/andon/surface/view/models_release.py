"""Releasing a run on the board: the command of ``andon release``, and what it would come to before it is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.core.verdict import Verdict
from andon.errors import Conflict, NotFound
from andon.surface.page import Command, Done, Preview

if TYPE_CHECKING:
    from andon.deploy.release import Gates
    from andon.surface.visit import Visit

__all__ = ["COMMANDS", "ReleaseRun", "Released"]


class ReleaseRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run to give the next version; against a gate only with ``override`` and a reason, which is kept."""

    run: Annotated[str, msgspec.Meta(title="Run", min_length=1, max_length=200, description="Such as r3.")]
    override: Annotated[
        bool, msgspec.Meta(title="Although a goal is not met", description="needs a reason, which the journal keeps")
    ] = False
    reason: Annotated[str, msgspec.Meta(title="Why", max_length=1000)] = ""


class Released(Done, frozen=True, kw_only=True):
    """The new release and what its gates said."""

    version: str
    verdict: str
    overridden: bool


def run_it(visit: Visit, given: ReleaseRun) -> Released:
    """Release it, as ``andon release`` does. Raises ``GateFailed``, ``NotEnoughEvidence``, ``NotFound`` or ``Conflict``."""
    from andon.deploy.release import release

    project = visit.project
    made = release(
        project.workspace,
        project.charter,
        given.run,
        actor=visit.viewer.name,
        reason=given.reason,
        override=given.override,
    )
    later = f"Only live traffic can tell: {', '.join(made.later)}." if made.later else ""
    return Released(
        sentence=f"{given.run} is {made.version}{' (against a gate)' if made.overridden else ''}",
        notes=(later,) if later else (),
        version=made.version,
        verdict=made.verdict,
        overridden=made.overridden,
    )


def ask(visit: Visit, given: ReleaseRun) -> Preview:
    """What releasing it would come to. Raises ``NotFound`` and ``Conflict`` as the command does."""
    from andon.deploy.release import acceptance, releases
    from andon.model.run import find_run, predictions

    project = visit.project
    run = find_run(project.workspace, given.run)
    if run.status != "done":
        raise NotFound(f"run {run.id} {run.status}, so there is nothing to release: {run.error}")
    made = releases(project.workspace)
    for one in made:
        if one.run == run.id:
            raise Conflict(f"run {run.id} is released already, as {one.version}")
    gates = acceptance(project.charter, predictions(project.workspace, run))
    newest = f"{made[-1].version} (of {made[-1].run}) is the newest release" if made else "there is no release yet"
    return Preview(
        title=f"Release {run.id}?",
        now=f"{run.id} is a run that nobody can deploy; {newest}",
        then=f"{run.id} has the next version and can be deployed; who answers does not change",
        warnings=tuple(_warnings(gates)),
        danger=gates.verdict is not Verdict.PASS,
        facts=tuple(result.sentence for result in gates.results if result.verdict is Verdict.PASS),
    )


def _warnings(gates: Gates) -> Iterator[str]:
    if not gates.results:
        yield "the charter has no goal that the held-out data can tell; refused unless you say below why it shall be released all the same"
    for result in gates.results:
        if result.verdict is not Verdict.PASS:
            yield f"{result.sentence}; refused unless you say below why it shall be released all the same"
    if gates.later:
        yield f"only live traffic can tell: {', '.join(gates.later)}"


COMMANDS: tuple[Command, ...] = (
    Command("release", "Release it", ReleaseRun, run_it, "deploy", ask, Released, back="/models"),
)
