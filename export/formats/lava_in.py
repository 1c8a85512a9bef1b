"""Lava HDF5 in: lava-dl's netx files (slayer's `export_hdf5`, and our own) as integer graphs.

The file is read as netx computes it: weights as they are after netx's rescaling and Lava's
truncation, du = iDecay, dv = vDecay, threshold vThMant << 6, bias << 6, hard reset, u wrapping at
24 bits. What netx skips without a word, or crashes on, is refused by layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    Input,
    Linear,
    MissingPackageError,
    Neuron,
    Node,
    Output,
    check,
)
from ..ir.arith import DECAY_ONE
from .lava import STATE_BITS, STATE_SHIFT, THRESHOLD_LIMIT
from .lava_weights import conv_problem, netx_weights

Layer = Mapping[str, Any]
_REFUSED = {
    "pool": "train with strided convolutions",
    "average": "train with strided convolutions",
    "unpool": "netx runs no decoders",
    "convT": "netx runs no decoders",
    "concat": "netx runs sequential networks",
    "dense_comp": "use real weights",
}
_READ = ("input", "flatten", "dense", "dense_rec", "conv")


def read_lava(path: str | Path, entry: Input | None = None) -> Graph:
    """Return the integer graph of a netx HDF5 file.

    `entry` stands for the file's input, which says a shape and no more: by default plain spikes.

    A last layer that never fires (vThMant 2^17 - 1, u forgotten at once, v kept) is an `integrate`
    readout, as we write it; otherwise the spikes of the last layer are counted.

    Raises:
        FormatError: naming the file and layer that netx would skip, change or crash on.
    """
    layers = _layers(str(path))
    built = _Built(str(path))
    for number, layer in enumerate(layers):
        READERS[layer["type"]](built, number, layer)
    graph = built.graph()
    if entry is not None:
        graph = graph.replace({**graph.nodes, graph.input_name: entry})
    return check(graph)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingPackageError.of("h5py", "read Lava HDF5", "pip install h5py") from None
    return h5py


def _layers(path: str) -> list[dict[str, Any]]:
    if not Path(path).is_file():
        raise FormatError("no such file", node=path)
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            group = file["layer"]
            numbers = sorted(int(name) for name in group)
            return [_layer(path, number, group[str(number)], h5py) for number in numbers]
    except FormatError:
        raise
    except Exception as error:  # h5py has many ways to say that a file is damaged
        raise FormatError(
            f"no readable netx file ({type(error).__name__}: {error})", node=path
        ) from None


def _layer(path: str, number: int, group: Any, h5py: Any) -> dict[str, Any]:
    """Return the datasets of a layer by their path in it."""
    found: dict[str, Any] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    group.visititems(take)
    for name in ("type", "neuron/type"):
        if name in found:
            value = np.asarray(found[name]).reshape(-1)[0]
            found[name] = value.decode("ascii") if isinstance(value, bytes) else str(value)
    kind = found.get("type")
    if kind not in _READ:
        remedy = _REFUSED.get(str(kind), "netx would skip it without a word; leave it out")
        raise FormatError(f"layer {number}: type {kind!r}", node=path, remedy=remedy)
    return found


class _Built:
    """The graph so far: `here` is the node that the next layer reads, of `shape`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.here = ""
        self.shape: tuple[int, ...] = ()

    def refuse(self, number: int, reason: str, remedy: str) -> FormatError:
        """Return the error of a layer."""
        return FormatError(f"layer {number}: {reason}", node=self.path, remedy=remedy)

    def put(self, name: str, node: Node, *sources: str) -> None:
        """Append a node that reads `sources`, or the last one."""
        feeding = sources or ((self.here,) if self.here else ())
        self.nodes[name], self.here = node, name
        self.edges += [Edge(source, name, port) for port, source in enumerate(feeding)]

    def start(self, number: int, shape: tuple[int, ...]) -> None:
        """Put the Input where the file has none."""
        if not self.nodes:
            self.put("input", Input(shape, "spikes", low=0, high=1))
            self.shape = shape

    def graph(self) -> Graph:
        """Return the graph with its readout."""
        if self.here not in self.nodes or not isinstance(self.nodes[self.here], (Neuron, Output)):
            raise FormatError("holds no layer that computes", node=self.path)
        if not isinstance(self.nodes[self.here], Output):
            counted = Output("spike_count", state_shift=STATE_SHIFT, state_bits=STATE_BITS)
            self.put("output", counted)
        metadata = {"source": Path(self.path).name}
        return Graph(self.nodes, self.edges, "integer", PROFILES["loihi2"], metadata)


def _input(built: _Built, number: int, layer: Layer) -> None:
    if "neuron/type" in layer:
        raise built.refuse(
            number, "an input layer with neurons of its own", "export from the first dense or conv"
        )
    shape = tuple(int(n) for n in np.asarray(layer["shape"]).reshape(-1))
    # Our own files write a vector as a map of one place.
    built.start(number, shape[-1:] if shape[:-1] == (1,) * (len(shape) - 1) else shape)


def _flatten(built: _Built, number: int, layer: Layer) -> None:
    if len(built.shape) == 3:
        built.put(f"flatten{number}", Flatten())
        built.shape = (int(np.prod(built.shape)),)


