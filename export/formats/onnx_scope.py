"""A scope collects ONNX nodes and constants; its methods are the operators, by their ONNX names."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..ir import Array

INT32, FLOAT, UINT8 = onnx.TensorProto.INT32, onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8


class Scope:
    """Nodes of one graph body and the constants they read.

    Attributes:
        nodes: in order of emission. constants: by tensor name.
        prefix: the graph node that is being emitted; names of tensors begin with it.
    """

    def __init__(self, constants: dict[str, onnx.TensorProto] | None = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants = {} if constants is None else constants
        self.prefix = ""
        self._count = 0
        self._renamed: dict[str, str] = {}
        self._made: set[str] = set()

    def op(self, kind: str, *inputs: str, **fields: Any) -> str:
        """Append a node of one output; return its name."""
        return self.call(kind, inputs, 1, "", **fields)[0]

    def call(
        self, kind: str, inputs: tuple[str, ...], outputs: int, domain: str, **fields: Any
    ) -> list[str]:
        """Append a node; return the names of its outputs."""
        name = f"{self.prefix}:{kind}{self._count}"
        names = [name, *(f"{name}.{k}" for k in range(1, outputs))]
        self._count += 1
        self._made.update(names)
        node = helper.make_node(kind, list(inputs), names, name=name, domain=domain, **fields)
        self.nodes.append(node)
        return names

    def constant(self, value: Any, dtype: Any = np.int32) -> str:
        """Return the name of a constant of this value; equal constants are shared."""
        array = np.asarray(value, dtype)
        content = sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
        return self._hold(f"const:{array.dtype}:{array.shape}:{content}", array)

    def parameter(self, name: str, value: Any, dtype: Any = np.int32) -> str:
        """Return the tensor of a graph node's field `name`."""
        return self._hold(f"{self.prefix}/{name}", np.asarray(value, dtype))

    def _hold(self, name: str, array: Array) -> str:
        if name not in self.constants:
            # ascontiguousarray makes 0-d arrays 1-d.
            whole = np.ascontiguousarray(array).reshape(array.shape)
            self.constants[name] = numpy_helper.from_array(whole, name)
        return name

    def output(self, value: str, name: str) -> str:
        """Let `value` leave the body as `name`: under its own node's name, or by a copy."""
        if value in self._made and value not in self._renamed:
            self._renamed[value] = name
        else:
            self.nodes.append(helper.make_node("Identity", [value], [name], name=f"name:{name}"))
        return name

    def finished(self) -> list[onnx.NodeProto]:
        """Return the nodes, with the values that leave under their new names."""
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [self._renamed.get(name, name) for name in names]
        return self.nodes

    def cast(self, x: str, to: int) -> str:
        """Return x in another element type."""
        return self.op("Cast", x, to=to)


class FunctionScope(Scope):
    """The body of a function: fields are its inputs, constants stand inside.

    Attributes:
        parameters: what a caller passes, by input name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parameters: dict[str, Array] = {}

    def parameter(self, name: str, value: Any, dtype: Any = np.int32) -> str:
        """Return the function's input for the field `name`."""
        self.parameters[name] = np.asarray(value, dtype)
        return name

    def finished(self) -> list[onnx.NodeProto]:
        """Return the nodes, its constants first."""
        constants = [
            helper.make_node("Constant", [], [key], value=tensor, name=key)
            for key, tensor in self.constants.items()
        ]
        return [*constants, *super().finished()]
