"""Counters against brute force: one synapse at a time."""

from __future__ import annotations

import numpy as np
import pytest

from spikewright.export.ir import (
    AvgPool,
    Conv1d,
    Conv2d,
    Flatten,
    Graph,
    Input,
    InputError,
    Linear,
    MatMul,
    Neuron,
    Output,
    Reshape,
    Scale,
    SumPool,
    Weight,
)
from spikewright.sim.counters import count
from spikewright.sim.encode import encode
from spikewright.sim.fan_out import fan_out
from spikewright.sim.reference import Reference
from spikewright.sim.run import run
from spikewright.sim.travelled import values_of
from tests.fuzz.graphs import random_graph, random_input


def codes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """int8 weights, a third of them zero."""
    return (rng.integers(-9, 10, shape) * (rng.random(shape) < 0.66)).astype(np.int8)


def brute_force(node: Weight, x_shape: tuple[int, ...], *, effective: bool) -> np.ndarray:
    """Set one input at a time to 1 and count the outputs that a synapse reaches."""
    weight = (node.weight != 0) if effective else np.ones_like(node.weight)
    options = {
        name: getattr(node, name)
        for name in ("stride", "padding", "padding_end", "dilation", "groups")
        if hasattr(node, name)
    }
    probe = type(node)(weight.astype(np.int8), **options)
    graph = Graph.chain(
        {"in": Input(x_shape, "spikes", low=0, high=1), "w": probe, "out": Output("none")},
        "integer",
    )
    inputs = np.eye(int(np.prod(x_shape)), dtype=np.int64).reshape(-1, *x_shape)
    y = Reference().prepare(graph).run(inputs[None]).output[0]
    return y.reshape(len(inputs), -1).sum(axis=1).reshape(x_shape)


