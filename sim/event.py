"""Event timing: the threshold is tested after every event, as on asynchronous chips.

Within a step first comes the time reference: potentials decay or leak and take their bias. Then the
events of the step, one after the other, in an order that nothing fixes on such a chip:

    raster    as the values lie in memory         reversed    the other way round
    random    shuffled by a seeded generator, anew each step and sample

An event is applied to the neurons it reaches in ascending order, graph order first: v saturates, is
compared, reset where it fires, and the spike joins one queue. The queue is empty before the next
event comes: consequences spread breadth-first. A neuron may fire several times a step, once an
event at most. With the profile `odin` this is tinyODIN's rule. What receives analog values is the
host's: it is computed as at step timing, and its spikes are events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from ..export.ir import (
    Array,
    ExecutorError,
    Graph,
    Input,
    Neuron,
    UnknownNameError,
    check,
    value_kinds,
)
from ..export.ir.arith import (
    NeuronState,
    decay,
    initial_state,
    leak_toward_zero,
    neuron_step,
    readout_step,
    saturate,
)
from .encode import check_values
from .ops import OPS
from .synapses import Column, Columns
from .trace import NeuronTrace, Record, Trace

Order: TypeAlias = Literal["raster", "reversed", "random"]
Event: TypeAlias = tuple[str, int]


class EventDriven:
    """Runs integer graphs event by event."""

    name = "event"

    def __init__(self, order: Order = "raster", seed: int = 0) -> None:
        if order not in get_args(Order):
            raise UnknownNameError.of("order of events", order, get_args(Order))
        self.order: Order = order
        self.seed = seed

    def prepare(self, graph: Graph) -> EventSession:
        """Return a session of `graph`.

        Raises:
            ExecutorError: for a node that has no event-driven form, naming it and the remedy.
        """
        return EventSession(check(graph), self.order, self.seed)


@dataclass(slots=True)
class _Population:
    """A neuron node on the chip: flat parameters and the state of one sample."""

    node: Neuron
    threshold: Array
    reset: Array
    v: Array

    def receive(self, column: Column) -> Array:
        """Add what an event brings; return the places that fire, ascending."""
        at = column.places
        v = self.v[at] + (column.weights << self.node.state_shift)
        v = saturate(v, *self.node.v_limits)
        if self.node.v_min is not None:
            v = np.maximum(v, np.broadcast_to(self.node.v_min, self.node.shape).reshape(-1)[at])
        return self._fire(at, v)

    def _fire(self, at: Any, v: Array) -> Array:
        threshold = self.threshold[at]
        fires = v > threshold if self.node.compare == ">" else v >= threshold
        after = self.reset[at] if self.node.reset == "hard" else v - threshold
        self.v[at] = np.where(fires, after, v)
        places: Array = np.flatnonzero(fires) if isinstance(at, slice) else at[fires]
        return places

    def time_reference(self) -> Array:
        """Let a step pass: decay, leak, bias; return the places that a bias makes fire."""
        node, v = self.node, self.v
        if node.dv is not None:
            v = decay(v, _flat(node.dv, node))
        if node.leak_subtract is not None:
            v = leak_toward_zero(v, _flat(node.leak_subtract, node))
        if node.bias is None:
            self.v = v
            return np.zeros(0, np.int64)
        return self._fire(slice(None), saturate(v + _flat(node.bias, node), *node.v_limits))


def _flat(values: Array, node: Neuron) -> Array:
    return np.broadcast_to(values.astype(np.int64), node.shape).reshape(-1)


class EventSession:
    """One graph, run sample by sample (see `executor.Session`)."""

    def __init__(self, graph: Graph, order: Order, seed: int) -> None:
        if graph.level != "integer":
            raise ExecutorError(
                f"event timing of a {graph.level} graph", remedy="lower it to integers first"
            )
        self.graph, self.order, self.seed = graph, order, seed
        self.host = host_nodes(graph)
        for name, node in graph.neurons.items():
            if name not in self.host:
                _check_neuron(name, node)
        self.columns = Columns(_without(graph, self.host))
        self.longest_queue = 0
        self._done = 0

    def reset(self) -> None:
        """Forget all state; the next sample is the first."""
        self._done = 0

    def step(self, x: Array) -> Array:
        """Not offered: samples are run one after the other, each over all its steps.

        Raises:
            ExecutorError: always.
        """
        raise ExecutorError("event timing runs whole samples", remedy="use run, or --timing step")

    def run(self, x: Array, record: Record = "states") -> Trace:
        """Run over encoded values [time, batch, *shape]; spikes are counts a step.

        Raises:
            InputError: for values of the wrong shape or range.
        """
        check_values(self.graph, x, timed=True)
        samples = [self._sample(x[:, k], self._done + k) for k in range(x.shape[1])]
        self._done += x.shape[1]
        output = np.stack([y for y, _ in samples], axis=1)
        neurons = {}
        if record != "output":
            for name in self.graph.neurons:
                spikes, v = (
                    np.stack([found[name][k] for _, found in samples], axis=1) for k in (0, 1)
                )
                neurons[name] = NeuronTrace(spikes, v if record == "states" else None)
        return Trace(self.graph, "event", x, output, neurons)

    def _sample(self, x: Array, number: int) -> tuple[Array, dict[str, tuple[Array, Array]]]:
        work = _Sample(self, x, np.random.default_rng([self.seed, number]))
        outputs = [work.step(t) for t in range(len(x))]
        self.longest_queue = max(self.longest_queue, work.longest_queue)
        found = {
            name: (np.stack(work.spikes[name]), np.stack(work.states[name]))
            for name in self.graph.neurons
        }
        return np.stack(outputs), found


def host_nodes(graph: Graph) -> set[str]:
    """Return the nodes between an analog Input and the first neurons, those included."""
    kinds = value_kinds(graph)
    found: set[str] = set()
    for name, node in graph.nodes.items():
        sources = graph.inputs(name)
        if isinstance(node, Input):
            host = kinds[name] == "analog"
        elif any(s in found and not isinstance(graph.nodes[s], Neuron) for s in sources):
            host = True
        else:
            host = False
        if host:
            found.add(name)
    return found


def _check_neuron(name: str, node: Neuron) -> None:
    problems = {
        "a synaptic current u": node.current_based,
        "a refractory time": node.refractory_steps > 0,
        "the reset soft_after_decay": node.reset == "soft_after_decay",
    }
    for what, there in problems.items():
        if there:
            raise ExecutorError(
                f"{what} has no rule at event timing", node=name, remedy="use --timing step"
            )


def _without(graph: Graph, host: set[str]) -> Graph:
    """Return the graph whose columns are asked for; a mixed sum of host and chip is refused."""
    for name in host:
        outside = [
            s for s in graph.inputs(name) if s not in host or graph.nodes[s].kind == "Neuron"
        ]
        if outside and not isinstance(graph.nodes[name], Input):
            raise ExecutorError(
                "adds analog values to spikes", node=name, remedy="run it with --timing step"
            )
    return graph


class _Sample:
    """One sample on its way through the steps."""

    def __init__(self, session: EventSession, x: Array, rng: np.random.Generator) -> None:
        self.session, self.x, self.rng = session, x, rng
        graph = session.graph
        self.chip = {
            name: _Population(
                node,
                _flat(node.v_threshold, node),
                _flat(node.v_reset, node),
                _flat(node.v_init, node).copy(),
            )
            for name, node in graph.neurons.items()
            if name not in session.host
        }
        self.host: dict[str, NeuronState] = {
            name: initial_state(node, 1)
            for name, node in graph.neurons.items()
            if name in session.host
        }
        self.spikes: dict[str, list[Array]] = {name: [] for name in graph.neurons}
        self.states: dict[str, list[Array]] = {name: [] for name in graph.neurons}
        self.late: dict[int, list[Column]] = {}
        self.y = np.zeros((1, *graph.shapes[graph.output_name]), np.int64)
        self.longest_queue = 0

    def step(self, t: int) -> Array:
        """Advance by one step; return y."""
        graph = self.session.graph
        counts = {name: np.zeros(pop.v.size, np.int64) for name, pop in self.chip.items()}
        self.readout = np.zeros(self.y.size, np.int64)
        queue: deque[Event] = deque()
        for name, population in self.chip.items():
            self._fired(name, population.time_reference(), counts, queue)
        for column in self.late.pop(t, []):
            self._deliver(column, counts, queue)
        self._drain(queue, t, counts)
        for event in self._events(t):
            queue.append(event)
            self._drain(queue, t, counts)
        for name, population in self.chip.items():
            shape = population.node.shape
            self.spikes[name].append(counts[name].reshape(shape).astype(np.int32))
            self.states[name].append(population.v.reshape(shape).astype(np.int32))
        arrived = self.readout.reshape(self.y.shape)
        self.y = readout_step(arrived, graph.output, self.y)
        y: Array = self.y[0].astype(np.int32)
        return y

    def _drain(self, queue: deque[Event], t: int, counts: dict[str, Array]) -> None:
        while queue:
            self.longest_queue = max(self.longest_queue, len(queue))
            source, place = queue.popleft()
            for column in self.session.columns.of(source, place):
                if column.lag:
                    self.late.setdefault(t + column.lag, []).append(column)
                else:
                    self._deliver(column, counts, queue)

    def _deliver(self, column: Column, counts: dict[str, Array], queue: deque[Event]) -> None:
        if column.target in self.chip:
            fired = self.chip[column.target].receive(column)
            self._fired(column.target, fired, counts, queue)
        elif column.target == self.session.graph.output_name:
            self.readout[column.places] += column.weights

    def _fired(
        self, name: str, places: Array, counts: dict[str, Array], queue: deque[Event]
    ) -> None:
        if places.size:
            counts[name][places] += 1
            queue.extend((name, int(place)) for place in places)

    def _events(self, t: int) -> Iterator[Event]:
        """Yield the events of a step from outside: the Input's, and the spikes of the host."""
        graph = self.session.graph
        found: list[Event] = []
        if graph.input_name not in self.session.host:
            found += _each(graph.input_name, self.x[t])
        values = {graph.input_name: np.asarray(self.x[t], np.int64)[None]}
        for name, node in graph.nodes.items():
            if name not in self.session.host or isinstance(node, Input):
                continue
            inputs = [values[source] for source in graph.inputs(name)]
            if isinstance(node, Neuron):
                spikes = neuron_step(inputs[0], node, self.host[name])[0]
                self.spikes[name].append(spikes.astype(np.int32))
                self.states[name].append(self.host[name].v[0].astype(np.int32))
                found += _each(name, spikes)
            else:
                values[name] = OPS[type(node)](node, *inputs)
        if self.session.order == "reversed":
            found.reverse()
        elif self.session.order == "random":
            found = [found[k] for k in self.rng.permutation(len(found))]
        yield from found


def _each(name: str, values: Array) -> list[Event]:
    """Return an event for each unit of each value, in the order of memory."""
    flat = values.reshape(-1)
    places = np.repeat(np.arange(flat.size), np.maximum(flat, 0))
    return [(name, int(place)) for place in places]
