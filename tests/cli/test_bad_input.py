"""Bad input: one line with name, limit, value and remedy, exit code 2, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .test_commands import call


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code, out, err = call(capsys, *words)
    assert code == 2, (out, err)
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("error: "), err
    assert out == "" and "Traceback" not in err
    return lines[0]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of wrong files."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "shape.npz", x=rng.random((4, 3, 9, 9)).astype(np.float32))
    nan = np.full((4, 1, 8, 8), np.nan, np.float32)
    np.savez(tmp_path / "nan.npz", x=nan)
    np.savez(tmp_path / "text.npz", x=np.array(["a", "b"]))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "shape.npz").read_bytes()[:100])
    np.savez(tmp_path / "X.npz", X=nan)
    (tmp_path / "folder.spk").mkdir()
    (tmp_path / "empty.spk").write_bytes(b"")
    (tmp_path / "not.nir").write_text("hello")
    (tmp_path / "gelu.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Linear(4, 4), nn.GELU())\n"
    )
    (tmp_path / "nan.py").write_text(
        "import torch\nfrom torch import nn\ndef net():\n    layer = nn.Linear(4, 4)\n"
        "    layer.weight.data[0, 0] = float('nan')\n    return layer\n"
    )
    (tmp_path / "broken.py").write_text("def net(:\n")
    (tmp_path / "chip.yaml").write_text("name: mine\nlimits:\n  cores: {value: -1, unit: count}\n")
    return tmp_path


CASES = {
    "unknown source": (("run", "digit"), "did you mean digits"),
    "unknown data": (("run", "digits", "--data", "digit"), "did you mean digits"),
    "unknown executor": (("run", "digits", "--executor", "nativ"), "did you mean native?"),
    "unknown target": (("check", "digits", "--target", "loihi9"), "loihi9"),
    "unknown cost": (("estimate", "digits", "--target", "loihi1", "--cost", "x"), "davies"),
    "unknown format": (("export", "digits", "--to", "nirr", "-o", "{dir}/a"), "nir"),
    "unknown model": (("models", "resnet_digits"), "spiking_resnet_digits"),
    "unknown shipped model": (("models", "cifar10-resnett"), "did you mean cifar10-resnet"),
    "unknown scale": (("lower", "digits", "--scale", "maxx", "-o", "{dir}/a.spk"), "max"),
    "unknown level": (("lower", "digits", "--level", "whole", "-o", "{dir}/a.spk"), "folded"),
    "missing file": (("inspect", "{dir}/absent.spk"), "no such file"),
    "truncated archive": (("inspect", "{dir}/empty.spk"), "not a readable safetensors file"),
    "not HDF5": (("inspect", "{dir}/not.nir"), "not a readable NIR file"),
    "truncated npz": (("run", "digits", "--data", "npz:{dir}/cut.npz"), "cut.npz"),
    "no x in npz": (("run", "digits", "--data", "npz:{dir}/X.npz"), "found X"),
    "npz without its kind": (("run", "digits", "--data", "{dir}/shape.npz"), "write npz:"),
    "folder without its kind": (("run", "digits", "--data", "{dir}"), "write cifar10:"),
    "folder for npz": (("run", "digits", "--data", "npz:{dir}"), "a folder"),
    "folder for an archive": (("inspect", "{dir}/folder.spk"), "a folder"),
    "code without a factory": (("inspect", "{dir}/gelu.py"), "gelu.py:net, what makes it"),
    "a file of code misnamed": (("inspect", "{dir}/gleu.py:net"), "did you mean gelu.py"),
    "an archive misnamed": (("inspect", "{dir}/emty.spk"), "did you mean empty.spk?"),
    "a NIR file misnamed": (("inspect", "{dir}/nod.nir"), "did you mean not.nir"),
    "a Lava file misnamed": (("inspect", "{dir}/mty.net"), "check the path"),
    "data misnamed": (("run", "digits", "--data", "npz:{dir}/shap.npz"), "mean shape.npz"),
    "a chip misnamed": (
        ("check", "digits", "--target", "{dir}/chp.yaml"),
        "did you mean chip.yaml",
    ),
    "code misnamed, without a factory": (("inspect", "{dir}/gleu.py"), "did you mean gelu.py"),
    "an array misnamed": (("run", "digits", "--data", "npz:{dir}/X.npz"), "save X as x"),
    "a split misspelt": (("run", "digits", "--split", "tset"), "did you mean test"),
    "a timing misspelt": (("run", "digits", "--timing", "evnt"), "did you mean event?"),
    "an encoding misspelt": (("run", "digits", "--encode", "spike"), "did you mean spikes?"),
    "a dialect misspelt": (
        ("export", "digits", "--to", "nir", "-o", "{dir}/a.nir", "--dialect", "nors"),
        "did you mean norse",
    ),
    "a method misspelt": (("compare", "digits", "--limit", "2", "--method", "fp3"), "mean fp32"),
    "architecture": (("inspect", "spiking_resnet_digits"), "an architecture without weights"),
    "text data": (("run", "digits", "--data", "npz:{dir}/text.npz"), "text.npz"),
    "NaN data": (("run", "digits", "--data", "npz:{dir}/nan.npz"), "NaN"),
    "wrong shape": (("run", "digits", "--data", "npz:{dir}/shape.npz"), "[sample, 1, 8, 8]"),
    "unknown op": (
        ("lower", "{dir}/gelu.py:net", "--input", "4", "-o", "{dir}/a.spk"),
        "1: no rule for the layer GELU",
    ),
    "NaN weight": (
        ("lower", "{dir}/nan.py:net", "--input", "4", "-o", "{dir}/a.spk"),
        "weight holds 1 NaN",
    ),
    "broken code": (("inspect", "{dir}/broken.py:net", "--input", "4"), "SyntaxError"),
    "no function": (("inspect", "{dir}/gelu.py:nett", "--input", "4"), "did you mean net?"),
    "no shape": (("inspect", "{dir}/gelu.py:net"), "--input"),
    "bad shape": (("inspect", "{dir}/gelu.py:net", "--input", "4,x"), "not a shape"),
    "bad chip": (("check", "digits", "--target", "{dir}/chip.yaml"), "limits.cores"),
    "no folder": (("lower", "digits", "-o", "{dir}/none/a.spk"), "cannot write"),
    "one executor": (("verify", "digits", "--executors", "native"), "2 or more"),
    "levels backwards": (("lower", "{spk}", "--level", "float", "-o", "{dir}/a.spk"), "already"),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from spikewright import api

    path = tmp_path_factory.mktemp("net") / "digits.spk"
    api.write(api.lower("digits"), path)
    return path


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_nothing_written(
    capsys: pytest.CaptureFixture[str], files: Path, archive: Path, case: str
) -> None:
    words, says = CASES[case]
    before = sorted(p.name for p in files.iterdir())
    line = refused(capsys, *(w.format(dir=files, spk=archive) for w in words))
    assert says in line
    assert sorted(p.name for p in files.iterdir()) == before


def test_wrong_options_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("run",), ("lower", "digits", "--bits", "9", "-o", "x"), ("nonsense",)):
        code, _, err = call(capsys, *words)
        assert code == 2 and "Traceback" not in err


def test_an_overflow_is_foreseen(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A fan-in whose worst case leaves int32 is refused at lowering, naming node and value."""
    (tmp_path / "wide.py").write_text(
        "from torch import nn\ndef net():\n    layer = nn.Linear(200000, 2)\n"
        "    nn.init.constant_(layer.weight, 1.0)\n    return layer\n"
    )
    np.savez(tmp_path / "x.npz", x=np.ones((2, 200000), np.float32))
    line = refused(
        capsys,
        "lower",
        f"{tmp_path}/wide.py:net",
        "--input",
        "200000",
        "--calibrate",
        f"npz:{tmp_path}/x.npz",
        "-o",
        f"{tmp_path}/a.spk",
    )
    assert "exceeds the int32 limit 2147483647" in line and "fewer" in line
    assert not (tmp_path / "a.spk").exists()


