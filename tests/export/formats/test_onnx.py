"""The exported ONNX: valid, deterministic, and equal to the reference in every form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from spikewright.export.formats.onnx import build_model, write_onnx
from spikewright.export.ir import (
    Array,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    FormatError,
    Graph,
    Input,
    Linear,
    MaxPool,
    Neuron,
    Node,
    Output,
    Shape,
    SumPool,
    UnknownNameError,
    bounds,
    check,
)
from spikewright.export.ir.digest import digest
from spikewright.sim.encode import encode
from spikewright.sim.onnxrt import OnnxRuntime
from spikewright.sim.reference import Reference
from spikewright.sim.verify import compare
from tests.fuzz.graphs import enliven, random_graph, random_input


def i32(value: Any) -> Array:
    return np.array(value, np.int32)


@pytest.mark.parametrize("arithmetic", ["auto", "integer", "exact-float"])
def test_random_graphs_are_equal_in_onnxruntime(arithmetic: str) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        x = random_input(graph, rng)
        one = Reference().prepare(graph).run(x)
        two = OnnxRuntime(arithmetic=arithmetic).prepare(graph).run(x)  # type: ignore[arg-type]
        assert isinstance(compare(one, two, ("reference", arithmetic)), int), seed


@pytest.mark.parametrize("form", ["step", "scan"])
@pytest.mark.parametrize("inline", [False, True])
def test_files_pass_the_checker_and_onnx_reference_agrees(
    form: str, inline: bool, tmp_path: Path
) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        path = tmp_path / f"{seed}.onnx"
        write_onnx(graph, path, form, inline=inline)  # type: ignore[arg-type]
        model = onnx.load(path)
        assert bool(model.functions) != inline
        assert not list(tmp_path.glob(".writing*"))
        if form == "scan":
            x = random_input(graph, rng, time_steps=3)
            y = evaluated(model, x)["output"]
            assert np.array_equal(y, Reference().prepare(graph).run(x).output), seed


def test_same_graph_same_bytes() -> None:
    one, two = (
        build_model(random_graph(np.random.default_rng(5))).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert one == two


def test_weights_stay_int8_in_the_file() -> None:
    graph = Graph.chain(
        {
            "in": Input((64,), "spikes", low=0, high=1),
            "fc": Linear(np.full((32, 64), 7, np.int8)),
            "n": Neuron((32,), i32(9)),
            "out": Output("spike_count"),
        },
        "integer",
    )
    held = {t.name: t.data_type for t in build_model(graph).graph.initializer}
    assert held["fc/weight"] == onnx.TensorProto.INT8


@pytest.mark.parametrize("arithmetic", ["auto", "integer"])
@pytest.mark.parametrize("high", [127, 300, 20000])
@pytest.mark.parametrize("kind", ["linear", "conv1", "conv2"])
def test_sums_beyond_float32_stay_exact(arithmetic: str, high: int, kind: str) -> None:
    """Worst cases above 2^24: the input is split into digits, both signs."""
    taps = {"linear": 1, "conv1": 3, "conv2": 9}[kind]
    fan = min(1400, (2**31 - 1) // (127 * high)) // taps
    top = np.full(fan, 127, np.int8)
    weight = np.stack([top, -top, np.where(np.arange(fan) % 2, 127, 126).astype(np.int8)])
    shape, node = {
        "linear": ((fan,), Linear(weight)),
        "conv1": ((fan, 5), Conv1d(weight[:, :, None].repeat(3, 2), padding=(1,))),
        "conv2": (
            (fan, 4, 4),
            Conv2d(weight[:, :, None, None].repeat(3, 2).repeat(3, 3), padding=(1, 1)),
        ),
    }[kind]
    nodes: dict[str, Node] = {
        "in": Input(shape, "frames", None, -high, high),
        "w": node,
        "flat": Flatten(),
        "out": Output("none"),
    }
    graph = check(Graph.chain(nodes, "integer"))
    assert not bounds(graph)["w"].exact_in_float32
    rng = np.random.default_rng(0)
    x = np.stack(
        [np.full(shape, high), np.full(shape, -high), rng.integers(-high, high + 1, shape)]
    )
    one = Reference().prepare(graph).run(x[None])
    two = OnnxRuntime(arithmetic=arithmetic).prepare(graph).run(x[None])  # type: ignore[arg-type]
    assert np.array_equal(one.output, two.output)


def test_float_graphs_run_in_float32() -> None:
    rng = np.random.default_rng(0)
    graph = Graph.chain(
        {
            "in": Input((2, 6, 6)),
            "conv": Conv2d(rng.normal(size=(4, 2, 3, 3)), rng.normal(size=4), padding=(1, 1)),
            "n": Neuron((4, 6, 6), np.array(0.5), beta=np.array(0.5), reset="soft"),
            "flat": Flatten(),
            "fc": Linear(rng.normal(size=(3, 144)), rng.normal(size=3)),
            "out": Output("leaky", beta=np.array(0.9)),
        },
        "folded",
    )
    x = rng.random((3, 2, 2, 6, 6), dtype=np.float32)
    one = Reference().prepare(graph).run(x)
    two = OnnxRuntime().prepare(graph).run(x)
    assert (one.neurons["n"].spikes != two.neurons["n"].spikes).mean() < 0.01
    np.testing.assert_allclose(one.output, two.output, rtol=1e-2, atol=1e-2)


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    graph = random_graph(np.random.default_rng(0))
    path = tmp_path / "net.onnx"
    path.write_text("precious")
    with pytest.raises(FormatError, match="force=True"):
        write_onnx(graph, path)
    assert path.read_text() == "precious"
    write_onnx(graph, path, force=True)
    assert onnx.load(path).graph.name == "spikewright"


def spiking_chain(**options: Any) -> Graph:
    """Three layers of one structure with fields of their own, and one of another."""
    rng = np.random.default_rng(3)
    nodes: dict[str, Node] = {"in": Input((6,), "frames", low=0, high=3)}
    for k in range(4):
        nodes[f"fc{k}"] = Linear(
            rng.integers(-7, 8, (6, 6)).astype(np.int8), scale=i32(1) / np.arange(1, 7), bits=4
        )
        nodes[f"n{k}"] = Neuron(
            (6,),
            i32(rng.integers(1, 9, 6)),
            dv=i32(rng.integers(1, 4096, 6)),
            bias=i32(k + 1),
            reset="soft" if k == 2 else "hard",
            v_scale=np.array(0.25 * k),
        )
    nodes["out"] = Output("integrate", scale=0.5, state_bits=20)
    return check(Graph.chain(nodes, "integer", **options))


def test_neurons_of_one_structure_share_a_function() -> None:
    graph = spiking_chain()
    model = build_model(graph, "scan")
    assert [f.name for f in model.functions] == [
        "IntegerNeuron_hard_above_decay_bias",
        "IntegerNeuron_soft_above_decay_bias",
    ]
    assert all(f.domain == "ai.spiking" for f in model.functions)
    x = np.random.default_rng(0).integers(0, 4, (7, 2, 6))
    expected = Reference().prepare(graph).run(x)
    assert all(n.spikes.any() for n in expected.neurons.values())
    found = evaluated(model, x)
    assert np.array_equal(found["output"], expected.output)
    for name, neuron in expected.neurons.items():
        assert np.array_equal(found[f"{name}/spikes"], neuron.spikes), name
        assert neuron.v is not None and np.array_equal(found[f"{name}/v"], neuron.v), name


def evaluated(model: onnx.ModelProto, x: Array) -> dict[str, Array]:
    """Run a Scan model in onnx's own evaluator."""
    names = [output.name for output in model.graph.output]
    run: Any = ReferenceEvaluator(model).run
    return dict(zip(names, run(names, {"input": x.astype(np.int32)}), strict=True))


