"""The same networks on other tools: a runner takes a workload and returns a call to time.

The call returns the readout after the last step, [batch, classes]. Time is folded into the batch,
the fastest form on every peer: a layer sees all steps at once, only its neurons walk through time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from spikewright.export.ir import (
    WEIGHTS,
    Add,
    Array,
    Flatten,
    Graph,
    Linear,
    MatMul,
    Neuron,
    Output,
    Reshape,
    Scale,
    SumPool,
    Transpose,
)
from spikewright.export.ir.nodes import Conv1d, Conv2d, MaxPool
from spikewright.sim.native import Native
from spikewright.sim.travelled import values_of

from .workloads import Workload

Call: TypeAlias = Callable[[], Array]
Neurons: TypeAlias = Callable[[Any], Any]
"""From currents to spikes, torch tensors [time, batch, *shape], from reset."""


class Missing(Exception):
    """A peer that is not installed, or has no operator for the network: named, not hidden."""


def onnxruntime_f32(workload: Workload, threads: int = 1) -> Call:
    """Dense float32: exact, because every sum stays below 2^24."""
    return _onnxruntime(workload, "f32", threads)


def onnxruntime_int8(workload: Workload, threads: int = 1) -> Call:
    """MatMulInteger and ConvInteger on uint8 activations, int8 weights, int32 neurons."""
    return _onnxruntime(workload, "int8", threads)


def onnxruntime_qdq(workload: Workload, threads: int = 1) -> Call:
    """Another network: its convolutions are QLinearConv, whose currents are rounded to 8 bits.

    This is what QDQ models are turned into, the fast integer convolution of onnxruntime. The scale
    of each layer's currents is the largest one seen on this very input, over 127.
    """
    return _onnxruntime(workload, "qdq", threads)


def torch_layers(workload: Workload, threads: int = 1) -> Call:
    """Plain torch, float32, layer by layer."""
    return torch_with(
        lambda node: partial(_torch_neuron, float(node.v_threshold)), workload, threads
    )


def torch_with(made: Callable[[Neuron], Neurons], workload: Workload, threads: int) -> Call:
    """Return a call of torch's layers with neurons of some tool, made once for each node.

    Raises:
        Missing: where torch, or the tool that `made` imports, is not installed.
    """
    try:
        import torch
    except ImportError:
        raise Missing("torch is not installed") from None
    torch.set_num_threads(threads)
    neurons = {name: made(node) for name, node in workload.graph.neurons.items()}
    steps, batch = workload.x.shape[:2]
    x = torch.from_numpy(workload.x.reshape(-1, *workload.x.shape[2:]).astype(np.float32))
    layers = [
        (name, node, workload.graph.inputs(name), _torch_weight(torch, node))
        for name, node in workload.graph.nodes.items()
    ]

    def call() -> Array:
        values: dict[str, Any] = {layers[0][0]: x}
        with torch.inference_mode():
            for name, node, sources, weight in layers[1:]:
                read = [values[s] for s in sources]
                if name in neurons:
                    current = read[0].view(steps, batch, *node.shape)
                    values[name] = neurons[name](current).reshape(-1, *node.shape)
                else:
                    values[name] = _torch_node(torch, node, read, weight, steps, batch)
        found: Array = values[workload.graph.output_name].numpy()
        return found

    return call


def _torch_neuron(threshold: float, current: Any) -> Any:
    spikes, v = current.new_empty(current.shape), current.new_zeros(current.shape[1:])
    for t, arriving in enumerate(current):
        v += arriving
        fired = v > threshold
        spikes[t] = fired
        v.masked_fill_(fired, 0)
    return spikes


def _torch_weight(torch: Any, node: Any) -> Any:
    return torch.from_numpy(node.weight.astype(np.float32)) if isinstance(node, WEIGHTS) else None


def _torch_node(torch: Any, node: Any, read: list[Any], weight: Any, steps: int, batch: int) -> Any:
    x, f = read[0], torch.nn.functional
    if isinstance(node, Linear):
        return f.linear(x, weight)
    if isinstance(node, (Conv1d, Conv2d)):
        conv = f.conv1d if node.kind == "Conv1d" else f.conv2d
        return conv(x, weight, None, node.stride, node.padding)
    if isinstance(node, SumPool):
        size, area = node.kernel, float(np.prod(node.kernel))
        pool = f.avg_pool1d if len(size) == 1 else f.avg_pool2d
        return pool(x, size, node.stride, node.padding) * area
    if isinstance(node, MaxPool):
        return f.max_pool2d(x, node.kernel, node.stride, node.padding)
    if isinstance(node, Add):
        return read[0] + read[1]
    if isinstance(node, MatMul):
        return torch.matmul(*read)
    if isinstance(node, Scale):
        return x * float(node.factor)
    if isinstance(node, Reshape):
        return x.reshape(-1, *node.shape)
    if isinstance(node, Transpose):
        return x.permute(0, *(axis + 1 for axis in node.axes))
    if isinstance(node, Flatten):
        return x.flatten(1)
    if isinstance(node, Output):
        return x.view(steps, batch, -1).sum(0)
    raise Missing(f"no {node.kind} here")


@dataclass(slots=True)
class _Onnx:
    """Nodes and constants of an ONNX model in the making. `wide`: the type of sums."""

    wide: Any
    narrow: Any
    nodes: list[Any]
    constants: dict[str, Array]
    steps: int
    batch: int
    current_scale: dict[str, float]

    @property
    def whole(self) -> bool:
        return bool(self.wide == np.int32)

    @property
    def bytes(self) -> bool:
        """Whether spikes are bytes (else float32)."""
        return bool(self.narrow == np.uint8)

    def constant(self, name: str, values: Any, dtype: Any) -> str:
        self.constants[name] = np.asarray(values, dtype)
        return name

    def put(self, kind: str, name: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def cast(self, name: str, source: str, dtype: Any) -> str:
        from onnx import helper

        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.put("Cast", name, [source], to=to)


def _onnxruntime(workload: Workload, arithmetic: str, threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    model = _onnx_model(workload, arithmetic)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    dtype = np.float32 if arithmetic == "f32" else np.uint8
    x = np.ascontiguousarray(workload.x.reshape(-1, *workload.x.shape[2:]), dtype)

    def call() -> Array:
        found: Array = session.run(None, {"in": x})[0]
        return found

    return call


def _onnx_model(workload: Workload, arithmetic: str) -> Any:
    from onnx import checker, helper, numpy_helper

    wide = np.int32 if arithmetic == "int8" else np.float32
    narrow = np.float32 if arithmetic == "f32" else np.uint8
    steps, batch = workload.x.shape[:2]
    scales = _current_scales(workload) if arithmetic == "qdq" else {}
    draft = _Onnx(wide, narrow, [], {}, steps, batch, scales)
    graph = workload.graph
    narrow_now: dict[str, bool] = {graph.input_name: True}
    for name in graph.order[1:]:
        _onnx_node(draft, graph, name, narrow_now)
    kind = helper.np_dtype_to_tensor_dtype
    shape = [steps * batch, *workload.x.shape[2:]]
    x = helper.make_tensor_value_info("in", kind(np.dtype(narrow)), shape)
    y = helper.make_tensor_value_info("out", kind(np.dtype(wide)), [batch, 10])
    constants = [numpy_helper.from_array(v, k) for k, v in draft.constants.items()]
    body = helper.make_graph(draft.nodes, workload.name, [x], [y], constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    return model


def _current_scales(workload: Workload) -> dict[str, float]:
    """Return the largest current of each convolution over 127."""
    trace = Native().prepare(workload.graph).run(workload.x, "spikes")
    return {
        name: float(np.abs(values_of(trace, name)).max()) / 127
        for name, node in workload.graph.nodes.items()
        if isinstance(node, (Conv1d, Conv2d))
    }


def _onnx_node(draft: _Onnx, graph: Graph, name: str, narrow: dict[str, bool]) -> None:
    node: Any = graph.nodes[name]
    read = list(graph.inputs(name))
    narrow[name] = isinstance(node, (Reshape, Transpose, Flatten, MaxPool)) and narrow[read[0]]
    if isinstance(node, WEIGHTS):
        _onnx_weight(draft, name, node, read[0], draft.bytes and narrow[read[0]])
    elif isinstance(node, Neuron):
        _onnx_neuron(draft, name, node, read[0])
        narrow[name] = True
    elif isinstance(node, SumPool):
        axes = list(range(-len(node.kernel), 0))
        x = _widened(draft, name, read[0], narrow)
        if draft.bytes:
            draft.put("ReduceSum", name, [x, draft.constant(f"{name}_axes", axes, np.int64)])
        else:
            mean = draft.put("GlobalAveragePool", f"{name}_mean", [x])
            area = draft.constant(f"{name}_area", np.prod(node.kernel), np.float32)
            draft.put("Mul", name, [mean, area])
    elif isinstance(node, MaxPool):
        pads = list(node.padding) * 2
        draft.put("MaxPool", name, read, kernel_shape=node.kernel, strides=node.stride, pads=pads)
    elif isinstance(node, Add):
        small = draft.bytes and all(narrow[source] for source in read)
        narrow[name] = small
        draft.put("Add", name, read if small else [_widened(draft, name, s, narrow) for s in read])
    elif isinstance(node, MatMul):
        if draft.bytes:
            found = name if draft.whole else f"{name}_y"
            draft.put("MatMulInteger", found, [_byte(draft, name, s, narrow) for s in read])
            if not draft.whole:
                draft.cast(name, found, draft.wide)
        else:
            draft.put("MatMul", name, read)
    elif isinstance(node, Scale):
        x = _widened(draft, name, read[0], narrow)
        draft.put("Mul", name, [x, draft.constant(f"{name}_factor", node.factor, draft.wide)])
    elif isinstance(node, Transpose):
        draft.put("Transpose", name, read, perm=[0, *(axis + 1 for axis in node.axes)])
    elif isinstance(node, (Reshape, Flatten)):
        shape = node.shape if isinstance(node, Reshape) else (-1,)
        lead = draft.steps * draft.batch
        draft.put("Reshape", name, [*read, draft.constant(f"{name}_to", [lead, *shape], np.int64)])
    elif isinstance(node, Output):
        timed = _by_step(draft, f"{name}_timed", _widened(draft, name, read[0], narrow), (10,))
        axes0 = draft.constant("time_axis", [0], np.int64)
        draft.put("ReduceSum", name, [timed, axes0], keepdims=0)
    else:
        raise Missing(f"no {node.kind} here")


def _widened(draft: _Onnx, name: str, source: str, narrow: dict[str, bool]) -> str:
    if not draft.bytes or not narrow[source]:
        return source
    return draft.cast(f"{name}_wide_{source}", source, draft.wide)


def _byte(draft: _Onnx, name: str, source: str, narrow: dict[str, bool]) -> str:
    """Counts up to 64 fit a byte; MatMulInteger wants bytes."""
    return source if narrow[source] else draft.cast(f"{name}_byte_{source}", source, np.uint8)


def _onnx_weight(draft: _Onnx, name: str, node: Any, source: str, whole: bool) -> None:
    """Integer operators where bytes arrive; sums of bytes (behind a pool) go through float32."""
    transposed = isinstance(node, Linear)
    values = node.weight.T if transposed else node.weight
    weight = draft.constant(f"{name}_w", values, np.int8 if whole else np.float32)
    suffix, there = "Integer" if whole else "", draft.whole and not whole
    if there:
        source = draft.cast(f"{name}_float", source, np.float32)
    back = there or (whole and not draft.whole)
    found = f"{name}_y" if back else name
    if transposed:
        draft.put(f"MatMul{suffix}", found, [source, weight])
    elif whole and not draft.whole:
        _qlinear_conv(draft, name, node, source, weight)
        return
    else:
        pads, stride = list(node.padding) * 2, list(node.stride)
        draft.put(f"Conv{suffix}", found, [source, weight], pads=pads, strides=stride)
    if back:
        draft.cast(name, found, draft.wide)


def _qlinear_conv(draft: _Onnx, name: str, node: Any, source: str, weight: str) -> None:
    one, zero = draft.constant("one_f32", 1, np.float32), draft.constant("zero_u8", 0, np.uint8)
    zero_w = draft.constant("zero_i8", 0, np.int8)
    scale = draft.constant(f"{name}_scale", draft.current_scale[name], np.float32)
    middle = draft.constant("middle", 128, np.uint8)
    inputs = [source, one, zero, weight, one, zero_w, scale, middle]
    pads, stride = list(node.padding) * 2, list(node.stride)
    draft.put("QLinearConv", f"{name}_q", inputs, pads=pads, strides=stride)
    draft.put("DequantizeLinear", name, [f"{name}_q", scale, middle])


def _by_step(draft: _Onnx, name: str, source: str, shape: tuple[int, ...]) -> str:
    to = draft.constant(f"{name}_to", [draft.steps, draft.batch, *shape], np.int64)
    return draft.put("Reshape", name, [source, to])


def _onnx_neuron(draft: _Onnx, name: str, node: Neuron, source: str) -> None:
    """All steps of the neuron, unrolled: v += I, fire where v > threshold, 0 where fired."""
    timed = _by_step(draft, f"{name}_timed", source, node.shape)
    from onnx import helper

    parts = [f"{name}_i{t}" for t in range(draft.steps)]
    draft.nodes.append(helper.make_node("Split", [timed], parts, axis=0))
    threshold = draft.constant(f"{name}_threshold", node.v_threshold, draft.wide)
    zero, v, fired = draft.constant("zero", 0, draft.wide), "", []
    for t, part in enumerate(parts):
        v = draft.put("Add", f"{name}_a{t}", [v, part]) if v else part
        spike = draft.put("Greater", f"{name}_f{t}", [v, threshold])
        v = draft.put("Where", f"{name}_v{t}", [spike, zero, v])
        fired.append(draft.cast(f"{name}_s{t}", spike, draft.narrow))
    joined = draft.put("Concat", f"{name}_all", fired, axis=0)
    lead = draft.steps * draft.batch
    to = draft.constant(f"{name}_flat", [lead, *node.shape], np.int64)
    draft.put("Reshape", name, [joined, to])
