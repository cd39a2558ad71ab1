"""Tokens open exactly what their role allows, until they expire or are revoked."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.errors import Conflict, Denied, NotFound, UsageError
from andon.people.access import MAY, Access, Action, Role, bearer
from andon.store.tokens import TokenFile


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(TokenFile(tmp_path))


@pytest.mark.parametrize("role", get_args(Role))
def test_a_role_may_what_the_table_says_and_nothing_else(access: Access, role: Role) -> None:
    secret, token = access.create("it", role, now_us=5)
    for action in get_args(Action):
        if action in MAY[role]:
            assert access.check(secret, action, now_us=6) == token
        else:
            with pytest.raises(Denied, match=f"the role {role}, which may not {action}"):
                access.check(secret, action, now_us=6)


def test_anyone_but_a_viewer_or_a_client_may_stop_the_line() -> None:
    assert {role for role in MAY if "stop" not in MAY[role]} == {"viewer", "client"}


def test_the_secret_is_kept_nowhere(access: Access, tmp_path: Path) -> None:
    secret, _ = access.create("it", "viewer", now_us=0)
    assert secret.split("_", 2)[2].encode() not in (tmp_path / "tokens.json").read_bytes()


def test_another_process_sees_a_new_token_and_a_revoked_one(access: Access, tmp_path: Path) -> None:
    gateway = Access(TokenFile(tmp_path))
    assert gateway.tokens() == []
    secret, token = access.create("kiosk", "client", now_us=0)
    assert gateway.check(secret, "decide", now_us=1).id == token.id
    access.revoke(token.id, now_us=2)
    with pytest.raises(Denied, match="'kiosk' is revoked"):
        gateway.check(secret, "decide", now_us=3)
    with pytest.raises(Conflict, match="was revoked at 1970-01-01T00:00:00Z already"):
        access.revoke(token.id, now_us=4)


def test_a_token_ends_at_the_very_microsecond_it_expires(access: Access) -> None:
    secret, _ = access.create("it", "viewer", now_us=0, expires_us=10)
    assert access.check(secret, "read", now_us=9).name == "it"
    with pytest.raises(Denied, match="'it' is expired"):
        access.check(secret, "read", now_us=10)


def test_a_name_is_given_once_until_its_token_ends(access: Access) -> None:
    _, token = access.create("it", "viewer", now_us=0)
    with pytest.raises(Conflict, match="'it' is active"):
        access.create("it", "owner", now_us=1)
    access.revoke(token.id, now_us=2)
    access.create("it", "owner", now_us=3)
    assert [token.state(4) for token in access.tokens()] == ["revoked", "active"]


def test_wrong_use_is_one_sentence(access: Access) -> None:
    with pytest.raises(UsageError, match="no role is called 'ownr'; did you mean 'owner'"):
        access.create("it", "ownr", now_us=0)
    for name in ("", " ", "a\nb", "x" * 101):
        with pytest.raises(UsageError, match="expected a name of 1 to 100 printable characters"):
            access.create(name, "owner", now_us=0)
    with pytest.raises(NotFound, match="no token has the id 'zz'"):
        access.revoke("zz", now_us=0)


@settings(max_examples=60, deadline=None)
@given(st.text() | st.builds("andon_{}_{}".format, st.text(max_size=8), st.text(max_size=50)))
def test_no_other_text_opens_anything(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    access = Access(TokenFile(tmp_path_factory.getbasetemp()))
    if not access.tokens():
        access.create("it", "owner", now_us=0)
    with pytest.raises(Denied, match="not known here"):
        access.check(text, "read", now_us=0)


def test_part_of_a_secret_opens_nothing(access: Access) -> None:
    secret, token = access.create("it", "owner", now_us=0)
    for wrong in (secret[:-1], secret + "x", f"andon_{token.id}_", f"andon_{token.id}", token.digest):
        with pytest.raises(Denied, match="not known here"):
            access.check(wrong, "read", now_us=0)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic abc", "andon_1_2"])
def test_a_header_without_a_token_is_refused(header: str | None) -> None:
    with pytest.raises(Denied, match="a token is required"):
        bearer(header)


def test_the_scheme_is_read_in_any_case() -> None:
    assert bearer("bearer  abc ") == "abc"
