"""NIR: our graphs come back exactly, other readers compute the same spikes, bad files are told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from spikewright.export.dequantise import dequantise
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.formats.nir_out import cannot_say, write_nir
from spikewright.export.ir import (
    Add,
    Conv2d,
    Delay,
    Flatten,
    FormatError,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
    SumPool,
    UnknownNameError,
)
from spikewright.export.ir.digest import digest
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference
from tests.fuzz.graphs import random_graph


def test_every_integer_comes_back(tmp_path: Path) -> None:
    for seed in range(40):
        graph = random_graph(np.random.default_rng(seed))
        path = tmp_path / f"{seed}.nir"
        warnings = write_nir(graph, path)
        back = read_nir(path)
        assert digest(back) == digest(graph), seed
        assert warnings == cannot_say(graph)


def convolutional(decay: int | None = None) -> Graph:
    """Integer IF (or LIF) network with a stride, a residual, a pool and a readout."""
    rng = np.random.default_rng(2)

    def codes(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape).astype(np.int8)

    dv = None if decay is None else np.int32(decay)
    low = 1 if decay is None else 2  # what leaks needs lower thresholds to fire
    nodes = {
        "input": Input((2, 8, 8), "spikes", low=0, high=1),
        "c1": Conv2d(codes(4, 2, 3, 3), padding=(1, 1), bits=8),
        "n1": Neuron((4, 8, 8), np.int32(260 // low), dv=dv),
        "c2": Conv2d(codes(4, 4, 3, 3), padding=(1, 1), bits=8),
        "n2": Neuron((4, 8, 8), np.int32(300 // low), dv=dv, compare=">="),
        "add": Add(),
        "c3": Conv2d(codes(3, 4, 3, 3), stride=(2, 2), bits=8),
        "n3": Neuron((3, 3, 3), np.int32(420 // low), dv=dv),
        "pool": SumPool((2, 2), (1, 1), (0, 0)),
        "flat": Flatten(),
        "fc": Linear(codes(5, 12), bits=8),
        "n4": Neuron((5,), np.int32(500 // low), dv=dv),
        "output": Output("spike_count"),
    }
    chain = ["input", "c1", "n1", "c2", "n2"]
    edges: list[tuple[Any, ...]] = list(pairwise(chain))
    edges += [("n2", "add", 0), ("n1", "add", 1)]
    tail = ["add", "c3", "n3", "pool", "flat", "fc", "n4", "output"]
    return Graph(nodes, edges + list(pairwise(tail)), "integer")


def plain(path: Path) -> Graph:
    """Read a file as a tool does that knows nothing of our metadata."""
    with h5py.File(path, "r+") as file:
        del file["node/metadata"]
    return read_nir(path)


def spikes(graph: Graph, x: np.ndarray, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    values = encode(graph, x)
    return {n: t.spikes for n, t in Reference(dtype).prepare(graph).run(values).neurons.items()}


@pytest.mark.parametrize("decay", [None, 2048])
def test_another_reader_computes_the_integers(tmp_path: Path, decay: int | None) -> None:
    graph = convolutional(decay)
    write_nir(graph, tmp_path / "n.nir")
    other = plain(tmp_path / "n.nir")
    assert other.level == "float" and other.metadata["scheme"] == "euler"
    x = (np.random.default_rng(3).random((4, 20, 2, 8, 8)) < 0.3).astype(np.int64)
    one, two = spikes(graph, x), spikes(other.map_nodes(_as_spikes), x)
    for name, found in one.items():
        rate = (found != 0).mean()
        assert 0.02 < rate < 0.7, (name, rate)
        differ = (found != two[name]).mean()
        assert differ == 0 if decay is None else differ < 0.02, (name, differ)


def _as_spikes(name: str, node: Any) -> Any:
    return Input(node.shape, "spikes") if isinstance(node, Input) else node


def test_nir_itself_reads_the_file(tmp_path: Path) -> None:
    write_nir(convolutional(), tmp_path / "n.nir")
    graph = nir.read(str(tmp_path / "n.nir"), type_check=False)
    assert {"c1", "n1", "fc"} <= set(graph.nodes) and "add" not in graph.nodes
    assert isinstance(graph.nodes["n1"], nir.IF) and isinstance(graph.nodes["pool"], nir.SumPool2d)
    assert ("n1", "c3") in graph.edges and ("n2", "c3") in graph.edges
    assert graph.nodes["c1"].metadata["q_weight"].dtype == np.int8
    assert graph.nodes["n2"].metadata["compare"] == ">="


def test_same_graph_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nir", "b.nir"):
        write_nir(convolutional(), tmp_path / name)
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


def test_dequantised_integers_fire_alike() -> None:
    graph = convolutional()
    x = (np.random.default_rng(4).random((3, 15, 2, 8, 8)) < 0.3).astype(np.int64)
    one, two = spikes(graph, x), spikes(dequantise(graph), x, np.float64)
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_what_nir_cannot_say_is_warned_or_refused(tmp_path: Path) -> None:
    soft = convolutional().map_nodes(
        lambda _, node: (
            Neuron(node.shape, np.int32(300), reset="soft") if isinstance(node, Neuron) else node
        )
    )
    warnings = write_nir(soft, tmp_path / "soft.nir")
    assert "n1: NIR cannot say reset soft, other readers use hard" in warnings
    with pytest.raises(FormatError, match="cannot say reset soft"):
        write_nir(soft, tmp_path / "strict.nir", strict=True)
    assert not (tmp_path / "strict.nir").exists()
    with pytest.raises(UnknownNameError):
        write_nir(soft, tmp_path / "x.nir", dialect="portabel")


def test_a_network_without_nir_nodes_is_not_runnable_elsewhere(tmp_path: Path) -> None:
    """Rather no plain nodes than a wrong network: NIR's own type check refuses the file."""
    for seed in range(60):
        graph = random_graph(np.random.default_rng(seed))
        lines = [line for line in cannot_say(graph) if "no plain nodes" in line]
        shapes = graph.input.shape, graph.shapes[graph.output_name]
        if lines and shapes[0] != shapes[1]:
            write_nir(graph, tmp_path / "n.nir")
            with pytest.raises(ValueError, match=r"[Tt]ype|mismatch"):
                nir.read(str(tmp_path / "n.nir"))
            return
    pytest.fail("no such graph among the seeds")


