"""One number reached by two ways is one number: the report, the commands and Python agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikewright import api
from spikewright.export.ir import Graph, InputError
from spikewright.hw_targets.event_calibration import as_trained
from spikewright.sim.counters import count
from spikewright.trainer.data import load

from .test_commands import call, call_json

pytest.importorskip("torch")
CHIPS = {target.name: target for target in api.targets()}
NETWORKS = ("digits", "digits-if", "digits-if-conv", "digits-if-soft")
OPTIONS: dict[str, tuple[str, ...]] = {
    "digits": (),
    "digits-if": ("--bits", "4"),
    "digits-if-conv": ("--scale", "percentile", "-T", "3"),
    "digits-if-soft": ("--encode", "rate", "--seed", "3", "--batch", "3"),
}
"""Of each network others, so that an option that one of the ways forgets parts them."""
OF_REPORT = ("profile", "digest", "accuracy", "timing", "limited", "lowered")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Few samples, so that each of many lowerings calibrates on few."""
    train, test = load("digits", "train", 24), load("digits", "test", 6)
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(path, x=train.x, y=train.y, x_test=test.x, y_test=test.y)
    return f"npz:{path}"


def without_schema(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "schema"}


def costs(report: dict[str, Any]) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    for found in report["estimates"]:
        yield found["target"], found["cost"], found


@pytest.mark.parametrize("network", NETWORKS)
def test_the_report_says_what_the_commands_say(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: str, network: str
) -> None:
    page, calibrate, more = tmp_path / "r.html", ("--calibrate", data), OPTIONS[network]
    on = (network, "--data", data, *calibrate, *more)
    call_json(capsys, "report", *on, "--targets", ",".join(CHIPS), "-o", str(page))
    report = json.loads(page.with_suffix(".json").read_text())

    ran = call_json(capsys, "run", *on)
    assert report["totals"] == ran["totals"] and report["samples"] == ran["samples"] == 6
    assert report["accuracies"]["integer"] == ran["accuracy"]
    shown = {row["name"]: row for row in report["layers"]}
    for row in ran["layers"]:
        assert {k: shown[row["name"]][k] for k in row} == row
    to = ("-o", str(tmp_path / "n.spk"))
    for row in call_json(capsys, "lower", *on, *to)["layers"]:
        assert {k: shown[row["name"]][k] for k in row} == row
    floats = call_json(
        capsys,
        "run",
        network,
        "--data",
        data,
        *_without(more, "--bits", "--scale"),
        "--level",
        "float",
    )
    assert report["accuracies"]["float"] == floats["accuracy"]
    assert report["comparison"] == without_schema(call_json(capsys, "compare", *on))
    assert report["verification"] == without_schema(call_json(capsys, "verify", *on))

    unsized = _without(more, "--seed", "--batch")
    for fit in report["fits"]:
        words = (network, *calibrate, *unsized, "--target", fit["target"], "--json")
        code, out, _ = call(capsys, "check", *words)
        assert code == (0 if fit["fits"] else 1)
        assert without_schema(json.loads(out)) == _less(fit, OF_REPORT)
    lowered = {fit["target"] for fit in report["fits"] if fit["lowered"]}
    assert {target for target, _, _ in costs(report)} == lowered
    for target, cost, found in costs(report):
        words = ("estimate", *on, "--target", target, *(("--cost", cost) if cost else ()))
        assert without_schema(call_json(capsys, *words)) == found, (target, cost)


def test_python_says_what_the_commands_say(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: str
) -> None:
    how: dict[str, Any] = {"calibrate": data, "bits": 4}
    words = ("digits-if", "--calibrate", data, "--bits", "4")
    test, source = load(data, "test"), api.read("digits-if")
    runs: dict[str, Any] = {"batch": 4}
    more = ("--data", data, "--batch", "4")
    generic = api.lower(source, **how)
    page = api.report(
        generic,
        test.x,
        tmp_path / "r.html",
        labels=test.y,
        targets=["odin"],
        source=source,
        calibrate=data,
        **runs,
    )
    report = json.loads(page.with_suffix(".json").read_text())
    on_odin = api.lower(source, target="odin", **how)
    fit = api.check(on_odin, CHIPS["odin"]).to_json()
    assert _less(report["fits"][0], OF_REPORT) == _through_json(fit)
    assert call_json(capsys, "lower", *words, "--target", "odin", "-o", str(tmp_path / "a.spk"))[
        "fit"
    ] == _through_json(fit)
    estimate = api.estimate(on_odin, test.x, "odin", **runs).to_json()
    found = call_json(capsys, "estimate", *words, *more, "--target", "odin")
    assert report["estimates"] == [_through_json(estimate)] == [without_schema(found)]
    comparison = api.compare(generic, test.x, **runs).to_json()
    found = call_json(capsys, "compare", *words, *more)
    assert report["comparison"] == _through_json(comparison) == without_schema(found)
    trace = api.run(generic, test.x, batch=4, seed=2)
    assert call_json(capsys, "run", *words, *more)["predictions"] == trace.predictions.tolist()


