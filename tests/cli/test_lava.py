"""`lava` from the command line: status, refusals by node, one JSON object."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .test_commands import call


def test_status_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPIKEWRIGHT_LAVA_PREFIX", str(tmp_path / "nowhere"))
    code, out, _ = call(capsys, "lava", "status", "--json")
    found = json.loads(out)
    assert code == 1
    assert not found["ready"]
    assert "spikewright lava install" in found["reason"]


def test_a_missing_worker_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPIKEWRIGHT_LAVA_PREFIX", str(tmp_path / "nowhere"))
    code, _, err = call(capsys, "verify", "digits", "--executors", "reference,lava", "--limit", "1")
    assert code == 2
    assert err == (
        "error: lava: needed to run networks on Lava, not installed; "
        "run: spikewright lava install\n"
    )


def test_what_lava_lacks_is_refused_by_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generic = tmp_path / "generic.spk"
    assert call(capsys, "lower", "digits", "-o", str(generic))[0] == 0
    code, _, err = call(capsys, "run", str(generic), "--executor", "lava", "--limit", "1")
    assert code == 2
    assert "neuron1: " in err
    assert "lower it with --target loihi2" in err


def test_a_net_file_is_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slayer = Path(__file__).parent.parent / "export" / "formats" / "slayer.net"
    out = tmp_path / "s.spk"
    assert call(capsys, "lower", str(slayer), "-o", str(out))[0] == 0
    code, shown, _ = call(capsys, "inspect", str(out), "--json")
    assert code == 0
    assert json.loads(shown)["level"] == "integer"