def test_the_names_of_a_file() -> None:
    graph = spiking_chain()
    step, scan = build_model(graph, "step"), build_model(graph, "scan")

    def shapes(values: Any) -> dict[str, list[Any]]:
        return {
            v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
            for v in values
        }

    states = [f"n{k}/v" for k in range(4)] + ["out/y"]
    spikes = [f"n{k}/spikes" for k in range(4)]
    names = ["input", *(f"{s}.prev" for s in states)]
    assert shapes(step.graph.input) == {name: ["batch", 6] for name in names}
    names = ["output", *spikes, *(f"{s}.next" for s in states)]
    assert shapes(step.graph.output) == {name: ["batch", 6] for name in names}
    assert shapes(scan.graph.input) == {"input": ["time", "batch", 6]}
    names = ["output", *spikes, *states[:4]]
    assert shapes(scan.graph.output) == {name: ["time", "batch", 6] for name in names}


def test_the_card_names_scales_bits_resets_and_time() -> None:
    graph = spiking_chain(metadata={"time_steps": 9})
    props = {p.key: p.value for p in build_model(graph, "step").metadata_props}
    card = json.loads(props["spikewright"])
    assert card["form"] == "step" and card["time_steps"] == 9 and card["digest"] == digest(graph)
    assert card["weights"]["fc1"] == {"bits": 4, "scale": [1 / k for k in range(1, 7)]}
    assert card["neurons"]["n2"]["reset"] == "soft" and card["neurons"]["n2"]["v_scale"] == 0.5
    assert card["output"] == {"readout": "integrate", "scale": 0.5}
    assert card["states"].keys() == {
        "n0/v.prev",
        "n1/v.prev",
        "n2/v.prev",
        "n3/v.prev",
        "out/y.prev",
    }


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_delay_is_one_ring(steps: int) -> None:
    nodes: dict[str, Node] = {
        "in": Input((2, 3), "spikes", low=0, high=1),
        "d": Delay((2, 3), steps),
        "out": Output("none"),
    }
    graph = check(Graph.chain(nodes, "integer"))
    model = build_model(graph, "step")
    assert [v.name for v in model.graph.input] == ["input", "d/ring.prev"]
    x = np.random.default_rng(0).integers(0, 2, (7, 2, 2, 3))
    found = evaluated(build_model(graph, "scan"), x)["output"]
    assert np.array_equal(found[steps:], x[:-steps]) and not found[:steps].any()
    assert np.array_equal(OnnxRuntime().prepare(graph).run(x).output, found)


