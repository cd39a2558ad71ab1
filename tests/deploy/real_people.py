"""Real people's answers (``people/README.md``), and how they come into a line's log: as what its people answered, blindly.

The items were photographs that nobody has here, so the model beside these people is made of *other* people: half of
them, drawn once, are its eyes, and never its judges. It is a logistic regression that learnt from the truth of nine
tenths of the items what those people's answers mean, and predicts the last tenth.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from andon.core.clock import HOUR
from andon.core.record import Feedback, Field, ItemKind, Prediction, Review
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions, encode_feedback, encode_predictions
from andon.store.frame import FrameKind
from andon.store.workspace import Workspace
from andon.store.writer import WalWriter

__all__ = ["NOON", "Answered", "Crowd", "asked", "bluebirds", "ducks", "officers", "opened", "record", "write"]

HERE = Path(__file__).parent / "people"
NOON = 1_583_884_800_000_000
_DUCKS = ("Mallard", "American Black Duck")
_HASH = "00112233445566aa"


@dataclass(frozen=True)
class Crowd:
    """``said`` has shape (people, items): 0, 1, or -1 where one did not answer. ``truth`` are 0 and 1."""

    classes: tuple[str, str]
    said: np.ndarray
    truth: np.ndarray

    def halves(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Two groups of people, drawn once: the model's eyes, and its judges."""
        order = np.random.default_rng(seed).permutation(len(self.said))
        return np.sort(order[::2]), np.sort(order[1::2])

    def model(self, eyes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """(label, confidence) of every item, by a model that has learnt from the truth of other items only."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import KFold, cross_val_predict

        seen = np.where(self.said[eyes] < 0, 0.0, 2.0 * self.said[eyes] - 1.0).T
        folds = KFold(10, shuffle=True, random_state=seed)
        shares = cross_val_predict(LogisticRegression(C=0.1), seen, self.truth, cv=folds, method="predict_proba")
        return shares.argmax(axis=1), shares.max(axis=1)


def bluebirds() -> Crowd:
    """Indigo Bunting or Blue Grosbeak; 39 people who answered everything."""
    table = pl.read_csv(HERE / "bluebirds.csv")
    return Crowd(("grosbeak", "bunting"), _said(table, 2), table["truth"].to_numpy())


def ducks() -> Crowd:
    """Is a duck in it? 53 people, 40 answers for each photograph."""
    table = pl.read_csv(HERE / "ducks.csv")
    return Crowd(("no duck", "duck"), _said(table, 2), table["species"].is_in(_DUCKS).cast(pl.Int64).to_numpy())


def _said(table: pl.DataFrame, first: int) -> np.ndarray:
    return table[:, first:].cast(pl.Int64).fill_null(-1).to_numpy().T


def officers() -> pl.DataFrame:
    """What was known of each applicant, and what the officer decided (``deny``). Skips where the file was taken out."""
    file = HERE / "hmda.csv.gz"
    if not file.exists():
        pytest.skip(f"{file.name} is not here: it has a licence of its own, see tests/deploy/people/README.md")
    return pl.read_csv(gzip.decompress(file.read_bytes()))


@dataclass(frozen=True)
class Answered:
    """A case of a line: who answered it first, who blindly a second time, who adjudicated where they differ."""

    id: str
    model: str
    confidence: float
    people: tuple[tuple[str, str], ...]
    truth: str
    x: dict[str, Any] = field(default_factory=dict)


def asked(crowd: Crowd, judges: np.ndarray, model: tuple[np.ndarray, np.ndarray], seed: int) -> list[Answered]:
    """Every item once, before a judge, blindly before a second one, and where they differ before a third: drawn anew."""
    draw, cases = np.random.default_rng(seed), []
    for item, (label, confidence) in enumerate(zip(*model, strict=True)):
        there = draw.permutation(judges[crowd.said[judges, item] >= 0])[:3]
        people = tuple((f"person {name}", crowd.classes[crowd.said[name, item]]) for name in there)
        needed = people[:2] if people[0][1] == people[1][1] else people
        truth = crowd.classes[crowd.truth[item]]
        x = {"item": item}
        cases.append(Answered(f"item-{item}", crowd.classes[label], float(confidence), needed, truth, x))
    return cases


def opened(folder: Path, fields: tuple[Field, ...], classes: tuple[str, ...]) -> Workspace:
    """A workspace in which v1 is released."""
    made = Workspace.create(folder / ".andon")
    made.clock.set(time_us=NOON + 9 * HOUR)
    made.save_contract(_HASH, fields, classes)
    made.records.put("release", "v1", {"version": "v1", "bundle": "b1", "run": "r1"})
    return made


def record(cases: list[Answered]) -> pl.DataFrame:
    """The same cases as ``andon.deploy.raters`` takes them, without a log."""
    rows = []
    for case in cases:
        (by, said), *more = case.people
        second = more[0] if more else (None, None)
        adjudicated = more[1][1] if len(more) > 1 else None
        rows.append((case.model, said, by, said if more else None, *second, adjudicated, case.truth))
    names = ("model", "other", "by", "said", "second_by", "second", "adjudicated", "truth")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def write(workspace: Workspace, fields: tuple[Field, ...], cases: list[Answered], *, labels: bool) -> None:
    """Into the log, as a line writes it: v1 in the shadow of people, their reviews, and the truth where ``labels`` come."""
    w0, s0 = WalWriter(workspace.wal_dir, "w0"), WalWriter(workspace.wal_dir, "s0")
    batch, reviews = DecisionBatch.empty(fields), []
    for case in cases:
        values = [case.x[one.name] for one in fields]
        batch.append_row(values, DecisionRow(id=case.id, time_us=NOON, level="shadow"))
        kinds: tuple[ItemKind, ...] = ("decision", "second", "adjudication")
        reviews += [
            Review(case.id, answer, "person", name, NOON + HOUR * (1 + at), kind=kinds[at])
            for at, (name, answer) in enumerate(case.people)
        ]
    n, contract = len(cases), bytes.fromhex(_HASH)
    w0.append(FrameKind.DECISION, encode_decisions(fields, batch), count=n, contract=contract, time_us=NOON)
    if labels:
        told = [Feedback(case.id, "label", case.truth, NOON + 5 * HOUR) for case in cases]
        w0.append(FrameKind.FEEDBACK, encode_feedback(told), count=n, time_us=NOON)
    said = [Prediction(case.id, "v1", case.model, case.confidence, time_us=NOON) for case in cases]
    s0.append(FrameKind.SHADOW, encode_predictions(said), count=n, time_us=NOON)
    workspace.outbox.append(reviews)
    w0.close()
    s0.close()
