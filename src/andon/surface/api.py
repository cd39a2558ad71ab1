"""The board for programs: the JSON twin of every page, every command, the events, and the OpenAPI document of all that.

An answer is the view's or the command's struct; an error is ``{"error": {"code", "message", "field"?, "hint"?}}`` with
the status of ``andon.errors``. Who comes with a cookie instead of a token proves with a header (``X-Andon-Proof``) that a
page of ours sent the command.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Match, Route

from andon.errors import AndonError, Denied, NotFound, Overloaded
from andon.surface.decode import from_json, from_strings
from andon.surface.events import MOST_LISTENERS
from andon.surface.openapi import document
from andon.surface.page import Command, Content, Page, Raw
from andon.surface.site import Site
from andon.surface.visit import Visit

__all__ = ["PREFIX", "content_response", "endpoint", "error_response", "json_response", "routes"]

PREFIX = "/api/v1"
PROOF = "x-andon-proof"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

Answer = Callable[[Request, Visit], Awaitable[Response]]


def json_response(value: Any, status: int = 200) -> Response:
    """Any struct as JSON; not to be kept by anyone on the way."""
    body = msgspec.json.encode(value, enc_hook=str)
    return Response(body, status, {"cache-control": "no-store"}, "application/json")


def error_response(error: AndonError, status: int | None = None) -> Response:
    """An error as JSON, with its status."""
    answer = json_response({"error": error.to_dict()}, status or error.http)
    if answer.status_code == 401:
        answer.headers["www-authenticate"] = "Bearer"
    if answer.status_code in (429, 503):
        answer.headers["retry-after"] = "2"
    return answer


def content_response(found: Content) -> Response:
    """Bytes that a browser shows but runs nothing of."""
    headers = {"cache-control": "private, max-age=3600", "content-security-policy": "default-src 'none'; sandbox"}
    if found.filename is not None:
        headers["content-disposition"] = "attachment; filename=" + "".join(
            letter if (letter.isalnum() and letter.isascii()) or letter in "._-" else "_" for letter in found.filename
        )
    return Response(found.body, 200, headers, found.media_type)


def endpoint(site: Site, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that knows who asks, and says every error of ours as JSON."""

    async def handle(request: Request) -> Response:
        try:
            visit = site.visit(request)
        except Denied as error:
            return error_response(error, 401)
        try:
            return await answer(request, visit)
        except AndonError as error:
            return error_response(error)

    return handle


def routes(site: Site) -> list[BaseRoute]:
    """All routes under ``/api/v1``."""
    made: list[BaseRoute] = [
        Route(f"{PREFIX}/openapi.json", _document(site)),
        Route(f"{PREFIX}/events", endpoint(site, _events(site))),
    ]
    made += [Route(page.twin, endpoint(site, _page(site, page)), methods=["GET"]) for page in site.pages]
    made += [Route(PREFIX + raw.path, endpoint(site, raw_answer(site, raw)), methods=["GET"]) for raw in site.raws]
    made += [
        Route(f"{PREFIX}/{command.path}", endpoint(site, _command(site, command)), methods=["POST"])
        for command in site.commands.values()
    ]
    made.append(Route(PREFIX + "/{rest:path}", endpoint(site, _otherwise(tuple(made))), methods=_METHODS))
    return made


def _page(site: Site, page: Page) -> Answer:
    async def answer(request: Request, visit: Visit) -> Response:
        pairs = [*request.path_params.items(), *request.query_params.multi_items()]
        params = from_strings(pairs, page.params, strict=True)
        return json_response(await anyio.to_thread.run_sync(site.look, page, visit, params))

    return answer


def raw_answer(site: Site, raw: Raw) -> Answer:
    """The same for bytes; the pages use it, too."""

    async def answer(request: Request, visit: Visit) -> Response:
        visit.require(raw.may)
        pairs = [*request.path_params.items(), *request.query_params.multi_items()]
        params = from_strings(pairs, raw.params, strict=True)
        return content_response(await anyio.to_thread.run_sync(raw.handler, visit, params))

    return answer


def _command(site: Site, command: Command) -> Answer:
    async def answer(request: Request, visit: Visit) -> Response:
        if request.headers.get("authorization") is None:
            _refuse_forged(site, request, command)
        params = from_json(await request.body(), command.params)
        return json_response(await anyio.to_thread.run_sync(site.act, command, visit, params))

    return answer


def _refuse_forged(site: Site, request: Request, command: Command) -> None:
    """A browser sends its cookie with whatever another site makes it send; only our own pages know the proof."""
    session, proof = site.session(request), request.headers.get(PROOF, "")
    if site.local and session is None and "origin" not in request.headers and "cookie" not in request.headers:
        return  # no browser: a program of this machine's user
    if session is None or not site.sessions.proves(session, command.name, proof):
        raise Denied(f"the proof that a page of this board sent this is missing or wrong (header {PROOF})")


def _events(site: Site) -> Answer:
    async def answer(request: Request, visit: Visit) -> Response:
        visit.require("read")
        if site.pulse.listeners >= MOST_LISTENERS:
            raise Overloaded(f"{MOST_LISTENERS} listeners are connected already; try again later")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(site.pulse.events(), 200, headers, "text/event-stream")

    return answer


def _document(site: Site) -> Callable[[Request], Awaitable[Response]]:
    made = document(site.project.charter.project, site.pages, site.raws, tuple(site.commands.values()), site.local)

    async def answer(request: Request) -> Response:
        return json_response(made)

    return answer


def _otherwise(known: tuple[BaseRoute, ...]) -> Answer:
    """What is nowhere, or takes another method."""

    async def answer(request: Request, visit: Visit) -> Response:
        here = [one for one in known if isinstance(one, Route) and one.matches(request.scope)[0] is Match.PARTIAL]
        if not here:
            raise NotFound(f"there is no {request.url.path[:200]}", hint="GET /api/v1/openapi.json lists what there is")
        methods = ", ".join(sorted(set().union(*(one.methods or set() for one in here))))
        said = {"code": "method", "message": f"{request.url.path[:200]} takes {methods}, not {request.method}"}
        reply = json_response({"error": said}, 405)
        reply.headers["allow"] = methods
        return reply

    return answer
