"""Synapses: a weight, pooling or scale node as one Lava process with the same integers.

Dense and Sparse drop the least significant bit of mixed-sign weights: those are sent doubled, with
weight_exp one less, which loses nothing (|w| <= 128). Conv keeps its weights as they are, ignores
weight_exp, and is a true convolution over (x, y, channel): kernels are turned and flipped.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...export.formats.lava_weights import CONV_FIELD_LIMIT, conv_excess, int8_parts
from ...export.ir import Array, Conv2d, ExecutorError, Linear, Node, Scale, Shape, SumPool
from ...export.ir.uneven_padding import evenly_padded
from .entries import entries
from .program import Process

SIGNED_LIMIT, UNSIGNED_LIMIT = 128, 255
"""|w| that Lava's 8-bit weights hold exactly: of both signs (doubled), or of one."""


def lava_shape(shape: Shape) -> Shape:
    """Return a node's shape as Lava's processes have it: (x, y, channel) of [channel, y, x]."""
    return shape[::-1] if len(shape) == 3 else (prod(shape),)


def lava_order(shape: Shape) -> Array:
    """Return where each value (C order) of a node stands in its flattened process."""
    places: Array = np.arange(prod(shape))
    if len(shape) != 3:
        return places
    turned: Array = places.reshape(shape[::-1]).transpose(2, 1, 0)
    return turned.reshape(-1)


def message_bits(low: int, high: int) -> int:
    """Return Lava's num_message_bits for values in [low, high]: 0 for plain spikes."""
    if (low, high) in ((0, 0), (0, 1)):
        return 0
    return max(abs(low), abs(high)).bit_length() + (low < 0)


def synapse(
    name: str, node: Node, shape: Shape, target: Shape, order: Array, bits: int
) -> list[Process]:
    """Return the processes of a node from `shape` to `target`, whose input stands in `order`.

    One; or more, whose sum it is, for weights that 8 bits do not hold.

    Raises:
        ExecutorError: for a matrix of more than ENTRY_LIMIT entries that are not 0.
    """
    if len(shape) == 3 and len(target) == 3 and np.array_equal(order, lava_order(shape)):
        node = evenly_padded(node) if isinstance(node, Conv2d) else node
        kernel = _kernel(node, shape)
        if kernel is not None and not conv_excess(node, kernel.shape[2:]):
            return [_conv(kernel, node, shape, bits)]
    if isinstance(node, Linear) and len(shape) == 1:
        return [_dense(name, node, order, bits)]
    return _matrix(name, node, shape, target, order, bits)


def _kernel(node: Node, shape: Shape) -> Array | None:
    """Return the kernel [out, in / groups, y, x] of a node that is a convolution of a map."""
    channels = shape[0]
    if isinstance(node, Conv2d):
        return node.weight.astype(np.int32) << node.weight_shift
    if isinstance(node, SumPool) and len(node.kernel) == 2 and node.padding_end is None:
        return np.ones((channels, 1, *node.kernel), np.int32)
    if isinstance(node, Scale) and (node.factor.size == 1 or node.factor.shape == (channels, 1, 1)):
        return np.broadcast_to(node.factor, (channels, 1, 1)).reshape(-1, 1, 1, 1)
    return None


def merged_groups(kernel: Array, groups: int) -> tuple[Array, int]:
    """Return an equal kernel [out, in / groups, y, x] of few enough groups, zeros between them."""
    fewer = max(d for d in range(1, CONV_FIELD_LIMIT + 1) if groups % d == 0)
    if fewer == groups:
        return kernel, groups
    out, inner = kernel.shape[:2]
    together = groups // fewer
    merged = np.zeros((out, inner * together, *kernel.shape[2:]), kernel.dtype)
    place = (np.arange(out) * groups // out) % together
    for k in range(together):
        merged[place == k, k * inner : (k + 1) * inner] = kernel[place == k]
    return merged, fewer


def _conv(kernel: Array, node: Node, shape: Shape, bits: int) -> Process:
    kernel, groups = merged_groups(kernel, getattr(node, "groups", shape[0]))
    fields: dict[str, Any] = {
        "groups": groups,
        "stride": getattr(node, "stride", (1, 1))[::-1],
        "padding": getattr(node, "padding", (0, 0))[::-1],
        "dilation": getattr(node, "dilation", (1, 1))[::-1],
    }
    turned = np.ascontiguousarray(kernel.transpose(0, 3, 2, 1)[:, ::-1, ::-1])
    parameters = {**fields, "input_shape": lava_shape(shape), "num_message_bits": bits}
    return Process("conv", parameters, {"weight": turned})


def _dense(name: str, node: Linear, order: Array, bits: int) -> Process:
    weights = np.empty(node.weight.shape, np.int32)
    weights[:, order] = node.weight
    sent, parameters = _sent(name, weights, node.weight_shift, bits)
    return Process("dense", parameters, {"weights": sent})


def _matrix(
    name: str, node: Node, shape: Shape, target: Shape, order: Array, bits: int
) -> list[Process]:
    """Any linear node as the matrix that it is, of its entries that are not 0."""
    shift = getattr(node, "weight_shift", 0)
    row, column, value = entries(name, node, shape, target)
    places = (lava_order(target)[row], order[column])
    size = (prod(target), prod(shape))
    return [
        sparse((codes, places), size, shift + more, bits, name)
        for codes, more in _held(value.astype(np.int64))
    ]


def _held(values: Array) -> list[tuple[Array, int]]:
    """Return weights and left shifts whose sum is the values, each as `_sent` can send it."""
    if not values.size:
        return [(values, 0)]
    same_sign = values.min() >= 0 or values.max() <= 0
    if same_sign and np.abs(values).max() <= UNSIGNED_LIMIT:
        return [(values, 0)]
    return int8_parts(values)


def sparse(
    entries: tuple[Array, tuple[Array, Array]], size: Shape, shift: int, bits: int, name: str = ""
) -> Process:
    """Return a Sparse process of entries (values, (rows, columns)), its sums shifted left."""
    values, (row, column) = entries
    kept = np.flatnonzero(values)
    sent, parameters = _sent(name, values[kept].astype(np.int32), shift, bits)
    arrays = {"row": row[kept], "column": column[kept], "value": sent}
    return Process("sparse", {**parameters, "matrix_shape": size}, arrays)


def identity(size: int) -> Process:
    """Return a Sparse process that hands on `size` spikes as they are."""
    places = np.arange(size)
    sent, parameters = _sent("", np.ones(size, np.int32), 0, 0)
    arrays = {"row": places, "column": places, "value": sent}
    return Process("sparse", {**parameters, "matrix_shape": (size, size)}, arrays)


def _sent(name: str, weights: Array, shift: int, bits: int) -> tuple[Array, dict[str, Any]]:
    """Return the weights as Lava is to get them, and the parameters that make them exact."""
    positive, negative = bool((weights > 0).any()), bool((weights < 0).any())
    mixed = positive and negative
    limit = SIGNED_LIMIT if mixed else UNSIGNED_LIMIT
    if np.abs(weights).max(initial=0) > limit:
        raise ExecutorError(
            f"a weight of {int(np.abs(weights).max())}, Lava holds {limit}",
            node=name,
            remedy="use fewer --bits, or the residual rule sew_add",
        )
    mode = "MIXED" if mixed else ("INHIBITORY" if negative else "EXCITATORY")
    parameters = {
        "sign_mode": mode,
        "weight_exp": shift - mixed,
        "num_weight_bits": 8,
        "num_message_bits": bits,
    }
    return weights << int(mixed), parameters
