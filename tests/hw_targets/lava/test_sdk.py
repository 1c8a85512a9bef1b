"""The border to a chip's software: what a board needs is a class of a few lines."""

from __future__ import annotations

import pytest

from spikewright.export.ir import Graph
from spikewright.hw_targets.lava.executor import Lava
from spikewright.hw_targets.lava.sdk import LavaCpu
from spikewright.sim.verify import verify

from .test_executor import RNG, recurrent, residual, spikes
from .worker import environment


class Board(LavaCpu):
    """As on a board: another configuration of Lava's, and Lava's own Monitors."""

    name = "board"
    run_config = "Loihi1SimCfg"
    monitors = True


@pytest.mark.parametrize("graph", [residual(), recurrent()], ids=["maps", "loop"])
def test_another_configuration_and_lavas_monitors_see_the_same(graph: Graph) -> None:
    environment()
    shape = (4, 2, *graph.input.shape)
    x = RNG.integers(0, 2, shape) * spikes(*shape)
    found = verify(graph, x, ["reference", Lava(Board())])
    assert found.equal, found
    assert found.executors == ("reference", "lava")
    assert found.values_compared > 50
