"""The way of a release and of a level, as a plan: what is done, what is now, what is next."""

from __future__ import annotations

from typing import Any

import pytest

from andon.core.record import Level, Route
from andon.deploy.path import level_way, release_way, rollout_way, ways
from andon.deploy.rollout_record import Plan, Rollout, State

WHOLE = ("shadow", "canary", "blue-green", "live")
RUNGS: tuple[Level, ...] = ("human", "shadow", "assist", "partial", "full")


def route(**more: Any) -> Route:
    return Route(7, 0, 0, "ann", "switch", "", **{"live": "v1", **more})


@pytest.mark.parametrize(
    ("on", "path", "said", "following"),
    [
        (None, WHOLE, "the first release: shadow next > canary > blue-green > live", "andon deploy shadow VERSION"),
        (route(live=None), WHOLE[1:], "the first release: canary next > blue-green > live", "andon deploy canary VERSION --auto"),
        (route(shadows=("v2",)), WHOLE, "v2: shadow now > canary next > blue-green > live", "andon deploy canary v2 --auto"),
        (route(candidate="v2", share=0.1), WHOLE, "v2: shadow done > canary now > blue-green next > live", "andon deploy blue-green v2 --auto"),
        (route(candidate="v2"), WHOLE, "v2: shadow done > canary done > blue-green now > live next", "andon deploy switch"),
        (route(candidate="v2"), ("canary", "live"), "v2: canary now > live next", "andon deploy switch"),
        (route(shadows=("v2",)), ("canary", "live"), "v2: canary next > live", "andon deploy canary v2 --auto"),
        (route(), WHOLE, "v1: shadow done > canary done > blue-green done > live done", ""),
    ],
)  # fmt: skip
def test_by_hand_the_route_says_where_it_is(on: Route | None, path: tuple[str, ...], said: str, following: str) -> None:
    way = release_way(path, on, None)
    assert (str(way), way.next) == (said, following)


@pytest.mark.parametrize(
    ("state", "place", "said"),
    [
        ("draft", "draft", "shadow next > canary > blue-green > live"),
        ("canary", "canary", "shadow done > canary now > blue-green next > live"),
        ("hold", "blue_green", "shadow done > canary done > blue-green now > live next"),
        ("bake", "bake", "shadow done > canary done > blue-green done > live now"),
        ("settled", "settled", "shadow done > canary done > blue-green done > live done"),
        ("frozen", "canary", "shadow done > canary stopped > blue-green > live"),
        ("rolling_back", "canary", "shadow done > canary stopped > blue-green > live"),
    ],
)
def test_an_automatic_one_knows_its_place(state: State, place: State, said: str) -> None:
    rollout = Rollout("v2#1", Plan("v2", "v1", WHOLE, ("errors",)), state, place)
    assert str(rollout_way(rollout)) == f"v2: {said}" and rollout_way(rollout).next == ""


def test_levels_go_up_one_at_a_time_slice_by_slice() -> None:
    found = ways(
        "automate", ("shadow", "canary", "live"), RUNGS, route(levels={"older": "human", "*": "partial"}), None
    )
    assert [str(way) for way in found[:2]] == [
        "older: human now > shadow next > assist > partial > full",
        "everything else: human done > shadow done > assist done > partial now > full next",
    ]
    assert [way.next for way in found[:2]] == ["andon automate shadow --slice older", "andon automate full"]
    assert len(ways("new", ("canary", "live"), RUNGS, route(), None)) == 1
    assert str(ways("automate", ("live",), RUNGS, None, None)[0]).startswith("everything else: human now")
    left_out = level_way("*", ("human", "shadow", "partial"), "assist")
    assert str(left_out) == "everything else: human done > shadow done > assist now > partial next"
    assert level_way("*", RUNGS, "full").next == ""
