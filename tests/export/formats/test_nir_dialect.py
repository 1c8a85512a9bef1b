"""NIR dialects: rewriting changes no spike, files hold what each reader needs, limits are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from spikewright.export.fold import fold
from spikewright.export.formats.nir_dialect import DIALECTS
from spikewright.export.formats.nir_file import load_nir
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.formats.nir_limits import cannot_say
from spikewright.export.formats.nir_order import zero_weights
from spikewright.export.formats.nir_out import write_nir
from spikewright.export.formats.nir_rewrite import rewrite
from spikewright.export.ir import (
    Add,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    FormatError,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
    Scale,
    UnknownNameError,
)
from spikewright.export.ir.digest import digest
from spikewright.export.retime import delay_spikes
from spikewright.sim.reference import Reference
from tests.interop.corpus import INTEGER, NETWORKS, build, ran, subtracting

PEERS = tuple(name for name, rules in DIALECTS.items() if rules.few_layers)

CHECKED = (
    "conv, depthwise",
    "conv, kernel 1x3, stride 2x1",
    "sum pool, padded",
    "residual, downsampled",
    "recurrent",
    "int8 conv, groups, pool, IF",
)
ONE_ELEMENT = pytest.mark.filterwarnings("ignore:.*full shape, broadcast to it")


def network(name: str, dialect: str) -> Graph:
    """Return a network of the corpus, with the neurons that a dialect's reader has."""
    graph = build(name)
    return subtracting(graph) if DIALECTS[dialect].reset == "soft" else graph


@pytest.mark.parametrize("name", NETWORKS)
def test_rewriting_changes_no_spike(name: str) -> None:
    hard = fold(build(name))
    soft = subtracting(hard)
    expected = {"hard": ran(hard).neurons, "soft": ran(soft).neurons}
    for dialect, rules in DIALECTS.items():
        rewritten = rewrite(soft if rules.reset == "soft" else hard, rules, lambda _: True)
        one, two = expected[rules.reset], ran(rewritten).neurons
        for neuron, trace in one.items():
            assert np.array_equal(trace.spikes, two[neuron].spikes), (dialect, neuron)
            compare = rewritten.neurons[neuron].compare
            assert compare == DIALECTS[dialect].compare, (dialect, neuron)


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "sinabs"])
def test_nirs_own_type_check_takes_every_file(tmp_path: Path, dialect: str) -> None:
    """It refuses groups and oblong kernels, so files hold neither (sinabs pins an older nir)."""
    for name in CHECKED:
        write_nir(build(name), tmp_path / "n.nir", dialect=dialect, force=True)
        assert nir.read(str(tmp_path / "n.nir"), type_check=True).nodes


def test_a_kernel_that_cannot_be_made_square_is_told() -> None:
    conv = Conv2d(np.ones((1, 1, 1, 2)))
    nodes = {"in": Input((1, 4, 4), "spikes"), "c": conv, "flat": Flatten(), "out": Output()}
    (line,) = cannot_say(Graph.chain(nodes, "float"))
    assert line.startswith("c: nir's own type check takes the kernel (1, 2) for square")


def test_convolutions_over_one_axis_lose_their_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = {
        "in": Input((4, 9), "spikes"),
        "c": Conv1d(rng.normal(size=(6, 2, 3)), rng.normal(size=6), groups=2),
        "n": Neuron((6, 7), np.array(0.5), beta=np.array(0.5)),
        "out": Output("spike_count"),
    }
    graph = Graph.chain(nodes, "float")
    write_nir(graph, tmp_path / "n.nir")
    convolution = nir.read(str(tmp_path / "n.nir")).nodes["c"]
    assert isinstance(convolution, nir.Conv1d) and convolution.weight.shape == (6, 4, 3)
    again = read_nir(tmp_path / "n.nir", plain=True)
    assert np.array_equal(ran(graph).neurons["n"].spikes, ran(again).neurons["n"].spikes)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_comes_back_exactly(tmp_path: Path, dialect: str) -> None:
    for name in ("conv, depthwise", "residual, spikes into a current", "recurrent", *INTEGER):
        graph = network(name, dialect)
        path = tmp_path / f"{len(name)}.nir"
        write_nir(graph, path, dialect=dialect, force=True)
        assert digest(read_nir(path)) == digest(graph)


def weight(graph: Graph, name: str) -> Any:
    return graph.of_kind(Linear)[name].weight


def nodes_of(path: Path, graph: Graph, dialect: str) -> Any:
    write_nir(graph, path, dialect=dialect)
    return nir.read(str(path), type_check=False).nodes


