"""What is said of an automatic rollout: what is known in each state, who can do what, and no more than was decided."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace
from tests.board.courses import COURSES, LONG, Courses

from andon.core.record import Route
from andon.deploy.rollout_record import ENDED, Plan, Rollout, State
from andon.surface.view.deploy_rollout_words import lamp_of, next_of, outlook, way_back, word_of

PLAN = Plan("v2", "v1", ("canary", "live"), ("nulls",))
ROUTE = Route(1, 0, 0, "ann", "begin", "", live="v1")
#: Words that a page may say of a release only once a verdict is there.
CLEARED = re.compile(r"\bsafe to\b|\bis safe\b|cleared|proven safe", re.IGNORECASE)


@pytest.mark.parametrize("state", get_args(State))
def test_every_state_has_a_lamp_a_word_and_says_who_can_do_what(state: State) -> None:
    assert lamp_of(state) in ("good", "look", "stop", "idle") and "_" not in word_of(state, "no_data")
    assert next_of(state, "") or state in ENDED
    assert state not in ("draft", "preflight", "superseded") or lamp_of(state) == "idle"


@pytest.mark.parametrize(
    "reason", ["no_data", "dependency", "human_gate", "label_lag", "inconclusive", "capacity", "new"]
)
def test_every_reason_to_hold_says_what_ends_it(reason: str) -> None:
    for may_keep in (False, True):
        told = next_of("hold", reason, may_keep=may_keep)
        assert told.endswith((".", "back.")) and ("to keep it" in told) == may_keep


def test_the_way_back_takes_back_this_version_and_no_other() -> None:
    rollout = Rollout("v2#1", PLAN, "canary", "canary")
    assert way_back(rollout, ROUTE) == "" and way_back(rollout, None) == "", (
        "v2 answers nothing: a rollback would take v1 back"
    )
    assert way_back(rollout, replace(ROUTE, shadows=("v2",))) == "deploy.unshadow"
    assert way_back(rollout, replace(ROUTE, candidate="v2", share=0.1)) == "deploy.rollback"
    assert way_back(rollout, replace(ROUTE, live="v2")) == "deploy.rollback"
    assert way_back(replace(rollout, state="settled"), replace(ROUTE, live="v2")) == ""
    held = replace(ROUTE, candidate="v2", share=0.1, held=True)
    assert outlook(rollout, None, held, 0).held and not outlook(rollout, None, replace(held, candidate="v3"), 0).held


def looked(yard: Courses) -> tuple[str, str, dict[str, Any]]:
    person = yard.person("otto", "owner")
    page = person.page("/deploy/rollout")
    body = re.sub(r"<(script|style|head).*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", body))), page, person.twin("/deploy/rollout")


def agree(name: str, root: Path) -> None:
    """One state: the page says what its JSON says, and claims nothing that was not decided."""
    yard = COURSES[name](root)
    text, page, twin = looked(yard)
    found = twin["found"]
    if found is None:
        assert "No release was rolled out by evidence yet" in text
        yard.close()
        return
    assert twin["word"] in text and found["sentence"].replace("`", "") in text
    assert twin["outlook"]["next"].replace("`", "") in text
    assert all(one.replace("`", "") in text for one in found["missing"])
    if found["state"] in ("frozen", "rolling_back", "draft", "preflight"):
        assert twin["outlook"]["eta_us"] is None and "Not before" not in text
    if found["state"] == "rolling_back":
        assert found["missing"] == ["the line: the next look sees who answers"], "evidence has nothing to say any more"
    assert ("not to be trusted" in text) == (twin["outlook"]["split"] == "broken")
    if any(one["said"] == "harm" for one in found["guardrails"]):
        assert twin["outlook"]["eta_us"] is None
    assert ("no unit was assigned yet" in text) == (not any(found["units"])) == (twin["outlook"]["split"] == "unknown")
    assert ("/act/deploy/rollback" in page) == (twin["outlook"]["way_back"] == "deploy.rollback")
    safe = all(one["said"] == "safe" for one in found["guardrails"]) and found["guardrails"]
    settled = found["state"] == "settled"
    text = text.replace("safe, not to be trusted", "")
    rest = text.replace("that it is safe", "").replace(found["sentence"], "")
    assert safe or settled or not CLEARED.search(rest), CLEARED.findall(rest)
    yard.close()


@pytest.mark.parametrize("name", ["draft", "shadow", "hold_human_gate", "frozen_srm", "rolling_back"])
def test_the_page_says_what_its_json_says(name: str, tmp_path: Path) -> None:
    agree(name, tmp_path / "yard")


@pytest.mark.slow
@pytest.mark.parametrize("name", COURSES)
def test_the_page_says_what_its_json_says_in_every_state(name: str, tmp_path: Path) -> None:
    agree(name, tmp_path / "yard")


def test_long_names_and_figures_stay_whole(tmp_path: Path) -> None:
    yard = COURSES["long"](tmp_path / "yard")
    text, _, twin = looked(yard)
    assert twin["found"]["version"] == LONG and len(LONG) == 60 and f"Rollout {LONG}#1" in text
    assert "in the metric’s own unit" in text
    yard.close()
