"""Shape inference against counting, and what does not compose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikewright.export.ir import (
    Add,
    BatchNorm,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    GraphError,
    Input,
    Linear,
    MatMul,
    Neuron,
    Node,
    Output,
    Reshape,
    Scale,
    Shape,
    SumPool,
    Transpose,
)
from spikewright.export.ir.nodes import MaxPool
from spikewright.export.ir.shapes import broadcasts, window_count

SMALL = st.integers(1, 4)


PADDED = st.integers(0, 3)


@given(st.integers(1, 12), SMALL, SMALL, PADDED, PADDED, SMALL)
def test_windows_are_those_that_fit(
    size: int, kernel: int, stride: int, front: int, end: int, dilation: int
) -> None:
    starts = range(-front, size + end, stride)
    fitting = [s for s in starts if s + dilation * (kernel - 1) < size + end]
    assert max(0, window_count(size, kernel, stride, front + end, dilation)) == len(fitting)


def shape_of(node: Node, *inputs: Shape) -> Shape:
    nodes: dict[str, Node] = {"in": Input(inputs[0])}
    nodes |= {f"r{k}": Reshape(shape) for k, shape in enumerate(inputs)}
    edges = [("in", name) for name in nodes if name != "in"]
    edges_in = [(f"r{k}", "x", k) for k in range(len(inputs))]
    return Graph(
        {**nodes, "x": node, "out": Output()}, [*edges, *edges_in, ("x", "out")], "float"
    ).shapes["out"]


ONES4 = np.ones(4)
GOOD: list[tuple[Node, list[Shape], Shape]] = [
    (Linear(np.ones((5, 3))), [(3,)], (5,)),
    (Linear(np.ones((5, 3))), [(2, 7, 3)], (2, 7, 5)),
    (Conv1d(np.ones((6, 2, 3)), stride=(2,), padding=(1,)), [(2, 9)], (6, 5)),
    (Conv1d(np.ones((6, 2, 2)), padding=(0,), padding_end=(1,)), [(2, 9)], (6, 9)),
    (MaxPool((2,), (2,), (0,), (1,)), [(2, 9)], (2, 5)),
    (Conv1d(np.ones((6, 1, 3)), groups=2, dilation=(3,)), [(2, 9)], (6, 3)),
    (Conv2d(np.ones((6, 2, 3, 1)), stride=(2, 1), padding=(0, 2)), [(2, 9, 4)], (6, 4, 8)),
    (SumPool((2,), (2,), (0,)), [(3, 4, 7)], (3, 4, 3)),
    (MaxPool((3, 2), (2, 2), (1, 1)), [(5, 7, 6)], (5, 4, 4)),
    (SumPool((2, 2, 2), (2, 2, 2), (0, 0, 0)), [(4, 4, 4)], (2, 2, 2)),
    (BatchNorm(ONES4, ONES4, ONES4, ONES4, axis=1), [(3, 4)], (3, 4)),
    (Flatten(), [(3, 4, 5)], (60,)),
    (Reshape((4, 15)), [(3, 4, 5)], (4, 15)),
    (Transpose((2, 0, 1)), [(3, 4, 5)], (5, 3, 4)),
    (Add(), [(3, 4), (3, 4), (3, 4)], (3, 4)),
    (MatMul(), [(2, 3), (3, 2)], (2, 2)),
    (MatMul(transpose_b=True), [(2, 3, 4), (2, 3, 4)], (2, 3, 3)),
    (Scale(np.ones((4, 1))), [(3, 4, 5)], (3, 4, 5)),
    (Delay((3, 4)), [(3, 4)], (3, 4)),
    (Neuron((3, 4), np.ones(()), beta=np.ones(())), [(3, 4)], (3, 4)),
]


@pytest.mark.parametrize(("node", "inputs", "expected"), GOOD)
def test_shapes(node: Node, inputs: list[Shape], expected: Shape) -> None:
    assert shape_of(node, *inputs) == expected


BAD: list[tuple[Node, list[Shape], str]] = [
    (Linear(np.ones((5, 3))), [(4,)], r"weight takes 3 features, input is \(4,\)"),
    (Linear(np.ones((5, 3, 1))), [(3,)], "weight has 3 axes, a Linear has 2"),
    (Conv2d(np.ones((6, 2, 3))), [(2, 9, 9)], "weight has 3 axes, not 4"),
    (Conv1d(np.ones((6, 2, 3))), [(2, 9, 9)], r"input is \(2, 9, 9\), needs a channel and 1"),
    (Conv1d(np.ones((6, 2, 3))), [(3, 9)], "weight takes 2 channels, not 3"),
    (Conv1d(np.ones((6, 2, 3)), groups=0), [(2, 9)], "6 channels in 0 groups"),
    (Conv1d(np.ones((6, 2, 3))), [(2, 2)], r"kernel \(3,\) does not fit map \(2,\)"),
    (SumPool((2, 2), (1, 1), (0, 0)), [(4,)], "a kernel of 2 axes on input"),
    (SumPool((), (), ()), [(4,)], "a kernel of 0 axes on input"),
    (SumPool((2, 2), (1, 1), (0,)), [(4, 4)], r"padding \(0,\) has not the 2 entries"),
    (MaxPool((3,), (1,), (3,)), [(4,)], "fills a whole window"),
    (MaxPool((3,), (3,), (0,), (5,)), [(4,)], "fills a whole window"),
    (BatchNorm(ONES4, ONES4, ONES4, ONES4, axis=2), [(4, 4)], "axis 2 of input"),
    (Reshape((-3, -4)), [(3, 4)], r"shape \(-3, -4\) is empty"),
    (Reshape((7,)), [(3, 4)], r"\(3, 4\) holds 12 values, \(7,\) does not"),
    (Transpose((0, 0)), [(3, 4)], "do not permute"),
    (Add(), [(3, 4), (4, 3)], "inputs of different shapes"),
    (MatMul(), [(2, 3), (2, 3)], "inner axes 3 and 2 differ"),
    (MatMul(), [(6,), (6,)], "do not multiply"),
    (Scale(np.ones((3,))), [(3, 4)], "does not broadcast"),
    (Delay((4,)), [(3,)], r"declared shape \(4,\), input is \(3,\)"),
]


@pytest.mark.parametrize(("node", "inputs", "message"), BAD)
def test_what_does_not_compose(node: Node, inputs: list[Shape], message: str) -> None:
    with pytest.raises(GraphError, match=message) as caught:
        shape_of(node, *inputs)
    assert caught.value.node == "x"


@pytest.mark.parametrize(
    ("shape", "to", "expected"),
    [
        ((), (3, 4), True),
        ((4,), (3, 4), True),
        ((3, 1), (3, 4), True),
        ((3,), (3, 4), False),
        ((1, 3, 4), (3, 4), False),
        ((3, 4), (1, 4), False),
    ],
)
def test_broadcasting_never_grows_the_target(shape: Shape, to: Shape, expected: bool) -> None:
    assert broadcasts(shape, to) is expected
    try:
        fits = np.broadcast_shapes(shape, to) == to
    except ValueError:
        fits = False
    assert fits is expected
