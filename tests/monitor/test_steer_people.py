"""A rollout whose truth is people's answers at level partial: all of what went to people is known, of the rest a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.monitor.rollout_rig import HASH, HEAD, NOW, Rolling
from tests.monitor.test_steer import replays

from andon.core.record import Review, Route
from andon.deploy.automation import audit_probability
from andon.deploy.rollout_plan import guarded
from andon.deploy.rollout_proof import ramp, said_of, told_of
from andon.deploy.rollout_record import Evidence, Plan, Rail, Rollout, Standing
from andon.deploy.route import assign
from andon.measure.guardrail import Guardrail
from andon.monitor.cases import Asked, measurable, shape, used
from andon.monitor.explain import foresee
from andon.monitor.proof import Proof
from andon.monitor.steer import standing
from andon.monitor.units import Units
from andon.scope.charter import Charter, parse
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions
from andon.store.frame import FrameKind
from andon.store.shape import SCHEMAS
from andon.store.view import Seen

PARTIAL = HEAD.replace("delay: %s", "delay: %s, truth: human").replace(
    "level: full", "level: full, partial: {audit_share: Q}"
)
PLAN = Plan("v2", "v1", ("canary", "live"), ("wrong",))


def charter(share: float, *, rails: str = "wrong", more: str = "") -> Charter:
    return parse(PARTIAL.replace("Q", f"{share}") % ("0s", "canary, live", rails, more))


# ------------------------------------------------------------------------------------------- simulated: what is promised


class Log:
    """Cases at level partial as the log has them: ``defer`` of them went to people, ``q`` of the rest is looked at again."""

    def __init__(
        self, units: int, wrong: tuple[float, float], q: float, seed: int, *, defer: float = 0.4, each: int = 1
    ):
        draw = np.random.default_rng(seed)
        mine, cases = np.repeat(draw.random(units) < 0.5, each), units * each
        deferred = draw.random(cases) < defer
        bad = ~deferred & (draw.random(cases) < np.where(mine, wrong[1], wrong[0]) / max(1 - defer, 1e-9))
        drawn = ~deferred & (draw.random(cases) < q)
        at = np.arange(cases) + NOW
        self.rows = pl.DataFrame(
            {
                "id": [f"c{number}" for number in range(cases)],
                "unit": np.repeat(np.arange(units), each).astype(str),
                "time_us": at,
                "stream": "w0",
                "sequence": np.arange(cases),
                "epoch": 1,
                "arm": np.where(mine, "candidate", "live"),
                "version": np.where(mine, "v2", "v1"),
                "probability": 0.5,
                "status": np.where(deferred, "pending", "decided"),
                "decided_by": np.where(deferred, "nobody", "model"),
                "decision": np.where(deferred, "", "negative"),
                "human": pl.Series([None] * cases, dtype=pl.String),
                "audit": np.where(drawn, q, 0.0),
            }
        )
        self.reviews = pl.DataFrame(
            {
                "id": self.rows["id"],
                "kind": np.where(deferred, "decision", "audit"),
                "decision": np.where(bad, "positive", "negative"),
                "decided_by": "person",
                "reviewer": "ann",
                "time_us": np.where(deferred, at + 1, at + 9),
                "seconds": 1.0,
                "saw_suggestion": False,
                "simulated": False,
                "stream": "people",
                "sequence": np.arange(cases),
            }
        ).filter(pl.Series(deferred | drawn))

    def rail(self, *, name: str = "wrong", alone: str = "") -> Rail:
        """What a rollout makes of it."""
        rules = charter(0.01, rails=name)
        looks: Any = {name: guarded(rules, alone=bool(alone))[name]}
        plan = replace(PLAN, limits={name: 0.1}) if alone else replace(PLAN, margins={"worth": 0.2})
        q = float(self.rows["audit"].max() or 0.0)  # type: ignore[arg-type]
        units, asked = Units(plan, looks, {1: q}, alone=bool(alone)), Asked(looks, rules, alone, ("cough",))
        told = asked.outcomes(self.rows.lazy(), self.reviews.lazy(), pl.LazyFrame(schema=SCHEMAS["feedback"]))
        new = self.rows.select(shape(alone))
        place = ["stream", "sequence"]
        known = new.select("key", *place).join(told.select(*place, *asked.columns).collect(), on=place)
        units.take(new, known, NOW + 2 * new.height)
        return units.rail(name)


def test_a_candidate_that_is_worse_is_not_called_negligible_by_what_people_decided_and_a_sample_of_the_rest() -> None:
    found = [Log(60_000, (0.0024, 0.006), 0.01, seed, defer=0.8).rail() for seed in range(20)]
    assert [said_of(PLAN, rail) for rail in found].count("safe") == 0
    assert all(30 < rail.units[0] < 100 and said_of(PLAN, rail, matured=True) != "safe" for rail in found)


def test_a_candidate_that_errs_negligibly_is_safe_by_as_many_drawn_answers_as_that_takes() -> None:
    rail = Log(60_000, (0.0, 0.0), 0.5, 0).rail()
    assert rail.units[0] > 8062 and said_of(PLAN, rail) == "safe" and "below 0.001" in told_of(PLAN, rail)
    few = Log(60_000, (0.0, 0.0), 0.1, 0).rail()
    assert said_of(PLAN, few) == "not_yet"
    # Where a unit has ten answers, nine may be wrong that nobody looked at.
    many = Log(6_000, (0.0, 0.0), 0.9, 0, each=10).rail()
    assert many.cases == pytest.approx(6, rel=0.05) and said_of(PLAN, many) == "not_yet"


@pytest.mark.parametrize("q", [0.0, 1.0])
def test_the_edges_of_the_audit(q: float) -> None:
    rail = Log(20_000, (0.0, 0.0), q, 0).rail()
    if q:
        assert not rail.sampled and sum(rail.units) == 20_000 and said_of(PLAN, rail) == "safe"
    else:
        assert rail.sampled and rail.units == (0, 0) and said_of(PLAN, rail) == "not_yet"


def test_where_people_decided_everything_all_of_it_counts() -> None:
    rail = Log(20_000, (0.0, 0.0), 0.0, 0, defer=1.0).rail()
    assert not rail.sampled and sum(rail.units) == 20_000


def test_the_harm_budget_counts_an_error_for_those_that_nobody_looked_at() -> None:
    rail = Log(40_000, (0.004, 0.008), 0.05, 3).rail()
    assert rail.weight == 20 and rail.guard.harm.candidate >= 5
    rollout = Rollout("v2#1", PLAN, "canary", "canary", share=0.5)
    seen = Evidence(Standing(1, "v1", "v2", 0.5), rails=(rail,), per_hour=100)
    bare = replace(seen, rails=(replace(rail, weight=1.0),))
    assert PLAN.budget - ramp(rollout, seen).left == pytest.approx(20 * (PLAN.budget - ramp(rollout, bare).left))
    few, many = (replace(rail, guard=Guardrail.begin("wrong"), cases=cases) for cases in (1.0, 100.0))
    grown = [ramp(rollout, replace(seen, rails=(one,), per_hour=100_000)).share for one in (few, many)]
    assert grown == [0.1, 0.0]


@pytest.mark.parametrize("name", ["wrong", "worth"])
def test_means_and_goals_are_those_of_all_cases_not_of_what_people_decided(name: str) -> None:
    # 8 % of all answers of the candidate are wrong; of what is known as it comes 0.9 % would be.
    log = Log(100_000, (0.08, 0.08), 0.05, 5)
    rail = log.rail(name=name, alone="v2" if name == "wrong" else "")
    assert rail.sampled and rail.other is not None and rail.weight == 20
    counts = rail.units[0] if name == "wrong" else sum(rail.units)
    assert counts == pytest.approx(0.05 * (50_000 if name == "wrong" else 100_000), rel=0.1)
    shown = rail.other.interval()
    assert shown.low is not None and shown.high is not None
    if name == "wrong":
        assert shown.low < 0.08 < shown.high and shown.value == pytest.approx(0.08, abs=0.02)
    else:
        assert shown.low < 0 < shown.high


# -------------------------------------------------------------------------------------------------------------- on a line


class Reviewed(Rolling):
    """A line at level partial; people say at once what they decide, and of the audits when they are told to (``look_again``)."""

    def __init__(self, home: Path, rules: Charter) -> None:
        super().__init__(home, rules)
        self.left: list[tuple[str, str]] = []

    def arrive(self, units: int, *, defer: float = 0.6) -> None:
        """Units come in, one a second, each with one case."""
        batch, route, answers = DecisionBatch.empty(self.fields), self.workspace.routes.current(), []
        assert route is not None
        for _ in range(units):
            self.clock.advance(1.0)
            self.made += 1
            unit, deferred = f"u{self.made}", self.random.random() < defer
            drawn = assign(route, unit)
            version = route.candidate if drawn.arm == "candidate" else route.live
            missed = self.random.random() < self.wrong[version or ""]
            audit = 0.0 if deferred else audit_probability(unit, route.audit_share)
            now = self.clock.now()
            rest: dict[str, Any] = {"status": "decided", "decided_by": "model", "decision": "negative"}
            if deferred:
                rest = {"status": "pending", "suggestion": "negative"}
                answers.append(Review(unit, "negative", "person", "ann", now, 5.0))
            elif audit:
                self.left.append((unit, "positive" if missed else "negative"))
            row = DecisionRow(
                id=unit,
                time_us=now,
                epoch=route.epoch,
                unit=unit,
                level="partial",
                version=version,
                arm=drawn.arm,
                probability=drawn.probability,
                audit=audit,
                **rest,
            )
            batch.append_row([True], row)
        payload, contract = encode_decisions(self.fields, batch), bytes.fromhex(HASH)
        self.writer.append(FrameKind.DECISION, payload, count=units, contract=contract, time_us=self.clock.now())
        self.workspace.outbox.append(answers)

    def look_again(self, count: int | None = None) -> None:
        """People do this many of the audits (None: all), the newest first."""
        done = [self.left.pop() for _ in range(len(self.left) if count is None else count)]
        now = self.clock.now()
        self.workspace.outbox.append([Review(id, said, "person", "bob", now, 5.0, kind="audit") for id, said in done])

    def rail(self) -> Rail:
        """What is known now, read anew."""
        seen = Proof(self.workspace, self.charter).look(self.now, standing(self.workspace, self.now))
        return seen.rails[0]


@pytest.fixture
def reviewed(tmp_path: Path) -> Iterator[Callable[..., Reviewed]]:
    made: list[Reviewed] = []

    def make(share: float, **more: Any) -> Reviewed:
        made.append(Reviewed(tmp_path / f"{len(made)}", charter(share, **more)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_on_a_line_the_cases_of_people_clear_no_candidate(reviewed: Callable[..., Reviewed]) -> None:
    line = reviewed(0.05, more=", negligible: 0.02, margin: 2")
    line.wrong |= {"v1": 0.02, "v2": 0.08}
    line.begin()
    line.look()
    line.line.ramp(0.5, actor="ann")
    for _ in range(3):
        line.arrive(1000)
        line.look_again()
        assert line.look().state in ("canary", "hold") and line.now.share <= 0.5
    rail = line.rail()
    assert rail.sampled and 20 < sum(rail.units) < 110 and said_of(line.now.plan, rail) == "not_yet"
    told = foresee(line.workspace, line.charter, line.now.plan)
    assert told[0].endswith("of the units that people look at again")
    replays(line)


def test_what_is_known_of_an_audited_case_is_known_since_its_review(reviewed: Callable[..., Reviewed]) -> None:
    line = reviewed(0.3)
    line.wrong |= {"v1": 0.2, "v2": 0.2}
    line.begin()
    line.look()
    line.line.ramp(0.5, actor="ann")
    begun, paths = line.now.began_us, []
    for _ in range(4):
        line.arrive(200, defer=0.3)
        line.look_again(30)
        seen = Seen(line.workspace, begun, None)
        rules: Any = guarded(line.charter)
        table = measurable(seen, {"wrong": rules["wrong"]}, line.charter).collect()
        bad = table.filter("bad:wrong").sort("known:wrong", "stream", "sequence")
        paths.append(bad.select("key", "known:wrong").rows())
        assert paths[-1][-1][1] == line.clock.now() and table["known_us"].max() == line.clock.now()
    assert len(paths[0]) > 2
    for before, after in pairwise(paths):
        assert after[: len(before)] == before, "later answers come after what was known"
    peaks = line.rail().guard.harm.peak
    line.look_again()
    assert line.rail().guard.harm.peak >= peaks


# ------------------------------------------------------------------------------- where people decide by themselves


def test_what_people_decide_by_themselves_is_no_evidence_also_when_the_level_is_raised_again(
    rolling: Callable[..., Rolling],
) -> None:
    line = rolling()
    line.begin()
    line.until("canary", units=10)
    line.bad = dict.fromkeys(line.bad, 0.4)  # whoever is drawn: the same people decide
    line.line.to_people(actor="ann")
    for _ in range(3):
        line.come(1500)
        assert (line.look().state, line.now.reason) == ("hold", "dependency")
    line.line.stop(actor="ann")
    line.come(500)
    line.line.start(actor="ann")
    line.line.automate("full", actor="ann")
    line.come(100)
    seen = Proof(line.workspace, line.charter).look(line.now, standing(line.workspace, line.now))
    assert seen.candidate + seen.live == 100 and seen.fresh < 100 and seen.deferred_per_hour == 0
    assert line.look().state == "canary"


def test_what_clients_decided_themselves_is_no_outcome_of_a_version() -> None:
    log = Log(10, (0.0, 0.0), 0.5, 0, defer=0.0)
    by_client = pl.when(pl.col("sequence") % 2 == 0).then(pl.lit("client")).otherwise("decided_by")
    rows = log.rows.with_columns(decided_by=by_client)
    labels = rows.select("id", "time_us", "stream", "sequence", kind=pl.lit("label"), value=pl.lit("positive"))
    asked = Asked({"wrong": guarded(charter(0.01))["wrong"]}, charter(0.01), "", ("cough",))  # type: ignore[dict-item]
    told = asked.outcomes(rows.lazy(), log.reviews.lazy(), labels.with_columns(received_us="time_us").lazy())
    went = told.select("sequence", *asked.columns).sort("sequence").collect()["bad:wrong"]
    assert went.to_list() == [None, True] * 5


def test_a_case_counts_by_its_route_and_slice() -> None:
    def route(epoch: int, stopped: Any = "", **levels: Any) -> Route:
        rest = levels.pop("rest")
        return Route(epoch, 0, 0, "ann", "automate", "", stopped=stopped, levels={"*": rest, **levels})

    routes = (
        route(1, rest="full", older="human"),
        route(2, rest="shadow", older="assist"),
        route(3, "people", rest="full"),
    )
    cases = [(1, "*", True), (1, "older", False), (2, "*", False), (2, "older", True), (3, "*", False), (4, "*", False)]
    rows = pl.DataFrame(cases, schema=["epoch", "slice", "counts"], orient="row")
    assert rows.select(used(routes))["used"].equals(rows["counts"].alias("used"))
    assert not rows.select("epoch", used([]))["used"].any()
