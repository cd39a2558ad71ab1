"""What people can carry: the cases an hour that a slice leaves to them, and the share of it that they can decide.

>>> room = room_for(100.0, 1.0, 20.0, 50.0)               # 0.8 times 50 less 20 is a fifth of 100
>>> room.allowed, room.short(0.2), room.short(0.3), room.adds(0.3)
(0.2, False, True, False)
"""

from __future__ import annotations

import msgspec

__all__ = ["ROOM", "Capacity", "room_for"]

ROOM = 0.8
"""The part of what people can decide that cases may take: the rest is for audits, second looks and bad days."""

_ROUNDING = 1 + 1e-9


class Capacity(msgspec.Struct, frozen=True):
    """The work that a slice gives to people: ``arrivals`` an hour, of which the share ``deferral`` waits for a person.

    ``others`` are the cases an hour that people decide in the other slices, as those would be where a threshold is learnt for
    them. ``allowed`` is the share of this one's that they can decide beside those (None: the charter does not say how many
    people can decide, or nothing came).
    """

    arrivals: float = 0.0
    deferral: float | None = None
    others: float = 0.0
    allowed: float | None = None

    def short(self, share: float) -> bool:
        """Whether people could not decide so large a share of the cases."""
        return self.allowed is not None and share > self.allowed * _ROUNDING

    def adds(self, share: float) -> bool:
        """Whether that is more than people get now (all of it, where nothing tells)."""
        return share > (1.0 if self.deferral is None else self.deferral) * _ROUNDING


def room_for(arrivals: float, deferral: float | None, others: float, reviewers_per_hour: float | None) -> Capacity:
    """The work of a slice, with the share of its cases that people can decide beside ``others`` cases an hour."""
    allowed = None
    if reviewers_per_hour is not None and arrivals > 0:
        allowed = min(1.0, max(0.0, (ROOM * reviewers_per_hour - others) / arrivals))
    return Capacity(arrivals, deferral, others, allowed)
