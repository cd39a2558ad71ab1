"""What a command of the line would do, said before it does it: the route now, the route then, and what to think of.

Everything is worked out from the two routes, so that no command can forget a warning. Nothing is changed on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from andon.core.record import Level, Route
from andon.deploy.automation import LEVELS
from andon.deploy.chronicle import levels_of, sentence
from andon.deploy.prospect import Prospects
from andon.surface.page import Preview
from andon.surface.station import Known, count, minute
from andon.surface.view.deploy_change import changes, percent, who_answers
from andon.surface.view.deploy_pace import decided

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["Wish", "moved", "preview", "shadow_cases"]

Wish = Callable[[Prospects], Route]

_NOBODY = "no gateway worker runs: it is in force as soon as `andon up` starts the line"


def preview(visit: Visit, title: str, wish: Wish) -> Preview:
    """What a wish comes to. Raises what the command itself would raise, in the same words."""
    project = visit.project
    prospects = Prospects(project.workspace, project.charter, actor=visit.viewer.name)
    before, after = prospects.now, wish(prospects)
    known = Known()
    facts = tuple(_facts(visit, prospects, after, known))  # first: what cannot be read for them is warned of
    return Preview(
        title=title,
        now=who_answers(before),
        then=sentence(after),
        warnings=tuple(_warnings(visit, prospects, after, known)),
        danger=_is_danger(before, after),
        facts=facts,
    )


def moved(before: Route, after: Route) -> float:
    """Which share of the cases gets somebody else to decide or to ask.

    >>> one = Route(1, 0, 0, "ann", "switch", "", live="v1", levels={"*": "full"})
    >>> import msgspec
    >>> two = msgspec.structs.replace(one, candidate="v2", share=0.05)
    >>> moved(one, two), moved(two, msgspec.structs.replace(two, stopped="people"))
    (0.05, 1.0)
    """
    old, new = _shares(before), _shares(after)
    return round(sum(max(0.0, share - old.get(who, 0.0)) for who, share in new.items()), 9)


def shadow_cases(visit: Visit, version: str, known: Known) -> int | None:
    """In how many cases a release has predicted in the shadow; None where that cannot be known now."""
    import polars as pl

    from andon.store.snapshot import Snapshot

    def counted() -> int:
        said = Snapshot(visit.project.workspace).table("shadow").filter(pl.col("version") == version)
        return int(said.select(pl.col("id").n_unique()).collect().item())

    return known.ask(counted)


def _shares(route: Route) -> dict[str, float]:
    if route.stopped:
        return {route.stopped: 1.0}
    shares = {route.live or "people": 1.0 - route.share}
    if route.candidate is not None:
        shares[route.candidate] = shares.get(route.candidate, 0.0) + route.share
    return shares


def _is_danger(before: Route, after: Route) -> bool:
    """Whether it is felt by everybody at once, or lets a model decide alone where it did not."""
    if after.action in ("stop", "switch"):
        return True
    return any(level == "full" for _, _, level in _raised(before, after))


def _raised(before: Route, after: Route) -> Iterator[tuple[str, Level, Level]]:
    """(slice, level before, level after) where a model may do more."""
    everything = before.levels.get("*", "human")
    for name, level in levels_of(after):
        old = before.levels.get(name, everything)
        if LEVELS.index(level) > LEVELS.index(old):
            yield name, old, level


# ------------------------------------------------------------------------------------------------------------ facts


def _facts(visit: Visit, prospects: Prospects, after: Route, known: Known) -> Iterator[str]:
    before = prospects.now
    if not prospects.begun:
        yield "the line has no route yet: it begins first, as the charter says"
    yield from changes(before, after)
    share, pace = moved(before, after), decided(visit, known)
    if pace is not None and share:
        part = pace.says if share == 1.0 else f"about {share * pace.per_day:,.0f} of {pace.says}"
        yield f"that is {part}, as of the last {_days(pace.until_us - pace.since_us)}"
    elif pace is not None and before.levels != after.levels:
        yield f"there are {pace.says}, as of the last {_days(pace.until_us - pace.since_us)}"
    if after.action == "rollback":
        target = visit.project.workspace.routes.at(before.previous)
        yield f"it goes back to route {target.epoch} by {target.actor} of {minute(target.time_us)} UTC"
    if not prospects.without("")[1]:
        yield _NOBODY
    if after.action == "switch" and before.live is not None:
        yield f"{before.live} stays loaded: `andon deploy rollback` brings it back at once"


def _days(us: int) -> str:
    hours = us / 3.6e9
    return count(round(hours / 24), "day") if hours >= 36 else count(max(1, round(hours)), "hour")


# --------------------------------------------------------------------------------------------------------- warnings


def _warnings(visit: Visit, prospects: Prospects, after: Route, known: Known) -> Iterator[str]:
    before = prospects.now
    if before.stopped and after.stopped and after.action not in ("stop", "start"):
        yield "the line is stopped: this is felt only when it starts again"
    answering = {one for one in (after.live, after.candidate) if one is not None}
    new = sorted(answering - {before.live, before.candidate})
    for version in new:
        yield from _unloaded(prospects, version)
    if after.action != "rollback":
        fresh = new or ([before.candidate] if after.action in ("switch", "ramp") and before.candidate else [])
        for version in fresh:
            yield from _unproven(visit, version, after, known)
    yield from _people(visit, before, after, known)
    yield from _levels(visit, before, after)
    if known.trouble:
        yield f"the database is gone ({known.trouble}); the route is in force all the same, the journal follows"


def _unloaded(prospects: Prospects, version: str) -> Iterator[str]:
    late, workers = prospects.without(version)
    if late:
        who = "no worker has" if len(late) == workers else f"{', '.join(late)} of {count(workers, 'worker')} have not"
        yield f"{who} {version} loaded yet: that comes first, and where it fails nothing changes"


def _unproven(visit: Visit, version: str, after: Route, known: Known) -> Iterator[str]:
    """Goals that were not met, and too little seen in the shadow."""
    from andon.deploy.release import find_release

    workspace, charter = visit.project.workspace, visit.project.charter
    made = known.ask(lambda: find_release(workspace, version))
    if made is not None and made.verdict != "pass":
        missed = [str(gate["sentence"]) for gate in made.gates if gate.get("verdict") != "pass"]
        yield f"{version} was released against its goals: {'; '.join(missed) or 'no goal could be judged'}"
    if "shadow" not in charter.rollout.path:
        return
    seen = shadow_cases(visit, version, known)
    wanted = round(3 / charter.automation.partial.max_error)
    if seen == 0:
        path = ", ".join(charter.rollout.path)
        yield f"{version} never ran in the shadow; the charter's way of a release is {path}"
    elif seen is not None and seen < wanted:
        yield (
            f"{version} predicted only {count(seen, 'case')} in the shadow: what goes wrong in fewer than "
            f"{percent(round(3 / seen, 3))} of them may not have shown yet"
        )


def _people(visit: Visit, before: Route, after: Route, known: Known) -> Iterator[str]:
    """Whether people can keep up where everything comes to them."""
    rate = visit.project.charter.review.reviewers_per_hour
    comes = (after.stopped == "people" and before.stopped != "people") or (
        not after.stopped and _model_decides(before) and not _model_decides(after)
    )
    pace = decided(visit, known) if comes else None
    if pace is not None and rate is not None and pace.per_day / 24 > rate:
        yield f"about {pace.per_day / 24:,.0f} cases an hour come to people; the charter counts on {rate:,.3g}"


def _model_decides(route: Route) -> bool:
    return not route.stopped and bool({"partial", "full"} & set(route.levels.values()))


def _levels(visit: Visit, before: Route, after: Route) -> Iterator[str]:
    charter = visit.project.charter
    partial, errs = (
        charter.automation.partial,
        "differ from people's" if charter.target.truth == "human" else "are wrong",
    )
    raised = list(_raised(before, after))
    models = [one for one in (after.live, after.candidate if after.share else None) if one is not None]
    for name, _, level in raised:
        where = (
            f"every case of {name}" if name != "*" else "every other case" if len(after.levels) > 1 else "every case"
        )
        if level == "full":
            yield f"{' or '.join(models)} decides {where} alone, however unsure"
        elif level == "partial":
            yield (
                f"a look at the evidence comes first: only a confidence at which at most {percent(partial.max_error)} of "
                f"the answers {errs} is automatic; each look is written down and makes the next one ask for more"
            )
    if after.action == "automate" and not raised and before.levels != after.levels:
        yield "a lowered level is no step that a rollback undoes: raise it again by hand"
