"""What another site, another session or another role makes a browser send does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.board.atlas import Atlas, Links
from tests.board.served import Served
from tests.board.workshop import ROLES

from andon.people.access import MAY
from andon.surface.catalog import COMMANDS, PAGES

FORBIDDEN = [(role, one.name) for role in ROLES for one in COMMANDS if one.may not in MAY[role]]  # type: ignore[index]
PATHS = {one.name: one.path for one in COMMANDS}


def journal(board: Served) -> int:
    """How many lines the journal has: whatever was done would be in it."""
    answer = board.call("GET", "/api/v1/journal", headers={"authorization": f"Bearer {board.tokens['owner']}"})
    return len(answer.text)


def proof(board: Served, role: str, command: str) -> str:
    """The proof in the form of a command's page."""
    from html.parser import HTMLParser

    found: list[str] = []

    class Forms(HTMLParser):
        inside = False

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            named = dict(attrs)
            if tag == "form":
                self.inside = named.get("action") == f"/act/{command}"
            if tag == "input" and self.inside and named.get("name") == "proof":
                found.append(named["value"] or "")

    Forms().feed(board.get(f"/act/{command}", role).text)
    return found[0]


@pytest.mark.parametrize("command", [one.path for one in COMMANDS])
@pytest.mark.parametrize("kind", ["without", "wrong", "another command's", "another session's"])
def test_a_form_that_this_session_was_not_given_is_refused(board: Served, command: str, kind: str) -> None:
    other = next(one.path for one in COMMANDS if one.path != command)
    proofs: dict[str, Callable[[], dict[str, str]]] = {
        "without": dict,
        "wrong": lambda: {"proof": "0" * 64},
        "another command's": lambda: {"proof": proof(board, "owner", other)},
        "another session's": lambda: (
            {"proof": proof(board, "operator", "stop")} if command == "stop" else {"proof": "x"}
        ),
    }
    before = journal(board)
    answer = board.form(f"/act/{command}", {"reason": "forged", **proofs[kind]()}, board.session("owner"))
    assert answer.status == 403 and "this form was not made by this board" in answer.text
    assert journal(board) == before


def test_the_session_s_own_form_is_taken_so_the_refusals_above_say_something(board: Served) -> None:
    answer = board.form("/act/start", {"proof": proof(board, "owner", "start")}, board.session("owner"))
    assert answer.status == 400 and "not stopped" in answer.text


@pytest.mark.parametrize(("role", "command"), FORBIDDEN)
def test_a_role_that_may_not_is_refused_at_every_door(board: Served, role: str, command: str) -> None:
    path = PATHS[command]
    assert board.get(f"/act/{path}", role).status == 403
    assert board.form(f"/act/{path}", {"proof": "x"}, board.session(role)).status == 403
    head = {"authorization": f"Bearer {board.tokens[role]}", "content-type": "application/json"}
    answer = board.call("POST", f"/api/v1/{path}", b"{}", head)
    # What makes no sense may be said first; that it may not is said in any case.
    assert answer.status in (400, 403, 422) and (answer.status == 403 or "missing" in answer.text), answer.text


def test_a_viewer_sees_no_button_that_acts(board: Served, addresses: Atlas) -> None:
    allowed = {f"/act/{one.path}" for one in COMMANDS if one.may in MAY["viewer"]}
    found = []
    for address in [address for name, all_ in addresses.pages.items() if name != "act" for address in all_]:
        answer = board.get(address, "viewer")
        if answer.status == 403 or "text/html" not in answer.headers.get("content-type", ""):
            continue
        links = Links(answer.text)
        acts = {goes.partition("?")[0] for goes in (*links.links, *links.posts) if goes.startswith("/act/")}
        found += [(address, goes) for goes in acts - allowed]
    assert found == []


def test_a_cookie_alone_does_not_act_through_the_api(board: Served) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in board.session("owner").items())
    for headers in ({}, {"origin": "http://evil.example"}, {"x-andon-proof": "0" * 64}):
        answer = board.call("POST", "/api/v1/stop", b'{"reason": "forged"}', {"cookie": cookie, **headers})
        assert answer.status == 403, answer.text


def test_cookies_are_kept_from_scripts_and_other_sites(board: Served) -> None:
    answer = board.form("/login", {"token": board.tokens["viewer"]})
    made = [one.lower() for one in answer.headers.get_all("set-cookie") or []]
    assert answer.status == 303 and made
    assert all("httponly" in one and ("samesite=lax" in one or "samesite=strict" in one) for one in made)
    secret = board.tokens["viewer"]
    assert not any(secret in one or secret.split("_")[2].lower() in one for one in made)


@pytest.mark.parametrize("forged", ["", "x", "WyJhIiwiYiJd.aaaa.bbbb"])
def test_a_cookie_that_was_not_signed_here_leads_to_the_log_in(board: Served, forged: str) -> None:
    name = next(iter(board.session("owner")))
    answer = board.call("GET", "/", headers={"cookie": f"{name}={forged}"})
    assert answer.status == 303 and answer.headers["location"].startswith("/login")


def test_nobody_is_led_to_another_site(board: Served) -> None:
    for goes in (
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "\t//evil.example",
    ):
        answer = board.form("/login", {"token": board.tokens["viewer"], "next": goes})
        assert answer.headers["location"] == "/"


def test_every_answer_carries_the_policy(board: Served) -> None:
    for path in ("/", "/login", "/nowhere", "/api/v1/line", "/api/v1/openapi.json", "/static/andon.css"):
        headers = board.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_without_tokens_only_this_machine_s_names_are_answered(serve_local: Served) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80", ""):
        for path in ("/", "/api/v1/line", "/static/andon.css"):
            assert serve_local.call("GET", path, headers={"host": host}).status == 421, host
    answer = serve_local.call("GET", "/api/v1/line", headers={"host": f"localhost:{serve_local.port}"})
    assert answer.status == 200 and json.loads(answer.text)


def test_without_tokens_a_page_of_another_site_cannot_act(serve_local: Served) -> None:
    """It can make the browser send a simple request, with what cookies there are; it cannot read a proof."""
    own = serve_local.call("GET", "/")
    cookie = "; ".join(f"{name}={value}" for name, value in own.cookies.items())
    for headers in (
        {"origin": "http://evil.example"},
        {"cookie": cookie},
        {"cookie": cookie, "origin": "http://evil.example"},
    ):
        head = {"content-type": "text/plain", **headers}
        assert serve_local.call("POST", "/api/v1/stop", b'{"reason": "forged"}', head).status == 403
        assert (
            serve_local.form("/act/stop", {"reason": "forged"}, own.cookies, origin="http://evil.example").status == 403
        )


def test_what_a_page_shows_is_kept_by_nobody(board: Served) -> None:
    for page in PAGES[:3]:
        if "{" not in page.path:
            assert board.get(page.path).headers["cache-control"] == "no-store"
