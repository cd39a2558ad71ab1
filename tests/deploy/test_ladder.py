"""Degrees of automation, decided purely: a table, the bounds at their edges, and what holds whatever is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from andon.core.record import Level
from andon.deploy.automation import LEVELS, Threshold
from andon.deploy.ladder import Facts, Rules, Rung, decide, fewest, lower, next_up, room_for, rules_of
from andon.measure.audit import Audited, audited
from andon.measure.estimate import Estimate, wilson
from andon.scope.charter import parse

RULES = Rules()
BAD = audited([True] * 30 + [False] * 70, [0.1] * 100, 0.02)
GOOD = audited([False] * 1500, [0.1] * 1500, 0.02)
FEW = audited([False] * 20, [0.1] * 20, 0.02)
FOUND = Threshold(0.9, 0.6, 1000, 600, 3, 0.02, 0.025, "3 of 600 accepted answers were wrong")
NONE = Threshold(None, 0.0, 200, 0, 0, 0.02, 0.025, "200 labelled answers cannot show it", 320)


def facts(level: Level, **more: Any) -> Facts:
    return Facts("older", level, **{"version": "v1", **more})


TABLE = [
    # level, what is known, (kind, to, why)
    ("human", {}, ("promote", "shadow", "watch")),
    ("human", {"version": None}, ("stay", None, "release")),
    ("shadow", {}, ("stay", None, "labels")),
    ("shadow", {"learnt": NONE}, ("stay", None, "labels")),
    ("shadow", {"learnt": FOUND}, ("promote", "assist", "earned")),
    ("assist", {"learnt": FOUND}, ("promote", "partial", "earned")),
    ("assist", {"learnt": FOUND, "capacity": room_for(100, 0.39, 0, 49)}, ("stay", None, "capacity")),
    ("assist", {"learnt": FOUND, "capacity": room_for(100, 0.4, 0, 49)}, ("promote", "partial", "earned")),
    ("assist", {"learnt": FOUND, "capacity": room_for(100, None, 0, 49)}, ("promote", "partial", "earned")),
    ("shadow", {"learnt": FOUND, "capacity": room_for(100, 1.0, 0, 1)}, ("promote", "assist", "earned")),
    ("partial", {}, ("stay", None, "labels")),
    ("partial", {"audit": FEW, "whole": FEW}, ("stay", None, "evidence")),
    ("partial", {"audit": GOOD, "whole": GOOD}, ("promote", "full", "earned")),
    ("partial", {"audit": BAD, "whole": GOOD}, ("demote", "assist", "breach")),
    ("partial", {"whole": replace(FEW, missing=1)}, ("stay", None, "unjudged")),
    ("partial", {"whole": replace(FEW, n=49, missing=1)}, ("stay", None, "evidence")),
    ("partial", {"whole": replace(GOOD, missing=900)}, ("promote", "full", "earned")),
    ("partial", {"whole": replace(FEW, worth=0.0)}, ("stay", None, "unjudged")),
    ("full", {"audit": GOOD}, ("stay", None, "top")),
    ("full", {"audit": BAD}, ("demote", "assist", "breach")),
    ("full", {"audit": BAD, "fallback": FOUND}, ("demote", "partial", "breach")),
    ("full", {"audit": BAD, "fallback": NONE}, ("demote", "assist", "breach")),
    ("partial", {"audit": BAD, "fallback": FOUND}, ("demote", "assist", "breach")),
    (
        "partial",
        {"whole": GOOD, "human": wilson(2, 1000), "model": wilson(60, 1000)},
        ("stay", None, "people"),
    ),
    (
        "partial",
        {"whole": GOOD, "human": wilson(60, 1000), "model": wilson(2, 1000)},
        ("promote", "full", "earned"),
    ),
]


@pytest.mark.parametrize(("level", "more", "expected"), TABLE)
def test_the_table(level: Level, more: dict[str, Any], expected: tuple[str, Level | None, str]) -> None:
    rung = decide(RULES, facts(level, **more))
    assert (rung.kind, rung.to, rung.why) == expected
    assert rung.reason and not rung.reason.endswith(".") and not rung.automatic


def test_a_breach_says_what_was_seen_and_where_it_goes() -> None:
    rung = decide(RULES, facts("full", audit=BAD, fallback=FOUND))
    assert rung.reason == (
        "more automatic answers are wrong than the 0.02 promised: of the last 100 audited automatic answers, "
        f"30 % ({BAD.error.low * 100:.3g} to {BAD.error.high * 100:.3g}) wrong; from a confidence of 0.9 on it keeps the "  # type: ignore[operator]
        "promise (3 of 600 accepted answers were wrong)"
    )
    assert (rung.threshold, rung.coverage) == (0.9, 0.6) and rung.evidence >= rung.breach_at == -math.log(0.05)
    assert decide(RULES, facts("partial", audit=BAD)).reason.endswith("wrong; people decide again")


def test_the_evidence_of_a_breach_at_its_edge() -> None:
    def at(log: float) -> Rung:
        return decide(RULES, facts("full", audit=Audited(0.02, 9, 9, BAD.error, log_breach=log)))

    assert at(-math.log(0.05)).kind == "demote" and at(math.nextafter(-math.log(0.05), 0.0)).kind == "stay"


def test_capacity_at_its_edge() -> None:
    """40 % of 100 cases an hour would be deferred, 30 % are, 20 come from elsewhere: 60 are 0.8 times 75, exactly."""

    def at(reviewers: float) -> Rung:
        return decide(RULES, facts("assist", learnt=FOUND, capacity=room_for(100.0, 0.3, 20.0, reviewers)))

    assert at(75.0).to == "partial" and at(75.0).capacity.allowed == pytest.approx(0.4)
    short = at(74.99)
    assert (short.kind, short.why, short.threshold) == ("stay", "capacity", 0.9)  # never loosened to fit
    assert "60 cases an hour would be left to people" in short.reason and "75 would be enough" in short.reason
    less = decide(RULES, facts("assist", learnt=FOUND, capacity=room_for(100.0, 1.0, 20.0, 74.99)))
    assert less.to == "partial" and less.reason.endswith("75 would be enough, and no fewer are left to them as it is")
    assert room_for(100.0, 1.0, 0.0, None).allowed is None and room_for(0.0, None, 5.0, 1.0).allowed is None
    assert room_for(100.0, 1.0, 500.0, 10.0).allowed == 0.0 and room_for(1.0, 1.0, 0.0, 10.0).allowed == 1.0


def test_what_is_missing_is_counted_and_when_it_comes() -> None:
    rung = decide(RULES, facts("shadow", learnt=NONE, labels=200, per_hour=12.0))
    assert (rung.labels, rung.labels_needed, rung.eta_hours) == (200, 320, 10.0)
    first = decide(RULES, facts("shadow", labels=40))
    assert (first.labels_needed, first.eta_hours) == (183, None) and "40 cases" in first.reason
    assert fewest(0.02, 0.05) == 183
    waits = decide(RULES, facts("partial", whole=FEW))
    assert waits.labels == 20 and waits.labels_needed is not None and waits.labels_needed > 300
    tenth = decide(RULES, facts("partial", whole=replace(FEW, worth=2.0))).labels_needed
    assert tenth is not None and tenth > 9 * waits.labels_needed, "a case looked at for certain counts as a tenth"


def test_what_the_machine_may_do_by_itself() -> None:
    ready = facts("assist", learnt=FOUND)
    assert "automation.promote" in decide(RULES, ready).held
    free = Rules(promote="automatic")
    assert decide(free, ready).automatic and decide(free, ready).held == ""
    assert "ann lowered it" in decide(free, facts("assist", learnt=FOUND, lowered_by="ann")).held
    assert decide(free, facts("assist", learnt=FOUND, busy="v2 is on its way")).held == "v2 is on its way"
    top = decide(free, facts("partial", whole=GOOD))
    assert (top.to, top.automatic) == ("full", False) and "automation.highest" in top.held
    assert decide(Rules(promote="automatic", highest="full"), facts("partial", whole=GOOD)).automatic
    capped = decide(free, facts("assist", learnt=FOUND, cap="assist"))
    assert (capped.to, capped.automatic) == ("partial", False) and "automation.slices" in capped.held
    assert decide(free, facts("assist", learnt=FOUND, cap="partial")).automatic


def test_where_people_are_the_truth_agreement_alone_raises_nothing_by_itself() -> None:
    people = Rules(promote="automatic", highest="full", truth="human")
    for held in (facts("assist", learnt=FOUND), facts("partial", whole=GOOD)):
        rung = decide(people, held)
        assert rung.kind == "promote" and not rung.automatic and "review.double_share" in rung.held
        assert decide(people, replace(held, human=wilson(0, 189), model=wilson(0, 189))).automatic
        for few in (wilson(0, 1), wilson(0, 188), wilson(3, 100), Estimate(0.0, None, None, 500, "t")):
            rung = decide(people, replace(held, human=few))
            assert rung.kind == "promote" and not rung.automatic and "review.double_share" in rung.held
    lax = Rules(promote="automatic", highest="full", truth="human", max_error=0.2)
    least = [decide(lax, facts("assist", learnt=FOUND, human=wilson(0, n))) for n in (29, 30)]
    assert [one.automatic for one in least] == [False, True] and "29 second looks are too few" in least[0].held
    assert decide(people, facts("shadow", learnt=FOUND)).automatic, "at assist people still decide"
    assert "differed from people's" in decide(people, facts("partial", whole=GOOD)).reason
    broken = decide(people, facts("full", audit=BAD)).reason
    assert broken.startswith("more automatic answers differ from people's than the 0.02 promised: of the last 100")


def test_labels_that_are_enough_wait_for_the_controller() -> None:
    waits = decide(RULES, facts("shadow", labels=5000, look_at=7500))
    assert "the controller looks at 7500" in waits.reason and waits.labels_needed == 7500
    enough = decide(RULES, facts("shadow", labels=7500, look_at=7500))
    assert "enough for a look" in enough.reason and enough.labels_needed == 7500


def test_only_some_labels_end_at_partial_and_a_path_may_leave_out_levels() -> None:
    assert decide(Rules(limited=True), facts("partial", whole=GOOD)).why == "only"
    assert decide(Rules(seen=True), facts("partial", whole=GOOD)).why == "unjudged"
    blind = Rules(path=("human", "shadow", "partial"))
    assert decide(blind, facts("shadow", learnt=FOUND)).to == "partial"
    assert decide(blind, facts("partial", audit=BAD)).to == "shadow"
    assert decide(blind, facts("full", audit=GOOD)).why == "top"
    assert decide(Rules(path=("shadow", "full")), facts("full", audit=BAD, fallback=FOUND)).to == "shadow"
    assert [next_up(LEVELS, level) for level in LEVELS] == ["shadow", "assist", "partial", "full", None]
    assert lower(("human",)) == "shadow"


def test_each_rise_to_full_asks_for_more() -> None:
    whole = Audited(0.02, 400, 0, wilson(0, 400), log_kept=-math.log(0.05 / 2))
    assert decide(RULES, facts("partial", whole=whole)).to == "full"
    again = decide(RULES, facts("partial", whole=whole, rises=1))
    assert again.why == "evidence"


def test_the_rules_of_a_charter() -> None:
    head = "project: p\ninputs: {a: float}\ntarget: {name: y, classes: [n, p]}\nsafe_default: n\n"
    plain = rules_of(parse(head))
    assert (plain.path, plain.promote, plain.highest, plain.limited) == (LEVELS, "suggest", "partial", False)
    more = rules_of(
        parse(
            head + "automation: {path: [shadow, partial], promote: automatic, partial: {only: [n], confidence: 0.9}}\n"
            "review: {reviewers_per_hour: 30}"
        )
    )
    assert (more.path, more.promote, more.limited, more.reviewers_per_hour) == (
        ("shadow", "partial"),
        "automatic",
        True,
        30,
    )
    assert more.delta == pytest.approx(0.1)
    seen = {
        (truth, blind): rules_of(
            parse(head.replace("[n, p]", f"[n, p], truth: {truth}") + f"automation: {{partial: {{blind: {blind}}}}}")
        ).seen
        for truth in ("human", "external")
        for blind in ("true", "false")
    }
    assert [pair for pair, found in seen.items() if found] == [("human", "false")]


ESTIMATES = st.one_of(st.none(), st.integers(0, 300).map(lambda k: wilson(k, 300)))
AUDITS = st.one_of(
    st.none(),
    st.builds(
        lambda wrong, breach, kept: Audited(0.02, 300, wrong, wilson(wrong, 300), breach, kept),
        st.integers(0, 300),
        st.floats(0, 8),
        st.floats(0, 8),
    ),
)
THRESHOLDS = st.sampled_from([None, FOUND, NONE])
FACTS = st.builds(
    Facts,
    slice=st.sampled_from(["*", "older"]),
    level=st.sampled_from(LEVELS),
    version=st.sampled_from([None, "v1"]),
    audit=AUDITS,
    whole=AUDITS,
    learnt=THRESHOLDS,
    fallback=THRESHOLDS,
    labels=st.integers(0, 1000),
    per_hour=st.floats(0, 100),
    capacity=st.builds(
        room_for, st.floats(0, 1000), st.none(), st.floats(0, 100), st.one_of(st.none(), st.floats(1, 1000))
    ),
    human=ESTIMATES,
    model=ESTIMATES,
    rises=st.integers(0, 3),
    lowered_by=st.sampled_from(["", "ann"]),
    busy=st.sampled_from(["", "the line is stopped"]),
    cap=st.sampled_from([None, "shadow", "full"]),
)
PATHS = st.sets(st.sampled_from(LEVELS), min_size=1).map(lambda some: tuple(one for one in LEVELS if one in some))
MANY = st.builds(
    Rules,
    path=PATHS,
    promote=st.sampled_from(["suggest", "automatic"]),
    highest=st.sampled_from(LEVELS),
    limited=st.booleans(),
)


@settings(max_examples=400, deadline=None)
@given(MANY, FACTS)
def test_whatever_is_known(rules: Rules, known: Facts) -> None:
    rung = decide(rules, known)
    rank = {level: place for place, level in enumerate(LEVELS)}
    broken = known.level in ("partial", "full") and known.audit is not None and known.audit.breached(rules.delta)
    assert (rung.kind == "demote") == broken, "a breach always demotes, and nothing else does"
    if rung.kind == "promote":
        assert rung.to == next_up(rules.path, known.level), "one level at a time"
        assert known.version is not None
        if rung.to in ("assist", "partial"):
            assert known.learnt is not None and known.learnt.value is not None, "never without evidence"
            assert rung.threshold == known.learnt.value, "no threshold is loosened"
        if rung.to == "full":
            assert known.whole is not None and known.whole.kept(rules.delta) and not rules.limited
    if rung.automatic:
        assert rung.kind == "promote" and rules.promote == "automatic" and not known.lowered_by and not known.busy
        assert rung.to is not None and rank[rung.to] <= rank[rules.highest]
        assert known.cap is None or rank[rung.to] <= rank[known.cap]
    if rung.kind == "demote":
        assert rung.to is not None and rank[rung.to] < rank[known.level]
        assert rung.to != "partial" or (known.fallback is not None and known.fallback.value is not None)
    assert rung.reason and (rung.to is None) == (rung.kind == "stay")
    assert decide(rules, known) == rung


def test_an_estimate_without_ends_tells_nobody_better() -> None:
    open_ended = Estimate(0.1, None, None, 1, "t")
    assert decide(RULES, facts("partial", whole=GOOD, human=open_ended, model=wilson(60, 100))).to == "full"


def test_audits_that_nobody_does_are_told() -> None:
    late = decide(RULES, facts("full", audit=FEW, drawn=120, overdue=90))
    assert "90 of 120 answers drawn into the audit were judged by nobody in time" in late.reason
    assert (late.overdue, late.drawn) == (90, 120)
    assert "nobody in time" not in decide(RULES, facts("full", audit=FEW, drawn=120)).reason
