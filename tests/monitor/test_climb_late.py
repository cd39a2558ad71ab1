"""The ladder where truth comes later than a window is long, where versions change, and where nobody audits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from tests.monitor.ladder_rig import NOW, Climbing

from andon.core.clock import DAY, HOUR
from andon.deploy.ladder import Rules
from andon.deploy.ladder_audit import all_of
from andon.deploy.ladder_evidence import Ladder
from andon.deploy.ladder_rows import work_of
from andon.deploy.ladder_stretch import Stretch
from andon.deploy.learning import Evidence

Make = Callable[..., Climbing]

FULL = "promote: automatic, highest: full"
LATE = ("audited", "deferred")


def weeks(line: Climbing, many: int, later: int, cases: int = 100) -> int | None:
    """Cases come every week, their truth ``later`` weeks after them; in which week nothing is at level full any more."""
    coming: list[tuple[int, list[Any]]] = []
    for week in range(many):
        line.come(cases, seconds=7 * DAY / 1e6, late=LATE)
        coming.append((week + later, line.held))
        line.held = [one for due, held in coming if due == week for one in held]
        line.tell()
        line.climb.turn()
        if {line.level(), line.level("older")} == {"assist"}:
            return week
    return None


@pytest.mark.parametrize(("later", "by"), [(5, 9), (3, 7)])
def test_labels_that_come_after_their_window_show_a_broken_promise(climbing: Make, later: int, by: int) -> None:
    """A fifth is wrong, a fiftieth is promised; evidence begins anew every four weeks."""
    line = climbing()
    line.wrong = {"*": 0.5, "older": 0.5}
    found = weeks(line, by + 1, later)
    assert found is not None and later <= found <= by


def test_a_window_has_what_became_known_in_it(climbing: Make) -> None:
    line = climbing(partial="evidence: 2d")
    line.come(100, seconds=DAY / 1e6, late=LATE)
    first = line.held
    line.climb.turn()
    assert line.rung().drawn > 15 and line.rung().error.n == 0
    line.held = []
    line.charter.target.__dict__["delay_us"] = 5 * DAY
    line.clock.advance(4 * DAY / 1e6)
    line.climb.turn()
    assert line.rung().drawn > 15, "nobody has judged them yet"
    line.held = first
    line.tell()
    line.climb.turn()
    assert line.rung().error.n == line.rung().drawn > 15, "known in the third window"
    line.clock.advance(2 * DAY / 1e6)
    line.climb.turn()
    assert line.rung().error.n > 15, "looked at for one more"
    line.clock.advance(2 * DAY / 1e6)
    line.climb.turn()
    assert line.rung().drawn == 0, "and in these only"


def test_audits_that_nobody_does_are_said_and_told_once(climbing: Make) -> None:
    line = climbing(partial="evidence: 4d")
    line.come(200, seconds=60, truth=False)
    line.climb.turn()
    assert line.rung().overdue == 0
    line.clock.advance(DAY / 1e6 - 61)
    line.climb.turn()
    assert line.rung().overdue == 0
    line.clock.advance(62)
    for _ in range(3):
        line.climb.turn()
    rung = line.rung()
    assert rung.overdue == rung.drawn > 30 and "were judged by nobody in time" in rung.reason
    line.notifier.flush()
    line.climb = line.leader()  # whoever leads by then
    line.climb.turn()
    line.notifier.flush()
    assert [title for title in line.sent if "nobody" in title] == [
        "screening: nobody judges the answers of older that were drawn into the audit",
        "screening: nobody judges the answers of everything that were drawn into the audit",
    ]


def at_partial(line: Climbing) -> None:
    """Everything is at level partial with a threshold that cuts off what the model is not sure of."""
    line.line.automate("partial", actor="ann", thresholds={"v1/*": 0.9})
    line.line.automate("partial", "older", actor="ann", thresholds={"v1/older": 0.9})


def test_what_another_version_answered_raises_nothing(climbing: Make) -> None:
    line = climbing(level="partial", older="partial", automation=FULL)
    at_partial(line)
    line.line.canary("v2", 0.9, actor="ann")
    line.wrong, line.answers = {"*": 0, "older": 0}, "v2"
    line.come(2500)
    line.line.rollback(actor="ann")
    line.climb.turn()
    assert (line.level(), line.rung().why, line.rung().labels) == ("partial", "labels", 0)
    line.answers = None
    line.come(2500)
    line.climb.turn()
    assert line.level() == "full"


def test_a_candidates_errors_break_the_promise_while_it_answers_and_not_after(climbing: Make) -> None:
    line = climbing()
    line.come(200)
    line.line.canary("v2", 0.9, actor="ann")
    line.wrong, line.answers = {"*": 0.5, "older": 0.5}, "v2"
    line.come(400)
    now = Ladder(line.workspace, line.charter).look()
    assert {one.kind for one in now.rungs} == {"demote"}, "whoever answers, the promise is of the answers"
    line.line.rollback(actor="ann")
    after = Ladder(line.workspace, line.charter).look()
    assert {one.kind for one in after.rungs} == {"stay"} and all(one.error.value == 0.0 for one in after.rungs[:1])


def test_who_errs_less_is_asked_of_this_version(climbing: Make) -> None:
    for truth in ("external", "human"):
        line = climbing(truth=truth, level="shadow", older="shadow")
        line.wrong, line.answers = {"*": 1.0, "older": 1.0}, "v2"
        line.come(300, second=1.0)
        line.wrong, line.answers = {"*": 0.0, "older": 0.0}, None
        line.come(300, second=1.0)
        line.climb.turn()
        model = line.rung().model_error
        assert model is not None and model.value == 0.0 and 100 < model.n < 200


def rows(times: list[int], chances: list[float], epochs: list[int]) -> pl.DataFrame:
    n = len(times)
    said = {"id": [f"c{k}" for k in range(n)], "version": ["v1"] * n, "model": ["n"] * n, "truth": ["n"] * n}
    return pl.DataFrame({**said, "time_us": times, "chance": chances, "epoch": epochs})


def test_all_answers_bet_by_the_audits_share_and_never_more_than_their_own() -> None:
    """Half went to people and were looked at for certain: each counts as the audited tenth beside it."""
    one, rules = Stretch("partial"), Rules()
    found = all_of(rows([1, 2, 3], [1.0, 0.1, 0.05], [7, 7, 7]), one, "v1", {7: 0.1}, rules)
    assert found.worth == pytest.approx(0.1 + 1 + 1)
    assert all_of(rows([1, 2], [1.0, 1.0], [7, 8]), one, "v1", {7: 0.1}, rules).worth == pytest.approx(0.1)
    late = Stretch("partial").within(now=250, window_us=100, delay_us=30)
    assert all_of(rows([169, 170, 201], [1.0] * 3, [7] * 3), late, "v1", {7: 1.0}, rules).n == 2
    assert all_of(rows([201], [1.0], [7]), late, "v2", {7: 1.0}, rules).n == 0


def test_a_window_at_partial_is_a_time_it_was_measured(climbing: Make) -> None:
    line = climbing(level="partial", older="partial", partial="evidence: 2d")
    at_partial(line)
    begun = line.route.time_us
    for windows in (0, 1, 3):
        line.clock.advance(windows * 2 * DAY / 1e6 - (line.clock.now() - begun) / 1e6 + 60)
        ladder = Ladder(line.workspace, line.charter)
        ladder.look()
        assert ladder.facts["*"].rises == 1 + windows, "once before, without a threshold"


def test_what_lowers_peoples_work_is_never_refused_and_the_others_count_as_they_would_be() -> None:
    """Two slices at assist, 100 cases an hour each, of which a threshold would leave a tenth."""
    came = pl.DataFrame({"slice": ["a", "b"] * 100, "epoch": [1] * 200, "status": ["pending"] * 200})
    slices = {name: Stretch("assist", epoch=1) for name in ("a", "b")}
    now = work_of(came, slices, 0, HOUR, 40.0)
    assert now["a"].others == 100.0 and now["a"].allowed == 0.0
    ahead = work_of(came, slices, 0, HOUR, 40.0, {"a": 0.1, "b": 0.1})
    assert ahead["a"].others == 10.0 and ahead["a"].allowed == pytest.approx(0.22)
    assert not ahead["a"].short(0.1) and ahead["a"].deferral == 1.0
    less = came.with_columns(status=pl.lit("decided"))
    assert work_of(less, slices, 0, HOUR, 40.0, {"b": 0.1})["a"].others == 0.0, "never more than it leaves now"


def test_evidence_to_learn_from_lies_before_the_time_in_which_nothing_is_known(climbing: Make) -> None:
    line = climbing(level="shadow", older="shadow")
    line.come(40, seconds=60)
    line.clock.advance(5 * 7 * DAY / 1e6)
    assert not len(Evidence(line.workspace, line.charter, "v1").of()[0])
    line.charter.target.__dict__["delay_us"] = 2 * 7 * DAY
    assert len(Evidence(line.workspace, line.charter, "v1").of()[0]) > 30
    assert line.clock.now() > NOW
