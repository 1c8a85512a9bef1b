"""Neuron and readout in ONNX operators: `export.ir.arith` in int32, the float rules in float32.

Every int32 operator used here exists in onnxruntime's CPU kernels. Integer Div truncates toward
zero (ONNX, operator Div), which is what decay needs; no shift of signed integers exists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir import Array, Neuron, Output
from ..ir.arith import DECAY_ONE, symmetric_limits
from .onnx_scope import FLOAT, INT32, Scope


@dataclass(slots=True)
class Stepped:
    """The results of one step: the emitted value and, by name, the new states."""

    value: str
    states: dict[str, str] = field(default_factory=dict)


def state_names(node: Neuron | Output) -> tuple[str, ...]:
    """Return the states a node keeps, in order (see `arith.NeuronState`)."""
    if isinstance(node, Output):
        return () if node.readout == "none" else ("y",)
    optional = {
        "u": node.current_based,
        "spikes": node.reset == "soft_after_decay",
        "hold": node.refractory_steps > 0,
    }
    return ("v", *(name for name, kept in optional.items() if kept))


class _Step:
    """One step under construction; `states` are the tensors of the states before it."""

    def __init__(self, scope: Scope, node: Any, states: dict[str, str], integer: bool) -> None:
        self.scope, self.node, self.states, self.integer = scope, node, states, integer
        self.dtype: Any = np.int32 if integer else np.float32
        self.op = scope.op

    def number(self, value: int) -> str:
        return self.scope.constant(value, self.dtype)

    def field(self, name: str, value: Any = None) -> str:
        """Return the tensor of a field of the node, or of `value` under that name."""
        held = getattr(self.node, name) if value is None else value
        return self.scope.parameter(name, held, self.dtype)

    def plus(self, x: str, name: str) -> str:
        value: Array | None = getattr(self.node, name)
        return x if value is None or not value.any() else self.op("Add", x, self.field(name))

    def kept(self, state: str, decay: Array | None, retention: Array | None) -> str:
        """Return what is left of a state: of integers sign(x) * ((|x| * m) >> 12), m = 4096 - d.

        With x = 4096 h + l, both of the sign of x: h * m + l * m / 4096, toward zero.
        """
        x = self.states[state]
        if not self.integer:
            return (
                x
                if retention is None
                else self.op("Mul", x, self.field(f"keep_{state}", retention))
            )
        if decay is None or not decay.any():
            return x
        m = self.field(f"keep_{state}", DECAY_ONE - decay.astype(np.int64))
        one = self.number(DECAY_ONE)
        high = self.op("Div", x, one)
        low = self.op("Sub", x, self.op("Mul", high, one))
        rest = self.op("Div", self.op("Mul", low, m), one)
        return self.op("Add", self.op("Mul", high, m), rest)

    def clipped(self, x: str, what: str, low: int, high: int) -> str:
        """Return x within [low, high]; Max and Min have int32 kernels everywhere."""
        above = self.op("Max", x, self.field(f"{what}_low", low))
        return self.op("Min", above, self.field(f"{what}_high", high))

    def shifted(self, x: str) -> str:
        shift = self.node.state_shift if self.integer else 0
        return self.op("Mul", x, self.field("state_scale", 1 << shift)) if shift else x

    def current(self, x: str) -> str:
        node = self.node
        arrived = self.plus(self.shifted(x), "bias_in")
        if not node.current_based:
            return arrived
        total = self.op("Add", self.kept("u", node.du, node.alpha), arrived)
        if not self.integer:
            return total
        if node.u_range == "wrap":
            return self.wrapped(total)
        return self.clipped(total, "u", *symmetric_limits(node.state_bits))

    def wrapped(self, x: str) -> str:
        half = 1 << (self.node.state_bits - 1)
        over = self.op("Greater", x, self.field("u_half", half))
        under = self.op("LessOrEqual", x, self.field("u_minus_half", -half))
        less, more = (self.op(k, x, self.field("u_span", 2 * half)) for k in ("Sub", "Add"))
        return self.op("Where", over, less, self.op("Where", under, more, x))

    def membrane(self, u: str) -> str:
        node = self.node
        if not self.integer and node.tau is not None:
            v = self.states["v"]
            drive = self.op("Sub", self.plus(u, "bias"), v)
            total = self.op("Add", v, self.op("Div", drive, self.field("tau")))
        else:
            left = self.leaked(self.kept("v", node.dv, node.beta))
            total = self.plus(self.op("Add", left, u), "bias")
        if "spikes" in self.states:
            taken = self.op("Mul", self.states["spikes"], self.field("v_threshold"))
            total = self.op("Sub", total, taken)
        if self.integer:
            total = self.clipped(total, "v", *node.v_limits)
        return total if node.v_min is None else self.op("Max", total, self.field("v_min"))

    def leaked(self, v: str) -> str:
        if self.node.leak_subtract is None:
            return v
        left = self.op("Sub", self.op("Abs", v), self.field("leak_subtract"))
        return self.op("Mul", self.op("Max", left, self.number(0)), self.op("Sign", v))

    def fired(self, v: str) -> str:
        kind = "Greater" if self.node.compare == ">" else "GreaterOrEqual"
        return self.op(kind, v, self.field("v_threshold"))

    def count(self, v: str, fired: str) -> str:
        node = self.node
        if node.max_spikes_per_step == 1:
            return self.scope.cast(fired, INT32 if self.integer else FLOAT)
        threshold, most = self.field("v_threshold"), self.field("max_spikes_per_step")
        if self.integer:
            # Where it fired v is positive, and there truncation is the floor.
            above = v if node.compare == ">=" else self.op("Sub", v, self.number(1))
            count = self.op("Div", above, threshold)
        else:
            ratio = self.op("Div", v, threshold)
            up = self.op("Sub", self.op("Ceil", ratio), self.number(1))
            whole = up if node.compare == ">" else self.op("Floor", ratio)
            count = self.op("Max", whole, self.number(1))
        return self.op("Where", fired, self.op("Min", count, most), self.number(0))

    def after(self, v: str, fired: str, spikes: str) -> str:
        if self.node.reset == "hard":
            return self.op("Where", fired, self.field("v_reset"), v)
        if self.node.reset == "soft":
            return self.op("Sub", v, self.op("Mul", spikes, self.field("v_threshold")))
        return v

    def hold(self, spikes: str, after: str) -> tuple[str, str, str]:
        """Return spikes, v and the steps left (int32), with held neurons silent."""
        left, zero, one = self.states["hold"], self.scope.constant(0), self.scope.constant(1)
        held = self.op("Greater", left, zero)
        spikes = self.op("Where", held, self.number(0), spikes)
        after = self.op("Where", held, self.states["v"], after)
        fewer = self.op("Max", self.op("Sub", left, one), zero)
        again = self.scope.parameter("refractory_steps", self.node.refractory_steps)
        left = self.op("Where", self.op("Greater", spikes, self.number(0)), again, fewer)
        return spikes, after, left


def neuron(scope: Scope, node: Neuron, x: str, states: dict[str, str], integer: bool) -> Stepped:
    """Emit one step of a neuron; return its spikes and new states."""
    step = _Step(scope, node, states, integer)
    u = step.current(x)
    v = step.membrane(u)
    fired = step.fired(v)
    spikes = step.count(v, fired)
    after = step.after(v, fired, spikes)
    new: dict[str, str] = {}
    if "hold" in states:
        spikes, after, new["hold"] = step.hold(spikes, after)
    new |= {"v": after, "u": u, "spikes": spikes}
    return Stepped(spikes, {name: new[name] for name in states})


def structure(node: Neuron, integer: bool) -> str:
    """Return a name for the operators that `neuron` emits: equal names, equal operators."""

    def given(name: str) -> bool:
        value = getattr(node, name)
        return value is not None and bool(np.any(value))

    parts = {
        "scaled": integer and node.state_shift > 0,
        "bias_in": given("bias_in"),
        "current": node.current_based,
        "current_decay": given("du"),
        "wrap": integer and node.current_based and node.u_range == "wrap",
        "tau": node.tau is not None,
        "decay": given("dv"),
        "leak": node.leak_subtract is not None,
        "bias": given("bias"),
        "v_min": node.v_min is not None,
        "several": node.max_spikes_per_step > 1,
        "refractory": node.refractory_steps > 0,
    }
    words = ["IntegerNeuron" if integer else "FloatNeuron", node.reset]
    words.append("above" if node.compare == ">" else "reaching")
    return "_".join(words + [word for word, holds in parts.items() if holds])


def readout(scope: Scope, node: Output, x: str, states: dict[str, str], integer: bool) -> Stepped:
    """Emit one step of a readout; return y and its state."""
    if node.readout == "none":
        return Stepped(x)
    step = _Step(scope, node, states, integer)
    kept = step.kept("y", node.dv, node.beta)
    y = step.plus(step.op("Add", kept, step.shifted(x)), "bias")
    if integer:
        y = step.clipped(y, "y", *symmetric_limits(node.state_bits))
    return Stepped(y, {"y": y})
