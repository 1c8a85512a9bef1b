"""Layers in order on equal cores (Loihi, SpiNNaker), each split evenly over as few as fit.

A layer is split by channel, or by place where the sources of one core would be too many. Cores are
not shared by layers. Splitting and its order change no integer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np

from ..export.ir import Array, Graph, Neuron
from .mapping import Layer, Mapped, at_most, layers
from .split import distinct, note_axons, sources_per_core, split
from .target import Target
from .violation import Violation

WORD_BITS = 64
"""Loihi's synaptic memory comes in words of 64 bits (Davies et al., 2018)."""
ATTEMPTS = 8


def map_cores(graph: Graph, target: Target) -> Mapped:
    """Return the network on equal cores, in layer order."""
    work = _Work(graph, target)
    placed: list[Layer] = []
    # From the last layer on: how a layer is split says how many axons leave the one before.
    for layer in reversed(layers(graph, target)):
        placed.insert(0, work.place(layer))
    first = 0
    for k, layer in enumerate(placed):
        placed[k] = replace(layer, first_core=first)
        first += layer.cores
    violations = [v for layer in placed if not layer.on_host for v in work.judge(layer)]
    total = sum(layer.synapses for layer in placed if not layer.on_host)
    violations += at_most("network", "synapses", total, target, "use fewer channels")
    worst = max(placed, key=lambda layer: layer.cores, default=None)
    remedy = f"use fewer channels or bits; {worst.name} alone takes {worst.cores}" if worst else ""
    if worst is not None and worst.cores == 1:
        remedy = "use fewer layers: layers do not share a core here"
    violations += at_most("network", "cores", first, target, remedy)
    rewrites = tuple(
        f"{layer.name} split over {layer.cores} cores" for layer in placed if layer.cores > 1
    )
    return Mapped(tuple(placed), first, work.fullest(placed), tuple(violations), rewrites)


@dataclass(slots=True)
class _Work:
    """What is known while layers are placed: the axons that leave each neuron so far."""

    graph: Graph
    target: Target
    axons: dict[str, Array] = field(default_factory=dict)
    known: dict[tuple[str, int], dict[str, int]] = field(default_factory=dict)

    def place(self, layer: Layer) -> Layer:
        """Return the layer on the fewest cores that keep the limits, or the best that is tried."""
        if layer.on_host:
            return replace(layer, cores=0)
        available = self.target.limit("cores") or 1 << 16
        fewest = min(self._fewest(layer), layer.neurons)
        chosen = split(self.graph, layer, fewest, False)
        for by_place in (False, True):
            found = self._try(layer, fewest, available, by_place)
            if found is not None:
                chosen = found
                break
        if chosen.cores <= available and self.target.limit("output_axons_per_core"):
            note_axons(self.graph, chosen, self.axons)
        return chosen

    def _try(self, layer: Layer, cores: int, available: int, by_place: bool) -> Layer | None:
        """Return the layer on as few cores, from `cores` on, as a few attempts find, or None."""
        for _ in range(ATTEMPTS):
            if cores > min(available, layer.neurons):
                return None
            tried = split(self.graph, layer, cores, by_place)
            excess = self._excess(tried)
            if excess <= 1:
                return tried
            cores = max(cores + 1, ceil(cores * min(excess, 4)))
        return None

    def _fewest(self, layer: Layer) -> int:
        """Return how many cores the limits ask for that even shares settle."""
        needs = [1]
        for limit, need in self._shared(layer).items():
            allowed = self.target.limit(limit)
            if allowed is not None:
                needs.append(ceil(need / allowed))
        return max(needs)

    def _shared(self, layer: Layer) -> dict[str, int]:
        """Return what splitting a layer shares out, by limit."""
        leaving = self.axons.get(layer.name)
        return {
            "neurons_per_core": layer.neurons,
            "synapse_words_per_core": ceil(layer.synapse_bits / WORD_BITS),
            "synapse_bytes_per_core": ceil(layer.synapse_bits / 8),
            "output_axons_per_core": 0 if leaving is None else int(leaving.sum()),
        }

    def _excess(self, layer: Layer) -> float:
        """Return by which factor the fullest core exceeds the limit it breaks most."""
        found = self._shares(layer)
        ratios = [found[n] / allowed for n in found if (allowed := self.target.limit(n))]
        return max(ratios, default=0.0)

    def _shares(self, layer: Layer) -> dict[str, int]:
        """Return the fullest core's share of each limit, for a placed layer."""
        assert layer.core_of is not None
        shares = {n: ceil(need / layer.cores) for n, need in self._shared(layer).items()}
        if layer.name in self.axons:
            each = self.axons[layer.name].reshape(-1)
            leaving = np.bincount(layer.core_of.reshape(-1), each, layer.cores)
            shares["output_axons_per_core"] = int(leaving.max())
        node = self.graph.nodes[layer.name]
        if isinstance(node, Neuron):
            shares["thresholds_per_core"] = distinct(layer, node.shape, node.v_threshold)
            shares["neuron_configs_per_core"] = distinct(layer, node.shape, node.dv, node.du)
        if self.target.limit("input_axons_per_core") is not None:
            shares["input_axons_per_core"] = int(sources_per_core(self.graph, layer).max())
        return shares

    def judge(self, layer: Layer) -> Iterator[Violation]:
        """Yield the limits that the layer breaks however it is split."""
        every = self.target.limit("cores")
        for limit, found in self._final(layer).items():
            if every is not None and layer.cores > every:
                found = max(found, ceil(self._shared(layer).get(limit, 0) / every))
            remedy = REMEDIES[limit].format(target=self.target.name)
            yield from at_most(layer.name, limit, found, self.target, remedy)

    def _final(self, layer: Layer) -> dict[str, int]:
        """Return the shares of a layer when all layers are placed."""
        key = (layer.name, layer.cores)
        if key not in self.known:
            self.known[key] = self._shares(layer)
        return self.known[key]

    def fullest(self, placed: list[Layer]) -> dict[str, int]:
        """Return the largest share of one core of each quantity."""
        found: dict[str, int] = {}
        for layer in placed:
            if not layer.on_host:
                for name, share in self._final(layer).items():
                    found[name] = max(found.get(name, 0), share)
        return found


REMEDIES = {
    "neurons_per_core": "use fewer channels or a smaller map",
    "synapse_words_per_core": "use fewer --bits or channels",
    "synapse_bytes_per_core": "use fewer --bits or channels",
    "output_axons_per_core": "use fewer channels in the layers that follow",
    "input_axons_per_core": "use fewer input channels or a smaller map",
    "thresholds_per_core": "use one scale a layer: lower it with --target {target}",
    "neuron_configs_per_core": "share one decay among the neurons of a layer",
}
