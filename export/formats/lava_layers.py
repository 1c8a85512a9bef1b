"""The layers of a netx HDF5 file as they stand: whole numbers by name, or a refusal by layer.

netx (lava-dl 0.6.0) counts the layers from 0, casts weights and biases to integers without a word,
and crashes, or computes something else, where a number is missing or out of range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import Array, FormatError
from .hdf5 import read_hdf5

_REFUSED = {
    "pool": "train with strided convolutions",
    "average": "leave the layer out, and average the counts of the last layer's spikes",
    "unpool": "netx runs no decoders",
    "convT": "netx runs no decoders",
    "concat": "netx runs sequential networks",
    "dense_comp": "use real weights",
}
FIELD_LIMIT = (1 << 31) - 1
_READ = ("input", "flatten", "dense", "dense_rec", "recurrent", "conv")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a file: `held` has its datasets by their path in it."""

    path: str
    number: int
    kind: str
    held: dict[str, Any]

    def refuse(self, reason: str, remedy: str) -> FormatError:
        """Return the error of this layer."""
        return FormatError(f"layer {self.number}: {reason}", node=self.path, remedy=remedy)

    def __contains__(self, name: str) -> bool:
        return name in self.held

    @property
    def has_neurons(self) -> bool:
        """Whether the file says anything of its neurons."""
        return any(name.startswith("neuron/") for name in self.held)

    def word(self, name: str) -> str:
        """Return a dataset that is a word."""
        return _word(self._need(name))

    def whole(self, name: str, low: int, high: int) -> Array:
        """Return a dataset as int64.

        Raises:
            FormatError: if it is missing, has no values, or one that is no whole number from `low`
                to `high`.
        """
        values = np.asarray(self._need(name))
        if values.dtype.kind not in "biuf" or not values.size:
            raise self.refuse(f"{name} holds no numbers", _DAMAGED)
        wrong = values[~((values >= low) & (values <= high))]  # no number is not in range either
        if wrong.size:
            reason = f"{name} {wrong.flat[0]:.12g} is not in {low}..{high}"
            raise self.refuse(reason, "Lava would wrap or misread it: write one that fits")
        broken = values[values != np.rint(values)]
        if broken.size:
            raise self.refuse(
                f"{name} {broken.flat[0]:.6g} is no whole number, and netx would cut it off",
                "round it as you mean it",
            )
        return values.astype(np.int64)

    def one(self, name: str, low: int, high: int) -> int:
        """Return a dataset of a single whole number."""
        values = self.whole(name, low, high)
        if values.size > 1:
            raise self.refuse(f"{name} holds {values.size} values, expected one", _DAMAGED)
        return int(values.flat[0])

    def _need(self, name: str) -> Any:
        if name not in self.held:
            raise self.refuse(f"says no {name}", _DAMAGED)
        return self.held[name]


_DAMAGED = "write the file again"


def layers_of(path: str) -> list[Layer]:
    """Return the layers of a file.

    Raises:
        FormatError: for no such file, no netx file, a number left out, or a type that netx skips.
    """
    try:
        group = read_hdf5(path, ("layer",), "netx").get("layer")
    except FormatError as error:
        said = f"{error.node}: {error.reason}" if error.node else error.reason
        raise FormatError(said, node=path, remedy=error.remedy) from None
    if not isinstance(group, dict):
        raise FormatError("not a readable netx file (it holds no layers)", node=path)
    found = sorted(
        ((_number(path, name), _flat(layer)) for name, layer in group.items()),
        key=lambda numbered: numbered[0],
    )
    for place, (number, _) in enumerate(found):
        if number != place:
            reason = f"no layer {place} among {len(found)}, netx counts them from 0"
            raise FormatError(reason, node=path, remedy="number them without a gap")
    return [_layer(path, number, held) for number, held in found]


def _number(path: str, name: str) -> int:
    if not (name.isascii() and name.isdecimal() and len(name) < 10):
        raise FormatError(f"a layer of the name {name!r}, netx counts them from 0", node=path)
    return int(name)


def _flat(layer: Any) -> dict[str, Any]:
    """Return the datasets of a layer by their path in it."""
    found: dict[str, Any] = {}
    pending = [("", layer)]
    while pending:
        path, item = pending.pop()
        if isinstance(item, dict):
            pending += [(f"{path}/{name}" if path else name, inner) for name, inner in item.items()]
        else:
            found[path] = item
    return found


def _layer(path: str, number: int, held: dict[str, Any]) -> Layer:
    kind = _word(held["type"]) if "type" in held else None
    layer = Layer(path, number, str(kind), held)
    if kind not in _READ:
        remedy = _REFUSED.get(str(kind), "netx would skip it without a word; leave it out")
        raise layer.refuse(f"type {kind!r}", remedy)
    return layer


def _word(value: Any) -> str:
    flat = np.asarray(value).reshape(-1)
    first = flat[0] if flat.size else b""
    return (first.decode("ascii", "replace") if isinstance(first, bytes) else str(first))[:40]
