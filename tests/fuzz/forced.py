"""The native engine with what it may choose forced: each table, arithmetic, order and threads."""

from __future__ import annotations

from itertools import product

import numpy as np

from spikewright.export.ir import Array, Graph
from spikewright.sim.native import Forced, Native, isa_info
from spikewright.sim.trace import NeuronTrace, Trace
from spikewright.sim.verify import Difference, compare

CHOICES = (
    (Forced(), 1),
    (Forced("gather"), 1),
    (Forced("gather", int16=False), 1),
    (Forced("dense"), 1),
    (Forced(steps=1), 1),
    (Forced("dense", steps=2), 1),
    (Forced("gather", steps=3), 1),
    (Forced("dense", steps=5), 2),
    (Forced("gather"), 2),
    (Forced("dense"), 5),
)
"""What is forced, and over how many threads."""


class ForcedNative(Native):
    """One table and one choice; its name says which."""

    def __init__(self, isa: str, forced: Forced, threads: int) -> None:
        super().__init__(threads, isa, forced)
        order = f", {forced.steps} at once" if forced.steps else ""
        width = "" if forced.int16 else ", int32"
        spread = f", {threads} threads" if threads > 1 else ""
        self.name = f"native {isa} {forced.choice}{width}{order}{spread}"


def forced_natives() -> list[ForcedNative]:
    """Return one executor for each table of this CPU and each choice."""
    tables = isa_info()["available"]
    return [ForcedNative(isa, *choice) for isa, choice in product(tables, CHOICES)]


def differs(native: ForcedNative, graph: Graph, x: Array, expected: Trace) -> Difference | int:
    """Compare a run with states, one with spikes alone (other code runs), and single steps."""
    session = native.prepare(graph)
    names = ("reference", native.name)
    found = compare(expected, session.run(x), names)
    if isinstance(found, Difference):
        return found
    spikes = {name: NeuronTrace(neuron.spikes) for name, neuron in expected.neurons.items()}
    bare = Trace(graph, "reference", x, expected.output, spikes)
    whole = compare(bare, session.run(x, "spikes"), names)
    if isinstance(whole, Difference):
        return whole
    stepped = np.stack([session.step(frame) for frame in x])
    silent = Trace(graph, native.name, x, stepped, {})
    return compare(Trace(graph, "reference", x, expected.output, {}), silent, names)
