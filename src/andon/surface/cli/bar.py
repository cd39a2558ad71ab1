"""How long work shows how far it is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from typing import Self

__all__ = ["Bar"]


class Bar:
    """A bar on stderr with the time left, while stderr is a terminal; it is gone when the work is done."""

    def __enter__(self) -> Self:
        self._progress = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._progress.start()
            self._task = self._progress.add_task("reading", total=1.0)
        return self

    def move(self, share: float, said: str) -> None:
        """``share`` of the work is done; ``said`` stands before the bar."""
        if self._progress is not None:
            self._progress.update(self._task, completed=share, description=said)

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
