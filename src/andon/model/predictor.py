"""The user's Python file and what it returns: loaded, called and believed at one boundary.

Whatever user code raises becomes one ``UserCodeError`` sentence with the file and line of *their* code; nothing else in
Andon catches everything. A predictor is anything with ``predict_proba``, or at least ``predict``, as in scikit-learn.

>>> with user_code("train", Path("model.py")):
...     1 / 0
Traceback (most recent call last):
...
andon.errors.UserCodeError: train in model.py raised ZeroDivisionError: division by zero
"""

from __future__ import annotations

import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import polars as pl

from andon.core.record import Field, Kind
from andon.core.registry import did_you_mean
from andon.errors import AndonError, NotFound, UserCodeError
from andon.model.columns import Columns, columns_of, frame_of, length_of

__all__ = [
    "Predictor",
    "TrainingData",
    "UserCode",
    "Wants",
    "load_user_module",
    "load_user_source",
    "probabilities",
    "user_code",
]

Wants = Literal["polars", "numpy"]
Ints = np.ndarray[Any, np.dtype[np.int64]]

#: The column by which ``clean`` knows a row.
ROW = "_row"
_ROUNDING = 1e-6
_WORDS_MAX = 2000  # characters of what user code says: it is written for every row that fails


@runtime_checkable
class Predictor(Protocol):
    """What ``train`` should return; ``andon.checks.predictor.check_predictor`` is its conformance suite."""

    def predict_proba(self, x: Any, /) -> Any:
        """Probabilities, shape (rows, classes), columns in the order of ``classes_`` (of the contract without it)."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What ``train`` is given: one part of a frozen dataset.

    ``x`` is the canonical polars frame (``andon.model.columns``), ``y`` the labels as strings, ``classes`` all classes in
    the contract's order. ``features`` is what the user's ``features()`` made of ``x``; None when there is no such
    function. ``dev`` is the development part, for early stopping and the like; None when the dataset has none. ``seed``
    makes a run repeatable when the code uses it.

    >>> data = TrainingData(pl.DataFrame({"a": [1.0, 2.0]}), pl.Series("y", ["no", "yes"]), ("no", "yes"))
    >>> len(data), data.input.shape, data.part
    (2, (2, 1), 'train')
    """

    x: pl.DataFrame
    y: pl.Series
    classes: tuple[str, ...]
    features: Any = None
    part: str = "train"
    seed: int = 0
    dev: TrainingData | None = None
    meta: pl.DataFrame = field(default_factory=pl.DataFrame)

    def __len__(self) -> int:
        return self.y.len()

    @property
    def input(self) -> Any:
        """What the model will be called with: ``features`` where there are any, else ``x``."""
        return self.x if self.features is None else self.features


@dataclass(frozen=True, slots=True)
class UserCode:
    """A loaded ``model.py``: its bytes, their hash and its functions. ``wants`` is what ``features`` takes."""

    path: Path
    source: bytes
    hash: str
    module: ModuleType
    train: Callable[..., Any] | None
    features: Callable[..., Any] | None
    clean: Callable[..., Any] | None
    wants: Wants

    @property
    def prepares(self) -> bool:
        """Whether user code stands between the contract's columns and the model."""
        return self.features is not None or self.clean is not None

    def prepare(self, columns: Columns, fields: Sequence[Field]) -> tuple[Any, Ints | None]:
        """What the model is called with, and which rows it stands for (None: all of them, in order).

        First ``clean``, then ``features``, in training and in production alike; ``clean`` may drop rows, and knows them
        by the column ``_row`` (from 1, as in ``andon.data.clean``). Raises ``UserCodeError``.
        """
        if self.clean is None:
            return self._featurise(columns, fields), None
        frame = self._cleaned(frame_of(columns, fields))
        kept = None if ROW not in frame.columns else frame[ROW].to_numpy() - 1
        if kept is None and frame.height != length_of(columns):
            raise UserCodeError(f"clean in {self.path.name}: rows were dropped or added; give the column {ROW!r} back")
        inner = tuple(_field(series) for series in frame.drop(ROW, strict=False))
        return self._featurise(columns_of(frame, inner), inner), kept

    def _cleaned(self, frame: pl.DataFrame) -> pl.DataFrame:
        assert self.clean is not None
        numbered = frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW))
        with user_code("clean", self.path):
            found = self.clean(numbered)
        if not isinstance(found, pl.DataFrame):
            raise UserCodeError(
                f"clean in {self.path.name}: expected a polars frame back, found {type(found).__name__}"
            )
        return found

    def _featurise(self, columns: Columns, fields: Sequence[Field]) -> Any:
        if self.features is None:
            return frame_of(columns, fields)
        given = dict(columns) if self.wants == "numpy" else frame_of(columns, fields)
        with user_code("features", self.path):
            return self.features(given)


def _field(series: pl.Series) -> Field:
    """A column that ``clean`` returned, as a field: numbers, texts or bytes."""
    kinds: dict[Any, Kind] = {pl.String: "text", pl.Categorical: "text", pl.Enum: "text", pl.Binary: "image"}
    return Field(series.name, kinds.get(series.dtype.base_type(), "float"), optional=True)


