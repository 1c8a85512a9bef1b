"""Lava HDF5 in: slayer's files and our own; what netx would skip or change is refused by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikewright import api
from spikewright.export.formats.lava import why_not_lava, write_lava
from spikewright.export.formats.lava_in import read_lava
from spikewright.export.formats.lava_weights import effective_weights, int8_parts, netx_weights
from spikewright.export.ir import (
    Add,
    Array,
    Conv2d,
    Delay,
    FormatError,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
)
from spikewright.sim.reference import Reference

from .test_lava import network

SLAYER = Path(__file__).parent / "slayer.net"
"""Trained by lava-dl 0.6.0's slayer on the packaged digits, and written by its `export_hdf5`."""


def change(source: Path, target: Path, edit: Callable[[Any], None]) -> Path:
    target.write_bytes(source.read_bytes())
    opened: Any = h5py.File(target, "a")
    with opened as file:
        edit(file)
    return target


def test_our_own_file_comes_back_equal(tmp_path: Path) -> None:
    graph = network(u_range="wrap")
    write_lava(graph, tmp_path / "n.net")
    back = read_lava(tmp_path / "n.net")
    x = (np.random.default_rng(0).random((5, 2, 2, 6, 6)) < 0.4).astype(np.int64)
    ours, theirs = (Reference().prepare(g).run(x) for g in (graph, back))
    for one, two in zip(ours.neurons.values(), theirs.neurons.values(), strict=True):
        assert np.array_equal(one.spikes, two.spikes)
        assert np.array_equal(one.v, two.v)
    assert np.array_equal(ours.output, theirs.output)


def test_slayers_file_is_what_slayer_wrote() -> None:
    graph = read_lava(SLAYER)
    opened: Any = h5py.File(SLAYER)
    with opened as file:
        stored = {k: file[f"layer/{k}/weight"][()] for k in (1, 3, 4)}
        fields = {k: file[f"layer/1/neuron/{k}"][()] for k in ("iDecay", "vDecay", "vThMant")}
    for name, weight in zip(("conv1", "dense3", "dense4"), stored.values(), strict=True):
        node = graph.nodes[name]
        assert isinstance(node, (Conv2d, Linear))
        held = node.weight.astype(int) << node.weight_shift
        assert np.array_equal(held.reshape(-1), weight.reshape(-1).astype(int))
    first = graph.nodes["neuron1"]
    assert isinstance(first, Neuron)
    assert (first.du, first.dv) == (fields["iDecay"], fields["vDecay"])
    assert int(first.v_threshold) == int(fields["vThMant"]) << 6
    assert graph.output.readout == "spike_count"
    assert graph.profile is not None
    assert graph.profile.name == "loihi2"


def test_slayers_spikes_are_ours() -> None:
    """Spikes that slayer's own forward pass gave, layer by layer, for eight samples."""
    recorded = np.load(SLAYER.with_suffix(".npz"))
    x = recorded["x"].astype(np.int64)  # [sample, channel, y, x, time]
    trace = Reference().prepare(read_lava(SLAYER)).run(np.moveaxis(x, -1, 0))
    for name in ("neuron1", "neuron3", "neuron4"):
        theirs = np.moveaxis(recorded[name], -1, 0)
        assert theirs.any()
        assert np.array_equal(trace.neurons[name].spikes, theirs), name


def _type(name: str) -> Callable[[Any], None]:
    def edit(file: Any) -> None:
        del file["layer/2/type"]
        file["layer/2/type"] = np.array([name], "S10")

    return edit


def _set(path: str, value: Any) -> Callable[[Any], None]:
    def edit(file: Any) -> None:
        if path in file:
            del file[path]
        file[path] = value

    return edit


def _drop(path: str) -> Callable[[Any], None]:
    def edit(file: Any) -> None:
        del file[path]

    return edit


