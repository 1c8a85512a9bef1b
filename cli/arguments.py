"""The arguments that commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from .output import say

if TYPE_CHECKING:
    from ..export.ir import Graph
    from ..trainer.data import Dataset

Source = Annotated[
    str,
    typer.Argument(
        help="A shipped name (digits), .safetensors checkpoint, .spk, .nir, .onnx; file.py:factory",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Data = Annotated[
    str, typer.Option("--data", help="digits, npz:FILE, cifar10:DIR or imagefolder:DIR.")
]
MaybeData = Annotated[
    str | None,
    typer.Option(
        "--data", help="digits, npz:FILE, cifar10:DIR or imagefolder:DIR; default: as trained."
    ),
]
Split = Annotated[
    str | None, typer.Option("--split", help="train or test (the default), of data that has them.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Use the first N samples.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Samples at a time.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")]
TimeSteps = Annotated[
    int | None,
    typer.Option(
        "-T",
        "--time-steps",
        min=1,
        help="Steps a sample; default: as trained or traced, else the samples' own, else 4.",
    ),
]
Encode = Annotated[
    str | None, typer.Option("--encode", help="direct, rate, latency, frames or spikes.")
]
Bits = Annotated[
    int | None, typer.Option("--bits", min=2, max=8, help="Width of the weights; default 8.")
]
TargetName = Annotated[
    str | None, typer.Option("--target", help="A chip or number format; default: generic.")
]
Chip = Annotated[
    str, typer.Option("--target", help="A chip by name or .yaml file.", show_default=False)
]
Calibrate = Annotated[
    str | None,
    typer.Option(
        "--calibrate",
        help="DATA to calibrate on; default: as trained, else --data; its training split.",
    ),
]
Scale = Annotated[str, typer.Option("--scale", help="Of the weights: max, percentile or mse.")]
LevelName = Annotated[
    str | None, typer.Option("--level", help="float, folded or integer (the default).")
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="State dict (.safetensors, .pt, .pth) for file.py:factory."),
]
InputShape = Annotated[
    str | None,
    typer.Option("--input", help="Sample shape for file.py:factory, e.g. 3,32,32."),
]
Dialect = Annotated[
    str | None,
    typer.Option(
        "--dialect",
        help="Of NIR files, whose time steps: portable, norse, snntorch, spikingjelly, sinabs ...",
    ),
]
Dt = Annotated[float | None, typer.Option("--dt", help="Time step of NIR files, in seconds.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse what NIR files cannot say.")]
Convert = Annotated[
    str | None,
    typer.Option("--convert", help="relu: an ordinary .onnx network, its ReLUs as neurons."),
]
Differences = Annotated[
    str,
    typer.Option(
        "--differences",
        help="error, or warn: where a live module computes something else than its graph.",
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", help="Where to write.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Of the executor.")]


_FLAGS = {"input_shape": "--input"}


def flag(name: str) -> str:
    """Return an option of reading as it is typed."""
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


@dataclass(frozen=True, slots=True)
class Request:
    """How a SOURCE is to be read and lowered."""

    source: Source
    bits: Bits = None
    target: TargetName = None
    calibrate: Calibrate = None
    scale: Scale = "max"
    level: LevelName = None
    time_steps: TimeSteps = None
    encode: Encode = None
    weights: Weights = None
    input_shape: InputShape = None
    dialect: Dialect = None
    dt: Dt = None
    strict: Strict = False
    convert: Convert = None
    differences: Differences = "error"

    @property
    def lowers(self) -> bool:
        """Whether a level or a number format was asked for."""
        return any(value is not None for value in (self.level, self.bits, self.target))

    def on(self, executors: Iterable[str], graph: Graph) -> Request:
        """Return the request with Lava's number format, if Lava is among the executors.

        A target that was asked for, and the format of an .spk and of integers, stay.

        Args:
            graph: as it was read from this source.
        """
        held = graph.level == "integer" or self._kind == ".spk"
        stays = held or self.level in ("float", "folded")
        if "lava" not in executors or stays or self.target is not None:
            return self
        return replace(self, target="loihi2")

    @property
    def _kind(self) -> str:
        from ..option_rules import kind_of

        return kind_of(self.source)

    def read(self, samples: Samples | None = None) -> Graph:
        """Return the source at the level it holds.

        An ONNX network takes its thresholds from --calibrate, else from `samples`.
        """
        from ..export.formats.nir_discretise import told
        from ..export.ir.errors import InputError
        from ..option_rules import refuse_idle
        from ..sources import SourceOptions, read_source

        refuse_idle(self.source, self._given(), flag)
        if self.dt is not None and not 0 < self.dt < float("inf"):
            raise InputError(f"--dt {self.dt}, allowed above 0", remedy="give seconds, e.g. 1e-3")
        options = SourceOptions(
            weights=str(self.weights) if self.weights else None,
            input_shape=shape_of(self.input_shape),
            time_steps=self.time_steps,
            encoding=self.encode,  # type: ignore[arg-type]
            dialect=self.dialect,
            dt=self.dt,
            strict=self.strict,
            convert=self.convert,
            calibrate=self.calibrate or (samples.data if samples else None),
            differences=self.differences,  # type: ignore[arg-type]
        )
        graph = read_source(self.source, options)
        if "dt_from" in graph.metadata:
            say(f"{self.source}: {told(graph.metadata)}")
        return graph

    def deciding(self, graph: Graph) -> str | None:
        """Return the calibration DATA of a graph that is not lowered: it decides its encoding."""
        from ..export.ir.graph import ENCODING_ASSUMED

        return self.calibrate if graph.metadata.get(ENCODING_ASSUMED) else None

    def _given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults."""
        found = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in found.items() if value != default}

    def graph(self, samples: Samples | None = None, executors: Iterable[str] = ()) -> Graph:
        """Return the source lowered: as asked, else to integers unless it is .spk or .nir.

        Where neither --calibrate nor the source says what to calibrate on, it is the training
        split of `samples`.

        Args:
            executors: that it will run on: Lava takes its own number format alone.
        """
        graph = self.read(samples)
        return self.on(executors, graph).lowered(graph, samples)

    def lowered(self, graph: Graph, samples: Samples | None = None) -> Graph:
        """Return `graph`, read from this source, as `graph()` does."""
        if self._kind in (".spk", ".nir"):
            return self.inspected(graph, samples)
        return self._at(graph, self.level or "integer", self.target, samples)

    def inspected(self, graph: Graph, samples: Samples | None = None) -> Graph:
        """Return `graph` at its own level, unless a level or a number format was asked for."""
        level = self.level or ("integer" if self.lowers else graph.level)
        return self._at(graph, level, self.target, samples)

    def graph_for(self, chip: str, samples: Samples | None = None) -> Graph:
        """Return the source in a chip's number format; integers as they are."""
        return self.for_chip(self.read(samples), chip, samples)

    def for_chip(self, graph: Graph, chip: str, samples: Samples | None = None) -> Graph:
        """Return `graph`, read from this source, as `graph_for` does."""
        lowers = self.lowers_for_chips(graph)
        level = "integer" if lowers else self.level or graph.level
        return self._at(graph, level, chip if lowers else None, samples)

    def lowers_for_chips(self, graph: Graph) -> bool:
        """Whether each chip gets integers of its own: not of integers, nor at another level."""
        return (self.level or "integer") == "integer" and graph.level != "integer"

    def calibration(self, graph: Graph, samples: Samples | None) -> str | None:
        """Return the DATA to calibrate on: as asked, else as trained, else the samples' own."""
        from ..trainer.data import packaged

        trained = graph.metadata.get("data")
        known = self.calibrate or (str(trained) if trained and packaged(str(trained)) else None)
        return known or (samples.data if samples else None)

    def _at(self, graph: Graph, level: str, target: str | None, samples: Samples | None) -> Graph:
        from .. import api
        from ..export.ir.graph import ENCODING_ASSUMED
        from ..option_rules import refuse_unlowered

        refuse_unlowered(graph, level, self._given(), self.source, flag)
        if graph.level == "integer" or level != "integer":
            data = self.deciding(graph)
            found = api.lower(graph, bits=self.bits, target=target, calibrate=data, level=level)  # type: ignore[arg-type]
        else:
            data = self.calibration(graph, samples)
            found = api.lower(
                graph,
                bits=self.bits,
                target=target,
                calibrate=data,
                scale=self.scale,  # type: ignore[arg-type]
                time_steps=self.time_steps,
            )
        if graph.metadata.get(ENCODING_ASSUMED) and data is not None:
            _say_encoding(found.input.encoding, data)
        return found


