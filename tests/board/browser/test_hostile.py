"""Texts that mean harm stay texts, and stay readable, wherever somebody could have written them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.board.atlas import Atlas
from tests.board.browser.conftest import Walker
from tests.board.served import Served
from tests.board.workshop import HOSTILE

#: Page -> a text that somebody wrote there: a reason, a name of data or of a person, a value, a tag, a note.
WRITTEN = {
    "line": HOSTILE[0],
    "data": HOSTILE[1],
    "data.version": HOSTILE[2],
    "data.examples": HOSTILE[0],
    "models.run": HOSTILE[1],
    "deploy.history": HOSTILE[1],
    "decision": HOSTILE[0],
    "journal": HOSTILE[1],
    "settings": HOSTILE[0],
}


@pytest.mark.parametrize("name", WRITTEN)
def test_it_is_shown_as_it_was_written(board: Served, walk: Callable[..., Walker], addresses: Atlas, name: str) -> None:
    owner = walk(board, "owner")
    shown = "".join(owner.open(address).inner_text("main") for address in addresses.pages[name])
    assert WRITTEN[name][:40] in shown, f"{name} shows {WRITTEN[name][:40]!r} nowhere"


def test_a_reason_typed_into_the_browser_is_no_less_a_text(floor: Served, walk: Callable[..., Walker]) -> None:
    """The whole way: form, cookie of the note, journal, live refresh of a page that is open elsewhere."""
    reason = "".join(HOSTILE)
    onlooker, operator = walk(floor, "viewer"), walk(floor, "operator")
    seen = onlooker.open("/")
    for word in ("Stop the line", "Start the line"):
        page = operator.open("/act/stop" if word.startswith("Stop") else "/act/start")
        page.get_by_label("Why").fill(reason)
        page.get_by_role("button", name=word).click()
        page.wait_for_selector(".banner.note")
    onlooker.until("document.querySelector('#journal').innerText.includes('<img src=x')")
    for page in (seen, operator.page):
        assert page.evaluate("window.forbidden") == [] and page.title() != "taken"
        assert page.locator("img[src='x'], [onload], main script").count() == 0


def test_what_is_asked_for_in_an_address_is_no_less_a_text(board: Served, walk: Callable[..., Walker]) -> None:
    from urllib.parse import quote

    owner = walk(board, "owner")
    for harm in HOSTILE:
        for path, status in (
            ("/nowhere/{}", 404),
            ("/data/{}", 404),
            ("/decisions?q={}", 200),
            ("/act/stop?next={}", 200),
        ):
            page = owner.page
            answer = page.goto(board.url + path.format(quote(harm, safe="")))
            assert answer is not None and answer.status in (status, 400)
            assert page.evaluate("window.forbidden") == [] and page.title() != "taken"
            assert page.locator("a[href^='javascript']").count() == 0
