"""Exported HDF5, read back and run by lava-dl's netx: equal in every spike, u and v."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikewright.api import verify
from spikewright.export.formats.lava import why_not_lava, write_lava
from spikewright.export.formats.lava_in import read_lava
from spikewright.export.ir import (
    Add,
    Array,
    Conv2d,
    Delay,
    ExecutorError,
    Flatten,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
)
from spikewright.export.ir.shapes import RULES
from spikewright.hw_targets.lava.netx import compare_with_netx
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference

from .test_executor import codes, neuron, spikes
from .worker import environment

COUNT = Output("spike_count", state_shift=6, state_bits=24)
SUM = Output("integrate", np.array([64, -640, 0], np.int32), state_shift=6, state_bits=24)
SLAYER = Path(__file__).parent.parent.parent / "export" / "formats" / "slayer.net"


def mlp() -> Graph:
    nodes: dict[str, Any] = {
        "in": Input((9,), "spikes", low=0, high=1),
        "f1": Linear(codes(12, 9), bits=8),
        "n1": neuron(12, du=np.int32(2000), bias=np.int32(-128)),
        "f2": Linear(codes(7, 12) // 2, bits=7, weight_shift=1),
        "n2": neuron(7),
        "out": COUNT,
    }
    return Graph.chain(nodes, "integer")


def conv() -> Graph:
    """Uneven kernels, strides and padding; groups and dilation; a bias a channel."""
    nodes: dict[str, Any] = {
        "in": Input((2, 7, 6), "spikes", low=0, high=1),
        "c1": Conv2d(codes(4, 2, 3, 2), stride=(1, 2), padding=(1, 0), bits=8),
        "n1": neuron(4, 7, 3, bias=np.array([64, -128, 0, 320], np.int32).reshape(4, 1, 1)),
        "c2": Conv2d(codes(4, 1, 3, 3), padding=(2, 2), dilation=(2, 2), groups=4, bits=8),
        "n2": neuron(4, 7, 3, du=np.int32(700)),
        "flat": Flatten(),
        "head": Linear(codes(3, 4 * 7 * 3), bits=8),
        "out": SUM,
    }
    return Graph.chain(nodes, "integer")


def recurrent(bias: int = 0) -> Graph:
    nodes: dict[str, Any] = {
        "in": Input((9,), "spikes", low=0, high=1),
        "f1": Linear(codes(12, 9), bits=8),
        "back": Delay((12,), 1),
        "fb": Linear(codes(12, 12), bits=8),
        "add": Add(),
        "n1": neuron(12, bias=np.int32(bias) if bias else None),
        "head": Linear(codes(3, 12), bits=8),
        "out": SUM,
    }
    edges = [("in", "f1"), ("f1", "add", 0), ("back", "fb"), ("fb", "add", 1), ("add", "n1")]
    return Graph(nodes, [*edges, ("n1", "back"), ("n1", "head"), ("head", "out")], "integer")


@pytest.mark.parametrize(
    ("graph", "x"),
    [
        (mlp(), spikes(8, 3, 9)),
        (conv(), spikes(5, 2, 2, 7, 6)),
        (recurrent(), spikes(8, 2, 9)),
    ],
    ids=["mlp", "conv", "recurrent"],
)
def test_netx_computes_what_was_exported(graph: Graph, x: Array, tmp_path: Path) -> None:
    environment()
    write_lava(graph, tmp_path / "n.net")
    found = compare_with_netx(tmp_path / "n.net", read_lava(tmp_path / "n.net"), x)
    assert found.equal, found.first_difference
    assert found.layers == len(graph.neurons) + (graph.output.readout == "integrate")
    assert found.values_compared > 300


def sequential(seed: int) -> Graph:
    """Random layers that netx has: maps first, then vectors, perhaps one that hears itself."""
    rng = np.random.default_rng(seed)
    shape: tuple[int, ...] = (int(rng.integers(1, 4)), 6, 7) if seed % 3 else (9,)
    nodes: dict[str, Any] = {"in": Input(shape, "frames", low=0, high=int(rng.integers(1, 4)))}
    edges: list[Any] = []
    here, biased = "in", bool(seed % 2)

    def put(name: str, node: Any) -> None:
        nonlocal here
        nodes[name] = node
        edges.append((here, name))
        here = name

    def weight(*size: int) -> Any:
        bits = int(rng.integers(3, 9))
        low = 0 if rng.random() < 0.3 else -(2 ** (bits - 1)) + 1
        codes = rng.integers(low, 2 ** (bits - 1), size).astype(np.int8)
        codes.flat[0] = 1
        return codes

    def fires(k: int) -> None:
        values: dict[str, Any] = {"v_threshold": np.int32(64 * rng.integers(1, 200))}
        values["dv"] = np.int32(rng.integers(0, 4097))
        values["du"] = np.int32(rng.integers(0, 4097)) if rng.random() < 0.5 else None
        if biased and shape:
            channels = (shape[0], *(1,) * (len(shape) - 1))
            values["bias"] = (64 * rng.integers(-99, 100, channels)).astype(np.int32)
        put(f"n{k}", neuron(*shape, **values))

    for k in range(int(rng.integers(1, 3)) if len(shape) == 3 else 0):
        groups = shape[0] if rng.random() < 0.3 else 1
        size = (groups * int(rng.integers(1, 3)), shape[0] // groups, *rng.integers(1, 4, 2))
        stride, padding = (tuple(int(n) for n in rng.integers(*at, 2)) for at in ((1, 3), (0, 3)))
        held = Conv2d(weight(*size), stride=stride, padding=padding, groups=groups, bits=8)
        put(f"c{k}", held)
        shape = RULES[Conv2d](held, shape)
        fires(k)
    if len(shape) == 3:
        put("flat", Flatten())
        shape = (int(np.prod(shape)),)
    loop = not biased and rng.random() < 0.6
    put("f", Linear(weight(8, shape[0]), bits=8, weight_shift=int(rng.integers(0, 2))))
    shape = (8,)
    if loop:
        nodes |= {"d": Delay((8,), 1), "b": Linear(weight(8, 8), bits=8), "a": Add()}
        edges.extend([("f", "a", 0), ("d", "b"), ("b", "a", 1)])
        here = "a"
    fires(9)
    if loop:
        edges.append(("n9", "d"))
    if rng.random() < 0.5:
        put("head", Linear(weight(3, 8), bits=8))
        put("out", SUM)
    else:
        put("out", COUNT)
    return Graph(nodes, edges, "integer")


def test_random_networks_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = spiking = 0
    for seed in range(60):
        graph = sequential(seed)
        if why_not_lava(graph):
            continue
        path = tmp_path / f"{seed}.net"
        write_lava(graph, path)
        back = read_lava(path, graph.input)
        x = np.random.default_rng(seed).integers(0, 2, (6, 2, *graph.input.shape))
        ours, theirs = (Reference().prepare(g).run(x) for g in (graph, back))
        assert np.array_equal(ours.output, theirs.output)
        for one, two in zip(ours.neurons.values(), theirs.neurons.values(), strict=True):
            assert np.array_equal(one.spikes, two.spikes)
            assert np.array_equal(one.v, two.v)
            spiking += bool(one.spikes.any())
        written += 1
    assert written >= 30
    assert spiking >= 30


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_netx_computes_random_networks(seed: int, tmp_path: Path) -> None:
    environment()
    graph = next(g for g in map(sequential, range(100 * seed, 100 * seed + 99)) if not why(g, seed))
    path = tmp_path / "n.net"
    write_lava(graph, path)
    x = np.random.default_rng(seed).integers(0, 2, (6, 2, *graph.input.shape))
    back = read_lava(path, graph.input)
    found = compare_with_netx(path, back, x, batch=1 + seed % 2, time_limit_s=120)
    assert found.equal, found.first_difference
    assert found.values_compared > 100


def why(graph: Graph, seed: int) -> bool:
    """Whether a network is none of netx's, or of another kind: a loop, maps, either."""
    looped = bool(graph.of_kind(Delay))
    wanted = {1: looped, 2: bool(graph.of_kind(Conv2d)) and not looped, 3: True}[seed]
    return bool(why_not_lava(graph)) or not wanted


