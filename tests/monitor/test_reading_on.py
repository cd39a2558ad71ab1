"""A look that reads on says what one from the beginning says, to the bit: rollout and ladder, over random histories."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.monitor.rollout_rig import HASH, HEAD, Rolling

from andon.core.clock import DAY, HOUR
from andon.core.record import Feedback, Review, Route
from andon.deploy.ladder_rows import Answers
from andon.deploy.ladder_stretch import Stretch, slices_of, stretch
from andon.deploy.route import assign
from andon.errors import Corrupt, Unavailable
from andon.monitor.ingest import Ingest, Pace
from andon.monitor.proof import Proof
from andon.monitor.steer import standing
from andon.scope.charter import Charter, parse
from andon.store import follow
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions, encode_feedback, encode_reviews
from andon.store.frame import FrameKind
from andon.store.writer import WalWriter

RAILS = "errors, wrong, worth, coughs, agrees, sad"
METRICS = """metrics:
  coughs: {of: error_rate, where: "cough", goal: "<= 0.2"}
  agrees: {of: agreement, goal: ">= 0.5"}
  sad: {of: feedback(sad), goal: "<= 0.3"}
"""
Kind = Literal["decision", "audit", "second", "adjudication"]


def rules(truth: str = "human") -> Charter:
    text = HEAD.replace("delay: %s", f"delay: %s, truth: {truth}").replace("metrics:\n", METRICS)
    text = text.replace("level: full", "level: full, partial: {audit_share: 0.5}")
    return parse(text % ("2h", "canary, live", RAILS, ""))


class History(Rolling):
    """A line on which anything happens: cases on two streams, and later things in any order, also before their case is seen."""

    def __init__(self, home: Path, seed: int, truth: str) -> None:
        super().__init__(home, rules(truth), seed)
        self.other = WalWriter(self.workspace.wal_dir, "w1")
        self.ingest = Ingest(self.workspace, self.charter, pace=Pace(window=0, ship=0, tidy=0))
        self.ids: list[str] = []

    def cases(self, n: int) -> None:
        """Some cases of old and new units, in one of the streams; what is said of a few comes before."""
        route, draw = self.workspace.routes.current(), self.random
        assert route is not None
        batch, early = DecisionBatch.empty(self.fields), []
        for _ in range(n):
            self.clock.advance(draw.expovariate(0.02))
            self.made += 1
            id, unit = f"c{self.made}", f"u{draw.randrange(self.made + 1)}" if draw.random() < 0.9 else ""
            batch.append_row([draw.random() < 0.5], self.row(route, id, unit))
            early.append(id)
        if draw.random() < 0.3:
            self.say("label", early)
        writer, contract = draw.choice((self.writer, self.other)), bytes.fromhex(HASH)
        payload = encode_decisions(self.fields, batch)
        writer.append(FrameKind.DECISION, payload, count=n, contract=contract, time_us=self.clock.now())
        self.ids += early

    def row(self, route: Route, id: str, unit: str) -> DecisionRow:
        draw, drawn = self.random, assign(route, unit or id)
        version = route.candidate if drawn.arm == "candidate" else route.live
        said = draw.choice(("negative", "positive", None))
        pending, failed = draw.random() < 0.4, draw.random() < 0.2
        audit = 0.0 if pending else draw.choice((0.0, 0.5, 0.25))
        rest: dict[str, Any] = {"status": "decided", "decided_by": "model", "decision": said, "audit": audit}
        if pending:
            rest = {"status": "pending", "suggestion": said}
        return DecisionRow(
            id=id,
            time_us=self.clock.now(),
            epoch=route.epoch,
            unit=unit,
            level="partial",
            slice=draw.choice(("*", "older")),
            version=version,
            arm=drawn.arm,
            probability=drawn.probability,
            confidence=draw.random(),
            error="broken" if failed else None,
            **rest,
        )

    def say(self, kind: Kind | Literal["label", "feedback"], ids: list[str] | None = None) -> None:
        """Something becomes known of some cases, some of which are none of the line's."""
        draw, now = self.random, self.clock.now()
        about = [*(ids or self.ids or ["c0"]), "c-none"]
        some = draw.choices(about, k=draw.randrange(1, 12))
        said = [draw.choice(("negative", "positive")) for _ in some]
        writer = draw.choice((self.writer, self.other))
        if kind == "label" or kind == "feedback":
            of = "label" if kind == "label" else "sad"
            # A correction may be of any time of its own, also an earlier one than what it does not correct then.
            rows = [
                Feedback(id, of, value, now - draw.randrange(2 * HOUR)) for id, value in zip(some, said, strict=True)
            ]
            writer.append(FrameKind.FEEDBACK, encode_feedback(rows), count=len(rows), time_us=now)
            return
        reviews = [
            Review(id, value, "person" if draw.random() < 0.9 else "safe_default", "ann", now - draw.randrange(HOUR), 5.0,
                   kind == "decision" and draw.random() < 0.3, kind)
            for id, value in zip(some, said, strict=True)
        ]  # fmt: skip
        writer.append(FrameKind.REVIEW, encode_reviews(reviews), count=len(reviews), time_us=now)

    def ship(self) -> None:
        """From the write-ahead log into tables."""
        while self.ingest.tick().busy:
            pass

    def close(self) -> None:
        self.other.close()
        super().close()


