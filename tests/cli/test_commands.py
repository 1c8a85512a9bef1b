"""Every command on real input, as a user types it: output, JSON fields, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command line in this process; return exit code, stdout and stderr."""
    code = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["spikewright", *words])
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def call_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, err = call(capsys, *words, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from spikewright import api

    path = tmp_path_factory.mktemp("net") / "digits.spk"
    api.write(api.lower("digits"), path)
    return path


def test_lower_writes_an_archive_and_both_accuracies(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = call_json(capsys, "lower", "digits", "-o", str(tmp_path / "a.spk"))
    assert found["schema"] == "spikewright/lower/1"
    assert found["integer_accuracy"] >= 0.95 and found["float_accuracy"] >= 0.95
    rows = {row["name"]: row for row in found["layers"]}
    assert rows["conv1"]["bits"] == 8 and rows["conv1"]["bound"] > 0
    assert 0 <= rows["neuron1"]["spikes_that_differ"] < 0.05
    code, _, err = call(capsys, "lower", "digits", "-o", str(tmp_path / "a.spk"))
    assert code == 2 and "--force" in err


def test_inspect_reads_every_level(capsys: pytest.CaptureFixture[str], lowered: Path) -> None:
    assert call_json(capsys, "inspect", "digits")["level"] == "float"
    found = call_json(capsys, "inspect", str(lowered))
    assert found["level"] == "integer" and found["parameters"] > 20_000
    code, out, _ = call(capsys, "inspect", str(lowered))
    assert code == 0 and "stages.0.0.conv1" in out and "parameters" in out


@pytest.mark.parametrize("executor", ["native", "reference", "onnxruntime"])
def test_run_counts_alike_on_every_executor(
    capsys: pytest.CaptureFixture[str], lowered: Path, executor: str
) -> None:
    found = call_json(
        capsys, "run", str(lowered), "--data", "digits", "--limit", "20", "--executor", executor
    )
    assert found["samples"] == 20 and len(found["predictions"]) == 20
    assert found["accuracy"] >= 0.8 and found["samples_per_s"] > 0
    first = call_json(capsys, "run", str(lowered), "--limit", "20", "--executor", "reference")
    assert found["layers"] == first["layers"] and found["totals"] == first["totals"]
    wanted = {"name", "kind", "neurons", "spikes", "spike_rate", "sops", "sops_effective", "macs"}
    wanted |= {"events", "spikes_per_neuron_step", "sops_per_spike"}
    assert wanted | {"neuron_updates"} <= set(found["layers"][0])


def test_a_trace_file_holds_what_was_recorded(
    capsys: pytest.CaptureFixture[str], lowered: Path, tmp_path: Path
) -> None:
    path = tmp_path / "trace.npz"
    code, _, err = call(capsys, "run", str(lowered), "--limit", "5", "--trace", str(path))
    assert code == 0, err
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["neuron1/spikes"].shape == (5, 4, 16, 8, 8)
        assert arrays["neuron1/v"].dtype == np.int32
        assert arrays["input"].shape == (5, 4, 1, 8, 8) and arrays["output"].shape == (5, 4, 10)
        assert json.loads(str(arrays["card"]))["executor"] == "native"


def test_verify_proves_equality(capsys: pytest.CaptureFixture[str], lowered: Path) -> None:
    found = call_json(capsys, "verify", str(lowered), "--limit", "10")
    assert found["equal"] and found["executors"] == ["reference", "native", "onnxruntime"]
    assert found["values_compared"] > 100_000 and found["first_difference"] is None


def test_verify_says_where_floats_part(capsys: pytest.CaptureFixture[str]) -> None:
    """float32 sums in another order differ somewhere: exit 1, the place and both values."""
    words = ("verify", "digits", "--level", "float", "--executors", "reference,onnxruntime")
    code, out, err = call(capsys, *words, "--limit", "8", "--json")
    found = json.loads(out)
    assert code == (0 if found["equal"] else 1), err
    if not found["equal"]:
        place = found["first_difference"]
        assert set(place) >= {"layer", "time_step", "index", "values"}
        assert set(place["values"]) == {"reference", "onnxruntime"}


def test_check_estimate_and_targets(capsys: pytest.CaptureFixture[str], lowered: Path) -> None:
    fit = call_json(capsys, "check", "digits", "--target", "loihi1")
    assert fit["fits"] and fit["cores"] >= 1 and fit["violations"] == []
    code, out, _ = call(capsys, "check", str(lowered), "--target", "loihi1", "--json")
    broken = json.loads(out)
    assert code == 1 and not broken["fits"]
    assert {"layer", "limit", "allowed", "found", "remedy"} <= set(broken["violations"][0])
    cost = call_json(capsys, "estimate", str(lowered), "--target", "loihi1", "--limit", "10")
    assert cost["energy_uj"]["total"] > 0 and cost["latency_us"] > 0 and cost["static_mw"] > 0
    constant = cost["constants"][0]
    assert {"name", "value", "unit", "source", "evidence", "operating_point"} <= set(constant)
    none = call_json(capsys, "estimate", str(lowered), "--target", "loihi2", "--limit", "4")
    assert none["energy_uj"] is None
    names = {t["name"] for t in call_json(capsys, "targets")["targets"]}
    assert {"loihi1", "loihi2", "generic-45nm"} <= names


def test_export_writes_every_format(
    capsys: pytest.CaptureFixture[str], lowered: Path, tmp_path: Path
) -> None:
    onnx = call_json(capsys, "export", str(lowered), "--to", "onnx", "-o", str(tmp_path / "d.onnx"))
    assert [Path(f).name for f in onnx["files"]] == ["d.onnx", "d.scan.onnx"]
    nir = call_json(capsys, "export", str(lowered), "--to", "nir", "-o", str(tmp_path / "d.nir"))
    assert isinstance(nir["warnings"], list)
    same = call_json(capsys, "verify", str(tmp_path / "d.nir"), "--limit", "4", "--data", "digits")
    assert same["equal"]
    code, _, err = call(capsys, "export", "digits", "--to", "lava", "-o", str(tmp_path / "d.net"))
    assert code == 2 and "netx is sequential" in err and not (tmp_path / "d.net").exists()


def test_report_is_one_page_and_its_json(
    capsys: pytest.CaptureFixture[str], lowered: Path, tmp_path: Path
) -> None:
    path = tmp_path / "r.html"
    call_json(capsys, "report", str(lowered), "--limit", "12", "-o", str(path))
    page, data = path.read_text(), json.loads(path.with_suffix(".json").read_text())
    assert data["schema"] == "spikewright/report/1" and data["verification"]["equal"]
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "Proof of equality" in page and "stages.1.0.conv2" in page


def test_lowering_writes_first_and_measures_what_was_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikewright.cli import lower

    seen, out, measure = [], tmp_path / "a.spk", lower.accuracies

    def accuracies(read: Any, graph: Any, data: Any, *options: Any) -> Any:
        assert out.is_file(), "written before anything is measured"
        seen.append(len(data))
        return measure(read, graph, data, *options)

    monkeypatch.setattr(lower, "accuracies", accuracies)
    monkeypatch.setattr(lower, "JUDGED", 20)
    for words, samples in (
        ((), 20),
        (("--limit", "30"), 30),
        (("--data", "digits", "--split", "train", "--limit", "40"), 40),
        (("--data", "digits"), 450),
    ):
        found = call_json(capsys, "lower", "digits", "-o", str(out), *words)
        assert seen.pop() == found["samples"] == samples and found["integer_accuracy"] > 0.8
        out.unlink()
    code, _, err = call(capsys, "lower", "digits", "-o", str(out))
    assert code == 0 and "measuring on 20 samples of digits" in err
    out.unlink()
    code, _, _ = call(capsys, "lower", "digits", "-o", str(out), "--data", "npz:/no/such.npz")
    assert code == 2 and not out.exists()


def test_the_card_of_a_shipped_checkpoint_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "models", "cifar10-resnet")
    assert code == 0
    for line in (
        "hours of training: 1.86",
        "spike rate, neuron1: ",
        "accuracy, integer 8 bits: 79",
    ):
        assert line in out
    assert "https://www.cs.toronto.edu/~kriz/cifar.html" in out


def test_models_and_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    names = {row["name"] for row in call_json(capsys, "models")["models"]}
    assert {"digits", "spiking_resnet_digits"} <= names
    one = call_json(capsys, "models", "spiking_resnet_digits")
    assert one["parameters"] > 20_000 and one["dense_macs_per_step"] > 0
    assert one["input_shape"] == [1, 8, 8]
    assert call_json(capsys, "doctor")["native"]["compiled"] in (True, False)


def test_train_pretrain_and_probe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path, probed = tmp_path / "c.safetensors", tmp_path / "p.safetensors"
    words = ("--data", "digits", "--epochs", "1", "--limit", "256", "-o", str(path))
    found = call_json(capsys, "train", "pretrain", *words)
    assert found["loss"] > 0 and found["images_per_s"] > 0 and path.exists()
    result = call_json(capsys, "train", "probe", str(path), "--limit", "256", "-o", str(probed))
    assert result["accuracy"] > 0.3
    run = call_json(capsys, "run", str(probed), "--limit", "32")
    assert run["accuracy"] > 0.3


def test_own_code_is_a_source(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = (
        "import torch\n"
        "from torch import nn\n"
        "from spikewright.trainer.neurons import IF\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(2), nn.Linear(64, 10), IF(0.5))\n"
    )
    path = tmp_path / "mine.py"
    path.write_text(code)
    words = (f"{path}:net", "--input", "1,8,8", "--data", "digits", "--limit", "8")
    found = call_json(capsys, "run", *words, "--calibrate", "digits")
    assert found["samples"] == 8 and [r["name"] for r in found["layers"]] == ["1", "2"]
    assert call_json(capsys, "run", *words)["totals"] == found["totals"]
    page = tmp_path / "page.html"
    assert call_json(capsys, "report", *words, "-o", str(page))["path"] == str(page)
    assert json.loads(page.with_suffix(".json").read_text())["verification"]["equal"]


def test_weights_of_own_code_come_from_torch_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    (tmp_path / "layers_beside.py").write_text("from torch import nn\nwidth = 10\n")
    path, weights = tmp_path / "mine.py", tmp_path / "w.pt"
    path.write_text(
        "from layers_beside import nn, width\n"
        "from spikewright.trainer.neurons import IF\n"
        "def net():\n"
        "    return nn.Sequential(nn.Flatten(2), nn.Linear(64, width), IF(0.5))\n"
    )
    values = torch.linspace(-0.5, 1, 640).reshape(10, 64)
    tensors = {"_orig_mod.1.weight": values, "_orig_mod.1.bias": torch.zeros(10)}
    torch.save({"model": {f"module.{name}": value for name, value in tensors.items()}}, weights)
    spk = tmp_path / "n.spk"
    words = (f"{path}:net", "--input", "1,8,8", "--weights", str(weights))
    call_json(capsys, "lower", *words, "--level", "float", "-o", str(spk))
    assert np.array_equal(sw.read(spk).nodes["1"].weight, values.numpy())  # type: ignore[union-attr]
    code, _, err = call(capsys, "lower", str(weights), "-o", str(tmp_path / "m.spk"))
    assert code == 2 and f"file.py:factory --weights {weights}" in err


def test_a_pair_that_forward_returns_says_which_was_taken(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("snntorch", reason="pip install snntorch==1.0.0")
    (tmp_path / "pair.py").write_text(
        "import snntorch as snn\nfrom torch import nn\n"
        "def net():\n"
        "    lif = snn.Leaky(beta=0.5, init_hidden=True, output=True)\n"
        "    return nn.Sequential(nn.Linear(6, 3), lif)\n"
    )
    words = ("lower", f"{tmp_path}/pair.py:net", "--input", "6", "--level", "float", "--force")
    code, out, _ = call(capsys, *words, "-o", f"{tmp_path}/n.spk")
    took = "the first of 2 values that forward() returns, the spikes of 1"
    assert code == 0 and f"output: {took}" in out.splitlines()
    assert call_json(capsys, *words, "-o", f"{tmp_path}/n.spk")["took"] == took


def test_help_is_quick_to_import() -> None:
    code = "import sys; from spikewright.cli.main import app; print(sorted(sys.modules))"
    loader = f"import runpy; runpy.run_path({str(ROOT / 'conftest.py')!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", loader + code], capture_output=True, text=True, check=True
    )
    for heavy in ("torch", "onnxruntime", "onnx", "networkx", "nir", "h5py"):
        assert f"'{heavy}'" not in done.stdout, heavy


def test_compare_takes_sides(capsys: pytest.CaptureFixture[str], lowered: Path) -> None:
    found = call_json(capsys, "compare", str(lowered), "--limit", "10")
    assert found["schema"] == "spikewright/compare/1" and found["activation_bits"] == 3
    assert found["snn_uj"] > 0 and found["ann_uj"] > 0 and "SNN" in found["verdict"]
    assert found["break_even_spike_rate"] >= 0
    names = [method["name"] for method in found["methods"]]
    assert names == ["fp32", "int32", "int8", "int8-memory/layer", "int8-memory/event"]
    code, out, _ = call(capsys, "compare", str(lowered), "--limit", "10", "--method", "int32")
    assert code == 0 and out.splitlines()[-1].startswith("By int32 the SNN needs")


def test_estimate_gives_neurobench_and_conventions(
    capsys: pytest.CaptureFixture[str], lowered: Path
) -> None:
    words = ("estimate", str(lowered), "--target", "generic-45nm", "--limit", "6", "--neurobench")
    found = call_json(capsys, *words)
    operations = found["neurobench"]["synaptic_operations"]
    assert operations["dense"] > operations["effective_acs"] > 0
    each = call_json(capsys, *words, "--first-layer", "each_step", "--integer-inputs", "mac")
    assert each["energy_uj"]["mac"] > found["energy_uj"]["mac"]
    assert any("each step" in text for text in each["conventions"])


def test_event_timing_is_shown_beside_step_timing(
    capsys: pytest.CaptureFixture[str], lowered: Path
) -> None:
    words = ("run", str(lowered), "--limit", "2", "--timing", "event", "--event-order", "reversed")
    found = call_json(capsys, *words)
    assert found["timing"] == found["executor"] == "event" and found["event_order"] == "reversed"
    assert set(found["spikes_that_differ"]) >= {"neuron1", "stages.0.0.neuron1"}
    assert found["spikes_that_differ"]["neuron1"] == 0  # the host's
    assert 0 < max(found["spikes_that_differ"].values()) < 1
    assert found["step_accuracy"] == found["step_accuracy_uncalibrated"] is not None
    assert not found["calibrated_for_events"]
    code, _, err = call(capsys, *words, "--executor", "native")
    assert code == 2 and "--timing event" in err


def test_lower_says_whether_the_result_fits(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = str(tmp_path / "a.spk")
    words = ("lower", "digits", "--limit", "4", "-o", out)
    found = call_json(capsys, *words, "--target", "spinnaker1")
    assert found["fit"]["fits"] and found["fit"]["budgets"][0]["remedy"]
    small = tmp_path / "small.yaml"
    small.write_text(
        "profile: loihi2\n"
        "limits: {cores: {value: 2, unit: count, source: mine, evidence: vendor}}\n"
    )
    found = call_json(capsys, *words, "--force", "--target", str(small))
    assert not found["fit"]["fits"] and found["fit"]["violations"][0]["remedy"]
    found = call_json(capsys, *words, "--force", "--target", "loihi2")
    assert found["fit"]["fits"] and found["fit"]["cores"] > 1
    assert call_json(capsys, *words, "--force")["fit"] is None
    code, _, err = call(capsys, *words, "--force", "--target", "odin")
    assert code == 2 and "a decay, which odin lacks" in err


def test_check_collects_what_a_number_format_cannot_express(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """digits has leaky neurons, ODIN none: every one is a violation, exit code 1, valid JSON."""
    code, out, _ = call(capsys, "check", "digits", "--target", "odin", "--json")
    found = json.loads(out)
    assert code == 1 and found["fits"] is False and found["schema"] == "spikewright/check/1"
    layers = {v["layer"] for v in found["violations"]}
    assert len(layers) > 1 and "neuron1" not in layers  # the host computes what analog values enter
    for violation in found["violations"]:
        assert violation["limit"] == "number format" and violation["remedy"]


def test_event_timing_is_compared_with_what_was_lowered(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Not with the thresholds that calibration for events moved: those fit no step."""
    from spikewright import api
    from spikewright.hw_targets.event_calibration import uncalibrated
    from spikewright.sim.event import EventDriven
    from spikewright.sim.trace import spikes_that_differ
    from spikewright.trainer.data import load

    graph = api.lower("digits-if", target="odin")
    assert any(
        factor != 1 for factor in graph.metadata["event_calibration"]["threshold_factors"].values()
    )
    x, path = load("digits", "test", 8).x, tmp_path / "odin.spk"
    api.write(graph, path)
    words = ("run", str(path), "--data", "digits", "--limit", "8", "--timing", "event")
    steps, events = api.run(uncalibrated(graph), x), api.run(graph, x, EventDriven())
    found = call_json(capsys, *words)["spikes_that_differ"]
    assert found == spikes_that_differ(steps, events)
    assert found != spikes_that_differ(api.run(graph, x), events)


def test_accuracies_are_not_measured_on_what_was_calibrated_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikewright import api
    from spikewright.cli import lower
    from spikewright.trainer.data import load

    data, path = load("digits", limit=100), tmp_path / "own.npz"
    np.savez(path, x=data.x, y=data.labels)
    judged, measure = [], lower.accuracies

    def accuracies(read: Any, graph: Any, data: Any, *options: Any) -> Any:
        judged.append(data)
        return measure(read, graph, data, *options)

    monkeypatch.setattr(lower, "accuracies", accuracies)
    words = ("lower", "digits", "--calibrate", f"npz:{path}", "-o")
    found = call_json(capsys, *words, str(tmp_path / "a.spk"))
    assert found["samples"] == 10 and judged[0].split == "held-out"
    calibrated, _ = api._calibration_data(api.read("digits"), f"npz:{path}")
    seen = {x.tobytes() for x in calibrated}
    assert len(seen) == 90 and not seen & {x.tobytes() for x in judged[0].x}
    np.savez(path, x=data.x[:5], y=data.labels[:5])
    code, _, err = call(capsys, *words, str(tmp_path / "b.spk"))
    assert code == 0 and "too few samples to hold any out" in err
