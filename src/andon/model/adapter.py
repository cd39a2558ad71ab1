"""The forms in which a model is stored and called: ONNX graph, a booster's own format, skops file, Python object.

A compiled graph is 18 to 110 times faster for one row than scikit-learn and needs no trust; LightGBM and XGBoost are
loaded from what they write themselves (``andon.model.booster``); a skops file holds only types from a reviewed list; a
pickle runs whatever is in it and is loaded only where a person said so when it was sealed. All of them answer the same question: scores of shape (rows, classes), float32, in the contract's class order.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import onnxruntime
import polars as pl

from andon.core.reach import HERE, Reach
from andon.errors import Corrupt, UserCodeError
from andon.model.columns import Block, Columns
from andon.model.predictor import probabilities, user_code

__all__ = [
    "FILES",
    "MISSING",
    "REVIEWED",
    "Engine",
    "Layout",
    "ObjectScorer",
    "OnnxScorer",
    "Scorer",
    "Scores",
    "dump_skops",
    "load_model",
    "load_skops",
]

Engine = Literal["onnx", "lightgbm", "xgboost", "skops", "python", "remote"]
Scores = np.ndarray[Any, np.dtype[np.float32]]

#: The file of each engine inside a bundle.
FILES: dict[Engine, str] = {
    "onnx": "model.onnx",
    "lightgbm": "model.txt",
    "xgboost": "model.ubj",
    "skops": "model.skops",
    "python": "model.pkl",
    "remote": "remote.json",
}

_GRAPH = Path("model.onnx")
_SCORES = ["scores"]

#: What a missing text is inside a compiled graph, whose strings know no null (a private-use character, so no real text).
MISSING = "\ue000missing"

#: Types beyond skops' own list that were read and found to hold numbers and settings only (scikit-learn 1.9). A partial
#: can only be one of a function or type that is itself on a list.
REVIEWED = (
    "functools.partial",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
)


class Layout(msgspec.Struct, frozen=True):
    """The inputs of a compiled graph: columns by name (``numbers`` as float64, ``texts``), or one matrix of ``width``."""

    numbers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    width: int = 0


class Scorer(Protocol):
    """A loaded model."""

    def scores(self, x: Any) -> Scores:
        """Scores of shape (rows, classes) for canonical columns, or for what ``features`` returned."""
        ...


class OnnxScorer:
    """A compiled graph: one intra-op thread, so that workers do not fight for cores; ``run`` releases the GIL."""

    def __init__(self, graph: bytes, layout: Layout) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # every fault is raised; nothing needs printing too
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.layout = layout
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        # Its Python face checks in every call what cannot be otherwise here (inputs by name, devices), and takes as long
        # for it as a small model for its answer. What is below it is called where it is found.
        self._run = getattr(session, "_sess", session).run

    def scores(self, x: Any) -> Scores:
        """Run the graph."""
        feed = matrix_feed(x, self.layout) if self.layout.width else column_feed(x, self.layout)
        with user_code("predict", _GRAPH):
            result: Scores = self._run(_SCORES, feed, None)[0]
        return result


def matrix_feed(x: Any, layout: Layout) -> dict[str, np.ndarray[Any, Any]]:
    """``x`` as the one matrix input of a graph."""
    matrix = np.ascontiguousarray(x, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != layout.width:
        said = f"features: expected shape (rows, {layout.width}), as in training, found {matrix.shape}"
        raise UserCodeError(said, kept=said)
    return {"numbers": matrix}


def column_feed(x: Columns | pl.DataFrame, layout: Layout) -> dict[str, np.ndarray[Any, Any]]:
    """``x`` as the inputs of a graph that knows its columns by name."""
    feed: dict[str, np.ndarray[Any, Any]] = {}
    if layout.numbers:
        feed["numbers"] = _numbers(x, layout.numbers)
    if layout.texts:
        feed["texts"] = _texts(x, layout.texts)
    return feed


def _numbers(x: Columns | pl.DataFrame, names: tuple[str, ...]) -> np.ndarray[Any, Any]:
    if isinstance(x, Block) and x.names == names:
        return x.matrix
    if isinstance(x, Mapping):
        return np.array([x[name] for name in names], dtype=np.float64).T.copy()
    return np.ascontiguousarray(x.select(pl.col(*names).cast(pl.Float64)).to_numpy())


def _texts(x: Columns | pl.DataFrame, names: tuple[str, ...]) -> np.ndarray[Any, Any]:
    lists = [x[name].to_list() if isinstance(x, pl.DataFrame) else x[name].tolist() for name in names]
    return np.array([[MISSING if text is None else text for text in texts] for texts in lists], dtype=object).T.copy()


class ObjectScorer:
    """A live Python object with ``predict_proba`` or ``predict``, called inside the user-code boundary."""

    def __init__(self, model: Any, classes: tuple[str, ...], path: Path) -> None:
        self.model = model
        self.classes = classes
        self.path = path

    def scores(self, x: Any) -> Scores:
        """Call the object."""
        with user_code("predict", self.path):
            return probabilities(self.model, x, self.classes).astype(np.float32)


def load_model(
    engine: Engine,
    payload: bytes,
    layout: Layout,
    classes: tuple[str, ...],
    path: Path,
    files: Mapping[str, bytes] = MappingProxyType({}),
    reach: Reach = HERE,
) -> Scorer:
    """A scorer from the bytes of a bundle's model file; raises ``Corrupt`` when they hold no such model.

    ``path`` is where the user's code is, for the sentence when it raises; ``files`` are all files of the bundle; ``reach``
    is how far rows may go, and a model on another server is not loaded without it (``Denied``).
    Raises ``Unavailable`` when the library that the engine is of is not installed.
    """
    if engine == "onnx":
        return OnnxScorer(payload, layout)
    if engine == "lightgbm" or engine == "xgboost":
        from andon.model.booster import open_booster

        return open_booster(engine, payload, layout, classes, files)
    if engine == "remote":
        from andon.model.remote import RemoteScorer

        return RemoteScorer(payload, classes, reach)
    if engine == "skops":
        return ObjectScorer(load_skops(payload), classes, path)
    with user_code("unpickling the model", path):
        return ObjectScorer(pickle.loads(payload), classes, path)


def dump_skops(model: Any) -> tuple[bytes, str]:
    """The skops file of an object, and the first type in it that was not reviewed (then the file is of no use)."""
    import skops.io

    payload: bytes = skops.io.dumps(model)
    strangers = sorted(set(skops.io.get_untrusted_types(data=payload)) - set(REVIEWED))
    return payload, strangers[0] if strangers else ""


def load_skops(payload: bytes) -> Any:
    """The object of a skops file; raises ``Corrupt`` when it holds a type that was not reviewed."""
    import skops.io

    strangers = sorted(set(skops.io.get_untrusted_types(data=payload)) - set(REVIEWED))
    if strangers:
        raise Corrupt(f"model.skops holds a type that was not reviewed: {strangers[0]}; it is not loaded")
    return skops.io.loads(payload, trusted=list(REVIEWED))
