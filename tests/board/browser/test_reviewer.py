"""A reviewer's walk: twenty cases by keyboard, one taken back, and the same without a script in the browser."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlsplit

from tests.board.browser.conftest import Walker
from tests.board.served import Served

from andon.config import open_project
from andon.core.record import Item

NAME = "reviewer one"


def case_at(walker: Walker) -> str:
    """The case that the page shows."""
    return parse_qs(urlsplit(walker.page.url).query).get("id", [""])[0]


def items(board: Served, ids: list[str]) -> dict[str, Item]:
    opened = open_project(board.root)
    try:
        return opened.workspace.items.many(ids)
    finally:
        opened.workspace.close()


def press(walker: Walker, key: str) -> str:
    """Press a key that leads to another page; the case that is shown then."""
    with walker.page.expect_navigation():
        walker.page.keyboard.press(key)
    return case_at(walker)


def test_twenty_cases_by_keyboard(floor: Served, walk: Callable[..., Walker]) -> None:
    reviewer = walk(floor, "reviewer")
    reviewer.open("/review")
    at = press(reviewer, "Enter")
    keys = ["1", "2", "2", "1", "1"] * 4
    answered: dict[str, str] = {}
    for key in keys:
        assert at and at not in answered
        label = reviewer.page.locator(f"button[data-key='{key}'] span").inner_text().splitlines()[0]
        answered[at] = label
        at = press(reviewer, key)
    last = list(answered)[-1]
    assert press(reviewer, "u") == last, "U brings the last case back"
    other = reviewer.page.locator("button[data-key='1'] span").inner_text().splitlines()[0]
    answered[last] = other
    at = press(reviewer, "1")
    press(reviewer, "d")
    assert "sent" in reviewer.note()
    found = items(floor, [*answered, at])
    assert {id: (found[id].decision, found[id].reviewer) for id in answered} == {
        id: (label, NAME) for id, label in answered.items()
    }
    assert found[at].state == "open", "the case one was at when leaving is open again"


def test_a_case_without_a_script(floor: Served, walk: Callable[..., Walker]) -> None:
    reviewer = walk(floor, "reviewer", java_script_enabled=False)
    page = reviewer.open("/review")
    page.get_by_role("button", name="Start").click()
    at = case_at(reviewer)
    page.get_by_role("button", name="reject").click()
    assert case_at(reviewer) not in ("", at)
    page.get_by_role("button", name="Done for now").click()
    assert items(floor, [at])[at].decision == "reject"


def test_two_reviewers_are_never_at_the_same_case(floor: Served, walk: Callable[..., Walker]) -> None:
    one, two = walk(floor, "reviewer"), walk(floor, "operator")
    for walker in (one, two):
        walker.open("/review")
        press(walker, "Enter")
    first = case_at(one)
    assert first != case_at(two)
    page = two.open(f"/review/case?id={quote(first)}")
    assert "somebody else" in page.inner_text("h1") and page.locator(".choices").count() == 0
    press(one, "d")
    two.open("/review/case")
    press(two, "d")
