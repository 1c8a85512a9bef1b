"""Agreement: our float run of a graph beside a module's own, layer by layer, step by step.

Two runs that add in another order part by rounding: currents by a few units in the last place of
Σ|w·x|, and spikes where the membrane is that near its threshold. Everything else is a fault. What
comes after a spike that parted is another input's answer, and is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ..export.ir import Array, Delay, Graph, InputError
from ..export.ir.noted import Noted
from ..export.ir.printed import Printed
from .by_layers import LayerRun, potentials_of
from .magnitude import Magnitudes
from .ops import OPS, Operations

UNITS = 8
"""Of float32's eps times Σ|w·x|: by how much rounding may part two runs."""
BATCH_FIRST = "each step, batch first"
EPS = float(np.finfo(np.float32).eps)

What: TypeAlias = Literal["current", "spikes", "output"]


@dataclass(frozen=True, slots=True)
class Fault:
    """The first value that differs by more than rounding.

    Attributes:
        layer: a neuron node, or the output. what: `current`, `spikes` or `output`. time_step,
            sample, index: of the value. theirs, ours: the module's and the graph's. rounding: by
            how much rounding may part them (of spikes: the membrane and its threshold).
        potential: of spikes, our membrane potential and the nearest threshold.
    """

    layer: str
    what: What
    time_step: int
    sample: int
    index: tuple[int, ...]
    theirs: float
    ours: float
    rounding: float
    potential: tuple[float, float] | None = None

    def __str__(self) -> str:
        where = f"step {self.time_step}, sample {self.sample}, neuron {list(self.index)}"
        beyond = f"more than rounding, {self.rounding:.2g}"
        if self.potential is not None:
            v, threshold = self.potential
            beyond = f"at a potential of {v:.7g}, threshold {threshold:.7g}: {beyond}"
        values = f"{self.what} {self.theirs:.7g} in the module, {self.ours:.7g} in its graph"
        return f"{where}: {values}, {beyond}"


@dataclass(frozen=True, slots=True, repr=False)
class Agreement(Printed):
    """Share of spikes, over neurons, steps and samples, that differ: 0 is equal in every one.

    Attributes:
        by_neuron: the share of each neuron node. differ: of all. spike_rate: of the module's own.
        rounded: spikes that rounding decided otherwise, where their layer is the first to part.
        outputs: the largest difference of what the module returns, None where it was not compared.
        fault: the first difference that rounding does not explain, None where there is none.
        silent: neuron nodes whose layers never spiked: what comes of their spikes is not compared.
    """

    by_neuron: Mapping[str, float]
    differ: float
    spike_rate: float
    rounded: int = 0
    outputs: float | None = None
    fault: Fault | None = None
    silent: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether every spike is equal."""
        return self.differ == 0

    def __str__(self) -> str:
        said = "every spike equal" if self.equal else f"{self.differ:.3%} of spikes differ"
        lines = [f"{said} (the module's spike rate {self.spike_rate:.3f})"]
        lines += [f"  {n}: {share:.3%}" for n, share in self.by_neuron.items()]
        if self.outputs is not None:
            lines.append(f"outputs differ by {self.outputs:.3g} at most")
        if self.silent:
            lines.append(f"never spiked, so not compared with a spike: {', '.join(self.silent)}")
        if self.fault is not None:
            lines.append(f"not by rounding: {self.fault.layer}: {self.fault}")
        return "\n".join(lines)


def agreement(
    graph: Graph,
    values: Array,
    neurons: Mapping[str, Noted],
    output: Array | None = None,
    operations: Operations = OPS,
    at_once: bool = False,
) -> Agreement:
    """Return how a float graph's run on values [time, batch, *shape] agrees with a module's own.

    Args:
        neurons: by source path. Currents are judged of a float graph; folding scales them.
        output: what the module returned, [time, batch, ...], or [batch, ...] where it takes time
            together as `metadata["returns"]` says: mean, sum or last step; None: not compared.
        operations: that compute the stateless nodes. at_once: all steps in one call, as those of a
            multi-step module do.

    Raises:
        InputError: for a neuron that is given other steps or another shape than its node; where
            there is nothing to compare.
    """
    layers = _layers(graph, neurons, len(values), int(values.shape[1]))
    if not layers and output is None:
        raise InputError("no neuron of the module is in the graph", node="agreement")
    until = {layer.entry: name for name, layer in layers.items()}
    run = LayerRun(graph, operations, at_once, until)
    return _Comparison(run, layers, output).of(values)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A neuron node beside a module's layer: where its current enters, what it was given."""

    name: str
    entry: str
    given: Noted


