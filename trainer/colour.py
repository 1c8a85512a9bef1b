"""Colour jitter on batches [N, 3, y, x]: brightness, contrast, saturation, hue as one matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

# Luma of ITU-R BT.601, and the rotation axes I, Q of YIQ (rows), for the hue.
_LUMA = (0.299, 0.587, 0.114)
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


@dataclass(frozen=True, slots=True)
class ColourJitter:
    """Each factor uniform in 1 ± its strength, hue in ±hue turns, applied with `probability`.

    Order: contrast about the picture's mean luma, brightness, saturation, hue as a rotation in
    YIQ. The strengths are those that learned on CIFAR-10 here; the paper does not state its own.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    probability: float = 0.8

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Return jittered pictures, in 0..1."""
        count = len(x)
        bright, contrast, saturation = (
            1 + strength * (2 * torch.rand(count, 1, 1, generator=generator) - 1)
            for strength in (self.brightness, self.contrast, self.saturation)
        )
        turns = self.hue * (2 * torch.rand(count, generator=generator) - 1)
        matrix = bright * (_hue(turns) @ _saturation(saturation))
        chosen = torch.rand(count, generator=generator) < self.probability
        matrix = torch.where(chosen[:, None, None], matrix, torch.eye(3))
        contrast = torch.where(chosen[:, None, None], contrast, torch.ones(()))[..., None]
        mean = to_grey(x).mean((1, 2, 3), keepdim=True)
        y = (x - mean) * contrast + mean
        return torch.einsum("nij,njyx->niyx", matrix, y).clamp(0.0, 1.0)


def to_grey(x: Tensor) -> Tensor:
    """Return the luma [N, 1, y, x] of x [N, 3, y, x]."""
    weights = torch.tensor(_LUMA, device=x.device)[:, None, None]
    luma: Tensor = (x * weights).sum(1, keepdim=True)
    return luma


def _saturation(factor: Tensor) -> Tensor:
    """Return [N, 3, 3]: a blend of the colour and its luma."""
    luma = torch.tensor(_LUMA).expand(3, 3)
    return factor * torch.eye(3) + (1 - factor) * luma


def _hue(turns: Tensor) -> Tensor:
    """Return [N, 3, 3]: a rotation by `turns` in the I, Q plane."""
    cos, sin = torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = [torch.stack(r, 1) for r in ((one, zero, zero), (zero, cos, -sin), (zero, sin, cos))]
    yiq = torch.tensor(_YIQ)
    rotation: Tensor = torch.linalg.inv(yiq) @ torch.stack(rows, 1) @ yiq
    return rotation
