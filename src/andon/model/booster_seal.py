"""What ``train`` returned by LightGBM or XGBoost, in the form in which it is sealed: the library's own, never a pickle.

Taken are ``lightgbm.Booster``, ``LGBMClassifier``, ``xgboost.Booster``, ``XGBClassifier``, ``XGBRFClassifier``, and
scikit-learn pipelines and searches that end in one of them. What is sealed is loaded from its bytes and compared with
what was trained (``andon.model.agree``); where they disagree it is not used.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from sklearn.pipeline import Pipeline

from andon.errors import UserCodeError
from andon.model.adapter import Layout, Scores, dump_skops
from andon.model.agree import Original, compare
from andon.model.booster import INPUT, STEPS, BoosterScorer, Input, Library, both, matrix_of, open_booster, softmax
from andon.model.booster_traits import Traits, traits_of
from andon.model.bundle import Compiled
from andon.model.columns import NUMERIC
from andon.model.convert import CONVERTER
from andon.model.predictor import user_code
from andon.model.probe import Table, layout_of

__all__ = ["Found", "find_booster", "seal_booster"]

#: By exact type: a subclass may compute something else.
_TYPES: dict[tuple[str, str], Library] = {
    ("lightgbm", "Booster"): "lightgbm",
    ("lightgbm", "LGBMClassifier"): "lightgbm",
    ("xgboost", "Booster"): "xgboost",
    ("xgboost", "XGBClassifier"): "xgboost",
    ("xgboost", "XGBRFClassifier"): "xgboost",
}


@dataclass(frozen=True)
class Found:
    """A booster in what ``train`` returned: the pipeline that it ends, if any, and itself."""

    library: Library
    final: Any
    pipeline: Any = None

    @property
    def bare(self) -> bool:
        """Whether it is the library's ``Booster``, which knows no classes."""
        return type(self.final).__name__ == "Booster"


def find_booster(model: Any) -> Found | None:
    """The booster that ``model`` is or ends in; None when there is none."""
    if hasattr(model, "best_estimator_"):
        return find_booster(model.best_estimator_)
    if type(model) is Pipeline:
        found = find_booster(model.steps[-1][1])
        if found is None or found.pipeline is not None:
            return None
        steps = [step for _, step in model.steps[:-1] if step is not None and step != "passthrough"]
        return Found(found.library, found.final, model) if steps else found
    library = _TYPES.get((type(model).__module__.partition(".")[0], type(model).__name__))
    return Found(library, model) if library else None


def seal_booster(found: Found, table: Table, classes: tuple[str, ...], path: Path) -> Compiled | str:
    """The sealed form, which answers as ``found`` does, or the reason why there is none.

    ``table`` holds what it is called with, in training as later; ``path`` is where the user's code is. Raises
    ``UsageError`` for a model that gives no probabilities of classes, ``UserCodeError`` for one that cannot answer rows
    of its own training data.
    """
    with user_code(f"reading the {found.library} model", path):
        traits = traits_of(found.library, found.final)
    given = _given(found, traits, table, classes)
    original = Original(_Trained(found, given, len(classes), path).scores)
    original.scores(table.original({name: column[:5] for name, column in table.columns.items()}))
    reasons: list[str] = []
    for form in _forms(found, given, table, reasons):
        compiled = _tried(found, traits, form, table, classes, original)
        if isinstance(compiled, Compiled):
            return msgspec.structs.replace(compiled, reason="; ".join(reasons))
        reasons.append(compiled)
    return "; ".join(reasons)


@dataclass(frozen=True)
class _Form:
    """One way to seal: what stands around the booster, and the files beside it."""

    given: Input
    files: dict[str, bytes]
    layout: Layout


def _given(found: Found, traits: Traits, table: Table, classes: tuple[str, ...]) -> Input:
    base = Input(
        places=_places(traits.classes, classes),
        rounds=traits.rounds,
        margin=traits.margin,
        missing=traits.missing,
        strict=found.library == "xgboost",
    )
    if found.pipeline is not None:
        return base
    names = [field.name for field in table.fields]
    if table.shape == "matrix":
        if traits.width != len(names):
            raise UserCodeError(f"the model takes {traits.width} columns, and features() returns {len(names)}")
        return msgspec.structs.replace(base, width=len(names))
    columns = _columns(traits, names)
    return msgspec.structs.replace(base, columns=columns, levels=_levels(traits, columns, table))


def _places(own: tuple[str, ...], classes: tuple[str, ...]) -> tuple[int, ...]:
    """Where the model's classes are among the charter's: by name, or by number where they are 0, 1, ... for all of them."""
    if set(own) <= set(classes):
        return tuple(classes.index(name) for name in own)
    if own == tuple(map(str, range(len(classes)))):
        return tuple(range(len(classes)))
    raise UserCodeError(
        f"the model answers with the classes {', '.join(own)}, the charter has {', '.join(classes)}: train on their names, "
        f"or on 0 to {len(classes) - 1} in the charter's order (data.classes)"
    )


