"""`inspect`: the layer table of anything that can be read."""

from __future__ import annotations

from . import arguments as a
from .output import emit_json


@a.with_groups
def command(request: a.Request, json: a.Json = False) -> None:
    """Print shapes, bits, thresholds, bounds, parameters and MACs, at the source's own level.

    With --level, --bits or --target it is lowered first.
    """
    from ..export.ir import rows
    from ..export.ir.digest import digest

    graph = request.inspected(request.read())
    if not json:
        print(graph)
        return
    layers = rows(graph)
    fields = {
        "source": request.source,
        "level": graph.level,
        "time_steps": graph.metadata.get("time_steps"),
        **{name: graph.metadata.get(name) for name in ("took", "returns")},
        "profile": graph.profile.name if graph.profile else None,
        "digest": digest(graph),
        "layers": layers,
        "parameters": sum(row["parameters"] for row in layers),
        "dense_macs_per_step": sum(row["dense_macs"] for row in layers),
    }
    emit_json("inspect", fields)
