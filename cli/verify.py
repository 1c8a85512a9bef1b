"""`verify`: several executors on the same data, compared in every value."""

from __future__ import annotations

from typing import Annotated

import typer

from . import arguments as a
from .output import emit_json, progress

Executors = Annotated[
    str, typer.Option("--executors", help="Comma-separated; the first is what others must equal.")
]


def command(
    source: a.Source,
    data: a.MaybeData = None,
    executors: Executors = "reference,native,onnxruntime",
    split: a.Split = "test",
    limit: a.Limit = None,
    batch: a.Batch = 64,
    seed: a.Seed = 0,
    time_steps: a.TimeSteps = None,
    encode: a.Encode = None,
    bits: a.Bits = None,
    target: a.TargetName = None,
    calibrate: a.Calibrate = None,
    level: a.LevelName = None,
    weights: a.Weights = None,
    input_shape: a.InputShape = None,
    json: a.Json = False,
) -> None:
    """Prove that executors compute the same spikes, membrane potentials and outputs.

    Exit code 1 names the first layer, time step and neuron that differ, with both values.
    """
    from .. import api

    request = a.Request(
        source, bits, target, calibrate, "max", level, weights, input_shape, time_steps, encode
    )
    graph = request.graph()
    samples = a.data_of(graph, data, split, limit)
    names = [name.strip() for name in executors.split(",") if name.strip()]
    with progress("verify", len(samples)) as done:
        result = api.verify(
            graph,
            samples.x,
            names,
            time_steps=time_steps,
            encoding=encode,
            seed=seed,
            batch=batch,
            progress=done,
        )
    if json:
        emit_json("verify", result.to_json())
    else:
        print(result)
    if not result.equal:
        raise typer.Exit(1)
