"""The evidence of a rollout, computed anew from the decision log: so a restart changes nothing.

What counts is the log up to a position in each of its streams. Events come in the order in which they became known; a
unit counts once in a rollout and guardrail, with its first event; the probability with which its arm was drawn is that
of the decision's own record. Both e-processes are looked at after every event, whenever one happens to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl

from andon.core.clock import HOUR
from andon.deploy.rollout_record import Evidence, Plan, Rail, Rollout, Shadowed, Standing
from andon.errors import AndonError
from andon.measure.detect import walk
from andon.measure.event import Event, event_of
from andon.measure.evidence import Assigned, Counts
from andon.measure.gate import Bound
from andon.measure.guardrail import Guardrail
from andon.measure.slice import parse_slice
from andon.store.shape import unreadable
from andon.store.view import Seen

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.scope.section import MetricSpec
    from andon.store.workspace import Workspace

__all__ = ["Proof", "bound_of", "guarded", "judge_events", "measurable"]

_KEPT = ("time_us", "stream", "sequence", "epoch", "mine", "rho", "key")
_SPLIT_WEIGHT = 100.0


def bound_of(spec: MetricSpec) -> Bound | None:
    """The goal of a metric, or its alarm where that is a bound."""
    return spec.goal if spec.goal is not None else spec.alarm if isinstance(spec.alarm, Bound) else None


def guarded(charter: Charter) -> dict[str, Event | str]:
    """The charter's guardrails (else its metrics with a goal): the event that each counts, or why it is not judged."""
    named = charter.rollout.guardrails or [name for name, spec in charter.metrics.items() if spec.goal is not None]
    found: dict[str, Event | str] = {}
    for name in named:
        spec = charter.metrics[name]
        try:
            found[name] = event_of(spec.of, bound_of(spec), charter.target.classes)
        except AndonError as error:
            found[name] = error.message
    return found


@dataclass(frozen=True, slots=True)
class _Known:
    """What decisions say by themselves, up to a position of the log: sums that do not depend on how they were read.

    ``units`` has a row for each unit: the first route and arm, the arms it was in, and for which guardrails it counts.
    ``events`` are the cases with an event; ``lately`` those of about the last hour; ``shares`` are by route.
    """

    name: str
    position: dict[str, int]
    units: pl.DataFrame
    events: dict[str, pl.DataFrame]
    lately: pl.DataFrame
    shares: dict[int, float]
    first_us: int
    last_us: int
    last_mine_us: int

    @classmethod
    def of(cls, name: str, position: dict[str, int], rows: pl.DataFrame, rails: list[str]) -> _Known:
        """Of the cases themselves."""
        mine = pl.col("mine")
        asked = [
            (pl.col(f"bad:{rail}").is_not_null() & arm).any().alias(f"{rail}:{at}")
            for rail in rails
            for at, arm in enumerate((mine, ~mine))
        ]
        # Within one route a unit's arm is fixed: the first route and its arm are one number.
        place = (pl.col("epoch") * 2 + mine.cast(pl.Int64)).min().alias("place")
        times = rows.select(
            pl.col("time_us").min().alias("first"),
            pl.col("time_us").max().alias("last"),
            pl.col("time_us").filter(mine).max().alias("mine"),
        ).row(0)
        return cls(
            name,
            position,
            rows.group_by("key").agg(place, mine.any().alias(":0"), (~mine).any().alias(":1"), *asked),
            {
                rail: rows.filter(pl.col(f"bad:{rail}")).select(*_KEPT, known_us="time_us", bad=f"bad:{rail}")
                for rail in rails
            },
            rows.filter(pl.col("time_us") > (times[1] or 0) - HOUR).select("time_us", "mine", "key", "deferred"),
            dict(rows.group_by("epoch").agg(pl.col("rho").first()).iter_rows()),
            *(0 if time is None else int(time) for time in times),
        )

    def and_(self, more: _Known, now_us: int) -> _Known:
        """With the cases of a later read."""
        if not more.units.height:
            return replace(self, position=more.position)
        again = pl.concat([self.units.join(more.units, on="key", how="semi"), more.units])
        both = again.group_by("key").agg(pl.col("place").min(), pl.exclude("key", "place").any())
        lately = pl.concat([self.lately, more.lately]).filter(pl.col("time_us") > now_us - HOUR)
        return _Known(
            self.name,
            dict(sorted({**self.position, **more.position}.items())),
            pl.concat([self.units.join(more.units, on="key", how="anti"), both]),
            {rail: pl.concat([rows, more.events[rail]]) for rail, rows in self.events.items()},
            lately,
            {**self.shares, **more.shares},
            min(self.first_us or more.first_us, more.first_us),
            max(self.last_us, more.last_us),
            max(self.last_mine_us, more.last_mine_us),
        )


