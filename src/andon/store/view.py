"""Derived reads: what was decided, what came of it, what shadows said, and the whole life of one decision.

Every view is computed from the decision log and the tail of the write-ahead log, when it is asked for; none is stored.
Tables come as polars frames with the system columns first and each input under its own name (under ``x_`` and its name
where that is a system column's). Times are half-open: ``since_us`` <= time < ``until_us``, of the decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from andon.core.clock import DAY
from andon.core.columns import LATER, PAIR, RECORD, RESERVED, REVIEW
from andon.core.record import Field
from andon.errors import NotFound, Unavailable
from andon.store import outcome
from andon.store.outcome import Truth
from andon.store.shape import SYSTEM, day_of, stored_names
from andon.store.snapshot import Snapshot

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = [
    "Mark",
    "Seen",
    "Truth",
    "decisions",
    "find",
    "labelled",
    "losses",
    "outcomes",
    "recorded",
    "reviewed",
    "shadow_pairs",
    "times_of",
]

_BEFORE_US = 30 * DAY
"""How long before its review a decision may have been made."""

_DECISION = tuple(name for name in SYSTEM if name != "day")
_TAKEN = RESERVED - {"x", "kind"}


def decisions(
    workspace: Workspace,
    since_us: int | None = None,
    until_us: int | None = None,
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Every decision as it now stands: a pending one that was reviewed is decided, by whom ``decided_by`` says.

    The columns of ``andon.core.record.Decision`` (``tags`` as JSON text) and ``contract``, then ``reviewer``,
    ``decided_us``, ``seconds``, ``saw_suggestion`` and ``simulated`` of the review, then the inputs. Rows come in the order of time.
    ``columns`` names those wanted; unknown ones raise polars' ``ColumnNotFoundError``.
    """
    seen = Seen(workspace, since_us, until_us)
    found = seen.final().sort("time_us", "stream", "sequence")
    return found.select(columns or (*_DECISION, "contract", *REVIEW, *seen.inputs)).collect()


def outcomes(
    workspace: Workspace,
    since_us: int | None = None,
    until_us: int | None = None,
    *,
    truth: Truth = "external",
    columns: Sequence[str] = (),
) -> pl.DataFrame:
    """The record frame of what was decided live, joined with what happened later.

    ``prediction`` is the final decision. ``label`` is the value of the latest ``label`` feedback (by its own time); with
    truth "human" and no such feedback it is what a person decided blindly, in the audit or instead of the model, or where
    two people differed there what was adjudicated. An audited automatic decision then stands for 1 / ``audit`` of its kind: that is its ``weight``. ``human`` is a decision
    made elsewhere or in the audit. ``feedback`` lists the kinds of feedback that came, ``label_us`` when the label did.
    ``columns`` are those wanted beside the inputs (all if not given); a few of many cases are read in a quarter of the time.
    """
    seen, wanted = Seen(workspace, since_us, until_us), tuple(columns) or (*RECORD, *LATER)
    rows = seen.final().join(seen.labels(), on="id", how="left")
    if truth == "human" or not {"human", "weight"}.isdisjoint(wanted):
        rows = rows.join(seen.audits(), on="id", how="left").join(seen.adjudications(), on="id", how="left")
    else:
        nothing = (pl.lit(None, dtype=pl.String).alias(name) for name in (":audited", ":adjudicated"))
        rows = rows.with_columns(*nothing)
    if "feedback" in wanted:
        rows = rows.join(seen.feedback_kinds(), on="id", how="left")
    asked = outcome.said_blindly() if truth == "human" else pl.lit(None, dtype=pl.String)
    sampled = pl.col("label").is_null() & asked.is_not_null() & (pl.col("audit") > 0)
    rows = rows.with_columns(
        prediction="decision",
        label=pl.coalesce("label", asked),
        human=pl.coalesce("human", ":audited"),
        weight=pl.when(sampled).then(1 / pl.col("audit")).otherwise(1.0),
    )
    return rows.sort("time_us", "stream", "sequence").select(*wanted, *seen.inputs).collect()


