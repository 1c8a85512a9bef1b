"""What pretraining without labels brings: methods, pair losses and seeds, in equal time.

    python -m benchmarks.pretraining pace --data cifar10:DIR   # the time of a step of each method
    python -m benchmarks.pretraining tune --data cifar10:DIR   # learning rates, on held-out images
    python -m benchmarks.pretraining run --data cifar10:DIR    # every cell that has no record yet
    python -m benchmarks.page                                  # docs/results.md from the records

Equal time: `pace` lets the methods take turns and keeps the median processor time of a step; a
method gets as many steps as the budget has room for. So a cell repeats itself, whatever else the
machine does. A cell is one JSON file; a broken run goes on with the missing ones. One thread,
bfloat16.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import torch

from spikewright.export.formats.atomic import atomic_path
from spikewright.export.ir.errors import InputError, SpikewrightError
from spikewright.trainer.data import Dataset, load
from spikewright.trainer.evaluate import (
    labels_of,
    path_a_features,
    reestimate_batchnorm,
    spike_rates,
)
from spikewright.trainer.loop import LoopOptions
from spikewright.trainer.models import Classifier, create
from spikewright.trainer.tasks import PretrainOptions, PretrainResult, pretrain
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
RATES = (1.25e-3, 2.5e-3, 5e-3, 1e-2)
TUNING_SEED = 100
PACE_STEPS, PACE_ROUNDS = 12, 5


@dataclass(frozen=True, slots=True)
class Budget:
    """What every cell gets alike.

    Attributes:
        model, options, time_steps: the network.
        seconds: of processor time that pretraining may take, on one thread.
        batch, epochs: of the pretraining; an epoch is as many images as the time has room for.
        labelled: images that the probe and the neighbours see; tested: images they are judged on.
    """

    model: str = "spiking_resnet"
    widths: tuple[int, ...] = (32, 64, 128)
    blocks: tuple[int, ...] = (1, 1, 1)
    stem_stride: int = 4
    time_steps: int = 3
    seconds: float = 90.0
    batch: int = 128
    epochs: int = 3
    warmup_steps: int = 40
    projector: int = 128
    labelled: int = 10000
    tested: int = 10000

    def network(self, seed: int) -> Classifier:
        """Return it with random weights, laid out as it is trained."""
        shape = {"widths": self.widths, "blocks": self.blocks, "stem_stride": self.stem_stride}
        model = create(self.model, seed=seed, time_steps=self.time_steps, **shape)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def images(self, step_seconds: float) -> int:
        """Return the images of an epoch, whole batches, at least one."""
        steps = int(self.seconds / step_seconds / self.epochs)
        return max(1, steps) * self.batch


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
        return f"{self.kind}{rate}-seed{self.seed}"

    @property
    def kind(self) -> str:
        """What sets the time of a step: the method and the pair loss."""
        return f"{self.method}-{self.pair or 'none'}"


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
    cell: Cell,
    budget: Budget,
    splits: Splits,
    pace: Mapping[str, float],
    *,
    progress: bool = False,
) -> dict[str, Any]:
    """Train and judge one cell; return its record. `pace`: seconds of a step, by `Cell.kind`.

    Raises:
        InputError: where there are fewer images than the time has room for.
    """
    model = budget.network(cell.seed)
    record: dict[str, Any] = {"cell": asdict(cell), "budget": asdict(budget)}
    if cell.method != "random":
        images = budget.images(pace[cell.kind])
        if images > len(splits.unlabelled):
            reason = f"{images:,} images fit into {budget.seconds:g} s, "
            reason += f"there are {len(splits.unlabelled):,}"
            raise InputError(reason, node=cell.name, remedy="raise Budget.epochs")
        data = splits.unlabelled.head(images)
        result, seconds = _pretrained(model, cell, budget, data, progress=progress)
        steps = result.record.steps
        record |= {
            "loss": result.loss,
            "steps": steps,
            "cpu_seconds": round(seconds, 2),
            "images_per_cpu_second": round(steps * budget.batch / seconds, 1),
            "step_seconds": pace[cell.kind],
        }
    record |= judge(model, splits)
    return record | {"torch": torch.__version__, "threads": torch.get_num_threads()}


def _pretrained(
    model: Classifier,
    cell: Cell,
    budget: Budget,
    data: Dataset,
    *,
    progress: bool = False,
) -> tuple[PretrainResult, float]:
    """Pretrain on `data`; return what came of it and the processor time."""
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
    return result, process_time() - began


def measured_pace(
    budget: Budget, data: Dataset, *, steps: int = PACE_STEPS, rounds: int = PACE_ROUNDS
) -> dict[str, float]:
    """Return the median processor time of a step of each method and pair loss, taking turns."""
    short = replace(budget, epochs=1)
    found: dict[str, list[float]] = {}
    for turn in range(rounds + 1):  # the first only warms up
        for cell in cells(dict.fromkeys(PAIRS, min(RATES)), seeds=(TUNING_SEED,)):
            if cell.method == "random":
                continue
            model = short.network(cell.seed)
            result, seconds = _pretrained(model, cell, short, data.head(steps * short.batch))
            if turn:
                found.setdefault(cell.kind, []).append(seconds / result.record.steps)
    return {kind: round(median(times), 5) for kind, times in found.items()}


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
    return Splits(train, train.head(budget.labelled), judged)


def run_missing(
    todo: list[Cell], folder: Path, budget: Budget, splits: Splits, pace: Mapping[str, float]
) -> None:
    """Measure every cell without a record (of this budget) and write its record."""
    done = sum(_measured(folder / f"{cell.name}.json", budget) for cell in todo)
    print(f"{done} of {len(todo)} cells have a record", flush=True)
    for cell in todo:
        if _measured(folder / f"{cell.name}.json", budget):  # maybe by a second process by now
            continue
        record = measure(cell, budget, splits, pace)
        _write(folder / f"{cell.name}.json", record)
        print(f"{cell.name}: probe {record['probe']:.4f} knn {record['knn']:.4f}", flush=True)


def _write(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, force=True) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def _pace_of(folder: Path) -> dict[str, float]:
    path = folder / "pace" / "pace.json"
    if not path.is_file():
        remedy = "run `python -m benchmarks.pretraining pace --data DATA` first"
        raise InputError("no pace is measured", node=str(path), remedy=remedy)
    pace: dict[str, float] = json.loads(path.read_text("utf-8"))["step_seconds"]
    return pace


def _measured(path: Path, budget: Budget) -> bool:
    """Return whether a record is there, and of the same budget."""
    if not path.is_file():
        return False
    found = json.loads(path.read_text("utf-8"))
    return bool(found.get("budget") == json.loads(json.dumps(asdict(budget))))


def main(arguments: list[str]) -> int:
    """Measure the pace, tune, or run what is missing."""
    parser = argparse.ArgumentParser(prog="benchmarks.pretraining", description=__doc__)
    parser.add_argument("task", choices=("pace", "tune", "run"))
    parser.add_argument("--data", required=True, help="cifar10:DIR")
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="in this order")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    budget, tuning = Budget(), asked.records / "tuning"
    try:
        splits = splits_of(asked.data, budget, held_out=asked.task != "run")
        if asked.task == "pace":
            pace = measured_pace(budget, splits.unlabelled)
            _write(asked.records / "pace" / "pace.json", {"step_seconds": pace})
            print(json.dumps(pace, indent=1))
            return 0
        pace = _pace_of(asked.records)
        if asked.task == "tune":
            run_missing(list(tuning_cells()), tuning, budget, splits, pace)
            return 0
        rates = chosen_rates(read(tuning))
        run_missing(list(cells(rates, asked.seeds)), asked.records, budget, splits, pace)
    except SpikewrightError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
