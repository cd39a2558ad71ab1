"""Giving out tokens and taking them back, for whoever asks: the command line and the board do it here.

A token is made or ended first and written into the journal second: with the database gone a token that was lost can be
ended all the same. What then is not in the journal is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from andon.core.clock import DAY
from andon.errors import Unavailable, UsageError
from andon.people.access import Access, Token

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["LONGEST_DAYS", "Given", "give", "take_back"]

LONGEST_DAYS = 36_500


class Given(msgspec.Struct, frozen=True):
    """A token that was given out. ``secret`` is known now and never again; ``note`` says what went wrong on the way."""

    secret: str
    token: Token
    note: str = ""


def give(
    workspace: Workspace, access: Access, token: tuple[str, str], days: float | None, actor: str, reason: str
) -> Given:
    """Make a token for (name, role) that expires after so many days, or never.

    Raises ``UsageError`` for an unknown role, an empty name or a wrong time and ``Conflict`` where an active token has
    the name.
    """
    if days is not None and not 0 < days <= LONGEST_DAYS:
        raise UsageError(f"days: expected a number above 0 and at most {LONGEST_DAYS}, found {days:g}", field="days")
    now = workspace.clock.wall()
    until = None if days is None else now + round(days * DAY)
    name, role = token
    secret, made = access.create(name, role, now_us=now, expires_us=until)
    return Given(secret, made, _written(workspace, "token.create", made, actor, reason))


def take_back(workspace: Workspace, access: Access, id: str, actor: str, reason: str) -> tuple[Token, str]:
    """End a token for good; (the token, what went wrong on the way).

    Every gateway and board refuses it from its next request on. Raises ``NotFound``, or ``Conflict`` where it was ended
    before.
    """
    ended = access.revoke(id, now_us=workspace.clock.wall())
    return ended, _written(workspace, "token.revoke", ended, actor, reason)


def _written(workspace: Workspace, action: str, token: Token, actor: str, reason: str) -> str:
    try:
        workspace.journal.append(action, token.id, actor, reason, {"role": token.role})
    except Unavailable as error:
        return f"done, but it is not in the journal: {error.message}"
    return ""
