"""The reference: its operations against loops, its time against hand-written steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikewright.export.ir import (
    Add,
    Array,
    AvgPool,
    BatchNorm,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    GraphError,
    Input,
    InputError,
    Linear,
    MatMul,
    Neuron,
    Node,
    Output,
    Reshape,
    Scale,
    Shape,
    SumPool,
    Transpose,
)
from spikewright.export.ir.nodes import Conv, MaxPool
from spikewright.sim.ops import OPS
from spikewright.sim.reference import Reference
from spikewright.sim.repeated import static_nodes
from tests.fuzz.graphs import random_graph, random_input

SMALL = st.integers(1, 3)


def at(x: Array, place: tuple[int, ...], outside: Any) -> Any:
    """Return x at a place of its trailing axes, `outside` beyond the border."""
    inside = all(0 <= p < n for p, n in zip(place, x.shape[-len(place) :], strict=True))
    return x[(..., *place)] if inside else outside


def loop_conv(node: Conv, x: Array) -> Array:
    """One product at a time."""
    kernel = node.weight.shape[2:]
    outputs, per_group = node.weight.shape[:2]
    shape = Graph.chain({"in": Input(x.shape[1:]), "c": node, "out": Output()}, "float").shapes["c"]
    y = np.zeros((len(x), *shape), x.dtype)
    for b, o in np.ndindex(len(x), outputs):
        first = o // (outputs // node.groups) * per_group
        for place in np.ndindex(*shape[1:]):
            for c in range(per_group):
                for tap in np.ndindex(*kernel):
                    where = tuple(
                        p * s - q + t * d
                        for p, s, q, t, d in zip(
                            place, node.stride, node.padding, tap, node.dilation, strict=True
                        )
                    )
                    y[(b, o, *place)] += node.weight[(o, c, *tap)] * at(x[b, first + c], where, 0)
    return y << node.weight_shift if node.weight_shift else y


def loop_pool(node: Any, x: Array, start: Any, combine: Callable[[Any, Any], Any]) -> Array:
    shape = Graph.chain({"in": Input(x.shape[1:]), "p": node, "out": Output()}, "float").shapes["p"]
    rank = len(node.kernel)
    y = np.full((len(x), *shape), start, x.dtype)
    for outer in np.ndindex(len(x), *shape[: len(shape) - rank]):
        for place in np.ndindex(*shape[len(shape) - rank :]):
            for tap in np.ndindex(*node.kernel):
                axes = zip(place, node.stride, node.padding, tap, strict=True)
                where = tuple(p * s - q + t for p, s, q, t in axes)
                y[(*outer, *place)] = combine(y[(*outer, *place)], at(x[outer], where, start))
    return y


@st.composite
def convolutions(draw: Any) -> tuple[Conv, Array]:
    rank = draw(st.sampled_from([1, 2]))
    groups, per_group, per_out = draw(SMALL), draw(SMALL), draw(SMALL)
    kernel = tuple(draw(SMALL) for _ in range(rank))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(rank))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(rank))
    spatial = tuple(d * (k - 1) + draw(SMALL) for d, k in zip(dilation, kernel, strict=True))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    weight = rng.integers(-127, 128, (groups * per_out, per_group, *kernel)).astype(np.int8)
    node = (Conv1d if rank == 1 else Conv2d)(
        weight,
        stride=tuple(draw(SMALL) for _ in range(rank)),
        padding=padding,
        dilation=dilation,
        groups=groups,
        weight_shift=draw(st.integers(0, 2)),
    )
    return node, rng.integers(-127, 128, (2, groups * per_group, *spatial))


@settings(max_examples=60)
@given(convolutions())
def test_convolution(drawn: tuple[Conv, Array]) -> None:
    node, x = drawn
    found = OPS[type(node)](node, x)
    assert found.dtype == np.int64 and np.array_equal(found, loop_conv(node, x))


def test_a_sum_beyond_float32_is_exact() -> None:
    """An odd sum above 2^24 is no float32: a reference in float32 would round it."""
    codes = np.full((1, 1041), 127)
    found = OPS[Linear](Linear(codes.astype(np.int8)), codes).item()
    assert found == 1041 * 127 * 127 and int(np.float32(found)) != found


POOLS = [
    ((2, 2), (2, 2), (0, 0)),
    ((3, 2), (2, 1), (1, 1)),
    ((2, 3), (1, 2), (0, 1)),
    ((2,), (3,), (1,)),
    ((2, 2, 2), (1, 2, 2), (1, 0, 1)),
]


@pytest.mark.parametrize("pool", POOLS)
def test_pools(pool: tuple[Shape, Shape, Shape]) -> None:
    x = np.random.default_rng(1).integers(-50, -1, (2, 3, 5, 6))
    summed = loop_pool(SumPool(*pool), x, 0, lambda a, b: a + b)
    assert np.array_equal(OPS[SumPool](SumPool(*pool), x), summed)
    lowest = np.iinfo(np.int64).min
    largest = loop_pool(MaxPool(*pool), x, lowest, max)
    found = OPS[MaxPool](MaxPool(*pool), x)
    # Every value is negative: a border of zeros would win.
    assert np.array_equal(found, largest) and found.max() < 0
    mean = OPS[AvgPool](AvgPool(*pool), x.astype(np.float64))
    np.testing.assert_allclose(mean, summed / np.prod(pool[0]), rtol=1e-15)


def test_max_pool_of_floats() -> None:
    x = np.full((1, 1, 2, 2), -3.5, np.float32)
    found = OPS[MaxPool](MaxPool((2, 2), (1, 1), (1, 1)), x)
    assert found.dtype == np.float32 and (found == -3.5).all()


def test_stateless_nodes() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(-9, 9, (2, 2, 3, 4)), rng.integers(-9, 9, (2, 2, 4, 3))
    assert np.array_equal(OPS[MatMul](MatMul(), x, y), x @ y)
    turned = np.swapaxes(y, -1, -2)
    assert np.array_equal(OPS[MatMul](MatMul(transpose_b=True), x, turned), x @ y)
    assert np.array_equal(OPS[Add](Add(), x, x, x), 3 * x)
    assert np.array_equal(OPS[Flatten](Flatten(), x), x.reshape(2, 24))
    assert np.array_equal(OPS[Reshape](Reshape((4, 6)), x), x.reshape(2, 4, 6))
    assert np.array_equal(OPS[Transpose](Transpose((2, 0, 1)), x), np.moveaxis(x, -1, 1))
    factor = np.array([[1], [2], [-3]], np.int32)
    assert np.array_equal(OPS[Scale](Scale(factor), x), x * factor)


def test_weights_of_the_float_levels() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4)).astype(np.float32)
    node = Linear(rng.normal(size=(5, 4)), bias=rng.normal(size=5))
    found = OPS[Linear](node, x)
    assert found.dtype == np.float32 and node.bias is not None
    np.testing.assert_allclose(found, x @ node.weight.T + node.bias, rtol=1e-5)
    conv = Conv1d(rng.normal(size=(5, 3, 1)), bias=rng.normal(size=5))
    assert conv.bias is not None
    expected = np.einsum("oc,bcx->box", conv.weight[..., 0], x) + conv.bias[:, None]
    np.testing.assert_allclose(OPS[Conv1d](conv, x), expected, rtol=1e-5)
    norm = BatchNorm(*rng.random((4, 3)), axis=0)
    scaled = (x - norm.mean[:, None]) / np.sqrt(norm.var + 1e-5)[:, None]
    expected = scaled * norm.weight[:, None] + norm.bias[:, None]
    np.testing.assert_allclose(OPS[BatchNorm](norm, x), expected, rtol=1e-4, atol=1e-5)


def delayed(steps: int) -> Graph:
    nodes: dict[str, Node] = {
        "in": Input((1,), "frames", low=0, high=99),
        "late": Delay((1,), steps),
        "out": Output("none"),
    }
    return Graph.chain(nodes, "integer")


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_delay_hands_on_what_came_steps_before(steps: int) -> None:
    x = np.arange(1, 5).reshape(4, 1, 1)
    y = Reference().prepare(delayed(steps)).run(x).output.reshape(-1)
    assert y.tolist() == [0] * min(steps, 4) + [1, 2, 3, 4][: max(0, 4 - steps)]


def test_recurrence_arrives_one_step_later() -> None:
    """Spikes come back through the Delay: n fires at t where it fired at t - 1 or x came."""
    nodes: dict[str, Node] = {
        "in": Input((1,), "spikes", low=0, high=1),
        "back": Delay((1,)),
        "sum": Add(),
        "n": Neuron((1,), np.int32(0)),
        "out": Output("none"),
    }
    edges = [("in", "sum", 0), ("back", "sum", 1), ("sum", "n"), ("n", "back"), ("n", "out")]
    session = Reference().prepare(Graph(nodes, edges, "integer"))
    x = np.array([0, 1, 0, 0]).reshape(4, 1, 1)
    assert session.run(x).output.reshape(-1).tolist() == [0, 1, 1, 1]


def test_a_repeated_frame_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    honest = OPS[Linear]

    def counted(node: Linear, x: Array) -> Array:
        calls.append(node)
        return honest(node, x)

    monkeypatch.setitem(OPS, Linear, counted)
    nodes: dict[str, Node] = {
        "in": Input((3,), "direct", 1.0, -127, 127),
        "a": Linear(np.eye(3, dtype=np.int8)),
        "n": Neuron((3,), np.int32(20)),
        "b": Linear(np.eye(3, dtype=np.int8)),
        "out": Output("integrate"),
    }
    graph = Graph.chain(nodes, "integer")
    assert static_nodes(graph) == {"in", "a"}
    session = Reference().prepare(graph)
    frame = np.array([[3, 7, -11]])
    once = session.run(np.broadcast_to(frame, (6, *frame.shape)))
    assert [calls.count(nodes["a"]), calls.count(nodes["b"])] == [1, 6]
    again = session.run(np.repeat(frame[None], 6, axis=0))
    assert np.array_equal(once.output, again.output)
    assert np.array_equal(once.neurons["n"].v, again.neurons["n"].v)  # type: ignore[arg-type]


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_steps_equal_a_run(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    x = random_input(graph, rng)
    session = Reference().prepare(graph)
    trace = session.run(x)
    session.reset()
    for t, frame in enumerate(x):
        assert np.array_equal(session.step(frame), trace.output[t])
    # A run starts from reset, whatever the state it finds; samples do not see each other.
    one = session.run(x[:, :1])
    assert np.array_equal(one.output, trace.output[:, :1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_graphs_run_in_the_dtype_asked_for(dtype: Any) -> None:
    nodes: dict[str, Node] = {
        "in": Input((2,)),
        "fc": Linear(np.array([[0.1, 0.2], [0.3, 0.4]])),
        "n": Neuron((2,), np.array(0.5), beta=np.array(0.9), alpha=np.array(0.5), reset="soft"),
        "out": Output("leaky", beta=np.array(0.7)),
    }
    graph = Graph.chain(nodes, "folded")
    trace = Reference(dtype).prepare(graph).run(np.ones((5, 3, 2)))
    recorded = trace.neurons["n"]
    assert recorded.v is not None and recorded.u is not None
    assert {a.dtype for a in (recorded.spikes, recorded.v, recorded.u, trace.output)} == {
        np.dtype(dtype)
    }
    assert recorded.spikes.any()


def test_records_hold_what_was_asked() -> None:
    nodes = {**delayed(1).nodes, "n": Neuron((1,), np.int32(3), du=np.int32(0))}
    graph = Graph.chain({k: nodes[k] for k in ("in", "late", "n", "out")}, "integer")
    session = Reference().prepare(graph)
    x = np.ones((3, 2, 1), np.int64)
    assert not session.run(x, "output").neurons
    assert session.run(x, "spikes").neurons["n"].v is None
    full = session.run(x, "states").neurons["n"]
    assert full.v is not None and full.u is not None
    assert (full.spikes.shape, full.v.dtype, full.u.dtype) == ((3, 2, 1), np.int32, np.int32)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 1), np.int64), r"in: values of shape \[3, 1\], .* \[time, batch, 1\]"),
        (np.zeros((3, 1, 2), np.int64), r"values of shape \[3, 1, 2\]"),
        (np.zeros((0, 1, 1), np.int64), r"values of shape \[0, 1, 1\] are empty"),
        (np.zeros((3, 1, 1)), "values of dtype float64, an integer network takes integers"),
        (np.full((3, 1, 1), 100), r"integer input 100..100 leaves the range 0..99"),
    ],
)
def test_values_that_are_not_encoded_are_refused(x: Array, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Reference().prepare(delayed(1)).run(x)


def test_a_wrong_graph_is_not_run() -> None:
    graph = delayed(1)
    with pytest.raises(GraphError, match="late: steps is 0"):
        Reference().prepare(graph.replace({**graph.nodes, "late": Delay((1,), 0)}))