@dataclass(frozen=True, slots=True)
class Samples:
    """Which samples a command takes, and how many at a time."""

    data: MaybeData = None
    split: Split = None
    limit: Limit = None
    batch: Batch = 64
    seed: Seed = 0

    def of(self, graph: Graph, *, seeded: bool = False) -> Dataset:
        """Return the samples asked for, else those that the source was trained on.

        Args:
            seeded: whether the command draws anything but spikes with the seed.
        """
        from ..export.ir.errors import InputError
        from ..export.ir.graph import ENCODING_ASSUMED
        from ..sim.encoding import shown
        from ..trainer.data import packaged

        trained = graph.metadata.get("data")
        if self.data is None and not (trained and packaged(str(trained))):
            place = "" if ":" in str(trained) else ":PATH"
            example = f"{trained}{place}" if trained else "digits"
            raise InputError("no data", node="--data", remedy=f"give --data DATA, e.g. {example}")
        data = self._load(self.data or str(trained))
        if graph.metadata.get(ENCODING_ASSUMED):
            _say_encoding(shown(graph, data.x), str(self.data or trained))
        if self.seed and not seeded:
            self._refuse_idle_seed(graph, data)
        _say_time(graph, data)
        return data

    def _refuse_idle_seed(self, graph: Graph, data: Dataset) -> None:
        from ..export.ir.errors import InputError
        from ..sim.encoding import entered, is_random

        read = entered(graph, data.x)
        if not is_random(read, data.x):
            kind = read.input.encoding
            reason = f"--seed {self.seed} cannot act here, nothing is random: encoding {kind}"
            spikes = " of integers" if kind == "rate" else ""
            raise InputError(
                f"{reason}{spikes}", node=data.name, remedy="leave it out, or give --encode rate"
            )

    def _load(self, spec: str) -> Dataset:
        from ..export.ir.errors import InputError
        from ..trainer.data import undivided

        if self.split is not None and undivided(spec):
            raise InputError(
                f"--split {self.split} cannot act here, the data has no test split",
                node=spec,
                remedy="leave it out to take all samples, or save test samples apart (x_test)",
            )
        return load_data(spec, self.split or "test", self.limit)


