"""How users write their networks: each way is the module's own run, or is refused with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import spikewright as sw

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

STEPS, BATCH = 4, 2


class Net(nn.Module):
    """A convolution, a neuron and a linear layer, put together by `way`, one step a call."""

    def __init__(self, way: Callable[[Any, Any], Any], features: int = 192) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(features, 5)
        self.lif = snn.Leaky(0.8, threshold=0.5, init_hidden=True)
        self.pad, self.relu, self.way = nn.ZeroPad2d(1), nn.ReLU(), way
        nn.init.constant_(self.conv.weight, 0.1)

    def forward(self, x: Any) -> Any:
        return self.way(self, x)


class Loop(nn.Module):
    def __init__(self, way: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.linear, self.lif, self.way = nn.Linear(6, 8), snn.Leaky(0.8, threshold=0.5), way
        nn.init.constant_(self.linear.weight, 0.2)

    def forward(self, x: Any, mem: Any = None) -> Any:
        return self.way(self, x)

    def steps(self, frames: Any, call: Callable[[Any, Any, Any], Any] | None = None) -> list[Any]:
        mem, out = self.lif.init_leaky(), []
        for frame in frames:
            spikes, mem = (call or (lambda s, y, m: s.lif(s.linear(y), m)))(self, frame, mem)
            out.append(spikes)
        return out


def hidden(net: Any, x: Any) -> Any:
    return net.lif(net.conv(x))


FLAT: dict[str, Callable[[Any, Any], Any]] = {
    "torch.flatten": lambda s, x: torch.flatten(hidden(s, x), 1),
    "start_dim": lambda s, x: torch.flatten(hidden(s, x), start_dim=1),
    "flatten": lambda s, x: hidden(s, x).flatten(1),
    "view": lambda s, x: hidden(s, x).view(x.size(0), -1),
    "view, batch unknown": lambda s, x: hidden(s, x).view(-1, 192),
    "reshape": lambda s, x: hidden(s, x).reshape(x.shape[0], -1),
    "clone": lambda s, x: hidden(s, x.clone()).clone().flatten(1),
    "detach": lambda s, x: hidden(s, x).detach().flatten(1),
    "float": lambda s, x: hidden(s, x.float()).float().flatten(1),
    "to a dtype": lambda s, x: hidden(s, x.to(torch.float32)).to(dtype=torch.float32).flatten(1),
    "to a device": lambda s, x: hidden(s, x.to("cpu")).to(s.conv.weight.device).flatten(1),
    "cpu": lambda s, x: hidden(s, x).cpu().flatten(1),
    "type_as": lambda s, x: hidden(s, x).type_as(x).flatten(1),
    "scaled in place": lambda s, x: s.lif(s.conv(x).mul_(2)).flatten(1),
    "divided in place": lambda s, x: s.lif(s.conv(x).div_(2)).flatten(1),
    "by keyword": lambda s, x: s.lif(input_=s.conv(input=x)).flatten(1),
    "dropout": lambda s, x: F.dropout(hidden(s, x).flatten(1), 0.5, s.training),
    "F.conv2d": lambda s, x: s.lif(F.conv2d(x, s.conv.weight, s.conv.bias, 1, 1)).flatten(1),
}
POOLED: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "avg_pool2d": (lambda s, x: F.avg_pool2d(hidden(s, x), 2), 48),
    "avg_pool2d by keyword": (lambda s, x: F.avg_pool2d(hidden(s, x), kernel_size=2, stride=4), 12),
    "avg_pool2d uncounted": (
        lambda s, x: F.avg_pool2d(hidden(s, x), 3, 2, 1, count_include_pad=False),
        48,
    ),
    "max_pool2d": (lambda s, x: F.max_pool2d(hidden(s, x), 2), 48),
    "max_pool2d beyond": (lambda s, x: F.max_pool2d(hidden(s, x), 3, 3, ceil_mode=True), 27),
    "torch.max_pool2d": (lambda s, x: torch.max_pool2d(hidden(s, x), 2, 2, 0, 1), 48),
    "adaptive": (lambda s, x: F.adaptive_avg_pool2d(hidden(s, x), (1, 1)), 3),
    "mean": (lambda s, x: hidden(s, x).mean((2, 3)), 3),
}
LOOPS: dict[str, Callable[[Any, Any], Any]] = {
    "x[t]": lambda s, x: torch.stack(s.steps(x[t] for t in range(x.shape[0]))),
    "x[t, :]": lambda s, x: torch.stack(s.steps(x[t, :] for t in range(x.shape[0]))),
    "x[t, ...]": lambda s, x: torch.stack(s.steps(x[t, ...] for t in range(len(x)))),
    "iterated": lambda s, x: torch.stack(s.steps(x)),
    "sum": lambda s, x: sum(s.steps(x)),
    "mean": lambda s, x: torch.stack(s.steps(x)).mean(0),
    "by keyword": lambda s, x: torch.stack(
        s.steps(x, lambda s, y, m: s.lif(input_=s.linear(input=y), mem=m))
    ),
}
BATCH_FIRST: dict[str, Callable[[Any, Any], Any]] = {
    "x[:, t]": lambda s, x: torch.stack(s.steps(x[:, t] for t in range(x.size(1))), dim=1),
    "x[:, t, :]": lambda s, x: torch.stack(s.steps(x[:, t, :] for t in range(x.size(1)))).mean(0),
}
REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "half": (lambda s, x: hidden(s, x.half().float()), "no rule for the operation 'half'"),
    "to half": (lambda s, x: hidden(s, x).to(torch.float16), "converts to torch.float16"),
    "to integers": (lambda s, x: hidden(s, x).to(torch.int32), "compute in float32"),
    "F.pad": (lambda s, x: hidden(s, F.pad(x, (1, 1, 1, 1))), "pad in the convolution"),
    "ZeroPad2d": (lambda s, x: hidden(s, s.pad(x)), "pad in the convolution"),
    "ReLU": (lambda s, x: s.relu(s.conv(x)), "put a spiking neuron there"),
    "dropout that stays on": (lambda s, x: F.dropout(hidden(s, x)), "training=self.training"),
}


def picture() -> Any:
    return 3 * torch.rand(BATCH, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def frames() -> Any:
    """[sample, time, features]."""
    return 3 * torch.rand(BATCH, STEPS, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", FLAT)
def test_of_one_step(name: str) -> None:
    module = Net(lambda s, x: s.linear(FLAT[name](s, x)))
    assert sw.agreement(module, picture(), time_steps=STEPS).fault is None
    graph = sw.lower(module, picture(), level="float", time_steps=STEPS)
    assert graph.metadata["agreement"]["spike_rate"] > 0.02


@pytest.mark.parametrize("name", POOLED)
def test_pools_that_are_called(name: str) -> None:
    way, features = POOLED[name]
    module = Net(lambda s, x: s.linear(way(s, x).flatten(1)), features)
    assert sw.agreement(module, picture(), time_steps=STEPS).fault is None
    graph = sw.lower(module, picture(), level="float", time_steps=STEPS)
    assert graph.metadata["agreement"]["spike_rate"] > 0.02


@pytest.mark.parametrize("name", [*LOOPS, *BATCH_FIRST])
def test_of_a_loop(name: str) -> None:
    module = Loop({**LOOPS, **BATCH_FIRST}[name])
    agreement = sw.agreement(module, frames())
    assert agreement.equal and agreement.fault is None and agreement.spike_rate > 0.02
    example = frames() if name in BATCH_FIRST else frames().transpose(0, 1)
    assert sw.lower(module, example, level="float").metadata["time_steps"] == STEPS


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused_with_a_remedy(name: str) -> None:
    way, said = REFUSED[name]
    with pytest.raises(sw.SpikewrightError) as error:
        sw.lower(Net(way), picture(), time_steps=STEPS)
    assert said in str(error.value) and "\n" not in str(error.value)
