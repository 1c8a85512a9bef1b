"""Activity: what each core did, step by step, counted from recorded spikes and a mapping.

A spike makes one packet for each core that holds a neuron it drives (a core replicates it inside),
and a synaptic operation for each synapse there. An integer of several spikes is one event where the
chip's spikes carry numbers (Loihi 2), elsewhere as many events as spikes. A pixel of an analog
frame is one event wherever frames enter the chip. Packets go first east-west, then north-south.
What comes from the host (the Input, layers on it) makes packets that enter cores and no others.
A synapse works in the step its spike is sent in; a Delay holds back what it adds to the neuron.
Where each synapse takes a step (Loihi), a layer works that much later (`depth`), and the steps
until the readout has all are counted too: neurons there are at rest, or hold what they have left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..export.ir import WEIGHTS, Array, Graph, Neuron, Node
from ..export.ir.digest import digest
from ..sim.counters import events_of
from ..sim.trace import EVENT, Trace
from ..sim.travelled import values_of
from .depth import depths
from .latency import step_ns
from .lava.silicon import CHIPS, payload_limit
from .mapping import Layer, Mapped
from .reach import collapsed
from .split import reaches
from .target import Target

COUNTS = (
    "synops",
    "packets_in",
    "packets_out",
    "fired",
    "updated",
    "hops_ew",
    "hops_ns",
)


@dataclass(frozen=True, slots=True)
class Activity:
    """Counts of the cores, summed over samples.

    Attributes:
        counts: `COUNTS` by name, float64 [time, core]. neurons: on each core, [core].
        layer_counts: the same, by layer: [time]. busiest: the fullest core's count, [time].
        latency_ns: by cost table, [time]; the sums over samples of a step's latency.
        tiles: that hold a neuron. pipeline_steps: more than `time_steps` that the arrays have,
            until the last layer has all. graph, target: whose; timing: step or event.
    """

    time_steps: int
    samples: int
    cores: int
    tiles: int
    neurons: Array
    counts: Mapping[str, Array]
    layer_counts: Mapping[str, Mapping[str, Array]]
    layer_neurons: Mapping[str, int]
    busiest: Mapping[str, Array]
    latency_ns: Mapping[str, Array]
    pipeline_steps: int = 0
    graph: str = ""
    target: str = ""
    timing: str = "step"

    def total(self, count: str) -> float:
        """Return a count's mean over samples, of all cores and steps."""
        return float(self.counts[count].sum()) / self.samples


