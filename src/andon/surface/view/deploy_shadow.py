"""A shadow beside what was decided: how often they agree, who is right where an outcome is known, and where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.core.clock import DAY, iso
from andon.deploy.paired import Comparison
from andon.errors import Corrupt, NotFound, Unavailable, UsageError
from andon.measure.estimate import Estimate, wilson
from andon.surface.page import Page
from andon.surface.station import Known
from andon.surface.view.deploy_now import MOST_ROUTES
from andon.surface.view.deploy_pair import Against, AgreedAt, BySlice, Cell, Differing, Pairs, Right, read_pairs
from andon.surface.view.watch_span import Moment, moment

if TYPE_CHECKING:
    from andon.core.record import Route
    from andon.scope.charter import Charter
    from andon.surface.visit import Visit

__all__ = ["PAGE", "Params", "Reading", "ShadowView", "shadow_view"]

_Answer = Annotated[str, msgspec.Meta(max_length=1000, description="Only cases that differ with this answer.")]
_PER_PAGE = 25
_DAYS = 28
_MOST_DAYS = 366


class Params(msgspec.Struct, frozen=True):
    """Which release, beside whom, when (event time), in which slice, and which page of the cases that differ.

    These may be those of one cell of the matrix (``said`` by the shadow, or ``silent``, and by the ``other``), and those
    where one side is known to be ``right``.
    """

    version: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    against: Against = "decided"
    slice: Annotated[
        str, msgspec.Meta(max_length=200, description="A slice of the charter; all cases if left out.")
    ] = ""
    since: Moment = ""
    until: Moment = ""
    page: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1
    said: _Answer = ""
    other: _Answer = ""
    silent: bool = False
    right: Right = ""

    @property
    def cell(self) -> Cell:
        """Which of the cases that differ."""
        return Cell(self.said, self.other, self.silent, self.right)


class Reading(msgspec.Struct, frozen=True):
    """The time that is looked at, [``since_us``, ``until_us``), and in words why this one."""

    since_us: int
    until_us: int
    says: str


class ShadowView(msgspec.Struct, frozen=True):
    """The whole page. ``found`` is None with the log gone. ``matrix[i][j]`` counts cases with the shadow's answer
    ``answers[i]`` ("" is none) and the other's ``others[j]``; ``shares[i][j]`` is that of all cases, for one look.

    ``differing`` is one page of ``total`` cases that differ and are in the ``cell``, None where nobody can tell now which of them are still to be reviewed
    blindly; ``veiled`` of them are left out because they are.
    """

    version: str
    against: Against
    slice: str
    slices: tuple[str, ...]
    role: str
    reading: Reading
    found: Comparison | None
    answers: tuple[str, ...]
    others: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[Estimate, ...], ...]
    cell: Cell
    by_slice: tuple[BySlice, ...]
    over_time: tuple[AgreedAt, ...]
    differing: tuple[Differing, ...] | None
    total: int
    veiled: int
    page: int
    pages: int
    trouble: str = ""


def shadow_view(visit: Visit, params: Params) -> ShadowView:
    """Read and compare. Raises ``NotFound`` for an unknown release or slice, ``UsageError`` for a bad time."""
    project, known = visit.project, Known()
    workspace, charter = project.workspace, project.charter
    routes = workspace.routes.history(MOST_ROUTES)
    _check(visit, params, routes, charter)
    reading = _reading(params, routes, visit.now_us)
    span = (reading.since_us, reading.until_us)
    pairs = known.ask(lambda: read_pairs(workspace, charter, params.version, params.against, *span))
    if pairs is not None and params.slice:
        pairs = pairs.of(params.slice)
    found = pairs.compared() if pairs is not None else None
    answers, others, matrix = _matrix(found, charter)
    rows, total, veiled, pages = _differing(visit, params, pairs, known)
    return ShadowView(
        version=params.version,
        against=params.against,
        slice=params.slice,
        slices=tuple(charter.slices),
        role=_role(routes, params.version),
        reading=reading,
        found=found,
        answers=answers,
        others=others,
        matrix=matrix,
        shares=tuple(tuple(wilson(n, sum(map(sum, matrix))) for n in row) for row in matrix),
        cell=params.cell,
        by_slice=pairs.by_slice() if pairs is not None and not params.slice else (),
        over_time=pairs.over_time() if pairs is not None else (),
        differing=rows,
        total=total,
        veiled=veiled,
        page=min(params.page, pages),
        pages=pages,
        trouble=known.trouble or known.why,
    )


def _check(visit: Visit, params: Params, routes: list[Route], charter: Charter) -> None:
    """Raises ``NotFound`` for a release or slice that is not there."""
    from andon.core.registry import did_you_mean
    from andon.deploy.release import find_release

    if params.slice and params.slice not in charter.slices:
        raise NotFound(f"the charter has no slice {params.slice!r}; {did_you_mean(params.slice, charter.slices)}")
    if any(params.version in route.bundles for route in routes):
        return
    try:
        find_release(visit.project.workspace, params.version)
    except (Unavailable, Corrupt):
        return  # the page says what cannot be read


def _reading(params: Params, routes: list[Route], now_us: int) -> Reading:
    """The time asked for; else the last weeks, or those before the version left the shadow."""
    since, until = moment(params.since, "since"), moment(params.until, "until")
    if since is None and until is None:
        ended = _ended(routes, params.version)
        until = now_us if ended is None else ended
        says = f"the last {_DAYS} days" + ("" if ended is None else " before it left the shadow")
        return Reading(max(0, until - _DAYS * DAY), until + 1, says)
    until = now_us + 1 if until is None else until
    since = until - _DAYS * DAY if since is None else since
    if until <= since:
        raise UsageError(f"since: expected a time before {iso(until)}, found {iso(since)}", field="since")
    if until - since > _MOST_DAYS * DAY:
        return Reading(
            until - _MOST_DAYS * DAY, until, f"the last {_MOST_DAYS} days of what was asked for: that is the most"
        )
    return Reading(since, until, "as asked for")


def _ended(routes: list[Route], version: str) -> int | None:
    """When a version that runs in the shadow no more last left it."""
    left = None
    for route in routes:
        if version in route.shadows:
            return left
        left = route.time_us
    return None


def _role(routes: list[Route], version: str) -> str:
    if not routes:
        return "it never ran"
    route = routes[0]
    if version in route.shadows:
        return "it runs in the shadow now"
    if version in (route.live, route.candidate):
        return "it is live now" if version == route.live else "it is the candidate now"
    return "it does not run now"


def _matrix(
    found: Comparison | None, charter: Charter
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Answers in the charter's order, then whatever else was answered."""
    if found is None or not found.matrix:
        return (), (), ()
    classes = list(charter.target.classes)
    others = {other for row in found.matrix.values() for other in row}
    columns = (*classes, *sorted(others - set(classes)))
    rows = (*classes, *sorted(set(found.matrix) - set(classes)))
    return rows, columns, tuple(tuple(found.matrix.get(one, {}).get(other, 0) for other in columns) for one in rows)


def _differing(
    visit: Visit, params: Params, pairs: Pairs | None, known: Known
) -> tuple[tuple[Differing, ...] | None, int, int, int]:
    """One page of the cases that differ, how many there are, how many are left out, how many pages."""
    found = pairs.differing(visit.project.workspace, known) if pairs is not None else None
    if pairs is None or found is None:
        return None, 0, 0, 1
    # What is left out is counted over all of them: in a cell its number would tell what a model says of a case.
    rows, veiled = pairs.within(found[0], params.cell), found[1]
    pages = max(1, -(-len(rows) // _PER_PAGE))
    first = (min(params.page, pages) - 1) * _PER_PAGE
    return pairs.told(rows[first : first + _PER_PAGE]), len(rows), veiled, pages


PAGE = Page(
    name="deploy.comparison",
    path="/deploy/shadow/{version}",
    title="Shadow",
    section="deploy",
    view=shadow_view,
    params=Params,
    result=ShadowView,
    template="deploy_shadow.html",
)
