"""From a trained model to the form in which it is sealed: a compiled graph where it agrees, else an honest fallback.

The order is ONNX (fast, no trust needed), skops (scikit-learn types that were reviewed), Python object (only where a
person said so). A graph is used only if it takes the same decision and differs by at most ``TOLERANCE`` in every score
on every probe (``andon.model.probe``); the reason of a fallback is kept in the bundle and shown with every run.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from andon.core.record import Field, Stays
from andon.errors import UsageError, UserCodeError
from andon.model.adapter import REVIEWED, Layout, ObjectScorer, OnnxScorer, Scores, load_model
from andon.model.bundle import Compiled
from andon.model.columns import NUMERIC, Columns, take
from andon.model.predictor import UserCode, user_code
from andon.model.probe import Probe, Table, probes
from andon.model.remote import Remote, RemoteScorer, seal_remote

__all__ = ["TOLERANCE", "compile_model"]

#: Largest difference of a score between a compiled model and its original.
TOLERANCE = 1e-4

#: Rows that are prepared (``clean``, ``features``) to compare on; of these some hundreds are compared.
ROWS_MAX = 2000

#: What a converter raises when a model is beyond it. ONNX Runtime's own exceptions have no common ancestor but Exception.
_CONVERTER = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError)


def compile_model(
    model: Any,
    columns: Columns,
    fields: Sequence[Field],
    classes: tuple[str, ...],
    code: UserCode,
    *,
    trusted_by: str = "",
    stays: Stays = "anywhere",
) -> Compiled:
    """The form in which ``model`` is sealed, compared with the original on rows of ``columns`` and on probes.

    Raises ``UsageError`` when it can only be stored as a Python object and nobody trusts it (``trusted_by`` is empty),
    and ``UserCodeError`` when the model cannot answer rows of its own training data.
    """
    columns = take(columns, slice(0, ROWS_MAX))
    if isinstance(model, Remote):
        return _as_remote(model, _table(columns, fields, code), classes, stays)
    original = ObjectScorer(model, classes, code.path)
    table, reason = _table(columns, fields, code)
    original.scores(table.original(_head(table)) if table else code.prepare(columns, fields)[0])
    if table is not None and not reason:
        compared = _try_onnx(model, table, classes, original)
        if isinstance(compared, Compiled):
            return compared
        reason = compared
    return _as_object(model, reason, code, trusted_by)


def _as_remote(model: Remote, found: tuple[Table | None, str], classes: tuple[str, ...], stays: Stays) -> Compiled:
    """The address of a model on another server, which has answered some rows of the training data."""
    table, why = found
    if table is None or why:
        raise UsageError(f"the model at {model.url} cannot be asked: {why}")
    payload = seal_remote(model, table.fields, stays)
    scorer = RemoteScorer(payload, classes)
    scorer.scores(table.build(_head(table)))
    scorer.close()
    return Compiled("remote", payload, reason=f"answered by {model.address}")


def _head(table: Table) -> dict[str, Any]:
    return {name: column[:5] for name, column in table.columns.items()}


def _table(columns: Columns, fields: Sequence[Field], code: UserCode) -> tuple[Table | None, str]:
    """The model's input as a table, or why it is none that a graph can take."""
    if not code.prepares:
        images = [field.name for field in fields if field.kind == "image"]
        if images:
            return None, f"{images[0]} is an image and there is no features() to turn it into numbers"
        return Table(tuple(fields), dict(columns), "columns"), ""
    table = Table.of(code.prepare(columns, fields)[0])
    return table, "" if table else "features() returns neither a polars frame nor a numeric matrix"


def _layout(table: Table) -> Layout:
    if table.shape == "matrix":
        return Layout(width=len(table.fields))
    numbers = tuple(field.name for field in table.fields if field.kind in NUMERIC)
    texts = tuple(field.name for field in table.fields if field.kind not in NUMERIC)
    return Layout(numbers, texts)


