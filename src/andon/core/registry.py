"""Named things: finding one by name, with a suggestion where the name is nearly right.

>>> shapes: Registry[int] = Registry("shape")
>>> shapes.add("triangle", 3)
>>> shapes.get("triangel")
Traceback (most recent call last):
...
andon.errors.NotFound: no shape is called 'triangel'; did you mean 'triangle'?
>>> shapes.add("triangle", 4)
Traceback (most recent call last):
...
andon.errors.Conflict: a shape called 'triangle' is registered already; choose another name
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Generic, TypeVar

from andon.errors import Conflict, NotFound

__all__ = ["Registry", "did_you_mean"]

T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error sentence: the closest known names, or all of them where none is close.

    >>> did_you_mean("recal", ["recall", "precision"])
    "did you mean 'recall'?"
    >>> did_you_mean("x", ["recall", "precision"])
    'known: precision, recall'
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=2, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    return "known: " + (", ".join(names) or "none yet")


class Registry(Generic[T]):
    """A table from name to thing; registering a name twice is an error."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}

    def add(self, name: str, thing: T) -> None:
        """Register; raises ``Conflict`` when the name is taken."""
        if name in self._things:
            raise Conflict(f"a {self.kind} called {name!r} is registered already; choose another name")
        self._things[name] = thing

    def get(self, name: str) -> T:
        """Look up; raises ``NotFound`` with the closest names."""
        try:
            return self._things[name]
        except KeyError:
            raise NotFound(f"no {self.kind} is called {name!r}; {did_you_mean(name, self._things)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._things))

    def __contains__(self, name: object) -> bool:
        return name in self._things
