"""What an ONNX file computes without data: constants, and shapes that hold the batch size.

Exporters write `x.view(x.size(0), -1)` as Shape, Gather, Unsqueeze, Concat, Reshape, and weights
behind Identity, Transpose or DequantizeLinear. Such chains are computed here, by the reference
implementation of the onnx package, once for each of the batch sizes that the file allows: for the
one that its input declares, or for two where the batch is free. A value that is the same for both
is a constant; a Reshape is one of a sample where for both the first axis is the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ..ir import Array, FormatError, Shape
from .onnx_file import attributes

FREE_BATCHES = (7, 11)
"""Two sizes for a batch of any size: what holds for both does not depend on it."""
ALWAYS_FOLDED = 1 << 22
"""Elements that constants may be computed of in any file; to them comes what the file holds."""
FOLDED_TIMES = 4
"""How often each element that the file holds may be computed anew."""

_ELEMENTWISE = """
    Abs Add And Cast Ceil Div Equal Exp Floor Greater GreaterOrEqual Less LessOrEqual Max Min Mod
    Mul Neg Not Or Pow Reciprocal Sign Sqrt Sub Where
"""
_MOVING = """
    Concat DequantizeLinear Flatten Gather Identity ReduceL2 ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Reshape Slice Squeeze Transpose Unsqueeze
"""
_GROWING = ("ConstantOfShape", "Expand", "Range", "Tile")
FOLDABLE = frozenset((*_ELEMENTWISE.split(), *_MOVING.split(), *_GROWING))
"""Operators computed where all their inputs are known; no randomness, no subgraphs."""

EVALUATED_FROM = {"DequantizeLinear": 19}
"""The first opset that the reference implementation has; older forms of these mean the same."""


class Folding:
    """The tensors known without data.

    Attributes:
        batches: the batch sizes that values are computed for.
        constants: by tensor, where the value is the same for all of them.
    """

    def __init__(self, constants: dict[str, Array], batches: Shape, opset: int) -> None:
        self.constants: dict[str, Array] = {}
        self.batches, self._opset = batches, opset
        self._sized: dict[str, tuple[Array, ...]] = {}
        self._room = ALWAYS_FOLDED
        self.take(constants)

    def take(self, constants: dict[str, Array]) -> None:
        """Hold what the file holds."""
        self.constants |= constants
        self._room += FOLDED_TIMES * sum(value.size for value in constants.values())

    def value(self, tensor: str) -> tuple[Array, ...] | None:
        """Return the tensor's value for each batch size; None where it depends on data."""
        if tensor in self.constants:
            return (self.constants[tensor],) * len(self.batches)
        return self._sized.get(tensor)

    def set(self, tensor: str, values: Sequence[Array]) -> None:
        """Hold a tensor's value for each batch size."""
        if all(np.array_equal(value, values[0]) for value in values[1:]):
            self.constants[tensor] = values[0]
        else:
            self._sized[tensor] = tuple(values)

    def full(self, shape: Shape) -> list[Shape]:
        """Return a sample's shape with the batch before it, for each batch size."""
        return [(batch, *shape) for batch in self.batches]

    def fold(self, node: onnx.NodeProto, name: str) -> bool:
        """Compute a node whose inputs are all known; return whether it was one.

        Raises:
            FormatError: naming the node, if it cannot be computed or is too large.
        """
        inputs = [self.value(tensor) for tensor in node.input if tensor]
        known = [values for values in inputs if values is not None]
        if node.op_type not in FOLDABLE or not known or len(known) < len(inputs):
            return False
        given = [tensor for tensor in node.input if tensor]
        found = []
        steps = 1 if all(tensor in self.constants for tensor in given) else len(self.batches)
        for k in range(steps):
            feeds = {tensor: v[k] for tensor, v in zip(given, known, strict=True)}
            self._judge(node, name, [v[k] for v in known])
            found.append(self._computed(node, name, feeds))
        self.set(node.output[0], found)
        return True

    def _judge(self, node: onnx.NodeProto, name: str, inputs: list[Array]) -> None:
        """Refuse what would take too much memory, before it does."""
        elements = _elements(node, inputs)
        if elements > self._room:
            raise FormatError(
                f"a constant of {elements} elements is computed, {self._room} are left to take",
                node=name,
                remedy="export it with constant folding",
            )
        self._room -= elements

    def _computed(self, node: onnx.NodeProto, name: str, feeds: dict[str, Array]) -> Array:
        from onnx.reference import ReferenceEvaluator

        value = helper.make_tensor_value_info
        ins = [
            value(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in feeds.items()
        ]
        out = value(node.output[0], onnx.TensorProto.UNDEFINED, None)
        graph = helper.make_graph([node], "folded", ins, [out])
        version = max(self._opset, EVALUATED_FROM.get(node.op_type, 0))
        opset = [helper.make_opsetid("", version)]
        try:
            model = helper.make_model(graph, opset_imports=opset)
            return np.asarray(ReferenceEvaluator(model).run(None, dict(feeds))[0])  # type: ignore[index]
        except Exception as error:  # the evaluator's errors share no base of their own
            line = " ".join(str(error).split())[:120]
            raise FormatError(
                f"its constants cannot be computed ({node.op_type}: {line})", node=name
            ) from None


def _elements(node: onnx.NodeProto, inputs: list[Array]) -> int:
    """Return how many elements a node gives at most."""
    kind, first = node.op_type, inputs[0]
    if kind == "Identity":
        return 0  # the same array
    if kind == "ConstantOfShape":
        return _product(first)
    if kind in ("Expand", "Tile"):
        return first.size * _product(inputs[1])
    if kind == "Range":
        start, limit, delta = (float(np.asarray(v).reshape(-1)[0]) for v in inputs)
        return ceil(min(abs(limit - start) / abs(delta), 1e18)) if delta else 0
    if kind in _ELEMENTWISE.split():
        return prod(np.broadcast_shapes(*(v.shape for v in inputs)))
    if kind == "Gather":
        axis = int(attributes(node).get("axis", 0))
        return int(inputs[1].size * first.size // max(1, first.shape[axis]))
    return sum(v.size for v in inputs)


def _product(sizes: Any) -> int:
    return prod(abs(int(n)) for n in np.asarray(sizes).reshape(-1))
