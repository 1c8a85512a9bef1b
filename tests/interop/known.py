"""Cells that are not equal for a reason of the peer's own: what it does, and where it is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Defect:
    """Why a peer computes something else, or nothing, and the public thread (or its source)."""

    reason: str
    thread: str


_DEPTH_FIRST = Defect(
    "nirtorch's GraphExecutor walks the graph depth first: of two weight layers that add up in one "
    "neuron, the one visited last arrives a step late",
    "no thread found; nirtorch/graph_utils.py, trace_execution",
)

OUT: dict[tuple[str, str], Defect] = {
    ("norse", "residual of currents"): _DEPTH_FIRST,
    ("sinabs", "residual of currents"): _DEPTH_FIRST,
    ("sinabs", "mlp, synaptic current"): Defect(
        "its importer knows IF, LIF and LI, and leaves CubaLIF out without a word",
        "no thread found; sinabs/nir.py, _import_sinabs_module",
    ),
}
"""(peer, network) of the corpus: our file, loaded and run by the peer."""

IN: dict[tuple[str, str], Defect] = {}
"""(peer, network) of the peer's own: its file, read and run by us."""
