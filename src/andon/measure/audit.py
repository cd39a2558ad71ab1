"""The error of automatic answers, measured by a random audit: valid at any look, and quick after a change for the worse.

Every automatic answer is drawn into the audit with a probability that its record keeps. The truth of those drawn, in
the order in which it becomes known, makes two e-processes: one against "at most ``promised`` of them are wrong", which
shows a *breach*, and one against "at least so many are", which shows that the promise is *kept*. Each bets on ratios of
the promised error, as the guardrails do: the factor of a case is the likelihood ratio of "wrong ``r`` times as often".

A case stands for 1/q of its kind, q being the probability with which it was drawn. Divided by the largest such weight
so far, weights lie in (0, 1] and are known before the answer is judged; a case of weight w bets w times as much. So
shares of the audit may change, and the evidence is about all automatic answers and not about those that were drawn more
often.

Whether *all* answers of a model keep the promise, those too that people decided, is asked of every case in the order of the
decisions (``all_answers``), not in that in which truth came: cases that are answered sooner are often the easier ones. Each
bets by the smallest probability known when it was decided, so that a case looked at for certain says no more than the
audited one beside it; and what nobody has judged yet counts as wrong until somebody has.

What is promised: where the error is at no time above ``promised``, a breach is ever called with a probability of at
most alpha, whatever the times one looks at (Ville's inequality). An error that rises after a long good time must not
have to make up for it first: so bets begin anew every ``BLOCK`` cases, the k-th with 1 / ((k + 1) (k + 2)) of the
money, which adds up to all of it (the idea of Shin, Ramdas & Rinaldo, "E-detectors", 2023, with a fixed chance to err).

>>> import numpy as np
>>> wrong = np.arange(1200) % 12 == 0                    # one in twelve
>>> found = audited(wrong, np.full(1200, 0.05), promised=0.02)
>>> found.breached(0.05), found.kept(0.05), str(found.error)
(True, False, '0.0833 (0.0599 to 0.111, n 1200)')
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from andon.errors import UsageError
from andon.measure.estimate import Estimate, undefined
from andon.measure.evidence import HARM_GRID, SAFE_GRID, combined

__all__ = ["BLOCK", "Audited", "all_answers", "audited", "cases_needed"]

Array = npt.NDArray[np.float64]
#: Bets begin anew after so many cases.
BLOCK = 250
_HALVINGS = 60
_MOST = 2**40


class Audited(msgspec.Struct, frozen=True):
    """What the audit says: ``n`` cases of which ``wrong`` were wrong, and the weighted share of these (``error``).

    ``log_breach`` and ``log_kept`` are the largest logarithms of the e-values so far. ``since`` is the first case of the
    stretch that ``error`` is about: 0 for all of them; where there is a breach, from where on the evidence for it is
    strongest. ``missing`` cases beside the ``n`` were judged by nobody yet, and ``worth`` is the sum of the weights with which
    these bet (None: not told).
    """

    promised: float
    n: int
    wrong: int
    error: Estimate
    log_breach: float = 0.0
    log_kept: float = 0.0
    since: int = 0
    missing: int = 0
    worth: float | None = None

    def breached(self, alpha: float) -> bool:
        """Whether it was shown that more than the promised share is wrong.

        >>> Audited(0.02, 0, 0, undefined("no case"), log_breach=math.log(20)).breached(0.05)
        True
        """
        return self.log_breach >= -math.log(alpha)

    def kept(self, alpha: float) -> bool:
        """Whether it was shown that less than the promised share is wrong."""
        return self.log_kept >= -math.log(alpha)


def audited(
    wrong: Sequence[bool] | npt.NDArray[np.bool_],
    chance: Sequence[float] | Array,
    promised: float,
    *,
    alpha: float = 0.05,
) -> Audited:
    """What a random audit says of an error of at most ``promised``; ``alpha`` is for the interval and the stretch it is of.

    ``wrong`` and ``chance`` have shape (n,), in the order in which the truth became known: whether the answer was wrong,
    and the probability with which the case was drawn. Both e-processes are looked at after every case.

    >>> str(audited([], [], 0.02).error)
    'undefined (no automatic answer was audited yet)'
    >>> audited([False] * 400, [0.1] * 400, 0.02).kept(0.05)
    True

    Raises ``UsageError`` when the lengths differ, a chance is not in (0, 1] or ``promised`` is not inside (0, 1).
    """
    bad, drawn = np.asarray(wrong, dtype=np.bool_), np.asarray(chance, dtype=np.float64)
    if bad.shape != drawn.shape or bad.ndim != 1:
        raise UsageError(f"an audit needs one probability for each case; found {drawn.shape} for {bad.shape}")
    if not 0 < promised < 1 or not bool(np.all((drawn > 0) & (drawn <= 1))):
        raise UsageError(
            "an audit: expected a promised error above 0 and below 1 and probabilities above 0 and at most 1, "
            f"found {promised:g}" + (f" and {drawn.min():g} to {drawn.max():g}" if drawn.size else "")
        )
    if not bad.size:
        return Audited(promised, 0, 0, undefined("no automatic answer was audited yet"))
    weight = np.minimum.accumulate(drawn) / drawn
    breach, since = _anew(_logs(bad, weight, promised, HARM_GRID))
    kept = _kept(bad, weight, promised)
    start = since if breach >= -math.log(alpha) else 0
    error = _share(bad[start:], 1 / drawn[start:], alpha)
    return Audited(promised, len(bad), int(bad.sum()), error, max(breach, 0.0), kept, start)


def all_answers(
    wrong: Sequence[bool] | npt.NDArray[np.bool_],
    known: Sequence[bool] | npt.NDArray[np.bool_],
    chance: Sequence[float] | Array,
    least: Sequence[float] | Array,
    promised: float,
    *,
    alpha: float = 0.05,
) -> Audited:
    """Whether all answers of a model keep the promise, of which some were looked at for certain and some by chance.

    All of shape (n,), **in the order of the decisions**: whether the answer was wrong, whether that is
    known (what nobody has judged yet counts as wrong until somebody has), the probability with which the case was looked at, and ``least``, the smallest
    such probability of any case decided then (0: some cannot be looked at, so this one shows nothing). Only
    ``kept`` is about all of them, ``error`` is that of the judged ones.

    Betting ``least / chance`` on each makes the expected bet of a decision the same whichever way it went. An answer that
    comes later can only raise the money on the way, so a look before it finds no more than is there in the end, and
    Ville's inequality holds for all looks.

    >>> found = all_answers([False] * 408, [True] * 400 + [False] * 8, [1.0] * 408, [0.5] * 408, 0.02)
    >>> found.n, found.missing, found.kept(0.05)
    (400, 8, False)
    >>> all_answers([False] * 400, [True] * 400, [0.5] * 400, [0.5] * 400, 0.02).kept(0.05)
    True

    Raises ``UsageError`` when the lengths differ, a probability is not one or ``least`` is more than the case's own.
    """
    told, bad = np.asarray(known, dtype=np.bool_), np.asarray(wrong, dtype=np.bool_)
    drawn, low = np.asarray(chance, dtype=np.float64), np.asarray(least, dtype=np.float64)
    if not bad.shape == told.shape == drawn.shape == low.shape or bool(np.any((low < 0) | (low > drawn))):
        raise UsageError(
            "all answers: expected for each case its probability and one from 0 to that which was the smallest"
        )
    found = audited(bad[told], drawn[told], promised, alpha=alpha)
    weight = low / drawn
    kept = _kept(bad | ~told, weight, promised) if bad.size else 0.0
    return replace(found, log_kept=kept, missing=int((~told).sum()), worth=float(weight[told].sum()))


def _kept(bad: npt.NDArray[np.bool_], weight: Array, promised: float) -> float:
    """The largest logarithm of the e-value for a kept promise."""
    return max(0.0, float(_mean(np.cumsum(_logs(bad, weight, promised, SAFE_GRID), axis=0)).max()))


def cases_needed(error: float, promised: float, alpha: float = 0.05) -> int | None:
    """About how many audited cases show that the promise is kept, when ``error`` of them are wrong; None: no number does.

    >>> cases_needed(0.005, 0.02), cases_needed(0.02, 0.02)
    (480, None)
    """
    rates = [
        error * math.log(ratio) + (1 - error) * math.log((1 - ratio * promised) / (1 - promised)) for ratio in SAFE_GRID
    ]
    if max(rates) <= 0:
        return None
    low, high = 0, 1
    while combined(high * rate for rate in rates) < -math.log(alpha):
        low, high = high, high * 2
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if combined(middle * rate for rate in rates) < -math.log(alpha) else (low, middle)
    return high


def _ratios(grid: Sequence[float], share: float) -> Array:
    """The ratios of a share that leave it a share."""
    return np.array([ratio for ratio in grid if ratio * share < 1] or [(1 + 1 / share) / 2])


def _logs(bad: npt.NDArray[np.bool_], weight: Array, share: float, grid: Sequence[float]) -> Array:
    """The logarithm of each case's factor, for each ratio: shape (n, ratios)."""
    ratios = _ratios(grid, share)
    alone = np.where(bad[:, None], ratios - 1, (1 - ratios * share) / (1 - share) - 1)
    made: Array = np.log1p(weight[:, None] * alone)
    return made