def _skip_flatten(file: Any) -> None:
    del file["layer/2"]
    file.move("layer/3", "layer/2")
    file.move("layer/4", "layer/3")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_type("resnet"), r"layer 2: type 'resnet'; netx would skip it without a word"),
        (_type("pool"), r"layer 2: type 'pool'; train with strided convolutions"),
        (_set("layer/3/neuron/type", np.array(["SDNN"], "S10")), r"layer 3: neurons of type SDNN"),
        (_set("layer/3/delay", np.array([0.0, 2.0])), r"layer 3: delays of up to 2 steps"),
        (_set("layer/3/delay", np.array([0.4])), r"layer 3: delay 0\.4 is no whole number"),
        (_set("layer/1/delay", np.array([1.0])), r"layer 1: delays of up to 1 steps, which netx"),
        (_set("layer/3/weight", np.zeros((24, 64))), r"layer 3: weights that netx crashes on"),
        (_set("layer/3/weight", np.full((24, 64), 2.5)), r"layer 3: weight 2\.5 is no whole num"),
        (_set("layer/3/weight", np.full((24, 64), np.nan)), r"layer 3: weight nan is not in"),
        (_set("layer/4/weight", np.ones((10, 23))), r"layer 4: weight is \[10, 23\], 24 values"),
        (_set("layer/3/bias", np.full(24, 40000)), r"layer 3: bias 40000 is not in -32768\.\."),
        (_set("layer/3/bias", np.full(24, 0.75)), r"layer 3: bias 0\.75 is no whole number"),
        (_set("layer/3/bias", np.ones(7)), r"layer 3: bias holds 7 values for 24 channels"),
        (_set("layer/3/neuron/weight_exp", 3), r"layer 3: weight_exp of a normalisation"),
        (_set("layer/3/neuron/gradedSpike", True), r"layer 3: graded spikes of CUBA neurons"),
        (_set("layer/3/neuron/messageBits", 8), r"layer 3: graded spikes of CUBA neurons"),
        (_set("layer/3/neuron/vDecay", 5000), r"layer 3: neuron/vDecay 5000 is not in 0\.\.4096"),
        (_set("layer/3/neuron/iDecay", -5), r"layer 3: neuron/iDecay -5 is not in 0\.\.4096"),
        (_set("layer/3/neuron/vThMant", (1 << 25) + 5), r"layer 3: neuron/vThMant 33554437 is "),
        (_set("layer/3/neuron/iDecay", np.arange(23)), r"layer 3: iDecay holds 23 values for 24"),
        (_set("layer/4/neuron/vThMant", 1 << 17), r"layer 4: never fires, and its u decays"),
        (_drop("layer/3/neuron/vDecay"), r"layer 3: says no neuron/vDecay; write the file again"),
        (_drop("layer/3/neuron"), r"layer 3: has no neurons, and is not the last"),
        (_drop("layer/1/stride"), r"layer 1: says no stride"),
        (_drop("layer/1/neuron"), r"layer 1: has no neurons"),
        (_drop("layer/2"), r"no layer 2 among 4, netx counts them from 0"),
        (_skip_flatten, r"layer 2: reads a map of .*, on which netx crashes; put a flatten"),
    ],
)
def test_what_netx_would_skip_or_change_is_refused(
    edit: Callable[[Any], None], message: str, tmp_path: Path
) -> None:
    wrong = change(SLAYER, tmp_path / "wrong.net", edit)
    with pytest.raises(FormatError, match=message):
        read_lava(wrong)


@pytest.mark.parametrize("content", [b"", b"not hdf5", b"\x89HDF\r\n\x1a\n" + bytes(64)])
def test_a_damaged_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.net").write_bytes(content)
    with pytest.raises(FormatError, match=r"bad\.net: not a readable netx file") as raised:
        read_lava(tmp_path / "bad.net")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("weights", "used"),
    [
        ([127, -127, 3], [127, -127, 3]),
        ([254, -256, 2], [254, -256, 2]),
        ([255, 1, 0], [255, 1, 0]),
        ([-127, -1], [-127, -1]),
        ([-128, -1], [-127, -1]),  # netx doubles them, and Lava clips -256 to -255, then to 254
        ([0, 0], None),
    ],
)
def test_weights_as_netx_takes_them(weights: list[int], used: list[float] | None) -> None:
    found = netx_weights(np.array(weights))
    assert (None if found is None else found.tolist()) == used


