"""The doors of the board: who comes in, what is refused, what every answer carries. In-process, without a browser."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer

from andon.config import Project, open_project
from andon.errors import Conflict, UsageError
from andon.people.access import Access
from andon.store.tokens import TokenFile
from andon.surface import catalog
from andon.surface.board import session as session_module
from andon.surface.board.app import LARGEST_BODY, POLICY, make_app
from andon.surface.board.form import local_path
from andon.surface.board.session import HOURS, Sessions
from andon.surface.decode import from_json, from_strings
from andon.surface.events import Pulse, look
from andon.surface.glance import Glances
from andon.surface.line import Settings, free_port, with_board
from andon.surface.page import Command, Done, Preview
from andon.surface.visit import Visit

CHARTER = """
project: parts
problem: Say whether a part is good.
inputs: {{width: float}}
target: {{name: verdict, classes: [accept, reject]}}
safe_default: refer
checklist: {{security: {{tokens: {tokens}}}}}
metrics: {{nulls: {{of: null_outputs, alarm: "<= 0.1"}}}}
"""


class Params(msgspec.Struct, frozen=True):
    size: int
    word: str = ""
    reason: str = ""


class Paint(msgspec.Struct, frozen=True):
    colour: str = "red"
    coats: int = 1


def _measure(visit: Visit, params: Params) -> Done:
    """Measures."""
    if params.size == 13:
        raise Conflict("somebody was first", hint="try `andon status`")
    return Done(sentence=f"measured {params.size} {params.word} by {visit.viewer.name}", notes=("<b>note</b>",))


ASK = Command(
    "parts.measure", "Measure", Params, _measure, "deploy",
    preview=lambda visit, params: Preview("Measure it?", "not measured", f"measured {params.size}", danger=True),
)  # fmt: skip
ACT = Command("parts.paint", "Paint", Paint, lambda visit, params: Done(sentence=f"painted {params.colour}"), "label")


class Doors:
    """A client without a browser; keeps cookies as one does."""

    def __init__(self, root: Path) -> None:
        self.project: Project = open_project(root)
        self.app = make_app(self.project, poll_seconds=0.01)
        self.cookies = httpx.Cookies()
        self.access = Access(TokenFile(self.project.workspace.home))

    def ask(self, method: str, path: str, host: str = "localhost", **given: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url=f"http://{host}", cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, **given)
                self.cookies = client.cookies
                return answer

        return asyncio.run(once())

    def token(self, role: str) -> str:
        return self.access.create(f"the {role}", role, now_us=self.project.clock.wall())[0]

    def log_in(self, role: str) -> httpx.Response:
        return self.ask("POST", "/login", data={"token": self.token(role), "next": "/parts"})

    def proof(self, path: str) -> str:
        found = re.search(r'name="proof" value="([0-9a-f]{64})"', self.ask("GET", path).text.split("</header>")[-1])
        assert found is not None
        return found[1]


def make(folder: Path, tokens: str) -> Path:
    folder.mkdir()
    (folder / "andon.yaml").write_text(CHARTER.format(tokens=tokens))
    return folder


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three things of ours in the catalog."""
    from andon.surface import site

    monkeypatch.setattr(site, "COMMANDS", (*catalog.COMMANDS, ASK, ACT))


@pytest.fixture
def local(tmp_path: Path, pages: None) -> Iterator[Doors]:
    doors = Doors(make(tmp_path / "local", "none"))
    yield doors
    doors.project.workspace.close()


@pytest.fixture
def guarded(tmp_path: Path, pages: None) -> Iterator[Doors]:
    doors = Doors(make(tmp_path / "guarded", "required"))
    yield doors
    doors.project.workspace.close()


# ---------------------------------------------------------------------------------------------------- who comes in


