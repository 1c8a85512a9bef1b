"""Thresholds on a chip that holds few: grouped, moved the least, told."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from spikewright.export.fold import fold
from spikewright.export.formats.archive import read_archive, write_archive
from spikewright.export.group_thresholds import grouped
from spikewright.export.ir import PROFILES, Calibration, Graph, Input, Linear, Neuron, Output
from spikewright.export.ir.profile import GROUPED_THRESHOLDS
from spikewright.export.quantise import quantise


def network(thresholds: np.ndarray) -> Graph:
    rng = np.random.default_rng(0)
    size = thresholds.size
    return Graph.chain(
        {
            "in": Input((8,), "spikes"),
            "fc": Linear(rng.normal(size=(size, 8))),
            "n": Neuron((size,), thresholds, beta=np.float64(0.5)),
            "out": Output("spike_count"),
        },
        "folded",
    )


def best_by_trial(values: np.ndarray, most: int) -> float:
    """The narrowest largest ratio within a group, over every way to cut sorted values."""
    cuts = combinations(range(1, len(values)), most - 1)
    return min(max(part[-1] / part[0] for part in np.split(values, list(where))) for where in cuts)


@pytest.mark.parametrize("most", [2, 3, 5])
def test_no_other_grouping_moves_a_threshold_less(most: int) -> None:
    rng = np.random.default_rng(most)
    values = np.sort(rng.choice(np.arange(10_000, 1_000_000), 9, replace=False))
    shared = grouped(values.astype(np.int32), most)
    assert len(np.unique(shared)) == most
    ratio = np.maximum(shared / values, values / shared).max()
    assert ratio == pytest.approx(np.sqrt(best_by_trial(values, most)), rel=1e-3)


def test_thresholds_of_either_sign_are_grouped_by_distance() -> None:
    shared = grouped(np.array([-640, -576, 0, 64, 6400], np.int32), 3, 64)
    assert shared.tolist() == [-640, -640, 0, 0, 6400]


def test_loihi1_holds_eight_thresholds_a_layer_and_loihi2_all() -> None:
    graph = network(np.linspace(0.5, 3.0, 40))
    one, two = (
        quantise(fold(graph), PROFILES[name], Calibration(1.0)) for name in ("loihi1", "loihi2")
    )
    kept, given = one.neurons["n"].v_threshold, two.neurons["n"].v_threshold
    assert (len(np.unique(kept)), len(np.unique(given))) == (8, 40)
    assert not (kept % 64).any()
    note = one.metadata[GROUPED_THRESHOLDS]["n"]
    move = np.abs(kept.astype(float) - given) / given
    assert note == {
        "neurons": 40,
        "moved": int((move > 0).sum()),
        "distinct": 40,
        "kept": 8,
        "largest_move": float(move.max()),
    }
    assert 0.05 < move.max() < 0.15
    assert GROUPED_THRESHOLDS not in two.metadata


def test_eight_thresholds_stay_what_they_are() -> None:
    graph = quantise(fold(network(np.arange(1, 9) / 4)), PROFILES["loihi1"], Calibration(1.0))
    assert len(np.unique(graph.neurons["n"].v_threshold)) == 8
    assert GROUPED_THRESHOLDS not in graph.metadata


def test_the_archive_keeps_what_was_grouped(tmp_path: object) -> None:
    graph = quantise(fold(network(np.linspace(0.5, 3.0, 40))), PROFILES["loihi1"], Calibration(1.0))
    path = f"{tmp_path}/n.spk"
    write_archive(graph, path)  # type: ignore[arg-type]
    again = read_archive(path)  # type: ignore[arg-type]
    assert again.metadata[GROUPED_THRESHOLDS] == graph.metadata[GROUPED_THRESHOLDS]
    assert again.profile == graph.profile
