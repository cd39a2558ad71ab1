"""Mutated requests: a few thousand at every commit, a million in the long run (``fuzz`` says what must hold)."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.deploy.fuzz import CORPUS, Judge, corpus, run
from tests.deploy.rig import BASE, Rig

from andon.deploy.protocol import Front
from andon.deploy.protocol_message import Answer


def test_mutated_requests_are_answered_or_closed_and_nothing_breaks(tmp_path: Path) -> None:
    judge = Judge(tmp_path / "home")
    run(judge, 3_000, seed=20)
    judge.close()
    # The mutations still reach everything: faults of every kind, and whole decisions.
    assert judge.counted["inputs"] > 3_000 and judge.rows["DECISION"] > 500 and judge.rows["FEEDBACK"] > 50
    for status in (200, 202, 400, 404, 405, 408, 409, 413, 414, 415, 417, 422, 431, 501, 505):
        assert judge.counted[f"answer {status}"], status


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_million_mutated_requests(tmp_path: Path) -> None:
    judge = Judge(tmp_path / "home")
    run(judge, 1_000_000, seed=random.randrange(1 << 20))
    judge.close()
    assert judge.counted["inputs"] >= 1_000_000


def test_the_corpus_is_small_and_its_requests_are_whole(tmp_path: Path) -> None:
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) < 200_000
    assert len(corpus()) >= 24 and len({*corpus()}) == len(corpus())
    judge = Judge(tmp_path / "home")
    for path in sorted(CORPUS.glob("*.http")):
        judge.judge(path.read_bytes(), random.Random(1))
    judge.close()
    assert judge.counted["requests"] >= 24 and judge.counted["answer 400"] == 1  # OPTIONS *


def test_the_judge_sees_answers_that_are_no_http_and_rows_that_nobody_was_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge(tmp_path / "home")
    decide = (CORPUS / "decision.http").read_bytes()
    render = Front.render

    def short(self: Front, answer: Answer, *, keep: bool, body: bool, old: bool) -> bytes:
        return render(self, answer, keep=keep, body=body, old=old)[:-1]

    def other(self: Front, answer: Answer, *, keep: bool, body: bool, old: bool) -> bytes:
        return render(self, Answer(422, b"{}") if b"decision" in answer.body else answer, keep=keep, body=body, old=old)

    for broken, words in ((short, "cut off"), (other, "more decisions than were answered")):
        monkeypatch.setattr(Front, "render", broken)
        with pytest.raises(AssertionError, match=words):
            judge.judge(decide, random.Random(1))
    monkeypatch.undo()
    judge.close()


@pytest.mark.parametrize(("value", "status"), [(2**63 - 1, 200), (2**63, 422), (-(2**63), 200), (-(2**63) - 1, 422)])
def test_a_whole_number_that_the_log_cannot_hold_is_refused(make: Callable[..., Rig], value: int, status: int) -> None:
    rig = make()
    found, body = rig.call("POST", f"{BASE}/feedback", {"id": "a1", "kind": "redo", "value": 1})
    assert found == 200
    raw = b'{"id": "a1", "kind": "redo", "value": %d}' % value
    found, body = rig.call("POST", f"{BASE}/feedback", raw)
    assert found == status and body["accepted"] == (status == 200)
    assert status == 200 or "at most 64 bits" in body["error"]["message"]
