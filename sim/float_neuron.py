"""Neurons and readouts of the float levels: the equations of `Neuron` and `Output` in floats.

Arithmetic is in the dtype of the run (float32, as the frameworks compute, or float64).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..export.ir import Array, Neuron, Output
from ..export.ir.arith import NeuronState


def float_neuron_step(x: Array, node: Neuron, state: NeuronState) -> Array:
    """Advance a float neuron by one step; return its spikes [batch, *shape] in the dtype of x."""
    dtype = x.dtype
    threshold = node.v_threshold.astype(dtype)
    v = _membrane(_current(x, node, state), node, state)
    spikes = _count(v, threshold, node)
    if node.reset == "hard":
        after = np.where(spikes > 0, node.v_reset.astype(dtype), v)
    elif node.reset == "soft":
        after = v - spikes * threshold
    else:
        after = v
    if state.hold is not None:
        held = state.hold > 0
        spikes = np.where(held, dtype.type(0), spikes)
        after = np.where(held, state.v, after)
        state.hold = np.where(spikes > 0, node.refractory_steps, np.maximum(state.hold - 1, 0))
    state.v = after
    if state.spikes is not None:
        state.spikes = spikes
    return spikes


def float_membrane(x: Array, node: Neuron, state: NeuronState) -> Array:
    """Return the membrane potential that a step tests, from the state before it, left as it is."""
    before = replace(state)
    return _membrane(_current(x, node, before), node, before)


def _current(x: Array, node: Neuron, state: NeuronState) -> Array:
    current = x if node.bias_in is None else x + node.bias_in.astype(x.dtype)
    if state.u is None:
        return current
    assert node.alpha is not None
    state.u = node.alpha.astype(x.dtype) * state.u + current
    return state.u


def _membrane(u: Array, node: Neuron, state: NeuronState) -> Array:
    dtype = u.dtype
    drive = u if node.bias is None else u + node.bias.astype(dtype)
    if node.tau is not None:
        total = state.v + (drive - state.v) / node.tau.astype(dtype)
    else:
        assert node.beta is not None
        total = _leak(node.beta.astype(dtype) * state.v, node) + drive
    if state.spikes is not None:
        total = total - state.spikes * node.v_threshold.astype(dtype)
    clamped: Array = total if node.v_min is None else np.maximum(total, node.v_min.astype(dtype))
    return clamped


def _leak(v: Array, node: Neuron) -> Array:
    if node.leak_subtract is None:
        return v
    left = np.maximum(np.abs(v) - node.leak_subtract.astype(v.dtype), 0)
    return np.asarray(np.sign(v) * left, v.dtype)


def _count(v: Array, threshold: Array, node: Neuron) -> Array:
    fired = v > threshold if node.compare == ">" else v >= threshold
    if node.max_spikes_per_step == 1:
        return np.asarray(fired, v.dtype)
    ratio = v / threshold
    count = np.ceil(ratio) - 1 if node.compare == ">" else np.floor(ratio)
    # What fired counts 1 at least: v > th lies an ulp or more above it, so v / th rounds above 1.
    counted: Array = np.where(fired, np.minimum(count, node.max_spikes_per_step), 0).astype(v.dtype)
    return counted


def float_readout_step(x: Array, node: Output, y: Array) -> Array:
    """Return y[t] of a float Output from x[t] and y[t-1]."""
    if node.readout == "none":
        return x
    kept = y if node.beta is None else node.beta.astype(x.dtype) * y
    total = kept + x
    return total if node.bias is None else total + node.bias.astype(x.dtype)
