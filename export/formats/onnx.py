"""ONNX out: a step file with explicit states, and a Scan file with a free number of time steps.

Built directly with onnx.helper. Opset 21, IR 10. Values are int32 at the integer level (the input
is the encoded frame, see `Input`), float32 otherwise. Batch is free in both files; T in the Scan.

Inputs: `input` [batch, *shape] (scan: [time, batch, *shape]) and, in the step file, one input
`NAME/STATE` a state, [batch, *shape]. Outputs: `output`, then `NAME/spikes`, `NAME/v` and, where
current-based, `NAME/u` of every neuron; in the step file `NAME/STATE.next` of every state.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from onnx import helper

from ..ir import (
    WEIGHTS,
    Array,
    Conv1d,
    Conv2d,
    Delay,
    FormatError,
    Graph,
    Input,
    Linear,
    MatMul,
    Neuron,
    Output,
    Shape,
    Weight,
    bounds,
    check,
)
from .atomic import atomic_path
from .onnx_exact import Arithmetic, weighted
from .onnx_neuron import Stepped, neuron, readout, state_names
from .onnx_ops import exact_matmul, float_weighted, stateless
from .onnx_scope import FLOAT, INT32, Scope

Form: TypeAlias = Literal["step", "scan"]
OPSET, IR_VERSION = 21, 10
DOMAIN = "ai.spiking"
"""The domain of the neuron functions."""


@dataclass(frozen=True, slots=True)
class State:
    """One state between steps: its tensor name, its shape and its value at the start."""

    name: str
    shape: Shape
    initial: Array
    integer: bool


def write_onnx(
    graph: Graph,
    path: str | Path,
    form: Form = "step",
    arithmetic: Arithmetic = "auto",
    *,
    inline: bool = False,
    force: bool = False,
) -> None:
    """Write `build_model` to `path`, checked by onnx's own checker with full shape inference.

    Raises:
        FormatError: if the file exists (without `force`), or a node has no exact form.
    """
    model = build_model(graph, form, arithmetic, inline=inline)
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(path, force=force) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def build_model(
    graph: Graph, form: Form = "step", arithmetic: Arithmetic = "auto", *, inline: bool = False
) -> onnx.ModelProto:
    """Return the ONNX model of a graph at any level.

    Args:
        arithmetic: of integer weights: `exact-float` (float32, proven exact), `integer`
            (ConvInteger and MatMulInteger), or `auto`, the first where it is proven in one piece.
        inline: write neurons as plain operators instead of functions of the domain `ai.spiking`.

    Raises:
        FormatError: naming a node without an exact form under `arithmetic`.
    """
    body = _Body(check(graph), arithmetic, inline)
    body.walk()
    return _step_model(body) if form == "step" else _scan_model(body)


class _Body:
    """One time step of a graph as ONNX nodes."""

    def __init__(self, graph: Graph, arithmetic: Arithmetic, inline: bool) -> None:
        self.graph, self.arithmetic, self.inline = graph, arithmetic, inline
        self.integer = graph.level == "integer"
        self.element = INT32 if self.integer else FLOAT
        self.limits = bounds(graph) if self.integer else {}
        self.scope = Scope()
        self.values: dict[str, str] = {}
        self.states: list[State] = []
        self.next: dict[str, str] = {}
        self.outputs: dict[str, Shape] = {}
        self.functions: dict[str, onnx.FunctionProto] = {}

    def walk(self) -> None:
        """Emit every node in order, then what the delays store."""
        for name in self.graph.order:
            self.scope.prefix = name
            self.values[name] = self._emit(name)
        for name, node in self.graph.of_kind(Delay).items():
            steps = [f"{name}/d{k}" for k in range(node.steps)]
            source = self.values[self.graph.inputs(name)[0]]
            for k, state in enumerate(steps):
                self.next[state] = steps[k + 1] if k + 1 < len(steps) else source
        self.outputs = {"output": self.graph.shapes[self.graph.output_name], **self.outputs}

    def _emit(self, name: str) -> str:
        node, graph = self.graph.nodes[name], self.graph
        if isinstance(node, Input):
            return "input"
        if isinstance(node, Delay):
            zero = np.zeros((), np.int32)
            names = [f"{name}/d{k}" for k in range(node.steps)]
            self.states += [State(n, node.shape, zero, self.integer) for n in names]
            return names[0]
        inputs = [self.values[source] for source in graph.inputs(name)]
        before, after = graph.shapes[graph.inputs(name)[0]], graph.shapes[name]
        if isinstance(node, (Neuron, Output)):
            return self._stateful(name, node, inputs[0], after)
        if isinstance(node, WEIGHTS):
            if not self.integer:
                return float_weighted(self.scope, name, node, inputs[0])
            received = self.limits[graph.inputs(name)[0]]
            return weighted(self.scope, name, node, inputs[0], received, self.arithmetic)
        exact = self.integer and self.limits[name].exact_in_float32
        if isinstance(node, MatMul) and exact and self.arithmetic != "integer":
            return exact_matmul(self.scope, node, inputs, len(after))
        return stateless(self.scope, node, inputs, before, after, integer=self.integer)

    def _stateful(self, name: str, node: Neuron | Output, x: str, shape: Shape) -> str:
        kept = {state: f"{name}/{state}" for state in state_names(node)}
        for state, tensor in kept.items():
            initial = node.v_init if isinstance(node, Neuron) and state == "v" else np.zeros(())
            self.states.append(State(tensor, shape, initial, self.integer or state == "hold"))
        stepped = self._stepped(node, x, kept)
        self.next |= {kept[state]: value for state, value in stepped.states.items()}
        if isinstance(node, Neuron):
            recorded = ("v", "u") if node.current_based else ("v",)
            self.outputs |= {f"{name}/{what}": shape for what in ("spikes", *recorded)}
        return stepped.value

    def _stepped(self, node: Neuron | Output, x: str, kept: dict[str, str]) -> Stepped:
        if isinstance(node, Output):
            return readout(self.scope, node, x, kept, self.integer)
        if self.inline:
            return neuron(self.scope, node, x, kept, self.integer)
        return self._called(node, x, kept)

    def _called(self, node: Neuron, x: str, kept: dict[str, str]) -> Stepped:
        """Put the neuron into a function of its own; constants are its attributes' place."""
        name = f"Neuron.{self.scope.prefix}"
        inner = Scope()
        states = {state: f"in_{state}" for state in kept}
        stepped = neuron(inner, node, "in_x", states, self.integer)
        constants = [
            helper.make_node("Constant", [], [key], value=tensor, name=key)
            for key, tensor in inner.constants.items()
        ]
        outputs = [inner.alias(stepped.value, "out_spikes")]
        outputs += [inner.alias(stepped.states[s], f"out_{s}") for s in states]
        self.functions[name] = helper.make_function(
            DOMAIN,
            name,
            ["in_x", *states.values()],
            outputs,
            [*constants, *inner.nodes],
            [helper.make_opsetid("", OPSET)],
        )
        first = self.scope.op(name, x, *kept.values(), domain=DOMAIN, outputs=1 + len(kept))
        return Stepped(first, {s: f"{first}.{k + 1}" for k, s in enumerate(kept)})

    def result(self, output: str) -> str:
        """Return the value behind an output name."""
        if output == "output":
            return self.values[self.graph.output_name]
        name, what = output.rsplit("/", 1)
        return self.values[name] if what == "spikes" else self.next[output]

    def element_of(self, state: State) -> int:
        """Return the element type of a state."""
        return INT32 if state.integer else FLOAT


