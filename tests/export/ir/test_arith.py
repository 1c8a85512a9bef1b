"""The integer arithmetic: golden values by hand, and every neuron against plain Python integers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikewright.export.ir import Input, Neuron, Output, neuron_step, readout_step
from spikewright.export.ir.arith import (
    decay,
    initial_state,
    integer_threshold,
    leak_toward_zero,
    quantise_input,
    round_half_even,
    saturate,
    symmetric_limits,
    wrap,
)

INT30 = st.integers(-(2**30), 2**30)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("x", "d", "expected"),
    [
        (100, 0, 100),
        (100, 4096, 0),
        (100, 2048, 50),
        (-100, 2048, -50),
        (1, 1, 0),  # 4095 / 4096, toward zero
        (-1, 1, 0),
        (-3, 2048, -1),  # -1.5 toward zero; a floor would give -2
        (4096, 1, 4095),
        (-(2**29), 4095, -(2**17)),
    ],
)
def test_decay_goes_toward_zero(x: int, d: int, expected: int) -> None:
    assert decay(ints(x), ints(d)).item() == expected


@given(INT30, st.integers(0, 4096))
def test_decay_is_odd_shrinks_and_fits_int32_in_two_parts(x: int, d: int) -> None:
    found = decay(ints(x), ints(d)).item()
    assert found == -decay(ints(-x), ints(d)).item() and abs(found) <= abs(x)
    assert found == (1 if x >= 0 else -1) * (abs(x) * (4096 - d) // 4096)
    # The int32 form of `semantics`: |x| = 4096 h + l, m = 4096 - d.
    high, low, m = abs(x) >> 12, abs(x) & 4095, 4096 - d
    assert abs(found) == high * m + ((low * m) >> 12) < 2**31
    assert low * m < 2**31


@pytest.mark.parametrize(("x", "expected"), [(10, 7), (-10, -7), (3, 0), (-2, 0), (0, 0)])
def test_leak_stops_at_zero(x: int, expected: int) -> None:
    assert leak_toward_zero(ints(x), ints(3)).item() == expected


@pytest.mark.parametrize(
    ("x", "expected"),
    [(127, 127), (128, 128), (129, -127), (-127, -127), (-128, 128), (-129, 127), (383, 127)],
)
def test_wrap_corrects_once_into_a_half_open_range(x: int, expected: int) -> None:
    assert wrap(ints(x), 8).item() == expected


def test_saturation_is_symmetric() -> None:
    assert symmetric_limits(8) == (-127, 127)
    assert saturate(ints(-500, -128, 5, 128), *symmetric_limits(8)).tolist() == [-127, -127, 5, 127]


def test_biases_round_half_to_even() -> None:
    assert round_half_even([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999]).tolist() == [0, 2, 2, 0, -2, 2]


@pytest.mark.parametrize(
    ("theta", "compare", "expected"),
    [
        (10.7, ">", 10),
        (10.7, ">=", 11),
        (10.0, ">", 10),
        (10.0, ">=", 10),
        (-10.7, ">", -11),
        (0.1 * 3 / 0.1, ">", 3),  # 3.0000000000000004: an integer missed by a division
        (0.1 * 3 / 0.1, ">=", 3),
    ],
)
def test_integer_threshold_decides_as_the_real_one(
    theta: float, compare: str, expected: int
) -> None:
    assert integer_threshold(np.array(theta), compare).item() == expected


@given(st.floats(-1e6, 1e6), st.sampled_from([">", ">="]), st.integers(-2, 2))
def test_no_integer_membrane_decides_otherwise(theta: float, compare: str, offset: int) -> None:
    v = round(theta) + offset
    if abs(theta - round(theta)) <= 1e-12 * abs(theta):
        theta = round(theta)
    whole = integer_threshold(np.array(theta), compare).item()
    assert (v > theta, v >= theta)[compare == ">="] == (v > whole, v >= whole)[compare == ">="]


def test_input_codes_round_half_to_even_and_clip() -> None:
    node = Input((6,), "direct", scale=0.5, low=-127, high=127)
    x = np.array([0.25, 0.75, 1.0, -0.25, 1e3, -1e3])
    assert quantise_input(x, node).tolist() == [0, 2, 2, 0, 127, -127]


def test_input_codes_are_those_of_float32() -> None:
    """0.15 / 0.1 is 1.5 in float32 (to even: 2) and below 1.5 in float64."""
    node = Input((1,), "direct", scale=0.1, low=-127, high=127)
    assert 0.15 / 0.1 < 1.5 and np.float32(0.15) / np.float32(0.1) >= 1.5
    assert quantise_input(np.array([0.15]), node).tolist() == [2]


def drive(node: Neuron, currents: list[int]) -> list[tuple[int, int]]:
    """Return (spikes, v) after each step of one neuron."""
    state = initial_state(node, 1)
    found = []
    for current in currents:
        spikes = neuron_step(np.full((1, *node.shape), current, np.int64), node, state)
        found.append((int(spikes.flat[0]), int(state.v.flat[0])))
    return found


def neuron(threshold: int = 10, **fields: Any) -> Neuron:
    for name in ("dv", "du", "bias", "bias_in", "v_min", "leak_subtract", "v_reset", "v_init"):
        if fields.get(name) is not None:
            fields[name] = np.int32(fields[name])
    return Neuron((1,), np.int32(threshold), **fields)


GOLDEN: list[tuple[str, Neuron, list[int], list[tuple[int, int]]]] = [
    ("strict compare", neuron(compare=">"), [10, 1], [(0, 10), (1, 0)]),
    ("or equal", neuron(compare=">="), [10, 1], [(1, 0), (0, 1)]),
    ("hard reset to v_reset", neuron(v_reset=-4), [11, 1], [(1, -4), (0, -3)]),
    ("soft reset keeps the rest", neuron(reset="soft"), [17, 2], [(1, 7), (0, 9)]),
    (
        "soft after decay subtracts a step later",
        neuron(reset="soft_after_decay", dv=2048),
        [16, 0, 0],
        # 16 spikes and stays; 16 / 2 - 10 = -2; -2 / 2 = -1
        [(1, 16), (0, -2), (0, -1)],
    ),
    ("v_init", neuron(v_init=7), [3, 1], [(0, 10), (1, 0)]),
    ("leak of a negative v", neuron(dv=2048), [-7, 0, 0, 0], [(0, -7), (0, -3), (0, -1), (0, 0)]),
    ("constant leak", neuron(leak_subtract=2), [5, 0, 0, 0], [(0, 5), (0, 3), (0, 1), (0, 0)]),
    ("v_min clamps before the comparison", neuron(v_min=-3), [-9, 5], [(0, -3), (0, 2)]),
    ("v saturates", neuron(100, state_bits=5), [99, 1], [(0, 15), (0, 15)]),
    ("v_low and v_high", neuron(v_low=-2, v_high=5), [9, -9], [(0, 5), (0, -2)]),
    ("bias each step", neuron(bias=4), [0, 0, 0], [(0, 4), (0, 8), (1, 0)]),
    ("state_shift", neuron(state_shift=3, bias=1), [1, 1], [(0, 9), (1, 0)]),
    (
        "several spikes, or equal: floor(v / th)",
        neuron(reset="soft", compare=">=", max_spikes_per_step=3),
        [20, 25, 99],
        [(2, 0), (2, 5), (3, 74)],
    ),
    (
        "several spikes, strict: ceil(v / th) - 1",
        neuron(reset="soft", compare=">", max_spikes_per_step=3),
        [20, 25, 99],
        [(1, 10), (3, 5), (3, 74)],
    ),
    (
        "refractory: v held, no spike, for that many steps",
        neuron(refractory_steps=2, reset="soft"),
        [15, 50, 50, 1, 9],
        [(1, 5), (0, 5), (0, 5), (0, 6), (1, 5)],
    ),
    (
        "u goes on while v is held",
        neuron(refractory_steps=1, du=2048),
        [16, 0, 0],
        # u: 16, 8, 4; v: spike and reset, held, 4
        [(1, 0), (0, 0), (0, 4)],
    ),
    ("u filters", neuron(100, du=2048), [8, 0, 0], [(0, 8), (0, 12), (0, 14)]),
    (
        "bias_in enters u",
        neuron(100, du=2048, bias_in=8, bias=1),
        [0, 0],
        [(0, 9), (0, 22)],  # u: 8, 12
    ),
    (
        "u wraps",
        neuron(1000, du=0, u_range="wrap", state_bits=8),
        [100, 100],
        # u: 100, then 200 - 256 = -56; v: 100, 44
        [(0, 100), (0, 44)],
    ),
    (
        "u saturates",
        neuron(1000, du=0, u_range="saturate", state_bits=8),
        [100, 100, -100],
        # u: 100, 127, 27; v: 100, 127 (saturated), 127
        [(0, 100), (0, 127), (0, 127)],
    ),
]


@pytest.mark.parametrize(
    ("node", "currents", "expected"), [g[1:] for g in GOLDEN], ids=lambda v: ""
)
def test_golden(node: Neuron, currents: list[int], expected: list[tuple[int, int]]) -> None:
    assert drive(node, currents) == expected


def toward_zero(x: int, d: int) -> int:
    return (abs(x) * (4096 - d) >> 12) * (1 if x >= 0 else -1)


def limited(x: int, low: int, high: int) -> int:
    return max(low, min(high, x))


def by_hand(node: Neuron, currents: list[int]) -> list[tuple[int, int, int | None]]:
    """`semantics` in plain Python, one neuron, one line a rule: (spikes, v, u) of each step."""

    def value(name: str) -> int:
        array = getattr(node, name)
        return 0 if array is None else int(array)

    top = 2 ** (node.state_bits - 1) - 1
    v, u, last, hold = value("v_init"), 0, 0, 0
    found: list[tuple[int, int, int | None]] = []
    for acc in currents:
        i = acc * 2**node.state_shift + value("bias_in")
        if node.du is not None:
            u = toward_zero(u, value("du")) + i
            if node.u_range == "saturate":
                u = limited(u, -top, top)
            elif u > top + 1:
                u -= 2 * (top + 1)
            elif u <= -(top + 1):
                u += 2 * (top + 1)
        else:
            u = i
        kept = toward_zero(v, value("dv"))
        kept = max(0, abs(kept) - value("leak_subtract")) * (1 if kept >= 0 else -1)
        after = kept + u + value("bias")
        if node.reset == "soft_after_decay":
            after -= last * value("v_threshold")
        after = limited(after, *node.v_limits)
        if node.v_min is not None:
            after = max(after, value("v_min"))
        th, spikes = value("v_threshold"), 0
        while spikes < node.max_spikes_per_step:
            level = th * (spikes + 1) if node.max_spikes_per_step > 1 else th
            if not (after > level if node.compare == ">" else after >= level):
                break
            spikes += 1
        if hold > 0:
            spikes, hold = 0, hold - 1
        else:
            v = after
            if spikes and node.reset == "hard":
                v = value("v_reset")
            if node.reset == "soft":
                v = after - spikes * th
            hold = node.refractory_steps if spikes else 0
        last = spikes
        found.append((spikes, v, None if node.du is None else u))
    return found


@st.composite
def neurons(draw: Any) -> Neuron:
    """A neuron of any field, narrow enough to saturate."""
    bits = draw(st.integers(6, 20))
    top = 2 ** (bits - 1) - 1
    reset = draw(st.sampled_from(["hard", "soft", "soft_after_decay"]))
    most = draw(st.sampled_from([1, 1, 2, 5]))
    positive = reset != "hard" or most > 1
    small = st.integers(-top, top)

    def maybe(strategy: Any) -> Any:
        return draw(st.none() | strategy)

    limited_range = draw(st.booleans())
    node = neuron(
        draw(st.integers(1 if positive else -top, top)),
        dv=maybe(st.integers(0, 4096)),
        du=maybe(st.integers(0, 4096)),
        bias=maybe(st.integers(-300, 300)),
        v_min=maybe(st.integers(-top, 0)),
        leak_subtract=maybe(st.integers(0, 40)),
        reset=reset,
        compare=draw(st.sampled_from([">", ">="])),
        max_spikes_per_step=most,
        refractory_steps=draw(st.integers(0, 3)),
        state_shift=draw(st.integers(0, 6)),
        state_bits=bits,
        u_range=draw(st.sampled_from(["saturate", "wrap"])),
        v_low=-(top // 2) if limited_range else None,
        v_high=top if limited_range else None,
    )
    node = replace(node, v_init=np.int32(draw(st.integers(0, top))))
    if node.reset == "hard":
        node = replace(node, v_reset=np.int32(draw(small.filter(lambda x: x >= node.v_limits[0]))))
    if node.du is not None:
        node = replace(node, bias_in=np.array(maybe(st.integers(-9, 9)) or 0, np.int32))
    return node


@given(neurons(), st.data())
def test_every_neuron_equals_plain_python(node: Neuron, data: st.DataObject) -> None:
    # A wrapping u takes |i| < 2^bits: the bounds refuse more.
    limit = ((2**node.state_bits - 16) >> node.state_shift) if node.u_range == "wrap" else 5000
    currents = data.draw(
        st.lists(st.integers(-min(limit, 5000), min(limit, 5000)), min_size=1, max_size=12)
    )
    state, found = initial_state(node, 1), []
    for current in currents:
        spikes = neuron_step(np.array([[current]]), node, state)
        u = None if state.u is None else int(state.u.item())
        found.append((int(spikes.item()), int(state.v.item()), u))
    assert found == by_hand(node, currents)


def test_arrays_per_channel_act_channel_by_channel() -> None:
    whole = Neuron(
        (2, 3),
        np.array([[5], [9]], np.int32),
        dv=np.array([[0], [2048]], np.int32),
        bias=np.array([[1, 2, 3], [4, 5, 6]], np.int32),
        reset="soft",
    )
    state = initial_state(whole, 4)
    acc = np.random.default_rng(0).integers(-5, 9, (6, 4, 2, 3))
    steps = [(neuron_step(a, whole, state), state.v) for a in acc]
    for c, x in np.ndindex(2, 3):
        one = neuron(
            int(whole.v_threshold[c, 0]),
            dv=[0, 2048][c],
            bias=int(whole.bias[c, x]) if whole.bias is not None else 0,
            reset="soft",
        )
        for b in range(4):
            expected = drive(one, acc[:, b, c, x].tolist())
            assert [(s[b, c, x], v[b, c, x]) for s, v in steps] == expected


def read(node: Output, x: list[int]) -> list[int]:
    y, found = np.zeros((1, 1), np.int64), []
    for value in x:
        y = readout_step(np.array([[value]]), node, y)
        found.append(int(y.item()))
    return found


@pytest.mark.parametrize(
    ("node", "x", "expected"),
    [
        (Output("none"), [3, -4, 5], [3, -4, 5]),
        (Output("integrate"), [3, -4, 5], [3, -1, 4]),
        (Output("integrate", bias=np.int32(2), state_shift=1), [3, -4], [8, 2]),
        (Output("integrate", state_bits=4), [5, 5, -20], [5, 7, -7]),
        (Output("leaky", dv=np.int32(2048)), [9, 0, -9], [9, 4, -7]),
        (Output("leaky", dv=np.int32(2048)), [-9, 0, 0], [-9, -4, -2]),
        (Output("spike_count"), [1, 0, 3], [1, 1, 4]),
    ],
)
def test_readouts(node: Output, x: list[int], expected: list[int]) -> None:
    assert read(node, x) == expected
