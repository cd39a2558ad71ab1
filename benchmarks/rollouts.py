"""The same simulated canaries through the rules of Flagger, Argo Rollouts, Kayenta, GrowthBook and Andon.

The grid and the rules (`benchmarks.rollout_rules`, with sources) were fixed and committed before the first run; ours was
changed once since, after the first results: what is safe bakes on with a holdback. Every
rule is played against every cell: traffic x base error rate x world (`benchmarks.rollout_world`) x ratio of the errors
of the candidate. A canary of ratio 1 is good; one of 1.5 (the margin) or more is bad. A cell's figures are of 100 runs.

For each rule and cell:

* *bad promoted*: share of bad canaries that the rule made live;
* *good reverted*: share of good ones that it took back; *good held*: not decided within a week;
* *extra errors*: more errors than on the live version in the first week, with what a promoted canary does after that, on average;
* *requests*: of the whole line until half of the good ones are live; a rule that watches on with nearly all of the traffic
  has them live from then on, if it does not take them back;
* *requests to the right decision*: the larger of these and the requests until half of the bad ones are taken back; never
  where it takes back less than half of them. *With everything*: the same, but live is only what has all of the traffic.

One rule **dominates** another in a cell (traffic, base, world, ratio of the bad) when it is no worse in bad promoted, good
reverted and extra errors, beyond the error of the simulation (two standard errors; 2 % of the extra errors), and better in
one. ``requests`` is reported beside, and "dominated with requests" counts it as a fourth figure: a rule that waits for
evidence is slower than one that does not, and what one wants of the two is not for this benchmark to say. A rule that is
quick because it makes everything live is no quicker to be right: that is what *requests to the right decision* counts.

A hundred runs cannot tell a rule that makes 1 or 2 bad canaries of 100 live from one that makes none, and the extra
errors of these few are most of all, with an error as large. So each cell in which another rule dominates ours, with any of
the fourth figures, is played once more by both with 1,000 runs (`CLOSER`). Those in which ours dominates are not.

    python -m benchmarks.rollouts            # about fifteen minutes on one core; writes docs/evidence-cells.md
    python -m benchmarks.rollouts --closer   # only what is played once more, from what was measured last
    python -m benchmarks.rollouts --runs 20 --traffic 600
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.results import OUT
from benchmarks.rollout_rules import Andon, Argo, Flagger, GrowthBook, Kayenta, Rule
from benchmarks.rollout_world import WEEK, WORLDS, World, ticks

TRAFFIC = (60, 600, 6000)
BASE = (0.002, 0.01, 0.05)
BAD = (1.5, 2.0, 3.0, 10.0)
RUNS = 100
CLOSER = 1000
MARGIN = 1.5
PAGE = Path(__file__).parents[1] / "docs" / "evidence-cells.md"

Make = Callable[[int, float], Rule]
#: A figure of requests that may be counted as the fourth.
Fourth = Literal["requests", "right", "right_whole"]
#: What may be counted: three figures, or one of these as the fourth.
COUNTS: tuple[Fourth | None, ...] = (None, "requests", "right", "right_whole")
#: Traffic, base rate, world, ratio of the bad.
Cell = tuple[int, float, str, float]
#: Every rule by name, from (runs, the true base rate).
RULES: dict[str, Make] = {
    "Flagger": lambda runs, _: Flagger(runs),
    "Flagger, told the base rate": lambda runs, base: Flagger(runs, most_errors=MARGIN * base),
    "Argo": lambda runs, _: Argo(runs),
    "Argo, told the base rate": lambda runs, base: Argo(runs, most_errors=MARGIN * base),
    "Kayenta": lambda runs, _: Kayenta(runs),
    "GrowthBook": lambda runs, _: GrowthBook(runs),
    "Andon": lambda runs, _: Andon(runs),
    "Andon, half of the traffic": lambda runs, _: Andon(runs, share=0.5),
    "Andon, margin 2": lambda runs, _: Andon(runs, margin=2.0),
    "Andon, by harm budget": lambda runs, _: Andon(runs, share=0.05, budget=30),
}
OURS = "Andon"
OTHERS = tuple(name for name in RULES if not name.startswith("Andon"))


@dataclass(frozen=True)
class Played:
    """What one rule did in one cell with canaries of one ratio, as shares of the runs."""

    promoted: float
    reverted: float
    extra: float
    extra_error: float
    requests: float
    whole: float
    back: float


def play(make: Make, world: World, ratio: float) -> Played:
    """All runs of one rule against one world."""
    rule = make(world.runs, world.base)
    extra, ended = np.zeros(world.runs), np.full(world.runs, float(WEEK))
    for start, minutes in ticks():
        going = rule.state == 0
        if not going.any():
            break
        share = rule.shares().copy()
        mine = world.arm("candidate", start, minutes, share, ratio)
        rest = world.arm("live", start, minutes, rule.baseline())
        extra += np.where(going, world.extra(start, minutes, share, ratio), 0.0)
        rule.look(start, minutes, mine, rest)
        ended[going & (rule.state != 0)] = start + minutes
    rule.state[(rule.state == 0) & np.isfinite(rule.handed)] = 1
    after = np.array([world.extra(at, 10, np.ones(1), ratio)[0] for at in range(0, WEEK, 10)])
    left = np.concatenate([np.cumsum(after[::-1])[::-1], [0.0]])
    extra += np.where(rule.state == 1, left[np.minimum((ended.astype(np.int64) + 9) // 10, WEEK // 10)], 0.0)
    promoted, reverted = rule.state == 1, rule.state == -1
    error = float(extra.std() / math.sqrt(world.runs))
    return Played(
        float(promoted.mean()),
        float(reverted.mean()),
        float(extra.mean()),
        error,
        _half(promoted, np.minimum(rule.handed, ended)) * world.traffic,
        _half(promoted, ended) * world.traffic,
        _half(reverted, ended) * world.traffic,
    )


def _half(done: npt.NDArray[np.bool_], at: npt.NDArray[np.float64]) -> float:
    """When half of the runs were done; infinite where fewer are."""
    return float(np.sort(np.where(done, at, np.inf))[(len(done) - 1) // 2])


@dataclass(frozen=True)
class Figures:
    """One rule in one cell."""

    rule: str
    traffic: int
    base: float
    world: str
    ratio: float
    bad_promoted: float
    good_reverted: float
    good_held: float
    extra: float
    extra_error: float
    requests: float
    right: float
    right_whole: float

    @property
    def cell(self) -> Cell:
        return self.traffic, self.base, self.world, self.ratio


@dataclass(frozen=True)
class Closer:
    """One cell in which ``theirs`` dominated ``ours`` by some counts of figures, with more runs, and by which it still does."""

    ours: Figures
    theirs: Figures
    counts: list[str]
    still: list[str]


def played(rule: str, cell: Cell, runs: int) -> Figures:
    """One rule in one cell, the seeds made of its name."""
    traffic, base, name, ratio = cell
    good, bad = (_played(rule, traffic, base, name, one, runs) for one in (1.0, ratio))
    return _figures(rule, cell, good, bad)


def _played(rule: str, traffic: int, base: float, name: str, ratio: float, runs: int) -> Played:
    seed = zlib.crc32(f"{traffic} {base} {name} {ratio} {rule}".encode())
    return play(RULES[rule], World(name, traffic, base, runs, [seed]), ratio)


def _figures(rule: str, cell: Cell, good: Played, bad: Played) -> Figures:
    held = max(0.0, 1 - good.promoted - good.reverted)
    numbers = (bad.promoted, good.reverted, held, bad.extra, bad.extra_error, good.requests)
    return Figures(rule, *cell, *numbers, max(good.requests, bad.back), max(good.whole, bad.back))


def closer(found: Sequence[Figures], runs: int, times: int) -> list[Closer]:
    """The cells in which another rule dominates ours by any count of figures, played once more with ``times`` runs."""
    by = {(one.rule, one.cell): one for one in found}
    again: dict[tuple[str, Cell], Figures] = {}
    kept: list[Closer] = []
    for other, cell in itertools.product(OTHERS, sorted({one.cell for one in found})):
        counts = [count for count in COUNTS if dominates(by[other, cell], by[OURS, cell], runs, count)]
        if not counts:
            continue
        for rule in (OURS, other):
            if (rule, cell) not in again:
                again[rule, cell] = played(rule, cell, times)
        ours, theirs = again[OURS, cell], again[other, cell]
        still = [count for count in counts if dominates(theirs, ours, times, count)]
        kept.append(Closer(ours, theirs, [str(one) for one in counts], [str(one) for one in still]))
    return kept


def measure(traffics: tuple[int, ...], runs: int) -> list[Figures]:
    """Every rule in every cell. The seed of a cell is made of its name."""
    found: list[Figures] = []
    for traffic, base, name, rule in itertools.product(traffics, BASE, WORLDS, RULES):
        began = time.monotonic()
        good = _played(rule, traffic, base, name, 1.0, runs)
        for ratio in BAD:
            bad = _played(rule, traffic, base, name, ratio, runs)
            found.append(_figures(rule, (traffic, base, name, ratio), good, bad))
        print(f"{traffic:>5} {base:<6} {name:<8} {rule:<30} {time.monotonic() - began:5.1f} s", flush=True)
    return found


def dominates(a: Figures, b: Figures, runs: int, fourth: Fourth | None = None) -> bool:
    """Whether a is no worse than b in all figures, beyond the error of the simulation, and better in one."""
    slack = [2 * math.sqrt(2 * max(p * (1 - p), 1 / runs) / runs) for p in (b.bad_promoted, b.good_reverted)]
    slack.append(2 * math.hypot(a.extra_error, b.extra_error) + 0.02 * max(a.extra, b.extra))
    pairs = [(a.bad_promoted, b.bad_promoted), (a.good_reverted, b.good_reverted), (a.extra, b.extra)]
    if fourth is not None:
        mine, other = float(getattr(a, fourth)), float(getattr(b, fourth))
        pairs.append((mine, other))
        slack.append(0.02 * other if math.isfinite(other) else 0.0)
    worse = any(x > y + d for (x, y), d in zip(pairs, slack, strict=True))
    return not worse and any(x < y - d for (x, y), d in zip(pairs, slack, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--traffic", type=int, nargs="*", default=list(TRAFFIC))
    parser.add_argument("--closer", action="store_true", help="Only what is played once more.")
    options = parser.parse_args()
    kept = OUT / "rollouts.json"
    if options.closer:
        found = [Figures(**one) for one in json.loads(kept.read_text())]
    else:
        found = measure(tuple(options.traffic), options.runs)
        OUT.mkdir(exist_ok=True)
        kept.write_text(json.dumps([asdict(one) for one in found]))
    from benchmarks.rollout_tables import render

    text = render(found, closer(found, options.runs, CLOSER), options.runs)
    if options.runs == RUNS and {one.traffic for one in found} == set(TRAFFIC):
        PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