class Proof:
    """Gathers what is known about a rollout of this charter's line."""

    def __init__(self, workspace: Workspace, charter: Charter) -> None:
        self._workspace = workspace
        self._charter = charter
        self._events = {name: one for name, one in guarded(charter).items() if isinstance(one, Event)}
        self._mine: dict[tuple[str, int], bool] = {}
        self._known: _Known | None = None

    def look(self, rollout: Rollout, standing: Standing, position: Mapping[str, int] | None = None) -> Evidence:
        """All that the log says, now or as of a ``position`` it had once. Raises ``Unavailable``, ``Corrupt``."""
        now = self._workspace.clock.now()
        empty = Evidence(standing, as_of_us=now, position=dict(position or {}))
        if rollout.place in ("draft", "preflight"):
            return empty
        try:
            return self._looked(rollout, empty, position)
        except pl.exceptions.PolarsError as error:
            raise unreadable("decisions", error) from error

    def _looked(self, rollout: Rollout, empty: Evidence, position: Mapping[str, int] | None) -> Evidence:
        seen = Seen(self._workspace, rollout.began_us, None, position)
        if rollout.place == "shadow":
            return self._shadowed(seen, rollout, empty, position)
        # Read after the log: a decision's route was there before it.
        newest = self._workspace.routes.word()
        epochs = self._epochs(rollout, newest)
        return self._judged(seen, rollout, epochs, empty, position) if epochs else empty

    def _epochs(self, rollout: Rollout, newest: int) -> list[int]:
        """The routes under which this rollout's version was the candidate."""
        epochs = range(rollout.first_epoch + 1, newest + 1)
        for epoch in epochs:
            if (rollout.name, epoch) not in self._mine:
                try:
                    route = self._workspace.routes.at(epoch)
                except AndonError:
                    continue
                self._mine[rollout.name, epoch] = route.candidate == rollout.plan.version and 0 < route.share < 1
        return [epoch for epoch in epochs if self._mine.get((rollout.name, epoch))]

    def _judged(
        self, seen: Seen, rollout: Rollout, epochs: list[int], empty: Evidence, position: Mapping[str, int] | None
    ) -> Evidence:
        plan = rollout.plan
        events = {name: self._events[name] for name in plan.guardrails if name in self._events}
        early = {name: event for name, event in events.items() if not event.late}
        drawn = pl.col("epoch").is_in(epochs) & pl.col("arm").is_in(["candidate", "live"])
        known = self._read(seen, rollout, early, drawn, position)
        late = {name: event for name, event in events.items() if event.late}
        arrived = self._late(seen, late, drawn)
        if not known.units.height:
            return msgspec.structs.replace(empty, position=known.position)
        units, split = _units(known, list(early))
        rails = []
        for name in plan.guardrails:
            if name in early:
                rails.append(Rail(name, judge_events(name, plan, known.events[name]), units[name]))
            elif name in arrived:
                rails.append(_late_rail(name, plan, arrived[name], empty.as_of_us))
        pace = _pace(known, rollout, units[""], empty.as_of_us)
        return msgspec.structs.replace(empty, position=known.position, rails=tuple(rails), assigned=split, **pace)

    def _read(
        self,
        seen: Seen,
        rollout: Rollout,
        early: Mapping[str, Event],
        drawn: pl.Expr,
        position: Mapping[str, int] | None,
    ) -> _Known:
        """What is known at once, of the whole log; decisions never change, so only those since the last look are read."""
        before = None
        if position is None and self._known is not None and self._known.name == rollout.name:
            before = self._known
        after = {} if before is None else before.position
        reached = _reached(seen, position, after)
        flags = [_limited(one.bad, self._where(name), seen).alias(f"bad:{name}") for name, one in early.items()]
        # The decision as it was made: what a person answers later is late.
        made = seen.raw().filter(_beyond(after), drawn).with_columns(prediction="decision")
        found = _Known.of(rollout.name, reached, made.select(*_shape(), *flags).collect(), list(early))
        whole = found if before is None else before.and_(found, self._workspace.clock.now())
        if position is None:
            self._known = whole
        return whole

    def _where(self, name: str) -> str | None:
        return self._charter.metrics[name].where

    def _late(self, seen: Seen, events: Mapping[str, Event], drawn: pl.Expr) -> dict[str, pl.DataFrame]:
        """For each late guardrail, the decided cases of which it is known how they went, and since when."""
        if not events:
            return {}
        table = measurable(seen, events, self._charter, drawn).collect()
        return {
            name: table.filter(pl.col(f"bad:{name}").is_not_null()).select(*_KEPT, "known_us", bad=f"bad:{name}")
            for name in events
        }

    def _shadowed(self, seen: Seen, rollout: Rollout, empty: Evidence, position: Mapping[str, int] | None) -> Evidence:
        """Both answers to the same cases; only where one alone failed, or was wrong, is anything learnt."""
        plan = rollout.plan
        said = seen.shadow(plan.version).select("id", theirs="label")
        rows = seen.raw().filter(pl.col("time_us") >= rollout.began_us, pl.col("version") == plan.live)
        automatic = pl.when(pl.col("decided_by") == "model").then("decision")
        rows = rows.with_columns(ours=pl.coalesce("suggestion", automatic), key=_key())
        table = rows.join(said, on="id").join(seen.labels(), on="id", how="left").collect()
        reached = _reached(seen, position, {})
        failed, lost = table["theirs"].is_null(), table["ours"].is_null()
        rails = [_pairs("no answer", plan, table, failed, lost)]
        told = table.filter(pl.col("label").is_not_null())
        wrong = [(told[name] != told["label"]).fill_null(True) for name in ("theirs", "ours")]
        rails.append(_pairs("a wrong answer", plan, told, wrong[0], wrong[1]))
        last = table["time_us"].max()
        lately = table.filter(pl.col("time_us") > empty.as_of_us - HOUR)["key"].n_unique()
        return msgspec.structs.replace(
            empty,
            position=reached,
            shadow=Shadowed(table.height, int(failed.sum()), tuple(rails)),
            last_us=None if last is None else int(str(last)),
            per_hour=float(lately),
        )


