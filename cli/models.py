"""`models`: architectures and shipped checkpoints by name."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from . import arguments as a
from .output import emit_json, percent, print_table, say

JUDGED = ("integer", "integer_8_bits", "integer_4_bits", "probe", "finetuned")
"""The accuracies of a card that tell how good the checkpoint is; others are its controls."""

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
        best = percent(max(card.accuracies.get(key, 0.0) for key in JUDGED))
        rows.append(
            {"name": name, "kind": "checkpoint", "about": f"{card.model} on {card.data}, {best}"}
        )
    return rows


def _architectures() -> list[dict[str, Any]]:
    try:
        from ..trainer.models import MODELS
    except ModuleNotFoundError as error:
        say(f"note: architectures are not listed, {error.name} is not installed (see `doctor`)")
        return []

    return [{"name": n, "kind": "architecture", "about": _options(o)} for n, o in MODELS.items()]


def _options(options: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in options.items()) or "defaults"


def one(name: str, json: bool) -> None:
    """Tell about one model, counted on its traced graph."""
    from ..export.ir import UnknownNameError, dense_macs, parameters
    from ..sources import need_torch, read_source, trace_module
    from ..trainer import checkpoint

    card: dict[str, Any] | None = None
    if name in checkpoint.shipped():
        graph, card = read_source(name), asdict(checkpoint.read_card(name))
    else:
        need_torch("build a model")
        from ..trainer.models import MODELS, create

        if name not in MODELS:
            raise UnknownNameError.of("model", name, [*MODELS, *checkpoint.shipped()])
        module = create(name)
        graph = trace_module(module, module.input_shape, module.time_steps, "direct", {})
    fields = {
        "name": name,
        "parameters": sum(parameters(node) for node in graph.nodes.values()),
        "dense_macs_per_step": sum(dense_macs(graph, node) for node in graph.nodes),
        "input_shape": list(graph.input.shape),
        "card": card,
    }
    if json:
        emit_json("models", fields)
        return
    print(graph)
    print(f"{name}: input {'x'.join(map(str, graph.input.shape))}")
    if card is not None:
        _show_card(card)


def _show_card(card: dict[str, Any]) -> None:
    """Print where a checkpoint comes from and how well it does."""
    for key in ("model", "data", "data_licence", "licence", "command", "seed"):
        print(f"{key.replace('_', ' ')}: {card[key]}")
    for key, share in card["accuracies"].items():
        print(f"accuracy, {key.replace('_', ' ')}: {percent(share)}")
    if (hours := card["recipe"].get("hours")) is not None:
        print(f"hours of training: {hours}")
    for key, rate in card["spike_rates"].items():
        print(f"spike rate, {key}: {percent(rate)}")
