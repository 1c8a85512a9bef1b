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

This file is the rule, written plainly; `event_native` is the same in C++, equal in every value.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from ..export.ir import (
    Array,
    ExecutorError,
    Graph,
    Input,
    InputError,
    Neuron,
    UnknownNameError,
    analog_nodes,
    check,
)
from ..export.ir.arith import decay, leak_toward_zero, readout_step, saturate
from .arrivals import Arrivals, senders
from .encode import check_values
from .synapses import Column, Columns, refuse_nonlinear
from .trace import NeuronTrace, Record, Trace

Order: TypeAlias = Literal["raster", "reversed", "random"]
Event: TypeAlias = tuple[str, int]


class EventDriven:
    """Runs integer graphs event by event: in C++ where that is built, else in Python.

    Args:
        order: of a step's events. seed: of the random order. plain: in Python all the same.
    """

    name = "event"

    def __init__(self, order: Order = "raster", seed: int = 0, *, plain: bool = False) -> None:
        if order not in get_args(Order):
            raise UnknownNameError.of("order of events", order, get_args(Order))
        self.order: Order = order
        self.seed = seed
        self.plain = plain

    def prepare(self, graph: Graph) -> EventSession:
        """Return a session of `graph`.

        Raises:
            ExecutorError: for a node that has no event-driven form, naming it and the remedy.
        """
        from .event_native import NativeEventSession, can_run

        graph = check(graph)
        if not self.plain and can_run(graph):
            return NativeEventSession(graph, self.order, self.seed)
        return EventSession(graph, self.order, self.seed)


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
            v = decay(v, flat(node.dv, node))
        if node.leak_subtract is not None:
            v = leak_toward_zero(v, flat(node.leak_subtract, node))
        if node.bias is None:
            self.v = v
            return np.zeros(0, np.int64)
        return self._fire(slice(None), saturate(v + flat(node.bias, node), *node.v_limits))


def flat(values: Array, node: Neuron) -> Array:
    """Return per-neuron values of a node, int64 [neurons]."""
    return np.broadcast_to(values.astype(np.int64), node.shape).reshape(-1)


class EventSession:
    """One graph, run sample by sample (see `executor.Session`)."""

    def __init__(self, graph: Graph, order: Order, seed: int) -> None:
        if graph.level != "integer":
            raise ExecutorError(
                f"event timing of a {graph.level} graph", remedy="lower it to integers first"
            )
        refuse_nonlinear(graph)
        self.graph, self.order, self.seed = graph, order, seed
        self.host = analog_nodes(graph)
        if graph.output_name in self.host:
            remedy = "run it with --timing step"
            raise ExecutorError("adds analog values", node=graph.output_name, remedy=remedy)
        for name, node in graph.neurons.items():
            if name not in self.host:
                _check_neuron(name, node)
        _check_sums(graph, self.host)
        self.columns = Columns(graph)
        self.longest_queue = 0
        self._done = 0

    def with_neurons(self, graph: Graph) -> EventSession:
        """Return a session of a graph that differs in the values of its neurons alone."""
        twin = copy(self)
        twin.graph, twin.longest_queue, twin._done = graph, 0, 0
        return twin

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
        if self.graph.input_name not in self.host and (x < 0).any():
            raise InputError(
                f"a value of {int(x.min())} is no number of events",
                node=self.graph.input_name,
                remedy="give each sign a channel of its own (ON and OFF events)",
            )
        arrivals = Arrivals(self.graph, self.host, x)
        spikes, states, output = self._run(x, arrivals)
        self._done += x.shape[1]
        neurons = {}
        if record != "output":
            spikes |= {n: a.astype(np.int32) for n, a in arrivals.spikes.items() if n in self.host}
            states |= {n: a.astype(np.int32) for n, a in arrivals.states.items()}
            for name in self.graph.neurons:
                v = states[name] if record == "states" else None
                neurons[name] = NeuronTrace(spikes[name], v)
        return Trace(self.graph, "event", x, output, neurons)

    def _run(
        self, x: Array, arrivals: Arrivals
    ) -> tuple[dict[str, Array], dict[str, Array], Array]:
        """Return spikes and v of the neurons on the chip and y, each [time, batch, *shape]."""
        samples = [_Sample(self) for _ in range(x.shape[1])]
        outputs = []
        for k, sample in enumerate(samples):
            events = arrivals.events(k, self.order, self.generator(k))
            outputs.append(np.stack([sample.step(t, step) for t, step in enumerate(events)]))
            self.longest_queue = max(self.longest_queue, sample.longest_queue)
        spikes, states = (
            {name: np.stack([np.stack(f[name]) for f in found], axis=1) for name in samples[0].chip}
            for found in ([s.spikes for s in samples], [s.states for s in samples])
        )
        return spikes, states, np.stack(outputs, axis=1)

    def generator(self, sample: int) -> np.random.Generator:
        """Return the generator of the random order of the batch's sample number `sample`."""
        return np.random.default_rng([self.seed, self._done + sample])


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


def _check_sums(graph: Graph, host: set[str]) -> None:
    """Refuse a mixed sum of host and chip."""
    for name in host:
        outside = [
            s for s in graph.inputs(name) if s not in host or graph.nodes[s].kind == "Neuron"
        ]
        if outside and not isinstance(graph.nodes[name], Input):
            raise ExecutorError(
                "adds analog values to spikes", node=name, remedy="run it with --timing step"
            )


class _Sample:
    """One sample on its way through the steps."""

    def __init__(self, session: EventSession) -> None:
        self.session = session
        graph = session.graph
        self.chip = {
            name: _Population(
                node,
                flat(node.v_threshold, node),
                flat(node.v_reset, node),
                flat(node.v_init, node).copy(),
            )
            for name, node in graph.neurons.items()
            if name not in session.host
        }
        self.outside: list[Event] = [
            (name, place)
            for name in senders(graph, session.host)
            for place in range(int(np.prod(graph.shapes[name])))
        ]
        self.spikes: dict[str, list[Array]] = {name: [] for name in self.chip}
        self.states: dict[str, list[Array]] = {name: [] for name in self.chip}
        self.late: dict[int, list[Column]] = {}
        self.y = np.zeros((1, *graph.shapes[graph.output_name]), np.int64)
        self.longest_queue = 0

    def step(self, t: int, events: Array) -> Array:
        """Advance by one step, whose events from outside come in this order; return y."""
        graph = self.session.graph
        counts = {name: np.zeros(pop.v.size, np.int64) for name, pop in self.chip.items()}
        self.readout = np.zeros(self.y.size, np.int64)
        queue: deque[Event] = deque()
        for name, population in self.chip.items():
            self._fired(name, population.time_reference(), counts, queue)
        for column in self.late.pop(t, []):
            self._deliver(column, counts, queue)
        self._drain(queue, t, counts)
        for number in events:
            queue.append(self.outside[number])
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
