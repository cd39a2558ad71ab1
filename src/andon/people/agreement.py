"""What double review says of reviewers: how often two of them agree, how often they err, how much a suggestion sways them.

Agreement is not being right: where two differ, a third person's answer is taken for the case, and it may be wrong as
well (``reference_error``). Error rates are estimated from cases that both decided with no suggestion before them, and
with an answer that is a class, as if their errors were independent (`andon.measure.discordant`).

>>> pairs = [Double("a", "ann", "negative", True, "bob", "negative", True),
...          Double("b", "ann", "negative", True, "bob", "positive", True, adjudicated="positive")]
>>> team = of_team(pairs, ("negative", "positive"))
>>> ann = of_reviewer("ann", pairs, team, ("negative", "positive"))
>>> str(ann.agreement), str(ann.overruled), team.disagreed
('0.5 (0.0945 to 0.905, n 2)', '1 (0.207 to 1, n 1)', 1)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from andon.measure.discordant import model_error, rater_error, reference_error
from andon.measure.estimate import Estimate, mover, undefined, wilson

__all__ = ["Bias", "Double", "TeamDoubles", "Twice", "bias", "of_reviewer", "of_team"]


class Double(msgspec.Struct, frozen=True):
    """A case that two people decided without each other's answer; ``blind`` ones had seen no suggestion either."""

    id: str
    first: str
    said: str
    blind: bool
    second: str
    second_said: str
    second_blind: bool
    third: str | None = None
    adjudicated: str | None = None
    model: str | None = None
    simulated: bool = False

    @property
    def same(self) -> bool:
        """Whether they agree."""
        return self.said == self.second_said

    def of(self, reviewer: str) -> str | None:
        """What this person said as one of the two."""
        return self.said if reviewer == self.first else self.second_said if reviewer == self.second else None


class Twice(msgspec.Struct, frozen=True):
    """A reviewer against the others: ``agreement`` over the cases that somebody else decided as well, ``overruled`` over
    those of them that were adjudicated. ``error`` is how often they err, from how often they differ, blind both, from others
    who err as often as the team does; its interval is that of the differences alone.
    """

    agreement: Estimate
    overruled: Estimate
    error: Estimate


class Bias(msgspec.Struct, frozen=True):
    """Agreement with the model's suggestion, having ``seen`` it and not, and the ``difference``: what following it may be."""

    seen: Estimate
    unseen: Estimate
    difference: Estimate


class TeamDoubles(msgspec.Struct, frozen=True):
    """All pairs: ``n``, of which ``disagreed`` differ and ``adjudicated`` were decided by a third person.

    ``rater_error`` is how often one reviewer errs, from the ``blind`` pairs of classes; ``reference_error`` how often what
    is taken for the case (both agree, or adjudicated) is wrong then. ``bias`` is on the same cases: the first had seen the suggestion, the
    second not.
    """

    n: int
    disagreed: int
    adjudicated: int
    blind: int
    agreement: Estimate
    rater_error: Estimate
    reference_error: Estimate
    bias: Bias
    simulated: int = 0


def of_reviewer(reviewer: str, pairs: Iterable[Double], team: TeamDoubles, classes: Sequence[str]) -> Twice:
    """One person's agreement with the others, how often a third person took the other's side or neither's, and their error."""
    mine = [pair for pair in pairs if pair.of(reviewer) is not None]
    judged = [pair for pair in mine if not pair.same and pair.adjudicated is not None]
    against = sum(pair.of(reviewer) != pair.adjudicated for pair in judged)
    return Twice(
        _share(sum(pair.same for pair in mine), len(mine), "nobody else decided one of these cases"),
        _share(against, len(judged), "none of these cases was adjudicated"),
        _error([pair for pair in mine if _is_alike(pair, classes)], team, len(classes)),
    )


def of_team(pairs: Sequence[Double], classes: Sequence[str]) -> TeamDoubles:
    """All of them together; ``classes`` are the answers that can be right or wrong."""
    differ = [pair for pair in pairs if not pair.same]
    alike = [pair for pair in pairs if _is_alike(pair, classes)]
    error = rater_error(sum(not pair.same for pair in alike), len(alike), max(2, len(classes)))
    swayed = [pair for pair in pairs if not pair.blind and pair.second_blind and pair.model is not None]
    return TeamDoubles(
        n=len(pairs),
        disagreed=len(differ),
        adjudicated=sum(pair.adjudicated is not None for pair in differ),
        blind=len(alike),
        agreement=_share(len(pairs) - len(differ), len(pairs), "no case was decided twice"),
        rater_error=error,
        reference_error=_reference(error),
        bias=bias([(pair.said, pair.model) for pair in swayed], [(pair.second_said, pair.model) for pair in swayed]),
        simulated=sum(pair.simulated for pair in pairs),
    )


def _is_alike(pair: Double, classes: Sequence[str]) -> bool:
    """Whether two looked in the same way, and answered."""
    return pair.blind and pair.second_blind and pair.said in classes and pair.second_said in classes


def _error(alike: Sequence[Double], team: TeamDoubles, classes: int) -> Estimate:
    others = team.rater_error
    if others.value is None or not alike:
        return undefined(others.reason or "no case was decided twice, blind both times", len(alike))
    differ = wilson(sum(not pair.same for pair in alike), len(alike))
    return model_error(differ, others.value, max(2, classes))


def bias(seen: Sequence[tuple[str, Any]], unseen: Sequence[tuple[str, Any]]) -> Bias:
    """Agreement of answers with suggestions, (answer, suggestion) each, where these were seen and where not.

    >>> print(bias([("a", "a")] * 90 + [("b", "a")] * 10, [("a", "a")] * 80 + [("b", "a")] * 20).difference)
    0.1 (0.000149 to 0.199, n 200)
    """
    with_it = _share(sum(said == model for said, model in seen), len(seen), "no answer was given after a suggestion")
    without = _share(sum(said == model for said, model in unseen), len(unseen), "no blind answer to compare with")
    for part in (with_it, without):
        if part.value is None:
            return Bias(with_it, without, undefined(part.reason or "", len(seen) + len(unseen)))
    import numpy as np

    return Bias(with_it, without, mover([with_it, without], [1.0, -1.0], np.eye(2), len(seen) + len(unseen)))


def _reference(error: Estimate) -> Estimate:
    """What follows for two of three; it grows with the error, so the ends follow too."""
    if error.value is None or error.low is None or error.high is None:
        return error
    value, low, high = (reference_error(end) for end in (error.value, error.low, error.high))
    return Estimate(value, low, high, error.n, "two of three")


def _share(k: int, n: int, reason: str) -> Estimate:
    return wilson(k, n) if n else undefined(reason)
