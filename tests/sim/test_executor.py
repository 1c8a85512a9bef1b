"""Executors by name: threads are those that the process may have, not the machine's."""

from __future__ import annotations

import os

import pytest

from spikewright.export.ir import InputError
from spikewright.sim.executor import executor, usable_cpus


def test_threads_are_at_most_the_cpus_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    assert usable_cpus() == 2
    with pytest.raises(InputError, match="allowed 1 to 2: this process may use 2 CPUs"):
        executor("native", 3)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cpus() == 64
    assert executor("native", 3).name == "native"
