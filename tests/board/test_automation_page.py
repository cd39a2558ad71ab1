"""The Automation page: one dial for each slice, its risk-coverage curve, and the way to the command that turns it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.board.deploying import CHARTER, Yard, waiting

from andon.core.clock import DAY
from andon.core.record import Level, Route
from andon.deploy.automation import LEVELS, Threshold
from andon.deploy.ladder import Capacity, Facts, Rules, Rung, decide
from andon.measure.audit import audited
from andon.measure.estimate import wilson
from andon.measure.selective import clopper_pearson
from andon.scope.charter import parse
from andon.store.codec import DecisionRow
from andon.surface.page import Empty
from andon.surface.station import Known
from andon.surface.view.deploy_automation import AutomationView, automation_view
from andon.surface.view.deploy_dial import Dial, dial

LABELLED = 600
WORDS = {"human": "differ from people's", "external": "are wrong"}
#: Every case below this confidence is wrong in one of five, every other one right.
SURE = 0.7


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path / "yard")
    yield made
    made.close()


def look(yard: Yard) -> AutomationView:
    """The page's view."""
    return automation_view(yard.visit(), Empty())


def cases(yard: Yard, n: int = LABELLED, slice: str = "*", age: int = 41, sign: str = "c") -> list[tuple[float, bool]]:
    """Cases that people decide at level shadow, with what v1 says of them and what turned out: (confidence, right)."""
    found = [(0.4 + 0.6 * number / n, number % 5 > 0 or 0.4 + 0.6 * number / n >= SURE) for number in range(n)]
    rows: list[DecisionRow] = [
        waiting(f"{sign}{number}", slice=slice, suggestion="accept", confidence=confidence, epoch=1)
        for number, (confidence, _) in enumerate(found)
    ]
    yard.decide(*rows, x=(age, "South"))
    yard.label({f"{sign}{number}": "accept" if right else "reject" for number, (_, right) in enumerate(found)})
    yard.clock.advance(2 * DAY / 1e6)
    return found


def test_before_anything_was_deployed_it_says_what_comes_first(yard: Yard) -> None:
    view = look(yard)
    [one] = view.dials
    assert (view.begun, one.title, one.rung.level, one.rung.why) == (False, "all cases", "shadow", "release")
    assert [stop.place for stop in one.stops] == ["passed", "here", "ahead", "ahead", "ahead"]
    assert one.picture is None and "no release" in one.why and "andon release" in one.missing
    assert yard.workspace.routes.current() is None
    page = yard.person("vera", "viewer").page("/automation")
    assert "nothing was deployed yet" in page and "No curve yet: no release is on the line to draw it of." in page
    assert "/act/automate" not in page


def test_the_curve_is_that_of_the_labelled_cases_and_looking_learns_nothing(yard: Yard) -> None:
    yard.line.switch("v1")
    said = cases(yard)
    before = yard.state()
    [one] = look(yard).dials
    assert yard.state() == before
    picture = one.picture
    assert picture is not None and (picture.n, picture.source) == (LABELLED, "labelled cases in production")
    confidence, right = np.array([c for c, _ in said]), np.array([r for _, r in said])
    for spot in picture.spots:
        inside = confidence >= spot.threshold
        wrong = int((~right[inside]).sum())
        assert (spot.coverage, spot.risk) == pytest.approx((inside.mean(), wrong / inside.sum()))
        assert (spot.low, spot.high) == pytest.approx([float(end) for end in clopper_pearson(wrong, inside.sum())])
    assert picture.spots[0].coverage * LABELLED >= 50, "fewer cases than 1 / max_error are no picture"
    assert picture.whole.coverage == 1.0 and picture.whole.risk.value == pytest.approx((~right).mean())
    assert picture.now is None and one.rung.why == "labels"


def test_the_threshold_in_force_is_pointed_out_with_what_it_decides(yard: Yard) -> None:
    yard.line.switch("v1")
    cases(yard)
    yard.line.automate("partial", actor="olga")
    threshold = yard.route.thresholds["v1/*"]
    [one] = look(yard).dials
    assert one.picture is not None and one.picture.now is not None
    now = one.picture.now
    assert now.threshold == threshold and now.accepted == now.risk.n > 149
    assert now.errors == 0 and now.risk.high is not None and now.risk.high < 0.03
    page = yard.person("otto", "owner").page("/automation")
    assert f"now ≥ {threshold:.3g}" in page and f"from a confidence of {threshold:.4g} on" in page
    assert re.search(r'<svg class="chart[^"]*"[^>]*aria-label="Share wrong among automatic answers', page)
    assert 'class="band machine"' in page
    twin = yard.person("pia", "viewer").twin("/automation")
    assert twin["dials"][0]["picture"]["now"]["accepted"] == now.accepted
    assert twin["dials"][0]["rung"]["level"] == "partial" and twin["max_error"] == 0.02


def test_each_slice_has_its_own_dial_and_curve(yard: Yard) -> None:
    yard.line.switch("v1")
    yard.line.automate("assist", "older")
    cases(yard, 300, "older", age=70, sign="o")
    cases(yard, 200, age=30, sign="y")
    view = look(yard)
    older, rest = view.dials
    assert (older.title, older.predicate, older.rung.level) == ("older", "age >= 60", "assist")
    assert (rest.title, rest.predicate, rest.rung.level) == ("all other cases", None, "shadow")
    assert [one.picture and one.picture.n for one in view.dials] == [300, 200]
    assert view.free == ("north",)
    page = yard.person("otto", "owner").page("/automation")
    assert "<option>north</option>" in page and "Another slice" in page
    assert "level=partial&amp;slice=older&amp;next=/automation" in page


