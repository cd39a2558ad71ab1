"""Rows of the quick way (`andon.deploy.express`) whose model is slow, somebody's code or elsewhere.

As on the general way, a batch is with the model's own thread while the next one forms behind it; but what goes there and
what comes back stays in columns. A row is let go of once: answered, too late, or handed to the general way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import numpy as np

from andon.deploy.batcher import Columns, Scored
from andon.deploy.express_rows import Lane, Row, Texts, columns_of
from andon.deploy.meter import Meter
from andon.deploy.protocol_message import error_answer
from andon.deploy.replica import Post, Replica
from andon.deploy.rounds import too_late
from andon.model.columns import Block

__all__ = ["Behind", "Parcel"]

Again = Callable[[], None]


class Parcel(msgspec.Struct, eq=False):
    """One batch that is with a model: its rows, how the log keeps their inputs, and what was said of them."""

    lane: Lane
    rows: list[Row]
    numbers: bytes
    texts: Texts
    scored: Sequence[Scored] = ()

    def kept(self) -> tuple[list[Row], Sequence[Scored], bytes, Texts]:
        """Rows, scores, numbers and texts of who still waits for an answer."""
        if not any(row.handed for row in self.rows):
            return self.rows, self.scored, self.numbers, self.texts
        both = [(row, one) for row, one in zip(self.rows, self.scored, strict=True) if not row.handed]
        rows = [row for row, _ in both]
        _, numbers, texts = columns_of(self.lane, rows)
        return rows, [one for _, one in both], numbers, texts


class Behind:
    """What waits for the slow models of one worker. ``rows`` are in hand; ``lane`` is how those that stand here were read."""

    def __init__(self, batch_rows: int, deadline_seconds: float, post: Post, wake: Again, meter: Meter) -> None:
        self.rows = 0
        self.lane: Lane | None = None
        self.returned: deque[Parcel] = deque()
        self._batch_rows = batch_rows
        self._deadline = deadline_seconds
        self._post = post
        self._wake = wake
        self._meter = meter
        self._queues: dict[Replica, list[Row]] = {}
        self._asked: list[Parcel] = []
        self._twins: dict[str, list[Again]] = {}

    def add(self, lane: Lane, replica: Replica, rows: list[Row]) -> None:
        """Let rows wait for a model; those that stand here were read by the same lane."""
        self.lane = lane
        self.rows += len(rows)
        for row in rows:
            if row.given.id is not None:
                self._twins[row.given.id] = []
        self._queues.setdefault(replica, []).extend(rows)
        self._begin(replica)

    def holds(self, id: str) -> bool:
        """Whether a row with this id of a client is here."""
        return id in self._twins

    def after(self, id: str, again: Again) -> bool:
        """Call ``again`` once the row with this id was let go of; False where there is none."""
        waiting = self._twins.get(id)
        if waiting is None:
            return False
        waiting.append(again)
        return True

    def standing(self) -> list[Row]:
        """Take out all rows that no model was asked about yet."""
        queues, self._queues = self._queues, {}
        return [row for queue in queues.values() for row in queue if not row.handed]

    def late(self, now: float) -> None:
        """Answer those whose deadline has passed; what a model still says of them counts for nothing."""
        for rows in (*self._queues.values(), *[parcel.rows for parcel in self._asked]):
            if rows and now - rows[0].arrived > self._deadline:
                self._refuse([row for row in rows if not row.handed and now - row.arrived > self._deadline], now)

    def let_go(self, rows: Sequence[Row]) -> list[Again]:
        """Rows are no longer here; gives what is to be called when they were answered."""
        self.rows -= len(rows)
        ids = [row.given.id for row in rows if row.given.id is not None]
        return [again for id in ids for again in self._twins.pop(id, ())]

    def _refuse(self, rows: list[Row], now: float) -> None:
        waiting = self.let_go(rows)
        for row in rows:
            answer = error_answer(too_late(row.arrived, now))
            self._meter.answered("decisions", answer.status)
            row.handed = True
            row.reply(answer)
        for again in waiting:
            again()

    def _begin(self, replica: Replica) -> None:
        """Start the next batch of a model, unless it is busy: then as soon as it is not."""
        if replica.busy_since:
            replica.when_free(self, partial(self._begin, replica))
            return
        if replica.closed:
            return  # another one is wanted: the next turn takes what stands here
        queue = [row for row in self._queues.pop(replica, ()) if not row.handed]
        lane = self.lane
        if not queue or lane is None:
            return
        batch, rest = queue[: self._batch_rows], queue[self._batch_rows :]
        block, numbers, texts = columns_of(lane, batch)
        parcel = Parcel(lane, batch, numbers, texts)
        self._asked.append(parcel)
        self._meter.batches.add(len(batch))
        columns = _in_order(lane, block, numbers, len(batch)) if replica.foreign else block
        replica.submit(lambda: replica.score_columns(columns, len(batch)), partial(self._came_back, parcel), self._post)
        if rest:
            self._queues[replica] = rest
            self._begin(replica)

    def _came_back(self, parcel: Parcel, scored: list[Scored]) -> None:
        parcel.scored = scored
        self._asked.remove(parcel)
        self.returned.append(parcel)
        self._wake()


def _in_order(lane: Lane, block: Block, numbers: bytes, rows: int) -> Columns:
    """Columns as somebody's code may expect them: in the contract's order, each in one piece, free to be written to."""
    matrix = np.frombuffer(bytearray(numbers), dtype=np.float64).reshape(len(lane.names), rows)
    numeric = dict(zip(lane.names, matrix, strict=True))
    return {
        field.name: numeric[field.name] if field.name in numeric else block[field.name]
        for field in lane.terms.contract.fields
    }
