"""Training: the user's ``train`` is called on a frozen part of the data, and what it returns is sealed and measured.

Every estimate is measured with the bytes that are sealed, so with what will answer in production, not with the object
that training left in memory.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from andon.data.contract import Contract
from andon.data.dataset import Dataset, find, load
from andon.data.division import Division, division, part_of, split_dataset
from andon.errors import AndonError, UsageError, UserCodeError
from andon.measure.slice import parse_slice
from andon.model.bundle import Compiled, Parts, Served, bundle_path, load_bundle, preview, seal
from andon.model.columns import columns_of, frame_of, take
from andon.model.compile import compile_model
from andon.model.evaluate import Evaluation, charter_measures, measure
from andon.model.predictor import TrainingData, UserCode, load_user_module, user_code
from andon.model.profile import profile
from andon.model.resources import Cost, measured
from andon.model.run import Run, environment, find_run, libraries
from andon.model.scoring import predict_frame
from andon.model.table import cohorts

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["STAGES", "Options", "Progress", "check_classes", "evaluation", "record_frame", "train"]

#: What ``train`` does, in order; ``progress`` is called with each as it begins.
STAGES = ("load the data", "prepare features", "train", "compile", "evaluate", "seal")

#: Called with the stage that begins, its number from 1, and how many there are.
Progress = Callable[[str, int, int], None]
#: Adds columns measured on the inputs (an image's brightness, a text's length) to a record frame.
Enrich = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Options:
    """How to train. ``trusted_by`` names who trusts a model that can only be stored as a Python object.

    ``enrich`` adds measured columns to the records, where metrics of the charter need them.
    """

    model_file: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    actor: str = ""
    reason: str = ""
    trusted_by: str = ""
    enrich: Enrich | None = None


def train(
    workspace: Workspace, charter: Charter, dataset_ref: str, options: Options, progress: Progress | None = None
) -> Run:
    """Train on the ``train`` part of a dataset, seal the result and measure it; returns the stored run.

    A dataset that was never split is split 60/20/20 first. Raises ``NotFound``, ``UsageError``, ``ContractError`` or
    ``UserCodeError``; what goes wrong after the data are found is also kept as a failed run.
    """
    code = load_user_module(options.model_file)
    if code.train is None:
        raise UsageError(f"{code.path.name} has no function train(data, params)", hint="see docs/model.md")
    dataset = find(workspace, dataset_ref)
    check_classes(charter, dataset.contract)
    split = division(workspace, dataset.version) or split_dataset(workspace, dataset.version, actor=options.actor)
    job = _Job(workspace, charter, dataset, split, code, options)
    try:
        with measured() as cost:
            made = _make(job, _Steps(progress))
    except AndonError as error:
        _keep(job, cost, {"status": "failed", "error": error.message})
        raise
    return _keep(job, cost, {"status": "done", **made})


@dataclass(frozen=True)
class _Job:
    workspace: Workspace
    charter: Charter
    dataset: Dataset
    split: Division
    code: UserCode
    options: Options

    @property
    def contract(self) -> Contract:
        return self.dataset.contract


@dataclass
class _Steps:
    """Says which stage begins."""

    progress: Progress | None
    done: int = 0

    def next(self) -> None:
        if self.progress:
            self.progress(STAGES[self.done], self.done + 1, len(STAGES))
        self.done += 1


def check_classes(charter: Charter, contract: Contract) -> None:
    """Raise ``UsageError`` when the dataset was added under another target than the charter's."""
    wanted, found = (charter.target.name, charter.target.classes), (contract.target, contract.classes)
    if wanted != found:
        raise UsageError(
            f"the dataset's target is {found[0]} with classes {', '.join(found[1])}; "
            f"the charter's is {wanted[0]} with {', '.join(wanted[1])}",
            hint="add the data again under this charter",
        )


def _make(job: _Job, steps: _Steps) -> dict[str, Any]:
    """Everything from the data to the sealed and measured bundle: the fields of the run."""
    steps.next()
    frame = load(job.workspace, job.dataset.version)
    parts = part_of(job.workspace, job.dataset.version)
    data = {name: frame.filter(parts == name) for name in job.split.wish.parts}
    if "train" not in data:
        raise UsageError(f"the split of {job.dataset.name} has no part 'train'; found {', '.join(data)}")
    steps.next()
    training, columns = _training(job, data)
    steps.next()
    model = _fit(job, training)
    steps.next()
    compiled = _compile(job, model, columns)
    steps.next()
    parts_found = Parts(job.contract, compiled, job.code, libraries=libraries(compiled.engine))
    records = _answered(job, preview(parts_found, job.charter.checklist.privacy.reach), data)
    steps.next()
    return _sealed(job, parts_found, records)


def _training(job: _Job, data: Mapping[str, pl.DataFrame]) -> tuple[TrainingData, dict[str, Any]]:
    """What ``train`` is given, and the canonical columns of the rows it stands for."""
    dev = _part(job, data["dev"], "dev", None)[0] if "dev" in data and data["dev"].height else None
    return _part(job, data["train"], "train", dev)


def _part(job: _Job, frame: pl.DataFrame, name: str, dev: TrainingData | None) -> tuple[TrainingData, dict[str, Any]]:
    contract, code = job.contract, job.code
    columns = columns_of(frame, contract.fields)
    found, kept = code.prepare(columns, contract.fields)
    if kept is not None:
        columns, frame = take(columns, kept), frame[kept]
    extra = [column for column in frame.columns if column not in {*contract.names, contract.target}]
    data = TrainingData(
        x=found if code.features is None else frame_of(columns, contract.fields),
        y=frame[contract.target].cast(pl.String),
        classes=contract.classes,
        features=None if code.features is None else found,
        part=name,
        seed=job.options.seed,
        dev=dev,
        meta=frame.select(extra),
    )
    return data, columns