def _step_model(body: _Body) -> onnx.ModelProto:
    scope, batch = body.scope, ["batch"]
    inputs = [_info("input", body.element, [*batch, *body.graph.input.shape])]
    inputs += [_info(s.name, body.element_of(s), [*batch, *s.shape]) for s in body.states]
    outputs = []
    for name, shape in body.outputs.items():
        # A state's own name is taken by its input.
        label = name if name == "output" or name.endswith("/spikes") else f"{name}.now"
        scope.alias(body.result(name), label)
        outputs.append(_info(label, body.element, [*batch, *shape]))
    for s in body.states:
        scope.alias(body.next[s.name], f"{s.name}.next")
        outputs.append(_info(f"{s.name}.next", body.element_of(s), [*batch, *s.shape]))
    return _model(body, scope.nodes, inputs, outputs, "step")


def _scan_model(body: _Body) -> onnx.ModelProto:
    outer = Scope(body.scope.constants)
    inner = body.scope
    step_in = [_info(s.name, body.element_of(s), ["batch", *s.shape]) for s in body.states]
    step_in.append(_info("input", body.element, ["batch", *body.graph.input.shape]))
    step_out = []
    for s in body.states:
        inner.alias(body.next[s.name], f"{s.name}.next")
        step_out.append(_info(f"{s.name}.next", body.element_of(s), ["batch", *s.shape]))
    for name, shape in body.outputs.items():
        inner.alias(body.result(name), f"{name}.now")
        step_out.append(_info(f"{name}.now", body.element, ["batch", *shape]))
    inside = helper.make_graph(inner.nodes, "step", step_in, step_out)
    starts = _initial_states(outer, body)
    finals = [f"{s.name}.last" for s in body.states]
    outer.nodes.append(
        helper.make_node(
            "Scan",
            [*starts, "frames"],
            [*finals, *body.outputs],
            name="time",
            body=inside,
            num_scan_inputs=1,
        )
    )
    inputs = [_info("frames", body.element, ["time", "batch", *body.graph.input.shape])]
    outputs = [
        _info(name, body.element, ["time", "batch", *shape]) for name, shape in body.outputs.items()
    ]
    return _model(body, outer.nodes, inputs, outputs, "scan")


