"""What a rehearsed rollout knows of its guardrail: events by arm, in the order in which they become known.

Rows stand for one event each, or for all that happened in a short time; the tests are looked at after every row.

>>> guard = Guardrail.begin("errors")
>>> rows = Happened(*(np.ones(40) * one for one in (1.0, 1.0, 1.0, 0.0, 0.1, 1.0)))
>>> walked = Walked(guard, rows)
>>> walked.spoke(0.05, 0.05), walked.after(3).harm.candidate
(2, 3)
>>> math.isclose(walked.after(3).harm.log_e, guard.add(3, 0, 0.1).harm.log_e)
True
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from msgspec.structs import replace

from andon.deploy.rehearsal_traffic import Bools, Floats
from andon.measure.evidence import Counts
from andon.measure.guardrail import Guardrail

__all__ = ["Happened", "Walked", "nothing"]


@dataclass(frozen=True, slots=True)
class Happened:
    """Rows of events: when they were and when they are known (hours), how many of the candidate's (``mine``) and of the live
    version's (``rest``), the share then (``rho``), and how many the live version would have spared (``extra``).
    """

    at: Floats
    known: Floats
    mine: Floats
    rest: Floats
    rho: Floats
    extra: Floats

    def _columns(self) -> tuple[Floats, ...]:
        return self.at, self.known, self.mine, self.rest, self.rho, self.extra

    def where(self, rows: Bools) -> Self:
        """Some of the rows."""
        return type(self)(*(one[rows] for one in self._columns()))

    def and_(self, more: Happened) -> Self:
        """Both, by when they are known."""
        both = [np.concatenate(pair) for pair in zip(self._columns(), more._columns(), strict=True)]
        order = np.argsort(both[1], kind="stable")
        return type(self)(*(one[order] for one in both))


def nothing() -> Happened:
    """No rows."""
    return Happened(*(np.empty(0) for _ in range(6)))


class Walked:
    """A guardrail after each of these rows; where everybody has the candidate (a share of 1) nothing is compared."""

    def __init__(self, guard: Guardrail, rows: Happened) -> None:
        self._guard = guard
        self._rows = rows.where(rows.rho < 1)
        self._place = np.flatnonzero(rows.rho < 1)
        self._harm, self._safe = (_walk(test, self._rows) for test in (guard.harm, guard.safe))

    def spoke(self, alpha: float, beta: float) -> int | None:
        """The row after which the verdict is another one than before; None where it stays."""
        said = self._guard.verdict(alpha, beta)
        hits = np.zeros(self._rows.mine.size, dtype=bool)
        if said != "harm":
            hits |= _log_e(self._harm) >= -math.log(alpha)
        if said == "not_yet":
            hits |= _log_e(self._safe) >= -math.log(beta)
        return int(self._place[hits.argmax()]) if hits.any() else None

    def after(self, rows: int) -> Guardrail:
        """The guardrail after the first so many rows."""
        n = int(np.searchsorted(self._place, rows))
        if not n:
            return self._guard
        steps = {one: (mine, rest) for one, mine, rest in self._guard.steps}
        for rho in np.unique(self._rows.rho[:n]).tolist():
            which = self._rows.rho[:n] == rho
            mine, rest = steps.get(rho, (0, 0))
            more, others = (int(one[:n][which].sum()) for one in (self._rows.mine, self._rows.rest))
            steps[rho] = (mine + more, rest + others)
        counts = sum(mine for mine, _ in steps.values()), sum(rest for _, rest in steps.values())
        return replace(
            self._guard,
            harm=_stepped(self._guard.harm, self._harm, n, counts),
            safe=_stepped(self._guard.safe, self._safe, n, counts),
            steps=tuple((rho, *both) for rho, both in steps.items()),
        )


def _walk(test: Counts, rows: Happened) -> Floats:
    """The logarithm of each part of a test after every row, of shape (ratios, rows)."""
    null = _share(test.null, rows.rho)
    found = np.empty((len(test.ratios), rows.mine.size))
    for part, log, ratio in zip(found, test.logs, test.ratios, strict=True):
        alone = _share(ratio, rows.rho)
        part[:] = rows.mine * np.log(alone / null) + rows.rest * np.log((1 - alone) / (1 - null))
        np.cumsum(part, out=part)
        part += log
    return found


def _share(ratio: float, rho: Floats) -> Floats:
    found: Floats = ratio * rho / (ratio * rho + 1 - rho)
    return found


def _log_e(logs: Floats) -> Floats:
    found: Floats = np.logaddexp.reduce(logs, axis=0) - math.log(len(logs))
    return found


def _stepped(test: Counts, logs: Floats, n: int, counts: tuple[int, int]) -> Counts:
    peak = max(test.peak, float(_log_e(logs[:, :n]).max()))
    now = tuple(logs[:, n - 1].tolist())
    return replace(test, logs=now, candidate=counts[0], live=counts[1], peak=peak)
