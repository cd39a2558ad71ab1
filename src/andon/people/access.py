"""Who may do what: tokens, the roles they carry, and what each role allows.

A token is shown once, when it is made; only its digest is kept. The secret has 256 random bits, so that a plain digest
is enough and checking one costs a microsecond; digests are compared in constant time.

>>> store = _Memory()
>>> access = Access(store)
>>> secret, token = access.create("kiosk", "client", now_us=0)
>>> access.check(secret, "decide", now_us=1).name
'kiosk'
>>> access.check(secret, "deploy", now_us=1)
Traceback (most recent call last):
...
andon.errors.Denied: the token 'kiosk' has the role client, which may not deploy; operator and owner may
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

import msgspec

from andon.core.clock import iso
from andon.core.registry import did_you_mean
from andon.errors import Conflict, Corrupt, Denied, NotFound, UsageError

__all__ = ["MAY", "Access", "Action", "Role", "Token", "TokenRows", "bearer"]

Role = Literal["client", "viewer", "labeler", "reviewer", "operator", "owner"]
Action = Literal["decide", "read", "label", "review", "stop", "deploy", "administer"]

#: What each role may do. ``client`` is a program that asks for decisions and sends feedback, and sees nothing else.
MAY: dict[Role, frozenset[Action]] = {
    "client": frozenset({"decide"}),
    "viewer": frozenset({"read"}),
    "labeler": frozenset({"read", "label", "stop"}),
    "reviewer": frozenset({"read", "label", "review", "stop"}),
    "operator": frozenset({"read", "label", "review", "stop", "deploy", "decide"}),
    "owner": frozenset(get_args(Action)),
}
_PREFIX = "andon_"


class TokenRows(Protocol):
    """Where token rows are kept (``andon.store.tokens.TokenFile`` is one)."""

    def version(self) -> object:
        """Something that changes whenever the rows do; cheap."""
        ...

    def load(self) -> list[dict[str, Any]]:
        """All rows."""
        ...

    def update(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        """Replace all rows by ``change(rows)``, one writer at a time."""
        ...


class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    """A token as it is kept: never the secret. ``digest`` is the SHA-256 of the secret in hex; times are microseconds."""

    id: str
    name: str
    role: Role
    digest: str
    created_us: int
    expires_us: int | None = None
    revoked_us: int | None = None

    def state(self, now_us: int) -> Literal["active", "expired", "revoked"]:
        """What it is worth now."""
        if self.revoked_us is not None:
            return "revoked"
        return "expired" if self.expires_us is not None and now_us >= self.expires_us else "active"


class Access:
    """Tokens over a store of rows; what was read is remembered until the store changes."""

    def __init__(self, rows: TokenRows) -> None:
        self._rows = rows
        self._seen: object = object()
        self._tokens: dict[str, Token] = {}

    def tokens(self) -> list[Token]:
        """Every token there ever was, oldest first."""
        return list(self._read().values())

    def create(self, name: str, role: str, *, now_us: int, expires_us: int | None = None) -> tuple[str, Token]:
        """Make a token; returns the secret, which is shown this once, and what is kept.

        Raises ``UsageError`` for an unknown role or an empty name and ``Conflict`` where an active token has the name.
        """
        if role not in MAY:
            raise UsageError(f"no role is called {role!r}; {did_you_mean(role, MAY)}")
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise UsageError(f"token: expected a name of 1 to 100 printable characters, found {name!r}")
        secret = secrets.token_urlsafe(32)
        token = Token(secrets.token_hex(4), name, role, _digest(secret), now_us, expires_us)

        def add(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            taken = [old for old in map(_token, rows) if old.name == name and old.state(now_us) == "active"]
            if taken:
                raise Conflict(f"a token called {name!r} is active ({taken[0].id}); revoke it or choose another name")
            return [*rows, msgspec.to_builtins(token)]

        self._rows.update(add)
        return f"{_PREFIX}{token.id}_{secret}", token

    def revoke(self, id: str, *, now_us: int) -> Token:
        """End a token for good; its line is kept. Raises ``NotFound``, and ``Conflict`` where it was revoked before."""
        changed: list[Token] = []

        def end(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            tokens = {token.id: token for token in map(_token, rows)}
            if id not in tokens:
                raise NotFound(f"no token has the id {id!r}; {did_you_mean(id, tokens)}")
            if tokens[id].revoked_us is not None:
                raise Conflict(f"the token {id} was revoked at {iso(tokens[id].revoked_us or 0)} already")
            changed.append(msgspec.structs.replace(tokens[id], revoked_us=now_us))
            tokens[id] = changed[0]
            return [msgspec.to_builtins(token) for token in tokens.values()]

        self._rows.update(end)
        return changed[0]

    def check(self, secret: str, action: Action | None, *, now_us: int) -> Token:
        """The token behind a secret that may do this; raises ``Denied`` with the reason otherwise.

        With action None it is only asked whose token it is. A wrong secret and an unknown one are told apart neither by the sentence nor by the time it takes.
        """
        id, _, rest = secret.removeprefix(_PREFIX).partition("_")
        token = self._read().get(id)
        known = hmac.compare_digest(_digest(rest), token.digest if token else _digest(""))
        if token is None or not known:
            raise Denied("this token is not known here", hint="`andon token create` makes one")
        self.holds(id, now_us=now_us)
        if action is not None and action not in MAY[token.role]:
            others = " and ".join(role for role in MAY if action in MAY[role])
            raise Denied(f"the token {token.name!r} has the role {token.role}, which may not {action}; {others} may")
        return token

    def holds(self, id: str, *, now_us: int) -> Token:
        """The token of an id, as long as it is active: what a session that began with it asks at each of its requests.

        Raises ``Denied``, also when the token was revoked since.
        """
        token = self._read().get(id)
        if token is None:
            raise Denied("this token is not known here", hint="`andon token create` makes one")
        state = token.state(now_us)
        if state != "active":
            raise Denied(f"the token {token.name!r} is {state}", hint="`andon token create` makes a new one")
        return token

    def _read(self) -> dict[str, Token]:
        version = self._rows.version()
        if version != self._seen:
            self._tokens = {token.id: token for token in map(_token, self._rows.load())}
            self._seen = version
        return self._tokens


def bearer(header: str | None) -> str:
    """The secret of an ``Authorization: Bearer`` header; raises ``Denied`` where there is none.

    >>> bearer("Bearer andon_1_x")
    'andon_1_x'
    """
    scheme, _, secret = (header or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Denied("a token is required: send `Authorization: Bearer <token>`", hint="`andon token create` makes one")
    return secret.strip()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _token(row: dict[str, Any]) -> Token:
    try:
        return msgspec.convert(row, Token)
    except msgspec.ValidationError as error:
        raise Corrupt(
            f"the list of tokens holds what is none: {error}; nobody is let in",
            hint="restore it, or delete it and create the tokens again",
        ) from None


class _Memory:
    """Rows in memory, for examples."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def version(self) -> object:
        return len(self.rows), str(self.rows)

    def load(self) -> list[dict[str, Any]]:
        return self.rows

    def update(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        self.rows = change(self.rows)
