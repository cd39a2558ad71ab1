"""A rollout on a line: a bad release goes back, a good one settles, whoever is killed in between, and a person wins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.monitor.rollout_rig import Rolling, route_of

from andon.core.record import Review
from andon.deploy.chronicle import reconcile
from andon.deploy.rollout import replayed
from andon.deploy.rollout_record import Evidence
from andon.deploy.rollout_store import active, ask, start
from andon.errors import Conflict, NotFound, Unavailable, UsageError
from andon.monitor.ingest import Ingest, Pace
from andon.monitor.proof import Proof
from andon.monitor.steer import standing
from andon.scope.charter import parse
from andon.store.codec import encode_reviews
from andon.store.frame import FrameKind

Make = Callable[..., Rolling]
BARE = parse(
    "project: p\ninputs: {a: float}\ntarget: {name: y, classes: [n, p]}\nsafe_default: n\n"
    "metrics: {f: {of: macro_f1, goal: '>= 0.5'}}\nrollout: {guardrails: [f]}"
)


def replays(line: Rolling) -> None:
    """Every transition in the journal, decided again from what was kept, is the same to the byte."""
    for event in line.workspace.journal.read(action="rollout.transition", limit=1000):
        first, again = replayed(event.evidence)
        assert first == again


def test_a_good_release_settles_and_the_old_one_stays_loaded(rolling: Make) -> None:
    line = rolling()
    line.begin()
    baking = line.until("bake")
    route = line.workspace.routes.current()
    assert route is not None and (route.live, route.candidate, route.share) == ("v1", "v2", 0.95)
    salt = route.salt
    done = line.until("settled", units=300)
    assert done.since_us >= baking.share_us + 3_600_000_000, "it baked for an hour"
    assert line.told()[:2] == ["preflight", "canary"] and line.told()[-2:] == ["bake", "settled"]
    route = line.workspace.routes.current()
    assert route is not None and (route.live, route.candidate) == ("v2", None) and "v1" in route.warm
    assert {one.salt for one in line.workspace.routes.history() if one.candidate} == {salt}, "units only move forward"
    replays(line)


def test_a_bad_release_is_rolled_back_at_once(rolling: Make) -> None:
    line = rolling()
    line.bad["v2"] = 0.3
    line.begin()
    done = line.until("rolled_back", units=300)
    route = line.workspace.routes.current()
    assert route is not None and (route.live, route.candidate, route.actor) == ("v1", None, "controller")
    assert "errors: harm" in route.reason and "errors: harm" in done.sentence
    assert line.made <= 1500
    replays(line)


def test_what_goes_wrong_in_the_bake_takes_it_back_in_one_step(rolling: Make) -> None:
    line = rolling()
    line.begin()
    line.until("bake")
    line.bad["v2"] = 0.5
    line.until("rolled_back", units=800)
    route = line.workspace.routes.current()
    assert route is not None and (route.live, route.candidate, route.actor) == ("v1", None, "controller")
    assert line.told()[-3:] == ["bake", "rolling_back", "rolled_back"] and "errors: harm" in route.reason
    replays(line)


def test_a_switch_by_hand_settles_what_bakes_and_a_ramp_bakes_on(rolling: Make) -> None:
    line = rolling()
    line.begin()
    line.until("bake")
    with pytest.raises(Conflict, match=r"settle it \(andon deploy switch\) or roll it back"):
        line.begin("v3")
    line.line.ramp(0.5, actor="ann", reason="half of them")
    assert (line.look().state, line.now.share) == ("bake", 0.5)
    line.line.switch(actor="ann", reason="good enough")
    assert (line.look().state, line.now.reason) == ("settled", "person")
    assert "made live by ann (switch: good enough) before its bake was over" in line.now.sentence
    replays(line)


def test_a_rollback_of_the_controller_leaves_what_a_person_took_away(rolling: Make) -> None:
    line = rolling()
    line.begin()
    line.look()
    line.bad["v2"] = 0.5
    line.come(900)
    line.line.automate("human", actor="ann", reason="I do not trust it")
    line.line.stop(actor="ann")
    assert line.look().state == "rolled_back"
    route = line.workspace.routes.current()
    assert route is not None
    assert (route.live, route.candidate, route.levels, route.stopped) == ("v1", None, {"*": "human"}, "people")
    line.line.start(actor="ann")
    route = line.workspace.routes.current()
    assert route is not None and route.levels == {"*": "human"}


def test_a_level_that_was_raised_while_it_bakes_does_not_stand_between_it_and_the_way_back(rolling: Make) -> None:
    line = rolling(rails="errors, wrong", delay="2h")
    line.wrong["v2"] = 0.25
    line.line.automate("assist", actor="ann")
    line.begin()
    for _ in range(3):
        line.look()
        line.come(1500, label=False)
    line.line.switch("v2", actor="ann", reason="it looks fine")
    line.line.automate("full", actor="ann", reason="and very fine")
    assert line.look().state == "bake"
    line.label()
    assert line.look().state == "rolled_back"
    route = line.workspace.routes.current()
    assert route is not None and (route.live, route.candidate, route.levels) == ("v1", None, {"*": "assist"})


def test_labels_that_come_late_hold_it_and_then_settle_it(rolling: Make) -> None:
    line = rolling(rails="errors, wrong", delay="2h")
    line.begin()
    for _ in range(14):
        line.look()
        line.come(600, label=False)
    held = line.look()
    assert (held.state, held.reason) == ("hold", "label_lag") and "wrong" in held.sentence
    line.label()
    assert line.until("bake").share == 0.95
    baked = line.clock.now()
    assert line.until("settled").since_us >= baked + 7_200_000_000, "no label of the canary may be missing"
    replays(line)


def test_harm_that_labels_show_while_it_bakes_takes_it_back(rolling: Make) -> None:
    line = rolling(rails="errors, wrong", delay="2h")
    line.wrong["v2"] = 0.25
    line.begin()
    for _ in range(3):
        line.look()
        line.come(1500, label=False)
    line.line.switch("v2", actor="ann", reason="it looks fine")
    assert line.look().state == "bake"
    line.label()
    assert line.look().state == "rolled_back"
    route = line.workspace.routes.current()
    assert route is not None and route.live == "v1" and "wrong: harm" in route.reason


def test_the_whole_way_through_the_shadow(rolling: Make) -> None:
    line = rolling("shadow, canary, live")
    line.steer = line.leader()
    line.random.seed(3)
    line.begin()
    line.until("settled")
    assert line.told()[:3] == ["preflight", "shadow", "canary"]
    bad = rolling("shadow, canary, live")
    bad.bad["v2"] = 0.5
    bad.begin()
    bad.until("rolled_back", units=200)
    assert "canary" not in bad.told()
    route = bad.workspace.routes.current()
    assert route is not None and route.shadows == ()


def test_a_line_without_units_holds(rolling: Make) -> None:
    line = rolling()
    line.begin()
    line.look()
    for _ in range(20):
        line.clock.advance(86_400)
        line.look()
    assert line.told() == ["preflight", "canary", "hold"]
    assert line.now.reason == "no_data"


def test_a_lying_split_freezes(rolling: Make) -> None:
    line = rolling()
    line.begin()
    line.look()
    line.come(1500, send=lambda arm: "candidate" if line.random.random() < 0.3 else "live")
    frozen = line.look()
    assert (frozen.state, frozen.reason) == ("frozen", "srm")
    route = line.workspace.routes.current()
    assert route is not None and route.held
    with pytest.raises(UsageError, match="frozen and does not go on"):
        ask(line.workspace, "resume", actor="ann")
    with pytest.raises(Conflict, match="is not over"):
        start(line.workspace, line.charter, "v3", actor="ann")
    line.line.rollback(actor="ann")
    assert line.look().state == "rolled_back"


def test_a_unit_counts_once_and_evidence_is_of_the_log_alone(rolling: Make) -> None:
    line = rolling()
    line.begin()
    line.look()
    line.come(900)
    now = active(line.workspace)
    assert now is not None
    stand = standing(line.workspace, now.rollout)
    first = Proof(line.workspace, line.charter).look(now.rollout, stand)
    errors = first.rails[0]
    assert errors.units == (first.candidate, first.live) and sum(errors.units) == 900
    ingest = Ingest(line.workspace, line.charter, pace=Pace(window=0, ship=0, tidy=0))
    while ingest.tick().busy:
        pass  # from the tail into the tables
    line.made = 0
    line.come(900)  # the same units again: nobody is new, and who failed already counts no more
    second = Proof(line.workspace, line.charter).look(now.rollout, stand)
    assert (second.candidate, second.live) == (first.candidate, first.live)
    assert errors.guard.events < second.rails[0].guard.events < 2 * errors.guard.events
    again = Proof(line.workspace, line.charter).look(now.rollout, stand, first.position)
    assert msgspec.json.encode(same(again)) == msgspec.json.encode(same(first))


def same(evidence: Evidence) -> Evidence:
    """Evidence without the hour at which it was looked at."""
    return replace(evidence, as_of_us=0, per_hour=0.0, deferred_per_hour=0.0)


def test_a_person_wins(rolling: Make) -> None:
    line = rolling()
    line.begin()
    line.look()
    line.line.ramp(0.3, actor="ann", reason="hurry")
    assert line.look().share == 0.3 and "ann (ramp: hurry)" in line.now.sentence
    line.line.hold(actor="ann")
    assert (line.look().state, line.now.reason) == ("hold", "human_gate")
    line.come(600)
    assert line.look().share == 0.3
    line.line.resume(actor="ann")
    assert line.look().state == "canary"
    ask(line.workspace, "freeze", actor="bob", reason="irreversible")
    assert (line.look().state, line.now.reason) == ("frozen", "person")
    line.bad["v2"] = 0.5
    line.come(900)
    assert (line.look().reason, line.workspace.routes.current().candidate) == ("harm", "v2")  # type: ignore[union-attr]
    line.line.rollback(actor="bob")
    assert line.look().state == "rolled_back"


def test_a_newer_rollout_takes_the_place(rolling: Make) -> None:
    line = rolling()
    line.begin()
    line.look()
    second = line.begin("v3")
    assert second.name == "v3#2"
    assert line.look().state == "draft", "the first one goes back first"
    assert line.look().state == "canary"
    route = line.workspace.routes.current()
    assert route is not None and (route.live, route.candidate) == ("v1", "v3")
    assert "superseded" in line.told()


def test_what_cannot_begin(rolling: Make) -> None:
    line = rolling()
    workspace = line.workspace
    with pytest.raises(NotFound):
        start(workspace, line.charter, "v9", actor="ann")
    with pytest.raises(UsageError, match="live already"):
        start(workspace, line.charter, "v1", actor="ann")
    with pytest.raises(UsageError, match="macro_f1 counts no event"):
        start(workspace, BARE, "v2", actor="ann")
    line.line.canary("v2", 0.1, actor="ann")
    with pytest.raises(Conflict, match="by hand"):
        start(workspace, line.charter, "v3", actor="ann")
    with pytest.raises(NotFound, match="no automatic rollout"):
        ask(workspace, "freeze", actor="ann")


def test_a_version_that_no_worker_can_load_is_rejected_and_nothing_has_changed(rolling: Make, monkeypatch: Any) -> None:
    line = rolling()
    line.begin()

    def refuse(*args: Any, **more: Any) -> None:
        raise Unavailable("worker w0 could not load v2: its bundle is damaged")

    monkeypatch.setattr("andon.deploy.line.Line.canary", refuse)
    line.look()
    assert (line.now.state, line.now.reason) == ("rejected", "unfit") and "damaged" in line.now.sentence
    assert [event.reason for event in line.workspace.journal.read(action="rollout.failed")]


def test_harm_is_watched_while_a_step_that_failed_waits_to_be_tried_again(rolling: Make, monkeypatch: Any) -> None:
    line, tried = rolling(), list[float]()
    line.begin()
    line.until("canary", units=10)

    def refuse(self: Any, share: float, **more: Any) -> None:
        tried.append(share)
        raise Unavailable("the disk is full")

    monkeypatch.setattr("andon.deploy.line.Line.ramp", refuse)
    line.until("hold")
    assert (line.now.reason, line.now.sentence) == ("dependency", "the disk is full")
    held = line.now
    for _ in range(3):
        line.come(1500)
        assert line.look() == held and len(tried) == 1, "it is not tried again at once"
    line.bad["v2"] = 0.9
    line.come(600)
    assert line.look().state == "rolled_back" and route_of(line).candidate is None
    replays(line)


class Killed(BaseException):
    """The process is gone."""


def with_kills(line: Rolling, monkeypatch: pytest.MonkeyPatch, at: int, units: int = 400) -> int:
    """Run to the end, being killed at the ``at``th write (of a state, a route or the journal); how many there were."""
    writes = {"n": 0}
    targets = [(line.workspace.states, "put"), (line.workspace.routes, "publish"), (line.workspace.journal, "append")]
    after = at % 2  # killed before the write, or right after it

    def counting(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def write(*args: Any, **more: Any) -> Any:
            writes["n"] += 1
            if writes["n"] == at // 2 and not after:
                raise Killed
            found = real(*args, **more)
            if writes["n"] == at // 2 and after:
                raise Killed
            return found

        monkeypatch.setattr(owner, name, write)

    for owner, name in targets:
        counting(owner, name)
    for _ in range(12):
        try:
            line.look()
        except Killed:
            line.steer = line.leader()
            line.look()
        if line.now.ended:
            break
        line.come(units)
    monkeypatch.undo()
    return writes["n"]


def outcome(line: Rolling) -> Any:
    """What must not depend on kills."""
    reconcile(line.workspace)  # as a leader does when it begins
    events = line.workspace.journal.read(limit=1000)
    told = [(event.action, event.evidence.get("transition", {}).get("after")) for event in events]
    routes = [(r.action, r.live, r.candidate, r.share) for r in line.workspace.routes.history()]
    return line.now.state, line.now.number, sorted(map(str, told)), routes


@pytest.mark.parametrize("which", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_killed_between_any_two_steps_it_ends_in_the_same_state(
    rolling: Make, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """Every third place."""

    def run(at: int) -> tuple[int, Any]:
        line = rolling()
        line.bad["v2"] = 0.4
        line.begin()
        n = with_kills(line, monkeypatch, at)
        replays(line)
        return n, outcome(line)

    n, whole = run(-1)
    assert whole[0] == "rolled_back"
    for at in range(2 + which, 2 * n + 2, 3):
        assert run(at)[1] == whole, f"killed at write {at // 2}, {'after' if at % 2 else 'before'} it"


@pytest.mark.parametrize("last", [5, pytest.param(1000, marks=pytest.mark.slow)])
def test_killed_at_any_write_of_the_bake_it_settles_once(
    rolling: Make, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    """From the canary's end on, into the bake and out of it: before each of the ``last`` writes, or also right after."""

    def run(at: int) -> tuple[int, Any]:
        line = rolling(bake="10m")
        line.bad = {"v1": 0.6, "v2": 0.15}
        line.begin()
        line.look()
        line.come(200)
        n = with_kills(line, monkeypatch, at, units=60)
        replays(line)
        return n, outcome(line)

    n, whole = run(-1)
    state, _, told, routes = whole
    assert (
        state == "settled" and [one for one in told if "'bake'" in one or "'settled'" in one] and routes[0][1] == "v2"
    )
    assert [one[0] for one in routes] == ["switch", "ramp", "canary", "switch", "begin"], "the newest first"
    for at in range(max(2, 2 * (n - last + 1)), 2 * n + 2, 2 if last < n else 1):
        assert run(at)[1] == whole, f"killed at write {at // 2}, {'after' if at % 2 else 'before'} it"


