"""Who a browser belongs to: a signed cookie after logging in with a token, and a proof in every form that we made it.

The cookie holds the token's id, never its secret, and is asked anew at every request whether that token is still
active. Nothing is kept on the server, so that a board that starts again knows its visitors. Cookies know no ports: the
name carries a mark of the workspace, so that two boards on one machine do not throw each other's visitors out.

>>> sessions = Sessions(b"k" * 32)
>>> session = sessions.begin("a1b2")
>>> sessions.read(sessions.write(session)) == session, sessions.read("forged")
(True, None)
>>> sessions.proves(session, "stop", sessions.proof(session, "stop")), sessions.proves(session, "start", "x")
(True, False)
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec
from itsdangerous import BadData, URLSafeTimedSerializer

__all__ = ["HOURS", "Session", "Sessions"]

HOURS = 12
"""How long a session lasts after its last log-in."""


class Session(msgspec.Struct, frozen=True):
    """A browser's session: the id of the token it began with (None: the machine's own user) and a random mark."""

    token: str | None
    mark: str


class Sessions:
    """Reads and writes session cookies with a key derived from the workspace's."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.blake2b(b"board sessions", key=key, digest_size=32).digest()
        self._signer = URLSafeTimedSerializer(self._key, salt="session")
        self._notes = URLSafeTimedSerializer(self._key, salt="note")
        mark = hashlib.blake2b(self._key, digest_size=4).hexdigest()
        self.cookie = f"andon_{mark}"
        self.note_cookie = f"andon_note_{mark}"

    def begin(self, token: str | None) -> Session:
        """A new session."""
        return Session(token, secrets.token_hex(16))

    def write(self, session: Session) -> str:
        """The cookie's value."""
        return str(self._signer.dumps([session.token, session.mark]))

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie; None where it is not ours, was changed or is too old."""
        try:
            return Session(*msgspec.convert(self._signer.loads(cookie, max_age=HOURS * 3600), tuple[str | None, str]))
        except (BadData, msgspec.ValidationError):
            return None

    def proof(self, session: Session, action: str) -> str:
        """What a form for one action carries, so that no other site can send it (OWASP: signed double-submit token)."""
        return hmac.new(self._key, f"{session.mark}\0{action}".encode(), hashlib.sha256).hexdigest()

    def proves(self, session: Session, action: str, proof: str) -> bool:
        """Whether a form came from one of our pages, for this session and action."""
        return hmac.compare_digest(self.proof(session, action), proof)

    def write_note(self, texts: list[str]) -> str:
        """A cookie for the sentences that the next page shows at its top, once."""
        return str(self._notes.dumps([text[:400] for text in texts[:4]]))

    def read_note(self, cookie: str) -> list[str]:
        """The sentences of such a cookie; none where it is not ours."""
        try:
            return msgspec.convert(self._notes.loads(cookie, max_age=300), list[str])
        except (BadData, msgspec.ValidationError):
            return []
