"""`check`: does a network fit a chip."""

from __future__ import annotations

import typer

from . import arguments as a
from .output import emit_json


@a.with_groups
def command(request: a.Request, target: a.Chip, json: a.Json = False) -> None:
    """Check a network against every published limit of a chip; exit code 1 when it does not fit.

    A network that is not integer yet is lowered to the chip's number format first; what that format
    cannot express is a violation, too.
    """
    from .. import api
    from ..export.ir import analog_nodes, profile
    from ..export.ir.errors import LoweringError
    from ..export.quantise_state import neuron_problems
    from ..hw_targets.fit import refused
    from ..hw_targets.target import load_target

    chip, read = load_target(target), request.read()
    try:
        result = api.check(request.for_chip(read, target), chip)
    except LoweringError as error:
        if read.level == "integer":
            raise
        form = profile(chip.profile)
        folded = api.lower(read, level="folded")
        host = analog_nodes(folded) if form.host_analog else ()
        own = [(name, node) for name, node in folded.neurons.items() if name not in host]
        every = [problem for name, node in own for problem in neuron_problems(name, node, form)]
        result = refused(chip, [*every, error])
    if json:
        emit_json("check", result.to_json())
    else:
        print(result)
    if not result.fits:
        raise typer.Exit(1)
