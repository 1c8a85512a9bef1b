"""Sources: whatever a user names, as a graph. Names, checkpoints, archives, NIR files, own code."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from .export.ir import (
    FormatError,
    Graph,
    InputError,
    LoweringError,
    MissingPackageError,
    SpikewrightError,
    UnknownNameError,
)
from .export.ir.errors import WITH_TORCH, AgreementWarning, warn
from .export.ir.graph import DEFAULT_TIME_STEPS
from .export.ir.missing import missing_file
from .export.ir.nodes import Encoding
from .export.ir.noted import Differences
from .export.ir.table import dense_macs
from .export.untrained import doubt_weights
from .option_rules import HDF5, refuse_idle
from .sim.encoding import with_encoding

if TYPE_CHECKING:
    from .export.foreign import Time
    from .export.layout import Layout
    from .export.trace import Followed
    from .sim.agreement import Agreement

CONVERTED_TIME_STEPS = 32
"""Of a converted network, whose rates need time to tell values apart."""
CONVERSION_SAMPLES = 256


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a source may need beside its name.

    Attributes:
        weights: a state dict (safetensors, .pt, .pth) for the module of a ``file.py:factory``.
        input_shape: of one sample, for the same. time_steps: T of the example input.
        encoding: how samples become values, None for the network's own.
        dialect, dt, strict: of a NIR file.
        convert: of an ONNX file, `relu`. calibrate: DATA on which its thresholds are found.
        differences: between a live module's own run and its graph's: `error`, or `warn` of them.
    """

    weights: str | None = None
    input_shape: tuple[int, ...] | None = None
    time_steps: int | None = None
    encoding: Encoding | None = None
    dialect: str | None = None
    dt: float | None = None
    strict: bool = False
    convert: str | None = None
    calibrate: str | None = None
    differences: Differences = "error"


def read_source(spec: str, options: SourceOptions | None = None) -> Graph:
    """Return the graph that `spec` names, at the level it holds.

    Its metadata says `source`, and where known `time_steps` (of the training) and `data`.

    Raises:
        UnknownNameError: for a name that is neither shipped nor a file.
        FormatError, LoweringError, InputError: for what cannot be read or traced.
    """
    options = options or SourceOptions()
    if options.differences not in get_args(Differences):
        raise UnknownNameError.of("differences", options.differences, get_args(Differences))
    suffix = Path(spec).suffix.lower()
    if ".py:" in spec:
        return as_asked(_own_code(spec, options), options)
    reader = READERS.get(suffix)
    if reader is not None:
        return as_asked(reader(spec, options), options)
    if suffix == ".py":
        raise _no_factory(spec)
    return _checkpoint(spec, options)


def _no_factory(spec: str) -> SpikewrightError:
    """Return the refusal of code without the name of what makes the network: which it could be."""
    from .trainer.own_code import factories_in

    if not Path(spec).is_file():
        return missing_file(Path(spec), "a .py file")
    names = factories_in(spec)
    one = names[0] if names else "FACTORY"
    which = f"one of {', '.join(names)}" if names[1:] else "what makes it"
    reason, remedy = "Python code, but not which network in it", f"write {spec}:{one}, {which}"
    return InputError(reason, node=spec, remedy=remedy)


def as_asked(graph: Graph, options: SourceOptions) -> Graph:
    """Return a graph with the encoding and the T that were asked for, whatever it was read from.

    Raises:
        InputError: for integers that cannot take the encoding.
    """
    graph = with_encoding(graph, options.encoding)
    if options.time_steps is None:
        return graph
    return graph.replace(metadata={**graph.metadata, "time_steps": options.time_steps})


def _archive(spec: str, options: SourceOptions) -> Graph:
    from .export.formats.archive import read_archive

    return read_archive(spec)


def _nir(spec: str, options: SourceOptions) -> Graph:
    from .export.formats.nir_in import read_nir

    return read_nir(spec, options.dialect, dt=options.dt, strict=options.strict)


def _onnx(spec: str, options: SourceOptions) -> Graph:
    """An ordinary network; its thresholds are what its layers reach on samples."""
    from .export.formats.onnx_activations import largest_activations
    from .export.formats.onnx_in import read_onnx

    data = options.calibrate

    def measure(model: Any, tensors: list[str]) -> Mapping[str, float]:
        from .trainer.data import load_training

        assert data is not None
        return largest_activations(model, tensors, load_training(data, CONVERSION_SAMPLES).x)

    graph = read_onnx(
        spec,
        options.convert,
        measure=measure if data else None,
        input_shape=options.input_shape,
    )
    steps = options.time_steps or (CONVERTED_TIME_STEPS if options.convert else None)
    known = {"source": Path(spec).name, "time_steps": steps, "data": data}
    given = {key: value for key, value in known.items() if value is not None}
    return graph.replace(metadata={**graph.metadata, **given})


