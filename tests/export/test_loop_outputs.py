"""What a loop over time inside forward() returns: every step, sum, mean, or the last of a readout.

The graph's output equals the module's own: of spikes their count (a mean times T), of a potential
the potential. Weights and thresholds as in `test_foreign`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.foreign_state import kept_state
from spikewright.export.ir import Graph, LoweringError
from spikewright.export.trace import trace

from .test_foreign import filled, spikes, threshold

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch", reason="pip install snntorch==1.0.0")
nn = torch.nn
STEPS, BATCH = 10, 3
End = Callable[[list[Any], list[Any]], Any]


class Net(nn.Module):
    """Two layers in a loop; `end` makes the output of the recorded spikes and potentials."""

    def __init__(self, end: End, readout: bool = False) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(20, 16), nn.Linear(16, 5)
        self.lif1 = snn.Leaky(beta=0.5, threshold=threshold(1.5))
        kind = {"reset_mechanism": "none"} if readout else {}
        self.lif2 = snn.Leaky(beta=0.5, threshold=threshold(1), **kind)
        self.end = end

    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk_rec, mem_rec = [], []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk_rec.append(spk2)
            mem_rec.append(mem2)
        return self.end(spk_rec, mem_rec)


def outputs(end: End, readout: bool) -> tuple[Graph, Any, Any]:
    """Return the graph, its output [time, batch, class], and the module's own output."""
    module, x = filled(Net(end, readout)), spikes(STEPS, BATCH, 20)
    graph = sw.lower(module, x, encoding="spikes", level="float")
    assert sw.agreement(module, x).equal
    assert graph.metadata["time_steps"] == STEPS
    with torch.no_grad(), kept_state(module):
        own = module(x)
    own = own[0] if isinstance(own, tuple) else own
    samples = x.transpose(0, 1).numpy()
    return graph, sw.run(graph, samples, executor="reference").output, own.numpy()


def accumulated(spk: list[Any], mem: list[Any]) -> Any:
    out = 0
    for s in spk:
        out = out + s
    return out


def accumulated_in_place(spk: list[Any], mem: list[Any]) -> Any:
    out = torch.zeros_like(spk[0])
    for s in spk:
        out += s
    return out / STEPS


SUMS = {
    "sum": (lambda spk, mem: torch.stack(spk).sum(0), "sum", 1),
    "sum, by name": (lambda spk, mem: torch.sum(torch.stack(spk, dim=0), dim=0), "sum", 1),
    "sum along the second axis": (lambda spk, mem: torch.stack(spk, 1).sum(1), "sum", 1),
    "mean": (lambda spk, mem: torch.stack(spk).mean(dim=0), "mean", STEPS),
    "sum, divided": (lambda spk, mem: torch.stack(spk).sum(0) / STEPS, "sum", 1),
    "added": (accumulated, "sum", 1),
    "added in place, divided": (accumulated_in_place, "sum", 1),
    "python's sum": (lambda spk, mem: sum(spk), "sum", 1),
    "a pair of sums": (lambda spk, mem: (torch.stack(spk).sum(0), torch.stack(mem)), "sum", 1),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_and_means_of_spikes(name: str) -> None:
    end, how, times = SUMS[name]
    graph, found, own = outputs(end, readout=False)
    assert graph.metadata["returns"] == how and own.any()
    assert np.allclose(found[-1], own * times, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dim", [0, 1])
def test_every_step(dim: int) -> None:
    graph, found, own = outputs(lambda spk, mem: torch.stack(spk, dim), readout=False)
    expected = ("each step", "each step, batch first")[dim]
    assert graph.metadata["returns"] == expected and own.any()
    assert np.array_equal(found, np.moveaxis(own, dim, 0).cumsum(0))


POTENTIALS = {
    "every step": (lambda spk, mem: torch.stack(mem), "each step"),
    "the last of all": (lambda spk, mem: torch.stack(mem)[-1], "last step"),
    "the last of the second axis": (lambda spk, mem: torch.stack(mem, 1)[:, -1], "last step"),
    "the last": (lambda spk, mem: mem[-1], "last step"),
}


@pytest.mark.parametrize("name", POTENTIALS)
def test_potentials_of_a_neuron_that_is_never_reset(name: str) -> None:
    end, how = POTENTIALS[name]
    graph, found, own = outputs(end, readout=True)
    assert graph.metadata["returns"] == how and graph.output.readout == "leaky"
    assert list(graph.neurons) == ["lif1"]
    expected = own if how == "each step" else own[None]
    assert np.array_equal(found if how == "each step" else found[-1:], expected)


REFUSED = {
    "a potential that is reset": (False, lambda spk, mem: torch.stack(mem), "reads a state of"),
    "its last": (False, lambda spk, mem: mem[-1], "reads a state of"),
    "the last spikes": (False, lambda spk, mem: spk[-1], "returns the last step alone"),
    "the last of all": (False, lambda spk, mem: torch.stack(spk)[-1], "the last step alone"),
    "sum of a potential": (True, lambda spk, mem: torch.stack(mem).sum(0), "returns the sum"),
    "mean of a potential": (True, lambda spk, mem: torch.stack(mem).mean(0), "returns the mean"),
    "spikes without a reset": (True, lambda spk, mem: torch.stack(spk), "reset_mechanism 'none'"),
    "a part of the steps": (False, lambda spk, mem: torch.stack(spk[2:]).sum(0), "returns 8 steps"),
    "a step in the middle": (False, lambda spk, mem: torch.stack(spk)[3], "made of all steps"),
    "some added": (False, lambda spk, mem: spk[0] + spk[1], "made of all steps"),
    "weighted steps": (
        False,
        lambda spk, mem: torch.stack([s * k for k, s in enumerate(spk)]).sum(0),
        "steps of its loop over time differ",
    ),
    "over another axis": (False, lambda spk, mem: torch.stack(spk).sum(1), "made of all steps"),
    "a dictionary": (False, lambda spk, mem: {"spk": torch.stack(spk)}, "a dictionary"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    readout, end, says = REFUSED[name]
    with pytest.raises(LoweringError) as caught:
        trace(filled(Net(end, readout)), spikes(STEPS, BATCH, 20))
    assert says in str(caught.value) and caught.value.remedy


def test_a_pair_says_which_was_taken() -> None:
    def pair(spk: list[Any], mem: list[Any]) -> Any:
        return torch.stack(spk), torch.stack(mem)

    x = spikes(STEPS, BATCH, 20)
    assert trace(filled(Net(pair)), x).metadata["took"] == (
        "the first of 2 values that forward() returns, the spikes of lif2"
    )
    one = trace(filled(Net(lambda spk, mem: torch.stack(spk))), x)
    assert "took" not in one.metadata
    last = snn.Leaky(beta=0.5, threshold=threshold(1), init_hidden=True, output=True)
    graph = trace(filled(nn.Sequential(nn.Linear(20, 5), last)), spikes(BATCH, 20))
    assert graph.metadata["took"].endswith("the spikes of 1")
    potential = trace(filled(Net(lambda spk, mem: (mem[-1], torch.stack(spk)), True)), x)
    assert potential.metadata["took"].endswith("the potential of lif2")
    integer = sw.lower(filled(Net(pair)), x)
    assert integer.metadata["took"].endswith("the spikes of lif2")
