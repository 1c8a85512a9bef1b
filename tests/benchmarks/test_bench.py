"""The benchmark compares outputs before it times, on every peer that is installed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import bench
from benchmarks.snn_peers import PEERS
from benchmarks.workloads import Workload, as_resnet, even, w1
from spikewright.sim.native import chosen_isa


@pytest.fixture(scope="module")
def workload() -> Workload:
    return w1(1, time_steps=3)


def test_every_installed_peer_gives_what_the_generator_gave(workload: Workload) -> None:
    found = bench.bench(workload, list(PEERS), 1, [chosen_isa()])
    assert found["equal_outputs"]
    assert set(found["peers"]) | set(found["missing"]) == set(PEERS)
    assert {"onnxruntime_int8", "onnxruntime_f32", "torch"} <= set(found["peers"])
    assert found["ratio"] == found["peers"][found["fastest_peer"]] / found["ours_ms"]
    assert "| w | " in bench.table({"w": found}) and "yes" in bench.table({"w": found})
    assert found["fastest_peer"] in bench.peer_table({"w": found})


def test_a_wrong_output_is_seen(workload: Workload) -> None:
    wrong = replace(workload, total=workload.total + 1)
    found = bench.bench(wrong, ["torch"], 1, [chosen_isa()])
    assert not found["equal_outputs"] and "NO" in bench.table({"w": found})


def test_a_saved_workload_holds_its_exact_counts(workload: Workload, tmp_path) -> None:
    workload.save(tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz") as held:
        card = json.loads(str(held["card"]))
        bits = np.unpackbits(held["x_bits"], axis=-1)[..., : workload.x.shape[-1]]
        assert np.array_equal(bits, workload.x)
    assert card["spikes"] == dict(workload.spikes) and card["total"] == workload.total


def test_rates_of_the_trained_checkpoint() -> None:
    names = resnet18_neurons()
    rates = [as_resnet(name, k, len(names)) for k, name in enumerate(names)]
    assert all(0.1 < rate < 0.25 for rate in rates) and len(set(rates)) > 6
    assert even(0.3)("n", 0, 1) == 0.3


def resnet18_neurons() -> list[str]:
    parts = [f"s{stage}b{block}_n{n}" for stage in range(4) for block in range(2) for n in (1, 2)]
    return ["stem_n", *parts]
