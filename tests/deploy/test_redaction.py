"""Redaction at capture: what a rule hides is in no file of the workspace, whichever way a request goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.deploy.rig import CONFIG, FakeServed, Rig, by_age

from andon.core.record import Field
from andon.deploy.ring import RingWriter
from andon.deploy.shadow import ring_path
from andon.errors import UserCodeError
from andon.monitor.ingest import Ingest
from andon.scope.charter import parse
from andon.store import view
from andon.store.codec import decode_decisions
from andon.store.wal import Frame, FrameKind, read_stream
from andon.store.workspace import Workspace

Make = Callable[..., Rig]

FIELDS = (
    Field("age", "float"),
    Field("name", "text", optional=True),
    Field("mail", "text", optional=True),
    Field("card", "text", optional=True),
    Field("born", "text", optional=True),
    Field("note", "text", optional=True),
)
RULES = {"mail": "hash", "card": "mask(4)", "born": "truncate(month)", "note": "truncate(3)", "age": "truncate(10)"}
HIDING = msgspec.structs.replace(CONFIG, fields=FIELDS, redact=("name", *RULES), rules=RULES)
CHARTER = """
project: screening
inputs: {age: float, name: text?, mail: text?, card: text?, born: text?, note: text?}
target: {name: result, classes: [negative, positive]}
safe_default: refer
checklist: {privacy: {redact: {name: drop, mail: hash, card: mask(4), born: truncate(month), note: truncate(3), age: truncate(10)}}}
"""


def files_of(home: Path) -> dict[str, bytes]:
    """Every file of a workspace, what the database keeps beside it too."""
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def kept(rig: Rig) -> list[dict[str, Any]]:
    frames = [one for one in read_stream(rig.workspace.wal_dir, rig.wal.stream) if isinstance(one, Frame)]
    return [row.x for one in frames if one.kind == FrameKind.DECISION for row in decode_decisions(FIELDS, one)]


SECRET = st.text("abcdefghijklmnopqrstuvwxyz", min_size=12, max_size=20)


@given(secrets=st.lists(SECRET, min_size=5, max_size=5, unique=True), quick=st.booleans())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_redacted_is_in_no_file_of_the_workspace(
    tmp_path_factory: Any, secrets: list[str], quick: bool
) -> None:
    home = tmp_path_factory.mktemp("redaction") / "home"
    space = Workspace.create(home)
    secrets = [f"{one}{number}" for number, one in enumerate(secrets)]
    name, mail, card, day, note = secrets
    x = {"age": 43.5, "name": name, "mail": mail, "card": card, "born": "1980-05-17", "note": note}

    def touchy(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        if (columns["age"] == 99).any():
            raise UserCodeError(f"predict raised ValueError: nobody is called {columns['name'][-1]}")
        return by_age(columns)

    ring = RingWriter(ring_path(space.run_dir, 0), 1 << 16)
    rig = Rig(space, HIDING, {"v1": FakeServed(touchy, FIELDS)}, sink=ring)
    if not quick:
        rig.gateway._express.take = lambda body, reply: False  # type: ignore[method-assign]
    rig.route(live="v1", levels={"*": "full"}, shadows=("v1",))
    assert rig.decide(x, id="a1", unit=day)[0] == 200
    assert rig.decide({**x, "age": 99}, id="a2")[0] == 200
    rig.route(live="v1", levels={"*": "human"})
    assert rig.decide(x, id="a3")[0] == 202
    ingest = Ingest(space, parse(CHARTER))
    ingest.finish()
    assert view.decisions(space).height == 3
    assert space.items.get("a3") is not None
    rig.close()
    space.close()
    for path, content in files_of(home).items():
        for secret in secrets:
            assert secret.encode() not in content, path
            assert secret.encode("utf-16-le") not in content, path
        assert b"1980-05-17" not in content, path


def test_what_is_kept_is_what_the_rules_say(make: Make) -> None:
    rig = make(HIDING, models={"v1": FakeServed(by_age, FIELDS)})
    rig.route(live="v1", levels={"*": "full"})
    x = {"age": 43.5, "name": "Ann", "mail": "a@b.org", "card": "123456", "born": "1980-05-17", "note": "notes"}
    status, body = rig.decide(x, id="a1")
    assert (status, body["confidence"]) == (200, np.float32(0.565))  # the model saw 43.5
    (row,) = kept(rig)
    mail = row.pop("mail")
    assert row == {"age": 40.0, "name": None, "card": "**3456", "born": "1980-05", "note": "not"}
    assert mail == HIDING.redactor(rig.workspace.redaction_key).value("mail", "a@b.org")
    assert (rig.workspace.home / "redaction-key").stat().st_mode & 0o777 == 0o600


def test_a_repeated_id_is_compared_on_what_is_kept(make: Make) -> None:
    rig = make(HIDING, models={"v1": FakeServed(by_age, FIELDS)})
    rig.route(live="v1", levels={"*": "full"})
    x = {"age": 43.5, "name": "Ann", "mail": "a@b.org", "card": "123456"}
    assert rig.decide(x, id="a1")[0] == 200
    assert rig.decide(x, id="a1")[0] == 200
    assert rig.decide({**x, "name": "Bob"}, id="a1")[0] == 200  # nothing of it is kept
    assert rig.decide({**x, "age": 44}, id="a1")[0] == 200  # the same ten years
    assert rig.decide({**x, "mail": "c@d.org"}, id="a1")[0] == 409
    assert rig.decide({**x, "age": 50}, id="a1")[0] == 409
    assert len(kept(rig)) == 1


@pytest.mark.parametrize(("rule", "age"), [("truncate(2.5)", 43), ("truncate(0.3)", 7), (None, 1763766926123456789)])
def test_a_whole_number_for_a_float_is_the_same_case_when_it_comes_again(
    make: Make, rule: str | None, age: int
) -> None:
    rules = {} if rule is None else {"age": rule}
    rig = make(
        msgspec.structs.replace(HIDING, redact=tuple(rules), rules=rules), models={"v1": FakeServed(by_age, FIELDS)}
    )
    rig.route(live="v1", levels={"*": "full"})
    assert rig.decide({"age": age}, id="a1")[0] == 200
    assert rig.decide({"age": age}, id="a1")[0] == 200
    assert rig.decide({"age": float(age)}, id="a1")[0] == 200
    assert rig.decide({"age": age * 2}, id="a1")[0] == 409


def test_what_was_stored_as_it_came_is_still_the_same_case_after_the_charter_says_more(make: Make) -> None:
    open_ = make(msgspec.structs.replace(HIDING, redact=(), rules={}), models={"v1": FakeServed(by_age, FIELDS)})
    open_.route(live="v1", levels={"*": "full"})
    x = {"age": 43.5, "name": "Ann", "mail": "a@b.org", "card": "123456"}
    assert open_.decide(x, id="a1")[0] == 200
    open_.close()
    rig = Rig(open_.workspace, HIDING, {"v1": FakeServed(by_age, FIELDS)})
    rig.route(live="v1", levels={"*": "full"})
    assert rig.decide(x, id="a1")[0] == 200
    assert rig.decide({**x, "mail": "c@d.org"}, id="a1")[0] == 409
    rig.close()


def test_a_key_drawn_anew_makes_new_hashes(make: Make) -> None:
    rig = make(HIDING, models={"v1": FakeServed(by_age, FIELDS)})
    first = HIDING.redactor(rig.workspace.redaction_key).value("mail", "a@b.org")
    (rig.workspace.home / "redaction-key").unlink()
    second = HIDING.redactor(rig.workspace.redaction_key).value("mail", "a@b.org")
    assert first[:5] != second[:5]
    assert first[5:] != second[5:]
