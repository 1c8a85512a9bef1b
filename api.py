"""The public verbs: they compose the rooms and add nothing of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .export.ir import (
    PROFILES,
    Array,
    Graph,
    InputError,
    LoweringError,
    Profile,
    UnknownNameError,
)
from .export.ir import profile as profile_named
from .export.ir.graph import LEVELS, Level
from .export.ir.nodes import Encoding
from .export.ir.profile import ScaleRule
from .sources import DEFAULT_TIME_STEPS, SourceOptions, read_source, trace_module

if TYPE_CHECKING:
    from .hw_targets.estimate import Estimate
    from .hw_targets.fit import FitReport
    from .hw_targets.report import OnTarget
    from .hw_targets.target import Target
    from .sim.counters import Counters
    from .sim.executor import Executor
    from .sim.trace import Record, Trace
    from .sim.verify import Verification

CALIBRATION_SAMPLES = 256


def time_steps_of(graph: Graph, time_steps: int | None = None) -> int:
    """Return T: as asked, else as trained, else 4."""
    return time_steps or int(graph.metadata.get("time_steps", DEFAULT_TIME_STEPS))


def lower(
    source: Any,
    sample: Any = None,
    *,
    bits: int = 8,
    target: str | None = None,
    profile: Profile | None = None,
    calibrate: Any = None,
    scale: ScaleRule = "max",
    level: Level = "integer",
    time_steps: int | None = None,
    encoding: Encoding = "direct",
    options: SourceOptions | None = None,
) -> Graph:
    """Return a network at `level`: traced, folded, quantised.

    Args:
        source: a torch.nn.Module, a Graph, or a SOURCE as on the command line (name or path).
        sample: one example input, for a module: [time, batch, ...] if it is multi-step.
        bits: of the weights. target: a chip, or a number format (generic, loihi1, loihi2).
        calibrate: samples [sample, *shape], or a DATA spec (its train split); default: the data the
            checkpoint was trained on, or the example input.
        scale: `max`, `percentile` or `mse`.

    Raises:
        SpikewrightError: naming the node, file or option, the limit, the value and the remedy.
    """
    if level not in LEVELS:
        raise UnknownNameError.of("level", level, LEVELS)
    graph = _as_graph(source, sample, time_steps, encoding, options)
    if LEVELS.index(graph.level) >= LEVELS.index(level):
        return _as_is(graph, level)
    from .export.fold import fold

    folded = fold(graph) if graph.level == "float" else graph
    if level == "folded":
        return folded
    if calibrate is None and sample is not None:
        calibrate = _frames(sample, folded)
    return _quantised(folded, profile or _profile(target, bits), calibrate, scale, time_steps)


def _frames(sample: Any, graph: Graph) -> Array:
    """Return the frames [sample, *shape] of an example input, whatever stands before the batch."""
    return np.asarray(sample.detach().cpu()).reshape(-1, *graph.input.shape)


def _as_is(graph: Graph, level: Level) -> Graph:
    if graph.level != level:
        raise LoweringError(f"the source is already {graph.level}, {level} cannot be recovered")
    return graph


def _as_graph(
    source: Any,
    sample: Any,
    time_steps: int | None,
    encoding: Encoding,
    options: SourceOptions | None,
) -> Graph:
    if isinstance(source, Graph):
        return source
    if isinstance(source, (str, Path)):
        given = options or SourceOptions(time_steps=time_steps, encoding=encoding)
        return read_source(str(source), given)
    if sample is not None:
        from .export.trace import trace

        return trace(source, sample, encoding=encoding)
    shape = getattr(source, "input_shape", None)
    if shape is None:
        raise InputError("a module needs one example input", remedy="give sample=")
    steps = time_steps or int(getattr(source, "time_steps", DEFAULT_TIME_STEPS))
    return trace_module(source, tuple(shape), steps, encoding, {"time_steps": steps})


def _profile(target: str | None, bits: int) -> Profile:
    if target is None or target in PROFILES:
        return profile_named(target or "generic").with_bits(bits)
    from .hw_targets.target import load_target

    return profile_named(load_target(target).profile).with_bits(bits)


def _quantised(
    folded: Graph,
    profile: Profile,
    calibrate: Any,
    scale: ScaleRule,
    time_steps: int | None,
) -> Graph:
    from .export.quantise import quantise
    from .sim.calibrate import calibration, spikes_that_differ

    data, spec = _calibration_data(folded, calibrate)
    steps = time_steps_of(folded, time_steps)
    integer = quantise(folded, profile, calibration(folded, data, steps, scale, spec), scale)
    differ = spikes_that_differ(folded, integer, data, steps)
    return integer.replace(metadata={**integer.metadata, "spikes_that_differ": differ})


def _calibration_data(graph: Graph, calibrate: Any) -> tuple[Array, str]:
    given = graph.metadata.get("data") if calibrate is None else calibrate
    if given is None:
        raise InputError(
            "no data to calibrate on", remedy="give --calibrate DATA (or calibrate=samples)"
        )
    if not isinstance(given, str):
        return np.asarray(given)[:CALIBRATION_SAMPLES], "samples"
    from .trainer.data import load

    return load(given, "train", CALIBRATION_SAMPLES).x, given


def read(path: str | Path) -> Graph:
    """Return the graph of a .spk or .nir file, checked.

    Raises:
        FormatError: naming the file and what is wrong with it.
    """
    return read_source(str(path))


@dataclass(frozen=True, slots=True)
class Written:
    """What an export wrote: files, and one warning a thing the format cannot say."""

    files: tuple[Path, ...]
    warnings: tuple[str, ...]


def write(graph: Graph, path: str | Path, *, force: bool = False, **options: Any) -> Written:
    """Write a graph in the format of the suffix: .spk, .onnx, .nir, .net (Lava HDF5).

    Args:
        options: of the writer: `form`, `arithmetic`, `inline` for ONNX, `dialect`, `dt`, `strict`
            for NIR.

    Raises:
        FormatError: for an unknown suffix, an existing file, or a node the format cannot hold.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise UnknownNameError.of("format", suffix or str(path), WRITERS)
    warnings = WRITERS[suffix](graph, Path(path), force, options)
    return Written((Path(path),), tuple(warnings or ()))