def test_the_integers_themselves_reach_each_reader(tmp_path: Path) -> None:
    """Integrate-and-fire with hard reset: weights are our codes, thresholds at half a unit."""
    name = "int8 mlp, IF"
    for dialect in PEERS:
        graph = network(name, dialect)
        found = nodes_of(tmp_path / f"{dialect}.nir", graph, dialect)
        assert np.array_equal(found["l0"].weight, weight(graph, "l0"))
        threshold = float(graph.neurons["n0"].v_threshold)
        off = float(np.asarray(found["n0"].v_threshold).flat[0]) - threshold
        expected = 0.0 if dialect == "sinabs" else 0.5
        assert abs(off - expected) < 0.01, dialect


def test_the_gain_stands_where_the_reader_takes_it(tmp_path: Path) -> None:
    lif, keeps = network("mlp", "norse"), network("mlp, IF", "norse")
    one, two = weight(lif, "l0"), weight(keeps, "l0")
    found = nodes_of(tmp_path / "a.nir", lif, "spikingjelly")
    assert np.allclose(found["n0"].r, 2) and np.allclose(found["l0"].weight, one)
    found = nodes_of(tmp_path / "b.nir", lif, "norse")
    assert np.allclose(found["n0"].r, 1) and np.allclose(found["l0"].weight, 2 * one)
    found = nodes_of(tmp_path / "c.nir", keeps, "spikingjelly")
    assert np.allclose(found["n0"].r, 1e4) and np.allclose(found["l0"].weight, two)
    found = nodes_of(tmp_path / "d.nir", keeps, "snntorch")
    assert isinstance(found["n0"], nir.LIF) and np.allclose(found["l0"].weight, two)
    found = nodes_of(tmp_path / "e.nir", network("mlp", "sinabs"), "sinabs")
    assert found["n0"].tau.shape == (1,) and np.allclose(np.exp(-1 / found["n0"].tau), 0.5)


def test_sinabs_files_are_of_the_old_schema(tmp_path: Path) -> None:
    write_nir(network("conv", "sinabs"), tmp_path / "n.nir", dialect="sinabs")
    with h5py.File(tmp_path / "n.nir") as file:
        version: Any = file["version"]
        nodes: Any = file["node/nodes"]
        assert version[()] == b"1.0.4"
        fields = {key for node in nodes.values() for key in node}
    assert "v_reset" not in fields and "metadata" not in fields


def test_loops_carry_no_delay(tmp_path: Path) -> None:
    graph = network("recurrent", "norse")
    found = nodes_of(tmp_path / "n.nir", graph, "norse")
    assert not any(isinstance(node, nir.Delay) for node in found.values())
    edges = nir.read(str(tmp_path / "n.nir"), type_check=False).edges
    assert ("n1", "rec") in edges and ("rec", "n1") in edges
    biased = {**graph.nodes, "rec": Linear(weight(graph, "rec"), np.full(12, 0.25))}
    one = ran(fold(graph.replace(biased)))
    two = ran(rewrite(fold(graph.replace(biased)), DIALECTS["norse"], lambda _: False))
    assert np.array_equal(one.neurons["n1"].spikes, two.neurons["n1"].spikes)


def test_a_step_moves_before_the_weights_of_a_loop() -> None:
    """As snntorch has it: what its recurrent weights add is there from the first step on."""
    nodes = {
        "in": Input((2,), "spikes"),
        "sum": Add(),
        "n": Neuron((2,), np.array(0.5), beta=np.array(0.5)),
        "rec": Linear(np.zeros((2, 2)), np.ones(2)),
        "d": Delay((2,)),
        "out": Output("spike_count"),
    }
    edges = [
        ("in", "sum", 0),
        ("d", "sum", 1),
        ("sum", "n"),
        ("n", "rec"),
        ("rec", "d"),
        ("n", "out"),
    ]
    graph = Graph(nodes, edges, "float")
    x = np.zeros((3, 1, 2), np.float32)
    for found, first in ((graph, 0), (delay_spikes(graph, ["d"], past_bias=True), 1)):
        spikes = Reference().prepare(found).run(x).neurons["n"].spikes
        assert (spikes[0] == first).all() and (spikes[1:] == 1).all()


def test_a_bias_in_a_loop_that_cannot_move_is_told() -> None:
    graph = network("recurrent", "norse")
    pooled = Linear(weight(graph, "rec"), np.full(12, 0.25))
    shared = {**graph.nodes, "rec": pooled, "out": Output("spike_count")}
    assert not any("in a loop" in line for line in cannot_say(graph.replace(shared)))
    scale = {**shared, "half": Scale(np.array(0.5))}
    edges = [e._replace(source="half") if e.source == "rec" else e for e in graph.edges]
    through = Graph(scale, [*edges, ("rec", "half")], "float")
    lines = cannot_say(through, DIALECTS["norse"])
    assert any(line.startswith("rec: ") and "in a loop" in line for line in lines)
    assert not cannot_say(through)  # where the Delay is written


