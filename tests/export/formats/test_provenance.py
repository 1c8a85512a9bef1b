"""Metadata of archives: each key of its own type, within bounds, sealed; paths in it stay shut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import spikewright as sw
from spikewright.export.formats.archive import read_archive, write_archive
from spikewright.export.formats.provenance import metadata_digest
from spikewright.export.ir import FormatError, Graph, Input, InputError, Linear, Neuron, Output

MADE = np.random.default_rng(0)
GRAPH = Graph.chain(
    {
        "in": Input((3,)),
        "fc": Linear(MADE.normal(size=(2, 3))),
        "n": Neuron((2,), np.ones(2), beta=np.ones(())),
        "out": Output("spike_count"),
    },
    "float",
)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


EVENTS: dict[str, Any] = {
    "threshold_factors": {"n": 1.5},
    "spikes_that_differ": {"n": 0.1},
    "before": {"n": 0.2},
    "samples": 4,
    "longest_queue": 3,
    "thresholds_before": {"n": [1, 2]},
}
RIGHT: dict[str, Any] = {
    "source": "net",
    "time_steps": 4,
    "data": "npz:x.npz",
    "training": {"command": "train", "seed": 0, "probe": 0.5},
    "calibration": {"input_high": 1.0, "samples": 4, "spike_rates": {"n": 0.25}},
    "spikes_that_differ": {"n": 0.0},
    "accuracies": {"float_accuracy": None, "data": "digits", "samples": 3},
    "encoding_assumed": True,
    "event_calibration": EVENTS,
    "of the user's own": [None, {"deep": nested(9)}],
}
WRONG: list[tuple[str, Any, str]] = [
    ("time_steps", "4", "a whole number"),
    ("time_steps", 0, "a whole number"),
    ("time_steps", True, "a whole number"),
    ("time_steps", 10**30, "a whole number"),
    ("source", ["a"], "a text"),
    ("data", 3, "a text"),
    ("training", [], "an object"),
    ("training", {"seed": []}, "seed: a number"),
    ("calibration", {}, "input_high is missing"),
    ("calibration", {"input_high": 10**400}, "input_high: a number"),
    ("calibration", {"input_high": 1, "spike_rates": {"n": "high"}}, "spike_rates: n: a number"),
    ("spikes_that_differ", {"n": None}, "n: a number"),
    ("encoding_assumed", "yes", "true or false"),
    ("dt_from", "file", "without dialect"),
    ("grouped_thresholds", {"n": {"moved": 1}}, "neurons is missing"),
    ("event_calibration", {**EVENTS, "longest_queue": "9"}, "longest_queue: a whole"),
    ("event_calibration", {**EVENTS, "before": {}}, "before is not of the same neurons"),
    ("event_calibration", {**EVENTS, "before": {"n": 0.2, "m": 0.1}}, "before is not of the same"),
    ("event_calibration", {**EVENTS, "thresholds_before": {"n": [1]}}, "not those of a neuron"),
    ("event_calibration", {**EVENTS, "thresholds_before": {"n": [1, [2]]}}, "not those of a neu"),
    ("event_calibration", {**EVENTS, "thresholds_before": {"n": [1, 1 << 39]}}, "not those of a n"),
    ("own", nested(17), "more than 16 levels"),
    ("own", "x" * 70_000, "70000 characters"),
    ("k" * 70_000, 1, "70000 characters"),
]


def forged(path: Path, metadata: dict[str, Any], **card: Any) -> Path:
    """Write an archive with metadata that the writer would refuse, sealed all the same."""
    write_archive(GRAPH, path)
    with safe_open(str(path), "np") as file:
        held = json.loads(file.metadata()["card"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    held |= {"metadata": metadata, "metadata_digest": metadata_digest(metadata), **card}
    save_file(tensors, str(path), {"card": json.dumps(held)})
    return path


def test_what_we_write_is_read_as_it_was(tmp_path: Path) -> None:
    write_archive(GRAPH.replace(metadata=RIGHT), tmp_path / "a.spk")
    assert dict(read_archive(tmp_path / "a.spk").metadata) == RIGHT
    odd: dict[str, Any] = {"own": {10: 1, 2: np.float32(0.1)}}
    write_archive(GRAPH.replace(metadata=odd), tmp_path / "b.spk")
    back = read_archive(tmp_path / "b.spk").metadata["own"]
    assert back == {"10": 1, "2": float(np.float32(0.1))}


@pytest.mark.parametrize(("key", "value", "text"), WRONG)
def test_a_key_of_another_type_is_named(key: str, value: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=text) as caught:
        read_archive(forged(tmp_path / "a.spk", {key: value}))
    said = str(caught.value)
    assert "a.spk" in said and "\n" not in said and len(said) < 400
    with pytest.raises(FormatError, match=text):
        write_archive(GRAPH.replace(metadata={key: value}), tmp_path / "b.spk")
    assert not (tmp_path / "b.spk").exists()


def test_metadata_that_were_changed_are_noticed(tmp_path: Path) -> None:
    for more in ({"metadata_digest": metadata_digest({"time_steps": 5})}, {"metadata_digest": 3}):
        with pytest.raises(FormatError, match=r"metadata .* are not the .* written with it"):
            read_archive(forged(tmp_path / f"{len(str(more))}.spk", {"time_steps": 4}, **more))
    with pytest.raises(FormatError, match="not JSON compliant"):
        write_archive(GRAPH.replace(metadata={"x": float("nan")}), tmp_path / "b.spk")


def test_archives_of_version_1_are_read_their_types_judged(tmp_path: Path) -> None:
    old = forged(tmp_path / "a.spk", {"time_steps": 4}, version=1, metadata_digest=None)
    assert read_archive(old).metadata["time_steps"] == 4
    with pytest.raises(FormatError, match="a whole number"):
        read_archive(forged(tmp_path / "b.spk", {"time_steps": "4"}, version=1))
    for version in (True, 1.0, "1", None, 0, 3):
        with pytest.raises(FormatError, match="this release reads"):
            read_archive(forged(tmp_path / "c.spk", {}, version=version))
        (tmp_path / "c.spk").unlink()


def test_a_path_in_a_card_is_not_opened(tmp_path: Path) -> None:
    """The card says where the data lay of whoever wrote it; only the user says what is opened."""
    np.savez(tmp_path / "x.npz", x=MADE.random((4, 3)).astype("f4"))
    spec = f"npz:{tmp_path / 'x.npz'}"
    with pytest.raises(InputError, match=f"trained on {spec}.*give calibrate {spec}$"):
        sw.lower(GRAPH.replace(metadata={"data": spec}))
    assert sw.lower(GRAPH.replace(metadata={"data": spec}), calibrate=spec).level == "integer"
