"""Who decides, over time and by arm: the windows say what the log says, through reviews, kills and long times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.monitor.test_ingest import CHARTER, FIELDS, HASH, NOW, Lab, ingest

from andon.core.clock import DAY, HOUR, SECOND
from andon.core.record import Feedback, Review, Route
from andon.errors import Unavailable
from andon.measure.metric import parse_metric
from andon.measure.sketch import Categories
from andon.measure.summary import Count
from andon.monitor.arms import so_far
from andon.monitor.deciders import DECIDED, LABELLED, REVIEWED, Decider, labels_so_far, over_time, shares
from andon.monitor.remeasure import Remeasure
from andon.monitor.rollup import lengths, roll_up
from andon.monitor.window import Measured, WindowRow
from andon.scope.charter import parse
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions
from andon.store.frame import FrameKind
from andon.store.view import decisions, outcomes

GUARDED = parse("""
project: screening
inputs: {cough: bool?, region: category?}
target: {name: result, classes: [negative, positive]}
safe_default: refer
metrics:
  error: {of: error_rate, goal: "<= 0.5"}
  nulls: {of: null_outputs, goal: "<= 0.1"}
  other: {of: automatic_share}
rollout: {guardrails: [error, nulls]}
monitor: {window: 1h}
""")
PEOPLE, DEFAULT = Decider("people"), Decider("safe_default")
LIVE, CANDIDATE = Decider("model", "v1", "live"), Decider("model", "v2", "candidate")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / ".andon")
    yield made
    made.close()


def measure(lab: Lab, charter: Any = CHARTER) -> None:
    """Read all there is, and measure again what reviews and labels arrived for."""
    reader = ingest(lab, charter=charter)
    again = Remeasure(lab.workspace, Measured.of(charter), reader.taps)
    reader.finish()
    again.note()
    again.run(now=True)


def review(lab: Lab, ids: list[str], by: Any = "person") -> None:
    reviews = [Review(id, "positive", by, "ann" if by == "person" else "deadline", lab.clock.now()) for id in ids]
    lab.workspace.outbox.append(reviews)


def told(lab: Lab, **more: Any) -> dict[Decider, int]:
    counts: dict[Decider, int] = {}
    for share in over_time(lab.workspace, HOUR, **more):
        for decider, n in share.counts.items():
            counts[decider] = counts.get(decider, 0) + n
    return counts


def logged(lab: Lab) -> dict[Decider, int]:
    """The same from the decision log."""
    counts: dict[Decider, int] = {}
    for row in decisions(lab.workspace).iter_rows(named=True):
        who = DEFAULT if row["decided_by"] == "safe_default" else PEOPLE
        if row["decided_by"] == "model":
            who = Decider("model", row["version"], "candidate" if row["arm"] == "candidate" else "live")
        counts[who] = counts.get(who, 0) + 1
    return counts


def test_it_counts_who_made_each_decision(lab: Lab) -> None:
    lab.decide(4, arm="live")
    lab.decide(2, version="v2", arm="candidate")
    lab.decide(3, decided_by="safe_default", version=None)
    lab.decide(1, decided_by="client", version=None)
    waiting = lab.ask(5, version="v1", arm="live")
    measure(lab)
    (share,) = over_time(lab.workspace, HOUR)
    assert share.counts == {LIVE: 4, CANDIDATE: 2, DEFAULT: 3, PEOPLE: 6} and share.waiting == 5
    assert share.total == 15 and share.start_us == NOW
    review(lab, waiting[:3])
    review(lab, waiting[3:4], "safe_default")
    measure(lab)
    (share,) = over_time(lab.workspace, HOUR)
    assert share.counts == {LIVE: 4, CANDIDATE: 2, DEFAULT: 4, PEOPLE: 5} and share.waiting == 1
    assert told(lab) == logged(lab)


def test_answers_that_are_counted_before_their_questions_do_no_harm() -> None:
    assert shares({"pending": 2}, {"person": 3, "safe_default": 1}) == ({PEOPLE: 1, DEFAULT: 1}, 0)
    assert shares({"pending": 1}, {"safe_default": 4}) == ({DEFAULT: 1}, 0)
    assert shares({}, {"person": 1}) == ({}, 0)


def test_odd_versions_are_kept_as_they_are(lab: Lab) -> None:
    lab.decide(1, version="v:1:<b>", arm="live")
    lab.decide(1, version=None, arm="none")
    measure(lab)
    assert set(told(lab)) == {Decider("model", "v:1:<b>", "live"), Decider("model", "", "live")}


_STEP = st.sampled_from(["decide", "canary", "ask", "answer", "lapse", "label", "turn", "kill", "measure"])


@given(st.lists(_STEP, max_size=16))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_any_order_of_events_and_kills_every_length_says_what_the_log_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    lab = Lab(tmp_path_factory.mktemp("lab") / ".andon")
    lab.clock.advance(3 * DAY / SECOND)  # an answer is written after what it answers
    reader, open_ids, labels = ingest(lab), list[str](), set[int]()
    again = Remeasure(lab.workspace, Measured.of(CHARTER), reader.taps)
    try:
        for number, step in enumerate(steps):
            at = NOW + number % 4 * 9 * HOUR
            if step in ("decide", "canary"):
                more: dict[str, Any] = {"version": "v2", "arm": "candidate"} if step == "canary" else {}
                lab.decide(2, at=at, **more)
            elif step == "ask":
                open_ids += lab.ask(2, at=at)
            elif step in ("answer", "lapse") and open_ids:
                review(lab, [open_ids.pop(0)], "person" if step == "answer" else "safe_default")
            elif step == "label" and lab.made:
                labels.add(number % lab.made)
                lab.label([f"a{number % lab.made}"], "positive")
            elif step == "turn":
                reader.tick()
                again.note()
            elif step == "measure":
                again.run(now=True)
            elif step == "kill":
                reader = ingest(lab)
                again = Remeasure(lab.workspace, Measured.of(CHARTER), reader.taps)
        measure(lab)
        assert told(lab) == logged(lab)
        for metric in (DECIDED, REVIEWED, LABELLED):
            assert len({tuple(sorted(summed(lab, metric, length).items())) for length in lengths(HOUR)}) == 1
        assert sum(share.waiting for share in over_time(lab.workspace, HOUR)) == len(open_ids)
        assert labels_so_far(lab.workspace, HOUR) == len(labels)
    finally:
        lab.close()


def summed(lab: Lab, metric: str, length: int) -> dict[str, int]:
    total = Categories()
    for row in lab.workspace.windows.read(metric, "", length_us=length):
        assert isinstance(row.summary, Categories)
        total = total + row.summary
    return total.counts


def test_a_round_that_is_killed_before_it_rolled_up_is_done_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    review(lab, lab.ask(3))
    reader = ingest(lab)
    again = Remeasure(lab.workspace, Measured.of(CHARTER), reader.taps)
    reader.finish()
    again.note()

    def gone(*_: object) -> None:
        raise Unavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr("andon.monitor.remeasure.roll_up", gone)
        with pytest.raises(Unavailable):
            again.run(now=True)
    measure(lab)
    assert summed(lab, REVIEWED, DAY) == {"person": 3}


def test_a_long_life_is_read_by_the_day_and_drawn_in_few_points(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    days = 300
    rows = [
        WindowRow(DECIDED, "", NOW + day * DAY, length, Categories({"pending": 3, "model:live:v1": day}))
        for day in range(days)
        for length in (HOUR, DAY)
    ]
    lab.workspace.windows.replace(rows)
    read: list[Any] = []
    real = lab.workspace.windows.read

    def told(*asked: Any) -> list[WindowRow]:
        read.append(asked)
        return real(*asked)

    monkeypatch.setattr(lab.workspace.windows, "read", told)
    found = over_time(lab.workspace, HOUR)
    assert 60 <= len(found) <= 120 and sum(share.total for share in found) == sum(day + 3 for day in range(days))
    assert {call[-1] for call in read} == {DAY}
    assert all(one.length_us % DAY == 0 for one in found)
    assert len(over_time(lab.workspace, HOUR, since_us=NOW + 299 * DAY)) == 1


def test_nothing_decided_is_no_point(lab: Lab) -> None:
    assert over_time(lab.workspace, HOUR) == []
    lab.decide(1)
    lab.decide(1, at=NOW + 20 * HOUR)
    measure(lab)
    assert [share.start_us for share in over_time(lab.workspace, HOUR)] == [NOW, NOW + 20 * HOUR]


def test_few_decisions_are_drawn_in_longer_stretches(lab: Lab) -> None:
    rows = [WindowRow(DECIDED, "", NOW + hour * HOUR, HOUR, Categories({"pending": 1})) for hour in range(0, 80, 4)]
    lab.workspace.windows.replace([*rows, WindowRow(DECIDED, "", NOW, DAY, Categories({"pending": 20}))])
    found = over_time(lab.workspace, HOUR)
    assert {share.length_us for share in found} == {2 * HOUR} and sum(share.total for share in found) == 20


# ------------------------------------------------------------------------------------------------------- the two arms


def publish(lab: Lab, *routes: dict[str, Any]) -> None:
    for more in routes:
        epoch = lab.workspace.routes.next_epoch()
        lab.workspace.routes.publish(Route(epoch, NOW, NOW, "ann", "canary", "", live="v1", **more))


def canary(lab: Lab) -> tuple[list[str], list[str]]:
    """A canary under route 2 of two, with decisions of both arms."""
    publish(lab, {}, {"candidate": "v2", "share": 0.5, "salt": "v2@2"})
    made: dict[str, list[str]] = {"live": [], "candidate": []}
    for arm, version in (("live", "v1"), ("candidate", "v2")):
        batch: dict[str, Any] = {"version": version, "arm": arm}
        made[arm] += decide(lab, 6, **batch)
        made[arm] += decide(lab, 2, decision=None, at=NOW + 30 * HOUR, **batch)
        waiting = {"status": "pending", "decision": None, "decided_by": "nobody"}
        made[arm] += decide(lab, 2, **waiting, **batch)
    decide(lab, 5, version="v2", arm="none")  # asked for by name
    lab.decide(7)  # under the route before
    return made["live"], made["candidate"]


def decide(lab: Lab, n: int, **row: Any) -> list[str]:
    """Decisions under route 2."""
    ids = [f"a{lab.made + i}" for i in range(n)]
    lab.made += n
    at = row.pop("at", NOW)
    plain: dict[str, Any] = {"status": "decided", "decision": "negative", "decided_by": "model", "level": "full"}
    batch = DecisionBatch.empty(FIELDS)
    for id in ids:
        batch.append_row([True, "North"], DecisionRow(id=id, epoch=2, time_us=at, **plain | row))
    payload = encode_decisions(FIELDS, batch)
    lab.writer("w0").append(FrameKind.DECISION, payload, count=n, contract=bytes.fromhex(HASH), time_us=NOW)
    return ids


def test_both_arms_are_measured_as_they_were_drawn(lab: Lab) -> None:
    live, candidate = canary(lab)
    review(lab, [live[-1], candidate[-1], candidate[-2]])
    lab.feedback(*[Feedback(id, "label", "negative") for id in (*live[:4], *candidate[:4], candidate[-1])])
    measure(lab, GUARDED)
    found = so_far(lab.workspace, Measured.of(GUARDED), "v2@2")
    assert {arm: sorted(metrics) for arm, metrics in found.items()} == {
        "candidate": [DECIDED, "error", "nulls"],
        "live": [DECIDED, "error", "nulls"],
    }
    assert [found[arm][DECIDED].counts for arm in ("candidate", "live")] == [  # type: ignore[attr-defined]
        {"model:candidate:v2": 8, "pending": 2},
        {"model:live:v1": 8, "pending": 2},
    ]
    assert found["candidate"]["nulls"] == Count(8, 2.0, 8.0, 8.0)
    table = outcomes(lab.workspace)
    for arm, kept in found.items():
        part = table.filter((pl.col("epoch") == 2) & (pl.col("arm") == arm))
        metric = parse_metric("error_rate", GUARDED.target.classes)
        assert metric.estimate(kept["error"]) == metric.measure(part)


def test_arms_count_once_through_kills_and_a_new_try_begins_anew(lab: Lab) -> None:
    canary(lab)
    for _ in range(3):
        measure(lab, GUARDED)
    plan = Measured.of(GUARDED)
    assert so_far(lab.workspace, plan, "v2@2")["live"]["nulls"].n == 8  # type: ignore[attr-defined]
    assert so_far(lab.workspace, plan, "v2@9") == {"candidate": {}, "live": {}}


def test_where_no_canary_runs_or_the_route_is_unknown_there_are_no_arms(lab: Lab) -> None:
    lab.decide(3, arm="live")
    measure(lab, GUARDED)
    publish(lab, {})
    lab.decide(3, arm="live")
    measure(lab, GUARDED)
    assert {row.cohort for row in lab.workspace.windows.read()} == {""}


def test_windows_that_make_no_hours_are_kept_in_one_length_only(lab: Lab) -> None:
    assert lengths(7 * DAY) == (7 * DAY,) and lengths(HOUR) == (HOUR, DAY) and lengths(DAY) == (DAY,)
    before = lab.workspace.windows.read()
    roll_up(lab.workspace, [WindowRow("m", "", 0, 7 * DAY, Count())])
    assert lab.workspace.windows.read() == before == []
