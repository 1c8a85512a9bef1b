"""A written NIR file, read as other tools read it, beside what was to be written."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ..fold import fold
from ..ir import FormatError, Graph, Neuron, SpikewrightError
from ..ir.errors import FormatWarning
from .nir_file import NirFile

CLOSE = 1e-3
"""Relative; what float32 and a time constant may take off a retention."""


def compare_plain(raw: NirFile, path: Path, graph: Graph, dialect: str) -> None:
    """Refuse a file whose plain nodes are not the neurons of `graph`, folded, as it was written.

    Raises:
        FormatError: for a file that our own reader refuses, or that lost, changed or moved neurons.
    """
    from .nir_in import graph_of

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FormatWarning)
            found = fold(graph_of(raw, path, dialect, plain=True))
    except SpikewrightError as error:
        raise FormatError(
            f"the plain nodes cannot be read back ({error.reason})",
            remedy="its values may leave float32",
        ) from None
    for name, node in graph.neurons.items():
        back = found.neurons.get(name)
        if back is None or back.shape != node.shape or not _alike(node, back):
            raise FormatError("came back changed from the plain nodes", node=name)


def _alike(node: Neuron, back: Neuron) -> bool:
    """Whether two folded neurons forget alike."""
    pairs = ((node.beta, back.beta), (node.alpha, back.alpha))
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return all(
        np.allclose(np.broadcast_to(a, node.shape), np.broadcast_to(b, node.shape), CLOSE, CLOSE)
        for a, b in known
    )
