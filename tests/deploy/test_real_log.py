"""Comparison, thresholds and the inbox on a real workspace: what is written to the log is what they see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest

from andon.core.clock import HOUR
from andon.core.record import Feedback, Field, Item, Prediction, Review
from andon.deploy.learning import LIVE
from andon.deploy.line import Line, open_inbox
from andon.deploy.paired import shadow_comparison
from andon.errors import Conflict
from andon.scope.charter import Charter, parse
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions, encode_feedback, encode_predictions
from andon.store.frame import FrameKind
from andon.store.reader import read_stream
from andon.store.workspace import Workspace
from andon.store.writer import WalWriter

FIELDS = (Field("age", "int"),)
HASH = "00112233445566aa"
NOON = 1_583_884_800_000_000
CHARTER = """
project: screening
case: automate
inputs: {age: int}
target: {name: result, classes: [negative, positive], truth: external}
safe_default: refer
automation: {level: shadow, partial: {max_error: 0.02, only: [negative]}}
"""


@pytest.fixture
def charter() -> Charter:
    return parse(CHARTER)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace.create(tmp_path / ".andon")
    made.clock.set(time_us=NOON + 3 * HOUR)
    made.save_contract(HASH, FIELDS, ("negative", "positive"))
    made.records.put("release", "v1", {"version": "v1", "bundle": "b1", "run": "r1"})
    yield made
    made.close()


def play(workspace: Workspace, n: int, simulated: bool = True) -> None:
    """``n`` cases decided by a reviewer who errs in every tenth, with v1 in the shadow, right in all but every 50th."""
    w0, s0 = WalWriter(workspace.wal_dir, "w0"), WalWriter(workspace.wal_dir, "s0")
    batch = DecisionBatch.empty(FIELDS)
    reviews, feedback, said = [], [], []
    for number in range(n):
        id = f"case-{number}"
        batch.append_row([30 + number % 50], DecisionRow(id=id, time_us=NOON, level="shadow"))
        human = "positive" if number % 10 == 0 else "negative"
        model = "positive" if number % 50 == 7 else "negative"
        confidence = 0.6 if model == "positive" else 0.97
        reviews.append(Review(id, human, "person", "clinic", NOON + HOUR, simulated=simulated))
        feedback.append(Feedback(id, "label", "negative", NOON + 2 * HOUR))
        said.append(Prediction(id, "v1", model, confidence, time_us=NOON))
    payload = encode_decisions(FIELDS, batch)
    w0.append(FrameKind.DECISION, payload, count=n, contract=bytes.fromhex(HASH), time_us=NOON)
    w0.append(FrameKind.FEEDBACK, encode_feedback(feedback), count=n, time_us=NOON)
    s0.append(FrameKind.SHADOW, encode_predictions(said), count=n, time_us=NOON)
    workspace.outbox.append(reviews)
    w0.close()
    s0.close()


def test_a_shadow_is_compared_with_people_on_the_same_cases(workspace: Workspace, charter: Charter) -> None:
    play(workspace, 100)
    found = shadow_comparison(workspace, charter, "v1")
    assert (found.n, found.outcomes, found.simulated, found.called) == (100, 100, 100, "accuracy")
    assert (found.model_error.value, found.other_error.value) == (0.02, 0.1)
    assert (found.only_model_right, found.only_other_right) == (10, 2)
    assert "100 of them were answered by simulated reviewers" in found.sentence
    human = parse(CHARTER.replace("truth: external", "truth: human"))
    assert shadow_comparison(workspace, human, "v1").called == "agreement"
    assert shadow_comparison(workspace, charter, "v1", "live").n == 0
    assert shadow_comparison(workspace, charter, "v9").n == 0


def test_a_threshold_is_learnt_from_the_shadow_s_labelled_cases(workspace: Workspace, charter: Charter) -> None:
    line = Line(workspace, charter)
    line.shadow("v1", actor="maria")
    assert line.learn("v1").value is None
    play(workspace, 400)
    act = line.automate("partial", actor="maria", reason="the shadow was right")
    assert act.route.thresholds == {"v1/*": 0.97} and act.route.live == "v1"
    event = workspace.journal.read(action="automation.learn")[-1]
    assert (event.evidence["source"], event.evidence["threshold"]["n"]) == (LIVE, 400)
    assert event.evidence["threshold"]["coverage"] == pytest.approx(0.98)  # the positives may not be automatic


def test_real_items_are_decided_once_by_racing_reviewers(workspace: Workspace, charter: Charter) -> None:
    ids = [f"i{number}" for number in range(12)]
    due = workspace.clock.now() + HOUR
    workspace.items.add([Item(id, "decision", 0, due, {"age": 40}) for id in ids])
    won: list[tuple[str, str]] = []
    barrier = Barrier(4)

    def work(name: str, answer: str) -> None:
        inbox = open_inbox(workspace, charter)
        barrier.wait()
        for id in ids:
            try:
                inbox.decide(id, answer, name)
            except Conflict:
                continue
            won.append((id, name))

    answers = ("negative", "positive", "refer", "negative")
    threads = [Thread(target=work, args=(f"r{n}", answer)) for n, answer in enumerate(answers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(id for id, _ in won) == dict.fromkeys(ids, 1)
    assert workspace.items.counts() == {"decided": len(ids)}
    frames = list(read_stream(workspace.wal_dir, "people"))
    assert sum(frame.count for frame in frames if not hasattr(frame, "rows")) == len(ids)