def test_nobody_comes_in_without_a_token_where_the_charter_asks_for_one(guarded: Doors) -> None:
    page = guarded.ask("GET", "/act/parts/measure?size=4")
    assert page.status_code == 303
    assert page.headers["location"] == "/login?next=%2Fact%2Fparts%2Fmeasure%3Fsize%3D4"
    twin = guarded.ask("GET", "/api/v1/events")
    assert (twin.status_code, twin.headers["www-authenticate"]) == (401, "Bearer")
    assert twin.json()["error"]["code"] == "denied"


def test_a_token_opens_the_board_and_a_revoked_one_closes_it_at_once(guarded: Doors) -> None:
    assert guarded.log_in("operator").headers["location"] == "/parts"
    assert guarded.ask("GET", "/act/parts/measure?size=4").status_code == 200
    (token,) = guarded.access.tokens()
    guarded.access.revoke(token.id, now_us=guarded.project.clock.wall())
    assert guarded.ask("GET", "/act/parts/measure?size=4").status_code == 303


def test_a_wrong_token_gets_a_sentence_and_no_cookie(guarded: Doors) -> None:
    answer = guarded.ask("POST", "/login", data={"token": "andon_1_x"})
    assert answer.status_code == 403
    assert "not known here" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_client_token_does_not_open_pages(guarded: Doors) -> None:
    assert guarded.log_in("client").status_code == 403


def test_another_site_cannot_log_a_visitor_in(guarded: Doors) -> None:
    answer = guarded.ask(
        "POST", "/login", data={"token": guarded.token("owner")}, headers={"sec-fetch-site": "cross-site"}
    )
    assert answer.status_code == 403
    assert not guarded.cookies


