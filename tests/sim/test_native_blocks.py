"""Layers of many tiles in blocks of several steps, the last of fewer; delays of currents."""

import numpy as np
import pytest

from spikewright.export.ir import Add, Conv2d, Delay, Graph, Input, Linear, Neuron, Output
from spikewright.sim.native import Forced, Native

from .test_native import AVAILABLE, TABLES, all_equal, needs

BLOCKS = (
    Forced("gather", steps=3),
    Forced("gather", steps=5),
    Forced("dense", steps=3),
    Forced(steps=6),
)


def of_layer(rng, shape, weights, neurons):
    nodes = {
        "in": Input(shape, "spikes", None, 0, 1),
        "w": weights,
        "n": Neuron(neurons, np.int32(rng.integers(20, 200))),
        "out": Output("spike_count"),
    }
    return Graph.chain(nodes, "integer")


def codes(rng, *shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("isa", TABLES)
@pytest.mark.parametrize("forced", BLOCKS, ids=str)
def test_a_last_block_of_fewer_steps_fits_its_scratch(isa, forced):
    """At 256 outputs and 16 columns two steps make a tile of more rows than three."""
    needs(isa)
    rng = np.random.default_rng(0)
    conv = of_layer(rng, (1, 12, 32), Conv2d(codes(rng, 256, 1, 1, 1), stride=(2, 2)), (256, 6, 16))
    tokens = of_layer(rng, (70, 9), Linear(codes(rng, 200, 9)), (70, 200))
    for graph in (conv, tokens):
        x = rng.integers(0, 2, (5, 3, *graph.input.shape))
        for threads in (1, 3):
            all_equal(graph, x, isa, forced, threads)


@pytest.mark.parametrize("seed", range(6))
def test_wide_layers_of_any_shape(seed):
    rng = np.random.default_rng(seed)
    channels, outputs = int(rng.integers(1, 40)), int(rng.integers(33, 300))
    side, kernel, stride = int(rng.integers(5, 30)), int(rng.integers(1, 4)), 1 + seed % 2
    weights = Conv2d(codes(rng, outputs, channels, kernel, kernel), stride=(stride, stride))
    after = (side - kernel) // stride + 1
    graph = of_layer(rng, (channels, side, side), weights, (outputs, after, after))
    x = rng.integers(0, 2, (int(rng.integers(2, 9)), 2, channels, side, side))
    for forced in (*BLOCKS, Forced()):
        all_equal(graph, x, AVAILABLE[-1], forced, 1 + seed % 3)


@pytest.mark.parametrize("isa", TABLES)
def test_a_delay_of_small_currents_reads_their_width(isa):
    """Sums lie as int32 however small; what is delayed lies as wide as its bounds ask."""
    needs(isa)
    rng = np.random.default_rng(1)
    small = of_layer(rng, (2,), Linear(np.ones((3, 2), np.int8)), (3,))
    nodes = dict(small.nodes)
    nodes["d"] = Delay((3,), 2)
    nodes["both"] = Add()
    nodes["n"] = Neuron((3,), np.int32(1))
    edges = (
        ("in", "w", 0),
        ("w", "d", 0),
        ("w", "both", 0),
        ("d", "both", 1),
        ("both", "n", 0),
        ("n", "out", 0),
    )
    graph = Graph(nodes, edges, "integer")
    x = rng.integers(0, 2, (8, 3, 2))
    for forced in (Forced(), Forced("gather"), Forced("dense")):
        all_equal(graph, x, isa, forced)


def test_a_linear_layer_of_many_steps_has_no_more_scratch_than_its_tile():
    """All steps of one token are one tile of as many rows, not one tile a step."""
    rng = np.random.default_rng(2)
    graph = of_layer(rng, (784,), Linear(codes(rng, 512, 784)), (512,))
    held = Native().prepare(graph).memory(1, 32)
    assert held.workspace < 16 * 32 * 512 and held.ratio <= 3
