"""Where a board's links lead: every page that a person reaches from the first one, by the page of the catalog it is."""

from __future__ import annotations

import re
from collections import deque
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from tests.board.served import Served

from andon.surface.catalog import PAGES

__all__ = ["Links", "atlas", "page_of"]

_PATTERNS = [
    (page.name, re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(page.path)) + r"\Z"))
    for page in sorted(PAGES, key=lambda page: page.path.count("{"))
]


def page_of(path: str) -> str | None:
    """The catalog's name of the page at a path; None where there is none.

    A path without parameters comes first: ``/models/compare`` is no run.
    """
    return next((name for name, pattern in _PATTERNS if pattern.match(path)), None)


class Links(HTMLParser):
    """The links of one page, and its form's targets."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.posts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "a" and named.get("href"):
            self.links.append(named["href"] or "")
        if tag == "form" and (named.get("method") or "get").lower() == "post":
            self.posts.append(named.get("action") or "")


def atlas(board: Served, each: int = 2) -> dict[str, list[str]]:
    """Follow links from the first page, at most ``each`` addresses for one page and one set of query names.

    Returns addresses by the page's name; commands' questions are under ``act``, what is neither under ``nowhere``.
    """
    found: dict[str, list[str]] = {}
    kinds: dict[tuple[str, frozenset[str]], int] = {}
    waiting, seen = deque(["/"]), {"/"}
    while waiting:
        address = waiting.popleft()
        parts = urlsplit(address)
        name = "act" if parts.path.startswith("/act/") else page_of(parts.path) or "nowhere"
        kind = (name if name != "act" else parts.path, frozenset(one.split("=")[0] for one in parts.query.split("&")))
        kinds[kind] = kinds.get(kind, 0) + 1
        if kinds[kind] > each:
            continue
        found.setdefault(name, []).append(address)
        answer = board.get(address)
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        assert answer.status == 200, f"{address}: {answer.status} {answer.text[:500]}"
        for link in Links(answer.text).links:
            goes = urlsplit(urljoin(board.url + address, link))
            path = goes.path + (f"?{goes.query}" if goes.query else "")
            if (
                goes.netloc == urlsplit(board.url).netloc
                and path not in seen
                and not goes.path.startswith(("/api/", "/static/"))
            ):
                seen.add(path)
                waiting.append(path)
    return found
