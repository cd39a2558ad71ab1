"""The examples behind a figure of a run: the held-out rows of one slice, truth or answer, most worth looking at first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from andon.core.registry import did_you_mean
from andon.errors import NotFound
from andon.model.example import Example, Show
from andon.surface.view.models_kept import kept
from andon.surface.view.models_text import brief

if TYPE_CHECKING:
    from andon.config import Project
    from andon.measure.slice import Slice
    from andon.model.run import Run
    from andon.surface.visit import Visit

__all__ = ["ExampleRow", "ExamplesParams", "ExamplesView", "examples_view", "readable_slices"]

_COLUMNS = 16
_LONGEST = 240
_Text = Annotated[str, msgspec.Meta(max_length=500)]
_WORDS = {
    "all": "rows",
    "wrong": "wrong answers",
    "right": "right answers",
    "silent": "rows without an answer",
    "unlabelled": "rows without a truth",
}


class ExamplesParams(msgspec.Struct, frozen=True):
    """Which run, and which of its held-out rows: empty means all."""

    run: Annotated[str, msgspec.Meta(max_length=200, description="A run (r3) or a release (v1).")]
    slice: Annotated[_Text, msgspec.Meta(description="A slice of the charter.")] = ""
    label: Annotated[_Text, msgspec.Meta(description="The truth.")] = ""
    prediction: Annotated[_Text, msgspec.Meta(description="The answer.")] = ""
    show: Annotated[Show, msgspec.Meta(description="silent: without an answer; unlabelled: without a truth.")] = "all"
    page: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1


class ExampleRow(msgspec.Struct, frozen=True):
    """One held-out row. ``row`` is its number in the dataset, from 1; ``values`` are cut after 240 characters.

    ``images`` are hashes by column, ``second`` the next best answer with its score.
    """

    row: int
    label: str | None
    prediction: str | None
    right: bool | None
    confidence: float | None
    second: tuple[str, float] | None
    values: dict[str, Any]
    images: dict[str, str | None]


class ExamplesView(msgspec.Struct, frozen=True):
    """A page of examples. ``columns`` are those shown, ``inputs`` among them; ``more_columns`` are on the row's own page only."""

    run: str
    part: str
    dataset: str
    dataset_name: str
    classes: tuple[str, ...]
    slices: tuple[str, ...]
    columns: tuple[str, ...]
    inputs: tuple[str, ...]
    images: tuple[str, ...]
    more_columns: int
    rows: tuple[ExampleRow, ...]
    total: int
    held_out: int
    page: int
    pages: int
    sentence: str


def examples_view(visit: Visit, params: ExamplesParams) -> ExamplesView:
    """The rows behind a figure. Raises ``NotFound`` for an unknown or failed run, class or slice."""
    from andon.data.dataset import find
    from andon.model.example import Wanted, examples
    from andon.model.run import find_run

    workspace = visit.project.workspace
    run = find_run(workspace, params.run)
    dataset = find(workspace, run.dataset)
    slices = readable_slices(visit.project, run)
    wanted = Wanted(_slice(params.slice, slices), params.label, params.prediction, params.show)
    found = examples(workspace, run, wanted, params.page)
    columns = [name for name in found.columns if name not in found.images]
    shown = tuple(columns[:_COLUMNS])
    return ExamplesView(
        run=run.id,
        part=run.part,
        dataset=run.dataset,
        dataset_name=run.dataset_name,
        classes=dataset.contract.classes,
        slices=tuple(slices),
        columns=shown,
        inputs=tuple(name for name in shown if name in dataset.contract.names),
        images=tuple(sorted(found.images)),
        more_columns=len(columns) - len(shown),
        rows=tuple(_row(one, shown, found.images) for one in found.examples),
        total=found.total,
        held_out=run.rows.get(run.part, 0),
        page=found.page,
        pages=found.pages,
        sentence=_sentence(params, found.total),
    )


def _row(one: Example, shown: tuple[str, ...], images: frozenset[str]) -> ExampleRow:
    return ExampleRow(
        row=one.row,
        label=one.label,
        prediction=one.prediction,
        right=one.right,
        confidence=one.confidence,
        second=_second(one.scores, one.prediction),
        values={name: _short(one.values[name]) for name in shown},
        images={name: one.values[name] for name in sorted(images)},
    )


def readable_slices(project: Project, run: Run) -> dict[str, str]:
    """The charter's slices that the stored answers of a run can tell, with their conditions."""
    from andon.measure.slice import parse_slice
    from andon.model.run import predictions

    columns = kept(project, "columns", (run.id,), lambda: frozenset(predictions(project.workspace, run).columns))
    return {name: text for name, text in project.charter.slices.items() if parse_slice(text).columns <= columns}


def _slice(name: str, slices: dict[str, str]) -> Slice | None:
    from andon.measure.slice import parse_slice

    if not name:
        return None
    if name not in slices:
        raise NotFound(f"no slice that this run can tell is called {name!r}; {did_you_mean(name, slices)}")
    return parse_slice(slices[name])


def _second(scores: dict[str, float], answer: str | None) -> tuple[str, float] | None:
    others = {name: score for name, score in scores.items() if name != answer and score == score}
    if not others or len(scores) < 3:
        return None
    best = max(others, key=lambda name: others[name])
    return best, others[best]


def _short(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else brief(value, _LONGEST)


def _sentence(params: ExamplesParams, total: int) -> str:
    parts = [f"{total:,} {_WORDS[params.show]}"]
    if params.slice:
        parts.append(f"in the slice “{params.slice}”")
    if params.label:
        parts.append(f"where the truth is “{params.label}”")
    if params.prediction:
        parts.append(f"answered “{params.prediction}”")
    return " ".join(parts)