def _lava(spec: str, options: SourceOptions) -> Graph:
    from .export.formats.lava_in import read_lava

    return read_lava(spec)


def _hdf5(spec: str, options: SourceOptions) -> Graph:
    """NIR or Lava's HDF5: the former has a group `node`."""
    from .export.formats.hdf5 import top_names

    try:
        is_nir = "node" in top_names(spec)
    except FormatError:
        is_nir = True  # whose reader says what is wrong
    if is_nir:
        return _nir(spec, options)
    given = [n for n in ("dialect", "dt", "strict") if getattr(options, n) not in (None, False)]
    refuse_idle(spec, given, lambda name: f"--{name}", ".net")
    return _lava(spec, options)


def _weights(spec: str, options: SourceOptions) -> Graph:
    """Refuse weights without the network that they are of."""
    if not Path(spec).is_file():
        raise missing_file(Path(spec), "a file of weights")
    raise InputError(
        "weights alone do not say what is computed with them",
        node=spec,
        remedy=f"give the code that builds the network: file.py:factory --weights {spec}",
    )


WEIGHTS = (".pt", ".pth", ".bin", ".ckpt")
"""What files of torch are called."""

READERS: dict[str, Callable[[str, SourceOptions], Graph]] = {
    ".spk": _archive,
    ".nir": _nir,
    ".onnx": _onnx,
    ".net": _lava,
    **dict.fromkeys(HDF5, _hdf5),
    **dict.fromkeys(WEIGHTS, _weights),
}


def _checkpoint(spec: str, options: SourceOptions) -> Graph:
    """A shipped name or a checkpoint of ours: the graph shipped beside it, or traced."""
    from .trainer import checkpoint

    try:
        checkpoint.resolve(spec)
    except UnknownNameError as error:
        raise _no_source(spec, error) from None
    graph = checkpoint.shipped_graph(spec)
    if graph is not None:
        if options.differences != "error":
            reason = "--differences cannot act here, the float graph is shipped, not traced"
            raise InputError(reason, node=spec, remedy="leave it out")
        return as_asked(_archive(str(graph), options), options)
    return traced_checkpoint(spec, options)


def _no_source(spec: str, error: UnknownNameError) -> SpikewrightError:
    if spec in _architectures():
        remedy = "name a checkpoint (see models), or train one: spikewright train pretrain"
        return InputError("an architecture without weights", node=spec, remedy=remedy)
    return UnknownNameError(
        "no such source",
        node=spec,
        remedy=f"{error.remedy}; or give a .safetensors, .spk or .nir file, or file.py:factory",
    )


def traced_checkpoint(spec: str, options: SourceOptions | None = None) -> Graph:
    """Return the float graph of a checkpoint, by name or path: its module, rebuilt and traced.

    Raises:
        MissingPackageError: without torch. FormatError: for what is no checkpoint of ours.
    """
    from .trainer import checkpoint

    options = options or SourceOptions()
    card = checkpoint.read_card(spec)
    need_torch("rebuild a checkpoint's network")
    module, _ = checkpoint.load(spec)
    metadata = {
        "source": spec if spec in checkpoint.shipped() else Path(spec).name,
        "model": card.model,
        "data": card.data,
        "training": {"command": card.command, "seed": card.seed, **dict(card.accuracies)},
    }
    steps, encoding = options.time_steps, options.encoding
    shape = module.input_shape
    return trace_module(module, shape, steps, encoding, metadata, options.differences)


def _architectures() -> Collection[str]:
    if importlib.util.find_spec("torch") is None:
        return ()
    from .trainer.models import MODELS

    return MODELS


