"""A float run whose layers each take all steps, as those of a multi-step module do.

A graph without delays is walked once: each node computes all steps before the next one begins, and
what no later node takes is let go. One with delays is walked step by step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ..export.ir import Array, Delay, Graph, Input, Neuron, Node, Output
from ..export.ir.arith import initial_state
from .float_neuron import float_membrane, float_neuron_step, float_readout_step
from .ops import OPS, Operations
from .reference import Reference
from .repeated import is_repeated


class LayerRun:
    """Runs a float or folded graph, checked, in float32.

    Args:
        operations: that compute the stateless nodes.
        at_once: whether a stateless node computes all steps in one call, else in one call a step.
        until: of nodes, a neuron at which their value is still wanted.
    """

    def __init__(
        self, graph: Graph, operations: Operations, at_once: bool, until: Mapping[str, str]
    ) -> None:
        self.graph, self.at_once, self.until = graph, at_once, until
        self.operations = {**OPS, **operations}
        self.has_delays = bool(graph.of_kind(Delay))

    def walk(self, values: Array) -> Iterator[tuple[str, Mapping[str, Array]]]:
        """Yield each node behind the values known by then, each [time, batch, *shape].

        Known are those of the node and its inputs, of the Input, the Delays and the neurons so far.

        Args:
            values: of the Input; one frame repeated by view drives its own layers once.
        """
        walked = self._by_steps if self.has_delays else self._by_nodes
        return walked(np.asarray(values, np.float32))

    def _by_nodes(self, values: Array) -> Iterator[tuple[str, Mapping[str, Array]]]:
        ends, known = self._ends(), dict[str, Array]()
        for name, node in self.graph.nodes.items():
            entering = [known[source] for source in self.graph.inputs(name)]
            known[name] = values if isinstance(node, Input) else self._value(node, entering)
            yield name, known
            for source in ends[name]:
                del known[source]

    def _ends(self) -> Mapping[str, list[str]]:
        """Return by node what nobody takes behind it: magnitudes start at spikes, which stay."""
        places = {name: k for k, name in enumerate(self.graph.nodes)}
        last = {source: name for name in places for source in self.graph.inputs(name)}
        for source, name in self.until.items():
            last[source] = max(name, last[source], key=places.__getitem__)
        ends = defaultdict[str, list[str]](list)
        for source, name in last.items():
            if not isinstance(self.graph.nodes[source], (Input, Neuron)):
                ends[name].append(source)
        return ends

    def _by_steps(self, values: Array) -> Iterator[tuple[str, Mapping[str, Array]]]:
        session = Reference(np.float32, self.operations).prepare(self.graph)
        session.begin(values.shape[1])
        static: dict[str, Array] | None = {} if is_repeated(values) else None
        steps = {name: list[Array]() for name in self.graph.nodes if name in self._wanted()}
        for frame in values:
            found = session.advance(frame, static)
            for name, series in steps.items():
                series.append(found[name])
        known = {name: np.stack(series) for name, series in steps.items()}
        return ((name, known) for name in steps)

    def _wanted(self) -> set[str]:
        ends = (*self.graph.neurons, self.graph.output_name)
        sources = (self.graph.inputs(name)[0] for name in ends)
        return {
            *self.graph.of_kind(Input),
            *self.graph.of_kind(Delay),
            *ends,
            *sources,
            *self.until,
        }

    def _value(self, node: Node, entering: list[Array]) -> Array:
        """Return the value of a node that is no Delay, [time, batch, *shape]."""
        if isinstance(node, Neuron):
            return spikes_of(node, entering[0])
        if isinstance(node, Output):
            return readout_of(node, entering[0])
        return self.stateless(node, entering)

    def stateless(self, node: Node, entering: list[Array]) -> Array:
        """Return what a stateless node makes of values [time, batch, *shape]."""
        computed: Callable[..., Array] = self.operations[type(node)]
        steps, batch = entering[0].shape[:2]
        if steps > 1 and all(map(is_repeated, entering)):
            once = computed(node, *(x[0] for x in entering))
            return np.broadcast_to(once, (steps, *once.shape))
        if self.at_once:
            whole = computed(node, *(x.reshape(steps * batch, *x.shape[2:]) for x in entering))
            return whole.reshape(steps, batch, *whole.shape[1:])
        return np.stack([computed(node, *frames) for frames in zip(*entering, strict=True)])


def spikes_of(node: Neuron, currents: Array) -> Array:
    """Return the spikes of a float neuron from its start, of currents [time, batch, *shape]."""
    state, spikes = initial_state(node, currents.shape[1], currents.dtype), np.empty_like(currents)
    for t, current in enumerate(currents):
        spikes[t] = float_neuron_step(current, node, state)
    return spikes


def potentials_of(node: Neuron, currents: Array) -> Array:
    """Return the membrane potential that each step of such a run tests."""
    state, found = initial_state(node, currents.shape[1], currents.dtype), np.empty_like(currents)
    for t, current in enumerate(currents):
        found[t] = float_membrane(current, node, state)
        float_neuron_step(current, node, state)
    return found


def readout_of(node: Output, values: Array) -> Array:
    """Return y of a float Output at each step."""
    y = np.zeros_like(values[0])
    series = np.empty_like(values)
    for t, x in enumerate(values):
        series[t] = y = float_readout_step(x, node, y)
    return series
