"""What a page and a command of the board are: declared once, served twice, as HTML for people and as JSON for programs.

A page is a function from (visit, parameters) to a ``msgspec.Struct``; its JSON twin is that struct, and its template
shows that struct and nothing else. A command is the function that the command line calls, with the same name. The
parameters' struct is the schema: what is decoded, what is refused, and what the OpenAPI document says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import quote

import msgspec

from andon.people.access import Action

__all__ = ["TOPICS", "Command", "Content", "Done", "Empty", "Page", "Preview", "Raw", "Topic", "piece"]

Topic = Literal["route", "journal", "items", "windows", "crew"]
TOPICS: tuple[Topic, ...] = get_args(Topic)
"""What can change while a page is open: the route, the journal, the inbox, what was measured, who is at work."""


class Empty(msgspec.Struct, frozen=True):
    """No parameters."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page and its JSON twin.

    ``path`` is the page's path, with its parameters in braces; the twin is at ``/api/v1`` + path. ``params`` holds path
    and query parameters together. ``section`` is the tab it belongs to, ``live`` what it must be asked again for.
    ``personal`` says that the view differs by who looks; others are shared for a second between all who have them open.
    """

    name: str
    path: str
    title: str
    section: str
    view: Callable[[Any, Any], msgspec.Struct]
    params: type[msgspec.Struct]
    result: type[msgspec.Struct]
    template: str
    may: Action = "read"
    live: tuple[Topic, ...] = ()
    personal: bool = False

    @property
    def twin(self) -> str:
        """Where the JSON is.

        >>> Page("line", "/", "Line", "line", lambda visit, params: Empty(), Empty, Empty, "line.html").twin
        '/api/v1/line'
        """
        return "/api/v1" + (self.path if self.path != "/" else "/line")


def piece(name: str) -> str:
    """A name as one piece of a path. What servers and browsers take for more than a name is written twice over.

    Whoever takes such a name asks for it as it came and, where nothing is called so, for what `unquote` makes of it.

    >>> piece("lot 7"), piece("a/b"), piece(".."), piece("a%2Fb")
    ('lot%207', 'a%252Fb', '%252E%252E', 'a%25252Fb')
    """
    once = name.replace(".", "%2E") if name in (".", "..") else name.replace("%", "%25").replace("/", "%2F")
    return quote(once, safe="")


class Content(msgspec.Struct, frozen=True):
    """Bytes with their media type, for what is neither a page nor JSON; ``filename`` makes it a download."""

    body: bytes
    media_type: str
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """Something that is neither page nor JSON, such as an image; sent so that a browser runs nothing in it."""

    name: str
    path: str
    handler: Callable[[Any, Any], Content]
    params: type[msgspec.Struct]
    may: Action = "read"


class Preview(msgspec.Struct, frozen=True):
    """What a command will change: how it is now, how it will be, and what to think about first.

    ``facts`` is what else is good to know: what changes one by one, how many cases it is about.
    """

    title: str
    now: str
    then: str
    warnings: tuple[str, ...] = ()
    danger: bool = False
    facts: tuple[str, ...] = ()


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a command did, in one sentence, and what the person should know."""

    sentence: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """Something a person does: the same function, name and parameters on the page, in the API and on the command line.

    It is posted as JSON to ``/api/v1/`` and as a form to ``/act/`` followed by its name with slashes for dots. With a
    ``preview`` the page asks first and shows what will change; without, the form acts at once. ``template`` shows the
    result where it must be seen once and not again; else the browser goes ``back`` with the sentence at the top.
    """

    name: str
    title: str
    params: type[msgspec.Struct]
    run: Callable[[Any, Any], Done]
    may: Action
    preview: Callable[[Any, Any], Preview] | None = None
    result: type[Done] = Done
    template: str = ""
    back: str = "/"

    @property
    def path(self) -> str:
        """The name as a path.

        >>> Command("deploy.canary", "Start a canary", Empty, lambda visit, params: Done(sentence=""), "deploy").path
        'deploy/canary'
        """
        return self.name.replace(".", "/")
