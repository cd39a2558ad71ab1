"""What the controller leaves behind of itself: when it last did its round, what it waits for, what stands in its way.

A file, so it is known with the database gone, and of a controller that is stopped or hangs. Also who led last: one that
has lost the database sees in it that another leads by now, and no longer acts.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     leave(Path(folder), Report("me", 3, acted_us=7))
...     found = report(Path(folder))
...     assert found is not None and (found.holder, found.acted_us) == ("me", 7)
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from andon.store.files import replace_file

__all__ = ["Report", "Trouble", "leave", "led_since", "report"]

_NAME = "controller.json"


class Trouble(msgspec.Struct, frozen=True):
    """What the controller cannot do now: the duty, a sentence that says why, and since when (the machine's time)."""

    duty: str
    sentence: str
    since_us: int


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """The controller that led last and its term. ``acted_us`` is the end of its last whole round (the machine's time).

    ``seen_us`` is its last sign of life. ``waiting`` says why it does not do its rounds, since ``waiting_us``; empty while it
    does. ``troubles`` are duties that cannot be done.
    """

    holder: str
    term: int
    acted_us: int = 0
    seen_us: int = 0
    waiting: str = ""
    waiting_us: int = 0
    troubles: tuple[Trouble, ...] = ()


def leave(run_dir: Path, made: Report) -> None:
    """Leave it in the place of the last one. Raises ``Unavailable``."""
    replace_file(run_dir / _NAME, msgspec.json.encode(made), sync=False)


def led_since(run_dir: Path, term: int) -> bool:
    """Whether another controller has begun to lead since a term."""
    last = report(run_dir)
    return last is not None and last.term > term


def report(run_dir: Path) -> Report | None:
    """What was left last; None where nothing was, or it cannot be read."""
    try:
        return msgspec.json.decode((run_dir / _NAME).read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError):
        return None
