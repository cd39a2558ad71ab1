"""The calls of MLflow's scoring server over the same desk: whoever asked a model there asks the line without a change.

``POST /invocations`` takes a table as JSON (``dataframe_split``, ``dataframe_records``, ``instances``, ``inputs``) or CSV
and answers ``{"predictions": [...]}``. A row that a person decides is null there, and so is one with a fault: ``pending``
and ``errors`` say which and why, ``ids`` is where to ask later and what feedback names. Rows whose answer was shed (in no
log) are in ``unrecorded``, and the header ``x-andon-unrecorded`` says how many.

>>> fields = (Field("cough", "bool"), Field("age", "int", optional=True))
>>> [row.x for row in table_rows(b'{"dataframe_split": {"columns": ["age", "cough"], "data": [[41, 1]]}}', fields, 9)]
[{'age': 41, 'cough': True}]
>>> [row.x for row in csv_rows(b"cough,age\\ntrue,41\\nfalse,\\n", fields, 9)]
[{'cough': True, 'age': 41}, {'cough': False, 'age': None}]
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from io import StringIO
from itertools import islice
from typing import Any

import msgspec

import andon
from andon.core.record import Field
from andon.deploy.case import Outcome
from andon.deploy.desk import Desk
from andon.deploy.gateway_decisions import decode_json
from andon.deploy.gateway_rows import Row, adapted, ask, plain_body
from andon.deploy.protocol_message import Answer, Reply, Request, error_answer, json_answer
from andon.deploy.settings import GatewayConfig
from andon.errors import AndonError, ContractError, UsageError

__all__ = ["Mlflow", "csv_rows", "mlflow_error", "table_rows"]

_FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    409: "RESOURCE_CONFLICT",
    422: "INVALID_PARAMETER_VALUE",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_BOOLS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_table = msgspec.json.Decoder(dict[str, Any])


class Mlflow:
    """The calls; ``ready`` says whether this worker should get traffic."""

    def __init__(self, config: GatewayConfig, desk: Desk, ready: Callable[[], bool]) -> None:
        self._config = config
        self._desk = desk
        self._ready = ready

    def ping(self, request: Request, reply: Reply) -> None:
        """200 when it takes requests, else 503."""
        reply(Answer(200 if self._ready() else 503, b"\n"))

    def version(self, request: Request, reply: Reply) -> None:
        """The version of what answers, bare, as MLflow's server says its own."""
        reply(Answer(200, andon.__version__.encode()))

    def invocations(self, request: Request, reply: Reply) -> None:
        """Decisions for the rows of a table. Raises ``UsageError`` or ``ContractError`` when the table is none."""
        kind, said = _content(request)
        if said:
            reply(json_answer(415, {"error_code": "BAD_REQUEST", "message": said}))
            return
        placer, limit = self._desk.placer, self._config.infer_rows
        read = csv_rows if kind == "text/csv" else table_rows
        rows = read(plain_body(request), placer.contract_of(placer.route.live).fields, limit)
        ask(self._desk, self._config.classes, rows, partial(_answer, reply))


def mlflow_error(error: AndonError) -> Answer:
    """An error in MLflow's shape; rows that do not fit are 400 there.

    >>> answer = mlflow_error(ContractError("age: expected a number"))
    >>> answer.status, answer.body
    (400, b'{"error_code":"INVALID_PARAMETER_VALUE","message":"age: expected a number"}')
    """
    plain = error_answer(error)
    body = {"error_code": _CODES.get(plain.status, "INTERNAL_ERROR"), "message": error.message}
    return json_answer(400 if plain.status == 422 else plain.status, body, plain.headers)


def _content(request: Request) -> tuple[str, str]:
    """The kind of the body, and why it is not taken."""
    header = (request.header(b"content-type") or b"").decode("latin-1")
    kind, *more = (part.strip().lower() for part in header.split(";"))
    if kind not in ("application/json", "text/csv"):
        return kind, f"expected the content type application/json or text/csv, found {header[:60]!r}"
    odd = [part for part in more if part.replace('"', "") not in ("", "charset=utf-8", "charset=utf8")]
    return kind, f"expected UTF-8 and no other parameter of the content type, found {odd[0][:60]!r}" if odd else ""