class Looks:
    """Controllers that look in turn, each reading on from its own last look, and one that is always new."""

    def __init__(self, line: History, going: int) -> None:
        self.line = line
        self.proofs = [Proof(line.workspace, line.charter) for _ in range(going)]
        self.ladders = [self.ladder() for _ in range(going)]

    def ladder(self) -> Answers:
        return Answers(self.line.workspace, self.line.charter.target.truth)

    def look(self, which: int) -> None:
        line, rollout = self.line, self.line.now
        stand = standing(line.workspace, rollout)
        new = Proof(line.workspace, line.charter).look(rollout, stand)
        read_on = self.proofs[which].look(rollout, stand)
        assert msgspec.json.encode(read_on) == msgspec.json.encode(new)
        since = line.clock.now() - DAY
        stretches = self.stretches()
        told, came = self.ladders[which].look(stretches, since)
        told_anew, came_anew = self.ladder().look(stretches, since)
        assert told.keys() == told_anew.keys() and all(told[name].equals(told_anew[name]) for name in told)
        assert sorted(came.rows()) == sorted(came_anew.rows())

    def stretches(self) -> Mapping[str, Stretch]:
        plane = self.line.workspace.routes
        routes = [plane.at(epoch) for epoch in range(plane.word(), 0, -1)]
        found = {name: stretch(routes, name) for name in (*slices_of(routes[0]), "older")}
        return {name: one.within(self.line.clock.now(), 4 * DAY) for name, one in found.items()}


STEPS = st.lists(
    st.sampled_from(
        ("cases", "cases", "cases", "look", "look", "other", "ship", "ramp", "label", "label", "feedback", "decision",
         "decision", "audit", "audit", "second", "adjudication", "hours", "retain", "compact", "restart")
    ),
    min_size=8,
    max_size=30,
)  # fmt: skip


def happens(line: History, looks: Looks, what: Any) -> None:
    if what == "cases":
        line.cases(line.random.randrange(1, 40))
    elif what == "look":
        looks.look(0)
    elif what == "other":
        looks.look(1)
    elif what == "ship":
        line.ship()
    elif what == "ramp":
        line.line.ramp(line.random.choice((0.2, 0.3, 0.5)), actor="ann")
    elif what == "hours":
        line.clock.advance(line.random.choice((600, 7200, 86_400)))
    elif what == "retain":
        line.ship()
        line.workspace.log.retain(line.clock.now() - line.random.choice((1, 2)) * DAY)
    elif what == "compact":
        line.workspace.log.compact()
    elif what == "restart":
        looks.proofs[0], looks.ladders[0] = Proof(line.workspace, line.charter), looks.ladder()
    else:
        line.say(what)


def reads_on(steps: list[Any], seed: int, truth: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        line = History(Path(folder) / "andon", seed, truth)
        try:
            line.begin()
            line.look()
            line.line.ramp(0.5, actor="ann")
            looks = Looks(line, 2)
            for what in (*steps, "look", "cases", "audit", "label", "look", "other"):
                happens(line, looks, what)
        finally:
            line.close()


TRUTH = st.sampled_from(("human", "external"))


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, st.integers(0, 10_000), TRUTH)
def test_whatever_happens_a_look_that_reads_on_says_what_a_new_one_says(
    steps: list[Any], seed: int, truth: str
) -> None:
    reads_on(steps, seed, truth)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, st.integers(0, 10_000), TRUTH)
def test_whatever_happens_many_times(steps: list[Any], seed: int, truth: str) -> None:
    reads_on(steps, seed, truth)


@pytest.fixture
def history(tmp_path: Path) -> Any:
    line = History(tmp_path / "andon", 4, "human")
    line.begin()
    line.look()
    line.line.ramp(0.5, actor="ann")
    yield line
    line.close()


