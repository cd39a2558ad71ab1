"""The Journal page: every action is a sentence, pages and filters find what there is, and a changed journal is told."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.board.atlas import Links, page_of
from tests.board.test_doors import Doors, make

from andon.core.record import Event
from andon.surface.view.journal import EVENTS
from andon.surface.view.journal_words import ACTIONS, href_of, reason_of, state_of, told

ROOT = Path(__file__).parents[2]
HARM = "<script>document.title='taken'</script>"
ESTIMATE = {"value": 0.3, "low": 0.25, "high": 0.35, "n": 310, "method": "wilson"}
FIRED = {
    "metric": "nulls",
    "verdict": "fail",
    "sentence": "nulls is 0.3",
    "estimate": ESTIMATE,
    "bound": "<= 0.1",
    "cohort": "",
}


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    made = Doors(make(tmp_path / "line", "none"))
    yield made
    made.project.workspace.close()


def add(doors: Doors, action: str, subject: str = "x", actor: str = "ann", reason: str = "", **evidence: Any) -> Event:
    return doors.project.workspace.journal.append(action, subject, actor, reason, evidence)


def twin(doors: Doors, query: str = "") -> dict[str, Any]:
    answer = doors.ask("GET", f"/api/v1/journal{query}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def numbers(found: dict[str, Any]) -> list[int]:
    return [one["sequence"] for one in found["entries"]]


# ------------------------------------------------------------------------------------------------------ the sentences


def test_every_action_of_the_document_has_a_sentence_and_the_other_way_round() -> None:
    text = (ROOT / "docs/journal.md").read_text()
    named = {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`([a-z]+\.[a-z-]+)`", line.split("|")[1])}  # fmt: skip
    assert named == set(ACTIONS)


TOLD = [
    ("data.add", "ab12", "", {"name": "march", "rows": 2850, "rejected": 3}, "2,850 rows of march were frozen as ab12; 3 rows did not fit", "/data/ab12"),
    ("data.split", "ab12", "", {"split": "c", "parts": {"train": 60, "test": 2000}}, "ab12 was divided: train 60, test 2,000", "/data/ab12"),
    ("model.train", "r1", "", {"status": "done", "legs": {"data": "ab12"}, "error": ""}, "r1 was trained on ab12", "/models/r1"),
    ("model.train", "r2", "", {"status": "failed", "error": "no rows"}, "the training of r2 failed: no rows", "/models/r2"),
    ("model.release", "v1", "fine", {"run": "r1", "verdict": "pass"}, "run r1 passed its gates and is release v1", "/models/r1"),
    ("model.release", "v2", "we must", {"run": "r2", "verdict": "fail", "overridden": True}, "run r2 is release v2 although its gates say fail", "/models/r2"),
    ("deploy.canary", "route 7", "try", {"said": "v2 answers 5 % of the units, v1 the rest"}, "v2 answers 5 % of the units, v1 the rest (route 7)", "/deploy/history#route-7"),
    ("deploy.stop", "route 8", "smoke", {}, "deploy.stop: route 8", "/deploy/history#route-8"),
    ("automation.learn", "v1/*", "v1 decides nothing yet", {}, "v1 decides nothing yet", "/automation"),
    (
        "automation.demote", "v1/older", "too many are wrong", {"slice": "older", "version": "v1", "from": "full", "to": "assist"},
        "automation goes down in older of v1 from full to assist: too many are wrong", "/automation",
    ),
    ("feedback.import", "labels.csv", "", {"recorded": 5, "rejected": 1}, "5 rows of feedback came from labels.csv, 1 were not taken", "/watch/feedback"),
    ("log.gap", "stream w0 at 40", "bytes 40 to 90 cannot be read", {}, "bytes 40 to 90 cannot be read", "/settings#health"),
    ("log.retained", "decision log", "5 rows were older", {}, "5 rows were older", "/settings#storage"),
    ("alarm.fired", "nulls", "as it was", FIRED, "alarm nulls fired: nulls is 30 % (25 to 35 %, n 310): outside ≤ 10 %", "/watch/alarms/nulls"),
    ("alarm.fired", "nulls/old, new", "as it was", {**FIRED, "cohort": "old, new"}, "alarm nulls/old, new fired: nulls on old, new is 30 % (25 to 35 %, n 310): outside ≤ 10 %", "/watch/alarms/nulls/old%2C%20new"),
    ("alarm.resolved", "nulls", "it is over; nobody was told: silenced", {}, "alarm nulls is over: it is over; nobody was told: silenced; nobody was told: silenced", "/watch/alarms/nulls"),
    ("alarm.people", "nulls", "nulls is 0.3; people decide everything", FIRED, "because alarm nulls fires: people decide everything", "/watch/alarms/nulls"),
    ("alarm.rollback", "nulls", "nulls is 0.3; back to v1", FIRED, "because alarm nulls fires: back to v1", "/watch/alarms/nulls"),
    ("alarm.notified", "nulls", "https://example.org was told", {"ok": True}, "a notice of alarm nulls: https://example.org was told", "/watch/alarms/nulls"),
    ("alarm.acknowledged", "nulls", "the lamp is dead", {"episode": 1}, "alarm nulls was seen", "/watch/alarms/nulls"),
    ("alarm.silenced", "nulls", "", {"until_us": 1_583_884_800_000_000}, "no notice of alarm nulls is sent until 2020-03-11 00:00 UTC", "/watch/alarms/nulls"),
    ("alarm.silenced", "nulls", "", {"until_us": 0}, "notices of alarm nulls are sent again", "/watch/alarms/nulls"),
    ("token.create", "5f0c2a91", "", {"role": "client"}, "the token 5f0c2a91 of role client was made", "/settings#tokens"),
    ("token.revoke", "5f0c2a91", "", {"role": "client"}, "the token 5f0c2a91 of role client was revoked", "/settings#tokens"),
    ("notify.test", "alarms.notify", "", {"sent": 1, "failed": 1}, "a test notice reached 1 of 2 addresses", "/settings#notifications"),
    ("load.run", "l1", "100 per second", {"sent": 6000, "verdict": "pass"}, "6,000 requests were sent to see what the line bears (l1)", "/watch"),
    ("kiln.heat", "kiln 3", "cold", {}, "kiln.heat: kiln 3", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "subject", "reason", "evidence", "sentence", "href"), TOLD, ids=lambda one: str(one)[:24]
)
def test_an_event_is_one_plain_sentence_and_leads_to_what_it_is_about(
    action: str, subject: str, reason: str, evidence: dict[str, Any], sentence: str, href: str
) -> None:
    event = Event(action, subject, "ann", reason, 0, 0, evidence)
    assert told(event, {"nulls": "share"}) == sentence
    assert href_of(event) == href
    if href:
        assert page_of(href.split("#")[0]) is not None
    assert reason_of(event) in ("", reason)


@pytest.mark.parametrize("evidence", [{}, {"parts": 3, "legs": "x", "rows": "many", "role": 4, "until_us": "soon", "said": 1, "metric": [], "error": {}}])  # fmt: skip
@pytest.mark.parametrize("action", ACTIONS)
def test_evidence_of_another_release_breaks_no_sentence(action: str, evidence: dict[str, Any]) -> None:
    event = Event(action, "a/b?c#d", "ann", "why", 0, 0, evidence)
    assert told(event) and isinstance(href_of(event), str)
    assert state_of(event) in (None, "good", "look", "stop")


# ----------------------------------------------------------------------------------------------------------- the page


def test_an_empty_journal_says_what_writes_the_first_event(doors: Doors) -> None:
    assert "Nothing was done yet." in doors.ask("GET", "/journal").text
    assert twin(doors)["entries"] == []


def test_pages_lead_to_one_another_without_a_hole_and_keep_what_was_asked_for(doors: Doors) -> None:
    for number in range(2 * EVENTS + 20):
        add(doors, "deploy.stop" if number % 10 else "data.add", f"n{number}")
    seen: list[int] = []
    address: str | None = "/journal?actor=ann"
    addresses = []
    while address is not None:
        addresses.append(address)
        found = twin(doors, address.removeprefix("/journal"))
        seen += numbers(found)
        address = found["older"]
        assert address is None or "actor=ann" in address
    assert seen == list(range(2 * EVENTS + 20, 0, -1))
    back = twin(doors, addresses[-1].removeprefix("/journal"))
    while back["newer"] is not None:
        before = numbers(back)[0]
        back = twin(doors, back["newer"].removeprefix("/journal"))
        assert numbers(back)[-1] == before + 1
    assert numbers(back)[0] == 2 * EVENTS + 20
    page = doors.ask("GET", addresses[1]).text
    assert {"Newer", "Older"} <= set(re.findall(r'rel="(?:prev|next)"[^>]*>(\w+)<', page))
    assert f"of {2 * EVENTS + 20}</span>" in page


def test_filters_by_action_group_person_subject_and_time(doors: Doors) -> None:
    clock = doors.project.workspace.clock
    for number, action in enumerate(("alarm.fired", "alarm.resolved", "deploy.stop", "token.create")):
        clock.set(time_us=1_583_884_800_000_000 + number * 3_600_000_000, rate=0.0)
        add(doors, action, f"s{number % 2}", "ann" if number < 3 else "olga")
    assert numbers(twin(doors, "?action=alarm")) == numbers(twin(doors, "?action=alarm.*")) == [2, 1]
    assert numbers(twin(doors, "?action=deploy.stop")) == [3]
    assert numbers(twin(doors, "?actor=olga")) == [4]
    assert numbers(twin(doors, "?subject=s1&actor=ann")) == [2]
    assert numbers(twin(doors, "?since=2020-03-11T01:00&until=2020-03-11T03:00")) == [3, 2]
    assert numbers(twin(doors, "?action=model.train")) == []
    found = twin(doors)
    assert (found["actors"], found["groups"], found["newest"]) == (["ann", "olga"], ["alarm", "deploy", "token"], 4)
    page = doors.ask("GET", "/journal?action=alarm&since=2020-03-11T01:00").text
    assert '<a href="/journal?action=alarm" aria-current="page">Alarms</a>' in page
    assert 'name="since" value="2020-03-11T01:00"' in page
    assert "No event is of that kind" in doors.ask("GET", "/journal?actor=nobody").text


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("action=alarm.fird", "no action is called 'alarm.fird'; did you mean 'alarm.fired'"),
        ("action=dploy", "did you mean 'deploy'"),
        ("since=yesterday", "since: expected a date or time such as"),
        ("since=2020-03-12&until=2020-03-11", "since: expected a time before 2020-03-11T00:00:00Z"),
        ("before=x", "before: expected a whole number"),
    ],
)
def test_what_cannot_be_asked_for_is_told_in_a_sentence(doors: Doors, query: str, says: str) -> None:
    answer = doors.ask("GET", f"/api/v1/journal?{query}")
    assert (answer.status_code, says in answer.json()["error"]["message"]) == (400, True), answer.text
    assert doors.ask("GET", f"/journal?{query}").status_code == 400


def test_what_people_wrote_is_text_and_nothing_else(doors: Doors) -> None:
    add(doors, "deploy.stop", HARM, HARM, HARM, said=HARM, **{HARM: HARM, "many": {HARM: [HARM]}})
    add(doors, "alarm.fired", f"nulls/{HARM}", "controller", HARM, **FIRED)
    page = doors.ask("GET", "/journal").text
    assert "<script>document" not in page
    assert page.count("&lt;script&gt;document") > 8
    for link in Links(page).links:
        assert link.startswith(("/", "#"))
    assert doors.ask("GET", next(link for link in Links(page).links if "actor=" in link)).status_code == 200


def test_evidence_is_unfolded_line_by_line(doors: Doors) -> None:
    event = add(
        doors, "model.release", "v1", run="r1", gates=[{"metric": "error"}], time_us=1_583_884_800_000_000, none=None
    )
    (one,) = twin(doors)["entries"]
    assert one["evidence"]["gates"] == [{"metric": "error"}]
    assert (one["hash"], one["previous"], one["machine"]) == (event.hash, "0" * 64, False)
    page = doors.ask("GET", "/journal").text
    assert "<dt>time</dt><dd>2020-03-11 00:00:00 UTC</dd>" in page
    assert "<dt>none</dt><dd>none</dd>" in page
    assert f"<code>{event.hash}</code>" in page
    assert f'<details id="evidence-{event.sequence}">' in page


def test_with_the_database_gone_the_page_says_so(doors: Doors) -> None:
    add(doors, "deploy.stop")
    (doors.project.workspace.home / "andon.db").unlink()
    page = doors.ask("GET", "/journal")
    assert (page.status_code, "The journal cannot be read now: the database" in page.text) == (200, True)
    assert "was moved, deleted or replaced" in twin(doors)["trouble"]
    doors.cookies.clear()
    answer = doors.ask("POST", "/api/v1/journal/verify", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


# ----------------------------------------------------------------------------------------------------------- the chain


def test_the_chain_is_verified_on_request(doors: Doors) -> None:
    for number in range(5):
        add(doors, "deploy.stop", f"route {number}")
    answer = doors.ask("POST", "/api/v1/journal/verify", json={})
    found = answer.json()
    assert (answer.status_code, found["sound"], found["events"], found["first"], found["bad"]) == (
        200,
        True,
        5,
        1,
        None,
    )
    assert found["head"] == doors.project.workspace.journal.head()[1]
    assert found["sentence"].startswith("the journal is whole: 5 events, each follows the one before, checked in ")
    proof = doors.proof("/journal")
    page = doors.ask("POST", "/act/journal/verify", data={"proof": proof, "next": "/journal?actor=ann"})
    assert (page.status_code, "whole" in page.text, found["head"] in page.text) == (200, True, True)
    assert 'href="/journal?actor=ann"' in page.text


def test_a_break_is_shown_where_it_is(doors: Doors) -> None:
    for number in range(5):
        add(doors, "deploy.stop", f"route {number}")
    connection = sqlite3.connect(doors.project.workspace.home / "andon.db")
    connection.execute("DROP TRIGGER events_no_update")
    connection.execute(f"UPDATE events SET reason = '{HARM.replace(chr(39), '')}' WHERE sequence = 3")
    connection.commit()
    connection.close()
    found = doors.ask("POST", "/api/v1/journal/verify", json={}).json()
    assert (found["sound"], found["events"], found["bad"]) == (False, 2, 3)
    assert re.search(
        r"expected event 3 to have the hash [0-9a-f]{16} of its content, found [0-9a-f]{16}", found["fault"]
    )
    page = doors.ask("POST", "/act/journal/verify", data={"proof": doors.proof("/journal")}).text
    assert '<a href="/journal?before=4">event 3</a>' in page
    assert "event 3 does not fit the chain before it" in page


def test_a_viewer_may_read_and_verify(tmp_path: Path) -> None:
    doors = Doors(make(tmp_path / "guarded", "required"))
    add(doors, "deploy.stop")
    doors.log_in("viewer")
    assert doors.ask("POST", "/act/journal/verify", data={"proof": doors.proof("/journal")}).status_code == 200
    secret = doors.token("client")
    answer = doors.ask("GET", "/api/v1/journal", headers={"authorization": f"Bearer {secret}"})
    assert answer.status_code == 403
    doors.project.workspace.close()


def test_the_twin_is_json_of_the_declared_struct(doors: Doors) -> None:
    from andon.surface.view.journal import JournalView

    add(doors, "deploy.stop", said="x", deep={"a": [1, None, True]})
    body = doors.ask("GET", "/api/v1/journal").content
    assert msgspec.json.decode(body, type=JournalView).entries[0].evidence["deep"] == {"a": [1, None, True]}
