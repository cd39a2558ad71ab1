"""Transitions: epochs count, what makes no sense is refused, and a rollback gives nothing back and never goes forward."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from andon.core.record import Route
from andon.deploy import transition
from andon.deploy.automation import LEVELS
from andon.deploy.route import versions
from andon.deploy.transition import ANSWERING, KEPT_WARM, Stamp
from andon.errors import AndonError, Conflict, UsageError

STAMP = Stamp("maria", "because", 5, 6)
FIRST = transition.begin(STAMP, levels={"*": "shadow"}, safe_default="refer")


def bundle(version: str) -> dict[str, str]:
    return {version: f"hash-{version}"}


def live(version: str = "v1", route: Route = FIRST) -> Route:
    return transition.switch(route, STAMP, version, bundles=bundle(version))


def canary(route: Route, version: str, share: float = 0.1) -> Route:
    return transition.canary(route, STAMP, version, share, bundles=bundle(version))


def answering(route: Route) -> dict[str, Any]:
    """What decides who answers; thresholds of versions that do not answer are only remembered while they are warm."""
    acting = {route.live, route.candidate, *route.shadows}
    thresholds = {key: value for key, value in route.thresholds.items() if key.split("/")[0] in acting}
    return {**{name: getattr(route, name) for name in ANSWERING}, "thresholds": thresholds}


def test_every_route_says_who_when_and_why() -> None:
    route = live()
    assert (route.actor, route.reason, route.time_us, route.wall_us, route.action) == (
        "maria",
        "because",
        5,
        6,
        "switch",
    )
    assert (FIRST.epoch, route.epoch) == (1, 2)


def test_a_canary_gets_a_new_salt_and_keeps_it_while_ramping() -> None:
    route = canary(live(), "v2", 0.05)
    assert (route.candidate, route.share, route.salt) == ("v2", 0.05, "v2@3")
    assert transition.ramp(route, STAMP, 0.5).salt == "v2@3"
    again = canary(transition.rollback(route, STAMP, live()), "v2")
    assert again.salt != route.salt


@pytest.mark.parametrize("share", [0.0, -0.1, 1.0000001, float("nan"), float("inf")])
def test_shares_outside_their_bound_are_refused(share: float) -> None:
    with pytest.raises(UsageError, match="share: expected"):
        canary(live(), "v2", share)
    with pytest.raises(UsageError, match="share: expected"):
        transition.ramp(canary(live(), "v2"), STAMP, share)


def test_the_ends_of_the_bound_are_accepted() -> None:
    assert transition.ramp(canary(live(), "v2", 1e-9), STAMP, 1.0).share == 1.0


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="no candidate to ramp"):
        transition.ramp(live(), STAMP, 0.5)
    with pytest.raises(UsageError, match="nothing to switch to"):
        transition.switch(live(), STAMP)
    with pytest.raises(UsageError, match="v1 is live already"):
        transition.switch(live(), STAMP, "v1")
    with pytest.raises(UsageError, match="v1 is live already"):
        canary(live(), "v1")
    with pytest.raises(UsageError, match="not stopped"):
        transition.start(live(), STAMP)
    with pytest.raises(UsageError, match="no safe_default"):
        transition.stop(replace(live(), safe_default=None), STAMP, "safe_default")
    with pytest.raises(UsageError, match="is live"):
        transition.shadow(live(), STAMP, "v1", bundle("v1"))
    with pytest.raises(UsageError, match="running there: none"):
        transition.unshadow(live(), STAMP, "v2")
    with pytest.raises(UsageError, match="no predicate"):
        transition.automate(live(), STAMP, "full", "older")


def test_one_candidate_at_a_time() -> None:
    route = canary(live(), "v2")
    with pytest.raises(Conflict, match=r"v2 is the candidate already, with a share of 0\.1"):
        canary(route, "v3")
    with pytest.raises(Conflict, match="v2 is the candidate already"):
        canary(route, "v2", 0.2)  # that is a ramp
    with pytest.raises(Conflict, match="v2 is the candidate"):
        transition.switch(route, STAMP, "v3", bundles=bundle("v3"))


def test_blue_green_stands_by_and_may_become_a_canary() -> None:
    route = transition.blue_green(live(), STAMP, "v2", bundles=bundle("v2"))
    assert (route.candidate, route.share) == ("v2", 0.0)
    assert canary(route, "v2", 0.1).salt == route.salt
    switched = transition.switch(route, STAMP)
    assert (switched.live, switched.candidate, switched.warm) == ("v2", None, ("v1",))
    assert switched.bundles == {**bundle("v1"), **bundle("v2")}


def test_a_held_rollout_stays_where_it_is_until_somebody_resumes() -> None:
    settled = live()
    route = transition.hold(canary(settled, "v2", 0.05), STAMP)
    assert (route.held, route.share, route.action) == (True, 0.05, "hold")
    refusals: list[Callable[[], object]] = [
        lambda: transition.ramp(route, STAMP, 0.2),
        lambda: transition.switch(route, STAMP),
        lambda: transition.switch(route, STAMP, "v2", bundles=bundle("v2")),
    ]
    for refused in refusals:
        with pytest.raises(
            Conflict, match=r"v2 is held at a share of 0\.05; let it go on first with: andon deploy resume"
        ):
            refused()
    with pytest.raises(Conflict, match="held already"):
        transition.hold(route, STAMP)
    on = transition.resume(route, STAMP)
    assert not on.held and transition.ramp(on, STAMP, 0.2).salt == route.salt
    assert on.previous == route.previous == settled.epoch  # neither is a step that a rollback undoes


def test_a_hold_keeps_a_standby_from_its_first_case() -> None:
    standby = transition.hold(transition.blue_green(live(), STAMP, "v2", bundles=bundle("v2")), STAMP)
    with pytest.raises(Conflict, match="held"):
        canary(standby, "v2")


def test_what_is_not_there_cannot_be_held() -> None:
    with pytest.raises(UsageError, match="no candidate whose share could be held"):
        transition.hold(live(), STAMP)
    with pytest.raises(UsageError, match="no rollout is held"):
        transition.resume(canary(live(), "v2"), STAMP)


def test_a_hold_does_not_stand_in_the_way_of_safety() -> None:
    settled = live()
    route = transition.hold(canary(settled, "v2"), STAMP)
    back = transition.rollback(route, STAMP, settled)
    assert (back.held, back.candidate) == (False, None)
    assert transition.stop(route, STAMP).held and transition.to_people(replace(route, levels={"*": "full"}), STAMP).held
    assert not canary(back, "v2").held


def test_a_switch_keeps_the_last_versions_warm_and_forgets_the_others() -> None:
    route = FIRST
    for number in range(1, 6):
        route = live(f"v{number}", route)
    assert route.warm == ("v4", "v3") and len(route.warm) == KEPT_WARM
    assert set(route.bundles) == {"v5", "v4", "v3"} == set(versions(route))


def test_a_shadow_stays_unseen_and_leaves_when_it_answers() -> None:
    people = replace(FIRST, levels={"*": "human"})
    route = transition.shadow(people, STAMP, "v1", bundle("v1"))
    assert (route.live, route.shadows, route.levels) == (None, ("v1",), {"*": "shadow"})
    with pytest.raises(Conflict, match="already"):
        transition.shadow(route, STAMP, "v1", bundle("v1"))
    assert canary(route, "v1").shadows == ()
    assert transition.unshadow(route, STAMP, "v1").shadows == ()


def test_automating_makes_the_only_shadow_live() -> None:
    with pytest.raises(UsageError, match="partial needs a release"):
        transition.automate(FIRST, STAMP, "partial")
    one = transition.shadow(FIRST, STAMP, "v1", bundle("v1"))
    assert transition.automate(one, STAMP, "partial").live == "v1"
    two = transition.shadow(one, STAMP, "v2", bundle("v2"))
    with pytest.raises(UsageError, match="several run in the shadow"):
        transition.automate(two, STAMP, "partial")
    assert transition.automate(FIRST, STAMP, "human").levels == {"*": "human"}


def test_slices_keep_the_order_in_which_they_are_tried() -> None:
    ordered = {"older": "age >= 60", "abroad": "region = 'a'", "rest": "age < 60"}
    route = transition.automate(live(), STAMP, "human", "abroad", slices=ordered)
    route = transition.automate(route, STAMP, "assist", "older", slices=ordered)
    assert list(route.slices) == ["older", "abroad"]
    assert route.levels == {"*": "shadow", "abroad": "human", "older": "assist"}


def test_thresholds_go_with_their_version() -> None:
    route = transition.switch(FIRST, STAMP, "v1", bundles=bundle("v1"), thresholds={"v1/*": 0.9})
    for number in (2, 3):
        route = live(f"v{number}", route)
    assert route.thresholds == {"v1/*": 0.9}
    assert live("v4", route).thresholds == {}


def test_stopping_is_no_step_that_a_rollback_undoes() -> None:
    route = transition.stop(live("v2", live()), STAMP)
    back = transition.rollback(route, STAMP, live())
    assert (back.live, back.stopped) == ("v1", "people")
    assert transition.start(back, STAMP).live == "v1"


def test_lowering_a_level_is_no_step_that_a_rollback_undoes() -> None:
    one = transition.automate(live("v1"), STAMP, "assist")
    two = live("v2", one)
    worse = transition.automate(two, STAMP, "full")
    lowered = transition.automate(worse, STAMP, "human")
    assert lowered.previous == worse.previous == two.epoch  # back to v2 at assist, not to v2 at full
    assert transition.to_people(worse, STAMP).previous == two.epoch
    sliced = transition.automate(one, STAMP, "shadow", "older", slices={"older": "age > 60"})
    assert sliced.previous == one.previous  # below what it had without a level of its own
    with pytest.raises(UsageError, match="already"):
        transition.to_people(lowered, STAMP)


def test_a_rollback_leaves_what_somebody_took_away_since() -> None:
    settled = transition.shadow(transition.automate(live(), STAMP, "partial"), STAMP, "v3", bundle("v3"))
    route = transition.automate(canary(settled, "v2"), STAMP, "human")
    assert transition.rollback(route, STAMP, settled).levels == {"*": "human"}
    sliced = transition.automate(canary(settled, "v2"), STAMP, "human", "older", slices=SLICES)
    back = transition.rollback(sliced, STAMP, settled)
    assert (back.levels, back.slices) == ({"*": "partial", "older": "human"}, {"older": "age > 60"})
    raised = transition.automate(canary(settled, "v2"), STAMP, "full", "older", slices=SLICES)
    assert answering(transition.rollback(raised, STAMP, settled)) == answering(settled)
    ended = transition.unshadow(canary(settled, "v2"), STAMP, "v3")
    assert transition.rollback(ended, STAMP, settled).shadows == ()
    promoted = transition.canary(settled, STAMP, "v3", 0.1, bundles=bundle("v3"))
    assert transition.rollback(promoted, STAMP, settled).shadows == ("v3",)  # nobody ended it


def test_a_rollback_keeps_the_stricter_threshold() -> None:
    settled = transition.automate(live(), STAMP, "partial", thresholds={"v1/*": 0.8})
    stricter = transition.automate(canary(settled, "v2"), STAMP, "partial", thresholds={"v1/*": 0.95})
    assert transition.rollback(stricter, STAMP, settled).thresholds == {"v1/*": 0.95}
    looser = transition.automate(canary(settled, "v2"), STAMP, "partial", thresholds={"v1/*": 0.6})
    assert transition.rollback(looser, STAMP, settled).thresholds == {"v1/*": 0.8}
    full = transition.automate(live(), STAMP, "full")
    lowered = transition.automate(live("v2", full), STAMP, "partial", thresholds={"v2/*": 0.7})
    back = transition.rollback(lowered, STAMP, full)
    assert (back.levels, "v1/*" in back.thresholds) == ({"*": "partial"}, False)  # nothing shows what v1 may decide


def test_a_slice_that_is_new_keeps_what_its_cases_had_where_it_was_lowered() -> None:
    settled = transition.automate(live(), STAMP, "full", "abroad", slices=SLICES)
    route = transition.automate(canary(settled, "v2"), STAMP, "assist", "older", slices=SLICES)
    back = transition.rollback(route, STAMP, settled)
    assert list(back.slices) == ["older", "abroad"] and back.levels["older"] == "shadow"  # what * had, and abroad more


def test_a_rollback_from_a_canary_ends_it_and_keeps_it_warm() -> None:
    settled = live()
    route = transition.ramp(canary(settled, "v2"), STAMP, 0.4)
    back = transition.rollback(route, STAMP, settled)
    assert answering(back) == answering(settled)
    assert "v2" in back.warm and back.bundles["v2"] == "hash-v2"


def test_rolled_back_twice_goes_back_twice() -> None:
    one = live("v1")
    two = live("v2", one)
    three = live("v3", two)
    back = transition.rollback(three, STAMP, two)
    assert (back.live, back.previous) == ("v2", one.epoch)
    assert transition.rollback(back, STAMP, one).live == "v1"
    with pytest.raises(Conflict, match="goes back to route"):
        transition.rollback(back, STAMP, three)


ACTIONS = st.tuples(
    st.sampled_from(
        [
            "shadow",
            "unshadow",
            "canary",
            "ramp",
            "blue",
            "switch",
            "automate",
            "automate",
            "people",
            "stop",
            "start",
            "rollback",
            "warm",
            "hold",
            "resume",
        ]
    ),
    st.sampled_from(["v1", "v2", "v3", "v4"]),
    st.floats(0.01, 1.0),
    st.sampled_from(["human", "assist", "partial", "full"]),
    st.sampled_from(["*", "older", "abroad"]),
)
SLICES = {"older": "age > 60", "abroad": "region = 'a'"}


Step = tuple[str, str, float, Any, str]


def act(routes: list[Route], step: Step) -> Route:
    """One action on the newest of the routes."""
    now, (action, version, share, level, slice) = routes[-1], step
    does: dict[str, Any] = {
        "shadow": lambda: transition.shadow(now, STAMP, version, bundle(version)),
        "unshadow": lambda: transition.unshadow(now, STAMP, version),
        "canary": lambda: canary(now, version, share),
        "ramp": lambda: transition.ramp(now, STAMP, share),
        "blue": lambda: transition.blue_green(now, STAMP, version, bundles=bundle(version)),
        "switch": lambda: transition.switch(now, STAMP, version, bundles=bundle(version)),
        "automate": lambda: transition.automate(
            now, STAMP, level, slice, slices=SLICES, thresholds={f"{now.live}/{slice}": share}
        ),
        "people": lambda: transition.to_people(now, STAMP),
        "stop": lambda: transition.stop(now, STAMP),
        "start": lambda: transition.start(now, STAMP),
        "hold": lambda: transition.hold(now, STAMP),
        "resume": lambda: transition.resume(now, STAMP),
        "rollback": lambda: transition.rollback(now, STAMP, routes[now.previous - 1]) if now.previous > 0 else now,
        "warm": lambda: transition.warm(now, STAMP, version, bundle(version)),
    }
    made: Route = does[action]()
    return made


def play(steps: list[Step]) -> list[Route]:
    """The routes that a list of actions leads to; those that make no sense are passed over."""
    routes = [FIRST]
    for step in steps:
        try:
            made = act(routes, step)
        except (UsageError, Conflict):
            continue
        if made is not routes[-1]:
            routes.append(made)
    return routes


def place(route: Route, members: tuple[str, ...]) -> str:
    """The slice that a case in these slices is in."""
    return next((name for name in route.slices if name in members), "*")


def level_of(route: Route, members: tuple[str, ...]) -> int:
    return LEVELS.index(route.levels.get(place(route, members), route.levels["*"]))


def least_of(route: Route, version: str | None, members: tuple[str, ...]) -> float:
    """The least confidence at which a version decides such a case by itself; above 1: it never does."""
    level = LEVELS[level_of(route, members)]
    if level == "partial":
        return route.thresholds.get(f"{version}/{place(route, members)}", 2.0)
    return 0.0 if level == "full" else 2.0


def assert_gives_nothing_back(now: Route, then: Route, back: Route) -> None:
    """For a case in any of the slices: of now and then the more careful, and all as it was where nothing was taken."""
    cases = [
        tuple(name for name, drawn in zip(SLICES, bits, strict=True) if drawn) for bits in product((0, 1), repeat=2)
    ]
    for case in cases:
        assert level_of(back, case) <= min(level_of(now, case), level_of(then, case))
        assert least_of(back, then.live, case) >= least_of(then, then.live, case)
        if then.live in (now.live, now.candidate):
            assert least_of(back, then.live, case) >= least_of(now, then.live, case)
    assert set(back.shadows) <= set(then.shadows) & {*now.shadows, now.live, now.candidate}
    if all(level_of(then, case) < level_of(now, case) for case in cases):
        assert (back.levels, back.slices) == (then.levels, then.slices)


@settings(max_examples=300, deadline=None)
@given(st.lists(ACTIONS, max_size=25))
def test_laws_of_every_history(steps: list[Step]) -> None:
    routes = play(steps)
    assert [route.epoch for route in routes] == list(range(1, len(routes) + 1))
    for route in routes:
        assert set(route.bundles) == {*versions(route), *route.shadows}
        assert (route.candidate is None) == (route.salt == "") and 0.0 <= route.share <= 1.0
        assert not {route.live, route.candidate} & set(route.warm)
        assert not route.held or route.candidate is not None
        assert route.previous < route.epoch and set(route.levels) - {"*"} <= set(route.slices)
        if route.previous > 0:
            target = routes[route.previous - 1]
            assert target.candidate is None
            back = transition.rollback(route, STAMP, target)
            assert (back.live, back.candidate, back.share, back.salt) == (target.live, None, 0.0, "")
            assert (back.stopped, back.previous, back.held) == (route.stopped, target.previous, False)
            assert_gives_nothing_back(route, target, back)
    for before, after in pairwise(routes):
        if before.held and after.held:
            assert (after.candidate, after.share, after.salt) == (before.candidate, before.share, before.salt)
            assert after.live == before.live


@given(st.lists(ACTIONS, max_size=25))
def test_rollbacks_come_to_an_end(steps: list[Step]) -> None:
    routes = play(steps)
    for _ in range(len(routes) + 1):
        if routes[-1].previous < 1:
            return
        routes.append(transition.rollback(routes[-1], STAMP, routes[routes[-1].previous - 1]))
    raise AssertionError("a rollback went forward")


def test_a_rollback_refuses_another_route_than_the_one_before() -> None:
    with pytest.raises(AndonError, match="goes back to route 1"):
        transition.rollback(live(), STAMP, replace(FIRST, epoch=0))