def test_what_is_probably_a_mistake_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "bytes.npz", x=x, y=np.arange(10, 30))
    code, _, err = call(capsys, "run", "digits", "--data", f"npz:{tmp_path}/bytes.npz")
    assert code == 0
    assert "of the input saturates" in err and "20 of 20 labels" in err


@pytest.mark.parametrize("command", ["run", "verify", "report"])
def test_a_path_in_a_card_is_not_opened(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from spikewright import api
    from spikewright.trainer.data import npz

    def opened(path: Path) -> None:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(npz, "Npz", opened)
    spec = f"npz:{tmp_path}/secret.npz"
    np.savez(tmp_path / "secret.npz", x=np.zeros((20, 1, 8, 8)))
    for level in ("float", "integer"):
        graph = api.lower("digits-if", level=level)
        held = dict(graph.metadata)
        if "calibration" in held:
            held["calibration"] = {**held["calibration"], "data": spec}
        path = tmp_path / f"{level}.spk"
        api.write(graph.replace(metadata={**held, "data": spec}), path)
        words = {"report": ("-o", f"{tmp_path}/r.html")}
        code, _, said = call(capsys, command, str(path), *words.get(command, ()))
        assert code == 2 and f"give --data DATA, e.g. {spec}" in said
    assert not (tmp_path / "r.html").exists()
