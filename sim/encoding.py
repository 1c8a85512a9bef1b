"""Encoding: which one a graph's Input has: as asked, as its source says, or as the data shows."""

from __future__ import annotations

from dataclasses import replace
from typing import cast, get_args

import numpy as np

from ..export.ir import Array, Graph, InputError, UnknownNameError
from ..export.ir.graph import ENCODING_ASSUMED
from ..export.ir.nodes import Encoding

LOOKED_AT = 256


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
    """Return the graph with the encoding that samples x show, where its source says none.

    Those of 0 and 1, and counts over time, are spikes; others are real values (`direct`).
    """
    if not graph.metadata.get(ENCODING_ASSUMED):
        return graph
    timed = x.ndim == len(graph.input.shape) + 2
    shown = with_encoding(graph, "spikes" if are_spikes(x[:LOOKED_AT], timed) else "direct")
    return shown.replace(metadata={**shown.metadata, ENCODING_ASSUMED: False})


def are_spikes(x: Array, timed: bool) -> bool:
    """Return whether samples are whole numbers from 0 up: counts over time, else 0 and 1 only."""
    if x.size == 0 or x.dtype.kind not in "fiub":
        return False
    if not np.isfinite(x).all() or x.min() < 0 or not (timed or x.max() <= 1):
        return False
    return x.dtype.kind != "f" or bool((x == np.rint(x)).all())
