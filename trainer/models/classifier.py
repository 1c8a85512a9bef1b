"""What the trainer asks of an architecture: a backbone with features and a linear head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Classifier(nn.Module, ABC):
    """Frames [T, B, C, y, x] to one output a step [T, B, classes]; prediction: their mean over T.

    The head is linear, so that a probe fitted on the mean features over time can be its weights.

    Attributes:
        name, options: what `models.create` rebuilds it from; options are JSON-able.
        input_shape: (channels, y, x) of one frame. time_steps: the T it is meant for.
        feature_count: the width of the features.
        encoding: how pictures enter it (`trainer.encode.Encoding`).
    """

    name: str
    options: Mapping[str, Any]
    input_shape: tuple[int, ...]
    time_steps: int
    feature_count: int
    head: nn.Linear
    encoding: str = "direct"

    _drawn: tuple[tuple[int, int], ...] | None = None

    def note_drawn(self) -> None:
        """Note that the weights are now as they were drawn at random (see `untrained`)."""
        self._drawn = self._versions()

    @property
    def untrained(self) -> bool:
        """Whether no tensor was written to since the weights were drawn at random."""
        return self._drawn is not None and self._drawn == self._versions()

    def _versions(self) -> tuple[tuple[int, int], ...]:
        # torch counts the writes to a tensor: by optimizers, load_state_dict and BatchNorm alike.
        tensors = (*self.parameters(), *self.buffers())
        return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)

    @property
    def saved(self) -> nn.Module:
        """The module whose tensors a checkpoint holds."""
        return self

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Return features [T, B, feature_count] of frames [T, B, C, y, x]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return one output a step, [T, B, classes]."""
        out: Tensor = self.head(self.features(x))
        return out
