"""scikit-learn steps as graph nodes, in float64.

The steps most tabular models are made of are lowered here, because the general converter computes in float32 and does
not know missing texts, ``None`` among categories or NaN in a one-hot encoder; every other estimator is handed to
skl2onnx as one float32 node group. What neither can do raises ``NotImplementedError`` with the reason. Nothing here is trusted:
``andon.model.compile`` compares the result with the original before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from andon.model.adapter import MISSING, Layout
from andon.model.classifiers import CLASSIFIERS
from andon.model.convert import convert
from andon.model.graph import ML, Block, Graph

__all__ = ["lower", "lower_steps"]

Blocks = list[Block]


def lower(model: Any, layout: Layout, names: Sequence[str], classes: Sequence[str]) -> bytes:
    """The graph of a fitted classifier; ``names`` are the columns in the order in which it saw them.

    Raises ``NotImplementedError``. The output's columns are in the order of ``classes``.
    """
    graph = Graph()
    scores = _classify(graph, model, _inputs(graph, layout, names))
    return graph.build(layout, _reorder(graph, scores, model, classes))


def lower_steps(steps: Any, layout: Layout, names: Sequence[str]) -> bytes:
    """The graph of a fitted pipeline of transformers, whose float64 output is the next estimator's matrix.

    Raises ``NotImplementedError``.
    """
    graph = Graph()
    block = _numbers(graph, _transform(graph, steps, _inputs(graph, layout, names)), steps)
    return graph.build(layout, block.tensor, TensorProto.DOUBLE)


def _inputs(graph: Graph, layout: Layout, names: Sequence[str]) -> Blocks:
    """The model's input columns in their order, as runs of one kind."""
    if layout.width:
        return [Block("numbers", "number", layout.width)]
    whole = {
        "number": Block("numbers", "number", len(layout.numbers)),
        "text": Block("texts", "text", len(layout.texts)),
    }
    places = {name: ("number", i) for i, name in enumerate(layout.numbers)}
    places |= {name: ("text", i) for i, name in enumerate(layout.texts)}
    return _runs(graph, whole, [places[name] for name in names])


def _runs(graph: Graph, whole: dict[str, Block], places: list[tuple[str, int]]) -> Blocks:
    runs: list[tuple[str, list[int]]] = []
    for kind, position in places:
        if runs and runs[-1][0] == kind:
            runs[-1][1].append(position)
        else:
            runs.append((kind, [position]))
    return [graph.gather(whole[kind], positions) for kind, positions in runs]


def _select(graph: Graph, blocks: Blocks, columns: Sequence[int]) -> Blocks:
    """Columns by their position over all blocks."""
    owner = [(number, column) for number, block in enumerate(blocks) for column in range(block.width)]
    keyed = {str(number): block for number, block in enumerate(blocks)}
    return _runs(graph, keyed, [(str(owner[i][0]), owner[i][1]) for i in columns])


def _numbers(graph: Graph, blocks: Blocks, step: Any) -> Block:
    block = graph.concat(blocks)
    if block.kind != "number":
        raise NotImplementedError(f"{type(step).__name__} is given texts")
    return block


# --- transformers: blocks in, blocks out


def _transform(graph: Graph, step: Any, blocks: Blocks) -> Blocks:
    if step is None or isinstance(step, str):
        return [] if step == "drop" else blocks
    rule = _TRANSFORMERS.get(type(step))
    return rule(graph, step, blocks) if rule else [convert(graph, step, _numbers(graph, blocks, step), output=0)]


def _pipeline(graph: Graph, step: Any, blocks: Blocks) -> Blocks:
    for _, inner in step.steps:
        blocks = _transform(graph, inner, blocks)
    return blocks


def _column_transformer(graph: Graph, step: Any, blocks: Blocks) -> Blocks:
    if step.transformer_weights:
        raise NotImplementedError("ColumnTransformer with transformer_weights")
    result: Blocks = []
    for name, inner, _ in step.transformers_:
        columns = step._transformer_to_input_indices[name]
        if len(columns):
            result += _transform(graph, inner, _select(graph, blocks, columns))
    return [graph.concat(result)]


