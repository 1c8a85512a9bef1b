"""The float graphs that ship beside the digits checkpoints are what torch traces of them."""

from pathlib import Path

import pytest

from benchmarks.shipped_graphs import main, with_graph
from spikewright.export.formats.archive import read_archive
from spikewright.export.ir.digest import digest
from spikewright.sources import SourceOptions, read_source, traced_checkpoint
from spikewright.trainer import checkpoint

NAMES = ["digits", "digits-if", "digits-if-conv", "digits-if-soft"]


def test_each_digits_network_has_one() -> None:
    assert sorted(with_graph()) == NAMES
    shipped = [name for name in checkpoint.shipped() if checkpoint.shipped_graph(name)]
    assert sorted(shipped) == NAMES
    assert checkpoint.shipped_graph("nobody") is None


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_trace(name: str) -> None:
    path = checkpoint.shipped_graph(name)
    assert path is not None and path.stat().st_size < 100_000
    held, traced = read_archive(path), traced_checkpoint(name)
    remedy = "the trace gives another graph: run make graphs"
    assert digest(held) == digest(traced), remedy
    for key in ("source", "model", "time_steps", "data", "training"):
        assert held.metadata[key] == traced.metadata[key], remedy
    assert digest(read_source(name)) == digest(held)


def test_what_is_asked_for_acts_on_it_as_on_the_trace() -> None:
    for options in (SourceOptions(time_steps=8), SourceOptions(encoding="rate")):
        graph, traced = read_source("digits", options), traced_checkpoint("digits", options)
        assert digest(graph) == digest(traced)
        assert graph.metadata["time_steps"] == traced.metadata["time_steps"]
        assert graph.input.encoding == (options.encoding or "direct")


def test_the_same_bytes_again(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        main(["-o", str(folder)])
    for name in NAMES:
        first, second = (tmp_path / f / f"{name}.spk" for f in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
