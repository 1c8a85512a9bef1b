"""Calibrate: what the float graph does on data, and how far the integers leave it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..export.ir import Array, Calibration, Graph
from ..export.ir.profile import ScaleRule
from .encode import encode
from .reference import Reference
from .repeated import is_repeated
from .trace import Trace
from .trace import spikes_that_differ as differing

PERCENTILE = 99.9
"""The share of |inputs|, in percent, within the range that the `percentile` rule takes."""


class Calibrated(NamedTuple):
    """What a folded graph did on samples, and the trace of that: the spikes of every neuron."""

    calibration: Calibration
    trace: Trace


def calibrate(
    folded: Graph, data: Array, time_steps: int, rule: ScaleRule, spec: str
) -> Calibrated:
    """Return the input range and the spike rates of a folded graph on samples `data`.

    Raises:
        InputError: for data that the graph does not take.
    """
    values = encode(folded, data, time_steps)
    trace = Reference().prepare(folded).run(values, "spikes")
    rates = {name: float((n.spikes != 0).mean()) for name, n in trace.neurons.items()}
    sizes = np.abs(values[0] if is_repeated(values) else values)
    clipped = rule == "percentile"
    high = np.percentile(sizes, PERCENTILE, method="higher") if clipped else sizes.max()
    return Calibrated(Calibration(float(high), len(data), time_steps, spec, rule, rates), trace)


def spikes_that_differ(floats: Trace, integer: Graph, data: Array) -> dict[str, float]:
    """Return, per neuron node, the share of spikes in which the integers leave the float graph.

    Args:
        floats: of the folded graph, on `data`.
    """
    values = encode(integer, data, floats.time_steps)
    return differing(floats, Reference().prepare(integer).run(values, "spikes"))
