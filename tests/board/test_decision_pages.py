"""The decisions on a real log: found whole, told whole, and silent about what a person is still to decide blindly."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.board.reviewing import Person
from tests.board.watching import BEGIN, CHARTER, HARM, Line, decided, iso

from andon.core.clock import HOUR, SECOND
from andon.core.record import Feedback, Prediction, Route
from andon.errors import Unavailable
from andon.people.inbox import review_of, veil
from andon.store.codec import DecisionRow

SECRETS = ("v7", "0.8125", "positive", "olga", "secretly", "0.6875")


@pytest.fixture
def ann(line: Line) -> Person:
    return line.person("ann", "reviewer")


def ids(person: Person, query: str = "") -> list[str]:
    return [row["id"] for row in person.twin(f"/decisions?{query}")["rows"]]


def waiting(id: str, hour: float = 0.0, **more: Any) -> DecisionRow:
    given: dict[str, Any] = {"level": "shadow", "version": "v7", "suggestion": "positive", "confidence": 0.8125, **more}
    return DecisionRow(id=id, time_us=BEGIN + round(hour * HOUR), **given)


def test_decisions_are_found_by_every_condition_and_the_newest_come_first(line: Line, ann: Person) -> None:
    line.decide(
        decided("a1", 0),
        decided("a2", 1, "positive", version="v2"),
        decided("b3", 2, decided_by="safe_default", version=None),
    )
    line.decide(decided("c4", 3), x=(False, 20, None))
    line.decide(waiting("d5", 4, level="assist"))
    line.review("d5", "negative", time_us=BEGIN + 5 * HOUR)
    line.at(6)
    assert ids(ann) == ["d5", "c4", "b3", "a2", "a1"]
    assert (
        ids(ann, "by=model") == ["c4", "a2", "a1"]
        and ids(ann, "by=person") == ["d5"]
        and ids(ann, "by=safe_default") == ["b3"]
    )
    assert ids(ann, "version=v2") == ["a2"] and ids(ann, "q=a") == ["a2", "a1"] and ids(ann, "q=.*") == []
    assert ids(ann, "slice=older") == ["d5", "b3", "a2", "a1"]
    assert ids(ann, "slice=older&by=model&version=v1") == ["a1"]
    both = f"since={iso(BEGIN + HOUR)}&until={iso(BEGIN + 3 * HOUR)}"
    assert ids(ann, both) == ["b3", "a2"], "half-open"
    assert (
        ann.ask("GET", f"/api/v1/decisions?since={iso(BEGIN)}&until={iso(BEGIN)}").json()["error"]["field"] == "until"
    )
    assert ann.ask("GET", "/api/v1/decisions?by=anyone").status_code == 400
    assert "No decision is like that" in ann.page("/decisions?q=zzz")


def test_pages_hold_fifty_and_keep_the_conditions(line: Line, ann: Person) -> None:
    line.decide(*(decided(f"n{i:03}", i / 100) for i in range(101)))
    line.at(2)
    first, last = ann.twin("/decisions?by=model"), ann.twin("/decisions?by=model&page=3")
    assert (first["total"], first["pages"], len(first["rows"])) == (101, 3, 50)
    assert first["rows"][0]["id"] == "n100" and [row["id"] for row in last["rows"]] == ["n000"]
    text = ann.page("/decisions?by=model&page=2")
    assert "/decisions?by=model&amp;page=1" in text and "/decisions?by=model&amp;page=3" in text
    beyond = ann.twin("/decisions?page=4")
    assert beyond["rows"] == [] and "There is no page 4" in ann.page("/decisions?page=4")
    for page, status in ((1, 200), (1_000_000, 200), (0, 400), (1_000_001, 400)):
        assert ann.ask("GET", f"/api/v1/decisions?page={page}").status_code == status
    line.decide(*(decided(f"m{i}", 2) for i in range(49)))
    assert ann.twin("/decisions")["pages"] == 3, "150 are three whole pages"
    line.decide(decided("one more", 2))
    assert ann.twin("/decisions")["pages"] == 4


def test_a_life_is_told_whole(line: Line, ann: Person) -> None:
    line.workspace.routes.publish(
        Route(1, BEGIN - HOUR, 0, "olga", "canary", f"try it {HARM}", live="v1", candidate="v7", share=0.25,
              levels={"*": "full", "older": "partial"}, slices={"older": "age >= 60"}, thresholds={"v7/older": 0.9}, blind=False,
              previous=0)
    )  # fmt: skip
    line.decide(
        waiting("d1", epoch=1, level="partial", slice="older", arm="candidate", probability=0.25, latency_us=2500,
                scores=(0.1875, 0.8125), unit="ab12", tags={"ward": HARM}, human="negative")
    )  # fmt: skip
    line.shadow(Prediction("d1", "v9", "negative", 0.6875, (0.6875, 0.3125), None, BEGIN + 1))
    line.add("d1", created_us=BEGIN, due_us=BEGIN + HOUR, blind=False, suggestion="positive")
    line.review("d1", "negative", time_us=BEGIN + 600 * SECOND, seconds=12.5, saw_suggestion=True)
    line.at(3)
    line.feedback(
        Feedback("d1", "label", "positive", time_us=BEGIN + 2 * HOUR),
        Feedback("d1", HARM, 1.5, time_us=BEGIN + 90 * SECOND),
    )
    twin = ann.twin("/decisions/d1")
    why = twin["why"]
    assert (why["actor"], why["action"], why["condition"], why["threshold"]) == ("olga", "canary", "age >= 60", 0.9)
    assert (why["level"], why["slice"], why["arm"], why["probability"], why["share"]) == (
        "partial",
        "older",
        "candidate",
        0.25,
        0.25,
    )
    assert [(one["kind"], one["who"], one["label"], one["counts"]) for one in twin["answers"]] == [
        ("model", "v7", "positive", False),
        ("client", "decided elsewhere", "negative", False),
        ("shadow", "v9", "negative", False),
        ("person", "maria", "negative", True),
    ]
    assert twin["answers"][0]["scores"] == [["positive", 0.8125], ["negative", 0.1875]]
    assert (twin["decision"], twin["decided_by"], twin["waited_us"]) == ("negative", "person", 600 * SECOND)
    assert (twin["reviews"][0]["seconds"], twin["reviews"][0]["blind"]) == (12.5, False)
    assert {one["name"]: one["value"] for one in twin["x"]} == {"cough": True, "age": 61, "note": None}
    assert [(one["kind"], one["value"]) for one in twin["feedback"]] == [(HARM, "1.5"), ("label", "positive")]
    assert [step["time_us"] for step in twin["life"]] == sorted(step["time_us"] for step in twin["life"])
    text = ann.page("/decisions/d1")
    assert HARM not in text and text.count("&lt;img") >= 4
    assert (
        "after 12.5 s of their own time" in text
        and "drawn with probability 25 %" in text
        and "10 min of event time" in text
    )


def _secret_case(line: Line, **more: Any) -> None:
    """A case with everything that a blind reviewer must not see."""
    line.decide(
        waiting("d1", scores=(0.1875, 0.8125), human="positive", arm="candidate", **more), x=(True, 61, "nothing")
    )
    line.shadow(Prediction("d1", "v7", "positive", 0.6875, (0.3125, 0.6875), "secretly", BEGIN + 1))
    line.feedback(Feedback("d1", "label", "positive", time_us=BEGIN + 1))


def _tells(person: Person, path: str) -> list[str]:
    """The secrets that a page or its twin tells, outside of the page's head and forms."""
    text = person.page(path).split("<main", 1)[1]
    text = text.split("</form>")[-1]
    return [secret for secret in SECRETS if secret in text or secret in person.ask("GET", "/api/v1" + path).text]


