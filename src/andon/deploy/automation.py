"""Degrees of automation, decided purely: what happens with one answer, and how confident is confident enough.

``decide`` turns a level, a label and its confidence into what the client gets. ``learn_threshold`` finds the least
confidence at which answers may be automatic, so that at most ``max_error`` of the automatic ones are wrong with a
stated confidence. Nothing here reads a clock, a disk or a random number.

>>> policy = Policy(only=frozenset({"negative"}), safe_default="refer")
>>> decide(policy, "partial", "negative", 0.97, 0.9).decided_by
'model'
>>> decide(policy, "partial", "positive", 0.97, 0.9).status       # may not be automatic
'pending'
>>> decide(policy, "assist", "negative", 0.97, None).shown        # a person decides, and sees this
'negative'
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import msgspec

from andon.core.record import DecidedBy, Level, Route, Status
from andon.core.registry import did_you_mean
from andon.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "LEVELS",
    "Outcome",
    "Policy",
    "Threshold",
    "audit_probability",
    "decide",
    "learn_threshold",
    "needs_model",
    "parse_level",
    "policy_of",
]

#: From people alone to the model alone.
LEVELS: tuple[Level, ...] = get_args(Level)

_TWO64 = float(2**64)
#: A part of delta goes to numbers of accepted rows of which each is so many times the one before.
_START = 1.6
#: Two starts that are nearer than this are one.
_APART = 1.05
#: Between them, thresholds are tested at numbers of accepted rows of which each is so many times the one before.
_STEP = 1.01


class Policy(msgspec.Struct, frozen=True, gc=False):
    """What of a route every answer needs: who may be automatic, who is blind, whether the line is stopped.

    ``only``: labels that may be automatic at level partial (None: all). ``blind``: whether people at level partial are
    kept from the model's view. ``stopped``: "" (running), "people" or "safe_default". ``audit_share``: the share of the
    automatic answers that a person looks at too.
    """

    only: frozenset[str] | None = None
    blind: bool = True
    stopped: Literal["", "people", "safe_default"] = ""
    safe_default: str | None = None
    audit_share: float = 0.0


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What one request gets: the first three are those of the decision record.

    ``suggestion`` is what the model would have said where it does not decide (for the record, never for a blind
    person's eyes); ``shown`` is the part of it that the client and the reviewer may see.
    """

    status: Status
    decision: str | None
    decided_by: DecidedBy
    suggestion: str | None = None
    shown: str | None = None

    @property
    def automatic(self) -> bool:
        """Whether the model itself decided."""
        return self.decided_by == "model"


def policy_of(route: Route) -> Policy:
    """The policy that a route carries."""
    only = None if route.only is None else frozenset(route.only)
    return Policy(only, route.blind, route.stopped, route.safe_default, route.audit_share)


def parse_level(text: str) -> Level:
    """The level called ``text``; raises ``UsageError`` with the closest names.

    >>> parse_level("partail")
    Traceback (most recent call last):
    ...
    andon.errors.UsageError: no level of automation is called 'partail'; did you mean 'partial'?
    """
    for level in LEVELS:
        if level == text:
            return level
    raise UsageError(f"no level of automation is called {text!r}; {did_you_mean(text, LEVELS)}")


def needs_model(policy: Policy, level: Level) -> bool:
    """Whether a request at this level is put to the live or candidate model at all.

    >>> needs_model(Policy(), "human"), needs_model(Policy(), "shadow"), needs_model(Policy(stopped="people"), "full")
    (False, True, False)
    """
    return level != "human" and not policy.stopped


def decide(
    policy: Policy,
    level: Level,
    label: str | None,
    confidence: float | None,
    threshold: float | None,
    *,
    model: bool = True,
) -> Outcome:
    """What a request gets, from the level of its slice and the model's answer.

    ``label`` None means that the model gave no answer; ``model`` False that the request has no model (no version was
    assigned, or the level needs none). ``threshold`` None means that no answer is confident enough.

    ======== ===========================================================================================
    human    a person decides
    shadow   a person decides, blind; the model's label is recorded
    assist   a person decides and sees the model's label
    partial  the model decides when its confidence reaches the threshold (and its label is in ``only``),
             else a person, blind unless the policy says otherwise
    full     the model decides; where it has no answer, the safe default does
    ======== ===========================================================================================

    A stopped line sends all of them to people, or answers the safe default at once.

    >>> decide(Policy(safe_default="refer"), "full", None, None, None)
    Outcome(status='decided', decision='refer', decided_by='safe_default', suggestion=None, shown=None)
    >>> decide(Policy(), "partial", "accept", 0.7, 0.9)
    Outcome(status='pending', decision=None, decided_by='nobody', suggestion='accept', shown=None)
    """
    if policy.stopped == "safe_default" and policy.safe_default is not None:
        return Outcome("decided", policy.safe_default, "safe_default")
    if policy.stopped or not model or level == "human":
        return _PERSON
    if label is None:
        if level == "full" and policy.safe_default is not None:
            return Outcome("decided", policy.safe_default, "safe_default")
        return _PERSON
    if level == "full" or (level == "partial" and _accepts(policy, label, confidence, threshold)):
        return Outcome("decided", label, "model")
    shown = label if level == "assist" or (level == "partial" and not policy.blind) else None
    return Outcome("pending", None, "nobody", label, shown)


