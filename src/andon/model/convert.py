"""Any other scikit-learn estimator as graph nodes, through skl2onnx; the only file that imports it."""

from __future__ import annotations

import warnings
from typing import Any

from onnx import TensorProto

from andon.model.graph import OPSETS, Block, Graph

__all__ = ["CONVERTER", "convert"]

#: What a converter raises when a model is beyond it. ONNX Runtime's own exceptions have no common ancestor but Exception.
CONVERTER = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError)


def convert(graph: Graph, step: Any, block: Block, output: int) -> Block:
    """One estimator converted by skl2onnx on a float32 matrix, its nodes copied into this graph."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    options = {id(step): {"zipmap": False}} if output else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = convert_sklearn(
            step, initial_types=[("x", FloatTensorType([None, block.width]))], options=options, target_opset=OPSETS
        )
    names = {"x": graph.cast(block.tensor, TensorProto.FLOAT)}
    return _inline(graph, model.graph, names, output)


def _inline(graph: Graph, inner: Any, names: dict[str, str], output: int) -> Block:
    prefix = graph.name()
    for constant in inner.initializer:
        names[constant.name] = f"{prefix}_{constant.name}"
        constant.name = names[constant.name]
        graph.constants.append(constant)
    for node in inner.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise NotImplementedError(f"a converted step uses {node.op_type} with a graph of its own")
        for produced in node.output:
            names[produced] = f"{prefix}_{produced}"
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names[name] for name in node.output]
        node.name = ""
        graph.nodes.append(node)
    result = inner.output[output]
    width = result.type.tensor_type.shape.dim[-1].dim_value
    return Block(graph.cast(names[result.name], TensorProto.DOUBLE), "number", width)
