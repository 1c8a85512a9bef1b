"""Lower: fold and quantise, one after the other."""

from __future__ import annotations

from .fold import fold
from .ir import Calibration, Graph, Profile
from .ir.profile import ScaleRule
from .quantise import quantise


def lower(
    graph: Graph, profile: Profile, calibration: Calibration, rule: ScaleRule = "max"
) -> Graph:
    """Return the integer graph of a float or folded graph in the number format of `profile`.

    Raises:
        GraphError, LoweringError, BoundsError: naming the node, the limit and the remedy.
    """
    if graph.level == "float":
        graph = fold(graph)  # under one name: a float graph that nobody else holds is let go
    return quantise(graph, profile, calibration, rule)
