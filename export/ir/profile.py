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
GROUPED_THRESHOLDS = "grouped_thresholds"
"""Key of a graph's metadata: by neuron node `{neurons, moved, distinct, kept, largest_move}`."""
YOUNGER = ("thresholds_per_layer", "bias_limit")
"""Fields that came after the first archives were written; None by default."""
Leak: TypeAlias = Literal["none", "decay", "shift", "subtract"]


@dataclass(frozen=True, slots=True)
class Profile:
    """The number format that a lowering aims at.

    Attributes:
        weight_bits: signed weight width, 2..8.
        state_bits: width w of v and u, saturating at ±(2^(w-1) - 1).
        state_shift: fractional bits of the state; None lets each neuron take 0 where that is exact
            (integrate-and-fire, hard reset, no bias) and 6 elsewhere.
        threshold_step: thresholds are multiples of this; bias_step: biases are.
        bias_limit: the signed mantissa of a bias lies in -bias_limit - 1..bias_limit; a layer whose
            biases ask for more takes the double step, which is the widest there is.
        threshold_bits: unsigned width of v_threshold / threshold_step.
        thresholds_per_layer: distinct thresholds that the neurons of a layer may have.
        granularity: one weight scale a layer, or one an output channel.
        compares, resets: what the neuron of the target can do.
        u_range: what u does beyond its range.
        scale_bits: width of the factor of an integer Scale node.
        leaks: how a potential may fall: not at all, by a factor, by a factor 1 - 2^-k (`shift`), or
            by a constant.
        v_low, v_high: where v saturates, if not at ±(2^(state_bits-1) - 1).
        stateless: nothing is kept from step to step.
        readout_bits: width of a readout's sum; None: `state_bits`. A chip without such a readout
            leaves it to the host, which has 30 bits.
        host_analog: what receives analog values is the host's, in the generic format.
    """

    name: str = "generic"
    weight_bits: int = 8
    state_bits: int = 30
    state_shift: int | None = None
    threshold_step: int = 1
    bias_step: int = 1
    threshold_bits: int = 31
    thresholds_per_layer: int | None = None
    bias_limit: int | None = None
    granularity: Granularity = "channel"
    compares: tuple[Compare, ...] = (">", ">=")
    resets: tuple[Reset, ...] = ("hard", "soft", "soft_after_decay")
    reset_to_zero: bool = False
    max_spikes_per_step: int | None = None
    u_range: Range = "saturate"
    scale_bits: int = 32
    leaks: tuple[Leak, ...] = ("none", "decay", "shift", "subtract")
    v_low: int | None = None
    v_high: int | None = None
    stateless: bool = False
    readout_bits: int | None = None
    host_analog: bool = False

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
        """Return the fields as JSON-able data; younger fields only where they say something.

        What older archives hold, and the digests of their graphs, stay what they were.
        """
        return {k: v for k, v in asdict(self).items() if k not in YOUNGER or v is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Profile:
        """Return the profile that `to_json` described."""
        values = dict(data)
        for name in ("compares", "resets", "leaks"):
            values[name] = tuple(values.get(name, getattr(cls(), name)))
        return cls(**values)


# Loihi's 24-bit state with 6 fractional bits, strict compare, thresholds of 17 bits << 6 and one
# threshold a layer: Lava's fixed-point LIF (lava-nc 0.10.0) and Davies et al., IEEE Micro 2018.
# Biases are multiples of 64 as in netx's HDF5 files (bias_exp = 6), with mantissas of 16 bits (Lava
# wraps others); the exponent has 3 bits, so that a bias may also be a multiple of 128.
_LOIHI = Profile(
    name="loihi2",
    weight_bits=8,
    state_bits=24,
    state_shift=6,
    threshold_step=64,
    bias_step=64,
    bias_limit=(1 << 15) - 1,
    threshold_bits=17,
    granularity="layer",
    compares=(">",),
    resets=("hard",),
    reset_to_zero=True,
    max_spikes_per_step=1,
    u_range="wrap",
    scale_bits=8,
)
# Chips that keep v in whole weight steps; a readout that only integrates is left to the host.
_WHOLE_STEPS = Profile(
    state_shift=0, granularity="layer", readout_bits=30, scale_bits=8, host_analog=True
)
PROFILES: dict[str, Profile] = {
    "generic": Profile(),
    # A core of Loihi 1 holds 8 thresholds (nengo-loihi 1.1.0, hardware constants).
    "loihi1": replace(_LOIHI, name="loihi1", thresholds_per_layer=8),
    "loihi2": _LOIHI,
    # TrueNorth: one of four signed weights a synapse, chosen by the axon's type; four axons of the
    # types 1, 2, 4 and -8 together are one of any signed 4-bit weight (Merolla et al., Science
    # 345:668, 2014). Its leak is a constant.
    "truenorth": replace(
        _WHOLE_STEPS,
        name="truenorth",
        weight_bits=4,
        granularity="channel",
        resets=("hard", "soft"),
        leaks=("none", "subtract"),
        max_spikes_per_step=1,
    ),
    # tinyODIN, the public sibling of ODIN (Frenkel et al., TBioCAS 13:145, 2019): 4-bit weights, a
    # 12-bit membrane that saturates, a constant leak toward zero, `>=`, reset to 0.
    "odin": replace(
        _WHOLE_STEPS,
        name="odin",
        weight_bits=4,
        state_bits=12,
        v_low=-2048,
        v_high=2047,
        threshold_bits=11,
        granularity="channel",
        compares=(">=",),
        resets=("hard",),
        reset_to_zero=True,
        leaks=("none", "subtract"),
        max_spikes_per_step=1,
    ),
    # DYNAP-CNN as in Speck 2e/2f: 8-bit weights, 16-bit state, one threshold a layer, no decay.
    "speck2f": replace(
        _WHOLE_STEPS,
        name="speck2f",
        state_bits=16,
        threshold_bits=15,
        compares=(">=",),
        resets=("hard", "soft"),
        reset_to_zero=True,
        leaks=("none", "subtract"),
    ),
    # Xylo: int8 weights, int16 potentials and thresholds, decays of 2^-k, subtractive reset.
    "xylo": replace(
        _WHOLE_STEPS,
        name="xylo",
        state_bits=16,
        threshold_bits=15,
        granularity="channel",
        resets=("soft",),
        leaks=("none", "shift"),
    ),
    # AKD1000: 4-bit weights on frames; no potential outlives a frame.
    "akd1000": replace(
        _WHOLE_STEPS,
        name="akd1000",
        weight_bits=4,
        granularity="channel",
        resets=("hard",),
        stateless=True,
        host_analog=False,
        max_spikes_per_step=1,
    ),
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
        spike_rates: the share of neurons and steps with a spike, by neuron node.
    """

    input_high: float
    samples: int = 0
    time_steps: int = 0
    data: str = ""
    rule: ScaleRule = "max"
    spike_rates: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Any) -> Calibration:
        """Return the calibration that a lowered graph's metadata describe.

        Raises:
            InputError: for metadata without one, or with fields of other kinds.
        """
        kinds: dict[str, Any] = {"input_high": (int, float), "samples": int, "time_steps": int}
        kinds |= {"data": str, "rule": str, "spike_rates": Mapping}
        right = isinstance(data, Mapping) and "input_high" in data and set(data) <= set(kinds)
        if not right or not all(isinstance(data[k], kinds[k]) for k in data):
            raise InputError(
                "the graph does not tell how it was calibrated",
                node="calibration",
                remedy="give --calibrate DATA",
            )
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data; younger fields only where they say something.

        What older archives hold, and the digests of their graphs, stay what they were.
        """
        return {k: v for k, v in asdict(self).items() if k not in YOUNGER or v is not None}
