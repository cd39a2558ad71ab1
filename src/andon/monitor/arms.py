"""Both arms of a canary, side by side: while a candidate answers some of the units, its metrics and those of the rest.

A unit belongs to an arm by the draw alone, whoever decided in the end: what the candidate passed on to people counts as
its own. So the two arms are compared as they were drawn. What a client asked a version for by name is no part of it.

Each rollout has its own cohorts, ``v2@7:candidate`` and ``v2@7:live`` (the route's salt, and the arm), so that a second
try of the same version begins anew. They are windows as any others: exactly once, also kept by the hour and by the day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import polars as pl

from andon.core.record import Route
from andon.errors import Corrupt, NotFound
from andon.measure.metric import Metric
from andon.measure.summary import Summary
from andon.monitor.deciders import DECIDED, decided
from andon.monitor.rollup import coarser, lengths
from andon.monitor.window import Measured, WindowRow, profile

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["ARMS", "Arm", "Rollouts", "arm_cohort", "so_far"]

Arm = Literal["live", "candidate"]
ARMS: tuple[Arm, ...] = ("candidate", "live")

_KEPT = 1000


def arm_cohort(salt: str, arm: Arm) -> str:
    """The name of an arm's cohort; no slice can have it.

    >>> arm_cohort("v2@7", "live")
    'v2@7:live'
    """
    return f"{salt}:{arm}"


class Rollouts:
    """Knows under which routes a candidate answered, and measures both arms there."""

    def __init__(self, workspace: Workspace, plan: Measured) -> None:
        self._at: Callable[[int], Route] = workspace.routes.at
        self._plan = plan
        self._salts: dict[int, str | None] = {}

    def early(self, table: pl.DataFrame) -> list[WindowRow]:
        """Of recorded decisions: who decided, in every length kept, and the guardrails that are known at once."""
        rows: list[WindowRow] = []
        for cohort, part in self._parts(table):
            rows += decided(part, self._plan.window.length_us, cohort)
            found = self._profile(part, cohort, self._plan.early)
            rows += found + coarser(found, lengths(self._plan.window.length_us)[1:])
        return rows

    def late(self, table: pl.DataFrame) -> list[WindowRow]:
        """Of outcomes: the guardrails that need a label or a person, in windows of the line's own length."""
        return [row for cohort, part in self._parts(table) for row in self._profile(part, cohort, self._plan.late)]

    def _profile(self, part: pl.DataFrame, cohort: str, metrics: Mapping[str, Metric]) -> list[WindowRow]:
        wanted = {name: metric for name, metric in metrics.items() if name in self._plan.guarded}
        found = profile(part, wanted, {}, self._plan.window, self._plan.where)
        return [WindowRow(row.metric, cohort, row.start_us, row.length_us, row.summary) for row in found]

    def _parts(self, table: pl.DataFrame) -> Iterable[tuple[str, pl.DataFrame]]:
        epochs: dict[str, list[int]] = {}
        for epoch in table["epoch"].unique().to_list():
            salt = self._salt(epoch)
            if salt is not None:
                epochs.setdefault(salt, []).append(epoch)
        for salt, mine in epochs.items():
            for arm in ARMS:
                part = table.filter(pl.col("epoch").is_in(mine) & (pl.col("arm") == arm))
                if part.height:
                    yield arm_cohort(salt, arm), part

    def _salt(self, epoch: int) -> str | None:
        """The salt of the rollout that ran under a route; None where none did, or the route is gone or damaged.

        Raises ``Unavailable``: what is measured once must not be measured without it because of a passing fault.
        """
        if epoch not in self._salts:
            if len(self._salts) >= _KEPT:
                self._salts.clear()
            try:
                route = self._at(epoch)
            except (NotFound, Corrupt):
                return None
            self._salts[epoch] = route.salt if route.candidate is not None and route.share > 0 else None
        return self._salts[epoch]


def so_far(workspace: Workspace, plan: Measured, salt: str) -> dict[Arm, dict[str, Summary]]:
    """All that a rollout has measured until now, by arm and metric; `DECIDED` says who decided."""
    length = lengths(plan.window.length_us)[-1]
    cohorts: dict[str, Arm] = {arm_cohort(salt, arm): arm for arm in ARMS}
    sums: dict[Arm, dict[str, Summary]] = {arm: {} for arm in ARMS}
    for row in workspace.windows.read((DECIDED, *plan.guarded), tuple(cohorts), length_us=length):
        mine, summary = sums[cohorts[row.cohort]], row.summary
        known = mine.get(row.metric)
        if isinstance(summary, Summary) and (known is None or type(known) is type(summary)):
            mine[row.metric] = summary if known is None else known + summary
    return sums
