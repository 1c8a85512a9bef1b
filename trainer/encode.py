"""Static pictures over time: [N, C, y, x] to [T, N, C, y, x]."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Generator, Tensor

from ..export.ir.errors import UnknownNameError
from .views import ViewPolicy, distort

TimeAugmentation: TypeAlias = Literal["repeat", "jitter"]
TIME_AUGMENTATIONS: tuple[TimeAugmentation, ...] = ("repeat", "jitter")

# Small shifts and noise that differ from step to step; the strengths are reconstructions.
STEP_JITTER = ViewPolicy(translate=0.0625, noise=0.05)


def repeat(x: Tensor, time_steps: int) -> Tensor:
    """Return x [N, ...] at every step, expanded without a copy: `layers` then fold it once."""
    return x.expand(time_steps, *x.shape)


def jitter(x: Tensor, time_steps: int, generator: Generator) -> Tensor:
    """Return x [N, C, y, x] distorted anew at every step by `STEP_JITTER`."""
    return torch.stack([distort(x, STEP_JITTER, generator) for _ in range(time_steps)])


def over_time(x: Tensor, time_steps: int, name: TimeAugmentation, generator: Generator) -> Tensor:
    """Return x [N, C, y, x] as [T, N, C, y, x] by the time augmentation `name`.

    Raises:
        UnknownNameError: naming the near ones.
    """
    if name not in TIME_AUGMENTATIONS:
        raise UnknownNameError.of("time augmentation", name, TIME_AUGMENTATIONS)
    return repeat(x, time_steps) if name == "repeat" else jitter(x, time_steps, generator)
