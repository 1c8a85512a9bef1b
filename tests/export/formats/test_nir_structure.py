"""What a NIR graph is as a network: where loops are cut, what subgraphs add, in bounded time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch

from spikewright.export.formats.nir_file import NirFile
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.formats.nir_structure import Repairs, walking_order
from spikewright.export.ir import Conv2d, Delay, FormatError, Graph
from spikewright.export.ir.errors import FormatWarning
from spikewright.export.trace import trace
from spikewright.sim.reference import Reference

from .nir_files import chain_file, ends, lif, replace, written

Nodes = dict[str, Any]
EYE = np.eye(5, dtype=np.float32)


def affine(factor: float = 1.0) -> Any:
    return nir.Affine(EYE * factor, np.zeros(5, np.float32))


def quiet(path: Path, **options: Any) -> Graph:
    with pytest.warns(FormatWarning):
        return read_nir(path, **options)


def drive(steps: int = 20) -> Any:
    return (np.random.default_rng(3).random((steps, 2, 5)) < 0.4).astype(np.float64)


def outputs(graph: Graph, x: Any) -> Any:
    return Reference(np.float64).prepare(graph).run(x)


def test_a_loop_through_the_weights_it_enters_by(tmp_path: Path) -> None:
    """The step lies where the network comes back, so that the input is not late."""
    start, end = ends((5,))
    nodes = {"input": start, "a": affine(0.75), "n": lif((5,)), "output": end}
    edges = [("input", "a"), ("a", "n"), ("n", "a"), ("n", "output")]
    graph = quiet(written(tmp_path / "a.nir", nodes, edges))
    assert graph.metadata["delays"] == ["n.to.a"]
    v, spikes, found = np.zeros((2, 5)), np.zeros((2, 5)), []
    for frame in drive():
        v = 0.5 * v + 0.75 * (frame + spikes)
        spikes = (v > 1).astype(float)
        v = np.where(spikes > 0, 0, v)
        found.append(spikes)
    assert 0.05 < np.mean(found) < 0.9
    np.testing.assert_array_equal(outputs(graph, drive()).neurons["n"].spikes, found)


def test_a_neuron_onto_itself_through_a_node_in_front(tmp_path: Path) -> None:
    start, end = ends((5,))
    nodes = {"input": start, "w": affine(), "s": affine(), "n": lif((5,)), "output": end}
    edges = [("input", "w"), ("w", "s"), ("s", "n"), ("n", "s"), ("n", "output")]
    assert quiet(written(tmp_path / "a.nir", nodes, edges)).metadata["delays"] == ["n.to.s"]


@pytest.mark.parametrize(("first", "second"), [("n1", "n2"), ("z1", "a2")])
def test_the_cut_does_not_depend_on_names(tmp_path: Path, first: str, second: str) -> None:
    start, end = ends((5,))
    nodes = {"input": start, "f1": affine(), first: lif((5,)), "f2": affine(2)}
    nodes |= {second: lif((5,)), "rec": affine(0.5), "sk": affine(), "output": end}
    edges = [("input", "f1"), ("f1", first), (first, "f2"), ("f2", second), (second, "rec")]
    edges += [("rec", first), ("input", "sk"), ("sk", second), (second, "output")]
    graph = quiet(written(tmp_path / "a.nir", nodes, edges))
    assert graph.metadata["delays"] == [f"rec.to.{first}"]


def test_a_loop_without_a_neuron_among_others_is_refused(tmp_path: Path) -> None:
    start, end = ends((5,))
    nodes = {"input": start, "a": affine(), "b": affine(), "n": lif((5,)), "output": end}
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "n"), ("n", "a"), ("n", "output")]
    with pytest.raises(FormatError, match="a -> b: a loop without a neuron"):
        read_nir(written(tmp_path / "a.nir", nodes, edges))


def inner(**nodes: Any) -> Any:
    start, end = ends((5,))
    every = {"input": start, **nodes, "output": end}
    edges = [("input", "output"), *(pairwise(every) if nodes else ())]
    return nir.NIRGraph(every, edges, type_check=False)


@pytest.mark.parametrize(("sub", "due"), [(inner(), 2), (inner(aff=affine(5)), 7)])
def test_what_goes_two_ways_arrives_twice(tmp_path: Path, sub: Any, due: float) -> None:
    start, end = ends((5,))
    nodes = {"input": start, "a": affine(), "sub": sub, "b": affine(), "output": end}
    edges = [("input", "a"), ("a", "sub"), ("a", "b"), ("sub", "b"), ("b", "output")]
    graph = read_nir(written(tmp_path / "a.nir", nodes, edges))
    assert (outputs(graph, np.ones((1, 1, 5))).output == due).all()


def test_nested_loops_take_bounded_time() -> None:
    """Neurons in a row, each feeding its neighbours: with a walk a loop this takes hours."""
    names = [f"n{k}" for k in range(9000)]
    kinds = {"input": "Input", **dict.fromkeys(names, "IF"), "output": "Output"}
    pairs = list(pairwise(names))
    edges = [("input", names[0]), *pairs, *((b, a) for a, b in pairs), (names[-1], "output")]
    file = NirFile({name: (kind, {}) for name, kind in kinds.items()}, edges)
    order, back = walking_order(file, Repairs(strict=False))
    assert order == list(kinds) and back == [(b, a) for a, b in pairs]


def test_a_delay_of_no_time_and_one_whose_shape_the_loop_says(tmp_path: Path) -> None:
    graph = read_nir(chain_file(tmp_path / "a.nir", (5,), d=nir.Delay(np.zeros(5)), n=lif((5,))))
    assert not graph.of_kind(Delay) and list(graph.neurons) == ["n"]
    start, end = ends((5,))
    nodes = {"input": start, "n": lif((5,)), "d": nir.Delay(np.array([2e-4])), "output": end}
    edges = [("input", "n"), ("n", "d"), ("d", "n"), ("n", "output")]
    found = quiet(written(tmp_path / "b.nir", nodes, edges)).of_kind(Delay)["d"]
    assert (found.shape, found.steps) == ((5,), 2)
    nodes |= {"e": nir.Delay(np.array([2e-4]))}
    edges[2:3] = [("d", "e"), ("e", "n")]
    with pytest.raises(FormatError, match="d: the shape of what it delays cannot be told"):
        read_nir(written(tmp_path / "c.nir", nodes, edges))


def conv_file(path: Path, kernel: tuple[int, int], **changes: Any) -> Path:
    weight = np.random.default_rng(0).normal(size=(2, 3, *kernel)).astype(np.float32)
    conv = nir.Conv2d((6, 7), weight, 1, 1, 1, 1, np.zeros(2, np.float32))
    chain_file(path, (3, 6, 7), c=conv, s=nir.Scale(np.ones(1, np.float32)))
    with h5py.File(path, "r+") as file:
        for key, value in changes.items():
            replace(file, f"node/nodes/c/{key}", value)
    return path


@pytest.mark.parametrize("wrong", [[1, 0, 1, 0], [1, 1, 0, 0], [1, 2, 3]])
def test_a_list_of_another_length_is_refused(tmp_path: Path, wrong: list[int]) -> None:
    path = conv_file(tmp_path / "a.nir", (3, 3), padding=np.array(wrong))
    with pytest.raises(FormatError, match=rf"has {len(wrong)} entries, 1 or 2 are needed"):
        read_nir(path)


def test_equal_padding_given_at_both_ends_is_taken(tmp_path: Path) -> None:
    graph = quiet(conv_file(tmp_path / "a.nir", (3, 3), padding=np.array([2, 2, 2, 2])))
    assert graph.of_kind(Conv2d)["c"].padding == (2, 2)


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("kernel", [(2, 2), (4, 3), (3, 2)])
def test_padding_same_of_even_kernels(
    tmp_path: Path, kernel: tuple[int, int], dilation: int
) -> None:
    """The one value more lies behind, as torch has it; the kernel keeps its size."""
    options = {"padding": "same", "dilation": np.array([dilation] * 2)}
    graph = quiet(conv_file(tmp_path / "a.nir", kernel, **options))
    x = torch.rand(1, 3, 6, 7, dtype=torch.float64)
    layer = torch.nn.Conv2d(
        3, 2, kernel, padding="same", dilation=dilation, bias=False, dtype=torch.float64
    )
    weight = np.random.default_rng(0).normal(size=(2, 3, *kernel)).astype(np.float32)
    layer.weight.data = torch.from_numpy(weight).double()
    due = layer(x).detach().numpy()
    for found in (graph, trace(torch.nn.Sequential(layer), x)):
        np.testing.assert_allclose(outputs(found, x.numpy()[None]).output[0], due, atol=1e-12)
        assert [n.weight.shape[2:] for n in found.of_kind(Conv2d).values()] == [kernel]