@dataclass(slots=True)
class Observer:
    """Counts activity trace by trace: call it with traces that hold states, then ask `activity`.

    Args:
        graph, target, mapped: of the traces. A layer of `mapped` with the Input's name puts the
            Input on cores, as generators of spikes that cost nothing themselves.
        effective: a synapse of weight 0 does not exist.
    """

    graph: Graph
    target: Target
    mapped: Mapped
    effective: bool = False
    _links: list[Any] = field(default_factory=list)
    _sums: dict[str, Array] = field(default_factory=dict)
    _by_layer: dict[str, dict[str, Array]] = field(default_factory=dict)
    _busiest: dict[str, Array] = field(default_factory=dict)
    _latency: dict[str, Array] = field(default_factory=dict)
    _samples: int = 0
    _depths: dict[str, int] = field(default_factory=dict)
    _timing: str = "step"

    def __post_init__(self) -> None:
        self._links = list(_links(self.graph, self.mapped, self.target, self.effective))
        if self.target.profile in CHIPS:
            host = [layer.name for layer in self.mapped.layers if layer.on_host]
            self._depths = depths(self.graph, host)

    @property
    def pipeline_steps(self) -> int:
        """How many steps the last layer trails."""
        return max((self._depths.get(layer.name, 0) for layer in self.computing), default=0)

    @property
    def computing(self) -> list[Layer]:
        """The layers whose neurons stand on cores."""
        return [
            layer
            for layer in self.mapped.layers
            if layer.core_of is not None and not layer.on_host and self._is_neurons(layer)
        ]

    def _is_neurons(self, layer: Layer) -> bool:
        return layer.name != self.graph.input_name

    @property
    def cores(self) -> int:
        """How many cores are numbered."""
        ends = (layer.first_core + layer.cores for layer in self.mapped.layers)
        return max(1, *ends) if self.mapped.layers else 1

    def neurons(self) -> Array:
        """Return the neurons on each core."""
        found = np.zeros(self.cores)
        for layer in self.computing:
            found += np.bincount(_global(layer).reshape(-1), minlength=self.cores)
        return found

    def __call__(self, trace: Trace) -> None:
        """Count one batch."""
        self._timing = EVENT if trace.executor == EVENT else "step"
        shape = (trace.time_steps + self.pipeline_steps, trace.samples)
        counts = {name: np.zeros((*shape, self.cores)) for name in COUNTS}
        for link in self._links:
            own = {n: np.zeros_like(v) for n, v in counts.items()}
            late = self._when(link.source, trace)
            sent = _events(trace, link.source, graded=is_graded(self.target))
            link.count(sent, {n: v[late] for n, v in own.items()})
            self._add(link.layer.name, own, counts)
        for layer in self.computing:
            own = {n: np.zeros_like(counts[n]) for n in ("fired", "updated")}
            self._neurons(layer, trace, own)
            self._add(layer.name, own, counts)
        self._close(counts)

    def _add(self, layer: str, own: Mapping[str, Array], counts: Mapping[str, Array]) -> None:
        # A layer behind a product of spikes has no synapses that send to it: its counts are zeros.
        steps = len(counts["synops"])
        mine = self._by_layer.setdefault(layer, {name: np.zeros(steps) for name in COUNTS})
        for name, values in own.items():
            counts[name][...] += values
            mine[name] = mine[name] + values.sum(axis=(1, 2))

    def _when(self, name: str, trace: Trace) -> slice:
        """Return the chip's steps in which a source sends, or a layer computes, the trace's."""
        first = self._depths.get(name, 0)
        return slice(first, first + trace.time_steps)

    def _neurons(self, layer: Layer, trace: Trace, own: Mapping[str, Array]) -> None:
        where, when = _global(layer).reshape(-1), self._when(layer.name, trace)
        fired = _fired(trace, layer.name)
        if fired is not None:
            own["fired"][when] = _by_core(fired, where, self.cores)
        first, last = _potentials(trace, layer.name)
        active = _updated(trace, layer.name, self.effective)
        for steps, values in (
            (slice(0, when.start), first),
            (when, active),
            (slice(when.stop, None), last),
        ):
            own["updated"][steps] = _by_core(values, where, self.cores)

    def _close(self, counts: dict[str, Array]) -> None:
        steps, samples, _ = counts["synops"].shape
        self._samples += samples
        neurons = self.neurons()
        for name, values in counts.items():
            self._sums[name] = self._sums.get(name, 0) + values.sum(axis=1)
            self._busiest[name] = self._busiest.get(name, 0) + values.max(axis=2).sum(axis=1)
        for name, table in self.target.costs.items():
            if table.model == "events":
                found = step_ns(counts, neurons, table, self._tiles()).sum(axis=1)
                self._latency[name] = self._latency.get(name, np.zeros(steps)) + found

    def _tiles(self) -> int:
        each = self.target.limit("cores_per_tile") or 1
        used: set[int] = set()
        for layer in self.mapped.layers:
            if layer.core_of is not None and not layer.on_host:
                used |= {int(core) // each for core in np.unique(_global(layer))}
        return max(1, len(used))

    def activity(self) -> Activity:
        """Return the counts of all traces so far."""
        neurons = self.neurons()
        return Activity(
            time_steps=len(self._sums["synops"]) - self.pipeline_steps,
            samples=self._samples,
            cores=self.cores,
            tiles=self._tiles(),
            neurons=neurons,
            counts=dict(self._sums),
            layer_counts=self._by_layer,
            layer_neurons={layer.name: layer.neurons for layer in self.computing},
            busiest={**self._busiest},
            latency_ns=dict(self._latency),
            pipeline_steps=self.pipeline_steps,
            graph=digest(self.graph),
            target=self.target.name,
            timing=self._timing,
        )


def is_graded(target: Target) -> bool:
    """Whether one spike of the chip carries a number."""
    return target.profile in CHIPS and payload_limit(target.profile) > 1


def _global(layer: Layer) -> Array:
    assert layer.core_of is not None
    found: Array = layer.core_of.astype(np.int64) + layer.first_core
    return found


def _events(trace: Trace, source: str, *, graded: bool) -> Array:
    """Return how many events each neuron of a source sent, [time, batch, *shape].

    A pixel of an analog frame is one event, which its synapses multiply: its code is no count.
    """
    neuron = trace.neurons.get(source)
    values = trace.input if neuron is None else neuron.spikes
    if neuron is None and trace.graph.input.encoding == "direct":
        return np.asarray(values != 0)
    return events_of(values, trace) if graded else np.abs(values)


def _fired(trace: Trace, layer: str) -> Array | None:
    return events_of(trace.neurons[layer].spikes, trace) if layer in trace.neurons else None


def _by_core(flags: Array, where: Array, cores: int) -> Array:
    """Return the sums [time, batch, core] of flags [time, batch, *shape]."""
    flat = flags.reshape(*flags.shape[:2], -1)
    order = np.argsort(where, kind="stable")
    used, starts = np.unique(where[order], return_index=True)
    found = np.zeros((*flags.shape[:2], cores))
    found[..., used] = np.add.reduceat(flat[..., order].astype(np.float64), starts, axis=-1)
    return found


def _updated(trace: Trace, layer: str, effective: bool) -> Array:
    """Return which neurons are not at rest: v was not 0, input arrived, or there is a bias."""
    node = trace.graph.nodes[layer]
    states, start = _states(trace, layer)
    before = np.concatenate([start[None], states[:-1]])
    bias = getattr(node, "bias", None)
    active = np.asarray((before != 0) | (_arrived(trace, layer, effective) > 0))
    return active if bias is None else active | (np.broadcast_to(bias, active.shape[2:]) != 0)


def _states(trace: Trace, layer: str) -> tuple[Array, Array]:
    """Return the potentials [time, batch, *shape] of a layer, and those it starts from."""
    node = trace.graph.nodes[layer]
    if not isinstance(node, Neuron):
        return trace.output, np.zeros(trace.output.shape[1:])
    states = trace.neurons[layer].v
    assert states is not None, "the trace holds no states"
    return states, np.asarray(np.broadcast_to(node.v_init, states.shape[1:]))


def _potentials(trace: Trace, layer: str) -> tuple[Array, Array]:
    """Return which neurons hold a potential before their first step and after their last.

    bool [1, batch, *shape].
    """
    states, start = _states(trace, layer)
    return start[None] != 0, states[-1:] != 0


def _arrived(trace: Trace, layer: str, effective: bool) -> Array:
    """Return how many synapses carried a spike to each neuron of a layer, [time, batch, *shape]."""
    ones = trace.graph.map_nodes(_there if effective else _of_ones)
    flags = {name: type(n)((n.spikes != 0).astype(np.int32)) for name, n in trace.neurons.items()}
    marked = Trace(ones, trace.executor, (trace.input != 0).astype(np.int64), trace.output, flags)
    found = values_of(marked, ones.inputs(layer)[0])
    return np.asarray(found.reshape(trace.time_steps, trace.samples, *found.shape[1:]))


def _of_ones(name: str, node: Node) -> Node:
    if isinstance(node, WEIGHTS):
        return replace(node, weight=np.ones_like(node.weight), weight_shift=0)
    return node


def _there(name: str, node: Node) -> Node:
    if isinstance(node, WEIGHTS):
        return replace(node, weight=(node.weight != 0).astype(node.weight.dtype), weight_shift=0)
    return node


@dataclass(frozen=True, slots=True)
class _Link:
    """One source and one layer: how spikes become packets and synaptic operations.

    Attributes:
        run: the cores of the layer, as numbers of the chip. reach: synapses [core, place].
        order, starts: the source's neurons sorted by (core, place), and where groups begin.
        group_core, group_place: of each group; group_core is -1 for what comes from the host.
        east_west, north_south: distances [source core, core of the run].
    """

    source: str
    layer: Layer
    run: Array
    reach: Array
    order: Array
    starts: Array
    group_core: Array
    group_place: Array
    distances: tuple[Array, Array]

    def count(self, events: Array, counts: Mapping[str, Array]) -> None:
        """Add what events [time, batch, *shape] cause to counts [time, batch, core]."""
        flat = events.reshape(*events.shape[:2], -1)[..., self.order].astype(np.float64)
        grouped = np.add.reduceat(flat, self.starts, axis=-1)
        counts["synops"][..., self.run] += grouped @ self.reach[:, self.group_place].T
        lands = (self.reach[:, self.group_place] > 0).astype(np.float64)
        for core in np.unique(self.group_core):
            mine = self.group_core == core
            packets = grouped[..., mine] @ lands[:, mine].T
            counts["packets_in"][..., self.run] += packets
            if core >= 0:
                counts["packets_out"][..., core] += packets.sum(axis=-1)
                for name, distance in zip(("hops_ew", "hops_ns"), self.distances, strict=True):
                    counts[name][..., core] += packets @ distance[core]


def _links(graph: Graph, mapped: Mapped, target: Target, effective: bool) -> Iterator[_Link]:
    placed = {layer.name: layer for layer in mapped.layers if not layer.on_host}
    if target.mapping == "crossbar" and target.limit("cores") == 1:
        yield from _rows(graph, placed, target)
        return
    for layer in placed.values():
        if layer.core_of is None or layer.name == graph.input_name:
            continue
        for part, sources in reaches(graph, layer, effective=effective):
            run = np.arange(part.start, part.stop) + layer.first_core
            for source, values in sources.items():
                yield _link(source, layer, run, values, placed.get(source), target)


def _rows(graph: Graph, placed: Mapping[str, Layer], target: Target) -> Iterator[_Link]:
    """Yield the links on the one crossbar: an event is applied to every neuron of its row.

    Sources that drive no neuron have no row.
    """
    layers = [layer for layer in placed.values() if layer.core_of is not None]
    drives: dict[str, Array] = {}
    for layer in layers:
        for _, sources in reaches(graph, layer):
            for source, values in sources.items():
                there = values.any(axis=0)
                drives[source] = drives.get(source, np.zeros_like(there)) | there
    for layer in layers:
        run = np.array([layer.first_core])
        for source, there in drives.items():
            row = there[None].astype(np.int32) * layer.neurons
            yield _link(source, layer, run, row, placed.get(source), target)


def _link(
    source: str, layer: Layer, run: Array, values: Array, sender: Layer | None, target: Target
) -> _Link:
    small, axes, _ = collapsed(values)
    shape = values.shape[1:]
    kept = tuple(1 if k in axes else n for k, n in enumerate(shape))
    place = np.broadcast_to(np.arange(int(np.prod(kept))).reshape(kept), shape).reshape(-1)
    if sender is None or sender.core_of is None:
        core = np.full(place.size, -1)
    else:
        core = _global(sender).reshape(-1)
    key = core * int(np.prod(kept)) + place
    order = np.argsort(key, kind="stable")
    _, starts = np.unique(key[order], return_index=True)
    first = order[starts]
    return _Link(
        source,
        layer,
        run,
        small.reshape(len(small), -1).astype(np.float64),
        order,
        starts,
        core[first],
        place[first],
        _distances(int(core.max()), run, target),
    )


def _distances(last: int, run: Array, target: Target) -> tuple[Array, Array]:
    """Return the tiles between cores 0..last and those of `run`, east-west and north-south.

    Tiles are numbered down the columns of the mesh.
    """
    each, rows = target.limit("cores_per_tile"), target.limit("mesh_rows")
    cores = np.arange(last + 1)
    if each is None or rows is None:
        nothing = np.zeros((len(cores), len(run)))
        return nothing, nothing
    here, there = cores // each, run // each
    across = np.abs(here[:, None] // rows - there[None] // rows)
    along = np.abs(here[:, None] % rows - there[None] % rows)
    return across.astype(np.float64), along.astype(np.float64)
