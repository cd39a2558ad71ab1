"""What a run was given and what came of it: data, split, code, parameters, cost, and the sealed bundle."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import msgspec

from andon.errors import AndonError
from andon.surface.view.models_text import brief

if TYPE_CHECKING:
    from andon.model.run import Run
    from andon.store.workspace import Workspace

__all__ = ["BundleView", "Given", "bundle_of", "code_of", "given_of"]

_CODE = 24_000


class BundleView(msgspec.Struct, frozen=True):
    """The sealed model. ``reason`` says why the engine is not ``onnx``; ``problem`` why the bundle cannot be read.

    ``difference`` is the largest one between the compiled model's scores and the original's, over ``compared`` rows.
    """

    hash: str
    engine: str
    reason: str
    bytes: int = 0
    files: dict[str, int] = {}
    compared: int = 0
    difference: float = 0.0
    prepares: bool = False
    trusted_by: str = ""
    problem: str = ""


class Given(msgspec.Struct, frozen=True):
    """What is needed to do it again: ``again`` is the command, ``code_text`` what model.py was (cut where it is long)."""

    dataset: str
    dataset_name: str
    rows: dict[str, int]
    split: str
    split_says: str
    seed: int
    parameters: dict[str, str]
    code: str
    code_text: str
    code_cut: bool
    again: str
    environment: dict[str, str]


def bundle_of(workspace: Workspace, run: Run) -> BundleView | None:
    """The bundle of a run that has one, from its manifest."""
    from andon.model.bundle import bundle_path, load_manifest

    if not run.bundle:
        return None
    try:
        manifest = load_manifest(bundle_path(workspace.home, run.bundle), run.bundle)
    except AndonError as error:
        return BundleView(run.bundle, run.engine, run.reason, problem=error.message)
    return BundleView(
        hash=run.bundle,
        engine=manifest.engine,
        reason=manifest.reason,
        bytes=sum(one.bytes for one in manifest.files.values()),
        files={name: one.bytes for name, one in manifest.files.items()},
        compared=manifest.rows_compared,
        difference=manifest.difference,
        prepares=manifest.prepares,
        trusted_by=manifest.trusted_by,
    )


def given_of(workspace: Workspace, run: Run) -> Given:
    """The legs of a run, in words."""
    code = code_of(workspace, run)
    return Given(
        dataset=run.dataset,
        dataset_name=run.dataset_name,
        rows=run.rows,
        split=run.split,
        split_says=_split(workspace, run),
        seed=run.seed,
        parameters={name: brief(value, 2000) for name, value in run.parameters.items()},
        code=run.code,
        code_text=code[:_CODE],
        code_cut=len(code) > _CODE,
        again=_again(run),
        environment=run.environment,
    )


def code_of(workspace: Workspace, run: Run) -> str:
    """The model.py of a run, or why it cannot be shown."""
    try:
        return workspace.blobs.get(run.code).decode("utf-8", "replace")
    except AndonError as error:
        return f"# {error.message}"


def _split(workspace: Workspace, run: Run) -> str:
    from andon.data.division import Division

    try:
        return workspace.records.get("split", run.split, Division).message
    except AndonError as error:
        return error.message


def _again(run: Run) -> str:
    words = ["andon", "train", run.dataset]
    for name, value in run.parameters.items():
        words += ["-p", f"{name}={brief(value, 500)}"]
    if run.seed:
        words += ["--seed", str(run.seed)]
    return shlex.join(words)
