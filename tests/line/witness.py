"""Clients that remember every word they were told, and a comparison with what the log says, row by row.

They ask all the time over keep-alive connections, from a thread of their own: new ids, ids of before (the answer must be
the same), and requests without an id. A refusal (429, 503) is final, so nothing of it may be in the log; whoever hears
nothing asks again under the same id until there is an answer.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.line.toyline import DECISIONS, Running

from andon.store import view

__all__ = ["Witness", "agrees", "doctor"]

_PAUSE = 0.002
_REFUSED = (429, 503)


class Witness(threading.Thread):
    """``padding`` bytes of tags make the rows larger; ``patient``: a refusal is asked again, as is silence."""

    def __init__(
        self, line: Running, connections: int = 8, *, padding: int = 0, patient: bool = False, named: bool = False
    ) -> None:
        super().__init__(daemon=True)
        self._line, self._connections = line, connections
        self._patient, self._named = patient, named
        self._tags = {f"padding{n}": "p" * min(500, padding - n) for n in range(0, padding, 500)}
        self.ending = threading.Event()
        self.asked: dict[str, float] = {}
        self.told: dict[str, tuple[int, Any]] = {}
        self.statuses: Counter[int] = Counter()
        self.refused: set[str] = set()
        self.shed: set[str] = set()  # answered, and in no log, as the answer said
        self.different: list[str] = []
        self.wrong: list[str] = []  # neither an answer nor a refusal
        self.unheard = 0  # requests without an id whose answer was lost: each may be in the log or not
        self.resident: dict[int, list[float]] = {}
        self._began: tuple[int, ...] = ()
        self.longest = 0.0

    def __enter__(self) -> Witness:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.join(60)
        assert not self.is_alive(), "the clients do not come to an end"

    def run(self) -> None:
        asyncio.run(self._all())

    def heard(self, n: int, seconds: float = 60.0) -> None:
        """Wait until so many more answers have come."""
        goal = self.statuses.total() + n
        self._line.until(lambda: bool(self.wrong) or self.statuses.total() >= goal, seconds, f"no {n} more answers")
        assert self.wrong == []

    def wait(self, seconds: float) -> None:
        """Let time go by, with the line looked after."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._line.engine.poll()
            time.sleep(0.02)

    @property
    def recorded(self) -> int:
        """Ids whose answer is in the log, as far as the clients know."""
        return len(self.told) - len(self.shed)

    @property
    def growth(self) -> float:
        """MB by which resident memory of any worker exceeds what they all had when the clients began."""
        began = max(self.resident[pid][0] for pid in self._began)
        return (max(max(kb) for kb in self.resident.values()) - began) / 1024

    async def _all(self) -> None:
        watching = asyncio.create_task(self._watch())
        await asyncio.gather(*(self._client(number) for number in range(self._connections)))
        await watching

    async def _watch(self) -> None:
        while not self.ending.is_set():
            for state in self._line.engine.states():
                kb = _resident_kb(state.pid) if state.pid and state.name.startswith("worker") else None
                if state.pid and kb:
                    self.resident.setdefault(state.pid, []).append(kb)
            self._began = self._began or tuple(self.resident)
            await asyncio.sleep(0.2)

    async def _client(self, number: int) -> None:
        draw, count, mine = random.Random(number), 0, list[str]()
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        again: str | None = None
        while again is not None or not self.ending.is_set():
            count += 1
            id = again
            if id is None and (self._named or count % 7):
                id = draw.choice(mine) if mine and count % 10 == 0 else f"c{number}-{count}"
            a = draw.gauss(0, 1) if id is None else self.asked.setdefault(id, draw.gauss(0, 1))
            try:
                if connection is None:
                    connection = await asyncio.open_connection("127.0.0.1", self._line.port)
                status, body = await asyncio.wait_for(self._ask(connection, id, a), 25)
            except (OSError, EOFError, TimeoutError):
                if connection is not None:
                    connection[1].close()
                connection, again = None, id
                self.unheard += id is None
                await asyncio.sleep(0.1)
                continue
            again = id if self._patient and status in _REFUSED else None
            self._keep(id, a, status, body)
            if id is not None and status == 200:
                mine.append(id)
            await asyncio.sleep(_PAUSE if status == 200 else 0.02)
        if connection is not None:
            connection[1].close()

    async def _ask(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], id: str | None, a: float
    ) -> tuple[int, Any]:
        reader, writer = connection
        body = msgspec.json.encode(
            {"x": {"a": a, "b": None, "c": "x"}, "tags": self._tags} | ({} if id is None else {"id": id})
        )
        head = f"POST {DECISIONS} HTTP/1.1\r\nhost: line\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        begun = time.monotonic()
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        content = await reader.readexactly(length)
        self.longest = max(self.longest, time.monotonic() - begun)
        return int(answer.split(b" ", 2)[1]), msgspec.json.decode(content)

    def _keep(self, id: str | None, a: float, status: int, body: Any) -> None:
        self.statuses[status] += 1
        if status in _REFUSED:
            if id is not None and id not in self.told:
                self.refused.add(id)
            return
        if status not in (200, 202):
            self.wrong.append(f"{id}: {status} {body}")
            return
        if id is None:
            id = str(body["id"])
            self.asked[id] = a
        self.refused.discard(id)
        if body.get("recorded") is False:
            self.shed.add(id)
        if self.told.setdefault(id, (status, body)) != (status, body):
            self.different.append(f"{id}: {self.told[id]} then {(status, body)}")


