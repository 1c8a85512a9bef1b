"""Exported HDF5, read back and run by lava-dl's netx: equal in every spike, u and v."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikewright.export.formats.lava import write_lava
from spikewright.export.formats.lava_in import read_lava
from spikewright.export.ir import (
    Add,
    Array,
    Conv2d,
    Delay,
    ExecutorError,
    Flatten,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
)
from spikewright.hw_targets.lava.netx import compare_with_netx

from .test_executor import codes, neuron, spikes
from .worker import environment

COUNT = Output("spike_count", state_shift=6, state_bits=24)
SUM = Output("integrate", np.array([64, -640, 0], np.int32), state_shift=6, state_bits=24)
SLAYER = Path(__file__).parent.parent.parent / "export" / "formats" / "slayer.net"


def mlp() -> Graph:
    nodes: dict[str, Any] = {
        "in": Input((9,), "spikes", low=0, high=1),
        "f1": Linear(codes(12, 9), bits=8),
        "n1": neuron(12, du=np.int32(2000), bias=np.int32(-128)),
        "f2": Linear(codes(7, 12) // 2, bits=7, weight_shift=1),
        "n2": neuron(7),
        "out": COUNT,
    }
    return Graph.chain(nodes, "integer")


def conv() -> Graph:
    """Uneven kernels, strides and padding; groups and dilation; a bias a channel."""
    nodes: dict[str, Any] = {
        "in": Input((2, 7, 6), "spikes", low=0, high=1),
        "c1": Conv2d(codes(4, 2, 3, 2), stride=(1, 2), padding=(1, 0), bits=8),
        "n1": neuron(4, 7, 3, bias=np.array([64, -128, 0, 320], np.int32).reshape(4, 1, 1)),
        "c2": Conv2d(codes(4, 1, 3, 3), padding=(2, 2), dilation=(2, 2), groups=4, bits=8),
        "n2": neuron(4, 7, 3, du=np.int32(700)),
        "flat": Flatten(),
        "head": Linear(codes(3, 4 * 7 * 3), bits=8),
        "out": SUM,
    }
    return Graph.chain(nodes, "integer")


def recurrent(bias: int = 0) -> Graph:
    nodes: dict[str, Any] = {
        "in": Input((9,), "spikes", low=0, high=1),
        "f1": Linear(codes(12, 9), bits=8),
        "back": Delay((12,), 1),
        "fb": Linear(codes(12, 12), bits=8),
        "add": Add(),
        "n1": neuron(12, bias=np.int32(bias) if bias else None),
        "head": Linear(codes(3, 12), bits=8),
        "out": SUM,
    }
    edges = [("in", "f1"), ("f1", "add", 0), ("back", "fb"), ("fb", "add", 1), ("add", "n1")]
    return Graph(nodes, [*edges, ("n1", "back"), ("n1", "head"), ("head", "out")], "integer")


@pytest.mark.parametrize(
    ("graph", "x"),
    [
        (mlp(), spikes(8, 3, 9)),
        (conv(), spikes(5, 2, 2, 7, 6)),
        (recurrent(), spikes(8, 2, 9)),
    ],
    ids=["mlp", "conv", "recurrent"],
)
def test_netx_computes_what_was_exported(graph: Graph, x: Array, tmp_path: Path) -> None:
    environment()
    write_lava(graph, tmp_path / "n.net")
    found = compare_with_netx(tmp_path / "n.net", read_lava(tmp_path / "n.net"), x)
    assert found.equal, found.first_difference
    assert found.layers == len(graph.neurons) + (graph.output.readout == "integrate")
    assert found.values_compared > 300


def test_a_biased_loop_is_refused() -> None:
    with pytest.raises(ExecutorError, match=r"n1: a bias in a network with loops.*executor lava"):
        compare_with_netx(Path("n.net"), recurrent(bias=64), spikes(4, 1, 9))


def test_a_file_of_slayer_runs_as_we_read_it() -> None:
    environment()
    graph = read_lava(SLAYER)
    assert isinstance(graph.nodes["neuron1"], Neuron)
    found = compare_with_netx(SLAYER, graph, spikes(8, 2, *graph.input.shape, rate=0.3))
    assert found.equal, found.first_difference
