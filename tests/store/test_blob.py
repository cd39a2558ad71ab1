"""Blobs are what their name says, or an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.errors import Corrupt, NotFound, Unavailable, UsageError
from andon.store.blob import Blobs, blob_hash


@given(data=st.binary(max_size=300))
def test_what_is_put_is_got(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    blobs = Blobs(tmp_path_factory.mktemp("blobs"))
    name = blobs.put(data)
    assert name == blobs.put(data) == blob_hash(data)
    assert blobs.get(name) == data
    assert blobs.has(name)
    assert blobs.delete(name) and not blobs.delete(name) and not blobs.has(name)


def test_a_changed_blob_is_corrupt(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    name = blobs.put(b"sound")
    path = blobs.path(name)
    path.chmod(0o644)
    path.write_bytes(b"other")
    with pytest.raises(Corrupt, match=r"expected the hash .*, found .*; restore it"):
        blobs.get(name)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    with pytest.raises(NotFound, match="no blob has the hash 000000000000"):
        blobs.get("0" * 64)
    for name in ("", "x" * 64, "0" * 63, "../" + "0" * 61, "A" * 64):
        with pytest.raises(UsageError, match="64 hex digits"):
            blobs.path(name)


def test_a_full_disk_is_told_and_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = Blobs(tmp_path / "blobs")
    assert blobs.get(blobs.put(b"content")) == b"content"

    def full(*_: object) -> int:
        raise OSError(28, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Unavailable, match="the disk is full"):
        blobs.put(b"more")
    assert not blobs.has(blob_hash(b"more"))
