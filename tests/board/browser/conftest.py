"""A real Chromium for the walks: one for all of them, ended when the last walk is over."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright
from tests.board.conftest import Workshop
from tests.board.served import Served
from tests.board.workshop import copy_of

NAMES = ("chromium", "chromium-browser", "google-chrome")

#: What a page tells about itself before any of its own script runs: what moved, and what its policy had to forbid.
OBSERVE = """
window.moved = 0;
window.forbidden = [];
document.addEventListener('securitypolicyviolation', e => window.forbidden.push(e.violatedDirective + ' ' + e.blockedURI));
new PerformanceObserver(list => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.moved += one.value;
}).observe({type: 'layout-shift', buffered: true});
"""


def chromium() -> str | None:
    """The browser to drive."""
    named = os.environ.get("ANDON_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="package")
def browser(board_project: Workshop) -> Iterator[Browser]:
    """Chromium, headless.

    Playwright runs an event loop in this thread while it is open, so it must be closed before tests that want their own,
    and the project, whose making wants one, is made before it opens.
    """
    path = chromium()
    if path is None:
        pytest.skip("no Chromium here: `scripts/machine` installs Debian's, or ANDON_CHROMIUM names one")
    assert Path(path).exists(), f"ANDON_CHROMIUM names {path}, which is not there"
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=[*sandbox, "--disable-dev-shm-usage"])
        yield made
        made.close()


@pytest.fixture(scope="package")
def floor(board_project: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A line that is up, with its board: for whoever acts, and leaves it as it was found."""
    root = copy_of(board_project.root, tmp_path_factory.mktemp("floor") / "toy")
    served = Served(root, board_project.tokens, line=True)
    served.start()
    yield served
    served.stop()


class Walker:
    """A person at a board: a browser of their own, logged in, and everything that went wrong in it.

    ``faults`` are dialogs, errors of scripts, messages on the console and what the page's policy had to forbid.
    """

    def __init__(self, context: BrowserContext, board: Served) -> None:
        self.context = context
        self.board = board
        self.faults: list[str] = []
        context.set_default_timeout(10_000)
        context.add_init_script(OBSERVE)
        self.page = context.new_page()
        self.watch(self.page)

    def watch(self, page: Page) -> None:
        """Keep what goes wrong in a page."""
        page.on("dialog", self._asked)
        page.on("pageerror", lambda error: self.faults.append(f"{page.url}: {error}"))
        page.on("console", lambda said: self._said(said, page))

    def _asked(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _said(self, said: Any, page: Page) -> None:
        # Chromium says every answer of 400 and more on the console; walks look at statuses themselves.
        if said.type in ("error", "warning") and "Failed to load resource" not in said.text:
            self.faults.append(f"{page.url}: {said.type} {said.text}")

    def open(self, path: str, status: int = 200) -> Page:
        """Go to a path of the board."""
        answer = self.page.goto(self.board.url + path)
        assert answer is not None and answer.status == status, f"{path}: {answer and answer.status}"
        return self.page

    def until(self, script: str, seconds: float = 20.0) -> None:
        """Wait until a script says yes.

        Playwright's own way has the page itself evaluate the script again and again, which its policy forbids.
        """
        end = time.monotonic() + seconds
        while not self.page.evaluate(script):
            assert time.monotonic() < end, f"{self.page.url}: not after {seconds} s: {script}"
            self.page.wait_for_timeout(50)

    def heading(self) -> str:
        return self.page.inner_text("h1")

    def note(self) -> str:
        """What the page's top says after an act."""
        return " ".join(self.page.locator(".banner.note").all_inner_texts())


@pytest.fixture
def walk(browser: Browser) -> Iterator[Callable[..., Walker]]:
    """Call it with a board and a role (and settings of the browser's context): somebody who stands before it.

    Role None: somebody who has not logged in. What went wrong in any browser is told when the test ends.
    """
    walkers: list[Walker] = []

    def begin(board: Served, role: str | None = "owner", **settings: Any) -> Walker:
        context = browser.new_context(**settings)
        if role is not None:
            context.add_cookies([{"name": n, "value": v, "url": board.url} for n, v in board.session(role).items()])
        walkers.append(Walker(context, board))
        return walkers[-1]

    yield begin
    faults = [fault for walker in walkers for fault in walker.faults]
    for walker in walkers:
        walker.context.close()
    assert faults == []
