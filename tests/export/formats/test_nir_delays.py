"""Delays in loops, and names that we give: the plain file computes what the graph does.

Weights are multiples of 1/32 and beta is 1/2, so that no rounding decides a spike.
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from spikewright.export.formats.nir_dialect import DIALECTS
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.formats.nir_limits import cannot_say
from spikewright.export.formats.nir_out import write_nir
from spikewright.export.ir import (
    Add,
    Array,
    Delay,
    Edge,
    Graph,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    Scale,
)
from spikewright.export.ir.errors import FormatWarning
from spikewright.sim.reference import Reference

SIZE = 6


def neuron() -> Neuron:
    return Neuron((SIZE,), np.array(0.7 + 1 / 96), beta=np.array(0.5))


def weights(seed: int) -> Linear:
    return Linear(np.random.default_rng(seed).integers(-16, 25, (SIZE, SIZE)) / 32)


def drive() -> Array:
    return (np.random.default_rng(1).random((20, 3, SIZE)) < 0.4).astype(np.float64)


def assert_same(graph: Graph, path: Path, dialect: str = "portable") -> Graph:
    """The file read as other tools read it has the graph's own spikes; return it."""
    write_nir(graph, path, dialect=dialect, strict=True, force=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FormatWarning)
        found = read_nir(path, plain=True)
    ours, theirs = (Reference(np.float64).prepare(g).run(drive()) for g in (graph, found))
    assert any(0.03 < trace.spikes.mean() < 0.97 for trace in ours.neurons.values())
    for name, trace in ours.neurons.items():
        np.testing.assert_array_equal(theirs.neurons[name].spikes, trace.spikes, err_msg=name)
    return found


RING = {"ad": Add(), "n1": neuron(), "f": weights(2), "n2": neuron(), "r": weights(3)}


def ring(*delays: str) -> Graph:
    """in -> w -> [ad -> n1 -> f -> n2 -> r ->], a Delay behind each of the named nodes."""
    around: list[tuple[str, Node]] = []
    for name, node in RING.items():
        around.append((name, node))
        around += [(f"{name}.late", Delay((SIZE,)))] if name in delays else []
    names = [name for name, _ in around]
    edges = [Edge("in", "w"), Edge("w", "ad", 0), *(Edge(a, b) for a, b in pairwise(names))]
    edges += [Edge(names[-1], "ad", 1), Edge("n2", "out")]
    ends: dict[str, Node] = {"in": Input((SIZE,), "spikes"), "w": weights(4)}
    return Graph({**ends, **dict(around), "out": Output("spike_count")}, edges, "float")


@pytest.mark.parametrize(
    "delays",
    [("r",), ("n2",), ("f",), ("n1",), ("ad",), ("n1", "r"), ("f", "n2"), ("n1", "n2", "r")],
)
def test_a_delay_anywhere_in_a_loop(tmp_path: Path, delays: tuple[str, ...]) -> None:
    found = assert_same(ring(*delays), tmp_path / "g.nir")
    assert len(found.of_kind(Delay)) == len(delays)


def test_a_loader_without_delays_is_told_of_where_they_stay() -> None:
    assert not cannot_say(ring("r"), DIALECTS["norse"])
    assert "n1.late: norse loads no Delay" in cannot_say(ring("n1"), DIALECTS["norse"])


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("dialect", ["portable", "norse", "snntorch", "spikingjelly"])
def test_a_neuron_onto_itself_without_weights(tmp_path: Path, dialect: str, scaled: bool) -> None:
    nodes: dict[str, Node] = {"in": Input((SIZE,), "spikes"), "w": weights(4), "ad": Add()}
    nodes |= {"n": neuron(), "d": Delay((SIZE,)), "out": Output("spike_count")}
    back = "d"
    edges = [Edge("in", "w"), Edge("w", "ad", 0), Edge("ad", "n"), Edge("n", "d"), Edge("n", "out")]
    if scaled:
        nodes["s"], back = Scale(np.full(SIZE, 0.5)), "s"
        edges.append(Edge("d", "s"))
    graph = Graph(nodes, [*edges, Edge(back, "ad", 1)], "float")
    assert_same(graph, tmp_path / "g.nir", dialect)


def test_names_that_ours_would_hide(tmp_path: Path) -> None:
    """A layer called as the node that we put somewhere keeps its place."""
    nodes: dict[str, Node] = {
        "in": Input((SIZE,), "spikes"),
        "b.identity": weights(4),
        "a": neuron(),
        "b": neuron(),
        "out.leaky": weights(5),
        "out": Output("leaky", beta=np.array(0.5)),
    }
    found = assert_same(Graph.chain(nodes, "float"), tmp_path / "g.nir")
    assert {"b.identity", "b.identity_", "out.leaky"} <= set(found.nodes)
    assert found.output.readout == "leaky"


def test_names_that_the_reader_would_hide(tmp_path: Path) -> None:
    nodes: dict[str, Node] = {"in": Input((SIZE,), "spikes"), "n.sum": weights(4)}
    nodes |= {"n": neuron(), "r.to.n": weights(5), "r": weights(6), "ad": Add()}
    nodes |= {"d": Delay((SIZE,)), "n2": neuron(), "out": Output("spike_count")}
    edges = [Edge("in", "n.sum"), Edge("n.sum", "ad", 0), Edge("r", "ad", 1), Edge("ad", "n")]
    edges += [Edge("n", "d"), Edge("d", "r"), Edge("n", "r.to.n"), Edge("r.to.n", "n2")]
    graph = Graph(nodes, [*edges, Edge("n2", "out")], "float")
    found = assert_same(graph, tmp_path / "g.nir")
    assert found.metadata["delays"] == ["r.to.n_"] and "n.sum_" in found.nodes


def test_a_value_that_two_additions_bring_twice(tmp_path: Path) -> None:
    nodes: dict[str, Node] = {"in": Input((SIZE,), "spikes"), "a": weights(4), "b": weights(5)}
    nodes |= {"one": Add(), "two": Add(), "n": neuron(), "out": Output("spike_count")}
    edges = [Edge("in", "a"), Edge("in", "b"), Edge("a", "one", 0), Edge("b", "one", 1)]
    edges += [Edge("one", "two", 0), Edge("a", "two", 1), Edge("two", "n"), Edge("n", "out")]
    assert_same(Graph(nodes, edges, "float"), tmp_path / "g.nir")


def test_additions_over_additions_take_bounded_time(tmp_path: Path) -> None:
    """Each stage doubles the ways: 2^40 of them."""
    nodes: dict[str, Node] = {"in": Input((SIZE,), "spikes"), "w": weights(4)}
    edges, last = [Edge("in", "w")], "w"
    for k in range(40):
        nodes |= {f"s{k}": Scale(np.full(SIZE, 0.5)), f"a{k}": Add()}
        edges += [Edge(last, f"s{k}"), Edge(last, f"a{k}", 0), Edge(f"s{k}", f"a{k}", 1)]
        last = f"a{k}"
    nodes |= {"n": neuron(), "out": Output("spike_count")}
    graph = Graph(nodes, [*edges, Edge(last, "n"), Edge("n", "out")], "float")
    write_nir(graph, tmp_path / "g.nir")  # with a walk of every way it would never end
    assert (tmp_path / "g.nir").stat().st_size < 1_000_000
