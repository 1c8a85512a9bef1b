"""Crossbars of axons and neurons: TrueNorth's many binary ones, ODIN's single weighted one.

TrueNorth (Merolla et al., Science 345:668, 2014): a synapse is on or off; the type of its axon
chooses one of four signed values of the neuron. A weight is therefore a sum over axons that carry
the same spikes under different types: the axon is replicated, up to once a type, and since a neuron
sends to one axon only, the neuron that feeds it is copied as often. Copies compute alike, so no
integer changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from ..export.ir import Array, Delay, Graph
from .mapping import Layer, Mapped, at_most, layers, on_chip, weight_nodes
from .parallel import meets_only, pair_weights
from .shift import signed_bits
from .split import note_axons, reaches, sources_per_core, split
from .target import Target
from .violation import Violation

ATTEMPTS = 12
ROUNDS = 6
"""So often the copies of a loop's neurons are worked out; what is left then breaks a limit."""


def map_crossbar(graph: Graph, target: Target) -> Mapped:
    """Return the network on crossbars: layer by layer, or all of it on the only one."""
    found = layers(graph, target)
    if target.limit("cores") == 1:
        return _on_one(graph, target, found)
    allowed = target.limit("weight_values_per_neuron")
    types = {layer.name: axons_of(graph, layer, allowed) for layer in on_chip(found)}
    axons: dict[str, Array] = {}
    placed: list[Layer] = []
    for _ in range(ROUNDS):
        placed, needed = _placed(graph, target, found, types, axons)
        settled = _same(needed, axons) or not graph.of_kind(Delay)
        axons = needed
        if settled:
            break
    violations: list[Violation] = []
    rewrites: list[str] = []
    fullest = {"axons_per_core": 0, "neurons_per_core": 0}
    first = 0
    for k, layer in enumerate(placed):
        placed[k] = replace(layer, first_core=first)
        first += layer.cores
        if layer.on_host:
            continue
        own = types[layer.name]
        shares = _shares(graph, layer, own.each, _copies(graph, layer, axons))
        for limit, share in shares.items():
            fullest[limit] = max(fullest[limit], share)
        violations += _judge(layer, own, shares, target)
        rewrites += _rewrites(layer, own, axons)
    remedy = "use fewer channels, bits or connections"
    violations += at_most("network", "cores", first, target, remedy)
    return Mapped(tuple(placed), first, fullest, tuple(violations), tuple(rewrites))


def _placed(
    graph: Graph,
    target: Target,
    found: list[Layer],
    types: dict[str, Axons],
    known: dict[str, Array],
) -> tuple[list[Layer], dict[str, Array]]:
    """Return the layers placed, and the axons that each neuron then needs.

    How often a neuron is copied depends on the layers that read it, so the last layer comes first;
    where a loop leads back, on what a round before found (`known`).
    """
    placed: list[Layer] = []
    axons: dict[str, Array] = {}
    for layer in reversed(found):
        if layer.on_host:
            placed.insert(0, replace(layer, cores=0))
            continue
        so_far = {**axons, **known}
        chosen = _place(graph, target, layer, types[layer.name].each, _copies(graph, layer, so_far))
        placed.insert(0, chosen)
        note_axons(graph, chosen, axons, types[layer.name].each)
    return placed, axons


def _same(one: dict[str, Array], two: dict[str, Array]) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(one[n], two[n]) for n in one)


def _copies(graph: Graph, layer: Layer, axons: dict[str, Array]) -> Array:
    """Return how often each neuron of a layer stands on the chip: once an axon it needs."""
    none = np.zeros(graph.shapes[layer.name], np.int64)
    return np.maximum(axons.get(layer.name, none), 1)


@dataclass(frozen=True, slots=True)
class Axons:
    """How the weights into a layer are made: of `types` axon types, `each` axons an input."""

    types: int
    each: int


