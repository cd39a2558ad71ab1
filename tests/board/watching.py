"""A small line that is watched: real windows, alarms, decisions, labels and people, its clock moved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.board.reviewing import BEGIN, Room

from andon.core.clock import HOUR
from andon.core.record import Feedback, Prediction, Review
from andon.data.contract import Contract
from andon.measure.summary import Summary
from andon.monitor.watch import AlarmWatch
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions, encode_feedback, encode_predictions
from andon.store.frame import FrameKind
from andon.store.windows import WindowRow
from andon.store.writer import WalWriter

__all__ = ["BEGIN", "CHARTER", "HARM", "Line", "decided", "iso"]

HARM = "<img src=x onerror=\"alert('x')\">"
CHARTER = """
project: clinic
problem: Decide who needs a second test.
inputs: {cough: bool?, age: int?, note: text?}
target: {name: test_result, classes: [negative, positive], delay: 2h}
safe_default: refer
checklist: {security: {tokens: required}}
metrics:
  nulls: {of: null_outputs, alarm: "<= 0.1", for_windows: 2}
  error: {of: error_rate, goal: "<= 0.2", alarm: "<= 0.3", then: people, critical: true}
  machine: {of: error_rate, where: "decided_by = 'model'"}
  latency: {of: latency_p95_ms, goal: "<= 500"}
slices: {older: "age >= 60", coughing: "cough = TRUE"}
risks: [{what: the forms lose a field, shows_in: [nulls]}]
review: {deadline: 1h, undo: 10s}
monitor: {window: 1h}
"""


def iso(time_us: int) -> str:
    """A time to the minute, as somebody writes it."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M")


def decided(id: str, hour: float, decision: str = "negative", **more: Any) -> DecisionRow:
    """A decision of v1, so many hours after the beginning."""
    given: dict[str, Any] = {"status": "decided", "decided_by": "model", "level": "full", "version": "v1", **more}
    return DecisionRow(id=id, time_us=BEGIN + round(hour * HOUR), decision=decision, **given)


class Line(Room):
    """The project with its board; hours are counted from `BEGIN`."""

    def __init__(self, root: Path, charter: str = CHARTER) -> None:
        super().__init__(root, charter)
        known = self.project.charter
        contract = Contract(known.fields(), known.target.name, tuple(known.target.classes))
        self.workspace.journal._clock = self.clock  # it has been given the clock that was there before
        self.fields = contract.fields
        self.contract = "00112233445566aa"
        self.workspace.save_contract(self.contract, contract.fields, contract.classes)
        self._streams = {name: WalWriter(self.workspace.wal_dir, name) for name in ("w0", "s0")}

    def at(self, hours: float) -> None:
        """Let it be so many hours after the beginning."""
        self.clock.advance(hours * 3600 - (self.clock.now() - BEGIN) / 1e6)
        self.forget()

    def forget(self) -> None:
        """What the board read a moment ago counts no longer."""
        self.app.state.site.glances.forget()

    def window(self, metric: str, hour: int, summary: Summary, cohort: str = "") -> None:
        """A window that was measured."""
        self.workspace.windows.replace([WindowRow(metric, cohort, BEGIN + hour * HOUR, HOUR, summary)])
        self.forget()

    def judge(self) -> list[str]:
        """Have the alarms look at what is over; returns what is owed."""
        watch = AlarmWatch(self.workspace, self.project.charter)
        found = watch.look()
        for action in found:
            watch.settle(action, "people decide everything from now on" if action.what == "people" else "")
        self.forget()
        return [action.what for action in found]

    def decide(self, *rows: DecisionRow, x: Sequence[Any] = (True, 61, None)) -> None:
        """Decisions, all of the same input."""
        batch = DecisionBatch.empty(self.fields)
        for row in rows:
            batch.append_row(list(x), row)
        self._streams["w0"].append(
            FrameKind.DECISION, encode_decisions(self.fields, batch), count=len(rows),
            contract=bytes.fromhex(self.contract), time_us=rows[0].time_us,
        )  # fmt: skip
        self.forget()

    def feedback(self, *rows: Feedback) -> None:
        """What came back now."""
        now = self.clock.now()
        self._streams["w0"].append(FrameKind.FEEDBACK, encode_feedback(rows), count=len(rows), time_us=now)
        self.forget()

    def shadow(self, *rows: Prediction) -> None:
        """What a shadow said."""
        self._streams["s0"].append(FrameKind.SHADOW, encode_predictions(rows), count=len(rows), time_us=BEGIN)
        self.forget()

    def review(self, id: str, decision: str, **given: Any) -> None:
        """What a person decided."""
        more: dict[str, Any] = {"decided_by": "person", "reviewer": "maria", "time_us": BEGIN + HOUR, **given}
        self.workspace.outbox.append([Review(id, decision, **more)])
        self.forget()

    def close(self) -> None:
        """Let go of everything."""
        for stream in self._streams.values():
            stream.close()
        super().close()