def test_a_biased_loop_is_refused() -> None:
    with pytest.raises(ExecutorError, match=r"n1: a bias in a network with delays.*executor=.lava"):
        compare_with_netx(Path("n.net"), recurrent(bias=64), spikes(4, 1, 9))


def test_a_file_of_slayer_runs_as_we_read_it() -> None:
    environment()
    graph = read_lava(SLAYER)
    assert isinstance(graph.nodes["neuron1"], Neuron)
    found = compare_with_netx(SLAYER, graph, spikes(8, 2, *graph.input.shape, rate=0.3))
    assert found.equal, found.first_difference


FILE_RNG = np.random.default_rng(4)
LAYER = {
    "type": np.array(["dense"], "S10"),
    "neuron/type": np.array(["CUBA"], "S10"),
    "neuron/iDecay": 1000,
    "neuron/vDecay": 500,
    "neuron/vThMant": 100,
}


def stored(path: Path, *layers: dict[str, Any]) -> Path:
    opened: Any = h5py.File(path, "w")
    with opened as file:
        for k, layer in enumerate(layers):
            for key, value in layer.items():
                if value is not None:
                    file[f"layer/{k}/{key}"] = value
    return path


def dense(out: int, inputs: int, **changes: Any) -> dict[str, Any]:
    named = {key.replace("__", "/"): value for key, value in changes.items()}
    weight = FILE_RNG.integers(-127, 128, (out, inputs)) * 2
    return {**LAYER, "shape": np.array([out]), "weight": weight, **named}


