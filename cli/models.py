"""`models`: architectures and shipped checkpoints by name."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import arguments as a
from .output import emit_json, percent, print_table

Name = Annotated[str | None, typer.Argument(help="One of them, in detail.", show_default=False)]


def command(name: Name = None, json: a.Json = False) -> None:
    """List the architectures and the shipped checkpoints, or tell about one."""
    if name is not None:
        one(name, json)
        return
    rows = [*_checkpoints(), *_architectures()]
    if json:
        emit_json("models", {"models": rows})
        return
    print_table(rows, ("name", "kind", "about"))


def _checkpoints() -> list[dict[str, Any]]:
    from ..trainer import checkpoint

    rows = []
    for name in checkpoint.shipped():
        card = checkpoint.read_card(name)
        best = percent(max(card.accuracies.get("integer", 0.0), card.accuracies.get("probe", 0.0)))
        rows.append(
            {"name": name, "kind": "checkpoint", "about": f"{card.model} on {card.data}, {best}"}
        )
    return rows


def _architectures() -> list[dict[str, Any]]:
    from ..trainer.models import MODELS

    return [{"name": n, "kind": "architecture", "about": _options(o)} for n, o in MODELS.items()]


def _options(options: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in options.items()) or "defaults"


def one(name: str, json: bool) -> None:
    """Tell about one model, counted on its traced graph."""
    from ..export.ir import dense_macs, parameters
    from ..sources import read_source, trace_module
    from ..trainer import checkpoint

    if name in checkpoint.shipped():
        graph = read_source(name)
    else:
        from ..trainer.models import create

        module = create(name)
        graph = trace_module(module, module.input_shape, module.time_steps, "direct", {})
    fields = {
        "name": name,
        "parameters": sum(parameters(node) for node in graph.nodes.values()),
        "dense_macs_per_step": sum(dense_macs(graph, node) for node in graph.nodes),
        "input_shape": list(graph.input.shape),
    }
    if json:
        emit_json("models", fields)
        return
    print(graph)
    print(f"{name}: input {'x'.join(map(str, graph.input.shape))}")