def need_torch(purpose: str) -> None:
    """Raise MissingPackageError where torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise MissingPackageError.of("torch", purpose, WITH_TORCH)


def encoding_of(module: Any) -> Encoding:
    """Return how a module says that samples enter it: its attribute `encoding`, else direct."""
    held = getattr(module, "encoding", None)
    return cast(Encoding, held) if held in get_args(Encoding) else "direct"


def trace_module(
    module: Any,
    input_shape: tuple[int, ...],
    time_steps: int | None,
    encoding: Encoding | None,
    metadata: dict[str, Any],
    differences: Differences | None = "error",
) -> Graph:
    """Return the float graph of a module, traced on an example of `input_shape`.

    Its T is that asked for, else that of a loop in forward(), else the module's `time_steps`;
    where nobody says it has none, and takes that of its samples.

    Args:
        encoding: None for the module's own. differences: None: not looked for.
    """
    said = getattr(module, "time_steps", None)
    tried = int(time_steps or said or DEFAULT_TIME_STEPS)
    kind = encoding or encoding_of(module)
    try:
        graph, followed = _traced(module, input_shape, tried, kind, batch=1)
    except LoweringError as refused:
        # Of a batch of one a view cannot tell the batch from the time that it is folded with.
        try:
            graph, followed = _traced(module, input_shape, tried, kind, batch=2 + (tried == 2))
        except LoweringError:
            raise refused from None
    layout = followed.layout
    known = dict(graph.metadata)
    traced = known.pop("time_steps", None)
    # On a time axis the example has as many steps as were tried: they say nothing of the module.
    own = traced if layout.order == "step" or layout.own else None
    steps = time_steps or own or said
    known |= {} if steps is None else {"time_steps": int(steps)}
    graph = graph.replace(metadata={**known, **metadata})
    return graph if differences is None else compared(graph, followed, tried, differences)


def _traced(
    module: Any, input_shape: tuple[int, ...], time_steps: int, encoding: Encoding, batch: int
) -> tuple[Graph, Followed]:
    from .export.trace import graph_of

    followed = _followed(module, input_shape, time_steps, batch)
    return graph_of(followed, encoding=encoding), followed


def _followed(module: Any, input_shape: tuple[int, ...], time_steps: int, batch: int) -> Followed:
    """Follow a module on noise as it takes it, on its device."""
    import torch

    from .export.trace import follow

    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    noise = torch.Generator().manual_seed(0)

    def example(*lead: int) -> Any:
        return torch.rand(*lead, *input_shape, generator=noise).to(like)

    *likely, last = _leads(module, time_steps, batch)
    for order, lead in likely:
        followed = follow(module, example(*lead))
        if followed.layout.order == order:
            return followed
    return follow(module, example(*last[1]))


def _leads(module: Any, time_steps: int, batch: int) -> list[tuple[Time, tuple[int, ...]]]:
    """Return how a module may take time, and the leading axes of an example then."""
    from .export.layout import fixed_size, squeezed_layer

    layer = squeezed_layer(module)
    if layer is not None:
        steps = fixed_size(layer, "num_timesteps") or time_steps
        return [("squeezed", (steps * (fixed_size(layer, "batch_size") or batch),))]
    return [
        ("steps", (time_steps, batch)),
        ("batch first", (batch, time_steps)),
        ("step", (batch,)),
    ]


def compared(
    graph: Graph, followed: Followed, time_steps: int, differences: Differences = "error"
) -> Graph:
    """Note in the metadata how a float graph agrees with the own run of the module followed.

    Args:
        time_steps: how often a module of one step a call is given its example.
        differences: `error`, or `warn` of those that rounding does not explain.

    Warns:
        AgreementWarning: of spikes that rounding decided otherwise, and where no neuron spiked.

    Raises:
        LoweringError: for any other difference, naming the layer, the step and the neuron.
    """
    module = followed.module
    found = agreement_of(graph, module, followed.sample, followed.layout, time_steps)
    name = type(module).__name__
    if found.fault is not None and differences == "error":
        raise LoweringError(
            f"{name} computes something else than its graph: {found.fault}",
            node=found.fault.layer,
            remedy="give what computes it a layer with a to_node(shape) method, or go on with "
            'differences="warn" (--differences warn)',
        )
    if found.fault is not None:
        said = f"{name} computes something else than its graph: {found.fault.layer}"
        warn(f"{said}: {found.fault}", AgreementWarning)
    if not found.equal:
        said = f"{name}: {found.differ:.3%} of its spikes differ between its own run and ours"
        where = ", ".join(f"{n} {share:.3%}" for n, share in found.by_neuron.items() if share)
        warn(f"{said} ({where}), {found.rounded} decided by rounding", AgreementWarning)
    warn_if_silent(name, found)
    noted = {
        "differ": found.differ,
        "spike_rate": found.spike_rate,
        "by_neuron": dict(found.by_neuron),
        "rounded": found.rounded,
        "outputs": found.outputs,
        "silent": list(found.silent),
    }
    return graph.replace(metadata={**graph.metadata, "agreement": noted})


def warn_if_silent(name: str, agreement: Agreement) -> None:
    """Warn where none of a module's neurons spiked, so that nothing behind one was compared."""
    if agreement.by_neuron and not agreement.spike_rate:
        warn(
            f"{name}: no neuron spiked in the comparison with its own run, so what it does with a "
            "spike was not compared; give an example input that makes it spike",
            AgreementWarning,
        )