NO_NEURON: dict[str, Any] = {key: None for key in LAYER if key != "type"}
MAP = {"type": np.array(["input"], "S10"), "shape": np.array([2, 6, 5])}
CONV = {
    **LAYER,
    "type": np.array(["conv"], "S10"),
    "shape": np.array([3, 4, 4]),
    "weight": FILE_RNG.integers(-300, 300, (3, 2, 3, 2)),
    "stride": np.array([1, 1]),
    "padding": np.array([0, 0]),
    "dilation": np.array([1, 1]),
    "groups": 1,
    "neuron/vDecay": np.array([0, 1000, 4000]),
    "neuron/iDecay": np.array([4096, 300, 2000]),
}
FILES: dict[str, tuple[dict[str, Any], ...]] = {
    "a value of each neuron, widest biases, odd weights of one sign, no neurons at the end": (
        dense(
            5,
            6,
            neuron__vDecay=np.array([0, 1000, 2000, 3000, 4000]),
            neuron__iDecay=np.array([4000, 0, 4096, 100, 5]),
            neuron__vThMant=np.array([10, 100, 200, 300, 50]),
        ),
        dense(30, 5, weight=np.arange(106, 256).reshape(30, 5), bias=np.arange(30)),
        dense(5, 30, bias=np.array([-32768, 32767, 0, 5, -5])),
        {**dense(3, 5), **NO_NEURON},
    ),
    "a value of each channel, weights beyond 8 bits, one delay a layer, slayer's Affine": (
        MAP,
        CONV,
        {"type": np.array(["flatten"], "S10"), "shape": np.array([48])},
        dense(5, 48, delay=np.full(5, 2.0)),
        dense(3, 5, delay=3, neuron__iDecay=4096, neuron__vThMant=(1 << 18) - 1),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_netx_computes_what_we_read(name: str, tmp_path: Path) -> None:
    environment()
    path = stored(tmp_path / "n.net", *FILES[name])
    graph = read_lava(path)
    x = spikes(9, 2, *graph.input.shape)
    found = compare_with_netx(path, graph, x, time_limit_s=120)
    assert found.equal, found.first_difference
    assert found.values_compared > 200
    ours = Reference().prepare(graph).run(x)
    assert all(layer.spikes.any() for layer in ours.neurons.values())


ENCODER = {
    "type": np.array(["input"], "S10"),
    "shape": np.array([2, 6, 5]),
    "weight": np.array([36.0], np.float32),
    "bias": np.array([34.0], np.float32),
    "neuron/type": np.array(["CUBA"], "S10"),
    "neuron/iDecay": 4096,
    "neuron/vDecay": 1024,
    "neuron/vThMant": 100,
}
ENCODED: dict[str, tuple[dict[str, Any], ...]] = {
    "map": (ENCODER, CONV, {"type": np.array(["flatten"], "S10")}, dense(3, 48)),
    "vector": ({**ENCODER, "shape": np.array([7])}, dense(5, 7), dense(3, 5)),
}


@pytest.mark.parametrize("name", ENCODED)
def test_netx_and_lava_compute_an_input_layer_with_neurons(name: str, tmp_path: Path) -> None:
    environment()
    path = stored(tmp_path / "n.net", *ENCODED[name])
    graph = read_lava(path)
    samples = np.random.default_rng(0).random((2, *graph.input.shape), np.float32)
    x = encode(graph, samples, 9)
    found = compare_with_netx(path, graph, x)
    assert found.equal, found.first_difference
    assert found.values_compared > 200
    ours = Reference().prepare(graph).run(x)
    assert all(layer.spikes.any() for layer in ours.neurons.values())
    assert verify(graph, samples, executors=["reference", "lava"], time_steps=9).equal


def test_what_netx_cannot_run_is_refused_before_it_does(tmp_path: Path) -> None:
    path = stored(tmp_path / "n.net", *ENCODED["vector"])
    graph = read_lava(path)
    changing = np.arange(14).reshape(2, 1, 7)
    with pytest.raises(ExecutorError, match=r"input: frames that change: netx's input layer"):
        compare_with_netx(path, graph, changing)
    older = {**dense(5, 6), "type": np.array(["recurrent"], "S10"), "recWeight": np.eye(5) * 2}
    path = stored(tmp_path / "o.net", older, dense(3, 5))
    with pytest.raises(ExecutorError, match=r"layer 0 is of the older slayer's type recurrent"):
        compare_with_netx(path, read_lava(path), spikes(4, 1, 6))
