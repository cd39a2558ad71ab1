"""LightGBM and XGBoost in process: loaded from the library's own format, one thread, no code of training, no pickle.

A bundle holds the booster as the library writes it (``model.txt``, ``model.ubj``), ``input.json`` with what stands around
it (``Input``), and, for a pipeline, the steps before it as ``steps.onnx`` or ``steps.skops``. Whatever the columns come
in as, the library is handed one float64 matrix: text categories as the codes it learnt, missing as NaN. Both libraries
release the GIL while they answer and may be asked from several threads.

>>> matrix_of({"c": np.array(["x", None, "new"], dtype=object)}, Input(columns=("c",), levels={"c": ("x", "y")})).tolist()
[[0.0], [nan], [nan]]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import polars as pl

from andon.core.record import Field
from andon.errors import Corrupt, Unavailable, UserCodeError
from andon.model.adapter import FILES, Layout, OnnxScorer, load_skops
from andon.model.columns import Block, frame_of
from andon.model.predictor import user_code

__all__ = ["INPUT", "STEPS", "BoosterScorer", "Input", "Library", "Steps", "library_of", "matrix_of", "open_booster"]

Array = np.ndarray[Any, Any]

#: The files beside the booster.
INPUT = "input.json"
STEPS = {"onnx": "steps.onnx", "skops": "steps.skops"}

Library = Literal["lightgbm", "xgboost"]


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands around a booster: what it is given, and what its outputs mean.

    ``columns`` are the columns of its matrix by name, in its order; none where a matrix of ``width`` comes in, from
    ``features`` or from the ``steps`` of a pipeline (which see the columns ``fields``). ``levels`` has the categories of a
    column in the order of their codes; one that is not among them is missing, or a fault where ``strict``. ``places`` are
    the contract's classes by output, ``rounds`` how many rounds answer (0: all), ``margin`` that the outputs are raw and
    become probabilities by softmax. ``missing`` is the number that stands for no value; NaN always does.
    """

    columns: tuple[str, ...] = ()
    width: int = 0
    levels: dict[str, tuple[str | float, ...]] = {}
    strict: bool = False
    steps: Literal["", "onnx", "skops"] = ""
    fields: tuple[Field, ...] = ()
    places: tuple[int, ...] = ()
    rounds: int = 0
    margin: bool = False
    missing: float | None = None


class Steps(Protocol):
    """The steps of a pipeline before its booster."""

    def matrix(self, x: Any) -> Any:
        """The booster's matrix for what comes in, dense or sparse."""
        ...


class Ask(Protocol):
    """A loaded booster: a matrix in, the library's own answer out."""

    def __call__(self, matrix: Any) -> Array:
        """Shape (rows,) for two classes, else (rows, classes)."""
        ...


