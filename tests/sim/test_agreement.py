"""Rounding is told from faults: by the first layer that parts, in each sample."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import (
    Add,
    Array,
    Delay,
    Edge,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
    Scale,
)
from spikewright.export.ir.noted import Noted
from spikewright.sim.agreement import Agreement, agreement
from spikewright.sim.reference import Reference

EPS = float(np.finfo(np.float32).eps)
ONE = np.ones(())


def neuron(size: int) -> Neuron:
    return Neuron((size,), v_threshold=ONE, beta=ONE, reset="soft", compare=">=")


def two_layers(first: Array) -> Graph:
    """Two neurons that add one input each, and one neuron that takes half of both."""
    nodes = {
        "input": Input((2,), "direct"),
        "a": Linear(first, None),
        "n": neuron(2),
        "b": Linear(np.full((1, 2), 0.5), None),
        "m": neuron(1),
        "output": Output("none"),
    }
    names = list(nodes)
    edges = [Edge(one, two) for one, two in pairwise(names)]
    return Graph(nodes, edges, "float")


def own(graph: Graph, x: Array, entries: dict[str, str]) -> tuple[dict[str, Noted], Array]:
    """Return a module's run: that of a graph, step by step."""
    session = Reference(np.float32).prepare(graph)
    session.begin(x.shape[1])
    steps = [session.advance(frame) for frame in x.astype(np.float32)]
    noted = {
        name: Noted(np.stack([s[entry] for s in steps]), np.stack([s[name] for s in steps]))
        for name, entry in entries.items()
    }
    return noted, np.stack([s["output"] for s in steps])


ENTRIES = {"n": "a", "m": "b"}


def beside(theirs: Array, x: Array) -> Agreement:
    """Return how weights 0.5 agree with a module of other weights."""
    noted, output = own(two_layers(theirs), x, ENTRIES)
    return agreement(two_layers(np.full((2, 2), 0.5)), x, noted, output)


def frames(*samples: float) -> Array:
    """Return [4, sample, 2]: both inputs of a sample alike, at four steps."""
    return np.broadcast_to(np.asarray(samples)[:, None], (4, len(samples), 2)).astype(np.float32)


def test_equal_runs() -> None:
    found = beside(np.full((2, 2), 0.5), frames(1, 0.3))
    assert (found.equal, found.rounded, found.outputs, found.fault) == (True, 0, 0.0, None)
    assert found.spike_rate == pytest.approx((4 * 2 + 4 + 1 * 2 + 1) / (3 * 2 * 4))


def test_spikes_at_their_threshold_part_by_rounding() -> None:
    """Potentials of 1 - 2 eps in the module, 1 in ours: its spike comes a step later."""
    weights = np.full((2, 2), 0.5)
    weights[0] -= 2 * EPS / 2
    found = beside(weights, frames(1))
    assert found.fault is None
    assert found.rounded == 1 and not found.equal
    assert found.by_neuron["n"] == 1 / 8


@pytest.mark.parametrize("apart", [20 * EPS, 1e-4, 0.1])
def test_a_current_that_is_further_off_is_a_fault(apart: float) -> None:
    weights = np.full((2, 2), 0.5)
    weights[1] -= apart / 2
    found = beside(weights, frames(1))
    assert found.fault is not None
    assert (found.fault.layer, found.fault.what) == ("n", "current")
    assert (found.fault.time_step, found.fault.sample, found.fault.index) == (0, 0, (1,))
    assert found.fault.ours == 1 and found.fault.theirs == pytest.approx(1 - apart)
    assert "step 0, sample 0, neuron [1]: current" in str(found)


def test_a_spike_far_from_its_threshold_is_a_fault() -> None:
    x, graph = frames(0.6), two_layers(np.full((2, 2), 0.5))
    noted, output = own(graph, x, ENTRIES)
    noted["m"].spikes[2, 0, 0] = 1 - noted["m"].spikes[2, 0, 0]
    fault = agreement(graph, x, noted, output).fault
    assert fault is not None
    assert (fault.layer, fault.what, fault.time_step) == ("m", "spikes", 2)
    assert fault.potential is not None and "at a potential of" in str(fault)


def test_what_comes_after_a_tie_is_not_judged_in_that_sample_alone() -> None:
    weights = np.full((2, 2), 0.5)
    weights[0] -= 2 * EPS / 2
    x, graph = frames(1, 0.3), two_layers(np.full((2, 2), 0.5))
    noted, output = own(two_layers(weights), x, ENTRIES)
    assert agreement(graph, x, noted, output).fault is None
    output[0, 1] += 1  # of the sample in which nothing parted
    fault = agreement(graph, x, noted, output).fault
    assert fault is not None and (fault.layer, fault.sample, fault.time_step) == ("output", 1, 0)