def lif(shape: tuple[int, ...], **fields: Any) -> nir.LIF:
    ones = np.ones(shape, np.float32)
    found = {"tau": 2e-4 * ones, "r": 2 * ones, "v_leak": 0 * ones, "v_threshold": ones}
    return nir.LIF(**{**found, "v_reset": 0 * ones, **fields})


def test_recurrence_is_broken_at_the_first_neuron(tmp_path: Path) -> None:
    nodes = {
        "input": nir.Input({"input": np.array([4])}),
        "w": nir.Linear(np.eye(4, dtype=np.float32)),
        "n": lif((4,)),
        "rec": nir.Linear(0.3 * np.eye(4, dtype=np.float32)),
        "output": nir.Output({"output": np.array([4])}),
    }
    edges = [("input", "w"), ("w", "n"), ("n", "rec"), ("rec", "n"), ("n", "output")]
    nir.write(str(tmp_path / "r.nir"), nir.NIRGraph(nodes, edges, type_check=False))
    graph = read_nir(tmp_path / "r.nir")
    assert list(graph.of_kind(Delay)) == ["rec.to.n"]
    with pytest.raises(FormatError, match="loop through n without a Delay"):
        read_nir(tmp_path / "r.nir", strict=True)


def chain_file(path: Path, **nodes: Any) -> Path:
    """Input of 4 -> nodes -> Output of 4."""
    every = {
        "input": nir.Input({"input": np.array([4])}),
        **nodes,
        "output": nir.Output({"output": np.array([4])}),
    }
    names = list(every)
    edges = list(pairwise(names))
    nir.write(str(path), nir.NIRGraph(every, edges, type_check=False))
    return path


def convolution(padding: Any, stride: Any = 1) -> Any:
    """A NIR Conv1d over the input of 4, its shapes unchecked."""
    weight, bias = np.ones((1, 1, 2), np.float32), np.zeros(1, np.float32)
    node = nir.Conv1d(4, weight, 1, 0, 1, 1, bias)
    node.padding, node.stride = padding, stride
    return node


