"""The most spikes a step: never exceeded from any state that inputs can reach, and attained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikewright.export.ir import (
    Add,
    BoundsError,
    Delay,
    Graph,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    Scale,
    bounds,
    check,
)
from spikewright.export.ir.arith import NeuronState, initial_state, neuron_step
from spikewright.export.ir.spike_bounds import most_spikes
from spikewright.sim.reference import Reference

MANY = 1 << 15


def narrow_neuron(rng: np.random.Generator) -> Neuron:
    """One neuron over every field, of a state narrow enough to reach all of it."""
    bits = int(rng.integers(4, 8))
    top = 2 ** (bits - 1) - 1

    def maybe(probability: float, low: int, high: int) -> Any:
        return np.int32(rng.integers(low, high + 1)) if rng.random() < probability else None

    filtered = rng.random() < 0.3
    return Neuron(
        (1,),
        np.int32(rng.integers(1, top + 4)),
        dv=maybe(0.5, 0, 4096),
        du=maybe(1, 0, 4096) if filtered else None,
        bias=maybe(0.4, -6, 6),
        bias_in=maybe(0.4, -6, 6) if filtered else None,
        v_reset=np.int32(rng.integers(-top, top + 1) if rng.random() < 0.3 else 0),
        v_init=np.int32(rng.integers(-top, top + 1) if rng.random() < 0.3 else 0),
        v_min=maybe(0.3, -top, top // 2),
        leak_subtract=maybe(0.2, 0, 5),
        reset=rng.choice(["hard", "soft", "soft_after_decay"]),
        compare=rng.choice([">", ">="]),
        max_spikes_per_step=int(rng.choice([2, 3, 5, MANY])),
        refractory_steps=int(rng.integers(0, 3)) if rng.random() < 0.2 else 0,
        state_shift=int(rng.integers(0, 3)),
        state_bits=bits,
        u_range="wrap" if rng.random() < 0.5 else "saturate",
        v_low=int(rng.integers(-top, 3)) if rng.random() < 0.2 else None,
    )


def stacked(state: NeuronState) -> np.ndarray:
    parts = (state.v, state.u, state.spikes, state.hold)
    return np.stack([np.zeros_like(state.v) if p is None else p for p in parts], axis=1)[:, :, 0]


def unstacked(rows: np.ndarray, like: NeuronState) -> NeuronState:
    parts = [like.v, like.u, like.spikes, like.hold]
    kept = [None if p is None else rows[:, k : k + 1] for k, p in enumerate(parts)]
    assert kept[0] is not None
    return NeuronState(*kept)


def most_seen(node: Neuron, low: int, high: int) -> int:
    """Return the most spikes over every state that inputs in [low, high] lead to."""
    first = initial_state(node, 1)
    seen: set[tuple[int, ...]] = set()
    rows, most = stacked(first), 0
    every = np.arange(low, high + 1)
    while len(rows) and len(seen) < 20_000:
        seen |= set(map(tuple, rows.tolist()))
        state = unstacked(np.repeat(rows, len(every), axis=0), first)
        spikes = neuron_step(np.tile(every, len(rows))[:, None], node, state)
        most = max(most, int(spikes.max()))
        new = np.unique(stacked(state), axis=0)
        rows = np.array([row for row in new.tolist() if tuple(row) not in seen])
    return most


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_state_that_inputs_reach_spikes_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    node = narrow_neuron(rng)
    low, high = sorted(rng.integers(-12, 13, 2).tolist())
    bound = int(most_spikes(node, np.array(low), np.array(high)).max())
    assert most_seen(node, low, high) <= bound <= node.max_spikes_per_step


def sinabs_if(**fields: Any) -> Neuron:
    """Integrate and fire as sinabs has it: any number of spikes, each takes the threshold."""
    kept: dict[str, Any] = {"reset": "soft", "compare": ">=", "max_spikes_per_step": MANY}
    return Neuron((1,), **{"v_threshold": np.int32(10), **kept, **fields})


@pytest.mark.parametrize(
    ("fields", "high", "due"),
    [
        ({}, 1, 1),  # 9 + 1
        ({}, 11, 2),  # 9 + 11
        ({}, 10, 1),  # 9 + 10
        ({}, 100, 10),  # 9 + 100
        ({"compare": ">"}, 10, 1),  # 10 + 10 is not above 20
        ({"compare": ">"}, 11, 2),
        ({"bias": np.int32(1)}, 10, 2),
        ({"dv": np.int32(2048)}, 16, 2),  # 4 + 16
        ({"dv": np.int32(2048)}, 15, 1),
        ({"reset": "hard"}, 100, 10),
        ({"reset": "soft_after_decay"}, 11, 2),
        ({"max_spikes_per_step": 3}, 100, 3),
        ({"v_init": np.int32(19)}, 1, 2),  # 19 + 1, once
        ({"v_min": np.int32(30)}, 1, 3),
        ({"du": np.int32(2048)}, 6, 2),  # u to 12 - 1, for a decay that truncates
        ({"state_bits": 5}, 100, 1),  # v saturates at 15
        ({"v_threshold": np.int32(200)}, -1, 0),  # 199 - 1
    ],
)
def test_about_one_and_the_current_by_the_threshold(
    fields: dict[str, Any], high: int, due: int
) -> None:
    node = sinabs_if(**fields)
    low = min(high, 0)
    assert int(most_spikes(node, np.array(low), np.array(high)).max()) == due
    assert most_seen(node, low, high) == due


def test_each_neuron_by_its_own_threshold_and_channel() -> None:
    node = replace(sinabs_if(v_threshold=np.array([10, 20, 30], np.int32)), shape=(3,))
    found = most_spikes(node, np.zeros(3, np.int64), np.array([11, 60, 1]))
    assert found.tolist() == [2, 3, 1]


def recurrent(back: int, cap: int = MANY) -> Graph:
    """A neuron onto itself: each of its spikes comes back as `back`, the threshold is 10."""
    nodes: dict[str, Node] = {
        "in": Input((1,), "spikes", low=0, high=1),
        "w": Linear(np.array([[7]], np.int8)),
        "back": Delay((1,)),
        "rec": Linear(np.array([[back]], np.int8)),
        "sum": Add(),
        "n": sinabs_if(max_spikes_per_step=cap),
        "out": Output("none"),
    }
    edges = [("in", "w"), ("w", "sum", 0), ("rec", "sum", 1), ("back", "rec")]
    return check(Graph(nodes, [*edges, ("sum", "n"), ("n", "back"), ("n", "out")], "integer"))


def test_a_loop_that_settles_is_bounded_where_it_does() -> None:
    """9 + 7 + 6 n spikes (n + 1) only while 16 + 6 n >= 10 (n + 1)."""
    assert int(bounds(recurrent(6))["n"].high.max()) == 2
    assert int(bounds(recurrent(9))["n"].high.max()) == 7
    ones = np.ones((1, 200, 1), np.int64)
    assert Reference().prepare(recurrent(9)).run(ones).output.max() <= 7


def test_a_loop_that_feeds_itself_is_bounded_by_the_cap() -> None:
    assert int(bounds(recurrent(11, cap=5))["n"].high.max()) == 5
    assert int(bounds(recurrent(10, cap=100))["n"].high.max()) == 100


def test_a_loop_without_a_neuron_beside_one_with_is_named() -> None:
    graph = recurrent(6)
    nodes = {**graph.nodes, "again": Delay((1,)), "x": Add(), "s": Scale(np.int32(1))}
    edges = [e for e in graph.edges if e.target != "out"]
    more = [("n", "x", 0), ("again", "x", 1), ("x", "s"), ("s", "again"), ("s", "out")]
    with pytest.raises(BoundsError, match="again: the values around this loop grow"):
        bounds(Graph(nodes, [*edges, *more], "integer"))


def test_spikes_that_breed_beyond_int32_are_refused_with_the_loop_as_the_reason() -> None:
    graph = recurrent(11)
    wide = replace(graph.neurons["n"], state_shift=13)
    message = r"n: worst-case membrane .*: several spikes .* around a loop.* smaller max_spikes"
    with pytest.raises(BoundsError, match=message):
        bounds(graph.replace({**graph.nodes, "n": wide}))


def test_what_overflows_before_a_loop_is_not_laid_at_its_door() -> None:
    graph = recurrent(11)
    nodes = {**graph.nodes, "first": Neuron((1,), np.int32(9), state_shift=16)}
    nodes["in"] = Input((1,), "frames", low=0, high=2**15 - 1)
    edges = [e for e in graph.edges if e.target != "w"]
    wide = Graph(nodes, [*edges, ("in", "first"), ("first", "w")], "integer")
    with pytest.raises(BoundsError, match="first: worst-case membrane") as caught:
        bounds(wide)
    assert "loop" not in str(caught.value)
