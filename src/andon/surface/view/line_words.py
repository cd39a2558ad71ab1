"""Words of the first page: commands in a text lead to the page that does the same, events become sentences.

>>> [(word.text, word.href) for word in linked("about 5 more; `andon errors r3` shows where")]
[('about 5 more; ', ''), ('andon errors r3', '/models/r3'), (' shows where', '')]
"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from andon.core.record import Event
from andon.surface.view.journal_words import Units, reason_of, state_of, told

__all__ = ["Happened", "Word", "happened", "href_of", "linked"]

_CODE = re.compile(r"`([^`]*)`")
#: What a command begins with, and the page that does it; "{}" is its first argument. The first that fits counts.
_PAGES: tuple[tuple[str, str], ...] = (
    ("andon alarms ack", "/watch/alarms/{}"),
    ("andon alarms", "/watch/alarms"),
    ("andon monitor show", "/watch/metrics/{}"),
    ("andon monitor", "/watch"),
    ("andon errors", "/models/{}"),
    ("andon release", "/models/{}"),
    ("andon deploy compare", "/deploy/shadow/{}"),
    ("andon deploy explain", "/deploy/rollout"),
    ("andon deploy history", "/deploy/history"),
    ("andon deploy", "/deploy"),
    ("andon automate", "/automation"),
    ("andon review", "/review"),
    ("andon journal", "/journal"),
    ("andon data", "/data"),
    ("andon scope", "/scope"),
    ("andon check", "/scope"),
)
_PLAIN = re.compile(r"[A-Za-z_][\w.@-]*(/[\w-]+)?")


class Word(msgspec.Struct, frozen=True):
    """A piece of a sentence: plain, or a command; ``href`` is the page where the same can be done, if there is one."""

    text: str
    command: bool = False
    href: str = ""


class Happened(msgspec.Struct, frozen=True):
    """An event of the journal in one sentence; ``tone`` is alarm where something rang or was stopped."""

    sequence: int
    time_us: int
    actor: str
    action: str
    sentence: str
    reason: str
    href: str
    tone: str = "plain"


def linked(text: str) -> tuple[Word, ...]:
    """A text in pieces, its commands (between backquotes) with their pages."""
    pieces = _CODE.split(text)
    found = [
        Word(piece, True, href_of(piece)) if place % 2 else Word(piece) for place, piece in enumerate(pieces) if piece
    ]
    return tuple(found)


def href_of(command: str) -> str:
    """The page that does what a command does; empty where none does.

    >>> href_of("andon alarms ack error/older"), href_of("andon deploy compare VERSION"), href_of("andon up")
    ('/watch/alarms/error/older', '/deploy', '')
    """
    for begins, page in _PAGES:
        rest = command.removeprefix(begins)
        if rest == command or rest[:1] not in ("", " "):
            continue
        name = rest.split()[0] if rest.split() else ""
        if "{}" not in page:
            return page
        if _PLAIN.fullmatch(name) and not name.isupper():
            return page.format(quote(name))
    return ""


def happened(event: Event, units: Units) -> Happened:
    """One event for people, as the journal tells it; ``units`` are those of the metrics by name."""
    return Happened(
        sequence=event.sequence,
        time_us=event.time_us,
        actor=event.actor,
        action=event.action,
        sentence=told(event, units),
        reason=reason_of(event),
        href=f"/journal?subject={quote(event.subject, safe='')}",
        tone="alarm" if state_of(event) in ("stop", "look") else "plain",
    )
