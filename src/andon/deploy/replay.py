"""Decisions of the log, put again to a release, and compared row by row with what was answered then.

What a model said is compared: its label and its scores. Rows that no model decided, or whose inputs the log does not hold
as they came, cannot be replayed, and are counted by reason. Nothing is written but the file of rows that differ: the log,
the inbox and the journal stay as they are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from andon.core.clock import DAY
from andon.core.record import Field
from andon.deploy.batcher import score
from andon.errors import ContractError, NotEnoughEvidence, Unavailable, UsageError

if TYPE_CHECKING:
    from andon.data.contract import Contract
    from andon.deploy.batch_model import Answering
    from andon.deploy.settings import GatewayConfig
    from andon.store.workspace import Workspace

__all__ = ["Ask", "Asked", "Replayed", "Said", "Wish", "asks_bundle", "replay"]

#: Rows put to the model at once.
ROWS = 512
#: Scores that differ by no more than this are the same: the order of sums in a batch is not.
TOLERANCE = 1e-6


class Wish(msgspec.Struct, frozen=True):
    """Which decisions: event time in [``since_us``, ``until_us``), a slice as a condition on inputs, the version that answered.

    ``most`` is how many at most, the oldest first; ``out`` is where differing rows go (CSV), ``tolerance`` of scores.
    """

    since_us: int | None = None
    until_us: int | None = None
    slice: str | None = None
    version: str | None = None
    most: int | None = None
    out: Path | None = None
    tolerance: float = TOLERANCE


class Asked(msgspec.Struct, frozen=True):
    """One decision as it is put again: its inputs by name, and what the model said then."""

    id: str
    x: dict[str, Any]
    decision: str
    confidence: float | None
    scores: tuple[float, ...] | None
    version: str | None


class Said(msgspec.Struct, frozen=True):
    """What is said now; ``why`` says why nothing is."""

    decision: str | None = None
    confidence: float | None = None
    scores: tuple[float, ...] | None = None
    why: str = ""


#: Puts rows to a release, in order; one answer for each.
Ask = Callable[[Sequence[Asked]], Sequence[Said]]


class Replayed(msgspec.Struct):
    """The counts: ``read`` = ``equal`` + ``different`` + the sum of ``not_replayable`` (by reason)."""

    release: str
    read: int = 0
    equal: int = 0
    different: int = 0
    not_replayable: dict[str, int] = {}
    other_decision: int = 0
    """Of those that differ, how many were decided otherwise; the others differ in their scores alone."""
    largest_difference: float = 0.0
    """The largest difference of a score, over all rows that were compared."""
    out: str | None = None

    @property
    def compared(self) -> int:
        """How many rows were put again."""
        return self.equal + self.different


Told = Callable[[Replayed, float], None]


def asks_bundle(model: Answering) -> Ask:
    """Puts rows to a sealed bundle, in this process."""
    from andon.model.predictor import user_code

    contract, classes = model.served.contract, model.served.classes
    validate = contract.validator()

    def predict(columns: Mapping[str, Any]) -> Any:
        with user_code("predict", model.served.path / "model.py"):
            return model.served.predict(columns)

    def ask(rows: Sequence[Asked]) -> list[Said]:
        said: list[Said] = [Said(why="its inputs do not fit the release's contract")] * len(rows)
        fitting, values = [], []
        for at, row in enumerate(rows):
            try:
                values.append(validate(_for(contract, row.x)))
            except ContractError:
                continue
            fitting.append(at)
        for at, found in zip(fitting, score(predict, contract.fields, classes, values), strict=True):
            why = "the model failed on it" if found.label is None else ""
            said[at] = Said(found.label, found.confidence, found.scores, why)
        return said

    return ask


def _for(contract: Contract, x: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: x[field.name] for field in contract.fields if x.get(field.name) is not None}


def replay(
    workspace: Workspace, config: GatewayConfig, wish: Wish, release: str, ask: Ask, told: Told | None = None
) -> Replayed:
    """Put decisions again and compare. Raises ``NotEnoughEvidence`` where there is none, ``UsageError`` for a slice or a span
    that makes no sense, ``Unavailable`` where the file cannot be written.
    """
    if wish.since_us is not None and wish.until_us is not None and wish.since_us >= wish.until_us:
        raise UsageError("a replay: the span ends before it begins; give --until a later time than --since")
    run = _Run(config, wish, Replayed(release), ask)
    spans = list(_days(workspace, wish))
    if not spans:
        raise NotEnoughEvidence("no decision was made in that span; nothing to replay")
    with run:
        for done, (since_us, until_us) in enumerate(spans, 1):
            for rows, fields in _rows(workspace, wish, since_us, until_us):
                run.take(rows, fields)
                if told is not None:
                    told(run.found, (done - 1) / len(spans))
            if run.full:
                break
    if told is not None:
        told(run.found, 1.0)
    if not run.found.read:
        raise NotEnoughEvidence("no decision fits what was asked for; nothing to replay")
    return run.found


def _days(workspace: Workspace, wish: Wish) -> Iterator[tuple[int, int]]:
    """The span by days, so that one day is in memory at a time; days without a decision are left out."""
    from andon.store import view

    times = view.decisions(workspace, wish.since_us, wish.until_us, ["time_us"])["time_us"]
    for day in (times // DAY).unique().sort():
        begin, end = day * DAY, (day + 1) * DAY
        yield max(begin, wish.since_us or begin), min(end, wish.until_us or end)


def _rows(
    workspace: Workspace, wish: Wish, since_us: int, until_us: int
) -> Iterator[tuple[list[dict[str, Any]], tuple[Field, ...]]]:
    """The decisions of a span that are wished for, in the order of time, by contract and in parts."""
    from andon.measure.slice import parse_slice
    from andon.store import view

    frame = view.decisions(workspace, since_us, until_us)
    if wish.version is not None:
        frame = frame.filter(pl.col("version") == wish.version)
    if wish.slice is not None:
        frame = frame.filter(parse_slice(wish.slice, frame.columns).mask(frame))
    for (contract,), part in frame.group_by("contract", maintain_order=True):
        fields = workspace.load_contract(str(contract))[0]
        for at in range(0, part.height, ROWS):
            yield part.slice(at, ROWS).to_dicts(), fields


class _Run:
    """The counting; a context in which the file of rows that differ is open, and whole or gone in the end."""

    def __init__(self, config: GatewayConfig, wish: Wish, found: Replayed, ask: Ask) -> None:
        self.found = found
        self._wish = wish
        self._ask = ask
        self._redacted = frozenset(config.redact)
        self._differing: list[dict[str, Any]] = []

    @property
    def full(self) -> bool:
        """Whether as many rows were read as were wished for."""
        return self._wish.most is not None and self.found.read >= self._wish.most

    def __enter__(self) -> _Run:
        if self._wish.out is not None and not self._wish.out.parent.is_dir():
            raise UsageError(f"{self._wish.out}: its folder is not there; make it first")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None or self._wish.out is None:
            return
        out = self._wish.out
        aside = out.with_name(f".{out.name}.{os.getpid()}")
        try:
            pl.DataFrame(self._differing, schema=_DIFFERING).write_csv(aside)
            aside.replace(out)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise Unavailable(f"{out} could not be written: {error.strerror}; look at its disk") from error
        self.found.out = str(out)

    def take(self, rows: Sequence[dict[str, Any]], fields: Sequence[Field]) -> None:
        """Put some rows of one contract again."""
        if self._wish.most is not None:
            rows = rows[: self._wish.most - self.found.read]
        asked = []
        for row in rows:
            self.found.read += 1
            why = _why_not(row, fields, self._redacted)
            if why:
                self._leave(why)
            else:
                asked.append(_asked(row, fields))
        for one, said in zip(asked, self._ask(asked) if asked else (), strict=True):
            if said.why:
                self._leave(said.why)
            else:
                self._compare(one, said)

    def _leave(self, why: str) -> None:
        self.found.not_replayable[why] = self.found.not_replayable.get(why, 0) + 1

    def _compare(self, asked: Asked, said: Said) -> None:
        apart = _apart(asked, said)
        self.found.largest_difference = max(self.found.largest_difference, apart)
        if asked.decision == said.decision and apart <= self._wish.tolerance:
            self.found.equal += 1
            return
        self.found.different += 1
        self.found.other_decision += asked.decision != said.decision
        if self._wish.out is not None:
            self._differing.append(
                {
                    "id": asked.id,
                    "version": asked.version,
                    "decision_then": asked.decision,
                    "decision_now": said.decision,
                    "confidence_then": asked.confidence,
                    "confidence_now": said.confidence,
                    "largest_difference": apart,
                }
            )


_DIFFERING = {
    "id": pl.String(),
    "version": pl.String(),
    "decision_then": pl.String(),
    "decision_now": pl.String(),
    "confidence_then": pl.Float64(),
    "confidence_now": pl.Float64(),
    "largest_difference": pl.Float64(),
}
_WHO = {
    "person": "a person decided it",
    "client": "it was decided elsewhere",
    "safe_default": "the safe default answered",
}


def _why_not(row: Mapping[str, Any], fields: Sequence[Field], redacted: frozenset[str]) -> str:
    """Why a decision cannot be put again; empty where it can."""
    if row["status"] == "pending":
        return "a person has not decided it yet"
    if row["decided_by"] != "model":
        return _WHO.get(row["decided_by"], "no model decided it")
    hidden = sorted(field.name for field in fields if field.name in redacted)
    if hidden:
        return f"redacted inputs: {', '.join(hidden)}"
    missing = sorted(field.name for field in fields if not field.optional and row[field.name] is None)
    if missing:
        return f"inputs that the log does not hold: {', '.join(missing)}"
    return ""


def _asked(row: Mapping[str, Any], fields: Sequence[Field]) -> Asked:
    scores = row["scores"]
    x = {field.name: row[field.name] for field in fields}
    kept = None if scores is None else tuple(scores)
    return Asked(row["id"], x, row["decision"], row["confidence"], kept, row["version"])


def _apart(asked: Asked, said: Said) -> float:
    """The largest difference of a score; of the confidence where scores are not told; infinite where their number differs."""
    if asked.scores is not None and said.scores is not None:
        if len(asked.scores) != len(said.scores):
            return math.inf
        return max((abs(one - other) for one, other in zip(asked.scores, said.scores, strict=True)), default=0.0)
    if asked.confidence is None or said.confidence is None:
        return 0.0 if asked.confidence is said.confidence else math.inf
    return abs(asked.confidence - said.confidence)