@pytest.mark.parametrize("kind", [SumPool, MaxPool])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((6, 5), (1, 1), (0, 0)),
        ((3, 5), (2, 1), (1, 0)),
        ((4, 3), (1, 2), (2, 1)),
        ((8, 2), (3, 2), (1, 1)),
    ],
)
def test_pools_of_signed_values(kind: Any, kernel: Shape, stride: Shape, padding: Shape) -> None:
    """Whole axes are reduced, others sliced; padding never wins a maximum."""
    graph = check(
        Graph.chain(
            {
                "in": Input((2, 6, 5), "frames", low=-900, high=-1),
                "pool": kind(kernel, stride, padding),
                "out": Output("none"),
            },
            "integer",
        )
    )
    x = np.random.default_rng(0).integers(-900, 0, (2, 3, 2, 6, 5))
    expected = Reference().prepare(graph).run(x).output
    assert np.array_equal(OnnxRuntime().prepare(graph).run(x).output, expected)
    assert np.array_equal(evaluated(build_model(graph, "scan"), x)["output"], expected)


def test_auto_turns_to_integers_where_no_float32_form_is_exact() -> None:
    fan = 20_000
    nodes: dict[str, Node] = {
        "in": Input((fan,), "direct", 1.0, -127, 127),
        "fc": Linear(np.full((2, fan), 127, np.int8)),
        "out": Output("none"),
    }
    graph = check(Graph.chain(nodes, "integer"))
    assert operators(build_model(graph)) >= {"MatMulInteger"}
    x = np.random.default_rng(0).integers(100, 128, (1, 2, fan))
    assert np.array_equal(OnnxRuntime().prepare(graph).run(x).output, x @ np.full((fan, 2), 127))
    with pytest.raises(FormatError, match="fc: a fan-in of 20000 has no exact float32 form"):
        build_model(graph, arithmetic="exact-float")


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def test_the_arithmetic_asked_for_is_the_one_written() -> None:
    graph = spiking_chain()
    assert "MatMulInteger" not in operators(build_model(graph, arithmetic="exact-float"))
    assert "MatMul" not in operators(build_model(graph, arithmetic="integer"))
    for wrong in ({"arithmetic": "fast"}, {"form": "loop"}):
        with pytest.raises(UnknownNameError, match=next(iter(wrong.values()))):
            build_model(graph, **wrong)  # type: ignore[arg-type]