def test_what_is_read_twice_is_only_what_is_new(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, and files of the tables: also behind a compaction, which puts old rows into new files."""
    line, rows = history, []
    taken = follow.Follow.step

    def step(self: Any, *args: Any) -> Any:
        found = taken(self, *args)
        rows.append((found.new.height, found.old.height))
        return found

    monkeypatch.setattr(follow.Follow, "step", step)
    going, stand = Proof(line.workspace, line.charter), standing(line.workspace, line.now)
    line.cases(200)
    line.ship()
    going.look(line.now, stand)
    line.cases(10)
    line.say("label", line.ids[:1])
    line.ship()
    line.workspace.log.compact()
    going.look(line.now, stand)
    going.look(line.now, stand)
    assert rows == [(200, 0), (10, 1), (0, 0)]


def test_with_more_rows_than_are_kept_each_look_reads_from_the_beginning(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = history
    going, stand = Proof(line.workspace, line.charter), standing(line.workspace, line.now)
    line.cases(30)
    for held in (60, 59):  # thirty decisions, and thirty of them by unit
        monkeypatch.setattr("andon.store.follow.HELD", held)
        monkeypatch.setattr("andon.monitor.proof.HELD", held)
        found = going.look(line.now, stand)
        assert (going._course is not None) == (held == 60)
        assert msgspec.json.encode(found) == msgspec.json.encode(
            Proof(line.workspace, line.charter).look(line.now, stand)
        )


def test_a_look_that_breaks_off_is_made_anew(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    line = history
    going, stand = Proof(line.workspace, line.charter), standing(line.workspace, line.now)
    line.cases(30)
    going.look(line.now, stand)
    line.cases(30)
    line.say("label")

    def gone(*args: Any) -> Any:
        raise Unavailable("the disk is gone")

    for place in ("andon.monitor.units.Units.rail", "andon.monitor.units.Units.take", "andon.store.view.Seen.mark"):
        with monkeypatch.context() as patched, pytest.raises(Unavailable):
            patched.setattr(place, gone)
            going.look(line.now, stand)
        found = going.look(line.now, stand)
        assert msgspec.json.encode(found) == msgspec.json.encode(
            Proof(line.workspace, line.charter).look(line.now, stand)
        )
        line.cases(5)


def test_a_route_that_cannot_be_read_counts_once_it_can(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    line = history
    going, stand = Proof(line.workspace, line.charter), standing(line.workspace, line.now)
    line.cases(30)
    real, hidden = line.workspace.routes.at, line.workspace.routes.word()

    def at(epoch: int) -> Route:
        if epoch == hidden:
            raise Corrupt("half of it is there")
        return real(epoch)

    with monkeypatch.context() as patched:
        patched.setattr(line.workspace.routes, "at", at)
        assert going.look(line.now, stand).candidate == 0
        line.line.ramp(0.3, actor="ann")
        line.cases(30)
        few = going.look(line.now, stand)
    every = going.look(line.now, stand)
    assert 0 < few.candidate + few.live < every.candidate + every.live
    assert msgspec.json.encode(every) == msgspec.json.encode(Proof(line.workspace, line.charter).look(line.now, stand))


def test_an_adjudication_stands_for_what_two_people_said_and_is_known_since_then(history: History) -> None:
    """The same truth for a rollout, the ladder and the metrics, which all read ``andon.store.outcome``."""
    from andon.store.view import outcomes

    line, now = history, history.clock.now
    line.cases(60)
    going, looks = Proof(line.workspace, line.charter), Looks(line, 1)
    frame = outcomes(line.workspace, truth="human")
    drawn = frame.filter(frame["audit"] > 0, frame["prediction"] == "negative", frame["label"].is_null())["id"][0]
    first, other = (
        Review(drawn, said, "person", who, now(), 5.0, kind="audit") for said, who in (("negative", "a"), ("x", "b"))
    )
    line.workspace.outbox.append([first, replace(other, kind="second")])
    told = {
        id: known
        for part in looks.ladders[0].look(looks.stretches(), 0)[0].values()
        for id, known in part.select("id", "known_us").rows()
    }
    assert told[drawn] == now()
    before = going.look(line.now, standing(line.workspace, line.now)).rails
    line.clock.advance(60)
    line.workspace.outbox.append([Review(drawn, "positive", "person", "c", now(), 5.0, kind="adjudication")])
    after = going.look(line.now, standing(line.workspace, line.now)).rails
    wrong = [next(rail for rail in rails if rail.name == "wrong") for rails in (before, after)]
    assert wrong[1].guard.events == wrong[0].guard.events + 1
    rows = [row for part in looks.ladders[0].look(looks.stretches(), 0)[0].values() for row in part.rows(named=True)]
    assert [(row["truth"], row["known_us"]) for row in rows if row["id"] == drawn] == [("positive", now())]
    frame = outcomes(line.workspace, truth="human")
    assert frame.filter(frame["id"] == drawn)["label"].item() == "positive"
