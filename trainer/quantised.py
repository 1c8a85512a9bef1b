"""Quantisation-aware training: the forward pass rounds what the lowering rounds.

Training: inputs and weights are rounded to the codes of the integer network, w = s clip(rint(w/s));
the gradient passes straight through (Bengio et al., arXiv 1308.3432), and is cut where a weight is
clipped. Evaluation: every neuron and the readout run `export.ir.arith` on the integers that arrive,
so predictions equal those of every executor. All scales and constants come from the lowering
itself, which is handed in: there is no second quantiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..export.ir import WEIGHTS, BatchNorm, Graph, LoweringError
from ..export.ir.arith import initial_state, neuron_step, readout_step
from ..export.ir.nodes import Neuron, Output
from .models import Classifier
from .models.head import Headed
from .neurons import LIF

Lowering: TypeAlias = Callable[[nn.Module, Literal["float", "integer"]], Graph]
"""Traces a module, and for `integer` also folds and quantises it."""
EXACT_BATCH = 64
LARGEST_RESIDUE = 0.25
"""How far a current may lie from a whole number of weight steps: half of what rounding bears."""


class Quantised(Headed):
    """A classifier as its integer network computes it; trains the weights of the one inside.

    Its BatchNorms are folded into the weights first and stay frozen, their biases apart: what is
    trained is what is rounded. In eval mode outputs are the integers of the readout, one step each.

    Args:
        model: whose weights are trained, in place. lowering: as above, with the number format.
        refresh: forward passes in training between two askings for the scales.

    Raises:
        LoweringError: for a network that cannot be lowered, naming the layer.
    """

    passes: Tensor

    def __init__(self, model: Classifier, lowering: Lowering, refresh: int = 50) -> None:
        super().__init__()
        self.name, self.options = model.name, model.options
        self.input_shape, self.time_steps = model.input_shape, model.time_steps
        self.encoding = model.encoding
        self.feature_count = model.feature_count
        self.model, self._lowering, self._refresh = model, lowering, refresh
        self._norms = absorb_batchnorm(model, lowering(model.saved, "float"))
        self._inside = "" if model.saved is model else "module."
        self._steps: dict[str, str] = {}
        self._graph = lowering(model.saved, "integer")
        for name, step in self._scales().items():
            self._steps[name] = f"step{len(self._steps)}"
            self.register_buffer(self._steps[name], step)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    @property
    def head(self) -> nn.Linear:  # type: ignore[override]
        """The classifier's head."""
        return self.model.head

    @property
    def saved(self) -> nn.Module:
        """What a checkpoint holds: the float weights."""
        return self.model.saved

    def extra_repr(self) -> str:
        """Return the number format, for torch's printout: weights' widths and the input's codes."""
        nodes: dict[str, Any] = self._graph.of_kind(*WEIGHTS)
        widths = ", ".join(f"{name} {node.bits} bits" for name, node in nodes.items())
        codes = self._graph.input
        return f"{widths}; input {codes.low}..{codes.high} x {codes.scale}"

    def train(self, mode: bool = True) -> Quantised:
        """Set the mode; BatchNorm stays as it was folded, and evaluation begins with new scales."""
        began = self.training and not mode
        super().train(mode)
        for norm in self._norms:
            norm.eval()
        if began:
            self.take_scales()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return one output a step, [T, B, classes]; in eval mode whole numbers."""
        if not self.training:
            return torch.cat([self._exact(part) for part in x.split(EXACT_BATCH, dim=1)], dim=1)
        if int(self.passes) % self._refresh == 0:
            self.take_scales()
        self.passes.add_(1)
        return self._rounded(x)

    def take_scales(self) -> None:
        """Lower the network as it is now, and take its scales."""
        self._graph = self._lowering(self.saved, "integer")
        for name, step in self._scales().items():
            getattr(self, self._steps[name]).copy_(step)

    def _scales(self) -> dict[str, Tensor]:
        nodes: dict[str, Any] = self._graph.of_kind(*WEIGHTS)
        return {name: torch.from_numpy(np.array(node.scale)) for name, node in nodes.items()}

    def _rounded(self, x: Tensor) -> Tensor:
        """Run the network on rounded inputs and weights."""
        weights: dict[str, Tensor] = {}
        for name, buffer in self._steps.items():
            node: Any = self._graph.nodes[name]
            weight: Any = self.saved.get_submodule(name).weight
            top = (1 << (node.bits - 1)) - 1
            key = f"{self._inside}{name}.weight"
            weights[key] = _Rounded.apply(weight, getattr(self, buffer), top)  # type: ignore[no-untyped-call]
        out: Tensor = functional_call(self.model, weights, (self._coded(x),))
        return out

    def _coded(self, x: Tensor) -> Tensor:
        """Return inputs [T, B, ...] rounded to their codes; a static frame stays one."""
        node = self._graph.input
        if node.scale is None:
            return x
        codes = (x / float(np.float32(node.scale))).round().clamp(node.low, node.high)
        coded: Tensor = codes * float(node.scale)
        return coded[:1].expand_as(x) if x.stride(0) == 0 else coded

    @torch.no_grad()
    def _exact(self, x: Tensor) -> Tensor:
        with self._exact_neurons():
            y = self._rounded(x)
        acc = _whole(y, self._graph.output, np.asarray(self._graph.output.scale), "output")
        total, steps = np.zeros_like(acc[0]), []
        for arrived in acc:
            before, total = total, readout_step(arrived, self._graph.output, total)
            steps.append(total - before)
        return torch.from_numpy(np.stack(steps)).float()

    @contextmanager
    def _exact_neurons(self) -> Iterator[None]:
        """Within the context each neuron answers with the spikes of the integer network."""
        neurons = self._graph.neurons
        modules = {n: m for n, m in self.saved.named_modules() if isinstance(m, LIF)}
        hooks = [
            module.register_forward_hook(partial(_exact_spikes, name, neurons[name]), prepend=True)
            for name, module in modules.items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def absorb_batchnorm(model: Classifier, graph: Graph) -> list[nn.Module]:
    """Move every BatchNorm's gain into the weights before it, in place; return the BatchNorms.

    What is left of each adds a bias: y = x + bias (its mean 0, variance 1, weight 1).

    Args:
        graph: the model's float graph, whose node names are the modules' paths.
    """
    norms = []
    for name in graph.of_kind(BatchNorm):
        host = graph.inputs(name)[0]
        while not isinstance(graph.nodes[host], WEIGHTS):
            sources = graph.inputs(host)
            if len(sources) != 1:
                raise LoweringError("no weights to fold BatchNorm into", node=name)
            host = sources[0]
        norm: Any = model.saved.get_submodule(name)
        _absorb(norm, model.saved.get_submodule(host))
        norms.append(norm)
    return norms


@torch.no_grad()
def _absorb(norm: Any, layer: Any) -> None:
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    layer.weight.copy_(layer.weight.double() * gain.view(-1, *(1,) * (layer.weight.ndim - 1)))
    if layer.bias is not None:
        layer.bias.copy_(layer.bias.double() * gain)
    norm.bias.copy_(norm.bias.double() - norm.running_mean.double() * gain)
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    norm.weight.fill_(1.0).requires_grad_(False)


class _Rounded(torch.autograd.Function):
    """Forward step clip(rint(w / step), -top, top); backward 1 where nothing is clipped."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, step: Tensor, top: int) -> Tensor:
        column = step.view(-1, *(1,) * (weight.ndim - 1))
        codes = (weight.double() / column).round()
        ctx.save_for_backward(codes.abs() <= top)
        return (codes.clamp(-top, top) * column).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return grad_outputs[0] * inside, None, None


