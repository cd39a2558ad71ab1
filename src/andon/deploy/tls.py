"""TLS of the gateway: a certificate and its key, proved before anybody depends on them, and read again while it runs.

TLS 1.2 or newer, with the ciphers of the OpenSSL that Python stands on. Before a line starts, and before a changed
certificate is taken, a handshake with itself is played in memory, so what a client would refuse is said here.

Source: RFC 9325 (recommendations for the secure use of TLS), 3.1.1.
"""

from __future__ import annotations

import errno
import ssl
from email.utils import formatdate
from pathlib import Path

from andon.errors import UsageError

__all__ = ["proved", "renew", "server_context", "valid_until"]

_MINIMUM = ssl.TLSVersion.TLSv1_2
_EXPIRED, _NOT_YET = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID
_STEPS = 8


def server_context(cert: str, key: str) -> ssl.SSLContext:
    """What a worker listens with; raises ``UsageError`` that says which file is at fault, and how."""
    proved(cert, key)
    return _loaded(cert, key)


def renew(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Have new connections get what is in the files now; raises ``UsageError``, and then all is as before."""
    proved(cert, key)
    context.load_cert_chain(cert, key, password=_no_password)


def proved(cert: str, key: str) -> float:
    """Until when the certificate is valid (seconds since 1970). Raises ``UsageError``: missing, unreadable, no PEM, a key
    of another certificate, a key with a password, expired, not valid yet, or not meant for a server.
    """
    server = _loaded(cert, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # by which names it is called is the clients' business
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # it vouches for itself; its times are looked at
    client.load_verify_locations(cert)
    try:
        return _greeted(client, server)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            raise UsageError(f"--tls: the certificate {cert} has expired", hint="renew it, then try again") from None
        if error.verify_code == _NOT_YET:
            message = f"--tls: the certificate {cert} is not valid yet"
            raise UsageError(message, hint="is this machine's clock right?") from None
        message = f"--tls: clients would refuse the certificate {cert}: {error.verify_message}"
        raise UsageError(message, hint="it must be one for a server") from None
    except ssl.SSLError as error:
        message = f"--tls: no connection can be made with the certificate {cert}: {error.reason or error}"
        raise UsageError(message, hint="it may be too weak for today's clients") from None


def valid_until(until: float) -> str:
    """The date for people.

    >>> valid_until(1583884800.0)
    '11 Mar 2020 00:00 UTC'
    """
    words = formatdate(until, usegmt=True).split()
    return " ".join([*words[1:4], words[4][:5], "UTC"])


def _loaded(cert: str, key: str) -> ssl.SSLContext:
    for path, what in ((cert, "certificate"), (key, "key")):
        _readable(path, what)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _MINIMUM
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        raise _fault(cert, key, error) from None
    return context


def _readable(path: str, what: str) -> None:
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        words = {errno.ENOENT: "is not there", errno.EACCES: "may not be read by this user"}
        how = words.get(error.errno or 0, f"cannot be read ({error.strerror})")
        raise UsageError(f"--tls: the {what} {path} {how}") from None
    if b"-----BEGIN " not in text:
        raise UsageError(f"--tls: {path} holds no {what} in PEM form", hint="expected text with -----BEGIN ...-----")
    if what == "certificate" and b"BEGIN CERTIFICATE" not in text:
        raise UsageError(f"--tls: {path} holds no certificate", hint="the certificate comes first, then its key")


def _fault(cert: str, key: str, error: ssl.SSLError) -> UsageError:
    if error.reason == "KEY_VALUES_MISMATCH":
        return UsageError(f"--tls: the key {key} is not that of the certificate {cert}")
    if error.reason in ("KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
        return UsageError(f"--tls: the key {key} is of another kind than that of the certificate {cert}")
    if b"ENCRYPTED" in Path(key).read_bytes():
        return UsageError(
            f"--tls: the key {key} is locked by a password", hint="give a key without one that only this user can read"
        )
    if b"PRIVATE KEY-----" not in Path(key).read_bytes():
        return UsageError(f"--tls: {key} holds no private key", hint="the certificate comes first, then its key")
    return UsageError(f"--tls: {cert} and {key} cannot be used: {error.reason or error}")


def _no_password() -> str:
    return ""


def _greeted(client: ssl.SSLContext, server: ssl.SSLContext) -> float:
    """Play a handshake in memory; the end of the certificate's time."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(to_client, to_server)
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_STEPS):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = theirs.getpeercert()
    assert found is not None
    return float(ssl.cert_time_to_seconds(str(found["notAfter"])))
