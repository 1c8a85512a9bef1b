"""An exponential moving average of the weights: what the last steps agree on."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """The moving average of a module's weights and BatchNorm statistics.

    a = d a + (1 - d) w after every step, d = min(decay, (1 + n) / (10 + n)) at step n, so that the
    random start is soon forgotten.

    Args:
        module: whose tensors are followed. decay: the share kept a step, below 1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self._live = _tensors(module)
        self.tensors = {name: tensor.clone() for name, tensor in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages = list(self.tensors.values())
        for average, tensor in zip(averages, self._live.values(), strict=True):
            average.lerp_(tensor, 1 - decay)

    @torch.no_grad()
    def copy_to_module(self) -> None:
        """Give the module the averages."""
        for name, tensor in self._live.items():
            tensor.copy_(self.tensors[name])


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    held = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach() for name, tensor in held if tensor.is_floating_point()}