def test_integers_are_taken_as_they_are_and_their_queue_is_not_known(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: str
) -> None:
    """An .spk for another chip: report, check and estimate judge the same integers."""
    path, page = tmp_path / "a.spk", tmp_path / "r.html"
    api.write(api.lower("digits-if", target="truenorth", calibrate=data), path)
    call_json(capsys, "report", str(path), "--data", data, "--targets", "odin", "-o", str(page))
    report = json.loads(page.with_suffix(".json").read_text())
    code, out, _ = call(capsys, "check", str(path), "--target", "odin", "--json")
    found = without_schema(json.loads(out))
    assert code == 1 and found["fits"] is False and "queue_events" in found["unknown"][0]
    assert _less(report["fits"][0], OF_REPORT) == found
    estimate = call_json(capsys, "estimate", str(path), "--data", data, "--target", "odin")
    assert report["estimates"] == [without_schema(estimate)]
    assert estimate["fits"] is False and estimate["violations"] == len(found["violations"])
    _, out, _ = call(capsys, "estimate", str(path), "--data", data, "--target", "odin")
    assert "does not fit odin" in out


def test_a_float_report_is_of_the_float_network(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: str
) -> None:
    page = tmp_path / "r.html"
    words = ("digits", "--data", data, "--level", "float")
    call_json(capsys, "report", *words, "--targets", "generic-45nm", "-o", str(page))
    report = json.loads(page.with_suffix(".json").read_text())
    assert report["network"]["level"] == "float" and report["fits"][0]["fits"] is None
    for target, cost, found in costs(report):
        name = ("--target", target, "--cost", str(cost))
        assert without_schema(call_json(capsys, "estimate", *words, *name)) == found
        assert found["fits"] is None
    code, _, err = call(capsys, "report", *words, "--targets", "loihi1", "-o", str(page), "--force")
    assert code == 2 and "lower it to integers" in err


def _through_json(found: dict[str, Any]) -> dict[str, Any]:
    back: dict[str, Any] = json.loads(json.dumps(found))
    return back


def _less(found: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in keys}


def _without(words: tuple[str, ...], *options: str) -> tuple[str, ...]:
    pairs = zip(words[::2], words[1::2], strict=True)
    return tuple(word for pair in pairs if pair[0] not in options for word in pair)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: another tool's .nir, spikes, and data of pictures whose test split is spikes."""
    nir = pytest.importorskip("nir")
    path, rng, ones = tmp_path_factory.mktemp("foreign"), np.random.default_rng(3), np.ones(4)
    weight = rng.random((4, 5)).astype(np.float32)
    lif = nir.LIF(
        tau=ones * 5e-4, r=ones, v_leak=0 * ones, v_threshold=0.2 * ones, v_reset=0 * ones
    )
    nodes = {
        "input": nir.Input(np.array([5])),
        "fc": nir.Linear(weight),
        "lif": lif,
        "output": nir.Output(np.array([4])),
    }
    nir.write(
        str(path / "a.nir"),
        nir.NIRGraph(nodes, [("input", "fc"), ("fc", "lif"), ("lif", "output")]),
    )
    spikes, analog = (rng.random((24, 5)) < 0.5).astype(np.float32), rng.random((24, 5))
    np.savez(path / "spikes.npz", x=spikes[:16], x_test=spikes[16:])
    np.savez(path / "mixed.npz", x=analog[:16].astype(np.float32), x_test=spikes[16:])
    return path


def _same(command: str, found: dict[str, Any], trace: Any) -> None:
    totals = count(trace).totals()
    assert {k: found["totals"][k] for k in totals} == _through_json(totals), command
    assert found["totals"]["macs"] == 0 < found["totals"]["sops"]


