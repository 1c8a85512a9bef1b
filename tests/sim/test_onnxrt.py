"""The onnxruntime executor: a session's run, steps and refusals."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from spikewright.export.ir import InputError, MissingPackageError
from spikewright.sim.executor import executor
from spikewright.sim.onnxrt import OnnxRuntime
from spikewright.sim.reference import Reference
from tests.fuzz.graphs import random_graph, random_input


def test_steps_equal_the_run_and_the_reference() -> None:
    for seed in range(15):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        x = random_input(graph, rng)
        session = OnnxRuntime().prepare(graph)
        whole = session.run(x).output
        assert np.array_equal(whole, Reference().prepare(graph).run(x).output), seed
        for _ in range(2):
            session.reset()
            assert np.array_equal(np.stack([session.step(frame) for frame in x]), whole), seed


def test_another_batch_starts_anew() -> None:
    rng = np.random.default_rng(4)
    graph = random_graph(rng)
    x = random_input(graph, rng, batch=3, time_steps=4)
    session, reference = OnnxRuntime().prepare(graph), Reference().prepare(graph)
    for frame in (*x, *x[:, :2]):
        assert np.array_equal(session.step(frame), reference.step(frame))


def test_what_is_recorded() -> None:
    rng = np.random.default_rng(1)
    graph = random_graph(rng)
    x = random_input(graph, rng)
    session = executor("onnxruntime").prepare(graph)
    assert not session.run(x, "output").neurons
    spikes, states = session.run(x, "spikes").neurons, session.run(x, "states").neurons
    assert list(spikes) == list(states) == list(graph.neurons)
    for name, node in graph.neurons.items():
        assert spikes[name].v is None and states[name].spikes.dtype == np.int32
        assert (states[name].u is None) != node.current_based
    assert session.run(x).executor == "onnxruntime"


def test_wrong_values_are_refused() -> None:
    graph = random_graph(np.random.default_rng(1))
    session = OnnxRuntime().prepare(graph)
    for x in (np.zeros((2, 1, 99), np.int64), np.zeros((0,), np.int64)):
        with pytest.raises(InputError, match="the network takes"):
            session.run(x)
        with pytest.raises(InputError, match="the network takes"):
            session.step(x)
    assert graph.input.high is not None
    beyond = np.full((2, *graph.input.shape), graph.input.high + 1)
    with pytest.raises(InputError, match=f"leaves the range {graph.input.low}"):
        session.step(beyond)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(np.random.default_rng(1))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match="pip install onnxruntime"):
        OnnxRuntime().prepare(graph)
