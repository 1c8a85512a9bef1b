"""What Lava's fixed-point LIF is (lava-nc 0.10.0), for files and for programs alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..ir import Neuron

LOWER = "lower it with --target loihi2"
STATE_SHIFT, STATE_BITS = 6, 24
THRESHOLD_LOW, THRESHOLD_LIMIT = -(1 << 17), (1 << 17) - 1
"""Threshold mantissas of 17 bits; one of 2^17, << 6, is above every v."""
BIAS_LOW, BIAS_HIGH = -(1 << 15), (1 << 15) - 1
"""Bias mantissas: Lava holds int16, and wraps others without a word."""
FIELDS: tuple[tuple[str, object, str], ...] = (
    ("state_shift", STATE_SHIFT, LOWER),
    ("state_bits", STATE_BITS, LOWER),
    ("reset", "hard", "train with hard reset to 0"),
    ("max_spikes_per_step", 1, "use single spikes"),
    ("refractory_steps", 0, "train without a refractory period"),
    ("v_min", None, "train without a lower clamp of v"),
    ("leak_subtract", None, "train with a leak that multiplies"),
    ("v_low", None, LOWER),
    ("v_high", None, LOWER),
)
"""Fields of a Neuron, the value that Lava has, and what to change."""


def neuron_problems(node: Neuron) -> Iterator[tuple[str, str]]:
    """Yield (reason, remedy) of what a neuron has and Lava's LIF has not."""
    for field, wanted, remedy in FIELDS:
        held = getattr(node, field)
        if isinstance(held, np.ndarray) and held.size > 1:  # of values by channel
            yield f"{field} is {held.min()} to {held.max()}, Lava has {wanted}", remedy
        elif held != wanted:
            yield f"{field} is {held}, Lava has {wanted}", remedy
    for field in ("v_reset", "v_init"):
        if getattr(node, field).any():
            yield f"{field} is not 0", "shift the potentials so that it is 0"
    if node.current_based and node.u_range != "wrap":
        yield "u saturates, Lava's wraps", LOWER
