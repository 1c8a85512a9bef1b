"""Neurons of the float levels against their equations, written out per neuron."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikewright.export.ir import Neuron, Output
from spikewright.export.ir.arith import initial_state
from spikewright.sim.float_neuron import float_neuron_step, float_readout_step


def drive(node: Neuron, currents: list[float], dtype: Any = np.float64) -> list[tuple[float, ...]]:
    state, found = initial_state(node, 1, dtype), []
    for current in currents:
        s = float_neuron_step(np.full((1, 1), current, dtype), node, state)
        found.append((float(s.item()), float(state.v.item())))
    return found


def neuron(threshold: float = 1.0, **fields: Any) -> Neuron:
    arrays = ("beta", "alpha", "tau", "bias", "bias_in", "v_reset", "v_init", "v_min")
    for name in (*arrays, "leak_subtract"):
        if name in fields:
            fields[name] = np.array(fields[name], np.float64)
    if "tau" not in fields:
        fields.setdefault("beta", np.array(1.0))
    return Neuron((1,), np.array(threshold), **fields)


@pytest.mark.parametrize(
    ("node", "currents", "expected"),
    [
        (neuron(), [1.0, 0.5], [(0, 1.0), (1, 0.0)]),
        (neuron(compare=">="), [1.0, 0.5], [(1, 0.0), (0, 0.5)]),
        (neuron(beta=0.5, reset="soft"), [1.5, 0.5], [(1, 0.5), (0, 0.75)]),
        (neuron(beta=0.5, reset="soft_after_decay"), [1.5, 0.0], [(1, 1.5), (0, -0.25)]),
        (neuron(tau=2.0), [1.0, 1.0], [(0, 0.5), (0, 0.75)]),
        (neuron(tau=2.0, bias=1.0, v_init=0.5), [1.0], [(1, 0.0)]),
        (neuron(9.0, alpha=0.5), [1.0, 0.0, 0.0], [(0, 1.0), (0, 1.5), (0, 1.75)]),
        (neuron(9.0, alpha=0.5, bias_in=1.0), [1.0, 0.0], [(0, 2.0), (0, 4.0)]),
        (neuron(v_reset=-0.5), [2.0, 1.0], [(1, -0.5), (0, 0.5)]),
        (neuron(v_min=-0.25), [-1.0, 0.5], [(0, -0.25), (0, 0.25)]),
        (neuron(leak_subtract=0.25), [0.5, 0.0, 0.0, 0.0], [(0, 0.5), (0, 0.25), (0, 0), (0, 0)]),
        (
            neuron(reset="soft", compare=">=", max_spikes_per_step=3),
            [2.5, 0.5, 9.0],
            [(2, 0.5), (1, 0.0), (3, 6.0)],
        ),
        (neuron(reset="soft", max_spikes_per_step=3), [2.0, 1.5], [(1, 1.0), (2, 0.5)]),
        (
            neuron(refractory_steps=2, reset="soft"),
            [1.5, 9.0, 9.0, 0.25, 0.5],
            [(1, 0.5), (0, 0.5), (0, 0.5), (0, 0.75), (1, 0.25)],
        ),
    ],
)
def test_golden(node: Neuron, currents: list[float], expected: list[tuple[float, float]]) -> None:
    for dtype in (np.float32, np.float64):
        assert drive(node, currents, dtype) == expected


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=9), st.floats(1, 8), st.booleans())
def test_tau_is_a_leak_of_1_minus_1_over_tau(currents: list[float], tau: float, soft: bool) -> None:
    """The two forms differ by rounding only; folding turns one into the other."""
    reset = "soft" if soft else "hard"
    one = drive(neuron(0.7, tau=tau, reset=reset), currents)
    other = drive(neuron(0.7, beta=1 - 1 / tau, reset=reset), [c / tau for c in currents])
    for (s1, v1), (s2, v2) in zip(one, other, strict=True):
        if s1 != s2:
            # A rounded membrane next to the threshold may fall on either side.
            assert abs(max(v1, v2) - 0.7) < 1e-9
            return
        assert abs(v1 - v2) < 1e-9


@given(st.floats(2**-60, 2**60, width=32))
def test_what_fired_counts_one_at_least(threshold: float) -> None:
    """v an ulp above the threshold: a quotient rounded to 1 would make ceil - 1 no spike."""
    node = Neuron(
        (1,), np.float32(threshold), beta=np.array(1.0), reset="soft", max_spikes_per_step=4
    )
    v = np.full((1, 1), np.nextafter(np.float32(threshold), np.float32(np.inf)))
    assert float_neuron_step(v, node, initial_state(node, 1, np.float32)).item() == 1


@pytest.mark.parametrize(
    ("node", "x", "expected"),
    [
        (Output("none"), [1.0, 2.0], [1.0, 2.0]),
        (Output("integrate", bias=np.array(0.5)), [1.0, 2.0], [1.5, 4.0]),
        (Output("leaky", beta=np.array(0.5)), [1.0, 2.0], [1.0, 2.5]),
        (Output("spike_count"), [1.0, 1.0], [1.0, 2.0]),
    ],
)
def test_readouts(node: Output, x: list[float], expected: list[float]) -> None:
    y, found = np.zeros((1, 1)), []
    for value in x:
        y = float_readout_step(np.array([[value]]), node, y)
        found.append(y.item())
    assert found == expected