def _exact_spikes(
    name: str, node: Neuron, module: LIF, inputs: tuple[Tensor, ...], output: Tensor
) -> Tensor:
    """Return the spikes [T, B, ...] of an integer neuron for the currents that arrive."""
    p = module.parameters_of_step
    assert node.v_scale is not None
    one = node.v_scale * p.tau if p.decay_input else node.v_scale
    acc = _whole(inputs[0], node, one, name)
    state = initial_state(node, acc.shape[1])
    spikes = [neuron_step(arrived, node, state) for arrived in acc]
    return torch.from_numpy(np.stack(spikes)).to(output.dtype)


def _whole(x: Tensor, node: Neuron | Output, one: np.ndarray[Any, Any], name: str) -> Any:
    """Return the integers that currents x [T, B, ...] stand for.

    x = one (2^shift acc + bias): `one` is a unit of the state, in the model's units.
    """
    bias: Any = 0.0
    for part in (node.bias, getattr(node, "bias_in", None)):
        bias = bias if part is None else bias + part.astype(np.float64)
    acc = (x.double().numpy() / one - bias) / 2.0**node.state_shift
    whole = np.rint(acc)
    residue = float(np.abs(acc - whole).max(initial=0.0))
    if residue > LARGEST_RESIDUE:
        raise LoweringError(
            f"a current lies {residue:.2f} weight steps from a whole one, "
            f"at most {LARGEST_RESIDUE} are told apart",
            node=name,
            remedy="train at fewer bits, or without bias steps",
        )
    return whole.astype(np.int64)
