"""The training loop: warm-up and cosine, over Lightning Fabric; used by every task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ..export.ir.errors import WITH_TORCH, InputError, MissingPackageError, UnknownNameError
from .average import Average
from .devices import gather_batch
from .journal import Journal
from .optimizers import OPTIMIZERS, create_optimizer
from .progress import progress_bar
from .resume import Extent, Identity, Moving, Position, StateFile

LARGEST = 1e36
"""Of a learning rate or a clipping norm; the optimiser computes with it in float32."""

Precision: TypeAlias = Literal["32-true", "bf16-mixed"]


@dataclass(frozen=True, slots=True)
class Pass:
    """What a loss may ask of the loop: the devices, and a place for numbers."""

    fabric: Any
    journal: Journal

    def gather(self, z: Tensor) -> Tensor:
        """Return embeddings [T, B, D] of all devices, [T, world * B, D]."""
        return gather_batch(self.fabric, z)


BatchLoss: TypeAlias = Callable[[nn.Module, Tensor, Pass], Tensor]
"""(module, sample indices, pass) -> loss."""


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How a module is fitted.

    Attributes:
        epochs, batch: passes over the data, and samples a forward pass (fewer where the data is
            smaller).
        accumulate: forward passes whose mean gradient makes one step. A contrastive loss still
            sees its partners in one pass only.
        optimizer: `adamw`, `sgd` (Nesterov momentum 0.9) or `lars`.
        lr, weight_decay: of the optimiser; weights of one axis (BatchNorm, biases) do not decay.
        warmup_steps: linear from 0, at most a tenth of all steps; then a cosine to 0.
        clip: largest gradient norm, None for no clipping.
        ema: share kept a step by a moving average of the weights, which the module ends with;
            None for none.
        precision: of the forward pass, in Fabric's words.
        channels_last: lay pictures out so; on CPUs faster, other bits.
        seed: of the sample order and of every distortion.
    """

    epochs: int = 10
    batch: int = 256
    accumulate: int = 1
    optimizer: str = "adamw"
    lr: float = 5e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 40
    clip: float | None = None
    ema: float | None = None
    precision: Precision = "32-true"
    channels_last: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "accumulate"):
            if getattr(self, name) < 1:
                found = f"{name} {getattr(self, name)}, allowed 1 and up"
                raise InputError(found, node="train")
        for name, value in (("lr", self.lr), ("clip", self.clip)):
            if value is not None and not 0 < value <= LARGEST:
                found = f"{name} {value}, allowed above 0, to {LARGEST:g}"
                raise InputError(found, node="train")
        for name, value in (
            ("weight_decay", self.weight_decay),
            ("warmup_steps", self.warmup_steps),
        ):
            if not 0 <= value <= LARGEST:
                raise InputError(f"{name} {value}, allowed 0 to {LARGEST:g}", node="train")
        if self.ema is not None and not 0 < self.ema < 1:
            raise InputError(f"ema {self.ema}, allowed between 0 and 1", node="train")
        if self.optimizer not in OPTIMIZERS:
            raise UnknownNameError.of("optimizer", self.optimizer, OPTIMIZERS)
        if self.precision not in get_args(Precision):
            raise UnknownNameError.of("precision", self.precision, get_args(Precision))


@dataclass(frozen=True, slots=True)
class LoopRecord:
    """What a fit did: the mean loss of each epoch, and its speed.

    Attributes:
        losses: of every epoch, also those before a resumption. steps: likewise.
        images_per_s, seconds: of this process alone.
        seconds_in_all: also those that the processes before a resumption spent, up to the state
            that they left.
    """

    losses: tuple[float, ...]
    steps: int
    images_per_s: float
    seconds: float
    seconds_in_all: float


def fit(
    module: nn.Module,
    batch_loss: BatchLoss,
    samples: int,
    options: LoopOptions,
    generator: Generator,
    *,
    label: str = "train",
    about: str = "",
    data: str = "",
    progress: bool = True,
    state: StateFile | None = None,
    journal: Journal | None = None,
    fabric: Any = None,
) -> LoopRecord:
    """Train `module` in place on `samples` samples and return the record.

    Args:
        batch_loss: the loss of the samples at the given indices.
        generator: draws the sample order (and, in `batch_loss`, the views).
        label: names the progress bar, on stderr.
        about, data: what else tells this training from another, for `state`: the options of its
            loss, and a digest of its data.
        state: where to save the state of the training, and whether to resume from it; a resumed
            training ends in the same bytes as an unbroken one.
        journal: where numbers and warnings go; default: warnings on stderr.
        fabric: a lightning Fabric, launched; default: one CPU. Its devices share each batch out.

    Raises:
        InputError: as soon as the loss is no finite number, or a weight at the end; for batches
            that the devices cannot share evenly.
        FormatError: for a state that is damaged, or of another training.
        MissingPackageError: without Lightning Fabric.
    """
    fabric = fabric or _fabric(options.precision)
    lengths = _Lengths.of(samples, options)
    if lengths.batch % fabric.world_size:
        found = f"{lengths.batch} samples a pass over {fabric.world_size} devices"
        raise InputError(found, node="train", remedy="give a --batch that they share evenly")
    if options.channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    moving = _moving(module, options, lengths.steps, generator)
    at = Position()
    if state is not None:
        about = f"{label} {samples} {options} {about}"
        extent = Extent(samples, options.epochs, lengths.per_epoch)
        at = state.begin(moving, Identity.of(module, data, about), extent)
    wrapped, optimizer = fabric.setup(module, moving.optimizer)
    wrapped.train()
    first_device = bool(fabric.is_global_zero)
    one = Pass(fabric, (journal or Journal()) if first_device else Journal(tell=lambda _: None))
    fitting = _Fitting(one, wrapped, optimizer, moving, options, batch_loss, at)
    first, start = at.steps_done(lengths.per_epoch), time.perf_counter()
    bar = progress_bar(label, lengths.steps * lengths.whole, progress and first_device)
    with bar as advance, one.journal.watching(module, first):
        advance(first * lengths.whole)
        while at.epoch < options.epochs:
            for chosen in _rest_of_epoch(at, samples, lengths, generator):
                done = at.steps_done(lengths.per_epoch) + 1
                fitting.step(chosen, done)
                advance(lengths.whole)
                speed = (done - first) * lengths.whole / (time.perf_counter() - start)
                fitting.close(done, speed, state if first_device else None)
            at.next_epoch()
    if moving.average is not None:
        moving.average.copy_to_module()
    _refuse_infinite(module)
    seconds, done = time.perf_counter() - start, at.steps_done(lengths.per_epoch)
    speed = (done - first) * lengths.whole / seconds
    return LoopRecord(tuple(at.losses), done, speed, seconds, at.seconds + seconds)


