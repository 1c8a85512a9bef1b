"""The node set: frozen dataclasses, one a kind, each with its equation.

Shapes are per sample and per time step: no time and no batch axis. Values on the edges are
`[time, batch, *shape]`. Arrays that belong to a neuron or to a readout broadcast against the
node's own shape by numpy's rules, e.g. `(16, 1, 1)` for a per-channel value of a `(16, 8, 8)` map.
Arrays are held read-only. Which dtypes are legal depends on the level (`check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
Encoding: TypeAlias = Literal["direct", "rate", "latency", "frames", "spikes"]
Reset: TypeAlias = Literal["hard", "soft", "soft_after_decay"]
Compare: TypeAlias = Literal[">", ">="]
Range: TypeAlias = Literal["saturate", "wrap"]
Readout: TypeAlias = Literal["none", "integrate", "leaky", "spike_count"]


def read_only(value: Any) -> Array:
    """Return `value` as a C-contiguous array that cannot be written; itself if it is one already.

    A node made from another shares its weights, so a pass holds what it changes and no more.
    """
    if isinstance(value, np.ndarray):
        flags = value.flags
        if flags.owndata and flags.c_contiguous and not flags.writeable:
            return value
    array = np.array(value, order="C")
    array.flags.writeable = False
    return array


class _Node:
    """Shared by all kinds: array fields become read-only, sequences become tuples."""

    __slots__ = ()
    arity: ClassVar[int | None] = 1
    array_fields: ClassVar[tuple[str, ...]] = ()
    tuple_fields: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in self.array_fields:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, read_only(value))
        for name in self.tuple_fields:
            value = getattr(self, name)
            if isinstance(value, Sequence):
                object.__setattr__(self, name, tuple(int(n) for n in value))
        end = getattr(self, "padding_end", None)
        if end is not None and end == getattr(self, "padding", None):
            object.__setattr__(self, "padding_end", None)  # one form for what is the same

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are built anew, so that their arrays are read-only, too."""
        return type(self), tuple(self.field_values().values())

    @property
    def kind(self) -> str:
        """The name of the node's class: ``"Conv2d"``."""
        return type(self).__name__

    def field_values(self) -> dict[str, Any]:
        """Return the fields by name, in the order of their declaration."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class Input(_Node):
    """The one source: how raw samples become values.

    Float levels: x. Integer level, `direct`: the same frame at every step,
    q = clip(rint(float32(x) / float32(scale)), low, high); other encodings give integers in
    [low, high] as they are.
    `mean` and `std`, where given, normalise raw data first: (x - mean) / std.
    """

    arity: ClassVar[int | None] = 0
    array_fields: ClassVar[tuple[str, ...]] = ("mean", "std")
    tuple_fields: ClassVar[tuple[str, ...]] = ("shape",)

    shape: Shape
    encoding: Encoding = "direct"
    scale: float | None = None
    low: int | None = None
    high: int | None = None
    mean: Array | None = None
    std: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Linear(_Node):
    """y = (W x) << weight_shift (+ b), over the last axis: weight [out, in].

    Integer level: weight int8, no bias (lowering moves it to the neuron or readout), `scale` per
    output row: W_float = scale * W, before what the input's own scale adds. `bits`: width declared.
    """

    array_fields: ClassVar[tuple[str, ...]] = ("weight", "bias", "scale")

    weight: Array
    bias: Array | None = None
    scale: Array | None = None
    weight_shift: int = 0
    bits: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Conv1d(_Node):
    """Cross-correlation over one axis, as torch's: x [in, x], weight [out, in / groups, k].

    Other fields as in `Linear` and torch.nn.Conv1d; padding is zeros in front of each axis, and as
    many behind it unless `padding_end` says another number.
    """

    array_fields: ClassVar[tuple[str, ...]] = ("weight", "bias", "scale")
    tuple_fields: ClassVar[tuple[str, ...]] = ("stride", "padding", "dilation", "padding_end")

    weight: Array
    bias: Array | None = None
    stride: Shape = (1,)
    padding: Shape = (0,)
    dilation: Shape = (1,)
    groups: int = 1
    scale: Array | None = None
    weight_shift: int = 0
    bits: int | None = None
    padding_end: Shape | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Conv2d(_Node):
    """Cross-correlation over two axes, as torch's: x [in, y, x], weight [out, in / groups, ky, kx].

    Other fields as in `Linear` and torch.nn.Conv2d; padding is zeros in front of each axis, and as
    many behind it unless `padding_end` says another number.
    """

    array_fields: ClassVar[tuple[str, ...]] = ("weight", "bias", "scale")
    tuple_fields: ClassVar[tuple[str, ...]] = ("stride", "padding", "dilation", "padding_end")

    weight: Array
    bias: Array | None = None
    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    dilation: Shape = (1, 1)
    groups: int = 1
    scale: Array | None = None
    weight_shift: int = 0
    bits: int | None = None
    padding_end: Shape | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SumPool(_Node):
    """Sum over windows of the trailing len(kernel) axes; padding adds zeros (ends: see Conv1d)."""

    tuple_fields: ClassVar[tuple[str, ...]] = ("kernel", "stride", "padding", "padding_end")

    kernel: Shape
    stride: Shape
    padding: Shape
    padding_end: Shape | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AvgPool(_Node):
    """Mean over windows of the trailing len(kernel) axes, divisor always prod(kernel).

    Float level only: folding makes it a SumPool whose 1 / prod(kernel) moves on.
    """

    tuple_fields: ClassVar[tuple[str, ...]] = ("kernel", "stride", "padding", "padding_end")

    kernel: Shape
    stride: Shape
    padding: Shape
    padding_end: Shape | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MaxPool(_Node):
    """Maximum over windows of the trailing len(kernel) axes; padding counts as minus infinity."""

    tuple_fields: ClassVar[tuple[str, ...]] = ("kernel", "stride", "padding", "padding_end")

    kernel: Shape
    stride: Shape
    padding: Shape
    padding_end: Shape | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BatchNorm(_Node):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, per entry of axis `axis` of the shape.

    Float level only: folding moves it into the weights before it.
    """

    array_fields: ClassVar[tuple[str, ...]] = ("mean", "var", "weight", "bias")

    mean: Array
    var: Array
    weight: Array
    bias: Array
    eps: float = 1e-5
    axis: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Flatten(_Node):
    """All axes as one, in C order."""


