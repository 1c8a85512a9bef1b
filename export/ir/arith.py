"""The one definition of the integer arithmetic. Every executor equals it, value for value.

All functions take and return int64 numpy arrays that hold values proven to lie within int32
(`bounds`), except where said. Nothing here rounds but `decay` and `quantise_input`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .nodes import Array, Input, Neuron, Output, Shape

DECAY_ONE = 4096
"""A decay of 4096 forgets everything in one step; 0 keeps everything (12 bits, as Loihi)."""
Ints = NDArray[np.int64]


def decay(x: Ints, d: Ints) -> Ints:
    """Return sign(x) * ((|x| * (4096 - d)) >> 12): toward zero, Loihi's and Lava's rule."""
    kept: Ints = np.sign(x) * ((np.abs(x) * (DECAY_ONE - d)) >> 12)
    return kept


def leak_toward_zero(x: Ints, amount: Ints) -> Ints:
    """Return x moved toward zero by `amount`, not past it."""
    return np.sign(x) * np.maximum(np.abs(x) - amount, 0)


def saturate(x: Ints, low: int, high: int) -> Ints:
    """Return x clipped to [low, high]."""
    clipped: Ints = np.clip(x, low, high)
    return clipped


def wrap(x: Ints, bits: int) -> Ints:
    """Return x in (-2^(bits-1), 2^(bits-1)], corrected by 2^bits once, as Loihi's u does."""
    half = 1 << (bits - 1)
    return np.where(x > half, x - 2 * half, np.where(x <= -half, x + 2 * half, x))


def symmetric_limits(bits: int) -> tuple[int, int]:
    """Return ±(2^(bits-1) - 1)."""
    top = (1 << (bits - 1)) - 1
    return -top, top


def round_half_even(x: Any) -> Ints:
    """Return the nearest integers to the float64 values x, ties to even (biases)."""
    return np.rint(np.asarray(x, np.float64)).astype(np.int64)


def integer_threshold(theta: Any, compare: str) -> Ints:
    """Return floor(theta) for `>`, ceil(theta) for `>=`: then no integer v decides otherwise.

    A theta within 1e-12 (relative) of an integer is that integer, missed by a division's rounding.
    """
    near = np.rint(theta)
    theta = np.where(np.abs(theta - near) <= 1e-12 * np.abs(near), near, theta)
    rounded = np.floor(theta) if compare == ">" else np.ceil(theta)
    return np.asarray(rounded, np.float64).astype(np.int64)


def quantise_input(x: Array, node: Input) -> Ints:
    """Return clip(rint(float32(x) / float32(scale)), low, high) of already normalised values.

    Raises nothing: `node` is an integer-level Input with `direct` encoding.
    """
    assert node.scale is not None and node.low is not None and node.high is not None
    quotient = x.astype(np.float32) / np.float32(node.scale)
    codes: Ints = np.clip(np.rint(quotient), node.low, node.high).astype(np.int64)
    return codes


@dataclass(slots=True)
class NeuronState:
    """What a neuron keeps between steps; each array is [batch, *shape].

    v after reset; u, where current-based; spikes of the last step, where the reset needs them;
    hold: steps of refractoriness left.
    """

    v: Array
    u: Array | None = None
    spikes: Array | None = None
    hold: Array | None = None


def initial_state(node: Neuron, batch: int, dtype: Any = np.int64) -> NeuronState:
    """Return the state before the first step: v_init, no current, no spike."""
    full: Shape = (batch, *node.shape)

    def zeros() -> Array:
        return np.zeros(full, dtype)

    return NeuronState(
        v=np.broadcast_to(node.v_init.astype(dtype), full).copy(),
        u=zeros() if node.current_based else None,
        spikes=zeros() if node.reset == "soft_after_decay" else None,
        hold=np.zeros(full, np.int64) if node.refractory_steps else None,
    )


def synaptic_current(acc: Ints, node: Neuron, state: NeuronState) -> Ints:
    """Return u[t] (see `Neuron`), storing it where the neuron is current-based."""
    current: Ints = acc << node.state_shift
    if node.bias_in is not None:
        current = np.add(current, node.bias_in, dtype=np.int64)
    if state.u is None:
        return current
    assert node.du is not None
    total = decay(state.u, node.du.astype(np.int64)) + current
    if node.u_range == "wrap":
        state.u = wrap(total, node.state_bits)
    else:
        state.u = saturate(total, *symmetric_limits(node.state_bits))
    return state.u


def membrane(u: Ints, node: Neuron, state: NeuronState) -> Ints:
    """Return v' (see `Neuron`), before the comparison."""
    kept: Ints = state.v
    if node.dv is not None:
        kept = decay(kept, node.dv.astype(np.int64))
    if node.leak_subtract is not None:
        kept = leak_toward_zero(kept, node.leak_subtract.astype(np.int64))
    total = kept + u
    if node.bias is not None:
        total = total + node.bias
    if state.spikes is not None:
        total = total - state.spikes * node.v_threshold.astype(np.int64)
    total = saturate(total, *node.v_limits)
    return total if node.v_min is None else np.maximum(total, node.v_min)


def spike_count(v: Ints, threshold: Ints, node: Neuron) -> Ints:
    """Return how many spikes each neuron emits from v' (0 or 1, or up to max_spikes_per_step)."""
    fired = v > threshold if node.compare == ">" else v >= threshold
    if node.max_spikes_per_step == 1:
        return fired.astype(np.int64)
    # For integers ceil(v / th) - 1 == floor((v - 1) / th).
    count = (v - 1) // threshold if node.compare == ">" else v // threshold
    return np.where(fired, np.minimum(count, node.max_spikes_per_step), 0)


def neuron_step(acc: Ints, node: Neuron, state: NeuronState) -> Ints:
    """Advance an integer-level neuron by one step; return its spikes [batch, *shape].

    `acc` is the exact integer sum that arrives, [batch, *shape]; `state` is updated in place.
    """
    threshold = node.v_threshold.astype(np.int64)
    u = synaptic_current(acc, node, state)
    v = membrane(u, node, state)
    spikes = spike_count(v, threshold, node)
    if node.reset == "hard":
        after = np.where(spikes > 0, node.v_reset.astype(np.int64), v)
    elif node.reset == "soft":
        after = v - spikes * threshold
    else:
        after = v
    if state.hold is not None:
        held = state.hold > 0
        spikes = np.where(held, 0, spikes)
        after = np.where(held, state.v, after)
        state.hold = np.where(spikes > 0, node.refractory_steps, np.maximum(state.hold - 1, 0))
    state.v = after
    if state.spikes is not None:
        state.spikes = spikes
    return spikes


def readout_step(x: Ints, node: Output, y: Ints) -> Ints:
    """Return y[t] of an integer-level Output from x[t] and y[t-1]."""
    if node.readout == "none":
        return x
    kept = y if node.dv is None else decay(y, node.dv.astype(np.int64))
    total = kept + (x << node.state_shift)
    if node.bias is not None:
        total = total + node.bias
    return saturate(total, *symmetric_limits(node.state_bits))