def _resident_kb(pid: int) -> float | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024
    except (OSError, IndexError):
        return None


def doctor(line: Running, name: str = "agreement") -> dict[str, Any]:
    """What `andon doctor --log` says about one thing."""
    command = [sys.executable, "-m", "andon", "doctor", "--log", "--json", "--project", str(line.root)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in said.stderr, said.stderr
    checks: list[dict[str, Any]] = msgspec.json.decode(said.stdout)["checks"]
    return next(check for check in checks if check["name"] == name)


def agrees(line: Running, witness: Witness, *, growth_mb: float) -> None:
    """After recovery: everything is shipped, the doctor finds that it adds up, and the log says what the clients heard.

    An answer that was recorded is in the log once and equal; one that was shed is not, and is counted; one that was
    refused is not. Nothing else is there, but for requests without an id that nobody heard the answer of.
    """
    log = line.project.workspace.log
    expected = witness.told.keys() - witness.shed

    def shipped() -> int:
        return sum(log.rows(name) for name in log.tables() if name.startswith("decisions/"))

    line.until(lambda: shipped() >= len(expected), 60, f"of {len(expected)} rows not all were shipped")
    time.sleep(0.7)  # what is beyond the expected ones would be shipped now
    rows = view.decisions(line.project.workspace)
    logged = {row["id"]: row for row in rows.iter_rows(named=True)}
    assert len(logged) == rows.height == shipped(), "an id is in the log twice, or what was written is not shipped"
    assert witness.different == []
    assert witness.wrong == []
    assert expected - logged.keys() == set(), "told and not in the log"
    assert logged.keys() & (witness.shed | witness.refused) == set(), "in the log, and the client was told otherwise"
    assert len(logged.keys() - expected) <= witness.unheard, "in the log, and nobody was told"
    for id in expected:
        row, body = logged[id], witness.told[id][1]
        assert row["a"] == witness.asked[id], id
        told = ("decision", "decided_by", "version", "epoch")
        assert [row[key] for key in told] == [body.get(key) for key in told], id
        assert row["confidence"] == pytest.approx(body["confidence"], abs=1e-6)
    found = doctor(line)
    assert found["state"] == ("look" if witness.shed else "good"), found["sentence"]
    assert sum(one["rows"] for one in found["facts"]["shed"]) == len(witness.shed), found["sentence"]
    assert not found["facts"]["waiting"] and found["facts"]["whole"]
    print(f"{dict(witness.statuses)}, {len(expected)} in the log, {len(witness.shed)} shed, {witness.unheard} unheard,")
    print(f"longest {witness.longest:.2f} s, grown by {witness.growth:.1f} MB")
    assert witness.growth < growth_mb