def _try_onnx(model: Any, table: Table, classes: tuple[str, ...], original: ObjectScorer) -> Compiled | str:
    """A compiled model that agrees, or the reason why there is none."""
    from andon.model.lower import lower

    layout = _layout(table)
    try:
        graph = lower(model, layout, [field.name for field in table.fields], classes)
    except _CONVERTER as error:
        return f"{type(model).__name__} is not compiled: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    try:
        with user_code("starting the compiled model", original.path):
            compiled = OnnxScorer(graph, layout)
    except UserCodeError as error:
        return f"{type(model).__name__} is not compiled: {error.message[:200]}"
    return _compare(graph, compiled, table, original)


def _compare(graph: bytes, compiled: OnnxScorer, table: Table, original: ObjectScorer) -> Compiled | str:
    rows, largest = 0, 0.0
    for probe in probes(table, lambda rows: _answer(original, table, rows)):
        expected = _answer(original, table, probe.rows)
        found = _answer(compiled, table, probe.rows)
        fault = _fault(probe, expected, found)
        if fault:
            return fault
        rows += len(expected)
        largest = max(largest, _difference(expected, found))
    return Compiled("onnx", graph, layout=compiled.layout, difference=largest, rows_compared=rows)


def _answer(scorer: ObjectScorer | OnnxScorer, table: Table, rows: dict[str, Any]) -> Scores:
    """Scores with a NaN row wherever the scorer raises."""
    given = table.build(rows) if isinstance(scorer, OnnxScorer) else table.original(rows)
    try:
        with user_code("predict", Path("the model")):
            return scorer.scores(given)
    except UserCodeError:
        count = len(next(iter(rows.values())))
        if count == 1:
            return np.full((1, 1), np.nan, dtype=np.float32)
    return _broadcast([_answer(scorer, table, {n: c[i : i + 1] for n, c in rows.items()}) for i in range(count)])


def _broadcast(rows: list[Scores]) -> Scores:
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.broadcast_to(row, (1, width)) for row in rows])


def _fault(probe: Probe, expected: Scores, found: Scores) -> str:
    """Why the two disagree on a probe; empty when they agree."""
    silent, mute = np.isnan(expected).any(axis=1), np.isnan(found).any(axis=1)
    if (silent != mute).any():
        return f"the compiled model disagrees on {probe.what}: it answers where the original does not, or the reverse"
    heard = ~silent
    flips = int((expected[heard].argmax(axis=1) != found[heard].argmax(axis=1)).sum())
    if flips:
        return f"the compiled model disagrees on {probe.what}: {flips} of {len(expected)} decisions differ"
    difference = _difference(expected, found)
    if difference > TOLERANCE:
        return (
            f"the compiled model disagrees on {probe.what}: a score differs by {difference:.2g}, allowed {TOLERANCE:g}"
        )
    return ""


def _difference(expected: Scores, found: Scores) -> float:
    heard = ~np.isnan(expected).any(axis=1)
    return float(np.abs(expected[heard] - found[heard]).max()) if heard.any() else 0.0


def _as_object(model: Any, reason: str, code: UserCode, trusted_by: str) -> Compiled:
    with user_code("storing the model", code.path):
        payload, stranger = _skops(model)
    if not stranger:
        return Compiled("skops", payload, reason=reason)
    reason = f"{reason}; {stranger} is no reviewed scikit-learn type".removeprefix("; ")
    if not trusted_by:
        raise UsageError(
            f"the model can only be stored as a Python object ({reason}), which runs whatever is in it when it is loaded",
            hint="train with --trust if you trust everything that went into it, or return a scikit-learn model",
        )
    with user_code("pickling the model", code.path):
        payload = pickle.dumps(model)
        load_model("python", payload, Layout(), (), code.path)
    return Compiled("python", payload, reason=reason, trusted_by=trusted_by)


def _skops(model: Any) -> tuple[bytes, str]:
    """The skops file, and the first type in it that was not reviewed (then the file is of no use)."""
    import skops.io

    payload: bytes = skops.io.dumps(model)
    strangers = sorted(set(skops.io.get_untrusted_types(data=payload)) - set(REVIEWED))
    return payload, strangers[0] if strangers else ""
