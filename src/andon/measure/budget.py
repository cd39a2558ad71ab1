"""Ramp by harm budget, not by clock: how large a share the candidate may have until the next decision.

``next_share`` is the whole rule: the share under which, at worst, what is left of the budget is spent by the next
decision. "At worst" is an upper bound of the excess of bad units per candidate unit that holds at all looks together.
So little evidence gives a tiny share, and strong evidence a fast jump; the budget is in bad units more than the live
version would have had.

>>> next_share(cap=0.5, budget=20, suffered=0, excess=1.0, forecast=4000)      # nothing is known yet
0.005
>>> next_share(cap=0.5, budget=20, suffered=4, excess=0.002, forecast=40_000)
0.2
"""

from __future__ import annotations

import math

from andon.errors import UsageError
from andon.measure.estimate import Estimate, undefined
from andon.measure.guardrail import Guardrail

__all__ = ["excess", "next_share", "share_sequence", "suffered"]

_HALVINGS = 60


def share_sequence(k: int, n: int, alpha: float = 0.05) -> Estimate:
    """The share ``k`` of ``n`` with an interval that holds at all looks together with confidence 1 - ``alpha``.

    From the likelihood mixed over a Beta(1/2, 1/2) prior (Robbins 1970). Only counts are needed. Raises ``UsageError``
    unless 0 <= k <= n.

    >>> print(share_sequence(10, 1000))
    0.01 (0.00241 to 0.0262, n 1000)
    >>> print(share_sequence(0, 0))
    undefined (0 of 0)
    """
    if not 0 <= k <= n:
        raise UsageError(f"a share needs 0 <= k <= n, found k {k} and n {n}")
    if not n:
        return undefined("0 of 0")
    value = k / n
    mixed = math.lgamma(k + 0.5) + math.lgamma(n - k + 0.5) - math.lgamma(n + 1) - math.log(math.pi)

    def rejected(share: float) -> bool:
        fits = (k * math.log(share) if k else 0.0) + ((n - k) * math.log1p(-share) if n > k else 0.0)
        return mixed - fits >= -math.log(alpha)

    ends = []
    for far in (0.0, 1.0):
        out, inside = far, value
        for _ in range(_HALVINGS if value != far else 0):
            middle = (out + inside) / 2
            out, inside = (middle, inside) if rejected(middle) else (out, middle)
        ends.append(out)
    return Estimate(value, ends[0], ends[1], n, "beta mixture")


def suffered(rail: Guardrail, alpha: float = 0.05) -> float:
    """At most so many units of the candidate had an event that the live version would have spared them.

    Of its units with an event, all but 1 / r are an excess, r being the upper end of the ratio's interval.

    >>> rail = Guardrail.begin("errors").add(12, 300, 0.05)
    >>> round(suffered(rail), 1)
    4.3
    """
    high = rail.highest(alpha)
    bad = rail.harm.candidate
    return float(bad) if high is None else bad * max(0.0, 1 - 1 / high)


def excess(rail: Guardrail, candidate: int, live: int, alpha: float = 0.05) -> float:
    """At most so many more bad units per unit of the candidate; ``candidate`` and ``live`` count the arms' units so far.

    The smaller of two bounds: the live share times (ratio - 1), and the candidate's own share. Each gets half of alpha
    (the first shares it with the live share). 1 where nothing is known. It holds while the live share does not rise.

    >>> excess(Guardrail.begin("errors"), 0, 0)
    1.0
    >>> round(excess(Guardrail.begin("errors").add(12, 300, 0.05), 1500, 28500), 4)
    0.0101
    """
    bad, others = rail.harm.candidate, rail.harm.live
    own = share_sequence(bad, candidate, alpha / 2).high
    base = share_sequence(others, live, alpha / 4).high
    high = rail.highest(alpha / 4)
    bounds = [1.0]
    if own is not None:
        bounds.append(own)
    if base is not None and high is not None:
        bounds.append(max(0.0, base * (high - 1)))
    return min(bounds)


def next_share(*, cap: float, budget: float, suffered: float, excess: float, forecast: float) -> float:
    """The next share: ``min(cap, (budget - suffered) / (excess * forecast))``, and 0 when the budget is spent.

    ``forecast`` is how many units (of both arms) are expected until the next decision. Raises ``UsageError`` unless
    0 <= cap <= 1 and the others are at least 0.

    >>> next_share(cap=0.5, budget=20, suffered=21, excess=0.002, forecast=100)
    0.0
    >>> next_share(cap=0.5, budget=20, suffered=0, excess=0.0, forecast=1e6)   # shown to be no worse
    0.5
    """
    if not 0 <= cap <= 1 or not all(one >= 0 for one in (budget, suffered, excess, forecast)):
        raise UsageError(
            "a step by harm budget: expected a cap from 0 to 1 and no negative amount, "
            f"found {cap:g}, {budget:g}, {suffered:g}, {excess:g} and {forecast:g}"
        )
    left = max(0.0, budget - suffered)
    at_most = excess * forecast
    return cap if at_most <= left * 1e-12 else min(cap, left / at_most)