def test_a_fault_before_a_tie_is_seen() -> None:
    """The first layer parts by rounding at step 0; the second was wrong in another sample."""
    weights = np.full((2, 2), 0.5)
    weights[0] -= 2 * EPS / 2
    x, graph = frames(1, 0.3), two_layers(np.full((2, 2), 0.5))
    noted, output = own(two_layers(weights), x, ENTRIES)
    noted["m"].current[3, 1] *= 1.01
    fault = agreement(graph, x, noted, output).fault
    assert fault is not None and (fault.layer, fault.sample, fault.time_step) == ("m", 1, 3)


@pytest.mark.parametrize("returns", ["mean", "sum", "last step"])
def test_what_a_module_returns_of_all_steps(returns: str) -> None:
    x, graph = frames(1, 0.3), two_layers(np.full((2, 2), 0.5))
    noted, steps = own(graph, x, ENTRIES)
    graph = graph.replace(metadata={"returns": returns})
    output = {"mean": steps.mean(0), "sum": steps.sum(0), "last step": steps[-1]}[returns]
    assert agreement(graph, x, noted, output).fault is None
    fault = agreement(graph, x, noted, output + 0.25).fault
    assert fault is not None and fault.what == "output"


def test_spikes_that_come_back_a_step_later() -> None:
    """After a tie, the loop brings other spikes: what they cause is not judged."""

    def looped(weight: float) -> Graph:
        nodes: dict[str, Any] = {
            "input": Input((1,), "direct"),
            "d": Delay((1,)),
            "r": Linear(np.full((1, 1), -0.25), None),
            "n.sum": Add(),
            "a": Linear(np.full((1, 1), weight), None),
            "n": neuron(1),
            "output": Output("none"),
        }
        order = ("input", "d", "r", "a", "n.sum", "n", "output")
        edges = [Edge("input", "a"), Edge("d", "r"), Edge("a", "n.sum"), Edge("r", "n.sum", 1)]
        edges += [Edge("n.sum", "n"), Edge("n", "d"), Edge("n", "output")]
        return Graph({name: nodes[name] for name in order}, edges, "float")

    x = np.ones((4, 1, 1), np.float32)
    noted, output = own(looped(1 - EPS), x, {"n": "a"})
    found = agreement(looped(1.0), x, noted, output)
    assert found.fault is None and found.rounded == 1


def test_several_spikes_a_step() -> None:
    """A potential at three thresholds: 2 spikes or 3 by rounding, never 1."""
    many = Neuron((1,), v_threshold=ONE, beta=ONE, compare=">=", max_spikes_per_step=100)
    nodes = {"input": Input((1,), "direct"), "n": many, "output": Output("none")}
    graph = Graph(nodes, [Edge("input", "n"), Edge("n", "output")], "float")
    x = np.full((1, 1, 1), 3.0, np.float32)
    for spikes, faulty in ((3, False), (2, False), (1, True)):
        noted = {"n": Noted(x, np.full_like(x, spikes))}
        assert (agreement(graph, x, noted, x).fault is not None) == faulty


def test_a_delayed_current_keeps_the_size_of_its_terms() -> None:
    """Terms that cancel, kept in a loop without a neuron: their order parts it by rounding."""
    rng = np.random.default_rng(0)
    size = 2000
    weight = rng.normal(0, 1, (1, size)).astype(np.float32)
    weight -= weight.mean()
    order = rng.permutation(size)

    def kept(terms: Array) -> Graph:
        nodes = {
            "input": Input((size,), "spikes"),
            "d": Delay((1,), 2),
            "k": Scale(np.array(0.9)),
            "w": Linear(terms),
            "sum": Add(),
            "output": Output("none"),
        }
        edges = [("input", "w"), ("w", "sum"), ("k", "sum", 1), ("d", "k"), ("sum", "d")]
        return Graph(nodes, [*(Edge(*e) for e in edges), Edge("sum", "output")], "float")

    x = np.zeros((6, 1, size), np.float32)
    x[0] = 1
    _, output = own(kept(weight[:, order]), x[..., order], {})
    found = agreement(kept(weight), x, {}, output)
    assert found.fault is None and found.outputs > 0
    assert agreement(kept(weight), x, {}, output + np.float32(0.01)).fault is not None
