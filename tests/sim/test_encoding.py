"""Which encoding a graph's Input has: asked for, the source's own, or what the data shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import Graph, Input, InputError, Linear, Neuron, Output, UnknownNameError
from spikewright.export.ir.graph import ENCODING_ASSUMED
from spikewright.sim.encoding import entered, settled, with_encoding


def network(encoding: Any = "direct", **metadata: Any) -> Graph:
    nodes = {
        "in": Input((6,), encoding),
        "fc": Linear(np.full((4, 6), 0.5, np.float32)),
        "n": Neuron((4,), np.float32(1), beta=np.float32(1)),
        "out": Output("spike_count"),
    }
    return Graph.chain(nodes, "float").replace(metadata=metadata)


UNSAID = network(**{ENCODING_ASSUMED: True})
SPIKES = (np.random.default_rng(0).random((3, 20, 6)) < 0.4).astype(np.int64)


def encoding_on(x: Any) -> str:
    return settled(UNSAID, np.asarray(x)).input.encoding


@pytest.mark.parametrize(
    ("x", "encoding"),
    [
        (SPIKES, "spikes"),
        (SPIKES.astype(np.float32), "spikes"),
        (3 * SPIKES, "spikes"),  # counts over time
        (SPIKES[:, 0], "spikes"),  # 0 and 1, alike in every step
        (3 * SPIKES[:, 0], "direct"),  # a picture of integers
        (SPIKES * 0.5, "direct"),
        (-SPIKES, "direct"),
        (SPIKES[:0], "direct"),
    ],
)
def test_data_of_spikes_is_taken_as_spikes_where_the_source_says_nothing(
    x: Any, encoding: str
) -> None:
    assert encoding_on(x) == encoding


def test_what_the_source_or_the_user_says_is_not_overruled() -> None:
    assert settled(network("direct"), SPIKES).input.encoding == "direct"
    asked = with_encoding(UNSAID, "direct")
    assert settled(asked, SPIKES).input.encoding == "direct"


def test_each_spike_that_enters_is_an_operation_of_each_synapse() -> None:
    from spikewright.sim.run import run

    counted = run(settled(UNSAID, SPIKES), SPIKES, 20).counters.totals()
    assert counted["sops"] == 4 * SPIKES.sum() and counted["macs"] == 0
    direct = run(UNSAID, SPIKES, 20, encoding="direct").counters.totals()
    assert direct["sops"] == 0 and direct["macs"] > 0
    asked = run(UNSAID, SPIKES, 20, encoding="spikes").counters.totals()
    assert asked == counted


@pytest.mark.parametrize("verb", ["run", "verify"])
def test_python_takes_an_encoding_on_floats_and_refuses_it_on_integers(verb: str) -> None:
    call = getattr(sw, verb)
    call(network(), SPIKES, encoding="spikes")
    integer = sw.lower(network(), calibrate=SPIKES * 0.5)
    with pytest.raises(InputError, match=r"'direct' cannot take 'spikes'; .*float net"):
        call(integer, SPIKES, encoding="spikes")
    spiking = sw.lower(network(), calibrate=SPIKES, encoding="spikes")
    assert spiking.input.encoding == "spikes"
    call(spiking, SPIKES * 1.0, encoding="rate")  # spikes both
    with pytest.raises(UnknownNameError, match="did you mean spikes"):
        call(network(), SPIKES, encoding="spike")


def test_lowering_takes_the_encoding_of_what_it_is_calibrated_on() -> None:
    assert sw.lower(UNSAID, calibrate=SPIKES).input.encoding == "spikes"
    assert sw.lower(UNSAID, calibrate=SPIKES * 0.5).input.encoding == "direct"
    assert sw.lower(UNSAID, level="float", encoding="rate", time_steps=7).metadata == {
        "time_steps": 7
    }


def test_the_samples_that_enter_decide_and_calibration_may_not_contradict_them() -> None:
    analog = SPIKES * 0.5
    for x, shows, other in ((SPIKES, "spikes", analog), (analog, "direct", SPIKES)):
        found = entered(UNSAID, x)
        assert found.input.encoding == shows and ENCODING_ASSUMED not in found.metadata
        calibrated = settled(UNSAID, x)
        assert entered(calibrated, x).input.encoding == shows
        with pytest.raises(InputError, match=f"the calibration showed '{shows}'"):
            entered(calibrated, other)
        assert entered(calibrated, other, "spikes").input.encoding == "spikes"
        assert entered(calibrated, 0 * other).input.encoding == shows  # silence shows neither
        assert entered(entered(calibrated, x), other).input.encoding == shows
