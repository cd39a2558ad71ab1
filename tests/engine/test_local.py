"""The local engine keeps real processes alive and leaves none behind."""

from __future__ import annotations

import ctypes
import errno
import inspect
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from andon.core.clock import SystemClock
from andon.deploy.settings import GatewayConfig
from andon.engine.local import LocalEngine, backoff
from andon.engine.polite import SLICE, WINDOW, shorten
from andon.engine.port import IDLE, ProcessSpec
from andon.errors import UsageError

SLEEPER = (sys.executable, "-c", "import os,sys,time\nfd=int(sys.argv[1])\nos.read(fd,1)", "{parent_fd}")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(tmp_path / "logs", SystemClock())
    yield engine
    engine.close()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_killed_process_is_started_again(engine: LocalEngine) -> None:
    engine.replicas((ProcessSpec("worker-0", SLEEPER),))
    first = engine.states()[0].pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    said: list[str] = []

    def back() -> bool:
        said.extend(engine.poll())
        return engine.states()[0].pid not in (None, first)

    until(back)
    state = engine.states()[0]
    assert state.restarts == 1
    assert state.last_exit == -signal.SIGKILL
    assert any("was ended by SIGKILL" in sentence for sentence in said)
    assert any("started again" in sentence for sentence in said)


def test_a_process_that_keeps_ending_waits_longer_each_time(engine: LocalEngine) -> None:
    engine.replicas((ProcessSpec("broken", (sys.executable, "-c", "raise SystemExit(3)")),))
    ends: list[float] = []

    def four_ends() -> bool:
        ends.extend(time.monotonic() for sentence in engine.poll() if "exit code 3" in sentence)
        return len(ends) >= 4

    until(four_ends)
    assert ends[3] - ends[2] > ends[1] - ends[0]


def test_a_process_that_cannot_be_started_again_now_is_tried_again(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.replicas((ProcessSpec("worker-0", SLEEPER), ProcessSpec("worker-1", SLEEPER)))
    first, other = (state.pid for state in engine.states())
    assert first is not None and other is not None
    popen = subprocess.Popen

    def none(*given: object, **more: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", none)
    os.kill(first, 40)  # a real-time signal has no name
    said: list[str] = []

    def tried() -> bool:
        said.extend(engine.poll())
        return sum("(Cannot allocate memory); it is tried again" in one for one in said) > 1

    until(tried)
    assert "worker-0 was ended by signal 40; see logs/worker-0.log" in said and alive(other)
    monkeypatch.setattr(subprocess, "Popen", popen)
    until(lambda: any("worker-0 started again" in sentence for sentence in engine.poll()))


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0.0), (1, 0.05), (7, 3.2), (8, 5.0), (9, 5.0)])
def test_backoff_at_its_edges(failures: int, seconds: float) -> None:
    assert backoff(failures) == pytest.approx(seconds)


def test_close_ends_everything_even_what_will_not_listen(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path, SystemClock())
    deaf = "import signal,time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf',flush=True)\ntime.sleep(60)"
    engine.replicas((ProcessSpec("deaf", (sys.executable, "-c", deaf)), ProcessSpec("good", SLEEPER)))
    pids = [state.pid for state in engine.states() if state.pid is not None]
    until(lambda: "deaf" in (tmp_path / "deaf.log").read_text())
    engine.close(grace_seconds=0.2)
    assert not any(alive(pid) for pid in pids)


def test_a_name_runs_once(engine: LocalEngine) -> None:
    engine.replicas((ProcessSpec("one", SLEEPER),))
    with pytest.raises(UsageError, match="'one' runs already"):
        engine.replicas((ProcessSpec("one", SLEEPER),))


def test_no_orphans_when_the_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys,time\nfrom pathlib import Path\nfrom andon.core.clock import SystemClock\n"
        "from andon.engine.local import LocalEngine\nfrom andon.engine.port import ProcessSpec\n"
        f"engine=LocalEngine(Path({str(tmp_path)!r}), SystemClock())\n"
        f"engine.replicas((ProcessSpec('child', {SLEEPER!r}),))\n"
        "print(engine.states()[0].pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
        parent.wait()
        until(lambda: not alive(child))


def test_idle_work_gives_way_to_other_sessions_after_a_while(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.replicas((ProcessSpec("controller", SLEEPER, IDLE), ProcessSpec("board", SLEEPER, 10)))
    groups = [Path(f"/proc/{state.pid}/autogroup") for state in engine.states()]
    if not groups[0].exists():
        pytest.skip("this kernel does not share processors among sessions")
    monkeypatch.setattr(SystemClock, "monotonic", lambda clock: time.monotonic() + WINDOW + 1)
    until(lambda: not engine.poll() and groups[0].read_text().endswith(f"nice {IDLE}\n"))
    assert groups[1].read_text().endswith("nice 0\n")


def test_idle_work_has_short_slices(engine: LocalEngine) -> None:
    engine.replicas((ProcessSpec("controller", SLEEPER, IDLE), ProcessSpec("board", SLEEPER, 10)))
    idle, other = (state.pid or 0 for state in engine.states())
    if not shorten(idle, IDLE):
        pytest.skip("this system takes no slices")
    until(lambda: os.getpriority(os.PRIO_PROCESS, other) == 10)
    assert (_slice(idle), os.getpriority(os.PRIO_PROCESS, idle)) == (SLICE, IDLE)
    assert _slice(other) != SLICE


def _slice(pid: int) -> int:
    """The slice of a process in nanoseconds, as the kernel says; 0 or its default where none was asked for."""
    attributes = ctypes.create_string_buffer(56)
    number = {"x86_64": 315, "aarch64": 275}[platform.machine()]
    assert ctypes.CDLL(None).syscall(number, pid, attributes, 56, 0) == 0
    return int.from_bytes(attributes.raw[24:32], sys.byteorder)


def test_the_end_waits_longer_than_a_gateway_needs_for_what_it_began() -> None:
    patience = inspect.signature(LocalEngine.close).parameters["grace_seconds"].default
    config = GatewayConfig(project="screening", fields=(), classes=("a", "b"))
    assert config.deadline_seconds < config.drain_seconds < patience
