"""Reading ordinary ONNX: the operators against onnxruntime, and a trained network as spikes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from spikewright import api
from spikewright.export.formats.onnx_activations import largest_activations
from spikewright.export.formats.onnx_in import read_onnx
from spikewright.export.ir import Array, FormatError, Graph, Neuron, UnknownNameError
from spikewright.export.ir.errors import FormatWarning
from spikewright.sim.reference import Reference
from tests.cli.test_commands import call_json

from .onnx_files import answer, model, saved


def one_step(graph: Graph, x: Array) -> Array:
    return Reference(np.float32).prepare(graph).run(x[None]).output[0]


def analog(rng: np.random.Generator) -> onnx.ModelProto:
    """Every stateless operator, in the forms that torch and keras write."""

    def f(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32)

    node = helper.make_node
    nodes = [
        node("Mul", ["x", "unit"], ["x0"]),
        node("Conv", ["x0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], strides=[1, 1]),
        node("BatchNormalization", ["c1", "g", "b", "m", "v"], ["n1"], epsilon=1e-3),
        node("Conv", ["n1", "w2"], ["c2"], group=2, auto_pad="SAME_UPPER"),
        node("Identity", ["n1"], ["n2"]),
        node("Add", ["c2", "n2"], ["s"]),
        node("AveragePool", ["s"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Dropout", ["p"], ["d"]),
        node("Div", ["d", "two"], ["h"]),
        node("Flatten", ["h"], ["flat"]),
        node("Gemm", ["flat", "w3", "b3"], ["z"], transB=1, alpha=0.5, beta=2.0),
        node("MatMul", ["z", "w4"], ["q"]),
        node("Add", ["q", "b4"], ["r"]),
        node("Softmax", ["r"], ["y"]),
    ]
    constants = {
        "unit": np.full((1, 2, 1, 1), 0.5, np.float32),
        "w1": f(4, 2, 3, 3),
        "b1": f(4),
        "g": f(4),
        "b": f(4),
        "m": f(4),
        "v": f(4) ** 2,
        "w2": f(4, 2, 3, 3),
        "two": np.float32(2),
        "w3": f(6, 36),
        "b3": f(6),
        "w4": f(6, 5),
        "b4": f(5),
    }
    return model(nodes, (2, 6, 6), constants)


def test_the_operators_compute_what_onnxruntime_computes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = analog(rng)
    with pytest.warns(FormatWarning, match="Softmax left out"):
        graph = read_onnx(saved(tmp_path / "a.onnx", made))
    made.graph.node[-1].op_type = "Identity"
    x = rng.normal(size=(3, 2, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(one_step(graph, x), answer(made, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["GlobalAveragePool", "ReduceMean", "Reshape"])
def test_the_ways_to_a_vector(tmp_path: Path, form: str) -> None:
    nodes = {
        "GlobalAveragePool": [
            helper.make_node("GlobalAveragePool", ["x"], ["p"]),
            helper.make_node("Reshape", ["p", "shape"], ["y"]),
        ],
        "ReduceMean": [helper.make_node("ReduceMean", ["x"], ["y"], axes=[-1, -2], keepdims=0)],
        "Reshape": [helper.make_node("Reshape", ["x", "all"], ["y"])],
    }[form]
    constants = {"shape": np.array([0, -1]), "all": np.array([-1, 24])}
    made = model(nodes, (4, 2, 3), constants)
    x = np.random.default_rng(0).normal(size=(3, 4, 2, 3)).astype(np.float32)
    graph = read_onnx(saved(tmp_path / "a.onnx", made))
    np.testing.assert_allclose(one_step(graph, x), answer(made, x), rtol=1e-5, atol=1e-6)


def trained(residual: bool) -> tuple[onnx.ModelProto, Any]:
    """A small network trained on the packaged digits, its weights put into ONNX."""
    import torch
    from torch import nn

    from spikewright.trainer.data import load

    data = load("digits", "train")
    torch.manual_seed(0)
    conv, again, head = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(128, 10)
    x, y = torch.as_tensor(data.x), torch.as_tensor(data.y)
    parts = nn.ModuleList([conv, again, head])
    optimiser = torch.optim.Adam(parts.parameters(), 5e-3)
    for step in range(80):
        at = torch.randint(len(x), (128,), generator=torch.Generator().manual_seed(step))
        a = conv(x[at]).relu()
        b = again(a) + a if residual else again(a)
        loss = nn.functional.cross_entropy(head(b.relu().flatten(1)), y[at])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    constants = {name: p.detach().numpy() for name, p in parts.named_parameters()}
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "0.weight", "0.bias"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["a"], name="/layer/Relu"),
        node("Conv", ["a", "1.weight", "1.bias"], ["d"], pads=[1, 1, 1, 1]),
        node("Add", ["d", "a"], ["e"]) if residual else node("Identity", ["d"], ["e"]),
        node("Relu", ["e"], ["b"]),
        node("Flatten", ["b"], ["f"]),
        node("Gemm", ["f", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    return model(nodes, (1, 8, 8), constants), load("digits", "test")


@pytest.mark.parametrize("residual", [False, True])
def test_a_trained_network_becomes_spikes(
    tmp_path: Path, residual: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    made, test = trained(residual)
    path = saved(tmp_path / "net.onnx", made)
    ordinary = float((answer(made, test.x[:200]).argmax(1) == test.y[:200]).mean())
    assert ordinary > 0.85
    words = ("--convert", "relu", "--data", "digits", "--limit", "200")
    found = call_json(capsys, "run", str(path), *words)
    assert found["time_steps"] == 32 and found["accuracy"] > ordinary - 0.02
    rates = [row["spike_rate"] for row in found["layers"] if row["kind"] == "Neuron"]
    assert len(rates) == 2 and all(0.01 < rate < 0.6 for rate in rates)


def test_rates_are_the_activations(tmp_path: Path) -> None:
    """After T steps a first layer's count times th / T is its ReLU to half a threshold step."""
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(6, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["r"], name="r"),
        helper.make_node("Identity", ["r"], ["y"]),
    ]
    made = model(nodes, (5,), {"w": weight})
    x = rng.random((20, 5), dtype=np.float32)
    reached: dict[str, float] = {}

    def measure(read: onnx.ModelProto, tensors: list[str]) -> dict[str, float]:
        reached.update(largest_activations(read, tensors, x))
        return reached

    graph = read_onnx(saved(tmp_path / "n.onnx", made), "relu", measure=measure)
    steps, theta = 64, reached["r"]
    run = Reference(np.float64).prepare(graph).run(np.broadcast_to(x, (steps, *x.shape)))
    rates = run.neurons["r"].spikes.sum(0) * theta / steps
    expected = np.clip(x @ weight.T, 0, theta)
    assert 0.3 < (expected > 0).mean() < 0.9
    assert np.abs(rates - expected).max() <= theta / steps * 0.5 + 1e-6
    assert isinstance(graph.nodes["r"], Neuron) and graph.nodes["r"].reset == "soft"


def test_without_convert_a_relu_is_refused_by_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="/layer/Relu")]
    path = saved(tmp_path / "r.onnx", model(nodes, (3,), {}))
    with pytest.raises(FormatError, match=r'layer\.Relu: a Relu.*convert="relu"'):
        read_onnx(path)
    with pytest.raises(FormatError, match="calibrate=samples"):
        read_onnx(path, "relu")
    with pytest.raises(UnknownNameError, match="relu"):
        read_onnx(path, "rleu")


def test_external_data_in_the_folder_is_read(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], (3,), {"w": weight})
    onnx.save(
        made,
        str(tmp_path / "e.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    graph = read_onnx(tmp_path / "e.onnx")
    x = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)
    np.testing.assert_allclose(one_step(graph, x), x @ weight, rtol=1e-6)


def test_a_file_of_ours_names_what_to_give_instead(tmp_path: Path) -> None:
    api.write(api.lower("digits"), tmp_path / "d.onnx")
    with pytest.raises(FormatError, match=r"written by spikewright.*give the \.spk or \.nir"):
        read_onnx(tmp_path / "d.onnx")
