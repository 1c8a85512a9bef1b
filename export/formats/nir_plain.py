"""The plain nodes of a NIR file, as every reader computes them (`nir_out` says which those are)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..dequantise import dequantise
from ..fold import fold
from ..ir import (
    WEIGHTS,
    Add,
    Array,
    Conv1d,
    Delay,
    Flatten,
    FormatError,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
    Reshape,
    Scale,
    Shape,
    SumPool,
    Weight,
)
from ..ir.nodes import is_padded
from ..names import unused
from .nir_delays import misplaced
from .nir_dialect import Dialect
from .nir_integrators import Integrator, integrators
from .nir_order import led
from .nir_rewrite import (
    behind,
    fed_alone,
    leaves,
    one_a_channel,
    rewrite,
    without_loop_delays,
)
from .nir_states import Parts, StateWriter, full, gain


class PlainWriter:
    """The plain nodes of a graph of any level in a dialect; Adds become several edges into one.

    Readers break loops themselves, one step later, so a Delay of one step where they do is no node.
    A node of ours may be several of NIR's, one behind the other.

    Attributes:
        nodes: by name. edges: ordered by their ends: some readers compute nodes in that order.
        early: nodes that a depth-first reader computes before all that enters them is known.
    """

    def __init__(self, nir: Any, graph: Graph, dt: float, dialect: Dialect) -> None:
        if graph.level == "integer":  # a reader that subtracts subtracts the threshold itself
            graph = dequantise(graph, halves=dialect.reset == "hard")
        graph = fold(graph) if graph.level == "float" else graph
        self.nir, self.dt, self.dialect = nir, dt, dialect
        self.graph = rewrite(graph, dialect, lambda node: _gained(node, dialect))
        self.states = StateWriter(nir, dt, dialect)
        self.integrators = written_integrators(self.graph, dialect)
        self.inner = {name for state in self.integrators.values() for name in state.inner}
        self.passed = without_loop_delays(self.graph)
        self.known: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        self.parts: dict[str, Parts] = {}
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self._write()
        past_bias = dialect.few_layers
        while wrong := misplaced(self.nodes, self.edges, self._left_out(), past_bias=past_bias):
            self.passed = {k: source for k, source in self.passed.items() if k not in wrong}
            self._write()
        self.early: list[str] = []
        if dialect.depth_first:
            shapes = {k: self.graph.shapes[n] for n, parts in self.parts.items() for k in parts}
            self.nodes, self.edges, self.early = led(nir, self.nodes, self.edges, shapes)

    def _write(self) -> None:
        self.known = {}
        self.gains = self._gains()
        self.parts = {}
        taken = set(self.graph.nodes)
        for name, node in self.graph.nodes.items():
            if not self._vanishes(name):
                found = self._parts(name, node)
                named = {k if k == name else unused(k, taken): part for k, part in found.items()}
                taken |= set(named)
                self.parts[name] = named
        self.nodes = {k: part for parts in self.parts.values() for k, part in parts.items()}
        self.edges = self._joined()

    def _left_out(self) -> dict[tuple[str, str], list[tuple[str, ...]]]:
        """Return, by edge, the Delays left out on each way that became that edge."""
        found: dict[tuple[str, str], list[tuple[str, ...]]] = {}
        for edge in self.graph.edges:
            if edge.target in self.parts:
                first = next(iter(self.parts[edge.target]))
                for source, delays in self._ways(edge.source):
                    found.setdefault((source, first), []).append(delays)
        return found

    def _ways(self, name: str) -> list[tuple[str, tuple[str, ...]]]:
        """Return the written nodes that a node's values are of, each with the Delays left out."""
        if name not in self.known:
            self.known[name] = list(dict.fromkeys(self._found_ways(name)))
        return self.known[name]

    def _found_ways(self, name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        if name in self.inner:
            return
        if name in self.passed:
            ways = self._ways(self.passed[name])
            yield from ((source, (name, *delays)) for source, delays in ways)
        elif not self._vanishes(name):
            yield name, ()
        else:
            for source in self.graph.inputs(name):
                yield from self._ways(source)

    def _vanishes(self, name: str) -> bool:
        """Whether a node of ours is none of NIR's: edges say it, or a node that holds it."""
        added = isinstance(self.graph.nodes[name], Add) and name not in self.integrators
        return added or name in self.passed or name in self.inner

    def _joined(self) -> list[tuple[str, str]]:
        found = [pair for parts in self.parts.values() for pair in pairwise(parts)]
        place = {name: k for k, name in enumerate(self.nodes)}
        for edge in self.graph.edges:
            if edge.target in self.parts:
                first = next(iter(self.parts[edge.target]))
                found += [(source, first) for source in self._sources(edge.source)]
        return sorted(set(found), key=lambda edge: (place[edge[0]], place[edge[1]]))

    def _sources(self, name: str) -> list[str]:
        return [source for source, _ in self._ways(name)]

    def _gains(self) -> dict[str, Array]:
        """Return, by weight node, the factor that its neuron's reader divides currents by."""
        gains: dict[str, Array] = {}
        for name in self.graph.of_kind(*WEIGHTS):
            reached = behind(self.graph, name)
            if len(reached) == 1 and self._owned(reached[0]):
                gains[name] = gain(self.graph.neurons[reached[0]], self.dt, self.dialect)
        return gains

    def _owned(self, name: str) -> bool:
        """Whether all that enters neuron `name` comes from weights that feed it alone."""
        node = self.graph.nodes.get(name)
        if not isinstance(node, Neuron) or not fed_alone(self.graph, name):
            return False
        own = gain(node, self.dt, self.dialect)
        return own.size == 1 or (one_a_channel(own, node.shape) and self._direct(name))

    def _direct(self, name: str) -> bool:
        """Whether the channels of the weights before a neuron are its own."""
        sources = [leaf for source in self.graph.inputs(name) for leaf in self._sources(source)]
        return set(sources) == set(leaves(self.graph, name))

    def _parts(self, name: str, node: Any) -> Parts:
        shape = self.graph.shapes[name]
        if isinstance(node, Neuron):
            return self._neuron(name, node)
        if isinstance(node, Add):
            return {name: self.states.leaky(self.integrators[name].keep, shape)}
        if isinstance(node, Output):
            return self._output(name, node)
        return {name: self._node(name, node, shape)}

    def _output(self, name: str, node: Output) -> Parts:
        """The Output, behind the state that its readout is, where the reader has a node for it."""
        if node.bias is not None and not self._reads_out(name):
            raise FormatError("a biased readout of no weights of its own", node=name)
        shape, before = self.graph.shapes[name], dict[str, Any]()
        if self.dialect.leaky and node.readout == "leaky":
            before = {f"{name}.leaky": self.states.leaky(np.asarray(node.beta), shape)}
        elif self.dialect.literal and node.readout == "integrate":
            before = {f"{name}.integrated": self.states.leaky(np.ones(()), shape)}
        return {**before, name: self.nir.Output(output_type={"output": np.array(shape)})}

    def _node(self, name: str, node: Any, shape: Shape) -> Any:
        nir = self.nir
        if isinstance(node, Input):
            return nir.Input(input_type={"input": np.array(shape)})
        before = self.graph.shapes[self.graph.inputs(name)[0]]
        if isinstance(node, WEIGHTS):
            return self._weight(name, node, before)
        if isinstance(node, Flatten):
            return nir.Flatten(input_type={"input": np.array(before)}, start_dim=0, end_dim=-1)
        if isinstance(node, Reshape):
            axes = joined_axes(before, shape)
            assert axes is not None  # which `nir_limits` tells
            start, end = axes
            declared = {"input": np.array(before)}
            return nir.Flatten(input_type=declared, start_dim=start, end_dim=end)
        if isinstance(node, Scale):
            return nir.Scale(scale=full(node.factor, shape))
        if isinstance(node, Delay):
            unit = 1.0 if self.dialect.decay == "steps" else self.dt
            return nir.Delay(delay=np.full(shape, node.steps * unit))
        kind = nir.SumPool2d if isinstance(node, SumPool) else nir.AvgPool2d
        windows = (np.array(v) for v in (node.kernel, node.stride, node.padding))
        return kind(*windows)

    def _weight(self, name: str, node: Weight, before: tuple[int, ...]) -> Any:
        rows = self._rows(name)
        column = rows.reshape(-1, *(1,) * (node.weight.ndim - 1))
        weight = (node.weight.astype(np.float64) * column).astype(np.float32)
        bias = (self._bias(name, node) * rows).astype(np.float32)
        if isinstance(node, Linear):
            lead = before[:-1]
            wide = np.broadcast_to(weight, (*lead, *weight.shape)).copy()
            if self.dialect.literal and not bias.any():
                return self.nir.Linear(weight=wide)
            return self.nir.Affine(
                weight=wide, bias=np.broadcast_to(bias, (*lead, *bias.shape)).copy()
            )
        options = {"dilation": node.dilation, "groups": node.groups, "bias": bias}
        if isinstance(node, Conv1d):
            one = {**options, "dilation": node.dilation[0]}
            return self.nir.Conv1d(before[1], weight, node.stride[0], node.padding[0], **one)
        return self.nir.Conv2d(tuple(before[1:]), weight, node.stride, node.padding, **options)

    def _rows(self, name: str) -> Array:
        """Return the gain of a weight node: one, or one an output channel."""
        own = self.gains.get(name, np.ones(1))
        if own.size == 1:
            return own.reshape(1)
        shape = self.graph.shapes[name]
        return np.broadcast_to(own, shape).reshape(shape[0], -1)[:, 0]

    def _bias(self, name: str, node: Weight) -> Array:
        """Return the bias of a weight node: its own, and what the neuron or readout behind adds."""
        own = np.zeros(node.weight.shape[0]) if node.bias is None else node.bias.astype(np.float64)
        reached = behind(self.graph, name)
        if len(reached) != 1 or not (name in self.gains or self._reads_out(reached[0])):
            return own
        bias, feeding = self._added(reached[0]), leaves(self.graph, reached[0])
        if bias is None or self._first(reached[0]) != name:
            return own
        if feeding[name] > 1:
            raise FormatError("its bias would reach it on several ways", node=reached[0])
        return own + self._brought_back(reached[0], bias)

    def _first(self, target: str) -> str:
        """Return the weight node that the first inputs on the way back from `target` lead to."""
        here = self.graph.inputs(target)[0]
        while not isinstance(self.graph.nodes[here], WEIGHTS):
            here = self.graph.inputs(here)[0]
        return here

    def _reads_out(self, name: str) -> bool:
        """Whether `name` is the Output, all that enters it from weights that feed it alone."""
        return name == self.graph.output_name and fed_alone(self.graph, name)

    def _added(self, name: str) -> Array | None:
        """Return the bias that is added to the current which enters a neuron or the Output."""
        node = self.graph.output if name == self.graph.output_name else self.graph.neurons[name]
        if isinstance(node, Output) or not node.current_based:
            return node.bias
        if node.bias is not None:
            raise FormatError("NIR has no bias behind a synaptic current", node=name)
        return node.bias_in

    def _brought_back(self, target: str, bias: Array) -> Array:
        """Return the bias of the first weight node before `target` that arrives there as `bias`."""
        values = np.broadcast_to(bias.astype(np.float64), self.graph.shapes[target])
        here = self.graph.inputs(target)[0]
        while not isinstance(node := self.graph.nodes[here], WEIGHTS):
            before = self.graph.shapes[self.graph.inputs(here)[0]]
            if isinstance(node, Flatten):
                values = values.reshape(before)
            elif isinstance(node, Scale):
                values = values / node.factor
            elif isinstance(node, SumPool):
                if is_padded(node):
                    raise FormatError("its bias would pass a padded pool", node=target)
                column = _channels(target, values, 0).reshape(-1, *(1,) * (len(before) - 1))
                values = np.broadcast_to(column / np.prod(node.kernel), before)
            here = self.graph.inputs(here)[0]
        return _channels(target, values, values.ndim - 1 if isinstance(node, Linear) else 0)

    def _neuron(self, name: str, node: Neuron) -> Parts:
        owned = self._owned(name)
        if not owned and self._added(name) is not None:
            raise FormatError(
                "a biased neuron whose input comes from no weights of its own",
                node=name,
                remedy="give it a Linear or convolution of its own",
            )
        return self.states.neuron(name, node, owned=owned)


def joined_axes(before: Shape, after: Shape) -> tuple[int, int] | None:
    """Return the first and last of the axes that a reshape joins to one, None if it does else."""
    start = next((k for k, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    end = start + len(before) - len(after)
    joined = (*before[:start], prod(before[start : end + 1]), *before[end + 1 :])
    return (start, end) if start < end and joined == tuple(after) else None


def written_integrators(graph: Graph, dialect: Dialect) -> dict[str, Integrator]:
    """Return the integrators that a dialect's reader has nodes for, by their Add."""
    return integrators(graph) if dialect.leaky else {}


def _gained(node: Neuron, dialect: Dialect) -> bool:
    return bool((gain(node, 0.5, dialect) != 1).any())


def _channels(name: str, values: Array, axis: int) -> Array:
    """Return the one value a channel of a neuron's bias."""
    others = tuple(k for k in range(values.ndim) if k != axis)
    lowest, highest = values.min(axis=others), values.max(axis=others)
    if not np.array_equal(lowest, highest):
        raise FormatError("its bias varies within a channel", node=name)
    channel: Array = lowest
    return channel
