"""Modules that take [batch, time, ...] and move time to the front, beside their own run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import spikewright as sw

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from spikewright.trainer.neurons import LIF  # noqa: E402

snn = pytest.importorskip("snntorch")

MOVES: dict[str, Callable[[Any], Any]] = {
    "transpose": lambda x: x.transpose(0, 1),
    "torch.transpose": lambda x: torch.transpose(x, 0, 1),
    "by keyword": lambda x: x.transpose(dim0=0, dim1=1),
    "permute": lambda x: x.permute(1, 0, 2),
    "permute of a tuple": lambda x: x.permute((1, 0, 2)),
    "torch.permute": lambda x: torch.permute(x, (1, 0, 2)),
    "swapaxes": lambda x: x.swapaxes(1, 0),
    "movedim": lambda x: x.movedim(1, 0),
    "copied": lambda x: x.float().transpose(0, 1).contiguous().clone(),
}


class MultiStep(nn.Module):
    def __init__(self, move: Callable[[Any], Any], end: Callable[[Any], Any] = lambda y: y) -> None:
        super().__init__()
        self.linear, self.move, self.end = nn.Linear(6, 8), move, end
        self.lif: nn.Module = LIF()
        nn.init.constant_(self.linear.weight, 0.5)

    def forward(self, x: Any) -> Any:
        return self.end(self.lif(self.linear(self.move(x))))


class Looped(nn.Module):
    def __init__(self, move: Callable[[Any], Any], steps: Callable[[Any], Any]) -> None:
        super().__init__()
        self.linear, self.lif, self.move, self.steps = nn.Linear(6, 8), snn.Leaky(0.8), move, steps
        nn.init.constant_(self.linear.weight, 0.3)

    def forward(self, x: Any) -> Any:
        mem, out = self.lif.init_leaky(), []
        for x_t in self.steps(self.move(x)):
            spikes, mem = self.lif(self.linear(x_t), mem)
            out.append(spikes)
        return torch.stack(out)


def assert_equal(module: nn.Module, batch: int, steps: int) -> None:
    """Every spike and the output are the module's own; T is the second axis of its example."""
    x = torch.rand(batch, steps, 6, generator=torch.Generator().manual_seed(1))
    graph = sw.lower(module, x, level="float")
    assert graph.metadata["time_steps"] == steps
    agreement = sw.agreement(module, x)
    assert agreement.equal and agreement.fault is None and agreement.spike_rate > 0.02
    with torch.no_grad():
        own = module(x).numpy()
    spikes = sw.run(graph, x.numpy(), executor="reference").output[-1]  # counts them
    returns = graph.metadata.get("returns", "each step")
    np.testing.assert_allclose(spikes, steps * own if returns == "mean" else own.sum(0), atol=1e-5)


@pytest.mark.parametrize("batch", [2, 4])  # as many as steps, too: no axis is told by its size
@pytest.mark.parametrize("name", MOVES)
def test_multi_step_networks_of_batch_first_examples(name: str, batch: int) -> None:
    assert_equal(MultiStep(MOVES[name]), batch, 4)
    assert_equal(MultiStep(MOVES[name], lambda y: y.mean(0)), batch, 4)


LOOPS: dict[str, Callable[[Any], Any]] = {
    "over the tensor": lambda x: x,
    "by index": lambda x: [x[t] for t in range(x.size(0))],
    "unbind": lambda x: x.unbind(0),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", MOVES)
def test_loops_over_time_moved_to_the_front(name: str, loop: str) -> None:
    assert_equal(Looped(MOVES[name], LOOPS[loop]), 3, 4)


def test_a_loop_over_the_second_axis() -> None:
    assert_equal(Looped(lambda x: x, lambda x: x.unbind(1)), 3, 4)


def test_a_module_of_one_step_keeps_its_batch_in_front() -> None:
    net = nn.Sequential(nn.Linear(6, 3))
    moved = MultiStep(MOVES["transpose"])
    moved.lif = nn.Identity()
    with pytest.raises(sw.SpikewrightError, match="leave the batch axis in front"):
        sw.lower(moved, torch.rand(2, 4, 6), level="float")
    assert sw.lower(net, torch.rand(2, 6), level="float").level == "float"
