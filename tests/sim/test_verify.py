"""Verification: equal is proven value by value, and the first difference is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import (
    Add,
    Array,
    Delay,
    Graph,
    Input,
    InputError,
    Linear,
    Neuron,
    Node,
    Output,
    UnknownNameError,
)
from spikewright.sim.reference import Reference
from spikewright.sim.trace import Record, Trace
from spikewright.sim.verify import Difference, compare, verify

EYE = np.eye(3, dtype=np.int8)


def network() -> Graph:
    nodes: dict[str, Node] = {
        "in": Input((3,), "frames", low=0, high=3),
        "a": Linear(EYE),
        "first": Neuron((3,), np.int32(2), du=np.int32(500)),
        "b": Linear(EYE),
        "second": Neuron((3,), np.int32(1), reset="soft"),
        "out": Output("spike_count"),
    }
    return Graph.chain(nodes, "integer")


X = np.random.default_rng(0).integers(0, 4, (5, 10, 3))
Change = Callable[[Trace], None]


class Doctored:
    """The reference with a change made to its traces."""

    name = "doctored"

    def __init__(self, change: Change) -> None:
        self.change = change

    def prepare(self, graph: Graph) -> Any:
        honest, change = Reference().prepare(graph), self.change

        class Session:
            batches = 0

            def run(self, x: Array, record: Record = "states") -> Trace:
                trace = honest.run(x, record)
                Session.batches += 1
                change(trace)
                return trace

        return Session()


def bump(name: str, what: str, *place: int) -> Change:
    def change(trace: Trace) -> None:
        array = trace.output if name == "out" else getattr(trace.neurons[name], what)
        array[place] += 1

    return change


def difference(*changes: Change, batch: int = 64) -> Difference:
    def change(trace: Trace) -> None:
        for one in changes:
            one(trace)

    result = verify(network(), X, ["reference", Doctored(change)], batch=batch)
    assert not result.equal and result.first_difference is not None
    return result.first_difference


def test_equal_counts_every_value() -> None:
    result = verify(network(), X, ["reference", Reference(), Reference()], batch=3)
    # spikes, v, u of the first; spikes, v of the second; the output: two comparisons each
    assert result.equal and result.values_compared == 2 * 6 * X.size
    assert result.to_json() == {
        "equal": True,
        "executors": ["reference"] * 3,
        "samples": 10,
        "time_steps": 5,
        "values_compared": 2 * 6 * X.size,
        "first_difference": None,
    }
    assert "equal: reference = reference" in str(result)


@pytest.mark.parametrize("what", ["spikes", "v", "u"])
def test_one_value_of_one_state_is_found(what: str) -> None:
    found = difference(bump("first", what, 3, 7, 2))
    assert (found.layer, found.quantity, found.time_step) == ("first", what, 3)
    assert found.index == (7, 2)
    assert found.values["doctored"] == found.values["reference"] + 1


def test_one_value_of_the_output_is_found() -> None:
    found = difference(bump("out", "", 4, 0, 1))
    assert (found.layer, found.quantity, found.time_step, found.index) == (
        "out",
        "output",
        4,
        (0, 1),
    )


def test_the_earliest_step_comes_first_then_the_graph() -> None:
    found = difference(bump("first", "v", 3, 0, 0), bump("second", "v", 2, 0, 0))
    assert (found.layer, found.time_step) == ("second", 2)
    found = difference(bump("second", "v", 2, 0, 0), bump("first", "v", 2, 5, 0))
    assert (found.layer, found.index) == ("first", (5, 0))
    found = difference(*(bump("first", what, 2, 0, 0) for what in ("v", "spikes", "u")))
    assert found.quantity == "u"


def test_a_wrong_loop_is_blamed_on_its_cause() -> None:
    """The second neuron is wrong; its spikes come back and spoil the first a step later."""

    def graph(threshold: int) -> Graph:
        nodes: dict[str, Node] = {
            "in": Input((1,), "spikes", low=0, high=1),
            "back": Delay((1,)),
            "sum": Add(),
            "first": Neuron((1,), np.int32(0)),
            "second": Neuron((1,), np.int32(threshold)),
            "out": Output("none"),
        }
        edges = [("in", "sum", 0), ("back", "sum", 1), ("sum", "first"), ("first", "second")]
        return Graph(nodes, [*edges, ("second", "back"), ("second", "out")], "integer")

    x = np.array([1, 0, 0, 0]).reshape(4, 1, 1)
    right, wrong = (Reference().prepare(graph(t)).run(x) for t in (0, 1))
    found = compare(right, wrong, ("right", "wrong"))
    assert isinstance(found, Difference)
    assert (found.layer, found.quantity, found.time_step) == ("second", "spikes", 0)
    assert not np.array_equal(right.neurons["first"].spikes, wrong.neurons["first"].spikes)


def test_samples_are_numbered_over_batches() -> None:
    def change(trace: Trace) -> None:
        if np.array_equal(trace.input, X[:, 6:9]):
            bump("second", "spikes", 1, 2, 0)(trace)

    assert difference(change, batch=3).index == (8, 0)


def test_a_difference_is_said_in_words_and_json() -> None:
    change = bump("first", "v", 3, 7, 2)
    result = verify(network(), X, ["reference", Doctored(change)])
    text, first = str(result), result.to_json()["first_difference"]
    assert text.startswith("not equal: first v at step 3, [7, 2]: reference ")
    assert first["layer"] == "first" and first["time_step"] == 3 and first["index"] == [7, 2]
    assert set(first["values"]) == {"reference", "doctored"}


def test_progress_is_told() -> None:
    seen: list[int] = []
    verify(network(), X, ["reference", Reference()], batch=4, progress=seen.append)
    assert seen == [4, 8, 10]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="1 executor, a comparison needs 2"):
        verify(network(), X, ["reference"])
    with pytest.raises(InputError, match="0 samples in batches of 64"):
        verify(network(), X[:, :0], ["reference", Reference()])
    with pytest.raises(InputError, match="10 samples in batches of 0"):
        verify(network(), X, ["reference", Reference()], batch=0)
    with pytest.raises(UnknownNameError, match=r"onxruntime: no executor .* mean onnxruntime"):
        verify(network(), X, ["reference", "onxruntime"])

    def drop(trace: Trace) -> None:
        trace.neurons.pop("second")  # type: ignore[attr-defined]

    with pytest.raises(InputError, match="second: doctored recorded spikes as None"):
        verify(network(), X, ["reference", Doctored(drop)])
