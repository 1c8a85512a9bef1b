"""Silicon: what Loihi enforces and Lava's CPU models let pass, node by node.

Lava computes these networks exactly as we do; a chip would not. The worst cases come from the
bounds, never from data. Sources: Davies et al., IEEE Micro 38(1):82-99, 2018 (Loihi 1); the
precisions that lava-nc 0.10.0 declares in `proc/lif/models.py` and `proc/dense/models.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...export.ir import Graph, Input, Neuron, Output, bounds
from .lags import SYNAPSES

ACCUMULATOR_LIMIT = (1 << 15) - 1
"""A dendritic accumulator holds 16 bits, signed."""
PAYLOAD_LIMIT = (1 << 8) - 1
"""A graded spike carries 8 bits on Loihi 2, none on Loihi 1."""
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
    """Return what a Loihi of the graph's number format would not compute as Lava does."""
    first = graph.profile is not None and graph.profile.name == "loihi1"
    found = [*_values(graph, graded=not first)]
    for name, node in graph.nodes.items():
        if isinstance(node, (Neuron, Output)) and node.bias is not None:
            found += _bias(name, node)
        if isinstance(node, Neuron) and first:
            distinct = len(np.unique(node.v_threshold))
            remedy = "use one threshold a layer, or spread the layer over more cores"
            found += _over(name, "thresholds per core", THRESHOLDS_PER_CORE, distinct, remedy)
    return found


def _values(graph: Graph, *, graded: bool) -> Iterator[SiliconLimit]:
    """Limits on what travels: payloads, sums, and synapses that feed synapses."""
    limits = bounds(graph)
    payload = PAYLOAD_LIMIT if graded else 1
    for name, node in graph.nodes.items():
        if not isinstance(node, SYNAPSES):
            continue
        source = graph.inputs(name)[0]
        analog = isinstance(graph.nodes[source], Input) and graph.input.encoding == "direct"
        if analog:
            yield from _over(
                name, "payload", payload, limits[source].largest, "the host computes this layer"
            )
            continue
        remedy = "train with a residual rule that adds currents" if not graded else "add fewer"
        yield from _over(name, "payload", payload, limits[source].largest, remedy)
        yield from _over(
            name,
            "dendritic accumulator",
            ACCUMULATOR_LIMIT,
            limits[name].largest,
            "worst case: use fewer --bits or a smaller fan-in",
        )
        if isinstance(graph.nodes[source], SYNAPSES):
            yield SiliconLimit(name, "synapses in a row", 1, 2, "put a neuron between them")


def _bias(name: str, node: Neuron | Output) -> Iterator[SiliconLimit]:
    assert node.bias is not None
    bias = node.bias.astype(np.int64)
    exponents = [e for e in range(BIAS_EXPONENTS) if not (bias % (1 << e)).any()]
    largest = int(np.abs(bias >> exponents[-1]).max())
    yield from _over(name, "bias mantissa", BIAS_LIMIT, largest, "use a smaller bias")


def _over(name: str, limit: str, allowed: int, found: int, remedy: str) -> Iterator[SiliconLimit]:
    if found > allowed:
        yield SiliconLimit(name, limit, allowed, found, remedy)
