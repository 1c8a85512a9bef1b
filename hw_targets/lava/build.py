"""Build: an integer graph as a Lava program, value for value.

A weight node becomes a synapse process (Dense, Conv, else Sparse), a neuron a LIF, an addition the
meeting of connections. Each value is asked for at a lag (`lags`); one that is there earlier passes
a delay line of relay neurons, and the input is simply fed later. What stands for no node has a
space in its name, which no node's name has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import TypeAlias

import numpy as np

from ...export.formats.lava_rules import STATE_SHIFT
from ...export.ir import (
    Add,
    Array,
    Delay,
    ExecutorError,
    Flatten,
    Graph,
    Input,
    Neuron,
    Output,
    Reshape,
    Shape,
    Transpose,
    bounds,
)
from ...export.ir.arith import DECAY_ONE
from ...export.ir.bounds import Bound
from .lags import SYNAPSES, lags
from .program import Placed, Process, Program
from .support import bias_parts, refuse, strict_threshold
from .synapses import identity, lava_order, lava_shape, message_bits, synapse

READOUT_THRESHOLD = 1 << 17
"""<< 6 it is 2^23, above every v: a readout never fires. Loihi's own limit is one less."""


Wire: TypeAlias = tuple[str, Array]
"""A process whose output, value k at place order[k], is (a summand of) a node's value."""


def build(graph: Graph) -> Program:
    """Return the program of an integer graph.

    Raises:
        ExecutorError: naming the node that Lava cannot express, and the remedy.
    """
    refuse(graph)
    return _Builder(graph).program()


