"""A delayed bias is made up for in every neuron that it reaches, in floats and in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikewright.export.fold import fold
from spikewright.export.ir import (
    Add,
    Calibration,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    LoweringError,
    Neuron,
    Node,
    Output,
    Profile,
    Scale,
    check,
)
from spikewright.export.ir.arith import decay
from spikewright.export.ir.profile import profile as profile_named
from spikewright.export.late_bias import delay_only_spikes
from spikewright.export.quantise import quantise
from spikewright.sim.reference import Reference

SIZE, STEPS = 8, 10
THETA = 0.6
RNG = np.random.default_rng(3)
WEIGHT = RNG.normal(0.05, 0.3, (SIZE, SIZE)).astype(np.float32)
OTHER = RNG.normal(0.05, 0.3, (SIZE, SIZE)).astype(np.float32)
BIAS = np.linspace(0.7, 0.9, SIZE, dtype=np.float32)  # above the threshold by itself


def neuron(beta: float = 0.7, size: int = SIZE, **fields: Any) -> Neuron:
    return Neuron((size,), np.array(THETA), beta=np.array(beta), **fields)


def graph_of(nodes: dict[str, Node], edges: list[Any]) -> Graph:
    """in -> w (biased), then `nodes` by `edges`, neurons a and b summed into the Output."""
    ends: dict[str, Node] = {"all": Add(), "out": Output("spike_count")}
    every: dict[str, Node] = {"in": Input((SIZE,), "spikes"), "w": Linear(WEIGHT, BIAS)}
    every |= nodes | ends
    edges = [("in", "w"), *edges, ("a", "all", 0), ("b", "all", 1), ("all", "out")]
    return check(Graph(every, edges, "float"))


TWO: dict[str, Node] = {"a": neuron(), "b": neuron(0.4)}
D: dict[str, Node] = {"d": Delay((SIZE,))}
W2: dict[str, Node] = {"w2": Linear(OTHER)}
FORKS = {
    "behind the Delay": graph_of({**D, **TWO}, [("w", "d"), ("d", "a"), ("d", "b")]),
    "behind the Add": graph_of(
        {**D, **W2, "sum": Add(), **TWO},
        [("w", "d"), ("in", "w2"), ("d", "sum", 0), ("w2", "sum", 1), ("sum", "a"), ("sum", "b")],
    ),
    "at the Delay, again at one Add": graph_of(
        {**D, **W2, "sum": Add(), **TWO},
        [("w", "d"), ("in", "w2"), ("d", "sum", 0), ("w2", "sum", 1), ("sum", "a"), ("d", "b")],
    ),
    "two ways to one neuron": graph_of(
        {**D, "half": Scale(np.array(0.5)), "sum": Add(), **TWO},
        [("w", "d"), ("d", "sum", 0), ("d", "sum", 1), ("sum", "half"), ("half", "a"), ("d", "b")],
    ),
    "at the weights, one way not delayed": graph_of(
        {**D, **TWO}, [("w", "d"), ("d", "a"), ("w", "b")]
    ),
    "at the weights, two Delays": graph_of(
        {**D, "e": Delay((SIZE,)), **TWO}, [("w", "d"), ("d", "a"), ("w", "e"), ("e", "b")]
    ),
    "before the Delay, two ways that meet": graph_of(
        {"half": Scale(np.array(0.5)), "sum": Add(), **D, **TWO},
        [("w", "sum", 0), ("w", "sum", 1), ("sum", "half"), ("half", "d"), ("d", "a"), ("d", "b")],
    ),
}


def drive(samples: int = 6) -> np.ndarray:
    return (np.random.default_rng(7).random((STEPS, samples, SIZE)) < 0.3).astype(np.float64)


@pytest.mark.parametrize("name", FORKS)
def test_every_neuron_behind_a_fork_starts_without_the_bias(name: str) -> None:
    graph = fold(FORKS[name])
    moved = check(delay_only_spikes(graph))
    before, after = (Reference(np.float64).prepare(g).run(drive()) for g in (graph, moved))
    for neuron_name, trace in before.neurons.items():
        assert 0.02 < trace.spikes.mean() < 0.98
        np.testing.assert_array_equal(trace.spikes, after.neurons[neuron_name].spikes)
        np.testing.assert_allclose(trace.v, after.neurons[neuron_name].v, atol=1e-12)


@pytest.mark.parametrize("name", FORKS)
def test_integers_fire_in_the_first_step_as_the_floats(name: str) -> None:
    graph = FORKS[name]
    integers = quantise(fold(graph), Profile(), Calibration(input_high=1))
    floats = Reference().prepare(graph).run(drive(32).astype(np.float32)).neurons
    found = Reference().prepare(integers).run(drive(32).astype(np.int64)).neurons
    for neuron_name, trace in floats.items():
        differ = trace.spikes != found[neuron_name].spikes
        assert differ[0].mean() < 0.01 and differ.mean() < 0.03


def test_a_fork_is_made_up_for_by_the_retention_of_each_neuron() -> None:
    moved = delay_only_spikes(fold(FORKS["behind the Delay"]))
    np.testing.assert_allclose(moved.neurons["a"].v_init, -BIAS / 0.7, rtol=1e-6)
    np.testing.assert_allclose(moved.neurons["b"].v_init, -BIAS / 0.4, rtol=1e-6)


def test_a_neuron_behind_a_flatten_starts_lower_by_channel() -> None:
    bias = np.array([0.7, -0.2], np.float32)
    conv = Conv2d(np.ones((2, 1, 1, 1), np.float32), bias, (1, 1), (0, 0), (1, 1), 1)
    nodes: dict[str, Node] = {
        "in": Input((1, 2, 2), "spikes"),
        "conv": conv,
        "d": Delay((2, 2, 2)),
        "flat": Flatten(),
        "n": neuron(0.5),
        "out": Output("spike_count"),
    }
    moved = delay_only_spikes(fold(Graph.chain(nodes, "float")))
    assert moved.neurons["n"].v_init.tolist() == pytest.approx([-1.4] * 4 + [0.4] * 4)


def test_one_way_that_cannot_is_refused_whatever_the_others_do() -> None:
    nodes: dict[str, Node] = {**D, "a": neuron(), "b": neuron(alpha=np.array(0.5))}
    graph = fold(graph_of(nodes, [("w", "d"), ("d", "a"), ("d", "b")]))
    with pytest.raises(LoweringError, match=r"^w: what is delayed has a bias, and b has no state"):
        delay_only_spikes(graph)


def test_a_bias_that_reaches_the_readout_too_is_refused() -> None:
    nodes: dict[str, Node] = {
        "in": Input((SIZE,), "spikes"),
        "w": Linear(WEIGHT, BIAS),
        "d": Delay((SIZE,)),
        "n": neuron(),
        "fc": Linear(OTHER),
        "sum": Add(),
        "out": Output("integrate"),
    }
    edges = [("in", "w"), ("w", "d"), ("d", "n"), ("n", "fc"), ("fc", "sum", 0), ("d", "sum", 1)]
    graph = fold(check(Graph(nodes, [*edges, ("sum", "out")], "float")))
    with pytest.raises(
        LoweringError, match=r"^w: what is delayed has a bias, and out has no state"
    ):
        delay_only_spikes(graph)


def recurrent(beta: float) -> Graph:
    nodes: dict[str, Node] = {
        "in": Input((SIZE,), "spikes"),
        "w": Linear(np.abs(WEIGHT)),
        "sum": Add(),
        "n": neuron(beta, reset="hard"),
        "rec": Linear(OTHER, BIAS / 3),
        "d": Delay((SIZE,)),
        "out": Output("spike_count"),
    }
    edges = [("in", "w"), ("w", "sum", 0), ("d", "sum", 1), ("sum", "n"), ("n", "rec")]
    return check(Graph(nodes, [*edges, ("rec", "d"), ("n", "out")], "float"))


@pytest.mark.parametrize("target", ["generic", "loihi2"])
@pytest.mark.parametrize("beta", [1.0, 0.9, 0.3, 0.01, 0.001])
def test_the_integer_start_leaves_the_bias_exactly(beta: float, target: str) -> None:
    """What decays from v_init takes back the bias of the first step, to one rounding of each."""
    profile = profile_named(target)
    graph = quantise(fold(recurrent(beta)), profile, Calibration(input_high=1))
    node = graph.neurons["n"]
    assert node.dv is not None and node.bias is not None
    left = decay(node.v_init.astype(np.int64), node.dv.astype(np.int64))
    assert np.abs(left + node.bias).max() <= 1 + profile.bias_step / 2
    low, high = node.v_limits
    assert (node.v_init >= low).all() and (node.v_init <= high).all()


@pytest.mark.parametrize("target", ["generic", "loihi2"])
@pytest.mark.parametrize("beta", [1e-4, 1e-7])
def test_a_retention_that_rounds_to_nothing_is_refused(beta: float, target: str) -> None:
    reason = rf"^n: v_init .* acts through a retention of {beta:.3g}, which is 0 in .* {target};"
    with pytest.raises(LoweringError, match=reason.replace("+", r"\+")):
        quantise(fold(recurrent(beta)), profile_named(target), Calibration(input_high=1))


def test_a_start_that_is_forgotten_in_integers_and_in_floats_passes() -> None:
    """beta 1e-7 of a start of 1: less than a unit is left, and no unit is widened for it."""
    nodes: dict[str, Node] = {
        "in": Input((SIZE,), "spikes"),
        "w": Linear(WEIGHT),
        "n": neuron(1e-7, v_init=np.array(0.5)),
        "out": Output("spike_count"),
    }
    graph = quantise(fold(Graph.chain(nodes, "float")), Profile(), Calibration(input_high=1))
    assert np.abs(graph.of_kind(Linear)["w"].weight).max() == 127
