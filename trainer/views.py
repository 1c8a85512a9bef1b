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

from ..export.ir.errors import InputError, UnknownNameError
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
        pixels: shift by up to so many whole pixels, black beyond the border.
        cutout: side of a square painted mid-grey, as a share of the picture's side (DeVries and
            Taylor, arXiv 1708.04552); its centre is anywhere, so part of it may lie outside.
        blur: probability of a Gaussian blur of `blur_sigma` pixels; solarise: of inverting what
            is above 0.5.
    """

    degrees: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    crop: tuple[float, float] | None = None
    flip: float = 0.0
    colour: ColourJitter | None = None
    grey: float = 0.0
    noise: float = 0.0
    pixels: int = 0
    cutout: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarise: float = 0.0

    @property
    def maps(self) -> bool:
        """Whether pictures are resampled by an affine map."""
        still = self.scale == (1.0, 1.0) and self.crop is None
        return not (still and self.degrees == 0.0 and self.translate == 0.0)


POLICIES: Mapping[str, ViewPolicy] = {
    "none": ViewPolicy(),
    "grey": ViewPolicy(degrees=15.0, translate=0.125, scale=(0.85, 1.15), noise=0.1),
    "shift": ViewPolicy(translate=0.125, flip=0.5),
    "crop_flip": ViewPolicy(pixels=4, flip=0.5),
    "crop_flip_cutout": ViewPolicy(pixels=4, flip=0.5, cutout=0.5),
    "crop_flip_colour": ViewPolicy(
        pixels=4, flip=0.5, cutout=0.5, colour=ColourJitter(0.2, 0.2, 0.2, 0.02)
    ),
    "colour": ViewPolicy(crop=(0.2, 1.0), flip=0.5, colour=ColourJitter(), grey=0.2),
    "colour_blur": ViewPolicy(
        crop=(0.2, 1.0), flip=0.5, colour=ColourJitter(), grey=0.2, blur=0.5, solarise=0.1
    ),
}


ROUNDING = 1e-6
"""By how much a picture may leave 0..1: the float error of scaling it there."""


def policy(name: str) -> ViewPolicy:
    """Return the policy `name`.

    Raises:
        UnknownNameError: naming the near ones.
    """
    if name not in POLICIES:
        raise UnknownNameError.of("view policy", name, POLICIES)
    return POLICIES[name]


def distort(x: Tensor, p: ViewPolicy, generator: Generator) -> Tensor:
    """Return one distorted view of each picture; x [N, C, y, x] in 0..1, and so the result.

    The policy `none` returns x as it is, whatever its range and shape.

    Raises:
        InputError: for samples that are no pictures.
    """
    if p == POLICIES["none"]:
        return x
    if x.ndim != 4:
        reason = (
            f"samples of shape {list(x.shape[1:])}, a distortion needs pictures [channel, y, x]"
        )
        raise InputError(reason, node="views", remedy="give --views none")
    y = _mapped(x, p, generator) if p.maps else _flipped(x, p.flip, generator)
    if p.pixels:
        y = shift_pixels(y, p.pixels, generator)
    if x.shape[1] == 3 and p.colour is not None:
        y = p.colour(y, generator)
    if x.shape[1] == 3 and p.grey:
        y = torch.where(_chance(len(x), p.grey, generator), to_grey(y), y)
    if p.blur:
        sigma = uniform(len(x), *p.blur_sigma, generator)
        y = torch.where(_chance(len(x), p.blur, generator), gaussian_blur(y, sigma), y)
    if p.solarise:
        y = torch.where(_chance(len(x), p.solarise, generator), solarise(y), y)
    if p.cutout:
        y = cut_out(y, p.cutout, generator)
    if p.noise:
        y = y + p.noise * torch.randn(y.shape, generator=generator)
    return y.clamp(0.0, 1.0)


def check_range(x: Tensor, node: str, why: str) -> None:
    """Raise InputError unless pictures lie in 0..1, as `why` needs them."""
    low, high = (float(n) for n in torch.aminmax(x))
    if low < -ROUNDING or high > 1 + ROUNDING:
        scaled = "divide them by 255" if low >= 0 and 1 < high <= 255 else "scale them to it"
        remedy = f"{scaled}, or train without that"
        raise InputError(
            f"values {low:g} to {high:g}, {why} needs 0 to 1", node=node, remedy=remedy
        )


def _mapped(x: Tensor, p: ViewPolicy, generator: Generator) -> Tensor:
    side_y, side_x = x.shape[-2:]
    affine = _affine(len(x), p, side_y / side_x, generator)
    grid = F.affine_grid(affine, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)


def _flipped(x: Tensor, probability: float, generator: Generator) -> Tensor:
    if not probability:
        return x
    return torch.where(_chance(len(x), probability, generator), x.flip(-1), x)


def shift_pixels(x: Tensor, most: int, generator: Generator) -> Tensor:
    """Return x [N, C, y, x] shifted by whole pixels, each picture by its own -most..most."""
    count, _, side_y, side_x = x.shape
    padded = F.pad(x, (most,) * 4)
    at = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator)
    rows, columns = at[0] + torch.arange(side_y), at[1] + torch.arange(side_x)
    picture = torch.arange(count)[:, None, None]
    chosen = padded.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]]
    return chosen.permute(0, 3, 1, 2).contiguous()


def cut_out(x: Tensor, share: float, generator: Generator) -> Tensor:
    """Return x with a square of `share` of the side painted mid-grey, centred anywhere."""
    count, _, side_y, side_x = x.shape
    centre = torch.rand(2, count, 1, generator=generator)
    far_y = (torch.arange(side_y) + 0.5 - centre[0] * side_y).abs() > share * side_y / 2
    far_x = (torch.arange(side_x) + 0.5 - centre[1] * side_x).abs() > share * side_x / 2
    return torch.where((far_y[:, :, None] | far_x[:, None, :])[:, None], x, 0.5)


SHARP = 1e-3
"""A sigma, in pixels, at which a kernel's neighbours weigh nothing."""


