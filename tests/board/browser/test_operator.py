"""An operator's walk: a canary that moves before one's eyes, a stop with a reason, the way back; and who only looks on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.board.browser.conftest import Walker
from tests.board.served import Served

REASON = "smoke over lathe 3 again"


def page_twin(board: Served, path: str) -> dict[str, Any]:
    """What a program is told."""
    answer = board.call("GET", f"/api/v1{path}", headers={"authorization": f"Bearer {board.tokens['owner']}"})
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


def confirm(walker: Walker, reason: str) -> None:
    """Give the reason on the page that asks, and go on."""
    page = walker.page
    page.get_by_label("Why").fill(reason)
    with page.expect_navigation():
        page.locator("form.stack button").click()


def test_a_canary_is_started_moves_and_is_rolled_back(floor: Served, walk: Callable[..., Walker]) -> None:
    onlooker, operator = walk(floor, "viewer"), walk(floor, "operator")
    seen = onlooker.open("/")
    seen.evaluate("window.same = 'page'")
    assert "canary v2" not in seen.inner_text("#rollout h2").lower()

    page = operator.open("/deploy")
    page.locator("#releases tr", has_text="v2").get_by_role("button", name="canary").click()
    assert "v2" in page.inner_text("dl.change") and "v1" in page.inner_text("dl.change")
    confirm(operator, "a few bolts first")
    assert "v2" in operator.note()

    # Whoever has the line page open sees it come, and then sees its cases counted, without loading the page again.
    onlooker.until("document.querySelector('#rollout h2').innerText.toLowerCase().includes('canary v2')")
    assert floor.decide(60)["id"]
    counted = "[...document.querySelectorAll('#rollout tbody tr')].some(row => /v2/.test(row.innerText) && / canary\\t[1-9]/.test(row.innerText))"
    onlooker.until(counted)
    assert seen.evaluate("window.same") == "page", "the page was not loaded again"

    page = operator.open("/deploy")
    page.get_by_role("link", name="Roll back").click()
    confirm(operator, "too early")
    onlooker.until("!document.querySelector('#rollout h2').innerText.toLowerCase().includes('canary v2')")
    assert page_twin(floor, "/deploy")["route"]["answering"][0]["name"] == "v1"
    seen.close()


def test_the_line_is_stopped_with_a_reason_and_started_again(floor: Served, walk: Callable[..., Walker]) -> None:
    onlooker, operator = walk(floor, "viewer"), walk(floor, "operator")
    seen = onlooker.open("/watch")
    page = operator.open("/")
    page.locator("#cord").get_by_role("link", name="Stop the line").click()
    assert "Stop the line?" in operator.heading()
    confirm(operator, REASON)
    assert page.url.rstrip("/") == floor.url and "stopped" in page.inner_text("#stopped")
    onlooker.until("document.querySelector('#stopped').innerText.includes('stopped')")
    assert floor.decide(1)["status"] == "pending", "people decide now"
    assert REASON in operator.open("/journal").inner_text("main")
    page.locator("#cord").get_by_role("link", name="Start the line").click()
    confirm(operator, "it was steam")
    assert page.locator("#cord").inner_text().strip() == "Stop the line"
    assert floor.decide(1)["decided_by"] == "model"
    seen.close()


def test_leaving_the_question_changes_nothing(floor: Served, walk: Callable[..., Walker]) -> None:
    operator = walk(floor, "operator")
    before = page_twin(floor, "/deploy")["route"]["epoch"]
    page = operator.open("/watch")
    page.locator("#cord").get_by_role("link").click()
    page.get_by_role("link", name="Leave it as it is").click()
    assert page.url == floor.url + "/watch"
    assert page_twin(floor, "/deploy")["route"]["epoch"] == before


def test_without_a_script_the_line_is_read_and_stopped(floor: Served, walk: Callable[..., Walker]) -> None:
    operator = walk(floor, "operator", java_script_enabled=False)
    page = operator.open("/")
    page.get_by_role("link", name="Stop the line").click()
    page.get_by_label("Why").fill(REASON)
    page.locator("form.stack button").click()
    assert "stopped" in page.inner_text("#stopped")
    page.locator("#cord").get_by_role("link", name="Start the line").click()
    page.locator("form.stack button").click()
    assert "Stop the line" in page.locator("#cord").inner_text()


def test_whoever_only_looks_on_finds_nothing_to_press(floor: Served, walk: Callable[..., Walker]) -> None:
    viewer = walk(floor, "viewer")
    for path in ("/", "/deploy", "/watch/alarms", "/review", "/settings"):
        page = viewer.open(path)
        acting = "form[method=post]:not([action='/logout']):not([action='/act/journal/verify']), a[href^='/act/']"
        assert page.locator(acting).count() == 0
    page = viewer.open("/act/stop", 403)
    assert "viewer" in page.inner_text("[role=alert]") and page.locator("form.stack").count() == 0