def _mean(logs: Array) -> Array:
    """The logarithm of the mean of exp over the last axis."""
    top = logs.max(axis=-1, keepdims=True)
    found: Array = top[..., 0] + np.log(np.exp(logs - top).mean(axis=-1))
    return found


def _anew(logs: Array) -> tuple[float, int]:
    """The largest logarithm of the mixture of bets begun every ``BLOCK`` cases, and where the strongest of them began."""
    best, start = -math.inf, 0
    # The money that each ratio has, at the start of the block, from all bets begun before it; and each of those alone.
    held = np.empty((0, logs.shape[1]))
    for number, first in enumerate(range(0, len(logs), BLOCK)):
        fresh = np.full((1, logs.shape[1]), -math.log((number + 1) * (number + 2)))
        held = np.concatenate([held, fresh])
        path = np.cumsum(logs[first : first + BLOCK], axis=0)
        rest = -math.log(number + 2)
        money = np.logaddexp.reduce(held, axis=0)
        here = np.logaddexp(_mean(path + money), rest)
        if (peak := float(here.max())) > best:
            best = peak
            at = path[int(here.argmax())]
            start = int(_mean(held + at).argmax()) * BLOCK
        held = held + path[-1]
    return best, start


def _share(bad: npt.NDArray[np.bool_], weight: Array, alpha: float) -> Estimate:
    """The weighted share with an interval that holds at all looks: what neither of two e-processes rejects at alpha / 2."""
    scaled = weight / weight.max()
    right, failed = (np.unique(scaled[which], return_counts=True) for which in (~bad, bad))
    weights, counts = (np.concatenate(parts) for parts in zip(right, failed, strict=True))
    wrong = np.arange(len(weights)) >= len(right[0])
    order = np.lexsort((wrong, weights))
    weights, counts, wrong = weights[order], counts[order], wrong[order]
    value, level = float(weight[bad].sum() / weight.sum()), -math.log(alpha / 2)

    def excess(grid: Sequence[float]) -> Callable[[float], float]:
        def at(share: float) -> float:
            logs = counts @ _logs(wrong, weights, share, grid)
            return float(_mean(logs)) - level

        return at

    low = 0.0 if not bad.any() else _edge(excess(HARM_GRID), 0.0, value)
    high = 1.0 if bad.all() else _edge(excess(SAFE_GRID), 1.0, value)
    return Estimate(value, low, high, len(bad), "e-process")


def _edge(excess: Callable[[float], float], out: float, inside: float) -> float:
    """Between a share that is rejected (``out``) and one that is not (``inside``), where the one becomes the other."""
    for _ in range(_HALVINGS):
        middle = (out + inside) / 2
        if middle in (out, inside):
            break
        out, inside = (middle, inside) if excess(middle) >= 0 else (out, middle)
    return out
