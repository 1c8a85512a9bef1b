"""Padding that differs between both ends: torch's values, and only real synapses counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as f

import spikewright as sw
from spikewright.export.formats.archive import read_archive, write_archive
from spikewright.export.formats.lava_in import read_lava
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.ir import (
    AvgPool,
    Conv1d,
    Conv2d,
    Graph,
    Input,
    Neuron,
    Output,
    SumPool,
    dense_macs,
)
from spikewright.export.ir.digest import digest
from spikewright.export.ir.nodes import MaxPool
from spikewright.export.ir.table import parameters
from spikewright.export.ir.uneven_padding import evenly_padded
from spikewright.hw_targets.reach import synapses_into
from spikewright.sim.counters import count
from spikewright.sim.event import EventDriven
from spikewright.sim.executor import executor
from spikewright.sim.ops import OPS
from spikewright.sim.reference import Reference

RNG = np.random.default_rng(3)
SPIKES = (RNG.random((4, 2, 2, 6, 7)) < 0.3).astype(np.int64)


def integer(node, neuron: bool = True) -> Graph:
    """One layer on spikes of a (2, 6, 7) map, at the integer level."""
    inner = {"in": Input((2, 6, 7), "spikes", low=0, high=1), "w": node}
    shape = Graph.chain({**inner, "out": Output("none")}, "integer").shapes["w"]
    if neuron:
        inner["n"] = Neuron(shape, v_threshold=np.int32(3), reset="soft", compare=">=")
    return Graph.chain({**inner, "out": Output("spike_count")}, "integer")


def codes(*shape: int) -> np.ndarray:
    return RNG.integers(-7, 8, shape).astype(np.int8)


LAYERS = {
    "same 2x2": Conv2d(codes(3, 2, 2, 2), padding=(0, 0), padding_end=(1, 1)),
    "in front": Conv2d(codes(3, 2, 3, 3), padding=(2, 1), padding_end=(0, 3), stride=(2, 2)),
    "dilated": Conv2d(codes(4, 1, 2, 2), padding_end=(2, 1), dilation=(2, 2), groups=2),
    "one tap": Conv2d(codes(3, 2, 1, 1), padding_end=(1, 2)),
    "sum": SumPool((2, 2), (2, 2), (0, 0), (1, 1)),
    "max": MaxPool((3, 3), (2, 2), (0, 0), (1, 1)),
}


def by_torch(node, x: np.ndarray) -> np.ndarray:
    """The layer on explicitly padded values."""
    front, end = node.padding, node.padding_end
    sides = [side for a, b in zip(front[::-1], end[::-1], strict=True) for side in (a, b)]
    wide = f.pad(torch.from_numpy(x), sides, value=-np.inf if isinstance(node, MaxPool) else 0)
    if isinstance(node, MaxPool):
        return f.max_pool2d(wide, node.kernel, node.stride).numpy()
    if isinstance(node, SumPool):
        return f.avg_pool2d(wide, node.kernel, node.stride, divisor_override=1).numpy()
    weight = torch.from_numpy(node.weight.astype(np.float64))
    options = {"stride": node.stride, "dilation": node.dilation, "groups": node.groups}
    return f.conv2d(wide, weight, **options).numpy()


@pytest.mark.parametrize("name", LAYERS)
def test_values_are_torchs(name: str) -> None:
    x = SPIKES[0].astype(np.float64)
    np.testing.assert_array_equal(
        OPS[type(LAYERS[name])](LAYERS[name], x), by_torch(LAYERS[name], x)
    )


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("other", ["native", "onnxruntime"])
def test_executors_are_equal(name: str, other: str) -> None:
    graph = integer(LAYERS[name])
    one = Reference().prepare(graph).run(SPIKES)
    two = executor(other).prepare(graph).run(SPIKES)
    assert one.neurons["n"].spikes.any()
    np.testing.assert_array_equal(one.neurons["n"].spikes, two.neurons["n"].spikes)
    np.testing.assert_array_equal(one.neurons["n"].v, two.neurons["n"].v)
    np.testing.assert_array_equal(one.output, two.output)


@pytest.mark.parametrize("name", [n for n in LAYERS if n != "max"])
def test_event_timing_in_python_and_cpp_is_equal(name: str) -> None:
    graph = integer(LAYERS[name])
    one, two = (EventDriven(plain=p).prepare(graph).run(SPIKES) for p in (True, False))
    assert one.neurons["n"].spikes.any()
    np.testing.assert_array_equal(one.neurons["n"].spikes, two.neurons["n"].spikes)


@pytest.mark.parametrize("name", [n for n in LAYERS if n not in ("sum", "max")])
def test_the_even_form_computes_the_same(name: str) -> None:
    node = LAYERS[name]
    even = evenly_padded(node)
    assert even.padding_end is None
    x = SPIKES[0].astype(np.float64)
    np.testing.assert_array_equal(OPS[Conv2d](even, x), OPS[Conv2d](node, x))
    one = Conv1d(codes(2, 3, 2), padding=(2,), padding_end=(1,), dilation=(2,))
    row = RNG.random((2, 3, 9))
    np.testing.assert_allclose(OPS[Conv1d](evenly_padded(one), row), OPS[Conv1d](one, row))


def test_an_even_kernel_of_same_counts_its_own_taps(tmp_path: Path) -> None:
    """One spike amid a 5x5 map meets 4 synapses; a step's dense products are 5 * 5 * 4."""
    x = np.zeros((1, 1, 1, 5, 5), np.float32)
    x[..., 2, 2] = 1
    module = nn.Sequential(nn.Conv2d(1, 1, 2, padding="same", bias=False))
    given = torch.from_numpy(x[:, 0])
    lowered = sw.lower(module, given, level="float", encoding="spikes", time_steps=1)
    write_archive(lowered, tmp_path / "a.spk")
    for graph in (lowered, read_archive(tmp_path / "a.spk")):
        (name,) = graph.of_kind(Conv2d)
        trace = sw.run(graph, x, executor="reference")
        layer = count(trace).layers[name]
        assert (int(layer.sops.sum()), int(layer.dense_macs.sum())) == (4, 100)
        assert parameters(graph.nodes[name]) == 4 and dense_macs(graph, name) == 100
        # 16 places with all four taps, 4 + 4 with two, one corner with one.
        assert synapses_into(graph, graph.output_name)[0] == 16 * 4 + 8 * 2 + 1
        np.testing.assert_allclose(trace.output[0], module(given).detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["same 2x2", "dilated", "sum"])
