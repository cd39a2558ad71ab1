"""Mutated requests through a worker without a socket, each of them judged.

    python -m tests.deploy.fuzz 1000000 --seed 7    # some minutes
    python -m tests.deploy.fuzz 50000 --keep        # short inputs that behaved in a new way go to the corpus

What must hold of every input is in ``Judge``. It is the real gateway with its real log, on a transport that is none, so
the clock of a connection is moved by hand and nothing waits.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import h11
import msgspec
from tests.deploy.fuzz_mutate import mutated
from tests.deploy.rig import CONFIG, FIELDS, FakeServed, Rig
from tests.deploy.transport import Transport

from andon.deploy.protocol import Connection, Front
from andon.deploy.protocol_message import Answer, Reply, Request, Take
from andon.deploy.protocol_reader import Limits
from andon.store.codec import decode_decisions
from andon.store.wal import Frame, FrameKind, read_stream
from andon.store.workspace import Workspace

__all__ = ["CORPUS", "Judge", "corpus", "run"]

CORPUS = Path(__file__).parent / "corpus"
LIMITS = Limits(body_bytes=20_000, head_bytes=4_096, target_bytes=2_048, pipeline=16)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_POOL_MOST = 3_000
_HEALTHY = b"GET /v2/health/ready HTTP/1.1\r\nHost: line\r\n\r\n"
_DECIDE = b'POST /v1/projects/screening/decisions HTTP/1.1\r\nHost: line\r\nContent-Length: 17\r\n\r\n{"x": {"age": 5}}'


def corpus() -> list[bytes]:
    """Real requests (files), and what was found to behave in a way of its own (``kept.jsonl``)."""
    files = [path.read_bytes() for path in sorted(CORPUS.glob("*.http"))]
    kept = (CORPUS / "kept.jsonl").read_text(encoding="ascii").splitlines()
    return files + [json.loads(line)["raw"].encode("latin-1") for line in kept]


class Watched:
    """The gateway, with a note of what it was asked and how much of it waits."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.asked: list[Request] = []
        self.waiting = 0

    def submit(self, request: Request, reply: Reply) -> None:
        self.rig.gateway.submit(request, self._once(request, reply))

    def shortcut(self, request: Request) -> Take | None:
        take = self.rig.gateway.shortcut(request)
        if take is None:
            return None

        def watched(body: bytes, reply: Reply) -> bool:
            whole = msgspec.structs.replace(request, body=body)
            if take(body, self._once(whole, reply)):
                return True
            self.asked.pop()
            self.waiting -= 1
            return False

        return watched

    def _once(self, request: Request, reply: Reply) -> Reply:
        self.asked.append(request)
        self.waiting += 1
        told: list[Answer] = []

        def once(answer: Answer) -> None:
            told.append(answer)
            assert len(told) == 1, "answered twice"
            self.waiting -= 1
            reply(answer)

        return once


