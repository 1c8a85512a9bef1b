"""ONNX files for tests, and our graph of one with its ReLUs still ReLUs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from spikewright.export.formats.onnx_in import read_onnx
from spikewright.export.ir import Array, Graph, Input, Neuron, Output
from spikewright.sim.ops import OPS

node = helper.make_node
THETA = 2.0


def model(
    nodes: list[Any],
    shape: Sequence[int],
    constants: dict[str, Array] | None = None,
    out: str = "y",
    batch: int | str = "batch",
    opset: int = 17,
) -> onnx.ModelProto:
    """An ONNX model of one input x [batch, *shape] and one output."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def saved(path: Path, made: onnx.ModelProto) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


def answer(made: onnx.ModelProto, x: Array) -> Array:
    """What onnxruntime computes, one sample at a time where the file's batch is 1."""
    options = onnxruntime.SessionOptions()
    # It may otherwise fuse DequantizeLinear with what follows into 8-bit arithmetic.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (entry,) = session.get_inputs()
    one = entry.shape[0] == 1
    parts = [x[k : k + 1] for k in range(len(x))] if one else [x]
    return np.concatenate([np.asarray(session.run(None, {entry.name: p})[0]) for p in parts])


def read(path: Path) -> Graph:
    """Our graph of the file, every threshold THETA."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_onnx(path, "relu", measure=lambda _, names: dict.fromkeys(names, THETA))


def rectified(graph: Graph, x: Array) -> Array:
    """Compute the graph with max(0, x) in place of each neuron's rate times its threshold."""
    values: dict[str, Array] = {}
    for name, part in graph.nodes.items():
        entering = [values[source] for source in graph.inputs(name)]
        if isinstance(part, Input):
            values[name] = x
        elif isinstance(part, Neuron):
            values[name] = np.maximum(entering[0], 0) / part.v_threshold
        elif isinstance(part, Output):
            values[name] = entering[0]
        else:
            values[name] = OPS[type(part)](part, *entering)
    return values[graph.output_name]


def assert_same_network(path: Path, x: Array) -> Graph:
    """Compare our graph of a file with onnxruntime, to 1e-5 of the largest output."""
    graph = read(path)
    made = onnx.load(str(path))
    theirs = answer(made, x.astype(np.float32))
    ours = rectified(graph, x.astype(np.float64))
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())
    return graph
