"""The reference executor: the semantics in plain numpy, one step after the other.

Integer graphs use `export.ir.arith` and nothing else; float and folded graphs run in float32 or
float64, so that a lowering can be compared with what it came from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..export.ir import Array, Delay, Graph, Input, Neuron, Output, check
from ..export.ir.arith import NeuronState, initial_state, neuron_step, readout_step
from .encode import check_values
from .float_neuron import float_neuron_step, float_readout_step
from .ops import OPS, Operations
from .repeated import is_repeated, static_nodes
from .trace import NeuronTrace, Record, Trace


class Reference:
    """Runs any graph on numpy; `dtype` is that of float and folded graphs.

    operations: what computes the stateless nodes, of float graphs.
    """

    name = "reference"

    def __init__(self, dtype: Any = np.float32, operations: Operations = OPS) -> None:
        self.dtype, self.operations = np.dtype(dtype), operations

    def prepare(self, graph: Graph) -> ReferenceSession:
        """Return a session of `graph`, checked."""
        return ReferenceSession(check(graph), self.dtype, self.operations)


class ReferenceSession:
    """One graph and its state (see `executor.Session`)."""

    def __init__(self, graph: Graph, dtype: np.dtype[Any], operations: Operations = OPS) -> None:
        self.graph, self.operations = graph, operations
        self.integer = graph.level == "integer"
        self.dtype = np.dtype(np.int64) if self.integer else dtype
        self._static = static_nodes(graph)
        self.reset()

    def reset(self) -> None:
        """Forget all state; the next step is the first."""
        self._batch = 0
        self._states: dict[str, NeuronState] = {}
        self._stored: dict[str, list[Array]] = {}
        self._y: Array = np.zeros(0)
        self._kept: dict[str, Array] = {}

    def step(self, x: Array) -> Array:
        """Advance by one step of encoded values [batch, *shape]; return the Output's y.

        Raises:
            InputError: for values of the wrong shape or range.
        """
        check_values(self.graph, x, timed=False)
        return self._step(x, {})[self.graph.output_name]

    def advance(self, x: Array, kept: dict[str, Array] | None = None) -> dict[str, Array]:
        """Advance by one step of values [batch, *shape]; return the value of every node.

        Args:
            kept: values of the nodes that are the same at every step; filled by the first.
        """
        return self._step(x, {} if kept is None else kept)

    def begin(self, batch: int) -> None:
        """Stand before the first step of a batch of this size."""
        self._start(batch)

    def state(self, name: str) -> NeuronState:
        """Return a neuron's state, of a session that has begun."""
        return self._states[name]

    def run(self, x: Array, record: Record = "states") -> Trace:
        """Run from reset over encoded values [time, batch, *shape].

        Raises:
            InputError: for values of the wrong shape or range.
        """
        check_values(self.graph, x, timed=True)
        self.reset()
        # A frame that is the same at every step (a direct code) drives its static nodes once.
        static = len(x) > 1 and is_repeated(x)
        taken: dict[str, list[tuple[Array, ...]]] = {name: [] for name in self.graph.neurons}
        outputs = []
        for frame in x:
            values = self._step(frame, self._kept if static else {})
            outputs.append(self._kind(values[self.graph.output_name]))
            if record != "output":
                self._take(values, taken, record)
        self.reset()
        neurons = {n: self._recorded(steps) for n, steps in taken.items() if steps}
        return Trace(self.graph, "reference", x, np.stack(outputs), neurons)

    def _take(
        self, values: dict[str, Array], taken: dict[str, list[tuple[Array, ...]]], record: Record
    ) -> None:
        for name, steps in taken.items():
            state = self._states[name]
            states = () if record == "spikes" else (state.v, state.u)
            kept = (values[name], *(s for s in states if s is not None))
            steps.append(tuple(map(self._kind, kept)))

    def _recorded(self, steps: list[tuple[Array, ...]]) -> NeuronTrace:
        return NeuronTrace(*(np.stack(kind) for kind in zip(*steps, strict=True)))

    def _kind(self, values: Array) -> Array:
        """Return values in the dtype that traces hold."""
        return values.astype(np.int32 if self.integer else self.dtype)

    def _start(self, batch: int) -> None:
        """Set the state before the first step of a batch of this size."""
        self._batch = batch
        graph, shapes = self.graph, self.graph.shapes
        self._states = {
            n: initial_state(node, batch, self.dtype) for n, node in graph.neurons.items()
        }
        for name, node in graph.of_kind(Delay).items():
            self._stored[name] = [np.zeros((batch, *node.shape), self.dtype)] * node.steps
        self._y = np.zeros((batch, *shapes[graph.output_name]), self.dtype)

    def _step(self, x: Array, kept: dict[str, Array]) -> dict[str, Array]:
        """Walk the graph once; return the value of each node, [batch, *shape]."""
        if self._batch != len(x):
            self._start(len(x))
        values: dict[str, Array] = {}
        for name, node in self.graph.nodes.items():
            if name in kept:
                values[name] = kept[name]
                continue
            inputs = [values[source] for source in self.graph.inputs(name) if source in values]
            values[name] = self._value(name, node, x, inputs)
            if name in self._static:
                kept[name] = values[name]
        for name, stored in self._stored.items():
            self._stored[name] = [*stored[1:], values[self.graph.inputs(name)[0]]]
        return values

    def _value(self, name: str, node: Any, x: Array, inputs: list[Array]) -> Array:
        if isinstance(node, Input):
            return x.astype(self.dtype)
        if isinstance(node, Delay):
            return self._stored[name][0]
        if isinstance(node, Neuron):
            advance = neuron_step if self.integer else float_neuron_step
            return advance(inputs[0], node, self._states[name])
        if isinstance(node, Output):
            advance_y = readout_step if self.integer else float_readout_step
            self._y = advance_y(inputs[0], node, self._y)
            return self._y
        return self.operations[type(node)](node, *inputs)
