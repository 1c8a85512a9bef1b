"""Traces: predictions, joining, printing, and the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import FormatError, Graph, Input, Linear, Neuron, Output
from spikewright.export.ir.digest import digest
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference
from spikewright.sim.trace import Trace, join
from spikewright.sim.trace_file import read_trace, write_trace


def network(level: Any = "integer", readout: Any = "integrate") -> Graph:
    rng = np.random.default_rng(0)
    weight = rng.integers(-9, 10, (4, 3))
    fields: dict[str, Any] = {"du": np.int32(1000)}
    codes = [weight.astype(np.int8), weight.T.astype(np.int8)]
    threshold: Any = np.int32(20)
    if level == "folded":
        fields = {"beta": np.array(0.9), "alpha": np.array(0.5)}
        codes, threshold = [weight / 10, weight.T / 10], np.array(0.3)
    return Graph.chain(
        {
            "in": Input((3,), "direct", 0.05, -127, 127),
            "a": Linear(codes[0]),
            "layer1.lif": Neuron((4,), threshold, **fields),
            "b": Linear(codes[1]),
            "out": Output(readout),
        },
        level,
    )


def recorded(graph: Graph, samples: int = 5, record: Any = "states") -> Trace:
    x = np.random.default_rng(1).random((samples, 3), dtype=np.float32)
    return Reference().prepare(graph).run(encode(graph, x, 4), record)


def test_predictions_read_the_last_step_or_the_sum() -> None:
    trace = recorded(network())
    assert np.array_equal(trace.predictions, trace.output[-1].argmax(axis=1))
    each = recorded(network(readout="none"))
    assert np.array_equal(each.predictions, each.output.sum(axis=0).argmax(axis=1))
    assert np.array_equal(trace.predictions, each.predictions)


def test_predictions_differ_from_sample_to_sample() -> None:
    graph = Graph.chain(
        {
            "in": Input((3,), "frames", low=-9, high=9),
            "fc": Linear(np.eye(3, dtype=np.int8)),
            "out": Output("integrate"),
        },
        "integer",
    )
    x = np.array([[[1, 5, 0], [0, 0, 9]], [[-5, 0, 0], [4, -1, 2]], [[2, 2, 2], [1, 1, 1]]])
    predicted = Reference().prepare(graph).run(encode(graph, x)).predictions
    # sums 1 5 9, -1 -1 2, 3 3 3: the first of equal ones
    assert predicted.tolist() == [2, 2, 0]


def test_joined_batches_are_the_whole() -> None:
    graph = network()
    x = encode(graph, np.random.default_rng(1).random((7, 3), dtype=np.float32), 4)
    session = Reference().prepare(graph)
    for record in ("output", "spikes", "states"):
        whole = session.run(x, record)
        parts = join([session.run(x[:, :3], record), session.run(x[:, 3:], record)])
        assert np.array_equal(parts.input, whole.input) and parts.input.strides[0] == 0
        assert np.array_equal(parts.output, whole.output) and parts.samples == 7
        assert parts.neurons.keys() == whole.neurons.keys()
        for name, neuron in whole.neurons.items():
            for what in ("spikes", "v", "u"):
                a, b = getattr(neuron, what), getattr(parts.neurons[name], what)
                assert (a is None) == (b is None)
                assert a is None or np.array_equal(a, b)
    timed = session.run(np.ascontiguousarray(x))
    assert np.array_equal(join([timed, timed]).input, np.concatenate([x, x], axis=1))


def test_a_trace_prints_a_short_table() -> None:
    trace = recorded(network())
    rate = float((trace.neurons["layer1.lif"].spikes != 0).mean())
    assert "reference: 5 samples, 4 steps" in str(trace)
    assert str(trace).splitlines()[1].split() == ["layer", "neurons", "events", "spike", "rate"]
    assert str(trace).splitlines()[2].split()[:2] == ["layer1.lif", "4"]
    assert str(trace).splitlines()[2].endswith(f"{rate:.4f}")
    assert trace._repr_html_().startswith("<pre>") and 0 < rate < 1


def test_the_file_holds_what_was_recorded(tmp_path: Path) -> None:
    trace = recorded(network())
    write_trace(trace, tmp_path / "t.npz")
    card, arrays = read_trace(tmp_path / "t.npz")
    assert card["schema"] == "spikewright/trace/1" and card["executor"] == "reference"
    assert card["digest"] == digest(trace.graph)
    assert (card["samples"], card["time_steps"], card["level"]) == (5, 4, "integer")
    neuron = trace.neurons["layer1.lif"]
    expected = {
        "input": trace.input,
        "output": trace.output,
        "layer1.lif/spikes": neuron.spikes,
        "layer1.lif/v": neuron.v,
        "layer1.lif/u": neuron.u,
    }
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert array is not None
        assert np.array_equal(arrays[name], np.swapaxes(array, 0, 1)), name
    assert arrays["layer1.lif/spikes"].dtype == arrays["layer1.lif/v"].dtype == np.int32


def test_numpy_alone_reads_it(tmp_path: Path) -> None:
    write_trace(recorded(network()), tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz", allow_pickle=False) as file:
        assert json.loads(str(file["card"]))["samples"] == 5
        assert file["layer1.lif/v"].shape == (5, 4, 4)


def test_float_spikes_are_integers_in_the_file(tmp_path: Path) -> None:
    trace = recorded(network("folded"))
    write_trace(trace, tmp_path / "t.npz")
    _, arrays = read_trace(tmp_path / "t.npz")
    assert arrays["layer1.lif/spikes"].dtype == np.int32 and arrays["layer1.lif/spikes"].any()
    assert arrays["layer1.lif/v"].dtype == arrays["layer1.lif/u"].dtype == np.float32


def test_the_same_trace_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_trace(recorded(network()), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_states_that_were_not_recorded_are_not_written(tmp_path: Path) -> None:
    write_trace(recorded(network(), record="spikes"), tmp_path / "t.npz")
    assert set(read_trace(tmp_path / "t.npz")[1]) == {"input", "output", "layer1.lif/spikes"}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    path.write_bytes(b"mine")
    with pytest.raises(FormatError, match="exists already; give force=True"):
        write_trace(recorded(network()), path)
    assert path.read_bytes() == b"mine"
    write_trace(recorded(network()), path, force=True)
    assert read_trace(path)[0]["samples"] == 5
    assert [p.name for p in tmp_path.iterdir()] == ["t.npz"]


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    write_trace(recorded(network()), tmp_path / "good.npz")
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("no zip")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "array.npz.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.savez(tmp_path / "card.npz", card=np.array('{"schema": "x"}'))
    np.savez(tmp_path / "list.npz", card=np.array("[1"))
    np.savez(tmp_path / "pickled.npz", card=np.array([{}], dtype=object))
    wrong = {
        "missing.npz": "no such file",
        "cut.npz": "not a readable npz",
        "text.npz": "not a readable npz",
        "empty.npz": "not a readable npz",
        "array.npz.npy": "not a readable npz",
        "other.npz": "an npz, but no trace",
        "card.npz": "the card is not that of a spikewright/trace/1 file",
        "list.npz": "the card is not that of",
        "pickled.npz": "not a readable npz: .*allow_pickle",
        "": "a folder, a pipe or a device",
    }
    for name, message in wrong.items():
        with pytest.raises(FormatError, match=message) as caught:
            read_trace(tmp_path / name)
        assert caught.value.node == str(tmp_path / name)


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    write_trace(recorded(network()), tmp_path / "t.npz")
    content = bytearray((tmp_path / "t.npz").read_bytes())
    place = content.index(b"output.npy") + 200
    content[place] ^= 1
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(FormatError, match="not a readable npz"):
        read_trace(tmp_path / "t.npz")
