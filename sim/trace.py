"""Trace: what a run recorded, and the file that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..export.ir import Array, Graph

Record: TypeAlias = Literal["output", "spikes", "states"]
"""How much a run keeps: the output alone, spikes too, or spikes and the states v and u."""


@dataclass(frozen=True, slots=True)
class NeuronTrace:
    """One neuron node's recording, each array [time, batch, *shape].

    spikes: int32 counts (float levels: the dtype of the run). v: after reset; u: where the neuron
    is current-based; int32 (float levels: floats), None where states were not recorded.
    """

    spikes: Array
    v: Array | None = None
    u: Array | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """What one executor computed for one batch.

    Attributes:
        graph: what ran; executor: who ran it.
        input: the values that entered, [time, batch, *shape] (a direct frame is repeated by view).
        output: y of the Output node after each step, [time, batch, *shape].
        neurons: recordings by neuron node, in the graph's order; empty for record="output".
    """

    graph: Graph
    executor: str
    input: Array
    output: Array
    neurons: Mapping[str, NeuronTrace]

    @property
    def time_steps(self) -> int:
        """How many steps were run."""
        return int(self.output.shape[0])

    @property
    def samples(self) -> int:
        """How many samples the batch held."""
        return int(self.output.shape[1])
