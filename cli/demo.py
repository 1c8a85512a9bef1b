"""`demo`: the whole line on packaged data, step by step, into one folder."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import arguments as a
from .export import write_all
from .output import emit_json, percent, print_table, progress, say

if TYPE_CHECKING:
    from ..export.ir import Graph

Folder = Annotated[Path, typer.Option("-o", "--out", help="The folder to write to.")]
NAME = "digits"
SIBLING = "spiking_convnet_digits"
TARGETS = ("loihi1", "generic-45nm")


def command(out: Folder = Path("demo"), force: a.Force = False, json: a.Json = False) -> None:
    """Pretrain, lower, export, verify, count, check, estimate and report on packaged digits.

    No data is fetched; under three minutes on two cores.
    """
    from .. import api
    from ..export.formats.atomic import refuse_overwrite

    began = perf_counter()
    if out.is_dir() and any(out.iterdir()):
        refuse_overwrite(out, force=force)
    out.mkdir(parents=True, exist_ok=True)
    force = True  # what is in the folder may go: it was empty, or the user said so
    show = say if json else print
    controls = _train(show)
    read, graph = _lower(out, force, show)
    files = _export(graph, out, force, show)
    test = a.load_data(NAME, "test", None)
    verification = _verify(graph, test, show)
    found = _count(graph, test, show)
    estimates, fit = _cost(read, graph, found, test, show)
    float_accuracy = _float_accuracy(read, test)
    integer_accuracy = found.accuracy(test.y)
    show(
        f"\nfloat accuracy {percent(float_accuracy)}, integer accuracy {percent(integer_accuracy)}"
    )
    accuracies = {"float": float_accuracy, "integer": integer_accuracy, **controls}
    page = api.report(
        graph,
        test.x,
        out / "report.html",
        labels=test.y,
        targets=TARGETS,
        accuracies=accuracies,
        source=read,
        verification=verification,
        force=force,
    )
    seconds = perf_counter() - began
    show(f"\nreport: {page}   ({seconds:.0f} s in all)")
    if json:
        fields = {
            "float_accuracy": float_accuracy,
            "integer_accuracy": integer_accuracy,
            "controls": controls,
            "verify": verification.to_json(),
            "fit": fit.to_json(),
            "estimate": estimates[0].to_json(),
            "estimates": [estimate.to_json() for estimate in estimates],
            "files": files,
            "report": str(page),
            "seconds": seconds,
        }
        emit_json("demo", fields)
    if not verification.equal:
        raise typer.Exit(1)


def _train(show: Any) -> dict[str, float]:
    """Pretrain without labels and probe, beside random weights and training with labels."""
    from ..trainer.recipes.digits import train_digits

    show("1. pretraining a Spiking-ResNet without labels (MixedLIF, two paths, CTL), linear probe")
    controls, _ = train_digits(progress=False)
    rate = controls.pretraining.record.images_per_s
    rows = [
        {"network": "random weights, probed", "test accuracy": percent(controls.random.accuracy)},
        {
            "network": "pretrained without labels, probed",
            "test accuracy": percent(controls.pretrained.accuracy),
        },
        {
            "network": "the same net trained with labels",
            "test accuracy": percent(controls.supervised.accuracy),
        },
    ]
    print_rows(rows, show)
    before = percent(controls.pretrained.accuracy_before)
    show(f"   {rate:,.0f} images/s; before BatchNorm was re-estimated on Path A: {before}")
    return controls.accuracies


def print_rows(rows: list[dict[str, Any]], show: Any) -> None:
    """Print a table where `show` prints."""
    if show is print:
        print_table(rows, list(rows[0]))
    else:
        for row in rows:
            show("   " + "  ".join(str(value) for value in row.values()))


def _lower(out: Path, force: bool, show: Any) -> tuple[Graph, Graph]:
    from .. import api
    from ..sources import read_source

    show(f"\n2. lowering the shipped checkpoint `{NAME}`: trace, fold, quantise to int8")
    read = read_source(NAME)
    graph = api.lower(read)
    api.write(graph, out / f"{NAME}.spk", force=force)
    show(str(graph))
    return read, graph


def _export(graph: Graph, out: Path, force: bool, show: Any) -> list[str]:
    show("\n3. writing NIR, ONNX (step and Scan) and Lava HDF5")
    files = [str(out / f"{NAME}.spk")]
    for to, suffix in (("nir", ".nir"), ("onnx", ".onnx")):
        written, warnings = write_all(graph, to, out / f"{NAME}{suffix}", force)
        files += written
        for warning in warnings:
            show(f"   warning: {warning}")
    files += _lava(graph, out, force, show)
    for file in files:
        show(f"   wrote {file}")
    return files


def _lava(graph: Graph, out: Path, force: bool, show: Any) -> list[str]:
    """Write Lava HDF5, or say why not by node and write a feed-forward sibling that can be."""
    from .. import api
    from ..export.formats.lava import why_not_lava

    on_loihi = api.lower(NAME, target="loihi2")
    reasons = why_not_lava(on_loihi)
    if not reasons:
        return write_all(on_loihi, "lava", out / f"{NAME}.net", force)[0]
    show("   lowered with --target loihi2, Lava's netx still cannot take this network:")
    for node, reason, remedy in reasons:
        show(f"     {node}: {reason}; {remedy}")
    sibling = _sibling(show)
    path = out / f"{NAME}-feedforward.net"
    return write_all(sibling, "lava", path, force)[0]


def _sibling(show: Any) -> Graph:
    """Return a feed-forward network on the same digits in Loihi 2's number format."""
    from .. import api
    from ..trainer.loop import LoopOptions
    from ..trainer.models import create
    from ..trainer.tasks import train_supervised

    train, test = a.load_data(NAME, "train", None), a.load_data(NAME, "test", None)
    model = create(SIBLING)
    result = train_supervised(model, train, test, LoopOptions(epochs=8, batch=128), progress=False)
    graph = api.lower(model, target="loihi2", calibrate=train.x)
    accuracy = api.run(graph, test.x, record="output")
    share = float((accuracy.predictions() == test.y).mean())
    show(
        f"   a feed-forward sibling ({SIBLING}, float {percent(result.accuracy)}) in the number "
        f"format of loihi2: {percent(share)}"
    )
    return graph