PLACES = ("/decisions/d1", "/decisions", "/watch/feedback")


@pytest.mark.parametrize("state", ["open", "taken", "drafted", "not in the inbox yet", "inbox gone"])
def test_a_case_that_is_open_and_blind_says_nothing(
    line: Line, ann: Person, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _secret_case(line)
    if state != "not in the inbox yet":
        line.add("d1", suggestion="positive", confidence=0.8125)
    if state in ("taken", "drafted"):
        line.inbox.take_one("d1", "olga")
    if state == "drafted":
        assert line.inbox.hold("d1", "positive", "olga").draft is not None
    if state == "inbox gone":

        def gone(_ids: Any) -> Any:
            raise Unavailable("the database is gone")

        monkeypatch.setattr(line.workspace.items, "many", gone)
        monkeypatch.setattr(line.workspace.items, "get", gone)
    line.at(1)
    for path in PLACES:
        if path == "/watch/feedback" and state == "not in the inbox yet":
            continue  # what is not known to be asked of anybody is not hidden there
        assert _tells(ann, path) == [], path
    twin = ann.twin("/decisions/d1")
    assert twin["hidden"].startswith("a person decides this case blindly") and twin["decided_by"] == "hidden"
    assert twin["answers"] == [] and [one["value"] for one in twin["feedback"]] == [None]
    assert "hidden until then" in ann.page("/decisions/d1")
    assert {one["name"]: one["value"] for one in twin["x"]}["note"] == "nothing", "what came in is shown"
    owner = line.person("olaf", "owner")
    assert _tells(owner, "/decisions/d1") == [], "whoever looks"


def test_once_it_is_decided_everything_is_told(line: Line, ann: Person) -> None:
    _secret_case(line)
    line.add("d1", suggestion="positive", confidence=0.8125)
    line.at(0.1)
    assert _tells(ann, "/decisions/d1") == []
    line.inbox.decide("d1", "negative", "olga")
    line.forget()
    assert _tells(ann, "/decisions/d1") == list(SECRETS)
    twin = ann.twin("/decisions/d1")
    assert (twin["decision"], twin["hidden"], twin["asked"]["state"]) == ("negative", "", "decided")
    assert ann.twin("/decisions")["rows"][0]["reviewer"] == "olga"
    assert ann.twin("/watch/feedback")["latest"][0]["value"] == "positive"


def test_an_audit_hides_the_automatic_answer_until_it_is_over(line: Line, ann: Person) -> None:
    line.decide(decided("d1", 0, "positive", version="v7", confidence=0.8125, audit=0.1))
    line.at(0.5)
    assert _tells(ann, "/decisions/d1") == [] == _tells(ann, "/decisions")
    line.add("d1", kind="audit", suggestion="positive", confidence=0.8125)
    line.forget()
    assert _tells(ann, "/decisions/d1") == [] == _tells(ann, "/decisions")
    assert "a random audit" in ann.page("/decisions/d1")
    line.inbox.decide("d1", "negative", "maria")
    line.forget()
    twin = ann.twin("/decisions/d1")
    assert (twin["decision"], twin["decided_by"]) == ("positive", "model"), "an audit does not change the answer"
    assert [(one["kind"], one["label"], one["counts"]) for one in twin["answers"]] == [
        ("model", "positive", True),
        ("audit", "negative", False),
    ]


def test_a_case_that_is_not_blind_shows_what_the_model_says(line: Line, ann: Person) -> None:
    line.decide(waiting("d1", level="assist"))
    line.at(0.5)
    assert ann.twin("/decisions/d1")["answers"][0]["label"] == "positive", "people see it at this level"
    line.add("d1", level="assist", blind=False, suggestion="positive", confidence=0.8125)
    line.forget()
    assert ann.twin("/decisions/d1")["hidden"] == ""
    item = line.item("d1")
    assert veil(item).suggestion == "positive"


def test_an_answer_of_the_deadline_and_of_nobody(line: Line, ann: Person) -> None:
    line.decide(waiting("d1"), decided("d2", 0, "refer", decided_by="safe_default", version=None, level="human"))
    line.add("d1")
    line.at(2)
    line.inbox.expire()
    line.workspace.outbox.append([review_of(line.item("d1"))])  # the stream may hold it twice
    line.forget()
    (model, deadline) = ann.twin("/decisions/d1")["answers"]
    assert (model["kind"], deadline["who"], deadline["kind"], deadline["counts"]) == (
        "model",
        "the deadline",
        "safe_default",
        True,
    )
    (charter,) = ann.twin("/decisions/d2")["answers"]
    assert (charter["who"], charter["label"]) == ("the charter", "refer")
    for id in ("d1", "d2"):
        assert "refer" in ann.page(f"/decisions/{id}")


def test_a_model_that_gave_no_answer_says_why(line: Line, ann: Person) -> None:
    line.decide(decided("d1", 0, "refer", decided_by="safe_default", error=f"cannot read {HARM}"))
    line.at(1)
    text = ann.page("/decisions/d1")
    assert "cannot read &lt;img" in text and HARM not in text


@pytest.mark.parametrize("id", ["a/b", "a?b#c", "..", "%2F", HARM, "a b", "a&page=2", "日本"])
def test_an_id_may_hold_anything_and_its_link_leads_there(line: Line, ann: Person, id: str) -> None:
    line.decide(decided(id, 0))
    line.at(1)
    (row,) = ann.twin("/decisions")["rows"]
    assert ann.twin(row["href"])["id"] == id
    assert HARM not in ann.page("/decisions") and HARM not in ann.page(row["href"])


def test_what_is_not_there_is_said(line: Line, ann: Person) -> None:
    assert "no decision has the id &#39;nobody&#39;" in ann.page("/decisions/nobody", 404)
    assert ann.ask("GET", "/api/v1/decisions/nobody").json()["error"]["code"] == "not_found"
    assert ann.ask("GET", "/api/v1/decisions/nobody?x=1").status_code == 400


def test_who_has_no_log_in_sees_nothing(line: Line) -> None:
    client = line.person("box", "client")
    for path in (*PLACES, "/watch", "/watch/alarms", "/watch/versions", "/watch/metrics/error"):
        given = {"authorization": f"Bearer {client.token}"}
        assert client.ask("GET", "/api/v1" + path, headers=given).status_code == 403
        assert client.ask("GET", "/api/v1" + path).status_code == 401, "a program has no session"


def test_a_picture_is_shown_made_small_and_nothing_else_is(tmp_path: Path) -> None:
    line = Line(tmp_path / "pictures", CHARTER.replace("note: text?", "note: image?"))
    try:
        ann, drawn = line.person("ann"), io.BytesIO()
        Image.new("RGB", (2000, 10), "red").save(drawn, "PNG")
        line.decide(decided("d1", 0), x=(True, 1, base64.b64encode(drawn.getvalue()).decode()))
        line.decide(decided("d2", 0), x=(True, 1, "no picture"))
        line.at(1)
        (given,) = [one for one in ann.twin("/decisions/d1")["x"] if one["name"] == "note"]
        assert given["value"] is None and given["picture"] == "/decisions/d1/picture?input=note"
        answer = ann.ask("GET", given["picture"])
        assert answer.headers["content-type"] == "image/png" and "sandbox" in answer.headers["content-security-policy"]
        assert max(Image.open(io.BytesIO(answer.content)).size) == 640
        assert f'src="{given["picture"]}"' in ann.page("/decisions/d1")
        for path, status in (
            ("d1/picture?input=age", 404),
            ("d1/picture?input=x", 404),
            ("d9/picture?input=note", 404),
            ("d2/picture?input=note", 422),
        ):
            found = ann.ask("GET", f"/api/v1/decisions/{path}").status_code
            assert found == status or (status == 422 and found in (400, 422)), path
    finally:
        line.close()