@dataclass(slots=True)
class _Builder:
    graph: Graph
    processes: dict[str, Process] = field(default_factory=dict)
    connections: list[tuple[str, str]] = field(default_factory=list)
    wires: dict[tuple[str, int], list[Wire]] = field(default_factory=dict)
    sources: dict[str, Placed] = field(default_factory=dict)
    constants: dict[str, tuple[int, Array]] = field(default_factory=dict)
    relays: Counter[str] = field(default_factory=Counter)
    lag: dict[str, int] = field(default_factory=dict)
    limits: dict[str, Bound] = field(default_factory=dict)
    orders: dict[str, Array] = field(default_factory=dict)

    def program(self) -> Program:
        graph = self.graph
        self.lag = lags(graph)
        self.limits = bounds(graph)
        placed = {name: self._neuron(name, node) for name, node in graph.neurons.items()}
        output = self._output(graph.output_name, graph.output)
        for name, place in {**placed, graph.output_name: output}.items():
            self._feed(name, place)
        return Program(
            self.processes,
            tuple(self.connections),
            placed,
            output,
            self.sources,
            self.constants,
            dict(self.relays),
            not graph.of_kind(Delay),
        )

    def _neuron(self, name: str, node: Neuron) -> Placed:
        threshold = strict_threshold(node)
        assert threshold is not None
        parameters = {
            "v_threshold": threshold >> STATE_SHIFT,
            "du": DECAY_ONE if node.du is None else node.du,
            "dv": 0 if node.dv is None else node.dv,
        }
        return self._lif(name, parameters, node.bias)

    def _output(self, name: str, node: Output) -> Placed:
        forgets = node.readout == "none"
        parameters = {
            "v_threshold": READOUT_THRESHOLD,
            "du": DECAY_ONE,
            "dv": DECAY_ONE if forgets else (0 if node.dv is None else node.dv),
        }
        return self._lif(name, parameters, node.bias)

    def _lif(self, name: str, parameters: Mapping[str, Array | int], bias: Array | None) -> Placed:
        """A LIF process: du one less than ours (Lava adds 1), thresholds without the shift."""
        shape, order = self.graph.shapes[name], self.order(name)
        mantissa, exponent = (np.zeros((), np.int32), 0) if bias is None else _parts(bias)
        values = {
            "vth": np.asarray(parameters["v_threshold"]),
            "du": np.asarray(parameters["du"]) - 1,
            "dv": np.asarray(parameters["dv"]),
        }
        arrays = {key: _laid(v, shape, order) for key, v in values.items() if v.size > 1}
        if mantissa.any():
            arrays["bias_mant"] = _laid(mantissa, shape, order)
        plain = {key: int(v.flat[0]) for key, v in values.items() if v.size == 1}
        self.processes[name] = Process(
            "lif", {"shape": _process_shape(shape, order), "bias_exp": exponent, **plain}, arrays
        )
        return Placed(name, self.lag[name], order)

    def order(self, name: str) -> Array:
        """Return where each value of a neuron or readout stands: where its currents do."""
        if name not in self.orders:
            found = self._order_of(self.graph.inputs(name)[0], frozenset())
            own = lava_order(self.graph.shapes[name])
            self.orders[name] = own if found is None else found
        return self.orders[name]

    def _order_of(self, name: str, seen: frozenset[str]) -> Array | None:
        """Return where the values of a node will stand; None where only a loop says it."""
        node, sources = self.graph.nodes[name], self.graph.inputs(name)
        if isinstance(node, (Input, *SYNAPSES)):
            return lava_order(self.graph.shapes[name])
        if isinstance(node, Neuron):
            if name in self.orders or name in seen:
                return self.orders.get(name)
            found = self._order_of(sources[0], seen | {name})
            own = lava_order(node.shape)
            return own if found is None else found
        orders = (self._order_of(source, seen | {name}) for source in sources if source not in seen)
        order = next((found for found in orders if found is not None), None)
        if order is None or not isinstance(node, Transpose):
            return order
        return _turned(order, self.graph.shapes[sources[0]], node)

    def _feed(self, name: str, place: Placed) -> None:
        """Connect what a neuron or the readout receives."""
        node = self.graph.nodes[name]
        seen: Counter[str] = Counter()
        for process, order in self.deliver(self.graph.inputs(name)[0], place.lag):
            twin = self._twin(process, seen[process])
            if twin is None or not np.array_equal(order, place.order):
                reason = "adds one value to itself" if twin is None else "adds values of two orders"
                raise ExecutorError(
                    f"{reason} before a neuron, which no connection of Lava does",
                    node=name,
                    remedy="put the neuron before it, or weights behind it",
                )
            seen[process] += 1
            self.connections.append((twin, name))
        if isinstance(node, Neuron) and node.bias_in is not None:
            value = _laid(node.bias_in >> STATE_SHIFT, node.shape, place.order)
            self.processes[f"{name} bias_in"] = Process("source")
            self.constants[f"{name} bias_in"] = (place.lag, value)
            self.connections.append((f"{name} bias_in", name))

    def _twin(self, process: str, count: int) -> str | None:
        """Return a process that does the same, since one connects to a neuron once; None for LIFs.

        A copy of a synapse hears what the first one hears; a copy of a source is fed the same.
        """
        if not count:
            return process
        twin = f"{process} again{count}"
        if self.processes[process].kind == "lif":
            return None
        self.processes[twin] = self.processes[process]
        self.connections += [(a, twin) for a, b in self.connections if b == process]
        if process in self.sources:
            self.sources[twin] = replace(self.sources[process], process=twin)
        return twin

    def deliver(self, name: str, lag: int) -> list[Wire]:
        """Return the processes whose sum is the value of a node, `lag` steps late."""
        key = (name, lag)
        if key not in self.wires:
            self.wires[key] = self._deliver(name, lag)
        return self.wires[key]

    def _deliver(self, name: str, lag: int) -> list[Wire]:
        node, sources = self.graph.nodes[name], self.graph.inputs(name)
        if isinstance(node, Input):
            return [self._source(name, node.shape, lag)]
        if isinstance(node, Neuron):
            return [self._spikes(name, node.shape, lag)]
        if isinstance(node, Delay):
            return self.deliver(sources[0], lag + node.steps)
        if isinstance(node, Add):
            return [wire for source in sources for wire in self.deliver(source, lag)]
        if isinstance(node, Transpose):
            shape = self.graph.shapes[sources[0]]
            wires = self.deliver(sources[0], lag)
            return [(process, _turned(order, shape, node)) for process, order in wires]
        if isinstance(node, (Flatten, Reshape)):
            return self.deliver(sources[0], lag)
        assert isinstance(node, SYNAPSES)
        return self._synapses(name, lag, self.deliver(sources[0], lag - 1))

    def _source(self, name: str, shape: Shape, lag: int) -> Wire:
        process = f"{name} @{lag}"
        self.processes[process] = Process("source")
        self.sources[process] = Placed(process, lag, lava_order(shape))
        return process, lava_order(shape)

    def _spikes(self, name: str, shape: Shape, lag: int) -> Wire:
        """A neuron's spikes; later than its own lag through relay neurons, one a step."""
        order = self.order(name)
        if lag == self.lag[name]:
            return name, order
        ((before, _),) = self.deliver(name, lag - 1)
        size, relay = prod(shape), f"{name} relay{lag - self.lag[name]}"
        self.processes[f"{relay} synapse"] = identity(size)
        always = {"shape": (size,), "vth": 0, "du": DECAY_ONE - 1, "dv": DECAY_ONE, "bias_exp": 0}
        self.processes[relay] = Process("lif", always)
        self.connections += [(before, f"{relay} synapse"), (f"{relay} synapse", relay)]
        self.relays[name] += size
        return relay, order

    def _synapses(self, name: str, lag: int, wires: list[Wire]) -> list[Wire]:
        """One process for all wires of one order; a wire that comes twice takes a second one."""
        groups: dict[tuple[bytes, int], list[Wire]] = {}
        seen: Counter[str] = Counter()
        for process, order in wires:
            groups.setdefault((order.tobytes(), seen[process]), []).append((process, order))
            seen[process] += 1
        made: list[Wire] = []
        for k, group in enumerate(groups.values()):
            late = lag - self.lag[name]
            process = name + (f" +{late}" if late else "") + (f" #{k}" if k else "")
            for part, held in enumerate(self._synapse(name, group[0][1])):
                named = process + (f" part{part}" if part else "")
                self.processes[named] = held
                self.connections += [(source, named) for source, _ in group]
                made.append((named, lava_order(self.graph.shapes[name])))
        return made

    def _synapse(self, name: str, order: Array) -> list[Process]:
        source = self.graph.inputs(name)[0]
        shape, bound = self.graph.shapes[source], self.limits[source]
        bits = message_bits(int(bound.low.min()), int(bound.high.max()))
        return synapse(name, self.graph.nodes[name], shape, self.graph.shapes[name], order, bits)


def _parts(bias: Array) -> tuple[Array, int]:
    found = bias_parts(bias)
    assert found is not None
    return found


def _turned(order: Array, shape: Shape, node: Transpose) -> Array:
    turned: Array = order.reshape(shape).transpose(node.axes).reshape(-1)
    return turned


def _process_shape(shape: Shape, order: Array) -> Shape:
    """Return the shape of a process: that of Lava's maps, or flat in any other order."""
    return lava_shape(shape) if np.array_equal(order, lava_order(shape)) else (prod(shape),)


def _laid(values: Array, shape: Shape, order: Array) -> Array:
    """Return a node's values in its process's shape."""
    laid = np.empty(prod(shape), np.int32)
    laid[order] = np.broadcast_to(values, shape).reshape(-1)
    return laid.reshape(_process_shape(shape, order))
