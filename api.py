"""The public verbs: they compose the rooms and add nothing of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .api_arguments import read_verb, report_verb, verb, write_verb
from .export.ir import (
    PROFILES,
    Array,
    Calibration,
    Graph,
    InputError,
    LoweringError,
    Profile,
    UnknownNameError,
)
from .export.ir.errors import FormatWarning, warn
from .export.ir.graph import ENCODING_ASSUMED, LEVELS, Level
from .export.ir.nodes import Encoding
from .export.ir.noted import Differences
from .export.ir.printed import Printed
from .export.ir.profile import ScaleRule
from .export.untrained import doubt_weights
from .integers import Again, Format, Road, Samples, folded, format_of, refusal
from .option_rules import refuse_idle, refuse_unlowered
from .sim.encoding import entered, settled, with_encoding
from .sim.executor import offer
from .sim.requests import labels_in, samples_in
from .sim.time_axis import steps_for as steps_for
from .sim.time_axis import time_steps_of as time_steps_of
from .sim.trace import EVENT, Record
from .sources import (
    SourceOptions,
    agreement_of,
    as_asked,
    compared,
    encoding_of,
    read_source,
    trace_module,
    warn_if_silent,
)

if TYPE_CHECKING:
    from .export.formats.writers import Written
    from .export.layout import Layout
    from .hw_targets.compare import Comparison
    from .hw_targets.estimate import Conventions, Estimate
    from .hw_targets.fit import FitReport
    from .hw_targets.report import OnTarget
    from .hw_targets.target import Target
    from .sim.agreement import Agreement
    from .sim.counters import Counters
    from .sim.executor import Executor
    from .sim.trace import Trace
    from .sim.verify import Verification

CALIBRATION_SAMPLES = 256


def _lava() -> Executor:
    from .hw_targets.lava.executor import Lava

    return Lava()


offer("lava", _lava)


@verb
def lower(
    source: Any,
    sample: Any = None,
    *,
    bits: int | None = None,
    target: str | Target | None = None,
    profile: Profile | None = None,
    calibrate: Any = None,
    scale: ScaleRule = "max",
    level: Level = "integer",
    time_steps: int | None = None,
    encoding: Encoding | None = None,
    differences: Differences = "error",
    **reading: Any,
) -> Graph:
    """Return a network at `level`: traced, folded, quantised.

    A graph that is integer already is returned as it is, and refused if other `bits` or another
    `target` are asked for.

    Args:
        source: a torch.nn.Module, a Graph, or a SOURCE as on the command line (name or path).
        sample: one example input, for a module: [time, batch, ...] if it is multi-step.
        bits: of the weights, 2..8; default 8.
        target: a chip, or a number format (generic, loihi1, loihi2). profile: instead of its own.
        calibrate: samples [sample, *shape], or a DATA spec (its train split); default: the data the
            checkpoint was trained on, or the example input.
        scale: `max`, `percentile` or `mse`.
        differences: what becomes of a module whose own run computes something else than its graph
            (its outputs, the currents and spikes of its neurons): `error`, or `warn`.
        reading: of a file, as in `read`: `dialect`, `dt`, `strict`, `convert` and so on.

    Raises:
        SpikewrightError: naming the node, file or option, the limit, the value and the remedy.
    """
    layout = None
    if isinstance(source, (str, Path)):
        spec = calibrate if isinstance(calibrate, str) else None
        options = {"time_steps": time_steps, "encoding": encoding, "calibrate": spec}
        graph = read(source, **options, differences=differences, **reading)
    elif reading:
        raise _unknown_reading(next(iter(reading)))
    else:
        graph, layout = _as_graph(source, sample, time_steps, encoding, differences)
        if not isinstance(source, Graph):
            doubt_weights(source)
    given = {"bits": bits, "target": target, "profile": profile, "calibrate": calibrate}
    given |= {"scale": None if scale == "max" else scale}
    given |= {"sample": None if hasattr(source, "named_modules") else sample}
    named = {name for name, value in given.items() if value is not None}
    refuse_unlowered(graph, level, named, str(graph.metadata.get("source", "lower")))
    form = format_of(target, bits, profile)
    if level != "integer" or graph.level == "integer":
        if calibrate is not None and graph.metadata.get(ENCODING_ASSUMED):
            graph = settled(graph, _calibration_data(graph, calibrate)[0])
        if LEVELS.index(graph.level) >= LEVELS.index(level):
            return _as_is(graph, level, form.profile if target or bits or profile else None)
        return folded(graph)
    if calibrate is None and sample is not None:
        calibrate = _samples_of(sample, layout, graph)
    samples = _samples(graph, calibrate, time_steps)
    return Road(settled(graph, samples.x), samples, scale).to(form)


def _as_tensor(sample: Any, module: Any) -> Any:
    """Return numpy's arrays as tensors, floats in the width of the module's weights."""
    if not isinstance(sample, np.ndarray) or sample.dtype.kind not in "fiub":
        return sample
    import torch

    found = torch.as_tensor(sample)
    if not found.is_floating_point():
        return found
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    return found.to(like)


def _unknown_reading(name: str) -> InputError | UnknownNameError:
    """Return the refusal of an option that is not of modules and graphs."""
    if name in (field.name for field in fields(SourceOptions)):
        return InputError(f"{name} cannot act here, it is for files", node="lower")
    known = list(signature(lower).parameters)[:-1]
    if name == "encode":
        return UnknownNameError("no argument of this name", node=name, remedy="write encoding=")
    return UnknownNameError.of("argument of lower()", name, known)


def _samples_of(sample: Any, layout: Layout | None, graph: Graph) -> Array:
    """Return a module's example input as samples [sample, time, *shape]; others are samples.

    Latency coding takes frames without time: every step is one.
    """
    found = samples_in(sample if layout is None else layout.samples(sample))
    return found.reshape(-1, *graph.input.shape) if graph.input.encoding == "latency" else found


def _as_is(graph: Graph, level: Level, asked: Profile | None) -> Graph:
    if graph.level != level:
        raise LoweringError(f"the source is already {graph.level}, {level} cannot be recovered")
    held = graph.profile
    if level == "integer" and asked is not None and held is not None and asked != held:
        raise LoweringError(
            f"the source is integer already, for {held.name} at {held.weight_bits} bits; "
            f"{asked.name} at {asked.weight_bits} bits needs the float network",
            remedy="lower the network it was made of",
        )
    return graph


def _as_graph(
    source: Any,
    sample: Any,
    time_steps: int | None,
    encoding: Encoding | None,
    differences: Differences | None = "error",
) -> tuple[Graph, Layout | None]:
    """Return the graph of a module or Graph, and the layout of a module's example input."""
    from .export.unwrap import unwrapped

    if isinstance(source, Graph):
        if differences == "warn":
            raise InputError("differences cannot act here, it is for modules", node="lower")
        return as_asked(source, SourceOptions(time_steps=time_steps, encoding=encoding)), None
    source = unwrapped(source)
    if sample is not None:
        from .export.trace import follow, graph_of

        followed = follow(source, _as_tensor(sample, source))
        graph = graph_of(followed, encoding=encoding or encoding_of(source))
        steps = time_steps_of(graph, time_steps)
        if time_steps is not None:
            graph = graph.replace(metadata={**graph.metadata, "time_steps": steps})
        if differences is not None:
            graph = compared(graph, followed, steps, differences)
        return graph, followed.layout
    shape = getattr(source, "input_shape", None)
    if shape is None:
        raise InputError("a module needs one example input", remedy="give sample=")
    return trace_module(source, tuple(shape), time_steps, encoding, {}, differences), None