def test_the_documented_way_to_run_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippet of docs/onnx.md."""
    page = (Path(__file__).parents[3] / "docs" / "onnx.md").read_text(encoding="utf-8")
    snippet = page.split("```python\n")[1].split("```")[0]
    graph = spiking_chain()
    write_onnx(graph, tmp_path / "net.scan.onnx", "scan")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"frames": np.random.default_rng(0).integers(0, 4, (5, 3, 6))}
    exec(snippet, names)
    expected = Reference().prepare(graph).run(names["frames"])
    assert np.array_equal(names["prediction"], expected.predictions)
    assert np.array_equal(names["found"]["n3/spikes"], expected.neurons["n3"].spikes)


def checked_matmul() -> Any:
    """onnx's own MatMulInteger, refusing operands with which a CPU without VNNI saturates."""
    from onnx.reference.op_run import OpRun

    class MatMulInteger(OpRun):
        def _run(self, a: Array, b: Array) -> tuple[Array]:
            return (pairwise(a, b),)

    return MatMulInteger


def checked_conv() -> Any:
    """onnx's own ConvInteger, likewise: windows times weights, as a CPU multiplies them."""
    from onnx.reference.op_run import OpRun

    class ConvInteger(OpRun):
        def _run(self, x: Array, w: Array, pads: Any = None, **others: Any) -> tuple[Array]:
            top, left, bottom, right = pads
            padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
            views = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], axis=(2, 3))
            rows = views.transpose(0, 2, 3, 1, 4, 5).reshape(*views.shape[:1], -1, w[0].size)
            found = pairwise(rows, w.reshape(len(w), -1).T)
            return (found.transpose(0, 2, 1).reshape(len(x), len(w), *views.shape[2:4]),)

    return ConvInteger


def pairwise(a: Array, b: Array) -> Array:
    """u8 x s8 as pmaddubsw adds it: neighbours in 16 bits, which must not saturate."""
    assert a.dtype == np.uint8 and b.dtype == np.int8
    products = a.astype(np.int64)[..., None] * b.astype(np.int64)
    odd = products.shape[-2] % 2
    padded = np.pad(products, [(0, 0)] * (products.ndim - 2) + [(0, odd), (0, 0)])
    pairs = padded.reshape(*padded.shape[:-2], -1, 2, padded.shape[-1]).sum(-2)
    assert np.abs(pairs).max(initial=0) < 2**15
    return pairs.sum(-2).astype(np.int32)


