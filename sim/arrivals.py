"""What reaches an event-driven chip from outside: input spikes, and those of the host's neurons."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..export.ir import Array, Graph, Input, Neuron
from ..export.ir.arith import initial_state, neuron_step
from .ops import OPS


def senders(graph: Graph, host: set[str]) -> tuple[str, ...]:
    """Return the nodes whose spikes come from outside: the Input, or the host's neurons."""
    first = () if graph.input_name in host else (graph.input_name,)
    return (*first, *(name for name in graph.neurons if name in host))


class Arrivals:
    """The events of a batch from outside.

    Attributes:
        spikes: of each sender, [time, batch, *shape]. states: v of the host's neurons, likewise.
    """

    def __init__(self, graph: Graph, host: set[str], x: Array) -> None:
        self.spikes: dict[str, Array] = {}
        self.states: dict[str, Array] = {}
        self._senders = senders(graph, host)
        if graph.input_name in self._senders:
            self.spikes[graph.input_name] = np.asarray(x, np.int64)
        self._compute(graph, host, x)

    def _compute(self, graph: Graph, host: set[str], x: Array) -> None:
        nodes = [(n, node) for n, node in graph.nodes.items() if n in host]
        states = {
            name: initial_state(node, x.shape[1])
            for name, node in nodes
            if isinstance(node, Neuron)
        }
        spikes: dict[str, list[Array]] = {name: [] for name in states}
        kept: dict[str, list[Array]] = {name: [] for name in states}
        for frame in x if states else ():
            values: dict[str, Array] = {graph.input_name: np.asarray(frame, np.int64)}
            for name, node in nodes:
                if isinstance(node, Input):
                    continue
                inputs = [values[source] for source in graph.inputs(name)]
                if isinstance(node, Neuron):
                    spikes[name].append(neuron_step(inputs[0], node, states[name]))
                    kept[name].append(states[name].v)
                else:
                    values[name] = OPS[type(node)](node, *inputs)
        self.spikes |= {name: np.stack(found) for name, found in spikes.items()}
        self.states |= {name: np.stack(found) for name, found in kept.items()}

    def events(self, sample: int, order: str, rng: np.random.Generator) -> list[Array]:
        """Return, a step each, the events of a sample in order, int64.

        Places are numbered through the senders, in the order of memory; a count is so many events.
        """
        parts = [self.spikes[name][:, sample] for name in self._senders]
        flat: Any = np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)
        places = np.arange(flat.shape[1])
        found = [np.repeat(places, np.maximum(step, 0)) for step in flat]
        if order == "reversed":
            return [step[::-1] for step in found]
        if order == "random":
            return [step[rng.permutation(len(step))] for step in found]
        return found