def test_nir_keeps_it_and_other_readers_compute_the_same(tmp_path: Path, name: str) -> None:
    graph = integer(LAYERS[name])
    sw.write(graph, tmp_path / "a.nir")  # which reads its plain nodes back and compares them
    assert digest(read_nir(tmp_path / "a.nir")) == digest(graph)


def test_lava_takes_a_wider_kernel(tmp_path: Path) -> None:
    conv = Conv2d(codes(3, 2, 2, 2), padding=(0, 0), padding_end=(1, 1), bits=8)
    fields = {"state_shift": 6, "state_bits": 24}
    graph = Graph.chain(
        {
            "in": Input((2, 6, 7), "spikes", low=0, high=1),
            "w": conv,
            "n": Neuron((3, 6, 7), v_threshold=np.int32(64 * 3), **fields),
            "out": Output("spike_count", **fields),
        },
        "integer",
    )
    sw.write(graph, tmp_path / "a.net")
    back = read_lava(tmp_path / "a.net", graph.input)
    assert [n.weight.shape[2:] for n in back.of_kind(Conv2d).values()] == [(3, 3)]
    one, two = (Reference().prepare(g).run(SPIKES) for g in (graph, back))
    (a,), (b,) = one.neurons.values(), two.neurons.values()
    np.testing.assert_array_equal(a.spikes, b.spikes)


def test_alike_ends_have_one_form() -> None:
    """Archives and digests of what is padded alike are what they were."""
    plain, said = Conv2d(codes(1, 2, 2, 2), padding=(1, 1)), {"padding_end": (1, 1)}
    twin = Conv2d(plain.weight, padding=(1, 1), **said)
    assert twin.padding_end is None
    assert digest(integer(twin, neuron=False)) == digest(integer(plain, neuron=False))
    assert AvgPool((2,), (2,), (1,), (1,)).padding_end is None
