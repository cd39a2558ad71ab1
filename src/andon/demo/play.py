"""``andon demo``: sets the stage, plays a story, and leaves its line running (or, without a terminal, ends)."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import webbrowser
from pathlib import Path

from rich.console import Console

from andon.core.registry import did_you_mean
from andon.demo import inspection, screening
from andon.demo.stage import Stage
from andon.errors import NotFound

__all__ = ["STORIES", "play"]

#: Story -> (when it begins, how many seconds of it pass in one, what plays it).
STORIES = {
    "screening": (screening.BEGIN, screening.RATE, screening.Screening),
    "inspection": (inspection.BEGIN, inspection.RATE, inspection.Inspection),
}


def play(story: str, folder: Path, port: int | None = None, *, look: bool = True) -> None:
    """Play one story in ``folder``; ``port`` None: the charter's. Raises ``NotFound`` for an unknown one.

    With ``look`` the board is opened in a browser, where there is a person with a screen.
    """
    if story not in STORIES:
        raise NotFound(f"no story is called {story!r}; {did_you_mean(story, STORIES)}")
    begin, rate, teller = STORIES[story]
    console = Console(highlight=False, soft_wrap=True)
    stage = Stage(story, folder, console, begin_us=begin, rate=rate, port=port)
    try:
        address = stage.start(ship_seconds=0.5)
        console.print(
            f"[bold]{story}[/]  one day passes in {86400 / rate:.2f} s; line at {address}, project in {folder}\n"
            f"Watch it on its board: [bold]{stage.pages}[/]"
        )
        if look:
            _open(stage.pages)
        begun = time.monotonic()
        teller(stage).play()
        console.print(f"\n[bold]The story took {time.monotonic() - begun:.0f} s.[/]")
        _linger(stage, address, folder)
    finally:
        stage.close()


def _open(address: str) -> None:
    """Open a page, unless nobody could see it."""
    screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.stdout.isatty() and screen:
        webbrowser.open(address)


def _linger(stage: Stage, address: str, folder: Path) -> None:
    """With a terminal, keep the line running until Ctrl-C."""
    stage.live()
    if not sys.stdout.isatty():
        return
    stage.console.print(
        f"The line runs on at {address}, its board at {stage.pages}. In another terminal:\n"
        f"  andon status -C {folder}\n  andon deploy history -C {folder}\n  curl {address}/metrics\nCtrl-C ends it."
    )
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _received, _frame: ending.set())
    while not ending.wait(0.2):
        stage.tend()
