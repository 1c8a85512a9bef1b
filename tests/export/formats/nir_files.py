"""NIR files for the tests, written by nir itself or, in older or broken layouts, by h5py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np


def lif(shape: tuple[int, ...], **fields: Any) -> nir.LIF:
    """Two steps of 1e-4 s, r such that an input of 1 adds 1."""
    ones = np.ones(shape, np.float32)
    found = {"tau": 2e-4 * ones, "r": 2 * ones, "v_leak": 0 * ones, "v_threshold": ones}
    return nir.LIF(**{**found, "v_reset": 0 * ones, **fields})


def ends(shape: tuple[int, ...], out: tuple[int, ...] | None = None) -> tuple[Any, Any]:
    """An Input and an Output."""
    return (
        nir.Input({"input": np.array(shape)}),
        nir.Output({"output": np.array(shape if out is None else out)}),
    )


def written(path: Path, nodes: Mapping[str, Any], edges: list[tuple[str, str]]) -> Path:
    """Write nodes and edges as they are."""
    nir.write(str(path), nir.NIRGraph(dict(nodes), edges, type_check=False))
    return path


def chain_file(path: Path, shape: tuple[int, ...] = (4,), **nodes: Any) -> Path:
    """Input of `shape` -> nodes -> Output."""
    start, end = ends(shape)
    every = {"input": start, **nodes, "output": end}
    return written(path, every, list(pairwise(every)))


def edited(change: Callable[[Any], None]) -> Callable[[Path], None]:
    """Return what writes a good file and then changes it."""

    def write(path: Path) -> None:
        chain_file(path, w=nir.Linear(np.eye(4, dtype=np.float32)), n=lif((4,)))
        with h5py.File(path, "r+") as file:
            change(file)

    return write


def replace(file: Any, key: str, value: Any) -> None:
    """Put another value in the place of one."""
    del file[key]
    file[key] = value


def by_hand(path: Path, nodes: Mapping[str, Mapping[str, Any]], edges: list[Any]) -> Path:
    """Write the layout of nir 0.1: no version, no metadata, whatever fields are given."""
    with h5py.File(path, "w") as file:
        graph = file.create_group("node")
        graph["type"] = "NIRGraph"
        _fill(graph, nodes, edges)
    return path


def _fill(graph: Any, nodes: Mapping[str, Mapping[str, Any]], edges: list[Any]) -> None:
    graph["edges"] = np.array(edges, "S40")
    inner = graph.create_group("nodes")
    for name, fields in nodes.items():
        node = inner.create_group(name)
        for key, value in fields.items():
            if key != "graph":
                node[key] = value
        if "graph" in fields:
            _fill(node, *fields["graph"])
