"""Spikformer-L-D (arXiv 2209.15425): spiking self-attention without softmax, MixedLIF for GELU.

Tokens lie as [T, B, feature, token], so that every projection is a 1x1 convolution with its
BatchNorm, and a graph's channel axis is the first one. Attention y = v (kT q) in that layout is the
paper's (q kT) v: both are integer products of spikes, and equal.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from ...export.ir.errors import InputError
from ..functional.spike import Compare
from ..layers import ConvNormNeuron, SeqBatchNorm1d, SeqBatchNorm2d, SeqConv1d, SeqMaxPool2d
from ..neurons import MixedLIF
from .blocks import conv3x3
from .classifier import Classifier

ATTENTION_SCALE = 0.125
ATTENTION_THRESHOLD = 0.5
"""Both as in Spikformer: the neuron after the attention has half the threshold."""


@dataclass(frozen=True, slots=True)
class SpikformerOptions:
    """Everything that defines a Spikformer, as plain data.

    Attributes:
        depth, dim, heads: L, D and attention heads. mlp_ratio: hidden width of the MLP over D.
        pools: after which of the four patch convolutions a 3x3 max-pool of stride 2 stands.
        qkv_bias: whether q, k and v have biases (the CIFAR models do, the ImageNet models do not).
        input_shape: (channels, y, x). classes: width of the head. time_steps: T it is meant for.
        tau, v_threshold, surrogate, width, alpha, compare, decay_input: of every neuron.

    Raises:
        InputError: for sizes below 1, or heads that do not divide D.
    """

    depth: int = 4
    dim: int = 384
    heads: int = 12
    mlp_ratio: int = 4
    pools: tuple[bool, ...] = (False, False, True, True)
    qkv_bias: bool = True
    input_shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10
    time_steps: int = 4
    tau: float = 2.0
    v_threshold: float = 1.0
    surrogate: str = "sigmoid"
    width: float | None = None
    alpha: float | None = None
    compare: Compare = ">="
    decay_input: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "pools", tuple(bool(p) for p in self.pools))
        object.__setattr__(self, "input_shape", tuple(int(n) for n in self.input_shape))
        sizes = (self.depth, self.dim, self.heads, self.mlp_ratio, self.classes, self.time_steps)
        if min(*sizes, *self.input_shape) < 1 or len(self.pools) != 4:
            raise InputError("every size must be 1 or more, pools has 4 entries", node="spikformer")
        if self.dim % self.heads or self.dim % 8:
            raise InputError(
                f"dim {self.dim} with {self.heads} heads: both 8 and the heads divide it",
                node="spikformer",
            )

    def neuron(self, v_threshold: float | None = None) -> MixedLIF:
        """Return one neuron layer with these constants."""
        return MixedLIF(
            self.tau,
            self.v_threshold if v_threshold is None else v_threshold,
            surrogate=self.surrogate,
            width=self.width,
            alpha=self.alpha,
            compare=self.compare,
            decay_input=self.decay_input,
        )


class Projection(nn.Module):
    """1x1 convolution, BatchNorm, neuron over [T, B, feature, token]."""

    def __init__(self, inputs: int, outputs: int, bias: bool, neuron: MixedLIF) -> None:
        super().__init__()
        self.linear = SeqConv1d(inputs, outputs, 1, bias=bias)
        self.bn = SeqBatchNorm1d(outputs)
        self.neuron = neuron

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes [T, B, outputs, token]."""
        out: Tensor = self.neuron(self.bn(self.linear(x)))
        return out


class SpikingSelfAttention(nn.Module):
    """SSA: attention of spikes by spikes, scaled, through a neuron, projected."""

    def __init__(self, options: SpikformerOptions) -> None:
        super().__init__()
        dim, bias = options.dim, options.qkv_bias
        self.heads = options.heads
        self.q, self.k, self.v = (Projection(dim, dim, bias, options.neuron()) for _ in range(3))
        self.neuron = options.neuron(ATTENTION_THRESHOLD)
        self.proj = Projection(dim, dim, True, options.neuron())

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes [T, B, feature, token]."""
        q, k, v = (
            spikes.unflatten(2, (self.heads, -1)) for spikes in (self.q(x), self.k(x), self.v(x))
        )
        scores = torch.matmul(k.transpose(-2, -1), q)
        y = torch.matmul(v, scores) * ATTENTION_SCALE
        out: Tensor = self.proj(self.neuron(y.flatten(2, 3)))
        return out


class Encoder(nn.Module):
    """x + SSA(x), then x + MLP(x): spikes add to spikes."""

    def __init__(self, options: SpikformerOptions) -> None:
        super().__init__()
        hidden = options.dim * options.mlp_ratio
        self.attention = SpikingSelfAttention(options)
        self.fc1 = Projection(options.dim, hidden, True, options.neuron())
        self.fc2 = Projection(hidden, options.dim, True, options.neuron())

    def forward(self, x: Tensor) -> Tensor:
        """Return spike counts [T, B, feature, token]."""
        x = x + self.attention(x)
        out: Tensor = x + self.fc2(self.fc1(x))
        return out


class PatchSplitting(nn.Module):
    """SPS: four 3x3 convolutions to D/8, D/4, D/2, D, pooled on the way, plus position spikes."""

    def __init__(self, options: SpikformerOptions) -> None:
        super().__init__()
        widths = [options.dim // 8, options.dim // 4, options.dim // 2, options.dim]
        inputs = [options.input_shape[0], *widths]
        stages = [
            self._stage(i, o, pool, options)
            for i, o, pool in zip(inputs, widths, options.pools, strict=False)
        ]
        self.stages = nn.Sequential(*stages)
        self.position = self._stage(options.dim, options.dim, False, options)

    @staticmethod
    def _stage(inputs: int, outputs: int, pool: bool, options: SpikformerOptions) -> ConvNormNeuron:
        layers = [conv3x3(inputs, outputs, 1), SeqBatchNorm2d(outputs), options.neuron()]
        return ConvNormNeuron(*layers, *([SeqMaxPool2d(3, 2, 1)] if pool else []))

    def forward(self, x: Tensor) -> Tensor:
        """Return spike counts [T, B, D, token]."""
        y = self.stages(x)
        out: Tensor = (y + self.position(y)).flatten(3)
        return out


class Spikformer(Classifier):
    """Patch splitting, L encoder blocks, mean over tokens, linear head."""

    def __init__(self, options: SpikformerOptions, name: str = "spikformer") -> None:
        super().__init__()
        self.name = name
        self.options = asdict(options)
        self.input_shape = options.input_shape
        self.time_steps = options.time_steps
        self.patches = PatchSplitting(options)
        self.blocks = nn.Sequential(*(Encoder(options) for _ in range(options.depth)))
        self.feature_count = options.dim
        self.head = nn.Linear(options.dim, options.classes)

    def features(self, x: Tensor) -> Tensor:
        """Return features [T, B, D] of frames [T, B, C, y, x]."""
        out: Tensor = self.blocks(self.patches(x)).mean(-1)
        return out
