"""The numbers that Lava's fixed-point LIF has (lava-nc 0.10.0), as its files hold them."""

from __future__ import annotations

STATE_SHIFT, STATE_BITS = 6, 24
THRESHOLD_LOW, THRESHOLD_LIMIT = -(1 << 17), (1 << 17) - 1
"""Threshold mantissas of 17 bits; one of 2^17, << 6, is above every v."""
BIAS_LOW, BIAS_HIGH = -(1 << 15), (1 << 15) - 1
"""Bias mantissas: Lava holds int16, and wraps others without a word."""
