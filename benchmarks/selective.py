"""Partial automation in simulated worlds: how often its promise is broken, and how much coverage it costs to keep it.

A world is a share of wrong answers for each degree of confidence. In each simulated deployment labelled cases are drawn
from it, a rule chooses the least confidence at which answers are automatic, and the world, which is known here, says the
true error of the automatic answers (broken where it is above the target) and their share of all cases. The oracle is the
largest coverage whose true error is at most the target. Models say truly how often they are right.

The rules:

* **Andon**: `andon.deploy.automation.learn_threshold`.
* **ranks**: the same, of a model that says only which answers are surer, in numbers that mean nothing.
* **thirds**: what that was before: the same test at numbers of accepted cases that grow by a third, all of one weight.
* **SGR**: Geifman & El-Yaniv (NeurIPS 2017), algorithm 1: a binary search over thresholds, each held to delta / log2(n).
* **as seen**: the largest coverage whose error was at most the target in the labelled cases; it promises nothing.

``limit`` is no rule: the coverage at which one exact test of all of delta, by who knew where to look, passes half of
the time. No rule that keeps the promise does much better on average.

    python -m benchmarks.selective                       # some five minutes; writes the tables of docs/selective.md
    python -m benchmarks.selective --deployments 100 --print
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from andon.deploy.automation import learn_threshold
from andon.measure.selective import KnownCurve, known_curve, risk_coverage
from benchmarks.tables import table

__all__ = ["DELTA", "RULES", "SIZES", "WORLDS", "Ran", "World", "limit", "run", "share_of_oracle"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rule = Callable[[Floats, Bools, float, float], float | None]

DELTA = 0.05
#: A point: how far the error of the safe cases is below the target, or that of all cases above it.
GAP = 0.01
SIZES = (500, 1_000, 2_000, 5_000, 10_000, 20_000)
DEPLOYMENTS = 1_000
PAGE = Path(__file__).parents[1] / "docs" / "selective.md"
_POPULATION = 200_000


@dataclass(frozen=True)
class World:
    """``chance(sureness, target)`` is how often an answer is wrong; sureness is uniform in [0, 1], 1 being the surest.

    Any other distribution is this one with other names for it. ``steps``: only so many different confidences.
    """

    name: str
    says: str
    chance: Callable[[Floats, float], Floats]
    steps: int = 0

    def draw(self, random: np.random.Generator, n: int, target: float) -> tuple[Floats, Bools]:
        """Confidences and whether the answers were right, of ``n`` labelled cases."""
        sureness = self._sureness(random.uniform(0.0, 1.0, n))
        wrong = self.chance(sureness, target)
        return self._told(sureness, wrong), random.random(n) >= wrong

    def known(self, target: float) -> KnownCurve:
        """The true curve."""
        sureness = self._sureness((np.arange(_POPULATION) + 0.5) / _POPULATION)
        wrong = self.chance(sureness, target)
        return known_curve(self._told(sureness, wrong), wrong)

    def _sureness(self, uniform: Floats) -> Floats:
        return np.ceil(uniform * self.steps) / self.steps if self.steps else uniform

    @staticmethod
    def _told(sureness: Floats, wrong: Floats) -> Floats:
        """The confidence: how often such answers are right, and a grain more where the model is surer all the same."""
        return 1 - wrong + 1e-6 * sureness


WORLDS: tuple[World, ...] = (
    World("whole", "all cases together err a point below the target; the oracle automates all", lambda u, r: 2 * (r - GAP) * (1 - u)),
    World("cliff", "seven cases in ten err a point below the target, the others in 30 %", lambda u, r: np.where(u > 0.3, r - GAP, 0.3)),
    World("coarse", "as cliff, with ten different confidences", lambda u, r: np.where(u > 0.35, r - GAP, 0.3), steps=10),
    World("above", "all cases together err a point above the target, less where the model is surer", lambda u, r: 3 * (r + GAP) * (1 - u) ** 2),
    World("weak", "all cases together err in 12 %, less where the model is surer", lambda u, _: 0.36 * (1 - u) ** 2),
)  # fmt: skip


def ranks(confidence: Floats, correct: Bools, target: float, delta: float) -> float | None:
    """Our rule, of confidences that only say which answers are surer."""
    values, place = np.unique(confidence, return_inverse=True)
    found = learn_threshold((place + 1) / (len(values) + 1), correct, target, delta).value
    return None if found is None else float(values[round(found * (len(values) + 1)) - 1])


def thirds(confidence: Floats, correct: Bools, target: float, delta: float) -> float | None:
    """The fallback procedure on a coarse grid."""
    curve = risk_coverage(confidence, correct)
    fewest = [math.ceil(math.log(delta / k) / math.log1p(-target)) for k in range(1, 100)]
    sizes = [len(confidence)]
    while (smaller := int(sizes[-1] / 1.3)) >= fewest[len(sizes)]:
        sizes.append(smaller)
    at = np.unique(np.searchsorted(curve.accepted, sizes))
    budget, best = 0.0, None
    for index, p in zip(at, bdtr(curve.errors[at], curve.accepted[at], target), strict=True):
        budget += delta / len(at)
        if p <= budget:
            best = float(curve.threshold[index])
        else:
            budget = 0.0
    return best


def sgr(confidence: Floats, correct: Bools, target: float, delta: float) -> float | None:
    """Selection with guaranteed risk; of the thresholds visited that pass, the loosest."""
    curve = risk_coverage(confidence, correct)
    visits = math.ceil(math.log2(len(confidence)))
    low, high, best = 0, len(confidence), None
    for _ in range(visits):
        middle = (low + high + 1) // 2
        index = min(int(np.searchsorted(curve.accepted, middle)), len(curve.accepted) - 1)
        # The bound is below the target exactly where this tail is below its part of delta.
        if bdtr(curve.errors[index], curve.accepted[index], target) <= delta / visits:
            best, low = float(curve.threshold[index]), middle
        else:
            high = middle
    return best


def as_seen(confidence: Floats, correct: Bools, target: float, delta: float) -> float | None:
    """The empirical error, as if it were the true one."""
    curve = risk_coverage(confidence, correct)
    inside = np.flatnonzero(curve.risk <= target)
    return float(curve.threshold[inside[-1]]) if len(inside) else None


RULES: dict[str, Rule] = {
    "Andon": lambda confidence, correct, target, delta: learn_threshold(confidence, correct, target, delta).value,
    "ranks": ranks,
    "thirds": thirds,
    "SGR": sgr,
    "as seen": as_seen,
}


@dataclass(frozen=True)
class Ran:
    """One rule in one world with ``n`` labels: the share of ``deployments`` whose promise was broken, the mean coverage.

    ``oracle`` is the oracle's coverage.
    """

    world: str
    rule: str
    n: int
    target: float
    deployments: int
    broken: int
    coverage: float
    oracle: float


def run(world: World, rules: Sequence[str], n: int, target: float, deployments: int, seed: int = 1) -> list[Ran]:
    """Simulated deployments: every rule sees the same labelled cases."""
    known, random = world.known(target), np.random.default_rng([seed, n])
    oracle = known.oracle(target)[1]
    broken, covered = dict.fromkeys(rules, 0), dict.fromkeys(rules, 0.0)
    for _ in range(deployments):
        confidence, correct = world.draw(random, n, target)
        for rule in rules:
            threshold = RULES[rule](confidence, correct, target, DELTA)
            if threshold is not None:
                coverage, risk = known.at(threshold)
                broken[rule] += risk > target * (1 + 1e-9)
                covered[rule] += coverage
    return [
        Ran(world.name, rule, n, target, deployments, broken[rule], covered[rule] / deployments, oracle)
        for rule in rules
    ]


def limit(world: World, n: int, target: float) -> float:
    """The largest coverage at which one test of all of delta passes half of the time."""
    known = world.known(target)
    thin = np.unique(np.linspace(0, len(known.coverage) - 1, 2_000).astype(int))
    accepted = np.rint(known.coverage[thin] * n).astype(int)
    middling = np.floor(accepted * known.risk[thin])  # about the median number of errors
    passes = np.flatnonzero((accepted > 0) & (bdtr(middling, np.maximum(accepted, 1), target) <= DELTA))
    return float(known.coverage[thin][passes[-1]]) if len(passes) else 0.0


def share_of_oracle(found: Ran) -> float:
    """Mean coverage as a share of the oracle's."""
    return found.coverage / found.oracle if found.oracle else 1.0