def _fit(job: _Job, data: TrainingData) -> Any:
    """Call the user's ``train``; what it prints goes to stderr, where messages belong."""
    assert job.code.train is not None
    random.seed(job.options.seed)
    np.random.seed(job.options.seed % 2**32)
    with user_code("train", job.code.path), redirect_stdout(sys.stderr):
        model = job.code.train(data, dict(job.options.parameters))
    if model is None:
        raise UserCodeError(f"train in {job.code.path.name} returned nothing; return the fitted model")
    return model


def _compile(job: _Job, model: Any, columns: dict[str, Any]) -> Compiled:
    contract = job.contract
    return compile_model(
        model,
        columns,
        contract.fields,
        contract.classes,
        job.code,
        trusted_by=job.options.trusted_by,
        reach=job.charter.checklist.privacy.reach,
    )


def _answered(job: _Job, served: Served, data: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The records of every part: inputs, label, answers, measured columns; no images."""
    return {name: record_frame(served, frame, job.contract, job.options.enrich) for name, frame in data.items()}


def record_frame(served: Served, frame: pl.DataFrame, contract: Contract, enrich: Enrich | None = None) -> pl.DataFrame:
    """Rows of a dataset as records: what they were, what is true, what the model says; images only as measured."""
    records = frame.drop("prediction", "confidence", "scores", strict=False)
    records = records.with_columns(label=frame[contract.target].cast(pl.String))
    if contract.target != "label":
        records = records.drop(contract.target)
    records = records.hstack(predict_frame(served, frame))
    if enrich is not None:
        records = enrich(records)
    return records.drop([name for name, kind in records.schema.items() if kind == pl.Binary])


def _sealed(job: _Job, parts: Parts, records: dict[str, pl.DataFrame]) -> dict[str, Any]:
    """Seal the bundle with its reference profile, and say how good it is on every part."""
    measures = charter_measures(job.charter)
    learnt = pl.concat([records[name] for name in ("train", "dev") if name in records], how="vertical")
    held = [name for name in records if name != "train"]
    judged = next((name for name in ("test", "dev") if name in held), held[-1])
    inputs = learnt.drop("prediction", "confidence", "scores")
    outputs = records["dev"] if "dev" in records else records[judged]
    reference = profile(inputs, outputs, job.contract.fields, measures, job.charter.monitor.window_us)
    workspace = job.workspace
    bundle = seal(replace(parts, reference=reference), workspace.home / "bundles")
    load_bundle(bundle_path(workspace.home, bundle), bundle, job.charter.checklist.privacy.reach)
    workspace.save_contract(job.contract.hash, job.contract.fields, job.contract.classes)
    found = evaluation(records[judged], job.charter)
    held_out = pl.concat([records[name].with_columns(part=pl.lit(name)) for name in held])
    return {
        "bundle": bundle,
        "engine": parts.model.engine,
        "reason": parts.model.reason,
        "part": judged,
        "rows": {name: frame.height for name, frame in records.items()},
        "metrics": found.metrics,
        "slices": found.slices,
        "confusion": found.confusion,
        "other": {name: measure(f, measures).metrics for name, f in records.items() if name != judged},
        "predictions": workspace.blobs.put(_parquet(held_out)),
        "notes": _notes(parts, records),
    }


def evaluation(records: pl.DataFrame, charter: Charter) -> Evaluation:
    """Every metric of the charter on every slice of it that these records can tell."""
    slices = {name: text for name, text in charter.slices.items() if parse_slice(text).columns <= set(records.columns)}
    return measure(records, charter_measures(charter), cohorts(records, slices=slices), charter.target.classes)


def _notes(parts: Parts, records: Mapping[str, pl.DataFrame]) -> tuple[str, ...]:
    notes = []
    silent = sum(int(frame["prediction"].null_count()) for frame in records.values())
    if silent:
        notes.append(f"the model gives no answer for {silent} of {sum(f.height for f in records.values())} rows")
    if parts.model.engine == "python":
        notes.append(f"stored as a Python object, trusted by {parts.model.trusted_by}")
    return tuple(notes)


def _keep(job: _Job, cost: Cost, found: dict[str, Any]) -> Run:
    """Store the run under the next free id, and say so in the journal."""
    workspace, options = job.workspace, job.options
    common: dict[str, Any] = {
        "dataset": job.dataset.version,
        "dataset_name": job.dataset.name,
        "code": job.code.hash,
        "parameters": dict(options.parameters),
        "split": job.split.id,
        "seed": options.seed,
        "contract": job.contract.hash,
        "environment": environment(),
        "wall_seconds": cost.wall_seconds,
        "cpu_seconds": cost.cpu_seconds,
        "peak_mb": cost.peak_mb,
        "actor": options.actor,
        "time_us": workspace.clock.now(),
        "wall_us": workspace.clock.wall(),
    }
    workspace.blobs.put(job.code.source)
    name = workspace.records.add("run", "r", lambda id: Run(id=id, **common, **found))
    run = find_run(workspace, name)
    evidence = {"status": run.status, "legs": run.legs, "bundle": run.bundle, "engine": run.engine, "error": run.error}
    workspace.journal.append("model.train", run.id, options.actor, options.reason, evidence)
    return run


def _parquet(frame: pl.DataFrame) -> bytes:
    out = BytesIO()
    frame.write_parquet(out, compression="zstd")
    return out.getvalue()
