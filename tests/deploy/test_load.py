"""The load driver against servers that stall, break, refuse and drip; the schedule; what a verdict needs."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.core.verdict import Verdict
from andon.deploy.load import REQUESTS_MAX, Goal, Load, Messages, judge, measure, schedule, verdict_of
from andon.deploy.load_driver import BROKEN, TIMEOUT, Driver, Trace, read_answer
from andon.deploy.load_limit import STEPS_MAX, Step, search
from andon.errors import Unavailable, UsageError

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
Answer = Callable[[socket.socket, bytes], bool]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[str, int]]:
    """One thread for each connection; ``answer`` gets what came and says whether to go on."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := _received(connection):
                if not answer(connection, data):
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def ask(address: tuple[str, int], due: list[float], *, connections: int = 4, timeout: float = 5.0) -> Trace:
    driver = Driver(
        address, lambda number: b"GET /%d HTTP/1.1\r\n\r\n" % number, connections=connections, timeout=timeout
    )
    try:
        return driver.run(due)
    finally:
        driver.close()


def test_a_stall_shows_in_every_request_that_was_due_meanwhile() -> None:
    until = [0.0]

    def stalls(connection: socket.socket, data: bytes) -> bool:
        if data.startswith(b"GET /20 "):
            until[0] = time.monotonic() + 0.4
        time.sleep(max(0.0, until[0] - time.monotonic()))
        connection.sendall(OK)
        return True

    with server(stalls) as address:
        trace = ask(address, schedule(200, 0.5, spacing="even"), connections=2)
    late = sum(took > 0.1 for took in trace.latency)
    assert set(trace.status) == {200}
    assert late > 40  # a closed loop would have seen two: the others were not sent
    assert trace.waited > 40


def test_what_is_never_answered_is_a_timeout_and_its_connection_is_opened_anew() -> None:
    def swallows(connection: socket.socket, data: bytes) -> bool:
        if not data.startswith(b"GET /1 "):
            connection.sendall(OK)
        return True

    with server(swallows) as address:
        trace = ask(address, [0.0, 0.01, 0.4, 0.5], connections=1, timeout=0.25)
    assert list(trace.status) == [200, TIMEOUT, 200, 200]
    assert trace.latency[1] == math.inf
    assert trace.reopened == 1


@pytest.mark.parametrize(
    "nonsense", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n"]
)
def test_what_is_no_answer_of_ours_is_broken(nonsense: bytes) -> None:
    def talks(connection: socket.socket, data: bytes) -> bool:
        connection.sendall(nonsense)
        return True

    with server(talks) as address:
        assert set(ask(address, [0.0, 0.1]).status) == {BROKEN}


def test_answers_that_drip_and_requests_larger_than_a_buffer_are_whole() -> None:
    def drips(connection: socket.socket, data: bytes) -> bool:
        wanted = 3_000_000 - len(data)
        while wanted > 0 and (more := connection.recv(1 << 20)):
            wanted -= len(more)
        for at in range(len(OK)):
            connection.sendall(OK[at : at + 1])
        return True

    with server(drips) as address:
        driver = Driver(address, lambda number: b"x" * 3_000_000, connections=1)
        trace = driver.run([0.0, 0.0, 0.0])
        driver.close()
    assert list(trace.status) == [200, 200, 200]


def test_a_server_that_closes_after_each_answer_is_asked_again() -> None:
    def once(connection: socket.socket, data: bytes) -> bool:
        connection.sendall(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        return False

    with server(once) as address:
        trace = ask(address, [0.0, 0.1, 0.2], connections=1)
    assert list(trace.status) == [200, 200, 200]
    assert trace.reopened == 3


def test_a_closed_loop_asks_until_its_time_is_over() -> None:
    def answers(connection: socket.socket, data: bytes) -> bool:
        connection.sendall(OK)
        return True

    with server(answers) as address:
        driver = Driver(address, lambda number: b"GET / HTTP/1.1\r\n\r\n", connections=2)
        trace = driver.run_closed(0.3)
        driver.close()
    assert len(trace.due) > 10
    assert set(trace.status) == {200}
    assert 0.3 <= trace.seconds < 3


def test_nobody_there_is_said() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="nothing takes requests"):
            Driver(probe.getsockname(), lambda number: b"", connections=1)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_half_of_one_or_none(data: bytes) -> None:
    for given_ in (data, b"HTTP/1.1 200 OK\r\n" + data, OK[:30] + data):
        try:
            found = read_answer(given_)
        except ValueError:
            continue
        assert found is None or (found[0] >= 0 and found[1] > 0)