def reviewed(workspace: Workspace, reviewer: str | None, since_us: int) -> pl.DataFrame:
    """What one person (None: each) answered since then, with what became known: one row for each answer, in the order of time.

    ``reviewer``, ``id``, ``kind``, ``decision``, ``time_us``, ``seconds``, ``saw_suggestion``, ``simulated``; ``label``, the latest label
    feedback; ``model``, what the line's release said: the automatic decision of an audit, else the suggestion.
    """
    seen = Seen(workspace, since_us - _BEFORE_US, None)
    theirs = (pl.col("decided_by") == "person") & (pl.col("time_us") >= since_us)
    theirs = theirs if reviewer is None else theirs & (pl.col("reviewer") == reviewer)
    came = seen.snapshot.table("reviews").filter(pl.col("day") >= day_of(since_us), theirs).sort("sequence")
    first = came.unique(("id", "kind"), keep="first", maintain_order=True).drop(
        "day", "stream", "sequence", "decided_by"
    )
    automatic = pl.when(pl.col("decided_by") == "model").then("decision")
    said = seen.raw().select("id", model=pl.coalesce("suggestion", automatic)).unique("id")
    rows = first.join(seen.labels().select("id", "label"), on="id", how="left").join(said, on="id", how="left")
    return rows.sort("time_us", "id", "kind").collect()


def recorded(fields: Sequence[Field], rows: pl.DataFrame) -> pl.DataFrame:
    """The record frame of decisions as they were written, from rows of their table: nothing of what happened later."""
    names = {stored: _shown(name) for name, stored in stored_names(fields).items()}
    return rows.rename(names).with_columns(prediction="decision", weight=pl.lit(1.0))


def labelled(
    workspace: Workspace, since_us: int | None = None, until_us: int | None = None, *, truth: Truth = "external"
) -> pl.DataFrame:
    """What can be learnt from: ``id``, ``time_us``, ``label``, ``weight`` and the inputs of decisions with a label."""
    found = outcomes(workspace, since_us, until_us, truth=truth)
    extra = [name for name in (*RECORD, *LATER) if name not in ("id", "time_us", "label", "weight")]
    return found.filter(pl.col("label").is_not_null()).drop(extra)


def shadow_pairs(
    workspace: Workspace, version: str, since_us: int | None = None, until_us: int | None = None
) -> pl.DataFrame:
    """What a release said in the shadow, beside what was decided: a record frame with one row for each case.

    ``prediction``, ``confidence``, ``scores`` and ``error`` are the shadow's; ``decision``, ``decided_by`` and
    ``suggestion`` are of the line, ``live`` is the release that it asked (or null). ``human`` is what a person decided
    without seeing a suggestion: elsewhere, in the audit, or here. ``label`` is the latest label feedback.
    """
    seen = Seen(workspace, since_us, until_us)
    theirs = ("confidence", "scores", "error", "version")
    rows = seen.final().rename({"version": "live"}).drop("confidence", "scores", "error")
    said = seen.shadow(version).select("id", *theirs, prediction="label").collect()
    # Where it never ran in the shadow, no decision is read for that.
    rows = rows.filter(pl.lit(bool(said.height)))
    rows = rows.join(said.lazy(), on="id", how="inner").join(seen.labels(), on="id", how="left")
    own = pl.when((pl.col("decided_by") == "person") & ~pl.col("saw_suggestion")).then(pl.col("decision"))
    rows = rows.join(seen.audits(), on="id", how="left")
    rows = rows.with_columns(human=pl.coalesce("human", ":audited", own), weight=pl.lit(1.0))
    return rows.sort("time_us", "stream", "sequence").select(*PAIR, *seen.inputs).collect()


