"""ONNX out: a step file with explicit states, and a Scan file with a free number of time steps.

Built directly with onnx.helper. Opset 21, IR 10. Values are int32 at the integer level, float32
otherwise; `input` takes encoded values (`sim.encode`): at the integer level a direct-coded frame
enters already quantised, by the scale in the card. Batch is free in both files.

==========  ==============================================  =====================================
file        inputs                                          outputs
==========  ==============================================  =====================================
step        `input` [batch, *shape], and for each state     `output`, `NAME/spikes` of each neuron,
            `NAME/STATE.prev` [batch, *shape]               `NAME/STATE.next` of each state
Scan        `input` [time, batch, *shape]                   `output`, `NAME/spikes`, `NAME/v` and,
                                                            where current-based, `NAME/u`:
                                                            [time, batch, *shape]
==========  ==============================================  =====================================

States: v and, where they exist, u, spikes, hold (`arith.NeuronState`); y of a readout; the ring of
a Delay [batch, steps, *shape], oldest first. Their starts stand in the model's metadata, key
`spikewright`, with scales, bits, the units of v, resets and the time steps of the lowering.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import onnx
from onnx import helper

from ..ir import (
    Array,
    Conv1d,
    Conv2d,
    FormatError,
    Graph,
    Linear,
    UnknownNameError,
    Weight,
    check,
)
from ..ir.digest import digest
from .atomic import atomic_paths
from .onnx_body import DOMAIN, OPSET, Body
from .onnx_exact import ARITHMETICS, Arithmetic
from .onnx_scope import Scope

Form: TypeAlias = Literal["step", "scan"]
FORMS: tuple[str, ...] = get_args(Form)
IR_VERSION = 10
LARGEST_MODEL = (1 << 31) - (1 << 24)
"""Bytes: protobuf's 2 GiB, less some for what is not weights."""


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
        FormatError: if the file exists (without `force`), a node has no exact form, or the weights
            are more than one file holds.
    """
    write_forms(graph, {form: Path(path)}, arithmetic, inline=inline, force=force)


def write_forms(
    graph: Graph,
    paths: Mapping[Form, Path],
    arithmetic: Arithmetic = "auto",
    *,
    inline: bool = False,
    force: bool = False,
) -> None:
    """Write several forms of one graph, by path: all of them or none; otherwise as `write_onnx`."""
    _refuse_size(graph)
    with atomic_paths(list(paths.values()), force=force) as temporary:
        for form, path in zip(paths, temporary, strict=True):
            model = build_model(graph, form, arithmetic, inline=inline)
            onnx.checker.check_model(model, full_check=True)
            path.write_bytes(model.SerializeToString(deterministic=True))


def _refuse_size(graph: Graph) -> None:
    """Refuse weights that no protobuf holds, before anything is built."""
    weights: dict[str, Weight] = graph.of_kind(Linear, Conv1d, Conv2d)
    width = 1 if graph.level == "integer" else 4
    count = sum(node.weight.size * width for node in weights.values())
    if count > LARGEST_MODEL:
        largest = max(weights, key=lambda name: weights[name].weight.size)
        raise FormatError(
            f"{count} bytes of weights in all, an ONNX file holds less than {LARGEST_MODEL}",
            node=largest,
            remedy="write .spk or .nir",
        )


def build_model(
    graph: Graph, form: Form = "step", arithmetic: Arithmetic = "auto", *, inline: bool = False
) -> onnx.ModelProto:
    """Return the ONNX model of a graph at any level.

    Args:
        arithmetic: of integer weights: `exact-float` (float32, proven exact), `integer`
            (ConvInteger and MatMulInteger, operands such that no CPU saturates), or `auto`: per
            node float32 (three times faster) where it can be proven, integer elsewhere.
        inline: write neurons as plain operators instead of functions of the domain `ai.spiking`.

    Raises:
        FormatError: naming a node without an exact form under `arithmetic`, or for an arithmetic of
            integers with floats.
        UnknownNameError: for another form or arithmetic.
    """
    if form not in FORMS:
        raise UnknownNameError.of("form of ONNX file", form, FORMS)
    if arithmetic not in ARITHMETICS:
        raise UnknownNameError.of("arithmetic", arithmetic, ARITHMETICS)
    if arithmetic != "auto" and graph.level != "integer":
        remedy = "lower it to integers, or leave the arithmetic out"
        said = f"arithmetic {arithmetic} is of integers, this graph is {graph.level}"
        raise FormatError(said, remedy=remedy)
    body = Body(check(graph), arithmetic, inline, "input" if form == "step" else "frame")
    body.walk()
    return _step_model(body) if form == "step" else _scan_model(body)


def _step_model(body: Body) -> onnx.ModelProto:
    scope = body.scope
    inputs = [_info("input", body.element, ["batch", *body.graph.input.shape])]
    outputs = []
    for s in body.states:
        inputs.append(_info(f"{s.name}.prev", body.element_of(s), ["batch", *s.shape]))
        after = scope.output(body.next[s.name], f"{s.name}.next")
        outputs.append(_info(after, body.element_of(s), ["batch", *s.shape]))
    results = []
    for name, (shape, value) in body.recorded().items():
        if name == "output" or name.endswith("/spikes"):
            results.append(_info(scope.output(value, name), body.element, ["batch", *shape]))
    return _model(body, scope.finished(), inputs, [*results, *outputs], "step")


def _scan_model(body: Body) -> onnx.ModelProto:
    inner, outer = body.scope, Scope(body.scope.constants)
    step_in = [
        _info(f"{s.name}.prev", body.element_of(s), ["batch", *s.shape]) for s in body.states
    ]
    step_in.append(_info("frame", body.element, ["batch", *body.graph.input.shape]))
    step_out = []
    for s in body.states:
        after = inner.output(body.next[s.name], f"{s.name}.next")
        step_out.append(_info(after, body.element_of(s), ["batch", *s.shape]))
    outputs = []
    for name, (shape, value) in body.recorded().items():
        step_out.append(_info(inner.output(value, f"{name}.now"), body.element, ["batch", *shape]))
        outputs.append(_info(name, body.element, ["time", "batch", *shape]))
    starts = _initial_states(outer, body)
    scan = helper.make_node(
        "Scan",
        [*starts, "input"],
        [*(f"{s.name}.last" for s in body.states), *(info.name for info in outputs)],
        name="time",
        body=helper.make_graph(inner.finished(), "step", step_in, step_out),
        num_scan_inputs=1,
    )
    inputs = [_info("input", body.element, ["time", "batch", *body.graph.input.shape])]
    return _model(body, [*outer.nodes, scan], inputs, outputs, "scan")


def _initial_states(outer: Scope, body: Body) -> list[str]:
    """Expand each state's start to the batch of the frames."""
    outer.prefix = "start"
    ends = [outer.constant([k], np.int64) for k in (1, 2)]
    batch = outer.op("Slice", outer.op("Shape", "input"), *ends)
    starts = []
    for s in body.states:
        full = outer.op("Concat", batch, outer.constant(list(s.shape), np.int64), axis=0)
        dtype: Any = np.int32 if s.integer else np.float32
        start = s.initial.reshape((1,) * (len(s.shape) + 1 - s.initial.ndim) + s.initial.shape)
        starts.append(outer.op("Expand", outer.constant(start, dtype), full))
    return starts


