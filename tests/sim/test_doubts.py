"""Doubts: saturated input, labels beyond the outputs and silent layers are library warnings."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import Graph, Input, Linear, Neuron, Output
from spikewright.export.ir.errors import DoubtWarning
from spikewright.sim.doubts import doubt_samples
from spikewright.sim.run import run
from spikewright.trainer.data import load

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def graph():
    return sw.lower("digits")


@pytest.fixture(scope="module")
def data():
    return load("digits", "test", 20)


def doubts_of(work) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DoubtWarning)
        work()
    assert all(warning.filename == __file__ for warning in caught), "they name the caller's line"
    return [str(warning.message) for warning in caught]


def test_ordinary_samples_raise_none(graph, data):
    assert doubts_of(lambda: run(graph, data.x, 4).accuracy(data.y)) == []


@pytest.mark.parametrize("verb", ["run", "verify", "estimate", "compare"])
def test_pictures_of_bytes_saturate_whatever_is_done_with_them(graph, data, verb):
    more = ["generic-45nm"] if verb == "estimate" else []
    (line,) = doubts_of(lambda: getattr(sw, verb)(graph, (data.x * 255).astype(np.uint8), *more))
    assert "data of 0..255" in line and "calibrated on" in line


def test_normalised_input_is_judged_as_it_enters(graph, data):
    halved = replace(graph.input, std=np.full((1, 1, 1), 2, np.float32))
    other = graph.replace(nodes={**graph.nodes, graph.input_name: halved})
    assert doubts_of(lambda: doubt_samples(other, data.x)) == []
    assert "saturates" in doubts_of(lambda: doubt_samples(other, data.x * 3))[0]


@pytest.mark.parametrize(("wrong", "said"), [(1000, "0 to 1000"), (-1, "-1 to 9")])
def test_labels_without_an_output(graph, data, wrong, said):
    labels = data.y.copy()
    labels[:3], labels[3:5] = wrong, (0, 9)
    (line,) = doubts_of(lambda: run(graph, data.x, 4).accuracy(labels))
    assert line.startswith("3 of 20 labels lie outside 0 to 9") and said in line


def test_a_layer_that_never_spikes_is_named():
    silent = Graph.chain(
        {
            "in": Input((2,), "spikes", low=0, high=1),
            "a": Linear(np.ones((2, 2), np.int8)),
            "quiet": Neuron((2,), np.int32(300)),
            "b": Linear(np.ones((2, 2), np.int8)),
            "behind": Neuron((2,), np.int32(0)),
            "out": Output("spike_count"),
        },
        "integer",
    )
    (line,) = doubts_of(lambda: sw.run(silent, np.ones((3, 5, 2), int)))
    assert line.startswith("quiet (and 1 layers more) never spikes in 3 samples of 5 steps")


def test_a_readout_at_the_end_of_its_width_is_said():
    graph = Graph.chain(
        {
            "in": Input((2,), "spikes", low=0, high=1),
            "a": Linear(np.array([[100, 0], [0, 20]], np.int8)),
            "out": Output("integrate", state_bits=8),
        },
        "integer",
    )
    x = np.zeros((3, 5, 2), int)
    x[0, :, 0] = x[1, :2, 0] = x[2, :, 1] = 1  # 500, 200 and 100 of at most 127
    (line,) = doubts_of(lambda: sw.run(graph, x))
    assert line.startswith("out saturates at 127 in 2 of 3 samples")
    assert doubts_of(lambda: sw.run(graph, x[2:])) == []
