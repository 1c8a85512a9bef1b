"""The arguments that commands share, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..export.ir import Graph
    from ..trainer.data import Dataset

Source = Annotated[
    str,
    typer.Argument(
        help="A shipped name (digits), .safetensors checkpoint, .spk, .nir, or file.py:factory.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Data = Annotated[
    str, typer.Option("--data", help="digits, npz:FILE, cifar10:DIR or imagefolder:DIR.")
]
MaybeData = Annotated[
    str | None,
    typer.Option("--data", help="digits, npz:FILE, cifar10:DIR or imagefolder:DIR."),
]
Split = Annotated[str, typer.Option("--split", help="train or test.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Use the first N samples.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Samples at a time.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything random.")]
TimeSteps = Annotated[
    int | None,
    typer.Option("-T", "--time-steps", min=1, help="Steps a sample; default: as trained."),
]
Encode = Annotated[
    str | None, typer.Option("--encode", help="direct, rate, latency, frames or spikes.")
]
Bits = Annotated[int | None, typer.Option("--bits", min=2, max=8, help="Width of the weights.")]
TargetName = Annotated[
    str | None, typer.Option("--target", help="A chip or number format; see `targets`.")
]
Calibrate = Annotated[
    str | None, typer.Option("--calibrate", help="DATA to calibrate on; default: as trained.")
]
Scale = Annotated[str, typer.Option("--scale", help="max, percentile or mse.")]
LevelName = Annotated[
    str | None, typer.Option("--level", help="float, folded or integer (the default).")
]
Weights = Annotated[Path | None, typer.Option("--weights", help="safetensors for file.py:factory.")]
InputShape = Annotated[
    str | None,
    typer.Option("--input", help="Sample shape for file.py:factory, e.g. 3,32,32."),
]
Dialect = Annotated[str, typer.Option("--dialect", help="How a NIR file is discretised.")]
Dt = Annotated[float | None, typer.Option("--dt", help="Time step of a NIR file, in seconds.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse what would be repaired.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Where to write.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Of the executor.")]


@dataclass(frozen=True, slots=True)
class Request:
    """How a SOURCE is to be read and lowered."""

    source: str
    bits: int | None = None
    target: str | None = None
    calibrate: str | None = None
    scale: str = "max"
    level: str | None = None
    weights: Path | None = None
    input_shape: str | None = None
    time_steps: int | None = None
    encode: str | None = None
    dialect: str = "portable"
    dt: float | None = None
    strict: bool = False

    def options(self) -> Any:
        """Return the options for reading the source."""
        from ..sources import SourceOptions

        return SourceOptions(
            weights=str(self.weights) if self.weights else None,
            input_shape=_shape(self.input_shape),
            time_steps=self.time_steps,
            encoding=self.encode or "direct",  # type: ignore[arg-type]
            dialect=self.dialect,
            dt=self.dt,
            strict=self.strict,
        )

    def read(self) -> Graph:
        """Return the source at the level it holds."""
        from ..sources import read_source

        return read_source(self.source, self.options())

    def graph(self) -> Graph:
        """Return the source lowered: as asked, else to integers unless it is .spk or .nir."""
        return self.lowered(self.read())

    def lowered(self, graph: Graph) -> Graph:
        """Return `graph` at the level asked for."""
        from .. import api

        level = self.level
        if level is None:
            held = self.source.endswith((".spk", ".nir"))
            asked = self.bits is not None or self.target is not None
            level = graph.level if held and not asked else "integer"
        return api.lower(
            graph,
            bits=self.bits or 8,
            target=self.target,
            calibrate=self.calibrate,
            scale=self.scale,  # type: ignore[arg-type]
            level=level,  # type: ignore[arg-type]
            time_steps=self.time_steps,
        )


def for_chip(
    target: str,
    source: str,
    bits: int | None,
    calibrate: str | None,
    weights: Path | None,
    input_shape: str | None,
    time_steps: int | None,
    encode: str | None,
) -> Request:
    """Return the request that lowers to a chip's number format, but leaves an .spk as it is."""
    return Request(
        source,
        bits,
        None if source.endswith(".spk") else target,
        calibrate,
        weights=weights,
        input_shape=input_shape,
        time_steps=time_steps,
        encode=encode,
    )


def _shape(text: str | None) -> tuple[int, ...] | None:
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


def data_of(graph: Graph, spec: str | None, split: str, limit: int | None) -> Dataset:
    """Return the samples asked for, else those the source was trained on."""
    from ..export.ir.errors import InputError

    spec = spec or graph.metadata.get("data")
    if spec is None:
        raise InputError("no data", node="--data", remedy="give --data DATA, e.g. digits")
    return load_data(str(spec), split, limit)
