"""For each limit of each shipped chip a network that keeps it and one that breaks it.

`python tests/hw_targets/limits.py` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from spikewright.export.ir import (
    Conv2d,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    MatMul,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool,
    profile,
)
from spikewright.export.ir.nodes import paddings
from spikewright.hw_targets.event_calibration import KEY
from spikewright.hw_targets.fit import check
from spikewright.hw_targets.target import Target, targets

STRUCTURE = ("cores_per_tile", "mesh_columns", "mesh_rows")
"""Constants of the mesh, no limits."""
MET = {
    "axon_targets_per_neuron": "kept by copying neurons",
}
"""Limits that a rewrite keeps for every network; what it costs shows in other limits."""


class Case(NamedTuple):
    """One limit, and two networks that differ in it."""

    limit: str
    kept: Graph
    broken: Graph


def neuron(target: Target, shape: tuple[int, ...], **changes: Any) -> Neuron:
    """Return a neuron in the target's number format."""
    form = profile(target.profile)
    fields: dict[str, Any] = {
        "v_threshold": np.int32(40 * form.threshold_step),
        "state_bits": form.state_bits,
        "state_shift": form.state_shift or 0,
        "compare": form.compares[0],
        "reset": form.resets[0],
        "v_low": form.v_low,
        "v_high": form.v_high,
        "dv": np.int32(4096) if form.stateless else None,
    }
    return Neuron(shape, **{**fields, **changes})


def weights(target: Target, units: int, inputs: int, bits: int | None = None) -> Linear:
    """Return ones: a weight that every format holds."""
    return Linear(
        np.ones((units, inputs), np.int8), bits=bits or profile(target.profile).weight_bits
    )


def chain(nodes: dict[str, Node], high: int = 1, readout: str = "spike_count") -> Graph:
    first = next(iter(nodes.values()))
    shape: tuple[int, ...] = (first.weight.shape[1],) if isinstance(first, Linear) else (4,)
    start: dict[str, Node] = (
        {} if isinstance(first, Input) else {"in": Input(shape, "spikes", low=0, high=high)}
    )
    return Graph.chain({**start, **nodes, "out": Output(readout)}, "integer")  # type: ignore[arg-type]


def one(
    target: Target,
    units: int = 4,
    inputs: int = 4,
    bits: int | None = None,
    high: int = 1,
    **fields: Any,
) -> Graph:
    """Return input -> weights -> neurons."""
    return chain(
        {"fc": weights(target, units, inputs, bits), "n": neuron(target, (units,), **fields)}, high
    )


def two(target: Target, inputs: int, hidden: int, outputs: int, last: int | None = None) -> Graph:
    """Return an MLP; of the hidden neurons the first `last` alone feed the readout."""
    head = np.zeros((outputs, hidden), np.int8)
    head[:, : hidden if last is None else last] = 1
    form = profile(target.profile)
    return chain(
        {
            "fc": weights(target, hidden, inputs),
            "h": neuron(target, (hidden,)),
            "head": Linear(head, bits=form.weight_bits),
            "n": neuron(target, (outputs,)),
        }
    )


def deep(target: Target, layers: int) -> Graph:
    """Return a chain of single neurons, one a layer."""
    nodes: dict[str, Node] = {}
    for k in range(layers):
        nodes |= {f"fc{k}": weights(target, 1, 1), f"n{k}": neuron(target, (1,))}
    return chain(nodes)


