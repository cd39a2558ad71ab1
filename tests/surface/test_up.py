"""`andon up` for real: it says where it listens and what to do next, and every way in which it cannot run in one sentence."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from tests.ports import free_port
from typer.testing import CliRunner

from andon.config import open_project
from andon.errors import Conflict, UsageError
from andon.surface.cli import start
from andon.surface.line import Settings, example_call, line_processes, note, port_is_free
from andon.surface.relay import Relay

TLS = Path(__file__).parents[1] / "deploy" / "tls"
CHARTER = """
project: parts
inputs: {{width: float, worn: bool?, line: category}}
target: {{name: verdict, classes: [accept, reject]}}
safe_default: refer
metrics: {{error: {{of: error_rate, goal: "<= 0.2", alarm: "<= 0.2"}}}}
gateway: {{port: {port}, workers: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "andon.yaml").write_text(CHARTER.format(port=free_port()))
    return tmp_path


class Up:
    """A running `andon up`, and what it has said."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.path = folder / f"up-{time.monotonic_ns()}.txt"
        with self.path.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "andon", "up", *options], cwd=folder, stdout=out, stderr=out, start_new_session=True
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self.path.read_text()

    def until(self, words: str, seconds: float = 40) -> str:
        end = time.monotonic() + seconds
        while words not in self.said:
            if time.monotonic() > end or self.process.poll() is not None:
                pytest.fail(f"{words!r} was not said:\n{self.said}")
            time.sleep(0.05)
        return self.said

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def up() -> Iterator[Callable[..., Up]]:
    lines: list[Up] = []

    def make(folder: Path, *options: str) -> Up:
        lines.append(Up(folder, *options))
        return lines[-1]

    yield make
    for line in lines:
        if line.process.poll() is None:
            line.process.kill()
            line.process.wait()


def andon(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "andon", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.line
def test_it_says_where_it_listens_what_to_do_next_and_ends_with_ctrl_c(folder: Path, up: Callable[..., Up]) -> None:
    line = up(folder)
    said = line.until("Ctrl-C ends it")
    port = re.search(r"port: (\d+)", (folder / "andon.yaml").read_text())
    assert port is not None and f"parts is up at http://127.0.0.1:{port[1]}" in said
    assert "the line begins at level full (route 1)" in said and "no model answers" in said
    call = re.search(r"try it: +(curl .*)", said)
    assert call is not None
    if shutil.which("curl"):
        answer = subprocess.run(
            call[1] + " -s", shell=True, capture_output=True, text=True, timeout=30, check=True
        ).stdout
        assert '"status":"pending"' in answer, answer
    status = andon(folder, "status", "--json")
    assert status.returncode == 0 and f'"address": "http://127.0.0.1:{port[1]}"' in status.stdout
    line.until("this controller leads")
    assert (folder / ".andon" / "charter.yaml").read_text() == (folder / "andon.yaml").read_text()
    assert line.end() == 0
    assert "Finishing what is in flight" in line.said
    assert andon(folder, "status").stdout.count("the line is not running") == 2


@pytest.mark.line
def test_what_is_in_the_way_is_one_sentence_and_nothing_is_left_behind(folder: Path, up: Callable[..., Up]) -> None:
    first = up(folder)
    first.until("is up at")
    again = andon(folder, "up", "--port", str(free_port()))
    assert again.returncode == 4
    assert (
        again.stderr.startswith("andon: parts is up already at http://127.0.0.1:")
        and "Ctrl-C where it runs" in again.stderr
    )
    other = folder / "other"
    other.mkdir()
    shutil.copy(folder / "andon.yaml", other)
    taken = andon(other, "up")
    assert taken.returncode == 4
    assert re.match(r"andon: port \d+ on 127\.0\.0\.1 is taken by another program", taken.stderr)
    assert "--port" in taken.stderr
    assert not list((other / ".andon" / "run").glob("*.log"))


@pytest.mark.line
def test_tls_and_a_unix_socket_are_told_of_renewed_and_given_back(folder: Path, up: Callable[..., Up]) -> None:
    for name in ("cert", "key"):
        shutil.copy(TLS / f"{name}.pem", folder)
    path = folder / "line.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # as a line that was killed leaves it
    line = up(folder, "--uds", "line.sock", "--tls", "cert.pem", "key.pem", "--no-board")
    said = line.until("Ctrl-C ends it")
    address = re.search(r"parts is up at (https://127\.0\.0\.1:\d+)", said)
    assert address is not None and f"and at:      {path} (a Unix socket)" in said
    assert "The certificate is valid until 01 Jan 2126" in said and f"curl {address[1]}/v1" in said
    status = json.loads(andon(folder, "status", "--json").stdout)["running"]
    assert (status["address"], status["uds"]) == (address[1], str(path)) and f"and {path}" in status["sentence"]
    refused = andon(folder, "load", "--qps", "1")
    assert refused.returncode == 2 and "the line speaks TLS" in refused.stderr
    shutil.copy(TLS / "next.pem", folder / "cert.pem")
    line.process.send_signal(signal.SIGHUP)
    line.until("is not that of the certificate")
    shutil.copy(TLS / "other_key.pem", folder / "key.pem")
    line.process.send_signal(signal.SIGHUP)
    line.until("The certificate was read again; it is valid until 01 Jan 2127")
    again = andon(folder, "up", "--port", str(free_port()), "--uds", "line.sock")
    assert again.returncode == 4 and "is up already" in again.stderr
    assert line.end(signal.SIGTERM) == 0 and not path.exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--tls", "none.pem", "none.pem"), 2, "the certificate none.pem is not there"),
        (("--tls", str(TLS / "cert.pem"), str(TLS / "other_key.pem")), 2, "is not that of the certificate"),
        (("--uds", "andon.yaml"), 2, "andon.yaml is there already and is no socket"),
    ],
)
def test_doors_that_cannot_be_opened_stop_it_before_anything_starts(
    folder: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    refused = andon(folder, "up", *options)
    assert refused.returncode == code and words in refused.stderr and refused.stderr.startswith("andon: ")
    assert not list((folder / ".andon" / "run").glob("*.log"))


def test_an_address_that_nobody_can_tell_stops_it_before_anything_starts(folder: Path) -> None:
    with (folder / "andon.yaml").open("a") as file:
        file.write('alarms: {notify: ["foo://nowhere"]}\n')
    told = andon(folder, "up")
    assert told.returncode == 2
    assert told.stderr.startswith("andon: alarms.notify: apprise does not understand the foo:// address")
    assert not list((folder / ".andon" / "run").glob("*.log"))


@pytest.mark.line
def test_a_second_controller_stands_by_and_says_so(folder: Path, up: Callable[..., Up]) -> None:
    line = up(folder)
    line.until("this controller leads")
    second = subprocess.Popen(
        [sys.executable, "-m", "andon", "process", "controller", "--project", str(folder), "--parent-fd", "-1", "--ship-seconds", "5"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert second.stderr is not None
        assert "another controller leads" in (sentence := second.stderr.readline()), sentence
        assert "this one stands by" in sentence
    finally:
        second.terminate()
        second.communicate(timeout=20)


@pytest.mark.line
def test_a_process_that_cannot_start_is_said_with_its_reason(folder: Path, up: Callable[..., Up]) -> None:
    line = up(folder)
    line.until("is up at")
    (folder / "andon.yaml").write_text("inputs: 5\n")  # not taken yet, so it hurts nobody
    charter = folder / ".andon" / "charter.yaml"
    sound = charter.read_text()
    charter.write_text("inputs: 5\n")
    children = Path(f"/proc/{line.process.pid}/task/{line.process.pid}/children").read_text().split()
    worker = next(pid for pid in children if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(int(worker), signal.SIGKILL)
    said = line.until("worker-0: the charter that the line took has ")
    assert "worker-0 was ended by SIGKILL" in said
    charter.write_text(sound)
    line.until("worker-0 started again")
    time.sleep(0.5)
    assert line.process.poll() is None
    assert line.end(signal.SIGTERM) == 0


def test_a_broken_charter_starts_nothing(folder: Path) -> None:
    (folder / "andon.yaml").write_text("project: parts\ninputs: {width: flaot}\n")
    done = andon(folder, "up")
    assert done.returncode == 2 and "andon.yaml has" in done.stderr and "line 2" in done.stderr
    assert not (folder / ".andon").exists()


def test_addresses_that_cannot_be_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Conflict, match="is taken by another program"):
            port_is_free("127.0.0.1", taken.getsockname()[1])
    port_is_free("127.0.0.1", free_port())
    with pytest.raises(UsageError, match="is not an address of this machine"):
        port_is_free("203.0.113.7", 8700)
    with pytest.raises(UsageError, match="there is no such address"):
        port_is_free("no such host", 8700)


@pytest.mark.parametrize("options", [("--port", "0"), ("--port", "65536"), ("--workers", "0"), ("--ship-seconds", "0")])
def test_options_out_of_range_are_wrong_use(folder: Path, options: tuple[str, str]) -> None:
    app = typer.Typer()
    start.register(app)
    assert CliRunner().invoke(app, ["up", "--project", str(folder), *options]).exit_code == 2


def test_the_example_fits_the_charter_and_its_tokens(folder: Path) -> None:
    project = open_project(folder)
    call = example_call(project, "http://h:1")
    assert call == (
        """curl http://h:1/v1/projects/parts/decisions -d '{"x": {"width": 0.0, "worn": false, "line": "a"}}'"""
    )
    text = (folder / "andon.yaml").read_text()
    (folder / "andon.yaml").write_text(text + "checklist: {security: {tokens: required}}\n")
    assert "Authorization: Bearer" in (example_call(open_project(folder), "http://h:1") or "")
    (folder / "andon.yaml").write_text(text.replace("width: float", "photo: image"))
    assert example_call(open_project(folder), "http://h:1") is None
    project.workspace.close()


def test_settings_come_before_the_charter(folder: Path) -> None:
    project = open_project(folder)
    assert note(project, Settings()).workers == 1
    assert note(project, Settings(port=8123, workers=3)).address == "http://127.0.0.1:8123"
    names = [spec.name for spec in line_processes(project, Settings(workers=2))]
    assert names == ["worker-0", "worker-1", "controller", "shadow"]
    project.workspace.close()


def test_what_is_printed_is_passed_on_once_whole_and_without_tracebacks(tmp_path: Path) -> None:
    log = tmp_path / "controller.log"
    log.write_text("old\n")
    relay = Relay(tmp_path)
    assert list(relay.sentences()) == []
    with log.open("a") as file:
        file.write(
            "2026-11-21 07:00:00,123 this controller leads\nTraceback (most recent call last):\n  File x\nValueError: y\nhalf"
        )
        file.flush()
        assert list(relay.sentences()) == ["controller: this controller leads", "controller: ValueError: y"]
        assert list(relay.sentences()) == []
        file.write(" a line\n")
        file.flush()
    (tmp_path / "shadow.log").write_text("andon: gone\n")
    assert list(relay.sentences()) == ["controller: half a line", "shadow: gone"]