@verb
def agreement(
    module: Any, samples: Any, graph: Graph | None = None, *, time_steps: int | None = None
) -> Agreement:
    """Return how our float run agrees with a module's own, in spikes, currents and outputs.

    Args:
        module: of torch, our neurons or another framework's.
        samples: [sample, time, *shape], whatever axes the module has; [sample, *shape] where it
            takes one step a call: it is called `time_steps` times with them, states kept.
        graph: of the module, float or folded (spikes alone); default: traced here.

    Warns:
        AgreementWarning: where no neuron spiked.

    Raises:
        LoweringError: for a module that cannot be traced.
    """
    from .export.ir import check as check_graph
    from .export.trace import as_example, follow, graph_of

    if graph is not None:
        steps_for(check_graph(graph), samples_in(samples), time_steps)
    followed = follow(module, as_example(module, samples))
    graph = graph or graph_of(followed)
    if graph.level == "integer":
        raise InputError("an integer graph rounds", node="graph", remedy="give the float graph")
    steps = time_steps_of(graph, time_steps)
    agreed = agreement_of(graph, followed.module, followed.sample, followed.layout, steps)
    warn_if_silent(type(followed.module).__name__, agreed)
    return agreed


@verb
def lowering(
    *,
    bits: int | None = None,
    target: str | Target | None = None,
    calibrate: Any,
    scale: ScaleRule = "max",
    time_steps: int | None = None,
) -> Callable[[Any, Level], Graph]:
    """Return `lower` for modules that are lowered again and again, as quantisation-aware training
    does: they are calibrated once, and no run compares float with integers.

    Args:
        bits, target, scale, time_steps: as `lower`. calibrate: samples, or a DATA spec.
    """
    again = Again(format_of(target, bits), scale)

    def lowered(module: Any, level: Level) -> Graph:
        graph, _ = _as_graph(module, None, time_steps, None, None)
        if level != "integer":
            return graph
        if again.calibrated:
            return again.next(graph)
        return again.first(graph, _samples(graph, calibrate, time_steps))

    return lowered


