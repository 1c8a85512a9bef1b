"""What each node of NIR is in our graph, discretised by forward Euler: a table from type to rule.

v += dt/tau (v_leak - v + r i); I += dt/tau_syn (-I + w_in S); integrate-and-fire: v += dt r i.
A rule takes the name, the fields and dt, and returns the nodes, in order, that stand for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    Neuron,
    Node,
    Output,
    Scale,
    Shape,
    SumPool,
)


def array_of(name: str, fields: Mapping[str, Any], key: str) -> Array:
    if key not in fields:
        raise FormatError(f"{key} is missing", node=name)
    found = np.asarray(fields[key])
    if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        raise FormatError(f"{key} holds NaN, infinite or no numbers", node=name)
    return found


def _positive(name: str, fields: Mapping[str, Any], key: str) -> Array:
    found = array_of(name, fields, key)
    if (found <= 0).any():
        raise FormatError(f"{key} {found.min()} must be above 0", node=name)
    return found.astype(np.float64)


def _shape_of(name: str, fields: Mapping[str, Any], key: str) -> Shape:
    inner = fields.get(key, fields.get("shape"))
    value = inner.get(key.removesuffix("_type")) if isinstance(inner, dict) else inner
    if value is None:
        raise FormatError(f"{key} is missing", node=name)
    return tuple(int(n) for n in np.asarray(value).reshape(-1))


def _input(name: str, fields: Mapping[str, Any], dt: float) -> list[Node]:
    return [Input(_shape_of(name, fields, "input_type"))]


def _affine(name: str, fields: Mapping[str, Any], dt: float) -> list[Node]:
    weight = array_of(name, fields, "weight").astype(np.float32)
    bias = array_of(name, fields, "bias").astype(np.float32) if "bias" in fields else None
    while weight.ndim > 2 and (weight == weight[:1]).all():
        weight, bias = weight[0], None if bias is None else bias[0]
    return [Linear(weight, bias)]


def _pair(fields: Mapping[str, Any], key: str, rank: int, default: int | Shape) -> Shape:
    value = np.asarray(fields.get(key, default)).reshape(-1)
    if value.dtype.kind not in "fiu" or (value != np.rint(value)).any():
        raise ValueError(f"{key} {value.tolist()} are no whole numbers")
    return tuple(int(n) for n in (value if value.size == rank else np.repeat(value[:1], rank)))


def _padding(fields: Mapping[str, Any], kernel: Shape, dilation: Shape) -> Shape:
    padding = fields.get("padding", 0)
    if not isinstance(padding, str):
        return _pair(fields, "padding", len(kernel), 0)
    spread = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if padding == "valid":
        return (0,) * len(kernel)
    if padding != "same" or any(s % 2 for s in spread):
        raise ValueError(f"padding {padding!r} of a kernel {kernel} is not the same on both ends")
    return tuple(s // 2 for s in spread)


def _conv(name: str, fields: Mapping[str, Any], dt: float) -> list[Node]:
    weight = array_of(name, fields, "weight").astype(np.float32)
    rank = weight.ndim - 2
    if rank not in (1, 2):
        raise FormatError(f"a weight of {weight.ndim} axes", node=name)
    dilation = _pair(fields, "dilation", rank, 1)
    options: dict[str, Any] = {
        "stride": _pair(fields, "stride", rank, 1),
        "dilation": dilation,
        "groups": int(np.asarray(fields.get("groups", 1)).reshape(-1)[0]),
    }
    options["padding"] = _padding(fields, weight.shape[2:], dilation)
    bias = array_of(name, fields, "bias").astype(np.float32) if "bias" in fields else None
    return [(Conv1d if rank == 1 else Conv2d)(weight, bias, **options)]


def _pool(kind: type[Any]) -> Callable[..., list[Node]]:
    def convert(name: str, fields: Mapping[str, Any], dt: float) -> list[Node]:
        kernel = _pair(fields, "kernel_size", 2, 1)
        stride = _pair(fields, "stride", 2, kernel)
        return [kind(kernel, stride, _pair(fields, "padding", 2, 0))]

    return convert


def _flatten(name: str, fields: Mapping[str, Any], dt: float) -> list[Node]:
    """All axes as one: start_dim 0, or 1 where the writer counts the batch axis."""
    (start,), (end,) = _pair(fields, "start_dim", 1, 0), _pair(fields, "end_dim", 1, -1)
    if start not in (0, 1) or end != -1:
        raise ValueError(f"flattens axes {start}..{end} only, needs all of them")
    return [Flatten()]


def _scale(name: str, fields: Mapping[str, Any], dt: float) -> list[Node]:
    return [Scale(array_of(name, fields, "scale").astype(np.float64))]


def _euler(gain: Array) -> list[Node]:
    """A factor on the current, left out where it is 1."""
    return [] if np.allclose(gain, 1, rtol=1e-12) else [Scale(_compact(gain))]


def _compact(values: Array) -> Array:
    """One value where all are equal: parameters of full shape come from full-shape fields."""
    same = values.size > 0 and (values == values.flat[0]).all()
    return np.asarray(values.flat[0] if same else values, np.float64)


def _membrane(name: str, fields: Mapping[str, Any], beta: Array) -> dict[str, Any]:
    threshold = array_of(name, fields, "v_threshold").astype(np.float64)
    reset = array_of(name, fields, "v_reset") if "v_reset" in fields else np.zeros(())
    return {
        "shape": tuple(int(n) for n in threshold.shape),
        "v_threshold": _compact(threshold),
        "v_reset": _compact(np.asarray(reset, np.float64)),
        "beta": _compact(beta),
    }


def _if(name: str, fields: Mapping[str, Any], dt: float) -> list[Node]:
    r = array_of(name, fields, "r").astype(np.float64)
    return [*_euler(r * dt), Neuron(**_membrane(name, fields, np.ones(1)))]


def _beta(name: str, fields: Mapping[str, Any], key: str, dt: float) -> Array:
    tau = _positive(name, fields, key)
    if (tau < dt).any():
        raise FormatError(
            f"{key} {tau.min()} is below dt {dt}", node=name, remedy="give a smaller --dt"
        )
    return 1 - dt / tau


def _leak(name: str, fields: Mapping[str, Any], beta: Array) -> Array | None:
    """v_leak pulls toward itself: a bias of (1 - beta) v_leak."""
    v_leak = array_of(name, fields, "v_leak") if "v_leak" in fields else np.zeros(())
    return _compact((1 - beta) * v_leak) if v_leak.any() else None


def _lif(name: str, fields: Mapping[str, Any], dt: float) -> list[Node]:
    beta = _beta(name, fields, "tau", dt)
    gain = (1 - beta) * array_of(name, fields, "r")
    bias = _leak(name, fields, beta)
    return [*_euler(gain), Neuron(**_membrane(name, fields, beta), bias=bias)]


def _cuba_lif(name: str, fields: Mapping[str, Any], dt: float) -> list[Node]:
    alpha, beta = (_beta(name, fields, key, dt) for key in ("tau_syn", "tau_mem"))
    w_in = array_of(name, fields, "w_in") if "w_in" in fields else np.ones(())
    gain = (1 - alpha) * w_in * (1 - beta) * array_of(name, fields, "r")
    membrane = _membrane(name, fields, beta)
    neuron = Neuron(**membrane, alpha=_compact(alpha), bias=_leak(name, fields, beta))
    return [*_euler(gain), neuron]


NEURONS = ("IF", "LIF", "CubaLIF")
CONVERTERS: dict[str, Callable[[str, Mapping[str, Any], float], list[Node]]] = {
    "Input": _input,
    "Output": lambda name, fields, dt: [Output()],
    "Affine": _affine,
    "Linear": _affine,
    "Scale": _scale,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "SumPool2d": _pool(SumPool),
    "AvgPool2d": _pool(AvgPool),
    "Flatten": _flatten,
    "Delay": lambda name, fields, dt: [],
    "IF": _if,
    "LIF": _lif,
    "CubaLIF": _cuba_lif,
}
