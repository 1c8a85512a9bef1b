"""Distorted views: batched tensor operations, every draw from an explicit generator.

One affine map a picture does crop, flip, rotation and scale at once; colour follows in `colour`.
Strengths are those usual for contrastive learning (arXiv 2002.05709, appendix A), here on small
pictures; which ones the paper uses is not stated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ..export.ir.errors import UnknownNameError
from .colour import ColourJitter, to_grey


@dataclass(frozen=True, slots=True)
class ViewPolicy:
    """How strongly a picture is distorted; every draw is uniform and a picture's own.

    Attributes:
        degrees: rotation in ±degrees. translate: shift in ±share of the side.
        scale: (low, high) size of the picture's content; above 1 enlarges.
        crop: (low, high) share of the area that is cut out and enlarged; None leaves it out.
        flip: probability of a left-right flip.
        colour, grey: colour jitter, and the probability of dropping colour (3 channels only).
        noise: standard deviation of Gaussian noise, in units of the 0..1 range.
    """

    degrees: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    crop: tuple[float, float] | None = None
    flip: float = 0.0
    colour: ColourJitter | None = None
    grey: float = 0.0
    noise: float = 0.0


POLICIES: Mapping[str, ViewPolicy] = {
    "none": ViewPolicy(),
    "grey": ViewPolicy(degrees=15.0, translate=0.125, scale=(0.85, 1.15), noise=0.1),
    "shift": ViewPolicy(translate=0.125, flip=0.5),
    "colour": ViewPolicy(crop=(0.2, 1.0), flip=0.5, colour=ColourJitter(), grey=0.2),
}


def policy(name: str) -> ViewPolicy:
    """Return the policy `name`.

    Raises:
        UnknownNameError: naming the near ones.
    """
    if name not in POLICIES:
        raise UnknownNameError.of("view policy", name, POLICIES)
    return POLICIES[name]


def distort(x: Tensor, p: ViewPolicy, generator: Generator) -> Tensor:
    """Return one distorted view of each picture; x [N, C, y, x] in 0..1, and so the result."""
    grid = F.affine_grid(_affine(len(x), p, generator), list(x.shape), align_corners=False)
    y = F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)
    if x.shape[1] == 3 and p.colour is not None:
        y = p.colour(y, generator)
    if x.shape[1] == 3 and p.grey:
        y = torch.where(_chance(len(x), p.grey, generator), to_grey(y), y)
    if p.noise:
        y = y + p.noise * torch.randn(y.shape, generator=generator)
    return y.clamp(0.0, 1.0)


def uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    """Return `count` numbers uniform in [low, high)."""
    return low + (high - low) * torch.rand(count, generator=generator)


def _chance(count: int, probability: float, generator: Generator) -> Tensor:
    return (torch.rand(count, generator=generator) < probability)[:, None, None, None]


def _affine(count: int, p: ViewPolicy, generator: Generator) -> Tensor:
    """Return [N, 2, 3], from coordinates of the view (-1..1) to coordinates of the picture."""
    angle = uniform(count, -p.degrees, p.degrees, generator) * (math.pi / 180)
    zoom = 1 / uniform(count, *p.scale, generator)
    shift = 2 * p.translate * (2 * torch.rand(count, 2, generator=generator) - 1)
    width, height = zoom, zoom
    if p.crop is not None:
        width, height, shift = _crop(count, p.crop, generator)
    mirror = 1.0 - 2.0 * (torch.rand(count, generator=generator) < p.flip).float()
    cos, sin = torch.cos(angle), torch.sin(angle)
    row_x = torch.stack([width * cos * mirror, -height * sin, shift[:, 0]], dim=1)
    row_y = torch.stack([width * sin * mirror, height * cos, shift[:, 1]], dim=1)
    return torch.stack([row_x, row_y], dim=1)


def _crop(
    count: int, area: tuple[float, float], generator: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return width, height [N] and centre [N, 2] of boxes inside -1..1, aspect 3:4 to 4:3."""
    share = uniform(count, *area, generator)
    aspect = torch.exp(uniform(count, math.log(3 / 4), math.log(4 / 3), generator))
    width = (share * aspect).sqrt().clamp(max=1.0)
    height = (share / aspect).sqrt().clamp(max=1.0)
    room = 1 - torch.stack([width, height], dim=1)
    return width, height, room * (2 * torch.rand(count, 2, generator=generator) - 1)