# ------------------------------------------------------------------------------------------------------- from rows


def measurable(seen: Seen, events: Mapping[str, Event], charter: Charter, which: pl.Expr | None = None) -> pl.LazyFrame:
    """Decided cases with ``bad:<name>`` of each event (null: not known), and since when (``known_us``)."""
    said = seen.later("feedback")
    labels = said.filter(pl.col("kind") == "label").sort("time_us", "received_us", "stream", "sequence")
    labels = labels.unique("id", keep="last", maintain_order=True)
    came = labels.select("id", label="value", label_known="received_us")
    rows = seen.final().filter(pl.col("status") != "pending", *([] if which is None else [which]))
    rows = rows.with_columns(prediction="decision").join(came, on="id", how="left")
    rows = rows.join(seen.audits(), on="id", how="left")
    if any(event.kind for event in events.values()):
        first = pl.col("received_us").min().alias("feedback_known")
        rows = rows.join(said.group_by("id").agg(first, feedback=pl.col("kind").unique().sort()), on="id", how="left")
    else:
        rows = rows.with_columns(feedback_known=pl.lit(None, dtype=pl.Int64))
    rows = _with_truth(rows, charter.target.truth)
    known = pl.max_horizontal("time_us", "label_known", "decided_us", "feedback_known")
    flags = [
        _limited(event.bad, charter.metrics[name].where, seen).alias(f"bad:{name}") for name, event in events.items()
    ]
    return rows.select(*_shape(), known.alias("known_us"), *flags)


def _key() -> pl.Expr:
    """A unit, or the request where none was given."""
    return pl.when(pl.col("unit") == "").then("id").otherwise("unit").hash()


def _shape() -> list[pl.Expr]:
    mine = pl.col("arm") == "candidate"
    rho = pl.when(mine).then("probability").otherwise(1 - pl.col("probability")).round(12)
    deferred = (pl.col("status") == "pending") | pl.col("decided_by").is_in(["person", "nobody"])
    plain = [pl.col(name) for name in ("time_us", "stream", "sequence", "epoch")]
    return [*plain, mine.alias("mine"), rho.alias("rho"), _key().alias("key"), deferred.alias("deferred")]


def _limited(bad: pl.Expr, where: str | None, seen: Seen) -> pl.Expr:
    """An event that counts only where the metric's condition holds; one on a column that is not there holds nowhere."""
    if where is None:
        return bad
    slice = parse_slice(where)
    known = {*seen.inputs, "version", "arm", "level", "slice", "decided_by", "status", "unit", "epoch", "confidence"}
    if not slice.columns <= known:
        return pl.lit(None, dtype=pl.Boolean)
    columns = sorted(slice.columns)
    held = pl.struct(columns).map_batches(lambda rows: slice.truth(rows.struct.unnest()), return_dtype=pl.Boolean)
    return pl.when(held.fill_null(False)).then(bad)


def _beyond(after: Mapping[str, int]) -> pl.Expr:
    """Rows behind a position of the log."""
    if not after:
        return pl.lit(True)
    return pl.col("sequence") > pl.col("stream").replace_strict(dict(after), default=-1, return_dtype=pl.Int64)


