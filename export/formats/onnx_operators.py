"""The operators of ONNX in our graph: a table from type to rule.

A rule takes a `Site`, appends nodes, and returns the name of the one that makes its output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import onnx

from ..ir import (
    Add,
    Array,
    AvgPool,
    BatchNorm,
    Conv1d,
    Conv2d,
    Edge,
    Flatten,
    FormatError,
    Linear,
    MaxPool,
    Neuron,
    Node,
    Reshape,
    Scale,
    Shape,
)
from .onnx_file import attributes, whole


class Building(Protocol):
    """The graph under construction, as rules see it."""

    model: onnx.ModelProto
    convert: str | None
    constants: dict[str, Array]
    nodes: dict[str, Node]
    edges: list[Edge]
    shapes: dict[str, Shape]
    values: dict[str, str]
    activations: dict[str, str]
    warnings: list[str]

    def put(self, name: str, node: Node, *sources: str) -> str:
        """Append a node; return its name."""
        ...


def integrate_and_fire(shape: Shape, theta: Array) -> Neuron:
    """An integrate-and-fire neuron whose rate is a ReLU cut off at theta."""
    return Neuron(shape, theta, beta=np.ones(()), v_init=theta / 2, reset="soft", compare=">=")


class Site:
    """An operator where it stands: its attributes, constants and what enters it."""

    def __init__(self, reader: Building, name: str, node: onnx.NodeProto) -> None:
        self.reader, self.name, self.node = reader, name, node
        self.fields = attributes(node)

    def held(self, k: int) -> Array | None:
        """Return input k where it is a constant."""
        if k >= len(self.node.input) or not self.node.input[k]:
            return None
        found = self.reader.constants.get(self.node.input[k])
        if found is not None and found.dtype.kind == "f" and not np.isfinite(found).all():
            raise FormatError("a constant holds NaN or infinite values", node=self.name)
        return found

    def needed(self, k: int) -> Array:
        """Return input k, a constant."""
        found = self.held(k)
        if found is None:
            raise FormatError(f"input {k} is no constant", node=self.name)
        return found

    def source(self, k: int = 0) -> str:
        """Return the node that makes input k."""
        tensor = self.node.input[k]
        if tensor not in self.reader.values:
            raise FormatError(f"nothing makes its input {tensor[:60]!r}", node=self.name)
        return self.reader.values[tensor]

    @property
    def shape(self) -> Shape:
        """Of what enters first."""
        return self.reader.shapes[self.source()]

    def put(self, node: Node, *sources: str) -> str:
        """Append the node that stands for the operator."""
        return self.reader.put(self.name, node, *(sources or (self.source(),)))


def _pads(site: Site, kernel: Shape, stride: Shape, dilation: Shape) -> Shape:
    """Return the padding of each axis, the same on both ends."""
    rank, auto = len(kernel), site.fields.get("auto_pad", b"NOTSET").decode()
    pads = whole(site.fields.get("pads", (0,) * 2 * rank))
    if auto.startswith("SAME"):
        spread = [
            max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            for n, k, s, d in zip(site.shape[-rank:], kernel, stride, dilation, strict=True)
        ]
        pads = (*(n // 2 for n in spread), *(n - n // 2 for n in spread))
    if len(pads) != 2 * rank or pads[:rank] != pads[rank:] or min(pads) < 0:
        raise FormatError(f"padding {pads} differs between two ends", node=site.name)
    return pads[:rank]


def _conv(site: Site) -> str:
    weight, bias = site.needed(1).astype(np.float32), site.held(2)
    rank = weight.ndim - 2
    if rank not in (1, 2):
        raise FormatError(f"a weight of {weight.ndim} axes", node=site.name)
    stride = whole(site.fields.get("strides", (1,) * rank))
    dilation = whole(site.fields.get("dilations", (1,) * rank))
    padding = _pads(site, weight.shape[2:], stride, dilation)
    kind: Any = Conv1d if rank == 1 else Conv2d
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    groups = int(site.fields.get("group", 1))
    held = None if bias is None else bias.astype(np.float32)
    return site.put(kind(weight, held, **options, groups=groups))


def _gemm(site: Site) -> str:
    if site.fields.get("transA", 0):
        raise FormatError("transA is not read", node=site.name)
    weight, bias = site.needed(1).astype(np.float32), site.held(2)
    weight = weight if site.fields.get("transB", 0) else weight.T
    weight = weight * np.float32(site.fields.get("alpha", 1.0))
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1), weight.shape[:1]) * site.fields.get("beta", 1.0)
        bias = bias.astype(np.float32)
    return site.put(Linear(weight, bias))


def _matmul(site: Site) -> str:
    weight = site.needed(1).astype(np.float32)
    if weight.ndim != 2:
        raise FormatError(f"a weight of {weight.ndim} axes", node=site.name)
    return site.put(Linear(weight.T))


def _add(site: Site) -> str:
    sides = [k for k in (0, 1) if site.held(k) is None]
    if len(sides) == 2:
        return site.put(Add(), site.source(0), site.source(1))
    if not sides:
        raise FormatError("adds two constants", node=site.name)
    return _biased(site, site.source(sides[0]), site.needed(1 - sides[0]))


def _biased(site: Site, source: str, value: Array) -> str:
    """Put a constant addition into the weights right before it."""
    reader = site.reader
    node, shape = reader.nodes[source], reader.shapes[source]
    alone = not any(e.source == source for e in reader.edges)
    if not isinstance(node, (Linear, Conv1d, Conv2d)) or not alone:
        raise FormatError(
            f"adds a constant behind a {node.kind}, not behind weights of its own", node=site.name
        )
    axis = len(shape) - 1 if isinstance(node, Linear) else 0
    full = np.broadcast_to(value.reshape(value.shape[-len(shape) :]), shape)
    row = np.moveaxis(full, axis, 0).reshape(shape[axis], -1)
    if (row != row[:, :1]).any():
        raise FormatError("adds a constant that varies within a channel", node=site.name)
    old = 0 if node.bias is None else node.bias
    reader.nodes[source] = replace(node, bias=(old + row[:, 0]).astype(np.float32))
    return source


def _scaled(site: Site) -> str:
    """Mul or Div by a constant."""
    k = 1 if site.held(1) is not None else 0
    factor = site.needed(k).astype(np.float64)
    if site.node.op_type == "Div":
        if k == 0 or not factor.all():
            raise FormatError("divides by what is no constant, or by 0", node=site.name)
        factor = 1 / factor
    source = site.source(1 - k)
    rank = len(site.reader.shapes[source])
    return site.put(Scale(factor.reshape(factor.shape[-rank:])), source)


def _norm(site: Site) -> str:
    gain, bias, mean, var = (site.needed(k).astype(np.float32) for k in range(1, 5))
    eps = float(site.fields.get("epsilon", 1e-5))
    return site.put(BatchNorm(mean, var, gain, bias, eps))


def _relu(site: Site) -> str:
    if site.reader.convert != "relu":
        raise FormatError(
            "a Relu, where spiking networks have neurons",
            node=site.name,
            remedy="--convert relu makes them integrate-and-fire neurons",
        )
    if site.node.op_type == "Clip":
        low = site.fields.get("min", site.held(1))
        if low is None or float(np.asarray(low).reshape(-1)[0]) != 0:
            raise FormatError("a Clip that does not begin at 0", node=site.name)
    name = site.put(integrate_and_fire(site.shape, np.ones(())))
    site.reader.activations[site.node.output[0]] = name
    return site.reader.put(f"{name}.worth", Scale(np.ones(())), name)


def _pool(site: Site) -> str:
    kernel = whole(site.fields["kernel_shape"])
    ones = (1,) * len(kernel)
    stride = whole(site.fields.get("strides", ones))
    padding = _pads(site, kernel, stride, ones)
    uneven = site.fields.get("ceil_mode", 0) or whole(site.fields.get("dilations", ones)) != ones
    if uneven:
        raise FormatError("ceil_mode and dilations of a pool are not read", node=site.name)
    if site.node.op_type == "MaxPool":
        site.reader.warnings.append(
            f"{site.name}: the maximum of rates becomes, each step, whether any input spikes"
        )
        return site.put(MaxPool(kernel, stride, padding))
    if any(padding) and not site.fields.get("count_include_pad", 0):
        raise FormatError("an average whose divisor varies at the border", node=site.name)
    return site.put(AvgPool(kernel, stride, padding))


def _global_average(site: Site) -> str:
    kernel = site.shape[1:]
    return site.put(AvgPool(kernel, kernel, (0,) * len(kernel)))


def _mean(site: Site) -> str:
    """ReduceMean over all spatial axes, with or without keeping them."""
    axes = site.fields.get("axes", site.held(1))
    rank = len(site.shape)
    found = sorted(n % (rank + 1) for n in whole(() if axes is None else axes))
    if found != list(range(2, rank + 1)):
        raise FormatError(f"a mean over axes {tuple(found)}, not all spatial ones", node=site.name)
    pooled = _global_average(site)
    if site.fields.get("keepdims", 1):
        return pooled
    return site.reader.put(f"{pooled}.flat", Flatten(), pooled)


def _flatten(site: Site) -> str:
    if site.fields.get("axis", 1) != 1:
        raise FormatError(f"flattens from axis {site.fields['axis']}, not 1", node=site.name)
    return site.put(Flatten())


def _reshape(site: Site) -> str:
    target = whole(site.needed(1))
    size = int(np.prod(site.shape))
    if len(target) < 2 or target.count(-1) + target.count(0) > len(target):
        raise FormatError(f"a shape {target}", node=site.name)
    inner = [site.shape[k] if n == 0 else n for k, n in enumerate(target[1:])]
    if inner.count(-1) == 1:
        inner[inner.index(-1)] = size // max(1, int(-np.prod(inner)))
    return site.put(Reshape(tuple(inner)))


def _same(site: Site) -> str:
    return site.source()


def _last(site: Site) -> str:
    """Softmax leaves the order of its inputs; only the output may lack it."""
    names = {info.name for info in site.reader.model.graph.output}
    if site.node.output[0] not in names:
        raise FormatError(f"a {site.node.op_type} before the output", node=site.name)
    site.reader.warnings.append(f"{site.name}: {site.node.op_type} left out, the order is the same")
    return site.source()


OPERATORS: dict[str, Callable[[Site], str]] = {
    "Add": _add,
    "AveragePool": _pool,
    "BatchNormalization": _norm,
    "Clip": _relu,
    "Conv": _conv,
    "Div": _scaled,
    "Dropout": _same,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "Identity": _same,
    "LogSoftmax": _last,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Mul": _scaled,
    "ReduceMean": _mean,
    "Relu": _relu,
    "Reshape": _reshape,
    "Softmax": _last,
}
