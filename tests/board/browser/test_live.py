"""Pages stay true while they are open, also when the board goes away for a while and comes back."""

from __future__ import annotations

from collections.abc import Callable

from tests.board.browser.conftest import Walker
from tests.board.conftest import Workshop
from tests.board.served import Served

from andon.config import open_project
from andon.deploy.line import Line


def test_an_open_page_finds_the_board_again_after_it_was_started_anew(
    own_project: Workshop, serve: Callable[[Workshop], Served], walk: Callable[..., Walker]
) -> None:
    board = serve(own_project)
    viewer = walk(board, "viewer")
    page = viewer.page
    with page.expect_response("**/api/v1/events"):
        viewer.open("/")
    page.evaluate("window.same = 'page'")
    board.stop()
    page.wait_for_selector("#broken:not([hidden])")
    assert "does not answer" in page.inner_text("#broken") and "toy" in page.inner_text("h1"), "what it showed stays"
    project = open_project(own_project.root)
    Line(project.workspace, project.charter).stop(actor="olga", reason="while nobody could see it")
    project.workspace.close()
    board.start()
    viewer.until("document.querySelector('#stopped').innerText.includes('stopped')", 30)
    page.wait_for_selector("#broken", state="hidden")
    assert page.evaluate("window.same") == "page", "the page found it by itself and was not loaded again"


def test_a_refresh_takes_nothing_from_under_a_person_s_hands(floor: Served, walk: Callable[..., Walker]) -> None:
    """Where the keyboard is stays where it is, though the page around it changes."""
    operator = walk(floor, "operator")
    page = operator.open("/deploy")
    chosen = page.locator("#levels select[name=level]")
    chosen.focus()
    chosen.select_option("assist")
    page.evaluate("""() => {
      window.again = 0;
      document.addEventListener('andon:refreshed', () => window.again++);
    }""")
    floor.decide(5)
    operator.until("window.again > 0")
    assert chosen.input_value() == "assist"
    assert page.evaluate("document.activeElement.name") == "level"
