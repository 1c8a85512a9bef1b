"""The exported ONNX: valid, deterministic, and equal to the reference in every form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from spikewright.export.formats.onnx import build_model, write_onnx
from spikewright.export.ir import (
    BoundsError,
    Conv1d,
    Conv2d,
    Flatten,
    FormatError,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
    bounds,
    check,
)
from spikewright.sim.onnxrt import OnnxRuntime
from spikewright.sim.reference import Reference
from spikewright.sim.verify import compare
from tests.fuzz.graphs import random_graph, random_input


@pytest.mark.parametrize("arithmetic", ["auto", "integer", "exact-float"])
def test_random_graphs_are_equal_in_onnxruntime(arithmetic: str) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        x = random_input(graph, rng)
        one = Reference().prepare(graph).run(x)
        two = OnnxRuntime(arithmetic=arithmetic).prepare(graph).run(x)  # type: ignore[arg-type]
        assert isinstance(compare(one, two, ("reference", arithmetic)), int), seed


def test_steps_equal_the_scan() -> None:
    for seed in range(15):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        x = random_input(graph, rng)
        session = OnnxRuntime().prepare(graph)
        whole = session.run(x).output
        for _ in range(2):
            session.reset()
            assert np.array_equal(np.stack([session.step(frame) for frame in x]), whole), seed


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
            (y,) = ReferenceEvaluator(model).run(["output"], {"frames": x.astype(np.int32)})
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
            "n": Neuron((32,), np.int32(9)),
            "out": Output("spike_count"),
        },
        "integer",
    )
    held = {t.name: t.data_type for t in build_model(graph).graph.initializer}
    assert held["fc.weight"] == onnx.TensorProto.INT8


@pytest.mark.parametrize("arithmetic", ["auto", "integer"])
@pytest.mark.parametrize("high", [127, 300, 20000])
@pytest.mark.parametrize("kind", ["linear", "conv1", "conv2"])
def test_sums_beyond_float32_stay_exact(arithmetic: str, high: int, kind: str) -> None:
    """Worst cases above 2^24: the input is split into digits, both signs."""
    fan = 1400 if kind == "linear" else 180
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
    try:
        graph = check(
            Graph.chain(
                {
                    "in": Input(shape, "frames", None, -high, high),
                    "w": node,
                    "flat": Flatten(),
                    "out": Output("none"),
                },
                "integer",
            )
        )
    except BoundsError:
        pytest.skip("leaves int32, refused")
    if high > 127:
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
            "n": Neuron((4, 6, 6), np.float64(0.5), beta=np.float64(0.5), reset="soft"),
            "flat": Flatten(),
            "fc": Linear(rng.normal(size=(3, 144)), rng.normal(size=3)),
            "out": Output("leaky", beta=np.float64(0.9)),
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
    with pytest.raises(FormatError, match="--force"):
        write_onnx(graph, path)
    assert path.read_text() == "precious"
    write_onnx(graph, path, force=True)
    assert onnx.load(path).graph.name == "spikewright"


def test_the_card_names_scales_and_resets() -> None:
    graph = random_graph(np.random.default_rng(2))
    model = build_model(graph.replace(nodes={n: replace(x) for n, x in graph.nodes.items()}))
    card = {p.key: p.value for p in model.metadata_props}["spikewright"]
    for name in graph.neurons:
        assert f'"{name}"' in card
