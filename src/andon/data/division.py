"""The split of a frozen dataset: stored row by row, so that a row keeps its part when the data grow.

Which part a row belongs to is looked up by its ``id`` or, without ids, by everything but its label, and else by its
inputs: relabelling a row does not move it, and of several equal rows as many keep a part as had it.
"""

from __future__ import annotations

from hashlib import blake2b
from io import BytesIO
from typing import Any

import msgspec
import polars as pl

from andon.data.contract import Contract
from andon.data.dataset import Dataset, find, load
from andon.data.split import DEFAULT_PARTS, Plan, Split, divide
from andon.errors import NotFound
from andon.store.workspace import Workspace

__all__ = ["Division", "Kept", "Wish", "division", "kept_from", "part_of", "parts_of", "split_dataset"]

_PART = "\0part"


class Wish(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a split was asked to be; with the dataset's version it decides every row's part."""

    parts: dict[str, float] = msgspec.field(default_factory=lambda: dict(DEFAULT_PARTS))
    by: tuple[str, ...] = ()
    group: str | None = None
    seed: int = 0


class Division(msgspec.Struct, frozen=True, omit_defaults=True):
    """One stored split of one dataset version. ``id`` is the hash of version and parts; ``previous`` gave rows theirs."""

    id: str
    version: str
    wish: Wish
    parts: dict[str, dict[str, Any]]
    message: str
    blob: str
    previous: str | None = None
    kept: int = 0
    together: int = 0
    created_us: int = 0
    actor: str = ""

    def to_json(self) -> dict[str, Any]:
        """As printed by ``andon data split --json``."""
        return {
            "version": self.version,
            "split": self.id,
            "parts": self.parts,
            "message": self.message,
            "kept": self.kept,
            "together": self.together,
            "previous": self.previous,
        }


class _Latest(msgspec.Struct, frozen=True):
    """Which split of a version counts."""

    id: str


def split_dataset(
    workspace: Workspace, ref: str, wish: Wish | None = None, *, actor: str = "", reason: str = ""
) -> Division:
    """Split a dataset exactly; rows known from the nearest ancestor that was split keep their part.

    The same wish again gives the split that is there; another wish for the same version splits it afresh. Raises ``NotFound`` and ``UsageError`` as ``split`` does.
    """
    wish = wish or Wish()
    dataset = find(workspace, ref)
    before = division(workspace, dataset.version)
    if before is not None and before.wish == wish:
        return before
    before = _ancestral(workspace, dataset)
    frame = load(workspace, dataset.version, images=False)
    plan = Plan(dataset.contract.target, wish.parts, wish.by, wish.group, dataset.contract.names, wish.seed)
    previous = None
    if before is not None and set(wish.parts) == set(before.wish.parts):
        previous = _carried(workspace, frame, before, dataset)
    result = divide(frame, plan, previous, dataset.contract.classes)
    found = _record(workspace, dataset, wish, result, before.id if previous is not None and before else None, actor)
    if found.id not in workspace.records.names("split"):
        workspace.records.put("split", found.id, found)
    workspace.states.put("split", dataset.version, _Latest(found.id))
    evidence = {"split": found.id, "parts": {name: part["n"] for name, part in found.parts.items()}, "kept": found.kept}
    workspace.journal.append("data.split", dataset.version, actor, reason, evidence)
    return found


def division(workspace: Workspace, ref: str) -> Division | None:
    """The latest split of a dataset, or None when it was never split."""
    latest = workspace.states.get("split", find(workspace, ref).version, _Latest)
    return workspace.records.get("split", latest[0].id, Division) if latest else None


def part_of(workspace: Workspace, ref: str) -> pl.Series:
    """The part of every row, in the rows' order; raises ``NotFound`` when the dataset was never split."""
    found = division(workspace, ref)
    if found is None:
        raise NotFound(f"the dataset {ref} has not been split yet", hint=f"run `andon data split {ref}` first")
    return parts_of(workspace, found)


def parts_of(workspace: Workspace, found: Division) -> pl.Series:
    """The part of every row under a split, in the rows' order; also where a later split of the version counts now."""
    return pl.read_parquet(BytesIO(workspace.blobs.get(found.blob)))["part"].cast(pl.String)


class Kept(msgspec.Struct, frozen=True):
    """That a row had its part before: in which version, and known by its ``id``, its values or its inputs alone."""

    version: str
    by: str


def kept_from(workspace: Workspace, found: Division, row: pl.DataFrame, part: str) -> Kept | None:
    """Whether a row (a frame of one row, images as hashes) had its part already in the split before; else None."""
    if found.previous is None:
        return None
    before = workspace.records.get("split", found.previous, Division)
    old, contract = load(workspace, before.version, images=False), find(workspace, found.version).contract
    old = old.filter(parts_of(workspace, before) == part)
    for by, keys in _ways(row, old, contract).items():
        if keys and old.join(row, on=keys, how="semi", nulls_equal=True).height:
            return Kept(before.version, by)
    return None


def _ancestral(workspace: Workspace, dataset: Dataset) -> Division | None:
    """The latest split of the nearest ancestor that has one."""
    seen = {dataset.version}
    version = dataset.parent
    while version is not None and version not in seen:
        seen.add(version)
        found = division(workspace, version)
        if found is not None:
            return found
        version = find(workspace, version).parent
    return None


def _carried(workspace: Workspace, frame: pl.DataFrame, before: Division, dataset: Dataset) -> pl.Series:
    """The parts of the rows that were there before, null for new ones; what one way does not find the next one may."""
    old = load(workspace, before.version, images=False).with_columns(parts_of(workspace, before).alias(_PART))
    part = pl.Series(_PART, [None], dtype=pl.String).new_from_index(0, frame.height)
    for keys in _ways(frame, old, dataset.contract).values():
        waiting = part.is_null()
        if keys and old.height and waiting.any():
            met = _met(frame.filter(waiting).select(keys), old, keys)
            part = part.scatter(waiting.arg_true(), met[_PART])
            old = old.filter(~pl.int_range(pl.len()).is_in(met["\0old"].drop_nulls().implode()))
    return part


def _ways(new: pl.DataFrame, old: pl.DataFrame, contract: Contract) -> dict[str, list[str]]:
    """The columns by which a row of the one is known in the other: its id, else all it has but the label; then its inputs.

    By its inputs alone, so that new or corrected meta-data let a row's x stay where it was.
    """
    shared = [name for name in new.columns if name in old.columns and new.schema[name] == old.schema[name]]
    values = {"values": [name for name in shared if name != contract.target]}
    first = {"id": ["id"]} if "id" in shared else values
    return first | {"inputs": [name for name in contract.names if name in shared]}


def _met(new: pl.DataFrame, old: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """For each new row the part and the place of the old row it is, or nulls; equal rows are told apart by their order."""
    nth = pl.int_range(pl.len()).over(keys).alias("\0nth")
    known = old.select(*keys, _PART, pl.int_range(pl.len()).alias("\0old")).with_columns(nth)
    return new.with_columns(nth).join(known, on=[*keys, "\0nth"], how="left", nulls_equal=True, maintain_order="left")


def _record(
    workspace: Workspace, dataset: Dataset, wish: Wish, result: Split, previous: str | None, actor: str
) -> Division:
    out = BytesIO()
    result.parts.to_frame().write_parquet(out, compression="zstd")
    blob = workspace.blobs.put(out.getvalue())
    asked = msgspec.json.encode((dataset.version, wish, blob, previous))
    return Division(
        id=blake2b(asked, digest_size=6).hexdigest(),
        version=dataset.version,
        wish=wish,
        parts=result.to_json()["parts"],
        message=result.message,
        blob=blob,
        previous=previous,
        kept=result.kept,
        together=result.together,
        created_us=workspace.clock.now(),
        actor=actor,
    )