def tables(deployments: int, target: float) -> str:
    """One table for each world, in Markdown."""
    parts = []
    for world in WORLDS:
        rows, oracle = [], world.known(target).oracle(target)[1]
        for n in SIZES:
            found = run(world, tuple(RULES), n, target, deployments)
            limited = limit(world, n, target) / oracle if oracle else 1.0
            rows.append([f"{n:,}", *(_cell(one) for one in found), f"{limited:.0%}"])
        title = f"**{world.name}**: {world.says}. The oracle covers {oracle:.1%} at a target of {target:.0%}."
        parts.append(f"{title}\n\n{table(['labels', *RULES, 'limit'], rows)}")
    return "\n\n".join(parts)


def _cell(one: Ran) -> str:
    return f"{share_of_oracle(one):.0%}, broken {one.broken / one.deployments:.1%}"


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--deployments", type=int, default=DEPLOYMENTS)
    asked.add_argument("--target", type=float, default=0.02, help="the error that is promised")
    asked.add_argument("--print", action="store_true", help="print the tables and leave the page as it is")
    given = asked.parse_args()
    made = tables(given.deployments, given.target)
    if given.print:
        print(made)
        return
    mark = "<!-- made by python -m benchmarks.selective -->"
    text = re.sub(f"(?s)(?<={mark}\n).*(?=\n{mark})", lambda _: made, PAGE.read_text())
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
