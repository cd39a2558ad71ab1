from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.deploy.line_rig import CONFIG, DECISIONS, FIELDS, Line
from tests.ports import free_port

from andon.core.record import Decision, Review
from andon.deploy.doors import bound_socket
from andon.errors import Conflict, UsageError
from andon.store.codec import decode_decisions, decode_predictions
from andon.store.wal import Frame, FrameKind, read_stream, streams

pytestmark = pytest.mark.line

replace = msgspec.structs.replace


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    # A home whose sockets' paths would be too long for the kernel.
    running = Line(tmp_path / ("home-" + "x" * 90))
    yield running
    running.close()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """Two workers and no route, for the tests that leave a line as it was: each worker takes a second to begin."""
    running = Line(tmp_path_factory.mktemp("calm") / "home")
    running.start()
    yield running
    running.close()


def log(line: Line) -> list[Decision]:
    wal = line.workspace.wal_dir
    frames = [entry for name in streams(wal) if name[0] == "w" for entry in read_stream(wal, name)]
    assert all(isinstance(frame, Frame) for frame in frames)
    return [
        row
        for frame in frames
        if isinstance(frame, Frame) and frame.kind == FrameKind.DECISION
        for row in decode_decisions(FIELDS, frame)
    ]


class Load:
    """Clients that ask all the time over keep-alive connections and keep every answer with when it came."""

    def __init__(self, line: Line, clients: int = 4) -> None:
        self.answers: list[tuple[float, int, dict[str, Any], float]] = []
        self.broken = 0
        self._line = line
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._line.port, timeout=15)
        number = 0
        while not self._stop.is_set():
            age = float(number % 100)
            id = f"{client}-{number}" if number % 2 else None
            body = msgspec.json.encode({"x": {"age": age}, **({} if id is None else {"id": id})})
            try:
                connection.request("POST", DECISIONS, body)
                answer = connection.getresponse()
                found = msgspec.json.decode(answer.read())
            except (OSError, http.client.HTTPException):
                self.broken += 1
                connection.close()
                time.sleep(0.01)
                continue  # the same id again, or a new nameless case
            self.answers.append((time.monotonic(), answer.status, found, age))
            number += 1
        connection.close()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def statuses(self) -> Counter[int]:
        return Counter(status for _, status, _, _ in self.answers)


