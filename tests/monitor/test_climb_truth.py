"""The ladder where truth comes late, never, or from people who saw the answer, and where a promise was broken before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.monitor.ladder_rig import Climbing, charter

from andon.core.clock import DAY
from andon.deploy.learning import Learnt

Make = Callable[..., Climbing]


@pytest.fixture
def climbing(tmp_path: Path) -> Iterator[Make]:
    made: list[Climbing] = []

    def make(**more: Any) -> Climbing:
        made.append(Climbing(tmp_path / f"{len(made)}", charter(**more)))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("truth", ["external", "human"])
def test_what_was_known_before_a_breach_earns_nothing_after_it(climbing: Make, truth: str) -> None:
    """The labels that earned the broken threshold, and the look at them, count no more: for the offer and for a person."""
    line = climbing(truth=truth, level="shadow", older="shadow")
    line.come(2500)
    line.climb.turn()
    line.line.automate("partial", "older", actor="ann")
    assert line.route.thresholds["v1/older"] < 0.9
    line.wrong["older"] = 1.5
    line.come(800)
    assert "goes from partial to assist" in line.climb.turn()[0]
    line.climb.turn()
    assert line.rung("older").kind == "stay" and line.rung("older").why == "labels"
    act = line.line.automate("partial", "older", actor="ann")
    assert act.route.thresholds == {} and "decides nothing by itself" in act.notes[0]


def test_new_cases_earn_it_again_after_a_breach(climbing: Make) -> None:
    line = climbing(level="shadow", older="shadow")
    line.come(2500)
    line.line.automate("partial", "older", actor="ann")
    first = line.route.thresholds["v1/older"]
    line.wrong["older"] = 0.9
    line.come(1500)
    line.climb.turn()
    assert line.level("older") == "assist"
    line.come(2500)
    line.climb.turn()
    rung = line.rung("older")
    assert (rung.kind, rung.to) == ("promote", "partial") and rung.threshold is not None
    assert first < 0.85 < rung.threshold, "what it is sure of is right still"


def test_a_look_that_is_too_old_keeps_nobody_from_looking_again(climbing: Make) -> None:
    line = climbing(level="shadow", older="shadow", partial="evidence: 2d")
    line.come(2000, seconds=DAY / 1e6)
    line.climb.turn()
    assert line.rung().kind == "promote"
    line.clock.advance(1.5 * DAY / 1e6)
    line.come(2000, seconds=DAY / 1e6)
    line.climb.turn()
    assert line.rung().kind == "promote", line.rung().reason
    events = line.workspace.journal.read(action="automation.learn", limit=9)
    looks = [msgspec.convert(event.evidence, Learnt).look for event in events]
    assert looks == [1, 1, 2, 2], "as many cases, but others: another look, and it costs"


FULL = "promote: automatic, highest: full"


def at_partial(line: Climbing) -> None:
    """Everything is at level partial with a threshold that cuts off what the model is not sure of."""
    line.line.automate("partial", actor="ann", thresholds={"v1/*": 0.9})
    line.line.automate("partial", "older", actor="ann", thresholds={"v1/older": 0.9})


@pytest.mark.parametrize(
    ("truth", "partial", "late", "why"),
    [
        ("human", "blind: false", (), "unjudged"),
        ("human", "", ("deferred",), "unjudged"),
        ("external", "", ("deferred",), "unjudged"),
        ("external", "", ("audited",), "people"),
    ],
)
def test_full_is_not_earned_on_the_easy_cases_alone(
    climbing: Make, truth: str, partial: str, late: tuple[str, ...], why: str
) -> None:
    line = climbing(truth=truth, level="partial", older="partial", automation=FULL, partial=partial)
    at_partial(line)
    line.wrong = {"*": 0.5, "older": 0.5}
    line.come(2500, late=late, second=0.2)
    line.climb.turn()
    assert line.level() == line.level("older") == "partial"
    assert (line.rung().kind, line.rung().why) == ("stay", why), line.rung().reason


def test_truth_that_comes_late_earns_full_once_it_is_there(climbing: Make) -> None:
    line = climbing(level="partial", older="partial", automation=FULL)
    at_partial(line)
    line.come(2500, late=("audited", "deferred"))
    line.climb.turn()
    assert line.rung().why == "labels" and line.level() == "partial"
    line.tell()
    line.climb.turn()
    assert line.rung("*").kind == "promote" and line.level() == "full"
