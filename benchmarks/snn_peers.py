"""The spiking tools: their own neurons, multi-step where they have it, between torch's layers.

Their neurons fire at v >= threshold; sums are whole numbers, so threshold + 1/2 is our v >
threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spikewright.export.ir import Neuron

from .peers import (
    Call,
    Missing,
    onnxruntime_f32,
    onnxruntime_int8,
    onnxruntime_qdq,
    torch_layers,
    torch_with,
)
from .workloads import Workload


def _level(node: Neuron) -> float:
    return float(node.v_threshold) + 0.5


def spikingjelly(workload: Workload, threads: int = 1) -> Call:
    """IFNode over all steps at once."""
    try:
        from spikingjelly.activation_based.neuron import IFNode  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Missing(f"spikingjelly: {error}") from None

    def made(node: Neuron) -> Callable[[Any], Any]:
        neuron = IFNode(_level(node), v_reset=0.0, step_mode="m").eval()

        def run(current: Any) -> Any:
            neuron.reset()
            return neuron(current)

        return run

    return torch_with(made, workload, threads)


def sinabs(workload: Workload, threads: int = 1) -> Call:
    """IAF over all steps at once; its axes are batch, then time."""
    try:
        import torch
        from sinabs.activation import (  # pyright: ignore[reportMissingImports]
            MembraneReset,
            SingleSpike,
        )
        from sinabs.layers import IAF  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Missing(f"sinabs: {error}") from None

    def made(node: Neuron) -> Callable[[Any], Any]:
        level = torch.tensor(_level(node))
        neuron = IAF(level, spike_fn=SingleSpike, reset_fn=MembraneReset(), min_v_mem=None)

        def run(current: Any) -> Any:
            neuron.reset_states()
            return neuron(current.transpose(0, 1)).transpose(0, 1)

        return run

    return torch_with(made, workload, threads)


def norse(workload: Workload, threads: int = 1) -> Call:
    """IAFCell, step by step."""
    try:
        import torch
        from norse.torch import (  # pyright: ignore[reportMissingImports]
            IAFCell,
            IAFParameters,
        )
    except ImportError as error:
        raise Missing(f"norse: {error}") from None

    def made(node: Neuron) -> Callable[[Any], Any]:
        cell = IAFCell(IAFParameters(v_th=torch.tensor(_level(node))))
        return _stepped(cell, lambda: None, torch.stack)

    return torch_with(made, workload, threads)


def snntorch(workload: Workload, threads: int = 1) -> Call:
    """Leaky with beta 1, reset to zero in the step of the spike."""
    try:
        import torch
        from snntorch import Leaky
    except ImportError as error:
        raise Missing(f"snntorch: {error}") from None

    def made(node: Neuron) -> Callable[[Any], Any]:
        options = {"reset_mechanism": "zero", "reset_delay": False}
        neuron = Leaky(1.0, _level(node), **options)
        return _stepped(neuron, neuron.reset_mem, torch.stack)

    return torch_with(made, workload, threads)


def _stepped(neuron: Any, begin: Callable[[], Any], stack: Any) -> Callable[[Any], Any]:
    """A neuron that returns spikes and its state, walked through time from what `begin` gives."""

    def run(current: Any) -> Any:
        state, spikes = begin(), []
        for arriving in current:
            fired, state = neuron(arriving, state)
            spikes.append(fired)
        return stack(spikes)

    return run


APPROXIMATE: dict[str, Callable[..., Call]] = {"onnxruntime_qdq": onnxruntime_qdq}
"""Peers that compute another network, whose outputs differ: timed, shown, and no fastest peer."""
PEERS: dict[str, Callable[..., Call]] = {
    "onnxruntime_int8": onnxruntime_int8,
    "onnxruntime_f32": onnxruntime_f32,
    "torch": torch_layers,
    "spikingjelly": spikingjelly,
    "sinabs": sinabs,
    "norse": norse,
    "snntorch": snntorch,
}
