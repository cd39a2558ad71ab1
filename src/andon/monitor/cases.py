"""The cases of the log as a rollout looks at them: which arm, with which probability, how each went and since when.

Expressions and frames; what they add up to is in ``andon.monitor.rails``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import polars as pl

from andon.core.record import Level, Route
from andon.measure.event import Event
from andon.measure.figure import Figure
from andon.measure.slice import parse_slice
from andon.store import outcome
from andon.store.view import Seen

if TYPE_CHECKING:
    from andon.scope.charter import Charter

__all__ = [
    "KEPT",
    "Asked",
    "Look",
    "answers_of_a_unit",
    "chance",
    "column",
    "counted",
    "counts",
    "key",
    "limited",
    "measurable",
    "partly",
    "shape",
    "unseen",
    "used",
]

#: What a guardrail looks at of a case.
Look = Event | Figure
#: The columns that are kept of a case of which it is known how it went.
KEPT = ("time_us", "stream", "sequence", "epoch", "mine", "rho", "key")
#: Levels at which people decide by themselves, whatever a model says.
_ALONE: frozenset[Level] = frozenset(("human", "shadow"))
#: What an outcome is worked out from, whatever is looked at.
_READ = frozenset(("time_us", "status", "decision", "decided_by", "human"))


def column(name: str, look: Look, alone: str) -> pl.Expr:
    """How a case went: ``bad:<name>`` where events are compared, else ``value:<name>``; null where it does not count (yet).

    Of a version that is held against its goals ``alone`` its own cases count.
    """
    if isinstance(look, Event) and not alone:
        return look.bad.alias(f"bad:{name}")
    value = look.value if isinstance(look, Figure) else look.bad.cast(pl.Float64)
    if alone:
        among = pl.lit(True) if isinstance(look, Figure) or look.among is None else look.among.fill_null(False)
        value = pl.when((pl.col("version") == alone) & among).then(value)
    return value.alias(f"value:{name}")


def measurable(
    seen: Seen,
    looks: Mapping[str, Look],
    charter: Charter,
    which: pl.Expr | None = None,
    alone: str = "",
) -> pl.LazyFrame:
    """Decided cases with the ``column`` of each look (null: not known), and since when all of a case is (``known_us``).

    For each look also what ``Asked`` tells. ``alone`` names a version that is held against goals by itself, with all that it
    answers.
    """
    asked = Asked(looks, charter, alone, seen.inputs)
    rows = seen.raw() if which is None else seen.raw().filter(which)
    rows = asked.outcomes(rows, seen.later("reviews"), seen.later("feedback"))
    known = pl.max_horizontal(
        "time_us", ":label_known", "decided_us", ":audited_us", ":adjudicated_us", ":feedback_known"
    )
    return rows.select(*shape(alone), known.alias("known_us"), *asked.columns)


class Asked:
    """What late looks ask of decided cases, as columns of their outcomes.

    For each look its ``column``, since when it is known (``known:<name>``), with which probability people looked
    (``chance:<name>``, null for what they decided themselves), whether they or an outcome surely say how such a case went
    (``sure:<name>``) and whether that which would say it has not come (``open:<name>``); ``lot`` is even in [0, 1).
    """

    def __init__(self, looks: Mapping[str, Look], charter: Charter, alone: str, inputs: Collection[str]) -> None:
        self._truth = charter.target.truth
        self._kinds = {kind for one in looks.values() if isinstance(one, Event) for kind in one.kinds}
        flags = [
            limited(_ours(column(name, one, alone)), charter.metrics[name].where, inputs) for name, one in looks.items()
        ]
        looked = [one for name, look in looks.items() for one in _looked(name, look, self._truth)]
        self.columns: list[pl.Expr] = [(pl.col("id").hash(seed=7) / 2.0**64).alias("lot"), *flags, *looked]

    def reads(self, columns: Iterable[str]) -> list[str]:
        """Those of a decision's columns that the outcome, or a look at it, reads."""
        roots = {root for one in self.columns for root in one.meta.root_names()}
        return [name for name in columns if name in roots or name in _READ]

    def outcomes(self, rows: pl.LazyFrame, reviews: pl.LazyFrame, feedback: pl.LazyFrame) -> pl.LazyFrame:
        """The decided ones among decisions, with their outcomes: what ``columns`` read."""
        found = outcome.known(rows, reviews, feedback, kinds=bool(self._kinds), since=sorted(self._kinds))
        found = found.filter(pl.col("status") != "pending")
        label, human = outcome.truth(self._truth).alias("label"), pl.coalesce("human", ":audited").alias("human")
        told = outcome.truth_us(self._truth).alias(":truth_us")
        return found.with_columns(label, human, told, prediction="decision")


