"""Optimisers by name: AdamW, SGD with Nesterov momentum, LARS; weights of one axis do not decay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from ..export.ir.errors import UnknownNameError

MOMENTUM = 0.9


class LARS(Optimizer):
    """SGD with momentum whose step is scaled layer by layer (You et al., arXiv 1708.03888, eq. 6).

    For weights of more than one axis: d = grad + decay w, rate = lr * trust |w| / |d|; for the
    rest (BatchNorm, biases) rate = lr, as is usual for self-supervised training. Then
    m = momentum m + rate d, w = w - m. `trust` 1e-3 is that paper's.
    """

    def __init__(
        self, params: Any, lr: float, momentum: float = MOMENTUM, trust: float = 1e-3
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "trust": trust, "weight_decay": 0.0}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Advance all weights that have a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step(weight, group)

    def _step(self, weight: torch.Tensor, group: Mapping[str, Any]) -> None:
        assert weight.grad is not None
        direction = weight.grad.add(weight, alpha=group["weight_decay"])
        rate = torch.full((), group["lr"], dtype=weight.dtype, device=weight.device)
        if weight.ndim > 1:
            norms = weight.norm(), direction.norm()
            ratio = group["trust"] * norms[0] / norms[1]
            rate = rate * torch.where((norms[0] > 0) & (norms[1] > 0), ratio, 1.0)
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        state["momentum_buffer"].mul_(group["momentum"]).add_(direction * rate)
        weight.sub_(state["momentum_buffer"])


def _sgd(groups: Any, lr: float) -> Optimizer:
    return SGD(groups, lr, MOMENTUM, nesterov=True)


OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {"adamw": AdamW, "sgd": _sgd, "lars": LARS}


def create_optimizer(name: str, module: nn.Module, lr: float, weight_decay: float) -> Optimizer:
    """Return the optimiser `name` over the weights of `module` that are trained.

    Raises:
        UnknownNameError: naming the near ones.
    """
    if name not in OPTIMIZERS:
        raise UnknownNameError.of("optimizer", name, OPTIMIZERS)
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[name]([group for group in groups if group["params"]], lr=lr)
