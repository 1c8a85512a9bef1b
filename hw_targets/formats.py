"""Number formats and node kinds: the limits that hold for each node alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..export.ir import (
    PROFILES,
    WEIGHTS,
    Array,
    Delay,
    Graph,
    Input,
    Neuron,
    Output,
    Scale,
    SumPool,
)
from ..export.ir.arith import DECAY_ONE
from ..export.ir.equal_rules import plainest, reset_remedy
from ..export.ir.nodes import is_padded
from .mapping import at_most, host_nodes
from .shift import has_exponents, shifted_bits
from .target import Target
from .violation import Violation

REMEDIES = {
    "MaxPool": "use strided convolutions or sum pooling",
    "MatMul": "attention has no form on this chip; use a convolutional network",
    "Scale": "use the residual rule sew_add, average with counted padding, or another target",
}


def broken_formats(graph: Graph, target: Target) -> list[Violation]:
    """Return what single nodes of an integer graph break; the host has no limits."""
    found: list[Violation] = []
    host = host_nodes(graph, target)
    for name, node in graph.nodes.items():
        if name in host:
            continue
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
        yield Violation(name, key, ", ".join(allowed) or "none", value, remedy)


def _lowered(target: Target) -> str:
    return f"lower it with --target {target.name}"


def _weight(name: str, node: Any, target: Target) -> Iterator[Violation]:
    bits = (node.bits or 8) if has_exponents(target) else shifted_bits(node)
    yield from at_most(name, "weight_bits", bits, target, "use fewer --bits")


def _input(name: str, node: Input, target: Target) -> Iterator[Violation]:
    """Yield what the events of an input break; analog frames are the chip's or the host's."""
    if node.encoding == "direct":
        return
    # Frames of 0 and 1 are spikes; counts are the matter of the limit where there is one.
    binary = node.high is not None and node.high <= 1
    if node.encoding != "frames" or not (binary or target.limit("input_spikes_per_step")):
        yield from _choice(name, "inputs", node.encoding, target, "clip its frames to 0 and 1")
    if node.high is not None:
        remedy = "clip the events of a step, or use shorter steps"
        yield from at_most(name, "input_spikes_per_step", node.high, target, remedy)
    graded = "direct" in target.supports.get("inputs", ("direct",))
    if node.low is not None and node.low < 0 and not graded:
        remedy = "give each sign a channel of its own (ON and OFF events)"
        yield Violation(name, "input sign", "0 and above", f"values down to {node.low}", remedy)


def _resets(name: str, node: Neuron, target: Target) -> Iterator[Violation]:
    others = target.supports.get("resets", (node.reset,))
    plain = plainest(node)
    yield from _choice(name, "resets", plain.reset, target, reset_remedy(plain, others))
    yield from _choice(name, "compares", node.compare, target, _lowered(target))


def _biases(name: str, node: Neuron, target: Target) -> Iterator[Violation]:
    if node.bias is not None and node.bias.any():
        remedy = "train without biases and BatchNorm (a bias in a convolution or Linear counts too)"
        yield from _choice(name, "biases", "constant", target, remedy)


def _widths(name: str, node: Neuron, target: Target) -> Iterator[Violation]:
    lowered = _lowered(target)
    yield from at_most(name, "state_bits", node.state_bits, target, lowered)
    bits = target.limit("threshold_bits")
    if bits is not None:
        largest = int(np.abs(node.v_threshold).max())
        step = 1 << node.state_shift
        if (node.v_threshold % step).any() or largest // step >= 1 << bits:
            found = f"{largest} (in steps of {step})"
            yield Violation(name, "threshold_bits", f"{bits} bits", found, lowered)
    if node.leak_subtract is not None:
        needed = int(node.leak_subtract.max()).bit_length()
        yield from at_most(name, "leak_bits", needed, target, "use a smaller leak")
    remedy = "train with single spikes"
    yield from at_most(name, "spikes_per_step", node.max_spikes_per_step, target, remedy)


def _rule(name: str, node: Neuron, target: Target) -> Iterator[Violation]:
    """Yield where a neuron follows another rule than the one of the target's number format."""
    form, lowered = PROFILES[target.profile], _lowered(target)
    if form.reset_to_zero and node.reset == "hard" and node.v_reset.any():
        remedy = "shift the potentials so that v_reset is 0"
        yield Violation(name, "v_reset", "0", f"{_furthest(node.v_reset)}", remedy)
    if form.state_shift is not None and node.state_shift != form.state_shift:
        found = f"{node.state_shift} fractional bits"
        yield Violation(name, "state_shift", f"{form.state_shift}", found, lowered)
    widest = target.limit("state_bits")
    if form.name != "generic" and widest is not None and node.state_bits <= widest:
        like = replace(
            node, state_bits=form.state_bits, v_low=form.v_low, v_high=form.v_high
        ).v_limits
        if node.v_limits != like:
            allowed, found = (
                f"saturating at {low} and {high}" for low, high in (like, node.v_limits)
            )
            yield Violation(name, "state range", allowed, found, lowered)
    if node.bias is not None and (node.bias % form.bias_step).any():
        found = f"{node.bias.reshape(-1)[np.argmax(node.bias % form.bias_step != 0)]}"
        yield Violation(name, "bias_step", f"multiples of {form.bias_step}", found, lowered)


def _furthest(values: Array) -> int:
    flat = values.reshape(-1)
    return int(flat[np.argmax(np.abs(flat.astype(np.int64)))])


def _options(name: str, node: Neuron, target: Target) -> Iterator[Violation]:
    there = {
        "refractory": node.refractory_steps > 0,
        "v_min": node.v_min is not None,
        "v_init": bool(node.v_init.any()),
    }
    for option, used in there.items():
        if used:
            remedy = f"train without {option}, or use another target"
            yield from _choice(name, "neuron_options", option, target, remedy)


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
    plain = node.kernel == node.stride and not is_padded(node)
    if not plain or any(str(k) not in allowed for k in node.kernel):
        found = f"{node.kernel} stride {node.stride}"
        remedy = "pool windows that do not overlap, of one of these sizes"
        yield Violation(name, "pools", ", ".join(allowed), found, remedy)


RULES: tuple[tuple[Any, Callable[..., Iterator[Violation]]], ...] = (
    (WEIGHTS, _weight),
    (Input, _input),
    (Neuron, _resets),
    (Neuron, _biases),
    (Neuron, _widths),
    (Neuron, _rule),
    (Neuron, _options),
    (Neuron, _leaks),
    (Delay, _delay),
    (Scale, _scale),
    (Output, _readout),
    (SumPool, _pool),
)
