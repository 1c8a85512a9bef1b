"""What becomes of a file: opened as the product opens it, and used as whatever it holds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import spikewright as sw
from spikewright.export.ir.digest import digest
from spikewright.hw_targets.target import Target, load_target
from spikewright.trainer import checkpoint
from spikewright.trainer.data.readers import load, load_splits
from spikewright.trainer.resume import StateFile
from spikewright.trainer.state_dicts import load_weights

from .seeds import network, training

SUFFIXES = {
    "spk": ".spk",
    "nir": ".nir",
    "net": ".net",
    "onnx": ".onnx",
    "npz": ".npz",
    "png": ".png",
    "jpeg": ".jpg",
    "cifar10-bin": ".bin",
    "cifar10-parquet": ".parquet",
    "checkpoint": ".safetensors",
    "weights-safetensors": ".safetensors",
    "weights-pt": ".pt",
    "state": ".state",
    "yaml": ".yaml",
}
"""By format, what its files are called."""
Stage = tuple[str, Callable[[], object]]
"""A use of what a file holds, by name."""
TOO_LARGE = 1 << 16
"""Values of an input beyond which a graph is checked, not run: time is the network's then."""


def place(kind: str, content: bytes, folder: Path) -> Path:
    """Write a file where its reader looks for it; return its path."""
    names = {
        "png": "train/a/file.png",
        "jpeg": "train/a/file.jpg",
        "cifar10-bin": "data_batch_1.bin",
        "cifar10-parquet": "train-0.parquet",
    }
    path = folder / names.get(kind, f"file{SUFFIXES[kind]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def opened(kind: str, path: Path) -> Any:
    """Return what the reader of a format makes of a file.

    Raises:
        SpikewrightError: for a file that is refused; any other exception is a fault.
    """
    return OPENERS[kind](path)


def _graph(path: Path) -> sw.Graph:
    return sw.read(path)


def _onnx(path: Path) -> sw.Graph:
    """Return the graph of a model of ours, or of an ordinary one made spiking."""
    try:
        return sw.read(path)
    except sw.SpikewrightError:
        return sw.read(path, convert="relu", calibrate=f"npz:{path.parents[1] / 'calibrate.npz'}")


def _folder(kind: str, up: int) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        return load(f"{kind}:{path.parents[up]}", "train", None)

    return read


def _npz(path: Path) -> Any:
    load_splits(f"npz:{path}", 2)
    return load_splits(f"npz:{path}")


def _checkpoint(path: Path) -> sw.Graph:
    checkpoint.read_card(path)
    return sw.read(path)


def _weights(path: Path) -> None:
    load_weights(network(), path)


def _state(path: Path) -> None:
    StateFile(path, resume=True).begin(*training())


def _target(path: Path) -> Any:
    return load_target(str(path))


OPENERS: dict[str, Callable[[Path], Any]] = {
    "spk": _graph,
    "nir": _graph,
    "net": _graph,
    "onnx": _onnx,
    "npz": _npz,
    "png": _folder("imagefolder", 2),
    "jpeg": _folder("imagefolder", 2),
    "cifar10-bin": _folder("cifar10", 0),
    "cifar10-parquet": _folder("cifar10", 0),
    "checkpoint": _checkpoint,
    "weights-safetensors": _weights,
    "weights-pt": _weights,
    "state": _state,
    "yaml": _target,
}


def stages(value: Any, folder: Path, known: set[str]) -> Iterator[Stage]:
    """Yield the further uses of what a file held; a graph in `known` has been through them."""
    if isinstance(value, sw.Graph):
        name = digest(value) + json.dumps(value.metadata, default=str, sort_keys=True)
        if name not in known:
            known.add(name)
            yield from _of_graph(value, folder)
    elif isinstance(value, Target):
        yield "check", lambda: str(sw.check(small_graph(), value))
        yield "estimate", lambda: sw.estimate(small_graph(), _samples(small_graph()), value)


def _samples(graph: sw.Graph) -> Any:
    shape = (2, *graph.input.shape)
    return np.random.default_rng(0).random(shape, np.float32)


_SMALL: list[sw.Graph] = []


def small_graph() -> sw.Graph:
    """Return the graph that a target is tried on, lowered once."""
    if not _SMALL:
        import torch

        x = torch.rand(4, 2, 8, generator=torch.Generator().manual_seed(0))
        _SMALL.append(sw.lower(network(), x, encoding="rate", time_steps=4))
    return _SMALL[0]


def _of_graph(graph: sw.Graph, folder: Path) -> Iterator[Stage]:
    if int(np.prod(graph.input.shape)) > TOO_LARGE:
        yield "check", lambda: sw.check(graph, "loihi1")
        return
    x = _samples(graph)
    lowered: list[sw.Graph] = []
    yield "lower", lambda: lowered.append(sw.lower(graph, calibrate=x, time_steps=4))
    if not lowered:  # a graph that only lowers otherwise is still run, written and shown
        lowered.append(graph)
    net = lowered[0]
    yield "run", lambda: sw.run(net, x, time_steps=4)
    yield "verify", lambda: sw.verify(net, x, ["reference", "native"], time_steps=4)
    for target in ("loihi1", "generic-45nm"):
        yield f"check {target}", lambda target=target: str(sw.check(net, target))
        yield f"estimate {target}", lambda target=target: sw.estimate(net, x, target, time_steps=4)
    report = folder / "report.html"
    how: dict[str, Any] = {"executors": ["reference", "native"], "time_steps": 4, "force": True}
    yield "report", lambda: sw.report(net, x, report, **how)
    for suffix in (".spk", ".nir", ".onnx", ".net"):
        out = Path(tempfile.mkdtemp(dir=folder)) / f"out{suffix}"
        yield f"export {suffix}", lambda out=out: sw.write(net, out)
