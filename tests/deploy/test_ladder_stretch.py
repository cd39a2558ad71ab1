"""Since when a slice is as it is: what begins its evidence anew, and who lowered it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from andon.core.record import Route
from andon.deploy.ladder_stretch import ACTOR, level_of, slices_of, stretch, version_of

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
        ({"levels": {"*": "full", "older": "human"}, "slices": {"older": "age > 60"}}, False),
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