def _verify(graph: Graph, test: Any, show: Any) -> Any:
    from .. import api

    show(f"\n4. running the {len(test)} test digits on three executors")
    with progress("verify", len(test)) as done:
        result = api.verify(graph, test.x, progress=done)
    show(f"   {result}")
    return result


def _count(graph: Graph, test: Any, show: Any) -> Any:
    from .. import api
    from ..sim.run import run
    from .run import COLUMNS

    show("\n5. spikes and synaptic operations, counted on the test digits")
    found = run(graph, test.x, api.time_steps_of(graph), keep="spikes")
    rows = [*found.counters.rows(), {"name": "total", "kind": "", **found.counters.totals()}]
    if show is print:
        print_table(rows, COLUMNS)
    per_step = [
        {"layer": layer.name, **{f"t={t}": float(n) for t, n in enumerate(layer.sops.mean(axis=1))}}
        for layer in found.counters.layers.values()
        if layer.sops.any()
    ]
    show("   SOPs per layer and step, mean per sample")
    print_rows(per_step, show)
    return found


def _cost(read: Graph, graph: Graph, found: Any, test: Any, show: Any) -> tuple[list[Any], Any]:
    """Check and cost on Loihi 1 in its own number format, and by operation count."""
    from .. import api
    from ..sim.run import run

    on_loihi = api.lower(read, target="loihi1")
    fit = api.check(on_loihi, "loihi1")
    show(f"\n   lowered with --target loihi1, {fit}")
    counted = run(on_loihi, test.x, api.time_steps_of(on_loihi))
    show(f"   accuracy in that number format: {percent(counted.accuracy(test.y))}")
    estimates = [
        api.estimate(on_loihi, counted.counters, "loihi1"),
        api.estimate(graph, found.counters, "generic-45nm"),
    ]
    for estimate in estimates:
        show(f"   {estimate}")
    return estimates, fit


def _float_accuracy(read: Graph, test: Any) -> float | None:
    from .. import api
    from ..sim.run import run

    steps = api.time_steps_of(read)
    return run(read, test.x, steps, executor_name="reference").accuracy(test.y)
