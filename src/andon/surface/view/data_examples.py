"""Rows of a version to look at: a table, or a wall of small images; by slice, part, label and text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from andon.core.registry import did_you_mean
from andon.data.browse import Example
from andon.errors import NotFound

if TYPE_CHECKING:
    from andon.data.dataset import Dataset
    from andon.scope.charter import Charter
    from andon.surface.visit import Visit

__all__ = ["ExampleColumn", "ExamplesParams", "ExamplesView", "examples_view", "fitting_slices", "roles"]

#: Characters of one value that a list shows; the row's own page has all of them.
SHOWN = 240


class ExamplesParams(msgspec.Struct, frozen=True):
    """Which rows; what is empty does not filter. ``q`` is looked for in every value."""

    version: Annotated[str, Meta(min_length=1, max_length=100)]
    slice: Annotated[str, Meta(max_length=64, description="A slice of the charter")] = ""
    part: Annotated[str, Meta(max_length=100, description="A part of the split, such as train")] = ""
    label: Annotated[str, Meta(max_length=4000, description="A class of the target")] = ""
    q: Annotated[str, Meta(max_length=200, description="A text in any value")] = ""
    page: Annotated[int, Meta(ge=1, le=10_000_000)] = 1


class ExampleColumn(msgspec.Struct, frozen=True):
    """A column of the table: what it is (input, target or meta-data) and of which kind."""

    name: str
    role: str
    kind: str


class ExamplesView(msgspec.Struct, frozen=True):
    """One page of rows. ``total`` rows fit, on ``pages`` pages; values longer than 240 characters are cut.

    ``images`` is the column that holds hashes of images, where there is one. ``slices`` are those of the charter that
    read only columns this version has.
    """

    version: str
    name: str
    rows: int
    target: str
    columns: tuple[ExampleColumn, ...]
    images: str | None
    examples: tuple[Example, ...]
    total: int
    page: int
    pages: int
    slices: dict[str, str]
    parts: tuple[str, ...]
    labels: tuple[str, ...]


def examples_view(visit: Visit, params: ExamplesParams) -> ExamplesView:
    """A page of rows. Raises ``NotFound`` for what is not there, ``UsageError`` for a slice on other columns."""
    from andon.data.browse import Filter, browse
    from andon.data.content import image_columns
    from andon.data.dataset import find
    from andon.data.division import division
    from andon.measure.slice import parse_slice

    workspace, charter = visit.project.workspace, visit.project.charter
    dataset = find(workspace, params.version)
    if params.slice and params.slice not in charter.slices:
        raise NotFound(f"the charter has no slice {params.slice!r}; {did_you_mean(params.slice, charter.slices)}")
    wanted = parse_slice(charter.slices[params.slice]) if params.slice else None
    found = browse(workspace, dataset, Filter(wanted, params.part, params.label, params.q), params.page)
    split = division(workspace, dataset.version)
    return ExamplesView(
        version=dataset.version,
        name=dataset.name,
        rows=dataset.rows,
        target=dataset.contract.target,
        columns=roles(dataset),
        images=next(iter(image_columns(dataset.contract)), None),
        examples=tuple(_cut(one) for one in found.examples),
        total=found.total,
        page=min(params.page, found.pages),
        pages=found.pages,
        slices=fitting_slices(charter, dataset),
        parts=tuple(split.parts) if split is not None else (),
        labels=tuple(dataset.labels),
    )


def roles(dataset: Dataset) -> tuple[ExampleColumn, ...]:
    """The columns of a version: inputs, then the target, then the meta-data."""
    kinds = {field.name: field.kind for field in dataset.contract.fields}
    found = []
    for name, stored in dataset.columns.items():
        role = "target" if name == dataset.contract.target else "input" if name in kinds else "meta-data"
        kind = "category" if role == "target" else "time" if name == "time_us" else stored.split("(")[0].lower()
        found.append(ExampleColumn(name, role, kinds.get(name, kind)))
    return tuple(found)


def fitting_slices(charter: Charter, dataset: Dataset) -> dict[str, str]:
    """The charter's slices that read only columns of this version."""
    from andon.measure.slice import parse_slice

    return {name: text for name, text in charter.slices.items() if parse_slice(text).columns <= set(dataset.columns)}


def _cut(example: Example) -> Example:
    return msgspec.structs.replace(example, values={name: _short(value) for name, value in example.values.items()})


def _short(value: Any) -> Any:
    return value[: SHOWN - 1] + "…" if isinstance(value, str) and len(value) > SHOWN else value
