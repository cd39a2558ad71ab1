"""The Settings page: who may see and change what, secrets that are nowhere, notices that are really sent, what is said of health."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.board.test_doors import Doors, make

from andon.config import Project, open_project
from andon.people.access import MAY, Access
from andon.store.tables import Database
from andon.store.tokens import TokenFile
from andon.surface.view import settings as settings_module
from andon.surface.view import settings_notify
from andon.surface.view.settings_access import MEANS
from andon.surface.visit import Viewer, Visit

HARM = "<script>document.title='taken'</script>"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Doors]:
    doors = Doors(make(tmp_path / "guarded", "required"))
    yield doors
    doors.project.workspace.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Doors]:
    doors = Doors(make(tmp_path / "local", "none"))
    yield doors
    doors.project.workspace.close()


def twin(doors: Doors, query: str = "", **headers: str) -> dict[str, Any]:
    answer = doors.ask("GET", f"/api/v1/settings{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def post(doors: Doors, name: str, body: dict[str, Any], secret: str) -> Any:
    return doors.ask("POST", f"/api/v1/{name}", json=body, headers=bearer(secret))


def proof(doors: Doors, path: str, act: str) -> str:
    """The proof of one form among several."""
    forms = re.findall(r"<form[^>]*action=\"([^\"]*)\"[^>]*>(.*?)</form>", doors.ask("GET", path).text, re.DOTALL)
    body = next(body for action, body in forms if action == act)
    found = re.search(r'name="proof" value="([0-9a-f]{64})"', body)
    assert found is not None
    return found[1]


# ------------------------------------------------------------------------------------------------------------- tokens


def test_only_an_owner_sees_who_has_a_token_and_nobody_a_secret(guarded: Doors) -> None:
    secrets = {role: guarded.token(role) for role in ("viewer", "reviewer", "operator", "owner")}
    hidden = [one for secret in secrets.values() for one in (secret, secret.split("_", 2)[2])]
    hidden += [token.digest for token in guarded.access.tokens()] + [guarded.project.workspace.key.hex()]
    for role, secret in secrets.items():
        found = twin(guarded, **bearer(secret))
        page = guarded.ask("GET", "/settings", headers=bearer(secret)).text
        assert (found["tokens"] is not None) == (role == "owner")
        assert ("Make a token" in page) == (role == "owner")
        assert ('<th scope="row">the operator' in page) == (role == "owner")
        for text in (page, json.dumps(found)):
            assert not [one for one in hidden if one in text]
    yours = [one["name"] for one in twin(guarded, **bearer(secrets["owner"]))["tokens"] if one["yours"]]
    assert yours == ["the owner"]
    assert guarded.ask("GET", "/api/v1/settings", headers=bearer(guarded.token("client"))).status_code == 403


def test_a_token_is_made_on_the_page_shown_once_and_opens_the_door(guarded: Doors) -> None:
    guarded.log_in("owner")
    form = {"proof": proof(guarded, "/settings", "/act/token/create"), "name": HARM, "role": "reviewer", "days": "30", "reason": HARM}  # fmt: skip
    answer = guarded.ask("POST", "/act/token/create", data=form)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "<script>document" not in answer.text
    (secret,) = re.findall(r"andon_[0-9a-f]{8}_[\w-]{43}", answer.text)
    assert "set-cookie" not in answer.headers or secret not in answer.headers["set-cookie"]
    assert twin(guarded, **bearer(secret))["tokens"] is None
    page = guarded.ask("GET", "/settings").text
    assert secret not in page and secret.split("_", 2)[2] not in page
    assert "&lt;script&gt;document" in page and "<script>document" not in page
    made = next(one for one in twin(guarded)["tokens"] if one["role"] == "reviewer")
    assert made["expires_us"] - made["created_us"] == 30 * 86_400_000_000
    event = guarded.project.workspace.journal.latest(1)[0]
    assert (event.action, event.subject, event.actor, event.reason) == ("token.create", made["id"], "the owner", HARM)
    assert HARM not in json.dumps(event.evidence)
    again = guarded.ask("POST", "/act/token/create", data=form)
    assert (again.status_code, "is active" in again.text) == (409, True)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"name": "x", "role": "boss"}, "role: "),
        ({"name": "", "role": "viewer"}, "name: expected"),
        ({"name": "x", "role": "viewer", "days": 0}, "days: expected"),
        ({"name": "x", "role": "viewer", "days": 1e9}, "days: expected"),
        ({"name": "tab\there", "role": "viewer"}, "printable"),
        ({"role": "viewer"}, "name is missing"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused_in_a_sentence(guarded: Doors, body: dict[str, Any], says: str) -> None:
    owner = guarded.token("owner")
    answer = post(guarded, "token/create", body, owner)
    assert (answer.status_code, says in answer.json()["error"]["message"]) == (400, True), answer.text
    assert len(guarded.access.tokens()) == 1


def test_whoever_is_no_owner_neither_makes_nor_revokes_one(guarded: Doors) -> None:
    owner = guarded.token("owner")
    id = guarded.access.tokens()[0].id
    for role in ("viewer", "reviewer", "operator"):
        secret = guarded.token(role)
        assert post(guarded, "token/create", {"name": "x", "role": "owner"}, secret).status_code == 403
        assert post(guarded, "token/revoke", {"id": id}, secret).status_code == 403
        assert guarded.ask("GET", f"/act/token/revoke?id={id}", headers=bearer(secret)).status_code == 403
    assert twin(guarded, **bearer(owner))["tokens"] is not None


def test_revoking_says_first_what_it_ends_and_then_ends_it(guarded: Doors) -> None:
    guarded.log_in("owner")
    secret = guarded.token("operator")
    id = next(token.id for token in guarded.access.tokens() if token.role == "operator")
    ask = guarded.ask("GET", f"/act/token/revoke?id={id}").text
    assert "Revoke the token of the operator" in ask
    assert "may decide, read, label, review, stop, deploy with it (active" in ask
    assert "it is your own" not in ask
    form = {"proof": proof(guarded, f"/act/token/revoke?id={id}", "/act/token/revoke"), "id": id, "reason": "left"}
    assert guarded.ask("POST", "/act/token/revoke", data=form).headers["location"] == "/settings#tokens"
    assert guarded.ask("GET", "/api/v1/settings", headers=bearer(secret)).status_code == 401
    assert "1 token ended" in guarded.ask("GET", "/settings").text
    event = guarded.project.workspace.journal.latest(1)[0]
    assert (event.action, event.subject, event.reason) == ("token.revoke", id, "left")
    mine = next(token.id for token in guarded.access.tokens() if token.role == "owner")
    ask = guarded.ask("GET", f"/act/token/revoke?id={mine}").text
    assert "it is your own" in ask
    assert "no owner is left then" in ask
    answer = guarded.ask("GET", "/act/token/revoke?id=nobody")
    assert "no token has the id &#39;nobody&#39;" in answer.text


def test_the_table_of_roles_is_what_they_may(guarded: Doors) -> None:
    found = twin(guarded, **bearer(guarded.token("viewer")))
    assert [name for name, _ in found["actions"]] == list(MEANS)
    assert {
        one["role"]: {name for name, may in zip(MEANS, one["may"], strict=True) if may} for one in found["roles"]
    } == {role: set(may) for role, may in MAY.items()}


def test_with_the_database_gone_a_token_is_still_revoked(guarded: Doors) -> None:
    owner = guarded.token("owner")
    guarded.token("viewer")
    (guarded.project.workspace.home / "andon.db").unlink()
    id = next(token.id for token in guarded.access.tokens() if token.role == "viewer")
    answer = post(guarded, "token/revoke", {"id": id}, owner)
    assert answer.status_code == 200
    assert "it is not in the journal" in answer.json()["notes"][0]
    found = twin(guarded, **bearer(owner))
    states = {one["name"]: one["state"] for one in found["health"]["checks"]}
    assert (states["database"], states["journal"], states["files"]) == ("stop", "look", "good")
    assert guarded.ask("GET", "/settings", headers=bearer(owner)).status_code == 200


# ------------------------------------------------------------------------------------------------------ notifications


class Hook(http.server.BaseHTTPRequestHandler):
    """A webhook that keeps what it was sent."""

    got: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append(json.loads(body))
        self.send_response(204 if self.path == "/good" else 500)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    kind = type("Kept", (Hook,), {"got": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", kind.got  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def with_targets(folder: Path, targets: list[str], stays: str = "organisation") -> Doors:
    root = make(folder, "required")
    text = (root / "andon.yaml").read_text().replace("required}}", f"required}}, privacy: {{stays: {stays}}}}}")
    (root / "andon.yaml").write_text(f"{text}alarms: {{notify: {json.dumps(targets)}}}\n")
    return Doors(root)


def test_each_address_is_told_once_and_what_became_of_it_is_said(
    tmp_path: Path, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    base, got = hook
    targets = [f"{base}/good", f"{base}/bad?key=SECRETKEY", "unknownscheme://SECRETHOST/x"]
    doors = with_targets(tmp_path / "line", targets)
    found = post(doors, "notify/test", {"reason": "new hook"}, doors.token("operator")).json()
    assert [one["ok"] for one in found["sent"]] == [True, False, False]
    assert found["sentence"] == "1 of 3 told."
    assert found["sent"][0]["detail"] == "delivered"
    assert found["sent"][1]["detail"] == "HTTPError from http://127.0.0.1"
    assert "does not understand" in found["sent"][2]["detail"]
    assert [one["title"] for one in got] == ["parts: test notice"] * 2
    assert "the operator tries whether this address can be told" in got[0]["body"]
    event = doors.project.workspace.journal.latest(1)[0]
    assert (event.action, event.actor, event.reason, event.evidence) == (
        "notify.test", "the operator", "new hook", {"sent": 1, "failed": 2}
    )  # fmt: skip
    doors.log_in("owner")
    page = doors.ask("GET", "/settings").text
    form = {"proof": proof(doors, "/settings", "/act/notify/test")}
    done = doors.ask("POST", "/act/notify/test", data=form).text
    for text in (page, done, json.dumps(found), json.dumps(event.evidence), json.dumps(twin(doors))):
        assert "SECRET" not in text
    assert "1 of 3 told." in done
    doors.project.workspace.close()


def test_data_that_stays_on_the_device_is_told_nowhere_else(
    tmp_path: Path, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    base, got = hook
    doors = with_targets(tmp_path / "line", [f"{base}/good"], "device")
    elsewhere = "https://example.org/hook"
    charter = doors.project.charter
    object.__setattr__(charter.alarms, "notify", (*charter.alarms.notify, elsewhere))
    found = post(doors, "notify/test", {}, doors.token("owner")).json()
    assert [one["ok"] for one in found["sent"]] == [True, False]
    assert "is not on this device, but privacy.stays is 'device'" in found["sent"][1]["detail"]
    assert len(got) == 1
    shown = twin(doors, **bearer(doors.token("viewer")))
    assert [bool(one["fault"]) for one in shown["targets"]] == [False, True]
    doors.project.workspace.close()


def test_the_time_that_all_addresses_take_is_bounded(
    tmp_path: Path, hook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, got = hook
    doors = with_targets(tmp_path / "line", [f"{base}/good"] * 2)
    monkeypatch.setattr(settings_notify, "LONGEST", 0.0)
    found = post(doors, "notify/test", {}, doors.token("owner")).json()
    assert [one["detail"] for one in found["sent"]] == ["not tried: the others took 0 s"] * 2
    assert got == []
    doors.project.workspace.close()


def test_without_an_address_nobody_is_told_and_the_page_says_how(guarded: Doors) -> None:
    owner = guarded.token("owner")
    found = post(guarded, "notify/test", {}, owner).json()
    assert (found["sent"], found["sentence"]) == ([], "The charter names no address: nobody is told of an alarm.")
    assert guarded.project.workspace.journal.head()[0] == 0
    assert "the charter names no address" in guarded.ask("GET", "/settings", headers=bearer(owner)).text
    assert post(guarded, "notify/test", {}, guarded.token("reviewer")).status_code == 403


# ----------------------------------------------------------------------------------------- health, storage, versions


def test_health_is_the_doctor_s_and_quick_unless_asked(local: Doors) -> None:
    quick, deep = twin(local)["health"], twin(local, "?deep=true")["health"]
    assert (quick["deep"], deep["deep"], deep["log"]) == (False, True, True)
    assert {one["name"] for one in deep["checks"]} - {one["name"] for one in quick["checks"]} == {"losses", "agreement"}
    local.project.workspace.clock.set(rate=0.0)
    shutil.rmtree(local.project.workspace.home / "contracts")
    page = local.ask("GET", "/settings").text
    assert page.index("<b>files</b>") < page.index("<b>clock</b>") < page.index("<b>journal</b>")
    assert "the workspace has no contracts any more" in page
    assert "Read everything through" in page
    assert "everything was read through" in local.ask("GET", "/settings?deep=true").text


def test_sizes_are_those_of_the_files(local: Doors) -> None:
    home = local.project.workspace.home
    local.project.workspace.blobs.put(b"x" * 12_345)
    (home / "bundles" / "b").write_bytes(b"y" * 777)
    found = twin(local)["storage"]
    sizes = {one["name"]: (one["bytes"], one["files"], one["whole"]) for one in found["parts"]}
    assert sizes["blobs"] == (12_345, 1, True)
    assert sizes["bundles"] == (777, 1, True)
    assert sizes["write-ahead log"] == (0, 0, True)
    assert sizes["database"][0] >= (home / "andon.db").stat().st_size
    assert (found["oldest_day"], found["retain_days"], found["segments"]) == (None, 365, 0)
    assert found["total"] > found["free"] > 0


def test_where_it_lies_is_told_without_folders_above_and_without_a_password(local: Doors) -> None:
    found = twin(local)
    assert found["lying"] == {
        "workspace": ".andon", "database": "SQLite, andon.db in the workspace", "charter": "local/andon.yaml"
    }  # fmt: skip
    assert str(local.project.root) not in json.dumps(found)
    assert str(local.project.root) not in local.ask("GET", "/settings").text
    project = local.project
    elsewhere = Database("postgresql://ann:hunter2@db.example:5432/line?password=hunter3&sslpassword=hunter4")
    before = project.workspace.db
    project.workspace.db = elsewhere
    try:
        visit = Visit(project, Viewer("ann", "owner"), Access(TokenFile(project.workspace.home)))
        assert settings_module._lying(visit).database == "PostgreSQL, line at db.example"
    finally:
        project.workspace.db = before


def test_versions_are_those_that_run_here(local: Doors) -> None:
    import platform

    import polars

    found = {one["name"]: one["version"] for one in twin(local)["versions"]}
    assert (found["Python"], found["polars"]) == (platform.python_version(), polars.__version__)
    assert next(iter(found)) == "andon"


def test_a_project_that_lies_elsewhere_is_named_by_its_last_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANDON_WORKSPACE", str(tmp_path / "far" / "state"))
    root = make(tmp_path / "line", "none")
    project: Project = open_project(root)
    visit = Visit(project, Viewer("ann", "owner"), Access(TokenFile(project.workspace.home)))
    assert settings_module._lying(visit).workspace == "state"
    project.workspace.close()
