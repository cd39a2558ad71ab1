from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.transport import Transport

from andon.deploy.protocol import Connection, Front
from andon.deploy.protocol_message import Answer, Reply, Request, Take
from andon.deploy.protocol_reader import Limits

GET = b"GET /a?b=c HTTP/1.1\r\nHost: line\r\n\r\n"


class App:
    """Answers at once with what it got, or keeps the replies until told."""

    def __init__(self, later: bool = False) -> None:
        self.later = later
        self.requests: list[Request] = []
        self.replies: list[Reply] = []

    def submit(self, request: Request, reply: Reply) -> None:
        self.requests.append(request)
        self.replies.append(reply)
        if not self.later:
            self.answer(len(self.replies) - 1)

    def answer(self, at: int) -> None:
        self.replies[at](Answer(200, self.requests[at].body or b"n%d" % at, "text/plain"))


class Short(App):
    """An application that takes bodies alone, but for those that begin with ``no``."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[Request] = []
        self.bodies: list[bytes] = []

    def shortcut(self, request: Request) -> Take | None:
        self.heads.append(request)
        return self.take if request.path == "/short" else None

    def take(self, body: bytes, reply: Reply) -> bool:
        if body.startswith(b"no"):
            return False
        self.bodies.append(body)
        reply(Answer(200, b"short " + body, "text/plain"))
        return True


def connect(app: App | None = None, limits: Limits | None = None) -> tuple[Connection, Transport, App]:
    app = app or App()
    connection = Front(app, limits).connection()
    transport = Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    return connection, transport, app


def answers(data: bytes, heads: bool = False) -> list[tuple[int, dict[str, str], bytes]]:
    """Every answer in the bytes; fails when they are not well-formed HTTP/1.1 to the last byte."""
    found = []
    while data:
        head, gap, data = data.partition(b"\r\n\r\n")
        assert gap, f"an unfinished head: {head!r}"
        first, *lines = head.split(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [\w' -]+", first)
        assert match, first
        headers = {}
        for line in lines:
            name, colon, value = line.partition(b": ")
            assert colon and re.fullmatch(rb"[a-z-]+", name), line
            headers[name.decode()] = value.decode("latin-1")
        if match[1] == b"100":
            assert not headers
            found.append((100, headers, b""))
            continue
        assert "date" in headers and "content-type" in headers
        size = 0 if heads else int(headers["content-length"])
        assert len(data) >= size, "a body that is too short"
        found.append((int(match[1]), headers, data[:size]))
        data = data[size:]
    return found


def test_one_request() -> None:
    connection, transport, app = connect()
    connection.data_received(GET)
    ((status, headers, body),) = answers(transport.data)
    assert (status, body, headers["content-type"]) == (200, b"n0", "text/plain")
    (request,) = app.requests
    assert (request.method, request.path, request.query, request.header(b"host")) == ("GET", "/a", "b=c", b"line")
    assert not transport.ended


def test_pipelined_answers_leave_in_order() -> None:
    connection, transport, app = connect(App(later=True))
    connection.data_received(GET * 3 + b"BAD\r\n\r\n")
    for at in (2, 0):
        app.answer(at)
    assert [body for _, _, body in answers(transport.data)] == [b"n0"]
    app.answer(1)
    found = answers(transport.data)
    assert [status for status, _, _ in found] == [200, 200, 200, 400]
    assert transport.ended and found[-1][1]["connection"] == "close"
    app.answer(1)  # a second answer to one request changes nothing
    assert len(answers(transport.data)) == 4


def test_chunked_body_in_single_bytes() -> None:
    connection, transport, app = connect()
    raw = b"POST / HTTP/1.1\r\nHost: l\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"
    for at in range(len(raw)):
        connection.data_received(raw[at : at + 1])
    assert app.requests[0].body == b"abcde" and app.requests[0].header(b"x-sum") is None
    assert len(answers(transport.data)) == 1


def test_head_has_a_length_and_no_body() -> None:
    connection, transport, _ = connect()
    connection.data_received(GET.replace(b"GET", b"HEAD"))
    ((_, headers, _),) = answers(transport.data, heads=True)
    assert headers["content-length"] == "2"


def test_expect_continue_waits_for_its_turn() -> None:
    connection, transport, app = connect(App(later=True))
    head = b"POST / HTTP/1.1\r\nHost: l\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    connection.data_received(GET + head)
    assert transport.data == b""
    app.answer(0)
    assert [status for status, _, _ in answers(transport.data)] == [200, 100]
    connection.data_received(b"hi")
    app.answer(1)
    assert [status for status, _, _ in answers(transport.data)] == [200, 100, 200]


def test_expect_of_too_large_a_body_is_refused_before_it_is_sent() -> None:
    connection, transport, _ = connect(limits=Limits(body_bytes=10))
    connection.data_received(b"POST / HTTP/1.1\r\nHost: l\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")
    assert [status for status, _, _ in answers(transport.data)] == [413]


def test_http_1_0_and_connection_close() -> None:
    connection, transport, _ = connect()
    connection.data_received(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert answers(transport.data)[0][1]["connection"] == "keep-alive"
    connection.data_received(b"GET / HTTP/1.1\r\nHost: l\r\nConnection: close\r\n\r\n" + GET)
    found = answers(transport.data)
    assert len(found) == 2 and found[1][1]["connection"] == "close" and transport.ended


def test_an_upgrade_is_not_granted_and_the_next_request_is_read() -> None:
    connection, transport, app = connect()
    connection.data_received(
        b"GET /1 HTTP/1.1\r\nHost: l\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n"
        + GET
    )
    assert [request.path for request in app.requests] == ["/1", "/a"]
    assert len(answers(transport.data)) == 2


WISH = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: l\r\n\r\n"


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_of_a_request_that_wishes_to_upgrade_is_its_body_and_no_request(step: int, chunked: bool) -> None:
    size, body = b"Content-Length: %d" % len(SMUGGLED), SMUGGLED
    if chunked:
        size, body = b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    raw = b"POST /1 HTTP/1.1\r\nHost: l\r\n" + WISH + size + b"\r\n\r\n" + body + GET
    connection, transport, app = connect()
    for at in range(0, len(raw), step):
        connection.data_received(raw[at : at + step])
    assert [(request.path, request.body) for request in app.requests] == [("/1", SMUGGLED), ("/a", b"")]
    assert app.requests[0].header(b"http2-settings") == b"A" and app.requests[0].header(b"upgrade") is None
    assert len(answers(transport.data)) == 2 and not transport.ended


def test_a_wish_to_upgrade_passes_no_bound_by() -> None:
    limits = Limits(head_bytes=200, body_bytes=10)
    for raw, expected in (
        (b"Content-Length: 11\r\n\r\n", [413]),
        (b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n", [100]),
        (b"X: " + b"y" * 200 + b"\r\n\r\n", [431]),
        (b"Host: m\r\n\r\n", [400]),
        (b"Connection: close\r\n\r\n", [200]),
    ):
        connection, transport, _ = connect(limits=limits)
        connection.data_received(POST + WISH + raw)
        assert [found[0] for found in answers(transport.data)] == expected


def test_a_length_with_zeros_before_it_is_a_length() -> None:
    connection, transport, app = connect(App(later=True))
    connection.data_received(GET + POST + b"Content-Length: " + b"0" * 5_000 + b"2\r\n\r\nhi" + GET)
    assert [request.body for request in app.requests] == [b"", b"hi", b""] and not transport.data


def test_an_absolute_target() -> None:
    connection, _, app = connect()
    connection.data_received(b"GET http://line:8700/metrics?x HTTP/1.1\r\nHost: line\r\n\r\n")
    assert (app.requests[0].path, app.requests[0].query) == ("/metrics", "x")


POST = b"POST / HTTP/1.1\r\nHost: l\r\n"
REFUSED = {
    "both lengths": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "both lengths, other order": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", 400),
    "a list of lengths": (POST + b"Content-Length: 5, 5\r\n\r\nabcde", 400),
    "a signed length": (POST + b"Content-Length: +5\r\n\r\nabcde", 400),
    "an endless length": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: l\n\n", 400),
    "bare LF in the head": (b"GET / HTTP/1.1\r\nHost: l\nX: y\r\n\r\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: l\rX: y\r\n\r\n", 400),
    "a folded header": (b"GET / HTTP/1.1\r\nHost: l\r\nX: y\r\n z\r\n\r\n", 400),
    "a space before the colon": (b"GET / HTTP/1.1\r\nHost : l\r\n\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\nHost: l\0m\r\n\r\n", 400),
    "a chunk size with a prefix": (POST + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n", 400),
    "a chunk ended by LF": (POST + b"Transfer-Encoding: chunked\r\n\r\n5\nabcde\n0\n\n", 400),
    "an endless chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
    "two codings": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None),
    "an unknown coding": (POST + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", None),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: l\r\nHost: m\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: l\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "CONNECT": (b"CONNECT l:80 HTTP/1.1\r\nHost: l\r\n\r\n", 501),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: l\r\n\r\n", 501),
    "no path": (b"OPTIONS * HTTP/1.1\r\nHost: l\r\n\r\n", 400),
    "an expectation": (POST + b"Expect: cookies\r\nContent-Length: 1\r\n\r\na", 417),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_what_could_be_read_in_two_ways_is_refused(name: str, step: int) -> None:
    raw, expected = REFUSED[name]
    connection, transport, app = connect()
    for at in range(0, len(raw), step):
        connection.data_received(raw[at : at + step])
    connection.data_received(GET)
    found = answers(transport.data)
    assert len(found) == 1 and not app.requests and transport.ended, found
    assert found[0][0] == expected or (expected is None and found[0][0] in (400, 501))
    assert found[0][1]["connection"] == "close" and b'"message"' in found[0][2]


def test_limits_of_head_target_and_body() -> None:
    limits = Limits(head_bytes=100, target_bytes=50, body_bytes=10)

    def status(raw: bytes) -> int:
        connection, transport, _ = connect(limits=limits)
        connection.data_received(raw)
        return answers(transport.data)[0][0]

    edge = b"GET / HTTP/1.1\r\nHost: l\r\nX: " + b"y" * (100 - len("Host: l\r\nX: \r\n"))
    assert status(edge + b"\r\n\r\n") == 200
    assert status(edge + b"y\r\n\r\n") == 431
    assert status(b"GET / HTTP/1.1\r\nHost: l\r\nX: " + b"y" * 100) == 431  # no end of the head in sight
    connection, transport, _ = connect(limits=limits)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: l\r\n\r\n")
    connection.data_received(b"GET / HTTP/1.1\r\nHost: l\r\nX: " + b"y" * 100)
    assert [found[0] for found in answers(transport.data)] == [200, 431]  # nor in that of a second request
    assert status(b"GET /" + b"a" * 49 + b" HTTP/1.1\r\nHost: l\r\n\r\n") == 200
    assert status(b"GET /" + b"a" * 50 + b" HTTP/1.1\r\nHost: l\r\n\r\n") == 414
    assert status(POST + b"Content-Length: 10\r\n\r\n0123456789") == 200
    assert status(POST + b"Content-Length: 11\r\n\r\n") == 413
    assert status(POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n6\r\nabcdef\r\n") == 413
    assert status(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"T: y\r\n" * 30) == 431


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begun", "piece", "most"),
    [
        (CHUNKED + b"1\r\na\r\n0\r\n", b"X: " + b"y" * 50, 16_384),  # a trailer that never ends
        (CHUNKED + b"1\r\na\r\n0\r\nX: ", b"y" * 53, 16_384),
        (CHUNKED, b"0" * 53, 16_384),  # the size of a chunk
        (CHUNKED + b"1;x=", b"y" * 53, 16_384),  # what a chunk says beside its size
        (CHUNKED, b"1;x=" + b"y" * 43 + b"\r\na\r\n", 16_384 * 2),  # the same, with a byte of body each time
        (GET, b"\r\n" * 26, 16_384),  # between two requests
    ],
)
def test_what_is_no_body_is_bounded_behind_the_head_too(begun: bytes, piece: bytes, most: int) -> None:
    connection, transport, app = connect()
    connection.data_received(begun)
    answered = len(app.requests)
    fed = 0
    while not transport.ended and fed < 1 << 20:
        assert len(answers(transport.data)) == answered
        connection.data_received(piece)
        fed += len(piece)
    assert [found[0] for found in answers(transport.data)][answered:] == [431]
    assert 16_384 < fed <= most + len(piece)


def test_single_bytes_in_chunks_and_a_trailer_at_the_edge_are_read() -> None:
    connection, _, app = connect()
    connection.data_received(CHUNKED)
    for _ in range(5_000):
        connection.data_received(b"0001;a=bcdef\r\n")
        connection.data_received(b"a")
        connection.data_received(b"\r\n")
    connection.data_received(b"0\r\n")
    connection.data_received(b"X: " + b"y" * 16_000)
    connection.data_received(b"\r\n\r\n")
    connection.data_received(GET)
    assert [len(request.body) for request in app.requests] == [5_000, 0]


def test_too_many_unanswered_requests_pause_reading() -> None:
    connection, transport, app = connect(App(later=True), Limits(pipeline=3))
    connection.data_received(GET * 2)
    assert transport.reading
    connection.data_received(GET)
    assert not transport.reading
    app.answer(0)
    assert transport.reading


@pytest.mark.parametrize("later", [False, True])
def test_no_more_requests_are_taken_in_a_turn_than_may_be_unanswered(later: bool) -> None:
    turns: list[Callable[[], None]] = []
    app = App(later)
    connection, transport = Front(app, later=turns.append).connection(), Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    one = GET.replace(b"line", b"l" * 400)
    connection.data_received(one * 600)  # as much as one read of a socket brings
    taken, edge = len(app.requests), 64 + 8192 // len(one)
    assert 64 <= taken <= edge and not transport.reading
    connection.data_received(one)  # was on its way already
    assert connection.eof_received() and not transport.closed
    answered = 0 if later else 601
    while taken < 601:
        assert not transport.closed and len(turns) == (not later)
        for at in range(answered, taken):
            app.answer(at)
        answered = max(answered, taken)
        turns.pop(0)()
        assert len(app.requests) - taken <= edge
        taken = len(app.requests)
    for at in range(answered, 601):
        app.answer(at)
    assert len(answers(transport.data)) == 601 and transport.closed and not turns


def test_what_waits_to_be_read_is_begun_for_a_drain_and_gone_with_its_connection() -> None:
    for end in ("drain", "lost", "close"):
        turns: list[Callable[[], None]] = []
        app = App()
        front = Front(app, Limits(pipeline=1), later=turns.append)
        connection, transport = front.connection(), Transport()
        connection.connection_made(transport)  # type: ignore[arg-type]
        first = GET.replace(b"Host", b"Connection: close\r\nHost") if end == "close" else GET
        connection.data_received(first + POST + b"Content-Length: 9000\r\n\r\n" + b"x" * 9000)
        if end == "drain":
            front.drain()
            assert not transport.closed
        elif end == "lost":
            connection.connection_lost(None)
        for turn in turns:
            turn()
        assert len(app.requests) == (2 if end == "drain" else 1)
        assert end == "lost" or (transport.ended and len(answers(transport.data)) == len(app.requests))


def test_a_client_that_does_not_read_is_paused_and_then_cut() -> None:
    connection, transport, _ = connect(limits=Limits(stall_seconds=10))
    connection.data_received(GET)
    connection.pause_writing()
    assert not transport.reading
    connection.check(time.monotonic() + 9)
    assert not transport.aborted
    connection.resume_writing()
    assert transport.reading
    connection.pause_writing()
    connection.check(time.monotonic() + 11)
    assert transport.aborted


def test_slow_and_idle_clients() -> None:
    limits = Limits(idle_seconds=60, request_seconds=15, linger_seconds=2)
    connection, transport, _ = connect(limits=limits)
    connection.check(time.monotonic() + 59)
    assert not transport.closed
    connection.check(time.monotonic() + 61)
    assert transport.closed

    connection, transport, _ = connect(limits=limits)
    connection.data_received(b"POST / HTTP/1.1\r\nHost: l\r\nContent-Le")
    connection.check(time.monotonic() + 14)
    assert not transport.data
    connection.check(time.monotonic() + 16)
    assert answers(transport.data)[0][0] == 408 and transport.ended
    connection.check(time.monotonic() + 3)
    assert transport.aborted

    connection, transport, _ = connect(App(later=True), limits)
    connection.data_received(GET)
    connection.check(time.monotonic() + 1000)  # it is us who are slow
    assert not transport.closed


def test_drain_finishes_what_was_begun() -> None:
    front = Front(App(later=True))
    app = front.application
    assert isinstance(app, App)
    idle, busy, late = (front.connection() for _ in range(3))
    transports = [Transport() for _ in range(3)]
    for connection, transport in zip((idle, busy, late), transports, strict=True):
        connection.connection_made(transport)  # type: ignore[arg-type]
    busy.data_received(GET)
    late.data_received(GET[:10])
    front.drain()
    assert transports[0].closed and not transports[1].closed
    app.answer(0)
    assert answers(transports[1].data)[0][1]["connection"] == "close" and transports[1].ended
    late.data_received(GET[10:])
    app.answer(1)
    assert answers(transports[2].data)[0][1]["connection"] == "close" and transports[2].ended
    after = Transport()
    front.connection().connection_made(after)  # type: ignore[arg-type]
    assert after.closed


def test_the_end_of_the_client_waits_for_its_answers() -> None:
    connection, transport, app = connect(App(later=True))
    connection.data_received(GET)
    assert connection.eof_received()
    app.answer(0)
    assert len(answers(transport.data)) == 1 and transport.closed
    connection, transport, _ = connect()
    assert not connection.eof_received()
    connection, transport, _ = connect(App(later=True))
    connection.data_received(GET)
    transport.can_write_eof = lambda: False  # type: ignore[method-assign]
    assert not connection.eof_received()  # under TLS there is nothing to keep open


def test_answers_after_the_connection_is_gone_are_thrown_away() -> None:
    connection, transport, app = connect(App(later=True))
    connection.data_received(GET)
    connection.connection_lost(None)
    app.answer(0)
    assert not transport.data and not connection.front.connections


def test_a_fault_of_our_own_is_a_500_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(App):
        def submit(self, request: Request, reply: Reply) -> None:
            raise ZeroDivisionError("ours")

    connection, transport, _ = connect(Broken())
    connection.data_received(GET)
    ((status, headers, body),) = answers(transport.data)
    assert status == 500 and b"ours" in body and headers["connection"] == "close" and transport.ended
    assert "ZeroDivisionError" in caplog.text


def test_a_fault_of_our_own_in_a_head_leaves_earlier_requests_their_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    connection, transport, app = connect(App(later=True))
    connection.data_received(GET)
    monkeypatch.setattr("andon.deploy.protocol_reader.request_id", lambda headers: 1 / 0)
    connection.data_received(GET.replace(b"line", b"another"))
    assert not transport.data
    app.answer(0)
    assert [found[0] for found in answers(transport.data)] == [200, 500] and transport.ended


PIECES = st.sampled_from(
    [GET, GET[:9], b"POST / HTTP/1.1\r\nHost: l\r\nContent-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n"]
    + [raw for raw, _ in REFUSED.values()]
    + [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"0\r\n\r\n",
        b"5\r\nabcde\r\n",
        b"Expect: 100-continue\r\n",
        b"Content-Length: 7\r\n",
    ]
    + [b"GET / HTTP/1.1\r\n", b"Host: l\r\n", b" ", b"\xff", b"X: " + b"y" * 90 + b"\r\n"]
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=12),
    st.lists(st.integers(1, 40), max_size=20),
    st.lists(st.sampled_from(["answer", "check", "pause", "resume", "eof", "lost", "drain"]), max_size=8),
    st.booleans(),
)
def test_any_bytes_get_well_formed_answers_or_a_closed_connection(
    pieces: list[bytes], cuts: list[int], events: list[str], later: bool
) -> None:
    raw = b"".join(pieces)
    connection, transport, app = connect(App(later), Limits(head_bytes=300, target_bytes=80, body_bytes=50, pipeline=4))
    acts: dict[str, Callable[[], Any]] = {
        "answer": lambda: list(map(app.answer, range(len(app.replies)))),
        "check": lambda: connection.check(time.monotonic() + 20),
        "pause": connection.pause_writing,
        "resume": connection.resume_writing,
        "eof": connection.eof_received,
        "lost": lambda: connection.connection_lost(None),
        "drain": connection.front.drain,
    }
    while raw:
        size = cuts.pop() if cuts else len(raw)
        if not transport.closed:
            connection.data_received(raw[:size])
        raw = raw[size:]
        if events:
            acts[events.pop()]()
    acts["answer"]()
    data = transport.data
    if any(request.method == "HEAD" for request in app.requests):
        return
    for status, headers, _ in answers(data):
        assert status in (100, 200, 400, 408, 413, 414, 417, 431, 501, 505)
        assert status in (100, 200) or headers["connection"] == "close"


def test_a_head_that_is_refused_gets_no_body() -> None:
    long = b"/" + b"a" * 100
    for raw, status in (
        (b"HEAD %s HTTP/1.1\r\nHost: l\r\n\r\n" % long, 414),
        (b"HEAD / HTTP/1.1\r\n\r\n", 400),
        (b"HEAD / HTTP/1.1\r\nHost: l\r\nContent-Length: 1000\r\n\r\n", 413),
    ):
        connection, transport, _ = connect(limits=Limits(target_bytes=50, body_bytes=50))
        connection.data_received(raw)
        head, _, body = transport.data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d" % status) and not body and transport.ended


def test_a_body_under_a_known_head_takes_the_shortcut_unless_it_is_refused() -> None:
    app = Short()
    connection, transport = Front(app, shortcut=app.shortcut).connection(), Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    for path, bodies in (("/short", (b"aa", b"bb", b"no", b"cc")), ("/long", (b"dd", b"ee"))):
        for body in bodies:
            connection.data_received(
                b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%b" % (path.encode(), body)
            )
    assert [body for _, _, body in answers(transport.data)] == [b"aa", b"short bb", b"no", b"short cc", b"dd", b"ee"]
    assert app.bodies == [b"bb", b"cc"]
    assert [(one.path, one.body) for one in app.requests] == [
        ("/short", b"aa"),
        ("/short", b"no"),
        ("/long", b"dd"),
        ("/long", b"ee"),
    ]
    assert [(one.path, one.body) for one in app.heads] == [("/short", b""), ("/long", b"")]


def test_an_answer_longer_than_the_known_sizes_says_its_length() -> None:
    front = Front(App())
    for size in (0, 2047, 2048, 2049, 100_000):
        data = front.render(Answer(200, b"x" * size, "text/plain"), keep=True, body=True, old=False)
        ((status, headers, body),) = answers(data)
        assert (status, headers["content-length"], len(body)) == (200, str(size), size)
