"""Neurons and readouts in integers: thresholds, biases and decays in shifted units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .carry import Carry
from .ir import Array, LoweringError, Neuron, Output, Profile
from .ir.arith import DECAY_ONE, integer_threshold, round_half_even
from .ir.equal_rules import plainest, reset_remedy, with_reset_of
from .ir.nodes import Compare

FRACTION_BITS = 6
"""state_shift where a state needs fractional bits; Loihi's value (`docs/semantics.md`, Neuron)."""
INT32_MAX = 2**31 - 1


def quantise_neuron(name: str, node: Neuron, carry: Carry, profile: Profile) -> Neuron:
    """Return the integer form of a folded neuron that receives `carry`.

    Raises:
        LoweringError: where the profile has no such neuron, or a value leaves its width.
    """
    _check_profile(name, node, profile)
    node = with_reset_of(node, profile)
    if profile.state_shift is not None:
        shift = profile.state_shift
    else:
        shift = 0 if _needs_no_fraction(node, carry) else FRACTION_BITS
    one = carry.scale / 2.0**shift
    bias_in, bias = _biases(node, carry)
    compare, threshold = _threshold(name, node, one, profile)
    found = replace(
        node,
        beta=None,
        alpha=None,
        dv=decay_steps(node.beta, profile),
        du=decay_steps(node.alpha, profile),
        v_threshold=threshold,
        bias=_biased(name, bias, one, profile),
        bias_in=_in_steps(name, "bias_in", bias_in, one, profile.bias_step),
        v_reset=_in_steps(name, "v_reset", node.v_reset, one, 1),
        v_min=_in_steps(name, "v_min", node.v_min, one, 1),
        leak_subtract=_in_steps(name, "leak_subtract", node.leak_subtract, one, 1),
        v_scale=np.asarray(one if node.v_scale is None else one * node.v_scale),
        compare=compare,
        state_shift=shift,
        state_bits=profile.state_bits,
        u_range=profile.u_range,
        v_low=profile.v_low if node.v_low is None else node.v_low,
        v_high=profile.v_high if node.v_high is None else node.v_high,
    )
    return replace(found, v_init=_compact(_start(name, node, found, one, profile)))


def _start(name: str, node: Neuron, found: Neuron, one: Array, profile: Profile) -> Array:
    """Return v_init in integers: where the neuron starts, and what it has left a step later.

    v_init acts through the first decay alone. Of the integers that this brings to beta v_init,
    rounded once as a bias is, it is the one nearest to v_init.

    Raises:
        LoweringError: where the decay in integers leaves nothing, or for one that leaves the state.
    """
    assert node.beta is not None and found.dv is not None
    start, left = node.v_init / one, node.beta.astype(np.float64) * node.v_init / one
    retention = DECAY_ONE - found.dv.astype(np.int64)
    if ((retention == 0) & (round_half_even(left / profile.bias_step) != 0)).any():
        raise LoweringError(
            f"v_init {_extreme(node.v_init):.6g} acts through a retention of "
            f"{node.beta.min():.3g}, which is 0 in the decays of {profile.name}",
            node=name,
            remedy="train with a longer tau, or leave out the delayed bias that it stands in for",
        )
    low, high = found.v_limits
    steps = _decaying_to(round_half_even(left), np.rint(start), np.maximum(retention, 1))
    steps = np.where(retention == 0, np.clip(np.rint(start), low, high), steps)  # is forgotten
    if ((steps < low) | (steps > high)).any():
        raise LoweringError(
            f"v_init {_extreme(steps):.0f} leaves the state's {low}..{high}",
            node=name,
            remedy="use fewer weight bits, or train with a start nearer to 0 or a longer tau",
        )
    return steps


