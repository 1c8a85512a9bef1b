"""`lower`: trace, fold, quantise; write the .spk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import arguments as a
from .output import emit_json, percent, say

if TYPE_CHECKING:
    from ..export.ir import Graph


def command(
    source: a.Source,
    out: a.Out,
    bits: a.Bits = None,
    target: a.TargetName = None,
    calibrate: a.Calibrate = None,
    scale: a.Scale = "max",
    level: a.LevelName = None,
    time_steps: a.TimeSteps = None,
    encode: a.Encode = None,
    weights: a.Weights = None,
    input_shape: a.InputShape = None,
    dialect: a.Dialect = "portable",
    dt: a.Dt = None,
    strict: a.Strict = False,
    data: a.MaybeData = None,
    limit: a.Limit = None,
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Lower a network to one integer graph and write it as .spk.

    The accuracies are those of the test split of --data (default: of the calibration data).
    """
    from .. import api
    from ..export.formats.atomic import refuse_overwrite

    refuse_overwrite(out, force=force)
    request = a.Request(
        source, bits, target, calibrate, scale, level or "integer", weights, input_shape,
        time_steps, encode, dialect, dt, strict,
    )  # fmt: skip
    read = request.read()
    graph = request.lowered(read)
    api.write(graph, out, force=force)
    accuracies = accuracies_of(read, graph, data or calibrate, limit, time_steps)
    if json:
        emit_json("lower", {"out": str(out), "level": graph.level, **rows(graph), **accuracies})
        return
    print(graph)
    for name, share in graph.metadata.get("spikes_that_differ", {}).items():
        say(f"  {name}: {100 * share:.3f} % of spikes differ from the float graph")
    for name, value in accuracies.items():
        print(f"{name.replace('_', ' ')}: {percent(value)}")
    print(f"wrote {out}")


def rows(graph: Graph) -> dict[str, Any]:
    """Return the layer table for JSON, with the share of spikes that differ from float."""
    from ..export.ir import rows as layer_rows

    differ = graph.metadata.get("spikes_that_differ", {})
    return {
        "layers": [
            {**row, "spikes_that_differ": differ.get(row["name"])} for row in layer_rows(graph)
        ]
    }


def accuracies_of(
    read: Graph, graph: Graph, spec: str | None, limit: int | None, time_steps: int | None
) -> dict[str, float | None]:
    """Return the accuracy of the float graph and of the integers on the test split."""
    from .. import api
    from ..sim.run import run

    spec = spec or graph.metadata.get("data")
    found: dict[str, float | None] = {"float_accuracy": None, "integer_accuracy": None}
    if spec is None:
        return found
    test = a.load_data(str(spec), "test", limit)
    steps = api.time_steps_of(graph, time_steps)
    if read.level != "integer":
        found["float_accuracy"] = run(read, test.x, steps, executor_name="reference").accuracy(
            test.y
        )
    if graph.level == "integer":
        integer = run(graph, test.x, steps, executor_name="reference")
        found["integer_accuracy"] = integer.accuracy(test.y)
    return found
