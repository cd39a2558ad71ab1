"""Datasets: rows frozen under the hash of their whole content, with where they came from and what was done to them.

A version is the first 12 digits of the content hash, so the same rows are the same version and nothing can change under
a name. A name points to its newest version; the one before is its parent.

>>> import tempfile
>>> from andon.core.record import Field
>>> from andon.store.workspace import Workspace
>>> contract = Contract((Field("n", "int"),), "y", ("a", "b"))
>>> with tempfile.TemporaryDirectory() as folder:
...     workspace = Workspace.create(Path(folder) / "w")
...     first = add(workspace, pl.DataFrame({"n": [1, 2], "y": ["a", "b"]}), contract, name="cases")
...     second = add(workspace, pl.DataFrame({"n": [1, 2], "y": ["a", "a"]}), contract, name="cases")
...     print(second.rows, second.labels, second.parent == first.version, load(workspace, "cases").rows())
...     workspace.close()
2 {'a': 2, 'b': 0} True [(1, 'a'), (2, 'a')]
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from andon.core.registry import did_you_mean
from andon.data.conform import REJECTS_SCHEMA
from andon.data.content import canonical, content_hash, stowed, unstowed
from andon.data.contract import CheckedFrame, Contract
from andon.data.source import Origin, Raw, from_frame, read
from andon.errors import Conflict, ContractError, Corrupt, NotFound, UsageError
from andon.store.workspace import Workspace

__all__ = ["Dataset", "Step", "add", "find", "freeze", "listing", "load", "rejects", "stored"]

_VERSION = 12
_SHORTEST = 4


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was done to rows: what, on how many, with which hash before and after.

    ``manual`` marks a step that a person did outside (allowed, with its ``note``, while the project is a proof of
    concept); ``code`` is the hash of the code that did it.
    """

    name: str
    rows_in: int
    rows_out: int
    before: str = ""
    after: str = ""
    note: str = ""
    code: str = ""
    manual: bool = False


class Dataset(msgspec.Struct, frozen=True, omit_defaults=True):
    """One frozen version: ``rows`` typed by ``contract``; ``labels`` counts them by class.

    ``blob`` and ``rejects_blob`` are Parquet files among the workspace's blobs; images are blobs of their own.
    """

    version: str
    name: str
    content: str
    rows: int
    contract: Contract
    labels: dict[str, int]
    columns: dict[str, str]
    blob: str
    origin: Origin
    steps: tuple[Step, ...] = ()
    parent: str | None = None
    rejected: int = 0
    rejects_blob: str | None = None
    created_us: int = 0
    actor: str = ""
    note: str = ""


class _Head(msgspec.Struct, frozen=True):
    """Where a name points."""

    version: str


def add(
    workspace: Workspace,
    data: Raw | pl.DataFrame | str | Path,
    contract: Contract,
    *,
    name: str,
    note: str = "",
    actor: str = "",
    by_hand: bool = False,
) -> Dataset:
    """Read, check against the contract, and freeze; the same rows again give the version that is already there.

    ``by_hand`` records that a person changed the rows of the version before outside of any code: a manual step, for which
    ``note`` must say what was done. Rows that do not fit are kept aside with their reasons (``rejects``). Nothing is stored when no row fits or the
    source cannot be read. Raises ``ContractError``, ``UsageError`` or ``NotFound``.
    """
    if by_hand and not note.strip():
        raise UsageError("a step done by hand needs a note that says what was done; give a reason")
    if isinstance(data, pl.DataFrame):
        raw = from_frame(data)
    else:
        raw = data if isinstance(data, Raw) else read(data)
    checked = _without_double_ids(contract.check_frame(raw.frame, rows=raw.rows))
    bad = pl.concat([raw.rejects, checked.rejects]).sort("row", nulls_last=True, maintain_order=True)
    if not checked.frame.height:
        first = bad.row(0)
        where = f"row {first[0]}: {first[1]}" if first[0] else first[1]
        raise ContractError(f"{raw.origin.path}: none of the {raw.total} rows fits the contract; the first: {where}")
    steps: tuple[Step, ...] = (
        Step("read", raw.total, raw.frame.height, after=raw.origin.hash),
        Step("check", raw.frame.height, checked.frame.height, before=raw.origin.hash, code=contract.hash),
    )
    if by_hand:
        steps = (*steps, _manual(workspace, name, checked.frame.height, note))
    draft = Draft(name, contract, raw.origin, steps, actor=actor, note=note)
    return freeze(workspace, checked.frame, draft, bad)


class Draft(msgspec.Struct, frozen=True):
    """What is known of a dataset before its rows are frozen. ``parent`` None: the version the name points to."""

    name: str
    contract: Contract
    origin: Origin
    steps: tuple[Step, ...] = ()
    parent: str | None = None
    actor: str = ""
    note: str = ""


def freeze(workspace: Workspace, frame: pl.DataFrame, draft: Draft, bad: pl.DataFrame | None = None) -> Dataset:
    """Freeze rows that are typed by the contract already. Blobs first, the record last: nothing is ever half there."""
    if not draft.name or len(draft.name) > 100 or not draft.name.isprintable():
        raise UsageError(f"a dataset's name: expected 1 to 100 printable characters, found {draft.name[:120]!r}")
    contract = draft.contract
    frame = stowed(canonical(frame, contract), contract, workspace.blobs.put)
    content = content_hash(frame, contract)
    version = content[:_VERSION]
    known = stored(workspace, version)
    if known is None:
        known = _keep(workspace, frame, draft, content, bad)
    elif known.content != content:
        raise Conflict(f"two datasets share the version {version}; their contents are {known.content} and {content}")
    _point(workspace, draft, known)
    return known


