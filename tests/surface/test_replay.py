"""``andon deploy replay`` as it is called, and the gateway of another line as it is asked."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from tests.deploy.rig import CONFIG, FakeServed, Rig, by_age
from typer.testing import CliRunner

from andon.config import open_project
from andon.deploy import batch_model
from andon.errors import Denied, NotEnoughEvidence, Unavailable, UsageError
from andon.surface.cli import deploy
from andon.surface.replay import gateway_of

CHARTER = """
project: screening
inputs: {cough: bool?, age: float}
target: {name: result, classes: [negative, positive]}
safe_default: refer
slices: {older: "age >= 60"}
"""
MARK = {"line": "another"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("ANDON_TOKEN", raising=False)
    project = open_project(None)
    rig = Rig(project.workspace, CONFIG, {"v1": FakeServed()})
    rig.route(live="v1", levels={"*": "full"})
    for age in (5, 15, 75, 95):
        rig.decide({"age": float(age)}, id=f"a{age}")
    rig.decide(id="elsewhere", human="positive")
    rig.close()
    project.workspace.close()
    return CliRunner()


def call(run: CliRunner, *words: str) -> Any:
    app = typer.Typer()
    deploy.register(app)
    return run.invoke(app, ["deploy", "replay", *words], catch_exceptions=False)


def answers(monkeypatch: pytest.MonkeyPatch, predict: Any = by_age) -> None:
    found = SimpleNamespace(served=FakeServed(predict), version="v2")
    monkeypatch.setattr(batch_model, "choose", lambda *_: found)


def test_the_same_is_exit_code_0_and_a_difference_is_1(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers(monkeypatch)
    result = call(run)
    assert result.exit_code == 0, result.output
    assert "5 decisions read = 4 answered the same by v2 + 0 otherwise + 1 not replayable" in result.stdout
    assert "not replayable: 1 (it was decided elsewhere)" in result.stdout

    def flipped(columns: Any) -> Any:
        return np.ascontiguousarray(by_age(columns)[:, ::-1])

    answers(monkeypatch, flipped)
    result = call(run, "--slice", "older", "--out", "d.csv", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["read"], told["different"], told["other_decision"], told["compared"]) == (2, 2, 2, 2)
    assert (tmp_path / "d.csv").read_text().count("\n") == 3


def test_wrong_use_is_one_sentence(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch)
    with pytest.raises(UsageError, match="--since: expected a time"):
        call(run, "--since", "yesterday")
    with pytest.raises(NotEnoughEvidence):
        call(run, "--version", "v7")
    with pytest.raises(UsageError, match="leave out the release"):
        call(run, "v1", "--to", "http://127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer as a gateway does"):
        call(run, "--to", "http://127.0.0.1:1")
    with pytest.raises(UsageError, match=r"privacy\.stays is 'organisation'"):
        call(run, "--to", "http://gateway.example.org:8700")


class _Gateway(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._say(200, MARK)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, self.headers.get("authorization"), body))  # type: ignore[attr-defined]
        script = self.server.script  # type: ignore[attr-defined]
        status, answer = script.pop(0) if script else (200, None)
        age = body["x"]["age"]
        p = max(age, 100 - age) / 100
        usual = {"decision": "positive" if age > 50 else "negative", "decided_by": "model", "confidence": p}
        self._say(status, usual if answer is None else answer)

    def _say(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.send_header("retry-after", "-1")  # as a clock that was set back makes it
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Gateway)
    server.asked, server.script = [], []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    MARK["line"] = "another"
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_gateway_is_asked_row_by_row_and_waited_for_where_it_is_busy(run: CliRunner, gateway: Any) -> None:
    gateway.script = [(429, {"error": {"code": "overloaded"}}), (200, None), (202, {"status": "pending"}), (422, {"error": {"code": "contract"}})]  # fmt: skip
    result = call(run, "--to", gateway.url, "--token", "hush", "--json", "--tolerance", "0.001")
    told = json.loads(result.stdout)
    assert result.exit_code == 0, result.output
    assert (told["equal"], told["different"]) == (2, 0)
    assert told["not_replayable"] == {
        "no model decides it there": 1, "refused there (contract)": 1, "it was decided elsewhere": 1,
    }  # fmt: skip
    path, token, body = gateway.asked[0]
    assert (path, token, body) == ("/v1/projects/screening/decisions", "Bearer hush", {"x": {"age": 5.0}})
    assert "hush" not in result.output


def test_the_lines_own_gateway_is_refused_so_that_nothing_is_written_into_its_log(run: CliRunner, gateway: Any) -> None:
    project = open_project(None)
    MARK["line"] = project.workspace.unit_hash("this line")
    project.workspace.close()
    with pytest.raises(UsageError, match="is this line's own gateway"):
        call(run, "--to", gateway.url)
    assert gateway.asked == []


def test_a_token_that_is_missing_there_is_said(run: CliRunner, gateway: Any) -> None:
    gateway.script = [(401, {"error": {"code": "denied"}})]
    with pytest.raises(Denied, match="give one with --token"):
        call(run, "--to", gateway.url)
    project = open_project(None)
    with pytest.raises(UsageError, match="without a user") as raised:
        gateway_of(project, "http://me:hush@127.0.0.1:1", None)
    assert "hush" not in raised.value.message
    project.workspace.close()
