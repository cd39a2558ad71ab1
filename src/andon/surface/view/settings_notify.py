"""Who is told when an alarm fires: the charter's addresses without their secrets, and a test notice to each of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.monitor.notify import Notice, Notifier, shown_target, understood
from andon.surface.page import Command, Done

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["COMMANDS", "LONGEST", "NotifyTest", "Sent", "Target", "Tested", "targets", "tell_each"]

LONGEST = 20.0
"""Seconds after which no further address is tried."""


class Target(msgspec.Struct, frozen=True):
    """An address by its kind and host; ``fault`` says why it is told nothing."""

    shown: str
    fault: str = ""


class Sent(msgspec.Struct, frozen=True):
    """What became of a test notice to one address."""

    target: str
    ok: bool
    detail: str
    seconds: float = 0.0


class NotifyTest(msgspec.Struct, frozen=True):
    """Send one test notice to each address of the charter."""

    reason: Annotated[str, msgspec.Meta(max_length=2000, title="Why")] = ""


class Tested(Done, frozen=True, kw_only=True):
    """What became of each."""

    sent: tuple[Sent, ...]


def targets(visit: Visit) -> tuple[Target, ...]:
    """The addresses of ``alarms.notify``, each held against what the charter allows data to reach."""
    charter = visit.project.charter
    return tuple(
        Target(shown_target(one), _fault(one, charter.checklist.privacy.stays)) for one in charter.alarms.notify
    )


def _fault(target: str, stays: str) -> str:
    _, said = understood([target], stays)
    return said[0] if said else ""


def tell_each(visit: Visit, params: NotifyTest) -> Tested:
    """Tell each address once, one after the other, for at most ``LONGEST`` seconds; nothing is tried again.

    An address that data may not reach (``privacy.stays``) is told nothing, as by the line itself. Raises ``Unavailable``
    when the journal cannot be written; then the notices were sent.
    """
    charter, began, sent = visit.project.charter, time.monotonic(), list[Sent]()
    title = f"{charter.project}: test notice"
    body = f"{visit.viewer.name} tries whether this address can be told. Nothing is wrong."
    notice = Notice(title, body, "", visit.now_us, "test", charter.project)
    for target in charter.alarms.notify:
        sent.append(_tell(target, charter.checklist.privacy.stays, notice, began + LONGEST))
    reached = sum(one.ok for one in sent)
    if sent:
        evidence = {"sent": reached, "failed": len(sent) - reached}
        workspace = visit.project.workspace
        workspace.journal.append("notify.test", "alarms.notify", visit.viewer.name, params.reason, evidence)
    none = "The charter names no address: nobody is told of an alarm."
    return Tested(sentence=f"{reached} of {len(sent)} told." if sent else none, sent=tuple(sent))


def _tell(target: str, stays: str, notice: Notice, end: float) -> Sent:
    shown, fault, began = shown_target(target), _fault(target, stays), time.monotonic()
    if fault:
        return Sent(shown, False, fault)
    if began >= end:
        return Sent(shown, False, f"not tried: the others took {LONGEST:g} s")
    post = Notifier([target], stays=stays)
    post.add(notice)
    (delivery,) = post.flush(1)
    return Sent(shown, delivery.ok, delivery.detail or "delivered", round(time.monotonic() - began, 2))


COMMANDS = (
    Command(
        "notify.test", "Send a test notice", NotifyTest, tell_each, "deploy", result=Tested, template="settings_tested.html",
        back="/settings#notifications",
    ),
)  # fmt: skip
