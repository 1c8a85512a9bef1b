"""`export`: a network as NIR, ONNX or Lava HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import arguments as a
from .output import emit_json, say

To = Annotated[str, typer.Option("--to", help="nir, onnx or lava.")]
Arithmetic = Annotated[
    str, typer.Option("--arithmetic", help="Of ONNX: auto, integer or exact-float.")
]
Inline = Annotated[bool, typer.Option("--inline", help="ONNX without functions of our domain.")]
SUFFIXES = {"nir": ".nir", "onnx": ".onnx", "lava": ".net"}


def command(
    source: a.Source,
    to: To,
    out: a.Out,
    arithmetic: Arithmetic = "auto",
    inline: Inline = False,
    dialect: a.Dialect = "portable",
    dt: a.Dt = None,
    strict: a.Strict = False,
    bits: a.Bits = None,
    target: a.TargetName = None,
    calibrate: a.Calibrate = None,
    level: a.LevelName = None,
    time_steps: a.TimeSteps = None,
    weights: a.Weights = None,
    input_shape: a.InputShape = None,
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Write a network in another tool's format.

    ONNX writes two files: OUT steps once with explicit states, OUT with .scan before the suffix
    runs any number of time steps.
    """
    from ..export.ir.errors import UnknownNameError

    if to not in SUFFIXES:
        raise UnknownNameError.of("format", to, SUFFIXES)
    if to == "lava" and target is None and not source.endswith(".spk"):
        target = "loihi2"
    request = a.Request(
        source, bits, target, calibrate, "max", level, weights, input_shape, time_steps
    )
    graph = request.graph()
    files, warnings = write_all(graph, to, out, force, arithmetic, inline, dialect, dt, strict)
    if json:
        emit_json("export", {"files": files, "warnings": warnings})
        return
    for warning in warnings:
        say(f"warning: {warning}")
    for file in files:
        print(f"wrote {file}")


def write_all(
    graph: Any,
    to: str,
    out: Path,
    force: bool,
    arithmetic: str = "auto",
    inline: bool = False,
    dialect: str = "portable",
    dt: float | None = None,
    strict: bool = False,
) -> tuple[list[str], list[str]]:
    """Write every file of a format; return their paths and the warnings."""
    from ..export.formats.atomic import refuse_overwrite
    from ..export.ir.errors import UnknownNameError

    if to == "onnx":
        from ..export.formats.onnx import write_onnx
        from ..export.formats.onnx_exact import ARITHMETICS

        if arithmetic not in ARITHMETICS:
            raise UnknownNameError.of("arithmetic", arithmetic, ARITHMETICS)
        scan = out.with_name(f"{out.stem}.scan{out.suffix}")
        for path in (out, scan):
            refuse_overwrite(path, force=force)
        for path, form in ((out, "step"), (scan, "scan")):
            write_onnx(graph, path, form, arithmetic, inline=inline, force=force)  # type: ignore[arg-type]
        return [str(out), str(scan)], []
    if to == "nir":
        from ..export.formats.nir_out import write_nir

        return [str(out)], write_nir(graph, out, dialect=dialect, dt=dt, strict=strict, force=force)
    from ..export.formats.lava import write_lava

    write_lava(graph, out, force=force)
    return [str(out)], []
