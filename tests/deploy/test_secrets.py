"""Marked secrets and marked inputs go through every way there is to fail; none of them is said or written anywhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.deploy.rig import BASE, FakeServed, Rig, by_age
from tests.deploy.test_redaction import CHARTER, FIELDS, HIDING, files_of
from tests.deploy.transport import Transport

from andon.deploy.gateway_metrics import render
from andon.deploy.protocol import Front
from andon.errors import AndonError, UserCodeError
from andon.model.remote import Remote, check
from andon.monitor.events import Emitter
from andon.monitor.ingest import Ingest
from andon.monitor.keeping import Keeper
from andon.monitor.notify import Notice, Notifier, check_targets
from andon.monitor.sink import check_sink
from andon.scope.charter import parse
from andon.store.workspace import Workspace
from andon.surface.doctor import examine

MARK = "hushhush"
BAD = "wronghush"
URL = f"http://ann:{MARK}@127.0.0.1:9/{MARK}?token={MARK}"
INPUT = {
    "age": 43.5,
    "name": f"{MARK}-name",
    "mail": f"{MARK}-mail",
    "card": f"{MARK}-card1234",
    "note": f"xyz{MARK}",
    "born": MARK,
}


def touchy(columns: Any) -> Any:
    if (columns["age"] == 99).any():
        raise UserCodeError(f"predict raised ValueError: nobody is called {columns['name'][-1]}")
    if (columns["age"] == 98).any():
        raise RuntimeError(f"a fault of ours with {columns['name'][-1]}")
    return by_age(columns)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said to anybody, the log with all its traces at the end."""
    caplog.set_level(logging.DEBUG)
    return []


def requests(token: str) -> list[bytes]:
    """One of each kind that fails, and some that do not."""
    rows: list[tuple[str, Any, str]] = [
        ("decisions", {"x": INPUT, "id": "a1"}, token),
        ("decisions", {"x": {**INPUT, "name": "other"}, "id": "a1"}, token),
        ("decisions", {"x": {**INPUT, "mail": "other"}, "id": "a1"}, token),
        ("decisions", {"x": {**INPUT, "age": 99}, "id": "a2"}, token),
        ("decisions", {"x": {**INPUT, "age": [MARK]}}, token),
        ("decisions", {"x": {**INPUT, "age": None}}, token),
        ("decisions", {"x": INPUT, "tags": 7}, token),
        ("decisions", {"x": INPUT}, BAD),
        ("feedback", [{"id": "a1", "kind": "label", "value": "neither"}], token),
        ("nowhere", {"x": INPUT}, token),
    ]
    made = []
    for path, body, secret in rows:
        raw = msgspec.json.encode(body)
        head = f"POST {BASE}/{path} HTTP/1.1\r\nHost: l\r\nAuthorization: Bearer {secret}\r\nContent-Length: {len(raw)}\r\n\r\n"
        made.append(head.encode() + raw)
    infer = msgspec.json.encode({"inputs": [{"name": "name", "datatype": "BYTES", "shape": [1], "data": [MARK]}]})
    for path in ("/v2/models/screening/infer", "/invocations"):
        head = f"POST {path} HTTP/1.1\r\nHost: l\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\n"
        made.append(f"{head}Content-Length: {len(infer)}\r\n\r\n".encode() + infer)
    return [
        *made,
        f"GET /metrics HTTP/1.1\r\nHost: l\r\nAuthorization: Basic {MARK}\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nHost: l\r\nX-Request-ID: {MARK} {MARK}\r\nAuthorization: {MARK}\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nHost: l\r\nAuthorization: Bearer {token}\r\nX: {'y' * 20_000}\r\n\r\n".encode(),
        f"POST / HTTP/1.1\r\nAuthorization: Bearer {token}\n{MARK}\r\n\r\n".encode(),
    ]


def through_the_gateway(rig: Rig, token: str) -> list[str]:
    front, told = Front(rig.gateway), []
    for raw in requests(token):
        connection, transport = front.connection(), Transport()
        connection.connection_made(transport)  # type: ignore[arg-type]
        connection.data_received(raw)
        rig.until(lambda transport=transport: bool(transport.data))  # type: ignore[misc]
        told.append(bytes(transport.data).decode("latin-1"))
    submit, rig.gateway.submit = rig.gateway.submit, _broken  # type: ignore[method-assign]
    connection, transport = front.connection(), Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.data_received(requests(token)[0].replace(b"Host: l", b"Host: another", 1))
    rig.gateway.submit = submit  # type: ignore[method-assign]
    assert transport.data.startswith(b"HTTP/1.1 500")
    return [*told, bytes(transport.data).decode("latin-1"), render({"w0": rig.desk.gauge()})]


def _broken(request: Any, reply: Any) -> None:
    raise ValueError(f"{request.body!r} {request.headers!r}")


def by_other_doors(space: Workspace) -> list[str]:
    """Events, notices and a remote model at an address with a password, all of which fail."""
    told = []
    charter = parse(CHARTER)
    emitter = Emitter(space, charter, URL)
    told += emitter.turn(1.0)
    emitter.close()
    notifier = Notifier([URL, f"json://ann:{MARK}@127.0.0.1:9/{MARK}"])
    notifier.add(Notice("screening: alarm error fired", "it is high", "error", 0, "firing", "screening"))
    told += [repr(delivery) for delivery in notifier.flush()]
    assert len(told) >= 2
    stays = f'{{logging: {{events: "{URL}"}}, privacy: {{stays: device, '
    for wrong in (
        lambda: check(Remote(URL, "screening"), "organisation"),
        lambda: parse(CHARTER.replace("{privacy: {", stays)),
        lambda: check_sink(URL, "device"),
        lambda: check_targets([f"nothing://ann:{MARK}@x/{MARK}"]),
    ):
        try:
            wrong()
        except AndonError as error:
            told += [str(error), repr(error), repr(error.to_dict())]
    return told


def test_no_secret_and_no_hidden_input_is_said_or_written(
    tmp_path: Path, said: list[str], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    space = Workspace.create(tmp_path / ".andon")
    rig = Rig(space, msgspec.structs.replace(HIDING, tokens_required=True), {"v1": FakeServed(touchy, FIELDS)})
    token, _ = rig.access.create("app", "client", now_us=0)
    rig.route(live="v1", levels={"*": "full"})
    said += through_the_gateway(rig, token)
    rig.route(live="v1", levels={"*": "human"})
    Ingest(space, parse(CHARTER)).finish()
    Keeper(space, 1).turn()
    said += by_other_doors(space)
    said += [event.reason + repr(event.evidence) for event in space.journal.read(limit=1000)]
    said.append(repr(examine(tmp_path, deep=True, log=True, workspace=space)))
    rig.close()
    key, other = space.redaction_key(), space.key
    space.close()
    out = capsys.readouterr()
    said += [caplog.text, out.out, out.err, *(record.getMessage() for record in caplog.records)]
    hidden = [token, BAD, MARK, key.hex(), other.hex()]
    for text in said:
        for secret in hidden:
            assert secret not in text, text[:600]
    for path, content in files_of(tmp_path / ".andon").items():
        for raw in (token.encode(), BAD.encode(), MARK.encode(), *(() if path.endswith("key") else (key, other))):
            assert raw not in content, path
