"""The way up the levels: what a charter may say of it, and what is refused."""

from __future__ import annotations

import pytest

from andon.errors import CharterError
from andon.scope.charter import parse
from andon.scope.checklist import doubts

SMALL = "project: line\ninputs: {a: float}\ntarget: {name: y, classes: [good, bad]}\nsafe_default: refer\n"


def test_the_defaults_suggest_every_level_in_its_turn() -> None:
    said = parse(SMALL).automation
    assert said.path == ("human", "shadow", "assist", "partial", "full")
    assert (said.promote, said.highest) == ("suggest", "partial")


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            "path: [partial, shadow]",
            "automation.path: expected levels in the order human, shadow, assist, partial, full",
        ),
        ("path: [shadow, shadow]", "each once, found shadow, shadow"),
        ("path: []", "automation.path"),
        ("path: [shadow, partly]", "automation.path"),
        ("promote: often", "automation.promote"),
        ("promote: automatic, path: [shadow, assist]", "automation.highest: expected a level of automation.path"),
        (
            "promote: automatic, partial: {audit_share: 0}",
            "automation.partial.audit_share: with promote automatic up to",
        ),
    ],
)
def test_what_makes_no_sense_is_said(keys: str, sentence: str) -> None:
    with pytest.raises(CharterError) as error:
        parse(SMALL + f"automation: {{{keys}}}")
    assert sentence in " ".join(error.value.faults)


@pytest.mark.parametrize(
    "keys",
    [
        "path: [shadow, assist]",
        "promote: suggest, partial: {audit_share: 0}",
        "promote: automatic, highest: assist, partial: {audit_share: 0}",
        "promote: automatic, highest: full, partial: {audit_share: 0.0001}",
        "promote: automatic, path: [shadow, partial]",
    ],
)
def test_what_makes_sense_is_taken(keys: str) -> None:
    parse(SMALL + f"automation: {{{keys}}}")


@pytest.mark.parametrize(("level", "said"), [("full", True), ("partial", True), ("assist", False)])
def test_answers_that_nobody_looks_at_again_are_doubted(level: str, said: bool) -> None:
    found = doubts(parse(SMALL + f"automation: {{level: {level}, partial: {{audit_share: 0}}}}"))
    assert any(f"the answers at level {level} are wrong" in sentence for sentence in found) == said
    assert doubts(parse(SMALL + f"automation: {{level: {level}, partial: {{audit_share: 0.001}}}}")) == []


@pytest.mark.parametrize(
    ("delay", "keys", "said"),
    [
        ("27d", "", ""),
        ("4w", "", "automation.partial.evidence: 28d are not longer than target.delay (28d)"),
        ("2d", "checklist: {logging: {retain_days: 30}}", ""),
        (
            "2d",
            "checklist: {logging: {retain_days: 29}}",
            "retain_days: 29 days are shorter than target.delay (2d) and",
        ),
        ("0s", "checklist: {logging: {retain_days: 27}}", "shorter than automation.partial.evidence (28d): cases are"),
        ("2d", "rollout: {bake: 363d}", ""),
        ("2d", "rollout: {bake: 364d}", "retain_days: 365 days are shorter than target.delay (2d) and rollout.bake"),
    ],
)
def test_times_that_are_too_short_for_labels_that_come_late_are_doubted(delay: str, keys: str, said: str) -> None:
    found = doubts(parse(SMALL.replace("bad]", f"bad], delay: {delay}") + keys))
    assert len(found) == bool(said) and all(said in sentence for sentence in found)
