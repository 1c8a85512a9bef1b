"""Parallel synapses: what several ways from one source to one neuron add up to.

A crossbar has one synapse a pair. Where branches meet in one neuron, where windows of a pool
overlap, or where currents are pooled, a pair has several, and what must fit is their sum.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..export.ir import WEIGHTS, Array, Graph, SumPool
from ..sim.synapses import FORWARD, Path, entries, paths
from .mapping import Layer
from .reach import sources_into, synapses_into

CHUNK_SYNAPSES = 1 << 22


def pair_weights(graph: Graph, layer: Layer) -> tuple[Array, Array] | None:
    """Return neurons and weights, int64 [pair], of all pairs of a source and a neuron of a layer.

    None where each pair has one synapse, of a weight as it is stored, and for nodes that are no sum
    over events.
    """
    ways = _ways(graph, layer)
    every = [(source, path) for source, found in ways.items() for path in found]
    if any(type(graph.nodes[n]) not in FORWARD for _, path in every for n in path.nodes):
        return None
    lone = all(len(found) == 1 for found in ways.values())
    if lone and all(_single(graph, path) for _, path in every):
        return None
    neurons, weights = [], []
    for source, found in ways.items():
        for place, value in _summed(graph, source, found, layer):
            neurons.append(place)
            weights.append(value)
    return np.concatenate(neurons), np.concatenate(weights)


def meets_only(graph: Graph, layer: Layer) -> bool:
    """Whether parallel synapses come of branches alone, each of one weight node."""
    return all(_single(graph, path) for found in _ways(graph, layer).values() for path in found)


def _ways(graph: Graph, layer: Layer) -> dict[str, list[Path]]:
    """Return, by source, the ways into a layer."""
    return {
        source: [path for path in paths(graph, source) if path.target == layer.name]
        for source in sources_into(graph, layer.name)
    }


def _single(graph: Graph, path: Path) -> bool:
    """Whether a way passes one weight node, and pools only before it and without overlap."""
    nodes: list[Any] = [graph.nodes[name] for name in path.nodes]
    at = [k for k, node in enumerate(nodes) if isinstance(node, WEIGHTS)]
    return len(at) == 1 and all(
        k < at[0] and all(size <= stride for size, stride in zip(n.kernel, n.stride, strict=True))
        for k, n in enumerate(nodes)
        if isinstance(n, SumPool)
    )


def _summed(graph: Graph, source: str, ways: list[Path], layer: Layer) -> Any:
    """Yield neurons and summed weights of the pairs of a source's places, some at a time."""
    places = np.arange(prod(graph.shapes[source]))
    each = max(1, synapses_into(graph, layer.name)[0] // max(1, places.size))
    step = max(1, CHUNK_SYNAPSES // each)
    size = prod(graph.shapes[layer.name])
    for first in range(0, places.size, step):
        part = places[first : first + step]
        found = [entries(graph, source, path, part) for path in ways]
        keys = np.concatenate([f.source * size + f.place for f in found])
        pairs, back = np.unique(keys, return_inverse=True)
        summed = np.bincount(back, np.concatenate([f.value for f in found]), pairs.size)
        yield pairs % size, summed.astype(np.int64)
