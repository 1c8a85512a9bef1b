"""Spiking ResNets: MixedLIF for ReLU, time first, three residual rules and none."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, get_args

from torch import Tensor, nn

from ...export.ir.errors import InputError, UnknownNameError
from ..functional.parameters import Reset
from ..functional.spike import Compare
from ..layers import SeqAvgPool2d, SeqBatchNorm2d, SeqConv2d, SeqMaxPool2d, conv_norm_neuron
from ..neurons import MixedLIF
from .blocks import BLOCKS, Residual, conv3x3
from .classifier import Classifier

Stem: TypeAlias = Literal["small", "imagenet"]
STEMS: tuple[str, ...] = get_args(Stem)


@dataclass(frozen=True, slots=True)
class ResNetOptions:
    """Everything that defines a Spiking-ResNet, as plain data.

    Attributes:
        widths, blocks: channels and residual blocks of each stage; stages after the first halve
            the map by a strided convolution.
        stem: `small` is a 3x3 convolution of `stem_stride`; `imagenet` is 7x7 with stride 2,
            then a 3x3 max-pool of stride 2 behind its neuron.
        stem_stride: stride of the 3x3 stem.
        pool: mean over pool x pool windows before the head; 0 pools the whole map.
        residual: `sew_add` adds spikes to spikes (integers), `spiking` adds before the neuron
            (binary), `ms` adds currents (membrane shortcut), `none` has no shortcut. The paper
            does not say which; the default is the one that needs nothing in integers.
        input_shape: (channels, y, x). classes: width of the head. time_steps: T it is meant for.
        tau, v_threshold, surrogate, width, alpha, reset, compare, decay_input: of every neuron;
            the defaults of tau, v_threshold and width are reconstructions.

    Raises:
        UnknownNameError: for another residual rule.
        InputError: for sizes below 1, or stages of unequal count.
    """

    widths: tuple[int, ...] = (16, 32)
    blocks: tuple[int, ...] = (1, 1)
    stem: Stem = "small"
    stem_stride: int = 1
    pool: int = 0
    residual: Residual = "sew_add"
    input_shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10
    time_steps: int = 4
    tau: float = 2.0
    v_threshold: float = 1.0
    surrogate: str = "rectangle"
    width: float | None = None
    alpha: float | None = None
    reset: Reset = "hard"
    compare: Compare = ">"
    decay_input: bool = False

    def __post_init__(self) -> None:
        for name in ("widths", "blocks", "input_shape"):
            object.__setattr__(self, name, tuple(int(n) for n in getattr(self, name)))
        if self.stem not in STEMS:
            raise UnknownNameError.of("stem", self.stem, STEMS)
        if self.residual not in BLOCKS:
            raise UnknownNameError.of("residual rule", self.residual, BLOCKS)
        if len(self.widths) != len(self.blocks) or len(self.input_shape) != 3:
            raise InputError(
                f"widths {list(self.widths)}, blocks {list(self.blocks)}, input_shape "
                f"{list(self.input_shape)}: one width and one block count a stage, three sizes",
                node="spiking_resnet",
            )
        sizes = (*self.widths, *self.blocks, *self.input_shape)
        if min(*sizes, self.stem_stride, self.classes, self.time_steps, self.pool + 1) < 1:
            raise InputError("every size must be 1 or more", node="spiking_resnet")

    def neuron(self) -> MixedLIF:
        """Return one neuron layer with these constants."""
        return MixedLIF(
            self.tau,
            self.v_threshold,
            surrogate=self.surrogate,
            width=self.width,
            alpha=self.alpha,
            reset=self.reset,
            compare=self.compare,
            decay_input=self.decay_input,
        )


class SpikingResNet(Classifier):
    """3x3 stem, stages of residual blocks, mean pool, linear head."""

    def __init__(self, options: ResNetOptions, name: str = "spiking_resnet") -> None:
        super().__init__()
        self.name = name
        self.options = asdict(options)
        self.input_shape = options.input_shape
        self.time_steps = options.time_steps
        currents = options.residual == "ms"
        self.conv1 = _stem_conv(options)
        self.bn1 = SeqBatchNorm2d(options.widths[0])
        # Blocks of `ms` begin with a neuron and end in a current, so the stem's neuron moves
        # behind the last of them.
        self.neuron1 = nn.Identity() if currents else options.neuron()
        imagenet = options.stem == "imagenet"
        self.stem_pool = SeqMaxPool2d(3, 2, 1) if imagenet else nn.Identity()
        self.stages = nn.Sequential(*_stages(options))
        self.last_neuron = options.neuron() if currents else nn.Identity()
        self.pool, pooled = _pool(options)
        self.flatten = nn.Flatten(2)
        self.feature_count = options.widths[-1] * pooled
        self.head = nn.Linear(self.feature_count, options.classes)

    def features(self, x: Tensor) -> Tensor:
        """Return features [T, B, feature_count] of frames [T, B, C, y, x]."""
        y = self.stages(self.stem_pool(self._stem(x)))
        out: Tensor = self.flatten(self.pool(self.last_neuron(y)))
        return out

    def _stem(self, x: Tensor) -> Tensor:
        if isinstance(self.neuron1, MixedLIF):
            return conv_norm_neuron(self.conv1, self.bn1, self.neuron1, x)
        y: Tensor = self.bn1(self.conv1(x))
        return y


def _stem_conv(options: ResNetOptions) -> SeqConv2d:
    if options.stem == "imagenet":
        return SeqConv2d(options.input_shape[0], options.widths[0], 7, 2, 3, bias=False)
    return conv3x3(options.input_shape[0], options.widths[0], options.stem_stride)


def _stages(options: ResNetOptions) -> list[nn.Sequential]:
    block = BLOCKS[options.residual]
    stages: list[nn.Sequential] = []
    inputs = options.widths[0]
    for stage, (width, count) in enumerate(zip(options.widths, options.blocks, strict=True)):
        first = block(inputs, width, 2 if stage else 1, options.neuron)
        rest = [block(width, width, 1, options.neuron) for _ in range(count - 1)]
        stages.append(nn.Sequential(first, *rest))
        inputs = width
    return stages


def _pool(options: ResNetOptions) -> tuple[nn.Module, int]:
    """Return the pool before the head and the number of positions it leaves."""
    side_y, side_x = _map_size(options)
    pool = (options.pool, options.pool) if options.pool else (side_y, side_x)
    if side_y % pool[0] or side_x % pool[1]:
        raise InputError(
            f"pool {options.pool} does not divide the {side_y}x{side_x} map", node="pool"
        )
    positions = (side_y // pool[0]) * (side_x // pool[1])
    return (SeqAvgPool2d(pool) if max(pool) > 1 else nn.Identity()), positions


def _map_size(options: ResNetOptions) -> tuple[int, int]:
    """Return y, x before the pool: a 3x3 convolution with padding 1 divides, rounding up."""
    _, side_y, side_x = options.input_shape
    stem = [2, 2] if options.stem == "imagenet" else [options.stem_stride]
    for stride in stem + [2] * (len(options.widths) - 1):
        side_y, side_x = -(-side_y // stride), -(-side_x // stride)
    return side_y, side_x
