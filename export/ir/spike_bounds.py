"""The most spikes that a neuron can emit in a step, proven from what enters it.

A membrane that did not fire is at most `below` = v_threshold (`>`) or v_threshold - 1 (`>=`), and
what a soft reset leaves of one that did is no more, unless `max_spikes_per_step` capped it. So,
with V = max(below, v_init, and v_reset where hard) and U the largest u + bias, v' <= D(V) + U =: W,
D the decay and leak, which are monotone and D(s v_threshold + r) <= s v_threshold + D(r) (so that
`soft_after_decay`, which subtracts after the decay, is bounded alike). A cap that is reached leaves
at most W - n v_threshold: either that is no more than V, and V still holds, or W counts n spikes
and more, which the cap bounds. W counts about 1 + U / v_threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arith import DECAY_ONE, decay, leak_toward_zero, saturate, spike_count
from .nodes import Array, Neuron

Ints = NDArray[np.int64]


def most_spikes(node: Neuron, low: Ints, high: Ints) -> Ints:
    """Return the most spikes a step, broadcastable to the shape of the neuron.

    Args:
        low, high: of the accumulator that enters, broadcastable alike.
    """
    if node.max_spikes_per_step == 1 or _forgets_subtraction(node):
        return np.asarray(node.max_spikes_per_step, np.int64)
    highest = _kept(node, _resting(node)) + _current(node, low, high)
    highest = saturate(highest, *node.v_limits)
    if node.v_min is not None:
        highest = np.maximum(highest, node.v_min)
    return np.asarray(spike_count(highest, _wide(node.v_threshold), node))


def _forgets_subtraction(node: Neuron) -> bool:
    """While v is held, the subtraction that `soft_after_decay` owes is dropped, and v may grow."""
    return node.reset == "soft_after_decay" and node.refractory_steps > 0


def _resting(node: Neuron) -> Ints:
    """Return the largest v between steps (of `soft_after_decay`: after what it still subtracts)."""
    below = _wide(node.v_threshold) - (node.compare == ">=")
    resting = np.maximum(below, _wide(node.v_init))
    return np.maximum(resting, _wide(node.v_reset)) if node.reset == "hard" else resting


def _kept(node: Neuron, v: Ints) -> Ints:
    if node.dv is not None:
        v = decay(v, _wide(node.dv))
    return v if node.leak_subtract is None else leak_toward_zero(v, _wide(node.leak_subtract))


def _current(node: Neuron, low: Ints, high: Ints) -> Ints:
    """Return the largest u + bias."""
    entering = _wide(0 if node.bias_in is None else node.bias_in)
    lowest, highest = ((x << node.state_shift) + entering for x in (low, high))
    if node.current_based:
        highest = _filtered(node, lowest, highest)
    return highest if node.bias is None else highest + _wide(node.bias)


def _filtered(node: Neuron, lowest: Ints, highest: Ints) -> Ints:
    """Return the largest u of u = decay(u) + i: at most i 4096 / du, and within the range of u."""
    assert node.du is not None
    half, du = 1 << (node.state_bits - 1), _wide(node.du)
    wraps = node.u_range == "wrap"  # from below, too: then the larger magnitude counts
    largest = np.maximum(np.maximum(highest, -lowest) if wraps else highest, 0)
    settled = largest * DECAY_ONE // np.maximum(du, 1)
    unbounded = (du == 0) & (largest > 0)
    return np.minimum(np.where(unbounded, half, settled), half)


def _wide(values: Array | Any) -> Ints:
    return np.asarray(values, np.int64)
