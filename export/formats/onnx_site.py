"""An operator of an ONNX file where it stands: its attributes, its constants and what enters it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import onnx

from ..ir import Array, Edge, FormatError, Node, Shape
from .onnx_file import attributes
from .onnx_folding import Folding

LARGEST_VALUE = 1 << 26
"""The most elements a node may emit a sample, as in an archive."""


@dataclass(frozen=True, slots=True)
class Pads:
    """What a Pad puts around a tensor, on each axis of a sample.

    `fill`: zeros, or values so low that a maximum never takes them.
    """

    begins: Shape
    ends: Shape
    fill: Literal["zero", "lowest"]

    def permuted(self, axes: Shape) -> Pads:
        """Return the pads of the tensor with its axes permuted."""
        begins, ends = (tuple(side[k] for k in axes) for side in (self.begins, self.ends))
        return Pads(begins, ends, self.fill)


def sums(*shapes: Shape) -> Shape:
    """Return the sums of sizes, axis by axis."""
    return tuple(map(sum, zip(*shapes, strict=True)))


class Building(Protocol):
    """The graph under construction, as rules see it."""

    model: onnx.ModelProto
    convert: str | None
    folding: Folding
    nodes: dict[str, Node]
    edges: list[Edge]
    shapes: dict[str, Shape]
    values: dict[str, str]
    pads: dict[str, Pads]
    activations: dict[str, str]
    warnings: list[str]

    def put(self, name: str, node: Node, *sources: str) -> str:
        """Append a node; return its name."""
        ...

    def uses(self, node: str) -> int:
        """Return how many operators and outputs of the file read the node's value."""
        ...


class Site:
    """An operator where it stands."""

    def __init__(self, reader: Building, name: str, node: onnx.NodeProto) -> None:
        self.reader, self.name, self.node = reader, name, node
        self.kind = node.op_type
        self.fields = attributes(node)

    def refuse(self, reason: str, remedy: str | None = None) -> FormatError:
        """Return the error of this operator."""
        return FormatError(reason, node=self.name, remedy=remedy)

    def has(self, k: int) -> bool:
        """Whether input k is given."""
        return k < len(self.node.input) and bool(self.node.input[k])

    def is_constant(self, k: int) -> bool:
        """Whether input k is given and the same for every sample."""
        return self.has(k) and self.node.input[k] in self.reader.folding.constants

    def constant(self, k: int) -> Array | None:
        """Return input k, which must not depend on data; None where it is not given."""
        return self.needed(k) if self.has(k) else None

    def needed(self, k: int, finite: bool = True) -> Array:
        """Return input k, a constant."""
        if not self.is_constant(k):
            raise self.refuse(f"input {k} is no constant")
        value = self.reader.folding.constants[self.node.input[k]]
        if finite and value.dtype.kind == "f" and not np.isfinite(value).all():
            raise self.refuse("a constant holds NaN or infinite values")
        return value

    def sized(self, k: int) -> tuple[Array, ...]:
        """Return input k for each batch size (see `Folding`)."""
        value = self.reader.folding.value(self.node.input[k]) if self.has(k) else None
        if value is None:
            raise self.refuse(f"input {k} depends on data")
        return value

    def option(self, name: str, k: int) -> Array | None:
        """Return what older opsets hold as an attribute and later ones as input k."""
        value = self.fields.get(name)
        return self.constant(k) if value is None else np.asarray(value)

    def source(self, k: int = 0) -> str:
        """Return the node that makes input k."""
        name = self.padded(k)
        if self.node.input[k] in self.reader.pads:
            raise self.refuse(
                f"a {self.kind} of a padded tensor",
                "a Pad is read before Conv, MaxPool and AveragePool only",
            )
        return name

    def padded(self, k: int = 0) -> str:
        """Return the node that makes input k, around which a Pad may stand (`pads`)."""
        tensor = self.node.input[k]
        if tensor in self.reader.values:
            return self.reader.values[tensor]
        if self.reader.folding.value(tensor) is not None:
            raise self.refuse(f"input {k}, {tensor[:60]!r}, depends on no data")
        raise self.refuse(f"nothing makes its input {tensor[:60]!r}")

    @property
    def pads(self) -> Pads | None:
        """What a Pad put around the first input."""
        return self.reader.pads.get(self.node.input[0])

    def pass_pads(self, axes: Shape | None = None) -> None:
        """Let a Pad around the first input stand around the output, its axes permuted."""
        if self.pads is not None:
            pads = self.pads if axes is None else self.pads.permuted(axes)
            self.reader.pads[self.node.output[0]] = pads

    @property
    def shape(self) -> Shape:
        """Of a sample of what enters first, without the pads around it."""
        return self.reader.shapes[self.padded()]

    def put(self, node: Node, *sources: str) -> str:
        """Append the node that stands for the operator."""
        return self.reader.put(self.name, node, *(sources or (self.source(),)))

    def behind(self, word: str, node: Node, source: str) -> str:
        """Append a further node of the same operator."""
        return self.reader.put(f"{self.name}.{word}", node, source)
