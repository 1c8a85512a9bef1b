"""Integrate-and-fire networks for chips without a leak, without biases and with few weight bits.

Convolutions and dense layers of IF neurons; a pool stands behind spikes, never before them (the
order of Speck's cores). Classes are neurons too: they are told apart by their spike counts, as
ODIN, TrueNorth, Speck and Xylo can. Samples arrive as spikes (`encoding`), so that no layer is
left to the host; with `direct` the first layer is the host's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from ...export.ir.errors import InputError, UnknownNameError
from ..encode import Encoding
from ..functional.parameters import Reset
from ..layers import SeqAvgPool2d, SeqConv2d
from ..neurons import IF
from .head import Headed


@dataclass(frozen=True, slots=True)
class IFNetOptions:
    """Everything that defines an integrate-and-fire network, as plain data.

    Attributes:
        channels: of 3x3 convolutions, each with a mean pool over 2x2 behind its spikes.
        hidden: widths of the dense layers between them and the classes.
        encoding: how samples become spikes: `rate`, `latency`, or `direct` (frames).
        input_shape: (channels, y, x). classes: neurons of the head. time_steps: T it is meant for.
        v_threshold, alpha, reset, compare: of every neuron; surrogate atan.
        gain: variance of the initial weights times the number of inputs. Without BatchNorm the
            sparse spikes would not reach a threshold; four times more behind a pool, which divides.

    Raises:
        UnknownNameError: for another encoding. InputError: for sizes below 1 or maps that 2 does
            not divide.
    """

    channels: tuple[int, ...] = ()
    hidden: tuple[int, ...] = (64,)
    encoding: Encoding = "rate"
    input_shape: tuple[int, int, int] = (1, 8, 8)
    classes: int = 10
    time_steps: int = 8
    v_threshold: float = 1.0
    alpha: float = 2.0
    reset: Reset = "hard"
    compare: str = ">="
    gain: float = 4.0

    def __post_init__(self) -> None:
        for name in ("channels", "hidden", "input_shape"):
            object.__setattr__(self, name, tuple(int(n) for n in getattr(self, name)))
        if self.encoding not in get_args(Encoding):
            raise UnknownNameError.of("encoding", self.encoding, get_args(Encoding))
        sizes = (*self.channels, *self.hidden, *self.input_shape, self.classes, self.time_steps)
        if min(sizes) < 1 or len(self.input_shape) != 3:
            raise InputError("every size must be 1 or more", node="if_net")
        if any(n % (1 << len(self.channels)) for n in self.input_shape[1:]):
            found = f"a map of {self.input_shape[1:]} is halved {len(self.channels)} times"
            raise InputError(found, node="if_net", remedy="use fewer channels entries")

    def neuron(self) -> IF:
        """Return one neuron layer with these constants."""
        return IF(
            self.v_threshold,
            surrogate="atan",
            alpha=self.alpha,
            reset=self.reset,
            compare=self.compare,  # type: ignore[arg-type]
        )


class IFNet(Headed):
    """Convolutions and dense layers of IF neurons without biases, spikes to the end."""

    def __init__(self, options: IFNetOptions, name: str = "if_net") -> None:
        super().__init__()
        self.name, self.options = name, asdict(options)
        self.input_shape, self.time_steps = options.input_shape, options.time_steps
        self.encoding = options.encoding
        width, height, breadth = options.input_shape
        layers: list[nn.Module] = []
        for channels in options.channels:
            layers += [_conv(width, channels), options.neuron(), SeqAvgPool2d(2)]
            width, height, breadth = channels, height // 2, breadth // 2
        self.convolutions = nn.Sequential(*layers)
        width *= height * breadth
        dense: list[nn.Module] = []
        for units in options.hidden:
            dense += [nn.Linear(width, units, bias=False), options.neuron()]
            width = units
        self.dense = nn.Sequential(nn.Flatten(2), *dense)
        self.feature_count = width
        self.head = nn.Linear(width, options.classes, bias=False)
        self.classes = options.neuron()
        self._initialise(options.gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of the classes [T, B, classes] for x [T, B, C, y, x]."""
        out: Tensor = self.classes(self.head(self.dense(self.convolutions(x))))
        return out

    @torch.no_grad()
    def _initialise(self, gain: float) -> None:
        pooled = False
        for layer in self.modules():
            if isinstance(layer, SeqConv2d | nn.Linear):
                inputs = layer.weight[0].numel()
                nn.init.normal_(layer.weight, 0.0, (gain * (4 if pooled else 1) / inputs) ** 0.5)
                pooled = False
            pooled = pooled or isinstance(layer, SeqAvgPool2d)


def _conv(inputs: int, outputs: int) -> SeqConv2d:
    return SeqConv2d(inputs, outputs, 3, 1, 1, bias=False)
