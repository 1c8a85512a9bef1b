"""netx: an HDF5 file run by lava-dl's own reader in the worker, compared with us layer by layer.

The graph is what `export.formats.lava_in` reads from the same file, so that this also proves the
reading. Each layer of netx lags by one step, but for an input layer with neurons, whose samples are
its biases; the reset follows the sample through the layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...export.formats.lava_layers import layers_of
from ...export.ir import Array, Conv2d, Delay, ExecutorError, Graph, Neuron, Output
from ...sim.reference import Reference
from ...sim.trace import NeuronTrace, Trace, join
from ...sim.verify import Difference, compare
from .environment import find
from .runner import MEMORY_LIMIT_MB, TIME_LIMIT_S, run_job
from .synapses import lava_order, message_bits


@dataclass(frozen=True, slots=True)
class NetxComparison:
    """What was compared: layers of netx, values, and the first difference if there is one."""

    layers: int
    values_compared: int
    first_difference: Difference | None

    @property
    def equal(self) -> bool:
        """Whether every spike, u and v agreed."""
        return self.first_difference is None


def compare_with_netx(
    path: Path,
    graph: Graph,
    x: Array,
    *,
    batch: int | None = None,
    time_limit_s: float = TIME_LIMIT_S,
    memory_limit_mb: int = MEMORY_LIMIT_MB,
) -> NetxComparison:
    """Run a file by netx on encoded values x [time, batch, *shape]; compare with the reference.

    Args:
        graph: what the file holds.
        batch: samples that one worker runs, all by default; the limits are those of one worker.

    Raises:
        ExecutorError: if netx cannot run it, or its resets cannot stand for a fresh start.
    """
    ours = Reference().prepare(graph).run(x)
    # netx keeps what a loop holds from sample to sample: those run one by one.
    alone = bool(graph.of_kind(Delay)) or _encodes(graph)
    each = 1 if alone else batch or x.shape[1]
    parts = [x[:, k : k + each] for k in range(0, x.shape[1], each)]
    limits: Any = {"time_limit_s": time_limit_s, "memory_limit_mb": memory_limit_mb}
    theirs = join([netx_trace(path, graph, part, **limits) for part in parts])
    result = compare(theirs, _like(ours, theirs), ("netx", "reference"))
    different = isinstance(result, Difference)
    layers = len(_layers(graph))
    return NetxComparison(layers, 0 if different else int(result), result if different else None)  # type: ignore[arg-type]


def netx_trace(
    path: Path, graph: Graph, x: Array, *, time_limit_s: float, memory_limit_mb: int
) -> Trace:
    """Return the trace that netx records, its lags taken off; u of every neuron."""
    _refuse_late_biases(graph)
    _refuse_older(path)
    time, batch = x.shape[:2]
    names, first = _layers(graph), 0 if _encodes(graph) else 1
    steps = time * batch + len(names)
    job: dict[str, Any] = {
        "kind": "netx",
        "file": str(path.resolve()),
        "input_message_bits": message_bits(graph.input.low or 0, graph.input.high or 1),
        "reset_interval": time,
        "reset_offset": first,  # a first layer with synapses lags by one step
        "steps": steps,
    }
    data = {"bias": _mantissas(graph, x)} if first == 0 else {"data": _data(graph, x, steps)}
    limits: Any = {"time_limit_s": time_limit_s, "memory_limit_mb": memory_limit_mb}
    found = run_job(find(), job, data, **limits).arrays

    def read(k: int, name: str, variable: str) -> Array:
        values = found[f"{k}/{variable}"].reshape(steps, -1)[k + first : k + first + time * batch]
        values = values[:, lava_order(graph.shapes[name])]
        shaped = values.reshape(batch, time, *graph.shapes[name])
        return np.asarray(shaped.swapaxes(0, 1), np.int32)

    neurons = {
        name: NeuronTrace(*(read(k, name, v) for v in ("s_out", "v", "u")))
        for k, name in enumerate(graph.neurons)
    }
    if names[-1] == graph.output_name:
        output = read(len(names) - 1, graph.output_name, "v")
    else:
        output = _counted(graph, neurons[names[-1]].spikes)
    return Trace(graph, "netx", x, output, neurons)


def _refuse_older(path: Path) -> None:
    for layer in layers_of(str(path)):
        if layer.kind == "recurrent":
            raise ExecutorError(
                f"layer {layer.number} is of the older slayer's type recurrent, which netx skips",
                node=str(path),
                remedy="run it with --executor lava, or write it anew with export --to lava",
            )


def _encodes(graph: Graph) -> bool:
    """Whether the input layer has neurons."""
    return any(graph.inputs(name) == (graph.input_name,) for name in graph.neurons)


def _mantissas(graph: Graph, x: Array) -> Array:
    """Return the biases of the input layer as netx has them: (x, y, channel), or a vector."""
    if (x != x[:1]).any():
        raise ExecutorError(
            "frames that change: netx's input layer holds one for the sample's steps",
            node=graph.input_name,
            remedy="run it with --executor lava, or give static samples",
        )
    return np.ascontiguousarray(x[0, 0].T, np.int32)


def _layers(graph: Graph) -> list[str]:
    """Return the neurons in netx's order, and the readout where it is a layer of its own."""
    counts = graph.output.readout == "spike_count"
    return [*graph.neurons, *([] if counts else [graph.output_name])]


