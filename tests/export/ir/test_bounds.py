"""Worst-case bounds: attained where they can be, never left, and refused before they overflow."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikewright.export.ir import (
    Add,
    BoundsError,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    MatMul,
    Neuron,
    Node,
    Output,
    Reshape,
    Scale,
    SumPool,
    Transpose,
    accumulators,
    bounds,
    check,
)
from spikewright.export.ir.nodes import MaxPool
from spikewright.sim.reference import Reference
from spikewright.sim.travelled import values_of
from tests.fuzz.graphs import random_graph, random_input


def chain(*nodes: Node, low: int = 0, high: int = 1, shape: tuple[int, ...] = (3,)) -> Graph:
    named: dict[str, Node] = {"in": Input(shape, "spikes", low=low, high=high)}
    named |= {f"n{k}": node for k, node in enumerate(nodes)}
    return Graph.chain({**named, "out": Output("none")}, "integer")


def corners(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest output over every extreme input, by trying them all."""
    node = graph.input
    every = np.array(list(product((node.low, node.high), repeat=int(np.prod(node.shape)))))
    y = Reference().prepare(graph).run(every.reshape(1, -1, *node.shape)).output[0]
    return y.min(axis=0), y.max(axis=0)


CODES = np.array([[3, -5, 2], [-7, -1, -2]], np.int8)
LINEAR_GRAPHS = {
    "linear": chain(Linear(CODES)),
    "linear, signed input": chain(Linear(CODES), low=-4, high=9),
    "linear, input above zero": chain(Linear(CODES), low=2, high=9),
    "shift": chain(Linear(CODES, weight_shift=3), low=-1),
    "sum pool": chain(SumPool((2,), (1,), (0,)), low=-2, high=3),
    "sum pool, border": chain(SumPool((3,), (2,), (1,)), low=2, high=3),
    "max pool": chain(MaxPool((2,), (1,), (1,)), low=-2, high=3),
    "scale": chain(Scale(np.array([2, -3, 1], np.int32)), low=-2, high=3),
    "conv1d, border": chain(
        Reshape((1, 3)), Conv1d(CODES.reshape(2, 1, 3), padding=(1,)), Flatten(), low=1, high=2
    ),
    "conv1d in groups": chain(
        Reshape((2, 2)),
        Conv1d(CODES[:, :2].reshape(2, 1, 2), groups=2),
        Flatten(),
        shape=(4,),
        low=-1,
    ),
    "conv2d": chain(
        Reshape((2, 1, 3)),
        Conv2d(np.arange(-6, 6, dtype=np.int8).reshape(2, 2, 1, 3), padding=(0, 1)),
        Flatten(),
        shape=(6,),
    ),
    "transpose": chain(
        Reshape((2, 2)), Transpose((1, 0)), Scale(np.array([[5], [-2]], np.int32)), shape=(4,)
    ),
}


@pytest.mark.parametrize("name", LINEAR_GRAPHS)
def test_bounds_hold_over_every_extreme_input(name: str) -> None:
    graph = check(LINEAR_GRAPHS[name])
    bound, (low, high) = bounds(graph)["out"], corners(graph)
    assert (bound.low <= low).all() and (bound.high >= high).all()
    assert bound.magnitude >= max(abs(low).max(), abs(high).max())
    # A bound is over the places of a map: it is attained at one of them, unless the border's zeros
    # (counted at every tap) are reached at some taps only.
    if "border" not in name:
        assert bound.low.min() == low.min() and bound.high.max() == high.max()


def test_a_linear_bound_is_attained_row_by_row() -> None:
    graph = LINEAR_GRAPHS["linear, signed input"]
    bound, (low, high) = accumulators(graph)["n0"], corners(graph)
    assert np.array_equal(bound.low, low) and np.array_equal(bound.high, high)
    assert bound.magnitude == 10 * 9
    assert bound.low.tolist() == [-5 * 4 - 5 * 9, -10 * 9]


def test_partial_sums_count_even_where_they_cancel() -> None:
    weight = np.array([[127, -127]], np.int8)
    bound = bounds(chain(Linear(weight), shape=(2,), low=5, high=5))["n0"]
    assert (bound.low.item(), bound.high.item(), bound.magnitude) == (0, 0, 2 * 127 * 5)