@dataclass(frozen=True, slots=True, eq=False)
class Reshape(_Node):
    """The same values in C order under another shape."""

    tuple_fields: ClassVar[tuple[str, ...]] = ("shape",)

    shape: Shape


@dataclass(frozen=True, slots=True, eq=False)
class Transpose(_Node):
    """Axes permuted: output axis k is input axis axes[k]."""

    tuple_fields: ClassVar[tuple[str, ...]] = ("axes",)

    axes: Shape


@dataclass(frozen=True, slots=True, eq=False)
class Add(_Node):
    """The sum of two or more inputs of one shape: spikes (integers) or currents."""

    arity: ClassVar[int | None] = None


@dataclass(frozen=True, slots=True, eq=False)
class MatMul(_Node):
    """a @ b over the last two axes, b first transposed if `transpose_b` (attention)."""

    arity: ClassVar[int | None] = 2

    transpose_b: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Scale(_Node):
    """y = factor * x, factor broadcast to the shape; integer level: int32."""

    array_fields: ClassVar[tuple[str, ...]] = ("factor",)

    factor: Array


@dataclass(frozen=True, slots=True, eq=False)
class Delay(_Node):
    """y[t] = x[t - steps], zero before; the one node that may close a loop (recurrence).

    `shape` is declared, since the loop cannot be inferred through.
    """

    tuple_fields: ClassVar[tuple[str, ...]] = ("shape",)

    shape: Shape
    steps: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Neuron(_Node):
    """A spiking neuron over a map of `shape`; i[t] is the input current.

    Float levels (alpha, beta: retention per step; `alpha` makes it current-based)::

        u[t] = alpha u[t-1] + i[t] + bias_in      current-based; otherwise u[t] = i[t]
        v'   = beta v[t-1] + u[t] + bias          with `tau`: v[t-1] + (u[t] + bias - v[t-1]) / tau

    Integer level (dv, du in 0..4096; `du` makes it current-based; `arith` holds the definition)::

        i[t] = (acc[t] << state_shift) + bias_in
        u[t] = range_u(decay(u[t-1], du) + i[t])  current-based; otherwise u[t] = i[t]
        v'   = saturate(leak(decay(v[t-1], dv)) + u[t] + bias)

    Then, at every level: v' = max(v', v_min); s = v' `compare` v_threshold, or with
    `max_spikes_per_step` n > 1 the count min(n, floor(v' / v_threshold)) for `>=`,
    min(n, ceil(v' / v_threshold) - 1) for `>`, never below 0; `reset`:
    hard: v = v_reset where s; soft: v = v' - s v_threshold; soft_after_decay (snntorch):
    s[t-1] v_threshold is subtracted inside v', and v = v'.
    After a spike v is held and no spike leaves for `refractory_steps`, while u goes on.
    State starts at v_init and 0. `leak_subtract` moves |decayed v| toward zero by a constant.
    `v_scale`: one unit of v in units of the model it came from (per channel), for reading traces.
    """

    array_fields: ClassVar[tuple[str, ...]] = (
        "v_threshold",
        "beta",
        "alpha",
        "tau",
        "dv",
        "du",
        "bias",
        "bias_in",
        "v_reset",
        "v_init",
        "v_min",
        "leak_subtract",
        "v_scale",
    )
    tuple_fields: ClassVar[tuple[str, ...]] = ("shape",)

    shape: Shape
    v_threshold: Array
    beta: Array | None = None
    alpha: Array | None = None
    tau: Array | None = None
    dv: Array | None = None
    du: Array | None = None
    bias: Array | None = None
    bias_in: Array | None = None
    v_reset: Array = field(default_factory=lambda: np.zeros((), np.int32))
    v_init: Array = field(default_factory=lambda: np.zeros((), np.int32))
    v_min: Array | None = None
    leak_subtract: Array | None = None
    v_scale: Array | None = None
    reset: Reset = "hard"
    compare: Compare = ">"
    max_spikes_per_step: int = 1
    refractory_steps: int = 0
    state_shift: int = 0
    state_bits: int = 30
    u_range: Range = "saturate"
    v_low: int | None = None
    v_high: int | None = None

    @property
    def current_based(self) -> bool:
        """Whether the neuron filters its input through a synaptic current u."""
        return self.alpha is not None or self.du is not None

    @property
    def v_limits(self) -> tuple[int, int]:
        """Where v saturates at the integer level: ±(2^(state_bits-1) - 1) unless declared."""
        top = 2 ** (self.state_bits - 1) - 1
        return (
            -top if self.v_low is None else self.v_low,
            top if self.v_high is None else self.v_high,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Output(_Node):
    """The one sink and its readout y; a spike never leaves it.

    none: y[t] = x[t]. integrate, leaky, spike_count, from y[-1] = 0:
    float levels y[t] = beta y[t-1] + x[t] + bias, beta = 1 but for leaky;
    integer level y[t] = saturate(decay(y[t-1], dv) + (x[t] << state_shift) + bias), dv = 0 but
    for leaky. `scale`: one unit of y in the model's units (one for the whole output, so that
    argmax is the prediction).
    """

    array_fields: ClassVar[tuple[str, ...]] = ("bias", "beta", "dv")

    readout: Readout = "integrate"
    bias: Array | None = None
    beta: Array | None = None
    dv: Array | None = None
    state_shift: int = 0
    state_bits: int = 30
    scale: float = 1.0


Node: TypeAlias = (
    Input
    | Linear
    | Conv1d
    | Conv2d
    | SumPool
    | AvgPool
    | MaxPool
    | BatchNorm
    | Flatten
    | Reshape
    | Transpose
    | Add
    | MatMul
    | Scale
    | Delay
    | Neuron
    | Output
)
Weight: TypeAlias = Linear | Conv1d | Conv2d
Conv: TypeAlias = Conv1d | Conv2d
Pool: TypeAlias = SumPool | AvgPool | MaxPool


def paddings(node: Conv | Pool) -> tuple[Shape, Shape]:
    """Return what is padded in front of each axis, and what behind it."""
    return node.padding, node.padding if node.padding_end is None else node.padding_end


def is_padded(node: Conv | Pool) -> bool:
    """Whether anything is padded."""
    front, end = paddings(node)
    return any(front) or any(end)


WEIGHTS = (Linear, Conv1d, Conv2d)
POOLS = (SumPool, AvgPool, MaxPool)
KINDS: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        Input,
        Linear,
        Conv1d,
        Conv2d,
        SumPool,
        AvgPool,
        MaxPool,
        BatchNorm,
        Flatten,
        Reshape,
        Transpose,
        Add,
        MatMul,
        Scale,
        Delay,
        Neuron,
        Output,
    )
}
