"""Where data came from and what became of them, as a drawing: sources, versions, splits, runs, releases, the route.

Every kind has its column and every version its band of rows, so that what belongs together is level. The places are
computed here, the template only draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from andon.surface.station import count
from andon.surface.view.data_uses import source_name

if TYPE_CHECKING:
    from andon.data.dataset import Dataset
    from andon.surface.view.data_uses import Uses

__all__ = ["STAGES", "Edge", "Graph", "Node", "draw"]

#: The columns, from left to right.
STAGES = ("source", "version", "split", "run", "release", "route")
Kind = Literal["source", "version", "split", "run", "release", "route"]
Tone = Literal["plain", "focus", "live", "candidate", "failed"]

#: Runs of one version that are drawn; the newest ones. The rest is one box.
_RUNS = 6


class Node(msgspec.Struct, frozen=True):
    """A box: in column ``stage`` (from 0), in row ``place`` (from 0). ``href`` is "" where no page is about it."""

    id: str
    kind: Kind
    stage: int
    place: int
    label: str
    detail: str
    href: str = ""
    tone: Tone = "plain"


class Edge(msgspec.Struct, frozen=True):
    """A line from one box to another; ``dashed`` where it does not answer (a shadow)."""

    start: str
    end: str
    from_stage: int
    from_place: int
    to_stage: int
    to_place: int
    dashed: bool = False


class Graph(msgspec.Struct, frozen=True):
    """The drawing: boxes, lines, how many rows it has, and how many versions are left out."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    rows: int = 0
    left_out: int = 0


def draw(uses: Uses, datasets: list[Dataset], focus: str = "") -> Graph:
    """The graph of some versions, in their order; ``focus`` is the version that the page is about."""
    drawing = _Drawing()
    row = 0
    for dataset in datasets:
        row += _band(drawing, uses, dataset, row, focus)
    shown = {dataset.version for dataset in datasets}
    for dataset in datasets:
        if dataset.parent in shown:
            drawing.join(f"version {dataset.parent}", f"version {dataset.version}")
    _route(drawing, uses)
    return Graph(tuple(drawing.nodes.values()), tuple(drawing.edges), max(row, 1), len(uses.datasets) - len(datasets))


class _Drawing:
    """Boxes and lines so far."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []

    def add(self, node: Node) -> None:
        self.nodes[node.id] = node

    def join(self, start: str, end: str, dashed: bool = False) -> None:
        a, b = self.nodes.get(start), self.nodes.get(end)
        if a is not None and b is not None:
            self.edges.append(Edge(start, end, a.stage, a.place, b.stage, b.place, dashed))


def _band(drawing: _Drawing, uses: Uses, dataset: Dataset, row: int, focus: str) -> int:
    """One version with all that hangs on it, from this row on; returns how many rows it takes."""
    version = dataset.version
    tone: Tone = "focus" if version == focus else "plain"
    where = f"/data/{version}"
    if not (dataset.steps and dataset.steps[-1].name == "clean"):  # a cleaned version comes from its parent
        source = Node(f"source {version}", "source", 0, row, source_name(dataset), dataset.origin.format)
        drawing.add(source)
    drawing.add(
        Node(
            f"version {version}",
            "version",
            1,
            row,
            dataset.name,
            f"{version[:8]}, {count(dataset.rows, 'row')}",
            where,
            tone,
        )
    )
    drawing.join(f"source {version}", f"version {version}")
    splits = _splits(drawing, uses, version, row)
    runs = [run for run in uses.runs if run.dataset == version]
    shown = runs[-_RUNS:]
    for place, run in enumerate(shown):
        failed = run.status != "done"
        detail = f"{run.status}, {run.actor}" if run.actor else run.status
        node = Node(
            f"run {run.id}", "run", 3, row + place, run.id, detail, f"/models/{run.id}", "failed" if failed else "plain"
        )
        drawing.add(node)
        split = f"split {run.split}"
        drawing.join(split if split in drawing.nodes else f"version {version}", node.id)
    if len(runs) > len(shown):
        more = f"and {len(runs) - len(shown)} older"
        drawing.add(Node(f"more {version}", "run", 3, row + len(shown), more, "all runs", "/models"))
    made = list(_releases(drawing, uses, version, row))
    return max(1, splits, len(shown) + (len(runs) > len(shown)), len(made))


def _splits(drawing: _Drawing, uses: Uses, version: str, row: int) -> int:
    """The latest split of a version; returns 1 where there is one."""
    found = uses.divisions.get(version)
    if found is None:
        return 0
    sizes = " / ".join(f"{part['n']:,}" for part in found.parts.values())
    node = Node(f"split {found.id}", "split", 2, row, f"{len(found.parts)} parts", sizes, f"/data/{version}#split")
    drawing.add(node)
    drawing.join(f"version {version}", node.id)
    return 1


def _releases(drawing: _Drawing, uses: Uses, version: str, row: int) -> Iterator[Node]:
    tones: dict[str, Tone] = {"live": "live", "candidate": "candidate"}
    mine = [one for one in uses.releases if one.dataset == version][-_RUNS:]
    for place, one in enumerate(mine):
        standing = uses.standing(one.version)
        said = {"idle": "not in use", "warm": "kept warm"}.get(standing, standing)
        drawing.add(
            Node(
                f"release {one.version}",
                "release",
                4,
                row + place,
                one.version,
                said,
                f"/models/{one.run}",
                tones.get(standing, "plain"),
            )
        )
        drawing.join(f"run {one.run}", f"release {one.version}")
        yield drawing.nodes[f"release {one.version}"]


def _route(drawing: _Drawing, uses: Uses) -> None:
    """The route in force, level with the release that answers."""
    route = uses.route
    if route is None:
        return
    named = [(route.live, False), (route.candidate, False), *((name, True) for name in route.shadows)]
    joined = [(f"release {name}", dashed) for name, dashed in named if f"release {name}" in drawing.nodes]
    if not joined:
        return
    place = drawing.nodes[joined[0][0]].place
    drawing.add(
        Node(
            "route",
            "route",
            5,
            place,
            f"route {route.epoch}",
            _says(uses),
            "/deploy",
            "live" if route.live else "plain",
        )
    )
    for name, dashed in joined:
        drawing.join(name, "route", dashed)


def _says(uses: Uses) -> str:
    route = uses.route
    assert route is not None
    if route.stopped:
        return "stopped"
    answering = [f"{route.live} live"] if route.live else ["people decide"]
    if route.candidate:
        answering.append(f"{route.candidate} {route.share * 100:.3g} %")
    return ", ".join(answering)
