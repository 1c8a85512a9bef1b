"""Build a network of Lava processes from its description, run it, and return what was recorded."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .recording import models, read, record

Arrays = dict[str, Any]
_CLASSES = {
    "source": "lava.proc.io.source.RingBuffer",
    "dense": "lava.proc.dense.process.Dense",
    "sparse": "lava.proc.sparse.process.Sparse",
    "conv": "lava.proc.conv.process.Conv",
    "lif": "lava.proc.lif.process.LIF",
    "lif_reset": "lava.proc.lif.process.LIFReset",
}
OUT_PORTS = {"source": "s_out", "lif": "s_out", "lif_reset": "s_out"}
IN_PORTS = {"lif": "a_in", "lif_reset": "a_in"}


def run(job: dict[str, Any], arrays: Arrays) -> Arrays:
    """Return {"process/variable": values [step, *shape]} of each record of the job.

    A job names processes (kind, parameters, arrays), connections, records, segments (variables to
    set, then steps to run), the run configuration, and whether Lava's Monitors record.
    """
    kinds = {p["name"]: p["kind"] for p in job["processes"]}
    made = {p["name"]: _process(p, arrays) for p in job["processes"]}
    job["held"] = made  # Lava stops what is collected, and its stop can hang
    for source, target in job["connections"]:
        _connect(
            getattr(made[source], OUT_PORTS.get(kinds[source], "a_out")),
            getattr(made[target], IN_PORTS.get(kinds[target], "s_in")),
        )
    steps = sum(segment["steps"] for segment in job["segments"])
    config = run_config(job["run_config"], recording=not job["monitors"])
    if job["monitors"]:
        return _monitored(job, made, arrays, config, steps)
    names = {name: f"p{k}" for k, name in enumerate(made)}
    for name in made:
        variables = [variable for process, variable in job["records"] if process == name]
        if variables:
            record(made[name], Path(job["folder"]), names[name], variables, steps)
    _run(made, job["segments"], arrays, config)
    return {f"{p}/{v}": read(Path(job["folder"]), names[p], v) for p, v in job["records"]}


def _monitored(
    job: dict[str, Any], made: dict[str, Any], arrays: Arrays, config: Any, steps: int
) -> Arrays:
    """Record through Lava's own Monitors."""
    monitors = [_monitor(made, entry, steps) for entry in job["records"]]
    _run(made, job["segments"], arrays, config)
    found = {}
    for entry, monitor in zip(job["records"], monitors, strict=True):
        (variables,) = monitor.get_data().values()
        (values,) = variables.values()
        found["/".join(entry)] = np.asarray(values).astype(np.int32)
    return found


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _process(described: dict[str, Any], arrays: Arrays) -> Any:
    kind, name = described["kind"], described["name"]
    given = {key: arrays[f"{name}/{key}"] for key in described["arrays"]}
    options = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in described["parameters"].items()
    }
    if "sign_mode" in options:
        options["sign_mode"] = _class("lava.utils.weightutils.SignMode")[options["sign_mode"]]
    if kind == "sparse":
        sparse = import_module("scipy.sparse")
        coordinates = (given.pop("row"), given.pop("column"))
        shape = options.pop("matrix_shape")
        given["weights"] = sparse.csr_matrix((given.pop("value"), coordinates), shape=shape)
    return _class(_CLASSES[kind])(**options, **given)


def _connect(source: Any, target: Any) -> None:
    if source.shape != target.shape:
        source = source.reshape(target.shape)
    source.connect(target)


def _monitor(made: dict[str, Any], entry: list[str], steps: int) -> Any:
    monitor = _class("lava.proc.monitor.process.Monitor")()
    monitor.probe(getattr(made[entry[0]], entry[1]), steps)
    return monitor


def run_config(name: str = "Loihi2SimCfg", *, recording: bool = True) -> Any:
    """Return a configuration of Lava's by name, fixed-point, with LIF models that record."""
    kind = _class(f"lava.magma.core.run_configs.{name}")
    return kind(select_tag="fixed_pt", exception_proc_model_map=models() if recording else {})


def _run(made: dict[str, Any], segments: list[dict[str, Any]], arrays: Arrays, config: Any) -> None:
    first = next(iter(made.values()))
    # Lava tells what went wrong inside a process at INFO, and nowhere else.
    first._log_config.level = logging.INFO
    condition = _class("lava.magma.core.run_conditions.RunSteps")
    for segment in segments:
        for name, variable, key in segment["set"]:
            held = getattr(made[name], variable)
            value = arrays[key] if key else np.zeros(held.shape, np.int32)
            held.set(np.broadcast_to(value, held.shape).astype(np.int32))
        first.run(condition=condition(num_steps=segment["steps"]), run_cfg=config)