class user_code:
    """The boundary around user code: whatever it raises leaves as ``UserCodeError`` with the user's file and line.

    A context manager in the plain form, because one is entered for every batch of the live path.
    """

    __slots__ = ("_doing", "_path")

    def __init__(self, doing: str, path: Path) -> None:
        self._doing = doing
        self._path = path

    def __enter__(self) -> None:
        """Go in."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Come out; raises ``UserCodeError`` in place of what the code raised."""
        if error is None or isinstance(error, AndonError | KeyboardInterrupt | GeneratorExit):
            return  # a panic of polars and an exit are no `Exception`, and as much the code's own as one
        path = self._path
        raised = f"{self._doing} in {path.name}{_where(error, path)} raised {type(error).__name__}"
        words = _words(error)
        raise UserCodeError(
            f"{raised}: {words}" if words else raised,
            hint=f"the fault is in the project's own code: {path}",
            kept=raised,
        ) from error


def _words(error: BaseException) -> str:
    """What an exception says, shortened, as text that a file can hold; nothing where it fails to say anything."""
    with suppress(Exception):
        return str(error)[:_WORDS_MAX].encode("utf-8", "replace").decode()
    return ""


def _where(error: BaseException, path: Path) -> str:
    """``:line`` of the innermost frame of the user's file; empty when the fault never entered it."""
    if isinstance(error, SyntaxError) and error.filename == str(path) and error.lineno:
        return f":{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f":{lines[-1]}" if lines else ""


def load_user_module(path: str | Path) -> UserCode:
    """Load the project's Python file; raises ``NotFound``, or ``UserCodeError`` when importing it fails."""
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"no model code at {path}", hint="run `andon init`, which writes a model.py to start from")
    return load_user_source(path.read_bytes(), path)


def load_user_source(source: bytes, path: Path) -> UserCode:
    """Load user code from its bytes; ``path`` is where tracebacks say it is.

    The module is registered under a name made from its hash, so that two versions can be loaded side by side and an
    object pickled by one is unpickled by the same code. Loading the same bytes again gives the module already loaded
    (and ``path`` says from where).
    """
    digest = blake2b(source, digest_size=32).hexdigest()
    name = f"andon_model_{digest[:16]}"
    module = sys.modules.get(name)
    if module is None:
        module = _execute(source, path, name)
    features = _function(module, "features")
    return UserCode(
        path=Path(str(module.__file__)),
        source=source,
        hash=digest,
        module=module,
        train=_function(module, "train"),
        features=features,
        clean=_function(module, "clean"),
        wants=_wants(features),
    )


def _execute(source: bytes, path: Path, name: str) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    linecache.checkcache(str(path))
    try:
        with user_code("importing the code", path):
            exec(compile(source, str(path), "exec"), module.__dict__)
    except UserCodeError:
        del sys.modules[name]
        raise
    return module


def _function(module: ModuleType, name: str) -> Callable[..., Any] | None:
    found = getattr(module, name, None)
    if found is not None and not callable(found):
        raise UserCodeError(f"{name} in {Path(str(module.__file__)).name}: expected a function, found {found!r}")
    return found


def _wants(features: Callable[..., Any] | None) -> Wants:
    """``numpy`` when the first parameter of ``features`` is annotated as a dict or mapping, else ``polars``."""
    if features is None:
        return "polars"
    parameters = list(inspect.signature(features).parameters.values())
    annotation = str(parameters[0].annotation).lower() if parameters else ""
    return "numpy" if "dict" in annotation or "mapping" in annotation else "polars"


def probabilities(model: Any, x: Any, classes: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What a predictor says about ``x``: float64, shape (rows, classes), columns in the order of ``classes``.

    A class that the model never saw gets probability 0. A model with only ``predict`` gives 1 to what it says; a row
    where it says None is all NaN: no answer. Raises ``UserCodeError`` when the shape or the classes do not fit, or a
    probability is none.

    >>> class Constant:
    ...     classes_ = ["yes", "no"]
    ...     def predict_proba(self, x): return [[0.9, 0.1]] * len(x)
    >>> probabilities(Constant(), [1, 2], ("no", "maybe", "yes")).tolist()
    [[0.1, 0.0, 0.9], [0.1, 0.0, 0.9]]
    """
    if hasattr(model, "predict_proba"):
        return _ordered(np.asarray(model.predict_proba(x), dtype=np.float64), model, classes)
    if hasattr(model, "predict"):
        return _one_hot(model.predict(x), classes)
    raise UserCodeError(
        f"train returned {type(model).__name__}: expected something with predict_proba or predict, found neither"
    )


def _ordered(
    scores: np.ndarray[Any, np.dtype[np.float64]], model: Any, classes: Sequence[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    own = [str(name) for name in getattr(model, "classes_", classes)]
    if scores.ndim != 2 or scores.shape[1] != len(own):
        raise UserCodeError(
            f"predict_proba of {type(model).__name__}: expected shape (rows, {len(own)}), found {scores.shape}"
        )
    beyond = scores[(scores < -_ROUNDING) | (scores > 1 + _ROUNDING)]
    if beyond.size:
        raise UserCodeError(
            f"predict_proba of {type(model).__name__}: expected probabilities from 0 to 1, found {beyond[0]:g}"
        )
    if own == list(classes):
        return scores
    result = np.zeros((len(scores), len(classes)))
    for position, name in enumerate(own):
        result[:, _position(name, classes)] = scores[:, position]
    return result


def _one_hot(labels: Any, classes: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    result = np.zeros((len(labels), len(classes)))
    for row, label in enumerate(labels):
        if label is None:
            result[row] = np.nan
        else:
            result[row, _position(str(label), classes)] = 1.0
    return result


def _position(name: str, classes: Sequence[str]) -> int:
    try:
        return list(classes).index(name)
    except ValueError:
        raise UserCodeError(
            f"the model answers with the class {name!r}, which the charter does not have; {did_you_mean(name, classes)}"
        ) from None
