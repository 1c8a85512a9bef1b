"""The extensions refuse numbers that do not fit: no call reads or writes beyond an array.

Python hands them what it has proven of a graph; these calls go past it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import Edge, ExecutorError, Graph, Input, Linear, Neuron, Output
from spikewright.sim import event_native, native_plan
from spikewright.sim.native import Native

native = pytest.importorskip("spikewright.sim._native")
event = pytest.importorskip("spikewright.sim._event")

NEURON = {
    "low": -100,
    "high": 100,
    "current_low": -100,
    "current_high": 100,
    "current_bits": 8,
    "shift": 0,
    "max_spikes": 1,
    "refractory": 0,
    "current_based": False,
    "wraps": False,
    "inclusive": True,
    "reset_kind": "hard",
}
READOUT = {"low": 0, "high": 1, "shift": 0, "accumulates": True}
WINDOW = [2, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1, 2, 2]
CODES = np.ones((4, 2, 2, 2), np.int8)


def ints(*values: int) -> Any:
    return np.array(values, np.int32)


def new(steps: int = 0) -> Any:
    return native.Plan("generic", "auto", True, steps)


def with_input(positions: int = 9, channels: int = 2, kind: int = 0) -> Any:
    plan = new()
    plan.add_input([positions, channels, kind], ints())
    return plan


def finished(fixed: tuple[int, ...] = ()) -> Any:
    """x of 18 bytes -> a convolution -> 16 neurons -> a readout of 16."""
    plan = with_input()
    plan.add_weights(0, WINDOW, CODES, 1, 0, 255)
    for node in fixed:
        plan.mark_fixed(node)
    plan.add_neuron(1, [4, 4, 0], NEURON)
    plan.set_output(plan.add_readout(2, READOUT))
    return plan


def run(plan: Any, **changed: Any) -> None:
    given = {
        "x": np.ones((3, 2, 18), np.uint8),
        "repeated": False,
        "time": 3,
        "batch": 2,
        "y": np.zeros((3, 2, 16), np.int32),
        "recorded": [],
        "traced": False,
        "threads": 1,
    }
    native.Runner(plan).run(*(given | changed).values())


def small(**changed: Any) -> Callable[[], Any]:
    return lambda: with_input().add_neuron(0, [9, 2, 0], NEURON | changed)


def window(place: int, value: int, groups: int = 1, codes: Any = CODES) -> Callable[[], Any]:
    numbers = [*WINDOW[:place], value, *WINDOW[place + 1 :]]
    return lambda: with_input().add_weights(0, numbers, codes, groups, 0, 255)


def recorded(*entry: Any, traced: bool = False) -> Callable[[], None]:
    return lambda: run(finished(), recorded=[entry], traced=traced)


def after_fusion(call: Callable[[Any], Any]) -> Callable[[], Any]:
    def made() -> Any:
        plan = with_input()
        plan.add_weights(0, WINDOW, CODES, 1, 0, 255)
        plan.add_fused_neuron(1, [4, 4, 0], NEURON, [], ints())
        return call(plan)

    return made


def fused(map: list[int], addend: list[int], factor: Any) -> Callable[[], Any]:
    def made() -> Any:
        plan = with_input()
        plan.add_permutation(0, [4, 4, 0], ints(*range(16)))
        plan.add_weights(0, WINDOW, CODES, 1, 0, 255)
        return plan.add_fused_neuron(2, map, NEURON, addend, factor)

    return made


WIDE = 2**62
ARRAY = np.zeros(3 * 2 * 16, np.int32)
REFUSED: dict[str, tuple[str, Callable[[], Any]]] = {
    "no input": ("no such node", lambda: new().add_readout(0, READOUT)),
    "delay first": ("first node", lambda: new().add_delay([1, 1, 0], 1)),
    "second input": ("first node", lambda: with_input().add_input([1, 1, 0], ints())),
    "steps forced": ("at most 1048576", lambda: new(2**40)),
    "wide map": ("more than 2147483647", lambda: with_input(WIDE, 4)),
    "empty map": ("no values", lambda: with_input(0, 4)),
    "input order": ("leaves its map", lambda: new().add_input([1, 1, 0], ints(10**9))),
    "input order below": ("leaves its map", lambda: new().add_input([1, 1, 0], ints(-1))),
    "input order length": ("another length", lambda: new().add_input([1, 1, 0], ints(0, 0))),
    "source": ("no such node", lambda: with_input().add_readout(10**9, READOUT)),
    "window channels": ("number of values", window(0, 4)),
    "window height": ("number of values", window(1, 4)),
    "window kernel": ("weights of another number", window(3, 3)),
    "window stride": ("a number of 0", window(5, 0)),
    "window padding": ("at most 2147483647", window(7, WIDE)),
    "window dilation": ("at most 2147483647", window(9, WIDE)),
    "window border": (
        "within its border",
        lambda: with_input().add_weights(
            0, [*WINDOW[:9], 2**31 - 1, 2**31 - 1, 2, 2], CODES, 1, 0, 255
        ),
    ),
    "window out": ("more than 2147483647", window(11, 2**30)),
    "groups none": ("do not divide", window(0, 2, 0)),
    "groups odd": ("do not divide", window(0, 2, 3)),
    "codes short": ("weights of another number", window(0, 2, 1, CODES[:, :1])),
    "codes flat": ("without an axis", window(0, 2, 1, np.int8(1))),
    "window numbers": ("13 numbers", lambda: with_input().add_weights(0, [1], CODES, 1, 0, 1)),
    "weight shift": ("shift", lambda: with_input().add_weights(0, WINDOW, CODES, 1, 99, 1)),
    "linear of another size": (
        "another size than its map",
        lambda: with_input().add_weights(
            0, [2, 9, 1, 1, 1, 1, 1, 0, 0, 1, 1, 99, 1], np.ones((1, 2), np.int8), 1, 0, 1
        ),
    ),
    "reach": (
        "offsets of 32 bits",
        lambda: with_input(1, 2**27 + 1).add_weights(
            0,
            [2**27 + 1, *[1] * 6, 0, 0, *[1] * 4],
            np.zeros((1, 2**27 + 1), np.int8),
            1,
            0,
            1,
        ),
    ),
    "pool stride": (
        "a number of 0",
        lambda: with_input().add_pool(0, [*WINDOW[:5], *[0] * 8], True, 0),
    ),
    "pool kind": ("3 numbers", lambda: with_input().add_pool(0, WINDOW, True, 7)),
    "permutation": (
        "leaves its map",
        lambda: with_input().add_permutation(0, [1, 2, 0], ints(0, 18)),
    ),
    "permutation kind": (
        "changes no value",
        lambda: with_input().add_permutation(0, [1, 1, 2], ints(0)),
    ),
    "sum of none": ("of nothing", lambda: with_input().add_sum([], [9, 2, 0])),
    "sum size": ("unlike sizes", lambda: with_input().add_sum([0, 0], [9, 3, 0])),
    "scale": ("one a channel", lambda: with_input().add_scale(0, [9, 2, 0], ints(1, 1, 1))),
    "scale size": ("another size", lambda: with_input().add_scale(0, [9, 3, 0], ints(1, 1, 1))),
    "matmul strides": (
        "leave an operand",
        lambda: with_input().add_matmul(0, 0, [1, 3, 3, 3], [9, 3, 9, 9, 3, 1, 9, 3, 1], [3, 3, 2]),
    ),
    "matmul kind": (
        "int32",
        lambda: with_input().add_matmul(0, 0, [1, 3, 3, 3], [9, 3, 1, 9, 3, 1, 9, 3, 1], [3, 3, 0]),
    ),
    "matmul sizes": (
        "4 sizes",
        lambda: with_input().add_matmul(0, 0, [1], [9, 3, 1, 9, 3, 1, 9, 3, 1], [3, 3, 2]),
    ),
    "delay steps": ("0 steps", lambda: with_input().add_delay([1, 1, 0], 0)),
    "delay of terabytes": ("more than", lambda: with_input().add_delay([2**30, 1, 2], 2**50)),
    "close what is none": ("only a delay", lambda: with_input().close_delay(0, 0)),
    "neuron size": (
        "another number of neurons",
        lambda: with_input().add_neuron(0, [9, 3, 0], NEURON),
    ),
    "neuron array": ("threshold: 3 entries", small(threshold=ints(1, 1, 1))),
    "neuron decay": ("0 to 4096", small(decay=ints(0, 5000))),
    "neuron limits": ("wrong way round", small(low=5, high=-5)),
    "neuron bits": ("bits", small(current_bits=64)),
    "neuron shift": ("shift", small(shift=40)),
    "neuron spikes": ("spikes a step", small(max_spikes=0)),
    "neuron refractory": ("refractory", small(refractory=-1)),
    "neuron reset": ("no such reset: later", small(reset_kind="later")),
    "threshold 0": ("threshold of 1", small(max_spikes=9, threshold=ints(0, 0))),
    "single spikes as int32": ("uint8", lambda: with_input().add_neuron(0, [9, 2, 2], NEURON)),
    "fused on an input": (
        "only the sums of weights",
        lambda: with_input().add_fused_neuron(0, [9, 2, 0], NEURON, [], ints()),
    ),
    "fused twice": (
        "and once",
        after_fusion(lambda p: p.add_fused_neuron(1, [4, 4, 0], NEURON, [], ints())),
    ),
    "sums taken": ("no values to read", after_fusion(lambda p: p.add_readout(1, READOUT))),
    "sums taken, fixed": ("without state", after_fusion(lambda p: p.mark_fixed(1))),
    "fused layout": ("laid out otherwise", fused([2, 8, 0], [], ints())),
    "fused branches": ("one other branch", fused([4, 4, 0], [1, 1], ints())),
    "fused factor": ("a factor a channel", fused([4, 4, 0], [1], ints(1, 1))),
    "fused itself": ("one other branch", fused([4, 4, 0], [2], ints())),
    "readout decay": (
        "one entry a value",
        lambda: with_input().add_readout(0, READOUT | {"decay": ints(1)}),
    ),
    "fixed neuron": (
        "without state",
        lambda: (p := with_input(), p.add_neuron(0, [9, 2, 0], NEURON), p.mark_fixed(1)),
    ),
    "fixed on what changes": (
        "one that changes",
        lambda: (
            p := with_input(),
            p.add_weights(0, WINDOW, CODES, 1, 0, 255),
            p.mark_fixed(1),
        ),
    ),
    "changing behind fixed": ("weights that change", lambda: finished(fixed=(0,))),
    "output beyond": ("no such node", lambda: with_input().set_output(10**9)),
    "output of bytes": ("int32", lambda: with_input().set_output(0)),
    "output with an open delay": (
        "nothing feeds",
        lambda: (p := with_input(kind=2), p.add_delay([1, 1, 0], 1), p.set_output(0)),
    ),
    "after the output": ("its output already", lambda: finished().add_readout(2, READOUT)),
    "before the output": ("no output yet", lambda: run(with_input())),
    "space without output": ("no output yet", lambda: with_input().workspace_bytes(1, 1)),
    "x": ("x has the wrong size", lambda: run(finished(), x=np.ones(5, np.uint8))),
    "y": ("y has the wrong size", lambda: run(finished(), y=np.ones(5, np.int32))),
    "x of floats": ("dtype", lambda: run(finished(), x=np.ones((3, 2, 18), np.float32))),
    "repeated": (
        "the input may change",
        lambda: run(finished(), x=np.ones((2, 18), np.uint8), repeated=True),
    ),
    "no time": ("no samples", lambda: run(finished(), time=0)),
    "no threads": ("no threads", lambda: run(finished(), threads=0)),
    "many threads": ("at most 1024", lambda: run(finished(), threads=10**6)),
    "wide batch": ("more than", lambda: run(finished(), time=WIDE, batch=WIDE)),
    "recorded node": ("no such node", recorded(9, None, ARRAY, None, None)),
    "recorded size": ("wrong size", recorded(2, None, ARRAY[:5], None, None)),
    "recorded order": ("leaves its map", recorded(2, ints(*[99] * 16), ARRAY, None, None)),
    "recorded order length": ("another length", recorded(2, ints(0), ARRAY, None, None)),
    "v untraced": ("traced neuron", recorded(2, None, None, ARRAY, None)),
    "v of weights": ("traced neuron", recorded(1, None, None, ARRAY, None, traced=True)),
    "u of none": ("without a current", recorded(2, None, None, None, ARRAY, traced=True)),
    "recorded entries": ("5 entries", recorded(2, None)),
    "stream of no threads": ("no threads", lambda: native.Stream(finished(), 1, 0)),
    "stream of no samples": ("no samples", lambda: native.Stream(finished(), 0, 1)),
    "stream of all samples": ("more than", lambda: native.Stream(finished(), WIDE, 1)),
    "stream x": (
        "x has the wrong size",
        lambda: native.Stream(finished(), 2, 1).step(
            np.ones(18, np.uint8), np.zeros((2, 16), np.int32)
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_call_that_does_not_fit_is_refused_by_its_reason(case: str) -> None:
    reason, call = REFUSED[case]
    with pytest.raises(ValueError, match=reason):
        call()


def test_the_plan_that_the_calls_change_runs() -> None:
    run(finished(), recorded=[(2, ints(*range(16)), ARRAY, ARRAY, None)], traced=True)
    run(finished(fixed=(0, 1)), x=np.ones((2, 18), np.uint8), repeated=True)


def test_more_steps_at_once_than_offsets_reach_are_refused() -> None:
    plan = new(2**20)
    plan.add_input([8 * 4096, 1, 0], ints())
    wide = [1, 8, 4096, 7, 7, 1, 1, 0, 0, 1, 1, 2, 4090]
    plan.add_weights(0, wide, np.ones((1, 49), np.int8), 1, 0, 255)
    plan.set_output(1)
    with pytest.raises(ValueError, match="more than 4294967296"):
        plan.workspace_bytes(1, 2**20)


def test_a_node_too_large_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_plan, "MOST_VALUES", 3)
    nodes = {
        "x": Input((4,), "spikes", low=0, high=1),
        "fc": Linear(np.ones((2, 4), np.int8)),
        "lif": Neuron((2,), v_threshold=np.array(3)),
        "y": Output(readout="none"),
    }
    edges = (Edge("x", "fc"), Edge("fc", "lif"), Edge("lif", "y"))
    with pytest.raises(ExecutorError, match="x: too large for the native engine: 4 values"):
        Native().prepare(Graph(nodes, edges, level="integer"))


# ---- Event timing: two neurons, one readout cell, one source outside ----

EVENT: dict[str, Any] = {
    "fields": np.array([[1, 0, -9, 9, -9, 0, 0, 0, 0, 1, 1, 0]] * 2, np.int64),
    "start": np.array([0, 1, 2, 3], np.int64),
    "target": ints(1, 2, 0),
    "weight": ints(1, 1, 1),
    "late_start": np.array([0, 0, 1, 1], np.int64),
    "late_target": ints(0),
    "late_weight": ints(1),
    "late_lag": ints(2),
    "longest_lag": 2,
    "event_start": np.array([0, 1, 1, 2], np.int64),
    "events": ints(2, 2),
    "counts": np.zeros((3, 1, 2), np.int32),
    "v": np.zeros((3, 1, 2), np.int32),
    "readout": np.zeros((3, 1, 1), np.int64),
}
UNFIT: dict[str, tuple[str, dict[str, Any]]] = {
    "target": ("no neuron", {"target": ints(1, 2, 10**9)}),
    "target below": ("no neuron", {"target": ints(-1, 2, 0)}),
    "weights": ("unlike numbers", {"weight": ints(1)}),
    "start": ("leave their array", {"start": np.array([0, 1, 2, 9], np.int64)}),
    "start backwards": ("run backwards", {"start": np.array([0, 9, 2, 3], np.int64)}),
    "start empty": ("without a start", {"start": np.zeros(0, np.int64)}),
    "sources": ("unlike numbers of sources", {"late_start": np.array([0, 1], np.int64)}),
    "back at once": ("leads back", {"target": ints(0, 2, 0)}),
    "lag 0": ("lag out of range", {"late_lag": ints(0)}),
    "lag beyond": ("lag out of range", {"late_lag": ints(3)}),
    "longest lag": ("a lag of more", {"longest_lag": 2**40}),
    "event": ("no source", {"events": ints(2, 3)}),
    "event below": ("no source", {"events": ints(2, -1)}),
    "event starts": ("one start of events", {"event_start": np.array([0, 2], np.int64)}),
    "fields": ("axes", {"fields": np.zeros((2, 3), np.int64)}),
    "fields few": ("unlike sizes", {"fields": np.zeros((1, 12), np.int64)}),
    "v": ("unlike sizes", {"v": np.zeros((2, 1, 2), np.int32)}),
    "counts": ("3 axes", {"counts": np.zeros(6, np.int32)}),
    "readout": ("unlike sizes", {"readout": np.zeros((2, 1, 1), np.int64)}),
}


@pytest.mark.parametrize("case", UNFIT)
def test_event_arrays_that_do_not_fit_are_refused_by_their_reason(case: str) -> None:
    reason, changed = UNFIT[case]
    with pytest.raises(ValueError, match=reason):
        event.run(*(EVENT | changed).values())


def test_the_event_arrays_that_the_cases_change_run() -> None:
    assert EVENT["fields"].shape[1] == event_native.FIELDS
    assert event.run(*EVENT.values()) == 1
    # Step 0: the event fires neuron 0, which fires neuron 1, whose spike comes back 2 steps later
    # and reaches the readout at once; step 2 does it twice.
    assert EVENT["counts"][:, 0].tolist() == [[1, 1], [0, 0], [2, 2]]
    assert EVENT["readout"].ravel().tolist() == [1, 0, 2]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_fixed_node_is_recorded_at_every_step(steps: int) -> None:
    plan = new(steps)
    plan.add_input([3, 1, 2], ints())
    plan.mark_fixed(0)
    plan.set_output(0)
    y, recording = np.zeros((4, 2, 3), np.int32), np.zeros((4, 2, 3), np.int32)
    x = np.arange(6, dtype=np.uint8).reshape(2, 3)
    entries = [(0, None, recording, None, None)]
    run(plan, x=x, repeated=True, time=4, batch=2, y=y, recorded=entries)
    assert (y == x).all() and (recording == x).all()