def _dense(built: _Built, number: int, layer: Layer) -> None:
    out = int(np.prod(layer["shape"]))
    weight = np.asarray(layer["weight"]).astype(np.int64).reshape(out, -1)
    back = layer.get("weight_rec")
    recurrent = None if back is None else np.asarray(back).astype(np.int64).reshape(out, -1)
    both = weight if recurrent is None else np.hstack([weight, recurrent])
    used = netx_weights(both)
    if used is None:
        raise built.refuse(number, "weights that netx crashes on", "leave the layer out")
    codes, shift = _codes(built, number, used)
    built.start(number, (weight.shape[1],))
    _flatten(built, number, layer)
    built.shape = (out,)
    _refuse_delays(built, number, layer)
    name = f"dense{number}"
    built.put(name, Linear(codes[:, : weight.shape[1]], weight_shift=shift, bits=8))
    if recurrent is None:
        _neuron(built, number, layer)
        return
    built.put(f"delay{number}", Delay((out,), 1), "")
    built.edges.pop()
    built.put(f"back{number}", Linear(codes[:, weight.shape[1] :], weight_shift=shift, bits=8))
    built.put(f"add{number}", Add(), name, f"back{number}")
    _neuron(built, number, layer)
    built.edges.append(Edge(built.here, f"delay{number}"))


def _conv(built: _Built, number: int, layer: Layer) -> None:
    if not built.shape:
        raise built.refuse(
            number, "a convolution whose input shape is not said", "add an input layer"
        )
    weight = np.asarray(layer["weight"])
    codes, shift = _codes(built, number, weight.reshape(weight.shape[:4]))
    _refuse_delays(built, number, layer)
    node = Conv2d(
        codes,
        stride=_pair(layer["stride"]),
        padding=_pair(layer["padding"]),
        dilation=_pair(layer["dilation"]),
        groups=int(np.asarray(layer["groups"]).reshape(-1)[0]),
        weight_shift=shift,
        bits=8,
    )
    problem = conv_problem(node)
    if problem is not None:
        raise built.refuse(number, *problem)
    built.put(f"conv{number}", node)
    built.shape = tuple(int(n) for n in np.asarray(layer["shape"]).reshape(-1))
    _neuron(built, number, layer)


READERS: dict[str, Callable[[_Built, int, Layer], None]] = {
    "input": _input,
    "flatten": _flatten,
    "dense": _dense,
    "dense_rec": _dense,
    "conv": _conv,
}


def _pair(value: Any) -> tuple[int, int]:
    found = [int(n) for n in np.asarray(value).reshape(-1)]
    return (found[0], found[-1])


def _codes(built: _Built, number: int, weights: Array) -> tuple[Array, int]:
    """Return int8 codes and the left shift that makes them the weights."""
    for shift in range(16):
        whole = weights / 2.0**shift
        if (whole != np.rint(whole)).any():
            break
        if whole.min() >= -128 and whole.max() <= 127:
            return whole.astype(np.int8), shift
    raise built.refuse(
        number,
        f"weights from {weights.min():g} to {weights.max():g} that are no int8 << shift",
        "train with 8-bit weights",
    )


def _refuse_delays(built: _Built, number: int, layer: Layer) -> None:
    """Refuse axonal delays: netx applies them in dense layers and ignores them in others."""
    delay = np.asarray(layer.get("delay", 0)).astype(np.int64)
    if delay.any():
        raise built.refuse(
            number, f"delays of up to {delay.max()} steps", "train without axonal delays"
        )


def _neuron(built: _Built, number: int, layer: Layer) -> None:
    kind = layer.get("neuron/type")
    if kind not in ("CUBA", "LOIHI"):
        raise built.refuse(number, f"neurons of type {kind}", "CUBA (or LOIHI) neurons are read")
    field = {name: int(np.asarray(layer[f"neuron/{name}"]).reshape(-1)[0]) for name in _FIELDS}
    bias = layer.get("bias")
    shifted = None if bias is None else _bias(np.asarray(bias), built.shape)
    du, dv, threshold = field["iDecay"], field["vDecay"], field["vThMant"]
    if (du, dv, threshold) == (DECAY_ONE, 0, THRESHOLD_LIMIT):
        readout = Output("integrate", shifted, state_shift=STATE_SHIFT, state_bits=STATE_BITS)
        built.put("output", readout)
        return
    built.put(
        f"neuron{number}",
        Neuron(
            built.shape,
            np.asarray(threshold << STATE_SHIFT, np.int32),
            dv=np.asarray(dv, np.int32),
            du=np.asarray(du, np.int32),
            bias=shifted,
            state_shift=STATE_SHIFT,
            state_bits=STATE_BITS,
            u_range="wrap",
        ),
    )


_FIELDS = ("iDecay", "vDecay", "vThMant")


def _bias(values: Array, shape: tuple[int, ...]) -> Array:
    """Return a bias of each channel, or of each neuron, in shifted units."""
    shifted = values.astype(np.int64).reshape(-1) << STATE_SHIFT
    whole = shifted.reshape(-1, *(1,) * (len(shape) - 1)) if shifted.size == shape[0] else shifted
    return whole.astype(np.int32)