def _reached(seen: Seen, given: Mapping[str, int] | None, after: Mapping[str, int]) -> dict[str, int]:
    """The last sequence of each stream in what is there."""
    if given is not None:
        return dict(sorted(given.items()))
    parts = [seen.raw(), *(seen.later(table) for table in ("feedback", "reviews", "shadow"))]
    rows = pl.concat([part.filter(_beyond(after)).select("stream", "sequence") for part in parts])
    found = rows.group_by("stream").agg(pl.col("sequence").max()).collect()
    return dict(sorted({**after, **dict(found.iter_rows())}.items()))


def judge_events(name: str, plan: Plan, events: pl.DataFrame) -> Guardrail:
    """The guardrail after these events: each unit's first (by ``known_us``) counts, with its ``rho`` and arm ``mine``."""
    first = events.sort("known_us", "stream", "sequence").unique("key", keep="first", maintain_order=True)
    made = Guardrail.begin(name, plan.margin)
    if not first.height:
        return made
    counts = first.group_by("rho").agg(mine=pl.col("mine").sum(), n=pl.len()).sort("rho")
    for rho, mine, n in counts.iter_rows():
        made = made.add(int(mine), int(n - mine), rho)
    arms, rhos = first["mine"].to_numpy()[None, :], first["rho"].to_numpy()[None, :]
    return msgspec.structs.replace(made, harm=_peaked(made.harm, arms, rhos), safe=_peaked(made.safe, arms, rhos))


def _peaked(test: Counts, mine: np.ndarray, rho: np.ndarray) -> Counts:
    """The same with the largest evidence that there was after any event."""
    return msgspec.structs.replace(test, peak=max(0.0, float(walk(test, mine, rho).max())))


def _units(known: _Known, names: list[str]) -> tuple[dict[str, tuple[int, int]], Assigned | None]:
    """Units by arm, for each early guardrail and ("") at all; and the split of those that were new."""
    sums = known.units.select(pl.exclude("key", "place").sum()).row(0, named=True)
    found = {name: _two(sums, name) for name in ("", *names)}
    new = known.units.group_by(pl.col("place") // 2).agg((pl.col("place") % 2).sum().alias("mine"), pl.len().alias("n"))
    split: Assigned | None = None
    for epoch, first, n in new.sort("place").iter_rows():
        share = known.shares[epoch]
        split = Assigned(share, _SPLIT_WEIGHT) if split is None else split
        split = split if split.share == share else split.ramped(share)
        split = split.add(int(first), int(n - first))
    return found, split


def _two(sums: Mapping[str, int], name: str) -> tuple[int, int]:
    return int(sums[f"{name}:0"]), int(sums[f"{name}:1"])


def _late_rail(name: str, plan: Plan, known: pl.DataFrame, as_of_us: int) -> Rail:
    ripe = known.filter(pl.col("time_us") <= as_of_us - plan.horizon_us)
    guards = [judge_events(name, plan, part.filter("bad")) for part in (known, ripe)]
    counted = [
        (int(part.filter("mine")["key"].n_unique()), int(part.filter(~pl.col("mine"))["key"].n_unique()))
        for part in (known, ripe)
    ]
    return Rail(name, guards[0], counted[0], True, guards[1], counted[1])


def _pace(known: _Known, rollout: Rollout, units: tuple[int, int], as_of_us: int) -> dict[str, object]:
    """How much comes, and what of it the candidate passes on to people."""
    lately = known.lately.filter(pl.col("time_us") > as_of_us - HOUR)
    hours = min(1.0, max((as_of_us - known.first_us) / HOUR, 1 / 60))
    share = float(lately.filter("mine")["deferred"].mean() or 0.0)  # type: ignore[arg-type]
    return {
        "candidate": units[0],
        "live": units[1],
        "fresh": int(known.last_mine_us >= rollout.share_us),
        "last_us": known.last_us,
        "per_hour": lately["key"].n_unique() / hours,
        "deferred_per_hour": share * lately.height / hours,
    }


def _with_truth(rows: pl.LazyFrame, truth: str) -> pl.LazyFrame:
    """Labels and people's own answers, as ``andon.store.view.outcomes`` has them."""
    own = pl.when((pl.col("decided_by") == "person") & ~pl.col("saw_suggestion")).then(pl.col("decision"))
    asked = pl.coalesce("audited", own) if truth == "human" else pl.lit(None, dtype=pl.String)
    return rows.with_columns(label=pl.coalesce("label", asked), human=pl.coalesce("human", "audited"))


def _pairs(name: str, plan: Plan, table: pl.DataFrame, theirs: pl.Series, ours: pl.Series) -> Guardrail:
    """Units with a case in which one alone failed: the shadow with probability one half, if both fail as often."""
    alone = table.select("stream", "sequence", "key", known_us="time_us", mine=theirs, rho=pl.lit(0.5)).filter(
        theirs ^ ours
    )
    return judge_events(name, plan, alone)