def gaussian_blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Return x [N, C, y, x] blurred, each picture by its own sigma [N] in pixels.

    The kernel is a tenth of the side wide, made odd (arXiv 2002.05709, appendix A), at least 3;
    borders are mirrored, or repeated where the picture is narrower than half the kernel. A sigma
    of 0 blurs nothing.
    """
    width = max(3, x.shape[-1] // 10 | 1)
    at = torch.arange(width) - width // 2
    kernel = torch.exp(-(at**2) / (2 * sigma[:, None].clamp(min=SHARP) ** 2))
    kernel = kernel / kernel.sum(1, keepdim=True)
    count, channels, _, _ = x.shape
    taps = kernel.repeat_interleave(channels, 0)[:, None, None, :]
    mode = "reflect" if min(x.shape[-2:]) > width // 2 else "replicate"
    y = F.pad(x, (width // 2,) * 4, mode=mode).flatten(0, 1)[None]
    y = F.conv2d(y, taps, groups=count * channels)
    y = F.conv2d(y, taps.transpose(2, 3), groups=count * channels)
    blurred: Tensor = y[0].unflatten(0, (count, channels))
    return blurred


def solarise(x: Tensor, threshold: float = 0.5) -> Tensor:
    """Return x with what is not below the threshold inverted."""
    return torch.where(x < threshold, x, 1.0 - x)


def uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    """Return `count` numbers uniform in [low, high)."""
    return low + (high - low) * torch.rand(count, generator=generator)


def _chance(count: int, probability: float, generator: Generator) -> Tensor:
    return (torch.rand(count, generator=generator) < probability)[:, None, None, None]


def _affine(count: int, p: ViewPolicy, aspect: float, generator: Generator) -> Tensor:
    """Return [N, 2, 3], from coordinates of the view (-1..1) to coordinates of the picture.

    Args:
        aspect: height over width of the pictures, so that pixels are rotated, not coordinates.
    """
    angle = uniform(count, -p.degrees, p.degrees, generator) * (math.pi / 180)
    zoom = 1 / uniform(count, *p.scale, generator)
    shift = 2 * p.translate * (2 * torch.rand(count, 2, generator=generator) - 1)
    width, height = zoom, zoom
    if p.crop is not None:
        width, height, shift = _crop(count, p.crop, generator)
    mirror = 1.0 - 2.0 * (torch.rand(count, generator=generator) < p.flip).float()
    cos, sin = torch.cos(angle), torch.sin(angle)
    row_x = torch.stack([width * cos * mirror, -height * sin * aspect, shift[:, 0]], dim=1)
    row_y = torch.stack([width * sin * mirror / aspect, height * cos, shift[:, 1]], dim=1)
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
