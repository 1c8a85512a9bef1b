"""Doubts: saturated input and labels beyond the outputs are said, ordinary samples are not."""

from dataclasses import replace

import numpy as np
import pytest

import spikewright as sw
from spikewright.sim.doubts import doubts
from spikewright.trainer.data import load

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def graph():
    return sw.lower("digits")


@pytest.fixture(scope="module")
def data():
    return load("digits", "test")


def test_ordinary_samples_raise_none(graph, data):
    assert doubts(graph, data.x, data.y) == []


def test_pictures_of_bytes_saturate(graph, data):
    (line,) = doubts(graph, (data.x * 255).astype(np.uint8))
    assert "data of 0..255" in line and "calibrated on" in line


def test_normalised_input_is_judged_as_it_enters(graph, data):
    halved = replace(graph.input, std=np.full((1, 1, 1), 2, np.float32))
    other = graph.replace(nodes={**graph.nodes, graph.input_name: halved})
    assert doubts(other, data.x) == []
    assert "saturates" in doubts(other, data.x * 3)[0]


def test_labels_beyond_the_outputs(graph, data):
    labels = data.y.copy()
    labels[:3] = 1000
    assert doubts(graph, data.x, labels)[0].startswith("3 of 450 labels lie above 9")