def _answer(reply: Reply, outcomes: list[Outcome]) -> None:
    """One answer for all rows; only where every row failed it is an error."""
    faults = [(at, outcome) for at, outcome in enumerate(outcomes) if isinstance(outcome, AndonError)]
    if len(faults) == len(outcomes):
        reply(mlflow_error(faults[0][1]))
        return
    shown = [None if isinstance(outcome, AndonError) else outcome for outcome in outcomes]
    pending = [at for at, one in enumerate(shown) if one is not None and one.status == "pending"]
    body: dict[str, Any] = {
        "predictions": [None if one is None or one.status == "pending" else one.decision for one in shown],
        "ids": [None if one is None else one.id for one in shown],
    }
    if pending:
        body["pending"] = [{"row": at, "id": body["ids"][at]} for at in pending]
    unrecorded = [at for at, one in enumerate(shown) if one is not None and not one.recorded]
    if unrecorded:
        body["unrecorded"] = [{"row": at, "id": body["ids"][at]} for at in unrecorded]
    if faults:
        body["errors"] = [{"row": at, **error.to_dict()} for at, error in faults]
    # A header too: a client of MLflow reads `predictions` and nothing else of the body.
    reply(json_answer(200, body, (("x-andon-unrecorded", str(len(unrecorded))),) if unrecorded else ()))


def table_rows(body: bytes, fields: Sequence[Field], limit: int) -> list[Row]:
    """The rows of a table in JSON, in any of MLflow's forms. Raises ``UsageError`` or ``ContractError``.

    ``params`` may hold ``ids`` and ``units``, lists with one for each row, and ``tags``, an object for all of them.
    """
    table = _decoded(body)
    forms = [name for name in _FORMATS if name in table]
    if len(forms) != 1:
        raise UsageError(
            f"expected exactly one of {', '.join(_FORMATS)}, found {', '.join(list(table)[:9])[:200] or 'none'}"
        )
    form = forms[0]
    found = table[form]
    if form == "dataframe_split":
        named = _split(found, limit)
    elif form == "inputs" and isinstance(found, dict):
        named = _columns(found, limit)
    else:
        named = _listed(form, found, fields, limit)
    kinds = {field.name: field.kind for field in fields}
    rows = [Row({name: adapted(value, kinds.get(name, "")) for name, value in one.items()}) for one in named]
    _more(rows, table.get("params"))
    return rows


def _decoded(body: bytes) -> dict[str, Any]:
    """The table. MLflow's client writes what is missing as NaN, for which JSON has no word: it is null here."""
    if b"NaN" not in body:
        return decode_json(body, _table)
    try:
        found = json.loads(body, parse_constant=_constant)
        msgspec.json.encode(found)  # a text that is no text (a lone surrogate) goes no further
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise ContractError(f"body: expected an object, found {_kind(found)}", field="body")
    return found


def _constant(word: str) -> None:
    if word != "NaN":
        raise ValueError(f"{word} is no number of JSON")


def _counted(form: str, rows: Any, limit: int) -> list[Any]:
    if not isinstance(rows, list):
        raise ContractError(f"{form}: expected a list, found {_kind(rows)}", field=form)
    if not 0 < len(rows) <= limit:
        raise ContractError(f"{form}: expected 1 to {limit} rows, found {len(rows)}", field=form)
    return rows


def _split(found: Any, limit: int) -> list[dict[str, Any]]:
    """``{"columns": [...], "data": [[...], ...]}``; an ``index`` is not looked at."""
    form = "dataframe_split"
    if not isinstance(found, dict):
        raise ContractError(f"{form}: expected an object, found {_kind(found)}", field=form)
    columns, rows = found.get("columns"), _counted(f"{form}.data", found.get("data"), limit)
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise ContractError(f"{form}.columns: expected a list of names", field=f"{form}.columns")
    return [_named(form, at, columns, row) for at, row in enumerate(rows)]


def _named(form: str, at: int, columns: list[str], row: Any) -> dict[str, Any]:
    if len(set(columns)) != len(columns):
        raise ContractError(f"{form}: a column is there twice", field=form)
    if not isinstance(row, list) or len(row) != len(columns):
        found = len(row) if isinstance(row, list) else _kind(row)
        raise ContractError(f"{form}: row {at}: expected a list of {len(columns)} values, found {found}", field=form)
    return dict(zip(columns, row, strict=True))


