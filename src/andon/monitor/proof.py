"""The evidence of a rollout, from the decision log alone: so a restart changes nothing.

What counts is the log up to a position in each of its streams, of it the cases in which a version's answer was used
(``andon.monitor.cases.used``). Events come in the order in which they became known; a unit counts once in a rollout and
guardrail, with its first event; the probability with which its arm was drawn is that of the decision's own record. Both
e-processes are looked at after every event, whenever one happens to look. A look reads on from where the last one ended
(``andon.store.follow``) and says what one that reads everything would say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from andon.core.clock import HOUR
from andon.core.record import Route
from andon.deploy.rollout_plan import guarded
from andon.deploy.rollout_record import Evidence, Rollout, Shadowed, Standing
from andon.errors import Corrupt, NotFound
from andon.measure.evidence import Assigned
from andon.monitor.cases import Asked, Look, column, key, limited, shape, used
from andon.monitor.rails import pairs
from andon.monitor.units import Units
from andon.store import outcome
from andon.store.follow import FEEDBACK, HELD, REVIEWS, Follow
from andon.store.shape import unreadable
from andon.store.view import Seen

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["Proof"]

_SPLIT_WEIGHT = 100.0
_PLACE = ("stream", "sequence")


class _Course:
    """One rollout as it was read so far: its units, and what its decisions say by themselves.

    ``epochs`` are the routes under which decisions count, of those up to ``newest``; ``routes`` has them.
    """

    def __init__(self, workspace: Workspace, charter: Charter, rollout: Rollout, routes: Mapping[int, Route]) -> None:
        plan = rollout.plan
        self.name = rollout.name
        self.alone = plan.version if plan.limits else ""
        named = guarded(charter, alone=bool(self.alone))
        self.looks: dict[str, Look] = {
            name: one for name in plan.guardrails if not isinstance(one := named.get(name, ""), str)
        }
        self._charter, self._rollout, self._routes = charter, rollout, routes
        self._early = {name: one for name, one in self.looks.items() if not one.late}
        self._late = {name: one for name, one in self.looks.items() if one.late}
        tables = {"reviews": REVIEWS, "feedback": FEEDBACK} if self._late else {}
        self.follow = Follow(workspace, rollout.began_us, ("key", "made") if tables else ("key",), tables)
        self.epochs: list[int] = []
        self.newest = 0
        self._audits: dict[int, float] = {}
        self._begin()

    def _begin(self) -> None:
        self.units = Units(self._rollout.plan, self.looks, self._audits, alone=bool(self.alone))
        self.lately: pl.DataFrame | None = None
        self.shares: dict[int, float] = {}
        self.answered: dict[int, int] = {}
        self.first_us = self.last_us = 0

    def holds(self, epochs: list[int]) -> bool:
        """Whether what was read is what would be read under these routes, too."""
        return self.follow.begins or [epoch for epoch in epochs if epoch <= self.newest] == self.epochs

    def take(self, seen: Seen, epochs: list[int], newest: int, now_us: int) -> dict[str, int]:
        """Read what ``follow`` has given; the position up to which that is."""
        if self.follow.begins:
            self._begin()
        asked = Asked(self._late, self._charter, self.alone, seen.inputs)
        self._audits |= {epoch: self._routes[epoch].audit_share for epoch in epochs}
        step = self.follow.step(seen, self._wanted(seen, epochs, asked))
        self.epochs, self.newest = epochs, newest
        touched = step.touched
        known = touched.select(*_PLACE, "key")
        if self._late:
            made = touched.lazy().select("id", *_PLACE, pl.col("made").struct.unnest())
            told = asked.outcomes(made, step.later["reviews"].lazy(), step.later["feedback"].lazy())
            found = told.select(*_PLACE, *asked.columns).collect()
            known = known.join(found, on=list(_PLACE), how="inner")
        new = step.new.drop("id", "made", strict=False)
        self.units.take(new.filter("used").drop("used"), known, now_us - self._rollout.plan.horizon_us)
        self._made(new, now_us)
        if self.follow.height + self.units.height > HELD:
            self.follow.forget()
        return step.position

    def _wanted(self, seen: Seen, epochs: list[int], asked: Asked) -> pl.LazyFrame:
        """The decisions that count, as they were made: what a person answers later is late."""
        alone = self.alone
        arms = pl.col("arm").is_in(["candidate", "live"])
        if alone:  # beside people, whom no version was drawn for: who asks for one by name has no arm either
            arms = (arms & (pl.col("version") == alone)) | ((pl.col("arm") == "none") & pl.col("version").is_null())
        drawn = pl.col("epoch").is_in(epochs) & arms
        where = {name: self._charter.metrics[name].where for name in self._early}
        flags = [limited(column(name, one, alone), where[name], seen.inputs) for name, one in self._early.items()]
        rows = seen.raw().filter(drawn)
        made = []
        if self._late:
            names = [name for name in rows.collect_schema().names() if name not in ("id", *_PLACE)]
            made = [pl.struct(asked.reads(names)).alias("made")]
        counts = used(self._routes[epoch] for epoch in epochs)
        return rows.with_columns(prediction="decision").select("id", *made, *shape(alone), *flags, counts)

    def _made(self, new: pl.DataFrame, now_us: int) -> None:
        """What decisions say at once, whatever comes of them."""
        lately = new.select("time_us", "mine", "key", "deferred", "used")
        lately = lately if self.lately is None else pl.concat([self.lately, lately])
        self.lately = lately.filter(pl.col("time_us") > now_us - HOUR)
        new = new.filter("used")
        if not new.height:
            return
        by_route = new.sort(*_PLACE).group_by("epoch").agg(pl.col("rho").first(), n=pl.col("mine").sum())
        for epoch, rho, n in by_route.iter_rows():
            self.shares.setdefault(epoch, rho)
            self.answered[epoch] = self.answered.get(epoch, 0) + n
        first, last = new.select(first=pl.col("time_us").min(), last=pl.col("time_us").max()).row(0)
        self.first_us = min(self.first_us or first, first)
        self.last_us = max(self.last_us, last)


class Proof:
    """Gathers what is known about a rollout of this charter's line.

    It keeps what it has read of one rollout, so that the next look at that reads on; kept or not, a look says the same.
    """

    def __init__(self, workspace: Workspace, charter: Charter) -> None:
        self._workspace = workspace
        self._charter = charter
        self._mine: dict[tuple[str, int], bool] = {}
        self._routes: dict[int, Route] = {}
        self._course: _Course | None = None

    def look(self, rollout: Rollout, standing: Standing, position: Mapping[str, int] | None = None) -> Evidence:
        """All that the log says, now or as of a ``position`` it had once. Raises ``Unavailable``, ``Corrupt``."""
        now = self._workspace.clock.now()
        empty = Evidence(standing, as_of_us=now, position=dict(position or {}))
        if rollout.place in ("draft", "preflight"):
            return empty
        try:
            if rollout.place == "shadow":
                return self._shadowed(rollout, empty, position)
            return self._judged(rollout, empty, position)
        except pl.exceptions.PolarsError as error:
            raise unreadable("decisions", error) from error

    def _epochs(self, rollout: Rollout, newest: int) -> list[int]:
        """The routes under which this rollout's version was the candidate; held against goals alone, also live."""
        plan, epochs = rollout.plan, range(rollout.first_epoch + 1, newest + 1)
        for epoch in epochs:
            if (rollout.name, epoch) not in self._mine:
                try:
                    route = self._workspace.routes.at(epoch)
                except (NotFound, Corrupt):  # for good; what cannot be read now is read with the next look
                    continue
                self._routes[epoch] = route
                drawn = route.candidate == plan.version and 0 < route.share < 1
                self._mine[rollout.name, epoch] = drawn or (bool(plan.limits) and route.live == plan.version)
        return [epoch for epoch in epochs if self._mine.get((rollout.name, epoch))]

    def _judged(self, rollout: Rollout, empty: Evidence, position: Mapping[str, int] | None) -> Evidence:
        course, self._course = self._course, None  # what breaks off half-way is read anew
        if position is not None or course is None or course.name != rollout.name:
            course = _Course(self._workspace, self._charter, rollout, self._routes)
        seen = course.follow.look(position)
        # Read after the log: a decision's route was there before it.
        # Also where whoever published it was killed before it was announced, and a worker follows it.
        route, newest = self._workspace.routes.current(), self._workspace.routes.word()
        newest = newest if route is None else max(newest, route.epoch)
        epochs = self._epochs(rollout, newest)
        if not course.holds(epochs):  # a route can be read now that could not be then
            return self._judged(rollout, empty, position)
        if not epochs:
            self._course = course
            return empty
        reached = course.take(seen, epochs, newest, empty.as_of_us)
        found = msgspec.structs.replace(empty, position=reached)
        if any(course.units.arms()):
            rails = tuple(course.units.rail(name) for name in rollout.plan.guardrails if name in course.looks)
            pace = _pace(course, rollout, empty.as_of_us)
            found = msgspec.structs.replace(found, rails=rails, assigned=_split(course), **pace)
        if not course.follow.begins:
            self._course = course
        return found

    def _shadowed(self, rollout: Rollout, empty: Evidence, position: Mapping[str, int] | None) -> Evidence:
        """Both answers to the same cases; only where one alone failed, or was wrong, is anything learnt."""
        plan, truth = rollout.plan, self._charter.target.truth
        seen = Seen(self._workspace, rollout.began_us, None, position)
        said = seen.shadow(plan.version).select("id", theirs="label")
        rows = seen.raw().filter(pl.col("version") == plan.live)
        automatic = pl.when(pl.col("decided_by") == "model").then("decision")
        plain = ("id", *_PLACE, "time_us", "status", "decision", "decided_by")
        rows = rows.select(*plain, ours=pl.coalesce("suggestion", automatic), key=key()).join(said, on="id")
        rows = outcome.known(rows, seen.later("reviews"), seen.later("feedback"))
        # People are raters who err. That turns cases around where one version alone differs from them, for both alike: of
        # two that err equally often each is the one alone equally often.
        wanted = (*_PLACE, "time_us", "key", "theirs", "ours")
        told_us = pl.max_horizontal("time_us", outcome.truth_us(truth))
        table = rows.select(*wanted, label=outcome.truth(truth), told_us=told_us).collect()
        failed, lost = table["theirs"].is_null(), table["ours"].is_null()
        rails = [pairs("no answer", plan, table, failed, lost)]
        told = table.filter(pl.col("label").is_not_null())
        wrong = [(told[name] != told["label"]).fill_null(True) for name in ("theirs", "ours")]
        what = "a wrong answer" if truth == "external" else "another answer than a person's"
        rails.append(pairs(what, plan, told, wrong[0], wrong[1], "told_us"))
        last = table["time_us"].max()
        lately = table.filter(pl.col("time_us") > empty.as_of_us - HOUR)["key"].n_unique()
        return msgspec.structs.replace(
            empty,
            position=seen.reached(),
            shadow=Shadowed(table.height, int(failed.sum()), tuple(rails)),
            last_us=None if last is None else int(str(last)),
            per_hour=float(lately),
        )


