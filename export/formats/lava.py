"""Lava HDF5 out: the layout that lava-dl's netx reads (lava-dl 0.6.0), for sequential networks.

A layer may hear its own spikes of the step before through weights (netx's dense_rec).

netx skips layers it does not know without a word, so whatever it cannot hold is refused here, by
node. What it computes: u decays by iDecay, v by vDecay, `v > vThMant << 6`, hard reset to 0, bias
in multiples of 2^6, 24-bit state; each layer lags by one step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..ir import (
    Add,
    Array,
    Conv2d,
    Delay,
    Flatten,
    FormatError,
    Graph,
    Input,
    Linear,
    MissingPackageError,
    Neuron,
    Node,
    Output,
    Shape,
)
from ..ir.arith import DECAY_ONE
from ..ir.uneven_padding import evenly_padded
from .atomic import atomic_path
from .lava_in import read_lava
from .lava_rules import (
    BIAS_HIGH,
    BIAS_LOW,
    LOWER,
    STATE_BITS,
    STATE_SHIFT,
    THRESHOLD_LIMIT,
    THRESHOLD_LOW,
    neuron_problems,
)
from .lava_weights import conv_problem, netx_weights

Reason = tuple[str, str, str]
"""Node, reason, remedy."""
_KINDS: dict[str, str] = {
    "Add": "netx has no additions; use a feed-forward network (residual rule none)",
    "MaxPool": "Lava has no max-pooling; use strided convolutions",
    "SumPool": "netx has no pooling; use strided convolutions",
    "MatMul": "Lava has no attention; use a convolutional network",
    "Scale": "use a feed-forward network (residual rule none)",
    "Delay": "netx knows one loop: spikes of the step before, by a Linear, onto their layer",
    "Conv1d": "netx convolves over two axes; use Conv2d with height 1",
    "Reshape": "only flattening can be said",
    "Transpose": "only flattening can be said",
}


def why_not_lava(graph: Graph) -> list[Reason]:
    """Return, by node, why netx cannot hold an integer graph; empty if it can."""
    if graph.level != "integer":
        return [("network", f"is {graph.level}, Lava takes integers", LOWER)]
    found: list[Reason] = []
    for name, node in graph.nodes.items():
        found += [(name, reason, remedy) for reason, remedy in _problems(graph, name, node)]
    return found


@dataclass(frozen=True, slots=True)
class Loop:
    """A layer that hears itself: neuron -> delay (1 step) -> back -> add <- forward."""

    forward: str
    back: str
    add: str
    delay: str
    neuron: str


def loops(graph: Graph) -> list[Loop]:
    """Return the loops of the one form that netx has."""
    found = []
    for add in graph.of_kind(Add):
        sources, targets = graph.inputs(add), graph.consumers(add)
        for forward, back in (sources, sources[::-1]) if len(sources) == 2 else ():
            delay = graph.inputs(back)[0] if isinstance(graph.nodes[back], Linear) else add
            held = graph.nodes[delay]
            once = isinstance(held, Delay) and held.steps == 1
            linear = isinstance(graph.nodes[forward], Linear)
            own = graph.inputs(delay) == targets and targets[0] in graph.neurons
            if once and linear and own:
                found.append(Loop(forward, back, add, delay, targets[0]))
                break
    return found


def _problems(graph: Graph, name: str, node: Node) -> Iterator[tuple[str, str]]:
    looped = loops(graph)
    if node.kind in _KINDS and not any(name in (loop.add, loop.delay) for loop in looped):
        yield f"{node.kind} cannot be written", _KINDS[node.kind]
        return
    targets = [t for t in graph.consumers(name) if t not in {loop.delay for loop in looped}]
    if len(targets) > 1:
        yield f"feeds {len(targets)} nodes, netx is sequential", _KINDS["Add"]
    if isinstance(node, Input) and len(node.shape) == 2:
        yield f"input of shape {node.shape}, netx takes (features) or (C, y, x)", "reshape the data"
    if isinstance(node, (Linear, Conv2d)):
        yield from _weight_problems(graph, name, node, looped)
    if isinstance(node, (Neuron, Output)):
        yield from _place_problems(graph, name, node, looped)
    if isinstance(node, Neuron):
        yield from _neuron_problems(node)
        if _is_readout(node) and any(isinstance(graph.nodes[t], Output) for t in targets):
            yield "never fires: it would be read as a readout", "use the readout integrate"
    if isinstance(node, Output):
        yield from _output_problems(node)


def _scaled_problems(
    graph: Graph, name: str, node: Linear | Conv2d, loop: Loop | None
) -> Iterator[tuple[str, str]]:
    """netx rescales dense weights before it hands them to Lava; whatever that would change."""
    if not node.weight.any():
        yield "all weights are 0, on which netx overflows", "leave the layer out, or train it"
    elif isinstance(node, Linear):
        names = (name,) if loop is None else (name, loop.back)
        together = np.concatenate([_whole(graph.nodes[n]).reshape(-1) for n in names])
        used = netx_weights(together)
        if used is None:
            yield "netx cannot scale these weights", "use fewer --bits"
        elif (used != together).any():
            k = int(np.flatnonzero(used != together)[0])
            yield f"netx would take a weight of {together[k]} for {used[k]:g}", "use fewer --bits"


def _whole(node: Node) -> Array:
    """Return the weights with their shift."""
    assert isinstance(node, (Linear, Conv2d))
    return node.weight.astype(np.int32) << node.weight_shift


def _weight_problems(
    graph: Graph, name: str, node: Linear | Conv2d, looped: list[Loop]
) -> Iterator[tuple[str, str]]:
    if any(name == loop.back for loop in looped):
        return
    loop = next((loop for loop in looped if loop.forward == name), None)
    target = graph.nodes[graph.consumers(name)[0] if loop is None else loop.neuron]
    if not isinstance(target, (Neuron, Output)):
        yield f"feeds a {target.kind}, netx needs a neuron behind weights", "put one there"
    if isinstance(target, Output) and target.readout == "spike_count":
        yield "feeds a count of spikes, netx needs a neuron behind weights", "put one there"
    if isinstance(node, Linear) and len(graph.shapes[name]) > 1:
        yield f"weighs each of {graph.shapes[name][:-1]}, netx only one vector", "flatten before it"
    problem = conv_problem(evenly_padded(node)) if isinstance(node, Conv2d) else None
    if problem is not None:
        yield problem
    yield from _scaled_problems(graph, name, node, loop)


def _place_problems(
    graph: Graph, name: str, node: Neuron | Output, looped: list[Loop]
) -> Iterator[tuple[str, str]]:
    """netx has neurons behind weights only, and one bias a channel."""
    source = graph.nodes[graph.inputs(name)[0]]
    behind = isinstance(source, (Linear, Conv2d)) or any(name == loop.neuron for loop in looped)
    if not behind and (isinstance(node, Neuron) or node.readout == "integrate"):
        yield f"stands behind a {source.kind}, netx needs weights before it", "put a Linear there"
    if node.bias is not None and _channels(node.bias, graph.shapes[name]) is None:
        yield "bias varies within a channel, netx has one a channel", LOWER


def _channels(bias: Array, shape: Shape) -> Array | None:
    """Return the one bias of each channel (of each neuron in a vector), or None."""
    rows = np.broadcast_to(bias, shape).reshape(shape[0], -1)
    same: Array = rows[:, 0]
    return same if (rows == rows[:, :1]).all() else None


def _neuron_problems(node: Neuron) -> Iterator[tuple[str, str]]:
    yield from neuron_problems(node)
    if node.compare != ">":
        yield f"compare is {node.compare}, Lava has >", LOWER
    if node.bias_in is not None:
        yield f"bias_in is {node.bias_in}, netx has none", LOWER
    for field in ("v_threshold", "dv", "du"):
        array = getattr(node, field)
        if array is not None and array.size > 1:
            yield f"{field} varies within the layer", LOWER
    yield from _steps("v_threshold", node.v_threshold, THRESHOLD_LOW, THRESHOLD_LIMIT)
    yield from _steps("bias", node.bias, BIAS_LOW, BIAS_HIGH)


def _is_readout(node: Neuron) -> bool:
    """Whether a last layer of these neurons is what we write for an `integrate` readout."""
    forgets = node.du is None or bool((node.du == DECAY_ONE).all())
    keeps = node.dv is None or not node.dv.any()
    return forgets and keeps and bool((node.v_threshold >> STATE_SHIFT == THRESHOLD_LIMIT).all())


def _steps(what: str, values: Array | None, low: int, high: int) -> Iterator[tuple[str, str]]:
    """A value in multiples of 2^6, within the mantissa's width."""
    if values is None:
        return
    if (values % (1 << STATE_SHIFT)).any():
        yield f"{what} is no multiple of {1 << STATE_SHIFT}", LOWER
        return
    lowest, highest = (values >> STATE_SHIFT).min(), (values >> STATE_SHIFT).max()
    if highest > high:
        yield f"{what} {highest} exceeds {high}", "use fewer --bits"
    elif lowest < low:
        yield f"{what} {lowest} is below {low}", "use fewer --bits"


