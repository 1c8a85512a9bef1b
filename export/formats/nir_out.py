"""NIR out, the portable profile: files that every reader of NIR computes alike.

What makes readers agree (measured against norse, snntorch and spikingjelly): r = 1, v_leak =
v_reset = 0, dt = 1e-4, parameters of full shape, weights and biases multiplied by tau / dt, a bias
always, Conv input_shape given. Forward Euler: v += dt/tau (-v + r i), so beta = 1 - dt / tau.
Our exact graph travels in the metadata (`nir_card`), for our own reader.
"""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..ir import FormatError, Graph, MissingPackageError, UnknownNameError, check
from .atomic import atomic_path
from .nir_card import fingerprint, graph_metadata, node_metadata, seal
from .nir_dialect import DIALECTS, Dialect
from .nir_discretise import DIALECTS as READ_DIALECTS
from .nir_file import NirFile, load_nir
from .nir_limits import TYPE_CHECK, limits_of, plain_writer
from .nir_numerics import roundings
from .nir_plain import PlainWriter
from .nir_verify import compare_plain

DEFAULT_DT = 1e-4
"""Seconds a step: the dt that snntorch has built in, so that all readers take the same."""
MOST_ALIKE = 8
"""Lines that say the same of as many nodes are all given."""
SHORTEST_DT = 1e-12
"""Seconds: below, or above its inverse, time constants may leave float32."""


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
        if dialect in READ_DIALECTS:
            remedy = f"write one of {', '.join(DIALECTS)}"
            raise UnknownNameError("a dialect for reading only", node=dialect, remedy=remedy)
        raise UnknownNameError.of("dialect", dialect, DIALECTS)
    step = DEFAULT_DT if dt is None else dt
    if not SHORTEST_DT <= step <= 1 / SHORTEST_DT:
        allowed = f"allowed {SHORTEST_DT} to {1 / SHORTEST_DT} seconds"
        raise FormatError(f"dt {step}, {allowed}: parameters are float32", node="dt")
    nir = _nir()
    check(graph)
    chosen = DIALECTS[dialect]
    plain = plain_writer(graph, chosen, step)
    warnings = limits_of(graph, chosen, plain)
    if strict and warnings:
        raise FormatError(warnings[0], remedy="leave --strict out to keep it in metadata")
    written = _network(nir, graph, step, chosen, plain)
    with atomic_path(path, force=force) as temporary:
        _write(nir, written, temporary, chosen.schema)
        raw = load_nir(temporary)
        _compare(raw, temporary, graph)
        if isinstance(plain, PlainWriter):
            compare_plain(raw, temporary, plain.graph, dialect)
        typed = isinstance(plain, PlainWriter) and chosen.schema is None
        refused = _refusal(nir, temporary) if typed else None
        if refused is not None and not any(TYPE_CHECK in line for line in warnings):
            warnings.append(f"{TYPE_CHECK} refuses the file ({refused})")
            if strict:
                raise FormatError(warnings[-1], remedy="leave --strict out to write it")
    return said_once([*warnings, *roundings(graph)])


def said_once(lines: list[str]) -> list[str]:
    """Return lines `node: what` with those that say the same of many nodes as one, with how many.

    The same but for numbers, which are those of the first node.
    """
    alike: dict[str, list[str]] = {}
    for line in lines:
        node, _, what = line.partition(": ")
        alike.setdefault(re.sub(r"\d+", "0", what) if what else node, []).append(line)
    found = []
    for same in alike.values():
        if len(same) <= MOST_ALIKE:
            found += same
            continue
        others = ", ".join(line.partition(": ")[0] for line in same[1:3])
        found.append(f"{same[0]} (and so for {len(same) - 1} more nodes: {others} ...)")
    return found


def _refusal(nir: Any, path: Path) -> str | None:
    """Return what nir's own check, which other readers run, says against a file."""
    try:
        nir.read(str(path))
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
        return " ".join(str(error).split())[:120] or type(error).__name__
    return None


def _write(nir: Any, written: Any, path: Path, schema: str | None) -> None:
    """Write the network with its seal.

    HDF5 is made in memory: libhdf5 does not survive a disk that is full.
    """
    file = BytesIO()
    nir.write(file, written)
    if schema is not None:
        _older(file, schema)
    path.write_bytes(file.getbuffer())
    seal(file, fingerprint(load_nir(path)))
    path.write_bytes(file.getbuffer())


def _older(made: BytesIO, schema: str) -> None:
    """Make the file one of nir <= 1.0.4, which refuses the field v_reset."""
    import h5py

    with h5py.File(made, "r+") as file:
        nodes: Any = file["node/nodes"]
        for node in nodes.values():
            if "v_reset" in node:
                del node["v_reset"]
        del file["version"]
        file["version"] = schema


def _nir() -> Any:
    try:
        import nir
    except ImportError:
        raise MissingPackageError.of("nir", "write NIR files", "pip install nir") from None
    return nir


def _compare(raw: NirFile, path: Path, graph: Graph) -> None:
    from ..ir.digest import digest
    from .nir_in import graph_of

    if digest(graph_of(raw, path)) != digest(graph):
        raise FormatError("the file came back changed", node=str(path))


def _network(
    nir: Any, graph: Graph, dt: float, dialect: Dialect, plain: PlainWriter | list[str]
) -> Any:
    metadata = graph_metadata(graph, dt, dialect)
    if isinstance(plain, list):
        nodes = {
            "input": nir.Input(input_type={"input": np.array(graph.input.shape)}),
            "output": nir.Output(output_type={"output": np.array(graph.shapes[graph.output_name])}),
        }
        return nir.NIRGraph(nodes, [("input", "output")], metadata=metadata, type_check=False)
    for name, node in plain.nodes.items():
        if name in graph.nodes and dialect.schema is None:  # nir 1.0.4 knows none on some nodes
            node.metadata = node_metadata(graph.nodes[name])
    return nir.NIRGraph(plain.nodes, plain.edges, metadata=metadata, type_check=False)