def _columns(traits: Traits, names: list[str]) -> tuple[str, ...]:
    """The table's columns in the order of the model's matrix: by name, or all in order where the model knows no names."""
    if traits.names:
        spelt = {name.replace(" ", "_"): name for name in names}  # as LightGBM spells them
        gone = [name for name in traits.names if name.replace(" ", "_") not in spelt]
        if gone:
            raise UserCodeError(
                f"the model was trained on a column {gone[0]!r} that it is not called with; found {', '.join(names)}"
            )
        return tuple(spelt[name.replace(" ", "_")] for name in traits.names)
    if traits.width != len(names):
        raise UserCodeError(f"the model takes {traits.width} columns, and it is called with {len(names)}")
    return tuple(names)


def _levels(traits: Traits, columns: tuple[str, ...], table: Table) -> dict[str, tuple[str | float, ...]]:
    """The categories by column; every text column must have some, and they must be texts."""
    texts = {field.name for field in table.fields if field.kind not in NUMERIC}
    wanted = [name for name in columns if name in texts]
    if traits.categorical:
        named = [columns[i] for i in traits.categorical]
    else:
        named = wanted
    if len(named) != len(traits.levels):
        named = wanted
    levels = dict(zip(named, traits.levels, strict=False))
    for name in columns:
        if (name in texts) != any(isinstance(level, str) for level in levels.get(name, ())):
            raise UserCodeError(
                f"{name} is {'text' if name in texts else 'a number'}, and the model has "
                f"{'other' if name in levels else 'no'} categories for it: encode it in features(), in a Pipeline, or "
                "train on data.x.to_pandas() with the dtype 'category'"
            )
    return levels


def _forms(found: Found, given: Input, table: Table, reasons: list[str]) -> Iterator[_Form]:
    """The ways to seal, best first; what stands in the way of one is added to ``reasons``."""
    if found.pipeline is None:
        yield _Form(given, {}, Layout())
        return
    from andon.model.lower import lower_steps

    steps, layout = found.pipeline[:-1], layout_of(table)
    try:
        graph = lower_steps(steps, layout, [field.name for field in table.fields])
    except CONVERTER as error:
        reasons.append(f"the steps before the booster are not compiled: {str(error).partition(chr(10))[0]}")
    else:
        yield _Form(msgspec.structs.replace(given, steps="onnx"), {STEPS["onnx"]: graph}, layout)
    payload, stranger = dump_skops(steps)
    if stranger:
        reasons.append(f"{stranger} is no reviewed scikit-learn type")
        return
    sealed = msgspec.structs.replace(given, steps="skops", fields=table.fields)
    yield _Form(sealed, {STEPS["skops"]: payload}, Layout())


def _tried(
    found: Found, traits: Traits, form: _Form, table: Table, classes: tuple[str, ...], original: Original
) -> Compiled | str:
    """The form loaded from its bytes and compared: sealed, or the sentence in which it disagrees."""
    files = {**form.files, INPUT: msgspec.json.encode(form.given)}
    try:
        scorer = open_booster(found.library, traits.payload, form.layout, classes, files)
    except UserCodeError as error:
        return error.message[:300]
    agreed = compare(scorer, original, table)
    if isinstance(agreed, str):
        return agreed
    return Compiled(
        found.library,
        traits.payload,
        layout=form.layout,
        difference=agreed.difference,
        rows_compared=agreed.rows,
        files=files,
    )


class _Trained:
    """What was trained, asked as the library asks it; one thread, since it is asked for few rows many times."""

    def __init__(self, found: Found, given: Input, classes: int, path: Path) -> None:
        self._found = found
        self._given = given
        self._path = path
        self._spread = BoosterScorer(found.library, lambda matrix: matrix, given, None, classes).spread
        if found.library == "xgboost":
            (found.final if found.bare else found.final.get_booster()).set_param({"nthread": 1})

    def scores(self, x: Any) -> Scores:
        """Scores in the contract's order."""
        with user_code("predict", self._path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it was trained with names and is asked without them
            return self._spread(both(np.asarray(self._answer(x))))

    def _answer(self, x: Any) -> Any:
        final, given = self._found.final, self._given
        threads = {"num_threads": 1} if self._found.library == "lightgbm" else {}
        if self._found.pipeline is not None:
            return self._found.pipeline.predict_proba(x, **threads)
        rows = _as_trained(x, given)
        if not self._found.bare:
            return final.predict_proba(rows, **threads)
        if self._found.library == "lightgbm":
            return final.predict(rows, **threads)
        if not given.margin:
            return final.inplace_predict(rows)
        return softmax(final.inplace_predict(rows, predict_type="margin"))


def _as_trained(x: Any, given: Input) -> Any:
    """Rows as the library was given them in training: a matrix, or a pandas frame where it learnt categories from one."""
    if not isinstance(x, pl.DataFrame) or not given.levels:
        return matrix_of(x, given)
    import pandas as pd

    columns = {}
    for name in given.columns:
        values, levels = x[name].to_list(), given.levels.get(name)
        if levels is None:
            columns[name] = pd.Series(values, dtype="float64")
            continue
        new = {value for value in values if value is not None} - set(levels)
        if (
            new and given.strict
        ):  # XGBoost raises for some of them only, and takes others for a neighbour in the alphabet
            raise UserCodeError(f"{name}: the model has never seen the category")
        columns[name] = pd.Series(pd.Categorical(values, categories=[*levels, *sorted(new)]))
    return pd.DataFrame(columns)
