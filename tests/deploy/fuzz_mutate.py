"""Requests that go wrong in the ways requests go wrong: every mutation takes bytes and a generator, and gives bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["mutated"]

Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]

_END = b"\r\n\r\n"
_ODD_BYTES = (b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b":", b"\x7f", b"\x80", b"\xff", b"\xc3\x28", b'"', b"{", b"]")
_ODD_LENGTHS = (
    "0",
    "-1",
    "+5",
    " 7",
    "0x10",
    "1e2",
    "5,5",
    "5, 6",
    "",
    "007",
    "99999999999999999999",
    "1048577",
    "\u0661",
)
_ODD_SIZES = (
    b"0",
    b"00",
    b"-1",
    b"ffffffffffffffff",
    b"10000000000000000",
    b"5;x=y",
    b'5;x="\r\n"',
    b" 5",
    b"5 ",
    b"0x5",
    b"g",
    b"",
)
_ODD_HEADERS = (
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: xchunked",
    b"Content-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Connection: close",
    b"Connection: keep-alive, close",
    b"Connection: upgrade\r\nUpgrade: h2c",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"Expect: 200-ok",
    b"Host: other",
    b"Host:",
    b": nameless",
    b"no colon",
    b" folded: line",
    b"X: a\r\n b",
    b"X: a\rb",
    b"X: a\nY: b",
    b"X: a\0b",
    b"X\xff: y",
    b"X: \xff\xfe",
    b"Keep-Alive: timeout=5",
    b"TE: trailers\r\nTrailer: X",
    b"Authorization: Bearer x",
    b"Content-Type: text/csv",
    b"Content-Type: application/json; charset=utf-16",
    b"Content-Encoding: gzip",
    b"Inference-Header-Content-Length: 10",
    b"Inference-Header-Content-Length: -1",
    b"X: " + b"y" * 5_000,
    b"\r\n".join(b"X-%d: y" % n for n in range(120)),
)
_METHODS = (
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"get",
    b"G\0T",
    b"",
)
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.", b"HTTP/11", b"")
_TARGETS = (
    b"*",
    b"/",
    b"//",
    b"/..//..",
    b"/%00%ff%zz",
    b"/\xc3\xbc",
    b"/a b",
    b"/metrics",
    b"/openapi.json",
    b"/v2",
    b"/v2/models/screening/versions/v1/infer",
    b"/v2/models/other",
    b"/v1/projects/screening/decisions/",
    b"/v1/projects/screening/decisions/%22%0d%0a",
    b"/v1/projects/other/decisions",
    b"http://line/metrics",
    b"http://",
    b"line:80",
    b"/?" + b"q" * 9_000,
)
_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, -1e309, 2**53 + 1, 2**64, 10**400, 0.1, "", "a", "\u0000", "\ud800", "ü" * 300, "x" * 2_000,
    [], {}, [[]], {"": None}, [None] * 20, {"a": {"b": 1}}, "1", "NaN", "2026-01-01T00:00:00Z",
)  # fmt: skip
_RAW_VALUES = (
    "NaN",
    "Infinity",
    "-0",
    "1e999",
    "01",
    "1.",
    "'a'",
    "/*c*/1",
    "[" * 3_000,
    '{"a":' * 1_500,
    '"\\ud800"',
    '"\t"',
    "",
)


def mutated(random: random.Random, base: bytes, pool: Sequence[bytes]) -> bytes:
    """A request after one to four mutations, which may take parts of the others in the pool."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        base = random.choice(_MUTATIONS)(random, base, pool)[:65_536]
    return base


def _split(raw: bytes) -> tuple[bytes, bytes]:
    head, _, body = raw.partition(_END)
    return head, body


def _place(random: random.Random, raw: bytes) -> int:
    return random.randrange(len(raw) + 1)