@pytest.mark.parametrize("encode", [None, "spikes"])
@pytest.mark.parametrize("level", ["float", "integer"])
@pytest.mark.parametrize("name", ["spikes", "mixed"])
def test_both_doors_take_a_foreign_nir_alike(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    foreign: Path,
    encode: Any,
    level: Any,
    name: str,
) -> None:
    """The samples that enter decide its encoding; calibration that shows another is refused."""
    source, data = str(foreign / "a.nir"), f"npz:{foreign / name}.npz"
    words = (source, "--data", data, *(("--encode", encode) if encode else ()), "--level", level)
    x = load(data, "test").x
    if name == "mixed" and level == "integer":
        for command in (("run",), ("verify",), ("compare",), ("estimate", "--target", "loihi1")):
            code, _, err = call(capsys, *command, *words)
            assert code == 2 and ("whole numbers" if encode else "showed 'direct'") in err, command
        with pytest.raises(InputError, match=r"whole numbers|showed 'direct'"):
            api.run(api.lower(source, calibrate=data, encoding=encode), x)
        return
    how = {"calibrate": data} if level == "integer" else {}
    graph = api.lower(source, level=level, encoding=encode, **how)
    _same("run", call_json(capsys, "run", *words), api.run(graph, x))
    found = call_json(capsys, "compare", *words)
    assert without_schema(found) == _through_json(api.compare(graph, x).to_json())
    chip = ("--target", "generic-45nm")
    found = call_json(capsys, "estimate", *words, *chip)
    assert without_schema(found) == _through_json(
        api.estimate(
            graph
            if level == "float"
            else api.lower(source, encoding=encode, target=chip[1], **how),
            x,
            chip[1],
        ).to_json()
    )
    assert call_json(capsys, "verify", *words)["equal"] is api.verify(graph, x).equal is True
    page = tmp_path / "r.html"
    call_json(capsys, "report", *words, "--targets", chip[1], "-o", str(page))
    report = json.loads(page.with_suffix(".json").read_text())
    _same("report", report, api.run(graph, x))
    assert without_schema(found) in report["estimates"]
    if level == "integer":
        named = (source, "--calibrate", data, *words[3:], "--target", "loihi1", "--json")
        code, out, _ = call(capsys, "check", *named)
        on_chip = api.lower(source, encoding=encode, target="loihi1", **how)
        fit = api.check(on_chip, "loihi1").to_json()
        assert without_schema(json.loads(out)) == _through_json(fit)


def test_what_is_meant_can_be_said(foreign: Path) -> None:
    """A network calibrated on pictures takes 0 and 1 as pictures where that is asked for."""
    data = f"npz:{foreign / 'mixed'}.npz"
    graph, x = api.lower(foreign / "a.nir", calibrate=data), load(data, "test").x
    assert count(api.run(graph, x, encoding="direct")).totals()["macs"] > 0
    assert not api.run(graph, 0 * x).output.any()  # silence shows neither


def accuracy_of(graph: Graph, data: Any) -> float:
    """Return the share of samples whose largest output is their label's."""
    return float(np.mean(api.run(graph, data.x).predictions == data.y))


def test_the_accuracies_of_event_timing_say_their_thresholds(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: str
) -> None:
    words = ("digits-if", "--calibrate", data, "--target", "odin", "--data", data)
    event = call_json(capsys, "run", *words, "--timing", "event")
    step = call_json(capsys, "run", *words)
    before = as_trained(api.lower("digits-if", target="odin", calibrate=data))
    test = load(data, "test")
    assert event["calibrated_for_events"]
    assert event["step_accuracy"] == step["accuracy"]
    assert event["step_accuracy_uncalibrated"] == accuracy_of(before, test)
    out = tmp_path / "r.html"
    call_json(capsys, "report", *words[:3], "--data", data, "--targets", "odin", "-o", str(out))
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["fits"][0]["accuracy"] == event["accuracy"] and report["timing"] == "step"
    assert ", at step timing" in out.read_text()


def test_a_report_says_a_doubt_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: str
) -> None:
    with np.load(data.removeprefix("npz:")) as arrays:
        bright = {name: array * 9 if "x" in name else array for name, array in arrays.items()}
    np.savez(tmp_path / "bright.npz", **bright)
    out = str(tmp_path / "r.html")
    words = ("digits", "--calibrate", data, "--data", f"npz:{tmp_path / 'bright.npz'}")
    _, _, err = call(capsys, "report", *words, "-o", out)
    assert err.count("of the input saturates") == 1
