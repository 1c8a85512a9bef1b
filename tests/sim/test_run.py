"""Runs in batches: the batch size changes nothing, and only what is asked is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import Graph, Input, InputError, Linear, Neuron, Output
from spikewright.sim.run import run

WEIGHT = np.random.default_rng(0).integers(-9, 10, (5, 4)).astype(np.int8)


def network(encoding: Any = "rate") -> Graph:
    scale, high = (0.01, 127) if encoding == "direct" else (None, 1)
    return Graph.chain(
        {
            "in": Input((4,), encoding, scale, -high if scale else 0, high),
            "a": Linear(WEIGHT),
            "n": Neuron((5,), np.int32(4)),
            "b": Linear(WEIGHT.T.copy()),
            "out": Output("integrate"),
        },
        "integer",
    )


X = np.random.default_rng(1).random((11, 4), dtype=np.float32)


@pytest.mark.parametrize("encoding", ["rate", "latency", "direct"])
def test_the_batch_size_changes_nothing(encoding: str) -> None:
    whole, parts = (
        run(network(encoding), X, 6, executor_name="reference", batch=b, seed=4, keep="states")
        for b in (64, 3)
    )
    assert np.array_equal(whole.predictions, parts.predictions)
    assert np.array_equal(whole.outputs, parts.outputs) and whole.outputs.shape == (11, 4)
    assert whole.counters.rows() == parts.counters.rows()
    assert whole.trace is not None and parts.trace is not None
    assert np.array_equal(whole.trace.input, parts.trace.input)
    assert np.array_equal(whole.trace.neurons["n"].spikes, parts.trace.neurons["n"].spikes)
    assert whole.counters.total("spikes") > 0 and parts.counters.samples == 11


def test_only_what_was_asked_is_kept() -> None:
    kept: dict[Any, Any] = {
        keep: run(network(), X, 6, executor_name="reference", keep=keep)
        for keep in (None, "output", "spikes", "states")
    }
    assert kept[None].trace is None and not kept["output"].trace.neurons
    assert kept["spikes"].trace.neurons["n"].v is None
    assert kept["states"].trace.neurons["n"].v is not None
    assert len({str(one.counters.rows()) for one in kept.values()}) == 1


def test_accuracy_speed_and_progress() -> None:
    seen: list[int] = []
    found = run(network(), X, 6, executor_name="reference", batch=4, progress=seen.append)
    assert seen == [4, 8, 11] and found.executor == "reference"
    labels = found.predictions.copy()
    labels[:3] = (labels[:3] + 1) % 4
    assert found.accuracy(labels) == 8 / 11 and found.accuracy(None) is None
    assert found.seconds > 0 and found.samples_per_s == 11 / found.seconds


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(InputError, match="0 samples in batches of 64"):
        run(network(), X[:0], 6, executor_name="reference")
    with pytest.raises(InputError, match="11 samples in batches of 0"):
        run(network(), X, 6, executor_name="reference", batch=0)
