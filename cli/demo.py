"""`demo`: the whole line on packaged data, step by step, into one folder."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import arguments as a
from .lower import accuracies, card, show
from .output import emit_json, percent, print_table, progress
from .run import COLUMNS

if TYPE_CHECKING:
    from ..export.ir import Graph
    from ..hw_targets.estimate import Estimate
    from ..hw_targets.fit import FitReport
    from ..sim.counters import Counters
    from ..sim.verify import Verification
    from ..trainer.data import Dataset

Folder = Annotated[Path, typer.Option("-o", "--out", help="The folder to write to.")]
NAME = "digits"
SIBLING = "spiking_convnet_digits"
SIBLING_EPOCHS = 8
FEED_FORWARD = "digits-if"
CHIP, OPERATIONS = "loihi1", "generic-45nm"
PAD = "   "


def command(out: Folder = Path("demo"), force: a.Force = False, json: a.Json = False) -> None:
    """Pretrain, lower, export, verify, count, check, estimate and report on packaged digits.

    No data is fetched; under three minutes on two cores. Without torch all but the training.
    """
    from ..export.formats.atomic import made_folder
    from ..export.ir.errors import FormatError

    if out.exists() and not force and not (out.is_dir() and not any(out.iterdir())):
        raise FormatError("exists already", node=str(out), remedy="give --force to overwrite it")
    with made_folder(out), redirect_stdout(sys.stderr) if json else nullcontext():
        fields = whole_line(out)
    if json:
        emit_json("demo", fields)
    if not fields["verify"]["equal"]:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Lowered:
    """The shipped network as floats and as integers, and how well both do on the test digits."""

    read: Graph
    graph: Graph
    test: Dataset
    accuracy: dict[str, float | None]


def whole_line(out: Path) -> dict[str, Any]:
    """Run every step, printing as it goes; return what `--json` prints."""
    from .. import api

    began = perf_counter()
    missing = missing_to_train()
    controls = left_out(missing) if missing else train()
    net = lower(out)
    files = export(net.graph, out, trains=not missing)
    verification = verify(net)
    counters = count(net)
    fit, estimates = cost(net, counters)
    print("\n6. the report")
    page = api.report(
        net.graph,
        net.test.x,
        out / "report.html",
        labels=net.test.y,
        targets=(CHIP, OPERATIONS),
        accuracies={"float": net.accuracy["float"]}
        | {f"trained in this demo, {key.replace('_', ' ')}": v for key, v in controls.items()},
        source=net.read,
        verification=verification,
        force=True,
    )
    seconds = perf_counter() - began
    print(f"{PAD}{page}   ({seconds:.0f} s in all)")
    return {
        "float_accuracy": net.accuracy["float"],
        "integer_accuracy": net.accuracy["integer"],
        "controls": controls,
        "verify": verification.to_json(),
        "fit": fit.to_json(),
        "estimate": estimates[0].to_json(),
        "estimates": [estimate.to_json() for estimate in estimates],
        "files": [str(file) for file in files],
        "report": str(page),
        "seconds": seconds,
    }


def missing_to_train() -> str | None:
    """Return what training needs and is not installed."""
    return next((name for name in ("torch", "lightning_fabric") if find_spec(name) is None), None)


def left_out(missing: str) -> dict[str, float]:
    """Say why nothing is trained; no accuracies."""
    from ..export.ir.errors import WITH_TORCH

    print(f"1. the training is left out: {missing} is not installed; to see it: {WITH_TORCH}")
    return {}


def train() -> dict[str, float]:
    """Pretrain without labels and probe, beside random weights and training with labels."""
    from ..trainer.recipes.digits import train_digits

    print("1. pretraining a Spiking-ResNet without labels (MixedLIF, two paths, CTL), linear probe")
    controls, _ = train_digits(progress=sys.stderr.isatty())
    names = {
        "random_weights": "random weights, probed",
        "pretrained": "pretrained without labels, probed",
        "supervised": "the same net trained with labels",
    }
    rows = [
        {"network": name, "test accuracy": percent(controls.accuracies[key])}
        for key, name in names.items()
    ]
    print_table(rows, ("network", "test accuracy"), pad=PAD)
    rate = controls.pretraining.record.images_per_s
    before = percent(controls.pretrained.accuracy_before)
    print(f"{PAD}{rate:,.0f} images/s; before BatchNorm was re-estimated on Path A: {before}")
    return controls.accuracies


def lower(out: Path) -> Lowered:
    """Lower the shipped checkpoint to int8, write it, measure both."""
    from .. import api
    from ..export.formats.writers import write
    from ..sources import read_source

    print(f"\n2. lowering `{NAME}`, the shipped checkpoint: trace, fold, quantise to int8")
    read = read_source(NAME)
    graph, test = api.lower(read), a.load_data(NAME, "test", None)
    found = accuracies(read, graph, test)
    noted = card({f"{key}_accuracy": value for key, value in found.items()}, test)
    graph = graph.replace(metadata={**graph.metadata, "accuracies": noted})
    write(graph, out / f"{NAME}.spk", force=True)
    show(graph)
    for key, value in found.items():
        print(f"{key} accuracy: {percent(value)} of {len(test)} test digits")
    return Lowered(read, graph, test, found)


def export(graph: Graph, out: Path, *, trains: bool) -> list[Path]:
    """Write NIR, ONNX and Lava HDF5; return every file of the folder so far."""
    from ..export.formats.writers import write

    print("\n3. writing NIR, ONNX (step and Scan) and Lava HDF5")
    files = [out / f"{NAME}.spk"]
    for suffix in (".nir", ".onnx"):
        written = write(graph, out / f"{NAME}{suffix}", force=True)
        print(indent(str(written), PAD))
        files += written.files
    network, name = for_lava(trains)
    written = write(network, out / f"{name}.net", force=True)
    print(indent(str(written), PAD))
    return [*files, *written.files]


def for_lava(trains: bool) -> tuple[Graph, str]:
    """Return the network for Lava and its name: the shipped one, or a sibling netx can hold.

    The sibling is trained here, or is another shipped one where nothing can be trained.
    """
    from .. import api
    from ..export.formats.lava import why_not_lava

    on_loihi = api.lower(NAME, target="loihi2")
    reasons = why_not_lava(on_loihi)
    if not reasons:
        return on_loihi, NAME
    print(f"{PAD}Lava's netx cannot hold `{NAME}`, though lowered with --target loihi2:")
    for node, reason, remedy in reasons:
        print(f"{PAD}  {node}: {reason}; {remedy}")
    if trains:
        return sibling(), f"{NAME}-feedforward"
    print(f"{PAD}so a shipped network without additions and pools: {FEED_FORWARD}")
    return api.lower(FEED_FORWARD, target="loihi2"), FEED_FORWARD


def sibling() -> Graph:
    """Return a feed-forward network trained on the same digits, in Loihi 2's number format."""
    from .. import api
    from ..trainer.loop import LoopOptions
    from ..trainer.models import create
    from ..trainer.tasks import SupervisedOptions, train_supervised

    data, test = a.load_data(NAME, "train", None), a.load_data(NAME, "test", None)
    model = create(SIBLING)
    options = SupervisedOptions(loop=LoopOptions(epochs=SIBLING_EPOCHS, batch=128))
    result = train_supervised(model, data, test, options, progress=sys.stderr.isatty())
    graph = api.lower(model, target="loihi2", calibrate=data.x)
    share = float((api.run(graph, test.x, record="output").predictions == test.y).mean())
    print(
        f"{PAD}so a feed-forward sibling, {SIBLING}, trained with labels for {SIBLING_EPOCHS} "
        f"epochs: float {percent(result.accuracy)}, integers of loihi2 {percent(share)}"
    )
    return graph


