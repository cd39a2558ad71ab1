"""A command with many options takes them as one record, whose fields are the options."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

__all__ = ["with_options"]

T = TypeVar("T")


def with_options(kind: type[T], command: Callable[[T], None]) -> Callable[..., None]:
    """The command as typer wants it: one parameter for each field of the dataclass ``kind``, annotated as the field is.

    >>> @dataclasses.dataclass
    ... class Options:
    ...     port: int = 8700
    >>> called = with_options(Options, lambda options: print(options))
    >>> called(port=1), str(inspect.signature(called))
    Options(port=1)
    (None, '(*, port: int = 8700)')
    """
    hints = get_type_hints(kind, include_extras=True)

    def called(**given: Any) -> None:
        command(kind(**given))

    parameters = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
    ]
    called.__name__, called.__doc__, called.__annotations__ = command.__name__, command.__doc__, hints
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called
