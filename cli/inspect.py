"""`inspect`: the layer table of anything that can be read."""

from __future__ import annotations

from . import arguments as a
from .output import emit_json


def command(
    source: a.Source,
    level: a.LevelName = None,
    bits: a.Bits = None,
    target: a.TargetName = None,
    calibrate: a.Calibrate = None,
    weights: a.Weights = None,
    input_shape: a.InputShape = None,
    dialect: a.Dialect = "portable",
    dt: a.Dt = None,
    strict: a.Strict = False,
    json: a.Json = False,
) -> None:
    """Print shapes, bits, thresholds, bounds, parameters and MACs, at the source's own level."""
    from ..export.ir import rows
    from ..export.ir.digest import digest

    request = a.Request(
        source, bits, target, calibrate, "max", level, weights, input_shape,
        dialect=dialect, dt=dt, strict=strict,
    )  # fmt: skip
    graph = request.read()
    if level is not None or bits is not None or target is not None:
        graph = request.lowered(graph)
    if json:
        layers = rows(graph)
        fields = {
            "source": source,
            "level": graph.level,
            "profile": graph.profile.name if graph.profile else None,
            "digest": digest(graph),
            "layers": layers,
            "parameters": sum(row["parameters"] for row in layers),
            "dense_macs_per_step": sum(row["dense_macs"] for row in layers),
        }
        emit_json("inspect", fields)
        return
    print(graph)
