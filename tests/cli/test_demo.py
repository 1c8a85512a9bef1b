"""The demo's steps behind the training, on a few digits; `.ci/run` runs it whole."""

import json
from pathlib import Path

import pytest

from spikewright import api
from spikewright.cli import demo
from spikewright.sources import read_source
from spikewright.trainer.data import load

from .test_commands import call_json


def test_it_counts_costs_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read = read_source("digits")
    net = demo.Lowered(read, api.lower(read), load("digits", "test", 20), {"float": None})
    fit, estimates = demo.cost(net, demo.count(net))
    assert fit.fits
    assert [estimate.target for estimate in estimates] == ["loihi1", "generic-45nm"]
    assert all(estimate.energy_uj and estimate.energy_uj["total"] > 0 for estimate in estimates)
    assert "latency" in capsys.readouterr().out
    for estimate in estimates:
        words = ("digits", "--data", "digits", "--limit", "20", "--target", estimate.target)
        found = call_json(capsys, "estimate", *words)
        assert {k: v for k, v in found.items() if k != "schema"} == json.loads(
            json.dumps(estimate.to_json())
        )
