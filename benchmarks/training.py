"""Training images/s beside the same network with the neurons of snntorch and of spikingjelly.

    python -m benchmarks.training [--rounds 7] [--batch 64] [--time-steps 4] [--threads 2]
    python -m benchmarks.training --threads 1    # processor time: what a busy machine changes least

One process, all contenders take turns, medians of whole training steps (forward, backward, AdamW).
Each peer runs twice: `plain`, as its users write it (float32, contiguous, the picture repeated at
every step), and `alike`, in the precision and memory layout of ours, with the stem run once a
picture: then only the neurons differ. All use the atan surrogate, the peers' default, alpha 2.
Peers are optional (torch must be there already): pip install --no-deps snntorch spikingjelly loguru
Writes benchmarks/results/training/threads-N.json, which `python -m benchmarks.page` shows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikewright.export.formats.atomic import atomic_path
from spikewright.trainer.encode import repeat
from spikewright.trainer.functional.fused import FUSED_VARIABLE
from spikewright.trainer.models import create
from spikewright.trainer.neurons import MixedLIF

from .bench import machine

RESULTS = Path(__file__).parent / "results" / "training"
ALPHA = 2.0
NETWORK: dict[str, Any] = {"widths": (32, 64, 128), "blocks": (1, 1, 1), "stem_stride": 1}


class SnnTorchNeuron(nn.Module):
    """snntorch's Leaky, called once a step as its documentation does."""

    def __init__(self) -> None:
        super().__init__()
        import snntorch

        gradient = snntorch.surrogate.atan(alpha=ALPHA)
        self.leaky = snntorch.Leaky(0.5, spike_grad=gradient, reset_mechanism="zero")

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes [T, B, ...]."""
        v, spikes = self.leaky.init_leaky(), []
        for current in x:
            spike, v = self.leaky(current, v)
            spikes.append(spike)
        return torch.stack(spikes)


def spikingjelly_neuron() -> nn.Module:
    """spikingjelly's multi-step LIFNode with our constants, its state cleared before each call."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    node = neuron.LIFNode(
        2.0, False, 1.0, 0.0, surrogate.ATan(ALPHA), detach_reset=True, step_mode="m"
    )
    node.register_forward_pre_hook(lambda module, _: functional.reset_net(module))
    return node  # type: ignore[no-any-return]


PEERS: dict[str, Callable[[], nn.Module]] = {
    "snntorch": SnnTorchNeuron,
    "spikingjelly": spikingjelly_neuron,
}


def network(time_steps: int) -> nn.Module:
    """The network under test, with our neurons."""
    return create("spiking_resnet", time_steps=time_steps, surrogate="atan", alpha=ALPHA, **NETWORK)


def with_neurons(model: nn.Module, make: Callable[[], nn.Module]) -> nn.Module:
    """Put a peer's neurons where ours stand."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, MixedLIF):
                setattr(module, name, make())
    return model


def stepper(
    model: nn.Module, x: Tensor, y: Tensor, time_steps: int, *, bf16: bool, alike: bool
) -> Callable[[], Tensor]:
    """Return one training step; it gives the loss back."""
    model.train()
    if alike:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> Tensor:
        frames = repeat(x, time_steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16 and alike):
            outputs = model(frames if alike else frames.contiguous())
        loss = F.cross_entropy(outputs.float().mean(0), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def contenders(x: Tensor, y: Tensor, time_steps: int, bf16: bool) -> dict[str, Callable[[], Any]]:
    """Return the training step of everyone who is here; say who is not."""
    found: dict[str, Callable[[], Any]] = {
        "ours": stepper(network(time_steps), x, y, time_steps, bf16=bf16, alike=True)
    }
    for name, make in PEERS.items():
        try:
            for kind in ("plain", "alike"):
                model = with_neurons(network(time_steps), make)
                alike = kind == "alike"
                found[f"{name} {kind}"] = stepper(model, x, y, time_steps, bf16=bf16, alike=alike)
        except ImportError as error:
            print(f"{name}: skipped, {error}", file=sys.stderr)
    return found


def same_spikes(time_steps: int) -> dict[str, float]:
    """Return, for each peer, the share of spikes equal to ours on one random current."""
    x = 1.5 * torch.randn(time_steps, 4, 5000, generator=torch.Generator().manual_seed(0)) + 0.4
    ours, shares = MixedLIF()(x), {}
    for name, make in PEERS.items():
        try:
            shares[name] = float((make()(x) == ours).float().mean())
        except ImportError:
            continue
    return shares


def timed(
    steps: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the median seconds of each step, all taking turns; the first round only warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            began = clock()
            step()
            if turn:
                seconds[name].append(clock() - began)
    return {name: median(values) for name, values in seconds.items()}


def main() -> int:
    """Time everyone in float32 and in bfloat16; print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, usual in (("rounds", 7), ("batch", 64), ("time-steps", 4), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ.pop(FUSED_VARIABLE, None)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(options.batch, 3, 32, 32, generator=generator)
    y = torch.randint(0, 10, (options.batch,), generator=generator)
    clock = process_time if options.threads == 1 else perf_counter
    given = f"--threads {options.threads} --rounds {options.rounds}"
    found: dict[str, Any] = {
        "command": f"python -m benchmarks.training {given}",
        "machine": machine(),
        "clock": clock.__name__,
        "network": NETWORK,
        "options": vars(options),
        "same_spikes": same_spikes(options.time_steps),
    }
    for name, share in found["same_spikes"].items():
        print(f"{name}: {share:.2%} of its neuron's spikes are ours on a random current")
    for precision, bf16 in (("float32", False), ("bfloat16", True)):
        torch.manual_seed(0)
        seconds = timed(contenders(x, y, options.time_steps, bf16), options.rounds, clock)
        rows = {
            name: {"images_per_s": options.batch / s, "ratio": s / seconds["ours"]}
            for name, s in seconds.items()
        }
        found[precision] = rows
        for name, row in rows.items():
            print(
                f"{precision:9}{name:20}{row['images_per_s']:8.1f} images/s"
                f"   ours is {row['ratio']:.2f} x as fast"
            )
    RESULTS.mkdir(parents=True, exist_ok=True)
    with atomic_path(RESULTS / f"threads-{options.threads}.json", force=True) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