def _decaying_to(left: Array, start: Array, retention: Array) -> Array:
    """Return the whole numbers nearest to `start` of which the integers' decay leaves `left`.

    decay(x) = sign(x) floor(|x| retention / 4096), retention in 1..4096, reaches every integer.
    """
    size = np.abs(left).astype(np.int64)
    least, most = -(-size * DECAY_ONE // retention), -(-(size + 1) * DECAY_ONE // retention) - 1
    sign = np.where(left == 0, np.sign(start), np.sign(left))
    return np.asarray(sign * np.clip(sign * start, least, most))


def _extreme(values: Array) -> float:
    """Return the value farthest from 0."""
    return float(values.flat[np.abs(values).argmax()])


def _check_profile(name: str, node: Neuron, profile: Profile) -> None:
    for problem in neuron_problems(name, node, profile):
        raise problem


def neuron_problems(name: str, node: Neuron, profile: Profile) -> Iterator[LoweringError]:
    """Yield what a folded neuron asks for and the neurons of a number format lack."""
    node = with_reset_of(plainest(node), profile)
    problems = (
        (
            node.reset not in profile.resets,
            f"reset {node.reset}",
            reset_remedy(node, profile.resets),
        ),
        (
            profile.reset_to_zero and bool(node.v_reset.any()),
            f"v_reset {node.v_reset.flat[0]}",
            "shift the potentials so that v_reset is 0",
        ),
        (
            profile.max_spikes_per_step is not None
            and node.max_spikes_per_step > profile.max_spikes_per_step,
            f"max_spikes_per_step {node.max_spikes_per_step}",
            "use single spikes",
        ),
        *_leak_problems(node, profile),
    )
    for wrong, what, remedy in problems:
        if wrong:
            yield LoweringError(f"{what}, which {profile.name} lacks", node=name, remedy=remedy)


def _leak_problems(node: Neuron, profile: Profile) -> Iterator[tuple[bool, str, str]]:
    decays = node.alpha is not None or (node.beta is not None and bool((node.beta != 1).any()))
    forgets = node.beta is not None and not node.beta.any() and node.alpha is None
    if profile.stateless:
        yield not forgets, "a potential that outlives its step", "train with T = 1 and tau = 1"
    elif not {"decay", "shift"} & set(profile.leaks):
        remedy = "train integrate-and-fire neurons (no tau), or use another target"
        yield decays, "a decay", remedy
    subtracts = node.leak_subtract is not None and bool(node.leak_subtract.any())
    if "subtract" not in profile.leaks:
        yield subtracts, "leak_subtract", "train with a decay (tau), or use another target"


def _needs_no_fraction(node: Neuron, carry: Carry) -> bool:
    """Integrate-and-fire with hard reset to 0 and no bias: every v is a whole weight step.

    Several spikes a step need the fraction: they count thresholds in v, not only whether it is one.
    """
    extras = (node.bias, node.bias_in, node.v_min, node.leak_subtract, node.v_init, node.v_reset)
    plain = all(value is None or not value.any() for value in extras) and not carry.has_offset
    keeps = node.beta is not None and bool((node.beta == 1).all())
    single = node.reset == "hard" and node.max_spikes_per_step == 1
    return plain and keeps and node.alpha is None and single


def _biases(node: Neuron, carry: Carry) -> tuple[Array | None, Array | None]:
    """Return bias_in and bias in true units: a weight's bias lands where its current does."""
    bias_in = carry.offset if node.bias_in is None else carry.offset + node.bias_in
    if node.current_based:
        return _or_none(bias_in), node.bias
    return None, _or_none(bias_in if node.bias is None else bias_in + node.bias)


def _or_none(value: Array) -> Array | None:
    return value if value.any() else None


def _threshold(name: str, node: Neuron, one: Array, profile: Profile) -> tuple[Compare, Array]:
    """Return the comparison and int32 threshold; `>=` becomes `>` of one step less if it must."""
    steps = integer_threshold(node.v_threshold / (one * profile.threshold_step), node.compare)
    compare = node.compare
    if compare not in profile.compares:
        compare, steps = profile.compares[0], steps + (1 if compare == ">" else -1)
    limit = min(2**profile.threshold_bits - 1, INT32_MAX // profile.threshold_step)
    if np.abs(steps).max() > limit:
        raise LoweringError(
            f"v_threshold {np.abs(steps).max()} exceeds {limit} steps of {profile.threshold_step}",
            node=name,
            remedy="use fewer weight bits, or train with a lower threshold",
        )
    if (node.reset != "hard" or node.max_spikes_per_step > 1) and (steps < 1).any():
        raise LoweringError(
            "v_threshold rounds to 0 weight steps, and a soft reset needs one above 0",
            node=name,
            remedy="use more weight bits or a higher threshold",
        )
    return compare, _compact(steps * profile.threshold_step)


def decay_steps(retention: Array | None, profile: Profile) -> Array | None:
    """Return 4096 (1 - retention), to the nearest decay of 12 bits, or of 2^-k where only those."""
    if retention is None:
        return None
    exact = (1 - retention.astype(np.float64)) * DECAY_ONE
    if "decay" in profile.leaks or not exact.any():
        return round_half_even(exact).astype(np.int32)
    shifts = np.array([0, *(DECAY_ONE >> k for k in range(12, -1, -1))], np.int32)
    nearest: Array = np.abs(exact[..., None] - shifts).argmin(axis=-1)
    return np.asarray(shifts[nearest], np.int32)


def _in_steps(name: str, what: str, value: Array | None, one: Array, step: int) -> Any:
    """Return round-half-even(value / one) in multiples of `step` as int32, or None."""
    if value is None:
        return None
    whole = round_half_even(value / (one * step)) * step
    if np.abs(whole).max() > INT32_MAX:
        raise LoweringError(
            f"{what} {np.abs(whole).max()} exceeds int32 ({INT32_MAX})",
            node=name,
            remedy="use fewer weight bits or a smaller bias",
        )
    return _compact(whole)


def _biased(name: str, value: Array | None, one: Array, profile: Profile) -> Array | None:
    """Return a bias in the profile's steps, or in double steps where its mantissa asks for them."""
    step, limit = profile.bias_step, profile.bias_limit
    found: Array | None = _in_steps(name, "bias", value, one, step)
    if found is None or limit is None or _fits(found // step, limit):
        return found
    double: Array = _in_steps(name, "bias", value, one, 2 * step)
    if not _fits(double // (2 * step), limit):
        raise LoweringError(
            f"bias {np.abs(double).max()} in the neuron's units, {profile.name} holds "
            f"{limit * 2 * step}",
            node=name,
            remedy="use fewer weight bits or a smaller bias",
        )
    return double


def _fits(mantissa: Array, limit: int) -> bool:
    return bool((mantissa >= -limit - 1).all() and (mantissa <= limit).all())


def _compact(values: Array) -> Array:
    """Return int32 values, one alone where all are equal (a threshold a layer)."""
    uniform = (values == values.flat[0]).all()
    return (values.flat[0].reshape(()) if uniform else values).astype(np.int32)


def readout_shift(node: Output, carry: Carry, profile: Profile, largest: int) -> int:
    """Return the fractional bits of a readout: 6 where it rounds, fewer where int32 has no room.

    `largest`: the worst-case |value| that arrives (see `bounds`).
    """
    if profile.state_shift is not None and profile.readout_bits is None:
        return profile.state_shift
    bias = carry.offset if node.bias is None else carry.offset + node.bias
    rounds = bool(bias.any()) or node.readout == "leaky"
    shift = FRACTION_BITS if rounds and node.readout != "none" else 0
    unit = float(carry.scale.flat[0])
    room = INT32_MAX - (1 << ((profile.readout_bits or profile.state_bits) - 1))
    while shift and (largest + float(np.abs(bias).max()) / unit + 1) * 2**shift >= room:
        shift -= 1
    return shift


def quantise_output(name: str, node: Output, carry: Carry, profile: Profile, shift: int) -> Output:
    """Return the integer form of a readout that receives `carry`, with `shift` fractional bits.

    Raises:
        LoweringError: for channels of different scales, or a bias that nothing can add.
    """
    if not carry.uniform:
        raise LoweringError(
            "the readout's channels have different scales",
            node=name,
            remedy="feed it by one weight node directly",
        )
    bias = carry.offset if node.bias is None else carry.offset + node.bias
    if node.readout == "none":
        if bias.any():
            raise LoweringError(
                "readout none has no place for a bias", node=name, remedy="use readout integrate"
            )
        return replace(node, beta=None, bias=None, scale=node.scale * float(carry.scale.flat[0]))
    one = np.float64(carry.scale.flat[0]) / 2.0**shift
    return replace(
        node,
        beta=None,
        dv=decay_steps(node.beta, Profile()) if node.readout == "leaky" else None,
        bias=_biased(name, _or_none(np.asarray(bias)), np.asarray(one), profile),
        state_shift=shift,
        state_bits=profile.readout_bits or profile.state_bits,
        scale=node.scale * float(one),
    )
