"""Matrices of linear nodes by their entries: what the node does to any input."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import Conv1d, Conv2d, ExecutorError, Linear, Scale, SumPool
from spikewright.export.ir.shapes import RULES
from spikewright.hw_targets.lava.entries import entries
from spikewright.sim.ops import OPS

RNG = np.random.default_rng(0)


def codes(*shape: int) -> Any:
    return RNG.integers(-9, 10, shape).astype(np.int8)


NODES: list[tuple[Any, tuple[int, ...]]] = [
    (Linear(codes(4, 5)), (5,)),
    (Linear(codes(4, 5)), (3, 5)),
    (Linear(codes(4, 5)), (2, 3, 5)),
    (Conv1d(codes(6, 2, 3), stride=(2,), padding=(1,), dilation=(2,), groups=2), (4, 9)),
    (Conv2d(codes(4, 3, 2, 3), stride=(1, 2), padding=(2, 1), dilation=(2, 1)), (3, 5, 6)),
    (SumPool((2, 3), (2, 1), (1, 1)), (3, 5, 6)),
    (SumPool((2,), (2,), (0,)), (3, 6)),
    (Conv2d(codes(4, 3, 2, 2), padding=(0, 2), padding_end=(1, 0)), (3, 5, 6)),
    (SumPool((2, 3), (2, 2), (0, 0), (1, 1)), (3, 5, 6)),
    (Scale(RNG.integers(-9, 10, (3, 1, 1)).astype(np.int32)), (3, 2, 2)),
    (Conv1d(np.zeros((2, 3, 1), np.int8)), (3, 4)),
]


@pytest.mark.parametrize(("node", "shape"), NODES)
def test_entries_are_what_the_node_does(node: Any, shape: tuple[int, ...]) -> None:
    target = RULES[type(node)](node, shape)
    row, column, value = entries("n", node, shape, target)
    x = RNG.integers(-5, 6, (1, *shape))
    found = np.zeros(prod(target), np.int64)
    np.add.at(found, row, value * x.reshape(-1)[column])
    assert np.array_equal(found, OPS[type(node)](node, x).reshape(-1))


def test_too_many_entries_are_refused() -> None:
    wide = Linear(np.ones((128, 128), np.int8))
    with pytest.raises(ExecutorError, match="n: would be a matrix of 32768000 entries"):
        entries("n", wide, (2000, 128), (2000, 128))
