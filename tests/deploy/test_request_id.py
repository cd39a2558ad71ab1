"""Request ids: what a client calls its request comes back on every answer to it, errors always have one, and so has the log."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.deploy.test_protocol import App, answers, connect
from tests.deploy.transport import Transport

from andon.deploy.asgi import Face
from andon.deploy.protocol_message import Answer, Reply, Request, request_id
from andon.deploy.protocol_reader import Limits

NAME = "x-request-id"


def get(id: bytes | None = None, more: bytes = b"") -> bytes:
    head = b"" if id is None else b"X-Request-ID: %b\r\n" % id
    return b"GET /a HTTP/1.1\r\nHost: l\r\n%b%b\r\n" % (head, more)


def sent(transport: Transport) -> list[tuple[int, str | None]]:
    return [(status, headers.get(NAME)) for status, headers, _ in answers(bytes(transport.data))]


@pytest.mark.parametrize("id", [b"a", b"A-z.0_9:/+=@", b"x" * 128])
def test_a_sound_id_is_repeated_on_every_answer(id: bytes) -> None:
    connection, transport, _ = connect()
    for _ in range(3):  # the same head again and again
        connection.data_received(get(id))
    assert sent(transport) == [(200, id.decode())] * 3


@pytest.mark.parametrize("id", [b"", b"x" * 129, b"a b", b'a"', b"a;b", b"\xff", b"a,b", b"%41", b"<b>"])
def test_another_one_is_not_repeated_but_made(id: bytes) -> None:
    connection, transport, _ = connect()
    connection.data_received(get(id) + get(id))
    found = [made for _, made in sent(transport)]
    assert len(set(found)) == 2 and all(re.fullmatch("[0-9a-f]{16}", made or "") for made in found)


def test_two_ids_are_none_and_a_plain_request_has_none_on_success() -> None:
    connection, transport, _ = connect()
    connection.data_received(get(b"a", b"x-request-ID: b\r\n"))
    connection.data_received(get())
    connection.data_received(get())  # by its known head
    (_, made), plain, known = sent(transport)
    assert made not in ("a", "b") and len(made or "") == 16 and plain == known == (200, None)


def test_a_head_with_an_id_is_not_kept_and_a_known_one_borrows_none() -> None:
    connection, transport, _ = connect()
    connection.data_received(get(b"first"))
    assert not connection.front.known
    connection.data_received(get())
    connection.data_received(get(b"second"))
    connection.data_received(get())
    assert len(connection.front.known) == 1
    assert sent(transport) == [(200, "first"), (200, None), (200, "second"), (200, None)]


class Mixed(App):
    """Every second answer is an error."""

    def answer(self, at: int) -> None:
        self.replies[at](Answer(429 if at % 2 else 200, b"{}", headers=(("retry-after", "1"),) if at % 2 else ()))


@given(st.lists(st.sampled_from([None, b"one", b"two", b"n\x01"]), min_size=1, max_size=9), st.randoms())
def test_pipelined_answers_have_each_their_own_in_any_order(ids: list[bytes | None], random: Any) -> None:
    connection, transport, app = connect(Mixed(later=True))
    connection.data_received(b"".join(map(get, filter(lambda id: id != b"n\x01", ids))))
    order = list(range(len(app.replies)))
    random.shuffle(order)
    for at in order:
        app.answer(at)
    expected = [id for id in ids if id != b"n\x01"]
    found = sent(transport)
    assert len(found) == len(expected)
    for at, ((status, name), id) in enumerate(zip(found, expected, strict=True)):
        assert status == (429 if at % 2 else 200)
        assert name == id.decode() if id else bool(name) == (status == 429)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\n\r\n", 400),
        (b"GET /%b HTTP/1.1\r\nHost: l\r\n\r\n" % (b"a" * 9000), 414),
        (b"GET /a HTTP/1.1\r\nHost: l\r\nx: %b\r\n\r\n" % (b"a" * 17000), 431),
        (b"POST /a HTTP/1.1\r\nHost: l\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"TRACE /a HTTP/1.1\r\nHost: l\r\n\r\n", 501),
    ],
)
def test_what_is_refused_has_one_too(raw: bytes, status: int) -> None:
    connection, transport, _ = connect()
    connection.data_received(get(b"before"))
    connection.data_received(raw)
    before, (found, name) = sent(transport)
    assert before == (200, "before") and found == status and name not in (None, "before")
    named = raw.replace(b"\r\n", b"\r\nX-Request-ID: mine\r\n", 1) if status in (413, 501) else b""
    if named:
        connection, transport, _ = connect()
        connection.data_received(named)
        assert sent(transport) == [(status, "mine")]


def test_a_slow_request_is_refused_with_one() -> None:
    connection, transport, _ = connect(limits=Limits(request_seconds=0.0))
    connection.data_received(get(b"slow").replace(b"GET", b"POST")[:-2] + b"Content-Length: 5\r\n\r\nab")
    connection.check(1e12)
    assert sent(transport) == [(408, "slow")]


class Broken(App):
    def submit(self, request: Request, reply: Reply) -> None:
        int("marked input")


@pytest.mark.parametrize("id", [b"a-17", None])
def test_the_log_names_the_request_the_place_and_no_value(id: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    connection, transport, _ = connect(Broken())
    connection.data_received(get(id))
    ((status, name),) = sent(transport)
    assert status == 500 and name and (id is None or name == id.decode())
    assert f"request {name} made the gateway fail: ValueError in submit (test_request_id.py:" in caplog.text
    assert "marked" not in caplog.text and all(record.exc_info is None for record in caplog.records)


def through_asgi(app: Any, headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    out: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        out.append(message)

    scope = {"type": "http", "method": "GET", "path": "/a", "query_string": b"", "headers": headers}
    asyncio.run(Face(app)(scope, receive, send))
    return dict(out[0]["headers"])


def test_the_asgi_face_does_the_same() -> None:
    class Bad(App):
        def submit(self, request: Request, reply: Reply) -> None:
            reply(Answer(404, b"{}"))

    assert through_asgi(App(), [(b"x-request-id", b"mine")])[b"x-request-id"] == b"mine"
    assert b"x-request-id" not in through_asgi(App(), [])
    assert len(through_asgi(Bad(), [])[b"x-request-id"]) == 16
    assert through_asgi(Bad(), [(b"X-Request-Id", b"mine")])[b"x-request-id"] == b"mine"


@given(st.binary(max_size=200))
def test_whatever_is_given_what_is_repeated_is_plain(value: bytes) -> None:
    found = request_id([(b"x-request-id", value)])
    assert re.fullmatch(r"[A-Za-z0-9._:/+=@-]{1,128}", found)