class _Comparison:
    """Judges each layer of each sample until something before it parted.

    Only what is not equal to the last bit is judged, and the terms' magnitudes are computed only
    where a value itself, the least that its terms can sum up to, does not explain the difference.
    """

    def __init__(self, run: LayerRun, layers: dict[str, _Layer], output: Array | None) -> None:
        self.run, self.graph, self.layers, self.output = run, run.graph, layers, output
        self.judging = self.graph.level == "float"
        self.rounded, self.furthest = 0, 0.0
        self.faults: list[Fault] = []
        self.parted: dict[str, Array | None] = {}

    def of(self, values: Array) -> Agreement:
        """Return how a run on values agrees."""
        for name, known in self.run.walk(values):
            layer = self.layers.get(name)
            if layer is not None:
                self._judge(layer, known)
            if name == self.graph.output_name and self.output is not None and self.judging:
                self._judge_output(known)
        return self._agreement()

    def _parted(self, name: str, known: Mapping[str, Array]) -> Array | None:
        """Return where a layer's spikes differ, [time, batch, *shape]; None where nowhere."""
        if name not in self.parted:
            ours, theirs = known[name], self._spikes(name, known)
            self.parted[name] = None if np.array_equal(ours, theirs) else ours != theirs
        return self.parted[name]

    def _spikes(self, name: str, known: Mapping[str, Array]) -> Array:
        return self.layers[name].given.spikes.reshape(known[name].shape)

    def _clean(self, target: str, known: Mapping[str, Array], like: Array) -> Array:
        """Return of each step and sample of `like` whether no spike that parted reaches a node."""
        tainted = np.zeros(like.shape[:2], bool)
        before, later = _reaching(self.graph, target, set(self.layers))
        for name in before:
            tainted |= _by_then(self._parted(name, known), tainted)
        for name in later:
            tainted[1:] |= _by_then(self._parted(name, known), tainted)[:-1]
        return ~tainted.reshape(*tainted.shape, *(1,) * (like.ndim - 2))

    def _judge(self, layer: _Layer, known: Mapping[str, Array]) -> None:
        """Judge a layer's currents and spikes."""
        parted = self._parted(layer.name, known)
        if not self.judging:
            return
        ours, magnitudes = known[layer.entry], Magnitudes(self.run, known)
        theirs = layer.given.current.reshape(ours.shape)
        if not np.array_equal(theirs, ours):
            self._judge_currents(layer, known, magnitudes, theirs)
        if parted is not None:
            self._judge_spikes(layer.name, known, magnitudes, parted)

    def _judge_currents(
        self, layer: _Layer, known: Mapping[str, Array], magnitudes: Magnitudes, theirs: Array
    ) -> None:
        ours = known[layer.entry]
        clean = self._clean(layer.name, known, ours)
        if not (clean & _beyond(theirs, ours, np.abs(ours))).any():
            return
        sizes = magnitudes.of(layer.entry)
        apart = clean & _beyond(theirs, ours, sizes)
        self._faulty(layer.name, "current", apart, theirs, ours, UNITS * EPS * sizes)

    def _judge_spikes(
        self, name: str, known: Mapping[str, Array], magnitudes: Magnitudes, parted: Array
    ) -> None:
        """Tell ties at the threshold from faults, at the first spike that parts of each neuron."""
        ours, theirs, node = known[name], self._spikes(name, known), self.graph.neurons[name]
        first = parted & (parted.cumsum(axis=0) == 1) & self._clean(name, known, ours)
        if not first.any():
            return
        v = potentials_of(node, known[self.graph.inputs(name)[0]])
        threshold = np.broadcast_to(node.v_threshold, v.shape)
        if node.max_spikes_per_step > 1:
            threshold = np.maximum(np.maximum(ours, theirs), 1) * threshold
        limit = UNITS * EPS * magnitudes.of_membrane(name)
        tied = (np.abs(v - threshold) <= limit) & (np.abs(ours - theirs) == 1)
        self._faulty(name, "spikes", first & ~tied, theirs, ours, limit, (v, threshold))
        self.rounded += int((first & tied).sum())

    def _faulty(
        self,
        layer: str,
        what: What,
        apart: Array,
        theirs: Array,
        ours: Array,
        limit: Array,
        potential: tuple[Array, Array] | None = None,
        first_step: int = 0,
    ) -> None:
        """Note the first of the values that are too far apart, if any are."""
        if not apart.any():
            return
        at = tuple(map(int, np.unravel_index(int(apart.argmax()), apart.shape)))
        tied = None if potential is None else (float(potential[0][at]), float(potential[1][at]))
        rounding = float(np.broadcast_to(limit, ours.shape)[at])
        step, sample, *index = at
        values = float(theirs[at]), float(ours[at])
        fault = Fault(layer, what, first_step + step, sample, tuple(index), *values, rounding, tied)
        self.faults.append(fault)

    def _judge_output(self, known: Mapping[str, Array]) -> None:
        """Compare what the module returned, in the form it has."""
        assert self.output is not None
        name = self.graph.output_name
        source = name if self.graph.output.readout == "leaky" else self.graph.inputs(name)[0]
        series = known[source]
        returns = self.graph.metadata.get("returns", "each step")
        theirs = self.output.swapaxes(0, 1) if returns == BATCH_FIRST else self.output
        ours = _as_returned(series, returns)
        if theirs.size != ours.size:
            raise InputError(
                f"the module returns {list(theirs.shape)}, its graph {list(ours.shape)}", node=name
            )
        theirs = theirs.reshape(ours.shape)
        if np.array_equal(theirs, ours):
            return
        self.furthest = float(np.abs(theirs - ours).max(initial=0))
        clean = self._clean(name, known, series)
        at_end = len(ours) < len(series)
        sizes = _as_returned(Magnitudes(self.run, known).of(source), returns)
        apart = (clean[-1:] if at_end else clean) & _beyond(theirs, ours, sizes)
        step = len(series) - 1 if at_end else 0
        self._faulty(name, "output", apart, theirs, ours, UNITS * EPS * sizes, first_step=step)

    def _agreement(self) -> Agreement:
        sizes = {name: layer.given.spikes.size for name, layer in self.layers.items()}
        differ = {n: 0 if p is None else int(p.sum()) for n, p in self.parted.items()}
        total = max(1, sum(sizes.values()))
        fired = {n: int(np.count_nonzero(layer.given.spikes)) for n, layer in self.layers.items()}
        return Agreement(
            {name: differ[name] / max(1, size) for name, size in sizes.items()},
            sum(differ.values()) / total,
            sum(fired.values()) / total,
            self.rounded,
            self.furthest if self.output is not None and self.judging else None,
            min(self.faults, key=lambda fault: fault.time_step, default=None),
            tuple(name for name, spikes in fired.items() if not spikes),
        )