def _info(name: str, element: int, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def _model(
    body: Body, nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[Any], form: str
) -> onnx.ModelProto:
    constants = list(body.scope.constants.values())
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


def _card(body: Body, form: str) -> dict[str, Any]:
    """Return what a reader needs to know beside the operators."""
    graph = body.graph
    nodes: dict[str, Weight] = graph.of_kind(Linear, Conv1d, Conv2d)
    weights = {
        name: {"bits": node.bits, "scale": _listed(node.scale)} for name, node in nodes.items()
    }
    neurons = {
        name: {
            "reset": node.reset,
            "compare": node.compare,
            "state_shift": node.state_shift,
            "state_bits": node.state_bits,
            "v_scale": _listed(node.v_scale),
        }
        for name, node in graph.neurons.items()
    }
    return {
        "schema": "spikewright/onnx/1",
        "form": form,
        "level": graph.level,
        "arithmetic": body.arithmetic,
        "digest": digest(graph),
        "time_steps": graph.metadata.get("time_steps"),
        "input": {"encoding": graph.input.encoding, "scale": graph.input.scale},
        "output": {"readout": graph.output.readout, "scale": graph.output.scale},
        "weights": weights,
        "neurons": neurons,
        "states": {f"{s.name}.prev": _listed(s.initial) for s in body.states},
    }


def _listed(array: Array | None) -> Any:
    return None if array is None else array.tolist()


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