def test_attention_and_addition() -> None:
    nodes: dict[str, Node] = {
        "in": Input((2, 3), "spikes", low=0, high=4),
        "kv": Scale(np.int32(-2)),
        "m": MatMul(transpose_b=True),
        "twice": Add(),
        "out": Output("none"),
    }
    edges = [("in", "kv"), ("in", "m", 0), ("kv", "m", 1), ("m", "twice", 0), ("m", "twice", 1)]
    graph = check(Graph(nodes, [*edges, ("twice", "out")], "integer"))
    found = bounds(graph)
    assert (int(found["m"].low), int(found["m"].high)) == (-3 * 4 * 8, 0)
    assert (int(found["twice"].low), found["twice"].magnitude) == (-192, 192)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_no_value_leaves_its_bound(seed: int) -> None:
    """In random graphs over every kind, recurrent ones too, each node stays within its bound."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    trace = Reference().prepare(graph).run(random_input(graph, rng))
    found = bounds(graph)
    for name, node in graph.nodes.items():
        if isinstance(node, Output):
            continue
        values = values_of(trace, name)
        assert (found[name].low <= values).all() and (values <= found[name].high).all(), name
        assert np.abs(values).max() <= found[name].magnitude


def loop(neuron: bool) -> Graph:
    """x + delayed output: bounded only where a neuron stands in the loop."""
    nodes: dict[str, Node] = {
        "in": Input((2,), "spikes", low=0, high=1),
        "back": Delay((2,), 2),
        "sum": Add(),
        "n": Neuron((2,), np.int32(1)) if neuron else Scale(np.int32(1)),
        "out": Output("none"),
    }
    edges = [("in", "sum", 0), ("back", "sum", 1), ("sum", "n"), ("n", "back"), ("n", "out")]
    return Graph(nodes, edges, "integer")


def test_a_loop_is_bounded_by_its_neuron() -> None:
    found = bounds(loop(neuron=True))
    assert int(found["back"].high.max()) == 1 and int(found["sum"].high.max()) == 2
    with pytest.raises(BoundsError, match="back: the values around this loop grow without bound"):
        bounds(loop(neuron=False))


def test_delays_in_a_row_all_settle() -> None:
    nodes: dict[str, Node] = {"in": Input((1,), "spikes", low=0, high=7)}
    nodes |= {f"d{k}": Delay((1,)) for k in range(4)}
    found = bounds(Graph.chain({**nodes, "out": Output("none")}, "integer"))
    assert [int(found[f"d{k}"].high) for k in range(4)] == [7] * 4
    assert [int(found[f"d{k}"].low) for k in range(4)] == [0] * 4


def wide(inputs: int, **neuron: Any) -> Graph:
    return Graph.chain(
        {
            "in": Input((inputs,), "frames", low=-(2**15), high=2**15 - 1),
            "fc": Linear(np.full((1, inputs), 127, np.int8)),
            "n": Neuron((1,), np.int32(9), **neuron),
            "out": Output("spike_count"),
        },
        "integer",
    )


def test_an_accumulator_is_refused_exactly_where_it_overflows() -> None:
    most = (2**31 - 1) // (127 * 2**15)
    assert bounds(chain_of(most))["fc"].magnitude < 2**31
    with pytest.raises(BoundsError, match=r"fc: worst-case sum \d+ exceeds the int32 limit"):
        bounds(chain_of(most + 1))


def chain_of(inputs: int) -> Graph:
    graph = wide(inputs)
    kept = {n: node for n, node in graph.nodes.items() if n != "n"}
    return Graph.chain({**kept, "out": Output("none")}, "integer")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"state_bits": 30}, None),
        ({"state_bits": 30, "state_shift": 6}, r"n: worst-case membrane \d+ exceeds .*state 5368"),
        ({"bias": np.int32(2**31 - 2**29 - 2**15 * 127 * 40 - 1)}, None),
        ({"bias": np.int32(2**31 - 2**29 - 2**15 * 127 * 40)}, "membrane 2147483648 exceeds"),
        (
            {"du": np.int32(0), "state_bits": 24, "u_range": "wrap"},
            r"n: worst-case current .* \(u wraps once only\)",
        ),
        ({"du": np.int32(0), "state_bits": 24, "u_range": "saturate"}, None),
        ({"du": np.int32(0), "state_shift": 6}, r"n: worst-case current \d+ .* \(int32\)"),
        # What is subtracted is at most the saturated v, whatever the threshold.
        ({"reset": "soft_after_decay", "v_threshold": np.int32(2**31 - 2**29)}, None),
        (
            {
                "reset": "soft_after_decay",
                "v_threshold": np.int32(2**29 - 1),
                "bias": np.int32(2**31 - 2**30 - 2**15 * 127 * 40 + 1),
            },
            "membrane 2147483648 exceeds",
        ),
    ],
)
def test_states_are_proven_within_int32(fields: dict[str, Any], message: str | None) -> None:
    graph = wide(40)
    graph = graph.map_nodes(lambda _, n: replace(n, **fields) if isinstance(n, Neuron) else n)
    if message is None:
        assert bounds(graph)["n"].largest == 1
        return
    with pytest.raises(BoundsError, match=message):
        bounds(graph)


@pytest.mark.parametrize(("bits", "u_range"), [(24, "wrap"), (8, "wrap"), (30, "saturate")])
def test_the_largest_current_is_exact(bits: int, u_range: Any) -> None:
    """wrap: |decay(u) + i| < 3 2^(w-1), so |i| < 2^w; saturate: 2^(w-1) + |i| < 2^31."""
    largest = 2**bits - 1 if u_range == "wrap" else 2**31 - 2 ** (bits - 1) - 1
    node = Neuron((3,), np.int32(9), du=np.int32(0), state_bits=bits, u_range=u_range)
    assert bounds(chain(Scale(np.int32(largest)), node))["n1"].largest == 1
    with pytest.raises(BoundsError, match="n1: worst-case current"):
        bounds(chain(Scale(np.int32(largest + 1)), node))


def test_a_readout_is_proven_too() -> None:
    graph = chain_of(40)
    out = Output("integrate", state_shift=4)
    with pytest.raises(BoundsError, match="out: worst-case membrane"):
        bounds(graph.replace({**graph.nodes, "out": out}))


def test_what_float32_holds_exactly() -> None:
    assert bounds(chain_of(4))["fc"].magnitude == 4 * 127 * 2**15 <= 2**24
    assert bounds(chain_of(4))["fc"].exact_in_float32
    assert not bounds(chain_of(5))["fc"].exact_in_float32
