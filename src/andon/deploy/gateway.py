"""The gateway without a socket: requests in, answers out, driven by ``protocol`` or by anything else.

``Gateway.submit`` takes a whole request and calls ``reply`` once, now or in a later turn; ``Gateway.turn`` does what the
desk can do now. Which address does what is in ``_routes``; the bodies are in ``gateway_decisions`` and
``gateway_inference`` and ``gateway_mlflow``. A request never makes it raise.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from andon.core.registry import did_you_mean
from andon.deploy.case import Case, Outcome
from andon.deploy.desk import Desk
from andon.deploy.express import Express
from andon.deploy.gateway_decisions import (
    decision_answer,
    feedback_answer,
    found_answer,
    parse_decision,
    parse_feedback,
    parse_feedback_row,
)
from andon.deploy.gateway_inference import Inference
from andon.deploy.gateway_mlflow import Mlflow, mlflow_error
from andon.deploy.gateway_openapi import openapi
from andon.deploy.protocol_message import Answer, Reply, Request, Take, error_answer, json_answer
from andon.deploy.settings import GatewayConfig
from andon.errors import AndonError, ContractError, Denied, NotFound
from andon.people.access import Access, Action, bearer

__all__ = ["Gateway"]

Handler = Callable[[Request, Reply], None]
_PROJECTS = "/v1/projects/"
#: Endpoints that speak the Open Inference Protocol, errors included.
_V2 = frozenset({"infer", "model", "health"})
#: What a token must allow for them (any of it); health is open to everyone.
_NEEDS: dict[str, tuple[Action, ...]] = {"infer": ("decide",), "model": ("decide", "read"), "health": ()}


class Gateway:
    """One worker's HTTP face. ``scrape`` gives the text of ``/metrics``; ``ready`` says whether it should get traffic;
    ``line`` is a mark by which another line on the same port is told apart.
    """

    def __init__(
        self,
        config: GatewayConfig,
        desk: Desk,
        *,
        access: Access | None = None,
        ready: Callable[[], bool] = lambda: True,
        scrape: Callable[[], str] = str,
        wall: Callable[[], int] = lambda: 0,
        line: str = "",
    ) -> None:
        self.desk = desk
        self._config = config
        self._access = access if config.tokens_required else None
        self._ready = ready
        self._scrape = scrape
        self._wall = wall
        self._classes = config.classes
        self._base = f"{_PROJECTS}{config.project}/"
        self._decisions = self._base + "decisions"
        self._inference = Inference(config, desk, ready, line)
        mlflow = Mlflow(config, desk, ready)
        self._others: dict[str, tuple[str, Handler, tuple[Action, ...]]] = {
            "/metrics": ("GET", self._metrics, ("read", "decide")),
            "/openapi.json": ("GET", self._openapi, ("read", "decide")),
            "/invocations": ("POST", mlflow.invocations, ("decide",)),
            "/ping": ("GET", mlflow.ping, ()),
            "/health": ("GET", mlflow.ping, ()),
            "/version": ("GET", mlflow.version, ("read", "decide")),
        }
        self._express = Express(config, desk, self._generally)
        desk.quick = self._express

    def turn(self) -> None:
        """Do what can be done now."""
        self.desk.turn()

    def submit(self, request: Request, reply: Reply) -> None:
        """Answer one request, now or later."""
        if request.method == "POST" and request.path == self._decisions:
            if not (self._may_decide(request) and self._express.take(request.body, reply)):
                self._guarded("decisions", request, reply, self._decide, "decide")
            return
        method = "GET" if request.method == "HEAD" else request.method
        if request.path == "/v2" or request.path.startswith("/v2/"):
            self._v2(method, request, reply)
        elif request.path.startswith(_PROJECTS):
            self._project(method, request, reply)
        else:
            self._other(method, request, reply)

    def shortcut(self, request: Request) -> Take | None:
        """Who takes the bodies of requests with this head alone, where no more of it counts: no token is asked for."""
        decides = request.method == "POST" and request.path == self._decisions
        return self._express.take if decides and self._access is None else None

    def _may_decide(self, request: Request) -> bool:
        if self._access is None:
            return True
        try:
            self._authorise(request, ("decide",))
        except AndonError:
            return False  # the general way says why
        return True

    def _generally(self, body: bytes, reply: Reply, nonce: str) -> None:
        """Take a request whose token was checked the general way, drawn as it was on the quick way."""
        request = Request("POST", self._decisions, "", (), body)
        self._guarded("decisions", request, reply, lambda request, reply: self._decide(request, reply, nonce))

    def _guarded(self, endpoint: str, request: Request, reply: Reply, handle: Handler, *actions: Action) -> None:
        """Check the token, hand on, and turn what is raised into an answer."""
        meter = self.desk.meter

        def counted(answer: Answer) -> None:
            meter.answered(endpoint, answer.status)
            reply(answer)

        try:
            self._authorise(request, actions)
            handle(request, counted)
        except AndonError as error:
            mlflow = endpoint == "invocations"
            counted(mlflow_error(error) if mlflow else error_answer(error, inference=endpoint in _V2))

    def _authorise(self, request: Request, actions: tuple[Action, ...]) -> None:
        if self._access is None or not actions:
            return
        header = request.header(b"authorization")
        secret = bearer(None if header is None else header.decode("latin-1"))
        for action in actions[:-1]:
            try:
                self._access.check(secret, action, now_us=self._wall())
            except Denied:
                continue
            return
        self._access.check(secret, actions[-1], now_us=self._wall())

    def _project(self, method: str, request: Request, reply: Reply) -> None:
        rest = request.path.removeprefix(self._base) if request.path.startswith(self._base) else None
        if rest is None:
            self._refuse(request, reply, NotFound(self._no_project(request.path)))
        elif rest == "decisions":
            self._wrong_method(request, reply, "POST")
        elif rest.startswith("decisions/") and rest != "decisions/":
            if method == "GET":
                self._guarded("decision", request, reply, self._find, "decide", "read")
            else:
                self._wrong_method(request, reply, "GET")
        elif rest == "feedback":
            if method == "POST":
                self._guarded("feedback", request, reply, self._feedback, "decide", "label")
            else:
                self._wrong_method(request, reply, "POST")
        else:
            self._unknown(request, reply)

    def _other(self, method: str, request: Request, reply: Reply) -> None:
        expected, handle, actions = self._others.get(request.path, ("", None, ()))
        if handle is None:
            self._unknown(request, reply)
        elif method != expected:
            self._wrong_method(request, reply, expected)
        else:
            self._guarded(request.path[1:].partition(".")[0], request, reply, handle, *actions)

    def _v2(self, method: str, request: Request, reply: Reply) -> None:
        endpoint, expected, handle = self._inference.route(request.path)
        if handle is None:
            self._unknown(request, reply, inference=True)
        elif method != expected:
            self._wrong_method(request, reply, expected, inference=True)
        else:
            self._guarded(endpoint, request, reply, handle, *_NEEDS[endpoint])

    def _decide(self, request: Request, reply: Reply, nonce: str = "") -> None:
        given = parse_decision(request.body, self._classes)
        desk = self.desk

        def done(outcome: Outcome) -> None:
            reply(decision_answer(outcome))

        case = Case(
            given.x,
            done,
            id=given.id or "",
            unit=given.unit if given.unit is None else str(given.unit),
            tags=given.tags or {},
            human=given.human,
            nonce=nonce,
        )
        desk.submit(case)

    def _find(self, request: Request, reply: Reply) -> None:
        id = unquote(request.path[len(self._decisions) + 1 :])
        self.desk.find(id, lambda outcome: reply(found_answer(outcome)))

    def _feedback(self, request: Request, reply: Reply) -> None:
        good, faults = [], []
        for index, row in enumerate(parse_feedback(request.body)):
            try:
                good.append(parse_feedback_row(row, self._classes))
            except ContractError as error:
                faults.append({"index": index, "error": error.to_dict()})
        if not good:
            reply(feedback_answer(0, faults))
            return

        def done(error: AndonError | None) -> None:
            reply(feedback_answer(len(good), faults) if error is None else error_answer(error))

        self.desk.feedback(good, done)

    def _metrics(self, request: Request, reply: Reply) -> None:
        reply(Answer(200, self._scrape().encode(), "text/plain; version=0.0.4; charset=utf-8"))

    def _openapi(self, request: Request, reply: Reply) -> None:
        reply(json_answer(200, openapi(self._config, self.desk.placer.contract_of(self.desk.placer.route.live))))

    def _no_project(self, path: str) -> str:
        name = unquote(path.removeprefix(_PROJECTS).partition("/")[0])[:100]
        return f"no project is called {name!r} here; {did_you_mean(name, [self._config.project])}"

    def _unknown(self, request: Request, reply: Reply, *, inference: bool = False) -> None:
        error = NotFound(f"there is nothing at {request.path[:200]!r}", hint="see /openapi.json for what there is")
        self._refuse(request, reply, error, inference=inference)

    def _refuse(self, request: Request, reply: Reply, error: AndonError, *, inference: bool = False) -> None:
        answer = error_answer(error, inference=inference)
        self.desk.meter.answered("other", answer.status)
        reply(answer)

    def _wrong_method(self, request: Request, reply: Reply, expected: str, *, inference: bool = False) -> None:
        message = f"{request.path[:200]} takes {expected}, found {request.method}"
        body = {"error": message if inference else {"code": "usage", "message": message}}
        self.desk.meter.answered("other", 405)
        reply(json_answer(405, body, (("allow", expected if expected == "POST" else "GET, HEAD"),)))