def die(*args: Any) -> None:
    raise Killed


def test_a_person_who_is_quicker_than_a_pending_step(rolling: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    line = rolling()
    line.begin()
    line.look()
    line.come(300)
    line.bad["v2"] = 0.6
    line.come(600)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(line.workspace.routes, "publish", die)
        line.look()
    line.line.switch("v2", actor="ann", reason="I know better")
    line.steer = line.leader()
    line.look()
    route = line.workspace.routes.current()
    assert route is not None
    assert line.told()[2:] == ["bake", "rolling_back", "rolled_back"], (
        "what was pending is dropped; harm acts in the bake"
    )
    assert route.live == "v1"


def test_what_a_person_asks_while_a_step_is_pending_is_heard_behind_it(
    rolling: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = rolling()
    line.begin()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(line.workspace.routes, "publish", die)
        line.look()
    ask(line.workspace, "freeze", actor="bob", reason="not today")
    line.steer = line.leader()
    assert (line.look().state, line.now.reason) == ("frozen", "person")


def test_the_database_gone_leaves_it_where_it_was(rolling: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    line = rolling()
    line.begin()
    line.look()
    before = line.now

    def gone(*args: Any, **more: Any) -> None:
        raise Unavailable("the database is gone")

    with monkeypatch.context() as patched:
        patched.setattr(line.workspace.states, "list", gone)
        with pytest.raises(Unavailable):
            line.look()
        line.line.rollback(actor="ann")  # a person needs no database
    assert line.now == before
    assert line.look().state == "rolled_back"


def test_reviews_and_conditions_count(rolling: Make) -> None:
    """A late event is what a person made of it; a condition limits who counts."""
    line = rolling(rails="errors")
    line.begin()
    line.look()
    line.come(50)
    review = Review("u1", "negative", "person", "ann", line.clock.now())
    line.writer.append(FrameKind.REVIEW, encode_reviews([review]), count=1, time_us=line.clock.now())
    now = active(line.workspace)
    assert now is not None
    found = Proof(line.workspace, line.charter).look(now.rollout, standing(line.workspace, now.rollout))
    assert found.candidate + found.live == 50


def test_what_came_under_a_route_that_nobody_announced_counts(rolling: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever published it was killed behind its file; a worker that starts then follows it."""
    line = rolling()
    line.begin()
    line.look()
    line.come(50)
    announced = route_of(line).epoch - 1
    monkeypatch.setattr(line.workspace.routes, "word", lambda: announced)
    found = Proof(line.workspace, line.charter).look(line.now, standing(line.workspace, line.now))
    assert found.candidate + found.live == 50


def test_a_look_that_reads_on_sees_what_one_that_reads_all_does(rolling: Make) -> None:
    line = rolling(rails="errors, wrong")
    line.begin()
    line.look()
    going = Proof(line.workspace, line.charter)
    ingest = Ingest(line.workspace, line.charter, pace=Pace(window=0, ship=0, tidy=0))
    for number in range(6):
        line.come(150, label=number % 2 == 0)
        if number == 2:
            line.made -= 100  # units that come back
            line.line.ramp(0.3, actor="ann")
        if number == 3:
            line.line.ramp(0.5, actor="ann")
        if number % 3 == 1:
            while ingest.tick().busy:
                pass
        now = active(line.workspace)
        assert now is not None
        stand = standing(line.workspace, now.rollout)
        read_on = going.look(now.rollout, stand)
        anew = Proof(line.workspace, line.charter).look(now.rollout, stand)
        assert msgspec.json.encode(read_on) == msgspec.json.encode(anew)
