"""`report`: the page, and the same as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import arguments as a
from .lower import accuracies
from .output import emit_json, say_written

if TYPE_CHECKING:
    from ..export.ir import Graph
    from ..trainer.data import Dataset

Targets = Annotated[str, typer.Option("--targets", help="Comma-separated chips.")]


@a.with_groups
def command(
    request: a.Request,
    out: a.Out,
    samples: a.Samples,
    targets: Targets = "loihi1,generic-45nm",
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Write one self-contained HTML page (and .json): proof, counts, fit, energy, sources.

    Each target is checked and costed on the network lowered to its own number format, unless the
    source is integer already.
    """
    from .. import api
    from ..export.formats.atomic import refuse_overwrite, refuse_suffix

    refuse_suffix(out, "the page", (".html", ".htm"))
    for path in (out, out.with_suffix(".json")):
        refuse_overwrite(path, force=force)
    read = request.read(samples)
    graph = request.lowered(read, samples)
    data = samples.of(graph)
    page = api.report(
        graph,
        data.x,
        out,
        labels=data.y,
        targets=names(targets),
        time_steps=request.time_steps,
        encoding=request.encode,
        seed=samples.seed,
        batch=samples.batch,
        accuracies={"float": float_accuracy(read, graph, data, samples.seed, request.time_steps)},
        source=read if request.lowers_for_chips(read) else None,
        bits=request.bits,
        calibrate=request.calibration(read, samples),
        scale=request.scale,  # type: ignore[arg-type]
        force=force,
    )
    if json:
        emit_json("report", {"path": str(page), "json": str(page.with_suffix(".json"))})
        return
    say_written(f"{page} and {page.with_suffix('.json').name}")


def names(text: str) -> list[str]:
    """Return the names of a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def float_accuracy(
    read: Graph, graph: Graph, data: Dataset, seed: int, time_steps: int | None
) -> float | None:
    """Return the float network's accuracy, measured, or as the lowering noted it for this data."""
    if read.level != "integer":
        return accuracies(read, graph, data, seed, time_steps)["float"]
    noted = graph.metadata.get("accuracies", {})
    same = (noted.get("data"), noted.get("split"), noted.get("samples"))
    return noted.get("float_accuracy") if same == (data.name, data.split, len(data)) else None
