"""Trace: what a run recorded, and the file that holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ..export.ir import Array, Graph
from ..export.ir.printed import Printed, aligned
from ..export.ir.visible import visible
from .repeated import is_repeated

EVENT = "event"
"""The executor whose spike counts are so many events (`sim.event`)."""
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


@dataclass(frozen=True, slots=True, repr=False)
class Trace(Printed):
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

    @property
    def predictions(self) -> Array:
        """The class of each sample: argmax of y, of the last step or (readout none) the sum.

        int64 [batch]; the Output's axes are flattened.
        """
        total = self.output.sum(axis=0) if self.graph.output.readout == "none" else self.output[-1]
        best: Array = total.reshape(self.samples, -1).argmax(axis=1)
        return best

    def __str__(self) -> str:
        rows = [["layer", "neurons", "events", "spike rate"]]
        for name, neuron in self.neurons.items():
            fired = neuron.spikes != 0
            rate = f"{fired.mean():.4f}" if fired.size else ""
            rows.append([visible(name), f"{neuron.spikes[0, 0].size:,}", f"{fired.sum():,}", rate])
        about = f"{self.executor}: {self.samples} samples, {self.time_steps} steps"
        return "\n".join([about, *(aligned(rows) if self.neurons else [])])


def join(traces: Sequence[Trace]) -> Trace:
    """Return one trace of the samples of several, of one graph and executor, in order."""
    first = traces[0]

    def joined(arrays: list[Array | None]) -> Array | None:
        found = [array for array in arrays if array is not None]
        return np.concatenate(found, axis=1) if found else None

    neurons = {}
    for name in first.neurons:
        parts = [trace.neurons[name] for trace in traces]
        spikes = np.concatenate([part.spikes for part in parts], axis=1)
        v, u = joined([part.v for part in parts]), joined([part.u for part in parts])
        neurons[name] = NeuronTrace(spikes, v, u)
    output = np.concatenate([trace.output for trace in traces], axis=1)
    return Trace(
        first.graph, first.executor, _joined_inputs([t.input for t in traces]), output, neurons
    )


def _joined_inputs(inputs: Sequence[Array]) -> Array:
    """Return the inputs beside each other; frames repeated by view stay one frame in memory."""
    if not all(map(is_repeated, inputs)):
        return np.concatenate(inputs, axis=1)
    frames = np.concatenate([x[0] for x in inputs])
    return np.broadcast_to(frames, (len(inputs[0]), *frames.shape))


def spikes_that_differ(one: Trace, two: Trace) -> dict[str, float]:
    """Return, per neuron node, the share of neurons and steps whose spike counts differ."""
    return {
        name: float((neuron.spikes != two.neurons[name].spikes).mean())
        for name, neuron in one.neurons.items()
    }
