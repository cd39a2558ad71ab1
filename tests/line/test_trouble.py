"""What goes wrong around a line: one clear sentence, the right status, nothing lost, and on it goes afterwards."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.line.database import locked
from tests.line.toyline import Running

from andon.deploy.line import open_inbox
from andon.errors import Unavailable
from andon.model.bundle import bundle_path
from andon.store import view

pytestmark = pytest.mark.line


def full(line: Running) -> None:
    line.line.switch("v1", actor="test")
    line.line.automate("full", actor="test")


def damage(line: Running, version: str) -> str:
    """Change one byte of a release's model; the name of the file."""
    route = line.project.workspace.routes.current()
    assert route is not None
    folder = bundle_path(line.project.workspace.home, route.bundles[version])
    model = next(path for path in folder.iterdir() if path.name.startswith("model.") and path.suffix != ".py")
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.chmod(0o600)
    model.write_bytes(content)
    return model.name


def up(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "andon", "up", "--project", str(root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# ------------------------------------------------------------------------------------------------------ port taken


def test_a_taken_port_is_one_sentence_and_leaves_the_other_alone(running: Callable[..., Running]) -> None:
    first, second = running(1), running(2)
    with socket.socket() as other:
        other.bind(("127.0.0.1", second.port))
        other.listen()
        refused = up(second.root)
    assert refused.returncode == 4 and "Traceback" not in refused.stderr
    assert f"port {second.port} on 127.0.0.1 is taken by another program" in refused.stderr
    assert "another port" in refused.stderr
    first.start()
    text = (second.root / "andon.yaml").read_text().replace(f"port: {second.port}", f"port: {first.port}")
    (second.root / "andon.yaml").write_text(text)
    refused = up(second.root)
    assert refused.returncode == 4 and f"port {first.port}" in refused.stderr
    assert first.decide()[0] == 202


# ----------------------------------------------------------------------------------------------- second controller


def test_a_second_controller_stands_by_and_takes_over(running: Callable[..., Running]) -> None:
    line = running(1)
    line.start()
    line.until(lambda: "this controller leads" in line.log("controller"), 20, "no controller leads")
    reading, writing = os.pipe()
    log = line.root / "second.log"
    command = [sys.executable, "-m", "andon", "process", "controller", "--project", str(line.root)]
    command += ["--ship-seconds", "0.3", "--parent-fd", str(reading)]
    with log.open("w") as output:
        second = subprocess.Popen(command, pass_fds=(reading,), stderr=output)
    try:
        line.until(lambda: "another controller leads" in log.read_text(), 20, "the second controller says nothing")
        time.sleep(1.0)
        assert log.read_text().count("another controller leads") == 1 and "(term" not in log.read_text()
        leader = line.pid("controller")
        assert leader is not None
        os.kill(leader, signal.SIGKILL)  # and the engine is not asked to start it again
        end = time.monotonic() + 20
        while "this controller leads" not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        assert line.decide(id="case-1")[0] == 202
        _in_the_inbox(line, "case-1")
    finally:
        os.close(writing)  # its parent is gone
        assert second.wait(20) == 0
        os.close(reading)


def _in_the_inbox(line: Running, *ids: str) -> None:
    inbox = open_inbox(line.project.workspace, line.project.charter)
    end = time.monotonic() + 20
    while not {item.id for item in inbox.queue(100)} >= set(ids):
        assert time.monotonic() < end, "the cases are not in the inbox"
        time.sleep(0.05)


# -------------------------------------------------------------------------------------------------- database locked


def test_with_the_database_locked_answers_go_on_and_the_controller_says_so_once(
    running: Callable[..., Running],
) -> None:
    line = running(1)
    full(line)
    line.start()
    line.until(lambda: "this controller leads" in line.log("controller"), 20, "no controller leads")
    with locked(line.project.workspace.home):
        took = []
        for n in range(20):
            begun = time.monotonic()
            assert line.decide(float(n), id=f"auto-{n}")[0] == 200
            took.append(time.monotonic() - begun)
        line.project.workspace.db.busy_seconds = 0.2
        line.line.stop(actor="test", reason="people take over")
        assert line.decide(id="case-1")[0] == 202
        line.until(lambda: "is unavailable" in line.log("controller"), 20, "the controller does not say that it waits")
        time.sleep(1.0)
    line.until(lambda: "going on" in line.log("controller"), 20, "the controller does not go on")
    assert line.log("controller").count("is unavailable") == 1 and "Traceback" not in line.log("controller")
    assert max(took) < 2.0
    _in_the_inbox(line, "case-1")
    assert view.decisions(line.project.workspace).height == 21


# -------------------------------------------------------------------------------------------------- corrupt bundles


def test_a_corrupt_bundle_answers_nothing_people_do(running: Callable[..., Running]) -> None:
    line = running(1)
    full(line)
    name = damage(line, "v1")
    line.start()
    status, body = line.decide(id="case-1")
    assert (status, body["status"]) == (202, "pending")
    (ack,) = line.project.workspace.routes.acks()
    assert ack.loaded == () and name in ack.faults["v1"] and "changed" in ack.faults["v1"], ack
    row = view.decisions(line.project.workspace).row(0, named=True)
    assert row["error"] == ack.faults["v1"] and row["decided_by"] == "nobody" and row["confidence"] is None
    _in_the_inbox(line, "case-1")


def test_a_corrupt_release_is_refused_and_the_live_one_goes_on(running: Callable[..., Running]) -> None:
    line = running(2)
    line.line.shadow("v2", actor="test")
    full(line)
    name = damage(line, "v2")
    line.line.unshadow("v2", actor="test")
    line.start()
    for introduce in (line.line.switch, line.line.canary, line.line.blue_green):
        with pytest.raises(Unavailable, match=f"could not load v2: .*{name}"):
            introduce("v2", actor="test", reason="test")
        assert line.decide()[1]["version"] == "v1"


# ------------------------------------------------------------------------------------------------------- disk full


def test_with_the_disk_full_nobody_is_told_a_decision_that_is_not_written(running: Callable[..., Running]) -> None:
    line = running(1)
    full(line)
    line.start()
    kept = {f"before-{n}": line.decide(float(n), id=f"before-{n}") for n in range(5)}
    pid = line.pid("worker-0")
    assert pid is not None
    (segment,) = (line.project.workspace.wal_dir / "w0").glob("*.wal")
    size = segment.stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))  # less than a frame is left
    for n in range(5):
        status, body = line.decide(float(n), id=f"during-{n}")
        assert status == 503 and body["error"]["code"] == "unavailable", body
        assert "\n" not in body["error"]["message"] and "log" in body["error"]["message"], body
    assert (
        line.call("POST", "/v1/projects/toy/feedback", [{"id": "before-1", "kind": "label", "value": "large"}])[0]
        == 503
    )
    assert segment.stat().st_size == size
    assert line.decide(0.0, id="before-0") == kept["before-0"]  # what is written can still be told
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    kept |= {f"during-{n}": line.decide(float(n), id=f"during-{n}") for n in range(5)}
    assert {status for status, _ in kept.values()} == {200} and line.pid("worker-0") == pid
    line.restart()
    assert {id: line.decide(float(id[7:]), id=id) for id in kept} == kept
    assert sorted(view.decisions(line.project.workspace)["id"].to_list()) == sorted(kept)
