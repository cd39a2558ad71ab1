"""What a load run sends: rows that were measured once, or a file's, or made up from the contract; and which of these.

>>> from andon.core.record import Field
>>> rows = made_up((Field("age", "int", low=18, high=20), Field("site", "category", categories=("a", "b"))), 3)
>>> len(rows), all(18 <= row["age"] <= 20 and row["site"] in "ab" for row in rows)
(3, True)
"""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from andon.errors import AndonError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from andon.config import Project
    from andon.core.record import Field, Scalar

__all__ = ["ROWS_MAX", "Requests", "from_file", "made_up", "requests_of"]

#: Different rows that are sent; more would only fill memory.
ROWS_MAX = 20_000
_FILE_MAX = 256 << 20
_KEYS = frozenset(("x", "unit", "tags"))


class Requests(msgspec.Struct, frozen=True):
    """Decision requests without ids, and where they come from, in words."""

    rows: list[dict[str, Any]]
    source: str


def requests_of(project: Project, file: Path | None, version: str | None) -> Requests:
    """From the file, else the test part of the data of release ``version``, else made up; each with a unit where units
    come with requests.

    Raises ``UsageError`` for a file that cannot be read, and where rows would have to be made up and hold an image.
    """
    found = from_file(file) if file is not None else _frozen(project, version) or _made(project)
    if project.charter.unit.source != "request":
        return found
    rows = [{"unit": f"load-{at}", **row} for at, row in enumerate(found.rows)]
    return Requests(rows, found.source)


def from_file(path: Path) -> Requests:
    """JSON lines, each a decision request (``{"x": {...}}``, with ``unit`` and ``tags`` where wanted); ids are ours."""
    try:
        if path.stat().st_size > _FILE_MAX:
            raise UsageError(f"{path.name}: expected at most {_FILE_MAX >> 20} MB of requests, found more")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the requests in {path}: {(error.strerror or str(error)).lower()}") from None
    rows = [_request(path.name, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UsageError(f"{path.name}: expected a request in each line, found none")
    return Requests(rows[:ROWS_MAX], f"{len(rows[:ROWS_MAX]):,} requests of {path.name}")


def _request(name: str, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{name}, line {number}: no JSON ({error})") from None
    if not isinstance(row, dict) or not isinstance(row.get("x"), dict):
        raise UsageError(f'{name}, line {number}: expected {{"x": {{...}}}}, as the gateway takes it')
    if not isinstance(row.get("tags", {}), dict):
        raise UsageError(f"{name}, line {number}: tags: expected an object of texts")
    return {key: value for key, value in row.items() if key in _KEYS}


def _frozen(project: Project, version: str | None) -> Requests | None:
    """The rows that the release was measured on; None where there is no release, or its data cannot be had."""
    from andon.data import dataset
    from andon.deploy.release import find_release
    from andon.model.run import find_run

    if version is None:
        return None
    workspace = project.workspace
    try:
        run = find_run(workspace, find_release(workspace, version).run)
        frame = dataset.load(workspace, run.dataset, part=run.part or "test").head(ROWS_MAX)
        fields = dataset.find(workspace, run.dataset).contract.fields
    except AndonError:
        return None
    if not frame.height:
        return None
    rows = _bodies(frame.unique(maintain_order=True), fields)
    return Requests(rows, f"{len(rows):,} rows of the part {run.part or 'test'!r} of {version}'s data ({run.dataset})")


def _bodies(frame: pl.DataFrame, fields: Sequence[Field]) -> list[dict[str, Any]]:
    names = [field.name for field in fields if field.name in frame.columns]
    return [{"x": {name: _cell(row[name]) for name in names}} for row in frame.select(names).iter_rows(named=True)]


def _cell(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _made(project: Project) -> Requests:
    fields = project.charter.fields()
    if any(field.kind == "image" for field in fields):
        raise UsageError(
            "no photographs to send: there is no release with data of its own, and none can be made up",
            hint="give requests with --requests FILE",
        )
    rows = [{"x": row} for row in made_up(fields, 2_000)]
    return Requests(rows, f"{len(rows):,} rows made up from the contract: no release with data of its own was found")


def made_up(fields: Sequence[Field], n: int, seed: int = 0) -> list[dict[str, Scalar]]:
    """Rows that fit the fields, drawn evenly over what each allows."""
    chance = random.Random(seed)
    return [{field.name: _value(field, chance) for field in fields} for _ in range(n)]


def _value(field: Field, chance: random.Random) -> Scalar:
    if field.kind == "bool":
        return chance.random() < 0.5
    if field.kind in ("int", "float"):
        low = field.low if field.low is not None else (min(0.0, field.high - 100) if field.high is not None else 0.0)
        high = field.high if field.high is not None else max(low, 0.0) + 100.0
        return chance.randint(round(low), round(high)) if field.kind == "int" else chance.uniform(low, high)
    return chance.choice(field.categories) if field.categories else f"{field.name}-{chance.randint(0, 99)}"
