"""Splitting a layer over cores, and what a split means for the sources and targets of spikes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..export.ir import Array, Graph, Neuron
from .mapping import Layer
from .reach import collapsed, reach

CHUNK_VALUES = 1 << 24
"""Cores of a layer are looked at together while [core, *shape] holds no more values than this."""


def split(graph: Graph, layer: Layer, cores: int, by_place: bool) -> Layer:
    """Return the layer on `cores` cores in even shares, in order of channels or of places."""
    shape = graph.shapes[layer.name]
    share = ((np.arange(layer.neurons) * cores) // layer.neurons).astype(np.int32)
    if by_place and len(shape) > 1:
        core_of = np.moveaxis(share.reshape(*shape[1:], shape[0]), -1, 0)
    else:
        core_of = share.reshape(shape)
    return replace(layer, cores=cores, core_of=np.ascontiguousarray(core_of))


def reaches(
    graph: Graph, layer: Layer, *, effective: bool = False
) -> Iterator[tuple[slice, dict[str, Array]]]:
    """Yield runs of a layer's cores, and the reach of each source into them (see `reach`)."""
    assert layer.core_of is not None
    column = (-1,) + (1,) * layer.core_of.ndim
    chunk = max(1, CHUNK_VALUES // layer.neurons)
    for first in range(0, layer.cores, chunk):
        run = slice(first, min(first + chunk, layer.cores))
        chosen = layer.core_of[None] == np.arange(run.start, run.stop).reshape(column)
        yield run, reach(graph, layer.name, chosen, effective=effective)


def sources_per_core(graph: Graph, layer: Layer) -> Array:
    """Return how many distinct sources of spikes drive each core of a layer, int64 [core]."""
    found = np.zeros(layer.cores, np.int64)
    for run, sources in reaches(graph, layer):
        for values in sources.values():
            small, _, copies = collapsed(values)
            found[run] += np.count_nonzero(small.reshape(len(small), -1), axis=1) * copies
    return found


def note_axons(graph: Graph, layer: Layer, axons: dict[str, Array], each: int = 1) -> None:
    """Add to `axons` [*shape], by source neuron node, the axons that it needs into this layer.

    `each`: how many an input needs on one core.
    """
    for _, sources in reaches(graph, layer):
        for source, values in sources.items():
            if isinstance(graph.nodes[source], Neuron):
                small, _, _ = collapsed(values)
                there = np.broadcast_to(np.count_nonzero(small, axis=0), values.shape[1:])
                axons[source] = axons.get(source, 0) + there * each


def distinct(layer: Layer, shape: tuple[int, ...], *values: Array | None) -> int:
    """Return the most distinct combinations of per-neuron values on one core."""
    given = [np.broadcast_to(v, shape).reshape(-1) for v in values if v is not None and v.size > 1]
    if not given:
        return 1
    assert layer.core_of is not None
    pairs = np.unique(np.stack([layer.core_of.reshape(-1), *given]), axis=1)
    return int(np.bincount(pairs[0].astype(np.int64)).max())
