"""The onnxruntime executor: the exported ONNX itself, run and recorded like any other."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..export.formats.onnx_exact import Arithmetic
from ..export.ir import Array, Graph, MissingPackageError
from .encode import check_values
from .trace import NeuronTrace, Record, Trace


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingPackageError.of(
            "onnxruntime", "run ONNX files", "pip install onnxruntime"
        ) from None
    return onnxruntime


class OnnxRuntime:
    """Runs graphs of every level in onnxruntime on the CPU."""

    name = "onnxruntime"

    def __init__(self, threads: int = 1, arithmetic: Arithmetic = "auto") -> None:
        self.threads = threads
        self.arithmetic: Arithmetic = arithmetic

    def prepare(self, graph: Graph) -> OnnxSession:
        """Return a session; the Scan model is built now, the step model when first stepped."""
        return OnnxSession(graph, self.threads, self.arithmetic)


class OnnxSession:
    """A Scan model for whole runs and a step model for streaming (see `executor.Session`)."""

    def __init__(self, graph: Graph, threads: int, arithmetic: Arithmetic) -> None:
        self.graph, self._threads = graph, threads
        self._arithmetic: Arithmetic = arithmetic
        self._dtype: Any = np.int32 if graph.level == "integer" else np.float32
        self._scan = self._session("scan")
        self._stepper: Any = None
        self.reset()

    def _session(self, form: Literal["step", "scan"]) -> Any:
        from ..export.formats.onnx import build_model

        runtime = _onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = build_model(self.graph, form, self._arithmetic, inline=True)
        self._model = model
        return runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def reset(self) -> None:
        """Forget all state; the next step is the first."""
        self._states: dict[str, Array] = {}
        self._batch = 0

    def step(self, x: Array) -> Array:
        """Advance by one step of encoded values [batch, *shape]; return the Output's y.

        Raises:
            InputError: for values of the wrong shape or range.
        """
        values = self._values(x, timed=False)
        if self._stepper is None:
            self._stepper = self._session("step")
        if self._batch != len(x):
            self._states, self._batch = self._start(len(x)), len(x)
        names = [name.removesuffix(".prev") for name in self._states]
        wanted = ["output", *(f"{name}.next" for name in names)]
        y, *after = self._stepper.run(wanted, {"input": values, **self._states})
        self._states = {f"{name}.prev": value for name, value in zip(names, after, strict=True)}
        found: Array = y
        return found

    def _start(self, batch: int) -> dict[str, Array]:
        from ..export.formats.onnx import initial_states

        starts = initial_states(self._model)
        states = {}
        for entry in self._stepper.get_inputs():
            if entry.name in starts:
                dtype = np.int32 if entry.type == "tensor(int32)" else np.float32
                shape = (batch, *entry.shape[1:])
                states[entry.name] = np.broadcast_to(starts[entry.name], shape).astype(dtype)
        return states

    def run(self, x: Array, record: Record = "states") -> Trace:
        """Run from reset over encoded values [time, batch, *shape].

        Raises:
            InputError: for values of the wrong shape or range.
        """
        names = ["output"]
        kept = {"output": (), "spikes": ("spikes",), "states": ("spikes", "v", "u")}[record]
        for name, node in self.graph.neurons.items():
            names += [f"{name}/{w}" for w in kept if w != "u" or node.current_based]
        self.reset()
        found = dict(
            zip(names, self._scan.run(names, {"input": self._values(x, timed=True)}), strict=True)
        )
        neurons = {
            name: NeuronTrace(
                found[f"{name}/spikes"], found.get(f"{name}/v"), found.get(f"{name}/u")
            )
            for name in (self.graph.neurons if kept else ())
        }
        return Trace(self.graph, "onnxruntime", x, found["output"], neurons)

    def _values(self, x: Array, *, timed: bool) -> Array:
        check_values(self.graph, x, timed=timed)
        return np.ascontiguousarray(x, self._dtype)
