"""A user's own module as the trainer sees it: frames in, its last Linear as the head."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ...export.ir.errors import InputError
from .head import Headed


class OwnModel(Headed):
    """A module that maps [T, B, C, y, x] to [T, B, classes] through a last `nn.Linear`.

    Its features are what that Linear receives. Its checkpoints hold the module's own tensors, for
    ``file.py:factory --weights``; the code itself is never part of them.

    Args:
        module: the user's. name: its spec, ``file.py:factory``.
        input_shape: of one frame, default: the module's `input_shape`.
        time_steps: default: the module's `time_steps`, else 4.

    Raises:
        InputError: if the shape is not known or not taken, or the module ends in no Linear.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        input_shape: tuple[int, ...] | None = None,
        time_steps: int | None = None,
    ) -> None:
        super().__init__()
        shape: Any = input_shape or getattr(module, "input_shape", None)
        if shape is None:
            remedy = "give --input C,Y,X, or the module an input_shape"
            raise InputError("the shape of one sample is not known", node=name, remedy=remedy)
        linear = [n for n, layer in module.named_modules() if isinstance(layer, nn.Linear)]
        if not linear:
            remedy = "let it end in nn.Linear, the head that probes fit"
            raise InputError("has no nn.Linear", node=name, remedy=remedy)
        self.name, self.options = name, {}
        self.input_shape = tuple(int(n) for n in shape)
        held: Any = getattr(module, "time_steps", 4)
        self.time_steps = int(time_steps or held)
        self.module = module
        self._head_path = linear[-1]
        self.feature_count = self.head.in_features
        self._try()

    def _try(self) -> None:
        """Run two frames of zeros: a module that does not take the shape is refused before data."""
        frames = torch.zeros(self.time_steps, 2, *self.input_shape)
        takes = f"[time, batch, ...] of samples {list(self.input_shape)}"
        try:
            with torch.no_grad():  # a copy, so that no state of a neuron and no mode is left over
                out: Any = copy.deepcopy(self.module).eval()(frames)
        except Exception as error:  # the user's module may raise anything
            reason = f"does not take {takes} ({type(error).__name__}: {error})"
            remedy = "give --input the shape of one sample, and the module multi-step layers"
            raise InputError(reason, node=self.name, remedy=remedy) from error
        if not isinstance(out, Tensor) or tuple(out.shape[:-1]) != (self.time_steps, 2):
            shape = f"{list(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            reason = f"returns {shape} for {takes}"
            remedy = f"return [time, batch, classes], here [{self.time_steps}, 2, classes]"
            raise InputError(reason, node=self.name, remedy=remedy)

    @property
    def head(self) -> nn.Linear:  # type: ignore[override]
        """The module's last Linear."""
        found = self.module.get_submodule(self._head_path)
        assert isinstance(found, nn.Linear)
        return found

    @property
    def saved(self) -> nn.Module:
        """The module whose tensors a checkpoint holds: the user's."""
        return self.module

    def forward(self, x: Tensor) -> Tensor:
        """Return one output a step, [T, B, classes]."""
        out: Tensor = self.module(x)
        return out
