"""The other ways to live on a line: blue/green at once and by steps, a first release, and means as guardrails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.monitor.rollout_rig import Rolling, route_of
from tests.monitor.test_steer import replays

from andon.deploy.rollout_record import LEAST_SHADOWED
from andon.deploy.rollout_store import active
from andon.errors import Conflict, Unavailable, UsageError
from andon.measure.alone import Alone
from andon.measure.bounded import Difference
from andon.monitor.explain import explain, foresee, status
from andon.monitor.proof import Proof
from andon.monitor.steer import standing

Make = Callable[..., Rolling]


def looked(line: Rolling) -> Any:
    """The evidence as of now, read anew."""
    kept = active(line.workspace)
    assert kept is not None
    return Proof(line.workspace, line.charter).look(kept.rollout, standing(line.workspace, kept.rollout))


def test_blue_green_at_once_keeps_a_holdback_until_it_is_cleared_and_then_settles(rolling: Make) -> None:
    line = rolling(rails="errors, wrong", delay="2h", more=", holdback: 0.3, margin: 2.5", bake="1d")
    line.bad = dict.fromkeys(line.bad, 0.2)
    line.wrong = dict.fromkeys(line.wrong, 0.2)
    line.begin(pattern="blue-green")
    line.look()
    line.come(LEAST_SHADOWED)
    assert line.look().state == "blue_green"
    route = route_of(line)
    assert (route.live, route.candidate, route.share) == ("v1", "v2", 0.7)
    kept = active(line.workspace)
    assert kept is not None
    told = explain(line.workspace, line.charter, kept, fresh=True)
    assert str(told.path) == "v2: shadow done > blue-green now > live next"
    with pytest.raises(Conflict, match="is not over"):
        line.begin("v3")
    line.until("bake", units=700, seconds=1800)
    route = route_of(line)
    assert (route.live, route.candidate, route.share) == ("v1", "v2", 0.7), "no second change of the share"
    line.until("settled", units=20, seconds=3600)
    assert route_of(line).live == "v2" and "v1" in route_of(line).warm
    states = [state for state in line.told() if state != "hold"]
    assert list(dict.fromkeys(states)) == ["preflight", "shadow", "blue_green", "bake", "settled"]
    replays(line)


def test_a_bad_blue_green_goes_back_in_one_step(rolling: Make) -> None:
    line = rolling("blue-green, live")
    line.bad["v2"] = 0.4
    line.begin(pattern="blue-green")
    line.until("rolled_back", units=100)
    assert line.told() == ["preflight", "blue_green", "rolling_back", "rolled_back"] and line.made <= 300
    assert (route_of(line).live, route_of(line).candidate) == ("v1", None)
    replays(line)


def test_a_gradual_one_goes_by_its_steps_and_waits_in_each_for_cases(rolling: Make) -> None:
    line = rolling("blue-green, live", more=", steps: [0.2, 0.5]")
    line.begin(pattern="blue-green")
    shares = []
    for _ in range(12):
        line.look()
        shares.append(route_of(line).share)
        line.come(400)
    assert list(dict.fromkeys(shares))[:3] == [0.2, 0.5, 0.95]
    assert shares.count(0.2) >= 3, "400 units at 20 % are 80 cases"
    assert line.now.state in ("bake", "settled")
    replays(line)


def test_without_a_holdback_or_steps_it_is_held_against_its_goals_while_it_bakes(rolling: Make) -> None:
    line = rolling("blue-green, live", rails="wrong", delay="2h", more=", holdback: 0")
    line.wrong["v2"] = 0.5
    line.begin(pattern="blue-green")
    assert line.look().state == "bake" and route_of(line).live == "v2"
    line.come(200)
    rail = looked(line).rails[0]
    assert isinstance(rail.other, Alone) and rail.other.harm.n == 200 and rail.other.n == rail.units[0] == 0
    assert line.look().state == "rolled_back" and route_of(line).live == "v1"
    good = rolling("blue-green, live", rails="wrong", delay="2h", more=", holdback: 0")
    good.begin(pattern="blue-green")
    good.until("settled", units=400)
    replays(good)


def test_the_first_release_begins_small_and_is_held_against_its_goals(rolling: Make) -> None:
    line = rolling(rails="errors, wrong", delay="2h", live="")
    made = line.begin("v1")
    assert made.plan.limits == {"errors": 0.2, "wrong": 0.2} and made.plan.live == ""
    assert foresee(line.workspace, line.charter, made.plan)[0].startswith("errors: there is no traffic now")
    line.look()
    route = route_of(line)
    assert (route.live, route.candidate, route.share) == (None, "v1", 0.1)
    line.come(500)
    seen = looked(line)
    assert seen.assigned is not None and not seen.assigned.reached(0.01) and seen.candidate + seen.live == 500
    assert seen.rails[0].units == (seen.candidate, 0), "people are not compared with"
    line.until("settled", units=500)
    assert route_of(line).live == "v1"
    replays(line)


def test_a_first_release_that_misses_its_goals_goes_back_to_people(rolling: Make) -> None:
    line = rolling(rails="errors", live="")
    line.bad["v1"] = 0.6
    line.begin("v1")
    line.until("rolled_back", units=300)
    assert (route_of(line).live, route_of(line).candidate) == (None, None)
    assert "people answer again" in route_of(line).reason and "the goal is at most 0.2" in route_of(line).reason
    replays(line)


def test_requests_for_a_version_by_name_are_nobodys_units(rolling: Make) -> None:
    line = rolling("canary, live", live="")
    line.begin()
    line.until("canary", units=10)
    line.come(200, pin="v2")
    assert not any(looked(line).rails)
    line.come(200)
    seen = looked(line)
    assert seen.candidate + seen.live == 200 and seen.assigned is not None and not seen.assigned.reached(0.001)
    assert line.look().state == "canary"


def test_where_no_model_is_asked_a_first_release_goes_by_levels(rolling: Make) -> None:
    line = rolling(live="")
    line.line.automate("human", actor="ann")
    with pytest.raises(UsageError, match="its way is by levels: andon deploy shadow"):
        line.begin("v1")


def test_a_value_is_compared_by_its_mean(rolling: Make) -> None:
    line = rolling(rails="worth", delay="2h")
    line.wrong["v2"] = 0.5
    line.begin()
    line.look()
    line.come(400)
    rail = looked(line).rails[0]
    assert isinstance(rail.other, Difference) and rail.late and sum(rail.units) == 400
    line.until("rolled_back", units=1500)
    assert "worth: harm: the mean differs by -" in route_of(line).reason
    replays(line)
    good = rolling(rails="worth", delay="1h", more=", budget: 1000")
    good.begin()
    good.until("settled", units=1500, seconds=1800)
    replays(good)


def test_a_new_release_mid_rollout_begins_with_no_evidence(rolling: Make) -> None:
    line = rolling(rails="errors, worth")
    line.begin()
    line.look()
    line.come(900)
    assert all(sum(rail.units) == 900 for rail in looked(line).rails)
    line.begin("v3")
    line.look()
    assert line.look().state == "canary" and line.now.plan.version == "v3"
    assert looked(line).rails == () and looked(line).candidate == 0
    line.come(100)
    seen = looked(line)
    assert seen.candidate + seen.live == 100 and all(sum(rail.units) == 100 for rail in seen.rails)


def test_a_look_that_reads_on_sees_what_one_that_reads_all_does(rolling: Make) -> None:
    for begin in ({"live": "", "rails": "errors, wrong"}, {"live": "v1", "rails": "errors, worth"}):
        line = rolling(**begin)
        line.begin("v1" if not begin["live"] else "v2")
        line.look()
        going = Proof(line.workspace, line.charter)
        for number in range(4):
            line.come(150, label=number % 2 == 0)
            if number == 1:
                line.made -= 100  # units that come back
                line.line.ramp(0.4, actor="ann")
            kept = active(line.workspace)
            assert kept is not None
            stand = standing(line.workspace, kept.rollout)
            read_on = going.look(kept.rollout, stand)
            anew = Proof(line.workspace, line.charter).look(kept.rollout, stand)
            assert msgspec.json.encode(read_on) == msgspec.json.encode(anew)


def test_the_status_has_the_ways(rolling: Make) -> None:
    line = rolling("shadow, canary, blue-green, live")
    assert [way["what"] for way in status(line.workspace, line.charter)["path"]] == ["v1"]
    line.begin()
    line.look()
    (way,) = status(line.workspace, line.charter)["path"]
    assert [(one["name"], one["where"]) for one in way["stages"]] == [
        ("shadow", "now"),
        ("canary", "next"),
        ("blue-green", "later"),
        ("live", "later"),
    ]


@pytest.mark.parametrize("gone", ["states", "database"])
def test_with_the_database_gone_harm_takes_it_back_and_nothing_else_happens(
    rolling: Make, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    line = rolling()
    line.begin()
    line.look()

    def refuse(*args: Any, **more: Any) -> None:
        raise Unavailable("the database is gone")

    with monkeypatch.context() as patched:
        if gone == "states":
            patched.setattr(line.workspace.states, "list", refuse)
        else:
            for part in ("states", "journal", "leases", "records", "windows"):
                patched.setattr(line.workspace, part, _Gone())
        for _ in range(4):
            line.come(1500)
            assert line.steer.without_database() == [], "a good one is not taken further"
        assert route_of(line).share == 0.1
        line.bad["v2"] = 0.9
        line.come(900)
        (said,) = line.steer.without_database()
        assert "with the database gone: errors: harm" in said
        assert (route_of(line).live, route_of(line).candidate) == ("v1", None)
        assert line.steer.without_database() == []
    ended = line.look()
    assert (ended.state, ended.reason) == ("rolled_back", "harm") and "errors: harm" in ended.sentence
    replays(line)


@pytest.mark.parametrize("who", ["a person", "harm"])
def test_what_was_undone_before_its_step_was_written_down_is_not_done_again(
    rolling: Make, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    line = rolling()
    line.begin()
    real = line.workspace.journal.append

    def append(action: str, subject: str, actor: str, reason: str, evidence: Any = None) -> Any:
        if action == "rollout.transition" and evidence["transition"]["after"] == "canary":
            raise Unavailable("the database is gone")
        return real(action, subject, actor, reason, evidence)

    with monkeypatch.context() as patched:
        patched.setattr(line.workspace.journal, "append", append)
        with pytest.raises(Unavailable):
            line.look()
        assert route_of(line).candidate == "v2" and line.now.state == "preflight", "done, and not written down"
        if who == "a person":
            line.line.rollback(actor="ann", reason="not today")
        else:
            line.bad["v2"] = 0.9
            line.come(900)
            assert len(line.steer.without_database()) == 1
    assert route_of(line).candidate is None
    newest = route_of(line).epoch
    ended = line.look()
    assert (ended.state, ended.reason) == ("rolled_back", "person" if who == "a person" else "harm")
    assert route_of(line).epoch == newest and line.told() == ["preflight", "canary", "rolled_back"]
    replays(line)


class _Gone:
    """A part of the workspace whose database is gone."""

    def __getattr__(self, name: str) -> Any:
        def refuse(*args: Any, **more: Any) -> None:
            raise Unavailable("the database is gone")

        return refuse
