"""Xylo: every neuron but the readout's in one hidden population, with limits on who reaches whom.

Fan-out counts synapses whose weight is not 0. Layers are blocks of the recurrent matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np

from ..export.ir import Array, Graph, Neuron
from .mapping import Layer, Mapped, at_most, layers, on_chip
from .reach import reach
from .target import Target
from .violation import Violation


def map_population(graph: Graph, target: Target) -> Mapped:
    """Return the network as a hidden population and a readout."""
    placed = [replace(layer, cores=int(not layer.on_host)) for layer in layers(graph, target)]
    chip = on_chip(placed)
    if not chip:
        return Mapped(tuple(placed), 0, {})
    hidden, readout = chip[:-1], chip[-1]
    shares = {
        "inputs": _inputs(graph, chip),
        "hidden_neurons": sum(layer.neurons for layer in hidden),
        "outputs": readout.neurons,
        **_reach(graph, hidden, readout),
    }
    violations = [*_judge(shares, readout, target), *_readout(graph, readout, target)]
    return Mapped(tuple(placed), 1, shares, tuple(violations))


def _inputs(graph: Graph, chip: list[Layer]) -> int:
    """Return the channels from outside: those of the Input, or the neurons of the host."""
    names = {layer.name for layer in chip}
    outside: set[str] = set()
    for layer in chip:
        outside |= set(reach(graph, layer.name, np.ones((1, *graph.shapes[layer.name])))) - names
    return sum(prod(graph.shapes[name]) for name in outside)


def _reach(graph: Graph, hidden: list[Layer], readout: Layer) -> dict[str, int]:
    """Return fan-outs, and the hidden neurons that touch the input and the readout."""
    names = {layer.name for layer in hidden}
    fan_out = {name: np.zeros(graph.shapes[name], np.int64) for name in names}
    to_readout: dict[str, Array] = {}
    from_input = 0
    for layer in (*hidden, readout):
        every = np.ones((1, *graph.shapes[layer.name]), np.int32)
        for source, values in reach(graph, layer.name, every, effective=True).items():
            if source in names:
                fan_out[source] = fan_out[source] + values[0]
                if layer is readout:
                    to_readout[source] = values[0] != 0
        if layer is not readout:
            from_input += _driven_by_input(graph, layer, names)
    counts = np.concatenate([f.reshape(-1) for f in fan_out.values()] or [np.zeros(1, np.int64)])
    return {
        "fan_out": int(counts.max()),
        "average_fan_out": int(np.ceil(counts.mean())),
        "input_reach": from_input,
        "output_reach": sum(int(there.sum()) for there in to_readout.values()),
    }


def _driven_by_input(graph: Graph, layer: Layer, chip: set[str]) -> int:
    """Return how many neurons of a layer have a synapse from outside `chip`."""
    neurons = layer.neurons
    shape = graph.shapes[layer.name]
    one_each = np.eye(neurons, dtype=np.int32).reshape(neurons, *shape)
    driven = np.zeros(neurons, bool)
    for source, values in reach(graph, layer.name, one_each, effective=True).items():
        if source not in chip:
            driven |= values.reshape(neurons, -1).any(axis=1)
    return int(driven.sum())


def _readout(graph: Graph, readout: Layer, target: Target) -> Iterator[Violation]:
    node = graph.nodes[readout.name]
    if isinstance(node, Neuron):
        most, remedy = node.max_spikes_per_step, "let the last neurons send single spikes"
        yield from at_most(readout.name, "output_spikes_per_step", most, target, remedy)


def _judge(shares: dict[str, int], readout: Layer, target: Target) -> Iterator[Violation]:
    for limit, found in shares.items():
        layer = readout.name if limit == "outputs" else "network"
        yield from at_most(layer, limit, found, target, REMEDIES[limit])


REMEDIES = {
    "inputs": "use fewer input channels",
    "hidden_neurons": "use fewer neurons",
    "outputs": "use fewer classes, or code them in several neurons",
    "fan_out": "prune: fewer targets a neuron",
    "average_fan_out": "prune: fewer targets a neuron",
    "input_reach": "let fewer hidden neurons read the input",
    "output_reach": "let fewer hidden neurons feed the readout",
}
