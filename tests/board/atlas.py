"""Where a board's links lead: every page that a person reaches from the first one, by the page of the catalog it is."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from tests.board.served import Answer, Served

from andon.surface.catalog import PAGES

__all__ = ["Atlas", "Links", "atlas", "page_of"]

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


@dataclass
class Atlas:
    """Addresses by the page's name, commands' questions under ``act``.

    ``linked`` are the names that a link leads to, ``broken`` the links that do not lead to a page, and from where.
    """

    pages: dict[str, list[str]] = field(default_factory=dict)
    linked: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)


def atlas(board: Served, role: str = "owner", each: int = 2) -> Atlas:
    """Follow links from the pages without parameters, to at most ``each`` addresses for one page and its query's names."""
    made, kinds = Atlas(), Counter[tuple[str, frozenset[str]]]()
    waiting = deque((page.path, "the catalog") for page in PAGES if "{" not in page.path)
    seen = {path for path, _ in waiting}
    while waiting:
        address, source = waiting.popleft()
        parts = urlsplit(address)
        name = "act" if parts.path.startswith("/act/") else page_of(parts.path)
        kind = (name or parts.path, frozenset(one.split("=")[0] for one in parts.query.split("&") if one))
        kinds[kind if name != "act" else (parts.path, frozenset())] += 1
        if kinds[kind if name != "act" else (parts.path, frozenset())] > each:
            continue
        answer = board.get(address, role)
        if answer.status != 200:
            made.broken.append(f"{source} -> {address}: {answer.status}")
        elif name is not None:
            made.pages.setdefault(name, []).append(address)
            for goes in _links(address, answer):
                made.linked.add(page_of(urlsplit(goes).path) or "")
                if goes not in seen:
                    seen.add(goes)
                    waiting.append((goes, address))
    return made


def _links(address: str, answer: Answer) -> list[str]:
    """Where a page's links lead on this board, without fragments."""
    found = []
    for link in Links(answer.text).links:
        goes = urlsplit(urljoin(f"http://board{address}", link))
        if goes.netloc == "board" and not goes.path.startswith(("/api/", "/static/")):
            found.append(goes.path + (f"?{goes.query}" if goes.query else ""))
    return found
