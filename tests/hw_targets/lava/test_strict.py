"""`>=` written as `>`: equal in every value, or refused where v left the multiples of 64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import (
    Add,
    Delay,
    ExecutorError,
    Graph,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
)
from spikewright.hw_targets.lava.build import build
from spikewright.hw_targets.lava.executor import Lava

from .test_executor import assert_equal
from .worker import environment

COUNT = Output("spike_count", state_shift=6, state_bits=24)


def climber(steps: int) -> Graph:
    """One weight pulls v down by 65,536 steps of 64, the other up by 65,024; fires at `steps`."""
    fires: Any = {"compare": ">=", "u_range": "wrap", "state_shift": 6, "state_bits": 24}
    return Graph.chain(
        {
            "in": Input((2,), "spikes", low=0, high=1),
            "f": Linear(np.array([[-128, 127]], np.int8), weight_shift=9, bits=8),
            "n": Neuron((1,), np.int32(64 * steps), **fires),
            "out": COUNT,
        },
        "integer",
    )


def frames(down: int, up: int) -> np.ndarray:
    x = np.zeros((down + up, 1, 2), np.int64)
    x[:down, 0, 0] = 1
    x[down:, 0, 1] = 1
    return x


def test_whole_potentials_are_equal() -> None:
    assert_equal(climber(64_000), frames(1, 6))


@pytest.mark.parametrize("record", ["states", "output"])
def test_a_saturated_potential_is_refused(record: Any) -> None:
    """From -(2^23 - 1) three up make 64 * 64,000 + 1: `>` 64 * 64,000, no `>=` 64 * 64,001."""
    environment()
    session = Lava().prepare(climber(64_001))
    with pytest.raises(ExecutorError, match=r"n: v saturated at step 1, and no `>`"):
        session.run(frames(3, 6), record)


def test_a_threshold_that_only_a_saturated_potential_exceeds_is_refused() -> None:
    with pytest.raises(ExecutorError, match="n: compares by >=, Lava by >"):
        build(climber(1 << 17))


def test_a_threshold_of_0_behind_a_delay_fires_before_the_first_step() -> None:
    chain = climber(0)
    nodes: dict[str, Node] = {**chain.nodes, "d": Delay((1,), 1), "a": Add()}
    edges = [("in", "f"), ("f", "a", 0), ("d", "a", 1), ("a", "n"), ("n", "d"), ("n", "out")]
    with pytest.raises(ExecutorError, match=r"n: v >= 0 fires before the first step"):
        build(Graph(nodes, edges, "integer"))
