"""How large the terms of a float run are, which bounds by how much two orders of adding part.

Beside each value stands the sum of the magnitudes of what was added to make it: of a weight layer
Σ|w·x| + |b|, of a membrane what all steps since its reset added.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..export.ir import Array, BatchNorm, Delay, Graph, Input, Linear, Neuron, Output, Scale
from ..export.ir.nodes import Conv1d, Conv2d
from .ops import Operations


class Magnitudes:
    """Follows a run of a float graph, step by step, on the same values."""

    def __init__(self, graph: Graph, operations: Operations) -> None:
        self.graph, self.operations = graph, operations
        self.absolute = {name: _absolute(node) for name, node in graph.nodes.items()}
        self.states: dict[str, _State] = {name: _State() for name in graph.neurons}
        self.readout = _State()

    def step(self, values: dict[str, Array], kept: dict[str, Array]) -> dict[str, Array]:
        """Return the magnitude of each node's value in this step: of a neuron, of its membrane.

        Args:
            values: of each node in this step. kept: magnitudes that are the same in every step.
        """
        entering: dict[str, Array] = dict(kept)
        membranes: dict[str, Array] = {}
        for name, node in self.graph.nodes.items():
            if name in kept:
                continue
            if isinstance(node, (Input, Delay)):
                entering[name] = np.abs(values[name])
            elif isinstance(node, Neuron):
                size = entering[self.graph.inputs(name)[0]]
                membranes[name] = _membrane(node, size, self.states[name], values[name])
                entering[name] = np.abs(values[name])
            elif isinstance(node, Output):
                size = entering[self.graph.inputs(name)[0]]
                entering[name] = _readout(node, size, self.readout)
            else:
                sizes = [entering[source] for source in self.graph.inputs(name)]
                entering[name] = self.operations[type(node)](self.absolute[name], *sizes)
        return {**entering, **membranes}


class _State:
    """What a neuron or readout has added up since its reset."""

    v: Array | float = 0.0
    u: Array | float = 0.0


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


def _membrane(node: Neuron, size: Array, state: _State, spikes: Array) -> Array:
    """Return what was added to v since its reset; a float neuron adds its state anew each step."""
    current = size if node.bias_in is None else size + np.abs(node.bias_in)
    if node.alpha is not None:
        state.u = current = np.abs(node.alpha) * state.u + current
    drive = current if node.bias is None else current + np.abs(node.bias)
    if node.tau is not None:
        total = np.abs(1 - 1 / node.tau) * state.v + (drive + state.v) / node.tau
    else:
        assert node.beta is not None
        total = np.abs(node.beta) * state.v + drive
    total = total + np.abs(node.v_threshold)
    kept = np.abs(node.v_reset) if node.reset == "hard" else total
    state.v = np.where(spikes != 0, kept, total)
    return np.asarray(total)


def _readout(node: Output, size: Array, state: _State) -> Array:
    if node.readout == "none":
        return size
    kept = state.v if node.beta is None else np.abs(node.beta) * state.v
    total = kept + size
    state.v = total if node.bias is None else total + np.abs(node.bias)
    return np.asarray(state.v)