class Judge:
    """One worker that is sent input after input; ``judge`` raises ``AssertionError`` on what must not be.

    * It answers, closes, or waits for more; and what waits is cut when its time has come.
    * Whatever it says is HTTP/1.1 by another's parser (h11): one answer for each request, and its refusals.
    * What it wrote to the log was answered on the wire, and a decision that was answered is in the log.
    * Afterwards a new connection is served as if nothing had been.
    """

    def __init__(self, home: Path) -> None:
        self.workspace = Workspace.create(home)
        self.rig = Rig(self.workspace, CONFIG, {"v1": FakeServed()})
        self.rig.route(live="v1", levels={"*": "partial"}, thresholds={"v1/*": 0.8})
        self.app = Watched(self.rig)
        self.later: list[Callable[[], None]] = []
        self.front = Front(self.app, LIMITS, self.app.shortcut, self.later.append)
        self.logged: set[str] = set()
        self.rows = Counter[str]()
        self.counted = Counter[str]()
        self._frames: list[Frame] = []
        self._spy()
        self._healthy = self._exchange(_HEALTHY)
        assert self._healthy[0] == 200

    def judge(self, raw: bytes, random: random.Random) -> tuple[Any, ...]:
        """Send one input; what it did, in words that do not depend on values."""
        before = self.front.refused
        connection, wire = self._connect()
        if not self._feed(connection, wire, raw, random):
            _let_time_go_by(connection, wire)
        assert wire.closed, "the connection stays open for ever"
        connection.connection_lost(None)
        asked, refused = list(self.app.asked), self.front.refused - before
        answers = parsed(wire.data, [request.method for request in asked], refused)
        self._check_log(wire.data, asked, answers)
        self._count(asked, answers)
        assert self._exchange(_HEALTHY) == self._healthy, "a new connection is not served as before"
        if self.counted["inputs"] % 16 == 0:
            assert self._exchange(_DECIDE)[0] == 200, "a new decision is not made"
            self.rig.desk.tick()
        return tuple(dict.fromkeys((status, _shape(body)) for status, body in answers))

    def close(self) -> None:
        """End it; the log on the disk holds what was counted."""
        self.rig.close()
        found = Counter[str]()
        for one in read_stream(self.workspace.wal_dir, self.rig.wal.stream):
            assert isinstance(one, Frame), one
            found[FrameKind(one.kind).name] += one.count
        self.workspace.close()
        assert found == self.rows, (found, self.rows)

    def _spy(self) -> None:
        append = self.rig.wal.append

        def noted(kind: FrameKind, payload: bytes, **more: Any) -> Frame:
            frame = append(kind, payload, **more)
            self._frames.append(frame)
            self.rows[kind.name] += frame.count
            return frame

        setattr(self.rig.wal, "append", noted)  # noqa: B010 - a method of this one instance

    def _connect(self) -> tuple[Connection, Transport]:
        self.app.asked.clear()
        connection, wire = self.front.connection(), Transport()
        connection.connection_made(wire)  # type: ignore[arg-type]
        return connection, wire

    def _exchange(self, raw: bytes) -> tuple[int, bytes]:
        connection, wire = self._connect()
        connection.data_received(raw)
        self._settle()
        (found,) = parsed(wire.data, ["GET"], 0)
        assert not wire.closed and not wire.ended
        connection.connection_lost(None)
        self._new_ids()
        return found

    def _settle(self) -> None:
        """Turn until everybody who asked was told."""
        end = time.monotonic() + 20
        while self.app.waiting or self.later:
            while self.later:
                self.later.pop(0)()
            while self.rig.posted:  # a model's thread may add to it meanwhile
                self.rig.posted.pop(0)()
            self.rig.gateway.turn()
            assert time.monotonic() < end, "a request is never answered"

    def _feed(self, connection: Connection, wire: Transport, raw: bytes, random: random.Random) -> bool:
        """Let the bytes arrive in pieces; True when the client then closes its side."""
        pieces = random.choice((1, 1, 1, 2, 3, 30))
        cuts = sorted(random.randrange(len(raw) + 1) for _ in range(pieces - 1))
        for at, to in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            if not wire.reading:
                self._settle()
            assert wire.reading or wire.closed, "reading is paused and nothing is left that would resume it"
            if wire.closed:
                break
            if at < to:
                connection.data_received(raw[at:to])
            if random.random() < 0.5:
                self._settle()
        self._settle()
        if wire.closed or random.random() < 0.75:
            return False
        if not connection.eof_received():
            wire.close()
        return True

    def _new_ids(self) -> tuple[list[str], int]:
        """Ids of the decisions, and the number of rows of feedback, that were written since the last look."""
        ids, feedback = [], 0
        for frame in self._frames:
            if frame.kind == FrameKind.DECISION:
                ids += [row.id for row in decode_decisions(FIELDS, frame)]
            elif frame.kind == FrameKind.FEEDBACK:
                feedback += frame.count
        self._frames.clear()
        self.logged.update(ids)
        return ids, feedback

    def _check_log(self, wire: bytes, asked: list[Request], answers: list[tuple[int, bytes]]) -> None:
        ids, feedback = self._new_ids()
        decided, labelled, by_tensor = 0, 0, False
        for request, (status, body) in zip(asked, answers, strict=False):
            if request.method != "POST" or status not in (200, 202):
                continue
            if request.path.endswith("/decisions"):
                decided += 1
                assert json.loads(body)["id"] in self.logged, "a decision was answered and is not in the log"
            elif request.path.endswith("/infer"):
                decided, by_tensor = decided + _rows_of(body), True
            elif request.path == "/invocations":
                decided += len([id for id in json.loads(body)["ids"] if id])
            elif request.path.endswith("/feedback"):
                labelled += json.loads(body)["accepted"]
        assert len(ids) <= decided, "the log has more decisions than were answered"
        assert feedback == labelled, "the log has other feedback than was accepted"
        missing = [id for id in ids if msgspec.json.encode(id)[1:-1] not in wire]
        assert by_tensor or not missing, f"in the log and not answered: {missing}"

    def _count(self, asked: list[Request], answers: list[tuple[int, bytes]]) -> None:
        self.counted["inputs"] += 1
        self.counted["requests"] += len(asked)
        self.counted.update(f"answer {status}" for status, _ in answers)
        if not answers:
            self.counted["no answer"] += 1