def _output_problems(node: Output) -> Iterator[tuple[str, str]]:
    if node.readout == "leaky" or node.readout == "none":
        yield f"readout {node.readout}", "use integrate or spike_count"
    if node.readout == "integrate":
        if (node.state_shift, node.state_bits) != (STATE_SHIFT, STATE_BITS):
            yield f"a {node.state_bits}-bit readout of shift {node.state_shift}", LOWER
        yield from _steps("bias", node.bias, BIAS_LOW, BIAS_HIGH)


def write_lava(graph: Graph, path: str | Path, *, force: bool = False) -> None:
    """Write a sequential integer graph as netx HDF5; read back and compared before it stands.

    An `integrate` readout becomes a neuron whose threshold is the largest there is (17 bits): read
    its v, which is the readout while |v| stays below 2^23 - 64.

    Raises:
        FormatError: naming every node that netx cannot hold, or an existing file.
    """
    reasons = why_not_lava(graph)
    if reasons:
        node, reason, remedy = reasons[0]
        raise FormatError(f"{reason}{_others(reasons[1:])}", node=node, remedy=remedy)
    layers = _layers(graph)
    with atomic_path(path, force=force) as temporary:
        _write(temporary, layers)
        _compare(temporary, layers, graph)


def _others(reasons: list[Reason]) -> str:
    """Return the other nodes that are refused, those of one reason together, with its remedy."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for node, reason, remedy in reasons:
        by_reason.setdefault((reason, remedy), []).append(node)
    said = [f"{', '.join(nodes)}: {what}; {do}" for (what, do), nodes in by_reason.items()]
    return f" (refused too: {' | '.join(said)})" if said else ""


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingPackageError.of("h5py", "write Lava HDF5", "pip install h5py") from None
    return h5py


Layer = dict[str, Any]
"""Dataset path within the layer -> value."""


def _layers(graph: Graph) -> list[Layer]:
    found: list[Layer] = []
    looped = loops(graph)
    for name, node in graph.nodes.items():
        if isinstance(node, Input):
            entering = node.shape if len(node.shape) == 3 else (1, 1, node.shape[-1])
            found.append({"type": _type("input"), "shape": np.array(entering)})
        elif isinstance(node, Flatten) and len(graph.shapes[graph.inputs(name)[0]]) > 1:
            found.append({"type": _type("flatten"), "shape": np.array(graph.shapes[name])})
        elif isinstance(node, (Linear, Conv2d)):
            if any(loop.back == name for loop in looped):
                continue
            loop = next((loop for loop in looped if loop.forward == name), None)
            behind = graph.nodes[graph.consumers(name)[0] if loop is None else loop.neuron]
            assert isinstance(behind, (Neuron, Output))
            weights = _dense(node) if isinstance(node, Linear) else _conv(node)
            if loop is not None:
                weights["weight_rec"] = _whole(graph.nodes[loop.back])
                weights["type"] = _type("dense_rec")
            shape = graph.shapes[name]
            found.append({**weights, **_neuron(behind, shape), "shape": np.array(shape)})
    return found


def _type(name: str) -> Array:
    return np.array([name], "S10")


def _dense(node: Linear) -> Layer:
    out, fan_in = node.weight.shape
    return {
        "type": _type("dense"),
        "weight": _whole(node),
        "inFeatures": np.array([fan_in]),
        "outFeatures": np.array([out]),
    }


def _conv(node: Conv2d) -> Layer:
    node = evenly_padded(node)  # which has one number for both ends
    out, per_group, *kernel = node.weight.shape
    return {
        "type": _type("conv"),
        "weight": _whole(node),
        "inChannels": np.array([per_group * node.groups]),
        "outChannels": np.array([out]),
        "kernelSize": np.array(kernel),
        "stride": np.array(node.stride),
        "padding": np.array(node.padding),
        "dilation": np.array(node.dilation),
        "groups": np.array(node.groups),
    }


def _neuron(node: Neuron | Output, shape: Shape) -> Layer:
    if isinstance(node, Output):
        fields = {"iDecay": DECAY_ONE, "vDecay": 0, "vThMant": THRESHOLD_LIMIT}
    else:
        fields = {
            "iDecay": DECAY_ONE if node.du is None else int(node.du.flat[0]),
            "vDecay": 0 if node.dv is None else int(node.dv.flat[0]),
            "vThMant": int(node.v_threshold.flat[0]) >> STATE_SHIFT,
        }
    layer: Layer = {f"neuron/{key}": np.array(value) for key, value in fields.items()}
    layer["neuron/type"] = _type("CUBA")
    layer["neuron/refDelay"] = np.array(1)
    layer["neuron/gradedSpike"] = np.array(False)
    bias = None if node.bias is None else _channels(node.bias, shape)
    if bias is not None:
        layer["bias"] = (bias >> STATE_SHIFT).astype(np.int32)
    return layer


def _write(path: Path, layers: list[Layer]) -> None:
    """Write layers: made in memory, since libhdf5 does not survive a disk that is full."""
    made = BytesIO()
    with _h5py().File(made, "w", track_order=False) as file:
        for k, layer in enumerate(layers):
            for key, value in sorted(layer.items()):
                # No creation times: the same graph gives the same bytes.
                file.create_dataset(f"layer/{k}/{key}", data=value, track_times=False)
    path.write_bytes(made.getbuffer())


def _compare(path: Path, layers: list[Layer], graph: Graph) -> None:
    """Read the file as a user would, and compare what stands in it and what it is read as."""
    back = read_lava(path, graph.input)
    for k, (found, layer) in enumerate(zip(_layers(back), layers, strict=True)):
        for key in sorted({*found, *layer}):
            if not np.array_equal(found.get(key, ()), layer.get(key, ())):
                raise FormatError(f"layer {k} {key} came back changed", node=str(path))
    if back.output.readout != graph.output.readout:
        raise FormatError(f"read back as a {back.output.readout} readout", node=str(path))
