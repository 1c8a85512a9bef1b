"""ONNX as exporters write it: each idiom is the network that onnxruntime computes, to 1e-5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spikewright.export.fold import fold
from spikewright.export.formats.onnx_activations import largest_activations
from spikewright.export.ir import Array, AvgPool, Conv2d, Linear, Scale, SumPool
from spikewright.export.ir.nodes import paddings
from tests.cli.test_commands import call_json

from .onnx_files import assert_same_network, model, node, read, saved

RNG = np.random.default_rng


def weights(*shape: int, seed: int = 0) -> Array:
    return RNG(seed).normal(size=shape).astype(np.float32)


class Lambda(nn.Module):
    """A module of layers and what its forward does with them."""

    def __init__(self, forward: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.run = forward

    def forward(self, x: Any) -> Any:
        return self.run(x, *self.layers)


def conv(*args: Any, **options: Any) -> nn.Module:
    return nn.Conv2d(*args, **options)


TORCH: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "view with the batch's size": (
        lambda: Lambda(
            lambda x, c, f: f(c(x).relu().view(x.size(0), -1)), conv(2, 3, 3), nn.Linear(48, 5)
        ),
        (2, 6, 6),
    ),
    "view to what size(1) says": (
        lambda: Lambda(
            lambda x, c, f: f(c(x).relu().reshape(-1, c(x).size(1) * 16)),
            conv(2, 3, 3),
            nn.Linear(48, 5),
        ),
        (2, 6, 6),
    ),
    "unflatten and flatten": (
        lambda: Lambda(
            lambda x, f, c, g: g(c(f(x).relu().unflatten(1, (3, 4, 4))).flatten(1)),
            nn.Linear(6, 48),
            conv(3, 2, 3),
            nn.Linear(8, 4),
        ),
        (6,),
    ),
    "squeeze and unsqueeze": (
        lambda: Lambda(
            lambda x, c, f: f(
                c(x.unsqueeze(1)).relu().mean((2, 3), keepdim=True).squeeze(3).squeeze(2)
            ),
            conv(1, 4, 3),
            nn.Linear(4, 3),
        ),
        (5, 6),
    ),
    "permuted to channels last": (
        lambda: Lambda(
            lambda x, c, f: f(c(x).relu().permute(0, 2, 3, 1)).relu().mean((1, 2)),
            conv(2, 3, 3),
            nn.Linear(3, 4),
        ),
        (2, 6, 5),
    ),
    "same, even kernel": (
        lambda: nn.Sequential(conv(2, 3, 2, padding="same"), nn.ReLU()),
        (2, 5, 6),
    ),
    "zeros padded on each side": (
        lambda: nn.Sequential(nn.ZeroPad2d((1, 0, 2, 3)), conv(2, 3, 3, stride=2), nn.ReLU()),
        (2, 6, 7),
    ),
    "pad and convolution on one axis": (
        lambda: nn.Sequential(
            nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(2, 3, 3, dilation=2), nn.ReLU()
        ),
        (2, 9),
    ),
    "average without counted padding": (
        lambda: nn.Sequential(
            conv(2, 3, 3), nn.ReLU(), nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        ),
        (2, 9, 8),
    ),
    "average with counted padding": (
        lambda: nn.Sequential(conv(2, 3, 3), nn.ReLU(), nn.AvgPool2d(3, 2, 1)),
        (2, 9, 8),
    ),
    "average that reaches beyond the end": (
        lambda: nn.Sequential(conv(2, 3, 3), nn.ReLU(), nn.AvgPool2d(2, 2, ceil_mode=True)),
        (2, 9, 8),
    ),
    "average, padded and beyond the end": (
        lambda: nn.Sequential(conv(2, 3, 3), nn.ReLU(), nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
        (2, 10, 8),
    ),
    "maximum that reaches beyond the end": (
        lambda: nn.Sequential(conv(2, 3, 3), nn.MaxPool2d(2, 2, ceil_mode=True), nn.ReLU()),
        (2, 9, 8),
    ),
    "adaptive average": (
        lambda: nn.Sequential(conv(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        (2, 6, 8),
    ),
    "batch norm, dropout, relu6": (
        lambda: nn.Sequential(
            conv(2, 4, 3, groups=2, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(64, 3),
        ),
        (2, 6, 6),
    ),
    "residual and scale": (
        lambda: Lambda(
            lambda x, a, b: (b(a(x).relu()) + a(x).relu() * 0.5 - 0.25).relu(),
            conv(2, 3, 3, padding=1),
            conv(3, 3, 3, padding=1),
        ),
        (2, 5, 5),
    ),
    "normalised input": (
        lambda: Lambda(
            lambda x, c: c((x - torch.tensor([0.4, 0.5]).view(2, 1, 1)) / 0.2).relu(),
            conv(2, 3, 3, padding=1),
        ),
        (2, 5, 5),
    ),
}


def exported(
    path: Path, made: nn.Module, shape: tuple[int, ...], free: bool, **options: Any
) -> Path:
    torch.manual_seed(0)
    axes = {"dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}} if free else {}
    options = {"dynamo": False, **axes, **options}
    names = {"input_names": ["x"], "output_names": ["y"]}
    torch.onnx.export(made.eval(), (torch.randn(1, *shape),), str(path), **names, **options)
    return path


QUIET = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore::UserWarning"
)


@QUIET
@pytest.mark.parametrize("free", [True, False], ids=["any batch", "batch of 1"])
@pytest.mark.parametrize("idiom", TORCH)
def test_what_torch_exports(tmp_path: Path, idiom: str, free: bool) -> None:
    make, shape = TORCH[idiom]
    torch.manual_seed(1)
    path = exported(tmp_path / "n.onnx", make(), shape, free)
    assert_same_network(path, RNG(0).normal(size=(3, *shape)))


@QUIET
@pytest.mark.parametrize("free", [True, False], ids=["any batch", "batch of 1"])
@pytest.mark.parametrize("idiom", TORCH)
def test_what_torchs_newer_exporter_writes(tmp_path: Path, idiom: str, free: bool) -> None:
    pytest.importorskip("onnxscript")
    make, shape = TORCH[idiom]
    torch.manual_seed(1)
    options: dict[str, Any] = {"dynamo": True}
    if free:
        options["dynamic_shapes"] = ({0: torch.export.Dim.DYNAMIC},)
    path = exported(tmp_path / "n.onnx", make(), shape, False, **options)
    assert_same_network(path, RNG(0).normal(size=(3, *shape)))


@QUIET
@pytest.mark.parametrize("opset", [11, 12, 13, 15, 17, 18, 19, 20])
def test_every_opset(tmp_path: Path, opset: int) -> None:
    made = Lambda(
        lambda x, c, f: f(
            F.dropout(
                F.avg_pool2d(F.pad(c(x).unsqueeze(1).squeeze(1).clamp(min=0), (0, 1, 1, 0)), 2),
                0.1,
                False,
            )
            .mean(-1)
            .view(x.size(0), -1)
        ),
        conv(2, 3, 3),
        nn.Linear(6, 5),
    )
    path = exported(tmp_path / "n.onnx", made, (2, 6, 6), True, opset_version=opset)
    assert_same_network(path, RNG(0).normal(size=(3, 2, 6, 6)))


def keras() -> tuple[list[Any], dict[str, Array]]:
    """Channels last, as tf2onnx writes Keras: Transposes, SAME, Identity of weights, no biases."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Pad", ["t", "around"], ["p"]),
        node("Conv", ["p", "w1"], ["c1"], strides=[2, 2]),
        node("Add", ["c1", "b1"], ["a1"]),
        node("Mul", ["a1", "g1"], ["m1"]),
        node("Sub", ["m1", "s1"], ["n1"]),
        node("Relu", ["n1"], ["r1"]),
        node("Pad", ["r1", "ring"], ["q"]),
        node("MaxPool", ["q"], ["mp"], kernel_shape=[3, 3], strides=[2, 2]),
        node("Identity", ["w2"], ["w2.read"]),
        node("Conv", ["mp", "w2.read"], ["c2"], strides=[2, 2], auto_pad="SAME_UPPER"),
        node("Clip", ["c2", "zero", "six"], ["r2"]),
        node("Conv", ["r2", "w3"], ["c3"], auto_pad="SAME_LOWER", group=4),
        node("Relu", ["c3"], ["r3"]),
        node("AveragePool", ["r3"], ["ap"], kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
        node("Transpose", ["ap"], ["u"], perm=[0, 2, 3, 1]),
        node("Shape", ["u"], ["shape"]),
        node("Slice", ["shape", "i0", "i1"], ["first"]),
        node("Concat", ["first", "rest"], ["to"], axis=0),
        node("Cast", ["to"], ["to64"], to=onnx.TensorProto.INT64),
        node("Reshape", ["u", "to64"], ["f"]),
        node("MatMul", ["f", "w4"], ["z"]),
        node("Add", ["z", "b4"], ["s"]),
        node("Identity", ["s"], ["y"]),
    ]
    constants = {
        "around": np.array([0, 0, 0, 1, 0, 0, 1, 2]),
        "ring": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "w1": weights(4, 2, 3, 3),
        "b1": weights(1, 4, 1, 1, seed=1),
        "g1": weights(4, 1, 1, seed=2),
        "s1": weights(4, 1, 1, seed=3),
        "w2": weights(4, 4, 2, 2, seed=4),
        "zero": np.array(0, np.float32),
        "six": np.array(600, np.float32),
        "w3": weights(4, 1, 2, 2, seed=5),
        "i0": np.array([0]),
        "i1": np.array([1]),
        "rest": np.array([-1]),
        "w4": weights(16, 3, seed=6),
        "b4": weights(3, seed=7),
    }
    return nodes, constants


