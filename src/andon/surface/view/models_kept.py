"""What was worked out from things that never change (a run, its stored answers, the charter in force) is kept for a while.

Runs and data are written once, so the same question has the same answer until the charter is another one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["Kept", "kept"]

T = TypeVar("T")


class Kept:
    """The last answers, at most ``most``; the least recently used one goes first.

    >>> kept = Kept(2)
    >>> charter = object()
    >>> [kept.get(charter, key, lambda: key * 2) for key in (1, 2, 1)]
    [2, 4, 2]
    >>> kept.get(object(), 1, lambda: "another charter")
    'another charter'
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._found: OrderedDict[Hashable, tuple[object, Any]] = OrderedDict()

    def get(self, charter: object, key: Hashable, read: Callable[[], T]) -> T:
        """What was read for this key under this very charter, or what ``read`` gives now."""
        with self._lock:
            known = self._found.get(key)
            if known is not None and known[0] is charter:
                self._found.move_to_end(key)
                found: T = known[1]
                return found
        fresh = read()
        with self._lock:
            self._found[key] = (charter, fresh)
            self._found.move_to_end(key)
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return fresh


_KEPT = Kept(64)


def kept(project: Project, name: str, parts: tuple[str, ...], read: Callable[[], T]) -> T:
    """``read()``, or what it gave before for the same ``name`` and ``parts`` (ids of runs, say) of this project."""
    return _KEPT.get(project.charter, (str(project.workspace.home), name, parts), read)
