"""Synapses: a weight, pooling or scale node as one Lava process with the same integers.

Dense and Sparse drop the least significant bit of mixed-sign weights: those are sent doubled, with
weight_exp one less, which loses nothing (|w| <= 128). Conv keeps its weights as they are, ignores
weight_exp, and is a true convolution over (x, y, channel): kernels are turned and flipped.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...export.formats.lava_weights import CONV_FIELD_LIMIT, conv_excess
from ...export.ir import Array, Conv2d, ExecutorError, Linear, Node, Scale, Shape, SumPool
from ...sim.ops import OPS
from .program import Process

MATRIX_LIMIT = 1 << 24
"""Entries of a matrix that a node without a process of its own may become."""
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


def synapse(name: str, node: Node, shape: Shape, target: Shape, order: Array, bits: int) -> Process:
    """Return the process of a node from `shape` to `target`, whose input stands in `order`.

    Raises:
        ExecutorError: for weights beyond 8 bits, or a matrix beyond MATRIX_LIMIT.
    """
    if len(shape) == 3 and len(target) == 3 and np.array_equal(order, lava_order(shape)):
        kernel = _kernel(node, shape)
        if kernel is not None and not conv_excess(node, kernel.shape[2:]):
            return _conv(kernel, node, shape, bits)
    if isinstance(node, Linear) and len(shape) == 1:
        return _dense(name, node, order, bits)
    return _matrix(name, node, shape, target, order, bits)


def _kernel(node: Node, shape: Shape) -> Array | None:
    """Return the kernel [out, in / groups, y, x] of a node that is a convolution of a map."""
    channels = shape[0]
    if isinstance(node, Conv2d):
        return node.weight.astype(np.int32) << node.weight_shift
    if isinstance(node, SumPool) and len(node.kernel) == 2:
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


def _matrix(name: str, node: Node, shape: Shape, target: Shape, order: Array, bits: int) -> Process:
    """Any linear node as the matrix that it is, found by what it does to each unit vector."""
    size, out = prod(shape), prod(target)
    if size * out > MATRIX_LIMIT:
        raise ExecutorError(
            f"{node.kind} from {list(shape)} to {list(target)} would be a matrix of {size * out} "
            f"entries, allowed {MATRIX_LIMIT}",
            node=name,
            remedy="use Conv2d on maps and Linear on vectors",
        )
    units = np.eye(size, dtype=np.int64).reshape(size, *shape)
    matrix = np.zeros((out, size), np.int32)
    shift = getattr(node, "weight_shift", 0)
    matrix[lava_order(target)[:, None], order] = OPS[type(node)](node, units).reshape(size, -1).T
    return sparse(matrix >> shift, shift, bits, name)


def sparse(matrix: Array, shift: int, bits: int, name: str = "") -> Process:
    """Return a Sparse process of an int32 matrix [out, in], whose sums are shifted left."""
    row, column = np.nonzero(matrix)
    sent, parameters = _sent(name, matrix[row, column], shift, bits)
    arrays = {"row": row, "column": column, "value": sent}
    return Process("sparse", {**parameters, "matrix_shape": matrix.shape}, arrays)


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
