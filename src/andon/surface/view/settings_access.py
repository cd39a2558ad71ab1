"""Who may come in: the tokens of a line (never their secrets), what each role may do, and giving out and taking back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from andon.core.registry import did_you_mean
from andon.errors import NotFound
from andon.people.access import MAY, Action, Role, Token
from andon.surface.keyring import LONGEST_DAYS, give, take_back
from andon.surface.page import Command, Done, Preview
from andon.surface.station import minute

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["COMMANDS", "MEANS", "Created", "RoleRow", "TokenRow", "role_rows", "token_rows"]

MEANS: dict[Action, str] = {
    "decide": "ask for decisions, send feedback",
    "read": "see the board",
    "label": "give labels",
    "review": "decide cases",
    "stop": "the cord; say that an alarm was seen",
    "deploy": "change who answers",
    "administer": "tokens, and whatever else",
}
"""What each action is, in the order of the columns."""


class TokenRow(msgspec.Struct, frozen=True):
    """A token as it may be shown: never its secret, never its digest. ``yours`` is the one you came in with."""

    id: str
    name: str
    role: Role
    state: Literal["active", "expired", "revoked"]
    created_us: int
    expires_us: int | None
    revoked_us: int | None
    yours: bool


class RoleRow(msgspec.Struct, frozen=True):
    """A role and what it may do, in the order of ``MEANS``."""

    role: Role
    may: tuple[bool, ...]


class Create(msgspec.Struct, frozen=True):
    """Make a token; its secret is in the answer, this once."""

    name: Annotated[
        str, msgspec.Meta(min_length=1, max_length=100, title="Whose it is", description="A person or a program.")
    ]
    role: Annotated[Role, msgspec.Meta(title="Role")]
    days: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=LONGEST_DAYS)] | None,
        msgspec.Meta(title="Days until it expires", description="Never if empty."),
    ] = None
    reason: Annotated[str, msgspec.Meta(max_length=2000, title="Why")] = ""


class Revoke(msgspec.Struct, frozen=True):
    """End a token for good."""

    id: Annotated[str, msgspec.Meta(max_length=64, title="The token's id")]
    reason: Annotated[str, msgspec.Meta(max_length=2000, title="Why")] = ""


class Created(Done, frozen=True, kw_only=True):
    """The new token with its secret: shown this once, kept nowhere."""

    token: str
    id: str
    name: str
    role: Role
    expires_us: int | None = None


def token_rows(visit: Visit) -> tuple[TokenRow, ...] | None:
    """The tokens, those that count first, the newest first; None for whoever may not administer."""
    if not visit.viewer.may("administer"):
        return None
    rows = [_row(token, visit) for token in visit.access.tokens()]
    return tuple(sorted(rows, key=lambda row: (row.state != "active", -row.created_us, row.id)))


def _row(token: Token, visit: Visit) -> TokenRow:
    return TokenRow(
        token.id, token.name, token.role, token.state(visit.wall_us), token.created_us, token.expires_us,
        token.revoked_us, token.id == visit.viewer.token,
    )  # fmt: skip


def role_rows() -> tuple[RoleRow, ...]:
    """The roles, the least powerful first."""
    return tuple(RoleRow(role, tuple(action in may for action in MEANS)) for role, may in MAY.items())


# ------------------------------------------------------------------------------------------------------------- commands


def create(visit: Visit, params: Create) -> Created:
    """Raises ``UsageError``, and ``Conflict`` where an active token has the name."""
    actor, workspace = visit.viewer.name, visit.project.workspace
    given = give(workspace, visit.access, (params.name, params.role), params.days, actor, params.reason)
    token = given.token
    return Created(
        sentence=f"A token of role {token.role} was made for {token.name}.",
        notes=(given.note,) if given.note else (),
        token=given.secret,
        id=token.id,
        name=token.name,
        role=token.role,
        expires_us=token.expires_us,
    )


def revoke(visit: Visit, params: Revoke) -> Done:
    """Raises ``NotFound``, and ``Conflict`` where it was ended before."""
    token, note = take_back(visit.project.workspace, visit.access, params.id, visit.viewer.name, params.reason)
    return Done(sentence=f"The token of {token.name} ({token.role}) is revoked.", notes=(note,) if note else ())


def _revoke_preview(visit: Visit, params: Revoke) -> Preview:
    tokens = {token.id: token for token in visit.access.tokens()}
    if params.id not in tokens:
        raise NotFound(f"no token has the id {params.id!r}; {did_you_mean(params.id, tokens)}", field="id")
    token, wall = tokens[params.id], visit.wall_us
    owners = [one for one in tokens.values() if one.role == "owner" and one.state(wall) == "active"]
    warnings = []
    if token.id == visit.viewer.token:
        warnings.append("it is your own: this click is the last one that you do with it")
    if owners == [token]:
        warnings.append("no owner is left then; `andon token create NAME --role owner` on the line's machine makes one")
    until = "" if token.expires_us is None else f", until {minute(token.expires_us)} UTC"
    return Preview(
        f"Revoke the token of {token.name}",
        f"{token.name} may {', '.join(action for action in MEANS if action in MAY[token.role])} with it ({token.state(wall)}"
        f", made {minute(token.created_us)} UTC{until}).",
        "Every gateway and board refuse it from its next request on; whoever is logged in with it is logged out. It "
        "cannot be given back: a new one can be made.",
        tuple(warnings),
        danger=True,
    )


COMMANDS = (
    Command(
        "token.create", "Make a token", Create, create, "administer", result=Created, template="settings_token.html",
        back="/settings#tokens",
    ),
    Command("token.revoke", "Revoke it", Revoke, revoke, "administer", _revoke_preview, back="/settings#tokens"),
)  # fmt: skip
