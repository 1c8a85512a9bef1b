"""Random networks on Lava: equal in every value; and a wrong rule is seen."""

from __future__ import annotations

import numpy as np
import pytest

from spikewright.hw_targets.lava import rules
from spikewright.hw_targets.lava.selftest import selftest

from .worker import environment


@pytest.fixture(autouse=True)
def _worker() -> None:
    environment()


def test_random_networks_are_equal() -> None:
    found = selftest(9, seed=2, pack_size=3)
    assert found.equal, found
    assert found.networks == 9
    assert found.values_compared > 5_000
    for met in ("spiking", "with Conv2d", "with Add", "v saturated"):
        assert found.coverage[met] > 0, found


def test_a_wrong_rule_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = rules.effective_weights

    def kept(weights: np.ndarray, mode: str, bits: int) -> np.ndarray:
        return right(weights, mode, 8 if mode != "MIXED" else 9)

    monkeypatch.setattr(rules, "effective_weights", kept)
    monkeypatch.setattr("spikewright.hw_targets.lava.selftest._graphs", lambda *_: None)
    monkeypatch.setattr("spikewright.hw_targets.lava.selftest._loops", lambda *_: None)
    found = selftest(9, seed=2, pack_size=3)
    assert not found.equal
    assert "rules" in str(found)