def _initial_states(outer: Scope, body: _Body) -> list[str]:
    """Expand each state's start to the batch of the frames."""
    outer.prefix = "start"
    ends = [outer.constant([k], np.int64) for k in (1, 2)]
    batch = outer.op("Slice", outer.op("Shape", "frames"), *ends)
    starts = []
    for s in body.states:
        full = outer.op("Concat", batch, outer.constant(list(s.shape), np.int64), axis=0)
        dtype: Any = np.int32 if s.integer else np.float32
        start = (
            np.broadcast_to(s.initial, s.shape)
            if s.initial.ndim
            else s.initial.reshape((1,) * len(s.shape))
        )
        starts.append(outer.op("Expand", outer.constant(start[None], dtype), full))
    return starts


def _info(name: str, element: int, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def _model(
    body: _Body, nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[Any], form: str
) -> onnx.ModelProto:
    used = {name for node in nodes for name in _names(node)}
    constants = [t for key, t in body.scope.constants.items() if key in used]
    graph = helper.make_graph(nodes, "spikewright", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", OPSET)]
    if body.functions:
        opsets.append(helper.make_opsetid(DOMAIN, 1))
    model = helper.make_model(
        graph,
        opset_imports=opsets,
        ir_version=IR_VERSION,
        functions=list(body.functions.values()),
        producer_name="spikewright",
    )
    helper.set_model_props(model, {"spikewright": json.dumps(_card(body, form), sort_keys=True)})
    return model


def _names(node: onnx.NodeProto) -> list[str]:
    inner = [name for a in node.attribute for n in a.g.node for name in _names(n)]
    return [*node.input, *inner]


def _card(body: _Body, form: str) -> dict[str, Any]:
    """Return what a reader needs to know beside the operators."""
    graph = body.graph
    nodes: dict[str, Weight] = graph.of_kind(Linear, Conv1d, Conv2d)
    weights = {
        name: {"bits": node.bits, "scale": None if node.scale is None else node.scale.tolist()}
        for name, node in nodes.items()
    }
    neurons = {
        name: {"reset": node.reset, "compare": node.compare, "state_bits": node.state_bits}
        for name, node in graph.neurons.items()
    }
    return {
        "schema": "spikewright/onnx/1",
        "form": form,
        "level": graph.level,
        "arithmetic": body.arithmetic,
        "input": {"encoding": graph.input.encoding, "scale": graph.input.scale},
        "output": {"readout": graph.output.readout, "scale": graph.output.scale},
        "weights": weights,
        "neurons": neurons,
        "states": {s.name: np.asarray(s.initial).tolist() for s in body.states},
    }


def initial_states(model: onnx.ModelProto) -> dict[str, Any]:
    """Return the start of each state of a step model, by input name (from its card).

    Raises:
        FormatError: if the model carries no card of ours.
    """
    for entry in model.metadata_props:
        if entry.key == "spikewright":
            card = json.loads(entry.value)
            return {name: np.asarray(value) for name, value in card["states"].items()}
    raise FormatError("no spikewright card in this model")
