"""What a rung says of itself: parts of its sentence, for ``andon.deploy.ladder``.

With ``truth: human`` an answer that is not what a person said is another answer, not a wrong one: people err, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from andon.measure.estimate import Estimate

if TYPE_CHECKING:
    from andon.deploy.ladder import Capacity, Facts, Rules

__all__ = [
    "as_people",
    "broken",
    "count_as",
    "err_less",
    "err_themselves",
    "interval",
    "no_model",
    "nobody_judged",
    "seen_by",
    "too_few",
    "too_much",
    "were_wrong",
]

SECOND_LOOKS = 30
"""So many second looks at least tell how often people err."""

#: What is said of errors, and of the same where people are the truth; nothing on the right is on the left.
_AS_PEOPLE = (
    ("were wrong", "differed from people's"),
    ("show an error of", "show a difference from people's of"),
    ("is the error seen below", "is the share seen to differ from people's below"),
    ("if the errors stay", "if the differences stay"),
)


def were_wrong(rules: Rules) -> str:
    """What is said of the answers that count as errors."""
    return "differed from people's" if rules.truth == "human" else "were wrong"


def count_as(rules: Rules) -> str:
    """As what an answer counts that nobody judged yet."""
    return "differing" if rules.truth == "human" else "wrong"


def as_people(reason: str) -> str:
    """What a look at labelled cases found, said where people are the truth: nobody knows whether people were right.

    >>> as_people("3 of 600 accepted answers were wrong: at most 0.02 with 0.95 confidence")
    "3 of 600 accepted answers differed from people's: at most 0.02 with 0.95 confidence"
    """
    for said, meant in _AS_PEOPLE:
        reason = reason.replace(said, meant)
    return reason


def seen_by(rules: Rules, reason: str) -> str:
    """What a look found, as the charter's truth asks for."""
    return as_people(reason) if rules.truth == "human" else reason


def err_less(rules: Rules, human: Estimate, model: Estimate) -> str:
    """That people err less than the model; where they are the truth, second looks tell how often."""
    if rules.truth == "human":
        return (
            f"by second looks people err less here: in {interval(human)} of the cases, the model in {interval(model)}"
        )
    return f"people err less here: {interval(human)} of their answers are wrong, {interval(model)} of the model's"


def err_themselves(rules: Rules, human: Estimate | None) -> str:
    """Why people's answers are not known to be right often enough to promise anything by them; empty where they are."""
    more = "let second people look (review.double_share)"
    if human is None or not human.n:
        return f"people are the truth, and nobody knows how often they err: {more}"
    if human.n < SECOND_LOOKS:
        return f"people are the truth, and {human.n} second looks are too few to tell how often they err; at least {SECOND_LOOKS}: {more}"
    if human.high is None or human.high > rules.max_error:
        return (
            f"people are the truth, and second looks do not show that they err in at most the {rules.max_error:.4g} "
            f"promised: {interval(human)} of {human.n:,}; {more}"
        )
    return ""


def nobody_judged(facts: Facts) -> str:
    """That answers were drawn into the audit and should have been judged long ago."""
    return (
        f"{facts.overdue:,} of {facts.drawn:,} answers drawn into the audit were judged by nobody in time, "
        "and what nobody judges shows no broken promise"
    )


def no_model(up: str) -> str:
    """Why nothing tells whether the next level would do: there may be releases, but none is on the line."""
    return (
        f"no release is live, or alone in the shadow, that {up} could be based on; put one there: andon deploy shadow; "
        "or make one: andon release"
    )


def broken(rules: Rules, error: Estimate) -> str:
    """That the promise is broken, and what was seen."""
    of = f"of the last {error.n} audited automatic answers, {interval(error)}"
    if rules.truth == "human":
        return f"more automatic answers differ from people's than the {rules.max_error:.4g} promised: {of} did"
    return f"more automatic answers are wrong than the {rules.max_error:.4g} promised: {of} wrong"


def too_few(rules: Rules, facts: Facts, least: int) -> str:
    """Why nothing was learnt yet: too few labels to look at, or nobody has looked at them."""
    cases = "cases that people answered" if rules.truth == "human" else "cases with a known truth"
    if facts.labels >= least:
        return f"{facts.labels} {cases} are enough for a look, which the controller takes next (andon up)"
    shown = seen_by(rules, f"show an error of at most {rules.max_error:.4g}")
    return f"{facts.labels} {cases} are too few to {shown}; the controller looks at {least}"


def too_much(rules: Rules, room: Capacity, deferral: float, part: float) -> str:
    """That people could not decide the rest, of whose time ``part`` may be taken."""
    cases = room.arrivals * deferral + room.others
    return (
        f"but {_rate(cases)} cases an hour would be left to people, who can decide {part:g} times "
        f"{_rate(rules.reviewers_per_hour or 0)} (review.reviewers_per_hour); {_rate(cases / part)} would be enough"
    )


def _rate(an_hour: float) -> str:
    return f"{an_hour:,.0f}" if an_hour >= 1000 else f"{an_hour:.4g}"


def interval(found: Estimate) -> str:
    """An estimate in percent with its interval."""
    ends = [("open" if end is None else _percent(end)) for end in (found.low, found.high)]
    value = "-" if found.value is None else _percent(found.value)
    return f"{value} % ({ends[0]} to {ends[1]})"


def _percent(share: float) -> str:
    """Three digits, and no exponent.

    >>> _percent(0.0213456), _percent(8.1e-9), _percent(0.0)
    ('2.13', '0.00000081', '0')
    """
    short = f"{share * 100:.3g}"
    return f"{share * 100:.12f}".rstrip("0").rstrip(".") if "e" in short and share < 1e-4 else short