def verify(net: Lowered) -> Verification:
    """Compare all executors on the whole test split."""
    from .. import api

    print(f"\n4. running the {len(net.test)} test digits on every executor")
    with progress("verify", len(net.test)) as done:
        result = api.verify(net.graph, net.test.x, progress=done)
    print(f"{PAD}{result}")
    return result


def count(net: Lowered) -> Counters:
    """Count spikes and SOPs, per layer and per step."""
    from .. import api
    from ..sim.run import run

    print(f"\n5. spikes and synaptic operations of the {len(net.test)} test digits")
    counters = run(net.graph, net.test.x, api.steps_for(net.graph, net.test.x)).counters
    rows = [*counters.rows(), {"name": "total", "kind": "", **counters.totals()}]
    print_table(rows, COLUMNS, pad=PAD)
    per_step = [
        {"SOPs per sample": name, **{f"t={t}": float(n) for t, n in enumerate(steps)}}
        for name, steps in ((n, c.sops.mean(axis=1)) for n, c in counters.layers.items())
        if steps.any()
    ]
    print()
    print_table(per_step, list(per_step[0]), pad=PAD)
    return counters


def cost(net: Lowered, counters: Counters) -> tuple[FitReport, list[Estimate]]:
    """Check and cost on Loihi 1 in its own number format, and by operation count."""
    from .. import api
    from ..hw_targets.measure import measure
    from ..hw_targets.target import load_target

    on_chip, chip = api.lower(net.read, target=CHIP), load_target(CHIP)
    found = measure(on_chip, net.test.x, api.steps_for(on_chip, net.test.x), chip)
    fit = api.check(on_chip, chip)
    share = percent(found.run.accuracy(net.test.y))
    print(f"\n{PAD}lowered with --target {CHIP} (accuracy in that number format {share}):")
    print(indent(str(fit), PAD))
    operations = api.lower(net.read, target=OPERATIONS)
    estimates = [found.estimate(), api.estimate(operations, counters, OPERATIONS)]
    for estimate in estimates:
        print("\n" + indent(str(estimate), PAD))
    return fit, estimates
