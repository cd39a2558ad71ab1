"""The Review pages: one case after the other, held and taken back, blind, for reviewers only, and nothing but text."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.board.reviewing import CHARTER, Person, Room

from andon.core.clock import DAY, MINUTE, SECOND
from andon.core.record import Feedback, Review
from andon.store.codec import decode_reviews
from andon.store.frame import Frame
from andon.store.reader import read_stream
from andon.surface.view.review_queue import QueueParams, queue_view
from andon.surface.visit import Viewer, Visit


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path / "clinic")
    yield made
    made.close()


@pytest.fixture
def maria(room: Room) -> Person:
    return room.person("maria")


def sent(room: Room) -> list[tuple[str, str, str]]:
    """What is in the people stream."""
    frames = [one for one in read_stream(room.workspace.wal_dir, "people") if isinstance(one, Frame)]
    return [(one.id, one.decision, one.reviewer) for frame in frames for one in decode_reviews(frame)]


# ------------------------------------------------------------------------------------------------------------ the queue


def test_the_queue_counts_what_waits_and_says_nothing_of_who_is_at_what(room: Room, maria: Person) -> None:
    room.add("late", due_us=room.clock.now() - 5 * MINUTE, created_us=room.clock.now() - 90 * MINUTE)
    room.add("soon", due_us=room.clock.now() + 5 * MINUTE)
    room.add("later", due_us=room.clock.now() + 2 * DAY)
    room.add("look", kind="audit", risk=-1.0)
    room.add("tom has it", risk=0.9)
    room.inbox.take("tom")
    view = maria.twin("/review")
    assert (view["decisions"]["n"], view["audits"]["n"], view["taken"], view["mine"]) == (3, 1, 1, 0)
    assert [(band["name"], band["n"]) for band in view["due"] if band["n"]] == [
        ("overdue", 1), ("within 10 min", 1), ("within the hour", 1), ("later", 1),
    ]  # fmt: skip
    assert [case["id"] for case in view["cases"]] == ["late", "soon", "later", "look"]
    text = maria.page("/review")
    assert "4 cases wait" in text and "overdue by 5 min" in text and "90 min" in text
    assert "tom" not in text and "tom" not in json.dumps(view)


def test_what_people_cannot_answer_in_time_is_said(room: Room, maria: Person, tmp_path: Path) -> None:
    assert maria.twin("/review")["per_hour"] is None and "an hour, as the charter" not in maria.page("/review")
    paced = Room(tmp_path / "paced", CHARTER.replace("undo: 10s", "undo: 10s, reviewers_per_hour: 12"))
    tom = paced.person("tom")
    paced.add(*(f"i{n}" for n in range(12)))
    assert "All can be answered at 12 an hour" in tom.page("/review")
    paced.add("one", "two", due_us=paced.clock.now() + 10 * MINUTE)
    paced.clock.advance(2)
    view = queue_view(Visit(paced.project, Viewer("tom", "reviewer"), paced._access), QueueParams())
    assert (view.per_hour, view.beyond) == (12, 2), "14 are due within the hour"
    paced.clock.advance(11 * 60)
    view = queue_view(Visit(paced.project, Viewer("tom", "reviewer"), paced._access), QueueParams())
    assert view.beyond == 4, "two are late, and in 50 minutes ten of the twelve others can be answered"
    paced.close()


def test_nothing_waits_is_said_with_what_comes_next(maria: Person) -> None:
    assert "nothing waits for a person" in maria.page("/review")
    assert "You are at no case" in maria.page("/review/case")
    assert maria.twin()["state"] == "none"


@pytest.mark.parametrize("path", ["/review", "/review/case"])
def test_the_model_is_hidden_from_who_must_be_blind(room: Room, maria: Person, path: str) -> None:
    room.add("a", suggestion="positive", confidence=0.8125, risk=0.1875, level="shadow")
    maria.post("review/take")
    room.add("b", suggestion="positive", confidence=0.8125, risk=0.1875, level="partial")
    for told in (maria.page(path), json.dumps(maria.twin(path))):
        assert (
            "0.81" not in told and "0.18" not in told and '"suggestion"' not in told.replace('"suggestion": null', "")
        )
        assert "suggests" not in told
    held = maria.post("review/decide", id="a", decision="negative", hold=True)
    assert "positive" not in held.text and "0.8" not in held.text
    assert "0.81" not in maria.page("/review/case") + maria.page("/review/case?id=a")


def test_who_is_not_blind_sees_what_the_model_suggests(room: Room, maria: Person) -> None:
    room.add("a", suggestion="positive", confidence=0.8125, risk=0.1875, level="assist", blind=False)
    assert maria.twin("/review")["cases"][0]["risk"] == 0.1875
    maria.post("review/take")
    case = maria.twin()["case"]
    assert (case["suggestion"], case["confidence"]) == ("positive", 0.8125)
    assert re.search(r"the model suggests</span> <b>positive</b> <span class=\"why\">confidence 0.81", maria.page())


def test_a_thousand_open_cases_are_listed_in_pages_and_soon(room: Room, maria: Person) -> None:
    room.add(*(f"case-{n:04}" for n in range(1000)), x={"story": "word " * 200})
    view = maria.twin("/review?page=20")
    assert (view["page"], view["pages"], view["cases"][-1]["id"]) == (20, 20, "case-0999")
    assert maria.twin("/review?page=999")["page"] == 20
    took = []
    for _ in range(5):
        began = time.perf_counter()
        maria.page("/review")
        took.append(time.perf_counter() - began)
    assert min(took) < 0.25, took  # 0.05 s on the machine this was made on; a scan of all cases takes a second


# -------------------------------------------------------------------------------------------------------- case by case


def test_looking_takes_nothing(room: Room, maria: Person) -> None:
    """A browser that fetches links ahead must not lease cases."""
    room.add("a", "b")
    for path in ("/review", "/review/case", "/review/case?id=a", "/act/review/take", "/review/mine"):
        maria.page(path)
    assert room.workspace.items.counts() == {"open": 2}


def test_twenty_cases_by_pressing_the_same_button(room: Room, maria: Person) -> None:
    room.add(*(f"c{n:02}" for n in range(20)))
    goes = maria.press("review/take", "/review").headers["location"]
    assert goes == "/review/case?id=c00"
    for n in range(20):
        assert f"c{n:02}" in maria.page(goes)
        goes = maria.answer("positive")
        room.clock.advance(2)
    assert goes == "/review"
    room.clock.advance(10)
    maria.page("/review")
    assert sent(room) == [(f"c{n:02}", "positive", "maria") for n in range(20)]
    assert [room.item(f"c{n:02}").seconds for n in (0, 1)] == [0.0, 2.0]


def test_an_answer_is_shown_while_it_can_be_taken_back(room: Room, maria: Person) -> None:
    room.add("a", "b")
    maria.post("review/take")
    assert maria.answer("negative") == "/review/case?id=b"
    room.clock.advance(4)
    page = maria.page()
    assert re.search(r'Your answer to <span class="mono">a</span>: <b>negative</b>.*?sent in .*?6 s', page)
    assert 'class="banner note"' not in page  # once is enough
    assert maria.twin()["held"] == {"id": "a", "decision": "negative", "left_us": 6 * SECOND, "more": 0}
    back = maria.press("review/undo")
    assert back.headers["location"] == "/review/case?id=a"
    assert maria.twin()["id"] == "a"  # before b, which is theirs, too
    assert maria.answer("positive") == "/review/case?id=b"
    room.clock.advance(10)
    page = maria.page()
    assert "review/undo" not in page
    assert sent(room) == [("a", "positive", "maria")]


def test_what_was_sent_cannot_be_taken_back_and_that_is_said(room: Room, maria: Person) -> None:
    room.add("a")
    maria.post("review/take")
    maria.answer("negative")
    nothing = room.person("tom").post("review/undo")
    assert nothing.status_code == 409 and "nothing to take back" in nothing.json()["error"]["message"]
    room.clock.advance(10)
    refused = maria.post("review/undo", id="a")
    assert refused.status_code == 409
    assert "it cannot be taken back: item a was decided 'negative' by maria" in refused.json()["error"]["message"]


def test_a_program_decides_at_once_and_takes_nothing(room: Room, maria: Person) -> None:
    room.add("a", "b", "c")
    done = maria.post("review/decide", id="a", decision="negative").json()
    assert (done["answered"], done["decision"], done["sent"], done["id"]) == ("a", "negative", True, "")
    assert sent(room) == [("a", "negative", "maria")]
    assert room.workspace.items.counts() == {"decided": 1, "open": 2}
    assert maria.post("review/decide", id="b", decision="negative", next=True).json()["id"] == "c"
    held = maria.post("review/decide", id="c", decision="refer", hold=True).json()
    assert (held["sent"], held["undo_us"]) == (False, 10 * SECOND)


def test_the_charter_may_hold_nothing(tmp_path: Path) -> None:
    room = Room(tmp_path / "hasty", CHARTER.replace("undo: 10s", "undo: 0s"))
    maria = room.person("maria")
    room.add("a")
    maria.post("review/take")
    maria.answer("negative")
    assert sent(room) == [("a", "negative", "maria")] and "review/undo" not in maria.page("/review")
    room.close()


def test_a_skipped_case_is_for_others(room: Room, maria: Person) -> None:
    room.add("a", "b")
    maria.post("review/take")
    assert maria.press("review/skip").headers["location"] == "/review/case?id=b"
    assert room.person("tom").post("review/take").json()["id"] == "a"
    alone = maria.press("review/skip")
    assert alone.headers["location"] == "/review"
    assert "no other case waits" in maria.page("/review")
    assert maria.post("review/take").json()["id"] == "b"


def test_giving_back_and_leaving(room: Room, maria: Person) -> None:
    room.add("a", "b")
    maria.post("review/take")
    assert maria.press("review/release").headers["location"] == "/review"
    assert room.item("a").state == "open"
    maria.post("review/take")
    maria.answer("positive")
    assert maria.press("review/done").headers["location"] == "/review"
    assert sent(room) == [("a", "positive", "maria")]
    assert room.item("b").state == "open"
    assert "1 answer sent. Case b is open again." in maria.page("/review")


def test_taking_twice_gives_the_same_case(room: Room, maria: Person) -> None:
    room.add("a", "b")
    assert [maria.post("review/take").json()["id"] for _ in range(2)] == ["a", "a"]
    assert maria.post("review/take", id="b").json()["goto"] == "/review/case?id=b"
    assert "Go on" in maria.page("/review")


def test_the_deadline_that_came_first_is_one_sentence_and_the_next_case(room: Room, maria: Person) -> None:
    room.add("a", due_us=room.clock.now() + 5 * MINUTE)
    room.add("b", "audited", due_us=room.clock.now() + 90 * MINUTE)
    maria.post("review/take")
    page = maria.page()
    assert "due in 5 min" in page
    room.clock.advance(6 * 60)
    room.inbox.expire()
    hidden = dict(
        re.findall(r'name="(proof|id|hold)" value="([^"]*)"', page.split("review/decide")[1].split("</form>")[0])
    )
    reply = maria.ask("POST", "/act/review/decide", data={**hidden, "decision": "negative"})
    assert (reply.status_code, reply.headers["location"]) == (303, "/review/case?id=audited")
    told = "The deadline of case a came first: it was answered 'refer', as the charter says."
    assert told in unescape(maria.page())
    assert "The deadline came first" in maria.page("/review/case?id=a")
    refused = maria.post("review/decide", id="a", decision="negative")
    assert refused.status_code == 409 and "was decided 'refer'" in refused.json()["error"]["message"]
    assert maria.post("review/decide", id="a", decision="negative", next=True).json()["decision"] is None


def test_an_overdue_case_can_still_be_answered_while_nobody_did(room: Room, maria: Person) -> None:
    room.add("a", due_us=room.clock.now() - 3 * MINUTE)
    maria.post("review/take")
    assert "overdue by 3 min" in maria.page()
    maria.answer("negative")
    assert sent(room) == [("a", "negative", "maria")]


def test_another_ones_case_is_left_alone(room: Room, maria: Person) -> None:
    room.add("a")
    maria.post("review/take")
    tom = room.person("tom")
    for command, more in (
        ("decide", {"decision": "negative"}),
        ("skip", {}),
        ("release", {}),
        ("take", {}),
        ("undo", {}),
    ):
        for id in ("a",):
            refused = tom.post(f"review/{command}", id=id, **more)
            assert refused.status_code == 409 and "is with maria until" in refused.json()["error"]["message"], command
    view = tom.twin("/review/case?id=a")
    assert (view["state"], view.get("case"), view["held"]) == ("elsewhere", None, None)
    maria.answer("negative")
    view = tom.twin("/review/case?id=a")
    assert view["state"] == "elsewhere" and "negative" not in json.dumps({**view, "answers": []})
    room.clock.advance(10)
    view = tom.twin("/review/case?id=a")
    assert view["state"] == "answered" and view["decision"] is None
    assert maria.twin("/review/case?id=a")["decision"] == "negative"


def test_a_lease_that_ended_is_said_and_can_be_taken_again(room: Room, maria: Person) -> None:
    room.add("a")
    maria.post("review/take")
    assert "yours for 10 min" in maria.page()
    room.clock.advance(600)
    assert maria.twin("/review/case?id=a")["state"] == "open"
    assert maria.press("review/take", "/review/case?id=a").headers["location"] == "/review/case?id=a"


@pytest.mark.parametrize("role", ["viewer", "labeler"])
def test_only_who_may_review_does(room: Room, role: str) -> None:
    room.add("a")
    other = room.person("other", role)
    queue = other.page("/review")
    assert "reviewers, operators and owners decide" in queue and "/act/review" not in queue
    for path in ("/review/case", "/review/mine", "/review/case?id=a", "/review/picture?id=a&input=picture"):
        assert f"the role {role}, which may not review" in other.page(path, 403)
        assert other.ask("GET", "/api/v1" + path).status_code == 403
    for command in ("take", "decide", "undo", "skip", "release", "done"):
        body = {"id": "a", "decision": "negative"} if command == "decide" else {"id": "a"}
        assert other.post(f"review/{command}", **body).status_code == 403
        assert other.page(f"/act/review/{command}?id=a", 403)
    assert room.item("a").revision == 0


def test_wrong_words_are_one_sentence(room: Room, maria: Person) -> None:
    room.add("a")
    wrong = maria.post("review/decide", id="a", decision="negatve")
    assert wrong.status_code == 422 and "did you mean 'negative'" in wrong.json()["error"]["message"]
    assert maria.post("review/decide", id="nobody", decision="negative").status_code == 404
    assert "no case has the id" in maria.page("/review/case?id=nobody", 404)
    assert maria.post("review/skip").json()["error"]["message"] == "id is missing"


# ------------------------------------------------------------------------------------------------- what is in the case

HOSTILE: dict[str, Any] = {
    "story": "<script>alert(1)</script>\n" + "x" * 100_000,
    "age": 7,
    "cough": False,
    'gone"><img src=x onerror=1>': "\u202eright to left\u202c 🩺 {{1234*5678}} 'quoted\"",
    "שלום": "מה שלומך",
    "nothing": None,
}


def test_whatever_is_in_a_case_stays_text(room: Room, maria: Person) -> None:
    room.add("a<b>'\"/?&", x=HOSTILE)
    goes = maria.post("review/take").json()["goto"]
    for path in ("/review", goes):
        page = maria.page(path)
        assert not re.search(r"<script>alert|<img src=x|7006652", page)
    shown = unescape(maria.page(goes))
    assert all(str(value) in shown for value in HOSTILE.values() if isinstance(value, str))
    inputs = maria.twin(goes)["case"]["inputs"]
    assert [one["value"] for one in inputs] == list(HOSTILE.values())
    assert [one["shown"] for one in inputs] == ["text", "word", "word", "word", "word", "missing"]
    maria.answer("refer")
    assert room.item("a<b>'\"/?&").draft is not None


def test_yes_no_and_missing_are_words(room: Room, maria: Person) -> None:
    room.add("a", x={"cough": False, "age": 0, "story": "", "picture": None})
    maria.post("review/take")
    page = maria.page()
    assert re.findall(r"<dd>(.*?)</dd>", page.split("<dialog")[0], re.DOTALL) == [
        "no",
        "<bdi>0</bdi>",
        '<div class="words" dir="auto" tabindex="0" role="region" aria-label="story"></div>',
        '<span class="why">missing</span>',
    ]
    assert "What is the test result?" in page and "Decide who needs a second test." in page
    assert re.findall(r'data-key="(\d)"[^>]*>\s*<kbd>\d</kbd><span>(\w+)', page) == [
        ("1", "negative"), ("2", "positive"), ("3", "refer"),
    ]  # fmt: skip


def picture(width: int, height: int, format: str = "PNG", mode: str = "RGB") -> str:
    out = BytesIO()
    Image.new(mode, (width, height), 90).save(out, format)
    return b64encode(out.getvalue()).decode()


@pytest.mark.parametrize(
    ("format", "mode", "size", "kind", "side"),
    [
        ("PNG", "RGB", 300, "image/png", (300, 150)),
        ("JPEG", "L", 300, "image/jpeg", (300, 150)),
        ("BMP", "RGB", 300, "image/png", (300, 150)),
        ("TIFF", "CMYK", 300, "image/png", (300, 150)),
        ("JPEG", "RGB", 3000, "image/png", (1200, 600)),
    ],
)
def test_a_picture_is_made_to_fit(
    room: Room, maria: Person, format: str, mode: str, size: int, kind: str, side: tuple[int, int]
) -> None:
    room.add("a", x={"picture": picture(size, size // 2, format, mode)})
    maria.post("review/take")
    [one] = maria.twin()["case"]["inputs"]
    assert one["value"] is None and one["picture"] in unescape(maria.page())
    found = maria.ask("GET", one["picture"])
    assert (found.status_code, found.headers["content-type"]) == (200, kind)
    assert "sandbox" in found.headers["content-security-policy"]
    assert Image.open(BytesIO(found.content)).size == side


def test_a_picture_of_more_than_eight_bits_keeps_its_greys(room: Room, maria: Person) -> None:
    made, out = Image.new("I;16", (40, 20), 1_000), BytesIO()
    made.paste(30_000, (20, 0, 40, 20))
    made.save(out, "PNG")
    room.add("a", x={"picture": b64encode(out.getvalue()).decode()})
    found = Image.open(BytesIO(maria.ask("GET", "/review/picture?id=a&input=picture&size=20").content)).convert("L")
    assert (found.size, found.getextrema()) == ((20, 10), (0, 255))


def test_a_picture_may_be_kept_as_a_blob(room: Room, maria: Person) -> None:
    from base64 import b64decode

    room.add("a", x={"picture": room.workspace.blobs.put(b64decode(picture(20, 10)))})
    found = maria.ask("GET", "/review/picture?id=a&input=picture")
    assert Image.open(BytesIO(found.content)).size == (20, 10)


@pytest.mark.parametrize(
    ("query", "status"),
    [("id=a&input=story", 422), ("id=a&input=age", 404), ("id=a&input=none", 404), ("id=b&input=story", 404),
     ("id=a&input=story&size=9", 400), ("id=a&input=broken", 422)],
)  # fmt: skip
def test_what_is_no_picture_says_so(room: Room, maria: Person, query: str, status: int) -> None:
    room.add("a", x={"story": "no base64!", "age": 3, "broken": picture(20, 10)[:60]})
    assert maria.ask("GET", f"/api/v1/review/picture?{query}").status_code == status


# ---------------------------------------------------------------------------------------------------------- own figures


def test_ones_own_figures_are_ones_own(room: Room, maria: Person) -> None:
    tom = room.person("tom")
    room.add(*(f"i{n}" for n in range(6)))
    for person, n in ((maria, 3), (tom, 2)):
        for _ in range(n):
            id = person.post("review/take").json()["id"]
            room.clock.advance(30)
            person.post("review/decide", id=id, decision="negative")
    own = maria.twin("/review/mine")
    assert (own["reviewer"], own["today"], own["all"], own["answered"]) == ("maria", 3, 3, 3)
    assert own["seconds"] == {"value": 30.0, "low": 30.0, "high": 30.0, "n": 3, "method": "bootstrap"}
    assert (own["missed"], own["late"], own["with_me"]) == (0, 0, 0)
    assert "tom" not in maria.page("/review/mine") + json.dumps(own)
    assert tom.twin("/review/mine")["all"] == 2
    room.clock.advance(24 * 3600)
    later = maria.twin("/review/mine")
    assert (later["today"], later["all"]) == (0, 3)


def test_cases_that_the_deadline_took_are_counted(room: Room, maria: Person) -> None:
    room.add("a", due_us=room.clock.now() + MINUTE)
    maria.post("review/take")
    room.clock.advance(120)
    assert maria.twin("/review/mine")["late"] == 1
    room.inbox.expire()
    own = maria.twin("/review/mine")
    assert (own["missed"], own["late"], own["today"]) == (1, 0, 0)


def test_without_any_review_the_reasons_are_there(maria: Person) -> None:
    page = maria.page("/review/mine")
    assert "No case was taken and answered" in page and "no label came for them yet" in page


def test_agreement_is_told_with_interval_and_blind_answers_apart(room: Room, maria: Person) -> None:
    from andon.store.codec import encode_feedback
    from andon.store.frame import FrameKind
    from andon.store.writer import WalWriter

    now = room.clock.now()
    said = [("a", "negative", False), ("b", "positive", False), ("c", "negative", True), ("d", "refer", False)]
    room.workspace.outbox.append(
        [Review(id, answer, "person", "maria", now, seconds=9.0, saw_suggestion=saw) for id, answer, saw in said]
    )
    labels = [Feedback(id, "label", "negative") for id in ("a", "b", "c", "d")]
    writer = WalWriter(room.workspace.wal_dir, "w0")
    writer.append(FrameKind.FEEDBACK, encode_feedback(labels), count=len(labels), time_us=now)
    writer.close()
    own = maria.twin("/review/mine")
    blind, seen = own["agreement"][:2]
    assert (blind["share"]["value"], blind["share"]["n"], seen["share"]["value"], seen["share"]["n"]) == (
        0.5,
        2,
        1.0,
        1,
    )
    assert blind["share"]["low"] < 0.1 and (own["referred"], own["answered"]) == (1, 4)
    assert "1 answer “refer” left out" in maria.page("/review/mine")
