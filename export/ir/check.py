"""The rules that a graph of each level obeys; a pass checks before and after itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import networkx as nx
import numpy as np

from .bounds import bounds
from .errors import GraphError
from .graph import Graph, Level
from .nodes import (
    WEIGHTS,
    AvgPool,
    BatchNorm,
    Compare,
    Delay,
    Encoding,
    Input,
    Neuron,
    Node,
    Output,
    Range,
    Readout,
    Reset,
    Scale,
    Shape,
    Weight,
)
from .shapes import broadcasts

_NAME = re.compile(r"[^\s/\\\x00-\x1f]{1,200}")
_CHOICES: dict[str, tuple[str, ...]] = {
    "encoding": get_args(Encoding),
    "reset": get_args(Reset),
    "compare": get_args(Compare),
    "u_range": get_args(Range),
    "readout": get_args(Readout),
}
_FLOAT_ONLY = {"beta", "alpha", "tau"}
_INTEGER_ONLY = {"dv", "du"}
_ALWAYS_FLOAT = {"v_scale", "scale", "mean", "std"}
_RANGES: dict[str, tuple[int, int]] = {
    "state_bits": (2, 30),
    "state_shift": (0, 16),
    "weight_shift": (0, 16),
    "max_spikes_per_step": (1, 2**15),
    "refractory_steps": (0, 2**15),
    "steps": (1, 2**15),
}
Problem = tuple[str, str | None]


def check(graph: Graph) -> Graph:
    """Return `graph` if it obeys every rule of its level.

    Raises:
        GraphError: naming the first node that breaks a rule, and the remedy.
        BoundsError: at the integer level, where a worst case leaves int32.
    """
    _check_structure(graph)
    for name, node in graph.nodes.items():
        for rule in (*RULES, *LEVEL_RULES[graph.level]):
            for reason, remedy in rule(node, graph.shapes[name]):
                raise GraphError(reason, node=name, remedy=remedy)
    if graph.level == "integer":
        bounds(graph)
    return graph


def _check_structure(graph: Graph) -> None:
    _ = graph.input_name, graph.output_name
    for name, node in graph.nodes.items():
        if not _NAME.fullmatch(name):
            raise GraphError(
                "a node name is 1..200 characters without spaces or slashes", node=name
            )
        _check_ports(graph, name, node)
    net: nx.MultiDiGraph[Any] = graph.networkx()
    alive = nx.descendants(net, graph.input_name) & nx.ancestors(net, graph.output_name)
    for name in graph.nodes:
        if name not in alive | {graph.input_name, graph.output_name}:
            raise GraphError(
                "not on a way from the Input to the Output",
                node=name,
                remedy="remove or connect it",
            )
    _ = graph.shapes


def _check_ports(graph: Graph, name: str, node: Node) -> None:
    ports = [edge.port for edge in graph.edges if edge.target == name]
    found, wanted = len(ports), node.arity
    if ports != list(range(found)):
        raise GraphError(f"input ports {ports} are not 0..{found - 1}, once each", node=name)
    if found != wanted if wanted is not None else found < 2:
        raise GraphError(
            f"{found} inputs, needs {'2 or more' if wanted is None else wanted}", node=name
        )
    if isinstance(node, Output) and graph.consumers(name):
        raise GraphError("an Output feeds nothing", node=name)


def _choices(node: Node, shape: Shape) -> Iterator[Problem]:
    for name, allowed in _CHOICES.items():
        value = getattr(node, name, allowed[0])
        if value not in allowed:
            yield f"{name} is {value!r}, allowed: {', '.join(allowed)}", None


def _ranges(node: Node, shape: Shape) -> Iterator[Problem]:
    for name, (low, high) in _RANGES.items():
        value = getattr(node, name, low)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            yield f"{name} is {value!r}, allowed {low}..{high}", None


def _finite(node: Node, shape: Shape) -> Iterator[Problem]:
    for name, array in _arrays(node):
        if array.dtype.kind not in "fiu":
            yield f"{name} has dtype {array.dtype}, numbers are needed", None
        elif array.dtype.kind == "f" and array.dtype.itemsize > 8:
            yield f"{name} has dtype {array.dtype}, at most float64 is held", None
        elif array.size == 0:
            yield f"{name} is empty", None
        elif array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(np.count_nonzero(~np.isfinite(array)))
            yield (
                f"{name} holds {bad} NaN or infinite values of {array.size}",
                "retrain or repair it",
            )


def _arrays(node: Node) -> Iterator[tuple[str, Any]]:
    for name in node.array_fields:
        array = getattr(node, name)
        if array is not None:
            yield name, array


def _finite_scalars(node: Node, shape: Shape) -> Iterator[Problem]:
    for name in ("scale", "eps"):
        value = getattr(node, name, None)
        if isinstance(value, float) and not np.isfinite(value):
            yield f"{name} is {value}, a finite number is needed", None


def _broadcast(node: Node, shape: Shape) -> Iterator[Problem]:
    if not isinstance(node, (Neuron, Output, Input)):
        return
    for name, array in _arrays(node):
        if not broadcasts(array.shape, shape):
            yield f"{name} of shape {array.shape} does not broadcast to {shape}", None


def _weights(node: Node, shape: Shape) -> Iterator[Problem]:
    if not isinstance(node, WEIGHTS):
        return
    outputs = node.weight.shape[0]
    for name in ("bias", "scale"):
        array = getattr(node, name)
        allowed = {(outputs,)} | ({(), (1,)} if name == "scale" else set())
        if array is not None and array.shape not in allowed:
            yield (
                f"{name} has shape {array.shape}, one entry an output channel is ({outputs},)",
                None,
            )


def _neuron(node: Node, shape: Shape) -> Iterator[Problem]:
    if not isinstance(node, Neuron):
        return
    counts = node.max_spikes_per_step > 1 or node.reset != "hard"
    if counts and (node.v_threshold <= 0).any():
        low = node.v_threshold.min()
        yield f"v_threshold {low} must be above 0 for soft reset or several spikes a step", None
    if node.leak_subtract is not None and (node.leak_subtract < 0).any():
        yield "leak_subtract is negative", None


def _readout(node: Node, shape: Shape) -> Iterator[Problem]:
    if not isinstance(node, Output):
        return
    if node.readout == "none" and node.bias is not None:
        yield "readout none has no place for a bias", "use readout integrate"
    for name in ("beta", "dv"):
        if node.readout != "leaky" and getattr(node, name) is not None:
            yield f"readout {node.readout} has no {name}", "use readout leaky"


def _std(node: Node, shape: Shape) -> Iterator[Problem]:
    if isinstance(node, Input) and node.std is not None and (node.std <= 0).any():
        yield "std must be above 0", None
    if isinstance(node, BatchNorm) and (node.var + node.eps <= 0).any():
        yield f"var + eps must be above 0, found {float((node.var + node.eps).min())}", None


def _float_values(node: Node, shape: Shape) -> Iterator[Problem]:
    for name, array in _arrays(node):
        if name in _INTEGER_ONLY:
            yield f"{name} belongs to the integer level", "use beta or alpha"
        if isinstance(node, (*WEIGHTS, Scale)) and array.dtype.kind != "f":
            yield f"{name} has dtype {array.dtype}, a float graph holds floats", None
    if isinstance(node, Neuron):
        yield from _float_neuron(node)


def _float_neuron(node: Neuron) -> Iterator[Problem]:
    if (node.beta is None) == (node.tau is None):
        yield "needs exactly one of beta and tau", "beta=1 is integrate-and-fire"
    for name in ("alpha", "beta"):
        value = getattr(node, name)
        if value is not None and ((value < 0) | (value > 1)).any():
            yield f"{name} must lie within 0..1, found {value.min()}..{value.max()}", None
    if node.tau is not None and (node.tau < 1).any():
        yield f"tau must be at least 1 step, found {node.tau.min()}", None
    if node.tau is not None and node.leak_subtract is not None:
        yield "leak_subtract goes with beta, not with tau", "give beta = 1 - 1 / tau"


def _folded_kinds(node: Node, shape: Shape) -> Iterator[Problem]:
    if isinstance(node, (BatchNorm, AvgPool)):
        yield f"{node.kind} does not exist at the folded level", "fold the graph"
    if isinstance(node, Neuron) and node.tau is not None:
        yield "tau does not exist at the folded level", "fold the graph"


def _integer_kinds(node: Node, shape: Shape) -> Iterator[Problem]:
    if isinstance(node, (BatchNorm, AvgPool)):
        yield f"{node.kind} does not exist at the integer level", "fold the graph"


def _integer_values(node: Node, shape: Shape) -> Iterator[Problem]:
    for name, array in _arrays(node):
        if name in _FLOAT_ONLY:
            yield f"{name} belongs to the float levels", "quantise the graph"
        elif name not in _ALWAYS_FLOAT and not _is_int32(array):
            yield f"{name} has dtype {array.dtype}, integers within int32 are needed", None
    if isinstance(node, WEIGHTS):
        if node.weight.dtype != np.int8:
            yield f"weight has dtype {node.weight.dtype}, the integer level holds int8", None
        if node.bias is not None:
            yield "an integer weight node carries no bias", "move it to the neuron or readout"
        yield from _weight_bits(node)
    if isinstance(node, Input):
        yield from _integer_input(node)
    if isinstance(node, (Neuron, Output)):
        yield from _integer_state(node)


def _weight_bits(node: Weight) -> Iterator[Problem]:
    if node.bits is None:
        return
    if not 2 <= node.bits <= 8:
        yield f"bits is {node.bits}, allowed 2..8", None
        return
    half = 1 << (node.bits - 1)
    low, high = int(node.weight.min()), int(node.weight.max())
    if not -half <= low <= high < half:
        yield f"weights {low}..{high} leave {node.bits} bits ({-half}..{half - 1})", None


def _is_int32(array: Any) -> bool:
    info = np.iinfo(np.int32)
    return array.dtype.kind in "iu" and info.min <= array.min() and array.max() <= info.max


def _integer_input(node: Input) -> Iterator[Problem]:
    if node.low is None or node.high is None or not -(2**15) <= node.low <= node.high < 2**15:
        yield f"low..high is {node.low}..{node.high}, allowed -32768..32767", None
    scale = node.scale
    if node.encoding == "direct" and (scale is None or not np.isfinite(scale) or scale <= 0):
        yield f"direct encoding needs a scale above 0, found {scale}", "calibrate the lowering"


def _integer_state(node: Neuron | Output) -> Iterator[Problem]:
    for name in ("dv", "du"):
        value = getattr(node, name, None)
        if value is not None and ((value < 0) | (value > 4096)).any():
            yield f"{name} must lie within 0..4096, found {value.min()}..{value.max()}", None
    if isinstance(node, Output):
        return
    low, high = node.v_limits
    half = 1 << (node.state_bits - 1)
    if not -half <= low <= high <= half:
        yield f"v_low..v_high {low}..{high} leaves {node.state_bits} bits", None
    for name in ("v_reset", "v_init"):
        value = getattr(node, name)
        if ((value < low) | (value > high)).any():
            yield f"{name} {value.min()}..{value.max()} leaves the state range {low}..{high}", None
    if node.v_min is not None and (node.v_min > high).any():
        yield f"v_min {node.v_min.max()} is above the state range {low}..{high}", None


def _float_delay(node: Node, shape: Shape) -> Iterator[Problem]:
    if isinstance(node, Delay) and min(node.shape, default=1) < 1:
        yield f"shape {node.shape} is empty", None


Rule = Callable[[Node, Shape], Iterator[Problem]]
RULES: tuple[Rule, ...] = (
    _choices,
    _ranges,
    _finite,
    _finite_scalars,
    _broadcast,
    _weights,
    _neuron,
    _readout,
    _std,
    _float_delay,
)
LEVEL_RULES: dict[Level, tuple[Rule, ...]] = {
    "float": (_float_values,),
    "folded": (_float_values, _folded_kinds),
    "integer": (_integer_kinds, _integer_values),
}
