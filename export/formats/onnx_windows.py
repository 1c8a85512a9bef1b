"""ONNX operators with windows: convolutions, pools, means."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import AvgPool, Conv1d, Conv2d, Flatten, Neuron, Reshape, Scale, Shape, SumPool, Transpose
from ..ir.nodes import POOLS, MaxPool
from .onnx_file import whole
from .onnx_padding import Windows
from .onnx_site import Site

PAD_FIRST = "put a Relu before the pool, or pad it itself"


def conv(site: Site) -> str:
    """Conv; a Pad of zeros before it is its own padding."""
    weight, bias = site.needed(1).astype(np.float32), site.constant(2)
    rank = weight.ndim - 2
    if rank not in (1, 2):
        raise site.refuse(f"a weight of {weight.ndim} axes")
    if whole(site.fields.get("kernel_shape", weight.shape[2:])) != weight.shape[2:]:
        raise site.refuse(f"a kernel_shape that is not {weight.shape[2:]}, its weight's")
    if site.pads is not None and site.pads.fill != "zero":
        raise site.refuse("a Pad of other values than zeros before it", "pad with zeros")
    at = Windows(site, weight.shape[2:])
    kind: Any = Conv1d if rank == 1 else Conv2d
    node = kind(
        weight,
        None if bias is None else bias.astype(np.float32),
        stride=at.stride,
        padding=at.begins,
        padding_end=at.ends,
        dilation=at.dilation,
        groups=int(site.fields.get("group", 1)),
    )
    return site.put(node, site.padded())


def max_pool(site: Site) -> str:
    """MaxPool; zeros padded around what is never below 0 are as good as none."""
    at = _windows(site)
    if site.pads is not None and site.pads.fill == "zero" and not _never_negative(site):
        raise site.refuse(
            "a maximum with the zeros of a Pad, of values that may be less", PAD_FIRST
        )
    _warn_of_maximum(site)
    return site.put(MaxPool(at.kernel, at.stride, at.begins, at.ends), site.padded())


def _windows(site: Site) -> Windows:
    at = Windows(site, whole(site.fields["kernel_shape"]))
    if at.extent != at.kernel:
        raise site.refuse("dilations of a pool are not read", "pool without dilation")
    return at


def _warn_of_maximum(site: Site) -> None:
    site.reader.warnings.append(
        f"{site.name}: the maximum of rates becomes, each step, whether any input spikes"
    )


def _never_negative(site: Site) -> bool:
    """Whether what enters is a rate, pooled or rearranged."""
    reader, name = site.reader, site.padded()
    while isinstance(reader.nodes[name], (*POOLS, Flatten, Reshape, Transpose, Scale)):
        node = reader.nodes[name]
        if isinstance(node, Scale) and (node.factor < 0).any():
            return False
        name = next(edge.source for edge in reader.edges if edge.target == name)
    return isinstance(reader.nodes[name], Neuron)


def average_pool(site: Site) -> str:
    """AveragePool; a divisor that varies at the border is one of each place behind the sums."""
    at = _windows(site)
    if site.pads is not None and site.pads.fill != "zero":
        raise site.refuse("an average with the lowest values of a Pad", "pad with zeros")
    divisors = at.divisors(bool(site.fields.get("count_include_pad", 0)))
    if divisors.min() < 1:
        raise site.refuse("an average of padding alone", "pad less than the kernel")
    if (divisors == np.prod(at.kernel)).all():
        return site.put(AvgPool(at.kernel, at.stride, at.begins, at.ends), site.padded())
    summed = site.put(SumPool(at.kernel, at.stride, at.begins, at.ends), site.padded())
    return site.behind("divisors", Scale(1.0 / divisors), summed)


def global_pool(site: Site) -> str:
    """GlobalAveragePool, GlobalMaxPool."""
    kernel = site.shape[1:]
    if site.kind == "GlobalMaxPool":
        _warn_of_maximum(site)
    kind = MaxPool if site.kind == "GlobalMaxPool" else AvgPool
    return site.put(kind(kernel, kernel, (0,) * len(kernel)))


def reduce(site: Site) -> str:
    """ReduceMean, ReduceSum over axes of a sample: they are moved last and pooled."""
    shape = site.shape
    axes = site.option("axes", 1)
    reduced = sorted(n % (len(shape) + 1) - 1 for n in whole(() if axes is None else axes))
    if not reduced and site.fields.get("noop_with_empty_axes", 0):
        return site.source()
    if not reduced or min(reduced) < 0 or len(set(reduced)) < len(reduced):
        raise site.refuse("reduces the batch axis too", "reduce the axes of a sample only")
    kept = [k for k in range(len(shape)) if k not in reduced]
    here = site.source()
    if reduced != list(range(len(kept), len(shape))):
        here = site.behind("last", Transpose((*kept, *reduced)), here)
    kernel = tuple(shape[k] for k in reduced)
    kind = AvgPool if site.kind == "ReduceMean" else SumPool
    pooled = site.put(kind(kernel, kernel, (0,) * len(kernel)), here)
    ones = tuple(1 if k in reduced else n for k, n in enumerate(shape))
    wanted = ones if site.fields.get("keepdims", 1) == 1 else tuple(shape[k] for k in kept)
    return _shaped(site, pooled, wanted)


def _shaped(site: Site, source: str, shape: Shape) -> str:
    if not shape:
        raise site.refuse("leaves no axis beside the batch", "keep one axis")
    if site.reader.shapes[source] == shape:
        return source
    return site.behind("flat", Flatten() if len(shape) == 1 else Reshape(shape), source)
