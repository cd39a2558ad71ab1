"""What a rung says of itself: parts of its sentence, for ``andon.deploy.ladder``.

With ``truth: human`` an answer that is not what a person said is another answer, not a wrong one: people err, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from andon.measure.estimate import Estimate

if TYPE_CHECKING:
    from andon.deploy.ladder import Capacity, Facts, Rules

__all__ = ["broken", "interval", "too_few", "too_much", "were_wrong"]


def were_wrong(rules: Rules) -> str:
    """What is said of the answers that count as errors."""
    return "differed from people's" if rules.truth == "human" else "were wrong"


def broken(rules: Rules, error: Estimate) -> str:
    """That the promise is broken, and what was seen."""
    of = f"of the last {error.n} audited automatic answers, {interval(error)}"
    if rules.truth == "human":
        return f"more automatic answers differ from people's than the {rules.max_error:.4g} promised: {of} did"
    return f"more automatic answers are wrong than the {rules.max_error:.4g} promised: {of} wrong"


def too_few(rules: Rules, facts: Facts, least: int) -> str:
    """Why nothing was learnt yet: too few labels to look at, or nobody has looked at them."""
    if facts.labels >= least:
        return (
            f"{facts.labels} cases with a known truth are enough for a look, which the controller takes next (andon up)"
        )
    return (
        f"{facts.labels} cases with a known truth are too few to show an error of at most {rules.max_error:.4g}; "
        f"the controller looks at {least}"
    )


def too_much(rules: Rules, room: Capacity, deferral: float, part: float) -> str:
    """That people could not decide the rest, of whose time ``part`` may be taken."""
    cases = room.arrivals * deferral + room.others
    return (
        f"but {cases:.4g} cases an hour would be left to people, who can decide {part:g} times "
        f"{rules.reviewers_per_hour or 0:.4g} (review.reviewers_per_hour); {cases / part:.4g} would be enough"
    )


def interval(found: Estimate) -> str:
    """An estimate in percent with its interval."""
    ends = [("open" if end is None else f"{end * 100:.3g}") for end in (found.low, found.high)]
    value = "-" if found.value is None else f"{found.value * 100:.3g}"
    return f"{value} % ({ends[0]} to {ends[1]})"
