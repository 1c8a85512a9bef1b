"""A session's steps equal a whole run, and what would break that is refused."""

from dataclasses import replace

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import InputError


@pytest.mark.parametrize("name", ["digits", "digits-if"])  # directly coded; Bernoulli spikes
def test_steps_equal_a_run_and_again_after_a_reset(name):
    graph = sw.lower(name)
    x = np.random.default_rng(0).random((3, *graph.input.shape), dtype=np.float32)
    whole = sw.run(graph, x, time_steps=6).output
    session = sw.Session(graph)
    for _ in range(2):
        np.testing.assert_array_equal(np.stack([session.step(x) for _ in range(6)]), whole)
        session.reset()
    other = sw.Session(graph, seed=1)
    again = np.stack([other.step(x) for _ in range(6)])
    np.testing.assert_array_equal(again, sw.run(graph, x, time_steps=6, seed=1).output)


def test_a_step_of_another_batch_or_shape_is_refused():
    session = sw.Session(sw.lower("digits"))
    x = np.zeros((4, 1, 8, 8), np.float32)
    session.step(x)
    with pytest.raises(InputError, match=r"2 samples, the state is of 4; call reset\(\)"):
        session.step(x[:2])
    for wrong in (x[0], x[:, :, :7], x[:, None]):
        with pytest.raises(InputError, match=r"takes \[sample, 1, 8, 8\]"):
            session.step(wrong)
    session.reset()
    assert len(session.step(x[:2])) == 2


def test_latency_spikes_are_not_drawn_step_by_step():
    graph = sw.lower("digits-if")
    late = graph.replace({**graph.nodes, graph.input_name: _latency(graph.input)})
    with pytest.raises(InputError, match="latency encoding needs all steps"):
        sw.Session(late).step(np.zeros((1, *graph.input.shape), np.float32))


def _latency(node):
    return replace(node, encoding="latency")
