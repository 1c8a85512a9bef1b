"""Loops over time inside forward(): rolled up where every step is its own, else refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

import spikewright as sw
from spikewright.export.ir import InputError, LoweringError
from spikewright.export.ir.errors import AgreementWarning
from spikewright.export.trace import trace
from spikewright.sources import trace_module

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch", reason="pip install snntorch==1.0.0")
nn = torch.nn
STEPS = 6
Step = Callable[[Any, Any, int], Any]


class Net(nn.Module):
    """One layer, one neuron, a loop; `options` say what a step takes and which state."""

    def __init__(self, loop: Callable[[Any, Any], Any], **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.loop = nn.Linear(4, 4), loop
        self.lif = snn.Leaky(**{"beta": 0.5, "threshold": 0.3 + 2**-12, **options})
        self.start = nn.Parameter(torch.full((4,), 0.25))
        self.fc.weight.data = torch.randint(-8, 16, (4, 4)) / 32
        self.fc.bias.data = torch.randint(0, 8, (4,)) / 32

    def forward(self, x: Any) -> Any:
        return self.loop(self, x)


def looped(
    take: Step = lambda m, x, t: m.fc(x[t]),
    order: Callable[[int], Any] = range,
    first: Callable[[Any, Any], Any] = lambda m, x: m.lif.init_leaky(),
    state: Callable[[Any, Any, Any], Any] = lambda m, mem, start: mem,
    kept: slice = slice(None),
) -> Callable[[Any, Any], Any]:
    def loop(m: Any, x: Any) -> Any:
        start = mem = first(m, x)
        spikes = []
        for t in order(x.size(0)):
            spike, mem = m.lif(take(m, x, t), state(m, mem, start))
            spikes.append(spike)
        return torch.stack(spikes[kept])

    return loop


def frames(steps: int = STEPS) -> Any:
    return torch.randint(0, 2, (steps, 3, 4), generator=torch.Generator().manual_seed(1)).float()


def twice(m: Any, x: Any) -> Any:
    spikes, mem = [], m.lif.init_leaky()
    for t in range(x.size(0)):
        spike, mem = m.lif(m.fc(x[t]), mem)
        spike, mem = m.lif(m.fc(spike), mem)
        spikes.append(spike)
    return torch.stack(spikes)


def back(m: Any, x: Any) -> Any:
    spikes, mem, spike = [], m.lif.init_leaky(), torch.zeros(3, 4)
    for t in range(x.size(0)):
        spike, mem = m.lif(m.fc(x[t]) + spike, mem)
        spikes.append(spike)
    return torch.stack(spikes)


REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "two frames": (looped(lambda m, x, t: m.fc(x[t] + x[t - 1])), "step 0 of its loop takes frame"),
    "reversed": (looped(order=lambda n: reversed(range(n))), "step 0 of its loop takes frame 5"),
    "from the end": (looped(lambda m, x, t: m.fc(x[-1 - t])), "takes frame 5"),
    "one frame": (looped(lambda m, x, t: m.fc(x[0])), "step 1 of its loop takes frame 0"),
    "every second": (looped(order=lambda n: range(0, n, 2)), "returns 3 steps, the input has 6"),
    "warm-up": (looped(kept=slice(4, None)), "returns 2 steps, the input has 6"),
    "fresh state": (looped(state=lambda m, mem, start: m.lif.init_leaky()), "another state"),
    "first state": (looped(state=lambda m, mem, start: start), "another state"),
    "parameter": (looped(state=lambda m, mem, start: m.start), "another state"),
    "above": (looped(first=lambda m, x: torch.full((3, 4), 0.9)), "above threshold"),
    "of another shape": (looped(first=lambda m, x: m.start), "first state"),
    "uneven": (looped(first=lambda m, x: torch.arange(12.0).reshape(3, 4)), "first state"),
    "twice": (twice, "lif is called 2 times a step"),
    "one step twice": (lambda m, x: m.lif(m.lif(m.fc(x))[0])[0], "a neuron layer of its own"),
    "by hand": (back, "takes what lif emits in step 0"),
    "anew": (lambda m, x: m.lif(m.fc(x), m.lif.init_leaky())[0], "starts anew at every call"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    loop, says = REFUSED[name]
    with pytest.raises(LoweringError) as caught:
        trace(Net(loop), frames())
    assert says in str(caught.value) and caught.value.remedy


ROLLED: dict[str, Callable[[Any, Any], Any]] = {
    "as in the tutorials": looped(),
    "a constant first state": looped(first=lambda m, x: torch.full((3, 4), 0.25)),
    "state by name": lambda m, x: torch.stack([m.lif(m.fc(x[t]), mem=None)[0] for t in range(6)]),
}


@pytest.mark.parametrize("name", ROLLED)
def test_rolled(name: str) -> None:
    found = sw.agreement(Net(ROLLED[name]), frames().swapaxes(0, 1))
    assert found.equal and 0.05 < found.spike_rate < 0.95, found
    first = trace(Net(ROLLED[name]), frames()).neurons["lif"].v_init
    assert first.shape == () and first == (0.25 if "first state" in name else 0)


def test_a_loop_of_one_step() -> None:
    graph = sw.lower(Net(looped()), frames(1), level="float")
    assert graph.metadata["time_steps"] == 1 and graph.metadata["agreement"]["differ"] == 0


def test_subtraction_without_delay_is_refused() -> None:
    with pytest.raises(LoweringError, match="build it with reset_delay=True"):
        trace(Net(looped(), reset_delay=False), frames())


def forgetful(m: Any, x: Any) -> Any:
    """Python that fx cannot see: the state is reset in every step."""
    spikes = []
    for t in range(x.size(0)):
        m.lif.reset_mem()
        spikes.append(m.lif(m.fc(x[t])))
    return torch.stack(spikes)


@pytest.mark.filterwarnings("ignore")
def test_a_difference_is_refused_or_warned_of() -> None:
    module = Net(forgetful, beta=0.9, init_hidden=True)
    with pytest.raises(LoweringError, match=r"in the module, .* in its graph"):
        sw.lower(module, frames(), level="float")
    with pytest.warns(AgreementWarning, match=r"Net: \d+\.\d+% of its spikes differ .*\(lif "):
        graph = sw.lower(module, frames(), level="float", differences="warn")
    assert graph.metadata["agreement"]["differ"] > 0


def test_a_source_is_compared_on_noise_over_its_own_steps() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = trace_module(Net(looped()), (4,), 10, "direct", {})
    told = graph.metadata["agreement"]
    assert graph.metadata["time_steps"] == 10 and told["differ"] == 0 < told["spike_rate"]


def test_other_steps_or_no_neuron_in_common_are_refused() -> None:
    from spikewright.export.ir.noted import Noted
    from spikewright.sim.agreement import agreement

    module = Net(looped())
    graph, x = trace(module, frames()), frames().numpy()
    with pytest.raises(InputError, match="the module emitted spikes"):
        agreement(graph, x, {"lif": Noted(x[:3], x[:3])})
    with pytest.raises(InputError, match="no neuron of the module"):
        agreement(graph, x, {"other": Noted(x, x)})
