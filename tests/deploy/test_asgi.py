"""The ASGI face and the protocol are one: same answers to whatever is asked; bodies, clients and lifespans that end badly."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.rig import BASE, FakeServed, Rig
from tests.deploy.test_protocol import answers
from tests.deploy.transport import Transport

from andon.deploy.asgi import Face
from andon.deploy.protocol import Front
from andon.deploy.protocol_message import Answer, Reply, Request
from andon.deploy.protocol_reader import Limits
from andon.errors import Conflict
from andon.store.workspace import Workspace

LIMITS = Limits(body_bytes=2_000, target_bytes=300, request_seconds=0.2)
ROUTE: dict[str, Any] = {"live": "v1", "levels": {"*": "partial"}, "thresholds": {"v1/*": 0.8}}


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, Rig]]:
    """Two workers of projects that are alike."""
    made, spaces = [], []
    for _ in range(2):
        spaces.append(Workspace.create(tmp_path_factory.mktemp("asgi") / "home"))
        made.append(Rig(spaces[-1], models={"v1": FakeServed()}))
        made[-1].route(**ROUTE)
    yield made[0], made[1]
    for rig, space in zip(made, spaces, strict=True):
        rig.close()
        space.close()


def by_protocol(rig: Rig, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> Any:
    front = Front(rig.gateway, LIMITS)
    connection, transport = front.connection(), Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"host: line"]
    lines += [name + b": " + value for name, value in headers]
    connection.data_received(b"\r\n".join([*lines, b"content-length: %d" % len(body)]) + b"\r\n\r\n" + body)
    rig.until(lambda: bool(transport.data))
    ((status, found, text),) = answers(transport.data, heads=method == "HEAD")
    found.pop("date")
    found.pop("connection", None)
    return status, found, alike(text)


def by_asgi(
    rig: Rig, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes, root: str = ""
) -> Any:
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "method": method,
        "path": root + unquote(path.decode("latin-1")),
        "raw_path": root.encode() + path,
        "query_string": query,
        "root_path": root,
        "headers": [(b"host", b"line"), *headers, (b"content-length", b"%d" % len(body))],
    }
    sent = ask(Face(rig.gateway, LIMITS), scope, [body[:9], body[9:]], rig)
    found = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, alike(sent[1]["body"])


def alike(body: bytes) -> bytes:
    """Without what two lines never have in common: ids of a server, times, the mark of the line, counters."""
    body = re.sub(rb"w0-[0-9a-f]{8}-\d+", b"ID", body)
    body = re.sub(rb"\d{4}-\d\d-\d\dT[\d:.]+Z", b"TIME", body)
    body = re.sub(rb'"line":"[^"]*"', b"LINE", body)
    return body.partition(b"# HELP")[0] if b"andon_requests_total" in body else body


def ask(face: Face, scope: dict[str, Any], pieces: list[bytes | None], rig: Rig | None = None) -> list[dict[str, Any]]:
    """What the face sends; a piece of the body that is None is a client that goes away."""
    sent: list[dict[str, Any]] = []
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.sleep(60)
        piece = left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def drive() -> None:
        task = asyncio.ensure_future(face(scope, receive, send))
        while not task.done():
            if rig is not None:
                rig.turn()
            await asyncio.sleep(0)
        await task

    asyncio.run(drive())
    return sent


TARGETS = st.one_of(
    st.sampled_from(
        [
            b"/decisions",
            b"/feedback",
            b"/decisions/a1",
            b"/decisions/a%20b",
            b"/decisions/",
            b"",
            b"/x",
            b"/decisions?q=1",
        ]
    ).map(BASE.encode().__add__),
    st.sampled_from(
        [b"/metrics", b"/openapi.json", b"/v2", b"/v2/health/live", b"/v2/models/screening", b"/", b"/ping"]
    ),
    st.sampled_from(
        [b"/v2/models/screening/infer", b"/invocations", b"/v1/projects/other/decisions", b"/a%ff", b"/" * 300]
    ),
    st.just(b"/" * 301),
)
BODIES = st.one_of(
    st.sampled_from(
        [
            b'{"x": {"age": 5}}',
            b'{"x": {"age": 50}, "id": "a1"}',
            b'{"x": {"age": 95, "cough": true}, "id": "a b"}',
            b'{"x": {"age": "old"}}',
            b'{"id": "a1", "kind": "label", "value": "negative"}',
            b'{"inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [5, 95]}]}',
            b'{"dataframe_records": [{"age": 5}, {"age": 50}]}',
            b"[]",
            b"{",
            b"",
            b" " * 2_000,
            b" " * 2_001,
        ]
    ),
    st.binary(max_size=30),
)
HEADERS = st.lists(
    st.sampled_from(
        [(b"content-type", b"application/json"), (b"content-type", b"text/csv"), (b"authorization", b"Bearer x"), (b"x-a", b"\xe9"), (b"x-request-id", b"mine")]
    ),
    max_size=3,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["GET", "HEAD", "POST", "POST", "POST", "PUT", "TRACE"]), TARGETS, HEADERS, BODIES)
def test_both_faces_answer_the_same(
    rigs: tuple[Rig, Rig], method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    one, other = rigs
    expected = by_protocol(one, method, target, headers, body)
    for name in ("content-length",) if b"metrics" in target or b"a1" in target else ():
        expected[1].pop(name)
    found = by_asgi(other, method, target, headers, body)
    if headers.count((b"x-request-id", b"mine")) != 1:  # each made one of its own, or needed none
        made = [one[1].pop("x-request-id", None) for one in (expected, found)]
        assert len(made[0] or "") == len(made[1] or "")
    found[1].pop("content-length") if "content-length" not in expected[1] else None
    assert found == expected
    assert [one.wal.next_sequence] == [other.wal.next_sequence], "both wrote the same number of rows"


def test_under_a_mount_paths_count_from_there(rigs: tuple[Rig, Rig]) -> None:
    rig = rigs[0]
    decide = f"{BASE}/decisions".encode()
    assert by_asgi(rig, "POST", decide, [], b'{"x": {"age": 5}}', root="/ml")[0] == 200
    assert by_asgi(rig, "GET", b"/", [], b"", root="/ml")[0] == 404


class Echo:
    def __init__(self) -> None:
        self.asked: list[Request] = []

    def submit(self, request: Request, reply: Reply) -> None:
        self.asked.append(request)
        reply(Answer(200, request.body, "text/plain", (("x-a", "b"),)))


SCOPE: dict[str, Any] = {"type": "http", "method": "POST", "path": "/a", "headers": [(b"X-Y", b"z")]}


def test_a_body_is_taken_to_the_last_byte_that_is_allowed() -> None:
    echo = Echo()
    sent = ask(Face(echo, LIMITS), SCOPE, [b"a" * 1_000, b"", b"b" * 1_000])
    assert sent[0]["status"] == 200 and len(sent[1]["body"]) == 2_000 and echo.asked[0].headers == ((b"x-y", b"z"),)
    sent = ask(Face(echo, LIMITS), SCOPE, [b"a" * 1_000, b"b" * 1_001, b"never read" * 1_000])
    assert sent[0]["status"] == 413 and b"larger than 2000 bytes" in sent[1]["body"]
    length = {**SCOPE, "headers": [(b"content-length", b"2001")]}
    assert ask(Face(echo, LIMITS), length, [])[0]["status"] == 413  # nothing of it is read
    for digits, status in ((b"9" * 5_000, 413), (b"0" * 5_000 + b"2001", 413), (b"0" * 5_000 + b"2", 200)):
        assert (
            ask(Face(Echo(), LIMITS), {**SCOPE, "headers": [(b"content-length", digits)]}, [b"hi"])[0]["status"]
            == status
        )
    assert len(echo.asked) == 1


def test_a_client_that_goes_away_before_its_request_is_whole_asked_nothing() -> None:
    echo = Echo()
    assert ask(Face(echo, LIMITS), SCOPE, [b"half", None]) == [] and not echo.asked
    sent = ask(Face(echo, LIMITS), SCOPE, [])  # it sends nothing more, and waits
    assert sent[0]["status"] == 408 and b"within 0.2 seconds" in sent[1]["body"] and not echo.asked


def test_a_client_that_goes_away_afterwards_is_no_error(rigs: tuple[Rig, Rig]) -> None:
    rig = rigs[0]

    async def send(message: Any) -> None:
        raise OSError("gone")

    async def receive() -> Any:
        return {"type": "http.request", "body": b'{"x": {"age": 5}, "id": "late"}'}

    async def drive() -> None:
        scope = {**SCOPE, "path": f"{BASE}/decisions"}
        task = asyncio.ensure_future(Face(rig.gateway, LIMITS)(scope, receive, send))
        while not task.done():
            rig.turn()
            await asyncio.sleep(0)
        await task

    asyncio.run(drive())
    assert rig.call("GET", f"{BASE}/decisions/late")[0] == 200


def test_a_websocket_is_turned_away() -> None:
    sent = ask(Face(Echo()), {"type": "websocket"}, [])
    assert sent == [{"type": "websocket.close", "code": 1000}]


class Life:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.did: list[str] = []

    async def start(self) -> None:
        self.did.append("start")
        if self.error:
            raise self.error

    async def stop(self) -> None:
        self.did.append("stop")


@pytest.mark.parametrize("error", [None, Conflict("the log is taken")])
def test_the_lifespan_starts_and_stops_or_says_why_not(error: Exception | None) -> None:
    life, sent = Life(error), []
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Face(Echo(), running=life)({"type": "lifespan"}, receive, send))
    if error is None:
        assert [one["type"] for one in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert life.did == ["start", "stop"]
    else:
        assert sent == [{"type": "lifespan.startup.failed", "message": "the log is taken"}]
