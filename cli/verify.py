"""`verify`: several executors on the same data, compared in every value."""

from __future__ import annotations

from typing import Annotated

import typer

from . import arguments as a
from .output import emit_json, progress, say
from .report import names

Executors = Annotated[
    str | None,
    typer.Option(
        "--executors",
        help="Comma-separated; the first is what others must equal. Default: all that can run it.",
    ),
]


@a.with_groups
def command(
    request: a.Request,
    samples: a.Samples,
    executors: Executors = None,
    json: a.Json = False,
) -> None:
    """Prove that executors compute the same spikes, membrane potentials and outputs.

    Exit code 1 names the first layer, time step and neuron that differ, with both values.
    """
    from .. import api
    from ..sim.executor import able, executor

    chosen = None if executors is None else names(executors)
    for name in chosen or ():
        executor(name)
    graph = request.graph(samples, chosen or ())
    if chosen is None and graph.level == "integer" and "native" not in able(graph):
        say("note: the native engine is not built and not compared")
    if graph.level != "integer":
        say(
            f"note: at the {graph.level} level executors add in different orders and need not be "
            "equal in every bit; the proof is that of --level integer"
        )
    data = samples.of(graph)
    with progress("verify", len(data)) as done:
        result = api.verify(
            graph,
            data.x,
            chosen,
            time_steps=request.time_steps,
            encoding=request.encode,
            seed=samples.seed,
            batch=samples.batch,
            progress=done,
        )
    if json:
        emit_json("verify", result.to_json())
    else:
        print(result)
    if not result.equal:
        raise typer.Exit(1)