def _counted(graph: Graph, spikes: Array) -> Array:
    """Return the count of netx's own last spikes [time, batch, *shape], in shifted units."""
    counts = spikes.astype(np.int64).cumsum(axis=0) << graph.output.state_shift
    limit = (1 << (graph.output.state_bits - 1)) - 1
    return np.asarray(np.minimum(counts, limit), np.int32)


def _like(ours: Trace, theirs: Trace) -> Trace:
    """Add u where a neuron of ours holds none: it is the current, and Lava shows it."""
    neurons = {}
    for name, neuron in ours.neurons.items():
        u = theirs.neurons[name].u if neuron.u is None else neuron.u
        neurons[name] = NeuronTrace(neuron.spikes, neuron.v, u)
    return Trace(ours.graph, ours.executor, ours.input, ours.output, neurons)


def _data(graph: Graph, x: Array, steps: int) -> Array:
    """Return x as a source of netx has it: a map (x, y, channel), or flat before a dense layer."""
    time, batch = x.shape[:2]
    first = next(iter(graph.of_kind(Neuron, Output)))
    maps = any(isinstance(node, Conv2d) for node in _before(graph, first))
    values = x.swapaxes(0, 1).reshape(batch * time, *x.shape[2:])
    shaped = values.transpose(0, 3, 2, 1) if maps else values.reshape(len(values), -1)
    padded = np.zeros((steps, *shaped.shape[1:]), np.int32)
    padded[: len(shaped)] = shaped
    return np.ascontiguousarray(np.moveaxis(padded, 0, -1))


def _before(graph: Graph, name: str) -> list[Any]:
    names, found = [name], []
    while names:
        sources = graph.inputs(names.pop())
        found += [graph.nodes[s] for s in sources]
        names += [s for s in sources if not isinstance(graph.nodes[s], (Delay, Neuron))]
    return found


def _refuse_late_biases(graph: Graph) -> None:
    """Behind a delay a bias, or a threshold below 0, acts and is heard before the input arrives."""
    if not graph.of_kind(Delay):
        return
    for name, node in graph.neurons.items():
        biased = node.bias is not None and bool(node.bias.any())
        if biased or (node.v_threshold < 0).any():
            what = "a bias" if biased else "a threshold below 0"
            raise ExecutorError(
                f"{what} in a network with delays: netx lets it act before the input arrives",
                node=name,
                remedy="run it with --executor lava, which lets it wait",
            )
