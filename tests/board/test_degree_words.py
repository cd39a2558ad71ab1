"""What is said of a degree of automation: in no state more than was decided, and the same on the page and as JSON."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.board.degrees import BROKEN, FEW, KEEPS, LEARNT, STATES, SURE, Degrees, charter

from andon.core.record import Level, Route
from andon.deploy.automation import LEVELS, Threshold
from andon.deploy.ladder import Facts, Rules, Rung, decide, rules_of
from andon.deploy.ladder_words import as_people
from andon.measure.audit import Audited
from andon.measure.estimate import wilson
from andon.scope.charter import Charter, parse
from andon.surface.view import deploy_dial_words as words

ROUTE = Route(1, 0, 0, "ann", "begin", "", live="v1")
EXTERNAL, PEOPLE = parse(charter()), parse(charter("human"))
TOP = "path: [human, shadow, assist, partial]"
WHOLE = Audited(0.02, 400, 5, wilson(5, 400), log_kept=1.0, worth=40.0)
NOTHING = Threshold(
    None,
    0.0,
    900,
    0,
    0,
    0.02,
    0.05,
    "none of 900 labelled answers is automatic: at no confidence is the error seen below 0.02",
)


def rung(level: Level, rules: Charter | Rules = EXTERNAL, **facts: Any) -> Rung:
    return decide(
        rules if isinstance(rules, Rules) else rules_of(rules), Facts("*", level, **{"version": "v1", **facts})
    )


@pytest.mark.parametrize("text", [charter(automation=TOP), charter("human", automation=TOP), charter()])
def test_partial_without_a_threshold_is_not_as_high_as_it_goes(text: str) -> None:
    said = parse(text)
    bare, sure = (rung("partial", said, threshold=at) for at in (None, SURE))
    assert words.lamp_of(bare, said, ROUTE) == ("look", "nothing is automatic")
    assert words.now_does(bare, ROUTE).endswith("so people decide everything")
    assert words.automatic(bare, said, ROUTE).startswith("none: ")
    assert words.missing(bare, said, ROUTE).startswith("A threshold")
    assert words.lamp_of(sure, said, ROUTE)[1] != "nothing is automatic"
    assert words.automatic(sure, said, ROUTE) == f"from a confidence of {SURE} on"
    aside = replace(ROUTE, candidate="v2", share=0.1, thresholds={"v2/*": 0.8})
    assert words.automatic(bare, said, aside) == "only a candidate's"


def test_what_makes_a_threshold_is_what_would_make_one() -> None:
    assert "`andon automate partial`" in words.missing(rung("partial"), EXTERNAL, ROUTE)
    assert "level shadow" in words.missing(rung("partial", PEOPLE), PEOPLE, ROUTE)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stopped", ["people", "safe_default"])
def test_a_stopped_line_decides_nothing_whatever_its_levels(level: Level, stopped: Any) -> None:
    route = replace(ROUTE, stopped=stopped, safe_default="refer")
    one = rung(level, threshold=SURE)
    assert words.now_does(one, route).startswith("the line is stopped")
    assert ("refer" in words.now_does(one, route)) == (stopped == "safe_default")
    assert words.automatic(one, EXTERNAL, route).startswith("none")
    assert words.lamp_of(one, EXTERNAL, route)[0] in ("idle", "look")


@pytest.mark.parametrize("level", ["assist", "partial", "full"])
def test_where_no_version_is_live_no_level_decides(level: Level) -> None:
    route, one = replace(ROUTE, live=None), rung(level, version=None)
    assert words.now_does(one, route) == "no version is live, so people decide everything"
    assert words.automatic(one, EXTERNAL, route).startswith("none")
    assert words.lamp_of(one, EXTERNAL, route) == ("idle", "no version is live")
    assert "andon release" in one.reason or one.why == "top"
    shadow = rung("shadow", version=None)
    assert words.now_does(shadow, route) == "people decide; there is no model on the line to ask"
    assert words.now_does(shadow, replace(route, shadows=("v1",))) == words.DOES["shadow"]


HUMAN_FACTS: dict[str, tuple[Level, dict[str, Any]]] = {
    "few": ("shadow", {"labels": 57}),
    "due": ("shadow", {"labels": 5000}),
    "none": ("shadow", {"learnt": NOTHING}),
    "more": ("shadow", {"learnt": replace(NOTHING, labels_needed=1200, reason="900 labelled answers cannot show an error of at most 0.02 with 0.95 confidence; about 1200 would, if the errors stay as seen")}),
    "learnt": ("shadow", {"learnt": LEARNT}),
    "broken": ("full", {"audit": BROKEN}),
    "fallback": ("full", {"audit": BROKEN, "fallback": LEARNT}),
    "kept": ("partial", {"whole": KEEPS, "threshold": SURE}),
    "not yet": ("partial", {"whole": WHOLE, "threshold": SURE}),
    "unjudged": ("partial", {"whole": replace(WHOLE, missing=900), "threshold": SURE}),
    "no judge": ("partial", {"threshold": SURE}),
    "full": ("full", {"audit": KEEPS}),
}  # fmt: skip
#: Nobody knows whether an answer is wrong, or what is true, where people are the truth.
CLAIMS = re.compile(r"\b(wrong|errors?|errs|known truth)\b")


@pytest.mark.parametrize("name", HUMAN_FACTS)
def test_where_people_are_the_truth_nothing_is_called_wrong(name: str) -> None:
    level, facts = HUMAN_FACTS[name]
    one = rung(level, PEOPLE, **facts)
    said = [
        one.reason,
        *words.lamp_of(one, PEOPLE, ROUTE),
        words.missing(one, PEOPLE, ROUTE),
        words.counted(one, PEOPLE),
    ]
    assert not [text for text in said if CLAIMS.search(text)]
    outside = rung(level, EXTERNAL, **facts)
    assert "people's" not in outside.reason and "people answer" not in words.missing(outside, EXTERNAL, ROUTE)
    assert as_people(as_people(outside.reason)) == as_people(outside.reason)


def test_what_is_counted_is_what_the_step_is_decided_from() -> None:
    audited = rung("full", audit=KEEPS, drawn=1000, labels=0)
    assert audited.labels == 900 and "900 answers judged" in words.counted(audited, EXTERNAL)
    assert "1,000 automatic answers drawn" in words.counted(audited, EXTERNAL)
    partial = rung("partial", whole=WHOLE, audit=KEEPS, threshold=SURE, per_hour=10.0)
    assert partial.labels == 400 and partial.labels_needed is not None
    assert partial.eta_hours == (partial.labels_needed - 400) / 10.0
    assert words.counted(rung("shadow", labels=1), EXTERNAL) == "1 of about 183 cases with a known truth"
    assert words.counted(rung("shadow", labels=1), PEOPLE).endswith("that people answered")
    assert words.counted(rung("human"), EXTERNAL) == ""


def test_what_keeps_full_from_being_shown_is_named() -> None:
    seen, alone = parse(charter("human", blind="false")), parse(charter(audit_share="0"))
    for said, word, told in (
        (seen, "people see its answer", "blind: true"),
        (alone, "nothing is audited", "audit_share"),
    ):
        one = rung("partial", said, whole=replace(WHOLE, worth=0.0), threshold=SURE)
        assert (one.why, words.lamp_of(one, said, ROUTE)) == ("unjudged", ("idle", word))
        assert told in words.missing(one, said, ROUTE)


@pytest.mark.parametrize("level", ["partial", "full"])
def test_audits_that_nobody_does_are_no_good_sign(level: Level) -> None:
    one = rung(level, audit=KEEPS, drawn=1000, overdue=40, threshold=SURE)
    assert words.lamp_of(one, EXTERNAL, ROUTE) == ("look", "audits nobody does")
    assert "40 answers waited too long" in words.missing(one, EXTERNAL, ROUTE)


def test_only_what_evidence_shows_is_called_ready() -> None:
    assert words.lamp_of(rung("human"), EXTERNAL, ROUTE) == ("look", "shadow is possible")
    assert words.lamp_of(rung("shadow", learnt=LEARNT), EXTERNAL, ROUTE) == ("look", "ready for assist")


def test_what_comes_to_people_is_in_cases_an_hour() -> None:
    assert words.work(rung("shadow", capacity=FEW)).startswith("About 0.04 cases an hour come, 100 % of them wait")
    assert "No case came in the last day" in words.work(rung("shadow"))


# ------------------------------------------------------------------------------------------------------ the whole page


def looked(yard: Degrees) -> tuple[str, dict[str, Any]]:
    person = yard.person("otto", "owner")
    page = re.sub(r"<(script|style|head).*?</\1>", "", person.page("/automation"), flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", page))), person.twin("/automation")


def agree(name: str, root: Path) -> None:
    """One state: the page says what its JSON says, and claims nothing that the state is not."""
    yard = STATES[name](root)
    text, twin = looked(yard)
    human, stopped = twin["truth"] == "human", bool(twin["stop"])
    assert (human, stopped) == ("differ from people's" in text, "The line is stopped:" in text)
    for one in twin["dials"]:
        for said in (one["word"], one["now"], one["automatic"], one["counted"], one["missing"], one["work"]):
            assert said.replace("`", "") in text, (name, said)
        rung = one["rung"]
        nothing = rung["level"] == "partial" and rung["threshold"] is None
        assert not nothing or one["automatic"].startswith("none")
        assert one["state"] != "good" or not (nothing or stopped)
    if human:
        assert not re.search(r"\b(is|are|be) wrong\b|share wrong|known truth", text), name
    yard.close()


@pytest.mark.parametrize("name", ["partial_bare", "partial_people", "stopped_default", "full_broken_people"])
def test_the_page_says_what_its_json_says(name: str, tmp_path: Path) -> None:
    agree(name, tmp_path / "yard")


@pytest.mark.slow
@pytest.mark.parametrize("name", STATES)
def test_the_page_says_what_its_json_says_in_every_state(name: str, tmp_path: Path) -> None:
    agree(name, tmp_path / "yard")


def test_with_the_database_gone_a_threshold_in_force_is_still_told(tmp_path: Path) -> None:
    yard = STATES["partial_top"](tmp_path / "yard")
    with yard.gone():
        text, twin = looked(yard)
    [one] = twin["dials"]
    assert one["rung"]["threshold"] == SURE and f"from a confidence of {SURE} on" in text
    assert one["rung"]["error"]["reason"] == "not known now" and json.dumps(twin).count("was audited yet") == 0
    yard.close()


def test_that_nobody_watches_is_said(tmp_path: Path) -> None:
    yard = STATES["partial_broken"](tmp_path / "yard")
    text, twin = looked(yard)
    assert twin["controller"] == "none" and "No controller leads: nothing is lowered or raised by itself" in text
    yard.close()
