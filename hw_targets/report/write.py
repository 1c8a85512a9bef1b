"""Writing the report: the page and, beside it, the same content as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...export.formats.atomic import atomic_paths, refuse_overwrite
from ...export.ir import Graph
from ...sim.counters import Counters
from ...sim.trace import Trace
from ...sim.verify import Verification
from ..compare import Comparison
from .content import OnTarget, content
from .page import page


def write_report(
    path: str | Path,
    *,
    graph: Graph,
    counters: Counters,
    trace: Trace,
    verification: Verification,
    targets: Sequence[OnTarget],
    accuracies: Mapping[str, float | None],
    comparison: Comparison | None = None,
    force: bool = False,
) -> Path:
    """Write `path` (.html) and its .json; return the page's path.

    Args:
        counters, trace: of a run of `graph`; the trace gives the raster of its first sample.
        targets: each with what `check` and `estimate` say of the network in its number format.
        accuracies: fractions by name; None is left out. comparison: with a quantised ANN.

    Raises:
        FormatError: if one of the files exists and `force` is not set.
    """
    html, data = Path(path), Path(path).with_suffix(".json")
    for file in (html, data):
        refuse_overwrite(file, force=force)
    found = content(graph, counters, trace, verification, targets, accuracies, comparison)
    with atomic_paths([data, html], force=force) as (numbers, shown):
        numbers.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        shown.write_text(page(found), encoding="utf-8")
    return html
