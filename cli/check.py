"""`check`: does a network fit a chip."""

from __future__ import annotations

from typing import Annotated

import typer

from . import arguments as a
from .output import emit_json

Target = Annotated[
    str, typer.Option("--target", help="A chip by name or .yaml file.", show_default=False)
]


def command(
    source: a.Source,
    target: Target,
    bits: a.Bits = None,
    calibrate: a.Calibrate = None,
    time_steps: a.TimeSteps = None,
    encode: a.Encode = None,
    weights: a.Weights = None,
    input_shape: a.InputShape = None,
    json: a.Json = False,
) -> None:
    """Check a network against every published limit of a chip; exit code 1 when it does not fit.

    A network that is not integer yet is lowered to the chip's number format first.
    """
    from .. import api

    request = a.for_chip(target, source, bits, calibrate, weights, input_shape, time_steps, encode)
    result = api.check(request.graph(), target)
    if json:
        emit_json("check", result.to_json())
    else:
        print(result)
    if not result.fits:
        raise typer.Exit(1)
