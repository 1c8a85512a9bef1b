"""A scope collects ONNX nodes and constants; its methods are the operators, by their ONNX names."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..ir import Array

INT32, FLOAT, UINT8 = onnx.TensorProto.INT32, onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8


class Scope:
    """Nodes of one graph body, and the constants (held by `constants`, shared by inner bodies)."""

    def __init__(self, constants: dict[str, onnx.TensorProto] | None = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants = {} if constants is None else constants
        self.prefix = ""
        self._count = 0

    def op(self, kind: str, *inputs: str, domain: str = "", outputs: int = 1, **fields: Any) -> str:
        """Append a node; return its (first) output's name."""
        names = [
            f"{self.prefix}:{kind}{self._count}" + (f".{k}" if k else "") for k in range(outputs)
        ]
        self._count += 1
        node = helper.make_node(kind, list(inputs), names, name=names[0], domain=domain, **fields)
        self.nodes.append(node)
        return names[0]

    def constant(self, value: Any, dtype: Any = np.int32) -> str:
        """Return the name of a constant of this value; equal constants are shared."""
        array = np.asarray(value, dtype)
        key = f"const:{array.dtype}:{array.shape}:{hash_of(array)}"
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(
                np.ascontiguousarray(array).reshape(array.shape), key
            )
        return key

    def named(self, name: str, value: Array) -> str:
        """Return the name of a constant held under a name of its own (weights)."""
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def alias(self, value: str, name: str) -> str:
        """Give a value a name of its own."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"name:{name}"))
        return name

    def cast(self, x: str, to: int) -> str:
        """Return x in another element type."""
        return self.op("Cast", x, to=to)

    def clip(self, x: str, low: int, high: int) -> str:
        """Return x clipped; Max and Min have int32 kernels, Clip's are not relied on."""
        return self.op("Min", self.op("Max", x, self.constant(low)), self.constant(high))


def hash_of(array: Array) -> str:
    """Return a short digest of the bytes."""
    from hashlib import sha256

    return sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
