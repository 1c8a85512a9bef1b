"""The files that the campaign mutates: small, valid ones of every format that is read."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import spikewright as sw
from spikewright.trainer.neurons import LIF
from spikewright.trainer.resume import Extent, Identity, Moving, StateFile

from ..fuzz.graphs import random_graph

Rng = np.random.Generator


def seeds(kind: str, folder: Path) -> list[bytes]:
    """Return the seeds of a format: each accepted by its reader."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(MAKERS[kind](folder))


def network() -> nn.Sequential:
    """Return the small network whose float graph and weights are seeds."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6, bias=False), LIF(), nn.Linear(6, 4, bias=False), LIF())


def _lowered(target: str | None = None) -> sw.Graph:
    x = torch.from_numpy(np.random.default_rng(0).random((4, 2, 8), np.float32))
    return sw.lower(network(), x, target=target, encoding="rate", time_steps=4)


def _written(graph: sw.Graph, folder: Path, name: str) -> bytes:
    """Return a graph in the format of a file's suffix; raises as `write` does."""
    path = folder / name
    sw.write(graph, path, force=True)
    return path.read_bytes()


def _random(folder: Path, name: str, count: int) -> Iterator[bytes]:
    """Yield random integer graphs in a format, of those that it can hold."""
    for seed in range(400):
        try:
            content = _written(random_graph(np.random.default_rng(seed)), folder, name)
        except sw.SpikewrightError:
            continue
        yield content
        count -= 1
        if not count:
            return


def _spk(folder: Path) -> Iterator[bytes]:
    x = torch.from_numpy(np.random.default_rng(0).random((4, 2, 8), np.float32))
    yield _written(sw.lower(network(), x, level="float", time_steps=4), folder, "a.spk")
    yield _written(_lowered(), folder, "a.spk")
    yield from _random(folder, "a.spk", 6)


def _nir(folder: Path) -> Iterator[bytes]:
    yield from _random(folder, "a.nir", 3)
    yield from _foreign_nir(folder)


def _foreign_nir(folder: Path) -> Iterator[bytes]:
    """Yield files as `nir` itself writes them: LIF, current-based, a loop, delays, IF."""
    import nir

    rng = np.random.default_rng(1)

    def full(value: float) -> Any:
        return np.full(6, value, np.float32)

    weight = rng.normal(0, 0.3, (6, 8)).astype("f4")
    cuba = {"tau_syn": full(0.01), "tau_mem": full(0.02), "r": full(1), "v_leak": full(0)}
    neurons = {
        "lif": nir.LIF(full(0.01), full(1), full(0), full(1)),
        "cuba": nir.CubaLIF(**cuba, v_threshold=full(1), w_in=full(1)),
        "if": nir.IF(full(1), full(1)),
        "li": nir.LI(full(0.01), full(1), full(0)),
    }
    for name, neuron in neurons.items():
        nodes = {
            "input": nir.Input(np.array([8])),
            "w": nir.Affine(weight, full(0.1)),
            "n": neuron,
            "output": nir.Output(np.array([6])),
        }
        edges = [("input", "w"), ("w", "n"), ("n", "output")]
        if name in ("lif", "li"):
            nodes["r"] = nir.Linear(rng.normal(0, 0.3, (6, 6)).astype("f4"))
            edges += [("n", "r"), ("r", "n")]
        if name == "if":
            nodes["d"] = nir.Delay(np.full(6, 1e-3))
            edges = [("input", "w"), ("w", "d"), ("d", "n"), ("n", "output")]
        path = folder / "foreign.nir"
        nir.write(str(path), nir.NIRGraph(nodes, edges))
        yield path.read_bytes()


def _net(folder: Path) -> Iterator[bytes]:
    yield _written(_lowered("loihi2"), folder, "a.net")
    yield (Path(__file__).parents[1] / "export" / "formats" / "slayer.net").read_bytes()


