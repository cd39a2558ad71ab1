"""Since when a slice is as it is: what begins its evidence anew, and who lowered it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from andon.core.record import Route
from andon.deploy.ladder_stretch import ACTOR, broken_us, level_of, slices_of, stretch, turns, version_of

FIRST = Route(1, 10, 0, "ann", "begin", "", live="v1", levels={"*": "full"}, thresholds={"v1/*": 0.9})


def after(route: Route, actor: str = "ann", **changes: Any) -> Route:
    return replace(route, epoch=route.epoch + 1, time_us=route.time_us + 10, actor=actor, **changes)


@pytest.mark.parametrize(
    ("changes", "anew"),
    [
        ({"held": True}, False),
        ({"blind": False, "audit_share": 0.5}, False),
        ({"candidate": "v2", "share": 0.1}, False),
        ({"live": "v2"}, True),
        ({"thresholds": {"v1/*": 0.8}}, True),
        ({"thresholds": {"v1/*": 0.9, "v2/*": 0.8}}, False),
        ({"only": ("p",)}, True),
        ({"levels": {"*": "partial"}}, True),
        ({"levels": {"*": "full", "older": "human"}, "slices": {"older": "age > 60"}}, True),
        ({"slices": {"older": "age > 60"}}, False),
    ],
)
def test_what_begins_the_evidence_anew(changes: dict[str, Any], anew: bool) -> None:
    routes = [after(FIRST, **changes), FIRST]
    found = stretch(routes, "*")
    assert (found.epoch, found.time_us) == ((2, 20) if anew else (1, 10))
    assert (found.level_epoch == 2) == ("levels" in changes and changes["levels"]["*"] != "full")


def test_a_slice_that_gets_a_level_of_its_own_begins_anew_with_its_condition() -> None:
    named = after(FIRST, levels={"*": "full", "older": "full"}, slices={"older": "age > 60"})
    changed = after(named, slices={"older": "age > 70"})
    assert (stretch([named, FIRST], "older").epoch, stretch([changed, named, FIRST], "older").epoch) == (2, 3)
    assert stretch([changed, named, FIRST], "older").level_epoch == 1, "its level was that of everything else"
    assert slices_of(changed) == ["older", "*"] and level_of(FIRST, "older") == "full"


def test_it_goes_back_only_to_the_last_change() -> None:
    down = after(FIRST, levels={"*": "assist"})
    again = after(down, levels={"*": "full"})
    assert stretch([again, down, FIRST], "*").level_us == 30


def test_who_lowered_it_last() -> None:
    lowered = after(FIRST, "ann", levels={"*": "partial"})
    machine = after(lowered, ACTOR, levels={"*": "assist"})
    assert stretch([lowered, FIRST], "*").lowered_by == "ann"
    assert stretch([machine, lowered, FIRST], "*").lowered_by == "ann", "what the machine did since changes nothing"
    raised = after(machine, "bob", levels={"*": "partial"})
    assert stretch([raised, machine, lowered, FIRST], "*").lowered_by == ""
    assert stretch([after(FIRST, ACTOR, levels={"*": "assist"}), FIRST], "*").lowered_by == ""
    back = after(FIRST, "eve", action="rollback", levels={"*": "shadow"})
    assert stretch([back, FIRST], "*").lowered_by == "eve"
    assert stretch([FIRST], "*").lowered_by == ""
    assert stretch([after(lowered, "eve", held=True), lowered, FIRST], "*").lowered_by == "ann"


def test_whose_answers_count() -> None:
    assert version_of(FIRST) == "v1"
    assert version_of(replace(FIRST, live=None, shadows=("v2",))) == "v2"
    assert version_of(replace(FIRST, live=None, shadows=("v2", "v3"))) is None


def test_what_an_earlier_condition_takes_away_is_not_the_slices_own() -> None:
    named = after(FIRST, levels={"*": "full", "older": "full"}, slices={"older": "age > 60"})
    before = after(named, levels={**named.levels, "b": "full"}, slices={"b": "b > 1", **named.slices})
    behind = after(named, levels={**named.levels, "b": "full"}, slices={**named.slices, "b": "b > 1"})
    assert [stretch([one, named, FIRST], "older").epoch for one in (before, behind)] == [3, 2]
    assert stretch([behind, named, FIRST], "*").epoch == 3
    changed = after(named, slices={"older": "age > 70"})
    assert stretch([changed, named, FIRST], "*").epoch == 3, "it is everything else of another condition"


def test_how_often_it_was_measured_at_partial_before() -> None:
    routes = [replace(FIRST, levels={"*": "partial"})]
    assert turns(routes, "*", 100) == 0
    for levels, thresholds in (("full", 0.9), ("partial", 0.9), ("partial", 0.8), ("partial", 0.8)):
        routes.insert(0, after(routes[0], levels={"*": levels}, thresholds={"v1/*": thresholds}))
    assert turns(routes, "*", 100) == 2 and turns(routes, "older", 100) == 1, "its threshold never changed"
    assert turns(routes, "*", 10) == 4, "evidence began anew within each"
    assert turns([after(routes[0], live="v2"), *routes], "*", 100) == 0, "another release"


def test_when_the_machine_lowered_it_last_under_this_release() -> None:
    lowered = after(FIRST, ACTOR, levels={"*": "assist"})
    again = after(lowered, "ann", levels={"*": "partial"})
    assert broken_us([again, lowered, FIRST], "*", "v1") == broken_us([again, lowered, FIRST], "older", "v1") == 20
    assert broken_us([again, lowered, FIRST], "*", "v2") == 0
    assert broken_us([after(FIRST, "ann", levels={"*": "assist"}), FIRST], "*", "v1") == 0
    canary = replace(FIRST, candidate="v2")
    assert broken_us([after(canary, ACTOR, levels={"*": "shadow"}), canary], "*", "v2") == 20


def test_evidence_begins_anew_every_window() -> None:
    found = stretch([FIRST], "*")
    assert (found.within(109, 100).since_us, found.within(109, 100).windows) == (0, 0)
    assert (found.within(110, 100).since_us, found.within(110, 100).windows) == (0, 1)
    assert (found.within(209, 100).since_us, found.within(209, 100).windows) == (0, 1)
    assert (found.within(210, 100).since_us, found.within(210, 100).windows) == (110, 2)
    assert (found.within(409, 100).since_us, found.within(409, 100).windows) == (210, 3)


def test_answers_of_before_a_window_count_where_their_truth_comes_in_it() -> None:
    found = stretch([FIRST], "*")
    late = found.within(409, 100, 40)
    assert (late.since_us, late.read_us, late.all_us) == (210, 170, 270)
    assert (found.within(215, 100, 40).read_us, found.within(215, 100, 400).read_us) == (70, 10), (
        "never before it began"
    )
    assert (found.within(150, 100, 40).all_us, found.within(109, 100, 40).all_us) == (70, 0)
