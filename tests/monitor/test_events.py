"""Decisions as CloudEvents: what is sent, where it may go, at least once, and what a receiver that fails costs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.monitor.test_ingest import CHARTER, HASH, NOW, Lab

from andon.core.record import Decision, Field, Review, Stays
from andon.errors import UsageError
from andon.monitor.controller import Controller
from andon.monitor.events import EVENTS, TRIES, Emitter, emitter_of
from andon.monitor.payload import MOST_BYTES, REQUEST, RESPONSE, decision_events
from andon.monitor.sink import Sink, check_sink
from andon.scope.charter import Charter, parse
from andon.store.codec import encode_reviews
from andon.store.frame import FrameKind

URL = "http://127.0.0.1:9/in?token=hush"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / ".andon")
    yield made
    made.close()


@dataclass
class Post:
    """What arrived: attributes without their prefix, percent-decoded, and the body as JSON."""

    ce: dict[str, str]
    body: dict[str, Any]

    @property
    def inputs(self) -> dict[str, Any]:
        return {one["name"]: one["data"][0] for one in self.body["inputs"]}

    @property
    def outputs(self) -> dict[str, Any]:
        return {one["name"]: one["data"][0] for one in self.body["outputs"]}


class Receiver:
    """Answers with the statuses given, then 202, and keeps what it took."""

    def __init__(self, *statuses: int | str) -> None:
        self.statuses = list(statuses)
        self.taken: list[Post] = []
        self.tried = 0

    def post(self, headers: Mapping[str, str], body: bytes) -> int | str:
        self.tried += 1
        status = self.statuses.pop(0) if self.statuses else 202
        if isinstance(status, int) and status < 300:
            ce = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
            self.taken.append(Post(ce, json.loads(body)))
        return status

    def close(self) -> None:
        pass


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def asks(**checklist: Any) -> Charter:
    return CHARTER.model_copy(
        update={
            "checklist": CHARTER.checklist.model_copy(
                update={
                    "logging": CHARTER.checklist.logging.model_copy(update={"events": URL}),
                    "privacy": CHARTER.checklist.privacy.model_copy(update=checklist),
                }
            )
        }
    )


def emitter(lab: Lab, receiver: Receiver, clock: Clock | None = None, **privacy: Any) -> Emitter:
    return Emitter(lab.workspace, asks(**privacy), URL, receiver=receiver, clock=clock or Clock())


def review(lab: Lab, id: str, **more: Any) -> None:
    made = Review(id, "positive", "person", "ann", NOW + 5, **more)
    lab.writer("people").append(FrameKind.REVIEW, encode_reviews([made]), count=1, time_us=NOW + 5)


def test_a_decision_is_two_events_in_kserves_types_with_ids_of_their_own(lab: Lab) -> None:
    receiver = Receiver()
    lab.decide(2, confidence=0.9, arm="candidate", tags={"site": "é"})
    assert emitter(lab, receiver).turn() == []
    first, second, *_ = receiver.taken
    assert (len(receiver.taken), len({post.ce["id"] for post in receiver.taken})) == (4, 4)
    assert (first.ce["type"], second.ce["type"]) == (REQUEST, RESPONSE)
    assert first.ce["requestid"] == second.ce["requestid"] == "a0" and first.ce["id"].startswith("a0.w0-")
    assert first.ce["specversion"] == "1.0" and first.ce["source"] == f"/v2/models/{CHARTER.project}/infer"
    assert first.ce["endpoint"] == "canary" and first.ce["inferenceservicename"] == CHARTER.project
    assert first.inputs == {"cough": True, "region": "North"}
    assert json.loads(first.body["parameters"]["tags"]) == {"site": "é"}
    assert second.outputs == {"decision": "negative", "confidence": 0.9, "status": "decided", "id": "a0"}
    assert second.body["model_version"] == "v1" and "v2" not in json.dumps(second.body)


def test_a_pending_decision_is_answered_by_its_review(lab: Lab) -> None:
    receiver = Receiver()
    lab.ask(1, confidence=0.6, suggestion="positive")
    lab.decide(1)
    review(lab, "a0")
    review(lab, "a1", kind="audit")
    emitter(lab, receiver).turn()
    told = [post for post in receiver.taken if post.ce["requestid"] == "a0"]
    assert [post.ce["type"] for post in told] == [REQUEST, RESPONSE, RESPONSE]
    assert told[1].outputs == {"decision": "", "confidence": 0.0, "status": "pending", "id": "a0"}
    assert "positive" not in json.dumps(told[1].body)  # what people are blind to stays here
    assert told[2].outputs["decision"] == "positive" and told[2].ce["id"].endswith(".review")
    assert len(receiver.taken) == 5


def test_inputs_that_are_redacted_now_are_not_sent_even_where_they_were_stored(lab: Lab) -> None:
    receiver = Receiver()
    lab.decide(1)
    emitter(lab, receiver, redact={"region": "drop"}).turn()
    assert receiver.taken[0].inputs == {"cough": True} and "North" not in str(receiver.taken)


def test_what_was_sent_is_not_sent_again_and_what_may_not_have_been_is_with_the_same_id(lab: Lab) -> None:
    lab.decide(3)
    first = Receiver(202, 202, 202, "TimeoutError")
    one = emitter(lab, first)
    one.turn()  # the first frame was begun: its place is not stored
    again = Receiver()
    two = emitter(lab, again)
    two.turn()
    assert [post.ce["id"] for post in again.taken[:3]] == [post.ce["id"] for post in first.taken]
    assert lab.workspace.windows.offsets(EVENTS) == {"w0": lab.writer("w0").end}
    nothing = Receiver()
    emitter(lab, nothing).turn()
    lab.decide(1)
    assert nothing.taken == [] and lab.workspace.windows.offsets(EVENTS) != {"w0": lab.writer("w0").end}
    emitter(lab, nothing).turn()
    assert [post.ce["requestid"] for post in nothing.taken] == ["a3", "a3"]


def test_a_receiver_that_is_gone_is_said_once_asked_seldom_and_loses_nothing(lab: Lab) -> None:
    clock, receiver = Clock(), Receiver(*["ConnectionRefusedError"] * 8)
    one = emitter(lab, receiver, clock)
    lab.decide(1)
    said, waits, last = list[str](), list[float](), clock.now
    while not receiver.taken:
        before = receiver.tried
        said += one.turn()
        if receiver.tried > before:
            waits.append(clock.now - last)
            last = clock.now
        clock.now += 0.5
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert said == [
        "events: http://127.0.0.1:9 does not take them (ConnectionRefusedError); they wait in the log",
        "events: http://127.0.0.1:9 takes them again",
    ]
    assert [post.ce["type"] for post in receiver.taken] == [REQUEST, RESPONSE]


def test_an_event_that_is_refused_as_such_is_left_out_and_counted(lab: Lab) -> None:
    clock, receiver = Clock(), Receiver(*[413] * TRIES)
    one = emitter(lab, receiver, clock)
    lab.decide(1)
    said = list[str]()
    for _ in range(5):
        said += one.turn()
        clock.now += 70
    assert [post.ce["type"] for post in receiver.taken] == [RESPONSE] and (one.sent, one.refused) == (1, 1)
    assert said[1] == "events: http://127.0.0.1:9 refused one (413) 3 times; it is left out, 1 so far"


def test_a_turn_ends_in_time_and_goes_on_in_the_middle_of_a_frame(lab: Lab) -> None:
    clock = Clock()

    class Slow(Receiver):
        def post(self, headers: Mapping[str, str], body: bytes) -> int | str:
            clock.now += 0.1
            return super().post(headers, body)

    receiver = Slow()
    one = emitter(lab, receiver, clock)
    lab.decide(4)
    one.turn()
    assert len(receiver.taken) == 3 and lab.workspace.windows.offsets(EVENTS) == {}
    for _ in range(4):
        one.turn()
    one.store()
    assert len(receiver.taken) == 8 == len({post.ce["id"] for post in receiver.taken})
    assert lab.workspace.windows.offsets(EVENTS) == {"w0": lab.writer("w0").end}


def test_damage_is_said_and_passed(lab: Lab) -> None:
    lab.decide(1)
    at = lab.writer("w0").end
    lab.decide(2)
    lab.decide(1)
    path = next((lab.workspace.wal_dir / "w0").glob("*.wal"))
    data = bytearray(path.read_bytes())
    data[at + 70] ^= 0xFF
    path.write_bytes(data)
    receiver = Receiver()
    said = emitter(lab, receiver).turn()
    assert [post.ce["requestid"] for post in receiver.taken] == ["a0", "a0", "a3", "a3"]
    assert said == ["events: 2 rows of the stream w0 are damaged or gone; they are not sent"]


def test_an_unknown_contract_holds_up_only_its_stream(lab: Lab) -> None:
    lab.decide(1, stream="w0")
    lab.decide(1, stream="w1")
    (next(lab.workspace.home.rglob(f"{HASH}*"))).rename(lab.workspace.home / "away")
    receiver, clock = Receiver(), Clock()
    one = emitter(lab, receiver, clock)
    said = one.turn()
    assert receiver.taken == [] and len(said) == 1 and one.turn() == []


def listening(taken: Callable[[BaseHTTPRequestHandler, bytes], int]) -> ThreadingHTTPServer:
    """A receiver on this machine that answers with what ``taken`` says; whoever calls ends it."""

    class Hook(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.send_response(taken(self, self.rfile.read(int(self.headers["content-length"]))))
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_a_real_receiver_on_one_connection(lab: Lab) -> None:
    seen: list[tuple[str, str | None, Any]] = []
    ports: set[int] = set()

    def taken(one: BaseHTTPRequestHandler, body: bytes) -> int:
        seen.append((one.path, one.headers["ce-type"], json.loads(body)))
        ports.add(one.client_address[1])
        return 204 if len(seen) != 2 else 302

    server = listening(taken)
    clock = Clock()
    sink = Sink(f"http://127.0.0.1:{server.server_port}/in?token=hush")
    one = Emitter(lab.workspace, asks(), URL, receiver=sink, clock=clock)
    lab.decide(2)
    assert one.turn() == ["events: http://127.0.0.1:9 does not take them (302); they wait in the log"]
    clock.now += 2
    one.turn()
    one.close()
    server.shutdown()
    server.server_close()
    assert [path for path, *_ in seen] == ["/in?token=hush"] * 5 and len(ports) == 1 and one.sent == 4
    assert isinstance(sink.post({}, b""), str)  # nobody there: a name, no words


def test_the_controller_sends_and_stores_how_far_it_got(lab: Lab) -> None:
    count: list[str] = []

    def taken(one: BaseHTTPRequestHandler, body: bytes) -> int:
        count.append(str(one.headers["ce-id"]))
        return 202

    server = listening(taken)
    charter = asks()
    logging = charter.checklist.logging.model_copy(update={"events": f"http://127.0.0.1:{server.server_port}/"})
    checklist = charter.checklist.model_copy(update={"logging": logging})
    lab.decide(20)
    turns = 0

    def stop() -> bool:
        nonlocal turns
        turns += 1
        return turns > 3

    Controller(lab.workspace, charter.model_copy(update={"checklist": checklist})).run(stop, lambda _: None)
    assert len(count) == len(set(count)) == 40
    assert lab.workspace.windows.offsets(EVENTS) == {"w0": lab.writer("w0").end}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("url", "stays", "hosts", "fits"),
    [
        (None, "device", (), True),
        (URL, "device", (), False),
        (URL, "organisation", (), True),
        ("http://localhost/", "organisation", (), True),
        ("https://172.31.255.255", "organisation", (), True),
        ("https://172.32.0.0", "organisation", (), False),
        ("http://[fd00::1]:80/", "organisation", (), True),
        ("http://[::ffff:8.8.8.8]/", "organisation", (), False),
        ("http://169.254.169.254/", "organisation", (), False),
        ("http://0.0.0.0/", "organisation", (), False),
        ("http://2130706433/", "organisation", (), False),
        ("http://localhost.example.org/", "organisation", (), False),
        ("http://events.example.org/", "organisation", (), False),
        ("http://Events.example.org/", "organisation", ("events.example.ORG",), True),
        ("http://a.events.example.org/", "organisation", ("events.example.org",), False),
        ("http://events.example.org/", "anywhere", (), True),
        ("ftp://events.example.org/", "anywhere", (), False),
        ("http://me:hush@events.example.org/", "anywhere", (), False),
        ("http://events.example.org:99999/", "anywhere", (), False),
        ("http:///in", "anywhere", (), False),
        ("http://[::1", "anywhere", (), False),
        ("http://localhost/\r\nx: y", "anywhere", (), False),
        ("", "anywhere", (), False),
    ],
)
def test_where_events_may_go(url: str | None, stays: Stays, hosts: tuple[str, ...], fits: bool) -> None:
    if fits:
        check_sink(url, stays, hosts)
        return
    with pytest.raises(UsageError, match=r"^checklist\.logging\.events: ") as caught:
        check_sink(url, stays, hosts)
    assert "hush" not in caught.value.message


@given(st.text(max_size=30), st.sampled_from(["device", "organisation", "anywhere"]))
def test_any_text_is_an_address_or_a_sentence(text: str, stays: Stays) -> None:
    for url in (text, f"http://{text}"):
        try:
            check_sink(url, stays)
        except UsageError:
            continue
        Sink(url).close()


def test_an_address_that_must_not_be_told_gets_nothing_and_a_charter_says_so(lab: Lab) -> None:
    found, said = emitter_of(lab.workspace, asks(stays="device"))
    assert found is None and said == [
        "checklist.logging.events: no event may leave this device, since privacy.stays is 'device'; take it out;"
        " no event is sent"
    ]
    assert emitter_of(lab.workspace, CHARTER) == (None, [])
    made, said = emitter_of(lab.workspace, asks())
    assert made is not None and said == []
    made.close()


def test_what_is_too_large_is_left_out_by_name() -> None:
    fields = (Field("photo", "image"), Field("note", "text"), Field("age", "int"))
    x: dict[str, Any] = {"photo": "A" * MOST_BYTES, "note": "é" * 1000, "age": 41}
    decision = Decision("a", 0, 0, 1, x, "decided", "no", "model", "full", stream="w0", sequence=1)
    request, response = decision_events("p", fields, decision, "00000000")
    body = json.loads(request.body)
    assert [one["name"] for one in body["inputs"]] == ["note", "age"] and body["parameters"] == {"x_left_out": "photo"}
    assert max(len(request.body), len(response.body)) < 64 << 10


@given(st.text(min_size=1, max_size=200).filter(str.isprintable), st.text(min_size=1, max_size=20))
def test_any_id_is_a_header_that_can_be_read_back(id: str, project: str) -> None:
    decision = Decision(id, 0, 0, 1, {"a": 1}, "decided", "no", "model", "full", stream="w0", sequence=1)
    for event in decision_events(project, (Field("a", "int"),), decision, "00000000"):
        assert all(value.isascii() and value.isprintable() and " " not in value for value in event.headers.values())
        assert unquote(event.headers["ce-requestid"]) == id and json.loads(event.body)["id"] == id


def test_the_charter_names_the_address() -> None:
    text = (
        "project: line\ninputs: {a: float}\ntarget: {name: y, classes: [good, bad]}\nsafe_default: refer\n"
        "checklist: {logging: {events: 'http://10.0.0.7/in'}, privacy: {stays: organisation, hosts: [collector]}}\n"
    )
    charter = parse(text)
    assert charter.checklist.logging.events == "http://10.0.0.7/in"
    assert charter.checklist.privacy.hosts == ("collector",)
