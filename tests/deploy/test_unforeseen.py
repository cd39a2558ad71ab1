"""What nobody foresaw ends one thing and not everything behind it: timers, restarts of models, loading, a probe."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import polars as pl
import pytest
from tests.deploy.rig import BASE, CONFIG, FakeServed, Rig, by_age

from andon.deploy.away import Away
from andon.deploy.doors import bound_socket
from andon.deploy.express import Express
from andon.deploy.gateway_metrics import Scraper
from andon.deploy.protocol import Front
from andon.deploy.replica import Replica
from andon.deploy.worker import Worker
from andon.engine.child import Child
from andon.errors import Conflict
from andon.store.workspace import Workspace

Make = Callable[..., Rig]


@pytest.mark.parametrize("timer", ["_tick", "_sweep"])
def test_a_fault_in_a_timer_is_not_its_end(workspace: Workspace, timer: str) -> None:
    def fails(*given: Any) -> None:
        raise RuntimeError("can't start new thread")

    worker = Worker(CONFIG, workspace, 0, 1)
    again: list[Any] = []
    worker._loop = SimpleNamespace(call_later=lambda seconds, call: again.append(call))  # type: ignore[assignment]
    worker._desk = SimpleNamespace(tick=fails)  # type: ignore[assignment]
    worker._links = SimpleNamespace(expire=list)  # type: ignore[assignment]
    worker._replicas = SimpleNamespace(hangs=fails)  # type: ignore[assignment]
    with pytest.raises(RuntimeError):
        getattr(worker, timer)()
    assert again == [getattr(worker, timer)]


def test_a_child_is_heard_beside_a_thousand_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        child = Child(("cat", "/proc/self/fd/{fd}"))
        assert child._socket.fileno() > 1023
        end = time.monotonic() + 5
        while not child.speaks:  # its end
            assert time.monotonic() < end
        child.close()
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_model_whose_revival_fails_is_revived_again() -> None:
    tried: list[int] = []

    class Elsewhere(Away):
        contract, classes, path, engine = FakeServed().contract, FakeServed().classes, Path("model"), "python"

        def wants(self, now: float) -> bool:
            return True

        def revive(self) -> None:
            tried.append(1)
            raise MemoryError

    replica = Replica("v1", "v1", Elsewhere())  # type: ignore[arg-type]
    end = time.monotonic() + 5
    while len(tried) < 2:
        assert time.monotonic() < end
        replica.tick(0.0)
    replica.close()


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ValueError("name \udc80"), "ValueError: name ?"),
        (Speechless(), "Speechless"),
        (pl.exceptions.PanicException("index out of bounds"), "PanicException: index out of bounds"),
        (KeyError("y" * 3000), "KeyError: '" + "y" * 1999),
    ],
)
def test_what_a_model_raises_is_told_however_odd_its_words_are_and_costs_no_neighbour(
    make: Make, raised: BaseException, said: str
) -> None:
    def model(columns: Any) -> Any:
        if (columns["age"] == 13).any():
            raise raised
        return by_age(columns)

    rig = make(models={"v1": FakeServed(model)})
    rig.route(live="v1", levels={"*": "full"})
    asked = [rig.ask("POST", f"{BASE}/decisions", {"x": {"age": age}, "id": f"a{age}"}) for age in (12, 13, 14)]
    rig.until(lambda: all(asked))
    assert [one[0].status for one in asked] == [200] * 3
    (decision, _) = rig.memory.recorded("a13") or (None, None)
    assert decision is not None and decision.error == f"predict in model.py raised {said}"

    def always(columns: Any) -> Any:
        raise raised

    rig.models["v2"] = FakeServed(always)
    rig.route(live="v2", levels={"*": "full"})  # it is warmed up with such a call
    assert rig.replicas.loaded and rig.decide({"age": 13})[0] == 200


def test_a_fault_over_rows_that_waited_for_a_slow_model_loses_none_that_came_meanwhile(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = FakeServed()
    slow.engine = "python"
    rig = make(models={"v1": slow})
    rig.route(live="v1", levels={"*": "full"})
    first = rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 5.0}, "id": "a"})
    rig.desk.turn()
    end = time.monotonic() + 5
    while not rig.posted:
        assert time.monotonic() < end
    while rig.posted:
        rig.posted.pop(0)()
    second = rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 7.0}, "id": "b"})

    def fails(*given: Any) -> None:
        raise KeyError("a fault that nobody foresaw")

    with monkeypatch.context() as broken, pytest.raises(KeyError):
        broken.setattr(Express, "_settle", fails)
        rig.desk.turn()
    rig.until(lambda: bool(first and second))
    assert first[0].status == second[0].status == 200 and rig.desk.idle


def test_a_fault_of_a_bundle_that_nobody_wants_any_more_is_not_told(make: Make) -> None:
    rig = make()
    rig.route(live="v1")
    rig.replicas._fail("v1", "another", "it could not be read")
    rig.replicas._fail("v9", "v9", "it could not be read")
    assert rig.replicas.faults == {}


def test_what_the_protocol_refuses_is_counted(make: Make, workspace: Workspace) -> None:
    rig = make()
    worker = Worker(CONFIG, workspace, 0, 1)
    worker._desk, worker._front = rig.desk, Front(rig.gateway)
    worker._front.refused = 3
    page = Scraper(workspace.run_dir, 0, 1, worker._gauge).page()
    assert 'andon_refused_requests_total{worker="w0"} 3' in page


def test_a_program_that_says_no_end_on_our_port_is_another_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def stream() -> None:
            line, _ = server.accept()
            with line:
                try:
                    while True:
                        line.sendall(b"x" * 4096)
                except OSError:
                    return

        threading.Thread(target=stream, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(Conflict, match="cannot be taken"):
            bound_socket("127.0.0.1", server.getsockname()[1], shared=True, line="ours")
        assert time.monotonic() - began < 2


def test_feedback_that_waits_for_a_disk_that_hangs_is_told_so_at_its_deadline(make: Make) -> None:
    may = threading.Event()

    def sync(fd: int) -> None:
        assert may.wait(5)
        os.fdatasync(fd)

    config: dict[str, Any] = {"durability": "commit", "deadline_seconds": 0.05}
    rig = make(msgspec.structs.replace(CONFIG, **config), sync=sync)
    feedback = {"id": "a1", "kind": "label", "value": "positive"}
    status, body = rig.call("POST", f"{BASE}/feedback", feedback)
    assert status == 504 and "no answer within" in body["error"]["message"] and rig.desk.idle
    may.set()
    rig.until(lambda: rig.wal.synced_end == rig.wal.end)
    assert rig.call("POST", f"{BASE}/feedback", feedback)[0] == 200 and rig.desk.idle


def test_feedback_takes_no_place_of_a_decision(make: Make) -> None:
    rig = make(msgspec.structs.replace(CONFIG, queue=2))
    sent = [rig.ask("POST", f"{BASE}/feedback", {"id": "a1", "kind": "click"}) for _ in range(9)]
    assert rig.decide()[0] == 202 and all(one[0].status == 200 for one in sent)