def test_the_dial_leads_to_the_commands_own_question(yard: Yard) -> None:
    yard.line.switch("v1")
    otto = yard.person("otto", "owner")
    page = otto.page("/automation")
    asked = otto.page("/act/automate?level=assist&slice=*&next=/automation")
    assert "Level assist for all other cases?" in asked
    answer = otto.press("automate", "/act/automate?level=assist&slice=*&next=/automation", reason="they asked for it")
    assert answer.status_code == 303 and answer.headers["location"] == "/automation"
    assert yard.route.levels == {"*": "assist"}
    assert page.count('aria-current="step"') == 1
    assert "/act/automate" not in yard.person("vera", "viewer").page("/automation")


def test_with_the_database_gone_the_levels_are_there(yard: Yard) -> None:
    yard.line.switch("v1")
    yard.line.automate("assist")
    with yard.gone():
        view = look(yard)
        [one] = view.dials
        assert view.trouble and (one.rung.level, one.state, one.picture) == ("assist", "idle", None)
        assert "cannot be read now" in one.rung.reason and "cannot be read now" in view.sentence


def test_what_the_charter_leaves_out_is_left_out_here(tmp_path: Path) -> None:
    limited = CHARTER.replace("{level: shadow,", "{level: shadow, path: [shadow, partial],")
    yard = Yard(tmp_path / "yard", limited.replace("confidence: 0.95", "confidence: 0.95, only: [reject]"))
    yard.line.switch("v1")
    cases(yard)
    [one] = look(yard).dials
    assert one.picture is None and "no case" in one.why
    assert [stop.level for stop in one.stops if not stop.listed] == ["human", "assist", "full"]
    page = yard.person("vera", "viewer").page("/automation")
    assert "only reject may be automatic" in page and "left out" in page
    assert f"2 %</strong> {WORDS[yard.project.charter.target.truth]}, with 95 % confidence" in unescape(page)
    yard.close()
    other = {"human": "external", "external": "human"}[yard.project.charter.target.truth]
    yard = Yard(tmp_path / "other", CHARTER.replace("reject]}", f"reject], truth: {other}}}"))
    page = unescape(yard.person("vera", "viewer").page("/automation"))
    assert f"2 %</strong> {WORDS[other]}, with 95 % confidence" in page
    yard.close()


# ------------------------------------------------------------------------------------------------- what a rung says


def said(rung: Rung) -> Dial:
    """The dial of a rung of which no case is known."""
    return dial(rung, RULED, ROUTE, None, Known())


def rung(level: Level = "shadow", rules: Rules = Rules(), **facts: Any) -> Rung:
    return decide(rules, Facts("*", level, "v1", **facts))


RULED = parse(CHARTER)
ROUTE = Route(1, 0, 0, "ann", "begin", "", live="v1")
FEW = audited([False] * 20, [0.1] * 20, 0.02)
LEARNT = Threshold(0.9, 0.6, 1000, 600, 2, 0.02, 0.05, "2 of 600 accepted answers were wrong")


def test_what_is_missing_is_one_sentence_for_every_reason() -> None:
    bad = audited([True] * 30 + [False] * 70, [0.1] * 100, 0.02)
    good = audited([False] * 900, [0.1] * 900, 0.02)
    crowd = Capacity(100.0, 0.35, 0.0, 0.3)
    told = {
        "labels": rung(labels=20, per_hour=2.0),
        "learnt": rung(learnt=LEARNT),
        "capacity": rung("assist", learnt=LEARNT, capacity=crowd),
        "breach": rung("full", audit=bad),
        "top": rung("full", audit=good),
        "only": rung("partial", Rules(limited=True), threshold=0.9, audit=good, whole=good),
        "people": rung("partial", threshold=0.9, whole=good, human=wilson(2, 900), model=wilson(40, 900)),
        "bare": rung("partial", audit=good, whole=FEW),
        "automatic": rung(rules=Rules(promote="automatic"), learnt=LEARNT),
        "release": decide(Rules(), Facts("*", "shadow")),
        "bad": rung(learnt=msgspec.structs.replace(LEARNT, value=None, coverage=0.0)),
    }
    found = {name: said(one) for name, one in told.items()}
    assert len({one.missing for one in found.values()}) == len(found)
    for one in found.values():
        assert one.missing.endswith(".") and one.word and not one.missing[0].islower()
    assert "more cases with a known truth" in found["labels"].missing and "days at today" in found["labels"].missing
    assert [stop.level for stop in found["learnt"].stops if stop.place == "next"] == ["assist"]
    assert (found["breach"].state, found["learnt"].state, found["capacity"].state) == ("stop", "look", "look")
    assert found["bad"].word == "errs too often" and "A better model" in found["bad"].missing
    assert found["people"].errs_less == "people" and found["learnt"].errs_less == ""
    assert "who can decide 30 %" in found["capacity"].work and "35 % of them wait" in found["capacity"].work
    assert "No case came in the last day" in found["labels"].work


@pytest.mark.parametrize("level", LEVELS)
def test_the_dial_has_five_stops_of_which_one_is_here(level: Level) -> None:
    stops = said(rung(level)).stops
    assert [stop.level for stop in stops] == list(LEVELS)
    assert [stop.level for stop in stops if stop.place == "here"] == [level]
    assert said(rung(level)).word
