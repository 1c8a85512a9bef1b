"""The operators of ONNX in our graph: a table from type to rule.

A rule takes a `Site`, appends nodes, and returns the name of the one that makes its output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx

from ..ir import Add, Array, BatchNorm, Conv1d, Conv2d, Input, Linear, Neuron, Scale, Shape
from . import onnx_shapes as shapes
from . import onnx_windows as windows
from .onnx_padding import pad
from .onnx_site import Site

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)


def integrate_and_fire(shape: Shape, theta: Array) -> Neuron:
    """An integrate-and-fire neuron whose rate is a ReLU cut off at theta."""
    return Neuron(shape, theta, beta=np.ones(()), v_init=theta / 2, reset="soft", compare=">=")


def _gemm(site: Site) -> str:
    if site.fields.get("transA", 0):
        raise site.refuse("transA moves the batch axis", "export it without transA")
    if len(site.shape) != 1:
        raise site.refuse(
            f"a Gemm of samples {site.shape}, vectors are needed", "flatten before it"
        )
    weight, bias = site.needed(1).astype(np.float32), site.constant(2)
    weight = weight if site.fields.get("transB", 0) else weight.T
    weight = weight * np.float32(site.fields.get("alpha", 1.0))
    if bias is not None:
        if bias.ndim > 1 and bias.shape[0] != 1:
            raise site.refuse(f"adds {bias.shape}, which varies within the batch")
        bias = np.broadcast_to(bias.reshape(-1), weight.shape[:1]) * site.fields.get("beta", 1.0)
        bias = bias.astype(np.float32)
    return site.put(Linear(weight, bias))


def _matmul(site: Site) -> str:
    weight = site.needed(1).astype(np.float32)
    if weight.ndim != 2:
        raise site.refuse(f"a weight of {weight.ndim} axes")
    return site.put(Linear(weight.T))


def _add(site: Site) -> str:
    """Add, Sub, Sum: of two tensors, or of one and a constant."""
    places = range(len(site.node.input))
    data = [k for k in places if not site.is_constant(k)]
    if site.kind == "Sum" or len(data) == len(places):
        return _sum(site, [site.source(k) for k in places])
    value, here = site.needed(1 - data[0]), site.source(data[0])
    if site.kind == "Sub":
        if data[0] == 1:  # constant - x
            here = _times(site, here, -np.ones(()), "minus")
        else:
            value = -value
    return _biased(site, here, value)


def _sum(site: Site, sources: list[str]) -> str:
    if site.kind == "Sub":
        sources[1] = site.behind("minus", Scale(-np.ones(())), sources[1])
    return sources[0] if len(sources) == 1 else site.put(Add(), *sources)


def _along(site: Site, value: Array, shape: Shape) -> tuple[int, Array]:
    """Return the axis of a sample that a constant varies along, and its values there."""
    full = np.broadcast_to(value.reshape(value.shape[-len(shape) :]), shape)
    for axis in range(len(shape)):
        row = np.moveaxis(full, axis, 0).reshape(shape[axis], -1)
        if (row == row[:, :1]).all():
            return axis, row[:, 0].astype(np.float32)
    raise site.refuse(
        f"a {site.kind} of a constant that varies along several axes", "use one value a channel"
    )


def _own_weight(site: Site, source: str, axis: int) -> bool:
    """Whether a value of each entry of the axis can move into the weights right before."""
    node, shape = site.reader.nodes[source], site.reader.shapes[source]
    if not isinstance(node, (Linear, Conv1d, Conv2d)) or site.reader.uses(source) > 1:
        return False
    return axis == (len(shape) - 1 if isinstance(node, Linear) else 0)


def _biased(site: Site, source: str, value: Array) -> str:
    """Add a constant: to the weights of its own right before it, or as a BatchNorm's bias."""
    reader, shape = site.reader, site.reader.shapes[source]
    axis, row = _along(site, value, shape)
    if _own_weight(site, source, axis):
        node = reader.nodes[source]
        assert isinstance(node, (Linear, Conv1d, Conv2d))
        bias = row if node.bias is None else node.bias + row
        reader.nodes[source] = replace(node, bias=bias.astype(np.float32))
        return source
    return site.put(_affine(np.ones_like(row), row, axis), source)


def _affine(gain: Array, bias: Array, axis: int) -> BatchNorm:
    return BatchNorm(np.zeros_like(gain), np.ones_like(gain), gain, bias, 0.0, axis)


def _scaled(site: Site) -> str:
    """Mul or Div by a constant."""
    k = 1 if site.is_constant(1) else 0
    factor = site.needed(k).astype(np.float64)
    if site.kind == "Div":
        if k == 0 or not factor.all():
            raise site.refuse("divides by what is no constant, or by 0")
        factor = 1 / factor
    return _times(site, site.source(1 - k), factor)


def _times(site: Site, source: str, factor: Array, word: str = "") -> str:
    """Multiply: the weights right before it, or by a node of its own.

    What stands right behind the input is a BatchNorm, which becomes the input's normalisation.
    """
    reader, shape = site.reader, site.reader.shapes[source]
    node: BatchNorm | Scale = Scale(factor.reshape(factor.shape[-len(shape) :]))
    place, here = source, reader.nodes[source]
    if isinstance(here, (Linear, Conv1d, Conv2d, Input, BatchNorm)):
        axis, row = _along(site, factor, shape)
        if not isinstance(here, (Input, BatchNorm)) and _own_weight(site, source, axis):
            column = row.reshape(-1, *(1,) * (here.weight.ndim - 1))
            bias = None if here.bias is None else here.bias * row
            reader.nodes[source] = replace(here, weight=here.weight * column, bias=bias)
            return source
        node = _affine(row, np.zeros_like(row), axis)
    return site.behind(word, node, place) if word else site.put(node, place)