@dataclass(frozen=True, slots=True)
class _Lengths:
    """Samples a pass and a step (`whole`), steps an epoch and in all."""

    batch: int
    whole: int
    per_epoch: int
    steps: int

    @classmethod
    def of(cls, samples: int, options: LoopOptions) -> _Lengths:
        batch = min(options.batch, samples)
        whole = batch * min(options.accumulate, samples // batch)
        per_epoch = samples // whole
        return cls(batch, whole, per_epoch, options.epochs * per_epoch)


def _moving(module: nn.Module, options: LoopOptions, steps: int, generator: Generator) -> Moving:
    optimizer = create_optimizer(options.optimizer, module, options.lr, options.weight_decay)
    schedule = LambdaLR(optimizer, _warmup_cosine(options.warmup_steps, steps))
    average = None if options.ema is None else Average(module, options.ema)
    return Moving(module, optimizer, schedule, generator, average)


def _rest_of_epoch(
    at: Position, samples: int, lengths: _Lengths, generator: Generator
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the indices of each pass of the steps that this epoch still has."""
    if at.order is None:
        at.order = torch.randperm(samples, generator=generator)
    for step in range(at.step, lengths.per_epoch):
        chosen = at.order[step * lengths.whole : (step + 1) * lengths.whole]
        yield chosen.split(lengths.batch)


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A module while it is fitted."""

    one: Pass
    wrapped: Any
    optimizer: Any
    moving: Moving
    options: LoopOptions
    batch_loss: BatchLoss
    at: Position

    def step(self, passes: tuple[Tensor, ...], done: int) -> None:
        """Make the step that is the `done`-th of all."""
        self.one.journal.begin_step(done)
        self.optimizer.zero_grad()
        loss = _backward(self.wrapped, self.batch_loss, passes, self.at, self.one)
        self.at.seen.append(loss)
        if self.options.clip is not None:
            self.one.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.options.clip)
        self.optimizer.step()
        if self.moving.average is not None:
            self.moving.average.update()
        self.at.step += 1

    def close(self, done: int, speed: float, state: StateFile | None) -> None:
        """Write down a step that was made, and move the schedule on."""
        lr = float(self.moving.optimizer.param_groups[0]["lr"])  # in force, also once resumed
        self.moving.schedule.step()
        self.one.journal.end_step(
            done, epoch=self.at.epoch + 1, loss=self.at.seen[-1], lr=lr, images_per_s=speed
        )
        if state is not None:
            state.maybe_save(self.moving, self.at)


def _backward(
    module: nn.Module,
    batch_loss: BatchLoss,
    passes: tuple[Tensor, ...],
    at: Position,
    one: Pass,
) -> float:
    """Gather the mean gradient over the passes of one step; return their mean loss."""
    fabric, total = one.fabric, 0.0
    for k, indices in enumerate(passes):
        indices = indices[fabric.global_rank :: fabric.world_size]
        with fabric.no_backward_sync(module, enabled=k + 1 < len(passes)):
            loss = batch_loss(module, indices, one)
            total += _finite(loss, at)
            fabric.backward(loss / len(passes))
    return total / len(passes)


def _fabric(precision: Precision) -> Any:
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise MissingPackageError.of("lightning-fabric", "train", WITH_TORCH) from None
    return Fabric(accelerator="cpu", devices=1, precision=precision)


def _warmup_cosine(warmup_steps: int, steps: int) -> Callable[[int], float]:
    warmup = max(1, min(warmup_steps, steps // 10))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return factor


def _finite(loss: Tensor, at: Position) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise _diverged(f"the loss is {value} in epoch {at.epoch + 1}, step {at.step + 1}")
    return value


def _refuse_infinite(module: nn.Module) -> None:
    """Raise InputError for weights that the last step, which no loss follows, has spoilt."""
    for name, tensor in module.state_dict().items():
        if not tensor.isfinite().all():
            raise _diverged(f"{name} is not finite after the last step")


def _diverged(found: str) -> InputError:
    remedy = "lower --lr, or clip gradients with --clip 1"
    return InputError(f"{found}: training diverged", node="train", remedy=remedy)