class BoosterScorer:
    """A booster that answers as ``predict_proba`` of the object that was trained."""

    def __init__(self, library: Library, ask: Ask, given: Input, steps: Steps | None, classes: int) -> None:
        self.given = given
        self._where = Path(FILES[library])
        self._ask = ask
        self._steps = steps
        self._classes = classes
        self._straight = given.places == tuple(range(classes))

    def scores(self, x: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Scores of shape (rows, classes), float32; raises ``UserCodeError`` where the library or a step does."""
        with user_code("predict", self._where):
            matrix = matrix_of(x, self.given) if self._steps is None else self._steps.matrix(x)
            return self.spread(self._ask(matrix))

    def spread(self, raw: Array) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The library's outputs as scores in the contract's order of classes."""
        found = both(raw)
        if self._straight:
            return found.astype(np.float32, copy=False)
        result = np.zeros((len(found), self._classes), dtype=np.float32)
        result[:, self.given.places] = found
        return result


def both(raw: Array) -> Array:
    """Outputs as one column for each class: of two classes a library tells the probability of the second one.

    >>> both(np.array([0.25, 1.0])).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    return np.stack([1.0 - raw, raw], axis=1) if raw.ndim == 1 else raw


def softmax(raw: Array) -> Array:
    """Raw outputs as probabilities, row by row."""
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    result: Array = powers / powers.sum(axis=1, keepdims=True)
    return result


def matrix_of(x: Any, given: Input) -> Array:
    """Canonical columns, a polars frame or a matrix as the booster's matrix; raises ``UserCodeError`` for another width."""
    if not given.columns:
        matrix = np.ascontiguousarray(x, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != given.width:
            said = f"features: expected shape (rows, {given.width}), as in training, found {matrix.shape}"
            raise UserCodeError(said, kept=said)
        return matrix
    if isinstance(x, Block) and x.names == given.columns and not given.levels:
        return x.matrix
    return np.array([_column(x, name, given) for name in given.columns], dtype=np.float64).T.copy()


def _column(x: Mapping[str, Array] | pl.DataFrame, name: str, given: Input) -> Array:
    levels = given.levels.get(name)
    if isinstance(x, pl.DataFrame):
        column = x[name].to_numpy() if levels is None else np.array([*x[name].to_list(), None], dtype=object)[:-1]
    else:
        column = x[name]
    return column if levels is None else _codes(column, levels, name, given.strict)


def _codes(column: Array, levels: tuple[str | float, ...], name: str, strict: bool) -> Array:
    """Categories as their codes; missing is NaN, and so is what was never seen, unless that is a fault."""
    codes = {level: float(code) for code, level in enumerate(levels)}
    values = column.tolist()
    found = [codes.get(value, np.nan) for value in values]
    if strict:
        for value, code in zip(values, found, strict=True):
            if code != code and value is not None and value == value:
                raise UserCodeError(
                    f"{name}: the model has never seen the category {value!r}, and XGBoost does not answer then; "
                    "let the contract name the categories, or mark the column optional and give none",
                    kept=f"{name}: the model has never seen the category",
                )
    return np.array(found, dtype=np.float64)


class OnnxSteps:
    """Steps that were compiled; the booster is given the very matrix that scikit-learn made in training."""

    def __init__(self, graph: bytes, layout: Layout) -> None:
        self._run = OnnxScorer(graph, layout)

    def matrix(self, x: Any) -> Any:
        """Run the graph."""
        return self._run.scores(x)


class SkopsSteps:
    """Steps that were not: a scikit-learn object of reviewed types."""

    def __init__(self, payload: bytes, given: Input) -> None:
        self._steps = load_skops(payload)
        self._fields = given.fields

    def matrix(self, x: Any) -> Any:
        """Call it with what it saw in training: a polars frame, or a matrix from ``features``."""
        return self._steps.transform(frame_of(x, self._fields) if isinstance(x, Mapping) else x)


def open_booster(
    library: Library, payload: bytes, layout: Layout, classes: tuple[str, ...], files: Mapping[str, bytes]
) -> BoosterScorer:
    """A scorer from a bundle's files; raises ``Unavailable`` without the library, ``Corrupt`` for bytes it cannot read."""
    try:
        given = msgspec.json.decode(files[INPUT], type=Input)
    except (KeyError, msgspec.MsgspecError) as error:
        raise Corrupt(f"{INPUT} of a {library} bundle cannot be read: {error}") from error
    steps: Steps | None = None
    if given.steps == "onnx":
        steps = OnnxSteps(files[STEPS["onnx"]], layout)
    elif given.steps == "skops":
        steps = SkopsSteps(files[STEPS["skops"]], given)
    loaded = library_of(library)
    with user_code(f"loading the {library} model", Path(FILES[library])):
        ask = _lightgbm(loaded, payload) if library == "lightgbm" else _xgboost(loaded, payload, given)
    return BoosterScorer(library, ask, given, steps, len(classes))


def library_of(library: Library) -> Any:
    """The library, imported now; raises ``Unavailable`` with what to do where it is not installed."""
    try:
        if library == "lightgbm":
            import lightgbm

            return lightgbm
        import xgboost

        return xgboost
    except ImportError as error:
        raise Unavailable(
            f"the model is a {library} model, and {library} is not installed here: {error}",
            hint=f"pip install 'andon[{library}]'",
        ) from error


def _lightgbm(lightgbm: Any, payload: bytes) -> Ask:
    booster = lightgbm.Booster(model_str=payload.decode())

    def ask(matrix: Any) -> Array:
        found: Array = booster.predict(matrix, num_threads=1)
        return found

    return ask


def _xgboost(xgboost: Any, payload: bytes, given: Input) -> Ask:
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(payload))
    options = {
        "iteration_range": (0, given.rounds),
        "predict_type": "margin" if given.margin else "value",
        "missing": np.nan if given.missing is None else given.missing,
        "validate_features": False,
    }

    def ask(matrix: Any) -> Array:
        found: Array = booster.inplace_predict(matrix, **options)
        return softmax(found) if given.margin else found

    ask(np.zeros((1, booster.num_features())))  # the first call configures the booster: before threads share it
    return ask
