"""The values that travelled on the edges of a run, derived from the spikes that it recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..export.ir import (
    Array,
    AvgPool,
    Delay,
    Input,
    Neuron,
    Scale,
    SumPool,
    analog_values,
    loops_without_neuron,
)
from .ops import OPS
from .repeated import is_repeated, static_nodes
from .trace import Trace

Unit = tuple[str, ...]
"""A node, or a loop without a neuron, whose nodes need each other's earlier steps."""


def values_of(trace: Trace, name: str) -> Array:
    """Return what node `name` emitted, [time * batch, *shape]."""
    return Values(trace).of(name)


class Values:
    """What each node emitted, [time * batch, *shape], computed where it is asked for.

    Attributes:
        analog: the nodes whose values are numbers (`analog_values`).
        once: the nodes that emit the same at every step.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace, self.graph = trace, trace.graph
        self.analog = analog_values(trace.graph)
        self.once = static_nodes(self.graph) if is_repeated(trace.input) else set()
        self._known: dict[str, Array] = {}
        self._counted: dict[str, Array] = {}
        self._loops = {name: loop for loop in loops_without_neuron(self.graph) for name in loop}

    def of(self, name: str) -> Array:
        """Return what a node emitted."""
        return self._asked(name, self._known, self._derived)

    def spikes(self, name: str) -> Array:
        """Return of how many spikes each value is made; the values themselves where they say so."""
        return self._asked(name, self._counted, self._count)

    def _asked(
        self, name: str, known: dict[str, Array], derive: Callable[[Unit], dict[str, Array]]
    ) -> Array:
        """Return a node's entry, derived after those of all that it is made of."""
        pending = [name]
        while pending:
            unit = self._loops.get(pending[-1], (pending[-1],))
            sources = [source for node in unit for source in self._sources(node)]
            missing = [s for s in sources if s not in known and s not in unit]
            if missing:
                pending += missing
                continue
            if pending.pop() not in known:
                known |= derive(unit)
        return known[name]

    def _sources(self, name: str) -> Unit:
        """Return what a node's values are made of; an Input's and a Neuron's were recorded."""
        recorded = isinstance(self.graph.nodes[name], (Input, Neuron))
        return () if recorded else self.graph.inputs(name)

    def _derived(self, unit: Unit) -> dict[str, Array]:
        name = unit[0]
        if name in self._loops:
            return self._stepped(unit)
        node = self.graph.nodes[name]
        if isinstance(node, Input):
            return {name: self._folded(self.trace.input)}
        if isinstance(node, Neuron):
            return {name: self._folded(self.trace.neurons[name].spikes)}
        return {name: self._passed(name, node, [self._known[s] for s in self.graph.inputs(name)])}

    def _count(self, unit: Unit) -> dict[str, Array]:
        if unit[0] in self._loops:
            return {name: self.of(name) for name in unit}  # numbers, which are made of no spikes
        (name,) = unit
        node, sources = self.graph.nodes[name], self.graph.inputs(name)
        if isinstance(node, (Input, Neuron)):
            values = self.of(name)
            return {name: np.abs(values) if values.size and values.min() < 0 else values}
        counts = [self._counted[source] for source in sources]
        if isinstance(node, Scale):
            return {name: counts[0]}
        if isinstance(node, AvgPool):
            return {name: OPS[SumPool](node, counts[0])}
        same = all(count is self.of(source) for count, source in zip(counts, sources, strict=True))
        return {name: self.of(name) if same else self._passed(name, node, counts)}

    def _passed(self, name: str, node: Any, sources: list[Array]) -> Array:
        """Return what a node without a state makes of its inputs."""
        shape = self.graph.shapes[name]
        if isinstance(node, Delay):
            steps = sources[0].reshape(self.trace.time_steps, -1, *shape)
            late = np.zeros_like(steps)
            late[node.steps :] = steps[: max(0, len(steps) - node.steps)]
            return late.reshape(-1, *shape)
        return OPS[type(node)](node, *sources)

    def _stepped(self, loop: Unit) -> dict[str, Array]:
        """Return what the nodes of a loop emitted, one time step after the other."""
        graph, samples = self.graph, self.trace.samples
        shapes = graph.shapes
        around = {s for name in loop for s in graph.inputs(name)} - set(loop)
        steps: dict[str, Any] = {name: [] for name in loop}
        for name in around:
            steps[name] = self._known[name].reshape(-1, samples, *shapes[name])
        for step in range(self.trace.time_steps):
            for name in loop:
                node, sources = graph.nodes[name], graph.inputs(name)
                if not isinstance(node, Delay):
                    value = OPS[type(node)](node, *(steps[source][step] for source in sources))
                elif step < node.steps:
                    value = np.zeros((samples, *shapes[name]), np.int8)
                else:
                    value = steps[sources[0]][step - node.steps]
                steps[name].append(value)
        return {name: np.concatenate(steps[name]) for name in loop}

    def _folded(self, x: Array) -> Array:
        return x.reshape(-1, *x.shape[2:])
