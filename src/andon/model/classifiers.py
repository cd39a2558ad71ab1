"""Classifiers as graph nodes: a matrix in, probabilities in the order of ``classes_`` out, all in float64.

A threshold of a tree is compared as scikit-learn compares it, to the last bit: boosted trees in float64, plain trees
after rounding the inputs to float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from andon.model.graph import ML, Block, Graph

__all__ = ["CLASSIFIERS"]


def _logistic(graph: Graph, model: Any, block: Block) -> str:
    weights = np.asarray(model.coef_, dtype=np.float64).T
    bias = np.asarray(np.broadcast_to(model.intercept_, weights.shape[1]), dtype=np.float64)
    two = len(model.classes_) == 2
    if two:  # the sigmoid of -z is the complement of that of z: both at once, in few nodes, since each costs a visit
        weights, bias = np.hstack([-weights, weights]), np.hstack([-bias, bias])
    raw = graph.node("Gemm", block.tensor, graph.constant(weights), graph.constant(bias))
    return graph.node("Sigmoid", raw) if two else _link(graph, raw, len(model.classes_))


def _link(graph: Graph, raw: str, classes: int) -> str:
    """Logits to probabilities: a sigmoid and its complement for two classes, else softmax."""
    if classes > 2:
        return graph.node("Softmax", raw, axis=1)
    positive = graph.node("Sigmoid", raw)
    return graph.node("Concat", graph.node("Sub", graph.constant(np.array(1.0)), positive), positive, axis=1)


def _boosted(graph: Graph, model: Any, block: Block) -> str:
    if getattr(model, "_preprocessor", None) is not None:
        raise NotImplementedError("HistGradientBoostingClassifier with categorical_features")
    base = np.asarray(model._baseline_prediction, dtype=np.float64).ravel()
    trees = [(target, tree) for stage in model._predictors for target, tree in enumerate(stage)]
    outputs = model.n_trees_per_iteration_
    raw = _trees(graph, block.tensor, [_boosted_tree(tree.nodes, target, outputs) for target, tree in trees], outputs)
    return _link(graph, graph.node("Add", raw, graph.constant(base[None, :])), len(model.classes_))


def _boosted_tree(nodes: Any, target: int, outputs: int) -> dict[str, Any]:
    values = np.zeros((len(nodes), outputs))
    values[:, target] = nodes["value"]
    return {
        "leaf": nodes["is_leaf"].astype(bool),
        "feature": nodes["feature_idx"],
        "threshold": nodes["num_threshold"],
        "left": nodes["left"],
        "right": nodes["right"],
        "missing_left": nodes["missing_go_to_left"],
        "values": values,
    }


def _forest(graph: Graph, model: Any, block: Block) -> str:
    """Mean of the trees' leaf shares; scikit-learn rounds the inputs of these trees to float32 first."""
    members = [model] if hasattr(model, "tree_") else model.estimators_
    if model.n_outputs_ > 1:
        raise NotImplementedError(f"{type(model).__name__} with several outputs")
    rounded = graph.cast(graph.cast(block.tensor, TensorProto.FLOAT), TensorProto.DOUBLE)
    total = _trees(graph, rounded, [_plain_tree(member.tree_) for member in members], len(model.classes_))
    return graph.node("Div", total, graph.constant(np.array(float(len(members)))))


def _plain_tree(tree: Any) -> dict[str, Any]:
    return {
        "leaf": tree.children_left < 0,
        "feature": tree.feature,
        "threshold": tree.threshold,
        "left": tree.children_left,
        "right": tree.children_right,
        "missing_left": tree.missing_go_to_left,
        "values": tree.value[:, 0, :],
    }


def _trees(graph: Graph, tensor: str, trees: list[dict[str, Any]], outputs: int) -> str:
    """The sum over trees of their leaf values, as float64 of shape (rows, outputs); thresholds stay float64."""
    whole = {key: np.concatenate([tree[key] for tree in trees]) for key in trees[0]}
    sizes = [len(tree["leaf"]) for tree in trees]
    leaf = whole["leaf"]
    inner = (~leaf).astype(np.int64)
    tree, number = np.repeat(np.arange(len(trees)), sizes), np.concatenate([np.arange(size) for size in sizes])
    raw = graph.node(
        "TreeEnsembleRegressor",
        tensor,
        domain=ML,
        n_targets=outputs,
        nodes_treeids=tree.tolist(),
        nodes_nodeids=number.tolist(),
        nodes_featureids=(whole["feature"] * inner).tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=(whole["left"] * inner).tolist(),
        nodes_falsenodeids=(whole["right"] * inner).tolist(),
        nodes_missing_value_tracks_true=(whole["missing_left"] * inner).tolist(),
        nodes_values_as_tensor=numpy_helper.from_array(np.where(leaf, 0.0, whole["threshold"]), "thresholds"),
        target_treeids=np.repeat(tree[leaf], outputs).tolist(),
        target_nodeids=np.repeat(number[leaf], outputs).tolist(),
        target_ids=np.tile(np.arange(outputs), int(leaf.sum())).tolist(),
        target_weights_as_tensor=numpy_helper.from_array(
            np.ascontiguousarray(whole["values"][leaf].ravel()), "weights"
        ),
    )
    return graph.cast(raw, TensorProto.DOUBLE)


#: What is lowered here, by exact type: a subclass may compute something else.
CLASSIFIERS: dict[type, Callable[[Graph, Any, Block], str]] = {
    LogisticRegression: _logistic,
    HistGradientBoostingClassifier: _boosted,
    DecisionTreeClassifier: _forest,
    ExtraTreesClassifier: _forest,
    RandomForestClassifier: _forest,
}
