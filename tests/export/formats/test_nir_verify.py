"""What the portable file promises of an integer graph, and what is refused at writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import spikewright as sw
from spikewright.export.formats import onnx as onnx_out
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.formats.nir_limits import cannot_say
from spikewright.export.formats.nir_numerics import roundings
from spikewright.export.formats.nir_out import write_nir
from spikewright.export.formats.writers import write, write_as
from spikewright.export.ir import (
    Flatten,
    FormatError,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
    Reshape,
    UnknownNameError,
)
from spikewright.sim.reference import Reference


def chain(weight: Any = 0.25, **fields: Any) -> Graph:
    fields = {"v_threshold": np.array(1.0), "beta": np.array(0.5), **fields}
    nodes = {
        "in": Input((4,), "spikes"),
        "w": Linear(np.full((3, 4), weight)),
        "n": Neuron((3,), **fields),
        "out": Output("spike_count"),
    }
    return Graph.chain(nodes, "float")


def integer(**fields: Any) -> Graph:
    steps = fields.pop("time_steps", 4)
    fields = {"v_threshold": np.array(3, np.int32), "dv": None, **fields}
    nodes = {
        "in": Input((4,), fields.pop("encoding", "spikes"), low=0, high=1),
        "w": Linear(np.full((3, 4), 100, np.int8), bits=8, scale=np.array(1.0)),
        "n": Neuron((3,), **fields),
        "out": Output("spike_count"),
    }
    return Graph.chain(nodes, "integer").replace(metadata={"time_steps": steps})


@pytest.mark.parametrize("dt", [1e-50, float("inf"), float("nan"), 0.0, -1.0])
def test_a_dt_out_of_float32(tmp_path: Path, dt: float) -> None:
    with pytest.raises(FormatError, match=r"dt: dt .*parameters are float32"):
        write_nir(chain(), tmp_path / "g.nir", dt=dt)


def test_weights_that_leave_float32_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"cannot be read back .*NaN, infinite"):
        write_nir(chain(1e36, beta=np.array(1.0)), tmp_path / "g.nir")
    assert not list(tmp_path.iterdir())


def test_a_dialect_for_reading_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="for reading only; write one of portable, "):
        write_nir(chain(), tmp_path / "g.nir", dialect="subtract")


CASES: dict[str, tuple[dict[str, Any], str | None]] = {
    "small": ({}, None),
    "beyond 2^24": ({"v_threshold": np.array(1 << 24, np.int32)}, "float32 is exact below"),
    "many steps": ({"time_steps": 1 << 16}, "v may reach"),
    "saturates": ({"v_high": 500}, "may saturate"),
    "decays": ({"dv": np.array(2048, np.int32)}, "rounds toward zero"),
}


@pytest.mark.parametrize("name", CASES)
def test_where_numbers_part(tmp_path: Path, name: str) -> None:
    fields, says = CASES[name]
    graph = integer(**fields)
    lines = roundings(graph)
    assert lines == [] if says is None else says in " ".join(lines)
    assert set(lines) <= set(write_nir(graph, tmp_path / "g.nir", strict=True))


def test_an_encoding_is_told() -> None:
    assert any("cannot say encoding rate" in line for line in cannot_say(integer(encoding="rate")))


def test_a_reader_that_subtracts_gets_the_threshold_itself(tmp_path: Path) -> None:
    graph = integer(compare=">=")
    for dialect, threshold in (("sinabs", 3.0), ("portable", 2.5)):
        write_nir(graph, tmp_path / "g.nir", dialect=dialect, force=True)
        node: Any = nir.read(str(tmp_path / "g.nir")).nodes["n"]
        assert (node.v_threshold == threshold).all(), dialect


def test_onnx_files_come_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = onnx_out.build_model

    def failing(graph: Graph, form: Any = "step", *args: Any, **options: Any) -> Any:
        if form == "scan":
            raise FormatError("no exact form", node="w")
        return built(graph, form, *args, **options)

    monkeypatch.setattr(onnx_out, "build_model", failing)
    with pytest.raises(FormatError, match="no exact form"):
        write(chain(), tmp_path / "g.onnx")
    assert not list(tmp_path.iterdir())


def test_more_weights_than_a_protobuf_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_out, "LARGEST_MODEL", 47)
    with pytest.raises(FormatError, match="w: 48 bytes of weights in all"):
        write(chain(), tmp_path / "g.onnx")
    assert not list(tmp_path.iterdir())


def test_options_that_cannot_act_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.nir"
    write_nir(chain(), path)
    with pytest.raises(FormatError, match=r"dialect and dt cannot act here, .* is restored"):
        read_nir(path, "norse", dt=3.0)
    assert read_nir(path, "norse", dt=1e-5, plain=True).metadata["dt"] == 1e-5


def test_joined_axes_are_a_flatten(tmp_path: Path) -> None:
    nodes = {
        "in": Input((2, 3, 4), "spikes"),
        "join": Reshape((2, 12)),
        "w": Linear(np.eye(12)[:5]),
        "flat": Flatten(),
        "out": Output("integrate"),
    }
    path = tmp_path / "g.nir"
    assert write_nir(Graph.chain(nodes, "float"), path) == []
    node: Any = nir.read(str(path)).nodes["join"]
    assert (node.start_dim, node.end_dim) == (1, 2)
    assert read_nir(path, plain=True).shapes["join"] == (2, 12)
    nodes["join"] = Reshape((4, 6))
    nodes["w"] = Linear(np.eye(6)[:5])
    assert "join: NIR has no Reshape" in " ".join(cannot_say(Graph.chain(nodes, "float")))


def test_many_neurons_get_no_identity_matrix(tmp_path: Path) -> None:
    one = Neuron((3000,), np.array(0.5), beta=np.array(0.5))
    nodes = {"in": Input((3000,), "spikes"), "a": one, "b": one, "out": Output("spike_count")}
    graph, path = Graph.chain(nodes, "float"), tmp_path / "g.nir"
    write_nir(graph, path, strict=True)
    found = read_nir(path, plain=True)
    x = (np.random.default_rng(0).random((5, 1, 3000)) < 0.5).astype(np.float64)
    ours, theirs = (Reference(np.float64).prepare(g).run(x) for g in (graph, found))
    np.testing.assert_array_equal(ours.neurons["b"].spikes, theirs.neurons["b"].spikes)
    assert not [name for name in nir.read(str(path)).nodes if "identity" in name]


def test_a_nir_file_called_h5_is_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "g.h5"
    write_as("nir", chain(), path)
    assert list(sw.read(path).nodes) == ["in", "w", "n", "out"]
    with pytest.raises(FormatError, match="dt cannot act here"):
        sw.read(path, dt=1e-3)
    path.write_bytes(b"none")
    with pytest.raises(FormatError, match="not a readable NIR file"):
        sw.read(path)