@pytest.mark.parametrize("effective", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": (2, 2), "padding": (1, 1)},
        {"stride": (1, 2), "padding": (2, 0), "dilation": (2, 1)},
        {"groups": 2, "padding": (1, 1)},
        {"stride": (3, 3)},
        {"padding": (0, 2), "padding_end": (1, 0), "stride": (2, 1)},
    ],
)
def test_fan_out_is_what_exists(options: dict, effective: bool) -> None:
    rng = np.random.default_rng(5)
    node = Conv2d(codes(rng, 6, 4 // options.get("groups", 1), 3, 2), **options)
    graph = Graph.chain({"in": Input((4, 7, 6)), "w": node, "out": Output()}, "float")
    found = fan_out(node, (4, 7, 6), graph.shapes["w"], effective=effective)
    assert np.array_equal(found, brute_force(node, (4, 7, 6), effective=effective))


def test_fan_out_of_conv1d_and_linear() -> None:
    rng = np.random.default_rng(6)
    for node, shape in (
        (Conv1d(codes(rng, 5, 3, 3), stride=(2,), padding=(1,)), (3, 9)),
        (Linear(codes(rng, 5, 8)), (3, 8)),
    ):
        graph = Graph.chain({"in": Input(shape), "w": node, "out": Output()}, "float")
        for effective in (False, True):
            found = fan_out(node, shape, graph.shapes["w"], effective=effective)
            assert np.array_equal(found, brute_force(node, shape, effective=effective))


def naive_sops(node: Conv2d, spikes: np.ndarray, out: tuple[int, ...]) -> tuple[int, int]:
    """Walk every output, channel and tap of one sample; count the spikes read there."""
    real = effective = 0
    per_group, per_out = node.weight.shape[1], node.weight.shape[0] // node.groups
    for o, y, x in np.ndindex(*out):
        for c, ky, kx in np.ndindex(*node.weight.shape[1:]):
            at_y = y * node.stride[0] - node.padding[0] + ky * node.dilation[0]
            at_x = x * node.stride[1] - node.padding[1] + kx * node.dilation[1]
            if not (0 <= at_y < spikes.shape[1] and 0 <= at_x < spikes.shape[2]):
                continue
            if spikes[o // per_out * per_group + c, at_y, at_x]:
                real += 1
                effective += bool(node.weight[o, c, ky, kx])
    return real, effective


@pytest.mark.parametrize(
    "options",
    [
        {"stride": (2, 2), "padding": (1, 1)},
        {"stride": (1, 2), "padding": (2, 1), "dilation": (2, 1), "groups": 2},
    ],
)
def test_sops_are_the_products_a_naive_loop_meets(options: dict) -> None:
    rng = np.random.default_rng(4)
    node = Conv2d(codes(rng, 6, 4 // options.get("groups", 1), 3, 3), **options)
    graph = Graph.chain(
        {"in": Input((4, 9, 8), "spikes", low=0, high=1), "w": node, "out": Output("none")},
        "integer",
    )
    x = (rng.random((3, 2, 4, 9, 8)) < 0.2).astype(np.int64)
    layer = count(Reference().prepare(graph).run(x)).layers["w"]
    out = graph.shapes["w"]
    for t, b in np.ndindex(3, 2):
        expected = naive_sops(node, x[t, b], out)
        assert (layer.sops[t, b], layer.sops_effective[t, b]) == expected
    # What "spikes x C_out x k^2" would say is far more: strides and borders are not there.
    assert layer.sops.sum() < 0.75 * x.sum() * 6 * 9
    assert layer.dense_macs[0, 0] == np.prod(out) * np.prod(node.weight.shape[1:])


def test_values_between_neurons_are_derived_as_they_were() -> None:
    """What `values_of` works out from spikes alone is what travelled, delays and all."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        x = random_input(graph, rng)
        session = Reference().prepare(graph)
        trace = session.run(x)
        session.reset()
        steps = [session._step(frame, {}) for frame in x]
        for name, node in graph.nodes.items():
            if not isinstance(node, Output):
                travelled = np.concatenate([values[name] for values in steps])
                assert np.array_equal(values_of(trace, name), travelled), (seed, name)


def network() -> Graph:
    rng = np.random.default_rng(0)
    return Graph.chain(
        {
            "in": Input((2, 6, 6), "spikes", low=0, high=3),
            "conv": Conv2d(codes(rng, 4, 2, 3, 3), stride=(2, 2), padding=(1, 1)),
            "n1": Neuron((4, 3, 3), np.int32(4), max_spikes_per_step=3, reset="soft"),
            "flat": Flatten(),
            "fc": Linear(codes(rng, 5, 36)),
            "n2": Neuron((5,), np.int32(9)),
            "out": Output("spike_count"),
        },
        "integer",
    )


def test_sops_count_events_and_spikes_by_name() -> None:
    graph = network()
    x = np.random.default_rng(1).integers(0, 4, (3, 5, 2, 6, 6))
    trace = Reference().prepare(graph).run(encode(graph, x))
    counters = count(trace)
    fan = fan_out(graph.of_kind(Conv2d)["conv"], (2, 6, 6), (4, 3, 3))
    expected = ((trace.input != 0) * fan).reshape(5, 3, -1).sum(axis=2)
    assert np.array_equal(counters.layers["conv"].sops, expected)
    spikes = trace.neurons["n1"].spikes
    assert (spikes > 1).any()
    events = (spikes != 0).reshape(5, 3, -1).sum(axis=2)
    assert np.array_equal(counters.layers["n1"].events, events)
    assert np.array_equal(counters.layers["n1"].spikes, spikes.reshape(5, 3, -1).sum(axis=2))
    assert np.array_equal(counters.layers["fc"].sops, events * 5)
    assert np.array_equal(counters.layers["fc"].sops_per_spike, counters.layers["n1"].spikes * 5)
    per_spike = (trace.input * fan).reshape(5, 3, -1).sum(axis=2)
    assert np.array_equal(counters.layers["conv"].sops_per_spike, per_spike)
    assert (counters.layers["fc"].sops_effective < counters.layers["fc"].sops).any()
    assert counters.layers["conv"].macs.sum() == 0
    assert counters.layers["n2"].neuron_updates.tolist() == [[5] * 3] * 5


def test_multi_spikes_by_hand() -> None:
    """IF neurons as sinabs': v gains 3.5 and 1.2 a step, each whole number of it is spikes.

    3.5, 0.5 + 3.5, 3.5: 3, 4, 3 spikes; 1.2, 0.2 + 1.2, 0.4 + 1.2: 1, 1, 1; none.
    """
    graph = Graph.chain(
        {
            "in": Input((1,), "spikes"),
            "w": Linear(np.array([[3.5], [1.2], [0.0]], np.float32)),
            "n": Neuron(
                (3,),
                np.ones(()),
                beta=np.ones(()),
                reset="soft",
                compare=">=",
                max_spikes_per_step=99,
            ),
            "head": Linear(np.ones((2, 3), np.float32)),
            "out": Output("none"),
        },
        "float",
    )
    trace = Reference().prepare(graph).run(np.ones((3, 1, 1), np.float32))
    counters = count(trace)
    neuron, head = counters.layers["n"], counters.layers["head"]
    assert neuron.spikes[:, 0].tolist() == [4, 5, 4] and neuron.events[:, 0].tolist() == [2, 2, 2]
    assert head.sops[:, 0].tolist() == [4, 4, 4]
    assert head.sops_per_spike[:, 0].tolist() == [8, 10, 8]
    row = next(row for row in counters.rows() if row["name"] == "n")
    assert (row["spikes"], row["events"]) == (13, 6)
    assert row["spike_rate"] == 6 / 9 and row["spikes_per_neuron_step"] == 13 / 9
    assert counters.totals()["spikes_per_neuron_step"] == 13 / 9


@pytest.mark.parametrize("pool", [SumPool, AvgPool])
def test_a_sum_of_spikes_is_one_event_of_several(pool: type) -> None:
    """Two spikes in one window of a 1x4 row, none in the other: 1 event, 2 spikes, 3 outputs."""
    graph = Graph.chain(
        {
            "in": Input((1, 4), "spikes"),
            "pool": pool((2,), (2,), (0,)),
            "flat": Flatten(),
            "twice": Scale(np.array(2.0)),
            "w": Linear(np.ones((3, 2), np.float32)),
            "out": Output("none"),
        },
        "float",
    )
    layer = count(Reference().prepare(graph).run(np.array([[[[1, 1, 0, 0]]]], np.float32)))
    assert layer.layers["w"].sops.sum() == 3 and layer.layers["w"].sops_per_spike.sum() == 6


def frames() -> Graph:
    """Frames -> Linear -> Linear -> Neuron -> Linear: 3 * 2 and 4 * 3 MACs, 4 inputs of spikes."""
    return Graph.chain(
        {
            "in": Input((2,), "direct"),
            "a": Linear(np.ones((3, 2), np.float32)),
            "b": Linear(np.ones((4, 3), np.float32)),
            "n": Neuron((4,), np.ones(()), beta=np.ones(())),
            "c": Linear(np.ones((5, 4), np.float32)),
            "out": Output("none"),
        },
        "float",
    )


def test_a_repeated_frame_is_multiplied_once_and_changing_ones_each_step() -> None:
    """Whatever is not yet spikes is multiplied: the second layer, too."""
    graph, still = frames(), np.ones((2, 2), np.float32)
    moving = np.stack([np.stack([still, still, 2 * still])] * 1).reshape(3, 2, 2)
    session = Reference().prepare(graph)
    once = count(session.run(encode(graph, still, 3))).layers
    each = count(session.run(encode(graph, moving.swapaxes(0, 1)))).layers
    assert once["a"].macs.tolist() == [[6, 6], [0, 0], [0, 0]]
    assert once["b"].macs.tolist() == [[12, 12], [0, 0], [0, 0]]
    assert each["a"].macs.tolist() == [[6, 6]] * 3 and each["b"].macs.tolist() == [[12, 12]] * 3
    for found in (once, each):
        assert found["c"].macs.sum() == 0 and found["c"].sops.sum() == 3 * 2 * 4 * 5
        assert found["a"].sops.sum() == 0 == found["b"].sops.sum()


def test_joined_batches_keep_what_repeats() -> None:
    graph = frames()
    x = np.ones((5, 2), np.float32)
    timed = np.broadcast_to(x[:, None], (5, 3, 2))
    each = [5 * 6] * 3
    for samples, macs in ((x, [5 * 6, 0, 0]), (timed, each), (timed.copy(), each)):
        found = run(graph, samples, 3, batch=2, keep="spikes")
        assert found.counters.layers["a"].macs.sum(axis=1).tolist() == macs
        assert found.trace is not None
        assert count(found.trace).layers["a"].macs.sum(axis=1).tolist() == macs


def test_an_analog_layer_is_billed_in_macs() -> None:
    rng = np.random.default_rng(0)
    graph = Graph.chain(
        {
            "in": Input((1, 4, 4), "direct", scale=1 / 127, low=-127, high=127),
            "conv": Conv2d(codes(rng, 3, 1, 3, 3)),
            "n": Neuron((3, 2, 2), np.int32(300)),
            "out": Output("spike_count"),
        },
        "integer",
    )
    values = encode(graph, rng.random((2, 1, 4, 4), dtype=np.float32), 3)
    counters = count(Reference().prepare(graph).run(values))
    assert counters.layers["conv"].macs.tolist() == [[3 * 4 * 9] * 2, [0, 0], [0, 0]]
    assert counters.layers["conv"].sops.sum() == 0


def test_matmul_counts_driven_and_coinciding_events() -> None:
    nodes = {
        "in": Input((2, 12), "spikes", low=0, high=1),
        "q": Reshape((4, 6)),
        "k": Reshape((6, 4)),
        "m": MatMul(),
        "out": Output("none"),
    }
    edges = [("in", "q"), ("in", "k"), ("q", "m", 0), ("k", "m", 1), ("m", "out")]
    graph = Graph(nodes, edges, "integer")
    x = np.random.default_rng(2).integers(0, 2, (3, 2, 2, 12))
    trace = Reference().prepare(graph).run(encode(graph, x))
    layer = count(trace).layers["m"]
    a, b = trace.input.reshape(2, 3, 4, 6), trace.input.reshape(2, 3, 6, 4)
    assert np.array_equal(layer.sops, a.sum(axis=(2, 3)) * 4)
    assert np.array_equal(layer.sops_effective, (a @ b).sum(axis=(2, 3)))


def test_counters_of_batches_join() -> None:
    graph = network()
    x = encode(graph, np.random.default_rng(1).integers(0, 4, (6, 5, 2, 6, 6)))
    session = Reference().prepare(graph)
    whole = count(session.run(x))
    parts = count(session.run(x[:, :2])) + count(session.run(x[:, 2:]))
    assert whole.rows() == parts.rows() and whole.totals() == parts.totals()
    assert parts.samples == 6 and 0 < whole.totals()["spike_rate"] < 1
    with pytest.raises(InputError, match="record"):
        count(session.run(x, "output"))
