"""`check`: does a network fit a chip."""

from __future__ import annotations

import typer

from . import arguments as a
from .output import emit_json


@a.with_groups
def command(request: a.Request, target: a.Chip, json: a.Json = False) -> None:
    """Check a network against every published limit of a chip; exit code 1 when it does not fit.

    A network that is not integer yet is lowered to the chip's number format first.
    """
    from .. import api

    result = api.check(request.graph_for(target), target)
    if json:
        emit_json("check", result.to_json())
    else:
        print(result)
    if not result.fits:
        raise typer.Exit(1)
