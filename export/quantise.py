"""Quantise: a folded float graph to one integer graph (`docs/semantics.md`, Lowering).

Every edge carries a unit (`carry`): weights become int8 codes with a scale that moves on into the
threshold and bias of the neuron behind, so nothing between two neurons is ever rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .carry import Carry, plain, through
from .current_groups import (
    CurrentGroup,
    channel_array,
    common_measure,
    common_unit,
    current_groups,
)
from .current_limit import current_excess
from .group_thresholds import group_thresholds
from .ir import (
    WEIGHTS,
    Add,
    Array,
    Calibration,
    Delay,
    Edge,
    Graph,
    Input,
    LoweringError,
    MatMul,
    Neuron,
    Node,
    Output,
    Profile,
    Scale,
    Weight,
    analog_nodes,
    bounds,
    check,
    value_kinds,
)
from .ir.equal_rules import plainest
from .ir.loops import in_loop
from .ir.nodes import Linear
from .ir.profile import Granularity, ScaleRule
from .kept_currents import kept_current, refuse_kept_currents
from .late_bias import delay_only_spikes
from .least_unit import least_unit
from .quantise_state import quantise_neuron, quantise_output, readout_shift
from .weight_scale import quantise_weight, weight_scale
from .whole_factors import stays_whole, whole_factors

INPUT_CODE = 127
"""The largest code of a directly encoded input: symmetric int8, zero point 0."""
WIDENINGS = 16
"""How often units are widened at most; what is still too large then, a target refuses by node."""


def quantise(
    graph: Graph, profile: Profile, calibration: Calibration, rule: ScaleRule = "max"
) -> Graph:
    """Return the integer graph of a folded graph in the number format of `profile`.

    Raises:
        GraphError: if `graph` breaks a rule of the folded level.
        LoweringError, BoundsError: naming the node that has no exact integer form, and the remedy.
    """
    check(graph)
    if graph.level != "folded":
        raise LoweringError(f"a {graph.level} graph, only a folded one is quantised")
    refuse_kept_currents(graph)
    graph = whole_factors(delay_only_spikes(graph), profile)
    # Of a file folded before, or made from integers, as of one folded now.
    graph = graph.map_nodes(lambda _, node: plainest(node) if isinstance(node, Neuron) else node)
    widened: dict[str, float] = {}
    for attempt in range(WIDENINGS):
        built = _Work(graph, profile, calibration, rule, current_groups(graph), widened).built()
        excess = current_excess(built, profile)
        if not excess or attempt == WIDENINGS - 1:
            return group_thresholds(check(built))
        widened |= {name: widened.get(name, 1.0) * by for name, by in excess.items()}
    raise AssertionError("the last attempt returns")


def _with_readout(graph: Graph, carry: Carry) -> Graph:
    """Return the graph with its Output in integers, as fine as its worst case leaves room for."""
    assert graph.profile is not None
    name, node, profile = graph.output_name, graph.output, graph.profile
    largest = bounds(graph, states=False)[graph.inputs(name)[0]].largest
    shift = readout_shift(node, carry, profile, largest)
    output = quantise_output(name, node, carry, profile, shift)
    return graph.replace({**graph.nodes, name: output})


@dataclass(slots=True)
class _Work:
    """The walk: what is known of each edge so far, and what has been built."""

    graph: Graph
    profile: Profile
    calibration: Calibration
    rule: ScaleRule
    groups: list[CurrentGroup]
    widened: Mapping[str, float]
    carries: dict[str, Carry] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    units: dict[str, tuple[Array, int]] = field(default_factory=dict)
    multiples: dict[Edge, Array] = field(default_factory=dict)
    absorbed: dict[str, str] = field(default_factory=dict)
    inserted: dict[Edge, str] = field(default_factory=dict)
    ahead: set[str] = field(default_factory=set)
    analog: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.analog = analog_nodes(self.graph)

    def built(self) -> Graph:
        """Return the integer graph, each weight node's unit widened as it was told."""
        for name in self.graph.order:
            if name not in self.carries:
                self.carries[name] = self.convert(name)
        self.check_delays()
        known = {"calibration": self.calibration.to_json(), "scale_rule": self.rule}
        metadata = {**self.graph.metadata, **known}
        built = Graph(self.nodes, self.edges(), "integer", self.profile, metadata)
        return _with_readout(built, self.carries[self.graph.inputs(self.graph.output_name)[0]])

    def convert(self, name: str) -> Carry:
        """Build the integer form of one node; return the carry of its output."""
        node = self.graph.nodes[name]
        sources = self.graph.inputs(name)
        if isinstance(node, Input):
            return self._input(name, node)
        if isinstance(node, Delay):
            self.nodes[name] = node
            return plain()
        received = [self.carries[source] for source in sources]
        if isinstance(node, WEIGHTS):
            return self._weight(name, node, received[0])
        if isinstance(node, Scale):
            return self._scale(name, node, received[0])
        if isinstance(node, Add):
            return self._add(name, node)
        if isinstance(node, MatMul):
            return self._matmul(name, node, *received)
        if isinstance(node, Neuron):
            self.nodes[name] = quantise_neuron(name, node, received[0], self.format_of(name))
            return plain()
        if isinstance(node, Output):
            self.nodes[name] = node  # settled last, when the bounds of the rest are known
            return plain()
        self.nodes[name] = node
        return through(name, node, self.graph.shapes[sources[0]], received[0])

    def format_of(self, name: str) -> Profile:
        """Return the number format of a node: the host's is generic."""
        if not self.profile.host_analog or name not in self.analog:
            return self.profile
        return Profile()

    def _input(self, name: str, node: Input) -> Carry:
        if node.encoding in ("spikes", "frames") and (
            node.mean is not None or node.std is not None
        ):
            raise LoweringError(
                f"{node.encoding} input that is normalised is no longer whole",
                node=name,
                remedy="give the data as it is, or encode it directly",
            )
        if node.encoding != "direct":
            high = node.high or max(1, int(np.ceil(self.calibration.input_high)))
            self.nodes[name] = replace(node, low=node.low or 0, high=high, scale=None)
            return plain()
        if not np.isfinite(self.calibration.input_high) or self.calibration.input_high <= 0:
            raise LoweringError(
                f"the calibrated input range is {self.calibration.input_high}",
                node=name,
                remedy="calibrate on data that is not all zero",
            )
        scale = float(np.float32(self.calibration.input_high / INPUT_CODE))
        self.nodes[name] = replace(node, scale=scale, low=-INPUT_CODE, high=INPUT_CODE)
        return plain(scale)

    def _weight(self, name: str, node: Weight, received: Carry) -> Carry:
        self._need_plain(name, received)
        if name not in self.units:
            group = next(g for g in self.groups if name in g.weights)
            self._settle(group)
        shared, shift = self.units[name]
        unit = np.broadcast_to(shared, node.weight.shape[:1])
        step = unit * 2.0**shift / float(received.scale.flat[0])
        bits = self.format_of(name).weight_bits
        codes = quantise_weight(node.weight, step, bits)
        self.nodes[name] = replace(
            node,
            weight=codes,
            bias=None,
            scale=step,
            weight_shift=shift,
            bits=bits,
        )
        shape, linear = self.graph.shapes[name], isinstance(node, Linear)
        bias = np.zeros(len(unit)) if node.bias is None else node.bias.astype(np.float64)
        return Carry(channel_array(shape, unit, linear), channel_array(shape, bias, linear))

    def _need_plain(self, name: str, received: Carry) -> None:
        if received.has_offset:
            raise LoweringError(
                "receives a biased current",
                node=name,
                remedy="put a neuron before it, or build the weights before it without a bias",
            )
        if not received.uniform:
            raise LoweringError(
                "receives channels of different scales", node=name, remedy="put a neuron before it"
            )

    def _settle(self, group: CurrentGroup) -> None:
        """Choose the unit of all weight nodes of a group at once."""
        preferred = []
        profile = self.format_of(group.weights[0])
        per_channel = group.per_channel and profile.granularity == "channel"
        least = least_unit(self.graph, group, profile)
        wider = max(self.widened.get(name, 1.0) for name in group.weights)
        for name in group.weights:
            node, received = self.graph.nodes[name], self._ahead(self.graph.inputs(name)[0], name)
            assert isinstance(node, WEIGHTS)
            self._need_plain(name, received)
            granularity: Granularity = "channel" if per_channel else "layer"
            own = weight_scale(node.weight, profile.weight_bits, granularity, self.rule)
            own = own if per_channel else own[:1]
            unit = own * float(received.scale.flat[0]) / group.factors[name]
            preferred.append(np.where(unit > 0, np.maximum(unit, least) * wider, 0.0))
        integers = [self._integer_scale(group, edge) for edge in group.entries]
        unit, shifts, multiples = common_unit(preferred, integers)
        for name, shift in zip(group.weights, shifts, strict=True):
            self.units[name] = (unit * group.factors[name], shift)
        for edge, multiple in zip(group.entries, multiples, strict=True):
            self.multiples[edge] = multiple

    def _integer_scale(self, group: CurrentGroup, edge: Edge) -> float:
        """Return the scale of an integer that enters the group by `edge`, in the group's unit."""
        carry = self._ahead(edge.source, edge.target)
        self._need_plain(edge.target, carry)
        return float(carry.scale.flat[0]) / group.factors[edge.target]

    def _ahead(self, name: str, target: str) -> Carry:
        """The carry of `name`, also where the walk has not come to it: spikes keep their unit."""
        if name in self.carries:
            return self.carries[name]
        node = self.graph.nodes[name]
        if isinstance(node, (Neuron, Delay)):
            return plain()
        sources = self.graph.inputs(name)
        if name in self.ahead:
            raise LoweringError(
                f"its unit depends on {name}, whose unit depends on it",
                node=target,
                remedy="put a neuron between them",
            )
        self.ahead.add(name)
        carries = [self._ahead(source, name) for source in sources]
        if isinstance(node, WEIGHTS):
            self.carries[name] = self._weight(name, node, carries[0])
        self.ahead.remove(name)
        if name in self.carries:
            return self.carries[name]
        if isinstance(node, Scale):
            return self._scaled(node, carries[0])
        if isinstance(node, MatMul):
            return plain(float(np.prod([float(c.scale.flat[0]) for c in carries])))
        if isinstance(node, Add):
            return plain(common_measure([float(c.scale.flat[0]) for c in carries]))
        return through(name, node, self.graph.shapes[sources[0]], carries[0])

    def _scale(self, name: str, node: Scale, received: Carry) -> Carry:
        """A float factor vanishes into the unit; whole ones that differ stay."""
        if (node.factor <= 0).any():
            raise LoweringError(
                f"scale {node.factor.min()} is not above 0",
                node=name,
                remedy="move the sign into the weights",
            )
        if stays_whole(node):
            self.nodes[name] = Scale(node.factor.astype(np.int32))
        else:
            self.absorbed[name] = self.graph.inputs(name)[0]
        return self._scaled(node, received)

    @staticmethod
    def _scaled(node: Scale, received: Carry) -> Carry:
        factor = node.factor.astype(np.float64)
        if stays_whole(node):
            return Carry(received.scale, received.offset * factor)
        return received.scaled(factor)

    def _add(self, name: str, node: Add) -> Carry:
        self.nodes[name] = node
        edges = [edge for edge in self.graph.edges if edge.target == name]
        received = [self.carries[edge.source] for edge in edges]
        if not any(edge in self.multiples for edge in edges):
            return self._add_equal(name, edges, received)
        offset = np.asarray(sum(carry.offset for carry in received))
        for edge in edges:
            if edge in self.multiples:
                self._insert(edge, self.multiples[edge])
        current = next(c for e, c in zip(edges, received, strict=True) if e not in self.multiples)
        return Carry(current.scale, offset)

    def _shaped(self, name: str, multiple: Array) -> Array:
        if multiple.size == 1:
            return multiple.reshape(())
        group = next(g for g in self.groups if any(e.target == name for e in g.entries))
        linear = isinstance(self.graph.nodes[group.weights[0]], Linear)
        return channel_array(self.graph.shapes[name], multiple, linear)

    def _insert(self, edge: Edge, multiple: Array) -> None:
        """Put an integer Scale on `edge`."""
        limit = 2 ** (self.profile.scale_bits - 1) - 1
        if multiple.max() > limit:
            raise LoweringError(
                f"a spike added to a current needs the factor {int(multiple.max())}, "
                f"{self.profile.name} allows {limit}",
                node=edge.target,
                remedy="use the residual rule sew_add, fewer weight bits, or another target",
            )
        if (np.abs(multiple - np.rint(multiple)) > 1e-6).any():
            raise LoweringError(
                "adds integers whose scales are no multiples of each other",
                node=edge.target,
                remedy="put a neuron on one branch",
            )
        name = f"{edge.target}.scale{edge.port}"
        factor = self._shaped(edge.target, np.rint(multiple).astype(np.int32))
        self.nodes[name] = Scale(factor.astype(np.int32))
        self.inserted[edge] = name

    def _add_equal(self, name: str, edges: list[Edge], received: list[Carry]) -> Carry:
        """Add integers of one unit, or bring them to the finest by integer Scales."""
        offset = np.asarray(sum(carry.offset for carry in received))
        first = received[0]
        if all(np.allclose(c.scale, first.scale, rtol=1e-9, atol=0) for c in received):
            return Carry(first.scale, offset)
        for carry in received:
            self._need_plain(name, carry)
        scales = [float(carry.scale.flat[0]) for carry in received]
        unit = common_measure(scales)
        for edge, scale in zip(edges, scales, strict=True):
            if not np.isclose(scale, unit, rtol=1e-9, atol=0):
                self._insert(edge, np.array([scale / unit]))
        return Carry(np.float64(unit).reshape(()), offset)

    def _matmul(self, name: str, node: MatMul, a: Carry, b: Carry) -> Carry:
        for carry in (a, b):
            self._need_plain(name, carry)
        self.nodes[name] = node
        return plain(float(a.scale.flat[0]) * float(b.scale.flat[0]))

    def check_delays(self) -> None:
        """A delayed value must be a plain integer: the loop was walked on that assumption."""
        for name in self.graph.of_kind(Delay):
            carry = self.carries[self.graph.inputs(name)[0]]
            if carry.has_offset or not carry.uniform or float(carry.scale.flat[0]) != 1.0:
                raise self._undelayable(name)

    def _undelayable(self, name: str) -> LoweringError:
        """Return why a Delay cannot store what enters it, and what to do."""
        if in_loop(self.graph, name, (Neuron,)):
            return kept_current(self.graph, name)
        analog = value_kinds(self.graph)[name] == "analog"
        remedy = "encode the input as spikes" if analog else "delay the spikes"
        return LoweringError("delays a value that is not spikes", node=name, remedy=remedy)

    def edges(self) -> list[Edge]:
        """Return the edges with absorbed Scales bypassed and new ones put in."""
        found = []
        for edge in self.graph.edges:
            if edge.target in self.absorbed:
                continue
            source = edge.source
            while source in self.absorbed:
                source = self.absorbed[source]
            if edge in self.inserted:
                found.append(Edge(source, self.inserted[edge]))
                source = self.inserted[edge]
            found.append(Edge(source, edge.target, edge.port))
        return found
