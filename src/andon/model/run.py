"""A run: code + data + parameters + split, trained, sealed and measured; what is needed to do it again.

The four *legs* are hashes: the bytes of ``model.py``, the dataset's version, the parameters, and the stored split with
the seed. A run that failed is kept too, with the reason. ``andon.model.training`` makes runs.
"""

from __future__ import annotations

import platform
from hashlib import blake2b
from importlib import metadata
from io import BytesIO
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from andon.core.reach import HERE, Reach
from andon.errors import NotFound
from andon.measure.estimate import Estimate
from andon.model.adapter import Engine
from andon.model.booster import library_of
from andon.model.bundle import Served, bundle_path, load_bundle

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["Run", "digest", "environment", "find_run", "libraries", "predictions", "runs", "served"]

_LIBRARIES = ("andon", "numpy", "polars", "scikit-learn", "onnxruntime", "skl2onnx", "onnx", "skops")


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """One training, done or failed. ``metrics``, ``slices`` and ``confusion`` are of the part ``part``, never learnt from.

    ``other`` holds the metrics of the other parts. ``predictions`` is a Parquet blob of the answers on all held-out
    rows. ``reason`` says why the engine is not ``onnx``, ``error`` why a run failed. Memory is in 2**20 bytes.
    """

    id: str
    status: str
    dataset: str
    code: str
    parameters: dict[str, Any]
    split: str = ""
    seed: int = 0
    dataset_name: str = ""
    contract: str = ""
    bundle: str = ""
    engine: str = ""
    reason: str = ""
    part: str = ""
    rows: dict[str, int] = {}
    metrics: dict[str, Estimate] = {}
    slices: dict[str, dict[str, Estimate]] = {}
    confusion: dict[str, Any] = {}
    other: dict[str, dict[str, Estimate]] = {}
    predictions: str = ""
    environment: dict[str, str] = {}
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    error: str = ""
    notes: tuple[str, ...] = ()
    actor: str = ""
    time_us: int = 0
    wall_us: int = 0

    @property
    def legs(self) -> dict[str, str]:
        """The four legs by name: two runs with the same legs were given the same."""
        return {
            "code": self.code[:12],
            "data": self.dataset,
            "parameters": digest(self.parameters),
            "split": f"{self.split}/{self.seed}",
        }


def find_run(workspace: Workspace, id: str) -> Run:
    """A run by its id, or the run of a release by its version; raises ``NotFound``."""
    if id in workspace.records.names("release"):
        id = workspace.records.get("release", id, _OfRelease).run
    return workspace.records.get("run", id, Run)


class _OfRelease(msgspec.Struct):
    run: str


def runs(workspace: Workspace) -> list[Run]:
    """All runs, oldest first."""
    return workspace.records.list("run", Run)


def predictions(workspace: Workspace, run: Run, part: str | None = None) -> pl.DataFrame:
    """The stored records of a run's held-out rows, of one part (``run.part`` unless given); raises ``NotFound``."""
    if not run.predictions:
        raise NotFound(f"run {run.id} {run.status}, so it has no predictions: {run.error}")
    frame = pl.read_parquet(BytesIO(workspace.blobs.get(run.predictions)))
    return frame.filter(pl.col("part") == (part or run.part)).drop("part")


def served(workspace: Workspace, run: Run, reach: Reach = HERE) -> Served:
    """The sealed bundle of a run, loaded; raises ``NotFound`` for a failed run, ``Denied`` where its rows may not go."""
    if not run.bundle:
        raise NotFound(f"run {run.id} {run.status}, so it has no bundle: {run.error}")
    return load_bundle(bundle_path(workspace.home, run.bundle), run.bundle, reach)


def digest(value: Any) -> str:
    """12 hex digits for parameters, independent of their order.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return blake2b(msgspec.json.encode(value, order="deterministic"), digest_size=6).hexdigest()


def libraries(engine: Engine | None = None) -> dict[str, str]:
    """The versions of what a model is made with; that of LightGBM or XGBoost where it is the ``engine``."""
    found = {name: metadata.version(name) for name in _LIBRARIES}
    if engine == "lightgbm" or engine == "xgboost":
        found[engine] = library_of(engine).__version__  # it may be installed as xgboost or xgboost-cpu
    return found


def environment() -> dict[str, str]:
    """Libraries, Python and the platform."""
    return {"python": platform.python_version(), "platform": platform.platform(), **libraries()}
