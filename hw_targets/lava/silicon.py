"""Silicon: what Loihi enforces and Lava's CPU models let pass, node by node.

Lava computes these networks exactly as we do; a chip might not. The worst cases come from the
bounds, never from data. Sources: Davies et al., IEEE Micro 38(1):82-99, 2018 (Loihi 1); the
precisions that lava-nc 0.10.0 declares in `proc/lif/models.py` and `proc/dense/models.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...export.ir import WEIGHTS, Delay, Graph, Input, Neuron, Output, bounds
from ...export.ir.bounds import Bound
from .lags import SYNAPSES

CHIPS = ("loihi1", "loihi2")
"""The chips, and number formats, that these limits are of."""
ACCUMULATOR_LIMIT = (1 << 15) - 1
"""A dendritic accumulator holds 16 bits, signed."""
PAYLOAD_LIMIT = (1 << 8) - 1
"""A graded spike carries 8 bits on Loihi 2, none on Loihi 1."""
THRESHOLD_LIMIT = (1 << 17) - 1
"""A threshold has 17 bits, before its 6 fractional ones."""
BIAS_LIMIT = (1 << 12) - 1
"""Bias mantissas have 13 bits, signed."""
BIAS_EXPONENTS = 8
"""Bias exponents have 3 bits."""
THRESHOLDS_PER_CORE = 8
"""Distinct thresholds that a core of Loihi 1 can hold (nengo-loihi 1.1.0, hardware constants)."""


@dataclass(frozen=True, slots=True)
class SiliconLimit:
    """A limit of the chip that a node may exceed, and what to change."""

    node: str
    limit: str
    allowed: int
    found: int
    remedy: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        return f"{self.node}: {self.limit} allows {self.allowed}, found {self.found}; {self.remedy}"


def silicon_limits(graph: Graph) -> list[SiliconLimit]:
    """Return what a Loihi of the graph's number format would not compute as Lava does.

    Beside `number_limits` what a host or a mapping to cores would settle: analog input, thresholds
    that share a core, and synapses that feed synapses.
    """
    chip = "loihi1" if graph.profile is not None and graph.profile.name == "loihi1" else "loihi2"
    found, limits = number_limits(graph, chip), bounds(graph)
    for name, node in graph.nodes.items():
        if isinstance(node, Input) and node.encoding == "direct":
            remedy = "the host computes the layer behind it"
            found += _over(name, "payload", payload_limit(chip), limits[name].largest, remedy)
        if isinstance(node, Neuron) and chip == "loihi1":
            distinct = len(np.unique(node.v_threshold))
            remedy = "lower it with --target loihi1, or spread the layer over more cores"
            found += _over(name, "thresholds per core", THRESHOLDS_PER_CORE, distinct, remedy)
        if isinstance(node, SYNAPSES) and any(
            isinstance(graph.nodes[source], SYNAPSES) for source in _before(graph, name)
        ):
            remedy = "multiply the weights, or put a neuron between them"
            found.append(SiliconLimit(name, "synapses in a row", 1, 2, remedy))
    return found


def number_limits(graph: Graph, chip: str) -> list[SiliconLimit]:
    """Return which numbers of an integer graph a chip (see `CHIPS`) cannot hold in the worst case.

    Layers of analog input are left out: their host has the room. Pools count as part of the weights
    behind them, as a mapping to cores has them: what travels are spikes.
    """
    limits = bounds(graph)
    found: list[SiliconLimit] = []
    for name, node in graph.nodes.items():
        if isinstance(node, Neuron) or (isinstance(node, Input) and node.encoding != "direct"):
            remedy = "use single spikes" if chip == "loihi1" else "use smaller counts"
            found += _over(name, "payload", payload_limit(chip), limits[name].largest, remedy)
        if isinstance(node, (Neuron, Output)) and not _analog(graph, name):
            found += _accumulated(graph, name, limits)
            if node.bias is not None:
                found += _bias(name, node)
            if isinstance(node, Neuron):
                found += _neuron(name, node)
    return found


def payload_limit(chip: str) -> int:
    """Return the largest value that one spike of a Loihi carries: 1 where it carries none."""
    return 1 if chip == "loihi1" else PAYLOAD_LIMIT


def _analog(graph: Graph, name: str) -> bool:
    """Whether a directly coded frame arrives at a node without passing a neuron."""
    return graph.input.encoding == "direct" and any(
        isinstance(graph.nodes[source], Input) for source in _before(graph, name)
    )


def _before(graph: Graph, name: str) -> Iterator[str]:
    """Yield the nodes from which values arrive here without passing a neuron."""
    ways = list(graph.inputs(name))
    while ways:
        source = ways.pop()
        yield source
        if not isinstance(graph.nodes[source], (Neuron, Delay)):
            ways += graph.inputs(source)


def _accumulated(graph: Graph, name: str, limits: Mapping[str, Bound]) -> Iterator[SiliconLimit]:
    """The sum that arrives at a neuron or readout, told at the node before it."""
    source = graph.inputs(name)[0]
    weighed = any(isinstance(graph.nodes[n], WEIGHTS) for n in _before(graph, name))
    if weighed:
        remedy = "worst case: use fewer --bits or a smaller fan-in"
        largest = limits[source].largest
        yield from _over(source, "dendritic accumulator", ACCUMULATOR_LIMIT, largest, remedy)


def _neuron(name: str, node: Neuron) -> Iterator[SiliconLimit]:
    largest = int(np.abs(node.v_threshold).max()) >> node.state_shift
    yield from _over(name, "threshold", THRESHOLD_LIMIT, largest, "use fewer --bits")
    if node.bias_in is not None and node.bias_in.any():
        remedy = "u has no bias: add a neuron that spikes at every step, with a synapse to each"
        yield SiliconLimit(name, "biases of u", 0, int(np.count_nonzero(node.bias_in)), remedy)


def _bias(name: str, node: Neuron | Output) -> Iterator[SiliconLimit]:
    assert node.bias is not None
    bias = node.bias.astype(np.int64)
    exponents = [e for e in range(BIAS_EXPONENTS) if not (bias % (1 << e)).any()]
    largest = int(np.abs(bias >> exponents[-1]).max())
    yield from _over(name, "bias mantissa", BIAS_LIMIT, largest, "use a smaller bias")


def _over(name: str, limit: str, allowed: int, found: int, remedy: str) -> Iterator[SiliconLimit]:
    if found > allowed:
        yield SiliconLimit(name, limit, allowed, found, remedy)
