"""The native engine against the reference: every table this CPU has, every forced choice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from spikewright.export.ir import (
    Add,
    Array,
    Conv2d,
    ExecutorError,
    Flatten,
    Graph,
    Input,
    InputError,
    Linear,
    Neuron,
    Node,
    Output,
    Scale,
    SpikewrightError,
)
from spikewright.export.ir.nodes import MaxPool
from spikewright.sim.native import ISA_VARIABLE, Forced, Native, isa_info
from spikewright.sim.reference import Reference
from spikewright.sim.verify import compare
from tests.fuzz.graphs import random_graph, random_input

TABLES = ("generic", "avx2", "avx512vnni", "amx")
FORCED = (
    Forced(),
    Forced("gather"),
    Forced("gather", int16=False, steps=1),
    Forced("dense"),
    Forced("dense", steps=2),
)
AVAILABLE = isa_info()["available"]


def all_equal(graph: Graph, x: Array, isa: str, forced: Forced, threads: int = 1) -> None:
    """States, and without their recording spikes and outputs, are those of the reference."""
    session = Native(threads=threads, isa=isa, forced=forced).prepare(graph)
    expected = Reference().prepare(graph).run(x)
    found = compare(expected, session.run(x), ("reference", isa))
    assert isinstance(found, int), found
    bare = session.run(x, "spikes")
    assert np.array_equal(bare.output, expected.output)
    for name, neuron in expected.neurons.items():
        assert np.array_equal(bare.neurons[name].spikes, neuron.spikes), name


def needs(isa: str) -> None:
    if isa not in AVAILABLE:
        pytest.skip(f"this CPU lacks {isa}")


@pytest.mark.parametrize("forced", FORCED)
@pytest.mark.parametrize("isa", TABLES)
def test_every_table_and_choice_is_equal(isa: str, forced: Forced) -> None:
    needs(isa)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        all_equal(graph, random_input(graph, rng, batch=3), isa, forced)


def tower(rng: np.random.Generator, channels: tuple[int, ...], encoding: str) -> Graph:
    """Convolutions of real widths, so that vectors, tiles and their tails all run."""
    high = {"direct": 127, "frames": 9, "spikes": 1}[encoding]
    low, scale = (-127, 1 / 127) if encoding == "direct" else (0, None)
    nodes: dict[str, Node] = {"in": Input((channels[0], 9, 11), encoding, scale, low, high)}  # type: ignore[arg-type]
    shape = (9, 11)
    for k, (before, after) in enumerate(pairwise(channels)):
        kernel, stride = (3, 1 + k % 2) if k % 3 < 2 else (1, 1)
        groups = 2 if before % 2 == 0 and after % 2 == 0 and k % 3 == 1 else 1
        weight = rng.integers(-128, 128, (after, before // groups, kernel, kernel))
        nodes[f"c{k}"] = Conv2d(
            weight.astype(np.int8), stride=(stride,) * 2, padding=(kernel // 2,) * 2, groups=groups
        )
        shape = tuple((n + 2 * (kernel // 2) - kernel) // stride + 1 for n in shape)  # type: ignore[assignment]
        threshold = rng.integers(100, 900, (after, 1, 1) if k % 2 else (after, *shape))
        nodes[f"n{k}"] = Neuron(
            (after, *shape),
            (threshold << 6).astype(np.int32),
            dv=np.int32(1500) if k % 2 else None,
            bias=rng.integers(-99, 99, (after, 1, 1)).astype(np.int32),
            reset="soft" if k % 3 == 1 else "hard",
            compare=">=" if k % 2 else ">",
            state_shift=6,
        )
    weight = rng.integers(-127, 128, (10, channels[-1] * shape[0] * shape[1])).astype(np.int8)
    nodes |= {"flat": Flatten(), "fc": Linear(weight), "out": Output("integrate")}
    return Graph.chain(nodes, "integer")


@pytest.mark.parametrize("forced", FORCED)
@pytest.mark.parametrize("isa", TABLES)
def test_wide_convolutions_are_equal(isa: str, forced: Forced) -> None:
    needs(isa)
    rng = np.random.default_rng(3)
    for channels, encoding in [
        ((3, 70, 66, 40), "spikes"),
        ((5, 34, 130, 17, 300), "direct"),
        ((18, 97), "frames"),
    ]:
        graph = tower(rng, channels, encoding)
        node = graph.input
        assert node.low is not None and node.high is not None
        x = rng.integers(node.low, node.high + 1, (5, 2, *node.shape))
        all_equal(graph, x, isa, forced)
        all_equal(graph, np.broadcast_to(x[0], x.shape), isa, forced)


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


@pytest.mark.parametrize("forced", FORCED[:4])
@pytest.mark.parametrize("isa", TABLES)
def test_currents_that_join_are_equal(isa: str, forced: Forced) -> None:
    """A shortcut's spikes times a factor, or its currents, enter with the sums of the weights."""
    needs(isa)
    rng = np.random.default_rng(5)
    for factor in (rng.integers(1, 99, (40, 1, 1)), rng.integers(1, 99, (40, 5, 6)), None):

        def codes(out: int, before: int, k: int) -> Array:
            return rng.integers(-127, 128, (out, before, k, k)).astype(np.int8)

        nodes: dict[str, Node] = {
            "in": Input((2, 5, 6), "spikes", None, 0, 1),
            "c1": Conv2d(codes(40, 2, 3), padding=(1, 1)),
            "n1": Neuron((40, 5, 6), np.int32(150)),
            "c2": Conv2d(codes(40, 40, 3), padding=(1, 1), weight_shift=2),
            "short": Conv2d(codes(40, 40, 1)) if factor is None else Scale(factor.astype(np.int32)),
            "add": Add(),
            "n2": Neuron((40, 5, 6), np.int32(300), dv=np.int32(700)),
            "out": Output("spike_count"),
        }
        edges = [("in", "c1"), ("c1", "n1"), ("n1", "c2"), ("n1", "short"), ("c2", "add", 0)]
        graph = Graph(nodes, [*edges, ("short", "add", 1), ("add", "n2"), ("n2", "out")], "integer")
        all_equal(graph, rng.integers(0, 2, (4, 2, 2, 5, 6)), isa, forced)


