"""Commands about models: train, look, compare, and find what to work on; ``evaluate`` and ``errors`` take bare files too."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from andon.core.clock import iso
from andon.errors import NotFound, UsageError
from andon.surface.cli.model_view import (
    progress_shown,
    short,
    show_baselines,
    show_evaluation,
    show_priorities,
    show_run,
    show_sides,
    show_table,
)
from andon.surface.cli.output import ActorOption, JsonFlag, ProjectOption, ReasonOption, console, emit, note

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from andon.config import Project
    from andon.model.baseline import Baseline
    from andon.model.evaluate import Evaluation
    from andon.model.run import Run
    from andon.model.training import Enrich

__all__ = ["register"]

_DATASET = Annotated[
    str | None, typer.Argument(help="A dataset's name or version; the project's dataset if not given.")
]
_PARAMETERS = Annotated[
    list[str], typer.Option("--param", "-p", help="A parameter for train(), as name=value; repeatable.")
]
_SEED = Annotated[int, typer.Option("--seed", min=0, help="Seeds Python's and numpy's random numbers.")]
_TRUST = Annotated[
    bool, typer.Option("--trust", help="Allow a model that can only be stored as a Python object (pickle).")
]
_SUBJECT = Annotated[
    str | None, typer.Argument(help="A run (r3), a release (v1) or a file of predictions; the newest run if not given.")
]
_RUN = Annotated[str | None, typer.Argument(help="A run (r3); all of them if not given.")]
_LABEL = Annotated[str, typer.Option("--label", help="The file's column of true labels.")]
_PREDICTION = Annotated[str, typer.Option("--prediction", help="The file's column of answers.")]
_BY = Annotated[str, typer.Option("--by", help="Columns to slice by, with commas between.")]
_BASELINE = Annotated[
    Path | None, typer.Option("--baseline", help="A CSV with the columns slice and value (a fraction).")
]
_OVERRIDE = Annotated[bool, typer.Option("--override", help="Release although a gate failed or is unsure; say why with --reason.")]  # fmt: skip
_OTHER = Annotated[str, typer.Argument(help="A run (r3) or a release (v1).")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(train)
    app.command()(runs)
    app.command()(evaluate)
    app.command()(errors)
    app.command()(compare)
    app.command()(release)


def train(
    dataset: _DATASET = None,
    param: _PARAMETERS = [],  # noqa: B006
    seed: _SEED = 0,
    trust: _TRUST = False,
    reason: ReasonOption = "",
    project: ProjectOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Train model.py on a dataset, seal the result, and measure it on rows it never saw."""
    from andon.model.training import Options
    from andon.model.training import train as run_training

    opened = _open(project)
    actor = getpass.getuser()
    options = Options(
        model_file=opened.model_file,
        parameters=_parameters(param),
        seed=seed,
        actor=actor,
        reason=reason,
        trusted_by=actor if trust else "",
        enrich=_enrich(opened),
    )
    with progress_shown() as progress:
        run = run_training(opened.workspace, opened.charter, dataset or opened.charter.project, options, progress)
    if as_json:
        emit(_run_json(run))
        return
    show_run(run)
    note(f"Next: `andon errors {run.id}` shows what to work on, `andon release {run.id}` holds it against its goals.")


def runs(run: _RUN = None, project: ProjectOption = None, as_json: JsonFlag = False) -> None:
    """All runs, oldest first, or one of them with everything that is needed to do it again."""
    from andon.model.run import find_run
    from andon.model.run import runs as listing

    opened = _open(project)
    if run is not None:
        found = find_run(opened.workspace, run)
        emit(_run_json(found)) if as_json else show_run(found)
        return
    every = listing(opened.workspace)
    if as_json:
        emit([_run_json(one) for one in every])
        return
    names = list(opened.charter.metrics)[:3]
    table = Table(
        "run", "status", "when", "data", "code", "parameters", "engine", *names, "wall s", "peak MB", box=None
    )
    for one in every:
        legs = [one.dataset, one.code[:7], ", ".join(f"{k}={v}" for k, v in one.parameters.items()) or "-"]
        figures = [short(one.metrics.get(name)) for name in names]
        cost = [f"{one.wall_seconds:.1f}", f"{one.peak_mb:.0f}"]
        table.add_row(one.id, one.status, iso(one.time_us), *legs, one.engine or "-", *figures, *cost)
    if every:
        show_table(table)
    else:
        console.print("No run yet: `andon train`.")