def _samples(graph: Graph, calibrate: Any, time_steps: int | None) -> Samples:
    """Return what a float or folded graph is calibrated on, see `lower`."""
    x, spec = _calibration_data(graph, calibrate)
    return Samples(x, spec, steps_for(graph, x, time_steps))


def _calibration_data(graph: Graph, calibrate: Any) -> tuple[Array, str]:
    given = graph.metadata.get("data") if calibrate is None else calibrate
    if given is None:
        raise InputError("no data to calibrate on", remedy="give --calibrate DATA")
    if not isinstance(given, str):
        return np.asarray(given)[:CALIBRATION_SAMPLES], "samples"
    from .trainer.data import load_training, packaged

    if calibrate is None and not packaged(given):
        raise InputError(
            f"trained on {given}, whose samples are not packaged: nothing to calibrate on",
            node=str(graph.metadata.get("source", "network")),
            remedy=f"give --calibrate {given}{'' if ':' in given else ':PATH'}",
        )
    return load_training(given, CALIBRATION_SAMPLES).x, given


@read_verb
def read(source: str | Path, **options: Any) -> Graph:
    """Return the graph of a SOURCE, at the level it holds: a .spk or .nir file, for example.

    Args:
        options: as on the command line. Of a NIR file: `dialect` (whose time steps: portable,
            norse, snntorch, spikingjelly, sinabs, subtract, exponential), `dt` in seconds, `strict`
            (refuse what would be repaired). Of an ONNX network: `convert` ("relu"), `calibrate`
            (a DATA spec), `input_shape`. Of file.py:factory: `weights`, `input_shape`. Of any:
            `time_steps`, `encoding`.

    Raises:
        FormatError: naming the file and what is wrong with it.
        UnknownNameError, InputError: for an option that there is not, or that cannot act here.
    """
    known = {field.name: field.default for field in fields(SourceOptions)}
    for name in options:
        if name not in known:
            raise UnknownNameError.of("option", name, known)
    given = {name: value for name, value in options.items() if value != known[name]}
    refuse_idle(str(source), given)
    return read_source(str(source), SourceOptions(**given))


@write_verb
def write(graph: Graph, path: str | Path, *, force: bool = False, **options: Any) -> Written:
    """Write a graph in the format of the suffix: .spk, .nir, .onnx (two files), .net (Lava HDF5).

    Args:
        options: of the format, see `export.formats.writers.write`.

    Warns:
        FormatWarning: once a node of which the format cannot say everything; also in the result.

    Raises:
        UnknownNameError: for another suffix. FormatError: for an existing file, or a node that the
        format cannot hold.
    """
    from .export.formats.writers import write as write_file

    written = write_file(graph, path, force=force, **options)
    for line in written.warnings:
        warn(f"{path}: {line}", FormatWarning)
    return written


@verb
def run(
    graph: Graph,
    x: Array,
    executor: str | Executor | None = None,
    *,
    time_steps: int | None = None,
    encoding: str | None = None,
    seed: int = 0,
    batch: int = 64,
    record: Record = "states",
) -> Trace:
    """Return the trace of raw samples x [sample, *shape] or [sample, time, *shape].

    Args:
        executor: by name, or one of your own; default native, or the reference where the native
            engine cannot run: float levels, and installations without it.
        record: `output`, `spikes`, or `states` (spikes and the membrane potentials).

    Raises:
        InputError: for x of the wrong shape, dtype or range. ExecutorError: see `sim.executor`.
    """
    from .sim.run import run as run_batches

    x = samples_in(x)
    graph, steps = _on(graph, x, encoding), steps_for(graph, x, time_steps)
    found = run_batches(
        graph, x, steps, executor_name=executor, seed=seed, batch=batch, keep=record
    )
    assert found.trace is not None
    return found.trace


