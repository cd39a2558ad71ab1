"""How a story tells of evidence: doctors as raters, releases that go live or back by themselves, the way back by hand."""

from __future__ import annotations

import time
from collections.abc import Callable

import polars as pl

from andon.core.clock import DAY, HOUR
from andon.demo.making import interval
from andon.demo.stage import Stage
from andon.demo.traffic import Traffic
from andon.deploy.line import Act, Line
from andon.deploy.paired import Comparison
from andon.deploy.rollout_record import Evidence
from andon.deploy.rollout_store import newest, start
from andon.monitor.course import LOOKED
from andon.monitor.explain import foresee
from andon.surface.view.review_people import reviewers_of

__all__ = ["roll_out", "swapped", "tell_doubles", "tell_raters", "way_back"]

#: People come by day, and a rollout is looked at by day: in the afternoon the clock waits until it has been.
_AFTERNOON = 16 * HOUR


def tell_doubles(stage: Stage) -> None:
    """What double review says of the doctors, who are programs; no test result is needed for it."""
    found = reviewers_of(stage.project, stage.now)
    team = found.team
    errors = ", ".join(
        f"{one.reviewer} {interval(one.double.error)}" for one in sorted(found.reviewers, key=lambda one: one.reviewer)
    )
    stage.say("people", f"A second doctor looked at {team.n} of them, blindly: they differ in {team.disagreed}, a third decided {team.adjudicated}. "
              f"So one doctor errs in {interval(team.rater_error)}, without any PCR result.", errors)  # fmt: skip


def tell_raters(stage: Stage, found: Comparison) -> None:
    """What the same second looks say of a model."""
    raters = found.raters
    if raters is None:
        return
    stage.say("people", f"From second looks alone: the doctors err in {interval(raters.people_error)}, {found.version} in {interval(raters.model_error)}.",
              raters.verdict)  # fmt: skip


def swapped(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with yes and no of every symptom swapped. MADE: the cases are real, this fault is not.

    >>> swapped(pl.DataFrame({"cough": [True, False, None], "gender": ["a", "b", "c"]})).rows()
    [(False, 'a'), (True, 'b'), (None, 'c')]
    """
    return rows.with_columns(~pl.col(pl.Boolean))


def roll_out(
    stage: Stage,
    traffic: Traffic,
    version: str,
    *,
    actor: str,
    reason: str,
    until_us: int,
    look: Callable[[int], None],
) -> bool:
    """As ``andon deploy canary VERSION --auto`` does: ask for it, and let the controller do the rest until it is over.

    ``look`` says what happens meanwhile. True where the release is live then.
    """
    workspace, charter = stage.project.workspace, stage.project.charter
    traffic.settle()
    made = start(workspace, charter, version, actor=actor, reason=reason)
    stage.say("candidate", f"andon deploy canary {version} --auto: {' > '.join(made.plan.path)}, by evidence.",
              "\n".join((f"{actor}: {reason}", *(said for said in foresee(workspace, charter, made.plan) if "no event" not in said))))  # fmt: skip

    def ended() -> bool:
        now = newest(workspace)
        return now is not None and now.rollout.name == made.name and now.rollout.ended

    def looked() -> bool:
        found = workspace.states.get(LOOKED, made.name, Evidence)
        return ended() or (found is not None and found[0].as_of_us >= stage.now)

    while stage.now < until_us and not ended():
        today = stage.now // DAY * DAY + _AFTERNOON
        traffic.run_until(min(today if today > stage.now else today + DAY, until_us), done=ended)
        stage.until(looked, 300.0, "the controller did not look at the rollout")
    look(stage.now)
    now = newest(workspace)
    assert now is not None
    if not ended():
        stage.say("look", f"{version} is not decided yet", now.rollout.sentence)
    return now.rollout.state == "settled"


def way_back(line: Line, version: str, actor: str, did: Callable[[Act | None, str], None]) -> None:
    """Back by hand, and forward again: how long it takes."""
    before = time.monotonic()
    back = line.rollback(actor=actor, reason="to show the way back")
    took = 1000 * (time.monotonic() - before)
    did(back, f"in {took:.0f} ms, followed by {back.following} of {back.workers} workers")
    did(line.switch(version, actor=actor, reason="the rollback is undone"), "")
