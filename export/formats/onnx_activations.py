"""What an ordinary ONNX network reaches on samples: the thresholds of its conversion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..ir import Array, ExecutorError, MissingPackageError

QUANTILE = 0.999
"""Of all values of a layer; above it rates saturate (Rueckauer et al., Front. Neurosci. 2017)."""

DTYPES: dict[str, Any] = {"tensor(double)": np.float64, "tensor(float16)": np.float16}
"""Of inputs that are not float32, by onnxruntime's name."""


def largest_activations(
    model: Any, tensors: Sequence[str], x: Array, batch: int = 64
) -> Mapping[str, float]:
    """Return the QUANTILE of each tensor's values over the samples x [sample, *shape].

    Raises:
        ExecutorError: if onnxruntime cannot run the model.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingPackageError.of(
            "onnxruntime", "calibrate ONNX files", "pip install onnxruntime"
        ) from None
    kept = {name: [] for name in tensors}  # type: dict[str, list[Array]]
    try:
        session = onnxruntime.InferenceSession(
            _telling(model, tensors), _options(onnxruntime), providers=["CPUExecutionProvider"]
        )
        (entry,) = session.get_inputs()
        for frames, count in _batches(x, entry, batch):
            for name, values in zip(
                tensors, session.run(list(tensors), {entry.name: frames}), strict=True
            ):
                kept[name].append(np.asarray(values)[:count].reshape(-1))
    except Exception as error:  # onnxruntime's own exceptions share no base of their own
        line = " ".join(str(error).split())[:200]
        raise ExecutorError(f"onnxruntime cannot run it ({line})", node="calibration") from None
    return {name: float(np.quantile(np.concatenate(v), QUANTILE)) for name, v in kept.items()}


def _batches(x: Array, entry: Any, batch: int) -> Iterator[tuple[Array, int]]:
    """Yield batches as the model's input takes them, and how many samples of each are to be read.

    A file that was exported with a batch of its own takes no other: the last is filled up.
    """
    fixed = entry.shape[0] if entry.shape and isinstance(entry.shape[0], int) else None
    size = fixed or batch
    for k in range(0, len(x), size):
        frames = x[k : k + size]
        given = np.resize(frames, (fixed or len(frames), *x.shape[1:]))
        yield np.ascontiguousarray(given, DTYPES.get(entry.type, np.float32)), len(frames)


def _options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return options


def _telling(model: Any, tensors: Sequence[str]) -> bytes:
    """Return the model with these tensors among its outputs."""
    told = type(model)()
    told.CopyFrom(model)
    have = {info.name for info in told.graph.output}
    for name in tensors:
        if name not in have:
            told.graph.output.add().name = name
    content: bytes = told.SerializeToString()
    return content
