"""What a guardrail counts: from a metric to the bad event of one case, on which rollouts are judged.

A rollout counts units with an event. So a share becomes the event that it counts (a wrong answer, a missed case of a
class, no answer), and a latency the event of being over its goal. What has no such event (a mean, F1, a value in money)
or cannot be changed by a candidate (its inputs) is shown beside it and not judged; ``why_not`` says so.

>>> event = event_of("recall[positive]", None, ("negative", "positive"))
>>> cases = pl.DataFrame({"label": ["positive", "positive", "negative", None], "prediction": ["negative", "positive"] * 2})
>>> event.late, cases.select(event.bad)["bad"].to_list()
(True, [True, False, False, None])
>>> slow = event_of("latency_p95_ms", Bound.parse("<= 250"), ())
>>> slow.says, round(slow.limit, 6)
('over 250 ms', 0.05)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from andon.errors import UsageError
from andon.measure.gate import Bound
from andon.measure.metric import parse_metric

__all__ = ["Event", "event_of", "why_not"]

_LABELLED = ("error_rate", "accuracy", "recall", "precision", "specificity")
_LATE = (*_LABELLED, "agreement", "override_rate", "feedback")
#: Metrics whose event is what they do not count: a share of right answers has the wrong ones.
_REVERSED = ("accuracy", "recall", "precision", "specificity", "agreement")


@dataclass(frozen=True, slots=True)
class Event:
    """A bad event of a case: ``bad`` is true, false, or null where the case does not count (yet).

    It reads the columns of ``andon.store.view.outcomes``. ``late``: it needs a label, a person or feedback; ``kind`` is
    the feedback it waits for, where it is that, ``beside`` one that must be there, too. ``says`` names it for people. ``limit`` is the largest share of the cases
    ``among`` (None: all that count) that the bound lets have it; None where the bound sets none.
    """

    bad: pl.Expr
    late: bool
    says: str
    kind: str = ""
    limit: float | None = None
    among: pl.Expr | None = None
    beside: str = ""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of feedback that make it what it is."""
        return tuple(kind for kind in (self.kind, self.beside) if kind)


def event_of(of: str, bound: Bound | None, classes: tuple[str, ...]) -> Event:
    """The event of a metric as written; ``bound`` is its goal, or its alarm where it has none.

    Raises ``UsageError`` where it has no event to count, ``NotFound`` for a metric that there is not.
    """
    metric = parse_metric(of, classes)
    name, argument = _split(of)
    found = _found(of, name, argument, bound, metric.needs_label)
    return replace(found, limit=_limit(name, bound), among=_among(name, argument))


def _found(of: str, name: str, argument: str, bound: Bound | None, needs_label: bool) -> Event:
    if name in _LABELLED:
        bad, says = _wrong(name, argument)
        known = pl.col("label").is_not_null()
        if needs_label:
            return _event(bad, known, True, says)
    if name.startswith("latency_"):
        return _slow(of, bound)
    if name == "feedback":
        return _feedback(of, argument, bound)
    bad, counts, says = _answered(of, name, bound)
    return _event(bad, counts, name in _LATE, says)


def why_not(of: str, bound: Bound | None, classes: tuple[str, ...]) -> str:
    """Why a metric cannot be judged in a rollout; empty where it can.

    >>> why_not("macro_f1", None, ("a", "b"))
    'macro_f1 counts no event of a case, so it is shown and not judged'
    """
    try:
        event_of(of, bound, classes)
    except UsageError as error:
        return error.message
    return ""


def _limit(name: str, bound: Bound | None) -> float | None:
    """The largest share of cases with the event that a bound allows."""
    if bound is None:
        return None
    if name.startswith("latency_p"):
        return round(1 - float(name.removeprefix("latency_p").partition("_")[0]) / 100, 9)
    if name in _REVERSED or (name in ("deferral_rate", "automatic_share") and bound.low is not None):
        return None if bound.low is None else round(1 - bound.low, 9)
    return bound.high


def _among(name: str, label: str) -> pl.Expr | None:
    """The cases of which the metric is a share, where these are not all."""
    true, said = pl.col("label"), pl.col("prediction")
    return {"recall": true == label, "precision": said == label, "specificity": true != label}.get(name)


def _split(of: str) -> tuple[str, str]:
    name, bracket, rest = of.strip().replace("[", "(").partition("(")
    return name.strip(), rest.strip(" )]").strip("'\"") if bracket else ""


def _event(bad: pl.Expr, counts: pl.Expr, late: bool, says: str, kind: str = "") -> Event:
    found = pl.when(counts.fill_null(False)).then(bad.fill_null(True)).otherwise(None).alias("bad")
    return Event(found, late, says, kind)


def _wrong(name: str, label: str) -> tuple[pl.Expr, str]:
    """A labelled case that went wrong; an answer that is no class is never right."""
    true, said = pl.col("label"), pl.col("prediction")
    if name == "recall":
        return (true == label) & (said.is_null() | (said != label)), f"a missed {label}"
    if name == "specificity":
        return (true != label) & (said == label).fill_null(False), f"a false {label}"
    if name == "precision":
        return (true != label) & (said == label).fill_null(False), f"a false {label}"
    return said.is_null() | (said != true), "a wrong answer"


def _slow(of: str, bound: Bound | None) -> Event:
    if bound is None or bound.high is None:
        raise UsageError(f"{of} has no upper bound to be over, so it is shown and not judged")
    took = pl.col("latency_us")
    return _event(took > bound.high * 1000, took.is_not_null(), False, f"over {bound.high:g} ms")


def _feedback(of: str, argument: str, bound: Bound | None) -> Event:
    kinds = [kind.strip() for kind in argument.split(",")]
    has = pl.col("feedback").list.contains(kinds[0]).fill_null(False)
    among = pl.col("feedback").list.contains(kinds[1]) if len(kinds) == 2 else pl.lit(True)
    if _wants_more(of, bound):
        raise UsageError(f"{of} counts what is missing, which is never known for sure, so it is shown and not judged")
    found = _event(has, among, True, f"feedback {kinds[0]}", kinds[0])
    return replace(found, beside=kinds[1]) if len(kinds) == 2 else found


def _answered(of: str, name: str, bound: Bound | None) -> tuple[pl.Expr, pl.Expr, str]:
    decided, said = pl.col("status") == "decided", pl.col("prediction")
    if name == "null_outputs":
        return said.is_null(), decided, "no answer"
    if name == "error_responses":
        return pl.col("error").is_not_null(), pl.lit(True), "an error"
    if name == "agreement":
        return said != pl.col("human"), pl.col("human").is_not_null(), "another answer than a person's"
    if name == "override_rate":
        advised = (pl.col("decided_by") == "person") & pl.col("suggestion").is_not_null()
        return said != pl.col("suggestion"), advised, "an overridden suggestion"
    if name in ("deferral_rate", "automatic_share"):
        # What counts is what the model did, not who answered in the end.
        alone = (pl.col("level") != "human") & pl.col("decided_by").is_in(["model", "client"])
        more = _wants_more(of, bound)
        if (name == "deferral_rate") != more:
            return ~alone, pl.lit(True), "passed on to people"
        return alone, pl.lit(True), "decided by the model alone"
    raise UsageError(f"{of} counts no event of a case, so it is shown and not judged")


def _wants_more(of: str, bound: Bound | None) -> bool:
    """Whether more of it is better, by its bound."""
    if bound is None or (bound.low is None) == (bound.high is None):
        raise UsageError(f"{of} is neither good nor bad by itself; give it a one-sided goal or alarm such as '<= 0.1'")
    return bound.low is not None
