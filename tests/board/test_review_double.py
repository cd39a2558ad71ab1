"""The Review pages where two people decide: blind to each other, a third one between them, figures for the owner."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.board.reviewing import CHARTER, Person, Room

from andon.core.clock import DAY
from andon.people.double import double_id
from andon.surface.view.review_people import reviewers_of

TWICE = CHARTER.replace("undo: 10s", "undo: 0s, double_share: 1")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path / "clinic", TWICE)
    yield made
    made.close()


def answer(person: Person, decision: str) -> str:
    """Take the next case and answer it; returns its id."""
    id = str(person.post("review/take").json()["id"])
    reply = person.post("review/decide", id=id, decision=decision)
    assert reply.status_code == 200, reply.text
    return id


def test_three_people_on_one_case_see_nothing_of_each_other(room: Room) -> None:
    maria, tom, ann = room.person("maria"), room.person("tom"), room.person("ann")
    room.add("case-1", suggestion="positive", confidence=0.8125, level="shadow")
    answer(maria, "negative")
    queue = maria.page("/review")
    assert "Cases wait for others" in queue and "another look at cases that you answered" in queue
    assert maria.twin("/review")["offered"] is False and maria.twin("/review")["seconds"]["n"] == 1
    assert "second look" in tom.page("/review") and tom.twin("/review")["offered"] is True
    second = double_id("case-1", "second")
    assert maria.twin(f"/review/case?id={second}")["state"] == "own"
    assert "You answered this case before" in maria.page(f"/review/case?id={second}")
    assert maria.post("review/take", id=second).status_code == 409
    tom.post("review/take")
    for told in (tom.page(), json.dumps(tom.twin()), tom.page("/review"), json.dumps(tom.twin("/review"))):
        assert "maria" not in told and "case-1" not in told and "0.81" not in told
    view = tom.twin()
    assert view["case"]["kind"] == "second" and "second look" in tom.page()
    tom.post("review/decide", id=second, decision="positive")
    assert answer_is_open(ann)
    view = ann.twin()["case"]
    assert (view["kind"], view["between"], view["said"]) == ("adjudication", ["negative", "positive"], {})
    page = ann.page()
    assert "two people differ" in page and "maria" not in page and "tom" not in page
    ann.post("review/decide", id=view["id"], decision="positive")
    assert room.item("case-1").decision == "negative"
    assert "nothing waits" in ann.page("/review")


def answer_is_open(person: Person) -> bool:
    """Whether a case could be taken."""
    return bool(person.post("review/take").json()["id"])


def test_the_charter_may_show_who_said_what(tmp_path: Path) -> None:
    room = Room(tmp_path / "open", TWICE + "automation: {level: human, partial: {blind: false}}\n")
    maria, tom, ann = room.person("maria"), room.person("tom"), room.person("ann")
    room.add("a")
    answer(maria, "negative")
    answer(tom, "positive")
    ann.post("review/take")
    assert ann.twin()["case"]["said"] == {"maria": "negative", "tom": "positive"}
    assert "maria: <b>negative</b>, tom: <b>positive</b>" in ann.page()
    room.close()


def test_the_owner_sees_all_and_each_person_their_own(room: Room) -> None:
    maria, tom, owner = room.person("maria"), room.person("tom"), room.person("zoe", "owner")
    assert "Nobody answered a case" in owner.page("/review/people")
    room.add(*(f"i{n}" for n in range(4)))
    for _ in range(4):
        answer(maria, "negative")
    for said in ("negative", "negative", "negative", "positive"):
        room.clock.advance(5)
        answer(tom, said)
    assert answer(owner, "negative").startswith("adjudication-")
    table = owner.twin("/review/people")
    team = table["team"]
    assert (table["share"], team["n"], team["disagreed"], team["adjudicated"], team["blind"]) == (1.0, 4, 1, 1, 4)
    assert team["rater_error"]["value"] == pytest.approx(0.1464, abs=1e-4)
    rows = {row["reviewer"]: row for row in table["reviewers"]}
    assert [row["reviewer"] for row in table["reviewers"]] == ["maria", "tom", "zoe"]
    assert rows["maria"]["double"]["agreement"]["value"] == rows["tom"]["double"]["agreement"]["value"] == 0.75
    assert (rows["maria"]["double"]["overruled"]["value"], rows["tom"]["double"]["overruled"]["value"]) == (0.0, 1.0)
    page = owner.page("/review/people")
    assert "One reviewer errs" in page and "tom" in page and 'href="/review/people" aria-current="page"' in page
    assert tom.ask("GET", "/review/people").status_code == tom.ask("GET", "/api/v1/review/people").status_code == 403
    own = tom.twin("/review/mine")
    assert own["double"]["overruled"]["value"] == 1.0 and own["double"]["agreement"]["n"] == 4
    assert "maria" not in tom.page("/review/mine") + json.dumps(own) and "/review/people" not in tom.page("/review")
    assert "another person&#39;s answer" in tom.page("/review/mine")


def test_what_nobody_looked_at_again_is_counted(room: Room) -> None:
    maria, tom, owner = room.person("maria"), room.person("tom"), room.person("zoe", "owner")
    room.add("a", "b")
    answer(maria, "negative")
    answer(maria, "negative")
    answer(tom, "positive")
    before = reviewers_of(room.project, room.clock.now())
    assert (before.waiting, before.to_adjudicate, before.missed, before.left) == (1, 1, 0, 0)
    room.clock.advance(DAY // 1_000_000 + 60)
    assert len(room.inbox.expire()) == 2
    table = owner.twin("/review/people")
    assert (table["missed"], table["left"], table["waiting"], table["to_adjudicate"]) == (1, 1, 0, 0)


def test_what_nobody_answered_by_the_deadline_is_told_with_what_the_charter_does(room: Room) -> None:
    maria, owner = room.person("maria"), room.person("zoe", "owner")
    before = reviewers_of(room.project, room.clock.now())
    assert before.timeouts.reason == "no case that somebody waits for was answered"
    room.add(*(f"i{n}" for n in range(4)))
    room.add("look", kind="audit", risk=-1.0)
    answer(maria, "negative")
    room.clock.advance(2 * 3600)
    assert reviewers_of(room.project, room.clock.now()).overdue == 4
    assert len(room.inbox.expire()) == 4
    table = owner.twin("/review/people")
    assert (table["timeouts"]["value"], table["timeouts"]["n"]) == (0.75, 4)
    assert (table["on_timeout"], table["audits_left"], table["overdue"]) == ("safe_default", 1, 0)
    page = owner.page("/review/people")
    assert "they get “refer”" in page and "1 audit" in page and "Nobody answered by the deadline" in page


def test_how_a_suggestion_sways_is_told_from_the_same_cases(room: Room) -> None:
    from andon.core.record import Review

    maria, owner = room.person("maria"), room.person("zoe", "owner")
    room.add("a", suggestion="positive", blind=False, level="assist")
    maria.post("review/take")
    room.workspace.outbox.append([Review("x", "negative", "person", "maria", room.clock.now(), saw_suggestion=True)])
    maria.post("review/decide", id="a", decision="positive")
    own = maria.twin("/review/mine")["bias"]
    assert own["difference"]["reason"] == "no answer was given after a suggestion"  # the log knows no suggestion here
    assert "answers after a suggestion against blind ones" in maria.page("/review/mine")
    assert owner.twin("/review/people")["reviewers"][0]["bias"] == own
