"""Values of parameters and of examples as short text."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["brief"]


def brief(value: Any, most: int = 80) -> str:
    """A value on one line, at most ``most`` characters.

    >>> brief(0.5), brief([1, 2]), brief(None), brief("a" * 9, 5)
    ('0.5', '[1,2]', 'null', 'aaaa…')
    """
    text = value if isinstance(value, str) else msgspec.json.encode(value, order="deterministic").decode()
    return text if len(text) <= most else text[: most - 1] + "…"