@pytest.mark.parametrize(("low", "high"), [(-128, 127), (0, 255), (-256, 254), (-32768, 32767)])
def test_any_weights_are_a_sum_of_int8_parts(low: int, high: int) -> None:
    weights = np.random.default_rng(0).integers(low, high + 1, (40, 5))
    parts = int8_parts(weights)
    assert np.array_equal(sum(codes.astype(int) << shift for codes, shift in parts), weights)
    assert int8_parts(weights // 300 * 16)[0][1] == (4 if weights.max() > 10_000 else 0)


def test_the_least_significant_bit_of_mixed_weights_is_lost() -> None:
    weights = np.array([3, -3, 300, -300])
    assert effective_weights(weights, "MIXED", 8).tolist() == [2, -4, 254, -256]
    assert effective_weights(weights, "EXCITATORY", 8).tolist() == [3, 0, 255, 0]
    assert effective_weights(weights, "INHIBITORY", 7).tolist() == [0, -2, 0, -254]


def test_weights_that_netx_would_change_are_refused_by_name() -> None:
    graph = network()
    head = Linear(np.array([[-128] * 5, [-1] * 5], np.int8), bits=8)
    changed: Graph = graph.replace({**graph.nodes, "head": head})
    assert ("head", "netx would take a weight of -128 for -127", "use fewer --bits") in (
        why_not_lava(changed)
    )


def test_what_lavas_conv_holds_as_int8_is_refused(tmp_path: Path) -> None:
    graph = network(u_range="wrap")
    write_lava(graph, tmp_path / "n.net")

    def pad(file: Any) -> None:
        layer = next(g for g in file["layer"].values() if g["type"][0] == b"conv")
        layer["padding"][...] = 64

    def group(file: Any) -> None:
        layer = next(g for g in file["layer"].values() if g["type"][0] == b"conv")
        del layer["groups"]
        layer["groups"] = 192

    for edit, message in ((pad, "padding or kernel of 128, Lava"), (group, "192 groups, Lava")):
        with pytest.raises(FormatError, match=message):
            read_lava(change(tmp_path / "n.net", tmp_path / "c.net", edit))
    many = Conv2d(np.ones((192, 1, 1, 1), np.int8), groups=192)
    chain = {"in": Input((192, 2, 2), "spikes", low=0, high=1), "deep": many}
    fires = replace(graph.neurons["n1"], shape=(192, 2, 2), bias=None)
    counted = Output("spike_count", state_shift=6, state_bits=24)
    wide = Graph.chain({**chain, "n": fires, "out": counted}, "integer")
    assert ("deep", "192 groups, Lava computes with 127", "use fewer groups") in why_not_lava(wide)


def test_a_readout_of_slayer_is_told_by_its_threshold(tmp_path: Path) -> None:
    def never(file: Any) -> None:
        for name, value in (("iDecay", 4096), ("vDecay", 100), ("vThMant", (1 << 18) - 1)):
            _set(f"layer/4/neuron/{name}", value)(file)

    def silent(file: Any) -> None:
        for name, value in (("iDecay", 4096), ("vDecay", 0), ("vThMant", (1 << 17) - 1)):
            _set(f"layer/3/neuron/{name}", value)(file)

    leaky = read_lava(change(SLAYER, tmp_path / "a.net", never)).output
    assert leaky.readout == "leaky"
    assert leaky.dv == 100
    summed = read_lava(change(SLAYER, tmp_path / "b.net", _drop("layer/4/neuron"))).output
    assert (summed.readout, summed.bias) == ("integrate", None)
    middle = read_lava(change(SLAYER, tmp_path / "c.net", silent))
    assert "neuron3" in middle.neurons
    assert middle.output.readout == "spike_count"


def test_weights_of_either_side_of_a_loop_have_their_own_shift(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fires = replace(network(u_range="wrap").neurons["n1"], shape=(4,), bias=None)
    nodes: dict[str, Any] = {
        "in": Input((3,), "spikes", low=0, high=1),
        "f": Linear(rng.integers(1, 128, (4, 3)).astype(np.int8), bits=8),
        "d": Delay((4,), 1),
        "b": Linear(rng.integers(-63, 64, (4, 4)).astype(np.int8), weight_shift=2, bits=8),
        "a": Add(),
        "n": fires,
        "out": Output("spike_count", state_shift=6, state_bits=24),
    }
    edges = [("in", "f"), ("f", "a", 0), ("d", "b"), ("b", "a", 1), ("a", "n"), ("n", "d")]
    graph = Graph(nodes, [*edges, ("n", "out")], "integer")
    write_lava(graph, tmp_path / "n.net")
    back = read_lava(tmp_path / "n.net", graph.input)
    x = rng.integers(0, 2, (6, 2, 3))
    ours, theirs = (Reference().prepare(g).run(x).neurons for g in (graph, back))
    assert np.array_equal(ours["n"].v, theirs["neuron1"].v)


def test_a_silent_layer_before_a_count_is_not_written_as_a_readout(tmp_path: Path) -> None:
    graph = network(u_range="wrap")
    mark = replace(
        graph.neurons["n1"], v_threshold=np.int32(((1 << 17) - 1) << 6), dv=None, du=None
    )
    counted = Output("spike_count", state_shift=6, state_bits=24)
    nodes = {"in": graph.input, "conv": graph.nodes["conv"], "n": mark, "out": counted}
    with pytest.raises(FormatError, match=r"n: never fires: it would be read as a readout"):
        write_lava(Graph.chain(nodes, "integer"), tmp_path / "n.net")


def test_what_the_graph_refuses_names_the_file(tmp_path: Path) -> None:
    wrong = change(SLAYER, tmp_path / "w.net", _set("layer/1/shape", np.array([4, 2, 8])))
    with pytest.raises(FormatError, match=r"w\.net: .*neuron1"):
        read_lava(wrong)


def test_a_map_of_one_row_before_a_convolution_stays_a_map(tmp_path: Path) -> None:
    conv = Conv2d(np.ones((2, 1, 1, 3), np.int8), padding=(0, 1), bits=8)
    fires = replace(network(u_range="wrap").neurons["n1"], shape=(2, 1, 9), bias=None)
    counted = Output("spike_count", state_shift=6, state_bits=24)
    nodes = {"in": Input((1, 1, 9), "spikes", low=0, high=1), "c": conv, "n": fires}
    write_lava(Graph.chain({**nodes, "out": counted}, "integer"), tmp_path / "n.net")
    assert read_lava(tmp_path / "n.net").input.shape == (1, 1, 9)


INPUT = {
    "type": np.array(["input"], "S10"),
    "shape": np.array([2, 3, 4]),
    "weight": np.array([36.0], np.float32),
    "bias": np.array([34.0], np.float32),
    "neuron/type": np.array(["LOIHI"], "S10"),
    "neuron/iDecay": 4096,
    "neuron/vDecay": 1024,
    "neuron/vThMant": 100,
    "neuron/refDelay": 1,
}
HEAD = {
    **{key: INPUT[key] for key in INPUT if key.startswith("neuron/")},
    "type": np.array(["dense"], "S10"),
    "shape": np.array([5, 1, 1]),
    "weight": np.random.default_rng(2).integers(-60, 80, (5, 24)) * 2.0,
    "neuron/iDecay": 1000,
}
FLAT = {"type": np.array(["flatten"], "S10"), "shape": np.array([24, 1, 1])}


def stored(path: Path, *layers: dict[str, Any]) -> Path:
    """A file as slayer's `export_hdf5` lays it out."""
    opened: Any = h5py.File(path, "w")
    with opened as file:
        for number, layer in enumerate(layers):
            for key, value in layer.items():
                if value is not None:
                    file[f"layer/{number}/{key}"] = value
    return path


def toward_zero(x: Array, decay: int) -> Array:
    return np.sign(x) * (np.abs(x) * (4096 - decay) >> 12)


def lif(a: Array, bias: Array, du: int, dv: int, threshold: int) -> tuple[Array, Array]:
    """Lava's fixed-point LIF over a [time, ...] at no lag: spikes and v after the reset."""
    u, v = np.zeros(a.shape[1:], np.int64), np.zeros(a.shape[1:], np.int64)
    spikes, kept = [], []
    for step in a:
        u = toward_zero(u, du) + (step << 6)
        v = np.clip(toward_zero(v, dv) + u + (bias << 6), -(2**23) + 1, 2**23 - 1)
        spikes.append(v > threshold << 6)
        v = np.where(spikes[-1], 0, v)
        kept.append(v)
    return np.array(spikes), np.array(kept)


@pytest.mark.parametrize("said", [True, False])
def test_an_input_layer_with_neurons_is_lavas(said: bool, tmp_path: Path) -> None:
    """Its neurons take weight x + bias as the mantissa of their bias; 64 x where none is said."""
    plain = {} if said else {"weight": None, "bias": None}
    path = stored(tmp_path / "n.net", {**INPUT, **plain}, FLAT, HEAD)
    graph = read_lava(path)
    x = np.random.default_rng(0).random((3, 2, 3, 4), np.float32)
    mantissa = np.rint(36 * x.astype(float) + 34 if said else 64 * x.astype(float)).astype(int)
    run = api.run(graph, x, time_steps=12, executor="reference")
    none = np.zeros((12, *mantissa.shape), np.int64)
    spikes, v = lif(none, mantissa, 4096, 1024, 100)
    assert 0.1 < spikes.mean() < 0.9
    assert np.array_equal(run.neurons["neuron0"].spikes, spikes)
    assert np.array_equal(run.neurons["neuron0"].v, v)
    current = spikes.reshape(12, 3, 24).astype(np.int64) @ HEAD["weight"].astype(np.int64).T
    spikes, v = lif(current, np.zeros(5, np.int64), 1000, 1024, 100)
    assert spikes.any()
    assert np.array_equal(run.neurons["neuron2"].spikes, spikes)
    assert np.array_equal(run.neurons["neuron2"].v, v)


def test_an_input_layer_with_neurons_before_a_convolution(tmp_path: Path) -> None:
    conv = {
        **{key: value for key, value in HEAD.items() if key.startswith("neuron/")},
        "type": np.array(["conv"], "S10"),
        "shape": np.array([3, 3, 3]),
        "weight": np.random.default_rng(3).integers(-60, 80, (3, 2, 1, 2, 1)) * 2.0,
        **{name: np.array([n, n]) for name, n in (("stride", 1), ("padding", 0), ("dilation", 1))},
        "groups": 1,
    }
    graph = read_lava(stored(tmp_path / "n.net", INPUT, conv))
    x = np.random.default_rng(0).random((2, 2, 3, 4), np.float32)
    for executor in ("native", "onnxruntime"):
        found = api.verify(graph, x, executors=["reference", executor], time_steps=9)
        assert found.equal, found.first_difference
    assert graph.input.shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neuron/iDecay": 2000}, r"layer 0: input neurons whose u decays by 2000.*current decay"),
        ({"neuron/type": np.array(["SDNN"], "S10")}, r"layer 0: neurons of type SDNN; CUBA"),
        ({"weight": -36.0}, r"layer 0: an input weight of -36; turn the sign of the samples"),
        ({"weight": 0.5}, r"layer 0: weight 0\.5 is no whole number, and netx would cut it off"),
        ({"weight": np.ones(3)}, r"layer 0: weight holds 3 values, expected one"),
        ({"bias": 40000.0}, r"layer 0: bias 40000 is not in -32768\.\.32767"),
        ({"neuron/vThMant": None}, r"layer 0: says no neuron/vThMant"),
        ({"shape": np.array([0, 3, 4])}, r"layer 0: shape 0 is not in 1\.\."),
    ],
)
def test_input_neurons_that_cannot_be_right_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = stored(tmp_path / "n.net", {**INPUT, **changes}, FLAT, HEAD)
    with pytest.raises(FormatError, match=message):
        read_lava(path)


