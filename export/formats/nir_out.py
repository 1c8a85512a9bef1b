"""NIR out, the portable profile: files that every reader of NIR computes alike.

What makes readers agree (measured against norse, snntorch and spikingjelly): r = 1, v_leak =
v_reset = 0, dt = 1e-4, parameters of full shape, weights and biases multiplied by tau / dt, a bias
always, Conv input_shape given. Forward Euler: v += dt/tau (-v + r i), so beta = 1 - dt / tau.
Our exact graph travels in the metadata (`nir_card`), for our own reader.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..dequantise import dequantise
from ..fold import fold
from ..ir import (
    Add,
    AvgPool,
    FormatError,
    Graph,
    MissingPackageError,
    SumPool,
    UnknownNameError,
    check,
)
from .atomic import atomic_path
from .nir_card import graph_metadata, node_metadata
from .nir_plain import PlainWriter

DIALECTS = ("portable",)
DEFAULT_DT = 1e-4
"""Seconds a step: the dt that snntorch has built in, so that all readers take the same."""


def write_nir(
    graph: Graph,
    path: str | Path,
    *,
    dialect: str = "portable",
    dt: float | None = None,
    strict: bool = False,
    force: bool = False,
) -> list[str]:
    """Write a graph of any level as NIR; return one warning a thing that NIR cannot say.

    The file is re-read and compared before it stands. Reading it with `read_nir` restores the graph
    exactly; other tools read the plain nodes: of an integer graph its float equivalent
    (`dequantise`). Where NIR has no node for what the network does, the plain nodes are left out,
    so that no other tool computes a wrong network.

    Raises:
        FormatError: for an existing file, or under `strict` the first thing NIR cannot say.
        UnknownNameError: for a dialect that does not exist.
    """
    if dialect not in DIALECTS:
        raise UnknownNameError.of("dialect", dialect, DIALECTS)
    step = DEFAULT_DT if dt is None else dt
    if not step > 0:
        raise FormatError(f"dt {step} must be above 0 seconds", node="dt")
    nir = _nir()
    check(graph)
    warnings = cannot_say(graph)
    if strict and warnings:
        raise FormatError(warnings[0], remedy="leave --strict out to keep it in metadata")
    written = _network(nir, graph, step, plain=not any(missing_nodes(graph)))
    with atomic_path(path, force=force) as temporary:
        nir.write(str(temporary), written)
        _compare(temporary, graph)
    return warnings


def _nir() -> Any:
    try:
        import nir
    except ImportError:
        raise MissingPackageError.of("nir", "write NIR files", "pip install nir") from None
    return nir


def _compare(path: Path, graph: Graph) -> None:
    from ..ir.digest import digest
    from .nir_in import read_nir

    if digest(read_nir(path)) != digest(graph):
        raise FormatError("the file came back changed", node=str(path))


def missing_nodes(graph: Graph) -> list[str]:
    """Return, by node, what NIR has no node for."""
    found = []
    for name, node in graph.nodes.items():
        if node.kind in ("MatMul", "MaxPool", "Reshape", "Transpose"):
            found.append(f"{name}: NIR has no {node.kind}")
        elif isinstance(node, (SumPool, AvgPool)) and len(node.kernel) != 2:
            found.append(f"{name}: NIR pools over two axes, not {len(node.kernel)}")
        elif isinstance(node, Add) and len(set(graph.inputs(name))) < len(graph.inputs(name)):
            found.append(f"{name}: NIR cannot add a value to itself")
    if found:
        return found
    try:
        _plain(_nir(), graph, DEFAULT_DT)
    except FormatError as error:
        return [f"{error.node}: {error.reason}"]
    return []


def cannot_say(graph: Graph) -> list[str]:
    """Return one line, naming the node, for each thing that only our metadata holds."""
    found = missing_nodes(graph)
    if found:
        found = [f"{line}; other readers get no plain nodes" for line in found]
    if graph.input.mean is not None or graph.input.std is not None:
        found.append(
            f"{graph.input_name}: NIR cannot say mean and std, other readers need normalised data"
        )
    if graph.output.readout == "leaky":
        found.append(f"{graph.output_name}: NIR cannot say readout leaky, other readers integrate")
    for name, node in graph.neurons.items():
        for field, plain in (
            ("reset", "hard"),
            ("compare", ">"),
            ("max_spikes_per_step", 1),
            ("refractory_steps", 0),
        ):
            value = getattr(node, field)
            shifted = field == "compare" and graph.level == "integer" and node.reset == "hard"
            if value != plain and not shifted:
                found.append(f"{name}: NIR cannot say {field} {value}, other readers use {plain}")
        for field in ("v_min", "leak_subtract"):
            if getattr(node, field) is not None:
                found.append(f"{name}: NIR cannot say {field}, other readers leave it out")
        if node.v_init.any():
            found.append(f"{name}: NIR cannot say v_init, other readers start at 0")
    return found


def _network(nir: Any, graph: Graph, dt: float, *, plain: bool) -> Any:
    metadata = graph_metadata(graph, dt)
    if not plain:
        nodes = {
            "input": nir.Input(input_type={"input": np.array(graph.input.shape)}),
            "output": nir.Output(output_type={"output": np.array(graph.shapes[graph.output_name])}),
        }
        return nir.NIRGraph(nodes, [("input", "output")], metadata=metadata, type_check=False)
    nodes, edges = _plain(nir, graph, dt)
    for name, node in nodes.items():
        if name in graph.nodes:
            node.metadata = node_metadata(graph.nodes[name])
    return nir.NIRGraph(nodes, edges, metadata=metadata, type_check=False)


def _plain(nir: Any, graph: Graph, dt: float) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the plain nodes and edges.

    Raises:
        FormatError: naming a neuron whose bias no weight node of its own can carry.
    """
    real = dequantise(graph) if graph.level == "integer" else graph
    real = fold(real) if real.level == "float" else real
    writer = PlainWriter(nir, real, dt)
    return writer.nodes(), writer.edges()
