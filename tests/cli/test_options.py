"""Every option of every command acts or is refused, for every kind of source.

The tables are the list of options: an option that stands in none of them fails the first test.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

import spikewright as sw
from spikewright.cli import main as cli
from spikewright.cli.arguments import Request
from spikewright.export.ir import InputError
from tests.cli.test_commands import call

torch = pytest.importorskip("torch")

FLOATS = ("name", ".safetensors", ".spk float", ".nir", ".onnx", "file.py:factory")
INTEGERS = (".spk integer", ".net")
KINDS = FLOATS + INTEGERS
REFUSED = 2
OF_A_SOURCE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bits": (("--bits", "4"), FLOATS),
    "target": (("--target", "loihi1"), tuple(k for k in FLOATS if k != ".onnx")),  # soft resets
    "calibrate": (("--calibrate", "{other}"), FLOATS),
    "scale": (("--scale", "percentile"), FLOATS),
    "level": (("--level", "folded"), FLOATS),
    "time_steps": (("--time-steps", "3"), KINDS),
    "encode": (("--encode", "rate"), (*FLOATS, ".net")),  # of integers only spikes for spikes
    "weights": (("--weights", "{weights}"), ("file.py:factory",)),
    "input_shape": (("--input", "3,5"), ("file.py:factory",)),
    "dialect": (("--dialect", "norse"), (".nir",)),
    "dt": (("--dt", "2e-4"), (".nir",)),
    "strict": (("--strict",), ()),
    "convert": (("--convert", "relu"), ()),
    "differences": (("--differences", "warn"), ()),
}
"""By parameter: how it is typed, and the kinds of source on which it changes the network."""
CHECKED_ELSEWHERE = {
    "strict": (".nir",),
    "convert": (".onnx",),
    "input_shape": (".onnx",),
    "differences": ("file.py:factory", ".safetensors"),
}
"""What acts on a source that needs it (`test_nir_structure`, `test_onnx_in`, and of a module that
differs from its graph the tests of the agreement), and not on these."""
OF_SAMPLES = {"data", "split", "limit", "batch", "seed"}
OF_OUTPUT = {"json", "force", "out"}
SOURCES = {"source", *OF_A_SOURCE}
OPTIONS: dict[str, set[str]] = {
    "demo": OF_OUTPUT,
    "models": {"name", "json"},
    "lower": SOURCES | OF_SAMPLES | OF_OUTPUT,
    "inspect": SOURCES | {"json"},
    "export": SOURCES | OF_OUTPUT | {"to", "arithmetic", "inline"},
    "run": SOURCES
    | OF_SAMPLES
    | {"executor", "threads", "trace", "timing", "event_order", "force", "json"},
    "verify": SOURCES | OF_SAMPLES | {"executors", "json"},
    "check": SOURCES | {"json"},
    "estimate": SOURCES
    | OF_SAMPLES
    | {"cost", "first_layer", "integer_inputs", "neurobench", "json"},
    "compare": SOURCES | OF_SAMPLES | {"method", "first_layer", "integer_inputs", "json"},
    "report": SOURCES | OF_SAMPLES | OF_OUTPUT | {"targets"},
    "targets": {"name", "json"},
    "doctor": {"json"},
}
"""Of the commands that stand in no group: their options."""


def commands() -> dict[str, set[str]]:
    """Return the parameters of each command, as typer knows them."""
    group: Any = typer.main.get_command(cli.app)
    return {
        name: {p.name for p in command.params if p.name != "help"}
        for name, command in group.commands.items()
        if not hasattr(command, "commands")
    }


def test_every_option_has_a_row() -> None:
    assert commands() == OPTIONS


FITTING = {
    "epochs", "batch", "accumulate", "optimizer", "lr", "weight_decay", "warmup_steps", "clip",
    "ema", "precision", "channels_last", "time_steps", "limit", "seed", "resume", "save_every",
    "metrics", "log_every", "tensorboard",
}  # fmt: skip
START = {"source", "data", "weights", "input_shape", "validation", "labels"}
JUDGING = START | {"time_steps", "limit", "seed", "json"}
OF_GROUPS: dict[str, dict[str, set[str]]] = {
    "train": {
        "pretrain": FITTING
        | OF_OUTPUT
        | {"data", "model", "input_shape", "loss", "pair", "pairs", "paths", "projector", "views"}
        | {"time_augmentation", "validation"},
        "finetune": FITTING
        | START
        | OF_OUTPUT
        | {"views", "label_smoothing", "reestimate", "bits", "scale"},
        "probe": JUDGING | OF_OUTPUT,
        "knn": JUDGING | {"neighbours"},
    },
    "lava": {
        "install": {"prefix", "python", "force", "json"},
        "status": {"json"},
        "run": SOURCES | OF_SAMPLES | {"time_limit", "memory_limit", "netx", "json"},
        "selftest": {"networks", "seed", "json"},
    },
}
"""Of the commands in groups: what they train or run is in `test_train` and `test_lava`."""


def test_every_option_of_a_group_has_a_row() -> None:
    group: Any = typer.main.get_command(cli.app)
    known = {
        name: {n: {p.name for p in c.params if p.name != "help"} for n, c in one.commands.items()}
        for name, one in group.commands.items()
        if hasattr(one, "commands")
    }
    assert known == OF_GROUPS


TO = ("-o", "{dir}/t.safetensors")
FEW = ("--data", "digits", "--limit", "20")
IDLE_IN_TRAINING: dict[str, tuple[tuple[str, ...], str]] = {
    "a shape of a checkpoint": (("train", "knn", "digits", "--input", "1,8,8"), "--input 1,8,8"),
    "a shape of an architecture": (
        ("train", "finetune", "spiking_resnet_digits", *FEW, *TO, "--input", "1,8,8"),
        "it is for file.py:factory",
    ),
    "a shape where the data say it": (
        ("train", "pretrain", *FEW, *TO, "--input", "1,8,8"),
        "it is for file.py:factory",
    ),
    "weights of a checkpoint": (
        ("train", "probe", "digits", *FEW, "--weights", "{weights}"),
        "--weights cannot act here",
    ),
    "a seed of weights that are read": (
        ("train", "knn", "digits", *FEW, "--seed", "5"),
        "nothing is drawn",
    ),
    "a seed of a probe": (("train", "probe", "digits", *FEW, "--seed", "5"), "nothing is drawn"),
    "nothing to overwrite": (("train", "probe", "digits", *FEW, "--force"), "nothing is written"),
    "a scale of no integers": (
        ("train", "finetune", "digits", *FEW, *TO, "--scale", "mse"),
        "--scale mse cannot act",
    ),
    "pairs of a loss without": (
        ("train", "pretrain", *FEW, *TO, "--loss", "non_cross", "--pairs", "cross"),
        "pairs cross cannot act here",
    ),
}


@pytest.mark.parametrize("case", IDLE_IN_TRAINING)
def test_what_cannot_act_in_training_is_refused(
    capsys: pytest.CaptureFixture[str], folder: Path, case: str
) -> None:
    line, says = IDLE_IN_TRAINING[case]
    places = {"dir": folder, "weights": folder / "w.safetensors"}
    code, _, err = call(capsys, *(word.format(**places) for word in line))
    assert code == REFUSED and says in err.strip().splitlines()[-1], err
    assert not (folder / "t.safetensors").exists()


CODE = """
import torch
from spikewright.trainer.neurons import LIF
def make():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(5, 4), LIF(), torch.nn.Linear(4, 3), LIF())
    with torch.no_grad():
        for p in module.parameters():
            p.abs_()
    module.input_shape = (5,)
    return module
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one source of each kind, and data for them."""
    from spikewright.trainer import checkpoint

    path = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    (path / "net.py").write_text(CODE)
    found: dict[str, Any] = {}
    exec(CODE, found)
    module = found["make"]()
    for name, high in (("x", 1.0), ("other", 3.0)):
        x = high * rng.random((400, 5)).astype(np.float32)
        x[5, 0] *= 9  # which the scale rule `percentile` clips
        np.savez(path / f"{name}.npz", x=x)
        pictures = high * rng.random((16, 1, 8, 8)).astype(np.float32)
        np.savez(path / f"{name}_digits.npz", x=pictures)
    floats = sw.lower(module, level="float")
    x = np.load(path / "x.npz")["x"]
    sw.write(floats, path / "float.spk")
    sw.write(sw.lower(floats, calibrate=x), path / "integer.spk")
    sw.write(sw.lower(floats, calibrate=x.clip(0, 1), encoding="rate"), path / "rate.spk")
    spikes = (x > 0.5).astype(np.int64)
    np.savez(path / "counts.npz", x=spikes)
    sw.write(sw.lower(floats, calibrate=spikes, encoding="spikes", target="loihi2"), path / "a.net")
    _write_nir(path / "a.nir")
    _write_onnx(path / "a.onnx")
    shutil.copy(checkpoint.resolve("digits"), path / "own.safetensors")
    from safetensors.torch import save_file

    save_file({k: v * 0.7 for k, v in module.state_dict().items()}, path / "w.safetensors")
    return path


def _write_nir(path: Path) -> None:
    import nir

    rng = np.random.default_rng(1)
    ones = np.ones(4)
    lif = nir.LIF(
        tau=ones * 5e-4, r=ones, v_leak=0 * ones, v_threshold=0.2 * ones, v_reset=0 * ones
    )
    nodes = {
        "input": nir.Input(np.array([5])),
        "fc": nir.Linear(rng.random((4, 5)).astype(np.float32)),
        "lif": lif,
        "output": nir.Output(np.array([4])),
    }
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "output")]
    nir.write(str(path), nir.NIRGraph(nodes, edges))


def _write_onnx(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(2)
    weights = [
        numpy_helper.from_array(rng.random(s).astype(np.float32), n)
        for n, s in (("w1", (5, 4)), ("w2", (4, 3)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["y"]),
    ]
    put = helper.make_tensor_value_info
    ends = ([put("x", TensorProto.FLOAT, ["n", 5])], [put("y", TensorProto.FLOAT, ["n", 3])])
    graph = helper.make_graph(nodes, "net", *ends, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


FILES = {
    "name": "digits",
    ".safetensors": "{dir}/own.safetensors",
    ".spk float": "{dir}/float.spk",
    ".spk integer": "{dir}/integer.spk",
    ".nir": "{dir}/a.nir",
    ".onnx": "{dir}/a.onnx",
    ".net": "{dir}/a.net",
    "file.py:factory": "{dir}/net.py:make",
}
BARE = {"name": {}, ".safetensors": {}, ".spk integer": {}, ".net": {}}
"""The kinds that need no further option to become integers."""


def words(folder: Path, kind: str, level: str, *option: str) -> list[str]:
    """Return the command line of `inspect` on a source, with one option more."""
    digits = "_digits" if kind in ("name", ".safetensors") else ""
    data = f"npz:{folder}/x{digits}.npz"
    level = option[1] if "--level" in option else level
    base = {"--level": level} if kind in FLOATS else {}
    if kind == ".onnx" or (kind not in BARE and level == "integer"):
        base["--calibrate"] = data
    if kind == ".onnx":
        base["--convert"] = "relu"
    places = {"{other}": f"npz:{folder}/other{digits}.npz", "{weights}": f"{folder}/w.safetensors"}
    named = [places.get(word, word) for word in option]
    for flag in named[:1]:
        base.pop(flag, None)
    given = [word for pair in base.items() for word in pair]
    return ["inspect", FILES[kind].format(dir=folder), *given, *named, "--json"]


def inspected(
    capsys: pytest.CaptureFixture[str], folder: Path, kind: str, level: str, *option: str
) -> tuple[int, Any]:
    code, out, err = call(capsys, *words(folder, kind, level, *option))
    return code, json.loads(out) if code == 0 else err.strip().splitlines()[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_option_of_a_source_changes_the_network_or_is_refused(
    capsys: pytest.CaptureFixture[str], folder: Path, kind: str
) -> None:
    usual = {}
    for level in ("float", "integer"):
        code, usual[level] = inspected(capsys, folder, kind, level)
        assert code == 0, usual
    for name, (option, acts) in OF_A_SOURCE.items():
        if kind in CHECKED_ELSEWHERE.get(name, ()):
            continue
        level = "float" if name == "input_shape" else "integer"  # the data has the usual shape
        code, found = inspected(capsys, folder, kind, level, *option)
        if kind in acts:
            assert code == 0 and found != usual[level], (name, found)
        else:
            assert code == REFUSED and found.startswith("error: "), (name, found)


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("name", ["bits", "target", "calibrate", "scale"])
@pytest.mark.parametrize("level", ["float", "folded"])
def test_what_makes_integers_is_refused_where_none_are_made(
    capsys: pytest.CaptureFixture[str], folder: Path, kind: str, name: str, level: str
) -> None:
    if name == "calibrate" and kind in (".onnx", ".nir"):
        pytest.skip("read with the file: its thresholds, its encoding")
    code, found = inspected(capsys, folder, kind, level, *OF_A_SOURCE[name][0])
    assert code == REFUSED and f"--{name} cannot act here, the network stays at the" in found


GIVEN = {"bits": 4, "target": "loihi1", "scale": "mse", "calibrate": np.ones((2, 5), np.float32)}


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("level", ["float", "folded", "held"])
def test_python_refuses_the_same(folder: Path, name: str, level: str) -> None:
    source = folder / ("integer.spk" if level == "held" else "float.spk")
    how = {} if level == "held" else {"level": level}
    said = "cannot act here" if level != "held" or name in ("scale", "calibrate") else "integer alr"
    for given in (source, sw.read(source)):
        with pytest.raises(Exception, match=said) as refused:
            sw.lower(given, **{name: GIVEN[name]}, **how)
        assert type(refused.value).__module__.startswith("spikewright")


X = ("--data", "npz:{dir}/x.npz")
NET = "{dir}/integer.spk"
IDLE: dict[str, tuple[tuple[str, ...], str]] = {
    "more threads than CPUs": (("run", NET, *X, "--threads", "9999"), "9999, allowed 1 to"),
    "threads of one that has none": (
        ("run", NET, *X, "--threads", "2", "--executor", "reference"),
        "--threads cannot act on the executor reference",
    ),
    "threads of floats": (("run", "{dir}/float.spk", *X, "--threads", "2"), "--threads cannot act"),
    "threads of events": (("run", NET, *X, "--threads", "2", "--timing", "event"), "cannot act"),
    "an order of steps": (("run", NET, *X, "--event-order", "random"), "--event-order random can"),
    "an executor of events": (
        ("run", NET, *X, "--executor", "native", "--timing", "event"),
        "--executor native with --timing event",
    ),
    "nothing to overwrite": (("run", NET, *X, "--force"), "--force cannot act"),
    "a split there is not": (("run", NET, *X, "--split", "test"), "the data has no test split"),
    "a training split there is not": (("run", NET, *X, "--split", "train"), "no test split"),
    "a seed where nothing is drawn": (("run", NET, *X, "--seed", "5"), "nothing is random"),
    "a seed of an order that is none": (
        ("run", NET, *X, "--seed", "5", "--timing", "event"),
        "nothing is random",
    ),
    "a seed of counts": (
        ("run", "{dir}/rate.spk", "--data", "npz:{dir}/counts.npz", "--seed", "5"),
        "nothing is random: encoding rate of integers",
    ),
    "an encoding of counts": (
        ("run", "{dir}/float.spk", "--data", "npz:{dir}/counts.npz", "--encode", "rate"),
        "--encode rate cannot act here, the samples are integers",
    ),
    "another encoding of counts": (
        ("verify", "{dir}/rate.spk", "--data", "npz:{dir}/counts.npz", "--encode", "latency"),
        "--encode latency cannot act here, the samples are integers",
    ),
    "a shape that the data has not": (
        ("run", "{dir}/net.py:make", *X, "--input", "7"),
        "--input 7, the samples of npz:",
    ),
    "an encoding of integers": (("run", NET, *X, "--encode", "spikes"), "cannot take 'spikes'"),
    "a convention of chips": (
        ("estimate", NET, *X, "--target", "loihi1", "--first-layer", "each_step"),
        "--first-layer each_step cannot act",
    ),
    "sums that there are not": (
        ("estimate", NET, *X, "--target", "generic-45nm", "--integer-inputs", "mac"),
        "--integer-inputs mac cannot act",
    ),
    "a cost of another chip": (
        ("estimate", NET, *X, "--target", "loihi1", "--cost", "int8"),
        "davies",
    ),
    "a method that there is not": (
        ("compare", NET, *X, "--method", "int9"),
        "did you mean int8",
    ),
    "a measurement without data": (
        ("lower", "{dir}/float.spk", "--level", "float", "-o", "{dir}/n.spk", "--limit", "3"),
        "--limit cannot act",
    ),
    "a dialect of archives": (
        ("export", NET, "--to", "onnx", "-o", "{dir}/n.onnx", "--dialect", "norse"),
        "--dialect cannot act",
    ),
    "inline NIR": (
        ("export", NET, "--to", "nir", "-o", "{dir}/n.nir", "--inline"),
        "--inline cannot act",
    ),
    "other bits of integers": (("check", NET, "--target", "loihi1", "--bits", "4"), "integer"),
    "a chip in capitals": (("check", NET, "--target", "LOIHI2"), "did you mean loihi2"),
    "data of no kind": (("run", NET, "--data", "npx:{dir}/x.npz"), "did you mean npz"),
}


@pytest.mark.parametrize("case", IDLE)
def test_what_cannot_act_is_refused(
    capsys: pytest.CaptureFixture[str], folder: Path, case: str
) -> None:
    line, says = IDLE[case]
    code, _, err = call(capsys, *(word.format(dir=folder) for word in line))
    assert code == REFUSED and says in err.strip().splitlines()[-1], err


ACTING = {
    "a seed of rates": (("run", "{dir}/rate.spk", *X, "--limit", "9"), ("--seed", "5")),
    "a seed of an order": (
        ("run", "{dir}/integer.spk", *X, "--timing", "event", "--event-order", "random"),
        ("--seed", "5"),
    ),
}


@pytest.mark.parametrize("case", ACTING)
def test_a_seed_that_draws_is_taken(
    capsys: pytest.CaptureFixture[str], folder: Path, case: str
) -> None:
    line, option = ACTING[case]
    usual, other = (
        call(capsys, *(word.format(dir=folder) for word in (*line, *more, "--json")))
        for more in ((), option)
    )
    assert usual[0] == other[0] == 0, (usual, other)


def test_the_shape_of_a_sample_is_that_of_the_data(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    bare = CODE.replace("    module.input_shape = (5,)\n", "")
    (folder / "bare.py").write_text(bare)
    data = ("--data", f"npz:{folder}/x.npz", "--json")
    runs = []
    for more in ((), ("--input", "5")):
        code, out, err = call(capsys, "run", f"{folder}/bare.py:make", *data, *more)
        assert code == 0, err
        runs.append({**json.loads(out), "samples_per_s": None})
    assert runs[0] == runs[1] and runs[0]["time_steps"] == 4
    code, _, err = call(capsys, "inspect", f"{folder}/bare.py:make", "--level", "float")
    assert code == REFUSED and "give --input C,Y,X" in err


def test_steps_that_nobody_asked_for_are_said(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    source, data = f"{folder}/float.spk", ("--data", f"npz:{folder}/x.npz")
    said = "T = 4 (default; -T changes it)"
    code, _, err = call(capsys, "run", source, *data)
    assert code == 0 and err.count(said) == 1
    code, _, err = call(capsys, "run", source, *data, "-T", "4")
    assert code == 0 and said not in err
    code, out, _ = call(capsys, "inspect", source)
    assert code == 0 and "T = 4 on static samples (default; -T changes it)" in out
    code, out, _ = call(capsys, "inspect", source, "-T", "3")
    assert code == 0 and ", T = 3: " in out and "default" not in out
    assert "T = 4 on static samples (default; time_steps changes it)" in str(sw.read(source))


def test_floats_are_lowered_to_floats_without_data(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    out = str(folder / "written.spk")
    source = f"{folder}/net.py:make"
    code, _, err = call(capsys, "lower", source, "--level", "float", "-o", out, "--force")
    assert code == 0, err
    assert sw.read(out).level == "float"


def test_a_nir_file_is_one_whatever_it_is_called(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """By `kind_of`, whether .nir, .NIR or .h5; an .h5 of Lava is known by what it holds."""
    runs = []
    for name in ("a.nir", "b.NIR", "c.h5", "d.HDF5"):
        if not (folder / name).exists():
            shutil.copy(folder / "a.nir", folder / name)
        data = f"npz:{folder}/x.npz"
        code, out, err = call(
            capsys, "run", str(folder / name), "--data", data, "-T", "2", "--json"
        )
        assert code == 0, err
        runs.append({**json.loads(out), "samples_per_s": None})
    assert all(run == runs[0] for run in runs)
    assert runs[0]["executor"] == "reference"  # the float level, as sw.read gives it


def test_an_h5_of_lava_is_judged_as_a_net(folder: Path) -> None:
    shutil.copy(folder / "a.net", folder / "lava.h5")
    for name in ("a.net", "lava.h5"):
        with pytest.raises(InputError, match=r"dialect cannot act here, it is for \.nir sources"):
            sw.read(folder / name, dialect="norse")
        request = Request(str(folder / name))
        assert request.on(["lava"], request.read()) is request
    assert sw.read(folder / "lava.h5").nodes.keys() == sw.read(folder / "a.net").nodes.keys()


def test_a_network_lowers_to_the_format_of_lava_unless_it_holds_integers(folder: Path) -> None:
    for name, target in (("a.nir", "loihi2"), ("float.spk", None), ("integer.spk", None)):
        request = Request(str(folder / name))
        assert request.on(["lava"], request.read()).target == target, name
