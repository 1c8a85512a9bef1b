"""The native engine with what it may choose forced: each table, arithmetic and order."""

from __future__ import annotations

from itertools import product

from spikewright.export.ir import Array, Graph
from spikewright.sim.native import Forced, Native, isa_info
from spikewright.sim.trace import NeuronTrace, Trace
from spikewright.sim.verify import Difference, compare

CHOICES = (
    Forced(),
    Forced("gather"),
    Forced("gather", int16=False),
    Forced("dense"),
    Forced(steps=1),
    Forced("dense", steps=2),
)


class ForcedNative(Native):
    """One table and one choice; its name says which."""

    def __init__(self, isa: str, forced: Forced) -> None:
        super().__init__(isa=isa, forced=forced)
        order = f", {forced.steps} at once" if forced.steps else ""
        width = "" if forced.int16 else ", int32"
        self.name = f"native {isa} {forced.choice}{width}{order}"


def forced_natives() -> list[ForcedNative]:
    """Return one executor for each table of this CPU and each choice."""
    tables = isa_info()["available"]
    return [ForcedNative(isa, forced) for isa, forced in product(tables, CHOICES)]


def differs(native: ForcedNative, graph: Graph, x: Array, expected: Trace) -> Difference | int:
    """Compare a run that records states, then one that records spikes alone (other code runs)."""
    session = native.prepare(graph)
    names = ("reference", native.name)
    found = compare(expected, session.run(x), names)
    if isinstance(found, Difference):
        return found
    spikes = {name: NeuronTrace(neuron.spikes) for name, neuron in expected.neurons.items()}
    bare = Trace(graph, "reference", x, expected.output, spikes)
    return compare(bare, session.run(x, "spikes"), names)
