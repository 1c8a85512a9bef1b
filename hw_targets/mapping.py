"""How a network stands on a chip: layers, the cores they take, and the limits that break.

A layer is what one neuron node (or readout) holds with the weights that feed it. Each scheme of
`names.MAPPINGS` is a file of its own; what a scheme does to make a layer fit (split it over cores,
replicate axons) changes no integer and is listed as a rewrite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from math import prod
from typing import Any

import numpy as np

from ..export.ir import WEIGHTS, Array, Graph, Neuron, Output, analog_nodes
from .reach import synapses_into, weights_into
from .target import Target
from .violation import Violation


@dataclass(frozen=True, slots=True)
class Layer:
    """A neuron node or readout and what it needs.

    Attributes:
        name: the neuron node. weights: the weight nodes whose currents reach it.
        neurons, synapses, synapse_bits: in total. thresholds: distinct values.
        on_host: computed by the host (its input is analog and the chip takes spikes only).
        cores: how many it takes; first_core: the number of the first.
        core_of: which of them each neuron stands on, int32 [*shape]; None where no neuron has one.
    """

    name: str
    weights: tuple[str, ...]
    neurons: int
    synapses: int
    synapse_bits: int
    thresholds: int
    on_host: bool
    cores: int = 1
    first_core: int = 0
    core_of: Array | None = None


@dataclass(frozen=True, slots=True)
class Mapped:
    """A network on a chip.

    Attributes:
        layers: in order. cores: taken in all. per_core_max: the fullest core's share of each limit.
        rewrites: what was done so that it fits, one line each.
    """

    layers: tuple[Layer, ...]
    cores: int
    per_core_max: Mapping[str, int]
    violations: tuple[Violation, ...] = ()
    rewrites: tuple[str, ...] = field(default=())


def map_graph(graph: Graph, target: Target) -> Mapped:
    """Return how an integer graph stands on `target`."""
    module, name = SCHEMES[target.mapping]
    scheme: Callable[[Graph, Target], Mapped] = getattr(
        import_module(f".{module}", __package__), name
    )
    return scheme(graph, target)


SCHEMES = {
    "cores": ("map_cores", "map_cores"),
    "crossbar": ("map_crossbar", "map_crossbar"),
    "pipeline": ("map_pipeline", "map_pipeline"),
    "population": ("map_population", "map_population"),
    "nodes": ("map_nodes", "map_nodes"),
    "none": ("mapping", "map_nothing"),
}


def map_nothing(graph: Graph, target: Target) -> Mapped:
    """Return the layers of a target that is no chip: nothing is placed."""
    return Mapped(tuple(layers(graph, target)), 0, {})


def layers(graph: Graph, target: Target) -> list[Layer]:
    """Return the layers of an integer graph in order, not placed yet."""
    host = host_nodes(graph, target)
    found = []
    for name, node in graph.nodes.items():
        if not isinstance(node, (Neuron, Output)):
            continue
        feeding = weights_into(graph, name)
        if isinstance(node, Output) and not feeding:
            continue
        found.append(_layer(graph, name, feeding, name in host))
    return found


def host_nodes(graph: Graph, target: Target) -> set[str]:
    """Return the nodes that the host computes: of analog values, where the chip takes spikes only.

    The Input is not among them.
    """
    if "direct" in target.supports.get("inputs", ("direct",)):
        return set()
    return analog_nodes(graph) - {graph.input_name}


def _layer(graph: Graph, name: str, feeding: tuple[str, ...], on_host: bool) -> Layer:
    node = graph.nodes[name]
    count, bits = synapses_into(graph, name)
    distinct = len(np.unique(node.v_threshold)) if isinstance(node, Neuron) else 0
    return Layer(name, feeding, prod(graph.shapes[name]), count, bits, distinct, on_host)


def on_chip(found: list[Layer]) -> list[Layer]:
    """Return the layers that the chip computes."""
    return [layer for layer in found if not layer.on_host]


def at_most(layer: str, limit: str, found: int, target: Target, remedy: str) -> Iterator[Violation]:
    """Yield a violation where `found` exceeds a limit of the target."""
    allowed = target.limit(limit)
    if allowed is not None and found > allowed:
        yield Violation(layer, limit, str(allowed), str(found), remedy)


def weight_nodes(graph: Graph, layer: Layer) -> list[tuple[str, Any]]:
    """Return the weight nodes of a layer, MatMuls left out."""
    nodes = [(name, graph.nodes[name]) for name in layer.weights]
    return [(name, node) for name, node in nodes if isinstance(node, WEIGHTS)]
