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
import polars as pl

from andon.core.clock import HOUR
from andon.deploy.rollout_plan import guarded
from andon.deploy.rollout_record import Evidence, Rollout, Shadowed, Standing
from andon.errors import Corrupt, NotFound
from andon.measure.evidence import Assigned
from andon.measure.figure import Figure
from andon.monitor.cases import KEPT, Look, beyond, column, counted, key, limited, measurable, reached, shape
from andon.monitor.rails import early_rail, firsts, late_rail, pairs, value_rail
from andon.store.shape import unreadable
from andon.store.view import Seen

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["Proof"]

_SPLIT_WEIGHT = 100.0


@dataclass(frozen=True, slots=True)
class _Known:
    """What decisions say by themselves, up to a position of the log: sums that do not depend on how they were read.

    ``units`` has a row for each unit: the first route and arm, the arms it was in, and for which guardrails it counts.
    ``events`` are the cases with an event; ``lately`` those of about the last hour; ``shares`` are by route. ``requests``
    counts the cases of each guardrail and arm (0: the candidate's), as ``errors:0``. ``values`` are each unit's first case
    for the guardrails that take what it gave; ``answered`` counts the candidate's cases by route.
    """

    name: str
    position: dict[str, int]
    units: pl.DataFrame
    events: dict[str, pl.DataFrame]
    lately: pl.DataFrame
    shares: dict[int, float]
    requests: dict[str, int]
    values: dict[str, pl.DataFrame]
    answered: dict[int, int]
    first_us: int
    last_us: int

    @classmethod
    def of(cls, name: str, position: dict[str, int], rows: pl.DataFrame) -> _Known:
        """Of the cases themselves."""
        rails, values = (
            [column.removeprefix(kind) for column in rows.columns if column.startswith(kind)]
            for kind in ("bad:", "value:")
        )
        mine = pl.col("mine")
        asked = [
            (pl.col(f"bad:{rail}").is_not_null() & arm).alias(f"{rail}:{at}")
            for rail in rails
            for at, arm in enumerate((mine, ~mine))
        ]
        # Within one route a unit's arm is fixed: the first route and its arm are one number.
        place = (pl.col("epoch") * 2 + mine.cast(pl.Int64)).min().alias("place")
        times = rows.select(
            pl.col("time_us").min().alias("first"),
            pl.col("time_us").max().alias("last"),
        ).row(0)
        return cls(
            name,
            position,
            rows.group_by("key").agg(
                place, mine.any().alias(":0"), (~mine).any().alias(":1"), *(one.any() for one in asked)
            ),
            {
                rail: rows.filter(pl.col(f"bad:{rail}")).select(*KEPT, known_us="time_us", bad=f"bad:{rail}")
                for rail in rails
            },
            rows.filter(pl.col("time_us") > (times[1] or 0) - HOUR).select("time_us", "mine", "key", "deferred"),
            dict(rows.group_by("epoch").agg(pl.col("rho").first()).iter_rows()),
            rows.select(one.sum() for one in asked).row(0, named=True) if asked else {},
            {one: _valued(rows.with_columns(known_us="time_us"), one) for one in values},
            dict(rows.filter(mine).group_by("epoch").len().iter_rows()),
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
            {name: n + more.requests[name] for name, n in self.requests.items()},
            {name: firsts(pl.concat([rows, more.values[name]])) for name, rows in self.values.items()},
            {at: self.answered.get(at, 0) + more.answered.get(at, 0) for at in {**self.answered, **more.answered}},
            min(self.first_us or more.first_us, more.first_us),
            max(self.last_us, more.last_us),
        )


