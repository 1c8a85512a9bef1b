"""What a netx HDF5 file says of a layer's neurons: decays, thresholds, biases."""

from __future__ import annotations

import numpy as np

from ..ir import Array, Shape
from ..ir.arith import DECAY_ONE
from .lava_layers import FIELD_LIMIT, Layer
from .lava_rules import BIAS_HIGH, BIAS_LOW, STATE_SHIFT, THRESHOLD_LOW

THRESHOLD_HELD = (1 << 25) - 1
"""Largest vThMant whose threshold, << 6, is an int32."""


def neuron_fields(layer: Layer, shape: Shape) -> tuple[Array, Array, Array]:
    """Return du, dv and vThMant of CUBA neurons."""
    kind = layer.word("neuron/type")
    if kind not in ("CUBA", "LOIHI"):
        raise layer.refuse(f"neurons of type {kind}", "CUBA (or LOIHI) neurons are read")
    _refuse_graded(layer)
    return (
        _field(layer, "iDecay", 0, DECAY_ONE, shape),
        _field(layer, "vDecay", 0, DECAY_ONE, shape),
        _field(layer, "vThMant", THRESHOLD_LOW, THRESHOLD_HELD, shape),
    )


def bias_of(layer: Layer, shape: Shape) -> Array:
    """Return a bias of each channel, or of each neuron (netx: x, y, channel), in shifted units."""
    values = layer.whole("bias", BIAS_LOW, BIAS_HIGH).astype(np.int32) << STATE_SHIFT
    if values.ndim == 3 and values.shape == shape[::-1]:
        turned: Array = values.transpose(2, 1, 0)
        return turned
    if values.size != shape[0]:
        raise layer.refuse(
            f"bias holds {values.size} values for {shape[0]} channels", "give one of each"
        )
    return values.reshape(-1, *(1,) * (len(shape) - 1))


def _field(layer: Layer, name: str, low: int, high: int, shape: Shape) -> Array:
    """Return a field of the neurons: one number, or one of each channel or neuron."""
    values = layer.whole(f"neuron/{name}", low, high).astype(np.int32)
    if values.size == 1:
        return values.reshape(())
    if values.size != shape[0]:
        raise layer.refuse(
            f"{name} holds {values.size} values for {shape[0]} channels", "give one, or one each"
        )
    return values.reshape(-1, *(1,) * (len(shape) - 1))


def _refuse_graded(layer: Layer) -> None:
    name = "neuron/gradedSpike"
    if "neuron/messageBits" in layer or (name in layer and layer.whole(name, 0, 1).any()):
        raise layer.refuse(
            "graded spikes of CUBA neurons, which netx has none of", "train with plain spikes"
        )
    name = "neuron/weight_exp"
    if name in layer and layer.whole(name, -FIELD_LIMIT, FIELD_LIMIT).any():
        raise layer.refuse(
            "weight_exp of a normalisation, which netx leaves out",
            "fold it into the weights, or train without norm",
        )