def evaluate(
    subject: _SUBJECT = None,
    label: _LABEL = "label",
    prediction: _PREDICTION = "prediction",
    by: _BY = "",
    project: ProjectOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Every metric on every slice, with its interval: of a run, a release, or a bare file of predictions."""
    from andon.model.evaluate import evaluate as evaluate_frame

    if _is_file(subject):
        found = evaluate_frame(_table(str(subject)), label=label, prediction=prediction, by=_names(by))
        known: list[Baseline] = []
    else:
        found, known = _evaluated(_open(project), subject, _names(by))
    if as_json:
        emit({**found.to_json(), "baselines": known})
        return
    show_evaluation(found)
    show_baselines(known)


def errors(
    subject: _SUBJECT = None,
    label: _LABEL = "label",
    prediction: _PREDICTION = "prediction",
    by: _BY = "",
    baseline: _BASELINE = None,
    project: ProjectOption = None,
    as_json: JsonFlag = False,
) -> None:
    """The priority table: where there is room to improve, times how much of the data it is."""
    from andon.model.priority import errors as prioritise
    from andon.model.run import predictions

    levels = _levels(baseline)
    if _is_file(subject):
        found = prioritise(_table(str(subject)), label=label, prediction=prediction, by=_names(by), baseline=levels)
    else:
        opened = _open(project)
        frame = predictions(opened.workspace, _run(opened, subject))
        slices = _known_slices(opened.charter.slices, frame)
        found = prioritise(frame, by=_names(by), slices=slices, baseline=levels)
    emit(found.to_json()) if as_json else show_priorities(found)


def compare(first: _OTHER, second: _OTHER, project: ProjectOption = None, as_json: JsonFlag = False) -> None:
    """Two runs or releases on the very same rows: every metric on every slice, and the paired difference."""
    from andon.model.compare import compare as compare_runs

    opened = _open(project)
    found = compare_runs(opened.workspace, opened.charter, first, second, _enrich(opened))
    if as_json:
        emit(found.to_json())
        return
    show_sides(found)
    for part, difference in found.difference.items():
        console.print(f"{second} is right more often by {difference} ({part or 'everybody'})", markup=False)
    note(
        f"On {found.n:,} rows of the {found.part} part of {found.dataset}; what differs: {', '.join(found.legs) or 'nothing'}."
    )
    if found.warning:
        note(f"Mind: {found.warning}.")


def release(
    run: _OTHER,
    override: _OVERRIDE = False,
    project: ProjectOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Hold a run against the charter's goals and give its bundle the next version (v1, v2, ...)."""
    from andon.deploy.release import release as make_release

    opened = _open(project)
    who = actor or getpass.getuser()
    made = make_release(opened.workspace, opened.charter, run, actor=who, reason=reason, override=override)
    if as_json:
        emit(made)
        return
    for gate in made.gates:
        console.print(f"{gate['verdict']:>6}  {gate['sentence']}", markup=False)
    if made.later:
        note(f"Only live traffic can tell: {', '.join(made.later)}.")
    console.print(f"{run} is {made.version}" + (" (against a gate)" if made.overridden else ""), markup=False)
    note(f"Next: `andon deploy shadow {made.version}` or `andon deploy canary {made.version}`.")


# --- reading what was asked


def _open(project: str | None) -> Project:
    from andon.config import open_project

    return open_project(project)


def _enrich(opened: Project) -> Enrich:
    """Columns measured on images and texts, where a metric of the charter reads them."""
    from andon.model.evaluate import charter_measures
    from andon.monitor.inputs import measured

    fields, measures = opened.charter.fields(), charter_measures(opened.charter)
    wanted = frozenset(name for one in measures for name in one.missing(()))
    return lambda frame: measured(frame, fields, wanted)


def _parameters(pairs: list[str]) -> dict[str, Any]:
    """``name=value`` with the value as YAML: 0.1 is a number, [1, 2] a list, true a truth."""
    import yaml

    result: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--param {pair!r}: expected name=value, for example C=0.1")
        try:
            result[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--param {pair!r}: the value is not understood; put quotes around a text") from error
    return result


def _is_file(subject: str | None) -> bool:
    if subject is None:
        return False
    path = Path(subject)
    if path.suffix.lower() in (".csv", ".tsv", ".parquet", ".jsonl") and not path.is_file():
        raise NotFound(f"there is no file {subject}")
    return path.is_file()


def _table(path: str) -> pl.DataFrame:
    from andon.data.source import read
    from andon.model.table import typed

    raw = read(path)
    if raw.rejects.height:
        note(f"{raw.rejects.height} rows cannot be read and are left out; the first: {raw.rejects['reason'][0]}")
    return typed(raw.frame)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _levels(path: Path | None) -> dict[str, float] | None:
    if path is None:
        return None
    if not path.is_file():
        raise NotFound(f"there is no file {path} (--baseline)")
    table = _table(str(path))
    if not {"slice", "value"} <= set(table.columns):
        raise UsageError(f"{path}: expected the columns slice and value, found {', '.join(table.columns)}")
    if table.height and (not table["value"].dtype.is_numeric() or table["value"].null_count()):
        raise UsageError(f"{path}: expected a fraction from 0 to 1 in every row of value")
    from andon.model.table import texts

    return dict(zip(texts(table["slice"]).to_list(), table["value"].to_list(), strict=True))


def _run(opened: Project, subject: str | None) -> Run:
    from andon.model.run import find_run
    from andon.model.run import runs as listing

    if subject is not None:
        return find_run(opened.workspace, subject)
    done = [run for run in listing(opened.workspace) if run.status == "done"]
    if not done:
        raise NotFound("no run is done yet; train first", hint="andon train")
    return done[-1]


def _known_slices(slices: Mapping[str, str], frame: pl.DataFrame) -> dict[str, str]:
    from andon.measure.slice import parse_slice

    return {name: text for name, text in slices.items() if parse_slice(text).columns <= set(frame.columns)}


def _evaluated(opened: Project, subject: str | None, by: list[str]) -> tuple[Evaluation, list[Baseline]]:
    """The charter's metrics as they are today on what the run answered then, and what to compare them with."""
    from andon.model.baseline import baselines
    from andon.model.evaluate import charter_measures, measure
    from andon.model.run import predictions
    from andon.model.table import cohorts

    charter = opened.charter
    run = _run(opened, subject)
    frame = predictions(opened.workspace, run)
    parts = cohorts(frame, by, _known_slices(charter.slices, frame))
    found = measure(frame, charter_measures(charter), parts, charter.target.classes)
    return found, baselines(opened.workspace, charter, run)


def _run_json(run: Run) -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(run), "legs": run.legs}
