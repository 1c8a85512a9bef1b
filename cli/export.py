"""`export`: a network as NIR, ONNX or Lava HDF5."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from . import arguments as a
from .output import emit_json, say, say_written

To = Annotated[str, typer.Option("--to", help="nir, onnx or lava.", show_default=False)]
Arithmetic = Annotated[
    str, typer.Option("--arithmetic", help="Of ONNX: auto, integer or exact-float.")
]
Inline = Annotated[bool, typer.Option("--inline", help="ONNX without functions of our domain.")]
FORMATS = ("nir", "onnx", "lava")


@a.with_groups
def command(
    request: a.Request,
    to: To,
    out: a.Out,
    arithmetic: Arithmetic = "auto",
    inline: Inline = False,
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Write a network in another tool's format.

    ONNX writes two files: OUT steps once with explicit states, OUT with .scan before the suffix
    runs any number of time steps. For lava a network is lowered to the number format of loihi2.
    From NIR to NIR, --dialect and --dt are those written; to choose how it is read, lower it first.
    """
    from ..export.formats.atomic import refuse_overwrite, refuse_suffix
    from ..export.formats.writers import SUFFIXES, write_as
    from ..export.ir.errors import InputError, UnknownNameError
    from ..option_rules import kind_of

    if to not in FORMATS:
        raise UnknownNameError.of("format", to, FORMATS)
    refuse_suffix(out, f"a file of {to}", SUFFIXES[to])
    refuse_overwrite(out, force=force)
    if to != "onnx" and (arithmetic != "auto" or inline):
        option = "--inline" if inline else f"--arithmetic {arithmetic}"
        raise InputError(f"{option} cannot act on --to {to}, only on --to onnx", node="export")
    kind = kind_of(request.source)
    stays = kind == ".spk" or request.level in ("float", "folded")
    if to == "lava" and request.target is None and not stays:
        request = replace(request, target="loihi2")
    options: dict[str, dict[str, Any]] = {
        "onnx": {"arithmetic": arithmetic, "inline": inline},
        "nir": {
            "dialect": request.dialect or "portable",
            "dt": request.dt,
            "strict": request.strict,
        },
    }
    if to == "nir":
        # Dialect and dt are those of the file that is written; strict is of both.
        strict = request.strict and kind == ".nir"
        request = replace(request, dialect=None, dt=None, strict=strict)
    written = write_as(to, request.graph(), out, force=force, **options.get(to, {}))
    if json:
        files = [str(file) for file in written.files]
        emit_json("export", {"files": files, "warnings": list(written.warnings)})
        return
    for warning in written.warnings:
        say(f"warning: {warning}")
    say_written(*written.files)