def axons_of(graph: Graph, layer: Layer, allowed: int | None = None) -> Axons:
    """Return the axons that carry each input of a layer: one a bit of the weights.

    Fewer where a neuron's weights take fewer values than that. Weights are signed: r axons make
    the values of r bits in two's complement, of which a common factor is the neuron's own. Where
    branches meet, their sums are the weights; if those need more types than `allowed`, each branch
    has axons of its own under the same types.
    """
    branches = _of_branches(graph, layer)
    pairs = pair_weights(graph, layer)
    if pairs is None:
        types = _types(branches)
        return Axons(types, types)
    kept = np.unique(np.stack(pairs)[:, pairs[1] != 0], axis=1)
    types = _types(np.split(kept[1], np.flatnonzero(np.diff(kept[0])) + 1))
    if allowed is None or types <= allowed or not meets_only(graph, layer):
        return Axons(types, types)
    types = _types(branches)
    return Axons(types, types * len(layer.weights))


def _types(neurons: Iterable[Array]) -> int:
    """Return how many types make the distinct weights other than 0 of every neuron."""
    need = 1
    for values in neurons:
        if values.size:
            codes = values // np.gcd.reduce(np.abs(values))
            bits = 1 if values.size == 1 else _signed_bits(int(codes.min()), int(codes.max()))
            need = max(need, min(bits, values.size))
    return need


def _of_branches(graph: Graph, layer: Layer) -> Iterator[Array]:
    """Yield the distinct weights other than 0 of the neurons of a channel, in any branch."""
    branches = [
        node.weight.reshape(len(node.weight), -1).astype(np.int64) << node.weight_shift
        for _, node in weight_nodes(graph, layer)
    ]
    for row in zip(*branches, strict=True):
        every = np.unique(np.concatenate(row))
        yield every[every != 0]


def _signed_bits(low: int, high: int) -> int:
    """Return the width in two's complement of low..high; of positive numbers without a sign."""
    if low >= 0:
        return high.bit_length()
    return max(high.bit_length(), (-low - 1).bit_length()) + 1


def _place(graph: Graph, target: Target, layer: Layer, types: int, copies: Array) -> Layer:
    """Return the layer on the fewest crossbars that are tried and fit."""
    rows, columns = target.limit("axons_per_core"), target.limit("neurons_per_core")
    assert rows is not None and columns is not None
    fewest = ceil(int(copies.sum()) / columns)
    best: Layer | None = None
    for by_place in (True, False):
        cores = max(1, fewest)
        for _ in range(ATTEMPTS):
            cores = min(cores, layer.neurons)
            best = split(graph, layer, cores, by_place)
            shares = _shares(graph, best, types, copies)
            excess = max(shares["axons_per_core"] / rows, shares["neurons_per_core"] / columns)
            if excess <= 1:
                return best
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


def _judge(layer: Layer, own: Axons, shares: dict[str, int], target: Target) -> Iterator[Violation]:
    values = "use --bits 4 or less: an axon replicated under 4 types carries 4 bits"
    yield from at_most(layer.name, "weight_values_per_neuron", own.types, target, values)
    remedies = {
        "axons_per_core": f"a neuron's inputs times {own.each} (bits of a weight) must fit: use "
        "fewer --bits, smaller kernels, fewer channels or more groups",
        "neurons_per_core": "one neuron needs more copies than a core has: let fewer neurons read "
        "it, or use fewer --bits",
    }
    for limit, found in shares.items():
        yield from at_most(layer.name, limit, found, target, remedies[limit])


def _rewrites(layer: Layer, own: Axons, axons: dict[str, Array]) -> Iterator[str]:
    if layer.cores > 1:
        yield f"{layer.name} split over {layer.cores} cores"
    if own.each > 1:
        yield f"axons into {layer.name} replicated {own.each} times, one a bit of the weights"
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
        *(v for layer in on_chip(placed) for v in _sums(graph, layer, target)),
    ]
    shares = {"neurons_per_core": neurons, "axons_per_core": rows}
    return Mapped(tuple(placed), int(neurons > 0), shares, tuple(violations))


def _sums(graph: Graph, layer: Layer, target: Target) -> Iterator[Violation]:
    """Yield where parallel synapses of one pair add up to more than a weight holds."""
    pairs = pair_weights(graph, layer)
    if pairs is not None and pairs[1].size:
        bits = signed_bits(int(pairs[1].min()), int(pairs[1].max()))
        remedy = (
            "parallel synapses of one pair are one: use smaller weights or --bits, or no branch"
        )
        yield from at_most(layer.name, "weight_bits", bits, target, remedy)