def _onnx(folder: Path) -> Iterator[bytes]:
    from onnx import TensorProto, helper, numpy_helper

    yield from _random(folder, "a.onnx", 1)
    rng = np.random.default_rng(2)
    shapes = {"k": (3, 1, 3, 3), "w": (12, 4), "b": (4,)}
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.3, shape).astype("f4"), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], strides=[2, 2], pads=[0, 0, 0, 0]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 1, 6, 6]), ("y", [1, 4]))
    ]
    graph = helper.make_graph(nodes, "plain", ends[:1], ends[1:], weights)
    opset = helper.make_opsetid("", 17)
    yield helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    nodes[1:2] = [
        helper.make_node("Relu", ["c"], ["r0"]),
        helper.make_node("Add", ["r0", "r0"], ["a"]),
        helper.make_node("MaxPool", ["a"], ["m"], kernel_shape=[1, 1], strides=[1, 1]),
        helper.make_node("Relu", ["m"], ["r"]),
    ]
    graph = helper.make_graph(nodes, "branched", ends[:1], ends[1:], weights)
    yield helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def _npz(folder: Path) -> Iterator[bytes]:
    rng = np.random.default_rng(3)
    arrays = {"x": rng.random((6, 8), np.float32), "y": np.arange(6) % 4}
    arrays |= {"x_test": rng.random((4, 8), np.float32), "y_test": np.arange(4) % 4}
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **arrays)  # type: ignore[arg-type]
        yield file.getvalue()
    file = io.BytesIO()
    np.savez_compressed(file, x=rng.integers(0, 255, (12, 3, 4, 4), np.uint8), y=np.arange(12))
    yield file.getvalue()


def _picture(suffix: str) -> bytes:
    from PIL import Image

    pixels = np.random.default_rng(4).integers(0, 255, (9, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, suffix)
    return file.getvalue()


def _png(folder: Path) -> Iterator[bytes]:
    from PIL import Image

    yield _picture("png")
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert("P").save(file, "png")
    yield file.getvalue()


def _jpeg(folder: Path) -> Iterator[bytes]:
    yield _picture("jpeg")


def _batch(folder: Path) -> Iterator[bytes]:
    rng = np.random.default_rng(5)
    yield b"".join(bytes([k % 10]) + rng.bytes(3072) for k in range(4))


def _parquet(folder: Path) -> Iterator[bytes]:
    import pyarrow as pa
    from PIL import Image
    from pyarrow import parquet

    file = io.BytesIO()
    Image.new("RGB", (32, 32), (9, 8, 7)).save(file, "png")
    rows = [{"bytes": file.getvalue(), "path": "a.png"} for _ in range(4)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"img": pa.array(rows, kind), "label": pa.array([0, 1, 2, 3])})
    for packing in ("snappy", "none"):
        out = io.BytesIO()
        parquet.write_table(table, out, compression=packing)
        yield out.getvalue()


def _checkpoint(folder: Path) -> Iterator[bytes]:
    from spikewright.trainer import checkpoint

    yield checkpoint.resolve("digits-if").read_bytes()


def _safetensors(folder: Path) -> Iterator[bytes]:
    from safetensors.torch import save

    yield save(network().state_dict())


def _torch(folder: Path) -> Iterator[bytes]:
    for legacy in (False, True):
        file = io.BytesIO()
        torch.save(network().state_dict(), file, _use_new_zipfile_serialization=not legacy)
        yield file.getvalue()
    file = io.BytesIO()
    torch.save({"epoch": 3, "state_dict": network().state_dict()}, file)
    yield file.getvalue()


def training() -> tuple[Moving, Identity, Extent]:
    """Return a training of the small network, as its state file meets it."""
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
    moving = Moving(module, optimizer, schedule, torch.Generator())
    return moving, Identity.of(module, "data", "options"), Extent(6, 2, 3)


def _state(folder: Path) -> Iterator[bytes]:
    """Yield the state of a training at its beginning, and in the middle of an epoch."""
    for step in (0, 2):
        moving, identity, extent = training()
        file = StateFile(folder / "a.state")
        at = file.begin(moving, identity, extent)
        for _ in range(step):
            loss = moving.module(torch.ones(4, 2, 8)).sum()
            loss.backward()
            moving.optimizer.step()
            moving.schedule.step()
            at.step, at.seen, at.order = at.step + 1, [*at.seen, 0.5], torch.arange(6)
        file.save(moving, at)
        yield file.path.read_bytes()


def _yaml(folder: Path) -> Iterator[bytes]:
    from spikewright.hw_targets import target

    for path in sorted(Path(target.__file__).parent.rglob("*.yaml")):
        yield path.read_bytes()


MAKERS: dict[str, Callable[[Path], Iterator[bytes]]] = {
    "spk": _spk,
    "nir": _nir,
    "net": _net,
    "onnx": _onnx,
    "npz": _npz,
    "png": _png,
    "jpeg": _jpeg,
    "cifar10-bin": _batch,
    "cifar10-parquet": _parquet,
    "checkpoint": _checkpoint,
    "weights-safetensors": _safetensors,
    "weights-pt": _torch,
    "state": _state,
    "yaml": _yaml,
}
"""By format, what yields its seeds."""


def all_seeds() -> dict[str, list[bytes]]:
    """Return the seeds of every format."""
    with tempfile.TemporaryDirectory() as folder:
        return {kind: seeds(kind, Path(folder)) for kind in MAKERS}
