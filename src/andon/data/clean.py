"""The user's ``clean``: run once over a dataset, recorded as a step, with the rows it dropped.

The same function runs on every request in production, so a dataset keeps the rows as they came and its contract describes
what clients send; what ``clean`` makes of them is a child version. Every row gets a number in the column ``_row``: a row
that comes back keeps it, a merged row keeps one of them, and the numbers that do not come back were dropped.

>>> cleaned = run_clean(pl.DataFrame({"n": [1, -1], "y": ["a", "b"]}), lambda raw: raw.filter(pl.col("n") > 0))
>>> cleaned.frame.rows(), cleaned.dropped.rows(), cleaned.step.rows_out
([(1, 'a')], [(2, 'dropped by clean')], 1)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from andon.data.conform import REJECTS_SCHEMA
from andon.data.contract import Contract
from andon.data.dataset import Dataset, Draft, Step, find, freeze, load
from andon.errors import UserCodeError
from andon.store.workspace import Workspace

__all__ = ["Cleaned", "clean_dataset", "run_clean"]

_ROW = "_row"


@dataclass(frozen=True)
class Cleaned:
    """The cleaned rows, the numbers (from 1) of those dropped with the reason, and the step for the record."""

    frame: pl.DataFrame
    dropped: pl.DataFrame
    step: Step


def run_clean(frame: pl.DataFrame, clean: Callable[[pl.DataFrame], Any], code: str = "") -> Cleaned:
    """Run ``clean`` on a copy that also has the column ``_row``; ``code`` is the hash of the project's code.

    A ``clean`` that does not give ``_row`` back works too: then rows are only counted. Raises ``UserCodeError`` when it
    gives no frame; what it raises itself goes through (callers guard it with ``andon.model.predictor.user_code``).
    """
    numbered = frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(_ROW))
    found = clean(numbered)
    if not isinstance(found, pl.DataFrame):
        raise UserCodeError(
            f"clean() in model.py: expected it to return a polars DataFrame, found {type(found).__name__}"
        )
    dropped = pl.DataFrame(schema=REJECTS_SCHEMA)
    if _ROW in found.columns:
        gone = numbered.filter(~pl.col(_ROW).is_in(found[_ROW].to_list()))[_ROW]
        dropped = pl.DataFrame({"row": gone, "reason": ["dropped by clean"] * gone.len()}, schema=REJECTS_SCHEMA)
        found = found.sort(_ROW, maintain_order=True).drop(_ROW)
    return Cleaned(found, dropped, Step("clean", frame.height, found.height, code=code))


def clean_dataset(
    workspace: Workspace,
    ref: str,
    clean: Callable[[pl.DataFrame], Any],
    *,
    name: str,
    code: str = "",
    actor: str = "",
    note: str = "",
) -> Dataset:
    """Clean a dataset into a child version called ``name``; the cleaned rows must still fit the contract.

    Raises ``UserCodeError`` when ``clean`` breaks the contract for a row, and as ``run_clean`` does.
    """
    parent = find(workspace, ref)
    cleaned = run_clean(load(workspace, parent.version), clean, code)
    contract = _relaxed(parent.contract, cleaned.frame)
    checked = contract.check_frame(cleaned.frame)
    if checked.rejects.height:
        raise UserCodeError(f"clean() in model.py made a row that breaks the contract: {checked.rejects['reason'][0]}")
    step = msgspec.structs.replace(cleaned.step, before=parent.content)
    draft = Draft(name, contract, parent.origin, (*parent.steps, step), parent.version, actor, note)
    return freeze(workspace, checked.frame, draft, cleaned.dropped)


def _relaxed(contract: Contract, frame: pl.DataFrame) -> Contract:
    """Inputs that ``clean`` took away are no longer in the child's contract."""
    return Contract(tuple(f for f in contract.fields if f.name in frame.columns), contract.target, contract.classes)
