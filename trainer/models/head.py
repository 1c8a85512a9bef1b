"""Classifiers around another module: their features are what its head receives."""

from __future__ import annotations

import torch
from torch import Tensor

from ...export.ir.errors import InputError
from .classifier import Classifier


class Headed(Classifier):
    """A classifier whose `forward` passes everything through `head`."""

    def features(self, x: Tensor) -> Tensor:
        """Return what the head receives, [T, B, feature_count].

        Raises:
            InputError: if that has not the time steps and samples of x.
        """
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self(x)
        finally:
            hook.remove()
        shapes = {part.shape[0] for part in seen}
        if shapes != {x.shape[0]} or sum(part.shape[1] for part in seen) != x.shape[1]:
            found = [list(part.shape) for part in seen]
            needs = f"[{x.shape[0]}, {x.shape[1]}, features]"
            raise InputError(f"its last Linear receives {found}, needs {needs}", node=self.name)
        return torch.cat(seen, dim=1)
