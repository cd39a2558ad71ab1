"""After a run at full speed: the controller drains its backlog, and the log holds what clients were told, row by row.

Every answer of the run is kept by the load generator. Then the shipped log (Delta, without the tail that still lies in the
write-ahead log) is waited for, and compared: each answer has exactly one row with its id, and decision, version,
confidence and all twenty inputs are those of the answer and of the body that was sent. Requests that were on their way when
the run ended may be in the log without an answer that anybody heard; they are counted.
"""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

import polars as pl

from andon.config import open_project
from andon.store.shape import DECISIONS
from andon.store.workspace import Workspace
from benchmarks.contestants import Running
from benchmarks.load import drive, some_rows, write_script
from benchmarks.project import COLUMNS

__all__ = ["agreement"]

_BAR_SECONDS = 30.0
_SEED = 5


def agreement(ours: Running, folder: Path, *, connections: int, seconds: int) -> list[list[str]]:
    """Load our line, wait for its log, compare; rows of what, found, bar, verdict."""
    run, heard = secrets.token_hex(4), folder / "heard.txt"
    script = write_script(folder, ours.path, wrapped=True, seed=_SEED, hear=True)
    load = drive(ours.url, script, connections, seconds, run=run, heard=heard)
    ended = time.monotonic()
    told, refused = _told(heard)
    assert ours.home is not None
    workspace = open_project(ours.home).workspace
    try:
        logged, took = _shipped(workspace, run, told.height, ended)
    finally:
        workspace.close()
    joined = told.join(logged, on="id", how="inner")
    same = joined.filter(_agrees(joined))
    extra = logged.height - joined.height
    drained = f"{took:.1f} s for {load.requests:,} answers at {load.rps:,.0f}/s"
    inputs = _inputs_differ(logged)
    return [
        _row("the backlog is drained after", drained, f"<= {_BAR_SECONDS:g} s", good=took <= _BAR_SECONDS),
        _row("answers that were no decision", f"{refused + load.failed}", "0", good=refused + load.failed == 0),
        _row(
            "answers without their row, or with another",
            f"{told.height - same.height} of {told.height:,}",
            "0",
            good=same.height == told.height > 0,
        ),
        _row(
            "ids twice in the log",
            f"{logged.height - logged['id'].n_unique()}",
            "0",
            good=logged["id"].is_unique().all(),
        ),
        _row("inputs that differ from the body sent", f"{inputs} of {20 * logged.height:,}", "0", good=inputs == 0),
        _row("rows of requests cut off at the end", f"{extra}", f"<= {connections}", good=0 <= extra <= connections),
    ]


def _row(what: str, found: str, bar: str, *, good: bool) -> list[str]:
    return [what, found, bar, "met" if good else "missed"]


def _told(heard: Path) -> tuple[pl.DataFrame, int]:
    """What clients heard, and how many answers were no decision."""
    rows: list[dict[str, Any]] = []
    refused = 0
    for line in heard.read_text().splitlines():
        status, _, body = line.partition(" ")
        if status == "200":
            rows.append(json.loads(body))
        else:
            refused += 1
    schema = {"id": pl.String, "decision": pl.String, "version": pl.String, "confidence": pl.Float64}
    return pl.DataFrame(rows, schema=schema), refused


def _shipped(workspace: Workspace, run: str, wanted: int, since: float) -> tuple[pl.DataFrame, float]:
    """The run's rows in Delta once they are all there, or after twice the bar; and when that was."""
    columns = ["id", "decision", "version", "confidence", *[f"x_{name}" for name in COLUMNS]]
    while True:
        found = [
            pl.scan_delta(handle).filter(pl.col("id").str.starts_with(f"{run}-")).select(columns).collect()
            for contract in workspace.log.contracts()
            if (handle := workspace.log.open(DECISIONS + contract)) is not None
        ]
        rows = pl.concat(found) if found else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
        took = time.monotonic() - since
        if rows.height >= wanted or took > 2 * _BAR_SECONDS:
            return rows, took
        time.sleep(0.5)


def _agrees(joined: pl.DataFrame) -> pl.Series:
    same = (pl.col("decision") == pl.col("decision_right")) & (pl.col("version") == pl.col("version_right"))
    close = (pl.col("confidence") - pl.col("confidence_right").cast(pl.Float64)).abs() < 1e-6
    return joined.select((same & close).alias("same"))["same"]


def _inputs_differ(logged: pl.DataFrame) -> int:
    """How many inputs in the log are not those of the body with that number."""
    sent = pl.DataFrame(some_rows(2000, _SEED)).rename({name: f"sent_{name}" for name in COLUMNS}).with_row_index("at")
    number = (
        pl.col("id").str.split("-").list.last().cast(pl.UInt32) % 2000
    )  # as the generator counts: from 1, bodies from 1
    both = logged.with_columns(number.alias("at")).join(sent, on="at", how="left")
    wrong = [pl.col(f"x_{name}").ne_missing(pl.col(f"sent_{name}")).sum() for name in COLUMNS]
    return int(both.select(wrong).sum_horizontal().item())
