"""`lava` from the command line: status, refusals by node, one JSON object."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from spikewright import api
from spikewright.export.ir import Graph, Input, Linear, MatMul, Neuron, Output, Reshape
from spikewright.export.ir.nodes import MaxPool

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


def test_attention_is_refused_by_node_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fires(*shape: int) -> Neuron:
        return Neuron(shape, np.int32(64 * 9), state_shift=6, state_bits=24)

    nodes = {
        "input": Input((4, 8), "spikes", low=0, high=1),
        "q": Linear(np.ones((4, 8), np.int8)),
        "q.neuron": fires(4, 4),
        "k": Linear(np.ones((4, 8), np.int8)),
        "k.neuron": fires(4, 4),
        "attention": MatMul(transpose_b=True),
        "map": Reshape((1, 4, 4)),
        "pool": MaxPool((2, 2), (2, 2), (0, 0)),
        "neuron": fires(1, 2, 2),
        "out": Output("spike_count"),
    }
    edges = [*pairwise(n for n in nodes if n[0] != "k"), ("input", "k"), ("k", "k.neuron")]
    graph = Graph(nodes, [*edges, ("k.neuron", "attention", 1)], "integer")
    api.write(graph, tmp_path / "attention.spk")
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 4, 8), np.int64))
    given = (str(tmp_path / "attention.spk"), "--data", f"npz:{tmp_path / 'x.npz'}")
    code, _, err = call(capsys, "lava", "run", *given, "--encode", "spikes")
    assert (code, err.count("\n")) == (2, 1)
    assert "error: attention: MatMul has no form in Lava (also pool: MaxPool has no form in" in err
    assert "; Lava has no attention; use a convolutional network, or --executor native" in err


def test_a_net_file_is_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slayer = Path(__file__).parent.parent / "export" / "formats" / "slayer.net"
    out = tmp_path / "s.spk"
    assert call(capsys, "lower", str(slayer), "-o", str(out))[0] == 0
    code, shown, _ = call(capsys, "inspect", str(out), "--json")
    assert code == 0
    assert json.loads(shown)["level"] == "integer"