class HeldOut(Samples):
    """Samples to judge what was calibrated on others: of undivided data the held-out tenth."""

    def _load(self, spec: str) -> Dataset:
        from ..export.ir.errors import InputError
        from ..trainer.data import load_splits, undivided

        split = self.split or "test"
        if split == "test" and undivided(spec):
            try:
                return load_splits(spec, self.limit)[1]
            except InputError:
                say(f"note: {spec} has too few samples to hold any out; measuring on all")
        return load_data(spec, split, self.limit)


def _say_time(graph: Graph, data: Dataset) -> None:
    """Say the T of samples without a time axis that nobody asked for."""
    from ..export.ir.graph import DEFAULT_TIME_STEPS

    timed = data.x.ndim == len(graph.input.shape) + 2
    if not timed and not graph.metadata.get("time_steps"):
        say(f"T = {DEFAULT_TIME_STEPS} (default; -T changes it)")


def _say_encoding(encoding: str, data: str) -> None:
    say(f"encoding {encoding}, as {data} shows (--encode to choose)")


LAST = ("force", "json")


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` with each parameter that is a dataclass as the options it consists of.

    An option that the command declares itself is left to it.
    """
    hints = get_type_hints(command, include_extras=True)
    given: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    own = {name: p for name, p in signature(command).parameters.items() if name not in given}
    options: dict[str, dict[str, Parameter]] = {
        name: {k: p for k, p in _options(group).items() if k not in own}
        for name, group in given.items()
    }

    def called(**values: Any) -> None:
        groups = {
            name: group(**{k: values.pop(k) for k in options[name]})
            for name, group in given.items()
        }
        command(**groups, **values)

    parameters = {k: p.replace(annotation=hints[k]) for k, p in own.items()}
    for group in options.values():
        parameters |= group
    ordered = sorted(parameters.values(), key=lambda p: (p.name in LAST, p.name != "source"))
    keyword_only = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in ordered]
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__annotations__ = {p.name: p.annotation for p in keyword_only}
    called.__signature__ = signature(command).replace(parameters=keyword_only)  # type: ignore[attr-defined]
    return called


def _options(group: type[Any]) -> dict[str, Parameter]:
    hints = get_type_hints(group, include_extras=True)
    defaults = signature(group).parameters
    return {f.name: defaults[f.name].replace(annotation=hints[f.name]) for f in fields(group)}


def shape_of(text: str | None) -> tuple[int, ...] | None:
    """Return ``3,32,32`` as a tuple."""
    if text is None:
        return None
    try:
        shape = tuple(int(n) for n in text.replace("x", ",").split(","))
    except ValueError:
        shape = ()
    from ..export.ir.errors import InputError

    if not shape or min(shape) < 1:
        raise InputError(f"{text!r} is not a shape", node="--input", remedy="write e.g. 3,32,32")
    return shape


def load_data(spec: str, split: str, limit: int | None) -> Dataset:
    """Return the samples of a DATA spec."""
    from ..trainer.data import load

    return load(spec, split, limit)