def _ours(went: pl.Expr) -> pl.Expr:
    """How a case went, null where a client brought the decision itself: that is the outcome of neither arm."""
    name = went.meta.output_name()
    return pl.when(pl.col("decided_by") != "client").then(went).alias(name)


def _looked(name: str, look: Look, truth: str) -> list[pl.Expr]:
    """Since when a case counts for a look, how likely people are to look at one, and whether it waits for something."""
    reads = set((look.bad if isinstance(look, Event) else look.value).meta.root_names())
    missing = [pl.col(name).is_null() for name in ("label", "human") if name in reads]
    again = "human" in reads
    people = again or (truth == "human" and "label" in reads)
    since = [pl.col("time_us"), pl.col("decided_us")]
    since += [pl.col(":truth_us")] if "label" in reads else []
    since += [pl.col(":audited_us")] if again else []
    since += [pl.col(f":since {kind}") for kind in look.kinds] if isinstance(look, Event) else []
    if not people:
        chance, sure = pl.lit(1.0), pl.lit(True)
    else:
        other = pl.lit(False) if again else pl.col(":label_known").is_not_null()
        drawn = pl.when(pl.col(":audited").is_not_null() & (pl.col("audit") > 0)).then("audit")
        chance = pl.when(other).then(pl.lit(1.0)).otherwise(drawn)
        sure = other | (pl.col("decided_by") != "model").fill_null(True) | (pl.col("audit") >= 1).fill_null(False)
    return [
        pl.max_horizontal(*since).alias(f"known:{name}"),
        chance.alias(f"chance:{name}"),
        sure.alias(f"sure:{name}"),
        pl.any_horizontal(pl.lit(False), *missing).alias(f"open:{name}"),
    ]


def counted(
    table: pl.DataFrame, name: str, kind: str, shares: Mapping[int, float]
) -> tuple[pl.DataFrame, float | None]:
    """The cases of a look (``kind``: bad or value) that count, each with the ``chance`` it had to, and whether they are a sample.

    The second is None, or for a sample how many automatic answers there are for each of the candidate's units.
    """
    unsure, doubtful = (table.select(one.any()).item() for one in (unseen(name), partly(name, kind)))
    sampled = bool(unsure and doubtful)
    rows = table.filter(counts(name, kind, shares, sampled=sampled))
    rows = rows.select(
        *KEPT,
        pl.col(f"{kind}:{name}").alias(kind),
        known_us=f"known:{name}",
        chance=chance(name, shares, sampled=sampled),
    )
    mine = table.filter(unseen(name), pl.col("mine"))["key"]
    return rows, answers_of_a_unit(mine.len(), mine.n_unique()) if sampled else None


def unseen(name: str) -> pl.Expr:
    """Whether nobody surely says how a case went."""
    return ~pl.col(f"sure:{name}")


def partly(name: str, kind: str) -> pl.Expr:
    """Whether a case that counts is people's own or was drawn: beside cases nobody has seen, such are a sample."""
    odds = pl.col(f"chance:{name}")
    return pl.col(f"{kind}:{name}").is_not_null() & (odds.is_null() | (odds < 1))


