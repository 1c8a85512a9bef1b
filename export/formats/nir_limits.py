"""What a NIR file cannot say, or a dialect's reader cannot compute: one line a thing, by node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..ir import (
    WEIGHTS,
    Add,
    Array,
    AvgPool,
    Conv1d,
    Conv2d,
    Delay,
    FormatError,
    Graph,
    MissingPackageError,
    Neuron,
    Reshape,
    SumPool,
)
from ..ir.arith import DECAY_ONE
from .nir_dialect import DIALECTS, Dialect
from .nir_integrators import inner_nodes
from .nir_plain import PlainWriter, joined_axes
from .nir_rewrite import behind, direct, one_a_channel, typed, without_loop_delays

PORTABLE = DIALECTS["portable"]
TYPE_CHECK = "nir's own type check"
UNLIMITED = 256
"""Spikes a step that no neuron is known to reach: a limit from here on is none."""


def cannot_say(graph: Graph, dialect: Dialect = PORTABLE) -> list[str]:
    """Return one line, naming the node, for each thing that only our metadata holds."""
    return limits_of(graph, dialect, plain_writer(graph, dialect))


def limits_of(graph: Graph, dialect: Dialect, plain: PlainWriter | list[str]) -> list[str]:
    """Return the lines of `cannot_say`, given what `plain_writer` returned."""
    if isinstance(plain, list):
        found = [f"{line}; other readers get no plain nodes" for line in plain]
        left_out = without_loop_delays(graph)
    else:
        late = f"{dialect.name} adds some of its inputs a step late"
        found = [f"{name}: {late}" for name in plain.early]
        left_out = plain.passed
    told = (
        _loops(graph, left_out),
        _ends(graph, dialect),
        _layers(graph, dialect, left_out),
        _kernels(graph),
        _neurons(graph, dialect),
    )
    return [*found, *(line for lines in told for line in lines)]


def _loops(graph: Graph, left_out: Iterable[str]) -> Iterator[str]:
    """Biases in a loop that `nir_rewrite` cannot move to the neuron behind."""
    for delay in left_out:
        for name in graph.consumers(delay):
            node, reached = graph.nodes[name], behind(graph, name)
            biased = isinstance(node, WEIGHTS) and node.bias is not None and node.bias.any()
            moves = len(reached) == 1 and reached[0] in graph.neurons and direct(graph, name)
            if biased and not moves:
                yield f"{name}: NIR cannot say a bias from the first step on, in a loop"


def plain_writer(
    graph: Graph, dialect: Dialect = PORTABLE, dt: float = 1e-4
) -> PlainWriter | list[str]:
    """Return the plain nodes of a graph, or, one line a node, what NIR has no node for."""
    found = []
    for name, node in graph.nodes.items():
        if node.kind in ("MatMul", "MaxPool", "Transpose") or _reshapes(graph, name):
            found.append(f"{name}: NIR has no {node.kind}")
        elif isinstance(node, (SumPool, AvgPool)) and len(node.kernel) != 2:
            found.append(f"{name}: NIR pools over two axes, not {len(node.kernel)}")
        elif isinstance(node, Add) and _twice(graph, name):
            found.append(f"{name}: NIR cannot add a value to itself")
    if found:
        return found
    try:
        with np.errstate(over="ignore"):  # which `nir_verify` refuses
            return PlainWriter(_nir(), graph, dt, dialect)
    except FormatError as error:
        return [f"{error.node}: {error.reason}"]


def _reshapes(graph: Graph, name: str) -> bool:
    """Whether a node does more to a shape than join axes that lie beside each other."""
    if not isinstance(graph.nodes[name], Reshape):
        return False
    return joined_axes(graph.shapes[graph.inputs(name)[0]], graph.shapes[name]) is None


def _nir() -> Any:
    try:
        import nir
    except ImportError:
        raise MissingPackageError.of("nir", "write NIR files", "pip install nir") from None
    return nir


def _twice(graph: Graph, name: str) -> bool:
    """Whether an Add takes one value twice, and no identity weights can stand between."""
    sources = graph.inputs(name)
    return len(set(sources)) < len(sources) and len(graph.shapes[name]) not in (1, 3)


def _others(dialect: Dialect) -> tuple[str, str]:
    """Who reads the file, and who cannot be told."""
    if not dialect.few_layers:
        return "other readers use", "NIR cannot say"
    return f"{dialect.name} uses", f"{dialect.name} is not told"


def _ends(graph: Graph, dialect: Dialect) -> Iterator[str]:
    says = _others(dialect)[1]
    if graph.input.mean is not None or graph.input.std is not None:
        yield f"{graph.input_name}: {says} mean and std, other readers need normalised data"
    if graph.input.encoding in ("rate", "latency"):
        code = graph.input.encoding
        yield f"{graph.input_name}: {says} encoding {code}, other readers need encoded spikes"
    if graph.output.readout == "leaky" and not dialect.leaky:
        yield f"{graph.output_name}: {says} readout leaky, other readers integrate"


def _layers(graph: Graph, dialect: Dialect, left_out: Iterable[str]) -> Iterator[str]:
    """What the loaders of a named dialect have no layer for."""
    if not dialect.few_layers:
        return
    passed = {*left_out, *(inner_nodes(graph) if dialect.leaky else ())}
    for name, node in graph.nodes.items():
        if isinstance(node, Delay) and name not in passed:
            yield f"{name}: {dialect.name} loads no Delay"
        if isinstance(node, Conv1d) and dialect.name != "spikingjelly":
            yield f"{name}: {dialect.name} loads no Conv1d"
        if isinstance(node, WEIGHTS) and node.kind == "Linear" and len(graph.shapes[name]) > 1:
            yield f"{name}: {dialect.name} loads no Linear over tokens"


def _kernels(graph: Graph) -> Iterator[str]:
    """Kernels that nir's own type check takes for square, where zeros around cannot make them so.

    Its Conv2d takes the height of a kernel for its width (nir 1.0.8, ir/conv.py).
    """
    for name, node in graph.map_nodes(lambda _, node: typed(node)).of_kind(Conv2d).items():
        size = node.weight.shape[2:]
        if size[0] != size[1]:
            yield (
                f"{name}: {TYPE_CHECK} takes the kernel {size} for square; "
                "other readers need type_check=False"
            )


def _neurons(graph: Graph, dialect: Dialect) -> Iterator[str]:
    for name, node in graph.neurons.items():
        yield from _rules(name, node, dialect, graph.level)
        yield from _fields(name, node, dialect)


def _rules(name: str, node: Neuron, dialect: Dialect, level: str) -> Iterator[str]:
    use, says = _others(dialect)
    counts = node.max_spikes_per_step
    if node.reset != dialect.reset:
        yield f"{name}: {says} reset {node.reset}, {use} {dialect.reset}"
    if dialect.multi_spike and counts < UNLIMITED:
        yield f"{name}: {says} max_spikes_per_step {counts}, {use} no limit"
    if not dialect.multi_spike and counts > 1:
        yield f"{name}: {says} max_spikes_per_step {counts}, {use} 1"
    moved = node.reset == "hard" == dialect.reset and counts == 1
    silent = moved and (level == "integer" or dialect.few_layers)
    if node.compare != dialect.compare and not silent:
        how = "; its threshold is one float32 step off, to the same effect" if moved else ""
        yield f"{name}: {says} compare {node.compare}, {use} {dialect.compare}{how}"
    if node.refractory_steps:
        yield f"{name}: {says} refractory_steps {node.refractory_steps}, {use} 0"


def _fields(name: str, node: Neuron, dialect: Dialect) -> Iterator[str]:
    says = _others(dialect)[1]
    leaky = any(bool((values != all_kept).any()) for values, all_kept in _decays(node))
    floor = dialect.flat_v_min and not leaky
    if node.v_min is not None and not (floor and (node.v_min == -node.v_threshold).all()):
        yield f"{name}: {says} v_min, other readers leave it out"
    if floor and node.v_min is None:
        yield f"{name}: {dialect.name} keeps v at -v_threshold or above"
    if node.leak_subtract is not None:
        yield f"{name}: {says} leak_subtract, other readers leave it out"
    if node.v_init.any():
        yield f"{name}: {says} v_init, other readers start at 0"
    if node.v_reset.any() and not dialect.v_reset:
        yield f"{name}: {says} v_reset, {dialect.name} resets to 0"
    if any((values < least).any() for values, least in _shortest(node, dialect)):
        yield f"{name}: {dialect.name} takes time constants above 1 step"
    alike = dialect.uniform == "all" or (dialect.uniform == "leaky" and leaky)
    uneven = (node.v_threshold != node.v_threshold.flat[0]).any()
    if alike and uneven and not one_a_channel(node.v_threshold, node.shape):
        yield f"{name}: {dialect.name} takes one threshold a layer"
    if alike and any(np.unique(values).size > 1 for values, _ in _decays(node)):
        yield f"{name}: {dialect.name} takes one time constant a layer"


def _shortest(node: Neuron, dialect: Dialect) -> list[tuple[Array, float]]:
    """Return the fields that decay v, with the least value that the reader takes."""
    least = 1 - 1 / dialect.least_tau
    decays = ((node.beta, least), (node.tau, dialect.least_tau))
    held = [] if node.dv is None else [(1 - node.dv / DECAY_ONE, least)]
    return [*held, *((values, low) for values, low in decays if values is not None)]


def _decays(node: Neuron) -> list[tuple[Array, float]]:
    """Return the field that decays v, with the value that keeps all of it."""
    fields = ((node.beta, 1.0), (node.dv, 0.0), (node.tau, np.inf))
    return [(values, all_kept) for values, all_kept in fields if values is not None]
