"""The plain nodes of a NIR file, read without our metadata, compute what the graph computes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikewright.export.fold import fold
from spikewright.export.formats.nir_dialect import DIALECTS
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.formats.nir_limits import cannot_say
from spikewright.export.formats.nir_out import write_nir
from spikewright.export.ir import (
    PROFILES,
    AvgPool,
    Calibration,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
    Scale,
    SumPool,
)
from spikewright.export.quantise import quantise
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference
from spikewright.sim.trace import Trace

RNG = np.random.default_rng(5)
CONV = Conv2d(RNG.normal(size=(3, 2, 3, 3)) / 3, RNG.normal(0, 0.2, 3), padding=(1, 1))
BIASED = Linear(RNG.normal(size=(5, 6)), RNG.normal(0, 0.1, 5))
POOL = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0)}
ONE, HALF = np.array(1.0), np.array(0.5)


def neuron(*shape: int, **fields: Any) -> Neuron:
    return Neuron(shape, np.array(0.6), **{"beta": ONE, **fields})


def chain(shape: tuple[int, ...], *nodes: Any) -> Graph:
    """Return the chain from spikes of `shape` through `nodes` to a readout that counts."""
    named = {f"x{k}": node for k, node in enumerate(nodes)}
    return Graph.chain(
        {"in": Input(shape, "spikes"), **named, "out": Output("spike_count")}, "float"
    )


BIASES = {
    "behind a sum": chain((2, 4, 4), CONV, SumPool(**POOL), neuron(3, 2, 2)),
    "behind a mean": chain((2, 4, 4), CONV, AvgPool(**POOL), neuron(3, 2, 2, bias=HALF / 5)),
    "behind a sum padded at its end": chain(
        (2, 5, 5),
        Conv2d(CONV.weight, None, padding=(1, 1)),
        SumPool(**POOL, padding_end=(1, 1)),
        neuron(3, 3, 3, bias=HALF / 5),
    ),
    "behind a factor": chain((2, 4, 4), CONV, Scale(HALF), neuron(3, 4, 4, bias=HALF / 10)),
    "behind a flatten": chain((2, 4, 4), CONV, Flatten(), neuron(48, bias=HALF / 10)),
    "into a synaptic current": chain((6,), BIASED, neuron(5, alpha=HALF, bias_in=HALF / 5)),
    "of tokens": chain((3, 6), BIASED, neuron(3, 5, bias=np.linspace(0, 0.2, 5))),
}


def others(graph: Graph, path: Path) -> Graph:
    """Write the graph; return what a tool reads that knows nothing of our metadata."""
    write_nir(graph, path)
    with h5py.File(path, "r+") as file:
        del file["node/metadata"]
    return read_nir(path)


def ran(graph: Graph) -> Trace:
    x = (np.random.default_rng(6).random((20, *graph.input.shape)) < 0.4).astype(np.float64)
    return Reference(np.float64).prepare(graph).run(encode(graph, x, 6))


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize("name", BIASES)
def test_a_bias_arrives_as_large_as_it_was(tmp_path: Path, name: str, integer: bool) -> None:
    graph = BIASES[name]
    if integer:
        graph = quantise(fold(graph), PROFILES["generic"], Calibration(1.0))
    one, two = ran(graph), ran(others(graph, tmp_path / "n.nir"))
    (here,) = graph.neurons
    assert 0.02 < (one.neurons[here].spikes != 0).mean() < 0.98
    # The decay of a synaptic current truncates in integers alone.
    limit = 0.01 if integer and graph.neurons[here].current_based else 0.0
    assert (one.neurons[here].spikes != two.neurons[here].spikes).mean() <= limit


@pytest.mark.parametrize("integer", [False, True])
def test_the_bias_of_the_head_arrives(tmp_path: Path, integer: bool) -> None:
    head = Linear(RNG.normal(size=(4, 5)), RNG.normal(size=4))
    nodes = {"in": Input((6,), "spikes"), "l": BIASED, "n": neuron(5), "h": head, "out": Output()}
    graph = Graph(nodes, list(pairwise(nodes)), "float")
    if integer:
        graph = quantise(fold(graph), PROFILES["generic"], Calibration(1.0))
        assert graph.output.bias is not None
    one, two = ran(graph).output, ran(others(graph, tmp_path / "n.nir")).output
    np.testing.assert_allclose(one / 2.0**graph.output.state_shift, two, rtol=1e-5, atol=1e-5)


def test_what_other_readers_lack_is_said() -> None:
    membrane = chain((6,), BIASED, neuron(5, alpha=HALF, bias=HALF))
    assert any("behind a synaptic current" in line for line in cannot_say(membrane))
    nodes = {"in": Input((6,), mean=HALF), "l": BIASED, "out": Output("leaky", beta=HALF)}
    leaky = Graph.chain(nodes, "float")
    assert "in: NIR cannot say mean and std" in " ".join(cannot_say(leaky))
    said = " ".join(cannot_say(leaky, DIALECTS["norse"]))
    assert "out: norse is not told readout leaky, other readers integrate" in said
