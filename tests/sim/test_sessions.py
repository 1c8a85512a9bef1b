"""What every executor's session promises: the same refusals, a reset after run, any node order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import Add, Delay, Graph, Input, InputError, Linear, Neuron, Output
from spikewright.sim.executor import NAMES, executor

CODES = np.array([[1, 2, 3]] * 3, np.int8)


def graph() -> Graph:
    nodes: dict[str, Any] = {
        "in": Input((3,), "direct", 1.0, -127, 127),
        "a": Linear(CODES),
        "n": Neuron((3,), np.int32(300)),
        "b": Linear(CODES),
        "out": Output(),
    }
    return Graph.chain(nodes, "integer")


BAD = {
    "range": np.full((4, 2, 3), 300),
    "floats": np.full((4, 2, 3), 0.7),
    "axis": np.ones((4, 1, 2, 3), np.int64),
    "batch": np.ones((4, 0, 3), np.int64),
    "time": np.ones((0, 2, 3), np.int64),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", BAD)
def test_bad_values_are_refused(name: str, what: str) -> None:
    session = executor(name).prepare(graph())
    with pytest.raises(InputError, match=r"^in: "):
        session.run(BAD[what])
    if len(BAD[what]):
        with pytest.raises(InputError, match=r"^in: "):
            session.step(BAD[what][0])


@pytest.mark.parametrize("name", NAMES)
def test_a_run_leaves_the_session_reset(name: str) -> None:
    x = np.random.default_rng(0).integers(0, 50, (6, 2, 3))
    session = executor(name).prepare(graph())
    streamed = [session.step(frame) for frame in x]
    whole = session.run(x).output
    assert np.array_equal(np.stack(streamed), whole)
    assert whole[-1].any()
    assert np.array_equal(np.stack([session.step(frame) for frame in x]), whole)


@pytest.mark.parametrize("name", NAMES)
def test_a_delay_may_stand_before_the_input(name: str) -> None:
    nodes: dict[str, Any] = {
        "d": Delay((3,)),
        "in": Input((3,), "spikes", None, 0, 1),
        "l": Linear(CODES),
        "add": Add(),
        "n": Neuron((3,), np.int32(3)),
        "out": Output(),
    }
    edges = [("in", "l"), ("l", "add", 0), ("d", "add", 1), ("add", "n"), ("n", "d"), ("n", "out")]
    looped = Graph(nodes, edges, "integer")  # type: ignore[arg-type]
    x = np.ones((3, 1, 3), np.int64)
    # 6 > 3 at every step: each neuron fires once a step, and the readout adds the spikes.
    assert executor(name).prepare(looped).run(x).output[:, 0, 0].tolist() == [1, 2, 3]
