"""Neurons and readouts in ONNX operators: `export.ir.arith`, and the float equations of `Neuron`.

Only operators that onnxruntime has for int32 are used: no signed BitShift, no Clip, no Sum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir import Array, Neuron, Output
from ..ir.arith import symmetric_limits
from .onnx_scope import FLOAT, INT32, Scope


@dataclass(slots=True)
class Stepped:
    """The results of one step: the emitted value and, by name, the new states."""

    value: str
    states: dict[str, str] = field(default_factory=dict)


def state_names(node: Neuron | Output) -> tuple[str, ...]:
    """Return the states a node keeps, in order."""
    if isinstance(node, Output):
        return () if node.readout == "none" else ("y",)
    optional = {
        "u": node.current_based,
        "s": node.reset == "soft_after_decay",
        "hold": node.refractory_steps > 0,
    }
    return ("v", *(name for name, kept in optional.items() if kept))


class _Step:
    """Shared between the integer and the float neuron: constants and the reset."""

    def __init__(self, scope: Scope, node: Any, states: dict[str, str], integer: bool) -> None:
        self.scope, self.node, self.states, self.integer = scope, node, states, integer
        self.dtype: Any = np.int32 if integer else np.float32

    def op(self, kind: str, *inputs: str) -> str:
        return self.scope.op(kind, *inputs)

    def array(self, value: Array | Any) -> str:
        return self.scope.constant(value, self.dtype)

    def plus(self, x: str, value: Array | None) -> str:
        return x if value is None or not value.any() else self.op("Add", x, self.array(value))

    def decay(self, x: str, d: Array | None) -> str:
        """sign(x) * ((|x| * (4096 - d)) >> 12) within int32, or retention * x in floats."""
        if d is None:
            return x
        if not self.integer:
            return self.op("Mul", x, self.array(d))
        size, m, one = self.op("Abs", x), self.array(4096 - d.astype(np.int64)), self.array(4096)
        high = self.op("Div", size, one)
        low = self.op("Sub", size, self.op("Mul", high, one))
        kept = self.op("Add", self.op("Mul", high, m), self.op("Div", self.op("Mul", low, m), one))
        return self.op("Mul", kept, self.op("Sign", x))

    def shifted(self, x: str) -> str:
        shift = self.node.state_shift if self.integer else 0
        return self.op("Mul", x, self.array(1 << shift)) if shift else x

    def current(self, x: str) -> str:
        node = self.node
        arrived = self.plus(self.shifted(x), node.bias_in)
        if not node.current_based:
            return arrived
        kept = self.decay(self.states["u"], node.du if self.integer else node.alpha)
        total = self.op("Add", kept, arrived)
        if self.integer:
            wraps = node.u_range == "wrap"
            limits = symmetric_limits(node.state_bits)
            total = self._wrapped(total) if wraps else self.scope.clip(total, *limits)
        return total

    def _wrapped(self, x: str) -> str:
        half = 1 << (self.node.state_bits - 1)
        over = self.op("Greater", x, self.array(half))
        under = self.op("LessOrEqual", x, self.array(-half))
        less, more = (self.op(k, x, self.array(2 * half)) for k in ("Sub", "Add"))
        return self.op("Where", over, less, self.op("Where", under, more, x))

    def membrane(self, u: str) -> str:
        node, v = self.node, self.states["v"]
        if not self.integer and node.tau is not None:
            drive = self.op("Sub", self.plus(u, node.bias), v)
            total = self.op("Add", v, self.op("Div", drive, self.array(node.tau)))
        else:
            kept = self._leaked(self.decay(v, node.dv if self.integer else node.beta))
            total = self.plus(self.op("Add", kept, u), node.bias)
        if "s" in self.states:
            taken = self.op("Mul", self.states["s"], self.array(node.v_threshold))
            total = self.op("Sub", total, taken)
        if self.integer:
            total = self.scope.clip(total, *node.v_limits)
        return total if node.v_min is None else self.op("Max", total, self.array(node.v_min))

    def _leaked(self, v: str) -> str:
        if self.node.leak_subtract is None:
            return v
        left = self.op("Sub", self.op("Abs", v), self.array(self.node.leak_subtract))
        return self.op("Mul", self.op("Max", left, self.array(0)), self.op("Sign", v))

    def fired(self, v: str) -> str:
        kind = "Greater" if self.node.compare == ">" else "GreaterOrEqual"
        return self.op(kind, v, self.array(self.node.v_threshold))

    def count(self, v: str, fired: str) -> str:
        node, most = self.node, self.node.max_spikes_per_step
        if most == 1:
            return self.scope.cast(fired, INT32 if self.integer else FLOAT)
        threshold = self.array(node.v_threshold)
        if self.integer:
            # Where it fired v is positive, and there truncation is the floor.
            above = v if node.compare == ">=" else self.op("Sub", v, self.array(1))
            count = self.op("Div", above, threshold)
        else:
            ratio = self.op("Div", v, threshold)
            up = self.op("Sub", self.op("Ceil", ratio), self.array(1))
            count = self.op(
                "Max", up if node.compare == ">" else self.op("Floor", ratio), self.array(1)
            )
        return self.op("Where", fired, self.op("Min", count, self.array(most)), self.array(0))

    def after(self, v: str, fired: str, spikes: str) -> str:
        node = self.node
        if node.reset == "hard":
            return self.op("Where", fired, self.array(node.v_reset), v)
        if node.reset == "soft":
            return self.op("Sub", v, self.op("Mul", spikes, self.array(node.v_threshold)))
        return v

    def hold(self, spikes: str, after: str) -> tuple[str, str, str]:
        """Return spikes, v and the steps left, with held neurons silent."""
        left, zero = self.states["hold"], self.scope.constant(0)
        held = self.op("Greater", left, zero)
        spikes = self.op("Where", held, self.array(0), spikes)
        after = self.op("Where", held, self.states["v"], after)
        fewer = self.op("Max", self.op("Sub", left, self.scope.constant(1)), zero)
        again = self.scope.constant(self.node.refractory_steps)
        left = self.op("Where", self.op("Greater", spikes, self.array(0)), again, fewer)
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
    new |= {"v": after, "u": u, "s": spikes}
    return Stepped(spikes, {name: new[name] for name in states})


def readout(scope: Scope, node: Output, x: str, states: dict[str, str], integer: bool) -> Stepped:
    """Emit one step of a readout; return y and its state."""
    if node.readout == "none":
        return Stepped(x)
    step = _Step(scope, node, states, integer)
    kept = step.decay(states["y"], node.dv if integer else node.beta)
    y = step.plus(step.op("Add", kept, step.shifted(x)), node.bias)
    if integer:
        y = scope.clip(y, *symmetric_limits(node.state_bits))
    return Stepped(y, {"y": y})