def maps(
    target: Target, shape: tuple[int, int, int], out: int, kernel: int = 1, **conv: Any
) -> Graph:
    """Return a convolution of a map [c, y, x] and its neurons."""
    node = Conv2d(
        np.ones((out, shape[0], kernel, kernel), np.int8),
        bits=profile(target.profile).weight_bits,
        **conv,
    )
    (front, end), stride = paddings(node), node.stride[0]
    size = tuple((n + front[0] + end[0] - kernel) // stride + 1 for n in shape[1:])
    nodes: dict[str, Node] = {"in": Input(shape, "spikes", low=0, high=1), "conv": node}
    return chain({**nodes, "n": neuron(target, (out, *size))})


def fan(target: Target, branches: int, units: int = 4) -> Graph:
    """Return one layer that several others read; one of them goes on to the output."""
    form = profile(target.profile)
    nodes: dict[str, Node] = {
        "in": Input((4,), "spikes", low=0, high=1),
        "fc": weights(target, 4, 4),
        "n": neuron(target, (4,)),
    }
    edges: list[tuple[str, str] | tuple[str, str, int]] = [("in", "fc"), ("fc", "n")]
    from spikewright.export.ir import Add

    for k in range(branches):
        nodes |= {
            f"w{k}": weights(target, units, 4, form.weight_bits),
            f"b{k}": neuron(target, (units,)),
        }
        edges += [("n", f"w{k}"), (f"w{k}", f"b{k}"), (f"b{k}", "sum", k)]
    nodes |= {"sum": Add(), "out": Output("spike_count")}
    return Graph(nodes, [*edges, ("sum", "out")], "integer")


def wide_fan(target: Target, channels: int) -> Graph:
    """Return 4096 neurons that each reach all cores of two wide layers."""
    from spikewright.export.ir import Add

    form = profile(target.profile)
    nodes: dict[str, Node] = {"in": Input((1, 8, 8), "spikes", low=0, high=1)}
    nodes |= {
        "first": Conv2d(np.ones((64, 1, 1, 1), np.int8), bits=2),
        "n": neuron(target, (64, 8, 8)),
    }
    edges: list[tuple[str, str] | tuple[str, str, int]] = [("in", "first"), ("first", "n")]
    for k in range(2):
        wide = Conv2d(np.ones((channels, 64, 1, 1), np.int8), bits=form.weight_bits and 2)
        nodes |= {f"w{k}": wide, f"b{k}": neuron(target, (channels, 8, 8))}
        edges += [("n", f"w{k}"), (f"w{k}", f"b{k}"), (f"b{k}", "sum", k)]
    nodes |= {"sum": Add(), "out": Output("spike_count")}
    return Graph(nodes, [*edges, ("sum", "out")], "integer")


def delayed(target: Target, steps: int) -> Graph:
    return chain({"d": Delay((4,), steps), "fc": weights(target, 4, 4), "n": neuron(target, (4,))})


def queued(target: Target, events: int) -> Graph:
    """Return a graph as lowering leaves it when so many events waited at once."""
    graph = one(target)
    return graph.replace(metadata={**graph.metadata, KEY: {"longest_queue": events}})


def scaled(target: Target, factor: int) -> Graph:
    return chain(
        {
            "s": Scale(np.array(factor, np.int32)),
            "fc": weights(target, 4, 4),
            "n": neuron(target, (4,)),
        }
    )


def valued(target: Target, values: list[int]) -> Graph:
    """Return one neuron with these weights."""
    fc = Linear(np.array([values], np.int8), bits=profile(target.profile).weight_bits)
    return chain({"fc": fc, "n": neuron(target, (1,))})


def decays(target: Target, count: int) -> Graph:
    """Return so many neurons, each with decays of its own."""
    k = np.arange(count)
    return one(target, count, dv=(k % 4097).astype(np.int32), du=(k // 4097).astype(np.int32))


def step(target: Target) -> int:
    return profile(target.profile).threshold_step


def pair(build: Callable[[int], Graph], limit: int) -> tuple[Graph, Graph]:
    return build(limit), build(limit + 1)


def by_cores(t: Target, n: int) -> tuple[Graph, Graph]:
    return pair(lambda k: deep(t, k), n)


def per_core(t: Target, n: int) -> tuple[Graph, Graph]:
    if t.mapping == "crossbar" and t.limit("cores") != 1:
        return two(t, 1, 1, n * n), two(t, 1, 1, n * n + 1)
    every = t.limit("cores") or 1
    return pair(lambda k: one(t, k, 1), n * every)


def thresholds(t: Target, n: int) -> tuple[Graph, Graph]:
    def made(count: int) -> Graph:
        return one(t, count, v_threshold=(np.arange(count) * step(t)).astype(np.int32))

    return made(n + 1), made(n * (t.limit("cores") or 1) + 1)


CASES: dict[str, Callable[[Target, int], tuple[Graph, Graph]]] = {
    "weight_bits": lambda t, n: pair(lambda k: one(t, bits=k), n),
    "state_bits": lambda t, n: pair(lambda k: one(t, state_bits=k), n),
    "threshold_bits": lambda t, n: (
        one(t, v_threshold=np.int32(((1 << n) - 1) * step(t))),
        one(t, v_threshold=np.int32((1 << n) * step(t))),
    ),
    "leak_bits": lambda t, n: pair(lambda k: one(t, leak_subtract=np.int32(k)), (1 << n) - 1),
    "decay_bits": lambda t, n: (
        one(t, dv=np.int32(4096 >> n)),
        one(t, dv=np.int32((4096 >> n) // 2 + 1)),
    ),
    "queue_events": lambda t, n: pair(lambda k: queued(t, k), n),
    "scale_bits": lambda t, n: pair(lambda k: scaled(t, k), (1 << (n - 1)) - 1),
    "spikes_per_step": lambda t, n: pair(lambda k: one(t, max_spikes_per_step=k), n),
    "output_spikes_per_step": lambda t, n: pair(lambda k: one(t, max_spikes_per_step=k), n),
    "input_spikes_per_step": lambda t, n: pair(lambda k: one(t, high=k), n),
    "delay_steps": lambda t, n: pair(lambda k: delayed(t, k), n),
    "cores": by_cores,
    "neurons_per_core": per_core,
    "input_axons_per_core": lambda t, n: pair(lambda k: one(t, 2, k, 2), n),
    "output_axons_per_core": lambda t, n: (wide_fan(t, 200), wide_fan(t, 1600)),
    "synapse_words_per_core": lambda t, n: (one(t, 4096, 4096, 8), one(t, 4097, 4096, 8)),
    "synapse_bytes_per_core": lambda t, n: pair(lambda k: maps(t, (64, 8, 8), k), 6144),
    "synapses": lambda t, n: (
        maps(t, (64, 64, 64), 48, 3, padding=(1, 1)),
        maps(t, (64, 64, 64), 64, 3, padding=(1, 1)),
    ),
    "thresholds_per_core": thresholds,
    "neuron_configs_per_core": lambda t, n: (
        decays(t, n * 4),
        decays(t, n * (t.limit("cores") or 1) + 1),
    ),
    "axons_per_core": lambda t, n: pair(lambda k: one(t, 2, k), n),
    "weight_values_per_neuron": lambda t, n: (
        valued(t, [-8, -5, -3, 1, 2, 7]),
        valued(t, [-16, -5, -3, 1, 2, 15]),
    ),
    "kernel_words": lambda t, n: (maps(t, (256, 16, 16), 1, 16), maps(t, (1024, 16, 16), 1, 16)),
    "neuron_words": lambda t, n: (maps(t, (1, 64, 64), 32), maps(t, (1, 64, 64), 512)),
    "biases_per_core": lambda t, n: (
        one(t, n, bias=np.ones(n, np.int32)),
        one(t, n * 9 + 1, bias=np.ones(n * 9 + 1, np.int32)),
    ),
    "input_size": lambda t, n: pair(lambda k: maps(t, (1, k, k), 1, 3, stride=(2, 2)), n),
    "map_size": lambda t, n: pair(lambda k: maps(t, (1, k, k), 1), n),
    "channels": lambda t, n: pair(lambda k: maps(t, (1, 2, 2), k), n),
    "kernel_size": lambda t, n: pair(lambda k: maps(t, (1, 20, 20), 1, k), n),
    "padding": lambda t, n: pair(lambda k: maps(t, (1, 9, 9), 1, 3, padding=(k, k)), n),
    "destinations": lambda t, n: pair(lambda k: fan(t, k), n),
    "inputs": lambda t, n: pair(lambda k: two(t, k, 4, 4), n),
    "hidden_neurons": lambda t, n: pair(lambda k: two(t, 4, k, 4), n),
    "outputs": lambda t, n: pair(lambda k: two(t, 4, 4, k), n),
    "fan_out": lambda t, n: pair(lambda k: two(t, 4, 4, k), n),
    "average_fan_out": lambda t, n: pair(lambda k: two(t, 4, 4, k), n),
    "input_reach": lambda t, n: pair(lambda k: two(t, 4, k, 4), n),
    "output_reach": lambda t, n: pair(lambda k: two(t, 4, 2 * n, 4, k), n),
    "input_bytes_per_core": lambda t, n: pair(
        lambda k: one(t, 1, k), n * 2 * (t.limit("cores") or 1)
    ),
    "weight_bytes_per_core": lambda t, n: (one(t, 2048, 2048), one(t, 2048, 4096)),
}


def _other(names: tuple[str, ...], allowed: tuple[str, ...]) -> str | None:
    return next((name for name in names if name not in allowed), None)


def of_words(t: Target) -> Iterator[Case]:
    """Yield a case for each restriction that is a list of words."""
    plain = one(t)
    supports = t.supports
    product: dict[str, Node] = {"in": Input((2, 4), "spikes", low=0, high=1)}
    attention = Graph(
        {
            **product,
            "qk": MatMul(True),
            "flat": Flatten(),
            "fc": weights(t, 4, 4),
            "n": neuron(t, (4,)),
            "out": Output("spike_count"),
        },
        [
            ("in", "qk", 0),
            ("in", "qk", 1),
            ("qk", "flat"),
            ("flat", "fc"),
            ("fc", "n"),
            ("n", "out"),
        ],
        "integer",
    )
    if "nodes" in supports:
        yield Case("node kind", plain, attention)
    yield from of_inputs(t)
    yield from of_the_rule(t)
    reset = _other(("hard", "soft"), supports.get("resets", ("hard", "soft")))
    if reset:
        yield Case("resets", plain, one(t, reset=reset))
    compare = _other((">", ">="), supports.get("compares", (">", ">=")))
    if compare:
        yield Case("compares", plain, one(t, compare=compare))
    if "leaks" in supports and "decay" not in supports["leaks"]:
        yield Case("leaks", plain, one(t, dv=np.int32(1365)))
    elif "leaks" in supports:
        yield Case("leaks", plain, one(t, leak_subtract=np.int32(3)))
    if "biases" in supports:
        yield Case("biases", plain, one(t, bias=np.int32(3)))
    if "memory" in supports:
        yield Case("memory", plain, one(t, dv=np.int32(2048)))
    if "readouts" in supports:
        parts = {"fc": weights(t, 4, 4), "n": neuron(t, (4,)), "head": weights(t, 2, 4)}
        yield Case("readouts", plain, chain(parts, readout="integrate"))
    if "strides" in supports:
        yield Case(
            "strides",
            maps(t, (1, 9, 9), 1, 3, stride=(2, 2)),
            maps(t, (1, 9, 9), 1, 3, stride=(3, 3)),
        )
        yield Case("dilation", maps(t, (1, 9, 9), 1, 3), _dilated(t))
    if "pools" in supports:
        yield Case("pools", _pooled(t, 2, False), _pooled(t, 3, False))
        yield Case("order", _pooled(t, 2, False), _pooled(t, 2, True))
        yield Case(
            "order",
            plain,
            chain({"in": Input((4,), "spikes", low=0, high=1), "n": neuron(t, (4,))}),
        )
        yield Case("pools", _pooled(t, 2, False), _pooled(t, 4, False, 2))


def entering(t: Target, encoding: str, low: int, high: int) -> Graph:
    """Return input -> weights -> neurons for events of this kind."""
    start = Input((4,), encoding, low=low, high=high)  # type: ignore[arg-type]
    return chain({"in": start, "fc": weights(t, 4, 4), "n": neuron(t, (4,))})


def of_inputs(t: Target) -> Iterator[Case]:
    """Yield a case for what may not enter: counts, and values below 0."""
    takes = t.supports.get("inputs", ("direct",))
    if "frames" not in takes and "direct" not in takes and not t.limit("input_spikes_per_step"):
        yield Case("inputs", entering(t, "frames", 0, 1), entering(t, "frames", 0, 3))
    if "direct" not in takes:
        yield Case("input sign", one(t), entering(t, "spikes", -1, 1))


def of_the_rule(t: Target) -> Iterator[Case]:
    """Yield a case for each rule of a neuron that the chip's number format fixes."""
    form, plain = profile(t.profile), one(t)
    if form.reset_to_zero:
        yield Case("v_reset", plain, one(t, v_reset=np.int32(form.threshold_step)))
    if form.state_shift is not None:
        yield Case("state_shift", plain, one(t, state_shift=form.state_shift + 1))
    if form.name != "generic" and t.limit("state_bits"):
        narrow = {"state_bits": form.state_bits - 2, "v_low": None, "v_high": None}
        yield Case("state range", plain, one(t, **narrow))
    if form.bias_step > 1:
        bias = np.full(4, form.bias_step, np.int32)
        yield Case("bias_step", one(t, bias=bias), one(t, bias=bias + 1))
    used: dict[str, dict[str, Any]] = {
        "refractory": {"refractory_steps": 2},
        "v_min": {"v_min": np.int32(-64)},
        "v_init": {"v_init": np.int32(64)},
    }
    for option in _others(tuple(used), t.supports.get("neuron_options", tuple(used))):
        yield Case("neuron_options", plain, one(t, **used[option]))


def _others(names: tuple[str, ...], allowed: tuple[str, ...]) -> list[str]:
    return [name for name in names if name not in allowed]


def _dilated(t: Target) -> Graph:
    conv = Conv2d(np.ones((1, 1, 3, 3), np.int8), dilation=(2, 2), bits=8)
    return chain(
        {"in": Input((1, 9, 9), "spikes", low=0, high=1), "conv": conv, "n": neuron(t, (1, 5, 5))}
    )


def _pooled(t: Target, size: int, before_spikes: bool, again: int = 1) -> Graph:
    pool = SumPool((size, size), (size, size), (0, 0))
    more = SumPool((again, again), (again, again), (0, 0))
    conv, last = (Conv2d(np.ones((1, 1, 1, 1), np.int8), bits=8) for _ in range(2))
    small = (1, 24 // size // again, 24 // size // again)
    nodes: dict[str, Node] = {"in": Input((1, 24, 24), "spikes", low=0, high=1), "conv": conv}
    if before_spikes:
        return chain({**nodes, "pool": pool, "n": neuron(t, small)})
    nodes |= {"n": neuron(t, (1, 24, 24)), "pool": pool}
    if again > 1:
        nodes["more"] = more
    return chain({**nodes, "last": last, "m": neuron(t, small)})


def cases(target: Target) -> Iterator[Case]:
    """Yield each limit of a chip with a network that keeps and one that breaks it."""
    for limit in target.limits:
        single = limit == "cores" and target.limit("cores") == 1
        full_width = limit == "decay_bits" and target.limit(limit) == 12
        if limit in STRUCTURE or limit in MET or single or full_width:
            continue
        n = target.limit(limit)
        assert n is not None
        yield Case(limit, *CASES[limit](target, n))
    yield from of_words(target)


def broken(graph: Graph, target: Target) -> dict[str, Any]:
    """Return the violations of a network and what is over a budget, by limit."""
    found = check(graph, target)
    return {v.limit: v for v in (*found.violations, *found.budgets)}


def main() -> None:
    """Print the table: chip, limit, allowed, what the failing network has, and the remedy."""
    for target in targets():
        for case in cases(target):
            kept, found = broken(case.kept, target), broken(case.broken, target)
            fails = found.get(case.limit)
            mark = "ok " if fails is not None and case.limit not in kept else "BAD"
            said = f"allows {fails.allowed}, found {fails.found}; {fails.remedy}" if fails else ""
            print(f"{mark} {target.name:12} {case.limit:26} {said}", flush=True)


if __name__ == "__main__":
    main()