def _function(graph: Graph, step: Any, blocks: Blocks) -> Blocks:
    if step.func is not None:
        raise NotImplementedError("FunctionTransformer with a Python function")
    return blocks


def _impute(graph: Graph, step: Any, blocks: Blocks) -> Blocks:
    block = graph.concat(blocks)
    if step.add_indicator and block.kind == "text":
        raise NotImplementedError("SimpleImputer with add_indicator on texts")
    missing = _missing(graph, step, block)
    if missing is None:
        return [block]
    filled = _filled(graph, step, block, missing)
    if not step.add_indicator or not len(step.indicator_.features_):
        return [filled]
    flags = graph.gather(Block(missing, "number", block.width), step.indicator_.features_)
    return [filled, Block(graph.cast(flags.tensor, TensorProto.DOUBLE), "number", flags.width)]


def _missing(graph: Graph, step: Any, block: Block) -> str | None:
    """A boolean tensor of what the imputer replaces; None when it replaces nothing."""
    mark = step.missing_values
    nan = isinstance(mark, float) and math.isnan(mark)
    if block.kind == "text":
        if nan:
            return None  # scikit-learn finds no NaN among texts: None stays None
        return graph.node("Equal", block.tensor, graph.constant([[MISSING if mark is None else str(mark)]]))
    if nan:
        return graph.node("IsNaN", block.tensor)
    if mark is None or isinstance(mark, str):
        raise NotImplementedError(f"SimpleImputer with missing_values={mark!r} on numbers")
    return graph.node("Equal", block.tensor, graph.constant([[float(mark)]]))


def _filled(graph: Graph, step: Any, block: Block, missing: str) -> Block:
    if block.kind == "text":
        values = graph.constant(np.array([list(step.statistics_)], dtype=object))
        return Block(graph.node("Where", missing, values, block.tensor), "text", block.width)
    statistics = np.asarray(step.statistics_, dtype=np.float64)
    values = graph.constant(statistics[None, :])
    filled = Block(graph.node("Where", missing, values, block.tensor), "number", block.width)
    return graph.gather(filled, np.flatnonzero(~np.isnan(statistics)))  # a column never seen filled is dropped


def _one_hot(graph: Graph, step: Any, blocks: Blocks) -> Blocks:
    if step._infrequent_enabled:
        raise NotImplementedError("OneHotEncoder with infrequent categories")
    result: Blocks = []
    for index, column in enumerate(_single(graph, blocks)):
        kept = _kept(step, index)
        encode = _one_hot_texts if column.kind == "text" else _one_hot_numbers
        tensor = encode(graph, step, column, list(step.categories_[index]))
        result.append(graph.gather(Block(tensor, "number", len(step.categories_[index])), kept))
    return [graph.concat(result)]


def _single(graph: Graph, blocks: Blocks) -> Blocks:
    return [graph.gather(block, [column]) for block in blocks for column in range(block.width)]


def _kept(step: Any, index: int) -> list[int]:
    """Positions of the categories that get a column: all but the one that ``drop`` names."""
    dropped = None if step.drop_idx_ is None else step.drop_idx_[index]
    return [i for i in range(len(step.categories_[index])) if i != dropped]


def _one_hot_texts(graph: Graph, step: Any, column: Block, categories: list[Any]) -> str:
    known = [MISSING if value is None else str(value) for value in categories]
    zeros = 0 if step.handle_unknown == "error" else 1
    flat = graph.node("Reshape", column.tensor, graph.constant(np.array([-1], dtype=np.int64)))
    encoded = graph.node("OneHotEncoder", flat, domain=ML, cats_strings=known, zeros=zeros)
    return graph.cast(encoded, TensorProto.DOUBLE)


def _one_hot_numbers(graph: Graph, step: Any, column: Block, categories: list[Any]) -> str:
    if step.handle_unknown == "error":
        raise NotImplementedError("OneHotEncoder with handle_unknown='error' on numbers")
    known = np.array([[float("nan") if value is None else float(value) for value in categories]])
    hit = graph.node("Equal", column.tensor, graph.constant(known))
    if np.isnan(known).any():
        gap = graph.node("And", graph.node("IsNaN", column.tensor), graph.constant(np.isnan(known)))
        hit = graph.node("Or", hit, gap)
    return graph.cast(hit, TensorProto.DOUBLE)


