"""A bundle: everything that an answer depends on, in one directory named by its hash.

``manifest.json`` lists every file with its BLAKE2b hash and size; the bundle's hash is that of the manifest's bytes. So
whoever holds the 64 digits (a route does) knows exactly which model, code, contract and reference profile will answer,
and one changed bit anywhere is refused. Files: the model as its engine keeps it (``andon.model.adapter.FILES``),
``model.py``, ``contract.json``, ``reference.json``.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from andon.core.reach import HERE, Reach
from andon.core.record import Field
from andon.data.contract import Contract
from andon.errors import Corrupt, NotFound, UserCodeError
from andon.model.adapter import FILES, Engine, Layout, Scorer, Scores, load_model
from andon.model.columns import Columns, frame_of, length_of
from andon.model.predictor import UserCode, load_user_source
from andon.model.profile import Profile
from andon.store.files import unavailable

__all__ = [
    "BundleFile",
    "Compiled",
    "Manifest",
    "Parts",
    "Served",
    "bundle_path",
    "load_bundle",
    "load_contract",
    "load_manifest",
    "load_profile",
    "seal",
    "verify_bundle",
]

MANIFEST = "manifest.json"


class BundleFile(msgspec.Struct, frozen=True):
    """One file of a bundle: its BLAKE2b-256 in hex and its size in bytes."""

    hash: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a bundle is. ``reason`` says why the engine is not ``onnx``; ``prepares`` says that ``clean`` or ``features`` is called.

    ``difference`` is the largest disagreement of a compiled model with its original, over ``rows_compared`` rows.
    """

    engine: Engine
    classes: tuple[str, ...]
    contract: str
    code: str
    files: dict[str, BundleFile]
    reason: str = ""
    prepares: bool = False
    layout: Layout = Layout()
    difference: float = 0.0
    rows_compared: int = 0
    libraries: dict[str, str] = {}
    trusted_by: str = ""
    format: int = 1


class Compiled(msgspec.Struct, frozen=True):
    """A model ready to be sealed: how it is stored, its bytes, and how that was found to agree with the original.

    ``files`` are further files that the engine needs, by name.
    """

    engine: Engine
    payload: bytes
    reason: str = ""
    layout: Layout = Layout()
    difference: float = 0.0
    rows_compared: int = 0
    trusted_by: str = ""
    files: dict[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class Parts:
    """What goes into a bundle. ``reference`` is what its training data were like."""

    contract: Contract
    model: Compiled
    code: UserCode
    reference: Profile = field(default_factory=Profile)
    libraries: Mapping[str, str] = field(default_factory=dict)


def bundle_path(home: Path, hash: str) -> Path:
    """Where a workspace keeps the bundle with this hash."""
    return home / "bundles" / hash


def seal(parts: Parts, bundles: Path) -> str:
    """Write a bundle under ``bundles`` and return its hash; the same parts give the same hash and are written once.

    The directory appears under its name only when every byte is on disk, so a bundle is whole or not there.
    """
    files = _files(parts)
    manifest = msgspec.json.encode(_manifest(parts, files))
    digest = _hash(manifest)
    target = bundles / digest
    if target.is_dir():
        return digest
    staging = bundles / f".sealing-{digest[:12]}-{secrets.token_hex(4)}"
    staging.mkdir(parents=True)
    try:
        for name, content in {**files, MANIFEST: manifest}.items():
            _write(staging / name, content)
        _sync_directory(staging)
        _publish(staging, target)
        _sync_directory(bundles)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return digest


def preview(parts: Parts, reach: Reach = HERE) -> Served:
    """What ``seal`` would make of the parts, loaded from the very bytes but not written: to be measured first."""
    files = _files(parts)
    return Served(parts.code.path.parent, "", _manifest(parts, files), files, reach)


def _files(parts: Parts) -> dict[str, bytes]:
    return {
        FILES[parts.model.engine]: parts.model.payload,
        **parts.model.files,
        "model.py": parts.code.source,
        "contract.json": msgspec.json.encode(parts.contract),
        "reference.json": msgspec.json.encode(parts.reference),
    }


def _manifest(parts: Parts, files: Mapping[str, bytes]) -> Manifest:
    model = parts.model
    return Manifest(
        engine=model.engine,
        classes=parts.contract.classes,
        contract=parts.contract.hash,
        code=parts.code.hash,
        files={name: BundleFile(_hash(content), len(content)) for name, content in sorted(files.items())},
        reason=model.reason,
        prepares=parts.code.prepares,
        layout=model.layout,
        difference=model.difference,
        rows_compared=model.rows_compared,
        libraries=dict(sorted(parts.libraries.items())),
        trusted_by=model.trusted_by,
    )


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(staging: Path, target: Path) -> None:
    try:
        staging.rename(target)
    except OSError:
        if not target.is_dir():  # somebody else sealing the same bytes first is fine
            raise


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=32).hexdigest()