COMPARED_SAMPLES = 8
MOST_COMPARED = 256
"""Of how many samples a whole example is run where a part of it seems to differ."""
COMPARED_BYTES = 1 << 29
"""What may be noted of neurons, by a module's own run and ours: of a large network fewer."""
COMPARED_MACS = 1 << 34
"""What one run of the samples may multiply: of a large network fewer are compared."""


def _samples_compared(graph: Graph, time_steps: int) -> int:
    """Return on how many samples a module's own run is compared: of currents, spikes and ours."""
    neurons = sum(prod(node.shape) for node in graph.neurons.values())
    macs = sum(dense_macs(graph, name) for name in graph.nodes)
    noted, multiplied = 12 * neurons * time_steps, macs * time_steps
    fits = COMPARED_BYTES // max(1, noted), COMPARED_MACS // max(1, multiplied)
    return max(1, min(COMPARED_SAMPLES, *fits))


def agreement_of(
    graph: Graph, module: Any, sample: Any, layout: Layout, time_steps: int
) -> Agreement:
    """Return how a float or folded graph agrees with a module's own run on an example input."""
    from .export.own_run import own_run
    from .export.torch_ops import TORCH_OPERATIONS
    from .sim.agreement import agreement

    def on(most: int) -> Agreement:
        own = own_run(module, sample, layout, time_steps, most)
        operations = TORCH_OPERATIONS
        return agreement(graph, own.values, own.neurons, own.output, operations, own.at_once)

    few, every = _samples_compared(graph, time_steps), len(layout.samples(sample))
    found = on(few)
    # A forward() that fixes its batch computes something else of a part of its example.
    return on(every) if found.fault is not None and few < every <= MOST_COMPARED else found


def _own_code(spec: str, options: SourceOptions) -> Graph:
    """Run the user's own file, because the user asked to."""
    path, _, name = spec.rpartition(":")
    found = own_object(spec, options.weights)
    if isinstance(found, Graph):
        return found
    shape = _sample_shape(spec, found, options)
    if shape is None:
        raise InputError(
            "the shape of one sample is not known", node=spec, remedy="give --input C,Y,X"
        )
    doubt_weights(found)
    metadata = {"source": f"{Path(path).name}:{name}"}
    steps, encoding = options.time_steps, options.encoding
    return trace_module(found, tuple(shape), steps, encoding, metadata, options.differences)


def _sample_shape(spec: str, module: Any, options: SourceOptions) -> tuple[int, ...] | None:
    """Return the shape of one sample: as asked, as the module says, else that of the data.

    Raises:
        InputError: for a shape asked for that the data do not have.
    """
    said = options.input_shape or getattr(module, "input_shape", None)
    if options.calibrate is None or (said is not None and options.input_shape is None):
        return said
    from .trainer.data import load_training

    lies = load_training(options.calibrate, 1).sample_shape
    timed = (options.encoding or encoding_of(module)) in ("spikes", "frames")
    if said is None:
        shape = lies[1:] if timed and len(lies) > 1 else lies
        if len(shape) in (2, 4):  # as often time and then the shape
            also = ",".join(map(str, shape[1:]))
            warn(
                f"{options.calibrate}: samples of shape {shape} are read as static; give --input "
                f"{also} if their first axis is time"
            )
        return shape
    if said not in (lies, lies[1:]):
        raise InputError(
            f"--input {','.join(map(str, said))}, the samples of {options.calibrate} have the "
            f"shape {','.join(map(str, lies))}",
            node=spec,
            remedy="leave --input out, or give other data",
        )
    return said


def own_object(spec: str, weights: str | None = None) -> Any:
    """Return what the factory of ``file.py:factory`` makes: a torch module or a Graph.

    Args:
        weights: a state dict for the module: safetensors, or a torch file of tensors.

    Raises:
        InputError: for code that raises, or returns anything else.
        FormatError: for a file that is missing, or weights that do not fit.
    """
    from .export.unwrap import unwrapped
    from .trainer.own_code import call_own

    found = call_own(spec)
    if isinstance(found, Graph):
        if weights is not None:
            raise InputError("--weights cannot act here, it returned a Graph", node=spec)
        return found
    try:
        module = unwrapped(found)
    except InputError as error:
        raise InputError(f"returned {error.reason}", node=spec, remedy=error.remedy) from None
    if weights is not None:
        from .trainer.state_dicts import load_weights

        load_weights(module, weights)
    return module
