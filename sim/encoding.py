"""Encoding: which one a graph's Input has: as asked, as its source says, or as the data shows."""

from __future__ import annotations

from dataclasses import replace
from typing import cast, get_args

import numpy as np

from ..export.ir import Array, Graph, InputError, UnknownNameError
from ..export.ir.graph import ENCODING_ASSUMED
from ..export.ir.nodes import Encoding

LOOKED_AT = 256
DRAWN: tuple[Encoding, ...] = ("rate", "latency")
"""The encodings that make spikes of real values."""


def with_encoding(graph: Graph, encoding: str | None) -> Graph:
    """Return the graph with another encoding of its samples; None for its own.

    Raises:
        UnknownNameError: for an encoding that there is not.
        InputError: for integers, whose scale is of one kind: real values (`direct`) or spikes.
    """
    node, name = graph.input, graph.input_name
    if encoding is None:
        return graph
    known = get_args(Encoding)
    if encoding not in known:
        raise UnknownNameError.of("encoding", encoding, known)
    if graph.level == "integer" and (encoding == "direct") != (node.encoding == "direct"):
        raise InputError(
            f"an integer network lowered for encoding {node.encoding!r} cannot take {encoding!r}",
            node=name,
            remedy=f"lower the float network that it was made of with --encode {encoding}",
        )
    if encoding == node.encoding and ENCODING_ASSUMED not in graph.metadata:
        return graph
    nodes = {**graph.nodes, name: replace(node, encoding=cast(Encoding, encoding))}
    said = {key: value for key, value in graph.metadata.items() if key != ENCODING_ASSUMED}
    return graph.replace(nodes, metadata=said)


def settled(graph: Graph, x: Array) -> Graph:
    """Return the graph with the encoding that calibration samples show, where its source says none.

    The metadata keep that it was data that said so (`ENCODING_ASSUMED` false), for `entered`.
    """
    if not graph.metadata.get(ENCODING_ASSUMED):
        return graph
    decided = with_encoding(graph, shown(graph, x))
    return decided.replace(metadata={**decided.metadata, ENCODING_ASSUMED: False})


def entered(graph: Graph, x: Array, encoding: str | None = None) -> Graph:
    """Return the graph as samples x enter it: as asked, else as its source says, else as x shows.

    Raises:
        InputError: where the samples that it was calibrated on showed another encoding than x
            does, and nobody said which; and see `with_encoding`.
    """
    graph = with_encoding(graph, encoding)
    if encoding in DRAWN and taken_as_counts(graph, x):
        raise InputError(
            f"--encode {encoding} cannot act here, the samples are integers: counts already",
            node=graph.input_name,
            remedy="leave it out, or give floats from 0 to 1",
        )
    if ENCODING_ASSUMED not in graph.metadata:
        return graph
    decided, shows = graph.input.encoding, shown(graph, x)
    if not graph.metadata[ENCODING_ASSUMED] and shows != decided and x.any():
        raise InputError(
            f"samples that show encoding {shows!r}, those of the calibration showed {decided!r}",
            node=graph.input_name,
            remedy=f"lower it with --encode {shows}, or give --encode {decided} if that is meant",
        )
    return with_encoding(graph, decided if graph.metadata[ENCODING_ASSUMED] is False else shows)


def taken_as_counts(graph: Graph, x: Array) -> bool:
    """Return whether samples are spikes as they come: whole numbers, which nothing encodes.

    In a directly coded network they are raw data, as floats are; a float network that normalises
    its input normalises them too.
    """
    node = graph.input
    shifted = node.mean is not None or node.std is not None
    whole = x.dtype.kind in "iub" and node.encoding != "direct"
    return whole and (graph.level == "integer" or not shifted)


def is_random(graph: Graph, x: Array) -> bool:
    """Return whether the spikes of samples x are drawn, so that a seed changes them."""
    return graph.input.encoding == "rate" and not taken_as_counts(graph, x)


def shown(graph: Graph, x: Array) -> Encoding:
    """Return `spikes` for samples of 0 and 1, and counts over time; `direct` for real values."""
    timed = x.ndim == len(graph.input.shape) + 2
    return "spikes" if are_spikes(x[:LOOKED_AT], timed) else "direct"


def are_spikes(x: Array, timed: bool) -> bool:
    """Return whether samples are whole numbers from 0 up: counts over time, else 0 and 1 only."""
    if x.size == 0 or x.dtype.kind not in "fiub":
        return False
    if not np.isfinite(x).all() or x.min() < 0 or not (timed or x.max() <= 1):
        return False
    return x.dtype.kind != "f" or bool((x == np.rint(x)).all())
