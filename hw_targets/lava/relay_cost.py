"""Delay lines: the relay neurons that branches of unequal depth need, and what they cost.

Where each synapse takes a step (Loihi, Lava), a branch with fewer synapses arrives early and waits
in a line of relay neurons, one identity synapse and one neuron a value and step (`lags`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ...export.ir import Delay, Graph, Input, Neuron
from ...sim.counters import Counters
from ..cost_events import energy_pj
from ..target import Target
from .lags import lags, step_cost


@dataclass(frozen=True, slots=True)
class RelayCost:
    """Means per inference: spikes that relays repeat, steps to drain, energy (None: no table)."""

    target: str
    relay_neurons: int
    relay_spikes: float
    extra_steps: int
    energy_uj: float | None
    lines: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "lines": dict(self.lines)}

    def __str__(self) -> str:
        energy = "not known" if self.energy_uj is None else f"{self.energy_uj:.3g} uJ"
        return (
            f"delay lines on {self.target}: {self.relay_neurons:,} neurons, "
            f"{self.relay_spikes:,.0f} spikes and {energy} per inference"
        )


def delay_lines(graph: Graph) -> dict[str, int]:
    """Return how many relay neurons each neuron node needs behind it, where it needs any.

    Raises:
        ExecutorError: naming a Delay whose loop has more synapses than steps.
    """
    lag = lags(graph)
    late: dict[str, int] = {}
    ways = [(graph.inputs(n)[0], lag[n]) for n in (*graph.neurons, graph.output_name)]
    seen = set(ways)
    while ways:
        name, due = ways.pop()
        node = graph.nodes[name]
        if isinstance(node, Neuron):
            late[name] = max(late.get(name, 0), due - lag[name])
        elif not isinstance(node, Input):
            before = {(source, due - step_cost(node)) for source in graph.inputs(name)}
            ways += before - seen
            seen |= before
    return {n: late[n] * prod(node.shape) for n, node in graph.neurons.items() if late.get(n)}


def relay_cost(
    graph: Graph, counters: Counters, target: Target, cost: str | None = None
) -> RelayCost:
    """Return the price of a graph's delay lines by a cost table of the target, or its default.

    Each relay repeats its neuron's spikes: one synaptic operation each; it is a
    neuron that is updated at every step. Packets and hops are left out (no placement).

    Raises:
        ExecutorError: naming a Delay whose loop has more synapses than steps.
    """
    lines, lag = delay_lines(graph), lags(graph)
    depth = max(lag[name] for name in (*graph.neurons, graph.output_name))
    relays, sums = sum(lines.values()), {row["name"]: row for row in counters.rows()}
    spikes = sum(sums[n]["spikes"] * (size / sums[n]["neurons"]) for n, size in lines.items())
    spikes /= counters.samples
    # Without loops samples follow each other, and relays are never idle for a sample's sake.
    steps = counters.time_steps + (depth if graph.of_kind(Delay) else 0)
    table = target.cost(cost)
    energy = None
    if table is not None and table.model == "events":
        counts = {"synops": spikes, "updated": spikes, "fired": spikes}
        counts |= dict.fromkeys(("packets_out", "hops_ew", "hops_ns"), 0.0)
        energy = sum(energy_pj(counts, relays * steps, table).values()) / 1e6
    return RelayCost(target.name, relays, spikes, depth, energy, lines)
