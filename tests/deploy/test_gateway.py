from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.deploy.rig import BASE, Rig

from andon.core.record import Review
from andon.store.codec import decode_decisions
from andon.store.wal import Frame, FrameKind, read_stream

Make = Callable[..., Rig]


def log(rig: Rig, stream: str = "w0") -> list[Any]:
    fields = rig.config.fields
    frames = [entry for entry in read_stream(rig.workspace.wal_dir, stream) if isinstance(entry, Frame)]
    return [row for frame in frames if frame.kind == FrameKind.DECISION for row in decode_decisions(fields, frame)]


def test_people_only(make: Make) -> None:
    rig = make()
    status, body = rig.decide(unit="patient-7", tags={"site": "north"})
    assert status == 202 and body == {"id": body["id"], "status": "pending"}
    (row,) = log(rig)
    assert (row.id, row.status, row.level, row.x) == (body["id"], "pending", "human", {"cough": None, "age": 20.0})
    assert row.unit == rig.workspace.unit_hash("patient-7") and row.tags == {"site": "north"}
    assert rig.call("GET", f"{BASE}/decisions/{body['id']}")[1]["status"] == "pending"
    rig.workspace.outbox.append([Review(body["id"], "negative", "person", "ann", 5)])
    rig.turn()
    status, found = rig.call("GET", f"{BASE}/decisions/{body['id']}")
    assert (status, found["decision"], found["decided_by"]) == (200, "negative", "person")