# ------------------------------------------------------------------------------------------------------- from what is known


def _split(course: _Course) -> Assigned | None:
    """The split of the units by the route under which they were new."""
    split: Assigned | None = None
    places = course.units.places
    for epoch in sorted({place // 2 for place, n in places.items() if n}):
        share = course.shares[epoch]
        split = Assigned(share, _SPLIT_WEIGHT) if split is None else split
        split = split if split.share == share else split.ramped(share)
        split = split.add(places[2 * epoch + 1], places[2 * epoch])
    return split


def _pace(course: _Course, rollout: Rollout, as_of_us: int) -> dict[str, object]:
    """How much comes, and what of it the candidate passes on to people."""
    assert course.lately is not None
    lately = course.lately
    hours = min(1.0, max((as_of_us - course.first_us) / HOUR, 1 / 60))
    share = float(lately.filter("mine")["deferred"].mean() or 0.0)  # type: ignore[arg-type]
    candidate, live = course.units.arms()
    return {
        "candidate": candidate,
        "live": live,
        "fresh": _fresh(course, rollout),
        "last_us": course.last_us,
        "per_hour": lately.filter("used")["key"].n_unique() / hours,
        # All that comes to people comes on top of each other, also where a model has no say.
        "deferred_per_hour": share * lately.height / hours,
    }


def _fresh(course: _Course, rollout: Rollout) -> int:
    """The candidate's cases under the share now: of the newest routes, as far back as they have it."""
    found = 0
    for epoch in sorted(course.shares, reverse=True):
        if abs(course.shares[epoch] - rollout.share) > 1e-9:
            break
        found += course.answered.get(epoch, 0)
    return found
