"""An ONNX graph under construction: nodes in, bytes out.

Numbers flow as float64 (a split threshold is compared exactly as scikit-learn compares it) and texts as strings, in which
a missing text is ``andon.model.adapter.MISSING``. Operator sets are fixed, so that a graph means the same tomorrow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from andon.model.adapter import Layout

__all__ = ["ML", "OPSETS", "Block", "Graph"]

ML = "ai.onnx.ml"
OPSETS = {"": 19, ML: 3}
_IR_VERSION = 9


@dataclass(frozen=True, slots=True)
class Block:
    """A matrix inside the graph: its tensor, what it holds and how many columns it has."""

    tensor: str
    kind: Literal["number", "text"]
    width: int


@dataclass
class Graph:
    """Collects nodes and constants; every method returns the name of a new tensor."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def name(self) -> str:
        """A tensor name not used before."""
        return f"t{len(self.nodes) + len(self.constants)}"

    def constant(self, values: Any) -> str:
        """A constant tensor; strings where the values are, else of the array's own type."""
        array = np.asarray(values)
        name = self.name()
        if array.dtype.kind in "OU":
            texts: Any = [str(text).encode() for text in array.ravel()]
            self.constants.append(helper.make_tensor(name, TensorProto.STRING, array.shape, texts))
        else:
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """One operator with one output."""
        name = self.name()
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def cast(self, tensor: str, to: int) -> str:
        """``tensor`` as another element type."""
        return self.node("Cast", tensor, to=to)

    def gather(self, block: Block, columns: Any) -> Block:
        """Some columns of a block, in the order given."""
        wanted = [int(column) for column in columns]
        if wanted == list(range(block.width)):
            return block
        index = self.constant(np.array(wanted, dtype=np.int64))
        return Block(self.node("Gather", block.tensor, index, axis=1), block.kind, len(wanted))

    def concat(self, blocks: list[Block]) -> Block:
        """Blocks of one kind side by side; raises ``NotImplementedError`` when texts and numbers would share a matrix."""
        if not blocks:
            raise NotImplementedError("a step is left without any column")
        if len({block.kind for block in blocks}) > 1:
            raise NotImplementedError("a step mixes texts and numbers in one matrix")
        if len(blocks) == 1:
            return blocks[0]
        tensor = self.node("Concat", *(block.tensor for block in blocks), axis=1)
        return Block(tensor, blocks[0].kind, sum(block.width for block in blocks))

    def build(self, layout: Layout, scores: str, to: int = TensorProto.FLOAT) -> bytes:
        """The finished model: inputs as ``layout`` says, one output called ``scores``, float32 unless ``to`` says else."""
        self.nodes.append(helper.make_node("Cast", [scores], ["scores"], to=to))
        numbers = layout.width or len(layout.numbers)
        inputs = []
        if numbers:
            inputs.append(helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, numbers]))
        if layout.texts:
            inputs.append(helper.make_tensor_value_info("texts", TensorProto.STRING, [None, len(layout.texts)]))
        output = helper.make_tensor_value_info("scores", to, [None, None])
        graph = helper.make_graph(self.nodes, "andon", inputs, [output], initializer=self.constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="andon")
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString(deterministic=True)
        return content
