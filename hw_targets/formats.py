"""Number formats and node kinds: the limits that hold for each node alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..export.ir import WEIGHTS, Delay, Graph, Input, Neuron, Output, Scale, SumPool
from ..export.ir.arith import DECAY_ONE
from .mapping import at_most
from .shift import has_exponents, shifted_bits
from .target import Target
from .violation import Violation

REMEDIES = {
    "MaxPool": "use strided convolutions or sum pooling",
    "MatMul": "attention has no form on this chip; use a convolutional network",
    "Scale": "use the residual rule sew_add, or another target",
}


def broken_formats(graph: Graph, target: Target) -> list[Violation]:
    """Return what single nodes of an integer graph break."""
    found: list[Violation] = []
    for name, node in graph.nodes.items():
        found += _kind(name, node, target)
        for kinds, rule in RULES:
            if isinstance(node, kinds):
                found += rule(name, node, target)
    return found


def _kind(name: str, node: Any, target: Target) -> Iterator[Violation]:
    allowed = target.supports.get("nodes")
    if allowed is not None and node.kind not in allowed:
        remedy = REMEDIES.get(node.kind, "leave it out or choose another target")
        yield Violation(name, "node kind", ", ".join(allowed), node.kind, remedy)


def _choice(name: str, key: str, value: str, target: Target, remedy: str) -> Iterator[Violation]:
    allowed = target.supports.get(key)
    if allowed is not None and value not in allowed:
        yield Violation(name, key, ", ".join(allowed), value, remedy)


def _lowered(target: Target) -> str:
    return f"lower it with --target {target.name}"


def _weight(name: str, node: Any, target: Target) -> Iterator[Violation]:
    bits = (node.bits or 8) if has_exponents(target) else shifted_bits(node)
    yield from at_most(name, "weight_bits", bits, target, "use fewer --bits")


def _input(name: str, node: Input, target: Target) -> Iterator[Violation]:
    if node.encoding in ("rate", "latency", "spikes", "frames") and node.high is not None:
        remedy = "clip the events of a step, or use shorter steps"
        yield from at_most(name, "input_spikes_per_step", node.high, target, remedy)


def _resets(name: str, node: Neuron, target: Target) -> Iterator[Violation]:
    others = target.supports.get("resets", (node.reset,))
    yield from _choice(name, "resets", node.reset, target, f"retrain with reset {others[0]}")
    yield from _choice(name, "compares", node.compare, target, _lowered(target))


def _widths(name: str, node: Neuron, target: Target) -> Iterator[Violation]:
    lowered = _lowered(target)
    yield from at_most(name, "state_bits", node.state_bits, target, lowered)
    bits = target.limit("threshold_bits")
    if bits is not None:
        largest = int(np.abs(node.v_threshold).max())
        step = 1 << node.state_shift
        if largest % step or largest // step >= 1 << bits:
            found = f"{largest} (in steps of {step})"
            yield Violation(name, "threshold_bits", f"{bits} bits", found, lowered)
    if node.leak_subtract is not None:
        needed = int(node.leak_subtract.max()).bit_length()
        yield from at_most(name, "leak_bits", needed, target, "use a smaller leak")
    remedy = "train with single spikes"
    yield from at_most(name, "spikes_per_step", node.max_spikes_per_step, target, remedy)


def _leaks(name: str, node: Neuron, target: Target) -> Iterator[Violation]:
    memory = target.supports.get("memory")
    decays = [value for value in (node.dv, node.du) if value is not None and value.any()]
    if memory == ("none",):
        if node.dv is None or (node.dv != DECAY_ONE).any() or node.current_based:
            remedy = "train with T = 1 and tau = 1, so that no potential outlives its step"
            yield Violation(name, "memory", "none", "v is kept from step to step", remedy)
        return
    kind = "none"
    if node.leak_subtract is not None and node.leak_subtract.any():
        kind = "subtract"
    if decays or node.current_based:
        kind = "shift" if all(_is_shift(value) for value in decays) else "decay"
    others = target.supports.get("leaks", (kind,))
    if kind not in others and not (kind == "shift" and "decay" in others):
        ways = {"none": "integrate-and-fire neurons (no tau)", "shift": "tau = 2^k"}
        remedy = f"train with {ways.get(others[-1], ways['none'])}, or use another target"
        yield Violation(name, "leaks", ", ".join(others), kind, remedy)
    bits = target.limit("decay_bits")
    step = DECAY_ONE >> bits if bits is not None else 1
    if step > 1 and any((value % step).any() for value in decays):
        found = f"{max(int(v.max()) for v in decays)} / {DECAY_ONE}"
        yield Violation(name, "decay_bits", f"{bits} bits", found, "use a coarser tau")


def _is_shift(decay: Any) -> bool:
    """Whether each decay is 2^-k of the whole."""
    return bool(((decay & (decay - 1)) == 0).all())


def _delay(name: str, node: Delay, target: Target) -> Iterator[Violation]:
    yield from at_most(name, "delay_steps", node.steps, target, "use shorter delays")


def _scale(name: str, node: Scale, target: Target) -> Iterator[Violation]:
    needed = int(np.abs(node.factor.astype(np.int64)).max()).bit_length() + 1
    remedy = "use the residual rule sew_add, or fewer --bits"
    yield from at_most(name, "scale_bits", needed, target, remedy)


def _readout(name: str, node: Output, target: Target) -> Iterator[Violation]:
    remedy = "end in spiking neurons and count their spikes"
    yield from _choice(name, "readouts", node.readout, target, remedy)


def _pool(name: str, node: SumPool, target: Target) -> Iterator[Violation]:
    allowed = target.supports.get("pools")
    if not allowed:
        return
    plain = node.kernel == node.stride and not any(node.padding)
    if not plain or any(str(k) not in allowed for k in node.kernel):
        found = f"{node.kernel} stride {node.stride}"
        remedy = "pool windows that do not overlap, of one of these sizes"
        yield Violation(name, "pools", ", ".join(allowed), found, remedy)


RULES: tuple[tuple[Any, Callable[..., Iterator[Violation]]], ...] = (
    (WEIGHTS, _weight),
    (Input, _input),
    (Neuron, _resets),
    (Neuron, _widths),
    (Neuron, _leaks),
    (Delay, _delay),
    (Scale, _scale),
    (Output, _readout),
    (SumPool, _pool),
)
