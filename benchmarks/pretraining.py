"""What pretraining without labels brings: methods, pair losses and seeds, at equal steps.

    python -m benchmarks.pretraining tune --data cifar10:DIR   # learning rates, on held-out images
    python -m benchmarks.pretraining run --data cifar10:DIR    # every cell that has no record yet
    python -m benchmarks.page                                  # docs/results.md from the records

A cell is one JSON file; a broken run goes on with the cells that are missing. One thread, bfloat16.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any

import torch

from spikewright.export.formats.atomic import atomic_path
from spikewright.export.ir.errors import SpikewrightError
from spikewright.trainer.data import Dataset, load
from spikewright.trainer.evaluate import (
    labels_of,
    path_a_features,
    reestimate_batchnorm,
    spike_rates,
)
from spikewright.trainer.loop import LoopOptions
from spikewright.trainer.models import Classifier, create
from spikewright.trainer.tasks import PretrainOptions, pretrain
from spikewright.trainer.tasks.knn import vote
from spikewright.trainer.tasks.probe import fit_head_on

from .page import read

RECORDS = Path(__file__).parent / "results" / "pretraining"
METHODS: Mapping[str, Mapping[str, Any]] = {
    "random": {},
    "single": {"paths": "single", "loss": "non_cross"},
    "non_cross": {"paths": "dual", "loss": "non_cross"},
    "btl": {"paths": "dual", "loss": "btl"},
    "ctl": {"paths": "dual", "loss": "ctl"},
}
PAIRS = ("barlow", "ntxent")
SEEDS = (0, 1, 2)
RATES = (5e-3, 1e-2)
TUNING_SEED = 100


@dataclass(frozen=True, slots=True)
class Budget:
    """What every cell gets alike.

    Attributes:
        model, options, time_steps: the network.
        images, batch, epochs: of the pretraining; steps = epochs * (images // batch).
        labelled: images that the probe and the neighbours see; tested: images they are judged on.
    """

    model: str = "spiking_resnet"
    widths: tuple[int, ...] = (32, 64, 128)
    blocks: tuple[int, ...] = (1, 1, 1)
    stem_stride: int = 4
    time_steps: int = 3
    images: int = 19200
    batch: int = 128
    epochs: int = 1
    warmup_steps: int = 20
    projector: int = 128
    labelled: int = 5000
    tested: int = 5000

    def network(self, seed: int) -> Classifier:
        """Return it with random weights, laid out as it is trained."""
        shape = {"widths": self.widths, "blocks": self.blocks, "stem_stride": self.stem_stride}
        model = create(self.model, seed=seed, time_steps=self.time_steps, **shape)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True)
class Cell:
    """One run: a method, a pair loss (none for random weights), a learning rate and a seed."""

    method: str
    pair: str | None
    lr: float | None
    seed: int

    @property
    def name(self) -> str:
        """The record's file name, without its suffix."""
        rate = "" if self.lr is None else f"-lr{self.lr:g}"
        return f"{self.method}-{self.pair or 'none'}{rate}-seed{self.seed}"


@dataclass(frozen=True, slots=True)
class Splits:
    """Pictures to pretrain on, labelled ones, and those that the result is judged on."""

    unlabelled: Dataset
    labelled: Dataset
    judged: Dataset


def cells(rates: Mapping[str, float], seeds: Sequence[int] = SEEDS) -> Iterator[Cell]:
    """Yield every cell, one seed of all methods after the other."""
    for seed in seeds:
        yield Cell("random", None, None, seed)
        for pair in PAIRS:
            for method in METHODS:
                if method != "random":
                    yield Cell(method, pair, rates[pair], seed)


def tuning_cells() -> Iterator[Cell]:
    """Yield the cells that choose a learning rate: the dual path's baseline."""
    for pair in PAIRS:
        for rate in RATES:
            yield Cell("non_cross", pair, rate, TUNING_SEED)


def chosen_rates(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the learning rate of each pair loss with the best probe on held-out images."""
    best: dict[str, tuple[float, float]] = {}
    for record in records:
        pair, found = record["cell"]["pair"], (record["probe"], record["cell"]["lr"])
        best[pair] = max(best.get(pair, found), found)
    return {pair: rate for pair, (_, rate) in best.items()}


def measure(
    cell: Cell, budget: Budget, splits: Splits, *, progress: bool = False
) -> dict[str, Any]:
    """Train and judge one cell; return its record."""
    model = budget.network(cell.seed)
    record: dict[str, Any] = {"cell": asdict(cell), "budget": asdict(budget)}
    if cell.method != "random":
        record |= _pretrained(model, cell, budget, splits.unlabelled, progress)
    record |= judge(model, splits)
    return record | {"torch": torch.__version__, "threads": torch.get_num_threads()}


def _pretrained(
    model: Classifier, cell: Cell, budget: Budget, data: Dataset, progress: bool
) -> dict[str, Any]:
    assert cell.pair is not None and cell.lr is not None
    loop = LoopOptions(
        epochs=budget.epochs,
        batch=budget.batch,
        lr=cell.lr,
        warmup_steps=budget.warmup_steps,
        precision="bf16-mixed",
        channels_last=True,
        seed=cell.seed,
    )
    options = PretrainOptions(
        pair=cell.pair, projector=budget.projector, loop=loop, **METHODS[cell.method]
    )
    began = process_time()
    result = pretrain(model, data, options, progress=progress)
    seconds = process_time() - began
    steps = result.record.steps
    return {
        "loss": result.loss,
        "steps": steps,
        "cpu_seconds": round(seconds, 2),
        "images_per_cpu_second": round(steps * budget.batch / seconds, 1),
    }


def judge(model: Classifier, splits: Splits) -> dict[str, Any]:
    """Return the accuracy of a linear probe and of 20 nearest neighbours, and the spike rates.

    BatchNorm is re-estimated on Path A over the labelled images first.
    """
    steps = model.time_steps
    with torch.autocast("cpu", torch.bfloat16):
        reestimate_batchnorm(model, splits.labelled, steps)
        bank, queries = (
            path_a_features(model, data, steps).float() for data in (splits.labelled, splits.judged)
        )
        rates = spike_rates(model, splits.judged.head(500), steps)
    labels, truth = labels_of(splits.labelled), labels_of(splits.judged)
    fit_head_on(model, bank, labels, weight_decay=1e-3)
    with torch.no_grad():
        probe = model.head(queries).argmax(1)
    near = vote(bank, labels, queries, splits.labelled.classes)
    return {
        "probe": float((probe == truth).float().mean()),
        "knn": float((near == truth).float().mean()),
        "spike_rates": {name: round(rate, 4) for name, rate in rates.items()},
    }


def splits_of(spec: str, budget: Budget, *, held_out: bool) -> Splits:
    """Return the splits; `held_out` judges on training images left out, not on test."""
    train = load(spec)
    if held_out:
        train, judged = train.split_off(min(budget.tested, len(train) // 4))
    else:
        judged = load(spec, "test", limit=budget.tested)
    return Splits(train.head(budget.images), train.head(budget.labelled), judged)


def run_missing(todo: list[Cell], folder: Path, budget: Budget, splits: Splits) -> None:
    """Measure every cell without a record (of this budget) and write its record."""
    done = sum(_measured(folder / f"{cell.name}.json", budget) for cell in todo)
    print(f"{done} of {len(todo)} cells have a record", flush=True)
    for cell in todo:
        if _measured(folder / f"{cell.name}.json", budget):  # maybe by a second process by now
            continue
        record = measure(cell, budget, splits)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / f"{cell.name}.json", force=True) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        print(f"{cell.name}: probe {record['probe']:.4f} knn {record['knn']:.4f}", flush=True)


def _measured(path: Path, budget: Budget) -> bool:
    """Return whether a record is there, and of the same budget."""
    if not path.is_file():
        return False
    found = json.loads(path.read_text("utf-8"))
    return bool(found.get("budget") == json.loads(json.dumps(asdict(budget))))


def main(arguments: list[str]) -> int:
    """Tune, or run what is missing."""
    parser = argparse.ArgumentParser(prog="benchmarks.pretraining", description=__doc__)
    parser.add_argument("task", choices=("tune", "run"))
    parser.add_argument("--data", required=True, help="cifar10:DIR")
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="in this order")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    budget, tuning = Budget(), asked.records / "tuning"
    try:
        splits = splits_of(asked.data, budget, held_out=asked.task == "tune")
        if asked.task == "tune":
            run_missing(list(tuning_cells()), tuning, budget, splits)
            return 0
        rates = chosen_rates(read(tuning))
        run_missing(list(cells(rates, asked.seeds)), asked.records, budget, splits)
    except SpikewrightError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
