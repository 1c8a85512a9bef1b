"""Random neurons over every field, and the thresholds that make them fire."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from spikewright.export.ir import Array, Neuron, Shape
from spikewright.sim.trace import NeuronTrace

Rng = np.random.Generator


def _array(rng: Rng, shape: Shape, low: int, high: int) -> Array:
    """int32 in [low, high]: one for all, one a channel, or one a neuron."""
    kinds: list[Shape] = [(), (shape[0], *(1,) * (len(shape) - 1)), shape]
    chosen = kinds[int(rng.integers(3))]
    return rng.integers(low, high + 1, chosen).astype(np.int32)


def random_neuron(rng: Rng, shape: Shape) -> Neuron:
    """Return a neuron of random kind; `awake` later sets its threshold and widths."""

    def maybe(probability: float, low: int, high: int) -> Any:
        return _array(rng, shape, low, high) if rng.random() < probability else None

    current_based = rng.random() < 0.35
    reset = str(rng.choice(["hard", "soft", "soft_after_decay"], p=[0.5, 0.3, 0.2]))
    return Neuron(
        shape,
        np.int32(2**29),
        dv=maybe(0.7, 0, 4096),
        du=_array(rng, shape, 0, 4096) if current_based else None,
        bias=maybe(0.4, -200, 200),
        bias_in=maybe(0.5, -200, 200) if current_based else None,
        v_reset=_array(rng, shape, -20, 20) if rng.random() < 0.3 else np.int32(0),
        v_init=_array(rng, shape, -20, 20) if rng.random() < 0.3 else np.int32(0),
        v_min=maybe(0.2, -300, -20),
        leak_subtract=maybe(0.2, 0, 60),
        reset=reset,  # type: ignore[arg-type]
        compare=">" if rng.random() < 0.5 else ">=",
        max_spikes_per_step=int(rng.integers(2, 6)) if rng.random() < 0.25 else 1,
        refractory_steps=int(rng.integers(1, 4)) if rng.random() < 0.2 else 0,
        state_shift=int(rng.choice([0, 6, rng.integers(1, 8)])),
        u_range="wrap" if rng.random() < 0.5 else "saturate",
    )


def awake(node: Neuron, silent: NeuronTrace, current_limit: int, rng: Rng) -> Neuron:
    """Return the neuron with a threshold that fires on 3..35 % of what it was seen to hold.

    Every second one also gets a state so narrow that what arrives saturates it.
    """
    assert silent.v is not None
    v = silent.v.astype(np.int64)
    bits = _state_bits(node, v, current_limit, rng)
    top = 2 ** (bits - 1) - 1
    limits = {"v_low": -top // 2, "v_high": top} if rng.random() < 0.15 else {}
    quantile = np.quantile(np.clip(v, -top, top), rng.uniform(0.65, 0.97))
    needs_positive = node.reset != "hard" or node.max_spikes_per_step > 1
    threshold = int(np.clip(quantile, 1 if needs_positive else -top, top - 1))
    if node.v_threshold.ndim == 0 and rng.random() < 0.4:
        spread = max(1, abs(threshold) // 8)
        values = threshold + rng.integers(-spread, spread + 1, node.shape)
    else:
        values = np.array(threshold)
    low, high = limits.get("v_low", -top), limits.get("v_high", top)
    return replace(
        node,
        v_threshold=np.maximum(values, 1 if needs_positive else -top).astype(np.int32),
        v_reset=np.clip(node.v_reset, low, high).astype(np.int32),
        v_init=np.clip(node.v_init, low, high).astype(np.int32),
        state_bits=bits,
        **limits,
    )


def _state_bits(node: Neuron, v: Array, current_limit: int, rng: Rng) -> int:
    """A width for the state: wide, or so narrow that seen potentials leave it.

    A wrapping u needs |i| < 2^bits (`bounds`), so it is narrow only as far as that allows.
    """
    least = 2
    if node.current_based and node.u_range == "wrap":
        extra = 0 if node.bias_in is None else int(np.abs(node.bias_in).max())
        least = int((current_limit << node.state_shift) + extra + 1).bit_length()
    if rng.random() < 0.5 or (least > 2 and rng.random() < 0.7):
        seen = int(np.quantile(np.abs(v), rng.uniform(0.5, 0.95)))
        return int(np.clip(max(seen.bit_length() + 1, 5), least, 30))
    return int(np.clip(24, least, 30))
