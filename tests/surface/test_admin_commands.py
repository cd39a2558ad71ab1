"""`token` and `journal`, as a person or a program calls them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import text
from typer.testing import CliRunner

from andon.config import open_workspace
from andon.core.record import Field, Review, Route
from andon.errors import NotFound, Unavailable, UsageError
from andon.people.access import Access
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions
from andon.store.frame import FrameKind
from andon.store.journal import Journal
from andon.store.tokens import TokenFile
from andon.store.writer import WalWriter
from andon.surface.cli import admin

CHARTER = "project: line\ninputs: {a: float}\ntarget: {name: y, classes: [good, bad]}\nsafe_default: refer\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def app() -> typer.Typer:
    app = typer.Typer()
    admin.register(app)
    return app


def out(run: CliRunner, *words: str, code: int = 0) -> str:
    result = run.invoke(app(), list(words), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_token_is_made_listed_used_and_revoked(run: CliRunner, tmp_path: Path) -> None:
    secret = out(run, "token", "create", "kiosk", "--role", "client", "--reason", "at the door").strip()
    assert re.fullmatch(r"andon_[0-9a-f]{8}_[\w-]{43}", secret)
    access = Access(TokenFile(tmp_path / ".andon"))
    assert access.check(secret, "decide", now_us=0).name == "kiosk"
    listed = out(run, "token", "list")
    assert "kiosk" in listed
    assert secret not in listed
    (row,) = json.loads(out(run, "token", "list", "--json"))["tokens"]
    assert (row["role"], row["state"], row["expires"]) == ("client", "active", None)
    assert "revoked the token of kiosk" in out(run, "token", "revoke", row["id"], "--actor", "ann")
    assert "no tokens" in out(run, "token", "list")
    assert json.loads(out(run, "token", "list", "--all", "--json"))["tokens"][0]["state"] == "revoked"
    made, ended = json.loads(out(run, "journal", "--json"))["events"]
    assert (made["action"], made["reason"], made["evidence"]) == ("token.create", "at the door", {"role": "client"})
    assert (ended["action"], ended["actor"], ended["subject"]) == ("token.revoke", "ann", row["id"])
    assert "kiosk" not in json.dumps([made, ended])


def test_a_token_may_expire(run: CliRunner) -> None:
    made = json.loads(out(run, "token", "create", "guest", "--role", "viewer", "--days", "0.5", "--json"))
    assert made["expires"] > made["created"]
    with pytest.raises(UsageError, match="days: expected a number above 0"):
        out(run, "token", "create", "other", "--role", "viewer", "--days", "0")


def test_wrong_words_are_refused(run: CliRunner) -> None:
    with pytest.raises(UsageError, match="no role is called 'boss'"):
        out(run, "token", "create", "x", "--role", "boss")
    with pytest.raises(NotFound, match="no token has the id 'x'"):
        out(run, "token", "revoke", "x")


def test_with_the_database_gone_a_token_is_revoked_all_the_same(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = json.loads(out(run, "token", "create", "kiosk", "--role", "client", "--json"))

    def gone(*_: object) -> None:
        raise Unavailable("the database is gone")

    monkeypatch.setattr(Journal, "append", gone)
    result = run.invoke(app(), ["token", "revoke", made["id"]], catch_exceptions=False)
    assert result.exit_code == 0
    assert "it is not in the journal: the database is gone" in result.stderr
    assert Access(TokenFile(tmp_path / ".andon")).tokens()[0].revoked_us is not None


def test_the_journal_is_read_filtered_and_limited(run: CliRunner) -> None:
    workspace = open_workspace()
    for number in range(5):
        workspace.journal.append("release", f"v{number}", "ann", "because [it] passed")
    workspace.journal.append("stop", "line", "bob", "")
    workspace.close()
    assert len(out(run, "journal").splitlines()) == 6
    last = out(run, "journal", "-n", "2").splitlines()
    assert [line.split()[0] for line in last] == ["5", "6"]
    assert "because [it] passed" in last[0]
    assert [one["subject"] for one in json.loads(out(run, "journal", "--subject", "v3", "--json"))["events"]] == ["v3"]
    assert json.loads(out(run, "journal", "--subject", "none", "--json")) == {"events": []}
    with pytest.raises(UsageError, match="no action is called 'relase'; did you mean 'release'"):
        out(run, "journal", "--action", "relase")


def test_a_changed_journal_is_found_out(run: CliRunner) -> None:
    workspace = open_workspace()
    for number in range(3):
        workspace.journal.append("release", f"v{number}", "ann", "")
    assert "the journal is whole: 3 events" in out(run, "journal", "--verify")
    with workspace.db.write() as connection:
        for (trigger,) in connection.execute(text("select name from sqlite_master where type = 'trigger'")).all():
            connection.execute(text(f"drop trigger {trigger}"))
        connection.execute(text("update events set actor = 'eve' where sequence = 2"))
    workspace.close()
    assert "event 2 does not fit" in out(run, "journal", "--verify", code=1)
    assert json.loads(out(run, "journal", "--verify", "--json", code=1))["first_bad"] == 2


MARCH = 1_583_884_800_000_000


def test_one_decision_is_one_query(run: CliRunner) -> None:
    workspace = open_workspace()
    fields = (Field("a", "float"), Field("photo", "image"))
    workspace.save_contract("ab" * 8, fields, ("good", "bad"))
    workspace.routes.publish(Route(1, MARCH, MARCH, "maria", "canary", "[red] looks fine", live="v1"))
    batch = DecisionBatch.empty(fields)
    by_model: dict[str, Any] = {
        "status": "decided",
        "decision": "good",
        "decided_by": "model",
        "version": "v1",
        "level": "full",
    }
    batch.append_row([1.5, "A" * 4000], DecisionRow(id="first", time_us=MARCH, epoch=1, **by_model))
    batch.append_row([2.5, None], DecisionRow(id="second", time_us=MARCH, epoch=1))
    writer = WalWriter(workspace.wal_dir, "w0")
    payload = encode_decisions(fields, batch)
    writer.append(FrameKind.DECISION, payload, count=2, contract=bytes.fromhex("ab" * 8), time_us=MARCH)
    told = out(run, "journal", "--decision", "first")
    assert "first: good, decided by v1, asked at 2020-03-11T00:00:00Z" in told
    assert "route 1 (canary) was in force, put there by maria at 2020-03-11T00:00:00Z: [red] looks fine" in told
    assert "(4,000 characters)" in told and "A" * 100 not in told.replace("\n", "")
    assert json.loads(out(run, "journal", "--decision", "first", "--json"))["decision"]["x"]["photo"] == "A" * 4000
    assert "second: pending: a person decides" in out(run, "journal", "--decision", "second")
    workspace.outbox.append([Review("second", "bad", "person", "ann", MARCH + 1)])
    assert "second: bad, decided by person" in out(run, "journal", "--decision", "second")
    life = json.loads(out(run, "journal", "--decision", "second", "--json"))
    assert (life["decision"]["x"], life["reviews"][0]["reviewer"]) == ({"a": 2.5, "photo": None}, "ann")
    with pytest.raises(NotFound, match="no decision has the id 'third'"):
        out(run, "journal", "--decision", "third")
    writer.close()
    workspace.close()