@pytest.mark.parametrize("rounds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ids_are_kept_across_workers_restart_and_kill(line: Line, rounds: int) -> None:
    line.route(live="v1", bundles={"v1": line.seal()}, levels={"*": "full"})
    line.start()
    answers = {f"case-{n}": line.decide(n, id=f"case-{n}") for n in range(30)}
    assert {status for status, _ in answers.values()} == {200}
    nameless = [line.decide(n)[1]["id"] for n in range(6)]
    for again in range(rounds + 1):
        for id, answer in answers.items():
            assert line.decide(float(id[5:]), id=id) == answer
            assert line.call("GET", f"{DECISIONS}/{id}")[1]["decision"] == answer[1]["decision"]
        assert line.decide(99.0, id="case-3")[0] == 409
        for id in nameless:
            assert line.call("GET", f"{DECISIONS}/{id}")[1]["id"] == id
        if again < rounds:
            line.kill(again)
            line.start(again)
    assert len(log(line)) == 36


def test_a_worker_that_keeps_an_id_and_is_being_restarted_is_waited_for(calm: Line) -> None:
    line, before = calm, len(log(calm))
    ids = [f"waited-{n}" for n in range(12)]
    line.kill(1)
    found: dict[str, tuple[int, Any]] = {}
    threads = [threading.Thread(target=lambda id=id: found.update({id: line.decide(1.0, id=id)})) for id in ids]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert 0 < len(found) < len(ids)  # those of the other worker wait
    line.start(1)
    for thread in threads:
        thread.join(20)
    assert {status for status, _ in found.values()} == {202} and len(log(line)) == before + 12


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_kills_under_load_lose_no_answer(line: Line, kills: int) -> None:
    line.route(live="v1", bundles={"v1": line.seal()}, levels={"*": "full"})
    line.start()
    load = Load(line)
    for kill in range(kills):
        time.sleep(0.1)
        line.kill(kill % 2)
        line.start(kill % 2)
    end = time.monotonic() + 20
    while len(load.answers) <= 100 and time.monotonic() < end:
        time.sleep(0.02)
    load.stop()
    assert set(load.statuses()) == {200} and len(load.answers) > 100
    rows: dict[str, list[Decision]] = {}
    for row in log(line):
        rows.setdefault(row.id, []).append(row)
    for _, _, body, age in load.answers:
        (row,) = rows[body["id"]]
        assert (row.decision, row.confidence, row.x["age"], row.epoch) == (
            body["decision"],
            body["confidence"],
            age,
            body["epoch"],
        )


def test_switch_rollback_and_stop_under_load_with_the_database_gone(line: Line) -> None:
    bundles = {"v1": line.seal(100.0), "v2": line.seal(200.0)}
    base = {"bundles": bundles, "warm": ("v1", "v2")}
    line.route(live="v1", levels={"*": "full"}, **base)
    line.start()
    for path in line.workspace.home.glob("andon.db*"):
        path.unlink()
    load = Load(line)
    told: list[tuple[float, int]] = []
    for version, level in [("v2", "full"), ("v1", "full"), ("v2", "human"), ("v1", "full")]:
        time.sleep(0.2)
        route = line.route(live=version, levels={"*": level}, **base)
        told.append((time.monotonic(), route.epoch))
    time.sleep(0.4)
    load.stop()
    assert set(load.statuses()) == {200, 202} and load.broken == 0
    by_id = {row.id: row for row in log(line)}
    for when, _, body, _ in load.answers:
        row = by_id[body["id"]]
        old = [at for at, epoch in told if row.epoch < epoch]
        assert not old or when - old[0] < 0.25, "an answer of the old route left too late"
    acks = {ack.worker: ack for ack in line.workspace.routes.acks()}
    assert {ack.epoch for ack in acks.values()} == {told[-1][1]} and set(acks) == {"w0", "w1"}
    assert not list(line.workspace.home.glob("andon.db*"))


def test_reviews_reach_every_worker(calm: Line) -> None:
    line = calm
    ids = [line.decide(1.0, id=f"reviewed-{n}")[1]["id"] for n in range(6)]
    line.workspace.outbox.append([Review(id, "negative", "person", "ann", 5) for id in ids])
    end = time.monotonic() + 5
    while any(line.decide(1.0, id=id)[0] != 200 for id in ids):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_worker_that_is_asked_to_end_finishes_what_was_begun(line: Line) -> None:
    line.config = replace(CONFIG, deadline_seconds=1.0)
    line.route(live="v1", bundles={"v1": line.seal()}, levels={"*": "full"})
    line.start()
    load = Load(line)
    time.sleep(0.3)
    assert line.kill(0, signal.SIGTERM) == 0
    time.sleep(0.2)
    load.stop()
    assert set(load.statuses()) <= {200, 503}
    begun = {body["id"] for _, status, body, _ in load.answers if status == 200}
    assert begun <= {row.id for row in log(line)}


def test_workers_end_with_their_parent(line: Line) -> None:
    line.start(0)
    processes = list(line.processes.values())
    os.close(line._pipe[1])
    assert [process.wait(15) for process in processes] == [0]
    line._pipe = (line._pipe[0], os.open(os.devnull, os.O_WRONLY))


def metrics(line: Line) -> tuple[str, int]:
    """The page of metrics, and how many decisions nobody has made by it."""
    connection = http.client.HTTPConnection("127.0.0.1", line.port, timeout=10)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    counted = re.findall(r'andon_decisions_total\{worker="(w\d)",decided_by="nobody",arm="none"\} (\d+)', page)
    return page, sum(int(count) for _, count in counted)


def test_metrics_of_all_workers_and_small_bodies_of_any_kind(calm: Line) -> None:
    line = calm
    time.sleep(1.2)  # workers tell one another once a second
    before = metrics(line)[1]
    for n in range(20):
        line.decide(float(n))
    time.sleep(1.2)
    page, after = metrics(line)
    assert after - before == 20
    for text in page.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) andon_\w+ .+|andon_\w+\{[^{}]+\} [0-9.e+-]+", text), text
    status, document = line.call("GET", "/openapi.json")
    assert status == 200 and document["openapi"].startswith("3.1")


