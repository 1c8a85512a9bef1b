"""The training loop: AdamW, warm-up and cosine, over Lightning Fabric; used by every task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Generator, Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from ..export.ir.errors import InputError, MissingPackageError
from .progress import progress_bar

Precision: TypeAlias = Literal["32-true", "bf16-mixed"]
BatchLoss: TypeAlias = Callable[[nn.Module, Tensor], Tensor]  # (module, sample indices) -> loss


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How a module is fitted.

    Attributes:
        epochs, batch: passes over the data, and samples a step (fewer where the data is smaller).
        lr, weight_decay: of AdamW; weights of one axis (BatchNorm, biases) do not decay.
        warmup_steps: linear from 0, at most a tenth of all steps; then a cosine to 0.
        clip: largest gradient norm, None for no clipping.
        precision: of the forward pass, in Fabric's words.
        seed: of the sample order and of every distortion.
    """

    epochs: int = 10
    batch: int = 256
    lr: float = 5e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 40
    clip: float | None = None
    precision: Precision = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("epochs", self.epochs), ("batch", self.batch)):
            if value < 1:
                raise InputError(f"{name} {value}, allowed 1 and up", node="train")
        if not self.lr > 0:
            raise InputError(f"lr {self.lr}, allowed above 0", node="train")


@dataclass(frozen=True, slots=True)
class LoopRecord:
    """What a fit did: the mean loss of each epoch, and its speed over all of them."""

    losses: tuple[float, ...]
    steps: int
    images_per_s: float
    seconds: float


def fit(
    module: nn.Module,
    batch_loss: BatchLoss,
    samples: int,
    options: LoopOptions,
    generator: Generator,
    *,
    label: str = "train",
    progress: bool = True,
) -> LoopRecord:
    """Train `module` in place on `samples` samples and return the record.

    Args:
        batch_loss: the loss of the samples at the given indices.
        generator: draws the sample order (and, in `batch_loss`, the views).
        label: names the progress bar, on stderr.

    Raises:
        InputError: as soon as the loss is no finite number.
        MissingPackageError: without Lightning Fabric.
    """
    batch = min(options.batch, samples)
    steps = options.epochs * (samples // batch)
    fabric = _fabric(options.precision)
    optimizer = AdamW(_parameter_groups(module, options.weight_decay), lr=options.lr)
    schedule = LambdaLR(optimizer, _warmup_cosine(options.warmup_steps, steps))
    wrapped, optimizer = fabric.setup(module, optimizer)
    wrapped.train()
    start = time.perf_counter()
    losses: list[float] = []
    with progress_bar(label, steps * batch, progress) as advance:
        for epoch in range(options.epochs):
            seen: list[Tensor] = []
            for indices in _batches(samples, batch, generator):
                loss = batch_loss(wrapped, indices)
                _check_finite(loss, label, epoch)
                optimizer.zero_grad()
                fabric.backward(loss)
                if options.clip is not None:
                    fabric.clip_gradients(wrapped, optimizer, max_norm=options.clip)
                optimizer.step()
                schedule.step()
                seen.append(loss.detach())
                advance(len(indices))
            losses.append(float(torch.stack(seen).mean()))
    seconds = time.perf_counter() - start
    return LoopRecord(tuple(losses), steps, steps * batch / seconds, seconds)


def _fabric(precision: Precision) -> Any:
    try:
        from lightning_fabric import Fabric
    except ImportError:
        install = "pip install 'spikewright[train]'"
        raise MissingPackageError.of("lightning-fabric", "train", install) from None
    return Fabric(accelerator="cpu", devices=1, precision=precision)


def _batches(samples: int, batch: int, generator: Generator) -> Iterator[Tensor]:
    """Yield index tensors [batch] of one shuffled epoch; a rest smaller than a batch is dropped."""
    order = torch.randperm(samples, generator=generator)
    yield from order[: samples // batch * batch].split(batch)


def _parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _warmup_cosine(warmup_steps: int, steps: int) -> Callable[[int], float]:
    warmup = max(1, min(warmup_steps, steps // 10))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return factor


def _check_finite(loss: Tensor, label: str, epoch: int) -> None:
    value = float(loss.detach())
    if not math.isfinite(value):
        remedy = "lower the learning rate"
        raise InputError(f"loss {value} in epoch {epoch + 1}", node=label, remedy=remedy)
