"""A verdict has four values, and the worst one wins.

``unsure`` means not enough evidence: it never counts as good news and it goes to a person.

>>> worst([Verdict.PASS, Verdict.UNSURE])
<Verdict.UNSURE: 'unsure'>
>>> worst([])
<Verdict.UNSURE: 'unsure'>
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

__all__ = ["Verdict", "worst"]


class Verdict(StrEnum):
    """Pass, fail, unsure (not enough evidence) or error (it could not be measured)."""

    PASS = "pass"
    UNSURE = "unsure"
    ERROR = "error"
    FAIL = "fail"

    @property
    def exit_code(self) -> int:
        """What a command returns for it: 0 pass, 1 fail, 3 unsure, 4 error."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNSURE: 3, Verdict.ERROR: 4}[self]


_ORDER = [Verdict.PASS, Verdict.UNSURE, Verdict.ERROR, Verdict.FAIL]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of them, in the order pass < unsure < error < fail; no verdict at all is ``unsure``."""
    return max(verdicts, key=_ORDER.index, default=Verdict.UNSURE)
