"""Event timing: tinyODIN's rule, the order of events, and what is refused."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import (
    Add,
    Conv2d,
    Delay,
    ExecutorError,
    Flatten,
    Graph,
    Input,
    InputError,
    Linear,
    MaxPool,
    Neuron,
    Node,
    Output,
    SumPool,
    UnknownNameError,
)
from spikewright.sim import event_native
from spikewright.sim.event import EventDriven, Order
from spikewright.sim.event_native import NativeEventSession
from spikewright.sim.reference import Reference

RNG = np.random.default_rng(7)


def odin(shape: tuple[int, ...], threshold: int, **changes: object) -> Neuron:
    fields = {"state_bits": 12, "v_low": -2048, "v_high": 2047, "compare": ">="}
    return Neuron(shape, np.int32(threshold), **{**fields, **changes})


def tiny_odin(
    weights: list[np.ndarray], thresholds: list[int], leaks: list[int], x: np.ndarray
) -> list[np.ndarray]:
    """Return spike counts [time, neuron] of each layer, by the chip's rule written plainly.

    One queue; its head is applied to neurons 0..N-1 in order; one that fires is appended at once.
    """
    sizes = [len(w) for w in weights]
    v = [[0] * n for n in sizes]
    counts = [np.zeros((len(x), n), int) for n in sizes]
    for t, frame in enumerate(x):
        for layer, leak in enumerate(leaks):
            for j, value in enumerate(v[layer]):
                v[layer][j] = max(value - leak, 0) if value > 0 else min(value + leak, 0)
        for place in np.flatnonzero(frame):
            queue = deque([(-1, int(place))])
            while queue:
                source, i = queue.popleft()
                layer = source + 1
                if layer == len(weights):
                    continue
                for j in range(sizes[layer]):
                    value = v[layer][j] + int(weights[layer][j][i])
                    value = max(-2048, min(2047, value))
                    if value >= thresholds[layer]:
                        value = 0
                        counts[layer][t][j] += 1
                        queue.append((layer, j))
                    v[layer][j] = value
    return counts


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_tiny_odin_spike_for_spike(seed: int, plain: bool) -> None:
    rng = np.random.default_rng(seed)
    sizes = [20, 30, 16, 8]
    weights = [rng.integers(-8, 8, (b, a)).astype(np.int8) for a, b in pairwise(sizes)]
    thresholds = [int(n) for n in rng.integers(2, 7, 3)]
    leaks = [int(n) for n in rng.integers(0, 4, 3)]
    nodes: dict[str, Node] = {"in": Input((20,), "spikes", low=0, high=1)}
    for k, weight in enumerate(weights):
        nodes[f"fc{k}"] = Linear(weight, bits=4)
        leak = np.int32(leaks[k])
        nodes[f"n{k}"] = odin((len(weight),), thresholds[k], leak_subtract=leak)
    graph = Graph.chain({**nodes, "out": Output("spike_count")}, "integer")
    x = (rng.random((12, 2, 20)) < 0.4).astype(np.int64)
    found = EventDriven(plain=plain).prepare(graph).run(x)
    for sample in range(2):
        expected = tiny_odin(weights, thresholds, leaks, x[:, sample])
        for k, counts in enumerate(expected):
            assert np.array_equal(found.neurons[f"n{k}"].spikes[:, sample], counts)
        total = expected[-1].sum(axis=0)
        assert np.array_equal(found.output[-1, sample], total)
    assert max(int(n.spikes.max()) for n in found.neurons.values()) > 1  # several times a step


def small(weight: list[list[int]], threshold: int, **changes: object) -> Graph:
    fc = Linear(np.array(weight, np.int8), bits=8)
    nodes = {
        "in": Input((len(weight[0]),), "spikes", low=0, high=3),
        "fc": fc,
        "n": odin((len(weight),), threshold, **changes),
        "out": Output("spike_count"),
    }
    return Graph.chain(nodes, "integer")


def test_the_order_of_events_decides() -> None:
    """+5 then -5 fires at once; -5 then +5 never gets there; at step timing nothing happens."""
    graph, x = small([[5, -5]], 5), np.ones((1, 1, 2), np.int64)
    fired = {
        order: int(EventDriven(order).prepare(graph).run(x).neurons["n"].spikes.sum())
        for order in ("raster", "reversed")
    }
    assert fired == {"raster": 1, "reversed": 0}
    assert not Reference().prepare(graph).run(x).neurons["n"].spikes.any()
    draws = [
        int(EventDriven("random", seed).prepare(graph).run(x).neurons["n"].spikes.sum())
        for seed in range(8)
    ]
    assert {0, 1} == set(draws)
    again = EventDriven("random", 3).prepare(graph)
    assert np.array_equal(
        again.run(x).output, EventDriven("random", 3).prepare(graph).run(x).output
    )


def test_a_count_is_so_many_events_and_v_saturates() -> None:
    graph, x = small([[5]], 5), np.full((1, 1, 1), 3, np.int64)
    assert EventDriven().prepare(graph).run(x).neurons["n"].spikes.item() == 3
    low = EventDriven().prepare(small([[-100]], 5)).run(np.full((9, 1, 1), 3, np.int64))
    v = low.neurons["n"].v
    assert v is not None and v[-1].item() == -2048


def test_a_value_below_0_is_no_number_of_events() -> None:
    graph = small([[5]], 5)
    name = graph.input_name
    signed = graph.map_nodes(lambda n, node: replace(node, low=-1) if n == name else node)
    with pytest.raises(InputError, match="value of -1 is no number of events") as caught:
        EventDriven().prepare(signed).run(np.full((1, 1, 1), -1, np.int64))
    assert caught.value.node == name


def test_soft_reset_keeps_the_rest() -> None:
    graph = small([[7]], 5, reset="soft")
    found = EventDriven().prepare(graph).run(np.ones((2, 1, 1), np.int64))
    assert found.neurons["n"].spikes.reshape(-1).tolist() == [1, 1]
    assert found.neurons["n"].v.reshape(-1).tolist() == [2, 4]


@pytest.mark.parametrize("stride", [1, 2])
def test_events_add_up_to_what_a_step_adds(stride: int) -> None:
    """Thresholds that nothing reaches: v is the same whatever the timing, borders included."""
    weight = RNG.integers(1, 8, (4, 1, 3, 3)).astype(np.int8)
    conv = Conv2d(weight, stride=(stride, stride), padding=(1, 1), groups=2, bits=4)
    side = (6 - 1) // stride + 1
    nodes: dict[str, Node] = {
        "in": Input((2, 12, 12), "spikes", low=0, high=1),
        "pool": SumPool((2, 2), (2, 2), (0, 0)),
        "conv": conv,
        "n": odin((4, side, side), 2047),
        "flat": Flatten(),
        "fc": Linear(RNG.integers(-8, 8, (3, 4 * side * side)).astype(np.int8), bits=4),
        "out": Output("integrate"),
    }
    graph = Graph.chain(nodes, "integer")
    x = (RNG.random((3, 2, 2, 12, 12)) < 0.3).astype(np.int64)
    one, two = (e.prepare(graph).run(x) for e in (EventDriven(), Reference()))
    assert one.neurons["n"].v.any()
    assert np.array_equal(one.neurons["n"].v, two.neurons["n"].v)
    # ... and where a neuron gets one event a step at most, spikes and readout too.
    sparse = np.zeros_like(x)
    sparse[:, :, 0, 4, 4] = 1
    lively = graph.replace({**graph.nodes, "n": odin((4, side, side), 1)})
    one, two = (e.prepare(lively).run(sparse) for e in (EventDriven(), Reference()))
    assert two.neurons["n"].spikes.any()
    assert np.array_equal(one.neurons["n"].spikes, two.neurons["n"].spikes)
    assert np.array_equal(one.output, two.output)


def test_a_delay_holds_events_back() -> None:
    graph = small([[5]], 5)
    nodes = {"in": graph.nodes["in"], "d": Delay((1,), 2), **dict(graph.nodes)}
    late = Graph.chain(nodes, "integer")
    x = np.zeros((4, 1, 1), np.int64)
    x[0] = 1
    assert EventDriven().prepare(late).run(x).neurons["n"].spikes.reshape(-1).tolist() == [
        0,
        0,
        1,
        0,
    ]


def test_an_analog_layer_is_the_hosts() -> None:
    fc = Linear(np.array([[1, 1], [1, -1]], np.int8), bits=8)
    last = Linear(np.array([[3, -3]], np.int8), bits=8)
    nodes: dict[str, Node] = {
        "in": Input((2,), "direct", 1 / 127, -127, 127),
        "fc": fc,
        "n": odin((2,), 1),
        "last": last,
        "m": odin((1,), 3),
        "out": Output("spike_count"),
    }
    graph = Graph.chain(nodes, "integer")
    x = np.tile(np.array([5, 2]), (2, 1, 1))
    found, step = (e.prepare(graph).run(x) for e in (EventDriven(), Reference()))
    assert np.array_equal(found.neurons["n"].spikes, step.neurons["n"].spikes)
    assert found.neurons["m"].spikes.sum() == 1 and step.neurons["m"].spikes.sum() == 0


def test_what_has_no_event_form_is_refused() -> None:
    graph = small([[5]], 5)
    current = graph.replace({**graph.nodes, "n": odin((1,), 5, du=np.int32(9))})
    with pytest.raises(ExecutorError, match="synaptic current"):
        EventDriven().prepare(current)
    held = graph.replace({**graph.nodes, "n": odin((1,), 5, refractory_steps=1)})
    with pytest.raises(ExecutorError, match="refractory"):
        EventDriven().prepare(held)
    nodes: dict[str, Node] = {
        "in": Input((1, 4, 4), "spikes", low=0, high=1),
        "pool": MaxPool((2, 2), (2, 2), (0, 0)),
        "out": Output("none"),
    }
    with pytest.raises(ExecutorError, match="no sum over events"):
        EventDriven().prepare(Graph.chain(nodes, "integer"))
    with pytest.raises(UnknownNameError, match="raster"):
        EventDriven("rester")  # type: ignore[arg-type]


def lively(rng: np.random.Generator, analog: bool) -> Graph:
    """Return pool, convolution, loop and dense layers with every field that event timing knows."""
    top = 6
    convs = [
        Conv2d(rng.integers(-3, top, (4, n, 3, 3)).astype(np.int8), padding=(1, 1), bits=4)
        for n in (2, 4)
    ]
    first = Input((2, 8, 8), "direct", 1 / 127, -127, 127) if analog else None
    shape = (4, 4, 4)
    nodes: dict[str, Node] = {
        "in": first or Input((2, 8, 8), "spikes", low=0, high=2),
        "pool": SumPool((2, 2), (2, 2), (0, 0)),
        "conv": convs[0],
        "n": odin(shape, 9, dv=np.int32(700), state_shift=1, v_min=np.int32(-4)),
        "conv2": convs[1],
        "add": Add(),
        "m": odin(shape, 12, leak_subtract=np.int32(1), bias=rng.integers(-3, 4, shape)),
        "late": Delay(shape, 2),
        "loop": Conv2d(rng.integers(-3, 3, (4, 2, 1, 1)).astype(np.int8), groups=2, bits=4),
        "flat": Flatten(),
        "fc": Linear(rng.integers(-6, 7, (5, 64)).astype(np.int8), bits=4, weight_shift=1),
        "k": odin((5,), 15, reset="soft", compare=">"),
        "out": Output("spike_count"),
    }
    names = ["in", "pool", "conv", "n", "conv2"]
    edges: list[Any] = [*pairwise(names), ("conv2", "add", 0), ("loop", "add", 1), ("add", "m")]
    edges += [("m", "late"), ("late", "loop"), ("m", "flat"), *pairwise(["flat", "fc", "k", "out"])]
    return Graph(nodes, edges, "integer")


@pytest.mark.parametrize("order", ["raster", "reversed", "random"])
@pytest.mark.parametrize("analog", [True, False])
def test_the_extension_equals_the_plain_rule(order: Order, analog: bool) -> None:
    """In every spike, potential, output and in the longest queue, batch by batch."""
    pytest.importorskip("spikewright.sim._event")
    rng = np.random.default_rng(3)
    graph = lively(rng, analog)
    high = 128 if analog else 3
    x = rng.integers(1 - high if analog else 0, high, (3, 3, 2, 8, 8))
    plain, fast = (EventDriven(order, 1, plain=p).prepare(graph) for p in (True, False))
    assert isinstance(fast, NativeEventSession) and not isinstance(plain, NativeEventSession)
    for batch in (x[:, :1], x[:, 1:]):
        one, two = plain.run(batch), fast.run(batch)
        assert np.array_equal(one.output, two.output)
        for name, neuron in one.neurons.items():
            assert neuron.spikes.any() and neuron.spikes.max() >= (1 if name == "n" else 2)
            assert np.array_equal(neuron.spikes, two.neurons[name].spikes), name
            assert np.array_equal(neuron.v, two.neurons[name].v), name
    assert plain.longest_queue == fast.longest_queue > 1


def test_what_is_too_large_to_lay_out_runs_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_native, "LARGEST", 0)
    session = EventDriven().prepare(small([[5]], 5))
    assert not isinstance(session, NativeEventSession)
