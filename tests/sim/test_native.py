"""The native engine against the reference: every table this CPU has, every forced choice."""

from __future__ import annotations

import numpy as np
import pytest

from spikewright.export.ir import (
    ExecutorError,
    Flatten,
    Graph,
    Input,
    InputError,
    Linear,
    Neuron,
    Output,
    SpikewrightError,
)
from spikewright.export.ir.nodes import MaxPool
from spikewright.sim.native import CHOICES, ISA_VARIABLE, Native, isa_info
from spikewright.sim.reference import Reference
from spikewright.sim.verify import compare
from tests.fuzz.graphs import random_graph, random_input

TABLES = ("generic", "avx2", "avx512vnni")
AVAILABLE = isa_info()["available"]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("isa", TABLES)
def test_every_table_and_choice_is_equal(isa: str, choice: str) -> None:
    if isa not in AVAILABLE:
        pytest.skip(f"this CPU lacks {isa}")
    for seed in range(40):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        x = random_input(graph, rng, batch=3)
        one = Reference().prepare(graph).run(x)
        two = Native(threads=2, isa=isa, choice=choice).prepare(graph).run(x)
        assert isinstance(compare(one, two, ("reference", isa)), int), seed


def wide(units: int, encoding: str) -> Graph:
    """Long rows, so that the vector loops and their tails both run."""
    rng = np.random.default_rng(units)
    weight = rng.integers(-127, 128, (units, units)).astype(np.int8)
    low, scale = (-127, 1 / 127) if encoding == "direct" else (0, None)
    high = 127 if encoding == "direct" else 1
    return Graph.chain(
        {
            "in": Input((units,), encoding, scale, low, high),  # type: ignore[arg-type]
            "a": Linear(weight),
            "n": Neuron((units,), np.int32(900), dv=np.int32(400)),
            "b": Linear(weight[:7]),
            "out": Output("integrate"),
        },
        "integer",
    )


@pytest.mark.parametrize("isa", TABLES)
@pytest.mark.parametrize("units", [1, 15, 64, 65, 193])
@pytest.mark.parametrize("encoding", ["direct", "spikes"])
def test_long_rows_at_the_extremes(isa: str, units: int, encoding: str) -> None:
    if isa not in AVAILABLE:
        pytest.skip(f"this CPU lacks {isa}")
    graph = wide(units, encoding)
    low, high = graph.input.low, graph.input.high
    assert low is not None and high is not None
    rng = np.random.default_rng(1)
    x = np.where(rng.random((4, 2, units)) < 0.5, low, high).astype(np.int64)
    one = Reference().prepare(graph).run(x)
    for choice in CHOICES:
        two = Native(isa=isa, choice=choice).prepare(graph).run(x)
        assert isinstance(compare(one, two, ("reference", isa)), int)


@pytest.mark.parametrize("isa", TABLES)
@pytest.mark.parametrize("fan_in", [257, 258, 259, 600])
@pytest.mark.parametrize("low", [0, -1])
def test_sums_at_the_edge_of_int16(isa: str, fan_in: int, low: int) -> None:
    """127 * 258 is the last sum that int16 holds; beyond, and with signs, int32 takes over."""
    if isa not in AVAILABLE:
        pytest.skip(f"this CPU lacks {isa}")
    weight = np.full((3, fan_in), 127, np.int8)
    weight[1], weight[2] = -127, np.where(np.arange(fan_in) % 2, 127, -127)
    nodes = {
        "in": Input((fan_in,), "frames", None, low, 1),
        "fc": Linear(weight),
        "out": Output("none"),
    }
    graph = Graph.chain(nodes, "integer")
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(fan_in), np.full(fan_in, low), rng.integers(low, 2, fan_in)])[None]
    one = Reference().prepare(graph).run(x.astype(np.int64))
    two = Native(isa=isa, choice="gather").prepare(graph).run(x.astype(np.int64))
    assert np.array_equal(one.output, two.output)


def test_steps_equal_a_run_and_reset_forgets() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        x = np.ascontiguousarray(random_input(graph, rng))
        session = Native().prepare(graph)
        whole = session.run(x).output
        for _ in range(2):
            session.reset()
            assert np.array_equal(np.stack([session.step(frame) for frame in x]), whole)


def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(7)
    graph = random_graph(rng)
    x = random_input(graph, rng, batch=9)
    one, four = (Native(threads=t).prepare(graph).run(x) for t in (1, 4))
    assert isinstance(compare(one, four, ("1", "4")), int)


def test_a_float_graph_is_refused() -> None:
    graph = Graph.chain({"in": Input((2,)), "fc": Linear(np.eye(2)), "out": Output()}, "folded")
    with pytest.raises(ExecutorError, match="lower it"):
        Native().prepare(graph)


def test_a_pool_over_three_axes_is_refused_by_name() -> None:
    graph = Graph.chain(
        {
            "in": Input((2, 2, 2), "spikes", low=0, high=1),
            "pool": MaxPool((2, 2, 2), (2, 2, 2), (0, 0, 0)),
            "flat": Flatten(),
            "out": Output("spike_count"),
        },
        "integer",
    )
    with pytest.raises(ExecutorError, match="pool: pools over 3 axes"):
        Native().prepare(graph)


def test_a_forced_table_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = wide(4, "spikes")
    monkeypatch.setenv(ISA_VARIABLE, "generic")
    assert Native().prepare(graph).isa == "generic"
    monkeypatch.setenv(ISA_VARIABLE, "mmx")
    with pytest.raises(InputError, match="'mmx' is not available"):
        Native().prepare(graph)


def test_wrong_values_are_refused() -> None:
    session = Native().prepare(wide(4, "spikes"))
    with pytest.raises(SpikewrightError, match="the network takes"):
        session.run(np.zeros((2, 1, 5), np.int64))
