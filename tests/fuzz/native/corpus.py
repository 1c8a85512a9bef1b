"""Plans of real graphs as the bytes that `recipe.hpp` reads: what the fuzzer starts from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from spikewright.export.ir import Graph, SpikewrightError
from spikewright.sim.native_plan import build

from ..graphs import random_graph
from ..wide import wide_graph

MOST_BYTES = 1 << 14
WIDE = 8
"""Each graph of that many is one of wide layers."""
CALLS = {
    name: code
    for code, name in enumerate(
        (
            "input",
            "weights",
            "pool",
            "permutation",
            "sum",
            "scale",
            "matmul",
            "delay",
            "close_delay",
            "neuron",
            "fused_neuron",
            "readout",
            "mark_fixed",
            "set_output",
        )
    )
}
ARRAYS = (
    *("threshold", "decay", "current_decay", "bias", "bias_in"),
    *("reset", "initial", "minimum", "leak"),
)
NUMBERS = (
    *("low", "high", "current_low", "current_high"),
    *("current_bits", "shift", "max_spikes", "refractory"),
)
RESETS = ("hard", "soft", "soft_after_decay")


class RecordedPlan:
    """Takes the calls of `_native.Plan` and keeps their bytes."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self._nodes = 0

    def _call(self, name: str, *parts: bytes) -> None:
        self.bytes += bytes([CALLS[name]]) + b"".join(parts)

    def _node(self, name: str, *parts: bytes) -> int:
        self._call(name, *parts)
        self._nodes += 1
        return self._nodes - 1

    def add_input(self, map: list[int], index: Any) -> int:
        return self._node("input", *numbers(map), ints(index))

    def add_weights(
        self, source: int, window: list[int], weight: Any, groups: int, shift: int, largest: int
    ) -> int:
        out, codes = len(weight), np.ascontiguousarray(weight, np.int8)
        given = (*numbers([source, *window, out, groups]), signed(shift), signed(largest))
        return self._node("weights", *given, number(codes.size), codes.tobytes())

    def add_pool(self, source: int, window: list[int], maximum: bool, kind: int) -> int:
        return self._node("pool", *numbers([source, *window]), bytes([maximum]), number(kind))

    def add_permutation(self, source: int, map: list[int], index: Any) -> int:
        return self._node("permutation", *numbers([source, *map]), ints(index))

    def add_sum(self, sources: list[int], map: list[int]) -> int:
        return self._node("sum", *numbers([len(sources), *sources, *map]))

    def add_scale(self, source: int, map: list[int], factor: Any) -> int:
        return self._node("scale", *numbers([source, *map]), ints(factor))

    def add_matmul(
        self, a: int, b: int, shape: list[int], strides: list[int], map: list[int]
    ) -> int:
        return self._node("matmul", *numbers([a, b, *shape, *strides, *map]))

    def add_delay(self, map: list[int], steps: int) -> int:
        return self._node("delay", *numbers([*map, steps]))

    def close_delay(self, delay: int, source: int) -> None:
        self._call("close_delay", *numbers([delay, source]))

    def add_neuron(self, source: int, map: list[int], fields: dict[str, Any]) -> int:
        return self._node("neuron", *numbers([source, *map]), neuron(fields))

    def add_fused_neuron(
        self,
        weights: int,
        map: list[int],
        fields: dict[str, Any],
        addend: list[int],
        factor: Any,
    ) -> int:
        others = numbers([len(addend), *addend])
        given = (*numbers([weights, *map]), neuron(fields), *others, ints(factor))
        return self._node("fused_neuron", *given)

    def add_readout(self, source: int, fields: dict[str, Any]) -> int:
        arrays = [ints(fields.get(name, ())) for name in ("bias", "decay")]
        limits = [signed(fields[name]) for name in ("low", "high", "shift")]
        flags = bytes([fields["accumulates"]])
        return self._node("readout", number(source), *arrays, *limits, flags)

    def mark_fixed(self, node: int) -> None:
        self._call("mark_fixed", number(node))

    def set_output(self, node: int) -> None:
        self._call("set_output", number(node))


def number(value: int) -> bytes:
    """Return a number from 0 on, seven bits a byte, the least first."""
    parts = bytearray()
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def numbers(values: Iterable[int]) -> list[bytes]:
    return [number(int(value)) for value in values]


def signed(value: int) -> bytes:
    """Return a number whose sign is its lowest bit."""
    return number(2 * int(value) if value >= 0 else -2 * int(value) - 1)


def ints(values: Any) -> bytes:
    flat = np.asarray(values, np.int64).ravel()
    return number(flat.size) + b"".join(signed(value) for value in flat)


def neuron(fields: dict[str, Any]) -> bytes:
    parts = [ints(fields.get(name, ())) for name in ARRAYS]
    parts += [signed(fields[name]) for name in NUMBERS]
    flags = fields["current_based"] | fields["wraps"] << 1 | fields["inclusive"] << 2
    return b"".join([*parts, bytes([flags | RESETS.index(fields["reset_kind"]) << 3])])


def plan_bytes(graph: Graph, rng: np.random.Generator) -> bytes:
    """Return a graph's plan, ways to run it and some input."""
    plan: Any = RecordedPlan()
    build(plan, graph)
    ways = rng.integers(0, 256, 2, np.uint8).tobytes()
    run = bytes([int(rng.integers(0, 2)), 4, 2]) + number(2**63 - 1)
    x = rng.integers(0, 2, 64, np.uint8).tobytes()
    return ways + bytes(plan.bytes) + run + x


def write_corpus(folder: Path, plans: int, seed: int = 0) -> int:
    """Write plans of random graphs, each a file; return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for k in range(plans):
        rng = np.random.default_rng([seed, k])
        try:
            graph = wide_graph(rng) if k % WIDE == WIDE - 1 else random_graph(rng)
        except SpikewrightError:
            continue
        made = plan_bytes(graph, rng)
        if len(made) <= MOST_BYTES:
            (folder / f"plan{k}").write_bytes(made)
            written += 1
    return written