@pytest.mark.parametrize("batch", ["n", 1, 3])
def test_what_keras_becomes(tmp_path: Path, batch: int | str) -> None:
    nodes, constants = keras()
    path = saved(tmp_path / "k.onnx", model(nodes, (12, 11, 2), constants, batch=batch))
    assert_same_network(path, RNG(0).normal(size=(3, 12, 11, 2)))


def one(kind: str, **fields: Any) -> list[Any]:
    return [node(kind, ["x"], ["y"], **fields)]


W = {"w": weights(3, 2, 3, 3)}
BARE: dict[str, tuple[list[Any], tuple[int, ...], dict[str, Array]]] = {
    "pads of each side": (
        [node("Conv", ["x", "w"], ["y"], pads=[0, 2, 1, 3], strides=[2, 1], dilations=[2, 1])],
        (2, 7, 6),
        W,
    ),
    "valid": ([node("Conv", ["x", "w"], ["y"], auto_pad="VALID")], (2, 7, 6), W),
    "same lower, stride 2": (
        [node("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER", strides=[2, 2])],
        (2, 6, 8),
        W,
    ),
    "max pool, same": (
        one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
        (2, 5, 5),
        {},
    ),
    "lowest values around a max pool": (
        [
            node("Pad", ["x", "pads", "low"], ["p"]),
            node("MaxPool", ["p"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
        ],
        (2, 5, 5),
        {"pads": np.array([0, 0, 1, 0, 0, 0, 0, 1]), "low": np.array(-np.inf, np.float32)},
    ),
    "a pad before an average": (
        [
            node("Pad", ["x", "pads"], ["p"]),
            node("AveragePool", ["p"], ["y"], kernel_shape=[2, 2], pads=[0, 0, 1, 0]),
        ],
        (2, 4, 4),
        {"pads": np.array([0, 0, 1, 0, 0, 0, 0, 1])},
    ),
    "gemm of a scalar bias": (
        [node("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=3.0)],
        (4,),
        {"w": weights(4, 3), "b": np.array(2, np.float32)},
    ),
    "constant minus x, negated": (
        [node("Sub", ["c", "x"], ["a"]), node("Neg", ["a"], ["y"])],
        (3, 2, 2),
        {"c": weights(3, 1, 1)},
    ),
    "sums and differences": (
        [
            node("Conv", ["x", "w"], ["a"]),
            node("Sub", ["a", "b"], ["b1"]),  # the plain a is read again below
            node("Sum", ["a", "b1", "a"], ["c"]),
            node("Sub", ["c", "b1"], ["d"]),
            node("Max", ["zero", "d"], ["y"]),
        ],
        (2, 5, 5),
        {**W, "b": weights(3, 1, 1), "zero": np.array(0, np.float32)},
    ),
    "a weight of integers": (
        [
            node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=0),
            node("Transpose", ["d"], ["w"], perm=[1, 0]),
            node("MatMul", ["x", "w"], ["y"]),
        ],
        (4,),
        {
            "q": np.arange(-6, 6, dtype=np.int8).reshape(3, 4),
            "s": np.array([0.1, 0.2, 0.3], np.float32),
            "z": np.array([0, 1, -1], np.int8),
        },
    ),
    "sum over channels and a row": (
        [node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)],
        (2, 3, 4),
        {"axes": np.array([1, -1])},
    ),
    "global maximum": (one("GlobalMaxPool"), (2, 3, 4), {}),
    "flatten from the end": (one("Flatten", axis=-3), (2, 3, 4), {}),
    "reshape, 0 and -1": (
        [node("Reshape", ["x", "s"], ["y"])],
        (2, 3, 4),
        {"s": np.array([0, 0, -1])},
    ),
}


@pytest.mark.parametrize("idiom", BARE)
def test_an_operator(tmp_path: Path, idiom: str) -> None:
    nodes, shape, constants = BARE[idiom]
    path = saved(tmp_path / "o.onnx", model(nodes, shape, constants))
    assert_same_network(path, RNG(0).normal(size=(3, *shape)))


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_thresholds_are_the_same_whatever_the_file_says_of_the_batch(
    tmp_path: Path, batch: int | str
) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    made = model(nodes, (4,), {"w": weights(4, 5)}, batch=batch)
    x = RNG(0).normal(size=(10, 4)).astype(np.float32)
    expected = np.quantile(np.maximum(x @ weights(4, 5), 0), 0.999)
    np.testing.assert_allclose(largest_activations(made, ["y"], x)["y"], expected, rtol=1e-6)


@pytest.mark.parametrize(("kind", "dtype"), [("DOUBLE", np.float64), ("FLOAT16", np.float16)])
def test_thresholds_of_a_file_of_other_floats(kind: str, dtype: Any, tmp_path: Path) -> None:
    weight = weights(4, 5).astype(dtype)
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    made = model(nodes, (4,), {"w": weight})
    element = getattr(onnx.TensorProto, kind)
    made.graph.input[0].type.tensor_type.elem_type = element
    made.graph.output[0].type.tensor_type.elem_type = element
    x = RNG(0).normal(size=(10, 4)).astype(dtype)
    expected = np.quantile(np.maximum((x @ weight).astype(np.float64), 0), 0.999)
    found = largest_activations(made, ["y"], x.astype(np.float32))["y"]
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    read(saved(tmp_path / "n.onnx", made))


def test_an_average_divides_by_the_values_that_are_there(tmp_path: Path) -> None:
    nodes = one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    graph = read(saved(tmp_path / "p.onnx", model(nodes, (1, 5, 5))))
    assert isinstance(graph.nodes["y"], SumPool)
    divisors = graph.nodes["y.divisors"]
    assert isinstance(divisors, Scale)
    edge, corner, inner = 1 / 6, 1 / 4, 1 / 9
    wanted = [[corner, edge, corner], [edge, inner, edge], [corner, edge, corner]]
    np.testing.assert_allclose(divisors.factor, wanted)


def test_an_average_whose_windows_all_fill_is_one_divisor(tmp_path: Path) -> None:
    nodes = one("AveragePool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    graph = read(saved(tmp_path / "p.onnx", model(nodes, (1, 6, 6))))
    assert isinstance(graph.nodes["y"], AvgPool)


def test_padding_and_biases_move_into_the_convolution(tmp_path: Path) -> None:
    nodes, constants = keras()
    graph = read(saved(tmp_path / "k.onnx", model(nodes, (12, 11, 2), constants)))
    first = graph.nodes["c1"]
    assert isinstance(first, Conv2d) and paddings(first) == ((0, 1), (1, 2))
    assert first.weight.shape == (4, 2, 3, 3)
    kinds = [part.kind for part in graph.nodes.values()]
    assert kinds.count("Scale") == 4  # the worths of three Relus, the divisors of the average
    assert "BatchNorm" not in kinds
    head = graph.nodes["z"]
    assert isinstance(head, Linear) and head.bias is not None
    np.testing.assert_array_equal(head.bias, constants["b4"])


def test_a_normalised_input_is_the_inputs_own(tmp_path: Path) -> None:
    nodes = [
        node("Sub", ["x", "mean"], ["a"]),
        node("Div", ["a", "std"], ["b"]),
        node("Conv", ["b", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["y"]),
    ]
    mean, std = np.array([[[0.4]], [[0.5]]], np.float32), np.array([[[0.2]], [[0.3]]], np.float32)
    constants = {"mean": mean, "std": std, "w": weights(3, 2, 3, 3)}
    path = saved(tmp_path / "n.onnx", model(nodes, (2, 5, 5), constants))
    folded = fold(assert_same_network(path, RNG(0).normal(size=(3, 2, 5, 5))))
    assert folded.input.mean is not None and folded.input.std is not None
    np.testing.assert_allclose(folded.input.mean.reshape(-1), mean.reshape(-1), rtol=1e-5)
    np.testing.assert_allclose(folded.input.std.reshape(-1), std.reshape(-1), rtol=1e-5)


@QUIET
@pytest.mark.parametrize("dynamo", [False, True])
def test_a_batch_of_1_runs_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dynamo: bool
) -> None:
    """Exported with torch's defaults, calibrated on many samples, lowered, equal everywhere."""
    if dynamo:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    made = Lambda(
        lambda x, c, f: f(c(x).relu().view(x.size(0), -1)),
        conv(1, 4, 2, padding="same"),
        nn.Linear(256, 10),
    )
    path = exported(tmp_path / "n.onnx", made, (1, 8, 8), False, dynamo=dynamo)
    words = ("--convert", "relu", "--data", "digits", "--limit", "8")
    found = call_json(capsys, "run", str(path), *words)
    (row,) = [row for row in found["layers"] if row["kind"] == "Neuron"]
    assert 0 < row["spike_rate"] < 1
    equal = call_json(capsys, "verify", str(path), *words, "--bits", "8", "--calibrate", "digits")
    assert equal["equal"] and equal["values_compared"] > 0
    folded = call_json(capsys, "inspect", str(path), *words[:2], "--calibrate", "digits")
    assert folded["parameters"] == 4 * 4 + 4 + 2560 + 10