def edited(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        chain_file(path, w=nir.Linear(np.eye(4, dtype=np.float32)), n=lif((4,)))
        with h5py.File(path, "r+") as file:
            change(file)

    return write


def _replace(file: Any, key: str, value: Any) -> None:
    del file[key]
    file[key] = value


def _huge(file: Any) -> None:
    del file["node/nodes/w/weight"]
    file.create_dataset(
        "node/nodes/w/weight", shape=(1 << 20, 1 << 20), chunks=(64, 64), dtype="f4"
    )


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "text": (lambda p: p.write_text("hello"), "not a readable NIR file"),
    "empty": (lambda p: p.write_bytes(b""), "not a readable NIR file"),
    "cut": (
        lambda p: p.write_bytes(chain_file(p, n=lif((4,))).read_bytes()[:900]),
        "not a readable",
    ),
    "no graph": (lambda p: h5py.File(p, "w").close(), "no NIR graph"),
    "no edges": (edited(lambda f: _replace(f, "node/edges", np.empty((0, 2), "S1"))), "edges"),
    "edge shape": (
        edited(lambda f: _replace(f, "node/edges", np.array([b"a"]))),
        "pairs are needed",
    ),
    "edge to nowhere": (
        edited(lambda f: _replace(f, "node/edges", np.array([[b"input", b"x"]]))),
        "no such node",
    ),
    "unknown type": (edited(lambda f: _replace(f, "node/nodes/w/type", "Banana")), "type Banana"),
    "negative tau": (
        edited(lambda f: _replace(f, "node/nodes/n/tau", -np.ones(4))),
        "n: tau -1.0 must be above 0",
    ),
    "tau below dt": (
        edited(lambda f: _replace(f, "node/nodes/n/tau", 1e-6 * np.ones(4))),
        "below dt",
    ),
    "NaN weight": (
        edited(lambda f: _replace(f, "node/nodes/w/weight", np.full((4, 4), np.nan))),
        "w: weight holds NaN",
    ),
    "text weight": (
        edited(lambda f: _replace(f, "node/nodes/w/weight", "heavy")),
        "w: weight holds",
    ),
    "huge": (edited(_huge), "at most"),
    "missing field": (edited(lambda f: f.__delitem__("node/nodes/n/r")), "r is missing"),
    "no type": (edited(lambda f: f.__delitem__("node/nodes/n/type")), "not a readable NIR file"),
    "shapes": (
        edited(lambda f: _replace(f, "node/nodes/w/weight", np.ones((4, 5)))),
        "w: weight takes 5 features",
    ),
    "neuron shape": (
        edited(lambda f: _replace(f, "node/nodes/n/v_threshold", np.ones(3))),
        "n: ",
    ),
    "tau of another shape": (
        edited(lambda f: _replace(f, "node/nodes/n/tau", np.ones(3))),
        "n: its fields cannot be used",
    ),
    "part of a delay": (
        lambda p: chain_file(p, d=nir.Delay(delay=np.full(4, 2.5e-4)), n=lif((4,))),
        "d: a delay of 2.500 steps",
    ),
    "part of a flatten": (
        lambda p: chain_file(p, f=nir.Flatten({"input": np.array([4])}, 0, 1), n=lif((4,))),
        "f: its fields cannot be used (flattens axes 0..1 only",
    ),
    "even kernel": (
        lambda p: chain_file(p, c=convolution("same")),
        "c: its fields cannot be used (padding 'same' of a kernel (2,)",
    ),
    "another padding": (
        lambda p: chain_file(p, c=convolution("reflect")),
        "c: its fields cannot be used (padding 'reflect'",
    ),
    "half a stride": (
        lambda p: chain_file(p, c=convolution(0, stride=1.5)),
        "c: its fields cannot be used (stride [1.5]",
    ),
    "dt": (edited(lambda f: f["node"].create_group("metadata").update({"dt": -1.0})), "dt"),
    "our card cut": (
        edited(
            lambda f: (
                f["node"].create_group("metadata").update({"spikewright": np.zeros(9, np.uint8)})
            )
        ),
        "metadata/spikewright",
    ),
    "two inputs": (
        lambda p: chain_file(p, second=nir.Input({"input": np.array([4])}), n=lif((4,))),
        "2 Input nodes",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line(tmp_path: Path, case: str) -> None:
    make, says = BAD[case]
    path = tmp_path / "bad.nir"
    make(path)
    with pytest.raises(FormatError) as caught:
        read_nir(path)
    assert says in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_existing_one(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_nir(tmp_path / "absent.nir")
    (tmp_path / "n.nir").write_text("precious")
    with pytest.raises(FormatError, match="--force"):
        write_nir(convolutional(), tmp_path / "n.nir")
    assert (tmp_path / "n.nir").read_text() == "precious"
