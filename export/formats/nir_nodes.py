"""What each node of NIR is in our graph: a table from type to rule.

A rule takes a `Site` and returns the nodes, in order, that stand for it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ..ir import (
    Array,
    AvgPool,
    Conv1d,
    Conv2d,
    Flatten,
    FormatError,
    Input,
    Linear,
    Output,
    Reshape,
    Scale,
    Shape,
    SumPool,
)
from ..ir.uneven_padding import same_padding
from .nir_neurons import STATEFUL, Part
from .nir_site import Site
from .nir_structure import shape_of


def _input(site: Site) -> list[Part]:
    return [Input(shape_of(site.name, site.fields, "input_type"))]


def _output(site: Site) -> list[Part]:
    if "shape" in site.fields or "output_type" in site.fields:
        declared = shape_of(site.name, site.fields, "output_type")
        if declared != site.shape:
            site.repairs.note(site.name, f"shape {declared} declared, {site.shape} found")
    return [Output()]


def _affine(site: Site) -> list[Part]:
    weight = site.array("weight").astype(np.float32)
    if weight.ndim < 2:
        raise FormatError(f"a weight of {weight.ndim} axes", node=site.name)
    bias = site.array("bias").astype(np.float32) if "bias" in site.fields else None
    features = site.shape[-1:]
    lead = weight.shape[:-2]
    if lead and lead != site.shape[:-1]:
        raise FormatError(
            f"weight takes ({', '.join(map(str, (*lead, weight.shape[-1])))}), "
            f"what enters is {site.shape}",
            node=site.name,
        )
    while weight.ndim > 2:
        alike = (weight == weight[:1]).all() and (bias is None or (bias == bias[:1]).all())
        if not alike:
            raise FormatError("its weights differ along the leading axes", node=site.name)
        weight, bias = weight[0], None if bias is None else bias[0]
    flat = not lead and len(site.shape) > 1
    if flat and features != weight.shape[1:] == (prod(site.shape),):
        site.repairs.note(site.name, "no Flatten before it, put there")
        return [Flatten(), Linear(weight, bias)]
    if flat:
        site.repairs.note(site.name, "weights without the leading axes of what enters, shared")
    return [Linear(weight, bias)]


def _whole(site: Site, key: str, rank: int, default: int | Shape) -> Shape:
    value = np.asarray(site.fields.get(key, default)).reshape(-1)
    if value.dtype.kind not in "fiu" or value.size == 0 or (value != np.rint(value)).any():
        raise FormatError(f"{key} {value.tolist()[:4]} are no whole numbers", node=site.name)
    if np.abs(value).max() >= 1 << 31:
        raise FormatError(f"{key} {value.tolist()[:4]} is too large", node=site.name)
    both_ends = value.size == 2 * rank and bool((value == value[0]).all())
    if value.size not in (1, rank) and not both_ends:
        raise FormatError(
            f"{key} {value.tolist()[:4]} has {value.size} entries, 1 or {rank} are needed",
            node=site.name,
        )
    return tuple(int(n) for n in (value if value.size == rank else np.repeat(value[:1], rank)))


def _padding(site: Site, kernel: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    """Return the padding in front of each axis and behind it."""
    padding = site.fields.get("padding", 0)
    if not isinstance(padding, str):
        both = _whole(site, "padding", len(dilation), 0)
        return both, both
    if padding == "valid":
        none = (0,) * len(dilation)
        return none, none
    if padding == "same":
        return same_padding(kernel, dilation)
    raise FormatError(
        f"padding {padding[:20]!r}", node=site.name, remedy="known: same, valid or numbers"
    )


def _conv(site: Site) -> list[Part]:
    weight = site.array("weight").astype(np.float32)
    rank = 1 if site.kind == "Conv1d" else 2
    if weight.ndim != rank + 2:
        raise FormatError(f"a weight of {weight.ndim} axes, {rank + 2} are needed", node=site.name)
    declared = site.fields.get("input_shape")
    if declared is None:
        site.repairs.note(site.name, "no input_shape, taken from what enters")
    elif not np.array_equal(_spatial(declared, rank), site.shape[1:]):
        site.repairs.note(site.name, "another input_shape than what enters, not heeded")
    dilation = _whole(site, "dilation", rank, 1)
    padding, padding_end = _padding(site, weight.shape[2:], dilation)
    options: dict[str, Any] = {
        "stride": _whole(site, "stride", rank, 1),
        "dilation": dilation,
        "groups": _whole(site, "groups", 1, 1)[0],
        "padding": padding,
        "padding_end": padding_end,
    }
    bias = site.array("bias").astype(np.float32) if "bias" in site.fields else None
    return [(Conv1d if rank == 1 else Conv2d)(weight, bias, **options)]


def _spatial(declared: Any, rank: int) -> Array:
    """Return a declared input_shape of a convolution; one number stands for all axes."""
    found = np.asarray(declared).reshape(-1)
    return np.repeat(found, rank) if found.size == 1 else found


def _pool(kind: type[Any]) -> Callable[[Site], list[Part]]:
    def convert(site: Site) -> list[Part]:
        if "kernel_size" not in site.fields:
            raise FormatError("kernel_size is missing", node=site.name)
        kernel = _whole(site, "kernel_size", 2, 1)
        stride = _whole(site, "stride", 2, kernel)
        return [kind(kernel, stride, _whole(site, "padding", 2, 0))]

    return convert


def _flatten(site: Site) -> list[Part]:
    """Axes are counted without the batch; writers that count it declare it in input_type."""
    (start,), (end,) = _whole(site, "start_dim", 1, 1), _whole(site, "end_dim", 1, -1)
    rank, declared = len(site.shape), site.fields.get("input_type", ())
    if np.size(declared) == rank + 1:
        site.repairs.note(site.name, "axes counted with the batch, which is left out")
        start, end = (n - 1 if n > 0 else n for n in (start, end))
    first, last = (n + rank if n < 0 else n for n in (start, end))
    if rank == 1 and (first, last) == (1, 0):
        site.repairs.note(site.name, "axes counted with the batch, which is left out")
        first = 0
    if not 0 <= first <= last < rank:
        raise FormatError(f"flattens axes {start}..{end} of {site.shape}", node=site.name)
    if first == 0 and last == rank - 1:
        return [Flatten()]
    joined = prod(site.shape[first : last + 1])
    return [Reshape((*site.shape[:first], joined, *site.shape[last + 1 :]))]


def _scale(site: Site) -> list[Part]:
    return [Scale(site.each("scale"))]


def _identity(site: Site) -> list[Part]:
    """An end of a subgraph that had to stay (`nir_structure`), or a Delay of no time."""
    return [Scale(np.ones(()))]


CONVERTERS: dict[str, Callable[[Site], list[Part]]] = {
    "Input": _input,
    "Output": _output,
    "Affine": _affine,
    "Linear": _affine,
    "Scale": _scale,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "SumPool2d": _pool(SumPool),
    "AvgPool2d": _pool(AvgPool),
    "Flatten": _flatten,
    "Identity": _identity,
    "Delay": _identity,
    **STATEFUL,
}
KNOWN = sorted({*CONVERTERS, "NIRGraph"} - {"Identity"})
"""Types that can be read: all that nir 1.0.8 can write."""
