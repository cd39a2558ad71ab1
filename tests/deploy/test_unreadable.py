"""A bundle that cannot be read now is one sentence wherever it is loaded, and is tried again until it can be."""

from __future__ import annotations

import errno
import os
import queue
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.deploy.batch_rig import CONFIG, make_bundle, publish, run

from andon.core.record import Route
from andon.deploy.away import Isolation, Limits
from andon.deploy.isolated import Isolated
from andon.deploy.replica import RETRY_SECONDS, Replicas, load_model
from andon.deploy.shadow import Shadow
from andon.errors import Unavailable
from andon.model.bundle import MANIFEST, bundle_path
from andon.store.wal import WalWriter
from andon.store.workspace import Workspace

WHY = {
    errno.EACCES: "permission was denied; check the owner and mode",
    errno.EMFILE: "the process has too many open files",
    errno.EIO: "the disk reported an input/output error",
    errno.EISDIR: "Is a directory",
}


def unreadable(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make a file fail to be read; call what is returned to mend it."""
    if number == errno.EISDIR:  # the one way that stops the root user as well
        path.rename(path.with_suffix(".aside"))
        path.mkdir()

        def mend() -> None:
            path.rmdir()
            path.with_suffix(".aside").rename(path)

        return mend
    read = Path.read_bytes

    def fails(self: Path) -> bytes:
        if self == path:
            raise OSError(number, os.strerror(number), str(path))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", fails)
    return lambda: monkeypatch.setattr(Path, "read_bytes", read)


@pytest.mark.parametrize("number", WHY)
@pytest.mark.parametrize(("isolation", "name"), [("auto", MANIFEST), ("none", MANIFEST), ("auto", "contract.json")])
def test_a_version_whose_bundle_cannot_be_read_is_said_to_be_failed_and_tried_again(
    workspace: Workspace, number: int, isolation: Isolation, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash = make_bundle(workspace.home)
    path = bundle_path(workspace.home, hash)
    mend = unreadable(path / name, number, monkeypatch)
    calls: queue.Queue[Callable[[], None]] = queue.Queue()
    for step in ("_spawn", "_await"):  # a process costs seconds, and only whether there would be one counts
        monkeypatch.setattr(Isolated, step, lambda *_: None)
    monkeypatch.setattr(Isolated, "predict", lambda self, columns: np.zeros((1, 2), dtype=np.float32))
    load = load_model(lambda hash: bundle_path(workspace.home, hash), Limits(isolation=isolation))
    replicas = Replicas(load, calls.put, lambda: None)
    try:
        replicas.follow(Route(1, 0, 0, "ann", "test", "a test", live="v1", bundles={"v1": hash}))
        calls.get(timeout=60)()
        said = f"{name} of the bundle {hash[:12]} could not be read: {WHY[number]}"
        assert replicas.settled and said in replicas.faults["v1"] and said in replicas.why_not("v1")
        mend()
        replicas.tick(time.monotonic() + RETRY_SECONDS)
        calls.get(timeout=60)()
        assert (replicas.loaded, replicas.faults) == (("v1",), {})
    finally:
        replicas.close()


def test_what_a_library_raises_while_it_loads_is_a_sentence_too(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash = make_bundle(workspace.home)
    load = load_model(lambda hash: bundle_path(workspace.home, hash), Limits())

    def fails(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("andon.deploy.replica.Isolated", fails)
    calls: queue.Queue[Callable[[], None]] = queue.Queue()
    for loads in (load, lambda hash: (_ for _ in ()).throw(OSError(errno.ENOMEM, "no memory"))):
        replicas = Replicas(loads, calls.put, lambda: None)
        replicas.follow(Route(1, 0, 0, "ann", "test", "a test", live="v1", bundles={"v1": hash}))
        calls.get(timeout=60)()
        assert replicas.settled and replicas.faults["v1"]
        replicas.close()


def test_the_shadow_and_a_file_say_it_too(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash = make_bundle(workspace.home)
    publish(workspace, hash, shadows=("v1",))
    mend = unreadable(bundle_path(workspace.home, hash) / MANIFEST, errno.EACCES, monkeypatch)
    said: list[str] = []
    wal = WalWriter(workspace.wal_dir, "s0")
    load = load_model(lambda hash: bundle_path(workspace.home, hash), Limits(isolation="none"))
    shadow = Shadow(workspace, wal, load, said.append)
    shadow.step()
    assert len(said) == 1 and "could not be read: permission was denied" in said[0]
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"age": 40}\n')
    with pytest.raises(Unavailable, match="could not be read: permission was denied"):
        run(workspace, rows, config=CONFIG)
    mend()
    shadow._failed.clear()
    shadow.step()
    assert set(shadow._loaded) == {"v1"} and run(workspace, rows).predicted == 1
    shadow.close()
    wal.close()
