"""Telling people: a webhook gets JSON, everything else goes through apprise; tried a few times, never waited for long.

A notice holds names of metrics, numbers and times: no input and no unit. Addresses hold secrets, so what is recorded of
them is only their kind and host.

>>> sent = []
>>> post = Notifier(["https://example.org/hook"], post=lambda url, body, seconds: sent.append(body["title"]))
>>> post.add(Notice("error fired", "error is 0.3: outside <= 0.06", "error", 7))
>>> [delivery.ok for delivery in post.flush()], sent
([True], ['error fired'])
"""

from __future__ import annotations

import logging
import urllib.request
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from andon.core.clock import iso
from andon.core.reach import is_loopback
from andon.errors import UsageError
from andon.monitor.alarm import AlarmAction

__all__ = ["Delivery", "Notice", "Notifier", "check_targets", "notice_of", "shown_target", "understood"]

#: A notice is tried this often, then given up and recorded as not delivered.
ATTEMPTS = 3
#: So many notices wait at most; the oldest is given up first.
WAITING = 100
SECONDS = 3.0

Post = Callable[[str, dict[str, Any], float], None]


class Notice(msgspec.Struct, frozen=True):
    """What is told: a title, one sentence, the alarm's name and when (event time)."""

    title: str
    body: str
    alarm: str
    time_us: int
    phase: str = ""
    project: str = ""


class Delivery(msgspec.Struct, frozen=True):
    """How telling one address ended; ``target`` is its kind and host. ``final``: it will not be tried again."""

    target: str
    alarm: str
    ok: bool
    final: bool
    detail: str = ""


def notice_of(action: AlarmAction, project: str, now: int) -> Notice:
    """The notice for an alarm's action.

    >>> from andon.monitor.alarm import Alarm
    >>> notice_of(AlarmAction("fired", Alarm("error", "error", phase="firing")), "screening", 0).title
    'screening: alarm error fired'
    """
    alarm = action.alarm
    does = {"people": "; every decision now goes to people", "rollback": "; the line goes back to the release before"}
    title = f"{project}: alarm {alarm.key} {action.what if action.what in ('fired', 'resolved') else 'acted'}"
    return Notice(title, action.sentence + does.get(action.what, ""), alarm.key, now, alarm.phase, project)


def shown_target(target: str) -> str:
    """An address without its secrets: kind and host.

    >>> shown_target("https://user:secret@example.org/T00/key")
    'https://example.org'
    """
    parts = urlsplit(target)
    # The host of an apprise address is often itself a token: only those of the web are shown.
    return f"{parts.scheme}://{parts.hostname}" if parts.scheme in ("http", "https") else f"{parts.scheme}://..."


def check_targets(targets: Sequence[str], stays: str = "organisation") -> None:
    """Raise ``UsageError`` for an address that nothing understands, or one off this device when data stay on it."""
    for target in targets:
        parts = urlsplit(target)
        if not parts.scheme or (parts.scheme in ("http", "https") and not parts.hostname):
            raise UsageError(
                f"alarms.notify: expected an address like https://host/path, found {shown_target(target)!r}"
            )
        if stays == "device" and not is_loopback(parts.hostname or ""):
            raise UsageError(
                f"alarms.notify: {shown_target(target)} is not on this device, but privacy.stays is 'device'"
            )
        if parts.scheme not in ("http", "https") and _service(target) is None:
            raise UsageError(f"alarms.notify: apprise does not understand the {parts.scheme}:// address")


def understood(targets: Sequence[str], stays: str = "organisation") -> tuple[list[str], list[str]]:
    """The addresses that can be told, and a sentence for each other one: it loses its notices, nothing else.

    >>> understood(["https://example.org/hook", "example"])
    (['https://example.org/hook'], ["alarms.notify: expected an address like https://host/path, found '://...'; it is told nothing"])
    """
    kept, said = [], []
    for target in targets:
        try:
            check_targets([target], stays)
            kept.append(target)
        except UsageError as error:
            said.append(f"{error.message}; it is told nothing")
    return kept, said


class Notifier:
    """Notices on their way to all targets. Nothing is sent before ``flush``, which takes at most ``seconds`` a target."""

    def __init__(
        self, targets: Sequence[str], *, stays: str = "organisation", seconds: float = SECONDS, post: Post | None = None
    ) -> None:
        check_targets(targets, stays)
        self._targets = tuple(targets)
        self._seconds = seconds
        self._post = post or _send
        self._waiting: deque[tuple[Notice, str, int]] = deque()
        self.dropped = 0

    def add(self, notice: Notice) -> None:
        """Put a notice in the queue, once for every target; a full queue drops its oldest and counts it."""
        for target in self._targets:
            if len(self._waiting) >= WAITING:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((notice, target, 1))

    @property
    def waiting(self) -> int:
        """How many deliveries are still to be tried."""
        return len(self._waiting)

    def flush(self, limit: int = 10) -> list[Delivery]:
        """Try at most ``limit`` of what waits, each once; what failed goes to the back of the queue until its attempts are used up."""
        done = []
        for _ in range(min(limit, len(self._waiting))):
            notice, target, attempt = self._waiting.popleft()
            detail = self._try(notice, target)
            final = detail is None or attempt >= ATTEMPTS
            if not final:
                self._waiting.append((notice, target, attempt + 1))
            done.append(Delivery(shown_target(target), notice.alarm, detail is None, final, detail or ""))
        return done

    def _try(self, notice: Notice, target: str) -> str | None:
        """None when it was delivered, else why not."""
        body = {**msgspec.to_builtins(notice), "time": iso(notice.time_us)}
        try:
            self._post(target, body, self._seconds)
        except Exception as error:  # noqa: BLE001 - the network boundary: whatever a service does must not stop the line
            # The text of an error may hold the address with its secrets: only its kind is kept.
            return f"{type(error).__name__} from {shown_target(target)}"
        return None


def _send(target: str, body: dict[str, Any], seconds: float) -> None:
    if urlsplit(target).scheme in ("http", "https"):
        _webhook(target, body, seconds)
    else:
        _apprise(target, body)


def _webhook(target: str, body: dict[str, Any], seconds: float) -> None:
    data = msgspec.json.encode(body)
    request = urllib.request.Request(target, data, {"Content-Type": "application/json"}, method="POST")
    # What may only go to this machine goes there, and not to a proxy that happens to be named in the environment.
    proxies = [urllib.request.ProxyHandler({})] if is_loopback(urlsplit(target).hostname or "") else []
    with urllib.request.build_opener(_NoRedirect, *proxies).open(request, timeout=seconds):
        pass


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An address is told at that address or not at all: where it sends us was never checked."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _apprise(target: str, body: dict[str, Any]) -> None:
    service = _service(target)
    if service is None or not service.notify(title=body["title"], body=body["body"]):
        raise ConnectionError("not delivered")


def _service(target: str) -> Any | None:
    """The apprise service behind an address, or None when there is none."""
    with warnings.catch_warnings():
        # Its plug-ins are loaded here, and some import modules that Python is about to drop.
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        logging.getLogger("apprise").disabled = True  # it writes addresses down with the keys in their paths
        service = apprise.Apprise()
        return service if service.add(target) else None