def _by_then(parted: Array | None, like: Array) -> Array:
    """Return of each step and sample whether a spike of a layer parted by then, [time, batch]."""
    if parted is None:
        return np.zeros_like(like)
    whole = parted.reshape(*like.shape, -1).any(axis=2)
    return np.asarray(np.logical_or.accumulate(whole))


def _beyond(theirs: Array, ours: Array, sizes: Array) -> Array:
    """Return where values that should be equal lie further apart than rounding of `sizes`."""
    return np.asarray(~(np.abs(theirs - ours) <= UNITS * EPS * sizes))


def _as_returned(series: Array, returns: str) -> Array:
    """Return [time, ...] in the form that a module returns its steps in, [1, ...] of a whole."""
    if returns == "last step":
        return series[-1:]
    if returns in ("each step", BATCH_FIRST):
        return series
    total: Array = series.sum(0, keepdims=True)
    return total / len(series) if returns == "mean" else total


def _layers(
    graph: Graph, neurons: Mapping[str, Noted], steps: int, batch: int
) -> dict[str, _Layer]:
    """Return the neuron nodes, in the graph's order, that a layer of the module stands for."""
    known = {}
    for path, given in neurons.items():
        name = path if path in graph.neurons else _neuron_of(path)
        if name not in graph.neurons:
            continue
        shape = (batch, *graph.neurons[name].shape)
        if len(given.spikes) != steps or given.spikes[0].size != np.prod(shape):
            reason = f"the module emitted spikes {list(given.spikes.shape)}"
            raise InputError(f"{reason}, its graph {[steps, *shape]} [time, batch, ...]", node=path)
        known[name] = path, given
    layers = {}
    for name in (n for n in graph.neurons if n in known):
        path, given = known[name]
        layers[name] = _Layer(name, _entry(graph, path, name), given)
    return layers


def _neuron_of(path: str) -> str:
    """Return the name of the neuron node behind others of one layer: ``lif.neuron@2``."""
    layer, at, place = path.partition("@")
    return f"{layer}.neuron{at}{place}"


def _entry(graph: Graph, path: str, name: str) -> str:
    """Return the node whose value enters the first node of a layer."""
    first = next((n for n in (f"{path}.input", f"{path}.sum", path) if n in graph.nodes), name)
    return graph.inputs(first)[0]


def _reaching(graph: Graph, target: str, names: set[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return which of `names` reach a node within a step, and which only steps later."""
    at_once = _upstream(graph, target, through_delays=False) & names
    at_all = _upstream(graph, target, through_delays=True) & names
    return frozenset(at_once), frozenset(at_all - at_once)


def _upstream(graph: Graph, target: str, through_delays: bool) -> set[str]:
    seen: set[str] = set()
    ahead = [target]
    while ahead:
        name = ahead.pop()
        if isinstance(graph.nodes[name], Delay) and not through_delays:
            continue
        new = [source for source in graph.inputs(name) if source not in seen]
        seen.update(new)
        ahead += new
    return seen
