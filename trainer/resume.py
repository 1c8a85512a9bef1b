"""Exact resumption: everything that moves in a training, in one file, in one step.

The file is safetensors: weights, the optimiser's moments, the random generator, the epoch's order
of samples; and a card with the position. A training killed at any step and resumed ends in the same
bytes as an unbroken one, on the same machine with the same number of threads.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..export.formats.atomic import atomic_path
from ..export.ir.errors import FormatError
from .average import Average

SCHEMA = "spikewright/training-state/3"
_ANEW = "delete it to begin anew"


@dataclass(slots=True)
class Position:
    """Where a training stands.

    Attributes:
        epoch, step: the next step to make, step counted within the epoch.
        order: the samples of this epoch in order, None before it is drawn.
        seen: the losses of this epoch's steps; losses: the means of the epochs before.
        seconds: spent by the processes before this one, up to their last saving.
    """

    epoch: int = 0
    step: int = 0
    order: Tensor | None = None
    seen: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def next_epoch(self) -> None:
        """Close the epoch: its mean loss is kept, the next order is still to be drawn."""
        self.losses.append(sum(self.seen) / len(self.seen))
        self.epoch, self.step, self.order, self.seen = self.epoch + 1, 0, None, []

    def steps_done(self, per_epoch: int) -> int:
        """Return the steps made since the beginning."""
        return self.epoch * per_epoch + self.step


@dataclass(frozen=True, slots=True)
class Extent:
    """How long a training is, which bounds every position in it."""

    samples: int
    epochs: int
    per_epoch: int

    def wrong(self, at: Position) -> str | None:
        """Return what no position of this training can be, None where nothing is."""
        if not 0 <= at.epoch <= self.epochs:
            return f"epoch {at.epoch} of {self.epochs}"
        if not 0 <= at.step <= self.per_epoch or (at.step and at.epoch == self.epochs):
            return f"step {at.step} of {self.per_epoch} in epoch {at.epoch} of {self.epochs}"
        if len(at.seen) != at.step:
            return f"{len(at.seen)} losses of the epoch's {at.step} steps"
        if len(at.losses) != at.epoch:
            return f"{len(at.losses)} losses of {at.epoch} epochs"
        if not all(math.isfinite(n) for n in (*at.seen, *at.losses, at.seconds)) or at.seconds < 0:
            return "a loss or a time that is no finite number"
        return self._wrong_order(at)

    def _wrong_order(self, at: Position) -> str | None:
        if (at.order is not None) != (at.step > 0):
            return f"at step {at.step} {'no' if at.order is None else 'an'} order of samples"
        if at.order is not None and (
            at.order.dtype != torch.int64
            or not torch.equal(at.order.sort().values, torch.arange(self.samples))
        ):
            return f"an order that is no permutation of {self.samples} samples"
        return None


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one training from another, as SHA-256 digests.

    Attributes:
        network: its layers and their constants. weights: those it starts from.
        data: the samples and labels. options: of the training.
    """

    network: str
    weights: str
    data: str
    options: str

    @classmethod
    def of(cls, module: nn.Module, data: str, options: str) -> Identity:
        """Return the identity of a training that begins with `module` as it is now.

        Args:
            data: a digest of it. options: all of them, written out.
        """
        shapes = [(name, list(t.shape)) for name, t in module.state_dict().items()]
        layers = re.sub(r" at 0x[0-9a-f]+", "", repr(module))  # another one in every process
        network = _digest(json.dumps([layers, shapes]).encode())
        return cls(network, digest_of(module), data, _digest(options.encode()))

    def differs_from(self, held: Any) -> list[str]:
        """Return the parts in which the identity on a card is another."""
        kept = held if isinstance(held, dict) else {}
        words = {"weights": "starting weights"}
        return [words.get(k, k) for k, v in asdict(self).items() if kept.get(k) != v]


