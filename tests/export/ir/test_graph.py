"""The graph: one stable order, loops through Delays, and nothing that can be changed."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import permutations
from typing import Any

import networkx as nx
import numpy as np
import pytest

from spikewright.export.ir import (
    KINDS,
    PROFILES,
    Add,
    Conv2d,
    Delay,
    Edge,
    Flatten,
    Graph,
    GraphError,
    Input,
    InputError,
    Linear,
    Neuron,
    Node,
    Output,
    SpikewrightError,
    UnknownNameError,
    check,
    dense_macs,
    parameters,
    profile,
    rows,
    value_kinds,
)
from spikewright.export.ir.digest import digest
from spikewright.export.ir.profile import Profile

EYE = np.eye(2, dtype=np.int8)
RECURRENT: dict[str, Node] = {
    "in": Input((2,), "spikes", low=0, high=1),
    "w": Linear(EYE),
    "back": Delay((2,), 2),
    "sum": Add(),
    "n": Neuron((2,), np.int32(1)),
    "out": Output("none"),
}
LOOP = [("in", "w"), ("w", "sum", 0), ("back", "sum", 1), ("sum", "n"), ("n", "back"), ("n", "out")]


def recurrent(**changes: Node) -> Graph:
    return Graph({**RECURRENT, **changes}, LOOP, "integer")


def test_a_delay_stands_before_what_it_feeds() -> None:
    graph = check(recurrent())
    assert graph.order.index("back") < graph.order.index("sum") < graph.order.index("n")
    assert graph.inputs("sum") == ("w", "back") and graph.inputs("back") == ("n",)
    assert graph.consumers("n") == ("back", "out")
    assert graph.shapes["back"] == (2,)


def test_the_order_is_topological_for_any_insertion() -> None:
    for names in permutations(RECURRENT):
        graph = Graph({name: RECURRENT[name] for name in names}, LOOP, "integer")
        place = {name: k for k, name in enumerate(graph.order)}
        for edge in graph.edges:
            assert edge.target == "back" or place[edge.source] < place[edge.target]
        assert list(graph.edges) == sorted(graph.edges, key=lambda e: (place[e.target], e.port))


def test_ties_stand_in_order_of_insertion() -> None:
    nodes: dict[str, Node] = {"in": Input((2,)), "z": Flatten(), "a": Flatten(), "add": Add()}
    edges = [("in", "z"), ("in", "a"), ("a", "add", 0), ("z", "add", 1), ("add", "out")]
    graph = Graph({**nodes, "out": Output()}, edges, "float")
    assert graph.order == ("in", "z", "a", "add", "out")
    assert graph.inputs("add") == ("a", "z")


def test_a_loop_without_a_delay_is_named() -> None:
    with pytest.raises(GraphError, match="a loop without a Delay; put a Delay") as caught:
        recurrent(back=Flatten())
    assert {"n", "back", "sum"} <= set(str(caught.value.node).split(" -> "))


def test_a_delay_may_feed_itself_only_through_a_neuron() -> None:
    nodes: dict[str, Node] = {
        "in": Input((2,), "spikes", low=0, high=1),
        "one": Delay((2,)),
        "two": Delay((2,), 3),
        "sum": Add(),
        "out": Output("none"),
    }
    edges = [("in", "sum", 0), ("two", "sum", 1), ("sum", "one"), ("one", "two"), ("one", "out")]
    graph = Graph(nodes, edges, "integer")
    assert graph.shapes["two"] == (2,)
    with pytest.raises(SpikewrightError, match="grow without bound"):
        check(graph)


def test_an_edge_to_nowhere_is_refused() -> None:
    with pytest.raises(GraphError, match="nowhere: edge n -> nowhere has no such node"):
        Graph(RECURRENT, [("n", "nowhere")], "integer")


def test_nothing_can_be_changed() -> None:
    weight = np.eye(2)
    node = Linear(weight)
    weight[0, 0] = 7
    assert node.weight[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        node.weight[0, 0] = 2
    with pytest.raises(FrozenInstanceError):
        node.bits = 4  # type: ignore[misc]
    graph = recurrent()
    with pytest.raises(TypeError):
        graph.nodes["w"] = node  # type: ignore[index]
    with pytest.raises(TypeError):
        graph.metadata["a"] = 1  # type: ignore[index]


def test_replacing_gives_another_graph() -> None:
    graph = recurrent()
    other = graph.map_nodes(lambda _, n: Neuron((2,), np.int32(5)) if isinstance(n, Neuron) else n)
    assert graph.neurons["n"].v_threshold == 1 and other.neurons["n"].v_threshold == 5
    assert other.edges == graph.edges and digest(other) != digest(graph)
    assert digest(graph.replace(metadata={"a": 1})) == digest(graph) == digest(recurrent())


def test_lists_become_tuples_and_kinds_have_names() -> None:
    node = Conv2d(np.ones((1, 1, 1, 1)), stride=[2, 1], padding=np.array([0, 1]).tolist())  # type: ignore[arg-type]
    assert node.stride == (2, 1) and node.padding == (0, 1) and node.kind == "Conv2d"
    assert all(kind == cls.__name__ for kind, cls in KINDS.items()) and len(KINDS) == 17
    assert list(node.field_values())[:2] == ["weight", "bias"]


def test_as_networkx() -> None:
    net: Any = recurrent().networkx()
    assert isinstance(net, nx.MultiDiGraph) and net.nodes["back"]["node"].steps == 2
    assert {(a, b, d["port"]) for a, b, d in net.edges(data=True)} == {Edge(*e) for e in LOOP}


def test_a_chain_feeds_one_by_one() -> None:
    graph = Graph.chain({"in": Input((2,)), "w": Linear(np.eye(2)), "out": Output()}, "float")
    assert graph.edges == (Edge("in", "w", 0), Edge("w", "out", 0))
    assert (graph.input_name, graph.output_name) == ("in", "out")


def test_value_kinds() -> None:
    kinds = value_kinds(recurrent())
    assert kinds == {
        "in": "spike", "w": "current", "back": "spike", "sum": "current", "n": "spike",
        "out": "spike",
    }  # fmt: skip
    direct = Graph.chain({"in": Input((2,)), "f": Flatten(), "out": Output()}, "float")
    assert value_kinds(direct)["f"] == "analog"


def test_the_layer_table() -> None:
    nodes: dict[str, Node] = {
        "in": Input((3, 6, 6), "direct", 1.0, -127, 127),
        "conv": Conv2d(np.ones((4, 3, 3, 3), np.int8), stride=(2, 2), padding=(1, 1), bits=8),
        "n": Neuron((4, 3, 3), np.array([5, 6, 7, 9], np.int32).reshape(4, 1, 1)),
        "out": Output("spike_count"),
    }
    graph = Graph.chain(nodes, "integer", profile=PROFILES["generic"])
    table = {row["name"]: row for row in rows(graph)}
    assert table["conv"]["dense_macs"] == dense_macs(graph, "conv") == 4 * 9 * 27
    assert table["conv"]["parameters"] == parameters(graph.nodes["conv"]) == 108
    assert (table["conv"]["bound"], table["n"]["bound"]) == (27 * 127, 1)
    assert table["n"]["v_threshold"] == [5.0, 9.0]
    text = str(graph)
    assert "integer graph, profile generic: 108 parameters, 972 dense MACs a step" in text
    assert "5..9" in text and graph._repr_html_().count("<tr>") == 5


def test_profiles() -> None:
    assert profile("loihi2").with_bits(4).weight_bits == 4
    assert Profile.from_json(PROFILES["loihi1"].to_json()) == PROFILES["loihi1"]
    with pytest.raises(InputError, match=r"profile generic: 9 weight bits, allowed 2\.\.8"):
        profile("generic").with_bits(9)
    with pytest.raises(UnknownNameError, match="lohi2: no profile of this name; did you mean loih"):
        profile("lohi2")


def test_an_error_is_one_line() -> None:
    error = GraphError("limit 3,\nfound 4", node="a", remedy="use 3")
    assert str(error) == "a: limit 3, found 4; use 3" and error.args == ("limit 3,\nfound 4",)
    assert str(InputError("no")) == "no"
    assert "known: x, y" in str(UnknownNameError.of("thing", "qqq", ["y", "x"]))
