"""Encoding: raw samples to values, the same for every executor, batch size and repetition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import (
    Array,
    Graph,
    Input,
    InputError,
    Linear,
    Output,
    UnknownNameError,
)
from spikewright.sim.encode import check_values, encode
from spikewright.sim.repeated import is_repeated


def graph(encoding: Any = "direct", level: Any = "integer", **fields: Any) -> Graph:
    given = {"scale": 0.5, "low": -127, "high": 127} if encoding == "direct" else {"low": 0}
    if encoding != "direct":
        given["high"] = 3 if encoding == "frames" else 1
    node = Input((2, 3), encoding, **{**given, **fields})
    weight = np.ones((2, 3), np.int8 if level == "integer" else np.float32)
    return Graph.chain({"in": node, "fc": Linear(weight), "out": Output("none")}, level)


X = np.array([[0.25, 0.75, -1.0], [100.0, -100.0, 0.0]], np.float32)


def test_direct_quantises_once_and_repeats_by_view() -> None:
    found = encode(graph(), X[None], 4)
    assert found.shape == (4, 1, 2, 3) and found.strides[0] == 0 and found.dtype == np.int64
    assert found[3, 0].tolist() == [[0, 2, -2], [127, -127, 0]]


def test_direct_with_time_keeps_each_frame() -> None:
    x = np.stack([X, X + 1])[None]
    found = encode(graph(), x)
    assert found[:, 0, 0, 0].tolist() == [0, 2]
    assert np.array_equal(encode(graph(), x, 1), found[:1])


@pytest.mark.parametrize(
    "fields", [{}, {"mean": np.array(0.5)}, {"encoding": "frames"}, {"level": "float"}]
)
@pytest.mark.parametrize("steps", [1, 4])
def test_a_time_axis_repeated_by_view_is_frames_and_a_static_sample_repeats(
    fields: dict[str, Any], steps: int
) -> None:
    """How samples lie in memory changes nothing: the same values cost the same work."""
    x = np.stack([X, 2 * X]).astype(np.float32)
    x = np.clip(np.rint(x), 0, 3) if "encoding" in fields else x
    timed = np.broadcast_to(x[:, None], (2, steps, 2, 3))
    network = graph(**fields)
    views = [encode(network, timed), encode(network, np.swapaxes(timed, 0, 1).swapaxes(0, 1))]
    copied, still = encode(network, timed.copy()), encode(network, x, steps)
    assert is_repeated(still) and not is_repeated(copied)
    for found in views:
        assert not is_repeated(found) and np.array_equal(found, copied)
    assert np.array_equal(still, copied)


def test_normalisation_comes_first() -> None:
    mean, std = np.array([[1.0], [0.0]]), np.array([[0.5], [50.0]])
    found = encode(graph(mean=mean, std=std), X[None], 1)
    expected = np.clip(np.rint(((X - mean) / std).astype(np.float32) / np.float32(0.5)), -127, 127)
    assert np.array_equal(found[0, 0], expected)
    at_float = encode(graph(level="float", mean=mean, std=std), X[None], 1)
    np.testing.assert_allclose(at_float[0, 0], (X - mean) / std, rtol=1e-6)


def test_the_dtype_of_direct_samples_says_nothing() -> None:
    x = np.arange(0, 60, 10).reshape(1, 2, 3)
    for fields in ({}, {"mean": np.array(5.0)}):
        wanted = encode(graph(**fields), x.astype(np.float32), 2)
        assert wanted[0, 0, 1, 2] == 2 * (50 - (5 if fields else 0))
        for dtype in (np.uint8, np.int8, np.int64, bool):
            raw = x.astype(dtype)
            wanted = encode(graph(**fields), raw.astype(np.float32), 2)
            found = encode(graph(**fields), raw, 2)
            assert found.dtype == np.int64 and np.array_equal(found, wanted)
    as_raw = encode(graph(level="float", mean=np.array(5.0)), x, 1)
    assert np.array_equal(as_raw[0], x - 5.0)
    with pytest.raises(InputError, match=r"128..128 leaves .* -127..127.*; encode the samples"):
        check_values(graph(), np.full((1, 1, 2, 3), 128), timed=True)


def test_integers_of_the_other_encodings_are_counts() -> None:
    assert encode(graph("spikes"), np.ones((1, 2, 2, 3), bool)).dtype == np.int64


def test_rate_draws_bernoulli_spikes_of_the_right_share() -> None:
    x = np.tile(np.array([0.0, 0.3, 1.0], np.float32), (20, 2, 1))
    found = encode(graph("rate"), x, 200, seed=3)
    assert set(np.unique(found)) == {0, 1}
    rates = found.mean(axis=(0, 1, 2))
    assert rates[0] == 0 and rates[2] == 1 and abs(rates[1] - 0.3) < 0.01
    # Steps, samples and neurons draw apart.
    assert found[:, :, :, 1].std(axis=0).min() > 0


def test_rate_depends_on_seed_and_sample_alone() -> None:
    x = np.random.default_rng(0).random((9, 2, 3), dtype=np.float32)
    whole = encode(graph("rate"), x, 5, seed=1)
    assert np.array_equal(whole, encode(graph("rate"), x, 5, seed=1))
    assert not np.array_equal(whole, encode(graph("rate"), x, 5, seed=2))
    parts = [encode(graph("rate"), x[k : k + 2], 5, seed=1, first_sample=k) for k in range(0, 9, 2)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    # A longer run begins with the same steps.
    assert np.array_equal(encode(graph("rate"), x, 8, seed=1)[:5], whole)


def test_latency_spikes_once_and_the_brighter_the_sooner() -> None:
    x = np.array([[[1.0, 0.75, 0.5], [0.25, 0.01, 0.0]]], np.float32)
    found = encode(graph("latency"), x, 5)
    assert found.sum(axis=0).reshape(-1).tolist() == [1, 1, 1, 1, 1, 0]
    assert found.argmax(axis=0).reshape(-1)[:5].tolist() == [0, 1, 2, 3, 4]


def test_frames_and_spikes_are_taken_as_given() -> None:
    x = np.random.default_rng(0).integers(0, 4, (2, 6, 2, 3))
    assert np.array_equal(encode(graph("frames"), x), np.swapaxes(x, 0, 1))
    as_floats = encode(graph("frames"), x.astype(np.float32), 4)
    assert as_floats.dtype == np.int64 and np.array_equal(as_floats, np.swapaxes(x, 0, 1)[:4])


def timed(*values: Any) -> Array:
    return np.array(values).reshape(1, -1, 1, 1) * np.ones((2, 3), np.array(values).dtype)


@pytest.mark.parametrize("level", ["float", "folded", "integer"])
@pytest.mark.parametrize("encoding", ["spikes", "frames"])
def test_shares_of_spikes_are_refused_at_every_level(encoding: Any, level: Any) -> None:
    """Else the multiply-accumulates of real values would be counted as synaptic operations."""
    network = graph(encoding, level)
    for x, steps in ((timed(0.5, 1.0), None), (X[None], 2)):
        with pytest.raises(InputError, match=f"{encoding} data must be whole numbers; use enc"):
            encode(network, x, steps)


@pytest.mark.parametrize("level", ["float", "folded"])
def test_spikes_are_whole_before_they_are_normalised(level: Any) -> None:
    network = graph("spikes", level, mean=np.array(0.5), std=np.array(0.25))
    for x in (timed(0.0, 1.0), timed(0, 1)):
        assert set(encode(network, x).reshape(-1).tolist()) == {-2.0, 2.0}


BAD: list[tuple[Graph, Any, dict[str, Any], str]] = [
    (graph(), np.zeros((4, 3, 2)), {"time_steps": 1}, r"data of shape \[4, 3, 2\].*\[sample, 2, 3"),
    (graph(), np.zeros((2, 3)), {"time_steps": 1}, r"in: data of shape \[2, 3\]"),
    (graph(), np.zeros((1, 1, 1, 2, 3)), {"time_steps": 1}, "data of shape"),
    (graph(), X[None].astype(np.complex64), {"time_steps": 1}, "in: dtype complex64, numbers are"),
    (graph(), np.array([["a"]]), {"time_steps": 1}, "in: dtype <U1, numbers are needed"),
    (graph(), np.where(X == 0, np.nan, X)[None], {"time_steps": 1}, "in: 1 NaN .* of 6; clean"),
    (graph(), np.full((1, 2, 3), np.inf), {"time_steps": 1}, "NaN or infinite values"),
    (graph(), X[None], {}, "static samples need a number of time steps; give time_steps"),
    (graph(), X[None], {"time_steps": 0}, "0 time steps, at least 1"),
    (
        graph(),
        timed(0.0, 1.0),
        {"time_steps": 3},
        "the data has 2; give time_steps=2",
    ),
    (graph(), np.zeros((1, 0, 2, 3)), {}, "0 time steps, at least 1"),
    (graph(), X[None], {"time_steps": 1, "seed": -1}, "seed -1, allowed 0 and above"),
    (graph("spikes"), timed(0, 2), {}, r"integer input 0..2 leaves the range 0..1 .*; clip"),
    (graph("spikes"), timed(0.0, -1.0), {}, r"integer input -1..0 leaves the range 0..1"),
    (graph("spikes"), timed(0.5, 1.0), {}, "spikes data must be whole numbers; use encoding="),
    (graph("latency"), timed(0.5, 1.0), {}, "latency encoding takes static samples"),
    (graph("rate"), np.full((1, 2, 3), 255, np.uint8), {"time_steps": 1}, r"input 255..255 leaves"),
    (
        graph(),
        timed(0, 1),
        {"encoding": "rate"},
        "for encoding 'direct' cannot take 'rate'",
    ),
    (
        graph("spikes"),
        X[None],
        {"encoding": "direct"},
        "'spikes' cannot take 'dir",
    ),
]


@pytest.mark.parametrize(("network", "x", "options", "message"), BAD)
def test_what_does_not_fit_is_refused(
    network: Graph, x: Array, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        encode(network, x, **options)
    assert "\n" not in str(caught.value)


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(UnknownNameError, match="rat: no encoding of this name; did you mean rate"):
        encode(graph("spikes"), X[None], 1, "rat")


def test_values_for_a_session() -> None:
    good = encode(graph(), X[None], 3)
    check_values(graph(), good, timed=True)
    check_values(graph(), good[0], timed=False)
    check_values(graph(level="float"), np.zeros((1, 1, 2, 3)), timed=True)
    with pytest.raises(InputError, match="the network takes"):
        check_values(graph(), good, timed=False)
