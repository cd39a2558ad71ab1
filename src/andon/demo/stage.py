"""What every story stands on: a project folder, a clock one can hold, a running line, a voice."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from andon.config import CHARTER, Project, open_project
from andon.core.clock import DAY, HOUR, SECOND, iso
from andon.demo.client import Client
from andon.engine.local import LocalEngine
from andon.errors import NotFound, Unavailable, UsageError
from andon.scope.taken import keep
from andon.store.clockfile import WorkspaceClock
from andon.surface.line import Settings, line_processes, note, port_is_free, with_board
from andon.surface.running import forget, leave

__all__ = ["Stage", "examples", "percent"]

_MARK = ".andon-story"
_STYLE = {
    "people": "blue",
    "machine": "magenta",
    "candidate": "dark_orange",
    "good": "green",
    "look": "yellow",
    "stop": "red",
}
_SHAPE = {"people": "○", "machine": "◆", "candidate": "◇", "good": "●", "look": "▲", "stop": "■"}


def examples() -> Path:
    """The folder of the stories' projects; raises ``NotFound`` where Andon was installed without its source."""
    folder = Path(__file__).resolve().parents[3] / "examples"
    if not folder.is_dir():
        raise NotFound(
            "the stories' data are not part of the installed package",
            hint="get Andon's source, which carries them under examples/, and run `make demo` there",
        )
    return folder


def percent(share: float | None, digits: int = 1) -> str:
    """A share as people read it.

    >>> percent(0.0312), percent(None)
    ('3.1 %', 'unknown')
    """
    return "unknown" if share is None else f"{100 * share:.{digits}f} %"


class Stage:
    """One story's project, line and voice. ``rate`` is how many seconds of the story pass in one second at most."""

    def __init__(
        self, story: str, folder: Path, console: Console, *, begin_us: int, rate: float, port: int | None = None
    ) -> None:
        self.console = console
        self.rate = rate
        self.begun = time.monotonic()
        self._engine: LocalEngine | None = None
        self.pages = ""
        self.project = self._prepare(story, folder, begin_us)
        self._settings = Settings(port=port or self.project.charter.gateway.port)
        self.client = Client(self._settings.host, port or self.project.charter.gateway.port)

    # -- the project and its clock -------------------------------------------------------------------------------

    def _prepare(self, story: str, folder: Path, begin_us: int) -> Project:
        source = examples() / story
        if folder.exists():
            if not (folder / _MARK).exists():
                raise UsageError(f"{folder} exists and is not a story's folder", hint="name another with --folder")
            shutil.rmtree(folder)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__", ".andon"))
        (folder / _MARK).write_text("made by `andon demo`; it is wiped when the story is played again\n")
        project = open_project(folder)
        self.clock_of(project).set(time_us=begin_us, rate=0.0)
        return project

    @staticmethod
    def clock_of(project: Project) -> WorkspaceClock:
        """The workspace's settable clock."""
        clock = project.workspace.clock
        assert isinstance(clock, WorkspaceClock)
        return clock

    def move(self, time_us: int) -> None:
        """Move the story's clock, which otherwise stands still: in all processes of the line alike."""
        self.clock_of(self.project).set(time_us=time_us, rate=0.0)

    def live(self) -> None:
        """The story is over: the clock runs as any clock does."""
        self.clock_of(self.project).set(rate=1.0)

    @property
    def now(self) -> int:
        """The story's time in microseconds."""
        return self.project.clock.now()

    # -- the line --------------------------------------------------------------------------------------------------

    def start(self, ship_seconds: float) -> str:
        """Start the line's processes and wait until the gateway answers; returns its address."""
        settings = with_board(self.project, replace(self._settings, ship_seconds=ship_seconds, board=0))
        where = note(self.project, settings)
        port_is_free(where.host, where.port)
        keep(self.project.workspace.home, self.project.root / CHARTER, self.project.charter)
        self._engine = LocalEngine(self.project.workspace.run_dir, self.project.clock)
        self._engine.replicas(line_processes(self.project, settings))
        leave(self.project.workspace.run_dir, where)
        self.pages = where.pages or ""
        self.until(self._ready, 60.0, "the gateway did not become ready")
        return where.address

    def _ready(self) -> bool:
        try:
            return self.client.get("/v2/health/ready").status == 200
        except (Unavailable, OSError):
            return False

    def tend(self) -> None:
        """Start again what ended."""
        if self._engine is not None:
            for sentence in self._engine.poll():
                self.say("look", sentence)

    def until(self, condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
        """Wait until ``condition`` holds, tending the line; raises ``Unavailable`` after ``seconds``."""
        end = time.monotonic() + seconds
        while not condition():
            self.tend()
            if time.monotonic() > end:
                raise Unavailable(f"{otherwise} within {seconds:.0f} s", hint=f"see {self.project.workspace.run_dir}")
            time.sleep(0.03)

    def close(self) -> None:
        """End the line's processes."""
        self.client.close()
        if self._engine is not None:
            self._engine.close()
            self._engine = None
            forget(self.project.workspace.run_dir)
        self.project.workspace.close()

    # -- the voice ---------------------------------------------------------------------------------------------------

    def say(self, kind: str, what: str, why: str = "") -> None:
        """One thing that happened: when (the story's date), what and, below it, why."""
        style = _STYLE[kind]
        self.console.print(f"[dim]{self.when(self.now)}[/]  [{style}]{_SHAPE[kind]}[/] ", end="")
        self.console.print(what, style="bold" if kind == "stop" else None, markup=False)
        for line in why.splitlines():
            self.console.print(f"{' ' * (len(self.when(self.now)) + 4)}{line}", style="dim", markup=False)

    def when(self, time_us: int) -> str:
        """A time of the story: the day, and where days pass slowly the minute too."""
        return iso(time_us)[:10] if self.rate > HOUR * 6 / SECOND else iso(time_us)[:16].replace("T", " ")

    def chapter(self, number: int, title: str) -> None:
        """A chapter's heading."""
        self.console.print()
        self.console.rule(
            f"[bold]{number}. {title}[/]  [dim]{time.monotonic() - self.begun:.0f} s[/]", align="left", style="dim"
        )

    def table(self, table: Table) -> None:
        """A table, set in under the dates."""
        self.console.print(table)

    def day(self, days: float) -> int:
        """So many days of the story in microseconds."""
        return round(days * DAY)
