"""ONNX in: an ordinary network as a float graph, its ReLUs as integrate-and-fire neurons.

`--convert relu` reads x = max(0, a) as the rate of a neuron that integrates a, fires where v
reaches th and keeps what is above it (soft reset), from v = th / 2: after T steps it has emitted
floor(T a / th + 1/2) spikes for 0 <= a <= th, so th/T times the count is a, rounded (reset by
subtraction: Rueckauer et al., Frontiers in Neuroscience 11, 2017; the start at th / 2: Bu et al.,
ICLR 2022). A Scale of th behind each neuron gives a spike its worth; samples say what th is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import numpy as np
import onnx

from ..ir import (
    Array,
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
from .onnx_file import (
    STANDARD,
    attributes,
    batch_of_input,
    check_counts,
    constants,
    embed,
    label,
    load_onnx,
    shape_of_input,
)
from .onnx_folding import FREE_BATCHES, Folding
from .onnx_operators import OPERATORS, REMEDIES, integrate_and_fire
from .onnx_site import LARGEST_VALUE, Pads, Site, sums

CONVERSIONS = ("relu",)
_NUMBERS = ("value_float", "value_floats", "value_int", "value_ints")
"""Attributes of a Constant that hold numbers; `value` holds a tensor."""
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
        held = constants(model.graph.initializer, folder)
        embed(model.graph.initializer, held)
        self.entry = _one("input", [i for i in model.graph.input if i.name not in held])
        self.shape = shape_of_input(self.entry, shape)
        self.opset = _opset(model)
        batch = batch_of_input(self.entry)
        if (batch or 1) * prod(self.shape) > LARGEST_VALUE:
            raise FormatError(
                f"an input of {batch} samples {self.shape} exceeds {LARGEST_VALUE} elements",
                node=self.entry.name[:80],
                remedy="export it with a free batch axis",
            )
        self.folding = Folding(held, FREE_BATCHES if batch is None else (batch,), self.opset)
        self.folder = folder
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.shapes: dict[str, Shape] = {}
        self.values: dict[str, str] = {}
        self.pads: dict[str, Pads] = {}
        self.activations: dict[str, str] = {}
        self.warnings: list[str] = []
        read = [name for node in model.graph.node for name in node.input if name]
        self._reads = Counter([*read, *(info.name for info in model.graph.output)])

    def graph(self) -> Graph:
        out = _one("output", list(self.model.graph.output)).name
        self.values[self.entry.name] = self.put("input", Input(self.shape))
        for node in self.model.graph.node:
            self._node(node, label(node.name or (node.output[0] if node.output else node.op_type)))
        last = self.values.get(out)
        if last is None:
            raise FormatError("no node makes the output", node=out[:80])
        if out in self.pads:
            raise FormatError("the output is padded", node=out[:80], remedy="leave the Pad out")
        self.put("output", Output("integrate"), last)
        metadata = {"converted": self.convert, "opset": self.opset}
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

    def uses(self, node: str) -> int:
        """Return how often the file reads the node's value, under any of its tensors' names."""
        tensors = [tensor for tensor, made in self.values.items() if made == node]
        # All names but the first were made by a read that only passes the value on.
        return sum(self._reads[tensor] for tensor in tensors) - (len(tensors) - 1)

    def _node(self, node: onnx.NodeProto, name: str) -> None:
        try:
            if not self._known(node, name):
                self._computed(node, name)
        except ShapeMismatch as error:
            raise FormatError(str(error), node=name) from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            line = " ".join(str(error).split())[:120]
            raise FormatError(f"its fields cannot be used ({line})", node=name) from None

    def _known(self, node: onnx.NodeProto, name: str) -> bool:
        """Compute a node that depends on no data; return whether it is one."""
        for tensor in node.output:
            if tensor and (tensor in self.values or self.folding.value(tensor) is not None):
                raise FormatError(f"makes {tensor[:60]!r}, which is made already", node=name)
        if node.domain not in STANDARD:
            return False
        check_counts(node, self.opset, name)
        if node.op_type == "Constant":
            self._constant(node, name)
            return True
        if node.op_type in ("Shape", "Size") and node.input[0] in self.values:
            self.folding.set(node.output[0], self._sizes(node))
            return True
        return self.folding.fold(node, name)

    def _sizes(self, node: onnx.NodeProto) -> list[Array]:
        """Return what Shape or Size gives, for each batch size."""
        tensor, fields = node.input[0], attributes(node)
        shape = self.shapes[self.values[tensor]]
        around = self.pads.get(tensor)
        shape = shape if around is None else sums(shape, around.begins, around.ends)
        full = self.folding.full(shape)
        if node.op_type == "Size":
            return [np.asarray(prod(one), np.int64) for one in full]
        part = slice(fields.get("start"), fields.get("end"))
        return [np.asarray(one[part], np.int64) for one in full]

    def _computed(self, node: onnx.NodeProto, name: str) -> None:
        """Let the operator's rule append its nodes."""
        kind = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        rule = OPERATORS.get(kind)
        if rule is None:
            known = REMEDIES.get(kind, f"known: {', '.join(sorted(OPERATORS))}")
            raise FormatError(f"no rule for the operator {kind[:60]}", node=name, remedy=known)
        while name in self.nodes:
            name += "_"
        self.values[node.output[0]] = rule(Site(self, name, node))

    def _constant(self, node: onnx.NodeProto, name: str) -> None:
        fields = attributes(node)
        if isinstance(fields.get("value"), onnx.TensorProto):
            tensor = fields["value"]
            tensor.name = node.output[0]
            read = constants([tensor], self.folder)
            embed([next(a.t for a in node.attribute if a.name == "value")], read)
            self.folding.take(read)
        elif len(numbers := fields.keys() & set(_NUMBERS)) == len(fields) == 1:
            self.folding.take({node.output[0]: np.asarray(fields[numbers.pop()])})
        else:
            held = ", ".join(fields)[:60] or "none"
            raise FormatError(f"a Constant without one value of numbers ({held})", node=name)

    def put(self, name: str, node: Node, *sources: str) -> str:
        """Append a node; return its name."""
        shape = RULES[type(node)](node, *(self.shapes[s] for s in sources))
        if np.prod(shape, dtype=float) > LARGEST_VALUE:
            raise FormatError(f"shape {shape} exceeds {LARGEST_VALUE} elements", node=name)
        self.nodes[name], self.shapes[name] = node, shape
        self.edges += [Edge(source, name, port) for port, source in enumerate(sources)]
        return name


def _one(kind: str, infos: list[onnx.ValueInfoProto]) -> onnx.ValueInfoProto:
    if len(infos) != 1:
        raise FormatError(f"{len(infos)} {kind}s, 1 is needed")
    return infos[0]


def _opset(model: onnx.ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in STANDARD), default=0)