class Served:
    """A bundle that is loaded and answers. It holds no state that a call changes, so threads may share it."""

    def __init__(
        self, path: Path, hash: str, manifest: Manifest, files: Mapping[str, bytes], reach: Reach = HERE
    ) -> None:
        self.path = path
        self.hash = hash
        self.manifest = manifest
        self.contract = msgspec.json.decode(files["contract.json"], type=Contract)
        self.classes = manifest.classes
        self.engine: Engine = manifest.engine
        if manifest.engine == "python" and not manifest.trusted_by:
            raise Corrupt(
                f"bundle {hash[:12]} holds a Python object that nobody trusts (trusted_by is empty); it is not loaded",
                hint="loading it would run whatever is in it; train again and say that you trust it",
            )
        self.reason = manifest.reason
        self._reference = files["reference.json"]
        self._code = _code(path, manifest, files)
        model = files[FILES[manifest.engine]]
        source = self._code.path if self._code else path / "model.py"
        self.scorer: Scorer = load_model(manifest.engine, model, manifest.layout, self.classes, source, files, reach)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The input fields, in the contract's order."""
        return self.contract.fields

    @cached_property
    def reference(self) -> Profile:
        """What the data were like that it was trained on."""
        return msgspec.json.decode(self._reference, type=Profile)

    def predict(self, columns: Columns) -> Scores:
        """Scores for canonical columns (``andon.model.columns``): float32, shape (rows, classes); a NaN row is no answer.

        The columns are not changed. Raises ``UserCodeError`` when the user's code does or its answer has another shape.
        """
        rows = length_of(columns)
        if rows == 0:
            return np.zeros((0, len(self.classes)), dtype=np.float32)
        x, kept = self._input(columns)
        expected = (rows if kept is None else len(kept), len(self.classes))
        if expected[0] == 0:
            return np.full((rows, expected[1]), np.nan, dtype=np.float32)
        scores = self.scorer.scores(x)
        if scores.shape != expected:
            said = f"the model answered with shape {scores.shape}: expected {expected}, one row for each row"
            raise UserCodeError(said, kept=said)
        return scores if kept is None else _spread(scores, kept, rows)

    def _input(self, columns: Columns) -> tuple[Any, Any]:
        if self._code is not None and self._code.prepares:
            return self._code.prepare(columns, self.fields)
        return (frame_of(columns, self.fields) if self.engine in ("skops", "python") else columns), None


def _spread(scores: Scores, kept: Any, rows: int) -> Scores:
    """Scores back at the rows they stand for; a row that ``clean`` dropped gets no answer."""
    result = np.full((rows, scores.shape[1]), np.nan, dtype=np.float32)
    result[kept] = scores
    return result


def _code(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> UserCode | None:
    """User code is run only where an answer needs it: to prepare the input, and for objects of its own classes."""
    if not manifest.prepares and manifest.engine != "python":
        return None
    return load_user_source(files["model.py"], path / "model.py")


def load_bundle(path: Path, expected_hash: str, reach: Reach = HERE) -> Served:
    """Load the bundle in directory ``path`` and check every byte of it against ``expected_hash``.

    ``reach`` is how far rows may go: a model on another server is loaded only where the charter lets them (``Denied``).

    Raises ``NotFound`` when there is none, ``Corrupt`` when anything in it differs, ``Unavailable`` when it cannot be
    read now, ``UserCodeError`` when the user's code does not load. Takes tens of milliseconds and holds the GIL for part of it: not for a serving thread.
    """
    manifest = load_manifest(path, expected_hash)
    files = {name: _verified(path, manifest, name, expected_hash) for name in manifest.files}
    return Served(path, expected_hash, manifest, files, reach)


def load_manifest(path: Path, expected_hash: str) -> Manifest:
    """Only the manifest, checked; raises as ``load_bundle`` does."""
    content = _read(path / MANIFEST, expected_hash)
    _expect(f"{expected_hash[:12]}/{MANIFEST}", expected_hash, _hash(content))
    try:
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"bundle {expected_hash[:12]}: its manifest cannot be read by this release: {error}") from error


def verify_bundle(path: Path, expected_hash: str) -> None:
    """Check every byte of a bundle without loading it; raises ``NotFound`` or ``Corrupt`` as ``load_bundle`` does."""
    manifest = load_manifest(path, expected_hash)
    for name in manifest.files:
        _verified(path, manifest, name, expected_hash)


def load_contract(path: Path, expected_hash: str) -> Contract:
    """Only the contract, checked, without loading the model; raises as ``load_bundle`` does."""
    manifest = load_manifest(path, expected_hash)
    return msgspec.json.decode(_verified(path, manifest, "contract.json", expected_hash), type=Contract)


def load_profile(path: Path, expected_hash: str) -> Profile:
    """Only the reference profile, checked, without loading the model; raises as ``load_bundle`` does."""
    manifest = load_manifest(path, expected_hash)
    return msgspec.json.decode(_verified(path, manifest, "reference.json", expected_hash), type=Profile)


def _verified(path: Path, manifest: Manifest, name: str, hash: str) -> bytes:
    content = _read(path / name, hash)
    _expect(f"{hash[:12]}/{name}", manifest.files[name].hash, _hash(content))
    return content


def _read(path: Path, hash: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if path.name == MANIFEST:
            raise NotFound(f"no bundle {hash[:12]} at {path.parent}", hint="train and release again") from None
        raise Corrupt(f"bundle {hash[:12]}: {path.name} is gone; restore it from a backup or release again") from None
    except OSError as error:  # its owner, too many open files, a disk that fails: it may be there again
        raise unavailable(f"{path.name} of the bundle {hash[:12]} could not be read", error) from error


def _expect(what: str, expected: str, found: str) -> None:
    if found != expected:
        raise Corrupt(
            f"bundle {what} has changed: expected hash {expected[:12]}, found {found[:12]}; it is not loaded",
            hint="restore the bundle from a backup, or train and release again",
        )
