"""Static pictures over time: [N, C, y, x] to [T, N, C, y, x], as frames or as spikes."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Generator, Tensor

from ..export.ir.errors import UnknownNameError
from .views import ViewPolicy, distort

Encoding: TypeAlias = Literal["direct", "rate", "latency"]
"""How pictures enter a network: the frame at each step, or spikes by its values in 0..1."""
TimeAugmentation: TypeAlias = Literal["repeat", "jitter"]
TIME_AUGMENTATIONS: tuple[TimeAugmentation, ...] = ("repeat", "jitter")

# Small shifts and noise that differ from step to step; the strengths are reconstructions.
STEP_JITTER = ViewPolicy(translate=0.0625, noise=0.05)


def repeat(x: Tensor, time_steps: int) -> Tensor:
    """Return x [N, ...] at every step, expanded without a copy: `layers` then fold it once."""
    return x.expand(time_steps, *x.shape)


def presented(
    x: Tensor, time_steps: int, encoding: str, *, seed: int = 0, first: int = 0
) -> Tensor:
    """Return x [N, ...] as a network of this encoding takes it, [T, N, ...].

    The draws of `rate` are those of `sim.encode` for the samples `first`, `first + 1`, ...
    """
    if encoding == "rate":
        parts = [_draws(picture, time_steps, seed, first + k) for k, picture in enumerate(x)]
        return torch.stack(parts, dim=1)
    return latency(x, time_steps) if encoding == "latency" else repeat(x, time_steps)


def _draws(picture: Tensor, time_steps: int, seed: int, number: int) -> Tensor:
    generator = np.random.default_rng([seed, number])
    draws = generator.random((time_steps, *picture.shape), dtype=np.float32)
    return (torch.from_numpy(draws) < picture.clamp(0, 1)).to(picture.dtype)


def latency(x: Tensor, time_steps: int) -> Tensor:
    """Return one spike at step floor((1 - x) (T - 1) + 1/2), none where x is 0 or below."""
    step = torch.floor((1 - x.clamp(0, 1)) * (time_steps - 1) + 0.5)
    steps = torch.arange(time_steps).view(-1, *(1,) * x.ndim)
    return ((step == steps) & (x > 0)).to(x.dtype)


def drawn(x: Tensor, time_steps: int, encoding: str, generator: Generator) -> Tensor:
    """Return x [N, ...] for one pass of training: as `presented`, with draws of their own."""
    if encoding != "rate":
        return presented(x, time_steps, encoding)
    draws = torch.rand((time_steps, *x.shape), generator=generator)
    return (draws < x.clamp(0, 1)).to(x.dtype)


def jitter(x: Tensor, time_steps: int, generator: Generator) -> Tensor:
    """Return x [N, C, y, x] distorted anew at every step by `STEP_JITTER`."""
    return torch.stack([distort(x, STEP_JITTER, generator) for _ in range(time_steps)])


def check_time_augmentation(name: str) -> None:
    """Raise UnknownNameError, naming the near ones, unless `name` is one."""
    if name not in TIME_AUGMENTATIONS:
        raise UnknownNameError.of("time augmentation", name, TIME_AUGMENTATIONS)


def over_time(x: Tensor, time_steps: int, name: TimeAugmentation, generator: Generator) -> Tensor:
    """Return x [N, C, y, x] as [T, N, C, y, x] by the time augmentation `name`.

    Raises:
        UnknownNameError: naming the near ones.
    """
    check_time_augmentation(name)
    return repeat(x, time_steps) if name == "repeat" else jitter(x, time_steps, generator)
