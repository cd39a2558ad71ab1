"""The pages for people: each page of the catalog as HTML, each command as a question and an act, log-in and errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import anyio.to_thread
import jinja2
import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from andon.errors import AndonError, Denied, NotFound, UsageError
from andon.surface.api import raw_answer
from andon.surface.board.form import form_fields, local_path
from andon.surface.board.session import HOURS, Session
from andon.surface.decode import from_strings
from andon.surface.page import Command, Done, Page, Preview
from andon.surface.site import Site
from andon.surface.visit import Visit

__all__ = ["Pages"]

Endpoint = Callable[[Request], Awaitable[Response]]
_HTML = "text/html; charset=utf-8"


class Pages:
    """The HTML side of a site."""

    def __init__(self, site: Site, environment: jinja2.Environment) -> None:
        self._site = site
        self._environment = environment

    def routes(self) -> list[BaseRoute]:
        """Every page, every command's form, log-in and log-out; what is nowhere is said on a page, too."""
        site = self._site
        made: list[BaseRoute] = [
            Route("/login", self._login_page, methods=["GET"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
        ]
        made += [Route(page.path, self._guarded(self._page(page)), methods=["GET"]) for page in site.pages]
        made += [Route(raw.path, self._guarded(_raw(site, raw)), methods=["GET"]) for raw in site.raws]
        for command in site.commands.values():
            made.append(Route(f"/act/{command.path}", self._guarded(self._ask(command)), methods=["GET"]))
            made.append(Route(f"/act/{command.path}", self._guarded(self._act(command)), methods=["POST"]))
        made.append(Route("/{rest:path}", self._guarded(self._nowhere), methods=["GET", "POST"]))
        return made

    # ---------------------------------------------------------------------------------------------------- answering

    def _guarded(self, answer: Callable[[Request, Visit, Session], Awaitable[Response]]) -> Endpoint:
        """Find out who asks, and say errors on a page; who is not known yet is led to the log-in."""

        async def handle(request: Request) -> Response:
            try:
                visit = self._site.visit(request)
            except Denied:
                return RedirectResponse(f"/login?next={quote(_here(request), safe='')}", 303)
            found = self._site.session(request)
            session = found or self._site.sessions.begin(visit.viewer.token)
            try:
                reply = await answer(request, visit, session)
            except AndonError as error:
                reply = await self._error(request, visit, session, error)
            if found is None:
                self._keep(request, reply, session)
            return reply

        return handle

    async def _show(
        self, template: str, request: Request, visit: Visit, session: Session, status: int = 200, **values: Any
    ) -> Response:
        """Render a template with what every page needs."""
        sessions = self._site.sessions
        note = request.cookies.get(sessions.note_cookie, "")
        context = {
            "visit": visit,
            "here": _here(request),
            "head": await anyio.to_thread.run_sync(self._site.head),
            "local": self._site.local,
            "notes": sessions.read_note(note) if note else [],
            "proof": lambda name: sessions.proof(session, name),
            "commands": self._site.commands,
            "page": None,
            "params": None,
            **values,
        }
        reply = Response(await anyio.to_thread.run_sync(self._render, template, context), status, media_type=_HTML)
        reply.headers["cache-control"] = "no-store"
        if note:
            reply.delete_cookie(sessions.note_cookie, path="/")
        return reply

    def _render(self, template: str, context: dict[str, Any]) -> str:
        parts = self._environment.get_template("parts.html").make_module(context)
        return self._environment.get_template(template).render(context, parts=parts)

    def _keep(self, request: Request, reply: Response, session: Session) -> None:
        sessions, secure = self._site.sessions, request.url.scheme == "https"
        reply.set_cookie(
            sessions.cookie, sessions.write(session), max_age=HOURS * 3600, httponly=True, samesite="lax", secure=secure
        )

    def _note(self, request: Request, reply: Response, texts: list[str]) -> None:
        """Sentences that the next page shows at its top."""
        sessions, secure = self._site.sessions, request.url.scheme == "https"
        reply.set_cookie(
            sessions.note_cookie, sessions.write_note(texts), max_age=300, httponly=True, samesite="lax", secure=secure
        )

    async def _error(self, request: Request, visit: Visit, session: Session, error: AndonError) -> Response:
        return await self._show("error.html", request, visit, session, error.http, error=error)

    async def _nowhere(self, request: Request, visit: Visit, session: Session) -> Response:
        raise NotFound(f"there is no page {request.url.path[:200]}", hint="the tabs above lead everywhere")

    # -------------------------------------------------------------------------------------------- pages and commands

    def _page(self, page: Page) -> Callable[[Request, Visit, Session], Awaitable[Response]]:
        async def answer(request: Request, visit: Visit, session: Session) -> Response:
            pairs = [*request.path_params.items(), *request.query_params.multi_items()]
            params = from_strings(pairs, page.params)
            view = await anyio.to_thread.run_sync(self._site.look, page, visit, params)
            return await self._show(page.template, request, visit, session, page=page, params=params, view=view)

        return answer

    def _ask(self, command: Command) -> Callable[[Request, Visit, Session], Awaitable[Response]]:
        async def answer(request: Request, visit: Visit, session: Session) -> Response:
            visit.require(command.may)
            given = dict(request.query_params.multi_items())
            back = local_path(given.pop("next", ""), command.back)
            return await self._question(request, visit, session, command, given, back)

        return answer

    async def _question(
        self,
        request: Request,
        visit: Visit,
        session: Session,
        command: Command,
        given: dict[str, str],
        back: str,
        error: AndonError | None = None,
    ) -> Response:
        """The page that asks: what will change, which fields are open, and what was wrong the last time."""
        preview: Preview | None = None
        fault = error
        params: msgspec.Struct | None = None
        try:
            params = from_strings(given.items(), command.params)
            if command.preview is not None:
                preview = await anyio.to_thread.run_sync(command.preview, visit, params)
        except AndonError as wrong:
            # Without a word yet, what is missing is no fault but a question.
            missing = params is None and not given
            fault = fault or (None if missing else wrong)
        return await self._show(
            "confirm.html", request, visit, session, error.http if error is not None else 200,
            command=command, fields=form_fields(command.params, given), given=given, preview=preview, fault=fault, back=back,
        )  # fmt: skip

    def _act(self, command: Command) -> Callable[[Request, Visit, Session], Awaitable[Response]]:
        async def answer(request: Request, visit: Visit, session: Session) -> Response:
            given = _form(request, await request.body())
            proof = given.pop("proof", "")
            back = local_path(given.pop("next", ""), command.back)
            if not self._site.sessions.proves(session, command.name, proof):
                raise Denied(
                    "this form was not made by this board, or not for you",
                    hint="go back, load the page again and send the form once more",
                )
            visit.require(command.may)
            try:
                params = from_strings(given.items(), command.params)
                done: Done = await anyio.to_thread.run_sync(self._site.act, command, visit, params)
            except AndonError as error:
                return await self._question(request, visit, session, command, given, back, error)
            if command.template:
                return await self._show(
                    command.template, request, visit, session, command=command, view=done, back=back, params=params
                )
            reply = RedirectResponse(local_path(getattr(done, "goto", ""), back), 303)
            if not getattr(done, "quiet", False):  # else the page that follows says it in its own way
                self._note(request, reply, [done.sentence, *done.notes])
            return reply

        return answer

    # ------------------------------------------------------------------------------------------------ log-in and out

    async def _login_page(self, request: Request) -> Response:
        return self._login_form(local_path(request.query_params.get("next", ""), "/"), None, 200)

    async def _login(self, request: Request) -> Response:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return self._login_form("/", Denied("another site sent this form"), 403)
        given = _form(request, await request.body())
        goes = local_path(given.get("next", ""), "/")
        try:
            token = self._site.access.check(
                given.get("token", "").strip(), "read", now_us=self._site.project.clock.wall()
            )
        except AndonError as error:
            return self._login_form(goes, error, error.http)
        reply = RedirectResponse(goes, 303)
        self._keep(request, reply, self._site.sessions.begin(token.id))
        return reply

    def _login_form(self, goes: str, error: AndonError | None, status: int) -> Response:
        project = self._site.project.charter.project
        text = self._environment.get_template("login.html").render(project=project, next=goes, error=error)
        return Response(text, status, {"cache-control": "no-store"}, _HTML)

    async def _logout(self, request: Request) -> Response:
        session = self._site.session(request)
        given = _form(request, await request.body())
        reply = RedirectResponse("/login", 303)
        if session is not None and self._site.sessions.proves(session, "logout", given.get("proof", "")):
            reply.delete_cookie(self._site.sessions.cookie, path="/")
        return reply


def _raw(site: Site, raw: Any) -> Callable[[Request, Visit, Session], Awaitable[Response]]:
    answer = raw_answer(site, raw)

    async def handle(request: Request, visit: Visit, session: Session) -> Response:
        return await answer(request, visit)

    return handle


def _here(request: Request) -> str:
    """The path asked for, with its query."""
    query = urlencode(request.query_params.multi_items())
    return request.url.path + (f"?{query}" if query else "")


def _form(request: Request, body: bytes) -> dict[str, str]:
    """The fields of a form. Raises ``UsageError``."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise UsageError(f"a form: expected application/x-www-form-urlencoded, found {kind[:80] or 'no content type'}")
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=200))
    except ValueError as error:
        raise UsageError(f"the form cannot be read: {error}") from None
