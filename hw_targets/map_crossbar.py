"""Crossbars of axons and neurons: TrueNorth's many binary ones, ODIN's single weighted one.

TrueNorth (Merolla et al., Science 345:668, 2014): a synapse is on or off; the type of its axon
chooses one of four signed values of the neuron. A weight is therefore a sum over axons that carry
the same spikes under different types: the axon is replicated, up to once a type, and since a neuron
sends to one axon only, the neuron that feeds it is copied as often. Copies compute alike, so no
integer changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

import numpy as np

from ..export.ir import Array, Graph
from .mapping import Layer, Mapped, at_most, layers, on_chip, weight_nodes
from .split import note_axons, reaches, sources_per_core, split
from .target import Target
from .violation import Violation

ATTEMPTS = 12


def map_crossbar(graph: Graph, target: Target) -> Mapped:
    """Return the network on crossbars: layer by layer, or all of it on the only one."""
    found = layers(graph, target)
    if target.limit("cores") == 1:
        return _on_one(graph, target, found)
    axons: dict[str, Array] = {}
    placed: list[Layer] = []
    violations: list[Violation] = []
    rewrites: list[str] = []
    fullest = {"axons_per_core": 0, "neurons_per_core": 0}
    for layer in reversed(found):
        if layer.on_host:
            placed.insert(0, replace(layer, cores=0))
            continue
        types = axon_types(graph, layer)
        chosen, shares = _place(graph, target, layer, types, axons)
        placed.insert(0, chosen)
        for limit, share in shares.items():
            fullest[limit] = max(fullest[limit], share)
        violations = [*_judge(layer, types, shares, target), *violations]
        rewrites = [*_rewrites(chosen, types, axons), *rewrites]
        note_axons(graph, chosen, axons, types)
    first = 0
    for k, layer in enumerate(placed):
        placed[k] = replace(layer, first_core=first)
        first += layer.cores
    remedy = "use fewer channels, bits or connections"
    violations += at_most("network", "cores", first, target, remedy)
    return Mapped(tuple(placed), first, fullest, tuple(violations), tuple(rewrites))


def axon_types(graph: Graph, layer: Layer) -> int:
    """Return how many axons of different types carry each input: the bits of the weights.

    Fewer where a neuron's weights take fewer values than that. Weights are signed: r axons make
    the values of r bits in two's complement, of which a common factor is the neuron's own.
    """
    branches = [
        node.weight.reshape(len(node.weight), -1).astype(np.int64) << node.weight_shift
        for _, node in weight_nodes(graph, layer)
    ]
    need = 1
    for row in zip(*branches, strict=True):
        every = np.unique(np.concatenate(row))
        values = every[every != 0]
        if values.size:
            codes = values // np.gcd.reduce(np.abs(values))
            bits = 1 if values.size == 1 else _signed_bits(int(codes.min()), int(codes.max()))
            need = max(need, min(bits, values.size))
    return need


def _signed_bits(low: int, high: int) -> int:
    """Return the width in two's complement of low..high; of positive numbers without a sign."""
    if low >= 0:
        return high.bit_length()
    return max(high.bit_length(), (-low - 1).bit_length()) + 1


def _place(
    graph: Graph, target: Target, layer: Layer, types: int, axons: dict[str, Array]
) -> tuple[Layer, dict[str, int]]:
    """Return the layer on the fewest crossbars that are tried and fit, and the fullest's shares."""
    copies = np.maximum(axons.get(layer.name, np.ones(graph.shapes[layer.name], np.int64)), 1)
    rows, columns = target.limit("axons_per_core"), target.limit("neurons_per_core")
    assert rows is not None and columns is not None
    fewest = ceil(int(copies.sum()) / columns)
    best: tuple[Layer, dict[str, int]] | None = None
    for by_place in (True, False):
        cores = max(1, fewest)
        for _ in range(ATTEMPTS):
            cores = min(cores, layer.neurons)
            tried = split(graph, layer, cores, by_place)
            shares = _shares(graph, tried, types, copies)
            excess = max(shares["axons_per_core"] / rows, shares["neurons_per_core"] / columns)
            if excess <= 1:
                return tried, shares
            best = (tried, shares)
            if cores == layer.neurons:
                break
            cores = max(cores + 1, ceil(cores * min(excess, 4)))
    assert best is not None
    return best


def _shares(graph: Graph, layer: Layer, types: int, copies: Array) -> dict[str, int]:
    assert layer.core_of is not None
    columns = np.bincount(layer.core_of.reshape(-1), copies.reshape(-1), layer.cores)
    rows = sources_per_core(graph, layer) * types
    return {"axons_per_core": int(rows.max()), "neurons_per_core": int(columns.max())}


def _judge(layer: Layer, types: int, shares: dict[str, int], target: Target) -> Iterator[Violation]:
    values = "use --bits 4 or less: an axon replicated under 4 types carries 4 bits"
    yield from at_most(layer.name, "weight_values_per_neuron", types, target, values)
    remedies = {
        "axons_per_core": f"a neuron's inputs times {types} (bits of a weight) must fit: use fewer "
        "--bits, smaller kernels, fewer channels or more groups",
        "neurons_per_core": "one neuron needs more copies than a core has: let fewer neurons read "
        "it, or use fewer --bits",
    }
    for limit, found in shares.items():
        yield from at_most(layer.name, limit, found, target, remedies[limit])


def _rewrites(layer: Layer, types: int, axons: dict[str, Array]) -> Iterator[str]:
    if layer.cores > 1:
        yield f"{layer.name} split over {layer.cores} cores"
    if types > 1:
        yield f"axons into {layer.name} replicated {types} times, one a bit of the weights"
    if layer.name in axons and int(axons[layer.name].max()) > 1:
        yield f"neurons of {layer.name} copied up to {int(axons[layer.name].max())} times"


def _on_one(graph: Graph, target: Target, found: list[Layer]) -> Mapped:
    """Return the whole network on one crossbar, whose rows are its inputs and sending neurons."""
    neurons = sum(layer.neurons for layer in on_chip(found))
    placed = [
        replace(split(graph, layer, 1, False), cores=int(not layer.on_host)) for layer in found
    ]
    sources: dict[str, Array] = {}
    for layer in on_chip(placed):
        for _, reached in reaches(graph, layer):
            for source, values in reached.items():
                drives = values.any(axis=0)
                sources[source] = sources.get(source, np.zeros_like(drives)) | drives
    rows = sum(int(np.count_nonzero(there)) for there in sources.values())
    fewer = "use fewer inputs or hidden neurons"
    violations = [
        *at_most("network", "neurons_per_core", neurons, target, "use fewer neurons"),
        *at_most("network", "axons_per_core", rows, target, fewer),
    ]
    shares = {"neurons_per_core": neurons, "axons_per_core": rows}
    return Mapped(tuple(placed), int(neurons > 0), shares, tuple(violations))