@pytest.mark.parametrize("isa", TABLES)
def test_small_sums_times_a_factor_join_as_sums(isa: str) -> None:
    """Sums of 0 to 2 would fit a byte, and lie as int32: their factor is not left to the neuron."""
    needs(isa)
    rng = np.random.default_rng(4)
    nodes: dict[str, Node] = {
        "in": Input((2,), "spikes", None, 0, 1),
        "a": Linear(np.ones((3, 2), np.int8)),
        "scale": Scale(np.array([-7, 2, 3], np.int32)),
        "b": Linear(rng.integers(-9, 10, (3, 2)).astype(np.int8)),
        "add": Add(),
        "n": Neuron((3,), np.int32(4)),
        "out": Output("spike_count"),
    }
    edges = [("in", "a"), ("a", "scale"), ("in", "b"), ("scale", "add", 0), ("b", "add", 1)]
    graph = Graph(nodes, [*edges, ("add", "n"), ("n", "out")], "integer")
    for forced in FORCED:
        all_equal(graph, rng.integers(0, 2, (6, 4, 2)), isa, forced)


@pytest.mark.parametrize("isa", TABLES)
@pytest.mark.parametrize("units", [1, 15, 64, 65, 193])
@pytest.mark.parametrize("encoding", ["direct", "spikes"])
def test_long_rows_at_the_extremes(isa: str, units: int, encoding: str) -> None:
    needs(isa)
    graph = wide(units, encoding)
    low, high = graph.input.low, graph.input.high
    assert low is not None and high is not None
    rng = np.random.default_rng(1)
    x = np.where(rng.random((4, 2, units)) < 0.5, low, high).astype(np.int64)
    for forced in FORCED:
        all_equal(graph, x, isa, forced)


@pytest.mark.parametrize("isa", TABLES)
@pytest.mark.parametrize("fan_in", [257, 258, 259, 600])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 2), (0, 9), (0, 127), (0, 128)])
def test_sums_at_the_edge_of_int16(isa: str, fan_in: int, low: int, high: int) -> None:
    """127 * 258 is the last sum that int16 holds; beyond, and with signs, int32 takes over.

    Larger inputs count their event so many times, up to 127 in int16 products of bytes.
    """
    needs(isa)
    weight = np.full((99, fan_in), 127, np.int8)
    weight[1], weight[2] = -128, np.where(np.arange(fan_in) % 2, 127, -127)
    weight[3:] = np.random.default_rng(1).integers(-128, 128, (96, fan_in))
    nodes = {
        "in": Input((fan_in,), "frames", None, low, high),
        "fc": Linear(weight),
        "out": Output("none"),
    }
    graph = Graph.chain(nodes, "integer")
    rng = np.random.default_rng(0)
    some = rng.integers(low, high + 1, fan_in)
    x = np.stack([np.full(fan_in, high), np.full(fan_in, low), some, some * (some % 3 == 0)])[None]
    one = Reference().prepare(graph).run(x.astype(np.int64))
    for forced in (Forced("gather"), Forced("dense")):
        two = Native(isa=isa, forced=forced).prepare(graph).run(x.astype(np.int64))
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


