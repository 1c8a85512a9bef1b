"""Agreement: our float run of a graph beside a module's own, layer by layer, step by step.

Two runs that add in another order part by rounding: currents by a few units in the last place of
Σ|w·x|, and spikes where the membrane is that near its threshold. Everything else is a fault. What
comes after a spike that parted is another input's answer, and is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..export.ir import Array, Delay, Graph, InputError, Neuron
from ..export.ir.arith import NeuronState
from ..export.ir.noted import Noted
from ..export.ir.printed import Printed
from .float_neuron import float_membrane
from .magnitude import Magnitudes
from .ops import OPS, Operations
from .reference import Reference
from .repeated import is_repeated

UNITS = 8
"""Of float32's eps times Σ|w·x|: by how much rounding may part two runs."""
EPS = float(np.finfo(np.float32).eps)


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
    what: str
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
    """

    by_neuron: Mapping[str, float]
    differ: float
    spike_rate: float
    rounded: int = 0
    outputs: float | None = None
    fault: Fault | None = None

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
        if self.fault is not None:
            lines.append(f"not by rounding: {self.fault.layer}: {self.fault}")
        return "\n".join(lines)


def agreement(
    graph: Graph,
    values: Array,
    neurons: Mapping[str, Noted],
    output: Array | None = None,
    operations: Operations = OPS,
) -> Agreement:
    """Return how a float graph's run on values [time, batch, *shape] agrees with a module's own.

    Args:
        neurons: by source path. Currents are judged of a float graph; folding scales them.
        output: what the module returned, [time, batch, ...], or [batch, ...] where it takes time
            together as `metadata["returns"]` says: mean, sum or last step; None: not compared.
        operations: that compute the stateless nodes.

    Raises:
        InputError: for a neuron that is given other steps or another shape than its node; where
            there is nothing to compare.
    """
    judging, sizes = graph.level == "float", (len(values), int(values.shape[1]))
    run = _Comparison(graph, neurons, output, operations, sizes, judging)
    if run.walk(values) and judging:
        # Only what is not equal to the last bit is judged, which takes the terms' magnitudes too.
        run = _Comparison(graph, neurons, output, operations, sizes, judging)
        run.magnitudes = Magnitudes(graph, run.operations)
        run.walk(values)
    return run.agreement()


@dataclass(slots=True)
class _Layer:
    """A neuron node beside a module's layer: where its current enters, what differed so far."""

    name: str
    entry: str
    given: Noted
    before: frozenset[str]
    """The neuron nodes whose spikes reach it in the same step."""
    later: frozenset[str]
    """Those whose spikes reach it a step later."""
    parted: Array
    differ: int = 0


