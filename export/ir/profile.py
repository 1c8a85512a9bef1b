"""Profile and Calibration: what `quantise` is told, as plain data.

A profile is a chip's number format; a calibration is what the float network did on data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from .errors import InputError, UnknownNameError
from .nodes import Compare, Range, Reset

Granularity: TypeAlias = Literal["layer", "channel"]
ScaleRule: TypeAlias = Literal["max", "percentile", "mse"]


@dataclass(frozen=True, slots=True)
class Profile:
    """The number format that a lowering aims at.

    Attributes:
        weight_bits: signed weight width, 2..8.
        state_bits: width w of v and u, saturating at ±(2^(w-1) - 1).
        state_shift: fractional bits of the state; None lets each neuron take 0 where that is exact
            (integrate-and-fire, hard reset, no bias) and 6 elsewhere.
        threshold_step: thresholds are multiples of this; bias_step: biases are.
        threshold_bits: unsigned width of v_threshold / threshold_step.
        granularity: one weight scale a layer, or one an output channel.
        compares, resets: what the neuron of the target can do.
        u_range: what u does beyond its range.
        scale_bits: width of the factor of an integer Scale node.
    """

    name: str = "generic"
    weight_bits: int = 8
    state_bits: int = 30
    state_shift: int | None = None
    threshold_step: int = 1
    bias_step: int = 1
    threshold_bits: int = 31
    granularity: Granularity = "channel"
    compares: tuple[Compare, ...] = (">", ">=")
    resets: tuple[Reset, ...] = ("hard", "soft", "soft_after_decay")
    reset_to_zero: bool = False
    max_spikes_per_step: int | None = None
    u_range: Range = "saturate"
    scale_bits: int = 32

    def with_bits(self, bits: int) -> Profile:
        """Return the profile at another weight width.

        Raises:
            InputError: if `bits` is outside 2..8 or wider than the target's weights.
        """
        limit = PROFILES[self.name].weight_bits if self.name in PROFILES else 8
        if not 2 <= bits <= limit:
            raise InputError(f"{bits} weight bits, allowed 2..{limit}", node=f"profile {self.name}")
        return replace(self, weight_bits=bits)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Profile:
        """Return the profile that `to_json` described."""
        values = dict(data)
        for name in ("compares", "resets"):
            values[name] = tuple(values.get(name, getattr(cls(), name)))
        return cls(**values)


# Loihi's 24-bit state with 6 fractional bits, strict compare, thresholds of 17 bits << 6 and one
# threshold a layer: Lava's fixed-point LIF (lava-nc 0.10.0) and Davies et al., IEEE Micro 2018.
# Biases are multiples of 64 as in netx's HDF5 files (bias_exp = 6).
_LOIHI = Profile(
    name="loihi2",
    weight_bits=8,
    state_bits=24,
    state_shift=6,
    threshold_step=64,
    bias_step=64,
    threshold_bits=17,
    granularity="layer",
    compares=(">",),
    resets=("hard",),
    reset_to_zero=True,
    max_spikes_per_step=1,
    u_range="wrap",
    scale_bits=8,
)
PROFILES: dict[str, Profile] = {
    "generic": Profile(),
    "loihi1": replace(_LOIHI, name="loihi1"),
    "loihi2": _LOIHI,
}


def profile(name: str) -> Profile:
    """Return the profile of this name.

    Raises:
        UnknownNameError: naming the near ones.
    """
    if name not in PROFILES:
        raise UnknownNameError.of("profile", name, PROFILES)
    return PROFILES[name]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the folded float graph did on calibration data.

    Attributes:
        input_high: the largest |input| (after `mean`, `std`), by the scale rule.
        samples: how many samples were seen; time_steps: for how long each.
        data: the data's spec, for provenance. rule: how `input_high` was chosen.
        spike_rates: spikes per neuron and step, by neuron node.
    """

    input_high: float
    samples: int = 0
    time_steps: int = 0
    data: str = ""
    rule: ScaleRule = "max"
    spike_rates: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return asdict(self)
