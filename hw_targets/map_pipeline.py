"""Speck: one layer a core, cores of different memories, a fixed order within each layer.

A layer is convolution, then spikes, then sum pooling; a dense layer is a convolution whose kernel
is the whole map. Words of memory (sinabs 3.1.3 documentation, speck/overview):

    kernel = c * 2^(ceil(log2(kx * ky)) + ceil(log2(f)))      neurons = f * fx * fy

A layer too large for any core is split by output channel over several; each part counts as a
destination of the layers before it, and of the input, whose events the sensor's own node sends.
Splitting changes no integer. The groups of a convolution are billed as a full kernel, whose other
weights are 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Any

import networkx as nx

from ..export.ir import WEIGHTS, Conv2d, Graph, Input, Linear, Neuron, Shape, SumPool
from ..export.ir.uneven_padding import evenly_padded
from .mapping import Layer, Mapped, at_most, layers, weight_nodes
from .reach import sources_into, weights_into
from .target import Target
from .violation import Violation


@dataclass(frozen=True, slots=True)
class Need:
    """What a layer, or a part of it with fewer output channels, needs of one core."""

    kernel: int
    neurons: int
    biases: int


def map_pipeline(graph: Graph, target: Target) -> Mapped:
    """Return the network on the layer cores of a Speck."""
    found = layers(graph, target)
    violations: list[Violation] = []
    needs: list[tuple[str, Need]] = []
    placed: list[Layer] = []
    rewrites: list[str] = []
    for layer in found:
        if layer.on_host:
            placed.append(replace(layer, cores=0))
            continue
        violations += _shape_rules(graph, layer, target)
        rewrites += _widened(graph, layer)
        shares = _parts(graph, layer, target)
        placed.append(replace(layer, cores=len(shares)))
        violations += _memory(layer, shares, target)
        needs += [(f"{layer.name}[{k}]", need) for k, need in enumerate(shares)]
        if len(shares) > 1:
            rewrites.append(f"{layer.name} split by channel over {len(shares)} cores")
    violations += _destinations(graph, placed, target)
    if placed and not any(layer.on_host for layer in placed):
        violations += _input(graph, target)
    violations += _order(graph, target)
    violations += _assignment(needs, target, bool(violations))
    fullest = {
        "kernel_words": max((n.kernel for _, n in needs), default=0),
        "neuron_words": max((n.neurons for _, n in needs), default=0),
    }
    return Mapped(tuple(placed), len(needs), fullest, tuple(violations), tuple(rewrites))


def _widened(graph: Graph, layer: Layer) -> Iterator[str]:
    for name, node in weight_nodes(graph, layer):
        if isinstance(node, Conv2d) and node.padding_end is not None:
            before, after = (n.weight.shape[2:] for n in (node, evenly_padded(node)))
            yield f"{name} padded alike at both ends: kernel {before} with zeros is {after}"


def kernel_words(inputs: int, outputs: int, taps: int) -> int:
    """Return the words a kernel takes: taps and output channels are rounded up to powers of 2."""
    return inputs << ((taps - 1).bit_length() + (outputs - 1).bit_length())


def _parts(graph: Graph, layer: Layer, target: Target) -> list[Need]:
    """Return the needs of the fewest equal parts that fit some core, or of the whole layer."""
    channels = graph.shapes[layer.name][0]
    whole = _needs(graph, layer, channels)
    for parts in range(1, min(channels, target.limit("cores") or 1) + 1):
        need = _needs(graph, layer, ceil(channels / parts))
        if _cores_for(need, target):
            return [need] * parts
    return [whole]


def _needs(graph: Graph, layer: Layer, channels: int) -> Need:
    kernel = biases = 0
    for name, node in weight_nodes(graph, layer):
        inputs, taps = _kernel(graph, name, node)
        kernel += kernel_words(inputs, channels, prod(taps))
    node = graph.nodes[layer.name]
    if getattr(node, "bias", None) is not None:
        biases = channels
    return Need(kernel, channels * prod(graph.shapes[layer.name][1:]), biases)


def _kernel(graph: Graph, name: str, node: Any) -> tuple[int, Shape]:
    """Return the input channels and the kernel of a weight node; a Linear reads a whole map."""
    if not isinstance(node, Linear):
        kernel = evenly_padded(node).weight.shape[2:]  # the chip pads alike at both ends
        return graph.shapes[graph.inputs(name)[0]][0], tuple(kernel)
    here = graph.inputs(name)[0]
    while graph.nodes[here].kind in ("Flatten", "Reshape"):
        here = graph.inputs(here)[0]
    shape = graph.shapes[here]
    return (shape[0], shape[1:]) if len(shape) == 3 else (prod(shape), (1, 1))


def _cores_for(need: Need, target: Target) -> list[int]:
    """Return the numbers of the cores that hold a need."""
    kernel, neurons = (target.limits.get(n) for n in ("kernel_words", "neuron_words"))
    cores = range(target.limit("cores") or 1)
    allowed = target.limit("biases_per_core")
    if allowed is not None and need.biases > allowed:
        return []
    return [
        k
        for k in cores
        if (kernel is None or need.kernel <= kernel.per_core[k])
        and (neurons is None or need.neurons <= neurons.per_core[k])
    ]


def _memory(layer: Layer, shares: list[Need], target: Target) -> Iterator[Violation]:
    """Yield what the whole layer breaks where no split fits any core."""
    if _cores_for(shares[0], target):
        return
    need = shares[0]
    for limit, found in (("kernel_words", need.kernel), ("neuron_words", need.neurons)):
        constant = target.limits.get(limit)
        largest = max(constant.per_core) if constant else found
        if found > largest:
            remedy = {
                "kernel_words": "use fewer channels or a smaller kernel",
                "neuron_words": "use a stride, pool earlier or fewer channels",
            }[limit]
            allowed = f"{largest} words on one core"
            yield Violation(layer.name, limit, allowed, f"{found} words", remedy)
    yield from at_most(layer.name, "biases_per_core", need.biases, target, "use fewer channels")


def _shape_rules(graph: Graph, layer: Layer, target: Target) -> Iterator[Violation]:
    shape = graph.shapes[layer.name]
    channels = "use fewer channels"
    yield from at_most(layer.name, "channels", shape[0], target, channels)
    if len(shape) == 3:
        size = max(shape[1:])
        yield from at_most(layer.name, "map_size", size, target, "use a stride or pool earlier")
    for name, node in weight_nodes(graph, layer):
        inputs, taps = _kernel(graph, name, node)
        yield from at_most(name, "channels", inputs, target, channels)
        yield from at_most(name, "kernel_size", max(taps), target, "use a smaller kernel, or pool")
        if isinstance(node, Conv2d):
            yield from _convolution(name, node, target)
    if not layer.weights:
        remedy = "put a convolution before it (1 x 1, with weights of 1)"
        found = "spikes without a convolution"
        yield Violation(layer.name, "order", "convolution, spikes, sum pooling", found, remedy)
    if len(weight_nodes(graph, layer)) > 1:
        names = ", ".join(layer.weights)
        remedy = "add spikes instead of currents (residual rule sew_add)"
        yield Violation(layer.name, "order", "one convolution a layer", names, remedy)


def _convolution(name: str, node: Conv2d, target: Target) -> Iterator[Violation]:
    node = evenly_padded(node)
    strides = target.supports.get("strides", ())
    for stride in node.stride:
        if strides and str(stride) not in strides:
            remedy = "use another stride"
            yield Violation(name, "strides", ", ".join(strides), str(stride), remedy)
            break
    yield from at_most(name, "padding", max(node.padding), target, "use less padding")
    if max(node.dilation) > 1:
        yield Violation(name, "dilation", "1", str(max(node.dilation)), "use a larger kernel")


def _input(graph: Graph, target: Target) -> Iterator[Violation]:
    """The chip's own sensor has the size of the largest input."""
    if len(graph.input.shape) == 3:
        size = max(graph.input.shape[1:])
        yield from at_most(graph.input_name, "input_size", size, target, "crop the input")