def test_a_session_ends_after_its_hours(guarded: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded.log_in("viewer")
    sessions = Sessions(guarded.project.workspace.key)
    (name,) = guarded.cookies
    cookie = str(guarded.cookies[name])
    assert sessions.read(cookie) is not None
    later = time.time() + HOURS * 3600 + 1
    monkeypatch.setattr("itsdangerous.timed.TimestampSigner.get_timestamp", lambda _self: int(later))
    assert sessions.read(cookie) is None


def test_a_cookie_of_another_workspace_or_made_up_counts_for_nothing(local: Doors, guarded: Doors) -> None:
    sessions = Sessions(guarded.project.workspace.key)
    other = Sessions(local.project.workspace.key)
    assert sessions.cookie != other.cookie
    for forged in (
        other.write(other.begin(None)),
        URLSafeTimedSerializer(b"x" * 32, salt="session").dumps(["a", "b"]),
        URLSafeTimedSerializer(sessions._key, salt="session").dumps({"not": "ours"}),
        "",
        "\x00",
    ):
        assert sessions.read(forged) is None


def test_a_session_of_this_machines_user_counts_only_where_no_token_is_asked(guarded: Doors) -> None:
    sessions = Sessions(guarded.project.workspace.key)
    guarded.cookies.set(sessions.cookie, sessions.write(sessions.begin(None)), domain="localhost.local")
    assert guarded.ask("GET", "/act/parts/measure?size=4").status_code == 303


@given(st.text(max_size=300))
def test_no_text_passes_for_a_cookie(text: str) -> None:
    assert Sessions(b"k" * 32).read(text) is None
    assert Sessions(b"k" * 32).read_note(text) == []


def test_logging_out_needs_the_proof_and_ends_the_session(guarded: Doors) -> None:
    guarded.log_in("viewer")
    head = guarded.ask("GET", "/nowhere").text
    proof = re.search(r'action="/logout".*?value="([0-9a-f]{64})"', head, re.DOTALL)
    assert proof is not None
    guarded.ask("POST", "/logout", data={"proof": "0" * 64})
    assert guarded.ask("GET", "/nowhere").status_code == 404
    guarded.ask("POST", "/logout", data={"proof": proof[1]})
    assert guarded.ask("GET", "/nowhere").status_code == 303


def test_without_tokens_only_this_machines_names_are_answered(local: Doors) -> None:
    for host in ("localhost", "127.0.0.1", "127.0.0.1:8701", "[::1]", "[::1]:8701"):
        assert local.ask("GET", "/api/v1/openapi.json", host).status_code == 200, host
    for host in ("evil.example", "testserver", "localhost.evil.example", "127.0.0.1.evil.example"):
        answer = local.ask("GET", "/", host)
        assert answer.status_code == 421, host
        assert "localhost only" in answer.text


def test_without_tokens_the_board_refuses_another_address(local: Doors) -> None:
    with pytest.raises(UsageError, match="open to everyone"):
        make_app(local.project, host="0.0.0.0")


# ------------------------------------------------------------------------------------------------ what answers carry


def test_every_answer_carries_the_strict_headers(local: Doors) -> None:
    for path in ("/nowhere", "/api/v1/nowhere", "/static/andon.css", "/static/nothing", "/act/parts/measure", "/login"):
        answer = local.ask("GET", path)
        assert answer.headers["content-security-policy"] == POLICY, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
    refused = local.ask("GET", "/", "evil.example")
    assert refused.headers["content-security-policy"] == POLICY


def test_static_files_are_kept_by_their_mark_and_nothing_else_is(local: Doors) -> None:
    page = local.ask("GET", "/nowhere")
    assert page.headers["cache-control"] == "no-store"
    sheet = re.search(r"/static/andon.css\?v=[0-9a-f]+", page.text)
    assert sheet is not None
    assert "immutable" in local.ask("GET", sheet[0]).headers["cache-control"]
    assert "immutable" not in local.ask("GET", "/static/andon.css").headers.get("cache-control", "")
    assert local.ask("GET", "/static/../session.py").status_code == 404


def test_cookies_are_for_this_site_and_no_script(local: Doors) -> None:
    cookie = local.ask("GET", "/nowhere").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


# ---------------------------------------------------------------------------------------------------------- commands


def test_a_command_is_asked_about_first_and_then_done(local: Doors) -> None:
    asked = local.ask("GET", "/act/parts/measure?size=4&word=<i>&next=/nowhere").text
    assert "measured 4" in asked
    assert "&lt;i&gt;" in asked and "<i>" not in asked
    proof = local.proof("/act/parts/measure?size=4")
    form = {"proof": proof, "size": "4", "word": "<i>", "next": "/nowhere"}
    done = local.ask("POST", "/act/parts/measure", data=form)
    assert (done.status_code, done.headers["location"]) == (303, "/nowhere")
    told = local.ask("GET", "/nowhere").text
    assert "measured 4 &lt;i&gt;" in told
    assert "&lt;b&gt;note" in told
    assert "measured 4" not in local.ask("GET", "/nowhere").text


def test_what_is_missing_is_asked_for_and_what_is_wrong_is_said(local: Doors) -> None:
    empty = local.ask("GET", "/act/parts/measure").text
    assert 'name="size"' in empty
    assert 'role="alert"' not in empty
    assert (
        "size: expected a whole number, found &#39;much&#39;" in local.ask("GET", "/act/parts/measure?size=much").text
    )
    proof = local.proof("/act/parts/measure?size=4")
    refused = local.ask("POST", "/act/parts/measure", data={"proof": proof, "size": "13", "reason": "because"})
    assert refused.status_code == 409
    assert "somebody was first" in refused.text
    assert "because" in refused.text


@pytest.mark.parametrize("form", [{"x": "1"}, {"proof": ""}, {"proof": "0" * 64}])
def test_a_form_without_our_proof_does_nothing(local: Doors, form: dict[str, str]) -> None:
    answer = local.ask("POST", "/act/parts/paint", data=form)
    assert answer.status_code == 403
    assert "painted" not in local.ask("GET", "/nowhere").text


def test_the_proof_for_one_command_is_none_for_another(local: Doors) -> None:
    proof = local.proof("/act/parts/measure?size=4")
    assert local.ask("POST", "/act/parts/paint", data={"proof": proof}).status_code == 403


def test_the_api_takes_the_same_commands(guarded: Doors) -> None:
    bearer = {"authorization": f"Bearer {guarded.token('operator')}"}
    answer = guarded.ask("POST", "/api/v1/parts/measure", json={"size": 4, "word": "inch"}, headers=bearer)
    assert answer.json() == {"sentence": "measured 4 inch by the operator", "notes": ["<b>note</b>"]}
    fault = guarded.ask("POST", "/api/v1/parts/measure", json={"size": "4"}, headers=bearer)
    assert (fault.status_code, fault.json()["error"]["field"]) == (400, "size")
    assert guarded.ask("POST", "/api/v1/parts/measure", json={"sise": 4}, headers=bearer).status_code == 400
    assert guarded.ask("POST", "/api/v1/parts/measure", content=b"[" * 100_000, headers=bearer).status_code == 400
    assert guarded.ask("POST", "/api/v1/parts/measure", json={"size": 13}, headers=bearer).status_code == 409


def test_a_role_that_may_not_is_refused_on_both_doors(guarded: Doors) -> None:
    bearer = {"authorization": f"Bearer {guarded.token('viewer')}"}
    refused = guarded.ask("POST", "/api/v1/parts/measure", json={"size": 4}, headers=bearer)
    assert refused.status_code == 403
    assert (
        refused.json()["error"]["message"]
        == "the viewer has the role viewer, which may not deploy; operator and owner may"
    )
    guarded.log_in("reviewer")
    assert guarded.ask("GET", "/act/parts/measure?size=4").status_code == 403
    sessions = Sessions(guarded.project.workspace.key)
    session = sessions.read(str(guarded.cookies[sessions.cookie]))
    assert session is not None
    form = {"proof": sessions.proof(session, "parts.measure"), "size": "4"}
    assert guarded.ask("POST", "/act/parts/measure", data=form).status_code == 403


def test_a_browser_must_prove_itself_to_the_api_and_a_program_of_this_machine_need_not(local: Doors) -> None:
    assert local.ask("POST", "/api/v1/parts/paint", json={}).status_code == 200
    assert (
        local.ask("POST", "/api/v1/parts/paint", json={}, headers={"origin": "http://evil.example"}).status_code == 403
    )
    local.ask("GET", "/nowhere")  # now it has a cookie
    assert local.ask("POST", "/api/v1/parts/paint", json={}).status_code == 403
    sessions = Sessions(local.project.workspace.key)
    session = sessions.read(str(local.cookies[sessions.cookie]))
    assert session is not None
    proof = {"x-andon-proof": sessions.proof(session, "parts.paint")}
    assert local.ask("POST", "/api/v1/parts/paint", json={}, headers=proof).status_code == 200


def test_a_body_has_an_edge(local: Doors) -> None:
    room = LARGEST_BODY - len(b'{"colour":""}')
    fits = local.ask("POST", "/api/v1/parts/paint", content=b'{"colour":"%s"}' % (b"x" * room))
    assert fits.status_code == 200
    over = local.ask("POST", "/api/v1/parts/paint", content=b'{"colour":"%s"}' % (b"x" * (room + 1)))
    assert over.status_code == 413


def test_a_form_of_another_type_is_refused(local: Doors) -> None:
    answer = local.ask("POST", "/act/parts/paint", json={"proof": "x"})
    assert answer.status_code == 400
    assert "application/x-www-form-urlencoded" in answer.text


@given(st.text(max_size=50))
def test_nobody_is_sent_to_another_site(path: str) -> None:
    found = local_path(path, "/")
    assert found.startswith("/")
    assert not found.startswith("//")
    assert "\\" not in found and "\n" not in found


# -------------------------------------------------------------------------------------------------------- parameters


@given(st.lists(st.tuples(st.sampled_from(["size", "word", "reason", "other"]), st.text(max_size=20)), max_size=6))
def test_strings_become_parameters_or_one_sentence(pairs: list[tuple[str, str]]) -> None:
    try:
        found = from_strings(pairs, Params)
    except UsageError as error:
        assert "\n" not in error.message.replace(repr("\n"), "")
        assert error.field
    else:
        assert isinstance(found.size, int)


@given(st.binary(max_size=60))
def test_bytes_become_parameters_or_one_sentence(body: bytes) -> None:
    try:
        from_json(body, Paint)
    except UsageError as error:
        assert error.message


def test_a_value_has_an_edge() -> None:
    assert from_strings([("size", "1"), ("word", "x" * 100_000)], Params).word
    with pytest.raises(UsageError, match="at most 100,000 characters, found 100,001"):
        from_strings([("size", "1"), ("word", "x" * 100_001)], Params)


# ------------------------------------------------------------------------------------------------- looking and telling


def test_many_who_look_at_once_cost_one_reading() -> None:
    glances, read = Glances(seconds=60), []

    def slow() -> int:
        time.sleep(0.05)
        read.append(1)
        return len(read)

    threads = [threading.Thread(target=glances.get, args=("line", slow)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [1]


def test_what_was_read_before_a_change_is_not_shown_after_it() -> None:
    glances = Glances(seconds=60)

    def read() -> str:
        glances.forget()  # it changes while it is read
        return "old"

    assert glances.get("line", read) == "old"
    assert glances.get("line", lambda: "new") == "new"


def test_an_error_is_not_kept() -> None:
    glances = Glances(seconds=60)
    with pytest.raises(Conflict):
        glances.get("line", lambda: (_ for _ in ()).throw(Conflict("no")))
    assert glances.get("line", lambda: 1) == 1


def test_a_pulse_tells_what_changed_and_rests_when_nobody_listens(local: Doors) -> None:
    project, forgotten = local.project, []

    async def listen() -> list[bytes]:
        pulse = Pulse(project, lambda: forgotten.append(1), 0.01)
        events = pulse.events()
        said = [await anext(events), await anext(events)]
        project.workspace.journal.append("create", "parts", "ann", "it changes")
        said.append(await anext(events))
        assert pulse.listeners == 1
        await events.aclose()  # type: ignore[attr-defined]
        assert pulse.listeners == 0
        await asyncio.sleep(0.1)
        assert pulse._task is not None
        assert pulse._task.done()
        await pulse.close()
        return said

    said = asyncio.run(asyncio.wait_for(listen(), 20))
    first, second = (msgspec.json.decode(one.split(b"data: ")[1]) for one in said[1:])
    assert said[0].startswith(b"retry:")
    assert {key for key in first if first[key] != second[key]} == {"journal"}
    assert len(forgotten) == 2


def test_with_the_database_gone_the_pulse_says_so(local: Doors) -> None:
    local.project.workspace.db.close()
    (local.project.workspace.home / "andon.db").unlink()
    (local.project.workspace.home / "andon.db").mkdir()
    marks = look(local.project)
    assert marks["journal"] == "gone"
    assert marks["route"] != "gone"


# -------------------------------------------------------------------------------------------------------------- ports


def test_the_board_takes_the_port_beside_the_gateway_or_a_free_one(local: Doors) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        chosen = with_board(local.project, Settings(port=port - 1, board=0)).board
        assert chosen not in (None, 0, port)
        with pytest.raises(Conflict, match=f"port {port}"):
            with_board(local.project, Settings(board=port))
    free = free_port("127.0.0.1")
    assert with_board(local.project, Settings(port=free - 1, board=0)).board == free
    assert with_board(local.project, Settings(port=free - 1)).board is None


def test_the_hours_of_a_session_are_said() -> None:
    assert session_module.HOURS == 12
