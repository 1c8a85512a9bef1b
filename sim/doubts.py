"""Doubts about samples, labels and what came of them: allowed, and yet perhaps a mistake."""

from __future__ import annotations

import numpy as np

from ..export.ir import Array, Graph
from ..export.ir.arith import quantise_input, symmetric_limits
from ..export.ir.errors import DoubtWarning, warn
from .counters import Counters
from .encode import normalised

SATURATED = 0.05
"""Share of a directly coded input beyond the range calibrated above which that is said; a
calibration on other samples of the same data leaves well below a percent beyond it."""
LOOKED_AT = 256


def doubt_samples(graph: Graph, x: Array) -> None:
    """Warn of an input that saturates: pictures of 0..255 for a network calibrated on 0..1.

    And of spikes given as a frame. Looks at the first 256 samples x, raw as `encode` takes them.
    """
    for line in (_saturated(graph, x[:LOOKED_AT]), _binary(graph, x[:LOOKED_AT])):
        if line is not None:
            warn(line, DoubtWarning)


def doubt_labels(outputs: Array, labels: Array) -> None:
    """Warn of labels [sample] that a network with `outputs` [sample, ...] has no output for."""
    last = int(np.prod(outputs.shape[1:])) - 1
    beyond = np.count_nonzero((labels < 0) | (labels > last))
    if not beyond:
        return
    warn(
        f"{beyond} of {len(labels)} labels lie outside 0 to {last}, the network's outputs (they "
        f"are {labels.min()} to {labels.max()}): give the labels that it was trained on",
        DoubtWarning,
    )


def doubt_silence(counters: Counters) -> None:
    """Warn of neuron layers without a spike in all samples of a run.

    Of several the first is named: those behind it may well be silent for its sake.
    """
    neurons = [layer for layer in counters.layers.values() if layer.kind == "Neuron"]
    silent = [layer.name for layer in neurons if layer.neurons and not layer.spikes.any()]
    if silent:
        more = f" (and {len(silent) - 1} layers more)" if len(silent) > 1 else ""
        warn(
            f"{silent[0]}{more} never spikes in {counters.samples} samples of "
            f"{counters.time_steps} steps: look at its input, its v_threshold and the encoding",
            DoubtWarning,
        )


def doubt_readout(graph: Graph, outputs: Array) -> None:
    """Warn of a readout whose last outputs [sample, ...] stand at the end of its width."""
    node = graph.output
    if graph.level != "integer" or node.readout == "none":
        return
    top = symmetric_limits(node.state_bits)[1]
    full = np.abs(outputs.astype(np.int64)) >= top
    if full.any():
        samples = int(full.reshape(len(full), -1).any(1).sum())
        warn(
            f"{graph.output_name} saturates at {top:,} in {samples} of {len(full)} samples: its "
            "outputs are sums no more; run fewer time steps, or a readout with a leak",
            DoubtWarning,
        )


def _binary(graph: Graph, x: Array) -> str | None:
    """What is 0 or 1 everywhere, and both somewhere, is spikes."""
    if graph.input.encoding != "direct" or not x.size:
        return None
    if not ((x == 0) | (x == 1)).all() or x.min() == x.max():
        return None
    return (
        "the data is 0 and 1, which are spikes, and the network takes analog frames, which its "
        "first layer multiplies: lower it with --encode spikes"
    )


def _saturated(graph: Graph, x: Array) -> str | None:
    node = graph.input
    if graph.level != "integer" or node.encoding != "direct" or not len(x):
        return None
    assert node.scale is not None and node.low is not None and node.high is not None
    values = normalised(node, np.asarray(x, np.float32))
    error = np.abs(values - quantise_input(values, node) * np.float32(node.scale))
    share = float(np.mean(error > node.scale))
    if share <= SATURATED:
        return None
    mean = 0.0 if node.mean is None else node.mean
    std = 1.0 if node.std is None else node.std
    low = float(np.min(node.low * node.scale * std + mean))
    high = float(np.max(node.high * node.scale * std + mean))
    return (
        f"{100 * share:.0f} % of the input saturates: data of {x.min():.4g}..{x.max():.4g}, "
        f"the network was calibrated on {low:.4g}..{high:.4g}; scale the data, or calibrate on it"
    )
