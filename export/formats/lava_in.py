"""Lava HDF5 in: lava-dl's netx files (slayer's `export_hdf5`, and our own) as integer graphs.

The file is read as netx computes it: weights as they are after netx's rescaling and Lava's
truncation, du = iDecay, dv = vDecay, threshold vThMant << 6, bias << 6, hard reset, u wrapping at
24 bits. What netx skips without a word, or crashes on, is refused by layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..ir import (
    PROFILES,
    Add,
    Array,
    Conv2d,
    Delay,
    Edge,
    Flatten,
    FormatError,
    Graph,
    GraphError,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    Shape,
    check,
)
from ..ir.arith import DECAY_ONE
from .lava_fields import bias_of, neuron_fields
from .lava_layers import FIELD_LIMIT, Layer, layers_of
from .lava_rules import (
    BIAS_HIGH,
    BIAS_LOW,
    STATE_BITS,
    STATE_SHIFT,
    THRESHOLD_LIMIT,
)
from .lava_weights import conv_problem, int8_parts, netx_weights

WEIGHT_LIMIT = 1 << 15
RECURRENT = {"dense_rec": "weight_rec", "recurrent": "recWeight"}
"""Layers that hear their own spikes, by the type that slayer of lava-dl and the older one write,
and the weights of these."""
DELAY_LIMIT = 62
"""Steps that netx holds a synapse back by at most; it clamps what is more."""


def read_lava(path: str | Path, entry: Input | None = None) -> Graph:
    """Return the integer graph of a netx HDF5 file.

    `entry` stands for the file's input, which says a shape and no more: by default plain spikes.

    A last layer that never fires is a readout: one as we write it (vThMant 2^17 - 1, u forgotten at
    once, v kept), one whose vThMant is 2^17 or more (slayer's Affine), or one that has no neurons.
    Otherwise the spikes of the last layer are counted.

    Raises:
        FormatError: naming the file and layer that netx would skip, change or crash on.
    """
    layers = layers_of(str(path))
    first = next((layer.kind for layer in layers if layer.kind not in ("input", "flatten")), "")
    built = _Built(str(path), len(layers) - 1, first)
    for layer in layers:
        READERS[layer.kind](built, layer)
    try:
        graph = built.graph()
        if entry is not None:
            graph = graph.replace({**graph.nodes, graph.input_name: entry})
        return check(graph)
    except GraphError as error:
        reason = f"{error.node}: {error.reason}" if error.node else error.reason
        raise FormatError(reason, node=str(path), remedy=error.remedy) from None


class _Built:
    """The graph so far: `here` is the node that the next layer reads, of `shape`."""

    def __init__(self, path: str, last: int, first: str) -> None:
        self.path, self.last, self.first = path, last, first
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.here = ""
        self.shape: Shape = ()

    def put(self, name: str, node: Node, *sources: str) -> None:
        """Append a node that reads `sources`, or the last one."""
        feeding = sources or ((self.here,) if self.here else ())
        self.nodes[name], self.here = node, name
        self.edges += [Edge(source, name, port) for port, source in enumerate(feeding)]

    def start(self, shape: Shape) -> None:
        """Put the Input where the file has none."""
        if not self.nodes:
            self.put("input", Input(shape, "spikes", low=0, high=1))
            self.shape = shape

    @property
    def computes(self) -> bool:
        """Whether a layer that computes came before."""
        return len(self.nodes) > 0 and not isinstance(self.nodes[self.here], (Input, Flatten))

    def graph(self) -> Graph:
        """Return the graph with its readout."""
        if self.here not in self.nodes or not isinstance(self.nodes[self.here], (Neuron, Output)):
            raise FormatError("holds no layer that computes at its end", node=self.path)
        if not isinstance(self.nodes[self.here], Output):
            counted = Output("spike_count", state_shift=STATE_SHIFT, state_bits=STATE_BITS)
            self.put("output", counted)
        metadata = {"source": Path(self.path).name}
        return Graph(self.nodes, self.edges, "integer", PROFILES["loihi2"], metadata)


def _input(built: _Built, layer: Layer) -> None:
    if built.nodes:
        raise layer.refuse("an input layer that is not the first", "leave it out")
    shape = tuple(layer.whole("shape", 1, FIELD_LIMIT).reshape(-1).tolist())
    # Our own files write a vector as a map of one place.
    vector = built.first != "conv" and shape[:-1] == (1,) * (len(shape) - 1)
    shape = shape[-1:] if vector else shape
    if not layer.has_neurons:
        built.start(shape)
        return
    built.put("input", _transformed(layer, shape))
    built.shape = shape
    _encoder(built, layer)


def _transformed(layer: Layer, shape: Shape) -> Input:
    """Return the input of an encoding layer: the bias mantissa weight x + bias of raw samples x.

    netx holds the two as the layer's `transform` (64 and 0 where the file says none) and takes what
    a user's script makes of them: a whole number, which Lava holds as int16.
    """
    weight = layer.one("weight", BIAS_LOW, BIAS_HIGH) if "weight" in layer else 1 << STATE_SHIFT
    if weight < 1:
        raise layer.refuse(
            f"an input weight of {weight}", "turn the sign of the samples, so that it is above 0"
        )
    bias = layer.one("bias", BIAS_LOW, BIAS_HIGH) if "bias" in layer else 0
    mean, std = np.asarray(-bias / weight), np.asarray(1 / weight)
    return Input(shape, "direct", scale=1.0, low=BIAS_LOW, high=BIAS_HIGH, mean=mean, std=std)


def _encoder(built: _Built, layer: Layer) -> None:
    """Put the neurons of an input layer: Lava adds the mantissa to v, past u, at each step."""
    du, dv, mantissa = neuron_fields(layer, built.shape)
    if (du != DECAY_ONE).any():
        raise layer.refuse(
            f"input neurons whose u decays by {int(du.min())}: slayer filters the input through u,"
            " netx adds it to v",
            f"train the input layer with a current decay of 1 (iDecay {DECAY_ONE})",
        )
    _put_neuron(built, layer, mantissa, dv=dv)


def _flatten(built: _Built, layer: Layer) -> None:
    if built.computes and len(built.shape) != 3:
        raise layer.refuse("flattens a vector, which netx crashes on", "leave the layer out")
    if len(built.shape) == 3:
        built.put(f"flatten{layer.number}", Flatten())
        built.shape = (int(np.prod(built.shape)),)


def _dense(built: _Built, layer: Layer) -> None:
    out = int(np.prod(layer.whole("shape", 1, FIELD_LIMIT)))
    weight = _matrix(layer, "weight", out)
    back = RECURRENT.get(layer.kind)
    recurrent = None if back is None else _matrix(layer, back, out)
    both = weight if recurrent is None else np.hstack([weight, recurrent])
    used = netx_weights(both)
    if used is None:
        raise layer.refuse("weights that netx crashes on", "leave the layer out")
    built.start((weight.shape[1],))
    if len(built.shape) > 1 and built.computes:
        raise layer.refuse(
            f"reads a map of {built.shape}, on which netx crashes", "put a flatten before it"
        )
    _flatten_input(built, layer)
    if built.shape != (weight.shape[1],):
        raise layer.refuse(
            f"weight is {list(weight.shape)}, {int(np.prod(built.shape))} values arrive",
            "give it as many columns",
        )
    name, number = f"dense{layer.number}", layer.number
    _delays(built, layer)
    built.shape = (out,)
    _weights(built, name, _linears(layer, used[:, : weight.shape[1]]))
    if recurrent is None:
        _neuron(built, layer)
        return
    if recurrent.shape != (out, out):
        raise layer.refuse(
            f"{back} is {list(recurrent.shape)}, expected {[out, out]}", "write it again"
        )
    forward = built.here
    built.nodes[f"delay{number}"] = Delay((out,), 1)
    built.here = f"delay{number}"
    _weights(built, f"back{number}", _linears(layer, used[:, weight.shape[1] :]))
    built.put(f"add{number}", Add(), forward, built.here)
    _neuron(built, layer)
    built.edges.append(Edge(built.here, f"delay{number}"))


def _matrix(layer: Layer, name: str, out: int) -> Array:
    values = layer.whole(name, -WEIGHT_LIMIT, WEIGHT_LIMIT - 1)
    if values.size % out or (values.ndim > 1 and values.shape[0] != out):
        raise layer.refuse(f"{name} is {list(values.shape)} for {out} neurons", "write it again")
    return values.reshape(out, -1)


def _flatten_input(built: _Built, layer: Layer) -> None:
    if len(built.shape) > 1:
        built.put(f"flatten{layer.number}", Flatten())
        built.shape = (int(np.prod(built.shape)),)


def _conv(built: _Built, layer: Layer) -> None:
    if not built.shape:
        raise layer.refuse("a convolution whose input shape is not said", "add an input layer")
    if len(built.shape) != 3:
        raise layer.refuse(
            f"a convolution of {list(built.shape)} values, on which netx crashes",
            "put it before the first dense layer",
        )
    weight = layer.whole("weight", -WEIGHT_LIMIT, WEIGHT_LIMIT - 1)
    if weight.ndim not in (4, 5) or weight.size != np.prod(weight.shape[:4]):
        reason = f"weight is {list(weight.shape)}, expected [out, in / groups, y, x]"
        raise layer.refuse(reason, "write it again")
    if "delay" in layer and layer.whole("delay", 0, FIELD_LIMIT).any():
        most = layer.whole("delay", 0, FIELD_LIMIT).max()
        raise layer.refuse(
            f"delays of up to {most} steps, which netx ignores behind a convolution",
            "train without axonal delays",
        )
    fields: dict[str, Any] = {
        "stride": _pair(layer, "stride", 1),
        "padding": _pair(layer, "padding", 0),
        "dilation": _pair(layer, "dilation", 1),
        "groups": layer.one("groups", 1, FIELD_LIMIT),
    }
    parts = [
        Conv2d(codes, weight_shift=shift, bits=8, **fields)
        for codes, shift in int8_parts(weight.reshape(weight.shape[:4]))
    ]
    problem = conv_problem(parts[0])
    if problem is not None:
        raise layer.refuse(*problem)
    _weights(built, f"conv{layer.number}", parts)
    built.shape = tuple(layer.whole("shape", 1, FIELD_LIMIT).reshape(-1).tolist())
    _neuron(built, layer)


READERS: dict[str, Callable[[_Built, Layer], None]] = {
    "input": _input,
    "flatten": _flatten,
    "dense": _dense,
    "dense_rec": _dense,
    "recurrent": _dense,
    "conv": _conv,
}


def _pair(layer: Layer, name: str, low: int) -> tuple[int, int]:
    found = layer.whole(name, low, FIELD_LIMIT).reshape(-1).tolist()
    if len(found) > 2:
        raise layer.refuse(f"{name} holds {len(found)} values, expected 2", "write it again")
    return (found[0], found[-1])


def _linears(layer: Layer, used: Array) -> list[Linear]:
    whole = np.rint(used)
    if (whole != used).any():
        broken = float(used[whole != used].flat[0])
        raise layer.refuse(f"netx computes with a weight of {broken:g}", "use fewer bits")
    parts = int8_parts(whole.astype(np.int64))
    return [Linear(codes, weight_shift=shift, bits=8) for codes, shift in parts]


def _weights(built: _Built, name: str, parts: Sequence[Linear | Conv2d]) -> None:
    """Put one node; weights that no int8 << shift holds are the sum of several."""
    source = built.here
    names = [name, *(f"{name}_low{k}" for k in range(1, len(parts)))]
    for part_name, part in zip(names, parts, strict=True):
        built.put(part_name, part, source)
    if len(names) > 1:
        built.put(f"{name}_sum", Add(), *names)


def _delays(built: _Built, layer: Layer) -> None:
    """Put the delay of a dense layer's synapses, which netx holds back by 1 + delay steps."""
    if "delay" not in layer:
        return
    steps = layer.whole("delay", 0, DELAY_LIMIT)
    if not steps.any():
        return
    if (steps != steps.flat[0]).any() or layer.kind in RECURRENT:
        raise layer.refuse(
            f"delays of up to {steps.max()} steps", "train with one delay a layer, or with none"
        )
    built.put(f"hold{layer.number}", Delay(built.shape, int(steps.flat[0])))


def _neuron(built: _Built, layer: Layer) -> None:
    last = layer.number == built.last
    bias = bias_of(layer, built.shape) if "bias" in layer else None
    if not layer.has_neurons:
        _no_neuron(built, layer, bias, last)
        return
    du, dv, mantissa = neuron_fields(layer, built.shape)
    ours = (mantissa == THRESHOLD_LIMIT).all() and not dv.any() and (du == DECAY_ONE).all()
    if last and (ours or (mantissa > THRESHOLD_LIMIT).all()):
        if (du != DECAY_ONE).any():
            raise layer.refuse(
                f"never fires, and its u decays by {int(du.min())}: a readout has no u",
                f"train the last layer with a current decay of 1 (iDecay {DECAY_ONE})",
            )
        _readout(built, bias, dv)
        return
    _put_neuron(built, layer, mantissa, dv=dv, du=du, bias=bias)


def _put_neuron(built: _Built, layer: Layer, mantissa: Array, **fields: Any) -> None:
    threshold = mantissa << STATE_SHIFT
    node = Neuron(
        built.shape, threshold, state_shift=STATE_SHIFT, state_bits=STATE_BITS, u_range="wrap"
    )
    built.put(f"neuron{layer.number}", replace(node, **fields))


def _no_neuron(built: _Built, layer: Layer, bias: Array | None, last: bool) -> None:
    """netx sums the currents of a dense layer without neurons (slayer's Affine) for ever."""
    if layer.kind == "conv" or not last:
        raise layer.refuse(
            "has no neurons" + ("" if last else ", and is not the last"), "export it with neurons"
        )
    if bias is not None and bias.any():
        raise layer.refuse(
            "a bias without neurons, which netx adds once and not at each step", "leave it out"
        )
    _readout(built, None, np.zeros((), np.int32))


def _readout(built: _Built, bias: Array | None, dv: Array) -> None:
    kind: Any = "leaky" if dv.any() else "integrate"
    node = Output(kind, bias, state_shift=STATE_SHIFT, state_bits=STATE_BITS)
    built.put("output", replace(node, dv=dv) if dv.any() else node)
