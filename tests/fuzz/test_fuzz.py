"""The short run of the fuzz: what `make fuzz N=10000` does at length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikewright.export.ir import Graph, Input, Linear, Neuron, Node, Output
from spikewright.export.ir.digest import digest
from spikewright.sim.executor import NAMES, executor
from spikewright.sim.reference import Reference
from spikewright.sim.verify import Difference, verify

from . import run as fuzz_run
from .forced import forced_natives
from .graphs import random_graph, random_input
from .run import FORCED, Census, fed, main, one_graph


def test_every_executor_equals_the_reference() -> None:
    assert main(["--graphs", "150", "--seed", "100000"]) == 0


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_equal_for_any_seed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    result = verify(graph, random_input(graph, rng), NAMES)
    assert result.equal, str(result)


def test_the_census_sees_what_is_alive() -> None:
    census = Census()
    for seed in range(80):
        assert one_graph(seed, [executor("native")], census) is None
    assert census.graphs == 80 and census.values > 10_000
    for kind in ("Neuron", "Linear", "Add", "Delay", "Output", "Neuron u wrap"):
        assert census.alive[kind] > 0 and census.saturated[kind] > 0, kind
    assert 0.01 <= census.median_rate <= 0.4
    assert census.seldom(0) == []
    census.saturated["Delay"] = 0
    assert "Delay saturated in 0 graphs" in census.seldom(1)
    text = str(census)
    assert f"{'Neuron':34}{80:>8}" in text and "Input latency" in text and "-\n" in text


def test_no_wide_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(rng: np.random.Generator) -> Graph:
        raise AssertionError("a wide graph")

    monkeypatch.setattr(fuzz_run, "wide_graph", refuse)
    census = Census()
    for seed in range(6):
        assert one_graph(seed, [], census, wide=0) is None
    assert census.graphs == 6
    with pytest.raises(AssertionError, match="a wide graph"):
        one_graph(1, [], census, wide=2)


def test_a_difference_is_found_and_named() -> None:
    """An executor that is wrong in one spike of one step is caught there."""

    class Wrong(Reference):
        name = "wrong"

        def prepare(self, graph: Graph) -> object:  # type: ignore[override]
            session = super().prepare(graph)
            honest = session.run

            def run(x: object, record: object = "states") -> object:
                trace = honest(x, record)  # type: ignore[arg-type]
                name = list(trace.neurons)[-1]
                trace.neurons[name].spikes[1, 0].flat[0] += 1
                return trace

            session.run = run  # type: ignore[method-assign,assignment]
            return session

    rng = np.random.default_rng(3)
    graph = random_graph(rng)
    result = verify(graph, random_input(graph, rng), ["reference", Wrong()])  # type: ignore[list-item]
    assert not result.equal and result.first_difference is not None
    found = result.first_difference
    assert (found.layer, found.time_step, found.index[0]) == (list(graph.neurons)[-1], 1, 0)
    assert found.values["wrong"] == found.values["reference"] + 1


def test_what_a_node_feeds() -> None:
    nodes: dict[str, Node] = {
        "in": Input((2,), "spikes", low=0, high=1),
        "a": Linear(np.eye(2, dtype=np.int8)),
        "n": Neuron((2,), np.int32(0)),
        "b": Linear(np.eye(2, dtype=np.int8)),
        "out": Output(),
    }
    graph = Graph.chain(nodes, "integer")
    assert [fed(graph, name) for name in ("in", "n", "b")] == [{"n"}, {"n"}, {"out"}]


def test_the_same_seed_gives_the_same_graph_and_input() -> None:
    made = []
    for _ in range(2):
        rng = np.random.default_rng(11)
        graph = random_graph(rng)
        made.append((digest(graph), random_input(graph, rng).tobytes()))
    assert made[0] == made[1]


def test_a_failing_graph_is_named_by_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unequal(seed: int, *rest: object) -> Difference | None:
        return Difference("n", "v", 1, (0, 2), {"reference": 1, "x": 2}) if seed == 7 else None

    monkeypatch.setattr(fuzz_run, "one_graph", unequal)
    assert main(["--graphs", "5", "--seed", "4", "--executors", "reference"]) == 1
    assert "seed 7: not equal: n v at step 1, [0, 2]: reference 1, x 2" in capsys.readouterr().out


def test_wide_layers_on_every_table_and_choice() -> None:
    """Twice as many graphs as it takes for each pair of table and choice to have its turn."""
    forced = forced_natives()
    census = Census()
    for seed in range(-(-2 * len(forced) // FORCED)):
        assert one_graph(seed, [], census, forced, wide=1) is None, seed
    assert set(census.forced) == {native.name for native in forced}
    for kind in ("Conv2d strided", "Conv2d in groups", "Delay feed-forward", "MatMul", "Linear"):
        assert census.alive[kind] > 0, kind
