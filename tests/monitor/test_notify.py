from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from andon.errors import UsageError
from andon.measure.estimate import wilson
from andon.measure.gate import Bound, gate
from andon.monitor.alarm import Alarm, AlarmAction
from andon.monitor.notify import ATTEMPTS, WAITING, Notice, Notifier, check_targets, notice_of, shown_target

NOTICE = Notice("title", "body", "error", 0)
HOOK = "https://user:hush@example.org/T0/secret?token=hush"


def failing(url: str, body: dict[str, Any], seconds: float) -> None:
    raise TimeoutError(f"no answer from {url}")


def test_what_fails_is_tried_again_and_then_given_up() -> None:
    notifier = Notifier([HOOK], post=failing)
    notifier.add(NOTICE)
    tries = [notifier.flush() for _ in range(ATTEMPTS + 1)]
    assert [len(tried) for tried in tries] == [1] * ATTEMPTS + [0]
    assert [tried[0].final for tried in tries[:-1]] == [False] * (ATTEMPTS - 1) + [True]
    assert notifier.waiting == 0


def test_no_secret_of_an_address_is_recorded() -> None:
    notifier = Notifier([HOOK], post=failing)
    notifier.add(NOTICE)
    delivery = notifier.flush()[0]
    assert delivery.detail == "TimeoutError from https://example.org"
    assert "hush" not in repr(delivery) and "hush" not in shown_target("slack://hush/hush/hush")


def test_one_dead_address_does_not_stop_the_others() -> None:
    sent: list[str] = []

    def half(url: str, body: dict[str, Any], seconds: float) -> None:
        if "dead" in url:
            raise ConnectionError
        sent.append(url)

    notifier = Notifier(["https://dead.example.org", "https://example.org"], post=half)
    notifier.add(NOTICE)
    assert [delivery.ok for delivery in notifier.flush()] == [False, True] and len(sent) == 1


def test_the_queue_is_bounded_and_counts_what_it_drops() -> None:
    notifier = Notifier(["https://example.org"], post=failing)
    for _ in range(WAITING + 3):
        notifier.add(NOTICE)
    assert (notifier.waiting, notifier.dropped) == (WAITING, 3)
    assert len(notifier.flush(limit=4)) == 4


@pytest.mark.parametrize(
    ("target", "stays", "says"),
    [
        ("hooks.example.org", "organisation", "expected an address"),
        ("https://", "organisation", "expected an address"),
        ("https://example.org", "device", "not on this device"),
        ("nonsense://x", "organisation", "apprise does not understand"),
    ],
)
def test_addresses_are_checked_before_they_are_needed(target: str, stays: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_targets([target], stays)


def test_a_device_may_talk_to_itself() -> None:
    check_targets(["http://127.0.0.1:9/x", "http://[::1]:9/x", "http://localhost:9"], "device")
    check_targets(["json://localhost"])


def test_the_notice_says_what_was_done() -> None:
    result = gate("error", wilson(30, 100), Bound.parse("<= 0.06"))
    alarm = Alarm("error", "error", phase="firing", result=result)
    told = {what: notice_of(AlarmAction(what, alarm), "screening", 0) for what in ("fired", "people", "rollback")}
    assert told["fired"].body == result.sentence
    assert "goes to people" in told["people"].body and "release before" in told["rollback"].body
    assert notice_of(AlarmAction("resolved", Alarm("x", "x")), "p", 0).body == "x is inactive"


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204 if self.path == "/ok" else 500)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_gets_json(hook: tuple[str, list[dict[str, Any]]]) -> None:
    url, got = hook
    notifier = Notifier([f"{url}/ok", f"{url}/broken"])
    notifier.add(NOTICE)
    assert [delivery.ok for delivery in notifier.flush()] == [True, False]
    assert got[0] == {
        "title": "title", "body": "body", "alarm": "error", "time_us": 0, "phase": "", "project": "",
        "time": "1970-01-01T00:00:00Z",
    }  # fmt: skip


def test_apprise_reaches_its_services(hook: tuple[str, list[dict[str, Any]]]) -> None:
    url, got = hook
    notifier = Notifier([f"json://{url.removeprefix('http://')}/ok", f"json://{url.removeprefix('http://')}/broken"])
    notifier.add(NOTICE)
    assert [delivery.ok for delivery in notifier.flush()] == [True, False]
    assert got[0]["title"] == "title"
