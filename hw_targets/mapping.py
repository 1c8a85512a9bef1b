"""Layer order placement: which neurons of which layer stand on which core.

A layer is what one neuron node (or readout) holds with the weights that feed it. It is split over
consecutive cores evenly, as many as its tightest limit asks for; cores are not shared by layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from ..export.ir import WEIGHTS, Graph, MatMul, Neuron, Output, value_kinds
from ..sim.fan_out import synapses
from .target import Target

WORD_BITS = 64
"""Loihi's synaptic memory comes in words of 64 bits (Davies et al., 2018)."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A neuron node or readout and what it needs, whole and per core.

    Attributes:
        name: the neuron node. weights: the weight nodes whose currents reach it.
        neurons, synapses, synapse_bits, inputs, outputs: in total (inputs: sources of spikes).
        thresholds: distinct values. cores: how many it is split over.
        on_host: computed by the host (its input is analog and the chip takes spikes only).
    """

    name: str
    weights: tuple[str, ...]
    neurons: int
    synapses: int
    synapse_bits: int
    inputs: int
    outputs: int
    thresholds: int
    cores: int
    on_host: bool


def layers(graph: Graph, target: Target) -> list[Layer]:
    """Return the layers of an integer graph in order, split over cores as the limits ask."""
    kinds = value_kinds(graph)
    takes_analog = "direct" in target.supports.get("inputs", ("direct",))
    found = []
    for name, node in graph.nodes.items():
        if not isinstance(node, (Neuron, Output)):
            continue
        feeding = _weights_into(graph, name)
        if isinstance(node, Output) and not feeding:
            continue
        analog = any(kinds[graph.inputs(w)[0]] == "analog" for w in feeding)
        found.append(_layer(graph, target, name, feeding, analog and not takes_analog))
    return found


def _weights_into(graph: Graph, name: str) -> tuple[str, ...]:
    """Return the weight nodes whose current reaches `name` without passing another neuron."""
    seen: list[str] = []
    waiting = list(graph.inputs(name))
    while waiting:
        here = waiting.pop(0)
        node = graph.nodes[here]
        if isinstance(node, (*WEIGHTS, MatMul)):
            seen.append(here)
        elif not isinstance(node, Neuron):
            waiting += graph.inputs(here)
    return tuple(dict.fromkeys(seen))


def _layer(
    graph: Graph, target: Target, name: str, feeding: tuple[str, ...], on_host: bool
) -> Layer:
    node = graph.nodes[name]
    neurons = prod(graph.shapes[name])
    count = bits = inputs = 0
    for weight in feeding:
        found = graph.nodes[weight]
        if isinstance(found, MatMul):
            continue
        before = graph.shapes[graph.inputs(weight)[0]]
        existing = synapses(found, before, graph.shapes[weight])  # type: ignore[arg-type]
        count += existing
        bits += existing * (getattr(found, "bits", None) or 8)
        inputs += prod(before)
    outputs = neurons * max(1, len(graph.consumers(name)))
    distinct = len(np.unique(node.v_threshold)) if isinstance(node, Neuron) else 0
    whole = Layer(name, feeding, neurons, count, bits, inputs, outputs, distinct, 1, on_host)
    return Layer(
        name,
        feeding,
        neurons,
        count,
        bits,
        inputs,
        outputs,
        distinct,
        _cores(whole, target),
        on_host,
    )


def _cores(layer: Layer, target: Target) -> int:
    """Return the fewest cores whose even shares keep the per-core limits that splitting helps."""
    if layer.on_host:
        return 0
    needs = [1]
    for need, limit in per_core_needs(layer):
        allowed = target.limit(limit)
        if allowed is not None:
            needs.append(ceil(need / allowed))
    return max(needs)


def per_core_needs(layer: Layer) -> list[tuple[int, str]]:
    """Return what a layer needs in total of what splitting it shares out, and the limit's name."""
    return [
        (layer.neurons, "neurons_per_core"),
        (ceil(layer.synapse_bits / WORD_BITS), "synapse_words_per_core"),
        (ceil(layer.synapse_bits / 8), "synapse_bytes_per_core"),
        (layer.outputs, "output_axons_per_core"),
    ]
