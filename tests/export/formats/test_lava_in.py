"""Lava HDF5 in: slayer's files and our own; what netx would skip or change is refused by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikewright.export.formats.lava import why_not_lava, write_lava
from spikewright.export.formats.lava_in import read_lava
from spikewright.export.formats.lava_weights import effective_weights, netx_weights
from spikewright.export.ir import Conv2d, FormatError, Graph, Input, Linear, Neuron, Output
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


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_type("resnet"), r"layer 2: type 'resnet'; netx would skip it without a word"),
        (_type("pool"), r"layer 2: type 'pool'; train with strided convolutions"),
        (_set("layer/3/neuron/type", np.array(["SDNN"], "S10")), r"layer 3: neurons of type SDNN"),
        (_set("layer/3/delay", np.array([0.0, 2.0])), r"layer 3: delays of up to 2 steps"),
        (_set("layer/3/weight", np.zeros((24, 64))), r"layer 3: weights that netx crashes on"),
        (_set("layer/1/weight", np.full((4, 1, 3, 3), 129)), r"layer 1: weights from 129 to 129"),
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
    with pytest.raises(FormatError, match=r"bad\.net: no readable netx file") as raised:
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