def counts(name: str, kind: str, shares: Mapping[int, float], *, sampled: bool) -> pl.Expr:
    """Whether a case counts for a look.

    Where people look at a sample of the automatic answers, what they decided themselves, each of it and never wrong, must
    not count beside it as if it were as much. Events count among the drawn answers alone: of what went to people none is
    one. Of values a case that went to people counts as if it were drawn, too, with the share of its route (``shares``).
    """
    went, own = pl.col(f"{kind}:{name}").is_not_null(), pl.col(f"chance:{name}").is_null()
    if not sampled:
        return went
    return went & (~own if kind == "bad" else ~own | (pl.col("lot") < _share(shares)))


def chance(name: str, shares: Mapping[int, float], *, sampled: bool) -> pl.Expr:
    """The chance that a case that counts had to be looked at."""
    return pl.col(f"chance:{name}").fill_null(_share(shares) if sampled else pl.lit(1.0))


def answers_of_a_unit(answers: int, units: int) -> float:
    """How many automatic answers a unit of the candidate has that nobody surely sees."""
    return answers / max(units, 1) or 1.0


def _share(shares: Mapping[int, float]) -> pl.Expr:
    """The part of the automatic answers that people look at, by the route."""
    if not shares:
        return pl.lit(0.0)
    return pl.col("epoch").replace_strict(dict(shares), default=0.0, return_dtype=pl.Float64)


def used(routes: Iterable[Route]) -> pl.Expr:
    """Whether a case came where a version's answer counts under its route, or is seen by whoever decides.

    Elsewhere people decide by themselves (or the line is stopped), both arms have the same outcomes, and that is no evidence of
    either. By the route and the slice, not by what became of the case: it is the same for both arms.
    """
    alike: dict[tuple[bool, tuple[str, ...]], list[int]] = {}
    for route in routes:
        if route.stopped:
            continue
        rest = route.levels.get("*", "human") not in _ALONE
        others = tuple(sorted(name for name, level in route.levels.items() if (level not in _ALONE) != rest))
        alike.setdefault((rest, others), []).append(route.epoch)
    found = []
    for (rest, others), epochs in alike.items():
        other = pl.col("slice").is_in(others) if others else pl.lit(False)
        found.append(pl.col("epoch").is_in(epochs) & (~other if rest else other))
    return pl.any_horizontal(pl.lit(False), *found).alias("used")


def key() -> pl.Expr:
    """A unit, or the request where none was given."""
    return pl.when(pl.col("unit") == "").then("id").otherwise("unit").hash()


def shape(alone: str = "") -> list[pl.Expr]:
    """What is kept of a case; ``mine`` are the candidate's, or all that the version ``alone`` answers."""
    mine = (pl.col("version") == alone).fill_null(False) if alone else pl.col("arm") == "candidate"
    rho = pl.when(mine).then("probability").otherwise(1 - pl.col("probability")).round(12)
    deferred = (pl.col("status") == "pending") | pl.col("decided_by").is_in(["person", "nobody"])
    plain = [pl.col(name) for name in ("time_us", "stream", "sequence", "epoch")]
    return [*plain, mine.alias("mine"), rho.alias("rho"), key().alias("key"), deferred.alias("deferred")]


def limited(bad: pl.Expr, where: str | None, inputs: Collection[str]) -> pl.Expr:
    """A column of cases that counts only where the metric's condition holds: nowhere, where that names an unknown column."""
    if where is None:
        return bad
    slice = parse_slice(where)
    known = {*inputs, "version", "arm", "level", "slice", "decided_by", "status", "unit", "epoch", "confidence"}
    if not slice.columns <= known:
        return pl.when(pl.lit(False)).then(bad)
    columns = sorted(slice.columns)
    held = pl.struct(columns).map_batches(lambda rows: slice.truth(rows.struct.unnest()), return_dtype=pl.Boolean)
    return pl.when(held.fill_null(False)).then(bad)
