"""The quick way for requests that need nothing special: one turn's rows as columns, from the body to the log.

A request for a decision goes this way when its body fits the contract of the live release at the first look and its id
was not seen before. Everything else, whatever is wrong with it or rare about it, takes the general way
(`andon.deploy.desk`), which knows every case and every sentence. Both ways decide the same, write the same and tell the
same (``tests/deploy/test_express.py`` sends the same requests through both).

A quick model answers in the turn in which the request came. For a slow one, somebody's code or one that is elsewhere the
rows wait in columns (`andon.deploy.express_behind`), and are settled in the turn in which it has answered, if the same
route is in force. Where something fails in the middle, before anything was written, the rows are handed to the general
way; so they are where a fault of ours ends the turn, and those that may be written down already are answered with 500.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import msgspec

from andon.core.record import Level
from andon.deploy.desk import Desk
from andon.deploy.express_batch import Batch
from andon.deploy.express_behind import Again, Behind, Parcel
from andon.deploy.express_rows import Lane, Row, Texts, columns_of
from andon.deploy.idempotency import owner_of
from andon.deploy.protocol_message import Reply, error_answer
from andon.deploy.replica import Replica
from andon.deploy.settings import GatewayConfig
from andon.errors import AndonError
from andon.model.columns import Block
from andon.store.codec import encode_columns
from andon.store.wal import FrameKind, parse_server_id

__all__ = ["Express"]

_MAY: frozenset[Level] = frozenset({"partial", "full"})
_FAULT = error_answer(AndonError("the gateway failed on this request; the fault is ours"))


class Express:
    """The quick way of one desk. ``general`` takes a body the other way, with what it was drawn by."""

    def __init__(self, config: GatewayConfig, desk: Desk, general: Callable[[bytes, Reply, str], None]) -> None:
        self._config = config
        self._desk = desk
        self._parts = desk.parts
        self._placer = desk.placer
        self._meter = desk.meter
        self._general = general
        self._rows: list[Row] = []
        self._ids = desk.quick_ids
        self._kept: set[bytes] = set()
        self._lane: Lane | None = None
        self._mark: object = None
        self._generation = -1
        self._nonce = 0
        self._writing = False
        self._monotonic = desk.parts.clock.monotonic
        self._behind = Behind(config.batch_rows, config.deadline_seconds, desk.parts.post, desk.parts.wake, desk.meter)
        self._plain = config.durability == "flush" and config.unit_column is None

    def __len__(self) -> int:
        return len(self._rows) + self._behind.rows

    @property
    def behind(self) -> int:
        """How many rows wait for a slow model."""
        return self._behind.rows

    def after(self, id: str, again: Again) -> bool:
        """Call ``again`` once the row with this id of a client is answered; False where none waits for a slow model."""
        return self._behind.after(id, again)

    def late(self, now: float) -> None:
        """Answer those whose deadline has passed."""
        self._behind.late(now)

    def take(self, body: bytes, reply: Reply) -> bool:
        """Take a request whose answer comes at the end of this turn; False when it must go the general way."""
        # Once a turn is enough: should another route come before it ends, ``run`` hands all rows over.
        lane = self._lane if self._rows or self._fresh() else self._look()
        if lane is None or len(self._rows) + self._behind.rows >= self._config.queue:
            return False
        try:
            given: Any = lane.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        values = msgspec.structs.astuple(given.x)
        if lane.texts and not all(values[i] is None or values[i].isascii() for i in lane.texts):
            return False
        if given.id is not None and not self._is_new(given.id):
            return False
        self._rows.append(Row(reply, body, given, values, self._monotonic()))
        if len(self._rows) == 1:
            self._parts.wake()
        return True

    def run(self) -> None:
        """Decide, write and answer what was taken."""
        if self._behind.rows:
            self._settle_behind()  # before the new ones are taken in hand: a fault there leaves them to the next turn
        rows, self._rows = self._rows, []
        if not rows:
            return
        self._ids.clear()
        lane = self._lane
        if lane is None or not self._fresh():
            self._hand_over(rows)  # another route is in force than the one they were read for
            return
        limit, at = self._config.batch_rows, 0
        try:
            while at < len(rows):
                self._writing = False
                self._decide(lane, self._assigned(lane, rows[at : at + limit]))
                at += limit
        finally:
            if at < len(
                rows
            ):  # a fault that nobody foresaw: it goes on to the log, and nobody is left without an answer
                self._rescue(rows[at:], limit)

    def _settle_behind(self) -> None:
        """Decide, write and answer what slow models said since; what was read for another route goes the general way."""
        behind, fresh = self._behind, self._fresh()
        if not fresh or behind.lane is not self._lane:
            standing = behind.standing()
            self._let_go(standing, partial(self._hand_over, standing))
        while behind.returned:
            parcel = behind.returned.popleft()
            rows = [row for row in parcel.rows if not row.handed]
            as_read = fresh and parcel.lane is self._lane
            self._let_go(rows, partial(self._settle, parcel) if as_read else partial(self._hand_over, rows))

    def _let_go(self, rows: list[Row], settle: Callable[[], None]) -> None:
        """Settle rows that were behind, whatever happens; then it is the turn of who waited for one of them."""
        waiting = self._behind.let_go(rows)
        self._writing = settled = False
        try:
            settle()
            settled = True
        finally:
            if not settled:
                self._rescue(rows, len(rows))
            for again in waiting:
                again()

    def _settle(self, parcel: Parcel) -> None:
        rows, scored, numbers, texts = parcel.kept()
        if not rows:
            return
        errors = [one.error for one in scored]
        failed = len(errors) - errors.count(None)
        self._meter.model_errors += failed
        batch = Batch(parcel.lane, rows, [one.scores for one in scored], errors if failed else ())
        self._settled(parcel.lane, batch, numbers, texts)

    def _rescue(self, rows: list[Row], limit: int) -> None:
        """Answer for the batch that a fault ended, and let the batches behind it go the general way."""
        begun = limit if self._writing else 0
        self._fail([row for row in rows[:begun] if not row.handed])
        self._hand_over([row for row in rows[begun:] if not row.handed])
        self._parts.wake()  # the fault ends this turn before the general way had its own

    def _fail(self, rows: list[Row]) -> None:
        self._meter.answered("decisions", _FAULT.status, len(rows))
        for row in rows:
            row.handed = True
            row.reply(_FAULT)  # one that was given stands

    def _fresh(self) -> bool:
        return self._mark is self._placer.mark and self._generation == self._parts.replicas.generation

    def _look(self) -> Lane | None:
        """See what the route in force allows; asked again whenever a route or a model changes."""
        self._mark, self._generation = self._placer.mark, self._parts.replicas.generation
        self._lane = None
        route, replicas = self._placer.route, self._parts.replicas
        names = [name for name in (route.live, route.candidate if route.share > 0 else None) if name]
        if not self._plain or route.live is None or route.stopped or not _MAY.issuperset(route.levels.values()):
            return None
        found = {name: replicas.get(name) for name in names}
        ready = {name: one for name, one in found.items() if one is not None}
        if len(ready) < len(found):
            return None
        terms = {id(one): one for one in (self._placer.terms_for(name, ready[name]) for name in ready)}
        if len(terms) > 1:
            return None  # two contracts: the general way reads each by its own
        lane = Lane(next(iter(terms.values())), ready, self._parts.recorder.redactor)
        if any(field.kind == "image" for field in lane.terms.contract.fields):
            return None
        self._lane = lane
        return lane

    def _is_new(self, id: str) -> bool:
        """Whether an id is ours to decide now, for the first time."""
        memory = self._parts.memory
        if not id.isprintable() or (id.count("-") == 2 and parse_server_id(id) is not None):
            return False
        if memory.workers > 1 and owner_of(id, memory.workers) != memory.index:
            return False
        if id in self._ids or self._behind.holds(id):
            return False
        if memory.seen.holds(id) or self._desk.busy(id):
            return False
        self._ids.add(id)
        return True

    def _assigned(self, lane: Lane, rows: list[Row]) -> dict[str, list[Row]]:
        """Give every row its version, level and slice; the groups by version. What is for slow models is put behind."""
        route, groups = lane.terms.route, dict[str, list[Row]]()
        general: list[Row] = []
        slow: dict[str, list[Row]] = {
            name: []
            for name, replica in lane.replicas.items()
            if replica.busy_since or replica.slow(self._config.slow_seconds)
        }
        # Nobody waits for these any more; the general way has a sentence for that.
        now, patience = self._monotonic(), self._config.deadline_seconds
        stuck = {name for name in slow if lane.replicas[name].hangs(now, patience)}
        for row in rows:
            given = row.given
            if given.unit is None and given.id is None:
                self._nonce += 1
                row.nonce = f"{self._parts.recorder.wal.stream}:x{self._nonce}"
            row.assigned = route.assign(given.unit, given.id or row.nonce)
            version = row.assigned.version
            if version is None or version in stuck:
                general.append(row)
                continue
            row.level, row.slice = route.level(row.values)
            (slow[version] if version in slow else groups.setdefault(version, [])).append(row)
        if general:
            self._hand_over(general)
        for version, group in slow.items():
            if group:
                self._behind.add(lane, lane.replicas[version], group)
        return groups

    def _hand_over(self, rows: list[Row]) -> None:
        for at, row in enumerate(rows):
            row.handed, taken = True, False
            try:
                self._general(row.body, row.reply, row.nonce)
                taken = True
            finally:
                if not taken:
                    self._fail(rows[at:])

    def _decide(self, lane: Lane, groups: dict[str, list[Row]]) -> None:
        """One batch: ask every version about its rows, decide, write one frame, answer."""
        rows = list(chain.from_iterable(groups.values()))
        if not rows:
            return
        columns, numbers, texts = columns_of(lane, rows)
        answered: list[Row] = []
        scores: list[list[float]] = []
        at = 0
        for version, group in groups.items():
            found = self._ask(lane.replicas[version], columns.part(at, at + len(group)), len(group))
            at += len(group)
            if found is None:
                self._hand_over(group)  # the general way finds the guilty row by halves
            else:
                answered += group
                scores += found
        if len(answered) < len(rows):
            if not answered:
                return
            rows = answered
            _, numbers, texts = columns_of(lane, rows)
        self._settled(lane, Batch(lane, rows, scores), numbers, texts)

    def _settled(self, lane: Lane, batch: Batch, numbers: bytes, texts: Texts) -> None:
        """Write and answer; what the log does not take is refused, or goes where it may be shed."""
        try:
            self._write(lane, batch, numbers, texts)
        except AndonError as error:
            if self._parts.shed is None:
                batch.refuse(error, self._meter)
            else:
                self._hand_over(batch.rows)  # it knows how to answer what the log cannot take

    def _ask(self, replica: Replica, columns: Block, rows: int) -> list[list[float]] | None:
        """What a model says about so many rows; None where it failed."""
        try:
            scores = replica.ask(columns, self._config.slow_seconds)
        except AndonError:
            return None
        if scores.shape != (rows, len(replica.classes)):
            return None
        self._meter.batches.add(rows)
        found: list[list[float]] = scores.tolist()
        return found

    def _write(self, lane: Lane, batch: Batch, numbers: bytes, texts: Texts) -> None:
        parts, wal = self._parts, self._parts.recorder.wal
        monotonic, time_us = parts.clock.monotonic(), parts.clock.now()
        if lane.terms.hash8 not in self._kept:
            parts.keep_contract(lane.terms)
            self._kept.add(lane.terms.hash8)
        batch.name(wal.stream, wal.generation, wal.next_sequence)
        columns = batch.columns(
            time_us, parts.clock.wall(), monotonic, parts.recorder.hash_unit, hidden=bool(parts.recorder.redactor)
        )
        if lane.redaction is not None:
            numbers, texts = lane.redaction.apply(len(batch.rows), numbers, texts)
        payload = encode_columns(len(batch.rows), numbers, texts, columns)
        self._writing = True
        frame = parts.recorder.append(
            FrameKind.DECISION, payload, len(batch.rows), time_us, lane.terms.route.epoch, lane.terms.hash8
        )
        self._meter.log_bytes += frame.end - frame.offset
        parts.memory.wrote_ids(frame, [row.given.id for row in batch.rows], monotonic)
        if parts.sink is not None and self._placer.route.shadows:
            parts.sink.offer(frame)
        batch.answer(self._meter)