def _on(graph: Graph, x: Array, encoding: str | None) -> Graph:
    """Return the graph as samples x enter it: encoded as asked, else as its source or they say."""
    return entered(graph, x, encoding)


@verb
def verify(
    graph: Graph,
    x: Array,
    executors: Sequence[str | Executor] | None = None,
    *,
    time_steps: int | None = None,
    encoding: str | None = None,
    seed: int = 0,
    batch: int = 64,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Compare executors on raw samples x in every spike, state and output.

    Args:
        executors: the first is what the others must equal; default all that can run the graph.

    Raises:
        InputError, ExecutorError, UnknownNameError: see `sim.verify`.
    """
    from .sim.doubts import doubt_samples
    from .sim.encode import encode
    from .sim.executor import able
    from .sim.verify import verify as compare_executors

    x = samples_in(x)
    graph = _on(graph, x, encoding)
    values = encode(graph, x, steps_for(graph, x, time_steps), seed=seed)
    doubt_samples(graph, x)
    chosen = able(graph) if executors is None else executors
    return compare_executors(graph, values, chosen, batch=batch, progress=progress)


@verb
def targets() -> list[Target]:
    """Return the shipped targets, with the source of every limit and constant."""
    from .hw_targets.target import targets as shipped

    return shipped()


@verb
def check(graph: Graph, target: str | Target) -> FitReport:
    """Return whether an integer graph fits a target, and every violation with its remedy."""
    from .hw_targets.fit import check as check_fit

    return check_fit(graph, _target(target))


@verb
def estimate(
    graph: Graph,
    x: Array | Counters,
    target: str | Target,
    *,
    cost: str | None = None,
    time_steps: int | None = None,
    encoding: str | None = None,
    seed: int = 0,
    batch: int = 64,
    conventions: Conventions | None = None,
    progress: Callable[[int], None] | None = None,
    watch: Callable[[Trace], None] | None = None,
) -> Estimate:
    """Return energy and latency per inference on a target, with every constant used.

    Args:
        x: raw samples to count on, or the Counters of a run (enough where operations are counted;
            chips that bill packets between cores need samples).
        cost: one of the target's tables. conventions: how operations are counted.
        watch: called with the trace of each batch, states and all.
    """
    from .hw_targets.estimate import estimate as estimate_costs
    from .hw_targets.measure import measure
    from .sim.counters import Counters

    chip = _target(target)
    chip.cost(cost)
    if isinstance(x, Counters):
        return estimate_costs(graph, x, chip, cost=cost, conventions=conventions)
    x = samples_in(x)
    graph = _on(graph, x, encoding)
    measured = measure(
        graph,
        x,
        steps_for(graph, x, time_steps),
        chip,
        seed=seed,
        batch=batch,
        progress=progress,
        watch=watch,
    )
    return measured.estimate(cost, conventions)


@verb
def compare(
    graph: Graph,
    x: Array | Counters,
    target: str | Target = "generic-45nm",
    *,
    method: str | None = None,
    time_steps: int | None = None,
    encoding: str | None = None,
    seed: int = 0,
    batch: int = 64,
    conventions: Conventions | None = None,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Return the comparison with a quantised ANN of ceil(log2(T + 1)) bits, by several methods.

    Args:
        x: raw samples to count on, or the Counters of a run. target: whose cost tables price
            operations. method: table/dataflow that the verdict is by.
    """
    from .hw_targets.compare import DEFAULT
    from .hw_targets.compare import compare as compare_costs
    from .sim.counters import Counters
    from .sim.run import run as run_batches

    chip, chosen = _target(target), method or DEFAULT
    if not isinstance(x, Counters):
        x = samples_in(x)
        graph = _on(graph, x, encoding)
        x = run_batches(
            graph,
            x,
            steps_for(graph, x, time_steps),
            seed=seed,
            batch=batch,
            progress=progress,
        ).counters
    return compare_costs(graph, x, chip, method=chosen, conventions=conventions)


def _target(target: str | Target) -> Target:
    from .hw_targets.target import Target, load_target

    if isinstance(target, Target):
        return target
    if not isinstance(target, str):
        raise InputError(
            f"{target!r}, a name, a file or a Target is needed",
            node="target",
            remedy="see sw.targets()",
        )
    return load_target(target)


@report_verb
def report(
    graph: Graph,
    x: Array,
    path: str | Path,
    *,
    labels: Array | None = None,
    targets: Sequence[str | Target] = ("loihi1", "generic-45nm"),
    time_steps: int | None = None,
    encoding: str | None = None,
    executors: Sequence[str | Executor] | None = None,
    seed: int = 0,
    batch: int = 64,
    accuracies: Mapping[str, float | None] | None = None,
    source: Graph | None = None,
    bits: int | None = None,
    calibrate: Any = None,
    scale: ScaleRule | None = None,
    verification: Verification | None = None,
    force: bool = False,
) -> Path:
    """Write report.html (self-contained) and report.json beside it; return the page's path.

    What it says is what `run`, `verify`, `compare` say of `graph`, and `check` and `estimate` of
    the network on each target.

    Args:
        labels: of x, for the accuracy. accuracies: further ones to show, by name.
        source: the float graph that `graph` was lowered from; given it, each target is checked and
            costed on the network that `lower` makes of it for that target. Default: on `graph`.
        bits, calibrate, scale: as for `lower`; default: as `graph` was lowered.
        encoding, executors, seed, batch: of the comparison and the runs.
        verification: a comparison already made; default: `verify` on x.

    Raises:
        InputError: for calibration samples that `graph` does not remember, and see the verbs.
    """
    from .hw_targets.compare import compare as compare_costs
    from .hw_targets.report import write_report
    from .hw_targets.target import load_target
    from .sim.run import run as run_batches

    chosen = [_target(name) for name in targets]
    if not chosen:
        raise InputError("no target", node="targets", remedy="name one or more, e.g. loihi1")
    x = samples_in(x)
    labels, graph = labels_in(labels, len(x)), _on(graph, x, encoding)
    source = None if source is None else with_encoding(source, graph.input.encoding)
    steps = steps_for(graph, x, time_steps)
    how: dict[str, Any] = {"seed": seed, "batch": batch}
    networks = _on_targets(graph, source, chosen, bits, calibrate, scale, time_steps)
    found = run_batches(graph, x, steps, **how)
    proof = verification or verify(graph, x, executors, time_steps=steps, **how)
    return write_report(
        path,
        graph=graph,
        counters=found.counters,
        trace=_first(graph, x, steps, seed),
        verification=proof,
        comparison=compare_costs(graph, found.counters, load_target("generic-45nm")),
        targets=[_costed(on, x, time_steps, labels, how) for on in networks],
        accuracies={graph.level: found.accuracy(labels), **dict(accuracies or {})},
        force=force,
    )


def _first(graph: Graph, x: Array, steps: int | None, seed: int) -> Trace:
    """Return the spikes of the first sample: as in a run of all, whose doubts are said there."""
    from .sim.encode import encode
    from .sim.executor import executor, usual

    session = executor(usual(graph)).prepare(graph)
    return session.run(encode(graph, x[:1], steps, seed=seed), "spikes")


def _on_targets(
    graph: Graph,
    source: Graph | None,
    targets: Sequence[Target],
    bits: int | None,
    calibrate: Any,
    scale: ScaleRule | None,
    time_steps: int | None,
) -> list[tuple[Target, Graph | FitReport]]:
    """Return the network on each target, or the fit report of what its format cannot express."""
    if source is None:
        return [(target, graph) for target in targets]
    forms = [format_of(target, bits or _bits_asked(graph)) for target in targets]
    road = _road_of(graph, source, calibrate, scale, time_steps)
    return [(target, _either(road, form)) for target, form in zip(targets, forms, strict=True)]


def _bits_asked(graph: Graph) -> int | None:
    """Return the width of weights that an integer graph was lowered to, None if the usual one."""
    held = graph.profile
    if held is None or held.weight_bits == PROFILES.get(held.name, Profile()).weight_bits:
        return None
    return held.weight_bits


def _road_of(
    graph: Graph,
    source: Graph,
    calibrate: Any,
    scale: ScaleRule | None,
    time_steps: int | None,
) -> Road:
    """Return the road on which `graph` was lowered from `source`, to go it again.

    Args:
        calibrate, scale: None for those of `graph`, whose calibration holds for other formats too.
    """
    if graph.level != "integer":
        return Road(source, _samples(source, calibrate, time_steps), scale or "max")
    from .trainer.data import packaged

    known = Calibration.of(graph.metadata.get("calibration"))
    rule, remembered = scale or known.rule, packaged(known.data)
    if calibrate is None and not remembered and rule == known.rule:
        return Road(source, None, rule, known)
    given = known.data if calibrate is None and remembered else calibrate
    samples = _samples(source, given, time_steps)
    seen = (known.data, known.samples, known.time_steps, known.rule)
    same = seen == (samples.spec, len(samples.x), samples.time_steps, rule)
    return Road(source, samples, rule, known if same and remembered else None)


def _either(road: Road, form: Format) -> Graph | FitReport:
    try:
        return road.to(form)
    except LoweringError as error:
        return refusal(road.folded, form, error)


def _costed(
    on: tuple[Target, Graph | FitReport],
    x: Array,
    time_steps: int | None,
    labels: Array | None,
    how: Mapping[str, Any],
) -> OnTarget:
    """Return what a network does on a target: its fit, and what it costs by each table."""
    from .hw_targets.measure import measure
    from .hw_targets.report import OnTarget

    target, graph = on
    if not isinstance(graph, Graph):
        return OnTarget(target, graph)
    found = measure(graph, x, steps_for(graph, x, time_steps), target, **how)
    tables = tuple(target.costs) or (None,)
    return OnTarget(
        target,
        found.fit,
        graph,
        tuple(found.estimate(table) for table in tables),
        found.run.accuracy(labels),
        EVENT if found.run.executor == EVENT else "step",
    )


class Session(Printed):
    """A graph in use, step by step: state is kept between steps, as for live input.

    Steps of one frame each equal `run` on the same samples, in every output.

    Args:
        graph: of any level. executor, seed: as in `run`.
    """

    @verb
    def __init__(
        self, graph: Graph, executor: str | Executor | None = None, *, seed: int = 0
    ) -> None:
        from .sim.executor import executor as named
        from .sim.executor import usual

        chosen = executor or usual(graph)
        chosen = named(chosen) if isinstance(chosen, str) else chosen
        self.graph, self.seed = graph, seed
        self._executor, self._steps = chosen.name, 0
        self._session = chosen.prepare(graph)
        self._generators: list[np.random.Generator] = []

    def step(self, x_t: Array) -> Array:
        """Advance by one step of raw frames [batch, *shape]; return the readout y [batch, ...].

        Raises:
            InputError: for frames of another shape, or of another batch than the state's; for a
                network of the `latency` encoding, whose spikes depend on the number of steps.
        """
        from .sim.encode import encode

        frames = samples_in(x_t)
        self._check(frames)
        encoded = encode(self.graph, frames[:, None], 1, generators=self._generators)
        self._steps += 1
        return self._session.step(encoded[0])

    def _check(self, frames: Array) -> None:
        from .sim.encode import sample_generator

        name, node = self.graph.input_name, self.graph.input
        if node.encoding == "latency":
            remedy = "give its spikes as integers: a network lowered with --encode spikes"
            raise InputError("latency encoding needs all steps at once", node=name, remedy=remedy)
        if frames.shape[1:] != node.shape or not len(frames):
            wanted = ", ".join(["sample", *map(str, node.shape)])
            reason = f"a frame of shape {list(frames.shape)}, the network takes [{wanted}]"
            raise InputError(reason, node=name, remedy="reshape the data, or pick another network")
        if not self._generators:
            self._generators = [sample_generator(self.seed, k) for k in range(len(frames))]
        if len(frames) != len(self._generators):
            reason = f"a step of {len(frames)} samples, the state is of {len(self._generators)}"
            raise InputError(reason, node=name, remedy="call reset() first")

    def reset(self) -> None:
        """Forget all state; the next step is the first."""
        self._generators, self._steps = [], 0
        self._session.reset()

    def __str__(self) -> str:
        samples = len(self._generators)
        state = f"{self._steps} steps of {samples} samples" if self._steps else "at rest"
        return f"{self._executor}: {state}\n{self.graph}"
