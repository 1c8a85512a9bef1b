"""The price of delay lines: what the relay neurons of a program cost on a chip, per inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...sim.counters import Counters
from ..cost_events import energy_pj
from ..target import Target
from .program import Program


@dataclass(frozen=True, slots=True)
class RelayCost:
    """Means per inference: spikes that relays repeat, steps to drain, energy (None: no table)."""

    target: str
    relay_neurons: int
    relay_spikes: float
    extra_steps: int
    energy_uj: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        energy = "not known" if self.energy_uj is None else f"{self.energy_uj:.3g} uJ"
        return (
            f"delay lines on {self.target}: {self.relay_neurons} neurons, "
            f"{self.relay_spikes:,.0f} spikes and {energy} per inference; "
            f"{self.extra_steps} steps more until the readout has all"
        )


def relay_cost(program: Program, counters: Counters, target: Target) -> RelayCost:
    """Return the price of a program's delay lines by the target's default table.

    Each relay repeats its neuron's spikes: one synaptic operation each; it is a
    neuron that is updated at every step. Packets and hops are left out (no placement).
    """
    sums = {row["name"]: row for row in counters.rows()}
    spikes = 0.0
    for name, neurons in program.relays.items():
        spikes += sums[name]["spikes"] * (neurons / sums[name]["neurons"])
    spikes /= counters.samples
    steps = counters.time_steps + (0 if program.pipelined else program.depth)
    table = target.cost()
    energy = None
    if table is not None and table.model == "events":
        counts = {"synops": spikes, "updated": spikes, "fired": spikes}
        counts |= dict.fromkeys(("packets_out", "hops_ew", "hops_ns"), 0.0)
        energy = sum(energy_pj(counts, program.relay_neurons * steps, table).values()) / 1e6
    return RelayCost(target.name, program.relay_neurons, spikes, program.depth, energy)
