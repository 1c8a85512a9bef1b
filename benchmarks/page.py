"""`python -m benchmarks.page` writes docs/results.md from the records in benchmarks/results/."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from spikewright.export.formats.atomic import atomic_path

from .markdown import percent, table
from .page_speed import lowering, throughput

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "results.md"
METHODS: Mapping[str, str] = {
    "random": "random weights",
    "single": "single path",
    "non_cross": "dual path, non-cross",
    "btl": "dual path, BTL",
    "ctl": "dual path, CTL",
}
PAIRS: Mapping[str, str] = {"barlow": "Barlow Twins", "ntxent": "NT-Xent"}
BASELINE = "non_cross"
Record = Mapping[str, Any]

HEAD = """# Results

Made by `python -m benchmarks.page` from the records in `benchmarks/results/`, nothing by hand.
CIFAR-10 is read as `cifar10:DIR`, the Hugging Face parquet or the binary release.
"""
PRETRAINING = """
## Pretraining without labels: what the path and the loss bring

```sh
python -m benchmarks.pretraining pace --data cifar10:DIR   # the time of a step of each method
python -m benchmarks.pretraining tune --data cifar10:DIR   # learning rates, on held-out images
python -m benchmarks.pretraining run --data cifar10:DIR    # the cells that have no record yet
```
"""
LEGEND = """± is the standard deviation over seeds. *Above*, *below*: every seed lies beyond every
seed of the dual path with the non-cross loss and the same pair loss; with three seeds each, chance
alone does that in one case of ten. All else is within the spread and shows nothing. Steps and
images/s (pairs of views a second of processor time) follow from the time of a step, the median of
turns that the methods took in one process.
"""
FEWEST_SEEDS = 3
SHORT = "a short training: its first minutes, not its end"


def spread(shares: Sequence[float]) -> str:
    """Return mean ± standard deviation over seeds, in percent."""
    deviation = f" ± {percent(stdev(shares))}" if len(shares) > 1 else ""
    return percent(mean(shares)) + deviation


def verdict(ours: Sequence[float], base: Sequence[float]) -> str:
    """Return whether two sets of seeds part: every seed of one beyond every seed of the other."""
    gap = f"{100 * (mean(ours) - mean(base)):+.1f}"
    if min(len(ours), len(base)) < FEWEST_SEEDS:
        return f"{gap}, too few seeds"
    if min(ours) > max(base):
        return f"{gap}, above"
    if max(ours) < min(base):
        return f"{gap}, below"
    return f"{gap}, within the spread"


def pretraining(records: Sequence[Record], tuning: Sequence[Record]) -> str:
    """Return the section on pretraining."""
    if not records:
        return ""
    budget = records[0]["budget"]
    lines = [PRETRAINING, _budget(budget, records), _chosen(tuning)]
    rows = []
    for pair, method in _groups(records):
        cells = _of(records, pair, method)
        base = _of(records, pair, BASELINE)
        probe = [cell["probe"] for cell in cells]
        against = (
            verdict(probe, [cell["probe"] for cell in base])
            if base and method not in (BASELINE, "random")
            else "–"
        )
        rows.append(
            [
                METHODS[method],
                PAIRS.get(pair or "", "–"),
                str(len(cells)),
                spread(probe),
                spread([cell["knn"] for cell in cells]),
                against,
                *_speed(cells),
            ]
        )
    header = ["network", "pair loss", "seeds", "linear probe %", "20-NN %"]
    header += ["probe against non-cross", "steps", "images/s"]
    lines.append(table(header, rows))
    lines.append(LEGEND)
    return "\n".join(lines)


def _budget(budget: Record, records: Sequence[Record]) -> str:
    widths = "/".join(map(str, budget["widths"]))
    versions = sorted({record["torch"] for record in records})
    return (
        f"One Spiking-ResNet (widths {widths}, one block a stage, stem stride "
        f"{budget['stem_stride']}, T = {budget['time_steps']}); every method gets "
        f"{budget['seconds']:g} s of processor time on one thread, in {budget['epochs']} epochs of "
        f"as many images as that has room for, {budget['batch']} a step ({SHORT}). Probe and "
        f"neighbours see {budget['labelled']:,} labelled training images and are judged on "
        f"{budget['tested']:,} test images. bfloat16, torch {', '.join(versions)}.\n"
    )


def _chosen(tuning: Sequence[Record]) -> str:
    if not tuning:
        return ""
    rows = [
        [PAIRS[record["cell"]["pair"]], f"{record['cell']['lr']:g}", percent(record["probe"])]
        for record in sorted(tuning, key=lambda r: (r["cell"]["pair"], r["cell"]["lr"]))
    ]
    said = "Learning rates, tried on the dual path with the non-cross loss, judged on training "
    said += "images left out; the best one of each pair loss serves all its methods:\n"
    return said + "\n" + table(["pair loss", "learning rate", "probe %, held out"], rows)


def _groups(records: Sequence[Record]) -> list[tuple[str | None, str]]:
    found = {(record["cell"]["pair"], record["cell"]["method"]) for record in records}
    order = list(METHODS)
    return sorted(found, key=lambda group: (group[0] or "", order.index(group[1])))


def _of(records: Sequence[Record], pair: str | None, method: str) -> list[Record]:
    chosen = (pair, method)
    return [r for r in records if (r["cell"]["pair"], r["cell"]["method"]) == chosen]


def _speed(cells: Sequence[Record]) -> tuple[str, str]:
    """Return the steps that a method had time for, and its images/s."""
    timed = [cell for cell in cells if "step_seconds" in cell]
    if not timed:
        return "–", "–"
    batch = timed[0]["budget"]["batch"]
    return str(timed[0]["steps"]), f"{batch / timed[0]['step_seconds']:.0f}"


def checkpoints(records: Sequence[Record]) -> str:
    """Return the section on the shipped checkpoints."""
    if not records:
        return ""
    kinds = {"float": "float", "int8": "int8", "int4": "int4", "int4_qat": "int4, trained"}
    shown = [kind for kind in kinds if any(kind in r["accuracy"] for r in records)]
    rows = []
    for record in records:
        found = record["accuracy"]
        drop = f"{100 * (found['float'] - found['int8']):+.2f}"
        shares = [f"{100 * found[k]:.2f}" if k in found else "–" for k in shown]
        counts = [str(record["time_steps"]), f"{record['test_images']:,}"]
        rows.append([f"`{record['name']}`", *counts, *shares, drop])
    header = ["checkpoint", "T", "test images", *(f"{kinds[k]} %" for k in shown)]
    parts = ["\n## Checkpoints: accuracy on the test split, float and integer\n\n```sh"]
    for record in records:
        trained, name = record.get("qat"), record["name"]
        parts += [record["card"]["command"], *([trained["command"]] if trained else [])]
        given = f" --qat4 {name}-int4.safetensors" if trained else ""
        parts.append(f"python -m benchmarks.checkpoints {name} --data cifar10:DIR{given}")
    parts += ["```\n", f"{CHOSEN}\n", table([*header, "float − int8, points"], rows)]
    return "\n".join([*parts, *(_one(record) for record in records)])


CHOSEN = """The last stage of `cifar10-resnet` was added when the test accuracy of those before
was known (79.46 %): its own figure is one look at the test split further, and two standard errors
of 10,000 pictures are 0.8 points. The learning rate at 4 bits was chosen on 5,000 training pictures
that the float network had been trained on."""


def _one(record: Record) -> str:
    card, verified = record["card"], record["verify"]["int8"]
    recipe = card["recipe"]
    executors = " = ".join(verified["executors"])
    equal = "equal" if verified["equal"] else "NOT EQUAL"
    per_image = record["totals"]["sops"] / record["test_images"]
    rows = [
        [f"`{layer['name']}`", f"{layer['neurons']:,}", percent(layer["spike_rate"])]
        for layer in record["layers"]
    ]
    said = (
        f"### `{record['name']}`\n\n"
        f"Data {card['data']} ({card['data_licence']}); seed {card['seed']}; pretrained on "
        f"{recipe['pretrain_images']:,} images without labels, then trained on "
        f"{recipe['training_images']:,} with labels; {recipe['hours']:g} hours on shared cores. "
        f"Integers calibrated on {record['calibration_images']:,} training images. "
        f"{executors}: {equal} in {verified['values_compared']:,} spikes, membrane potentials and "
        f"outputs of {verified['samples']} test images. {per_image:,.0f} SOPs an image.\n\n"
    )
    return said + _few_bits(record) + table(["neuron layer", "neurons", "spike rate %, int8"], rows)


def _few_bits(record: Record) -> str:
    """Return what training at 4 bits brought, where it was done."""
    if "qat" not in record:
        return ""
    found, others = record["accuracy"], record["qat"]["images_predicted_otherwise_in_training"]
    drop = 100 * (found["float"] - found["int4_qat"])
    verified = record["verify"]["int4_qat"]
    equal = "equal" if verified["equal"] else "NOT EQUAL"
    return (
        f"At 4 bits, trained on: {drop:+.2f} points below float. Training predicts {others:,} of "
        f"{record['test_images']:,} test images otherwise than the integer network; "
        f"{' = '.join(verified['executors'])}: {equal} in {verified['values_compared']:,} values. "
        "int4 is the same network lowered to 4 bits without that, scales by `mse`.\n\n"
    )


def resumption(record: Record | None) -> str:
    """Return the section on killing and resuming."""
    if record is None:
        return ""
    rows = [[name, f"`{digest}`"] for name, digest in record["sha256"].items()]
    same = "equal" if len(set(record["sha256"].values())) == 1 else "NOT EQUAL"
    return (
        f"\n## Killed and resumed\n\n```sh\n{record['command']}\n```\n\n"
        f"Killed after step {record['killed_after']} of {record['steps']} and resumed: the weights "
        f"are {same}.\n\n" + table(["run", "SHA-256"], rows)
    )


def page(results: Path = RESULTS) -> str:
    """Return the page of the records under `results`."""
    resumed, lowered = read(results / "resumption"), read(results / "lowering")
    parts = [
        HEAD,
        pretraining(read(results / "pretraining"), read(results / "pretraining" / "tuning")),
        checkpoints(read(results / "checkpoints")),
        resumption(resumed[0] if resumed else None),
        throughput(read(results / "training")),
        lowering(lowered[0] if lowered else None),
    ]
    return "".join(parts)


def read(folder: Path) -> list[Record]:
    """Return every record of a folder, in the order of the file names."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]


def main() -> int:
    """Write the page."""
    with atomic_path(PAGE, force=True) as temporary:
        temporary.write_text(page(), "utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
