"""The cheapest peer of `make interop` in the ordinary tests: snntorch, where it is installed.

`make test` sets SPIKEWRIGHT_REQUIRE_PEERS, so that there they fail without it instead of skipping.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikewright.export.formats.nir_out import write_nir
from tests.interop.corpus import LEAST_RATE, build, ran, some_input
from tests.interop.environments import PEERS
from tests.interop.known import IN, OUT
from tests.interop.run import Cell, _read_back

if not os.environ.get("SPIKEWRIGHT_REQUIRE_PEERS"):
    pytest.importorskip("torch")
    pytest.importorskip("snntorch", reason="pip install snntorch==1.0.0 nirtorch==2.6")
    pytest.importorskip("nirtorch", reason="pip install nirtorch==2.6")
FILES = Path(__file__).with_name("peers")
NAMES = (
    "mlp, IF",
    "mlp, synaptic current",
    "mlp, thresholds per neuron",
    "conv, 2 groups",
    "residual of currents",
    "recurrent",
    "int8 conv, groups, pool, IF",
)


@pytest.fixture(scope="module")
def worker() -> Any:
    """The script that runs in a peer's environment, here in ours."""
    modules = {}
    for name in ("peer_networks", "worker"):
        spec = importlib.util.spec_from_file_location(name, FILES / f"{name}.py")
        assert spec is not None and spec.loader is not None
        modules[name] = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[name])
    yield modules
    for name in modules:
        del sys.modules[name]


@pytest.mark.parametrize("name", NAMES)
def test_snntorch_computes_our_files(tmp_path: Path, worker: Any, name: str) -> None:
    graph = build(name)
    write_nir(graph, tmp_path / "n.nir", dialect="snntorch", strict=True)
    np.save(tmp_path / "n.x.npy", some_input(graph))
    found = worker["worker"].run_file("snntorch", tmp_path / "n.nir")
    for neuron, trace in ran(graph).neurons.items():
        assert (trace.spikes != 0).mean() >= LEAST_RATE
        assert np.array_equal(found[neuron].reshape(trace.spikes.shape), trace.spikes), neuron


@pytest.mark.filterwarnings("ignore::spikewright.export.ir.errors.FormatWarning")
def test_we_compute_what_snntorch_exports(tmp_path: Path, worker: Any) -> None:
    worker["peer_networks"].write_all("snntorch", tmp_path)
    cells = [_read_back(PEERS["snntorch"], path) for path in sorted(tmp_path.glob("*.name"))]
    assert len(cells) >= 7
    for cell in cells:
        assert cell.equal and cell.least_rate >= LEAST_RATE, cell


def test_known_reasons_are_of_the_corpus() -> None:
    for peer, name in (*OUT, *IN):
        assert peer in PEERS and build(name)


def test_a_cell_is_equal_only_when_every_spike_is() -> None:
    assert Cell("norse", "mlp", 0.0).equal
    assert not Cell("norse", "mlp", 1e-6).equal and not Cell("norse", "mlp", None).equal
