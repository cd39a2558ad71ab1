"""The same id and x have the same answer and one record: across workers, restarts and kills, pending or decided."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from tests.line.toyline import DECISIONS, Running

from andon.deploy.line import open_inbox
from andon.errors import NotFound
from andon.store import view

pytestmark = pytest.mark.line

Answers = dict[str, tuple[int, Any]]


def recorded(line: Running) -> pl.DataFrame:
    return view.decisions(line.project.workspace)


def ask_again(line: Running, first: Answers) -> None:
    """Every id once more, each over a connection of its own, so that any worker may be asked."""
    again = {id: line.decide(float(id[5:]), id=id) for id in first}
    assert again == first


def kill(line: Running, index: int) -> None:
    pid = line.pid(f"worker-{index}")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    line.until(lambda: line.pid(f"worker-{index}") not in (pid, None), 20, "the worker was not started again")
    line.until(lambda: _serves(line, index), 20, "the worker did not come back")


def _serves(line: Running, index: int) -> bool:
    acks = {ack.worker: ack.pid for ack in line.project.workspace.routes.acks()}
    return acks.get(f"w{index}") == line.pid(f"worker-{index}") and line.ready()


def test_the_same_id_is_answered_alike_by_all_workers_after_a_restart_and_after_kills(
    running: Callable[..., Running],
) -> None:
    line = running(2)
    line.line.switch("v1", actor="test")
    line.line.automate("full", actor="test")
    line.start()
    first = {f"case-{n}": line.decide(float(n), id=f"case-{n}") for n in range(12)}
    assert {status for status, _ in first.values()} == {200}
    ask_again(line, first)
    line.line.switch("v2", actor="test")  # what was decided stays decided, by whom it was decided
    ask_again(line, first)
    for index in range(2):
        kill(line, index)
        ask_again(line, first)
    line.restart()
    ask_again(line, first)
    different = [line.decide(99.5, id=id) for id in list(first)[:6]]
    assert {status for status, _ in different} == {409}
    assert {body["error"]["field"] for _, body in different} == {"id"}
    found = recorded(line)
    assert sorted(found["id"].to_list()) == sorted(first)
    assert found["version"].unique().to_list() == ["v1"]


def test_the_same_id_at_the_same_moment_is_one_case(running: Callable[..., Running]) -> None:
    line = running(2)
    line.line.switch("v1", actor="test")
    line.line.automate("full", actor="test")
    line.start()
    answers: list[tuple[int, Any]] = []
    for number in range(5):
        together = threading.Barrier(8)

        def ask(id: str = f"race-{number}", together: threading.Barrier = together) -> None:
            together.wait()
            answers.append(line.decide(0.5, id=id))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(answers) == 40 and {status for status, _ in answers} == {200}
    assert len({str(body) for _, body in answers}) == 5
    assert recorded(line).height == 5


def test_what_is_pending_becomes_decided_under_the_same_id(running: Callable[..., Running]) -> None:
    line = running(2)
    line.start()
    ids = [f"case-{n}" for n in range(6)]
    assert [line.decide(1.0, id=id) for id in ids] == [(202, {"id": id, "status": "pending"}) for id in ids]
    inbox = open_inbox(line.project.workspace, line.project.charter)

    def decide(id: str) -> bool:
        try:
            return inbox.decide(id, "large", "maria").state == "decided"
        except NotFound:
            return False  # the controller has not seen it yet

    for id in ids:
        line.until(lambda id=id: decide(id), 20, "no item for a pending case")  # type: ignore[misc]
    line.until(lambda: all(line.decide(1.0, id=id)[0] == 200 for id in ids), 10, "a review did not arrive")
    expected = {id: line.decide(1.0, id=id) for id in ids}
    assert {(body["decision"], body["decided_by"]) for _, body in expected.values()} == {("large", "person")}
    line.restart()
    for _ in range(2):
        assert {id: line.decide(1.0, id=id) for id in ids} == expected
        assert {line.call("GET", f"{DECISIONS}/{id}")[1]["decision"] for id in ids} == {"large"}
    assert line.decide(2.0, id=ids[0])[0] == 409
    assert sorted(recorded(line)["id"].to_list()) == ids


def test_the_index_is_bounded_and_the_newest_ids_are_kept(running: Callable[..., Running]) -> None:
    line = running(2, "idempotency_ids: 80")
    line.start()
    client = line.client(4)
    bodies = [{"id": f"case-{n}", "x": {"a": 1.0}} for n in range(600)]
    assert {answer.status for answer in client.post(DECISIONS, bodies)} == {202}

    def remembered() -> list[float]:
        lines = line.call("GET", "/metrics")[1].splitlines()
        return [float(text.rpartition(" ")[2]) for text in lines if text.startswith("andon_ids_remembered")]

    for restart in (False, True):
        if restart:
            line.restart()
        line.until(lambda: sum(remembered()) > 0, 10, "no worker told how many ids it remembers")
        assert sum(remembered()) <= 80
        assert {answer.status for answer in client.post(DECISIONS, bodies[-20:])} == {202}
        assert {line.decide(5.0, id=body["id"])[0] for body in bodies[-20:]} == {409}
        assert recorded(line).height == 600