@given(st.integers(0, len(OK)))
def test_an_answer_is_known_by_its_head(cut: int) -> None:
    found = read_answer(OK[:cut])
    assert found == (None if cut < len(OK) - 2 else (200, len(OK)))


def test_a_schedule_is_fixed_by_its_seed_and_has_its_rate() -> None:
    due = schedule(500, 20, seed=3)
    assert due == schedule(500, 20, seed=3) != schedule(500, 20, seed=4)
    assert len(due) == pytest.approx(10_000, rel=0.04)
    gaps = np.diff(due)
    assert gaps.mean() == pytest.approx(gaps.std(), rel=0.05)  # exponential gaps
    assert max(due) < 20


@pytest.mark.parametrize(
    ("qps", "seconds"), [(0, 1), (-1, 1), (1, 0), (math.nan, 1), (REQUESTS_MAX + 1, 1), (1, 86_401)]
)
def test_a_schedule_without_sense_is_refused(qps: float, seconds: float) -> None:
    with pytest.raises(UsageError):
        schedule(qps, seconds)


def test_ids_differ_and_carry_the_run() -> None:
    messages = Messages("h:1", "/p", [{"x": {"a": 1}}, {"x": {"a": 2}, "tags": {"k": "v"}}], run="r1", token="t")
    assert len({messages(number) for number in range(100)}) == 100
    body = messages(1).partition(b"\r\n\r\n")[2]
    assert body == b'{"id":"load-r1-000000001","x":{"a":2},"tags":{"k":"v","load":"r1"}}'
    assert f"content-length: {len(body)}".encode() in messages(1)
    assert b"authorization: Bearer t\r\n" in messages(1)


def run(
    n: int = 4000, *, took: float = 0.002, late: int = 0, failed: int = 0, lag: float = 0.0, seconds: float = 0
) -> Load:
    """A run at 1,000 per second whose late answers are spread evenly."""
    trace = Trace([i / 1000 for i in range(n)])
    for i in range(n):
        trace.latency[i], trace.status[i], trace.lag[i] = took, 200, lag
    for i in np.linspace(0, n - 1, late).astype(int) if late else ():
        trace.latency[i] = 1.0
    for i in range(failed):
        trace.latency[i], trace.status[i] = math.inf, 503
    trace.seconds = seconds or n / 1000
    return measure(trace, Goal(1000.0, 10.0), "open", "even")


@pytest.mark.parametrize(
    ("load", "verdict"),
    [
        (run(), Verdict.PASS),
        (run(failed=1), Verdict.FAIL),
        (run(late=120), Verdict.PASS),
        (run(late=200), Verdict.UNSURE),
        (run(late=400), Verdict.FAIL),
        (run(3688), Verdict.PASS),
        (run(3687), Verdict.UNSURE),
        (run(lag=0.0009), Verdict.PASS),
        (run(lag=0.0011), Verdict.UNSURE),
        (run(late=400, lag=0.0011), Verdict.UNSURE),
    ],
)
def test_a_verdict_needs_answers_a_rate_a_punctual_driver_and_enough_requests(load: Load, verdict: Verdict) -> None:
    assert verdict_of(judge(load)) is verdict


def test_a_backlog_is_no_rate() -> None:
    assert verdict_of(judge(run(seconds=4.2))) is Verdict.PASS
    assert verdict_of(judge(run(seconds=4.22))) is Verdict.FAIL


@pytest.mark.parametrize("true", [0.5, 3.0, 90.0, 1234.0, 1e9])
def test_a_search_ends_and_brackets_the_limit(true: float) -> None:
    found = search(100.0, lambda rate: Step(rate, rate <= true, rate, 1.0, True, "late"))
    assert len(found.steps) <= STEPS_MAX
    if found.held is not None and found.broke is not None:
        assert found.held <= true < found.broke <= 1.1 * found.held
    else:
        assert true in (0.5, 1e9)


def test_a_search_ends_where_the_driver_does() -> None:
    found = search(100.0, lambda rate: Step(rate, rate < 300, rate, 1.0, rate < 300, "late"))
    assert found.broke is None
    assert "driver could not keep" in found.sentence
