"""Routes in words: who answers under one, and what one changed against the one before.

>>> import msgspec
>>> from andon.core.record import Route
>>> before = Route(4, 0, 0, "ann", "canary", "", live="v1", candidate="v2", share=0.05, levels={"*": "full"})
>>> after = msgspec.structs.replace(before, epoch=5, action="ramp", share=0.2)
>>> who_answers(before), changes(before, after)
('v2 answers 5 % of the units, v1 the rest; level full', ('share of v2: 5 % → 20 %',))
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from andon.core.record import Route
from andon.deploy.chronicle import levels_of, levels_text

__all__ = ["changes", "percent", "place_of", "tone_of", "who_answers"]

_POLICY = {
    "only": "labels that may be automatic",
    "blind": "people are blind at level partial",
    "audit_share": "share of automatic answers that people look at again",
    "safe_default": "safe default",
    "review_seconds": "deadline of a review",
}


def percent(share: float) -> str:
    """A share of 1 for people.

    >>> percent(0.05), percent(0.125), percent(1.0)
    ('5 %', '12.5 %', '100 %')
    """
    return f"{share * 100:.4g} %"


def place_of(version: str, route: Route | None) -> Literal["live", "candidate", "shadow", "warm", ""]:
    """What a version does under a route; "" for nothing."""
    if route is None:
        return ""
    if version in (route.live, route.candidate):
        return "live" if version == route.live else "candidate"
    return "shadow" if version in route.shadows else "warm" if version in route.warm else ""


def tone_of(route: Route) -> Literal["people", "machine", "idle"]:
    """Who decides at most: "people", "machine", or "idle" where it is always the safe default."""
    if route.stopped:
        return "idle" if route.stopped == "safe_default" else "people"
    decides = {"partial", "full"} & set(route.levels.values())
    answers = route.live is not None or (route.candidate is not None and route.share > 0)
    return "machine" if decides and answers else "people"


def who_answers(route: Route) -> str:
    """The state of a route in one sentence, where its own sentence tells what it changed."""
    if route.stopped == "safe_default":
        return f"the line is stopped: every answer is {route.safe_default!r}"
    if route.stopped:
        return "the line is stopped: people decide everything"
    rest = route.live or "people"
    parts = []
    if route.candidate is not None and route.share > 0:
        parts.append(f"{route.candidate} answers {percent(route.share)} of the units, {rest} the rest")
    elif route.live is not None:
        parts.append(f"{route.live} is live")
    else:
        parts.append("people decide everything")
    if route.candidate is not None and not route.share:
        parts.append(f"{route.candidate} stands by")
    if route.shadows:
        parts.append(f"{' and '.join(route.shadows)} in the shadow")
    if route.held:
        parts.append("the share is held")
    return "; ".join([*parts, f"level {levels_text(route)}"])


def changes(before: Route | None, after: Route) -> tuple[str, ...]:
    """What ``after`` changed, the gravest first; empty where it changed nothing. ``before`` None: it is the first."""
    if before is None:
        return (f"the first route: level {levels_text(after)}",)
    return (
        *_stopped(before, after),
        *_live(before, after),
        *_candidate(before, after),
        *_levels_changed(before, after),
        *_thresholds(before, after),
        *_shadows(before, after),
        *_warm(before, after),
        *_policy(before, after),
    )


def _stopped(before: Route, after: Route) -> Iterator[str]:
    if before.stopped == after.stopped:
        return
    if not after.stopped:
        yield "the line goes on"
    elif after.stopped == "people":
        yield "everything to people"
    else:
        yield f"every answer is {after.safe_default!r}"


def _live(before: Route, after: Route) -> Iterator[str]:
    if before.live != after.live:
        yield f"live: {before.live or 'people alone'} → {after.live or 'people alone'}"


def _candidate(before: Route, after: Route) -> Iterator[str]:
    old, new = before.candidate, after.candidate
    if old != new:
        if old is not None and old != after.live:
            yield f"{old} is no longer the candidate ({percent(before.share)})"
        if new is not None:
            yield f"{new} is the candidate with {percent(after.share)}" if after.share else f"{new} stands by"
    elif new is not None and before.share != after.share:
        yield f"share of {new}: {percent(before.share)} → {percent(after.share)}"
    if before.held != after.held and new is not None:
        yield f"the share of {new} is held" if after.held else f"the share of {new} may change again"


def _levels_changed(before: Route, after: Route) -> Iterator[str]:
    everything = before.levels.get("*", "human")
    for name, level in levels_of(after):
        old = before.levels.get(name, everything)
        if old != level:
            yield f"level{_where(name)}: {old} → {level}"
        elif name not in before.levels:
            yield f"level{_where(name)}: {level}, whatever the others get"
    for name in before.levels:
        if name not in after.levels:
            yield f"{name} has no level of its own any more"


def _where(name: str) -> str:
    return "" if name == "*" else f" in {name}"


def _thresholds(before: Route, after: Route) -> Iterator[str]:
    for key, value in after.thresholds.items():
        version, _, name = key.partition("/")
        old = before.thresholds.get(key)
        if old is None and version in (after.live, after.candidate):
            yield f"{version} may decide{_where(name)} from a confidence of {value:.3g} on"
        elif old is not None and old != value:
            yield f"least confidence of {version}{_where(name)}: {old:.3g} → {value:.3g}"


def _shadows(before: Route, after: Route) -> Iterator[str]:
    answering = (after.live, after.candidate)
    for version in after.shadows:
        if version not in before.shadows:
            yield f"{version} runs in the shadow"
    for version in before.shadows:
        if version not in after.shadows and version not in answering:
            yield f"{version} leaves the shadow"


def _warm(before: Route, after: Route) -> Iterator[str]:
    known = {before.live, before.candidate}
    for version in after.warm:
        if version not in before.warm and version not in known:
            yield f"{version} is loaded"
    for version in before.warm:
        if version not in after.warm and version not in (after.live, after.candidate):
            yield f"{version} is no longer kept loaded"


def _policy(before: Route, after: Route) -> Iterator[str]:
    for name, words in _POLICY.items():
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"{words}: {_said(name, old)} → {_said(name, new)}"
    for name, text in after.slices.items():
        if before.slices.get(name, text) != text:
            yield f"slice {name}: {before.slices[name]} → {text}"


def _said(name: str, value: object) -> str:
    if name == "review_seconds" and isinstance(value, int | float):
        return f"{value / 60:.4g} min"
    if name == "audit_share" and isinstance(value, int | float):
        return percent(value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return {"only": "all", "safe_default": "none"}.get(name, "none") if value is None else str(value)