def test_the_older_slayers_recurrent_layer_is_a_dense_layer_that_hears_itself(
    tmp_path: Path,
) -> None:
    back = np.random.default_rng(5).integers(-60, 30, (5, 5)) * 2.0
    entry = {"type": INPUT["type"], "shape": np.array([1, 1, 24])}
    flat = {**FLAT, "shape": np.array([24, 1, 1])}
    older = {**HEAD, "type": np.array(["recurrent"], "S10"), "recWeight": back}
    newer = {**HEAD, "type": np.array(["dense_rec"], "S10"), "weight_rec": back}
    graphs = [
        read_lava(stored(tmp_path / f"{k}.net", entry, flat, layer, HEAD_OF_5))
        for k, layer in enumerate((older, newer))
    ]
    x = (np.random.default_rng(0).random((2, 15, 24)) < 0.4).astype(np.int64)
    one, two = (api.run(g, x, executor="reference") for g in graphs)
    assert one.neurons["neuron2"].spikes.any()
    for name in one.neurons:
        assert np.array_equal(one.neurons[name].v, two.neurons[name].v)
    without = {**older, "recWeight": np.ones((5, 4))}
    with pytest.raises(FormatError, match=r"layer 2: recWeight is \[5, 4\], expected \[5, 5\]"):
        read_lava(stored(tmp_path / "w.net", entry, flat, without, HEAD_OF_5))


HEAD_OF_5 = {**HEAD, "weight": np.random.default_rng(6).integers(-60, 80, (5, 5)) * 2.0}