@pytest.mark.parametrize("forced", [Forced(), Forced("gather"), Forced("dense")])
@pytest.mark.parametrize("isa", TABLES)
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_threads_change_nothing(isa: str, forced: Forced, threads: int) -> None:
    """Over samples, over rows, and over output channels where there are too few rows."""
    needs(isa)
    rng = np.random.default_rng(7)
    graph = tower(rng, (3, 40, 70), "spikes")
    x = rng.integers(0, 2, (2, 3, *graph.input.shape))
    for batch in (3, 1):
        all_equal(graph, x[:, :batch], isa, forced, threads)
    all_equal(
        wide(193, "spikes"), x.reshape(-1)[: 2 * 193].reshape(2, 1, 193), isa, forced, threads
    )


@pytest.mark.parametrize("threads", [2, 4, 7])
def test_threads_on_random_graphs_change_nothing(threads: int) -> None:
    for seed in range(200, 208):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        x = random_input(graph, rng, batch=3)
        all_equal(graph, x, AVAILABLE[-1], Forced(), threads)
        all_equal(graph, x[:, :1], AVAILABLE[-1], Forced(), threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_runs_of_changing_sizes_on_one_session(threads: int) -> None:
    """Where everything lies is kept from the run before, as long as nothing about it changes."""
    graph = wide(65, "direct")
    x = np.random.default_rng(0).integers(0, 2, (9, 7, 65)).astype(np.int32)
    session = Native(threads).prepare(graph)
    still = np.broadcast_to(x[:1], x.shape)
    for values in (x, x, x[:4], x[:4], x[:, :2], x[:, :1], still, still, x):
        expected = Reference().prepare(graph).run(values)
        found = compare(expected, session.run(values), ("reference", "native"))
        assert isinstance(found, int), found
        assert np.array_equal(session.run(values, "output").output, expected.output)


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


@pytest.mark.parametrize("variable", ["CHOICE", "INT16", "STEPS"])
def test_forced_choices_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("SPIKEWRIGHT_CHOICE", "dense")
    monkeypatch.setenv("SPIKEWRIGHT_INT16", "off")
    monkeypatch.setenv("SPIKEWRIGHT_STEPS", "2")
    assert Native().forced == Forced("dense", int16=False, steps=2)
    monkeypatch.setenv(f"SPIKEWRIGHT_{variable}", "some")
    for value in ("some", "9" * 5000, "\u0663", "-1", "1.5", "99999999"):
        monkeypatch.setenv(f"SPIKEWRIGHT_{variable}", value)
        with pytest.raises(InputError, match=f"SPIKEWRIGHT_{variable}: '{value[:20]}.*or unset it"):
            Native()
    monkeypatch.setenv(f"SPIKEWRIGHT_{variable}", "")
    assert Native().forced != Forced("dense", int16=False, steps=2)


def test_memory_is_counted() -> None:
    session = Native().prepare(wide(193, "spikes"))
    held = session.memory()
    assert held.weights == 200 * 193 and held.state == 4 * 200 and held.spikes == 193 // 8
    assert held.constants >= held.weights and held.workspace > held.state
    session.step(np.ones((1, 193), np.uint8))
    assert session.step_latency_ns > 0


def test_wrong_values_are_refused() -> None:
    session = Native().prepare(wide(4, "spikes"))
    with pytest.raises(SpikewrightError, match="the network takes"):
        session.run(np.zeros((2, 1, 5), np.int64))


@pytest.mark.parametrize(("batch", "steps"), [(0, 5), (1, 0), (-1, 1)])
def test_memory_of_nothing_is_refused(batch: int, steps: int) -> None:
    session = Native().prepare(wide(193, "spikes"))
    with pytest.raises(InputError, match="allowed 1 and up"):
        session.memory(batch, steps)