def test_raw_sockets_slow_and_rude_clients(calm: Line) -> None:
    line = calm
    body = b'{"x": {"age": 1}}'
    request = b"POST %s HTTP/1.1\r\nHost: l\r\nContent-Length: %d\r\n\r\n%s" % (DECISIONS.encode(), len(body), body)
    with socket.create_connection(("127.0.0.1", line.port), timeout=10) as client:
        client.sendall(request * 200)  # pipelined far beyond the limit
        data = b""
        while data.count(b"HTTP/1.1 202") < 200:
            data += client.recv(1 << 16)
        for byte in request:
            client.sendall(bytes([byte]))
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 202")
        client.sendall(b"NONSENSE\r\n\r\n" + b"x" * 100_000)
        rest = b""
        while chunk := client.recv(1 << 16):
            rest += chunk
        assert rest.startswith(b"HTTP/1.1 400")
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", line.port)) as client:
            client.sendall(request[:-3])
    with socket.create_connection(("127.0.0.1", line.port), timeout=10) as client:
        client.sendall(b"POST /v1 HTTP/1.1\r\nHost: l\r\nContent-Length: 9000000\r\n\r\n" + b"y" * 300_000)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 413")
    assert line.decide()[0] == 202


def test_the_shadow_process_predicts_and_may_die(line: Line) -> None:
    bundles = {"v1": line.seal(100.0), "v2": line.seal(10.0)}
    line.route(live="v1", shadows=("v2",), bundles=bundles, levels={"*": "full"})
    line.start(0, "shadow")

    def labels(count: int) -> list[str | None]:
        end = time.monotonic() + 15
        while True:
            found = [row for one in read_stream(line.workspace.wal_dir, "s0") for row in _predictions(one)]
            if len(found) >= count or time.monotonic() > end:
                return [row.label for row in found]
            time.sleep(0.02)

    assert all(line.decide(20.0)[1]["decision"] == "negative" for _ in range(5))
    assert labels(5) == ["positive"] * 5
    line.kill("shadow")
    assert all(line.decide(20.0)[0] == 200 for _ in range(5))
    line.start("shadow")
    assert labels(10) == ["positive"] * 10
    assert line.kill("shadow", signal.SIGTERM) == 0


def _predictions(entry: Any) -> list[Any]:
    return decode_predictions(entry) if isinstance(entry, Frame) else []


def test_a_second_worker_of_the_same_number_and_a_taken_port_are_one_sentence(line: Line, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", line.port))
        other.listen()
        with pytest.raises(AssertionError, match=rf"port {line.port} on 127\.0\.0\.1 cannot be taken: Address already"):
            line.start(0)
    line.start(0)
    foreign = Line(tmp_path / "other")
    foreign.port = line.port
    try:
        with pytest.raises(AssertionError, match="cannot be taken: another line listens there"):
            foreign.start(0)
    finally:
        foreign.close()


def test_addresses_that_cannot_be_bound() -> None:
    with pytest.raises(UsageError, match="no such address"):
        bound_socket("no such host", 1, shared=False, line="a")
    port = free_port()
    with (
        bound_socket("127.0.0.1", port, shared=True, line="a") as first,
        bound_socket("127.0.0.1", port, shared=True, line="a"),
    ):
        first.listen()
        with pytest.raises(Conflict, match=f"port {port}"):
            bound_socket("127.0.0.1", port, shared=False, line="a")
