"""The doctor's look at what is kept under its hash: the bundles that answer, and the blobs that records name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from andon.errors import AndonError, Corrupt
from andon.surface.doctor_check import Case, Check, good, look, stop, unknown
from andon.surface.station import count

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["blobs", "bundles"]

_NEXT = "restore it from a backup, or train and release again"


def bundles(case: Case) -> Check:
    """The bundles that the route names: there, and what their hash says; every byte when everything is looked at.

    Then the other releases' too: without its bundle a release cannot be gone back to.
    """
    from andon.model.bundle import bundle_path, verify_bundle

    if case.workspace is None:
        return unknown("bundles", "the workspace cannot be opened")
    route, home = case.workspace.routes.current(), case.workspace.home
    answering = {} if route is None else dict(route.bundles)
    verify = verify_bundle if case.deep else _verify_quickly
    for version, hash in answering.items():
        if fault := _fault(partial(verify, bundle_path(home, hash), hash)):
            return stop("bundles", f"{version}, which the route names: {fault}", _NEXT, version=version)
    others = {} if not case.deep else {name: hash for name, hash in _released(case).items() if name not in answering}
    for version, hash in others.items():
        if fault := _fault(partial(verify, bundle_path(home, hash), hash)):
            words = f"{version}, which does not answer now: {fault}"
            return look("bundles", words, "the line cannot go back to it; restore it from a backup", version=version)
    if not answering and not others:
        return good("bundles", "no release answers yet, so no bundle is needed")
    named = ", ".join(answering) or "no release answers"
    more = f", and {count(len(others), 'other release')}" if others else ""
    return good("bundles", f"{named}{more}: {'every byte as sealed' if case.deep else 'whole, by manifest and size'}")


def _released(case: Case) -> dict[str, str]:
    from andon.deploy.release import releases

    workspace = case.workspace
    assert workspace is not None
    return {one.version: one.bundle for one in case.known.ask(lambda: releases(workspace)) or []}


def _verify_quickly(path: Path, hash: str) -> None:
    """The manifest by its hash, the other files by their sizes. Raises ``NotFound`` or ``Corrupt``."""
    from andon.model.bundle import load_manifest

    for name, file in load_manifest(path, hash).files.items():
        if not (path / name).is_file() or (path / name).stat().st_size != file.bytes:
            raise Corrupt(f"bundle {hash[:12]}: {name} is gone or has another size")


def blobs(case: Case) -> Check:
    """Every blob that a dataset, a split or a run names: there; with the bytes of its name when everything is looked at."""
    if case.workspace is None:
        return unknown("blobs", "the workspace cannot be opened")
    workspace = case.workspace
    named = case.known.ask(lambda: dict(_named(workspace)))
    if named is None:
        return unknown("blobs", case.known.why)
    kept = workspace.blobs
    gone = [(whose, hash) for hash, whose in named.items() if not kept.has(hash)]
    if not gone and case.deep:
        named |= dict(_images(workspace))
        gone = [(whose, hash) for hash, whose in named.items() if not kept.has(hash)]
    if gone:
        whose, hash = gone[0]
        words = f"{count(len(gone), 'blob')} gone; the first is {hash[:12]}, {whose}"
        return stop("blobs", words, "restore the folder blobs from a backup", gone=len(gone), named=len(named))
    if case.deep:
        for hash, whose in named.items():
            if fault := _fault(partial(kept.get, hash)):
                words = fault.replace(str(kept.path(hash)), hash[:12])
                return stop("blobs", f"{whose}: {words}", "restore the folder blobs from a backup", named=len(named))
    how = "each with the bytes of its name" if case.deep else "present"
    return good("blobs", f"{count(len(named), 'blob')} of datasets, splits and runs, {how}", named=len(named))


def _named(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """(hash, whose) of every blob that a record names."""
    from andon.data.dataset import Dataset
    from andon.data.division import Division
    from andon.model.run import Run

    for dataset in workspace.records.list("dataset", Dataset):
        yield dataset.blob, f"the rows of dataset {dataset.version}"
        if dataset.rejects_blob is not None:
            yield dataset.rejects_blob, f"the rejected rows of dataset {dataset.version}"
    for split in workspace.records.list("split", Division):
        yield split.blob, f"the parts of dataset {split.version}"
    for run in workspace.records.list("run", Run):
        if run.predictions:
            yield run.predictions, f"the predictions of run {run.id}"
        yield run.code, f"the code of run {run.id}"


def _images(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """The same of every image that a dataset's rows name. Raises ``Corrupt``."""
    from andon.data.content import image_columns
    from andon.data.dataset import Dataset, load

    for dataset in workspace.records.list("dataset", Dataset):
        columns = image_columns(dataset.contract)
        if columns:
            rows = load(workspace, dataset.version, images=False)
            for column in columns:
                for hash in rows[column].drop_nulls().unique():
                    yield hash, f"an image of dataset {dataset.version}"


def _fault(act: Callable[[], object]) -> str:
    """What is wrong, in one sentence; empty where nothing is."""
    try:
        act()
    except AndonError as error:
        return error.message
    except OSError as error:
        return f"a file could not be read: {error.strerror or error}"
    return ""
