"""What a model says about rows, and what would become of it: a frame with one row for each that was answered.

A call that fails is repeated on its halves until the guilty rows are alone; each of them is a reject with the model's
sentence, however many there are. (On the live path the gateway gives up after some calls; a file can wait.)

An outage is no row's fault: where the model is gone, all of it stops. A server that fails may be broken or may break on
these rows, and says the same; so it is asked about a row that it answered before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from andon.core.redact import Words, quiet
from andon.deploy.automation import Outcome, decide, needs_model
from andon.deploy.batch_check import Checked, Reject
from andon.deploy.batch_model import Answering
from andon.errors import AndonError, Unavailable, UserCodeError
from andon.model.columns import Columns, take
from andon.model.predictor import user_code
from andon.model.remote import RemoteScorer

#: Rows that a server is asked about by themselves at most, to see whether it answers any.
_WITNESSES = 8

__all__ = ["Answerer", "schema"]


def schema(classes: Sequence[str], *, ids: bool) -> dict[str, pl.DataType]:
    """The columns of a file of answers.

    >>> list(schema(("no", "yes"), ids=False))
    ['file', 'row', 'prediction', 'confidence', 'score_no', 'score_yes', 'version', 'level', 'decision', 'decided_by']
    """
    text, number = pl.String(), pl.Float64()
    return {
        "file": text,
        "row": pl.Int64(),
        **({"id": text} if ids else {}),
        "prediction": text,
        "confidence": number,
        **{f"score_{name}": number for name in classes},
        **dict.fromkeys(("version", "level", "decision", "decided_by"), text),
    }


class Answerer:
    """Asks a model and decides as the route would. ``hidden``: what user code says of a row may hold redacted values."""

    def __init__(self, model: Answering, *, hidden: bool = False) -> None:
        self._model = model
        self._served = model.served
        self._classes = tuple(model.served.classes)
        self._where: Path = model.served.path / "model.py"
        self._hidden = hidden
        scorer = getattr(model.served, "scorer", None)
        self._remote = scorer if isinstance(scorer, RemoteScorer) else None
        self._witness: Columns | None = None

    def answer(self, checked: Checked, file: str) -> tuple[pl.DataFrame, list[Reject]]:
        """The answers, and the rows that the model failed on. Raises ``Unavailable`` where no row is to blame."""
        n = checked.rows.len()
        if not n:
            return pl.DataFrame(schema=schema(self._classes, ids=checked.ids is not None)), []
        scores = np.full((n, len(self._classes)), np.nan, dtype=np.float32)
        faults: dict[int, str] = {}
        try:
            self._score(checked.columns, 0, scores, faults)
        except Unavailable as error:
            said = self._said(Words(error.message, error.kept))
            hint = "what was answered is kept; when the model is back, the same call goes on from there"
            raise Unavailable(
                f"the model is gone, and no row is to blame: {said}", hint=hint, kept=error.kept
            ) from error
        frame = self._frame(checked, file, scores)
        if not faults:
            return frame, []
        rows, ids = checked.rows, checked.ids
        rejects = [
            Reject(rows[at], None if ids is None else ids[at], None, self._said(why), checked.came(at))
            for at, why in sorted(faults.items())
        ]
        good = pl.repeat(True, n, eager=True).scatter([*faults], False)
        return frame.filter(good), rejects

    def close(self) -> None:
        """Let a model on another server go."""
        if self._remote is not None:
            self._remote.close()

    def _score(self, columns: Columns, begin: int, scores: Any, faults: dict[int, str]) -> None:
        """Fill in the scores of these rows, which stand at ``begin``."""
        n = len(next(iter(columns.values())))
        try:
            scores[begin : begin + n] = self._call(columns, n)
        except AndonError as error:
            if isinstance(error, Unavailable):
                raise
            if self._remote is not None and self._remote.failing:
                self._stands(columns, n)
            if n == 1:
                faults[begin] = Words(error.message, error.kept)
                return
            half = n // 2
            self._score(take(columns, slice(half)), begin, scores, faults)
            self._score(take(columns, slice(half, n)), begin + half, scores, faults)

    def _stands(self, columns: Columns, n: int) -> None:
        """Raise ``Unavailable`` unless the server answers another row now: one that it answered, else some of these."""
        known = self._witness
        places = sorted({n - 1 - at * n // _WITNESSES for at in range(_WITNESSES)} & {*range(n)})
        said: AndonError | None = None
        for row in [known] if known is not None else [take(columns, slice(at, at + 1)) for at in places]:
            try:
                self._call(row, 1)
            except AndonError as error:
                said = error
            else:
                self._witness = row
                return
        assert said is not None
        raise Unavailable(said.message, kept=said.kept) from said

    def _call(self, columns: Columns, n: int) -> Any:
        with user_code("predict", self._where):
            found = self._served.predict(columns)
        if found.shape != (n, len(self._classes)):
            said = f"the model answered with shape {found.shape}: expected {(n, len(self._classes))}"
            raise UserCodeError(said, kept=said)
        return found

    def _said(self, why: str) -> str:
        return quiet(why) if self._hidden else why

    def _frame(self, checked: Checked, file: str, scores: Any) -> pl.DataFrame:
        n = checked.rows.len()
        wide = scores.astype(np.float64)
        sound = np.isfinite(wide).all(axis=1)
        best = np.where(sound, wide.argmax(axis=1), -1)
        confidence = np.where(sound, wide.max(axis=1), np.nan)
        wide = np.where(sound[:, None], wide, np.nan)
        columns: dict[str, Any] = {"file": [file] * n, "row": checked.rows}
        if checked.ids is not None:
            columns["id"] = checked.ids
        names = np.array([*self._classes, None], dtype=object)
        columns["prediction"] = names[best].tolist()
        columns["confidence"] = confidence
        for at, name in enumerate(self._classes):
            columns[f"score_{name}"] = np.ascontiguousarray(wide[:, at])
        columns["version"] = [self._model.version] * n
        columns |= self._decided(checked, best, confidence)
        kinds = schema(self._classes, ids=checked.ids is not None)
        return pl.DataFrame(columns, schema=kinds, nan_to_null=True)

    def _decided(self, checked: Checked, best: Any, confidence: Any) -> dict[str, list[str | None]]:
        """What becomes of each: decided once for every kind of row that there is."""
        route = self._model.route
        found, kinds = self._levels(checked, len(best))
        limits = np.array([np.inf if (t := route.threshold(self._model.version, s)) is None else t for _, s in kinds])
        over = confidence >= limits[found]
        width = len(self._classes) + 1
        codes = (found * width + best + 1) * 2 + over
        _, first, places = np.unique(codes, return_index=True, return_inverse=True)
        told = [self._outcome(kinds[found[at]], int(best[at]), float(confidence[at])) for at in first.tolist()]
        levels = np.array([kind[0] for kind in kinds], dtype=object)
        decisions = np.array([*(one.decision for one in told), None], dtype=object)
        people = np.array([*(_by(one) for one in told), None], dtype=object)
        return {
            "level": levels[found].tolist(),
            "decision": decisions[places].tolist(),
            "decided_by": people[places].tolist(),
        }

    def _levels(self, checked: Checked, n: int) -> tuple[Any, list[Any]]:
        """The kind (level and slice) of every row, as a place in the list of kinds."""
        route = self._model.route
        if set(route.route.levels) <= {"*"}:
            return np.zeros(n, dtype=np.int64), [route.level(())]
        kinds: dict[Any, int] = {}
        places = [kinds.setdefault(route.level(row), len(kinds)) for row in checked.values()]
        return np.array(places, dtype=np.int64), [*kinds]

    def _outcome(self, kind: Any, best: int, confidence: float) -> Outcome:
        route, (level, slice) = self._model.route, kind
        label = self._classes[best] if best >= 0 else None
        return decide(
            route.policy,
            level,
            label,
            confidence if best >= 0 else None,
            route.threshold(self._model.version, slice),
            model=needs_model(route.policy, level),
        )


def _by(outcome: Outcome) -> str:
    return outcome.decided_by if outcome.status == "decided" else "person"