class _Comparison:
    """Walks the steps, judging each layer of each sample until something before it parted."""

    def __init__(
        self,
        graph: Graph,
        neurons: Mapping[str, Noted],
        output: Array | None,
        operations: Operations,
        sizes: tuple[int, int],
        judging: bool,
    ) -> None:
        self.graph, self.output, self.judging = graph, output, judging
        self.operations = {**OPS, **operations}
        steps, batch = sizes
        self.session = Reference(np.float32, self.operations).prepare(graph)
        self.session.begin(batch)
        self.magnitudes: Magnitudes | None = None
        self.parted = False
        self.layers = _layers(graph, neurons, steps, batch)
        if not self.layers and output is None:
            raise InputError("no neuron of the module is in the graph", node="agreement")
        last = graph.output_name
        self.before_output = _reaching(graph, last, set(self.layers))
        self.batch, self.rounded, self.furthest = batch, 0, 0.0
        self.fault: Fault | None = None
        self.series: list[Array] = []
        self.sizes: list[Array] = []
        self.tainted: list[Array] = []
        self.kept: tuple[dict[str, Array], dict[str, Array]] = ({}, {})

    def walk(self, values: Array) -> bool:
        """Compare all steps; return whether anything is not equal to the last bit.

        Without magnitudes, which could judge it, the walk ends there.
        """
        repeated = is_repeated(values)
        for t in range(len(values)):
            self._step(t, np.asarray(values[t], np.float32), repeated)
            if self.parted and self.judging and self.magnitudes is None:
                return True
        if self.output is not None and self.judging:
            self._judge_output(len(values))
        return self.parted

    def _step(self, t: int, frame: Array, repeated: bool) -> None:
        """Advance our run by one step, and compare it with the module's."""
        states = {n: replace(self.session.state(n)) for n in self.layers}
        values = self.session.advance(frame, self.kept[0] if repeated else None)
        sizes: dict[str, Array] = {}
        if self.magnitudes is not None:
            sizes = self.magnitudes.step(values, self.kept[1])
            if repeated:
                self.kept[1].update({n: sizes[n] for n in self.kept[0]})
        earlier = {name: _samples(layer.parted) for name, layer in self.layers.items()}
        for layer in self.layers.values():
            self._layer(t, layer, values, sizes, states[layer.name], earlier)
        self._note_output(values, sizes, earlier)

    def _tainted(
        self, before: frozenset[str], later: frozenset[str], earlier: Mapping[str, Array]
    ) -> Array:
        """Return of each sample whether a spike that parted reaches a node in this step."""
        found = np.zeros(self.batch, bool)
        for name in before:
            found |= _samples(self.layers[name].parted)
        for name in later:
            found |= earlier[name]
        return found

    def _layer(
        self,
        t: int,
        layer: _Layer,
        values: Mapping[str, Array],
        sizes: Mapping[str, Array],
        state: NeuronState,
        earlier: Mapping[str, Array],
    ) -> None:
        ours, given = values[layer.name], layer.given
        theirs = given.spikes[t].reshape(ours.shape)
        layer.differ += int((ours != theirs).sum())
        tainted = self._tainted(layer.before, layer.later, earlier)
        clean = ~tainted.reshape(-1, *(1,) * (ours.ndim - 1))
        self.parted |= bool((ours != theirs).any())
        if self.judging:
            entering = values[layer.entry]
            current = given.current[t].reshape(entering.shape)
            self.parted |= not np.array_equal(current, entering)
            if self.magnitudes is not None:
                fits = ~tainted.reshape(-1, *(1,) * (entering.ndim - 1))
                limit = UNITS * EPS * sizes[layer.entry]
                apart = fits & ~(np.abs(entering - current) <= limit)
                self._faulty(layer.name, "current", t, apart, current, entering, limit)
        parting = clean & (ours != theirs) & ~layer.parted
        if self.magnitudes is not None and parting.any():
            self._judge_spikes(t, layer, parting, values, sizes, state, theirs)
        layer.parted |= ours != theirs

    def _judge_spikes(
        self,
        t: int,
        layer: _Layer,
        parting: Array,
        values: Mapping[str, Array],
        sizes: Mapping[str, Array],
        state: NeuronState,
        theirs: Array,
    ) -> None:
        node, ours = self.graph.nodes[layer.name], values[layer.name]
        assert isinstance(node, Neuron)
        v = float_membrane(values[self.graph.inputs(layer.name)[0]], node, state)
        threshold = np.broadcast_to(node.v_threshold, v.shape)
        if node.max_spikes_per_step > 1:
            threshold = np.maximum(np.maximum(ours, theirs), 1) * threshold
        limit = UNITS * EPS * sizes[layer.name]
        tied = (np.abs(v - threshold) <= limit) & (np.abs(ours - theirs) == 1)
        apart = parting & ~tied
        self._faulty(layer.name, "spikes", t, apart, theirs, ours, limit, (v, threshold))
        self.rounded += int((parting & tied).sum())

    def _faulty(
        self,
        layer: str,
        what: str,
        t: int,
        apart: Array,
        theirs: Array,
        ours: Array,
        limit: Array,
        potential: tuple[Array, Array] | None = None,
    ) -> None:
        if self.fault is not None or not apart.any():
            return
        at = tuple(int(k) for k in np.argwhere(apart)[0])
        tied = None if potential is None else (float(potential[0][at]), float(potential[1][at]))
        rounding = float(np.broadcast_to(limit, ours.shape)[at])
        values = float(theirs[at]), float(ours[at])
        self.fault = Fault(layer, what, t, at[0], at[1:], *values, rounding, tied)

    def _note_output(
        self,
        values: Mapping[str, Array],
        sizes: Mapping[str, Array],
        earlier: Mapping[str, Array],
    ) -> None:
        if self.output is None:
            return
        name, node = self.graph.output_name, self.graph.output
        source = name if node.readout == "leaky" else self.graph.inputs(name)[0]
        self.series.append(values[source])
        self.sizes.append(sizes[source] if sizes else np.abs(values[source]))
        self.tainted.append(self._tainted(*self.before_output, earlier))

    def _judge_output(self, steps: int) -> None:
        """Compare what the module returned, in the form it has."""
        assert self.output is not None
        ours, sizes = np.stack(self.series), np.stack(self.sizes)
        tainted = np.logical_or.accumulate(np.stack(self.tainted))
        returns = self.graph.metadata.get("returns", "each step")
        if returns == "each step, batch first":
            self.output = self.output.swapaxes(0, 1)
        elif returns == "last step":
            ours, sizes, tainted = ours[-1:], sizes[-1:], tainted[-1:]
        elif returns != "each step":
            share = steps if returns == "mean" else 1
            ours, sizes = ours.sum(0, keepdims=True) / share, sizes.sum(0, keepdims=True) / share
            tainted = tainted[-1:]
        if self.output.size != ours.size:
            raise InputError(
                f"the module returns {list(self.output.shape)}, its graph {list(ours.shape)}",
                node=self.graph.output_name,
            )
        theirs = self.output.reshape(ours.shape)
        self.furthest = float(np.abs(theirs - ours).max(initial=0))
        self.parted |= self.furthest != 0
        if self.magnitudes is None:
            return
        limit = UNITS * EPS * sizes
        for t in range(len(ours)):
            clean = ~tainted[t].reshape(-1, *(1,) * (ours.ndim - 2))
            apart = clean & ~(np.abs(theirs[t] - ours[t]) <= limit[t])
            at = t if len(ours) > 1 else steps - 1
            self._faulty(self.graph.output_name, "output", at, apart, theirs[t], ours[t], limit[t])

    def agreement(self) -> Agreement:
        """Return what was seen."""
        counts = {n: (layer.differ, layer.given.spikes.size) for n, layer in self.layers.items()}
        total = max(1, sum(size for _, size in counts.values()))
        fired = sum(int((layer.given.spikes != 0).sum()) for layer in self.layers.values())
        return Agreement(
            {name: differ / max(1, size) for name, (differ, size) in counts.items()},
            sum(differ for differ, _ in counts.values()) / total,
            fired / total,
            self.rounded,
            self.furthest if self.output is not None and self.judging else None,
            self.fault,
        )


def _samples(parted: Array) -> Array:
    """Return of each sample whether anything of it parted."""
    return np.asarray(parted.reshape(len(parted), -1).any(axis=1))


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
        known[name] = path, given, np.zeros(shape, bool)
    layers = {}
    for name in (n for n in graph.neurons if n in known):
        path, given, parted = known[name]
        before, later = _reaching(graph, name, set(known))
        layers[name] = _Layer(name, _entry(graph, path, name), given, before, later, parted)
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
