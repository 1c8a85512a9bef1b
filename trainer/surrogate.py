"""Surrogate gradients g and their antiderivatives G, as functions of y = u - v_threshold.

Path A spikes and is differentiated as if ds/du were g(y). Path B outputs G(y), the integral of g
from minus infinity to y, a number in [0, 1] (arXiv 2511.18542; widths reconstructed).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from ..export.ir.errors import InputError, UnknownNameError


class Surrogate(Protocol):
    """A pair g, G with dG/dy = g."""

    def gradient(self, y: Tensor) -> Tensor:
        """Return g(y)."""
        ...

    def antiderivative(self, y: Tensor) -> Tensor:
        """Return G(y), in [0, 1]."""
        ...


@dataclass(frozen=True, slots=True)
class Rectangle:
    """g(y) = 1/a if |y| < a/2 else 0; G(y) = clip(y/a + 1/2, 0, 1).

    The width a = 1 is reconstructed.
    """

    width: float = 1.0

    def gradient(self, y: Tensor) -> Tensor:
        """Return g(y)."""
        inside = torch.lt(y.detach().abs(), self.width / 2, out=torch.empty_like(y))
        return inside / self.width

    def antiderivative(self, y: Tensor) -> Tensor:
        """Return G(y)."""
        return (y / self.width + 0.5).clamp(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """g(y) = alpha s(alpha y)(1 - s(alpha y)), s the logistic function; G(y) = s(alpha y).

    alpha = 4 is reconstructed: the peak g(0) = 1 of the rectangle of width 1.
    """

    alpha: float = 4.0

    def gradient(self, y: Tensor) -> Tensor:
        """Return g(y)."""
        level = torch.sigmoid(self.alpha * y)
        return self.alpha * level * (1 - level)

    def antiderivative(self, y: Tensor) -> Tensor:
        """Return G(y)."""
        return torch.sigmoid(self.alpha * y)


@dataclass(frozen=True, slots=True)
class Atan:
    """g(y) = (alpha/2) / (1 + (pi/2 alpha y)^2); G(y) = atan(pi/2 alpha y)/pi + 1/2.

    alpha = 2 is reconstructed: the peak g(0) = 1 of the rectangle of width 1.
    """

    alpha: float = 2.0

    def gradient(self, y: Tensor) -> Tensor:
        """Return g(y)."""
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * y).square())

    def antiderivative(self, y: Tensor) -> Tensor:
        """Return G(y)."""
        return torch.atan(math.pi / 2 * self.alpha * y) / math.pi + 0.5


SURROGATES: dict[str, Callable[..., Surrogate]] = {
    "rectangle": Rectangle,
    "sigmoid": Sigmoid,
    "atan": Atan,
}
_PARAMETER = {"rectangle": "width", "sigmoid": "alpha", "atan": "alpha"}
SurrogateLike: TypeAlias = str | Surrogate


def create(
    surrogate: SurrogateLike, *, width: float | None = None, alpha: float | None = None
) -> Surrogate:
    """Return a surrogate by name; one that is an object already passes through.

    Args:
        width: of `rectangle`; alpha: of `sigmoid` and `atan`. None is the class's default.

    Raises:
        UnknownNameError: for a name that is not in `SURROGATES`.
        InputError: for a parameter that is not the surrogate's, or not above 0.
    """
    given = {k: v for k, v in {"width": width, "alpha": alpha}.items() if v is not None}
    if not isinstance(surrogate, str):
        if given:
            raise InputError(f"{next(iter(given))} given with a surrogate object", node="surrogate")
        return surrogate
    if surrogate not in SURROGATES:
        raise UnknownNameError.of("surrogate", surrogate, SURROGATES)
    for name, value in given.items():
        if name != _PARAMETER[surrogate]:
            raise InputError(f"no {name}", node=surrogate, remedy=f"give {_PARAMETER[surrogate]}")
        if not value > 0:
            raise InputError(f"{name} {value}, allowed above 0", node=surrogate)
    return SURROGATES[surrogate](**given)
