"""ONNX in: an ordinary network as a float graph, its ReLUs as integrate-and-fire neurons.

`--convert relu` reads x = max(0, a) as the rate of a neuron that integrates a, fires where v
reaches th and keeps what is above it (soft reset), from v = th / 2: after T steps it has emitted
floor(T a / th + 1/2) spikes for 0 <= a <= th, so th/T times the count is a, rounded (reset by
subtraction: Rueckauer et al., Frontiers in Neuroscience 11, 2017; the start at th / 2: Bu et al.,
ICLR 2022). A Scale of th behind each neuron gives a spike its worth; samples say what th is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx

from ..ir import (
    Edge,
    FormatError,
    Graph,
    Input,
    Neuron,
    Node,
    Output,
    Scale,
    Shape,
    SpikewrightError,
    UnknownNameError,
    check,
)
from ..ir.errors import FormatWarning, warn
from ..ir.shapes import RULES, ShapeMismatch
from .onnx_file import attributes, constants, embed, label, load_onnx, shape_of_input
from .onnx_operators import OPERATORS, Site, integrate_and_fire

CONVERSIONS = ("relu",)
LARGEST_VALUE = 1 << 26
"""The most elements a node may emit a sample, as in an archive."""
Measure = Callable[[onnx.ModelProto, list[str]], Mapping[str, float]]


def read_onnx(
    path: str | Path,
    convert: str | None = None,
    *,
    measure: Measure | None = None,
    input_shape: Shape | None = None,
) -> Graph:
    """Return the float graph of an ordinary ONNX network.

    Args:
        convert: `relu` makes neurons of ReLUs; without it a file that has some is refused.
        measure: what finds the largest value of each of the named tensors on samples.
        input_shape: of one sample, where the file leaves it open.

    Raises:
        FormatError: naming the file, the operator and what is wrong.
        UnknownNameError: for a conversion that does not exist.
    """
    if convert is not None and convert not in CONVERSIONS:
        raise UnknownNameError.of("conversion", convert, CONVERSIONS)
    try:
        model = load_onnx(Path(path))
        reader = _Reader(model, Path(path).parent, convert, input_shape)
        graph = reader.graph()
        if reader.activations and measure is not None:
            return _with_thresholds(graph, reader, measure(model, list(reader.activations)))
        if reader.activations:
            raise FormatError(
                "thresholds need samples", node="--convert", remedy="give --calibrate DATA"
            )
    except SpikewrightError as error:
        said = f"{error.node}: {error.reason}" if error.node else error.reason
        raise FormatError(said, node=str(path), remedy=error.remedy) from None
    for line in reader.warnings:
        warn(f"{path}: {line}", FormatWarning)
    return graph


def _with_thresholds(graph: Graph, reader: _Reader, largest: Mapping[str, float]) -> Graph:
    """Return the graph with the thresholds that samples gave, and their Scales."""
    nodes = dict(graph.nodes)
    for tensor, name in reader.activations.items():
        if name not in nodes:
            continue
        threshold = largest[tensor]
        if not np.isfinite(threshold):
            raise FormatError(f"reaches {threshold} on the samples", node=name)
        theta = np.asarray(threshold if threshold > 0 else 1.0)
        neuron = nodes[name]
        assert isinstance(neuron, Neuron)
        nodes[name] = integrate_and_fire(neuron.shape, theta)
        nodes[f"{name}.worth"] = Scale(theta)
    for line in reader.warnings:
        warn(line, FormatWarning)
    return check(graph.replace(nodes))


class _Reader:
    """Builds the graph in the order of the file, which ONNX demands to be topological."""

    def __init__(
        self, model: onnx.ModelProto, folder: Path, convert: str | None, shape: Shape | None
    ) -> None:
        self.model, self.convert = model, convert
        self.constants = constants(model.graph.initializer, folder)
        embed(model.graph.initializer, self.constants)
        self.folder = folder
        self.given = shape
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.shapes: dict[str, Shape] = {}
        self.values: dict[str, str] = {}
        self.activations: dict[str, str] = {}
        self.warnings: list[str] = []

    def graph(self) -> Graph:
        inputs = [i for i in self.model.graph.input if i.name not in self.constants]
        outputs = list(self.model.graph.output)
        for kind, found in (("input", inputs), ("output", outputs)):
            if len(found) != 1:
                raise FormatError(f"{len(found)} {kind}s, 1 is needed")
        shape = shape_of_input(inputs[0], self.given)
        self.values[inputs[0].name] = self.put("input", Input(shape))
        for node in self.model.graph.node:
            self._node(node)
        last = self.values.get(outputs[0].name)
        if last is None:
            raise FormatError("no node makes the output", node=outputs[0].name[:80])
        self.put("output", Output("integrate"), last)
        metadata = {"converted": self.convert, "opset": _opset(self.model)}
        return check(Graph(*self._alive(), "float", metadata=metadata))

    def _alive(self) -> tuple[dict[str, Node], list[Edge]]:
        """Leave out what does not reach the output."""
        wanted, todo = set(), ["output"]
        while todo:
            name = todo.pop()
            if name not in wanted:
                wanted.add(name)
                todo += [e.source for e in self.edges if e.target == name]
        nodes = {name: node for name, node in self.nodes.items() if name in wanted | {"input"}}
        return nodes, [e for e in self.edges if {e.source, e.target} <= nodes.keys()]

    def _node(self, node: onnx.NodeProto) -> None:
        name = label(node.name or (node.output[0] if node.output else node.op_type))
        if node.op_type == "Constant":
            self._constant(node, name)
            return
        rule = OPERATORS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is None:
            kind = f"{node.domain}.{node.op_type}".strip(".")[:60]
            raise FormatError(
                f"no rule for the operator {kind}",
                node=name,
                remedy=f"known: {', '.join(sorted(OPERATORS))}",
            )
        while name in self.nodes:
            name += "_"
        site = Site(self, name, node)
        try:
            self.values[node.output[0]] = rule(site)
        except ShapeMismatch as error:
            raise FormatError(str(error), node=name) from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            line = " ".join(str(error).split())[:120]
            raise FormatError(f"its fields cannot be used ({line})", node=name) from None

    def _constant(self, node: onnx.NodeProto, name: str) -> None:
        fields = attributes(node)
        if isinstance(fields.get("value"), onnx.TensorProto):
            tensor = fields["value"]
            tensor.name = node.output[0]
            self.constants |= constants([tensor], self.folder)
        elif fields:
            self.constants[node.output[0]] = np.asarray(next(iter(fields.values())))
        else:
            raise FormatError("a Constant without a value", node=name)

    def put(self, name: str, node: Node, *sources: str) -> str:
        """Append a node; return its name."""
        shape = RULES[type(node)](node, *(self.shapes[s] for s in sources))
        if np.prod(shape, dtype=float) > LARGEST_VALUE:
            raise FormatError(f"shape {shape} exceeds {LARGEST_VALUE} elements", node=name)
        self.nodes[name], self.shapes[name] = node, shape
        self.edges += [Edge(source, name, port) for port, source in enumerate(sources)]
        return name


def _opset(model: onnx.ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
