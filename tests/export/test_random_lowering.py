"""Random networks of every residual rule: folding keeps each spike, integers follow closely."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikewright.export.fold import fold
from spikewright.export.ir import (
    PROFILES,
    Add,
    AvgPool,
    BatchNorm,
    Calibration,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
)
from spikewright.export.quantise import quantise
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference

WIDTH = 8
KINDS = ["spiking", "sew_add", "ms", "downsample", "average"]


class Draw:
    """Random layers from one generator."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def neuron(self, *shape: int) -> Neuron:
        rng, tau = self.rng, self.rng.random() < 0.3
        fields: dict[str, Any] = {"tau": np.array(2.0)} if tau else {}
        if not tau:
            fields["beta"] = np.array(rng.choice([1.0, 0.5, 0.75]))
            fields["alpha"] = np.array(0.6) if rng.random() < 0.3 else None
        return Neuron(
            shape,
            np.array(rng.uniform(0.4, 1.2)),
            compare=">" if rng.random() < 0.5 else ">=",
            reset="hard" if rng.random() < 0.5 else "soft",
            bias=np.array(rng.normal(0, 0.05)) if rng.random() < 0.3 else None,
            v_reset=np.array(rng.choice([0, 0, 0.1])),
            **fields,
        )

    def conv(self, inputs: int, stride: int = 1, kernel: int = 3) -> Conv2d:
        size = 1.2 / np.sqrt(kernel**2 * inputs)
        weight = self.rng.normal(0, size, (WIDTH, inputs, kernel, kernel))
        bias = self.rng.normal(0, 0.1, WIDTH)
        padding = (kernel // 2, kernel // 2)
        return Conv2d(weight, bias, stride=(stride, stride), padding=padding)

    def norm(self) -> BatchNorm:
        rng = self.rng
        mean, var = rng.normal(0, 0.1, WIDTH), rng.uniform(0.3, 1, WIDTH)
        return BatchNorm(mean, var, rng.uniform(0.5, 1.5, WIDTH), rng.normal(0, 0.2, WIDTH))


def block(draw: Draw, kind: str) -> tuple[dict[str, Any], list[tuple[Any, ...]], str, int]:
    """Return nodes, edges, the last node and its map's side; `n1` spikes, `b1` is a current."""
    nodes: dict[str, Any] = {"c2": draw.conv(WIDTH), "b2": draw.norm(), "add": Add()}
    edges: list[tuple[Any, ...]] = [("n1", "c2"), ("c2", "b2")]
    if kind == "sew_add":
        nodes["n2"] = draw.neuron(WIDTH, 8, 8)
        return nodes, [*edges, ("b2", "n2"), ("n2", "add", 0), ("n1", "add", 1)], "add", 8
    edges += [("b2", "add", 0), ("add", "n2")]
    if kind == "spiking":
        return nodes | {"n2": draw.neuron(WIDTH, 8, 8)}, [*edges, ("n1", "add", 1)], "n2", 8
    if kind == "ms":
        nodes |= {"n2": draw.neuron(WIDTH, 8, 8), "c3": draw.conv(WIDTH), "add2": Add()}
        nodes |= {"b3": draw.norm(), "n3": draw.neuron(WIDTH, 8, 8)}
        edges += [("b1", "add", 1), ("n2", "c3"), ("c3", "b3")]
        return nodes, [*edges, ("b3", "add2", 0), ("add", "add2", 1), ("add2", "n3")], "n3", 8
    nodes |= {"c2": draw.conv(WIDTH, 2), "n2": draw.neuron(WIDTH, 4, 4)}
    if kind == "average":
        nodes["pool1"] = AvgPool((2, 2), (2, 2), (0, 0))
        return nodes, [*edges, ("n1", "pool1"), ("pool1", "add", 1)], "n2", 4
    nodes |= {"d": draw.conv(WIDTH, 2, 1), "bd": draw.norm()}
    return nodes, [*edges, ("n1", "d"), ("d", "bd"), ("bd", "add", 1)], "n2", 4


def network(seed: int, kind: str) -> Graph:
    draw = Draw(seed)
    channels = int(draw.rng.integers(2, 5))
    nodes: dict[str, Any] = {"in": Input((channels, 8, 8), "spikes"), "c1": draw.conv(channels)}
    nodes |= {"b1": draw.norm(), "n1": draw.neuron(WIDTH, 8, 8)}
    edges: list[tuple[Any, ...]] = [("in", "c1"), ("c1", "b1"), ("b1", "n1")]
    more, ways, last, side = block(draw, kind)
    features = WIDTH * (side // 2) ** 2
    weight, bias = draw.rng.normal(0, 0.2, (5, features)), draw.rng.normal(0, 0.1, 5)
    head = {"pool": AvgPool((2, 2), (2, 2), (0, 0)), "flat": Flatten(), "fc": Linear(weight, bias)}
    tail = [(last, "pool"), ("pool", "flat"), ("flat", "fc"), ("fc", "out")]
    return Graph({**nodes, **more, **head, "out": Output()}, edges + ways + tail, "float")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_three_levels_of_one_network(seed: int, kind: str) -> None:
    graph = network(seed, kind)
    folded = fold(graph)
    integer = quantise(fold(graph), PROFILES["generic"], Calibration(1.0))
    rng = np.random.default_rng(seed + 1000)
    x = (rng.random((6, 12, *graph.input.shape)) < 0.25).astype(np.int64)
    real, flat, whole = (
        Reference(np.float64).prepare(g).run(encode(g, x)) for g in (graph, folded, integer)
    )
    for name, neuron in real.neurons.items():
        assert np.array_equal(neuron.spikes, flat.neurons[name].spikes), name
        assert (neuron.spikes != whole.neurons[name].spikes).mean() < 0.04, name
    assert 0.001 < real.neurons["n1"].spikes.mean() < 0.95
    size = np.abs(real.output[-1]).mean()
    error = np.abs(whole.output[-1] * integer.output.scale - real.output[-1]).mean()
    assert error < 0.15 * size + 0.02