def times_of(workspace: Workspace, ids: Sequence[str]) -> dict[str, int]:
    """When these decisions were made; ids that are not known are left out."""
    seen = Seen(workspace, None, None)
    wanted = pl.LazyFrame({"id": pl.Series(ids, dtype=pl.String)})
    found = seen.raw().select("id", "time_us").join(wanted, on="id", how="semi").collect()
    return dict(found.iter_rows())


def losses(workspace: Workspace) -> pl.DataFrame:
    """What was lost, counted: ``what``, ``n`` (null: not known), ``time_us``, ``stream``, in the order of time."""
    return (
        Snapshot(workspace).table("losses").select("what", "n", "time_us", "stream").collect().sort("time_us", "stream")
    )


def find(workspace: Workspace, id: str) -> dict[str, Any]:
    """The whole life of one decision, JSON-ready. Raises ``NotFound``.

    ``decision`` as it now stands (with ``x``), ``reviews``, ``feedback`` and ``shadow`` in the order they came, ``item``
    where a person was asked, and ``route``: who put the route in force, when and why, under which it was made.
    """
    seen = Seen(workspace, None, None)
    mine = pl.col("id") == id
    rows = seen.final().filter(mine).sort("time_us").collect().to_dicts()
    if not rows:
        raise NotFound(f"no decision has the id {id!r}; was it made on another line, or deleted after its retention?")
    row = rows[0]
    decision = {name: row[name] for name in (*_DECISION, "contract", *REVIEW)}
    decision["tags"] = msgspec.json.decode(row["tags"])
    decision["x"] = {field.name: row[_shown(field.name)] for field in seen.fields[row["contract"]]}
    parts = {}
    for table in ("reviews", "feedback", "shadow"):
        came = seen.snapshot.table(table).filter(mine).sort("time_us", "stream", "sequence")
        parts[table] = came.drop("day", "id").collect().to_dicts()
    return {"decision": decision, **parts, "item": _item(workspace, id), "route": _route(workspace, row["epoch"])}


def _item(workspace: Workspace, id: str) -> dict[str, Any] | None:
    try:
        item = workspace.items.get(id)
    except Unavailable:
        return None
    if item is None:
        return None
    body: dict[str, Any] = msgspec.to_builtins(item)
    return {name: value for name, value in body.items() if name not in ("id", "x", "draft", "skips")}


def _route(workspace: Workspace, epoch: int) -> dict[str, Any] | None:
    try:
        body: dict[str, Any] = msgspec.to_builtins(workspace.routes.at(epoch))
    except NotFound:
        return None
    return body


class Mark(msgspec.Struct, frozen=True):
    """How far somebody has read: the last sequence of each stream, and what shows whether it still holds.

    ``files`` of each table were read whole. ``deletions`` counts for each how often retention deleted days of it;
    ``contracts`` are those under which anything was decided.
    """

    position: dict[str, int]
    files: dict[str, frozenset[str]]
    deletions: dict[str, int]
    contracts: tuple[str, ...]