def _valued(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """The first case of each unit that has a value."""
    counts = rows.filter(pl.col(f"value:{name}").is_not_null())
    return firsts(counts.select("key", "known_us", "stream", "sequence", "mine", "rho", value=f"value:{name}"))


class Proof:
    """Gathers what is known about a rollout of this charter's line."""

    def __init__(self, workspace: Workspace, charter: Charter) -> None:
        self._workspace = workspace
        self._charter = charter
        self._looks = {
            alone: {name: one for name, one in guarded(charter, alone=alone).items() if not isinstance(one, str)}
            for alone in (False, True)
        }
        self._mine: dict[tuple[str, int], bool] = {}
        self._audits: dict[int, float] = {}
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
        """The routes under which this rollout's version was the candidate; held against goals alone, also live."""
        plan, epochs = rollout.plan, range(rollout.first_epoch + 1, newest + 1)
        for epoch in epochs:
            if (rollout.name, epoch) not in self._mine:
                try:
                    route = self._workspace.routes.at(epoch)
                except (NotFound, Corrupt):  # for good; what cannot be read now is read with the next look
                    continue
                self._audits[epoch] = route.audit_share
                drawn = route.candidate == plan.version and 0 < route.share < 1
                self._mine[rollout.name, epoch] = drawn or (bool(plan.limits) and route.live == plan.version)
        return [epoch for epoch in epochs if self._mine.get((rollout.name, epoch))]

    def _judged(
        self, seen: Seen, rollout: Rollout, epochs: list[int], empty: Evidence, position: Mapping[str, int] | None
    ) -> Evidence:
        plan, alone = rollout.plan, rollout.plan.version if rollout.plan.limits else ""
        named = self._looks[bool(alone)]
        looks = {name: named[name] for name in plan.guardrails if name in named}
        drawn = pl.col("epoch").is_in(epochs) & pl.col("arm").is_in(["candidate", "none" if alone else "live"])
        if alone:
            drawn |= pl.col("epoch").is_in(epochs) & (pl.col("version") == alone)
        early = {name: one for name, one in looks.items() if not one.late}
        known = self._read(seen, rollout, early, drawn, position)
        late = {name: one for name, one in looks.items() if one.late}
        arrived = self._late(seen, late, drawn, alone)
        if not known.units.height:
            return msgspec.structs.replace(empty, position=known.position)
        units, split = _units(known, list(known.events))
        rails = []
        for name in plan.guardrails:
            if name in known.events:
                rails.append(early_rail(name, plan, known.events[name], units[name], _two(known.requests, name)))
            elif name in known.values:
                rails.append(value_rail(plan, name, looks[name], known.values[name]))
            elif name in arrived:
                rails.append(late_rail(name, plan, looks[name], *arrived[name], empty.as_of_us))
        pace = _pace(known, rollout, units[""], empty.as_of_us)
        return msgspec.structs.replace(empty, position=known.position, rails=tuple(rails), assigned=split, **pace)

    def _read(
        self,
        seen: Seen,
        rollout: Rollout,
        early: Mapping[str, Look],
        drawn: pl.Expr,
        position: Mapping[str, int] | None,
    ) -> _Known:
        """What is known at once, of the whole log; decisions never change, so only those since the last look are read."""
        before = None
        if position is None and self._known is not None and self._known.name == rollout.name:
            before = self._known
        after = {} if before is None else before.position
        alone = rollout.plan.version if rollout.plan.limits else ""
        flags = [limited(column(name, one, alone), self._where(name), seen) for name, one in early.items()]
        # The decision as it was made: what a person answers later is late.
        made = seen.raw().filter(beyond(after), drawn).with_columns(prediction="decision")
        to = reached(seen, position, after)
        found = _Known.of(rollout.name, to, made.select(*shape(alone), *flags).collect())
        whole = found if before is None else before.and_(found, self._workspace.clock.now())
        if position is None:
            self._known = whole
        return whole

    def _where(self, name: str) -> str | None:
        return self._charter.metrics[name].where

    def _late(
        self, seen: Seen, looks: Mapping[str, Look], drawn: pl.Expr, alone: str
    ) -> dict[str, tuple[pl.DataFrame, float | None]]:
        """For each late guardrail, the cases of which it is known how they went, and whether they are a sample (``counted``)."""
        if not looks:
            return {}
        table = measurable(seen, looks, self._charter, drawn, alone).collect()
        found = {}
        for name, one in looks.items():
            kind = "value" if alone or isinstance(one, Figure) else "bad"
            found[name] = counted(table, name, kind, self._audits)
        return found

    def _shadowed(self, seen: Seen, rollout: Rollout, empty: Evidence, position: Mapping[str, int] | None) -> Evidence:
        """Both answers to the same cases; only where one alone failed, or was wrong, is anything learnt."""
        plan = rollout.plan
        said = seen.shadow(plan.version).select("id", theirs="label")
        rows = seen.raw().filter(pl.col("time_us") >= rollout.began_us, pl.col("version") == plan.live)
        automatic = pl.when(pl.col("decided_by") == "model").then("decision")
        rows = rows.with_columns(ours=pl.coalesce("suggestion", automatic), key=key())
        truth = self._charter.target.truth
        table = rows.join(said, on="id").join(_judges(seen, truth), on="id", how="left").collect()
        failed, lost = table["theirs"].is_null(), table["ours"].is_null()
        rails = [pairs("no answer", plan, table, failed, lost)]
        told = table.filter(pl.col("label").is_not_null())
        wrong = [(told[name] != told["label"]).fill_null(True) for name in ("theirs", "ours")]
        what = "a wrong answer" if truth == "external" else "another answer than a person's"
        rails.append(pairs(what, plan, told, wrong[0], wrong[1]))
        last = table["time_us"].max()
        lately = table.filter(pl.col("time_us") > empty.as_of_us - HOUR)["key"].n_unique()
        return msgspec.structs.replace(
            empty,
            position=reached(seen, position, {}),
            shadow=Shadowed(table.height, int(failed.sum()), tuple(rails)),
            last_us=None if last is None else int(str(last)),
            per_hour=float(lately),
        )


# ------------------------------------------------------------------------------------------------------- from what is known


def _judges(seen: Seen, truth: str) -> pl.LazyFrame:
    """``id`` and ``label``: the outcome or, where people are the measure, what became known or one said who saw no suggestion.

    People are raters who err. That turns cases around where one version alone differs from them, for both alike: of
    two that err equally often each is the one alone equally often.
    """
    labels = seen.labels().select("id", "label")
    if truth == "external":
        return labels
    came = seen.later("reviews").filter(
        pl.col("kind").is_in(["decision", "audit"]), pl.col("decided_by") == "person", ~pl.col("saw_suggestion")
    )
    first = came.sort("sequence").unique("id", keep="first", maintain_order=True).select("id", said="decision")
    both = labels.join(first, on="id", how="full", coalesce=True)
    return both.select("id", label=pl.coalesce("label", "said"))


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


def _pace(known: _Known, rollout: Rollout, units: tuple[int, int], as_of_us: int) -> dict[str, object]:
    """How much comes, and what of it the candidate passes on to people."""
    lately = known.lately.filter(pl.col("time_us") > as_of_us - HOUR)
    hours = min(1.0, max((as_of_us - known.first_us) / HOUR, 1 / 60))
    share = float(lately.filter("mine")["deferred"].mean() or 0.0)  # type: ignore[arg-type]
    return {
        "candidate": units[0],
        "live": units[1],
        "fresh": _fresh(known, rollout),
        "last_us": known.last_us,
        "per_hour": lately["key"].n_unique() / hours,
        "deferred_per_hour": share * lately.height / hours,
    }


def _fresh(known: _Known, rollout: Rollout) -> int:
    """The candidate's cases under the share now: of the newest routes, as far back as they have it."""
    found = 0
    for epoch in sorted(known.shares, reverse=True):
        if abs(known.shares[epoch] - rollout.share) > 1e-9:
            break
        found += known.answered.get(epoch, 0)
    return found
