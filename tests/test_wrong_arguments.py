"""Wrong arguments of every public call: the product's own error or a result, nothing else."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import Graph, Input, Linear, Neuron, Output
from spikewright.export.ir.nodes import Array

FLOAT = Graph.chain(
    {
        "in": Input((3,), "direct"),
        "a": Linear(np.eye(3, dtype=np.float32)),
        "n": Neuron((3,), np.float64(1.0), beta=np.float64(0.5)),
        "out": Output("spike_count"),
    },
    "float",
)
X: Array = np.random.default_rng(0).random((4, 3), dtype=np.float32)
INTEGER = sw.lower(FLOAT, calibrate=X, time_steps=2)
WRONG: tuple[Any, ...] = (
    None, True, 0, -1, 3, 10**30, 3.5, float("nan"), "", "8", "a", "a\0b", "\x1b[31m", b"x",
    [], [1, [2]], ["a"], {}, {"a": 1}, (), object(), np.zeros(0), np.array("a"), np.array(None),
    1j, Path("missing/x"),
)  # fmt: skip


def _calls(folder: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    import torch

    graph = {"graph": INTEGER}
    embeddings = torch.rand(4, 8)
    steps = {"z_a": torch.rand(2, 4, 8), "z_b": torch.rand(2, 4, 8)}
    pair = sw.losses.pair_loss("vicreg")
    return {
        "lower": (sw.lower, {"source": FLOAT, "calibrate": X, "bits": 4, "time_steps": 2}),
        "lower a module": (
            sw.lower,
            {"source": torch.nn.Sequential(torch.nn.Linear(3, 2)), "sample": torch.rand(1, 3)},
        ),
        "lower a file": (
            sw.lower,
            {"source": folder / "x.nir", "calibrate": X, "encoding": "direct"},
        ),
        "lowering": (sw.lowering, {"calibrate": X}),
        "read": (sw.read, {"source": folder / "x.nir"}),
        "write": (sw.write, {**graph, "path": folder / "x.spk", "force": True}),
        "write onnx": (sw.write, {**graph, "path": folder / "x.onnx", "force": True}),
        "write nir": (sw.write, {**graph, "path": folder / "x.nir", "force": True}),
        "run": (sw.run, {**graph, "x": X}),
        "verify": (sw.verify, {**graph, "x": X}),
        "check": (sw.check, {**graph, "target": "loihi2"}),
        "estimate": (sw.estimate, {**graph, "x": X, "target": "generic-45nm"}),
        "compare": (sw.compare, {**graph, "x": X}),
        "report": (
            sw.report,
            {
                **graph,
                "x": X,
                "path": folder / "r.html",
                "targets": ["generic-45nm"],
                "force": True,
            },
        ),
        "agreement": (
            sw.agreement,
            {"module": torch.nn.Linear(3, 2), "samples": torch.rand(4, 3), "time_steps": 2},
        ),
        "targets": (sw.targets, {}),
        "Session": (sw.Session, graph),
        "Session.step": (sw.Session(INTEGER).step, {"x_t": X}),
        "models.create": (sw.models.create, {"name": "if_mlp_digits"}),
        "models.create_for": (sw.models.create_for, {"sample_shape": (1, 8, 8)}),
        "MixedLIF": (sw.MixedLIF, {}),
        "losses.barlow_twins": (sw.losses.barlow_twins, {"p": embeddings, "q": embeddings}),
        "losses.nt_xent": (sw.losses.nt_xent, {"p": embeddings, "q": embeddings}),
        "losses.vicreg": (sw.losses.vicreg, {"p": embeddings, "q": embeddings}),
        "losses.pair_loss": (sw.losses.pair_loss, {"name": "vicreg"}),
        "losses.ctl": (sw.losses.ctl, {**steps, "pair": pair}),
        "losses.btl": (sw.losses.btl, {**steps, "pair": pair}),
        "losses.non_cross": (sw.losses.non_cross, {**steps, "pair": pair}),
        "losses.temporal_loss": (sw.losses.temporal_loss, {"name": "ctl"}),
    }


NAMES = tuple(_calls(Path()))
OPTIONS = {
    "read": ("dialect", "dt", "strict", "time_steps", "encoding", "convert", "input_shape",
             "weights", "calibrate", "differences"),
    "lower a file": ("dialect", "dt", "strict", "convert", "input_shape", "weights"),
    "write onnx": ("arithmetic", "inline"),
    "write nir": ("dialect", "dt", "strict"),
    "models.create_for": ("classes",),
    "models.create": ("classes", "tau", "hidden", "reset", "time_steps"),
    "losses.pair_loss": ("variance",),
}  # fmt: skip
"""Of calls with **options: those that there are."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("calls")
    sw.write(FLOAT, made / "x.nir")
    return made


@pytest.mark.parametrize("name", NAMES)
def test_the_right_call_succeeds(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    call, right = _calls(folder)[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(**right)


def test_every_public_call_is_driven() -> None:
    kinds = {"Graph", "SpikewrightError", "Trace", "losses", "models", "__version__"}
    takes_options = (inspect.Parameter.VAR_KEYWORD,)
    for name, (call, _) in _calls(Path()).items():
        has = any(p.kind in takes_options for p in inspect.signature(call).parameters.values())
        first = name.split(" ")[0]
        assert not has or any(key.split(" ")[0] == first for key in OPTIONS), name
    driven = {name.partition(" ")[0].partition(".")[0] for name in NAMES}
    assert set(sw.__all__) - kinds <= driven
    losses = {n for n, value in vars(sw.losses).items() if inspect.isfunction(value)}
    assert {f"losses.{name}" for name in losses} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_values_are_refused_by_the_products_own_errors(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    call, right = _calls(folder)[name]
    parameters = inspect.signature(call).parameters.values()
    names = [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    foreign = []
    for parameter in [*names, *OPTIONS.get(name, ())]:
        for wrong in WRONG:
            if (line := _foreign(call, {**right, parameter: wrong})) is not None:
                foreign.append(f"{parameter}={wrong!r}: {line}")
    assert not foreign, "\n".join(foreign)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_and_missing_arguments_too(name: str, folder: Path) -> None:
    call, right = _calls(folder)[name]
    if name == "Session.step":
        return  # it takes one array; the rest is Python's to say
    with pytest.raises(sw.SpikewrightError):
        call(**right, no_such_argument=1)
    for missing in right:
        rest = {key: value for key, value in right.items() if key != missing}
        assert _foreign(call, rest) is None


def _foreign(call: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """Return the error of another family that a call raises, else None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call(**arguments)
        except sw.SpikewrightError as error:
            return f"several lines: {error}" if "\n" in str(error) else None
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None