def _flip(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    data = bytearray(raw)
    for _ in range(random.choice((1, 1, 2, 8)) if data else 0):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def _insert(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    at = _place(random, raw)
    return raw[:at] + random.choice((random.choice(_ODD_BYTES), random.randbytes(random.randrange(1, 9)))) + raw[at:]


def _delete(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    at = _place(random, raw)
    return raw[:at] + raw[at + random.choice((1, 2, 4, 30)) :]


def _truncate(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    return raw[: _place(random, raw)]


def _repeat(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    at, to = sorted((_place(random, raw), _place(random, raw)))
    return raw[:to] + raw[at:to] * random.choice((1, 1, 2, 20)) + raw[to:]


def _splice(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    other = random.choice(pool)
    return raw[: _place(random, raw)] + other[_place(random, other) :]


def _pipeline(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    others = [random.choice(pool) for _ in range(random.choice((1, 1, 2, 3, 8)))]
    others.insert(random.randrange(len(others) + 1), raw)
    return b"".join(others)


def _many(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    return raw * random.choice((2, 3, 70)) if len(raw) < 900 else raw * 2


def _line(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    """Add, take away, double or move a line of the head."""
    head, body = _split(raw)
    lines = head.split(b"\r\n")
    at = random.randrange(len(lines))
    act = random.randrange(4)
    if act == 0:
        lines.insert(at + 1, random.choice(_ODD_HEADERS))
    elif act == 1:
        del lines[at]
    elif act == 2:
        lines.insert(at, lines[at])
    else:
        random.shuffle(lines)
    return b"\r\n".join(lines) + _END + body


def _first(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    """Another method, target or version."""
    first, gap, rest = raw.partition(b"\r\n")
    words = first.split(b" ")
    at = random.randrange(len(words))
    words[at] = random.choice((_METHODS, _TARGETS, _VERSIONS)[min(at, 2)])
    return b" ".join(words) + gap + rest


def _ends(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    """Other ends of lines, at one place or everywhere."""
    return raw.replace(b"\r\n", random.choice((b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n")), random.choice((1, 2, -1)))


def _length(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    """Another Content-Length than there is."""
    head, body = _split(raw)
    near = str(max(0, len(body) + random.choice((-2, -1, 1, 2, 10))))
    said = random.choice((near, random.choice(_ODD_LENGTHS)))
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    lines.insert(min(1, len(lines)), b"Content-Length: " + said.encode())
    return b"\r\n".join(lines) + _END + body


def _chunked(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    """The same body in chunks, sound or not."""
    head, body = _split(raw)
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    lines.append(b"Transfer-Encoding: chunked")
    if random.random() < 0.1:
        lines.append(b"Content-Length: %d" % len(body))
    pieces = []
    while body:
        size = random.choice((1, 3, 16, 1_000))
        part, body = body[:size], body[size:]
        said = b"%x" % len(part) if random.random() < 0.9 else random.choice(_ODD_SIZES)
        if random.random() < 0.02:
            said += b";x=" + b"y" * random.choice((1, 300, 5_000))
        pieces.append(said + b"\r\n" + part + (b"\r\n" if random.random() < 0.97 else random.choice(_ODD_BYTES)))
    last = random.choice(
        (
            b"0\r\n\r\n",
            b"0\r\n\r\n",
            b"0\r\n\r\n",
            b"0\r\nX: y\r\n\r\n",
            b"0\r\n",
            b"",
            b"0\r\nContent-Length: 3\r\n\r\n",
            b"0\r\nX: " + b"y" * random.choice((1, 300, 3_000, 30_000)),
            b"0\r\n" + b"X: y\r\n" * random.choice((1, 300, 3_000)),
        )
    )
    return b"\r\n".join(lines) + _END + b"".join(pieces) + last


def _json(random: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    """One value of the JSON body is another, or gone, or not JSON; the length fits."""
    head, body = _split(raw)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return _flip(random, raw, pool)
    parent: Any = [value]
    key: Any = 0
    root = parent
    while isinstance(parent[key], dict | list) and parent[key] and random.random() < 0.8:
        parent, found = parent[key], parent[key]
        key = random.choice(list(found)) if isinstance(found, dict) else random.randrange(len(found))
    act = random.random()
    if act < 0.1 and parent is not root:
        del parent[key]
    elif act < 0.2 and isinstance(parent, dict):
        parent[random.choice(("x", "id", "unit", "tags", "human", "age", "cough", "shape", "data", "__class__"))] = (
            parent[key]
        )
    elif act < 0.35:
        parent[key] = "@@"
    else:
        parent[key] = random.choice(_ODD_VALUES)
    text = json.dumps(root[0], ensure_ascii=random.random() < 0.8)
    made = text.replace('"@@"', random.choice(_RAW_VALUES)).encode(errors="surrogatepass")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(made)]) + _END + made


_MUTATIONS: tuple[Mutation, ...] = (
    *(_flip, _insert, _delete, _truncate, _repeat, _splice, _pipeline, _many, _line, _line),
    *(_first, _ends, _length, _chunked, _chunked, _json, _json, _json, _json),
)
