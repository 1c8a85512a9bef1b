"""Delays move before weights with no value changed, bit for bit, and only where they may."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from spikewright.export.fold import fold
from spikewright.export.ir import (
    Add,
    AvgPool,
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
    Reshape,
    Scale,
    SumPool,
    check,
    value_kinds,
)
from spikewright.export.late_bias import delay_only_spikes
from spikewright.export.quantise import quantise
from spikewright.export.retime import delay_spikes
from spikewright.sim.reference import Reference
from spikewright.sim.verify import verify

MAP, SIZE, STEPS = (2, 4, 4), 32, 14


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.05, 0.3, shape).astype(np.float32)


def neuron(**fields: Any) -> Neuron:
    return Neuron((SIZE,), np.array(0.6), **{"beta": np.array(0.7), **fields})


def graph_of(
    way: dict[str, Node], edges: list[Any], last: str = "n", back: bool = True, **fields: Any
) -> Graph:
    """in -> w -> sum -> n, from n by `edges` through `way` into the sum, and from `last` out."""
    nodes: dict[str, Node] = {
        "in": Input((SIZE,), "spikes"),
        "w": Linear(np.abs(drawn(1, SIZE, SIZE))),
        **({"sum": Add()} if back else {}),
        "n": neuron(**fields),
        **way,
        "out": Output("spike_count"),
    }
    entry = [("in", "w"), ("w", "sum", 0), ("sum", "n")] if back else [("in", "w"), ("w", "n")]
    return check(Graph(nodes, [*entry, (last, "out"), *edges], "float"))


def chain(way: dict[str, Node], **fields: Any) -> Graph:
    names = ["n", *way]
    edges = [*pairwise(names), (names[-1], "sum", 1)]
    return graph_of(way, edges, **fields)


def late(shape: tuple[int, ...] = (SIZE,), steps: int = 1) -> Delay:
    return Delay(shape, steps)


BACK = Linear(drawn(2, SIZE, SIZE))
CONV = Conv2d(drawn(3, 2, 2, 3, 3), None, (1, 1), (1, 1), (1, 1), 1)
POOLED: dict[str, Node] = {
    "map": Reshape(MAP),
    "conv": CONV,
    "pool": SumPool((2, 2), (2, 2), (0, 0)),
    "flat": Flatten(),
    "fc": Linear(drawn(4, SIZE, 8)),
}
TWO: dict[str, Node] = {"a": BACK, "b": Linear(drawn(5, SIZE, SIZE)), "both": Add(), "d": late()}
BETWEEN = [("n", "a"), ("n", "b"), ("a", "both", 0), ("b", "both", 1), ("both", "d")]
GRAPHS = {
    "weights": chain({"rec": BACK, "d": late()}),
    "several steps": chain({"rec": BACK, "d": late(steps=3)}),
    "pool, flatten": chain({**POOLED, "d": late()}),
    "average": chain(
        {"map": Reshape(MAP), "p": AvgPool((2, 2), (2, 2), (0, 0)), "d": late((2, 2, 2))}
        | {"f": Flatten(), "fc": Linear(drawn(4, SIZE, 8))}
    ),
    "factor": chain({"rec": BACK, "s": Scale(np.array(0.5)), "d": late()}),
    "two branches": graph_of(TWO, [*BETWEEN, ("d", "sum", 1)]),
    "delays in a row": chain({"a": BACK, "d": late(), "b": Scale(np.array(0.5)), "e": late()}),
    "also not delayed": graph_of(
        {"rec": BACK, "d": late(), "m": neuron()},
        [("n", "rec"), ("rec", "d"), ("d", "sum", 1), ("rec", "m")],
        last="m",
    ),
}


def drive() -> np.ndarray:
    return (np.random.default_rng(7).random((STEPS, 3, SIZE)) < 0.2).astype(np.float32)


def states_of(graph: Graph) -> list[bytes]:
    traces = Reference().prepare(graph).run(drive()).neurons
    assert all(0.02 < trace.spikes.mean() < 0.98 for trace in traces.values())
    return [part.tobytes() for trace in traces.values() for part in (trace.spikes, trace.v)]


def calibrated(graph: Graph, bits: int = 8) -> Graph:
    return quantise(fold(graph), Profile(weight_bits=bits), Calibration(input_high=1))


@pytest.mark.parametrize("name", GRAPHS)
def test_no_value_changes_and_every_delay_stores_spikes(name: str) -> None:
    graph = GRAPHS[name]
    moved = check(delay_spikes(graph))
    kinds = value_kinds(moved)
    assert {kinds[moved.inputs(delay)[0]] for delay in moved.of_kind(Delay)} == {"spike"}
    assert moved.of_kind(Delay)["d"].steps == graph.of_kind(Delay)["d"].steps
    assert states_of(moved) == states_of(graph)
    assert delay_spikes(moved).edges == moved.edges


@pytest.mark.parametrize("name", GRAPHS)
def test_it_lowers_to_integers_that_every_executor_runs_alike(name: str) -> None:
    graph = calibrated(GRAPHS[name])
    result = verify(graph, drive().astype(np.int64), "reference,native,onnxruntime")
    assert result.equal
    floats = Reference().prepare(GRAPHS[name]).run(drive()).neurons
    found = Reference().prepare(graph).run(drive().astype(np.int64)).neurons
    for neuron_name, trace in floats.items():
        assert (found[neuron_name].spikes != trace.spikes).mean() < 0.05


def test_weights_that_feed_others_too_stand_once_more() -> None:
    moved = delay_spikes(GRAPHS["also not delayed"])
    assert moved.inputs("m") == ("rec",) and moved.inputs("sum") == ("w", "rec.late")
    assert moved.inputs("rec.late") == ("d",) and moved.inputs("d") == ("n",)


def test_a_branch_each_gets_its_delay_of_what_both_read() -> None:
    moved = delay_spikes(GRAPHS["two branches"])
    assert moved.inputs("d") == ("n",) and set(moved.consumers("d")) == {"a", "b"}


def test_spikes_and_integrators_keep_their_delays() -> None:
    plain = chain({"d": late(), "rec": BACK})
    summed = graph_of(
        {"y": Add(), "z": late(), "k": Scale(np.array(0.5)), "m": neuron()},
        [("n", "y", 0), ("k", "y", 1), ("y", "z"), ("z", "k"), ("y", "m")],
        last="m",
        back=False,
    )
    for graph in (plain, summed):
        assert delay_spikes(graph).edges == graph.edges


def test_a_current_kept_without_a_neuron_is_refused_for_what_it_is() -> None:
    """LI and CubaLI of a NIR file, elsewhere than before the Output."""
    nodes: dict[str, Node] = {
        "in": Input((SIZE,), "spikes"),
        "w": Linear(BACK.weight),
        "y": Add(),
        "z": late(),
        "k": Scale(np.array(0.5)),
        "n": neuron(),
        "out": Output("spike_count"),
    }
    edges = [("in", "w"), ("w", "y", 0), ("k", "y", 1), ("y", "z"), ("z", "k"), ("y", "n")]
    with pytest.raises(LoweringError, match=r"z: keeps a current .* without a neuron; use a cur"):
        calibrated(Graph(nodes, [*edges, ("n", "out")], "float"))


BIASED = Linear(BACK.weight, drawn(6, SIZE) - 0.1)


def test_a_bias_stays_behind_unless_it_may_come_early() -> None:
    graph = chain({"rec": BIASED, "d": late()})
    assert delay_spikes(graph).edges == graph.edges
    early = delay_spikes(graph, past_bias=True)
    assert early.inputs("d") == ("n",)
    due = chain({"d": late(), "rec": BIASED})
    assert states_of(early) == states_of(due)


@pytest.mark.parametrize("reset", ["hard", "soft", "soft_after_decay"])
@pytest.mark.parametrize("beta", [1.0, 0.7])
def test_a_start_that_is_lower_makes_up_for_a_bias(reset: Any, beta: float) -> None:
    """From the first step on, and twice: two loops with a bias each."""
    fields = {"reset": reset, "beta": np.array(beta), "v_init": np.array(0.125)}
    way = {"rec": BIASED, "d": late(), "two": BIASED, "e": late(), "both": Add()}
    edges = [("n", "rec"), ("rec", "d"), ("d", "both", 0), ("n", "two"), ("two", "e")]
    graph = fold(graph_of(way, [*edges, ("e", "both", 1), ("both", "sum", 1)], **fields))
    moved = check(delay_only_spikes(graph))
    assert {*moved.inputs("d"), *moved.inputs("e")} == {"n"}
    x = np.random.default_rng(7).random((STEPS, 3, SIZE)) < 0.2
    before, after = (Reference(np.float64).prepare(g).run(x * 1.0) for g in (graph, moved))
    np.testing.assert_array_equal(before.neurons["n"].spikes, after.neurons["n"].spikes)
    np.testing.assert_allclose(before.neurons["n"].v, after.neurons["n"].v, atol=1e-12)


def test_the_bias_of_a_convolution_is_one_a_channel() -> None:
    conv = Conv2d(CONV.weight, np.array([0.2, -0.3], np.float32), (1, 1), (1, 1), (1, 1), 1)
    nodes: dict[str, Node] = {
        "in": Input(MAP, "spikes"),
        "w": CONV,
        "sum": Add(),
        "n": Neuron(MAP, np.array(0.2), beta=np.array(0.5)),
        "rec": conv,
        "d": late(MAP),
        "out": Output("spike_count"),
    }
    edges = [("in", "w"), ("w", "sum", 0), ("sum", "n"), ("n", "rec"), ("rec", "d")]
    graph = Graph(nodes, [*edges, ("d", "sum", 1), ("n", "out")], "folded")
    moved = delay_only_spikes(graph)
    assert moved.neurons["n"].v_init.ravel().tolist() == pytest.approx([-0.4, 0.6])
    x = (np.random.default_rng(7).random((STEPS, 3, *MAP)) < 0.4) * 1.0
    before, after = (Reference(np.float64).prepare(g).run(x) for g in (graph, moved))
    assert 0.05 < before.neurons["n"].spikes.mean() < 0.95
    np.testing.assert_array_equal(before.neurons["n"].spikes, after.neurons["n"].spikes)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (chain({"rec": BIASED, "d": late(steps=2)}), "no neuron alone takes it one step later"),
        (
            chain({"rec": BIASED, "d": late(), "two": BACK}),
            "no neuron takes it before two, a Linear",
        ),
        (
            chain({"rec": BIASED, "d": late()}, alpha=np.array(0.5)),
            "n has no state that can start without it",
        ),
        (
            chain({"rec": BIASED, "d": late()}, beta=np.array(0.0)),
            "n keeps nothing of where it starts",
        ),
    ],
)
def test_a_bias_that_no_start_makes_up_for_is_refused(graph: Graph, reason: str) -> None:
    with pytest.raises(LoweringError, match=f"rec: what is delayed has a bias, and {reason}; move"):
        calibrated(graph)


def test_units_that_need_each_other_are_refused() -> None:
    """a reads what c makes, d reads what b makes; a + b and c + d share a unit each."""
    names = ("a", "b", "c", "d")
    nodes: dict[str, Node] = {"in": Input((SIZE,), "spikes"), "out": Output("spike_count")}
    nodes |= {name: Linear(BACK.weight) for name in names}
    nodes |= {"ab": Add(), "cd": Add(), "n": neuron(), "m": neuron(), "all": Add()}
    edges = [("in", "b"), ("in", "c"), ("c", "a"), ("b", "d"), ("a", "ab", 0), ("b", "ab", 1)]
    edges += [("c", "cd", 0), ("d", "cd", 1), ("ab", "n"), ("cd", "m"), ("n", "all", 0)]
    graph = Graph(nodes, [*edges, ("m", "all", 1), ("all", "out")], "float")
    with pytest.raises(LoweringError, match="whose unit depends on it; put a neuron between them"):
        calibrated(graph)
