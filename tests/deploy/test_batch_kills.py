"""Killed, out of disk, or out of luck: no row is twice in the output or missing, whatever happened on the way."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.deploy.batch_rig import STEPS, cases, frame, make_bundle, publish, run

from andon.deploy import batch
from andon.deploy.batch_progress import Disk
from andon.errors import Unavailable
from andon.store.workspace import Workspace

ROOT = Path(__file__).parents[2]
ROWS = 400


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_PART_ROWS", 100)


@pytest.fixture
def source(workspace: Workspace, tmp_path: Path) -> Path:
    publish(workspace, make_bundle(workspace.home))
    path = tmp_path / "rows.csv"
    cases(ROWS).write_csv(path)
    return path


def child(workspace: Workspace, source: Path, out: Path, step: str = "-", number: int = 0) -> subprocess.Popen[bytes]:
    words = [workspace.home, source, out, "100", step, number]
    return subprocess.Popen([sys.executable, "-m", "tests.deploy.batch_rig", *map(str, words)], cwd=ROOT)


def same(workspace: Workspace, source: Path, out: Path) -> Any:
    """Run to the end and hold it against an undisturbed run, row by row."""
    found = run(workspace, source, out=out, batch_rows=40)
    calm = run(workspace, source, out=out.with_name(f"calm{out.suffix}"), batch_rows=40, fresh=True)
    assert frame(found.out).equals(frame(calm.out))
    assert frame(found.rejects).equals(frame(calm.rejects))
    assert (found.predictions, found.decided_by) == (calm.predictions, calm.decided_by)
    assert (found.read, found.rejected, found.unanswered) == (ROWS, calm.rejected, calm.unanswered)
    assert not [path.name for path in out.with_name(f".{out.name}.progress").glob("*-*")]
    return found


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_at_every_step(workspace: Workspace, source: Path, tmp_path: Path, times: int) -> None:
    """Each step once, and those of a part at their third time as well; all children are busy at the same time."""
    steps = STEPS if times == 1 else STEPS[:3]
    outs = {step: tmp_path / f"{step.replace(' ', '-')}.parquet" for step in steps}
    for pair in zip(steps[::2], [*steps[1::2], None], strict=False):
        children = [child(workspace, source, outs[step], step, times) for step in pair if step is not None]
        assert [one.wait(timeout=120) for one in children] == [-signal.SIGKILL] * len(children)
    for step in steps:
        found = same(workspace, source, outs[step])
        done = {"answers written": times - 1, "part written": times - 1, "note written": times}.get(step, 4)
        assert found.resumed == min(ROWS, done * 120)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", pytest.param(".jsonl", marks=pytest.mark.slow)])
def test_killed_at_random_again_and_again(workspace: Workspace, source: Path, tmp_path: Path, suffix: str) -> None:
    draw, out, killed = random.Random(suffix), tmp_path / f"out{suffix}", 0
    for _ in range(4):
        one = child(workspace, source, out, draw.choice(STEPS[:3]), draw.randint(1, 2))
        if draw.random() < 0.5:
            time.sleep(draw.uniform(0.8, 2.5))
            one.kill()
        killed += one.wait(timeout=120) == -signal.SIGKILL
    assert killed >= 2
    same(workspace, source, out)


def test_a_full_disk_at_any_write_is_one_sentence_and_loses_nothing(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    out, failed = tmp_path / "out.csv", 0
    for room in [*range(24), 60_000]:
        left = [room]

        def write(fd: int, data: Any, left: list[int] = left) -> int:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return os.write(fd, data[: max(1, len(data) // 2)])

        try:
            run(workspace, source, out=out, batch_rows=40, disk=Disk(write=write))
        except Unavailable as error:
            failed += 1
            assert "could not be written: the disk is full" in error.message
    assert failed >= 10
    same(workspace, source, out)


def test_a_file_that_may_not_grow(workspace: Workspace, source: Path, tmp_path: Path) -> None:
    """The kernel itself refuses."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, old[1]))
    try:
        with pytest.raises(Unavailable, match="file-size limit"):
            run(workspace, source, out=tmp_path / "out.csv", batch_rows=40)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    same(workspace, source, tmp_path / "out.csv")


@pytest.mark.slow
def test_a_million_rows_in_bounded_memory(workspace: Workspace, tmp_path: Path) -> None:
    code = b"import numpy as np\ndef features(x: dict[str, np.ndarray]):\n    return np.column_stack([x['age'], np.nan_to_num(x['cough'])])\n"
    publish(workspace, make_bundle(workspace.home, code))
    peaks = {}
    for n in (100_000, 1_000_000):
        path = tmp_path / f"{n}.csv"
        pl.DataFrame({"age": pl.int_range(n, eager=True) % 97 - 1, "cough": pl.repeat(True, n, eager=True)}).write_csv(
            path
        )
        script = (
            "import resource, sys; from tests.deploy.batch_rig import *; from andon.deploy import batch\n"
            "found = predict(Workspace.open(Path(sys.argv[1])), CONFIG, Wish((Path(sys.argv[2]),)))\n"
            "print(found.read, found.rejected, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
        )
        command = [sys.executable, "-c", script, str(workspace.home), str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        read, rejected, peaks[n] = map(int, done.stdout.split())
        assert (read, rejected) == (n, len(range(0, n, 97)))
    assert peaks[1_000_000] < peaks[100_000] + 200, peaks