def test_a_leaky_readout_is_a_leaky_integrator(tmp_path: Path) -> None:
    half = np.array(0.5)
    nodes = {"in": Input((4,), "spikes"), "l": Linear(np.eye(4)), "out": Output("leaky", beta=half)}
    found = nodes_of(tmp_path / "n.nir", Graph.chain(nodes, "float"), "portable")
    assert isinstance(found["out.leaky"], nir.LI) and np.allclose(found["out.leaky"].tau, 2e-4)


LIMITS: dict[str, tuple[str, dict[str, Any]]] = {
    "norse resets to 0": ("norse", {"v_reset": np.array(0.25)}),
    "sinabs uses soft": ("sinabs", {}),
    "snntorch uses 1": ("snntorch", {"max_spikes_per_step": 3, "reset": "soft"}),
    "takes one threshold a layer": ("spikingjelly", {"v_threshold": np.arange(12.0).reshape(3, 4)}),
    "one time constant": ("snntorch", {"beta": np.array([[0.5], [0.25], [0.5]])}),
    "above 1 step": ("spikingjelly", {"beta": np.array(0.0)}),
    "loads no Linear over tokens": ("norse", {}),
    "refractory_steps 2": ("norse", {"refractory_steps": 2}),
}


@pytest.mark.parametrize("says", LIMITS)
def test_what_a_reader_lacks_is_said_or_refused(tmp_path: Path, says: str) -> None:
    dialect, fields = LIMITS[says]
    neuron = Neuron((3, 4), **{"v_threshold": np.array(1.0), "beta": np.array(0.5), **fields})
    nodes = {"in": Input((3, 4), "spikes"), "l": Linear(np.eye(4)), "n": neuron, "out": Output()}
    graph = Graph.chain(nodes, "float")
    assert says in " / ".join(cannot_say(graph, DIALECTS[dialect]))
    with pytest.raises(FormatError, match="strict=True"):
        write_nir(graph, tmp_path / "n.nir", dialect=dialect, strict=True)
    assert not list(tmp_path.iterdir())


def test_what_a_reader_has_is_not_warned_of() -> None:
    for dialect in PEERS:
        for name in NETWORKS:
            assert cannot_say(network(name, dialect), DIALECTS[dialect]) == [], (dialect, name)


@ONE_ELEMENT
def test_sinabs_takes_a_synaptic_current_as_two_nodes(tmp_path: Path) -> None:
    graph = network("mlp, synaptic current", "sinabs")
    found = nodes_of(tmp_path / "n.nir", graph, "sinabs")
    assert isinstance(found["n0.current"], nir.LI) and isinstance(found["n0"], nir.LIF)
    again = read_nir(tmp_path / "n.nir", plain=True)
    for name, trace in ran(graph).neurons.items():
        assert np.array_equal(trace.spikes, ran(again).neurons[name].spikes)


def integrating(keep: float) -> Graph:
    """Weights, a state that keeps `keep` and never spikes, weights, a neuron."""
    rng = np.random.default_rng(2)
    nodes = {
        "in": Input((5,), "spikes"),
        "l": Linear(rng.normal(size=(4, 5)), rng.normal(size=4)),
        "y": Add(),
        "back": Delay((4,)),
        "kept": Scale(np.array(keep)),
        "m": Linear(rng.normal(size=(3, 4))),
        "n": Neuron((3,), np.array(0.7), beta=np.array(0.5)),
        "out": Output("spike_count"),
    }
    ways = [("in", "l"), ("l", "y"), ("kept", "y", 1), ("y", "back"), ("back", "kept")]
    return Graph(nodes, [*ways, ("y", "m"), ("m", "n"), ("n", "out")], "float")


