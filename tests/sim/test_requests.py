"""What callers hand in from Python: one line for what cannot be used, and no run too large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import Graph, Input, InputError, Linear, Neuron, Output, UnknownNameError
from spikewright.sim import recording
from spikewright.sim.requests import labels_in, time_steps_in

GRAPH = Graph.chain(
    {
        "in": Input((3,), "direct", 0.01, -127, 127),
        "a": Linear(np.array([[1, 2, 3]] * 3, np.int8)),
        "n": Neuron((3,), np.int32(300)),
        "out": Output("spike_count"),
    },
    "integer",
)
X = np.ones((3, *GRAPH.input.shape), np.float32)


@pytest.mark.parametrize("steps", [0, -1, 2.5, "4"])
def test_time_steps_are_whole_and_positive(steps: Any) -> None:
    with pytest.raises(InputError, match=r"time_steps: .*allowed whole numbers from 1 up"):
        sw.run(GRAPH, X, time_steps=steps)


def test_numpy_integers_are_whole_numbers() -> None:
    assert time_steps_in(np.int64(3)) == 3


def test_lists_are_samples() -> None:
    listed, array = sw.run(GRAPH, X.tolist(), time_steps=2), sw.run(GRAPH, X, time_steps=2)
    np.testing.assert_array_equal(listed.output, array.output)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sw.run("digits", X), "a Graph is needed; lower it first"),
        (lambda: sw.check(3, "loihi1"), "a Graph is needed"),
        (lambda: sw.estimate(GRAPH, X, None), "a name, a file or a Target is needed"),
        (lambda: sw.run(GRAPH, [[1], [1, 2]]), "no array"),
        (lambda: sw.run(GRAPH, None), "no array of samples"),
    ],
)
def test_wrong_arguments_are_named(call: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()


def test_an_unknown_record_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: output, spikes, states"):
        sw.run(GRAPH, X, record="foo")


@pytest.mark.parametrize("labels", [np.arange(2), np.zeros(3), np.zeros((3, 1), int)])
def test_labels_are_one_integer_a_sample(labels: Any) -> None:
    with pytest.raises(InputError, match=r"labels: .*one integer a sample is \(3,\)"):
        labels_in(labels, 3)


def test_a_run_that_memory_cannot_hold_is_refused_before_it_starts() -> None:
    with pytest.raises(InputError, match=r"1,?000,?000,?000,?000 time steps record .* GiB"):
        sw.run(GRAPH, X, time_steps=10**12)


def test_a_large_batch_is_run_in_parts_of_equal_values(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sw.run(GRAPH, X, time_steps=2)
    one = recording.bytes_per_sample(GRAPH, 2, "states")
    monkeypatch.setattr(recording, "BATCH_BYTES", one)
    assert recording.fitting_batch(GRAPH, 2, "states", 3, 0) == 1
    np.testing.assert_array_equal(sw.run(GRAPH, X, time_steps=2).output, whole.output)