def _order(graph: Graph, target: Target) -> Iterator[Violation]:
    """Pools follow spikes, never currents; several in a row are one of their sizes' product."""
    sizes = target.supports.get("pools", ())
    for name, node in graph.of_kind(SumPool).items():
        before = _before(graph, name)
        if any(isinstance(graph.nodes[n], WEIGHTS) for n in before):
            yield Violation(
                name,
                "order",
                "convolution, spikes, sum pooling",
                "convolution, sum pooling, spikes",
                "put the pool behind the neuron",
            )
        pools = [pool for n, pool in graph.of_kind(SumPool).items() if n in before]
        whole = max(node.kernel) * prod(max(pool.kernel) for pool in pools)
        if pools and sizes and str(whole) not in sizes:
            remedy = "pool windows of one of these sizes in all between two layers"
            yield Violation(name, "pools", ", ".join(sizes), f"{whole} in a row", remedy)


def _before(graph: Graph, name: str) -> list[str]:
    """Return the nodes between spikes (or the input) and a node."""
    found: list[str] = []
    waiting = list(graph.inputs(name))
    while waiting:
        here = waiting.pop()
        if here not in found and not isinstance(graph.nodes[here], (Neuron, Input)):
            found.append(here)
            waiting += graph.inputs(here)
    return found


def _destinations(graph: Graph, placed: list[Layer], target: Target) -> Iterator[Violation]:
    """Count the layers, or parts of layers, that each layer sends to."""
    reads: dict[str, int] = {}
    for layer in placed:
        if layer.on_host:
            continue
        sources = {s for w in weights_into(graph, layer.name) for s in sources_into(graph, w)}
        for source in sources:
            reads[source] = reads.get(source, 0) + layer.cores
    for name, count in reads.items():
        remedy = "use fewer branches, or layers that need no split"
        yield from at_most(name, "destinations", count, target, remedy)


def _assignment(needs: list[tuple[str, Need]], target: Target, broken: bool) -> Iterator[Violation]:
    """Match parts to cores; where that fails, say how many found a core."""
    cores = target.limit("cores") or len(needs)
    pairs: nx.Graph[Any] = nx.Graph()
    names = [name for name, _ in needs]
    pairs.add_nodes_from(names)
    for name, need in needs:
        pairs.add_edges_from((name, k) for k in _cores_for(need, target))
    matched = nx.bipartite.maximum_matching(pairs, names)
    seated = sum(name in matched for name in names)
    if len(needs) > cores:
        remedy = "use fewer layers, or layers small enough for one core each"
        yield Violation("network", "cores", str(cores), str(len(needs)), remedy)
    elif seated < len(needs) and not broken:
        left = next(name for name in names if name not in matched)
        yield Violation(
            left,
            "cores",
            "a core with room of its own",
            f"{seated} of {len(needs)} layers and parts find one",
            "use fewer channels: large layers compete for the few large cores",
        )