@ONE_ELEMENT
@pytest.mark.parametrize("keep", [0.75, 1.0, -0.5])
@pytest.mark.parametrize("dialect", ["portable", "literal", "sinabs", "norse"])
def test_states_that_never_spike_are_integrators(tmp_path: Path, dialect: str, keep: float) -> None:
    """I and LI where the reader has them, else the loop with its Delay."""
    graph = integrating(keep)
    graph = subtracting(graph) if dialect == "sinabs" else graph
    found = nodes_of(tmp_path / "n.nir", graph, dialect)
    lacks = keep < 0 or dialect == "norse"
    leaky = keep < 1 or dialect == "sinabs"
    expected = nir.Delay if lacks else nir.LI if leaky else nir.I
    assert isinstance(found["back" if lacks else "y"], expected)
    assert lacks or not {"back", "kept"} & set(found)
    one, two = ran(graph), ran(read_nir(tmp_path / "n.nir", plain=True))
    assert (one.neurons["n"].spikes != 0).mean() > 0.05
    assert np.array_equal(one.neurons["n"].spikes, two.neurons["n"].spikes)


def test_literal_files_use_every_node_that_nir_has(tmp_path: Path) -> None:
    weights = np.eye(4)
    nodes = {
        "in": Input((4,), "spikes"),
        "l": Linear(weights),
        "t": Neuron((4,), np.array(0.5), beta=np.array(0.0)),
        "m": Linear(weights, np.ones(4)),
        "out": Output("integrate"),
    }
    graph = Graph.chain(nodes, "float")
    found = nodes_of(tmp_path / "n.nir", graph, "literal")
    kinds = {name: type(node).__name__ for name, node in found.items()}
    assert kinds["l"] == "Linear" and kinds["t"] == "Threshold" and kinds["m"] == "Affine"
    assert kinds["out.integrated"] == "I"
    again = read_nir(tmp_path / "n.nir", plain=True)
    assert again.output.readout == "integrate"
    assert np.array_equal(ran(graph).output, ran(again).output)


@pytest.mark.parametrize("dialect", ["norse", "sinabs"])
@pytest.mark.parametrize("name", [n for n in NETWORKS if "residual" in n or "ways" in n])
def test_a_walk_depth_first_meets_nothing_too_early(
    tmp_path: Path, dialect: str, name: str
) -> None:
    """As nirtorch's GraphExecutor walks: a node is computed when it is first met."""
    write_nir(network(name, dialect), tmp_path / "n.nir", dialect=dialect)
    edges = load_nir(tmp_path / "n.nir").edges
    order: list[str] = []

    def walk(here: str) -> None:
        order.append(here)
        for there in [b for a, b in edges if a == here]:
            if there not in order:
                walk(there)

    walk("in")
    for source, target in edges:
        assert order.index(source) < order.index(target), (source, target)


def test_shapes_that_zeros_bridge() -> None:
    for taken, wanted in (((6, 4, 4), (4, 8, 8)), ((4, 8, 8), (6, 4, 4)), ((2, 7, 5), (3, 8, 6))):
        (node,) = zero_weights(nir, taken, wanted)
        conv = Conv2d(node.weight, stride=node.stride, padding=node.padding)
        nodes = {"in": Input(taken), "c": conv, "flat": Flatten(), "out": Output()}
        assert Graph.chain(nodes, "float").shapes["c"] == wanted and not node.weight.any()
    flat, line = zero_weights(nir, (2, 3, 3), (5,))
    assert isinstance(flat, nir.Flatten) and line.weight.shape == (5, 18)
    assert zero_weights(nir, (5,), (2, 3, 3)) == []


def test_longer_delays_stay(tmp_path: Path) -> None:
    nodes = {
        "in": Input((4,), "spikes"),
        "d": Delay((4,), 3),
        "n": Neuron((4,), np.array(0.5), beta=np.array(1.0)),
        "out": Output("spike_count"),
    }
    graph = Graph.chain(nodes, "float")
    found = nodes_of(tmp_path / "n.nir", graph, "portable")
    assert np.allclose(found["d"].delay, 3e-4)
    assert "d: norse loads no Delay" in cannot_say(graph, DIALECTS["norse"])


def test_an_unknown_dialect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="spikingjelly"):
        write_nir(build("mlp"), tmp_path / "x.nir", dialect="spikingjely")


def test_what_many_nodes_share_is_said_once(tmp_path: Path) -> None:
    neurons = {f"n{k}": Neuron((4,), np.array(1.0), beta=np.array(0.5)) for k in range(40)}
    nodes = {"in": Input((4,), "spikes"), **neurons, "out": Output("spike_count")}
    lines = write_nir(Graph.chain(nodes, "float"), tmp_path / "n.nir", dialect="sinabs")
    shared = "(and so for 39 more nodes: n1, n2 ...)"
    assert lines == [
        f"n0: sinabs is not told reset hard, sinabs uses soft {shared}",
        f"n0: sinabs is not told max_spikes_per_step 1, sinabs uses no limit {shared}",
        f"n0: sinabs is not told compare >, sinabs uses >= {shared}",
    ]