class Seen:
    """One snapshot and the parts that views are made of; ``inputs`` are the names of all input columns.

    With a ``position`` (the last sequence of each stream) it is the log as it was then; with a mark to read on ``after``
    it has the rows behind that alone.
    """

    def __init__(
        self,
        workspace: Workspace,
        since_us: int | None,
        until_us: int | None,
        position: Mapping[str, int] | None = None,
        after: Mark | None = None,
    ) -> None:
        self.snapshot = Snapshot(workspace, None if after is None else after.files)
        self.as_of, self._after = position, after
        self._since_us, self._until_us = since_us, until_us
        self.fields = {name: workspace.load_contract(name)[0] for name in self.snapshot.contracts()}
        self.inputs: list[str] = []
        for fields in self.fields.values():
            shown = (_shown(field.name) for field in fields)
            self.inputs += [name for name in shown if name not in self.inputs]

    def raw(self) -> pl.LazyFrame:
        """The decisions as they were written."""
        parts = [self._one(contract) for contract in self.fields]
        return (
            pl.concat(parts, how="diagonal_relaxed")
            if parts
            else pl.LazyFrame(schema={**SYSTEM, "contract": pl.String()})
        )

    def _one(self, contract: str) -> pl.LazyFrame:
        names = stored_names(self.fields[contract])
        rows = self.snapshot.decisions(contract).rename({stored: _shown(name) for name, stored in names.items()})
        rows = rows.with_columns(contract=pl.lit(contract))
        if self._since_us is not None:
            rows = rows.filter(pl.col("day") >= day_of(self._since_us), pl.col("time_us") >= self._since_us)
        if self._until_us is not None:
            rows = rows.filter(pl.col("day") <= day_of(self._until_us), pl.col("time_us") < self._until_us)
        return self._then(rows)

    def final(self) -> pl.LazyFrame:
        """The decisions with their reviews laid over them; the first review of an id counts."""
        return outcome.final(self.raw(), self.later("reviews"))

    def labels(self, mine: pl.Expr | None = None) -> pl.LazyFrame:
        """The latest label of each id (``andon.store.outcome.labels``), or of those for which ``mine`` is true."""
        came = self.later("feedback")
        return outcome.labels(came if mine is None else came.filter(mine))

    def feedback_kinds(self) -> pl.LazyFrame:
        """The kinds of feedback that came for each id."""
        return outcome.feedback_kinds(self.later("feedback"))

    def audits(self) -> pl.LazyFrame:
        """What people said who looked at automatic decisions again."""
        return outcome.audits(self.later("reviews"))

    def adjudications(self) -> pl.LazyFrame:
        """What third persons said where two had differed."""
        return outcome.adjudications(self.later("reviews"))

    def shadow(self, version: str) -> pl.LazyFrame:
        """What a release said in the shadow, once for each id."""
        came = self.later("shadow").filter(pl.col("version") == version)
        return came.sort("stream", "sequence").unique("id", keep="first", maintain_order=True)

    def later(self, table: str) -> pl.LazyFrame:
        """What was written on the day of the earliest decision or later: it cannot be about one before it was made."""
        rows = self._then(self.snapshot.table(table))
        return rows if self._since_us is None else rows.filter(pl.col("day") >= day_of(self._since_us))

    def goes_on(self) -> bool:
        """Whether what was read up to the mark is as it was: no day was deleted, and no contract has come."""
        if self._after is None:
            return True
        now = self.snapshot.deletions
        same = all(now.get(table, 0) == n for table, n in self._after.deletions.items())
        return same and tuple(self.fields) == self._after.contracts

    def reached(self) -> dict[str, int]:
        """The last sequence of each stream in what is there since ``since_us``."""
        if self.as_of is not None:
            return dict(sorted(self.as_of.items()))
        parts = [self.raw(), *(self.later(table) for table in ("feedback", "reviews", "shadow"))]
        rows = pl.concat([part.select("stream", "sequence") for part in parts])
        found = rows.group_by("stream").agg(pl.col("sequence").max()).collect()
        before = {} if self._after is None else self._after.position
        return dict(sorted({**before, **dict(found.iter_rows())}.items()))

    def mark(self) -> Mark:
        """How far this is."""
        return Mark(self.reached(), self.snapshot.files(), self.snapshot.deletions, tuple(self.fields))

    def _then(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Those that the log had at the position, behind the mark."""
        if self.as_of is not None:
            rows = rows.filter(pl.col("sequence") <= _last(self.as_of))
        return rows if self._after is None else rows.filter(pl.col("sequence") > _last(self._after.position))


def _last(position: Mapping[str, int]) -> pl.Expr:
    if not position:
        return pl.lit(-1, dtype=pl.Int64)
    return pl.col("stream").replace_strict(dict(position), default=-1, return_dtype=pl.Int64)


def _shown(name: str) -> str:
    """The column of an input in a view: its name, unless that is a system column's."""
    return f"x_{name}" if name in _TAKEN else name
