"""How large the terms of a float run are, which bounds by how much two orders of adding part.

Beside each value stands the sum of the magnitudes of what was added to make it: of a weight layer
Σ|w·x| + |b|, of a membrane what all steps since its reset added, of a delayed value what it had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..export.ir import Array, BatchNorm, Delay, Graph, Input, Linear, Neuron, Output, Scale
from ..export.ir.nodes import Conv1d, Conv2d
from .by_layers import LayerRun


class Magnitudes:
    """Of the values of a run, each [time, batch, *shape]; computed back to the nearest spikes.

    Args:
        run: whose operations compute the stateless nodes.
        values: of the Input, the Delays and the neurons.
    """

    def __init__(self, run: LayerRun, values: Mapping[str, Array]) -> None:
        self.run, self.values = run, values
        self._known: dict[str, Array] = {}

    def of(self, name: str) -> Array:
        """Return the magnitude of a node's value at each step; of a neuron, of its spikes."""
        if name not in self._known:
            self._known[name] = self._computed(name)
        return self._known[name]

    def _computed(self, name: str) -> Array:
        node = self.run.graph.nodes[name]
        if isinstance(node, Delay):
            self._known |= self._delayed()
            return self._known[name]
        if isinstance(node, (Input, Neuron)):
            return np.abs(self.values[name])
        entering = [self.of(source) for source in self.run.graph.inputs(name)]
        if isinstance(node, Output):
            return _readout(node, entering[0])
        return self.run.stateless(_absolute(node), entering)

    def _delayed(self) -> dict[str, Array]:
        """Return those of all Delays, step by step: one may store what it has emitted itself."""
        graph = self.run.graph
        delays, stored = graph.of_kind(Delay), _stored(graph)
        found = {name: np.zeros_like(self.values[name]) for name in delays}
        starts = {n: np.abs(self.values[n]) for n in (graph.input_name, *graph.neurons)} | found
        between = {n: _absolute(graph.nodes[n]) for n in graph.order if n in stored}
        for t in range(len(self.values[graph.input_name])):
            sizes = {name: series[t : t + 1] for name, series in starts.items()}
            for name, node in between.items():
                entering = [sizes[source] for source in graph.inputs(name)]
                sizes[name] = self.run.stateless(node, entering)
            for name, delay in delays.items():
                found[name][t + delay.steps : t + delay.steps + 1] = sizes[graph.inputs(name)[0]]
        return found

    def of_membrane(self, name: str) -> Array:
        """Return the magnitude of a neuron's potential at each step."""
        node = self.run.graph.neurons[name]
        return _membrane(node, self.of(self.run.graph.inputs(name)[0]), self.values[name])


def _stored(graph: Graph) -> set[str]:
    """Return the stateless nodes from which a Delay gets its values within a step."""
    found: set[str] = set()
    waiting = [graph.inputs(name)[0] for name in graph.of_kind(Delay)]
    while waiting:
        name = waiting.pop()
        if name not in found and not isinstance(graph.nodes[name], (Input, Delay, Neuron)):
            found.add(name)
            waiting += graph.inputs(name)
    return found


def _absolute(node: Any) -> Any:
    """Return the node with the magnitudes of its constants."""
    if isinstance(node, (Linear, Conv1d, Conv2d)):
        return replace(node, weight=np.abs(node.weight), bias=_size(node.bias))
    if isinstance(node, BatchNorm):
        return replace(
            node, mean=-np.abs(node.mean), weight=np.abs(node.weight), bias=np.abs(node.bias)
        )
    if isinstance(node, Scale):
        return replace(node, factor=np.abs(node.factor))
    return node


def _size(values: Array | None) -> Array | None:
    return None if values is None else np.abs(values)


def _membrane(node: Neuron, sizes: Array, spikes: Array) -> Array:
    """Return what was added to v since its reset; a float neuron adds its state anew each step."""
    u: Array | float = 0.0
    v: Array | float = np.abs(node.v_init)
    found = []
    for size, fired in zip(sizes, spikes, strict=True):
        current = size if node.bias_in is None else size + np.abs(node.bias_in)
        if node.alpha is not None:
            u = current = np.abs(node.alpha) * u + current
        drive = current if node.bias is None else current + np.abs(node.bias)
        if node.tau is not None:
            total = np.abs(1 - 1 / node.tau) * v + (drive + v) / node.tau
        else:
            assert node.beta is not None
            total = np.abs(node.beta) * v + drive
        total = np.asarray(total + np.abs(node.v_threshold))
        kept = np.abs(node.v_reset) if node.reset == "hard" else total
        v = np.where(fired != 0, kept, total)
        found.append(total)
    return np.stack(found)


def _readout(node: Output, sizes: Array) -> Array:
    """Return what was added to y since the first step."""
    if node.readout == "none":
        return sizes
    y: Array | float = 0.0
    found = []
    for size in sizes:
        total = size + (y if node.beta is None else np.abs(node.beta) * y)
        y = total if node.bias is None else total + np.abs(node.bias)
        found.append(np.asarray(y))
    return np.stack(found)
