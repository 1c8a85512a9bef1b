"""`targets`: chips, their limits and constants, with the source of each."""

from __future__ import annotations

from typing import Annotated

import typer

from . import arguments as a
from .output import emit_json, print_table

Name = Annotated[
    str | None, typer.Argument(help="One of them, or a .yaml of your own.", show_default=False)
]


def command(name: Name = None, json: a.Json = False) -> None:
    """List the targets, or print every limit and constant of one with its source."""
    from ..hw_targets.target import load_target, targets

    chosen = targets() if name is None else [load_target(name)]
    if json:
        emit_json("targets", {"targets": [target.to_json() for target in chosen]})
        return
    if name is None:
        rows = [
            {"name": t.name, "cost tables": ", ".join(t.costs) or "(fit only)", "about": t.title}
            for t in chosen
        ]
        print_table(rows, ("name", "cost tables", "about"))
        return
    target = chosen[0]
    print(f"{target.name}: {target.title}")
    columns = ("name", "value", "unit", "evidence", "source")
    print_table([c.to_json() for c in target.limits.values()], columns, "limits")
    for table in target.costs.values():
        title = f"cost table {table.name} ({table.model})"
        print_table([c.to_json() for c in table.constants.values()], columns, title)
        print(f"not modelled: {'; '.join(table.not_modelled)}")