def _write_archive(graph: Graph, path: Path, force: bool, options: Mapping[str, Any]) -> list[str]:
    from .export.formats.archive import write_archive

    write_archive(graph, path, force=force)
    return []


def _write_onnx(graph: Graph, path: Path, force: bool, options: Mapping[str, Any]) -> list[str]:
    from .export.formats.onnx import write_onnx

    write_onnx(graph, path, force=force, **options)
    return []


def _write_nir(graph: Graph, path: Path, force: bool, options: Mapping[str, Any]) -> list[str]:
    from .export.formats.nir_out import write_nir

    return write_nir(graph, path, force=force, **options)


def _write_lava(graph: Graph, path: Path, force: bool, options: Mapping[str, Any]) -> list[str]:
    from .export.formats.lava import write_lava

    write_lava(graph, path, force=force)
    return []


WRITERS: dict[str, Callable[[Graph, Path, bool, Mapping[str, Any]], list[str]]] = {
    ".spk": _write_archive,
    ".onnx": _write_onnx,
    ".nir": _write_nir,
    ".net": _write_lava,
}


def run(
    graph: Graph,
    x: Array,
    executor: str | Executor = "native",
    *,
    time_steps: int | None = None,
    encoding: str | None = None,
    seed: int = 0,
    record: Record = "states",
) -> Trace:
    """Return the trace of raw samples x [sample, *shape] or [sample, time, *shape].

    Raises:
        InputError: for x of the wrong shape, dtype or range. ExecutorError: see `sim.executor`.
    """
    from .sim.run import run as run_batches

    steps = steps_for(graph, x, time_steps)
    found = run_batches(
        graph, x, steps, executor_name=executor, encoding=encoding, seed=seed, keep=record
    )
    assert found.trace is not None
    return found.trace


def steps_for(graph: Graph, x: Array, time_steps: int | None) -> int | None:
    """Return T for samples x: samples with a time axis bring their own."""
    timed = x.ndim == len(graph.input.shape) + 2
    return time_steps if timed else time_steps_of(graph, time_steps)


