"""Factors that differ from place to place, as whole numbers: what averages divide by at borders.

An average that leaves out what lies beyond the map divides by fewer values at its border: by 4, 6
or 9 of a 3x3 window. What reads it needs one unit for all places, so of the factors 1/4, 1/6, 1/9
the integers 9, 6, 4 stay, exact, and their unit 1/36 alone moves on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from math import lcm

import numpy as np

from .ir import (
    WEIGHTS,
    Add,
    Array,
    Edge,
    Flatten,
    Graph,
    LoweringError,
    MatMul,
    Node,
    Output,
    Profile,
    Reshape,
    Scale,
    Transpose,
)
from .ir.nodes import POOLS
from .names import unused

MOVING = (*POOLS, Flatten, Reshape, Transpose, Scale)
"""What hands on a factor of each place to what stands behind."""
LARGEST_DENOMINATOR = 1 << 12
PRECISION = 2.0**-22
"""How far a ratio may lie from one of whole numbers: twice what float32 makes of it."""


def whole_factors(graph: Graph, profile: Profile) -> Graph:
    """Return a folded graph whose uneven factors are whole where one unit is needed behind them.

    Raises:
        LoweringError: naming a Scale whose factors have no common measure that `profile` can hold.
    """
    for name, node in graph.of_kind(Scale).items():
        if _is_uneven(node) and _needs_one_unit(graph, name):
            graph = _split(graph, name, _whole(name, node.factor, profile))
    return graph


def stays_whole(node: Scale) -> bool:
    """Whether a Scale stays between integers as it is: `whole_factors` made it int32."""
    return node.factor.dtype.kind == "i"


def _is_uneven(node: Scale) -> bool:
    """Whether its factors are above 0, as units have to be, and differ."""
    return bool((node.factor > 0).all() and (node.factor != node.factor.flat[0]).any())


def _needs_one_unit(graph: Graph, name: str) -> bool:
    """Whether anything but neurons reads the factor, or currents are added on the way to it."""

    def mixes(node: Node) -> bool:
        return isinstance(node, (*WEIGHTS, MatMul, Add, Output, *POOLS))

    def adds(node: Node) -> bool:
        return isinstance(node, Add)

    return _meets(graph, name, graph.consumers, mixes) or _meets(graph, name, graph.inputs, adds)


def _meets(
    graph: Graph, name: str, beside: Callable[[str], Iterable[str]], wanted: Callable[[Node], bool]
) -> bool:
    """Whether a node that is wanted stands next to one, or past nodes that hand on its factor."""
    for other in beside(name):
        node = graph.nodes[other]
        if wanted(node) or (isinstance(node, MOVING) and _meets(graph, other, beside, wanted)):
            return True
    return False


def _whole(name: str, factor: Array, profile: Profile) -> tuple[Array, float]:
    """Return the least whole numbers in the ratio of the factors, and their unit."""
    least = float(factor.min())
    limit = 2 ** (profile.scale_bits - 1) - 1
    values, place = np.unique(factor.astype(np.float64), return_inverse=True)
    ratios = [Fraction(v / least).limit_denominator(LARGEST_DENOMINATOR) for v in values]
    near = np.isclose([float(r) for r in ratios], values / least, rtol=PRECISION, atol=0).all()
    common = lcm(*(r.denominator for r in ratios))
    whole = [int(r * common) for r in ratios]
    if not near or max(whole) > limit:
        raise LoweringError(
            f"its factors {least:.6g}..{factor.max():.6g} differ from place to place, and are no "
            f"multiples up to {limit} of one number",
            node=name,
            remedy="fold them into the weights behind it, or average with counted padding "
            "(count_include_pad=True) and ceil_mode=False",
        )
    steps = np.array(whole, np.int32)[place].reshape(factor.shape)
    return steps, least / common


def _split(graph: Graph, name: str, parts: tuple[Array, float]) -> Graph:
    """Return the graph with the whole numbers in the node's place and their unit behind it."""
    whole, unit = parts
    behind = unused(f"{name}.unit", graph.nodes)
    nodes: dict[str, Node] = {**graph.nodes, name: Scale(whole), behind: Scale(np.array(unit))}
    edges = [e._replace(source=behind) if e.source == name else e for e in graph.edges]
    return graph.replace(nodes, [*edges, Edge(name, behind)])
