"""`check`: does a network fit a chip."""

from __future__ import annotations

import typer

from . import arguments as a
from .output import emit_json


@a.with_groups
def command(request: a.Request, target: a.Chip, json: a.Json = False) -> None:
    """Check a network against every published limit of a chip; exit code 1 when it does not fit,
    or when that is not known.

    A network that is not integer yet is lowered to the chip's number format first; what that format
    cannot express is a violation, too.
    """
    from .. import api
    from ..export.ir.errors import LoweringError
    from ..hw_targets.target import load_target
    from ..integers import format_of, refusal

    chip, read = load_target(target), request.read()
    try:
        result = api.check(request.for_chip(read, target), chip)
    except LoweringError as error:
        if read.level == "integer":
            raise
        folded = api.lower(read, level="folded", calibrate=request.deciding(read))
        result = refusal(folded, format_of(chip, request.bits), error)
    if json:
        emit_json("check", result.to_json())
    else:
        print(result)
    if not result.fits:
        raise typer.Exit(1)
