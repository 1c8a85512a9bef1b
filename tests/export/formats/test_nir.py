"""NIR: our graphs come back exactly, other readers compute the same spikes, bad files are told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikewright.export.dequantise import dequantise
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.formats.nir_limits import cannot_say
from spikewright.export.formats.nir_numerics import roundings
from spikewright.export.formats.nir_out import said_once, write_nir
from spikewright.export.ir import (
    Add,
    Conv2d,
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
from spikewright.export.ir.errors import FormatWarning
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference
from tests.fuzz.graphs import random_graph
from tests.fuzz.round_trip import main


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_every_integer_comes_back(seed: int) -> None:
    graph = random_graph(np.random.default_rng(seed))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "n.nir"
        warnings = write_nir(graph, path)
        assert digest(read_nir(path, strict=True)) == digest(graph)
    assert warnings == said_once([*cannot_say(graph), *roundings(graph)])


def test_the_long_round_trip_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--graphs", "3", "--seed", "7"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("3 graphs, ") and "integers" in said and said.endswith("came back\n")


def rewritten(path: Path, change: Callable[[Any], None]) -> None:
    """Read, change and write a file as another tool does: with nir itself."""
    graph = nir.read(str(path), type_check=False)
    change(graph)
    nir.write(str(path), graph)


@pytest.mark.parametrize("change", ["seal removed", "seal an array", "weights transposed"])
def test_what_is_not_sealed_is_not_restored(tmp_path: Path, change: str) -> None:
    nodes = {
        "in": Input((3,), "spikes"),
        "w": Linear(np.full((2, 3), 0.5)),
        "n": Neuron((2,), np.array(1.0), beta=np.array(0.5)),
        "out": Output("spike_count"),
    }
    path = tmp_path / "g.nir"
    write_nir(Graph.chain(nodes, "float"), path)
    with h5py.File(path, "r+") as file:
        if change.startswith("seal"):
            del file["node/metadata/nodes_sha256"]
            if change == "seal an array":
                file["node/metadata/nodes_sha256"] = np.ones(3)
        else:  # the same values, another network
            weight = np.asarray(file["node/nodes/w/weight"])
            del file["node/nodes/w/weight"]
            file["node/nodes/w/weight"] = weight.T
    with pytest.raises(FormatError, match="the nodes were changed"):
        read_nir(path, strict=True)


def test_a_file_that_another_tool_changed_is_read_as_changed(tmp_path: Path) -> None:
    """Its metadata still holds the graph of before, which must not come back in silence."""
    graph = convolutional()
    for dialect in ("portable", "sinabs"):
        path = tmp_path / f"{dialect}.nir"
        write_nir(graph, path, dialect=dialect)
        rewritten(path, lambda _: None)
        assert digest(read_nir(path)) == digest(graph)
    path = tmp_path / "portable.nir"
    rewritten(path, lambda g: g.nodes["n1"].v_threshold.fill(7.5))
    with pytest.raises(FormatError, match="metadata/spikewright: the nodes were changed"):
        read_nir(path, strict=True)
    with pytest.warns(FormatWarning, match="the nodes were changed since spikewright wrote"):
        changed = read_nir(path)
    node = changed.neurons["n1"]
    unit = 1 if node.v_scale is None else node.v_scale
    assert changed.level == "float" and np.allclose(node.v_threshold * unit, 7.5)


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


def test_a_missing_file_and_an_existing_one(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_nir(tmp_path / "absent.nir")
    (tmp_path / "n.nir").write_text("precious")
    with pytest.raises(FormatError, match="force=True"):
        write_nir(convolutional(), tmp_path / "n.nir")
    assert (tmp_path / "n.nir").read_text() == "precious"