def digest_of(module: nn.Module) -> str:
    """Return the SHA-256 of a module's tensors, names and bytes."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Moving:
    """All that changes while training."""

    module: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    generator: Generator
    average: Average | None = None


@dataclass(slots=True)
class StateFile:
    """The file that a training's state is kept in.

    Attributes:
        path: of the file, written anew each time (a temporary file, then a rename).
        every: steps between two writings.
        resume: begin where the file says, if it exists.
    """

    path: Path
    every: int = 200
    resume: bool = False
    _since: int = 0
    _identity: Identity | None = None
    _began: float = 0.0

    def begin(self, moving: Moving, identity: Identity, extent: Extent) -> Position:
        """Return the position to begin at, with `moving` brought there.

        Args:
            identity: of the training, with the weights that it starts from. extent: its length.

        Raises:
            FormatError: for a damaged file, or one of another training, saying in what it differs.
        """
        self._identity, self._began = identity, time.perf_counter()
        if not self.resume or not self.path.is_file():
            return Position()
        tensors, card = _read(self.path)
        if differ := identity.differs_from(card.get("training")):
            raise FormatError(
                f"is the state of another training: its {' and '.join(differ)} differ",
                node=str(self.path),
                remedy="repeat what it was begun with, or delete it to begin anew",
            )
        try:
            at = _position(tensors, card)
            _check(at, extent, moving, tensors, card)
            _restore(moving, tensors, card)
        except (LookupError, ValueError, TypeError, ArithmeticError, RuntimeError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            reason = f"a damaged training state ({said})"
            raise FormatError(reason, node=str(self.path), remedy=_ANEW) from None
        return at

    def maybe_save(self, moving: Moving, at: Position) -> None:
        """Save every so many steps."""
        self._since += 1
        if self._since >= self.every:
            self._since = 0
            self.save(moving, at)

    def save(self, moving: Moving, at: Position) -> None:
        """Write the whole state."""
        from safetensors.torch import save

        assert self._identity is not None, "a state is saved of a training that has begun"
        card = {
            "schema": SCHEMA,
            "training": asdict(self._identity),
            "epoch": at.epoch,
            "step": at.step,
            "seen": at.seen,
            "losses": at.losses,
            "seconds": at.seconds + time.perf_counter() - self._began,
            "scheduled": moving.schedule.last_epoch,
            "moments": sorted(moments := _moments(moving.optimizer)),
        }
        tensors = {f"module.{k}": t.contiguous() for k, t in moving.module.state_dict().items()}
        tensors |= moments
        if moving.average is not None:
            card["averaged"] = moving.average.steps
            tensors |= {
                f"average.{name}": t.contiguous() for name, t in moving.average.tensors.items()
            }
        tensors["generator"] = moving.generator.get_state()
        if at.order is not None:
            tensors["order"] = at.order
        with atomic_path(self.path, force=True) as temporary:
            temporary.write_bytes(save(tensors, {"card": json.dumps(card)}))

    def remove(self) -> None:
        """Delete the file: the training is over."""
        self.path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            card = json.loads((file.metadata() or {})["card"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError, OverflowError, RecursionError) as error:
        reason = f"not a readable training state ({error})"
        raise FormatError(reason, node=str(path), remedy=_ANEW) from None
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        reason = f"no state of a training; its schema is not {SCHEMA}"
        raise FormatError(reason, node=str(path), remedy=_ANEW)
    return tensors, card


def _position(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> Position:
    """Return where a state stands, its fields of the types that they are written with."""
    seen, losses = ([float(n) for n in card[key]] for key in ("seen", "losses"))
    epoch, step, seconds = _whole(card, "epoch"), _whole(card, "step"), float(card["seconds"])
    return Position(epoch, step, tensors.get("order"), seen, losses, seconds)


def _whole(card: Mapping[str, Any], key: str) -> int:
    found = card[key]
    if type(found) is not int:
        raise ValueError(f"{key} is no whole number")
    return found


def _moments(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser keeps, by the number of the parameter and the name of the value."""
    return {
        f"optimizer.{index}.{name}": value.contiguous()
        for index, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
    }


def _check(
    at: Position,
    extent: Extent,
    moving: Moving,
    tensors: Mapping[str, Tensor],
    card: Mapping[str, Any],
) -> None:
    """Raise ValueError for a state that no training of this extent leaves."""
    if reason := extent.wrong(at):
        raise ValueError(reason)
    done = at.steps_done(extent.per_epoch)
    counted = ("scheduled",) if moving.average is None else ("scheduled", "averaged")
    for key in counted:
        if _whole(card, key) != done:
            raise ValueError(f"{key} {card[key]} behind {done} steps")
    _check_moments(moving.optimizer, tensors, set(card["moments"]), done)
    if moving.average is not None:
        averages = {name for name in tensors if name.startswith("average.")}
        if averages != {f"average.{name}" for name in moving.average.tensors}:
            raise ValueError("the averages are not those of the weights")


def _check_moments(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], written: set[str], done: int
) -> None:
    held = {name for name in tensors if name.startswith("optimizer.")}
    if held != written or bool(held) != (done > 0):
        first = min(held ^ written, default=f"{len(held)} after {done} steps")
        raise ValueError(f"moments of the optimiser: {first}")
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for name in sorted(held):
        _, index, value = name.split(".")
        shape = () if value == "step" else weights[int(index)].shape
        if tensors[name].shape != shape:
            raise ValueError(f"{name} of shape {list(tensors[name].shape)}")


def _restore(moving: Moving, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}

    moving.module.load_state_dict(under("module."))
    held = moving.optimizer.state_dict()
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in under("optimizer.").items():
        index, _, key = name.partition(".")
        entries.setdefault(int(index), {})[key] = value
    schedule = {**moving.schedule.state_dict(), "last_epoch": card["scheduled"]}
    moving.optimizer.load_state_dict({**held, "state": entries})
    moving.schedule.load_state_dict(schedule)
    for group, rate in zip(moving.optimizer.param_groups, _rates(moving.schedule), strict=True):
        group["lr"] = rate
    if moving.average is not None:
        moving.average.steps = card["averaged"]
        for name, tensor in under("average.").items():
            moving.average.tensors[name].copy_(tensor)
    moving.generator.set_state(tensors["generator"].to(torch.uint8))


def _rates(schedule: Any) -> list[float]:
    """Return the learning rates of the schedule's present step."""
    factors = (rule(schedule.last_epoch) for rule in schedule.lr_lambdas)
    return [base * factor for base, factor in zip(schedule.base_lrs, factors, strict=True)]