_PERSON = Outcome("pending", None, "nobody")


def _accepts(policy: Policy, label: str, confidence: float | None, threshold: float | None) -> bool:
    if threshold is None or confidence is None or (policy.only is not None and label not in policy.only):
        return False
    return confidence >= threshold


def audit_probability(id: str, share: float) -> float:
    """``share`` when the automatic decision ``id`` is drawn into the random audit, else 0.

    The draw is a hash of the id, so that every process and every replay draws the same ones; its probability is kept
    with the decision, so that the audit can be weighted.

    >>> sum(audit_probability(f"w0-{n:x}", 0.25) > 0 for n in range(4000))  # of 4000
    986
    """
    if share <= 0.0:
        return 0.0
    digest = hashlib.blake2b(b"audit\0" + id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return share if int.from_bytes(digest, "big") < share * _TWO64 else 0.0


class Threshold(msgspec.Struct, frozen=True):
    """The least confidence at which an answer may be automatic, or None and why not.

    ``coverage`` is the share of the labelled rows that it would have decided, ``accepted`` their number, ``errors`` the
    wrong ones among them, ``n`` all labelled rows. ``labels_needed`` is how many labels in all would be enough if the
    errors stay as seen (None: already enough, or no number would be).
    """

    value: float | None
    coverage: float
    n: int
    accepted: int
    errors: int
    max_error: float
    delta: float
    reason: str
    labels_needed: int | None = None


class _Step(NamedTuple):
    """A threshold to test: how many rows it accepts, the wrong ones, the p-value, and its own part of delta."""

    value: float
    accepted: int
    errors: int
    p: float
    weight: float


def learn_threshold(
    confidence: Sequence[float] | NDArray[np.float64],
    correct: Sequence[bool] | NDArray[np.bool_],
    max_error: float,
    delta: float = 0.05,
) -> Threshold:
    """The lowest threshold whose automatic answers are wrong at most ``max_error`` of the time, sure to 1 - ``delta``.

    Learn-then-Test (Angelopoulos et al. 2021): thresholds are tested from the strictest to the loosest, in steps of 1 %
    of the accepted rows, with the exact binomial p-value P(Bin(accepted, max_error) <= errors). A single strict start
    would have little power, so ``delta`` is split: half of it over a few starts, each 1.6 times the one before, half
    where a test would most likely pass if the model were right as often as it is sure; where it is not, that costs
    coverage. What a rejected hypothesis held passes on to the next one (the fallback procedure, Wiens 2003). It assumes
    that the labelled rows are drawn like those to come, and that the more confident ones are not the worse. Rows whose
    confidence is NaN (pass it where the label may not be automatic) are never accepted but count in the coverage.

    >>> import numpy as np
    >>> sure = learn_threshold(np.repeat([0.99, 0.6], 500), np.repeat([True, False], 500), max_error=0.02)
    >>> round(sure.value, 2), sure.coverage, sure.errors
    (0.99, 0.5, 0)
    >>> short = learn_threshold([0.99] * 100, [True] * 100, max_error=0.02)
    >>> short.value, short.labels_needed
    (None, 149)

    Raises ``UsageError`` when the lengths differ or ``max_error`` or ``delta`` is not inside (0, 1).
    """
    scores, right = _checked(confidence, correct, max_error, delta)
    steps = _steps(scores, right, max_error, delta)
    best, n = _walk(steps), len(scores)
    if best is None:
        needed = _labels_needed(steps, n, max_error, delta)
        return Threshold(None, 0.0, n, 0, 0, max_error, delta, _no_coverage(n, needed, max_error, delta), needed)
    reason = f"{best.errors} of {best.accepted} accepted answers were wrong: at most {max_error:.4g} with {1 - delta:.4g} confidence"
    return Threshold(best.value, best.accepted / n, n, best.accepted, best.errors, max_error, delta, reason)


def _checked(confidence: Any, correct: Any, max_error: float, delta: float) -> tuple[Any, Any]:
    import numpy as np

    scores, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    if scores.shape != right.shape or scores.ndim != 1:
        raise UsageError(f"a threshold needs one truth per confidence; found {right.shape} for {scores.shape}")
    for name, value in (("max_error", max_error), ("delta", delta)):
        if not 0.0 < value < 1.0:
            raise UsageError(f"{name}: expected a number between 0 and 1 (both excluded), found {value:g}")
    return scores, right


def _steps(scores: Any, right: Any, max_error: float, delta: float) -> list[_Step]:
    """What is to be tested, from the strictest threshold on; rows of equal confidence stay together."""
    import numpy as np

    from andon.measure.selective import risk_coverage

    curve = risk_coverage(scores, right)
    if not len(curve.accepted):
        return []
    parts = _parts(scores, curve.accepted, max_error, delta)
    at = np.unique(np.searchsorted(curve.accepted, [*parts, *_between(min(parts), max(parts))]))
    accepted, errors = curve.accepted[at], curve.errors[at]
    columns = (curve.threshold[at], accepted, errors, _p_values(errors, accepted, max_error))
    return [
        _Step(value, size, wrong, p, parts.get(size, 0.0))
        for value, size, wrong, p in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _parts(scores: Any, ends: Any, max_error: float, delta: float) -> dict[int, float]:
    """The numbers of accepted rows that get a part of delta, and which: half of it goes where the model's own word says.

    ``ends`` are the numbers that a threshold can accept. What was right has no say here, as the promise asks.
    """
    likely = _likely(scores, ends, max_error, delta / 2)
    rest = delta if likely is None else delta / 2
    starts = _starts(ends, max_error, rest)
    parts = dict.fromkeys(starts, rest / len(starts))
    if likely is not None:
        parts[likely] = parts.get(likely, 0.0) + delta / 2
    return parts


def _likely(scores: Any, ends: Any, max_error: float, delta: float) -> int | None:
    """Where a test would most likely pass if the model were as sure as it is right; None where it says nowhere."""
    import numpy as np

    ranked = -np.sort(-scores[~np.isnan(scores)])
    said = np.cumsum(1.0 - np.clip(ranked, 0.0, 1.0))[ends - 1] / ends
    room = np.where(ends >= _fewest(max_error, delta), (max_error - said) * np.sqrt(ends), 0.0)
    best = int(np.argmax(room))
    return int(ends[best]) if room[best] > 0 else None


def _starts(ends: Any, max_error: float, delta: float) -> list[int]:
    """Numbers of accepted rows that share delta: all, then fewer and fewer, down to the fewest that could pass."""
    import numpy as np

    sizes = [int(ends[-1])]
    while True:
        fewest = _fewest(max_error, delta / (len(sizes) + 1))
        below = int(np.searchsorted(ends, sizes[-1] / _START, side="right"))
        if below > 0 and ends[below - 1] >= fewest:
            sizes.append(int(ends[below - 1]))
            continue
        # One more as low as can be, where that is another test than the last and not the same once more.
        lowest = int(ends[min(int(np.searchsorted(ends, fewest)), len(ends) - 1)])
        return [*sizes, lowest] if fewest <= lowest <= sizes[-1] / _APART else sizes


def _between(first: int, last: int) -> list[int]:
    """Numbers of accepted rows from the last start down to the first, in steps."""
    sizes = [last]
    while (smaller := min(int(sizes[-1] / _STEP), sizes[-1] - 1)) > first:
        sizes.append(smaller)
    return sizes


def _p_values(errors: Any, accepted: Any, max_error: float) -> Any:
    from scipy.special import bdtr

    return bdtr(errors, accepted, max_error)


def _fewest(max_error: float, delta: float) -> int:
    """How many accepted rows without any error prove the bound: ln(delta) / ln(1 - max_error)."""
    return math.ceil(math.log(delta) / math.log1p(-max_error))


def _walk(steps: list[_Step]) -> _Step | None:
    """The loosest one that is rejected, each with what it has itself and what those before it pass on."""
    budget, best = 0.0, None
    for step in steps:
        budget += step.weight
        if step.p <= budget:
            best = step
        else:
            budget = 0.0
    return best


def _labels_needed(steps: list[_Step], n: int, max_error: float, delta: float) -> int | None:
    """The fewest labels in all at which one of the starts would pass with the error rate seen there."""
    needs = []
    for step in steps:
        rate = step.errors / step.accepted
        if step.weight and rate < max_error:
            enough = _enough(rate, max_error, delta)
            needs.append(max(math.ceil(enough * n / step.accepted), n + 1))
    return min(needs, default=_fewest(max_error, delta) if not steps else None)


def _enough(rate: float, max_error: float, delta: float) -> int:
    """How many accepted rows prove the bound when ``rate`` of them are wrong, by doubling and halving."""
    from scipy.special import bdtr

    low = high = _fewest(max_error, delta)
    while bdtr(math.ceil(rate * high), high, max_error) > delta:
        low, high = high, high * 2
        if high > 2**40:
            return high
    while high - low > max(1, low // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if bdtr(math.ceil(rate * middle), middle, max_error) <= delta else (middle, high)
    return high


def _no_coverage(n: int, needed: int | None, max_error: float, delta: float) -> str:
    goal = f"an error of at most {max_error:.4g} with {1 - delta:.4g} confidence"
    if needed is None:
        return f"none of {n} labelled answers is automatic: at no confidence is the error seen below {max_error:.4g}"
    return f"{n} labelled answers cannot show {goal}; about {needed} would, if the errors stay as seen"
