"""The Data pages: every frozen version, where it came from, what is in it, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from andon.errors import AndonError
from andon.surface.page import Page, Raw
from andon.surface.station import Known, count
from andon.surface.view.data_diff import DiffParams, DiffView, diff_view
from andon.surface.view.data_examples import ExamplesParams, ExamplesView, examples_view
from andon.surface.view.data_graph import Graph, draw
from andon.surface.view.data_image import ImageParams, image
from andon.surface.view.data_row import RowParams, RowView, row_view
from andon.surface.view.data_uses import DatasetRow, dataset_row, read_uses
from andon.surface.view.data_version import VersionParams, VersionView, version_view

if TYPE_CHECKING:
    from andon.config import Project
    from andon.surface.visit import Visit

__all__ = ["PAGES", "RAWS", "DataParams", "DataView", "NextData", "data_view"]

_DRAWN = 6


class DataParams(msgspec.Struct, frozen=True):
    """``count``: also count the decided cases with a label, which reads the whole log."""

    count: Annotated[bool, Meta(title="Count", description="Count the labelled cases of the log")] = False


class NextData(msgspec.Struct, frozen=True):
    """What the line has learnt since: decided cases with a label, those after the newest version was frozen.

    ``cases`` is None while nobody has asked to count; ``trouble`` says why it could not be counted.
    """

    counted: bool
    cases: int | None
    newer: int | None
    since_us: int | None
    trouble: str = ""


class DataView(msgspec.Struct, frozen=True):
    """All versions, newest first; the graph of the newest; and what could be the next. ``trouble``: what is not known."""

    sentence: str
    datasets: tuple[DatasetRow, ...]
    graph: Graph
    next: NextData
    trouble: str = ""


def data_view(visit: Visit, params: DataParams) -> DataView:
    """Every version of every dataset."""
    project, known = visit.project, Known()
    uses = read_uses(project.workspace, known)
    datasets = uses.datasets if uses is not None else ()
    rows = tuple(dataset_row(uses, dataset) for dataset in reversed(datasets)) if uses is not None else ()
    newest = max((dataset.created_us for dataset in datasets), default=None)
    return DataView(
        sentence=_sentence(rows, known),
        datasets=rows,
        graph=draw(uses, list(reversed(datasets[-_DRAWN:]))) if uses is not None else Graph(),
        next=_next(project, newest, params.count),
        trouble=known.trouble or ("" if uses is not None else known.why),
    )


def _sentence(rows: tuple[DatasetRow, ...], known: Known) -> str:
    if known.trouble:
        return "not known now"
    if not rows:
        return "nothing is frozen yet"
    names = len({row.name for row in rows})
    versions = count(len(rows), "version") + (f" of {count(names, 'dataset')}" if names > 1 else "")
    return f"{versions}; the newest has {count(rows[0].rows, 'row')}"


def _next(project: Project, newest_us: int | None, counted: bool) -> NextData:
    """Labelled cases of the log; they are counted only where somebody asks, because that reads all of it."""
    if not counted:
        return NextData(False, None, None, newest_us)
    from andon.store.view import labelled

    try:
        found = labelled(project.workspace, truth=project.charter.target.truth)
    except AndonError as error:
        return NextData(True, None, None, newest_us, error.message)
    newer = found.height if newest_us is None else int((found["time_us"] >= newest_us).sum())
    return NextData(True, found.height, newer, newest_us)


PAGES = (
    Page("data", "/data", "Data", "data", data_view, DataParams, DataView, "data.html", live=("journal", "route")),
    Page("data.version", "/data/{version}", "Data", "data", version_view, VersionParams, VersionView, "data_version.html"),
    Page("data.diff", "/data/{version}/diff", "Data", "data", diff_view, DiffParams, DiffView, "data_diff.html"),
    Page("data.examples", "/data/{version}/examples", "Data", "data", examples_view, ExamplesParams, ExamplesView, "data_examples.html"),
    Page("data.row", "/data/{version}/rows/{row}", "Data", "data", row_view, RowParams, RowView, "data_row.html"),
)  # fmt: skip
RAWS = (Raw("data.image", "/data/images/{hash}", image, ImageParams),)
