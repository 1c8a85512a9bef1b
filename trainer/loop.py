"""The training loop: AdamW, warm-up and cosine, over Lightning Fabric; used by every task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Generator, Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from ..export.ir.errors import InputError, MissingPackageError
from .progress import progress_bar
from .resume import Moving, Position, StateFile

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
        channels_last: lay pictures out so; on CPUs faster, other bits.
        seed: of the sample order and of every distortion.
    """

    epochs: int = 10
    batch: int = 256
    lr: float = 5e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 40
    clip: float | None = None
    precision: Precision = "32-true"
    channels_last: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("epochs", self.epochs), ("batch", self.batch)):
            if value < 1:
                raise InputError(f"{name} {value}, allowed 1 and up", node="train")
        if not self.lr > 0:
            raise InputError(f"lr {self.lr}, allowed above 0", node="train")


@dataclass(frozen=True, slots=True)
class LoopRecord:
    """What a fit did: the mean loss of each epoch, and its speed.

    Attributes:
        losses: of every epoch, also those before a resumption. steps: likewise.
        images_per_s, seconds: of this process alone.
    """

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
    state: StateFile | None = None,
) -> LoopRecord:
    """Train `module` in place on `samples` samples and return the record.

    Args:
        batch_loss: the loss of the samples at the given indices.
        generator: draws the sample order (and, in `batch_loss`, the views).
        label: names the progress bar, on stderr.
        state: where to save the state of the training, and whether to resume from it; a resumed
            training ends in the same bytes as an unbroken one.

    Raises:
        InputError: as soon as the loss is no finite number.
        FormatError: for a state that is damaged, or of another training.
        MissingPackageError: without Lightning Fabric.
    """
    batch = min(options.batch, samples)
    per_epoch = samples // batch
    fabric = _fabric(options.precision)
    if options.channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    inner = AdamW(_parameter_groups(module, options.weight_decay), lr=options.lr)
    factor = _warmup_cosine(options.warmup_steps, options.epochs * per_epoch)
    schedule = LambdaLR(inner, factor)
    moving = Moving(module, inner, schedule, generator, f"{label} {samples} {options}")
    at = Position() if state is None else state.begin(moving)
    wrapped, optimizer = fabric.setup(module, inner)
    wrapped.train()
    start, first = time.perf_counter(), at.steps_done(per_epoch)
    with progress_bar(label, options.epochs * per_epoch * batch, progress) as advance:
        advance(first * batch)
        while at.epoch < options.epochs:
            if at.order is None:
                at.order = torch.randperm(samples, generator=generator)
            for step in range(at.step, per_epoch):
                loss = batch_loss(wrapped, at.order[step * batch : (step + 1) * batch])
                at.seen.append(_finite(loss, label, at.epoch))
                optimizer.zero_grad()
                fabric.backward(loss)
                if options.clip is not None:
                    fabric.clip_gradients(wrapped, optimizer, max_norm=options.clip)
                optimizer.step()
                schedule.step()
                at.step = step + 1
                advance(batch)
                if state is not None:
                    state.maybe_save(moving, at)
            at.next_epoch()
    seconds = time.perf_counter() - start
    steps = at.steps_done(per_epoch)
    return LoopRecord(tuple(at.losses), steps, (steps - first) * batch / seconds, seconds)


def _fabric(precision: Precision) -> Any:
    try:
        from lightning_fabric import Fabric
    except ImportError:
        install = "pip install 'spikewright[train]'"
        raise MissingPackageError.of("lightning-fabric", "train", install) from None
    return Fabric(accelerator="cpu", devices=1, precision=precision)


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


def _finite(loss: Tensor, label: str, epoch: int) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        remedy = "lower the learning rate"
        raise InputError(f"loss {value} in epoch {epoch + 1}", node=label, remedy=remedy)
    return value