def test_integer_products_cannot_saturate_without_vnni() -> None:
    """Whatever the CPU of the test: onnx's evaluator with an operator that counts in 16 bits."""
    rng, fan = np.random.default_rng(0), 600
    weight = np.stack([np.full(fan, -128), np.full(fan, 127), rng.integers(-128, 128, fan)])
    nodes: dict[str, Node] = {
        "in": Input((fan,), "frames", None, -20000, 20000),
        "w": Linear(weight.astype(np.int8)),
        "out": Output("none"),
    }
    graph = check(Graph.chain(nodes, "integer"))
    model = build_model(graph, "step", "integer", inline=True)
    assert "MatMulInteger" in operators(model)
    frames = [np.full(fan, 20000), np.full(fan, -20000), rng.integers(-20000, 20001, fan)]
    x = np.stack(frames).astype(np.int32)
    run: Any = ReferenceEvaluator(model, new_ops=[checked_matmul()]).run
    (y,) = run(["output"], {"input": x})
    assert np.array_equal(y, x.astype(np.int64) @ weight.T)


def test_integer_convolutions_cannot_saturate_without_vnni() -> None:
    rng = np.random.default_rng(0)
    weight = np.stack([np.full((8, 3, 3), -128), np.full((8, 3, 3), 127)]).astype(np.int8)
    nodes: dict[str, Node] = {
        "in": Input((8, 5, 5), "frames", None, -900, 900),
        "w": Conv2d(weight, padding=(1, 1)),
        "out": Output("none"),
    }
    graph = check(Graph.chain(nodes, "integer"))
    model = build_model(graph, "step", "integer", inline=True)
    assert "ConvInteger" in operators(model)
    shape = (8, 5, 5)
    frames = [np.full(shape, 900), np.full(shape, -900), rng.integers(-900, 901, shape)]
    x = np.stack(frames).astype(np.int32)
    run: Any = ReferenceEvaluator(model, new_ops=[checked_conv()]).run
    (y,) = run(["output"], {"input": x})
    assert np.array_equal(y, Reference().prepare(graph).run(x[None]).output[0])


def test_the_check_of_saturation_sees_it() -> None:
    """What such a CPU would do wrongly: 255 x 127, twice, is more than 16 bits hold."""
    with pytest.raises(AssertionError):
        pairwise(np.full((1, 2), 255, np.uint8), np.full((2, 1), 127, np.int8))


SMALL = {
    "spikformer_2_64": {"input_shape": (1, 16, 16), "depth": 1, "dim": 32, "heads": 2},
    "spiking_resnet_digits": {},
}


@pytest.mark.parametrize("name", SMALL)
def test_whole_networks_are_equal_everywhere(name: str) -> None:
    """Attention, residuals, pools in onnxruntime and onnx.reference, alive in depth."""
    pytest.importorskip("torch")
    import torch

    from spikewright import api
    from spikewright.trainer.models import create

    torch.manual_seed(0)
    module = create(name, **SMALL[name]).eval()
    samples = np.random.default_rng(0).random((2, *module.input_shape), dtype=np.float32)
    sample = torch.as_tensor(samples[:1])[None].repeat(2, 1, 1, 1, 1)
    graph = enliven(api.lower(module, sample, calibrate=samples), np.random.default_rng(1))
    x = encode(graph, samples, 3)
    expected = Reference().prepare(graph).run(x)
    alive = [bool(n.spikes.any()) for n in expected.neurons.values()]
    assert sum(alive) >= 0.8 * len(alive), alive
    for arithmetic in ("auto", "integer"):
        executor = OnnxRuntime(arithmetic=arithmetic)  # type: ignore[arg-type]
        found = executor.prepare(graph).run(x)
        assert isinstance(compare(expected, found, ("reference", arithmetic)), int)
    model = build_model(graph, "scan")
    onnx.checker.check_model(model, full_check=True)
    theirs = evaluated(model, x)
    assert np.array_equal(theirs["output"], expected.output)
    for key, neuron in expected.neurons.items():
        assert np.array_equal(theirs[f"{key}/spikes"], neuron.spikes), key
        assert neuron.v is not None and np.array_equal(theirs[f"{key}/v"], neuron.v), key
