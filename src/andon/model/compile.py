"""From a trained model to the form in which it is sealed: a compiled graph where it agrees, else an honest fallback.

LightGBM and XGBoost models are sealed in their library's own format (``andon.model.booster_seal``). For all others the
order is ONNX (fast, no trust needed), skops (scikit-learn types that were reviewed), Python object (only where a
person said so). A graph is used only if it takes the same decision and differs by at most ``TOLERANCE`` in every score
on every probe (``andon.model.probe``); the reason of a fallback is kept in the bundle and shown with every run.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from andon.core.reach import Reach
from andon.core.record import Field
from andon.errors import UsageError, UserCodeError
from andon.model.adapter import Layout, ObjectScorer, OnnxScorer, dump_skops, load_model
from andon.model.agree import TOLERANCE, Original, compare
from andon.model.booster_seal import find_booster, seal_booster
from andon.model.bundle import Compiled
from andon.model.columns import Columns, take
from andon.model.convert import CONVERTER
from andon.model.predictor import UserCode, user_code
from andon.model.probe import Table, layout_of
from andon.model.remote import Remote, RemoteScorer, seal_remote

__all__ = ["TOLERANCE", "compile_model"]

#: Rows that are prepared (``clean``, ``features``) to compare on; of these some hundreds are compared.
ROWS_MAX = 2000
_ANYWHERE = Reach("anywhere")


def compile_model(
    model: Any,
    columns: Columns,
    fields: Sequence[Field],
    classes: tuple[str, ...],
    code: UserCode,
    *,
    trusted_by: str = "",
    reach: Reach = _ANYWHERE,
) -> Compiled:
    """The form in which ``model`` is sealed, compared with the original on rows of ``columns`` and on probes.

    Raises ``UsageError`` when it can only be stored as a Python object and nobody trusts it (``trusted_by`` is empty),
    and when a LightGBM or XGBoost model answers otherwise once it is sealed; ``UserCodeError`` when the model cannot
    answer rows of its own training data.
    """
    columns = take(columns, slice(0, ROWS_MAX))
    if isinstance(model, Remote):
        return _as_remote(model, _table(columns, fields, code), classes, reach)
    booster = find_booster(model)
    if booster is not None:
        table, reason = _table(columns, fields, code)
        sealed = reason if table is None else seal_booster(booster, table, classes, code.path)
        if isinstance(sealed, Compiled):
            return sealed
        if booster.pipeline is None:
            raise UsageError(
                f"the {booster.library} model is not sealed: {sealed}",
                hint="see docs/model.md for what train may return, and how each is stored",
            )
        return _as_object(model, sealed, code, trusted_by)
    original = ObjectScorer(model, classes, code.path)
    table, reason = _table(columns, fields, code)
    original.scores(table.original(_head(table)) if table else code.prepare(columns, fields)[0])
    if table is not None and not reason:
        compared = _try_onnx(model, table, classes, original)
        if isinstance(compared, Compiled):
            return compared
        reason = compared
    return _as_object(model, reason, code, trusted_by)


def _as_remote(model: Remote, found: tuple[Table | None, str], classes: tuple[str, ...], reach: Reach) -> Compiled:
    """The address of a model on another server, which has answered some rows of the training data."""
    table, why = found
    if table is None or why:
        raise UsageError(f"the model at {model.url} cannot be asked: {why}")
    payload = seal_remote(model, table.fields, reach.stays, reach.hosts)
    scorer = RemoteScorer(payload, classes, reach)
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


def _try_onnx(model: Any, table: Table, classes: tuple[str, ...], original: ObjectScorer) -> Compiled | str:
    """A compiled model that agrees, or the reason why there is none."""
    from andon.model.lower import lower

    layout = layout_of(table)
    try:
        graph = lower(model, layout, [field.name for field in table.fields], classes)
    except CONVERTER as error:
        return f"{type(model).__name__} is not compiled: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    try:
        with user_code("starting the compiled model", original.path):
            compiled = OnnxScorer(graph, layout)
    except UserCodeError as error:
        return f"{type(model).__name__} is not compiled: {error.message[:200]}"
    found = compare(compiled, Original(original.scores), table)
    if isinstance(found, str):
        return found
    return Compiled("onnx", graph, layout=layout, difference=found.difference, rows_compared=found.rows)


def _as_object(model: Any, reason: str, code: UserCode, trusted_by: str) -> Compiled:
    with user_code("storing the model", code.path):
        payload, stranger = dump_skops(model)
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
