"""Two runs on the same rows, told so that nobody takes a difference for more than the data show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from andon.measure.estimate import Estimate
from andon.model.pairing import Difference, Discordant, Pair
from andon.surface.view.models_goal import MetricHead

if TYPE_CHECKING:
    from andon.model.run import Run

__all__ = ["Line", "PairView", "Says", "difference_text", "pair_of"]

Says = Literal["first", "second", "differ", "open", "same", "none"]


class Line(msgspec.Struct, frozen=True):
    """One metric on one slice ("" is everybody). ``difference`` is second less first; a share's is in points of a hundred (pt).

    ``says`` who is better: first or second; ``differ`` where neither way is better, ``open`` where the data do not tell
    them apart, ``same`` where it is the same for both on these rows, ``none`` where there is nothing to compare.
    """

    metric: str
    slice: str
    unit: str
    first: Estimate
    second: Estimate
    difference: Estimate
    difference_text: str
    says: Says
    sentence: str


class PairView(msgspec.Struct, frozen=True):
    """A comparison on ``rows`` rows of ``dataset`` that ``holder`` held out (``held_out`` in all).

    ``how`` is "stored" (both were asked when they were made), "asked" (the other's sealed model was asked again) or
    "none"; ``learnt`` rows are left out, because the other may have learnt from them. ``chance`` is McNemar's exact test.
    Intervals hold with ``confidence`` each, those of slices with ``within``, so that all of either together hold with 95 %.
    """

    first: str
    second: str
    holder: str
    dataset: str
    rows: int
    held_out: int
    how: str
    learnt: int
    note: str
    right: Discordant
    chance: float
    confidence: float
    within: float
    lines: tuple[Line, ...]
    slices: tuple[Line, ...]
    slices_compared: int
    sentence: str


def pair_of(found: Pair, heads: Sequence[MetricHead], two: Run, *, turned: bool = False) -> PairView:
    """The pair as it is shown; ``turned``: the rows are the first's, and the pair was measured the other way round."""
    if turned:
        found = _turned(found)
    lines = tuple(_line(found, one, found.metrics[one.name], "") for one in heads if one.name in found.metrics)
    parts = [
        _line(found, one, metrics[one.name], name)
        for name, metrics in found.slices.items()
        for one in heads
        if one.name in metrics
    ]
    return PairView(
        first=found.first,
        second=found.second,
        holder=two.id,
        dataset=two.dataset,
        rows=found.rows,
        held_out=found.held_out,
        how=found.how,
        learnt=found.learnt,
        note=found.note,
        right=found.right,
        chance=found.right.chance,
        confidence=found.confidence,
        within=found.within,
        lines=lines,
        slices=tuple(one for one in parts if one.says in ("first", "second", "differ")),
        slices_compared=len(found.slices),
        sentence=_sentence(found, lines),
    )


def _turned(found: Pair) -> Pair:
    """The same rows with the two the other way round."""

    def turn(one: Difference) -> Difference:
        return Difference(one.second, one.first, one.difference.scaled(-1), one.chance)

    right = found.right
    return msgspec.structs.replace(
        found,
        first=found.second,
        second=found.first,
        metrics={name: turn(one) for name, one in found.metrics.items()},
        slices={part: {name: turn(one) for name, one in metrics.items()} for part, metrics in found.slices.items()},
        right=Discordant(right.both, right.second, right.first, right.neither, right.answers),
    )


def _line(found: Pair, head: MetricHead, one: Difference, part: str) -> Line:
    share = head.unit == "share"
    says = _says(head, one, found.within if part else found.confidence)
    difference = one.difference.scaled(100) if share else one.difference
    unit = "pt" if share else head.unit
    return Line(
        metric=head.name,
        slice=part,
        unit=head.unit,
        first=one.first,
        second=one.second,
        difference=difference,
        difference_text=difference_text(difference, unit),
        says=says,
        sentence=_told(found, head.name + (f" on {part}" if part else ""), difference, unit, says),
    )


def _says(head: MetricHead, one: Difference, confidence: float) -> Says:
    low, high = one.difference.low, one.difference.high
    if one.difference.value is None:
        return "none"
    if low == high == 0:
        return "same"
    # Few rows that differ make an interval too narrow: the exact test must agree.
    if not one.sign or one.chance >= 1 - confidence:
        return "open"
    if head.better is None:
        return "differ"
    return "second" if (one.sign > 0) == (head.better == "up") else "first"


def _told(found: Pair, name: str, difference: Estimate, unit: str, says: Says) -> str:
    text = difference_text(difference, unit)
    if says == "none":
        return f"{name}: {difference.reason or 'nothing to compare'}"
    if says == "same":
        return f"{name}: no difference on these rows"
    if says == "open":
        return f"{name}: not told apart by this data: difference {text}"
    if says == "differ":
        return f"{name} differs: {text}"
    return f"{found.second if says == 'second' else found.first} is better in {name}: difference {text}"


def difference_text(one: Estimate, unit: str) -> str:
    """A difference with its sign, rounded to what its interval allows.

    >>> difference_text(Estimate(0.312, -0.41, 1.03, 9, "t"), "pt"), difference_text(Estimate(-2.0, None, None, 9, "t"), "")
    ('+0.31 pt [−0.41, +1.03]', '−2 [open, open]')
    """
    if one.value is None:
        return one.reason or "not known"
    digits: int | None = None
    if one.low is not None and one.high is not None:
        # One digit more than a figure has, so that an end beside 0 is not shown as 0.
        digits = min(6, max(0, 1 - math.floor(math.log10((one.high - one.low) / 2)))) if one.high > one.low else 0
    value = _signed(one.value, digits)
    if one.low == one.high == one.value:
        return f"{value} {unit}".rstrip()
    ends = ", ".join("open" if end is None else _signed(end, digits) for end in (one.low, one.high))
    return f"{value}{' ' + unit if unit else ''} [{ends}]"


def _signed(value: float, digits: int | None) -> str:
    text = f"{value:+.3g}" if digits is None else f"{value:+,.{digits}f}"
    return text.replace("-", "−") if text.strip("+-0.,") else text[1:]


def _sentence(found: Pair, lines: Sequence[Line]) -> str:
    """The whole comparison in one sentence that claims no more than was seen."""
    if found.how == "none" or not found.rows:
        return f"{found.first} and {found.second} cannot be compared on the same rows here: {found.note}"
    said = f"On the same {found.rows:,} rows"
    if not found.right.answers:
        return f"{said} {found.first} and {found.second} gave the same answers"
    if not lines:
        return f"{said}: the charter has no metric of truth and answer by which to compare {found.first} and {found.second}"
    parts = [
        f"{run} is better in {_and(names)}"
        for run, side in ((found.second, "second"), (found.first, "first"))
        if (names := [one.metric for one in lines if one.says == side])
    ]
    if other := [one.metric for one in lines if one.says == "differ"]:
        parts.append(f"they differ in {_and(other)}")
    open_ = [one for one in lines if one.says == "open"]
    if not parts:
        what = f": {open_[0].metric} differs by {open_[0].difference_text}" if open_ else ""
        return f"{said} {found.first} and {found.second} are not told apart by this data{what}"
    if open_:
        parts[-1] += f"; {_and([one.metric for one in open_])} {'is' if len(open_) == 1 else 'are'} not told apart"
    return f"{said} {', '.join(parts)}"


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