def _let_time_go_by(connection: Connection, wire: Transport) -> None:
    """What is unfinished is refused in its time, what is idle or refused is closed."""
    now = time.monotonic()
    unfinished = bool(connection._reader.since) and not connection._reader.stopped
    connection.check(now + LIMITS.request_seconds + 1)
    assert not unfinished or wire.ended, "an unfinished request is not cut in its time"
    connection.check(now + LIMITS.request_seconds + LIMITS.linger_seconds + 2)
    connection.check(now + LIMITS.idle_seconds + 1)


def _rows_of(body: bytes) -> int:
    """How many rows an inference answered; all that may be asked, where its client wanted no output."""
    said = json.JSONDecoder().raw_decode(body.decode("latin-1"))[0]
    return int(said["outputs"][0]["shape"][0]) if said["outputs"] else CONFIG.infer_rows


def parsed(data: bytes, methods: list[str], refused: int) -> list[tuple[int, bytes]]:
    """The answers in the bytes, by h11: (status, body) of each; one for each method, and one for a refusal."""
    found: list[tuple[int, bytes]] = []
    for method in [*methods, *["refused"] * refused]:
        if method == "refused":  # of what was asked only HEAD makes a difference: then there is no body
            final = data.rpartition(_CONTINUE)[2]
            method = "GET" if final.partition(b"\r\n\r\n")[2] else "HEAD"
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "line")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        status, body = 0, b""
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA, f"an answer is missing or cut off after {len(found)}: {data[:300]!r}"
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
        assert status < 500 or status in (501, 505), body
        found.append((status, body))
        data = client.trailing_data[0]
    while data.startswith(_CONTINUE):
        data = data.removeprefix(_CONTINUE)
    assert not data, f"more than {len(found)} answers: {data[:300]!r}"
    return found


def _shape(body: bytes) -> str:
    """What an answer says, without its values."""
    try:
        said = json.loads(body)
    except ValueError:
        return re.sub(rb"[^a-z ]", b"", body[:30]).decode()
    fault = said.get("error", said.get("message"))
    text = fault["message"] if isinstance(fault, dict) else fault
    if text is None:
        return ",".join(sorted(said))
    text = re.sub(r"^.*(?= takes |: not a field)|(?<=x\.).*?(?=:)|; .*", "_", text)
    return re.sub(r"[\"'].*[\"']|found .*|t decode .*|[\d\\_]+|[^\x20-\x7e]+", "_", text)[:100]


def run(judge: Judge, count: int, seed: int, new: list[bytes] | None = None) -> None:
    """Judge the corpus as it is, then ``count`` mutations of it; what behaves in a new way is mutated further.

    Short ones of these are added to ``new``. A failure names the input, and ``Random`` of what cut it in pieces.
    """
    pool = corpus()
    seen = {part for number, raw in enumerate(pool) for part in _judged(judge, raw, number)}
    real, known = pool[: len([*CORPUS.glob("*.http")])], len(pool)
    for number in range(count):
        chance = random.Random((seed << 40) + number)
        raw = mutated(chance, chance.choice(real if chance.random() < 0.5 else pool), pool[:known])
        behaviour = _judged(judge, raw, number)
        if not seen.issuperset(behaviour):
            seen.update(behaviour)
            if len(pool) < _POOL_MOST and len(raw) < 4_000:
                pool.append(raw)
            if new is not None and len(raw) < 600:
                new.append(raw)
    judge.counted["behaviours"] = len(seen)


def _judged(judge: Judge, raw: bytes, number: int) -> tuple[Any, ...]:
    try:
        return judge.judge(raw, random.Random(number))
    except BaseException as error:
        error.add_note(f"Judge.judge({raw!r}, random.Random({number}))")
        raise


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    chosen = parser.parse_args()
    judge, new, begun = Judge(Path(mkdtemp()) / "home"), list[bytes](), time.monotonic()
    run(judge, chosen.count, chosen.seed, new)
    judge.close()
    seconds = time.monotonic() - begun
    print(json.dumps({**dict(sorted(judge.counted.items())), "seconds": round(seconds), "rows": dict(judge.rows)}))
    if chosen.keep:
        with (CORPUS / "kept.jsonl").open("a", encoding="ascii") as file:
            file.writelines(json.dumps({"raw": raw.decode("latin-1")}) + "\n" for raw in new)


if __name__ == "__main__":
    _main()