def _columns(found: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """``{"age": [...], ...}``; single values are one row."""
    whole = {name: value if isinstance(value, list) else [value] for name, value in found.items()}
    counts = sorted({len(values) for values in whole.values()})
    if len(counts) != 1:
        raise ContractError(f"inputs: expected lists of one length, found {counts or 'none'}", field="inputs")
    _counted("inputs", next(iter(whole.values())), limit)
    return [{name: values[at] for name, values in whole.items()} for at in range(counts[0])]


def _listed(form: str, found: Any, fields: Sequence[Field], limit: int) -> list[dict[str, Any]]:
    """A list of objects, of lists in the order of the contract or, where it has one input, of values."""
    names = [field.name for field in fields]
    rows: list[dict[str, Any]] = []
    for at, row in enumerate(_counted(form, found, limit)):
        if isinstance(row, dict):
            rows.append(row)
        elif form == "dataframe_records":
            raise ContractError(f"{form}: row {at}: expected an object, found {_kind(row)}", field=form)
        else:
            rows.append(_named(form, at, names, row if isinstance(row, list) else [row]))
    return rows


def _more(rows: list[Row], params: Any) -> None:
    """Ids, units and tags from ``params``; what else is there is another server's."""
    if not isinstance(params, dict):
        return
    for key, name in (("ids", "id"), ("units", "unit")):
        values = params.get(key)
        if values is None:
            continue
        if not isinstance(values, list) or len(values) != len(rows):
            raise ContractError(f"params.{key}: expected a list with one for each of {len(rows)} rows", field="params")
        if not all(value is None or isinstance(value, str) for value in values):
            raise ContractError(f"params.{key}: expected texts", field="params")
        for row, value in zip(rows, values, strict=True):
            setattr(row, name, value)
    tags = params.get("tags")
    if tags is not None and not (isinstance(tags, dict) and all(isinstance(value, str) for value in tags.values())):
        raise ContractError("params.tags: expected an object of texts", field="params")
    for row in rows:
        row.tags = tags


def csv_rows(body: bytes, fields: Sequence[Field], limit: int) -> list[Row]:
    """The rows of a CSV table whose first line names the columns. Raises ``UsageError`` or ``ContractError``.

    An empty cell is missing. A cell that is no value of its column's kind stays text, which the contract then refuses
    for its row alone; so does a row that is too short or too long.
    """
    try:
        lines = csv.reader(StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        names = next(lines, [])
        rows = list(islice(filter(None, lines), limit + 1))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"the body is not CSV in UTF-8: {error}") from None
    if len(set(names)) != len(names) or not names:
        raise ContractError("csv: expected a first line with a name for each column, none of them twice", field="csv")
    if not 0 < len(rows) <= limit:
        found = f"more than {limit}" if rows else "none"
        raise ContractError(f"csv: expected 1 to {limit} rows, found {found}", field="csv")
    kinds: dict[str, str] = {field.name: field.kind for field in fields}
    return [_csv_row(names, line, kinds) for line in rows]


def _csv_row(names: list[str], line: list[str], kinds: dict[str, str]) -> Row:
    if len(line) != len(names):
        fault = ContractError(f"csv: expected {len(names)} values in the row, found {len(line)}", field="csv")
        return Row({}, fault=fault)
    return Row({name: _cell(cell, kinds.get(name, "")) for name, cell in zip(names, line, strict=True)})


def _cell(cell: str, kind: str) -> Any:
    """A cell as its column's kind; data are read by the same words (``andon.data.conform``)."""
    if cell == "":
        return None
    bare = cell.strip()
    if kind == "bool":
        return _BOOLS.get(bare.lower(), cell)
    if kind == "int" and _WHOLE.fullmatch(bare):
        return int(bare)
    if kind in ("int", "float") and bare.isascii() and "_" not in bare:
        try:
            number = float(bare)
        except ValueError:
            return cell
        return None if number != number else number  # as pandas writes what is missing
    return cell


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "null"}.get(type(value), "a single value")
