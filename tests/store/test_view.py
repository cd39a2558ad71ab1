"""Derived reads: the same answer from the log, from the tail of the write-ahead log, and from both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from andon.core.clock import DAY, HOUR
from andon.core.record import Feedback, Field, Prediction, Review, Route
from andon.errors import NotFound
from andon.store.codec import (
    DecisionBatch,
    DecisionRow,
    encode_decisions,
    encode_feedback,
    encode_predictions,
)
from andon.store.doubles import doubles
from andon.store.frame import FrameKind
from andon.store.reader import read_stream
from andon.store.segment import streams
from andon.store.snapshot import SHIPPED, Snapshot
from andon.store.view import Truth, decisions, find, labelled, losses, outcomes, reviewed, shadow_pairs, times_of
from andon.store.workspace import Workspace
from andon.store.writer import WalWriter

FIELDS = (Field("cough", "bool", optional=True), Field("region", "category"))
CLASSES = ("negative", "positive")
MARCH = 1_583_884_800_000_000
HASH = "00112233445566aa"


class Lab:
    """A workspace with one worker's stream and a shadow's."""

    def __init__(self, home: Path) -> None:
        self.workspace = Workspace.create(home)
        self.workspace.save_contract(HASH, FIELDS, CLASSES)
        self.w0 = WalWriter(self.workspace.wal_dir, "w0")
        self.s0 = WalWriter(self.workspace.wal_dir, "s0")

    def decide(
        self,
        *rows: DecisionRow,
        x: Sequence[Any] = (True, "North"),
        fields: Sequence[Field] = FIELDS,
        contract: str = HASH,
    ) -> None:
        batch = DecisionBatch.empty(fields)
        for row in rows:
            batch.append_row(list(x), row)
        payload = encode_decisions(fields, batch)
        self.w0.append(
            FrameKind.DECISION, payload, count=len(rows), contract=bytes.fromhex(contract), time_us=rows[0].time_us
        )

    def feedback(self, *rows: Feedback, time_us: int = MARCH + DAY) -> None:
        self.w0.append(FrameKind.FEEDBACK, encode_feedback(rows), count=len(rows), time_us=time_us)

    def shadow(self, *rows: Prediction) -> None:
        self.s0.append(FrameKind.SHADOW, encode_predictions(rows), count=len(rows), time_us=MARCH)

    def review(self, id: str, decision: str, **given: Any) -> None:
        more: dict[str, Any] = {"decided_by": "person", "reviewer": "ann", "time_us": MARCH + HOUR, **given}
        self.workspace.outbox.append([Review(id, decision, **more)])

    def ship(self, *, remember: bool = True) -> None:
        workspace = self.workspace
        for stream in streams(workspace.wal_dir):
            frames = list(read_stream(workspace.wal_dir, stream))
            workspace.log.ship(stream, frames, lambda name: workspace.load_contract(name)[0])
            if remember and frames:
                with workspace.db.write() as connection:
                    workspace.windows.move(connection, SHIPPED, stream, frames[-1].end)

    def close(self) -> None:
        self.w0.close()
        self.s0.close()
        self.workspace.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / ".andon")
    yield made
    made.close()


def automatic(id: str, time_us: int = MARCH, decision: str = "negative", **more: Any) -> DecisionRow:
    return DecisionRow(
        id=id,
        time_us=time_us,
        status="decided",
        decision=decision,
        decided_by="model",
        level="full",
        version="v1",
        **more,
    )


def pending(id: str | None, time_us: int = MARCH, **more: Any) -> DecisionRow:
    return DecisionRow(id=id, time_us=time_us, **more)


def test_nothing_yet(lab: Lab) -> None:
    assert decisions(lab.workspace).height == outcomes(lab.workspace).height == labelled(lab.workspace).height == 0
    assert shadow_pairs(lab.workspace, "v1").height == losses(lab.workspace).height == 0
    assert times_of(lab.workspace, ["a"]) == {}
    with pytest.raises(NotFound, match="no decision has the id 'a'"):
        find(lab.workspace, "a")


@pytest.mark.parametrize("ship", [False, True])
def test_a_second_answer_changes_no_decision_and_an_adjudicated_one_is_peoples_outcome(lab: Lab, ship: bool) -> None:
    lab.decide(pending("a", suggestion="positive"), pending("same"), pending("seen"), pending("wait"))
    for id in ("a", "same", "seen"):
        lab.review(id, "negative", saw_suggestion=id == "seen")
        again = "negative" if id == "same" else "positive"
        lab.review(id, again, kind="second", reviewer="bob", time_us=MARCH + 2 * HOUR)
    for id in ("a", "seen"):
        lab.review(id, "positive", kind="adjudication", reviewer="zoe", time_us=MARCH + 3 * HOUR)
    lab.review("wait", "positive", kind="second", reviewer="bob")  # without a first one it decides nothing
    if ship:
        lab.ship()
    now = decisions(lab.workspace).sort("id").select("id", "status", "decision", "reviewer").rows()
    assert now == [
        ("a", "decided", "negative", "ann"), ("same", "decided", "negative", "ann"),
        ("seen", "decided", "negative", "ann"), ("wait", "pending", None, None),
    ]  # fmt: skip
    for truth, labels in (("external", [None] * 4), ("human", ["positive", "negative", None, None])):
        rows = outcomes(lab.workspace, truth=truth).sort("id")  # type: ignore[arg-type]
        assert rows["label"].to_list() == labels
        assert rows["prediction"].to_list() == ["negative", "negative", "negative", None]
    pairs = doubles(lab.workspace, MARCH)
    assert pairs.select("id", "first", "said", "second", "second_said", "third", "adjudicated", "model").rows() == [
        ("a", "ann", "negative", "bob", "positive", "zoe", "positive", "positive"),
        ("same", "ann", "negative", "bob", "negative", None, None, None),
        ("seen", "ann", "negative", "bob", "positive", "zoe", "positive", None),
    ]
    assert pairs["saw_suggestion"].to_list() == [False, False, True]
    assert doubles(lab.workspace, MARCH + 2 * HOUR + 1).is_empty()
    assert [one["kind"] for one in find(lab.workspace, "a")["reviews"]] == ["decision", "second", "adjudication"]
    assert set(reviewed(lab.workspace, "bob", MARCH)["kind"]) == {"second"}
    assert reviewed(lab.workspace, None, MARCH).height == 9


@pytest.mark.parametrize("ship", [False, True])
def test_what_one_person_answered_with_what_became_known(lab: Lab, ship: bool) -> None:
    lab.decide(automatic("audited", decision="positive"), pending("seen", suggestion="negative"), pending("blind"))
    lab.review("audited", "negative", kind="audit", time_us=MARCH + 3 * HOUR, seconds=4.0)
    lab.review("seen", "negative", saw_suggestion=True, simulated=True)
    lab.review("seen", "negative", saw_suggestion=True, simulated=True)  # twice, as after a crash
    lab.review("blind", "refer", time_us=MARCH + 2 * HOUR)
    lab.review("other", "refer", reviewer="bob")
    lab.review("late", "refer", decided_by="safe_default", reviewer="ann")
    lab.feedback(Feedback("seen", "label", "positive"))
    lab.feedback(Feedback("seen", "label", "negative", time_us=MARCH + 9 * DAY), Feedback("audited", "click", 1))
    if ship:
        lab.ship()
    got = reviewed(lab.workspace, "ann", MARCH)
    assert got.select("id", "kind", "decision", "seconds", "saw_suggestion", "simulated", "label", "model").rows() == [
        ("seen", "decision", "negative", 0.0, True, True, "negative", "negative"),
        ("blind", "decision", "refer", 0.0, False, False, None, None),
        ("audited", "audit", "negative", 4.0, False, False, None, "positive"),
    ]
    assert reviewed(lab.workspace, "ann", MARCH + 2 * HOUR)["id"].to_list() == ["blind", "audited"]
    assert reviewed(lab.workspace, "nobody", MARCH).is_empty()


@pytest.mark.parametrize("ship", ["no", "between", "all", "all but not remembered"])
def test_a_pending_decision_that_was_reviewed_is_decided(lab: Lab, ship: str) -> None:
    lab.decide(automatic("a"), pending("b"), pending("c"), pending("d"))
    if ship == "between":
        lab.ship()
    lab.review("b", "positive", seconds=9.0, simulated=True)
    lab.review("b", "negative")
    lab.review("c", "refer", decided_by="safe_default", reviewer="deadline")
    lab.review("a", "positive", kind="audit")
    if ship.startswith("all"):
        lab.ship(remember=ship == "all")
    got = decisions(
        lab.workspace, columns=["id", "status", "decision", "decided_by", "reviewer", "seconds", "simulated"]
    )
    assert got.rows() == [
        ("a", "decided", "negative", "model", None, None, None),
        ("b", "decided", "positive", "person", "ann", 9.0, True),
        ("c", "decided", "refer", "safe_default", "deadline", 0.0, False),
        ("d", "pending", None, "nobody", None, None, None),
    ]
    assert decisions(lab.workspace)["region"].to_list() == ["North"] * 4


def test_time_is_half_open_and_days_are_pruned(lab: Lab) -> None:
    times = [MARCH, MARCH + DAY - 1, MARCH + DAY, MARCH + 5 * DAY]
    lab.decide(*(automatic(f"a{i}", time_us) for i, time_us in enumerate(times)))
    for _ in range(2):
        assert decisions(lab.workspace, MARCH + DAY - 1, MARCH + 5 * DAY, ["id"])["id"].to_list() == ["a1", "a2"]
        assert decisions(lab.workspace, MARCH + DAY, None, ["id"])["id"].to_list() == ["a2", "a3"]
        assert decisions(lab.workspace, None, MARCH + 1, ["id"])["id"].to_list() == ["a0"]
        lab.ship()


def test_the_latest_label_counts_by_its_own_time(lab: Lab) -> None:
    lab.decide(automatic("a"), automatic("b"), automatic("c"), automatic("d"))
    lab.feedback(Feedback("a", "label", "positive", MARCH + 9), Feedback("b", "label", "negative"))
    lab.feedback(Feedback("a", "label", "negative", MARCH + 5), Feedback("b", "label", "positive"))
    lab.feedback(Feedback("c", "redo"), Feedback("c", "click"), Feedback("c", "redo"), Feedback("d", "label", None))
    for _ in range(2):
        got = outcomes(lab.workspace).select("id", "label", "prediction", "weight", "feedback").rows()
        assert got == [
            ("a", "positive", "negative", 1.0, ["label"]),
            ("b", "positive", "negative", 1.0, ["label"]),
            ("c", None, "negative", 1.0, ["click", "redo"]),
            ("d", None, "negative", 1.0, ["label"]),
        ]
        assert labelled(lab.workspace).columns == ["id", "time_us", "label", "weight", "cough", "region"]
        assert labelled(lab.workspace)["id"].to_list() == ["a", "b"]
        lab.ship()


def test_where_truth_is_human_an_audit_stands_for_what_was_not_audited(lab: Lab) -> None:
    lab.decide(automatic("a", audit=0.25), automatic("b", audit=0.25), pending("c"), pending("d"), automatic("e"))
    lab.review("a", "positive", kind="audit")
    lab.review("c", "positive")
    lab.review("d", "positive", saw_suggestion=True)
    lab.feedback(Feedback("b", "label", "negative"))
    got = outcomes(lab.workspace, truth="human").select("id", "label", "human", "weight").rows()
    assert got == [
        ("a", "positive", "positive", 4.0),
        ("b", "negative", None, 1.0),
        ("c", "positive", None, 1.0),
        ("d", None, None, 1.0),
        ("e", None, None, 1.0),
    ]
    assert outcomes(lab.workspace)["label"].to_list() == [None, "negative", None, None, None]
    truth: Truth
    for truth in ("external", "human"):  # fewer columns are fewer columns, and nothing else
        whole = outcomes(lab.workspace, truth=truth)
        for some in (["id", "label"], ["label", "human"], ["weight"], ["feedback", "id", "label_us"]):
            assert outcomes(lab.workspace, truth=truth, columns=some).equals(whole.select(*some, "cough", "region"))


def test_shadow_pairs_join_what_was_said_with_what_was_decided(lab: Lab) -> None:
    lab.decide(pending("a", level="shadow"), automatic("b"), pending("c", human="positive"))
    lab.shadow(Prediction("a", "v2", "negative", 0.8), Prediction("b", "v2", None, error="no answer"))
    lab.shadow(
        Prediction("a", "v2", "positive", 0.1),
        Prediction("a", "v3", "positive", 0.7),
        Prediction("x", "v2", "positive"),
    )
    lab.shadow(Prediction("c", "v2", "positive", 0.6, (0.4, 0.6)))
    lab.review("a", "positive", simulated=True)
    lab.feedback(Feedback("a", "label", "negative"))
    wanted = ("id", "prediction", "confidence", "version", "live", "decision", "human", "label", "simulated", "error")
    expected = [
        ("a", "negative", 0.8, "v2", None, "positive", "positive", "negative", True, None),
        ("b", None, None, "v2", "v1", "negative", None, None, None, "no answer"),
        ("c", "positive", 0.6, "v2", None, None, "positive", None, None, None),
    ]
    for _ in range(2):
        assert shadow_pairs(lab.workspace, "v2").select(wanted).sort("id").rows() == expected
        assert shadow_pairs(lab.workspace, "v2")["region"].to_list() == ["North"] * 3
        lab.ship()


def test_decisions_of_two_contracts_are_one_table(lab: Lab) -> None:
    newer = (Field("region", "category"), Field("age", "int"), Field("tags", "int"))
    lab.workspace.save_contract("ff" * 8, newer, CLASSES)
    lab.decide(automatic("a"))
    lab.decide(automatic("b", MARCH + 1), x=("South", 41, 7), fields=newer, contract="ff" * 8)
    for _ in range(2):
        got = decisions(lab.workspace)
        assert got.select("id", "cough", "region", "age", "x_tags", "tags").rows() == [
            ("a", True, "North", None, None, "{}"),
            ("b", None, "South", 41, 7, "{}"),
        ]
        assert find(lab.workspace, "b")["decision"]["x"] == {"region": "South", "age": 41, "tags": 7}
        lab.ship()


def test_find_tells_the_whole_life_of_a_decision(lab: Lab) -> None:
    route = Route(1, MARCH, MARCH, "maria", "begin", "the clinic opens", levels={"*": "shadow"})
    lab.workspace.routes.publish(route)
    lab.decide(pending(None, epoch=1, tags={"site": "door"}))
    id = f"w0-{lab.w0.generation}-0"
    lab.shadow(Prediction(id, "v1", "negative", 0.9, (0.9, 0.1)))
    lab.review(id, "positive")
    lab.feedback(Feedback(id, "label", "positive"), Feedback(id, "note", 3))
    for _ in range(2):
        told = find(lab.workspace, id)
        assert told["decision"]["decision"] == "positive" and told["decision"]["tags"] == {"site": "door"}
        assert told["decision"]["x"] == {"cough": True, "region": "North"}
        assert [row["reviewer"] for row in told["reviews"]] == ["ann"]
        assert [row["value"] for row in told["feedback"]] == ["positive", "3"]
        assert [row["version"] for row in told["shadow"]] == ["v1"]
        assert (told["route"]["actor"], told["route"]["reason"]) == ("maria", "the clinic opens")
        assert told["item"] is None
        lab.ship()
    assert times_of(lab.workspace, [id, "nobody"]) == {id: MARCH}


def test_views_work_with_the_database_gone(lab: Lab) -> None:
    lab.decide(pending("a"))
    lab.ship()
    lab.decide(automatic("b", MARCH + 1))
    lab.review("a", "positive")
    (lab.workspace.home / "andon.db").rename(lab.workspace.home / "aside.db")
    assert decisions(lab.workspace, columns=["id", "decision"]).rows() == [("a", "positive"), ("b", "negative")]
    assert find(lab.workspace, "a")["item"] is None


def test_a_frame_that_cannot_be_read_is_passed_over(lab: Lab) -> None:
    lab.decide(automatic("a"))
    lab.w0.append(FrameKind.DECISION, b"\xc1", count=3, contract=bytes.fromhex(HASH), time_us=MARCH)
    lab.w0.append(FrameKind.FEEDBACK, b"\xc1", count=3, time_us=MARCH)
    assert outcomes(lab.workspace)["id"].to_list() == ["a"]
    lab.ship()
    assert outcomes(lab.workspace)["id"].to_list() == ["a"]
    assert losses(lab.workspace).select("what", "n", "stream").rows() == [("gap", 3, "w0"), ("gap", 3, "w0")]


def test_a_snapshot_does_not_move(lab: Lab) -> None:
    lab.decide(automatic("a"))
    lab.ship()
    lab.decide(automatic("b"))
    before = Snapshot(lab.workspace).decisions(HASH)
    lab.ship()
    lab.workspace.log.compact()
    assert before.collect()["id"].to_list() == ["a", "b"]


_STEP = st.sampled_from(["decide", "review", "label", "ship", "ship, not remembered"])


@given(st.lists(_STEP, max_size=12))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_view_does_not_depend_on_what_was_shipped_when(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    lab = Lab(tmp_path_factory.mktemp("lab") / ".andon")
    decided, reviewed = 0, set()
    try:
        for step in steps:
            if step == "decide":
                lab.decide(pending(f"a{decided}", MARCH + decided))
                decided += 1
            elif step == "review" and decided:
                lab.review(f"a{decided - 1}", "positive")
                reviewed.add(decided - 1)
            elif step == "label" and decided:
                lab.feedback(Feedback("a0", "label", f"l{decided}"))
            elif step.startswith("ship"):
                lab.ship(remember=step == "ship")
        got = outcomes(lab.workspace)
        assert got["id"].to_list() == [f"a{i}" for i in range(decided)]
        assert [i for i, status in enumerate(got["status"]) if status == "decided"] == sorted(reviewed)
    finally:
        lab.close()
