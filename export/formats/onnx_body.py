"""One time step of a graph as ONNX nodes: what the step file and the body of the Scan share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from ..ir import WEIGHTS, Array, Delay, Graph, Input, MatMul, Neuron, Output, Shape, bounds
from .onnx_exact import Arithmetic, weighted
from .onnx_neuron import Stepped, neuron, readout, state_names, structure
from .onnx_ops import exact_matmul, float_weighted, stateless
from .onnx_scope import FLOAT, INT32, FunctionScope, Scope

OPSET = 21
DOMAIN = "ai.spiking"
"""The domain of the neuron functions."""


@dataclass(frozen=True, slots=True)
class State:
    """One state between steps, NAME/STATE: its shape and its value at the start."""

    name: str
    shape: Shape
    initial: Array
    integer: bool


class Body:
    """One time step of a graph as ONNX nodes; `frame` is the tensor that enters."""

    def __init__(self, graph: Graph, arithmetic: Arithmetic, inline: bool, frame: str) -> None:
        self.graph, self.inline, self.frame = graph, inline, frame
        self.arithmetic: Arithmetic = arithmetic
        self.integer = graph.level == "integer"
        self.element = INT32 if self.integer else FLOAT
        self.limits = bounds(graph) if self.integer else {}
        self.scope = Scope()
        self.values: dict[str, str] = {}
        self.states: list[State] = []
        self.next: dict[str, str] = {}
        self.functions: dict[str, onnx.FunctionProto] = {}

    def walk(self) -> None:
        """Emit every node in order, then what the delays store."""
        for name in self.graph.order:
            self.scope.prefix = name
            self.values[name] = self._emit(name)
        for name, node in self.graph.of_kind(Delay).items():
            self.scope.prefix = name
            self._store(name, node)

    def _emit(self, name: str) -> str:
        node, graph = self.graph.nodes[name], self.graph
        if isinstance(node, Input):
            return self.frame
        if isinstance(node, Delay):
            ring = self._state(f"{name}/ring", (node.steps, *node.shape))
            return self.scope.op("Gather", ring, self.scope.constant(0, np.int64), axis=1)
        inputs = [self.values[source] for source in graph.inputs(name)]
        before, after = graph.shapes[graph.inputs(name)[0]], graph.shapes[name]
        if isinstance(node, (Neuron, Output)):
            return self._stateful(name, node, inputs[0], after)
        if isinstance(node, WEIGHTS):
            if not self.integer:
                return float_weighted(self.scope, node, inputs[0])
            received = self.limits[graph.inputs(name)[0]]
            return weighted(self.scope, node, inputs[0], received, self.arithmetic)
        exact = self.integer and self.limits[name].exact_in_float32
        if isinstance(node, MatMul) and exact and self.arithmetic != "integer":
            return exact_matmul(self.scope, node, inputs, len(after))
        return stateless(self.scope, node, inputs, before, after, integer=self.integer)

    def _state(self, name: str, shape: Shape, initial: Array | None = None) -> str:
        """Declare a state; return the tensor it enters as."""
        integer = self.integer or name.endswith("/hold")
        self.states.append(
            State(name, shape, np.zeros(()) if initial is None else initial, integer)
        )
        return f"{name}.prev"

    def _store(self, name: str, node: Delay) -> None:
        """Push what a delay reads into its ring, and the oldest out."""
        axis = self.scope.constant([1], np.int64)
        ring = self.scope.op("Unsqueeze", self.values[self.graph.inputs(name)[0]], axis)
        if node.steps > 1:
            end = self.scope.constant([node.steps], np.int64)
            kept = self.scope.op("Slice", f"{name}/ring.prev", axis, end, axis)
            ring = self.scope.op("Concat", kept, ring, axis=1)
        self.next[f"{name}/ring"] = ring

    def _stateful(self, name: str, node: Neuron | Output, x: str, shape: Shape) -> str:
        starts = {"v": node.v_init} if isinstance(node, Neuron) else {}
        states = {
            state: self._state(f"{name}/{state}", shape, starts.get(state))
            for state in state_names(node)
        }
        stepped = self._stepped(node, x, states)
        self.next |= {f"{name}/{state}": value for state, value in stepped.states.items()}
        return stepped.value

    def _stepped(self, node: Neuron | Output, x: str, states: dict[str, str]) -> Stepped:
        if isinstance(node, Output):
            return readout(self.scope, node, x, states, self.integer)
        if self.inline:
            return neuron(self.scope, node, x, states, self.integer)
        return self._called(node, x, states)

    def _called(self, node: Neuron, x: str, states: dict[str, str]) -> Stepped:
        """Call the function of neurons of this structure; the node's fields are arguments."""
        name, inner = structure(node, self.integer), FunctionScope()
        stepped = neuron(inner, node, "x", {state: state for state in states}, self.integer)
        results = {"emitted": stepped.value}
        results |= {f"{state}_next": stepped.states[state] for state in states}
        outputs = [inner.output(value, result) for result, value in results.items()]
        if name not in self.functions:
            self.functions[name] = helper.make_function(
                DOMAIN,
                name,
                ["x", *states, *inner.parameters],
                outputs,
                inner.finished(),
                [helper.make_opsetid("", OPSET)],
            )
        fields = [self.scope.parameter(k, a, a.dtype) for k, a in inner.parameters.items()]
        arguments = (x, *states.values(), *fields)
        emitted, *after = self.scope.call(name, arguments, len(outputs), DOMAIN)
        return Stepped(emitted, dict(zip(states, after, strict=True)))

    def recorded(self) -> dict[str, tuple[Shape, str]]:
        """Return shape and value of the output and of each neuron's spikes, v and u."""
        shapes, name = self.graph.shapes, self.graph.output_name
        found = {"output": (shapes[name], self.values[name])}
        for name, node in self.graph.neurons.items():
            found[f"{name}/spikes"] = (node.shape, self.values[name])
            for state in ("v", "u") if node.current_based else ("v",):
                found[f"{name}/{state}"] = (node.shape, self.next[f"{name}/{state}"])
        return found

    def element_of(self, state: State) -> int:
        """Return the element type of a state."""
        return INT32 if state.integer else FLOAT