def verify(
    graph: Graph,
    x: Array,
    executors: Sequence[str | Executor] = ("reference", "native", "onnxruntime"),
    *,
    time_steps: int | None = None,
    encoding: str | None = None,
    seed: int = 0,
    batch: int = 64,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Compare executors on raw samples x in every spike, state and output.

    Raises:
        InputError, ExecutorError, UnknownNameError: see `sim.verify`.
    """
    from .sim.encode import encode
    from .sim.verify import verify as compare_executors

    values = encode(graph, x, steps_for(graph, x, time_steps), encoding, seed)
    return compare_executors(graph, values, executors, batch=batch, progress=progress)


def targets() -> list[Target]:
    """Return the shipped targets, with the source of every limit and constant."""
    from .hw_targets.target import targets as shipped

    return shipped()


def check(graph: Graph, target: str | Target) -> FitReport:
    """Return whether an integer graph fits a target, and every violation with its remedy."""
    from .hw_targets.fit import check as check_fit

    return check_fit(graph, _target(target))


def estimate(
    graph: Graph,
    x: Array | Counters,
    target: str | Target,
    *,
    cost: str | None = None,
    time_steps: int | None = None,
) -> Estimate:
    """Return energy and latency per inference on a target, with every constant used.

    Args:
        x: raw samples to count on, or the Counters of a run. cost: one of the target's tables.
    """
    from .hw_targets.estimate import estimate as estimate_costs
    from .sim.counters import Counters
    from .sim.run import run as run_batches

    if isinstance(x, Counters):
        counters = x
    else:
        counters = run_batches(graph, x, steps_for(graph, x, time_steps)).counters
    return estimate_costs(graph, counters, _target(target), cost=cost)


def _target(target: str | Target) -> Target:
    from .hw_targets.target import load_target

    return load_target(target) if isinstance(target, str) else target


def report(
    graph: Graph,
    x: Array,
    path: str | Path,
    *,
    labels: Array | None = None,
    targets: Sequence[str] = ("loihi1", "generic-45nm"),
    time_steps: int | None = None,
    executors: Sequence[str] = ("reference", "native", "onnxruntime"),
    accuracies: Mapping[str, float | None] | None = None,
    source: Graph | None = None,
    verification: Verification | None = None,
    force: bool = False,
) -> Path:
    """Write report.html (self-contained) and report.json beside it; return the page's path.

    Args:
        source: the float graph that `graph` was lowered from; given it, each target with a number
            format of its own is checked and costed on the network lowered for it.
        verification: a comparison already made; default: `verify` on x.
    """
    from .hw_targets.report import OnTarget, write_report
    from .sim.run import run as run_batches

    steps = steps_for(graph, x, time_steps)
    found = run_batches(graph, x, steps, keep="spikes")
    measured = {"integer": found.accuracy(labels), **dict(accuracies or {})}
    here = OnTarget(_target(targets[0]), graph, found.counters, measured["integer"])
    chosen = [_on_target(here, _target(name), source, x, labels, steps) for name in targets]
    proof = verification or verify(graph, x, executors, time_steps=time_steps)
    assert found.trace is not None
    return write_report(
        path,
        graph=graph,
        counters=found.counters,
        trace=found.trace,
        verification=proof,
        targets=chosen,
        accuracies=measured,
        force=force,
    )


def _on_target(
    here: OnTarget,
    target: Target,
    source: Graph | None,
    x: Array,
    labels: Array | None,
    steps: int | None,
) -> OnTarget:
    """Return the network in the target's number format, lowered anew where it is another."""
    from dataclasses import replace

    from .sim.run import run as run_batches

    profile = here.graph.profile.name if here.graph.profile else None
    if source is None or target.profile == profile:
        return replace(here, target=target)
    graph = lower(source, target=target.profile, time_steps=steps)
    found = run_batches(graph, x, steps)
    return replace(
        here,
        target=target,
        graph=graph,
        counters=found.counters,
        accuracy=found.accuracy(labels),
    )


class Session:
    """A graph in use, step by step: state is kept between steps, as for live input.

    Args:
        graph: an integer graph (any graph with executor="reference").
        executor: by name, or an executor of your own.
    """

    def __init__(self, graph: Graph, executor: str | Executor = "native") -> None:
        from .sim.executor import executor as named

        chosen = named(executor) if isinstance(executor, str) else executor
        self.graph = graph
        self._session = chosen.prepare(graph)

    def step(self, x_t: Array) -> Array:
        """Advance by one step of raw frames [batch, *shape]; return the readout y [batch, ...]."""
        from .sim.encode import encode

        return self._session.step(encode(self.graph, x_t[:, None], 1)[0])

    def reset(self) -> None:
        """Forget all state; the next step is the first."""
        self._session.reset()
