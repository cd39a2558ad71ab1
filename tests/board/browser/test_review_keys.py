"""The case page in a browser: accessible, in both lights and on a phone; keys that can be switched off; clocks that run."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from io import BytesIO

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from tests.board.browser.conftest import Walker
from tests.board.reviewing import CHARTER
from tests.board.served import Served

from andon.config import open_project
from andon.core.clock import MINUTE
from andon.core.record import Item, Scalar
from andon.people.access import Access
from andon.store.tokens import TokenFile


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Cases on a board of their own, each with a picture, a long text and a name that nobody should have."""
    root = tmp_path_factory.mktemp("review") / "clinic"
    root.mkdir()
    (root / "andon.yaml").write_text(CHARTER)
    workspace = open_project(root).workspace
    secret, _ = Access(TokenFile(workspace.home)).create("maria", "reviewer", now_us=workspace.clock.wall())
    out, now = BytesIO(), workspace.clock.now()
    Image.new("RGB", (900, 300), (200, 90, 40)).save(out, "PNG")
    x: dict[str, Scalar] = {
        "cough": True,
        "story": "W" * 5000 + " שלום <b>",
        "picture": b64encode(out.getvalue()).decode(),
        "n" * 70: 1,
    }
    workspace.items.add([Item(f"case {n}", "decision", now - MINUTE, now + (n + 20) * MINUTE, x) for n in range(12)])
    workspace.close()
    board = Served(root, {"reviewer": secret})
    board.start()
    yield board
    board.stop()


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_a_case_can_be_read_by_everybody(clinic: Served, walk: Callable[..., Walker], look: str) -> None:
    size = {"width": 360, "height": 740} if look == "phone" else {"width": 1280, "height": 900}
    maria = walk(clinic, "reviewer", viewport=size, color_scheme="dark" if look == "dark" else "light")
    page = maria.open("/review")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    with page.expect_navigation():
        page.keyboard.press("1")
    page.wait_for_function("document.querySelector('.inputs img').naturalWidth > 0")
    found = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    assert not found, [(one["id"], one["nodes"][0]["html"][:200]) for one in found]
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.locator("form.held").inner_text().startswith("● Your answer to case ")


def test_keys_are_listed_and_can_be_switched_off(clinic: Served, walk: Callable[..., Walker]) -> None:
    maria = walk(clinic, "reviewer")
    page = maria.open("/review")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.keyboard.press("?")
    assert page.locator("dialog dt").all_inner_texts() == ["1", "2", "3", "U", "S", "R", "D", "?"]
    page.keyboard.press("2")  # the list is open: this is no answer
    page.get_by_label("single keys act").uncheck()
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="hidden")
    where, held = page.url, page.locator("form.held").count()
    page.keyboard.press("1")
    page.keyboard.press("Control+1")
    time.sleep(0.3)
    assert page.url == where and page.locator("form.held").count() == held
    page.keyboard.press("?")
    page.get_by_label("single keys act").check()
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="hidden")
    with page.expect_navigation():
        page.keyboard.press("2")
    assert page.url != where


def test_the_clocks_run_and_an_answer_that_is_sent_cannot_be_undone(
    clinic: Served, walk: Callable[..., Walker]
) -> None:
    maria = walk(clinic, "reviewer")
    page = maria.page
    page.clock.install()
    maria.open("/review")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    with page.expect_navigation():
        page.keyboard.press("1")
    assert page.locator("[data-due-ms]").inner_text().startswith("due in ")
    page.clock.run_for(4_000)
    assert page.locator("[data-left]").inner_text() in ("5 s", "6 s")
    page.clock.run_for(7_000)
    assert page.locator("form.held").count() == 0
    page.clock.run_for(35 * 60_000)
    assert page.locator("[data-due-ms]").inner_text().startswith("overdue by")
    assert "open to others again" in page.locator("[data-lease-ms]").inner_text()