def stored(workspace: Workspace, version: str) -> Dataset | None:
    """The record of a full version, or None."""
    if version not in workspace.records.names("dataset"):
        return None
    return workspace.records.get("dataset", version, Dataset)


def find(workspace: Workspace, ref: str) -> Dataset:
    """A dataset by name (its newest version) or by a version's first 4 or more digits; raises ``NotFound``."""
    heads = workspace.states.list("dataset", _Head)
    if ref in heads:
        ref = heads[ref].version
    versions = workspace.records.names("dataset")
    found = [version for version in versions if version.startswith(ref)] if len(ref) >= _SHORTEST else []
    if len(found) == 1:
        return workspace.records.get("dataset", found[0], Dataset)
    if found:
        raise NotFound(f"{len(found)} datasets have a version that begins with {ref!r}; give more digits")
    raise NotFound(f"no dataset is called {ref!r}; {did_you_mean(ref, heads)}", hint="`andon data list` shows them all")


def listing(workspace: Workspace) -> list[Dataset]:
    """All datasets, oldest first."""
    return workspace.records.list("dataset", Dataset)


def load(workspace: Workspace, ref: str, *, part: str | None = None, images: bool = True) -> pl.DataFrame:
    """The rows, in the order they were added: inputs, target, meta-data; images as bytes, or as hashes.

    ``part`` keeps one part of the dataset's latest split. Raises ``NotFound`` or ``Corrupt``.
    """
    dataset = find(workspace, ref)
    frame = _parquet(workspace, dataset.blob)
    if part is not None:
        from andon.data.division import part_of

        parts = part_of(workspace, dataset.version)
        if part not in parts.unique():
            raise NotFound(f"the split of {dataset.name} has no part {part!r}; {did_you_mean(part, parts.unique())}")
        frame = frame.filter(parts == part)
    return unstowed(frame, dataset.contract, workspace.blobs.get) if images else frame


def rejects(workspace: Workspace, ref: str) -> pl.DataFrame:
    """The rows that were left out: ``row`` (its number in the source, null for a file no row names) and ``reason``."""
    dataset = find(workspace, ref)
    if dataset.rejects_blob is None:
        return pl.DataFrame(schema=REJECTS_SCHEMA)
    return _parquet(workspace, dataset.rejects_blob)


def _keep(workspace: Workspace, frame: pl.DataFrame, draft: Draft, content: str, bad: pl.DataFrame | None) -> Dataset:
    contract = draft.contract
    found = dict(frame[contract.target].value_counts().iter_rows())
    left_out = 0 if bad is None else bad.height
    dataset = Dataset(
        version=content[:_VERSION],
        name=draft.name,
        content=content,
        rows=frame.height,
        contract=contract,
        labels={label: found.get(label, 0) for label in contract.classes},
        columns={column: str(dtype) for column, dtype in frame.schema.items()},
        blob=workspace.blobs.put(_bytes(frame)),
        origin=draft.origin,
        steps=(*draft.steps[:-1], msgspec.structs.replace(draft.steps[-1], after=content)) if draft.steps else (),
        parent=draft.parent or _head(workspace, draft.name),
        rejected=left_out,
        rejects_blob=workspace.blobs.put(_bytes(bad)) if bad is not None and left_out else None,
        created_us=workspace.clock.now(),
        actor=draft.actor,
        note=draft.note,
    )
    workspace.save_contract(contract.hash, contract.fields, contract.classes)
    workspace.records.put("dataset", dataset.version, dataset)
    return dataset


def _point(workspace: Workspace, draft: Draft, dataset: Dataset) -> None:
    """Let the name point to this version, and say so in the journal when that is news."""
    if _head(workspace, draft.name) == dataset.version:
        return
    workspace.states.put("dataset", draft.name, _Head(dataset.version))
    evidence: dict[str, Any] = {"name": draft.name, "rows": dataset.rows, "rejected": dataset.rejected}
    evidence |= {"source": dataset.origin.hash, "parent": dataset.parent}
    workspace.journal.append("data.add", dataset.version, draft.actor, draft.note, evidence)


def _manual(workspace: Workspace, name: str, rows: int, note: str) -> Step:
    head = _head(workspace, name)
    before = find(workspace, head) if head else None
    return Step(
        "by hand", before.rows if before else rows, rows, before.content if before else "", note=note, manual=True
    )


def _head(workspace: Workspace, name: str) -> str | None:
    found = workspace.states.get("dataset", name, _Head)
    return found[0].version if found else None


def _without_double_ids(checked: CheckedFrame) -> CheckedFrame:
    """An id names one row: the first keeps it, later ones become rejects."""
    if "id" not in checked.frame.columns:
        return checked
    ids = checked.frame["id"].cast(pl.String)
    double = ~ids.is_first_distinct() & ids.is_not_null()
    if not double.any():
        return checked
    firsts = pl.DataFrame({"id": ids, "first": checked.rows}).unique("id", keep="first")
    said = pl.DataFrame({"id": ids, "row": checked.rows}).filter(double).join(firsts, on="id", maintain_order="left")
    reason = pl.format("id: {} is already the id of row {}", pl.col("id").str.head(60), "first")
    more = said.select("row", reason.alias("reason")).cast(REJECTS_SCHEMA)  # type: ignore[arg-type]
    return CheckedFrame(checked.frame.filter(~double), checked.rows.filter(~double), pl.concat([checked.rejects, more]))


def _bytes(frame: pl.DataFrame) -> bytes:
    out = BytesIO()
    frame.write_parquet(out, compression="zstd")
    return out.getvalue()


def _parquet(workspace: Workspace, blob: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(BytesIO(workspace.blobs.get(blob)))
    except pl.exceptions.PolarsError as error:
        raise Corrupt(f"the blob {blob[:12]} is not a table that can be read; restore it from a backup") from error