def _norm(site: Site) -> str:
    if site.fields.get("training_mode", 0):
        raise site.refuse("normalises by each batch", "export it in evaluation mode")
    gain, bias, mean, var = (site.needed(k).astype(np.float32) for k in range(1, 5))
    eps = float(site.fields.get("epsilon", 1e-5))
    return site.put(BatchNorm(mean, var, gain, bias, eps))


def _relu(site: Site) -> str:
    if site.reader.convert != "relu":
        raise site.refuse(
            f"a {site.kind}, where spiking networks have neurons",
            "--convert relu makes them integrate-and-fire neurons",
        )
    k = _checked_rectifier(site)
    name = site.put(
        integrate_and_fire(site.reader.shapes[site.source(k)], np.ones(())), site.source(k)
    )
    site.reader.activations[site.node.output[0]] = name
    return site.behind("worth", Scale(np.ones(())), name)


def _checked_rectifier(site: Site) -> int:
    """Return which input a Relu, a Clip from 0 or a Max with 0 rectifies."""
    if site.kind == "Max":
        k = 0 if site.is_constant(1) else 1
        if len(site.node.input) != 2 or site.needed(1 - k).any():
            raise site.refuse("a Max of what is not 0", "use Relu")
        return k
    if site.kind == "Clip":
        low, high = (_bound(site, name, k) for k, name in ((1, "min"), (2, "max")))
        if low != 0:
            raise site.refuse("a Clip that does not begin at 0", "use Relu")
        if high is not None and not high > 0:
            raise site.refuse(f"a Clip that ends at {high:g}", "use Relu")
    return 0


def _bound(site: Site, name: str, k: int) -> float | None:
    value = site.fields.get(name)
    if value is None and site.has(k):
        value = site.needed(k, finite=False)
    return None if value is None else float(np.asarray(value).reshape(-1)[0])


def _negative(site: Site) -> str:
    return _times(site, site.source(), -np.ones(()))


def _same(site: Site) -> str:
    site.pass_pads()
    return site.padded()


def _dropout(site: Site) -> str:
    training = site.constant(2)
    if training is not None and training.any():
        raise site.refuse("drops values at random", "export it in evaluation mode")
    return _same(site)


def _cast(site: Site) -> str:
    if site.fields.get("to") not in FLOATS:
        raise site.refuse(f"casts data to element type {site.fields.get('to')}", "keep floats")
    return _same(site)


def _last(site: Site) -> str:
    """Softmax leaves the order of its inputs; only the output may lack it."""
    names = {info.name for info in site.reader.model.graph.output}
    for node in reversed(site.reader.model.graph.node):
        if node.op_type in ("Identity", "Cast") and names & set(node.output):
            names |= set(node.input)
    if site.node.output[0] not in names:
        raise site.refuse(f"a {site.kind} before the output", "normalise the outputs only")
    site.reader.warnings.append(f"{site.name}: {site.kind} left out, the order is the same")
    return site.source()


OPERATORS: dict[str, Callable[[Site], str]] = {
    "Add": _add,
    "AveragePool": windows.average_pool,
    "BatchNormalization": _norm,
    "Cast": _cast,
    "Clip": _relu,
    "Conv": windows.conv,
    "Div": _scaled,
    "Dropout": _dropout,
    "Flatten": shapes.flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": windows.global_pool,
    "GlobalMaxPool": windows.global_pool,
    "Identity": _same,
    "LogSoftmax": _last,
    "MatMul": _matmul,
    "Max": _relu,
    "MaxPool": windows.max_pool,
    "Mul": _scaled,
    "Neg": _negative,
    "Pad": pad,
    "ReduceMean": windows.reduce,
    "ReduceSum": windows.reduce,
    "Relu": _relu,
    "Reshape": shapes.reshape,
    "Softmax": _last,
    "Squeeze": shapes.squeeze,
    "Sub": _add,
    "Sum": _add,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
}

_ACTIVATIONS = """
    Celu Elu Erf Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Selu Sigmoid Softplus
    Softsign Swish Tanh ThresholdedRelu
"""
REMEDIES: dict[str, str] = {
    **dict.fromkeys(
        _ACTIVATIONS.split(),
        "a rate is never below 0: train with Relu, or Clip from 0",
    ),
    "Concat": "no node joins tensors: add them (Add) instead",
    "Gather": "no node picks parts of a tensor",
    "Slice": "no node picks parts of a tensor",
    "Split": "no node picks parts of a tensor",
    "ConvTranspose": "use a convolution",
    "Resize": "use strides or pools",
    "Upsample": "use strides or pools",
    "InstanceNormalization": "normalise by BatchNormalization, whose statistics are constant",
    "GroupNormalization": "normalise by BatchNormalization, whose statistics are constant",
    "LayerNormalization": "normalise by BatchNormalization, whose statistics are constant",
    "LSTM": "export a feed-forward network",
    "GRU": "export a feed-forward network",
    "RNN": "export a feed-forward network",
    "QuantizeLinear": "export the float network: lower --bits quantises it",
    "QLinearConv": "export the float network: lower --bits quantises it",
    "QLinearMatMul": "export the float network: lower --bits quantises it",
    "ArgMax": "export the network without it: run tells the largest output",
}
"""What to do about operators that have no rule."""