def _ordinal(graph: Graph, step: Any, blocks: Blocks) -> Blocks:
    if step.handle_unknown == "error" or getattr(step, "_infrequent_enabled", False):
        raise NotImplementedError("OrdinalEncoder that raises on unknown categories or groups rare ones")
    result: Blocks = []
    for index, column in enumerate(_single(graph, blocks)):
        if column.kind != "text":
            raise NotImplementedError("OrdinalEncoder on numbers")
        known = list(step.categories_[index])
        values = [float(i) for i in range(len(known))]  # scikit-learn takes None for one more category here
        keys = [MISSING if value is None else str(value) for value in known]
        attributes = {"keys_strings": keys, "values_floats": values, "default_float": float(step.unknown_value)}
        tensor = graph.node("LabelEncoder", column.tensor, domain=ML, **attributes)
        result.append(Block(graph.cast(tensor, TensorProto.DOUBLE), "number", 1))
    return [graph.concat(result)]


def _standard(graph: Graph, step: Any, blocks: Blocks) -> Blocks:
    return _affine(graph, step, blocks, step.mean_ if step.with_mean else None, step.scale_)


def _robust(graph: Graph, step: Any, blocks: Blocks) -> Blocks:
    return _affine(graph, step, blocks, step.center_, step.scale_)


def _affine(graph: Graph, step: Any, blocks: Blocks, offset: Any, scale: Any) -> Blocks:
    block = _numbers(graph, blocks, step)
    tensor = block.tensor
    if offset is not None:
        tensor = graph.node("Sub", tensor, graph.constant(np.asarray(offset, dtype=np.float64)[None, :]))
    if scale is not None:
        tensor = graph.node("Div", tensor, graph.constant(np.asarray(scale, dtype=np.float64)[None, :]))
    return [Block(tensor, "number", block.width)]


def _min_max(graph: Graph, step: Any, blocks: Blocks) -> Blocks:
    if step.clip:
        raise NotImplementedError("MinMaxScaler with clip")
    block = _numbers(graph, blocks, step)
    scaled = graph.node("Mul", block.tensor, graph.constant(step.scale_[None, :]))
    return [Block(graph.node("Add", scaled, graph.constant(step.min_[None, :])), "number", block.width)]


# --- the classifier at the end: blocks in, a tensor of probabilities out


def _classify(graph: Graph, model: Any, blocks: Blocks) -> str:
    if hasattr(model, "best_estimator_"):
        return _classify(graph, model.best_estimator_, blocks)
    if isinstance(model, Pipeline):
        for _, step in model.steps[:-1]:
            blocks = _transform(graph, step, blocks)
        return _classify(graph, model.steps[-1][1], blocks)
    if not hasattr(model, "predict_proba"):
        raise NotImplementedError(f"{type(model).__name__} has no predict_proba")
    block = _numbers(graph, blocks, model)
    rule = CLASSIFIERS.get(type(model))
    return rule(graph, model, block) if rule else convert(graph, model, block, output=1).tensor


def _reorder(graph: Graph, scores: str, model: Any, classes: Sequence[str]) -> str:
    """Columns from the order of ``classes_`` into that of the contract; a class never seen gets 0."""
    own = [str(name) for name in model.classes_]
    if own == list(classes):
        return scores
    if set(own) - set(classes):
        raise NotImplementedError(f"the model has a class {min(set(own) - set(classes))!r} that the contract has not")
    place = np.zeros((len(own), len(classes)))
    place[np.arange(len(own)), [list(classes).index(name) for name in own]] = 1.0
    return graph.node("MatMul", scores, graph.constant(place))


_TRANSFORMERS: dict[type, Callable[[Graph, Any, Blocks], Blocks]] = {
    Pipeline: _pipeline,
    ColumnTransformer: _column_transformer,
    FunctionTransformer: _function,
    SimpleImputer: _impute,
    OneHotEncoder: _one_hot,
    OrdinalEncoder: _ordinal,
    StandardScaler: _standard,
    RobustScaler: _robust,
    MinMaxScaler: _min_max,
}
