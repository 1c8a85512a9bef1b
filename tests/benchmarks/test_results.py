"""The results page is made of the records, and a run goes on with the cells that are missing."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from benchmarks import checkpoints, page, pretraining
from benchmarks.page import verdict
from benchmarks.pretraining import (
    Budget,
    Cell,
    Splits,
    chosen_rates,
    measure,
    measured_pace,
    run_missing,
)
from spikewright import api
from spikewright.export.ir.errors import InputError
from spikewright.trainer import checkpoint
from spikewright.trainer.data import Dataset, load
from spikewright.trainer.loop import LoopOptions
from spikewright.trainer.models import create
from spikewright.trainer.quantised import Quantised
from spikewright.trainer.tasks import SupervisedOptions, train_supervised

RECIPE = {"pretrain_images": 0, "training_images": 256, "hours": 0.01}
BUDGET = Budget(
    widths=(8, 8),
    blocks=(1, 1),
    time_steps=3,
    seconds=1,
    epochs=2,
    batch=32,
    labelled=64,
    tested=48,
)
PACE = {"btl-ntxent": 0.2, "ctl-ntxent": 0.5}


@pytest.fixture(scope="module")
def splits():
    rng = np.random.default_rng(0)
    y = np.arange(112) % 2
    x = rng.random((112, 3, 32, 32), dtype=np.float32) * 0.5 + 0.5 * y[:, None, None, None]
    data = Dataset(x.astype(np.float32), y.astype(np.int64), "two shades", "train")
    head = data.head(64)
    return Splits(head, head, data.take(np.arange(64, 112)))


def test_the_committed_page_is_made_of_the_committed_records():
    assert page.PAGE.read_text("utf-8") == page.page()


def test_every_method_and_pair_loss_has_a_cell_of_each_seed():
    cells = list(pretraining.cells({"barlow": 0.005, "ntxent": 0.01}))
    assert len(cells) == len({cell.name for cell in cells}) == 3 * (1 + 2 * 4)
    assert {cell.lr for cell in cells if cell.pair == "ntxent"} == {0.01}


def test_a_run_goes_on_with_the_missing_cells_and_repeats_itself(splits, tmp_path):
    todo = [Cell("random", None, None, 0), Cell("btl", "ntxent", 0.005, 0)]
    run_missing(todo, tmp_path, BUDGET, splits, PACE)
    first = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert set(first) == {"random-none-seed0.json", "btl-ntxent-lr0.005-seed0.json"}
    assert first["btl-ntxent-lr0.005-seed0.json"]["steps"] == 4  # two epochs of two
    assert first["random-none-seed0.json"]["probe"] > 0.9  # two shades are told apart
    kept, other = (tmp_path / name for name in sorted(first, reverse=True))
    kept.write_text(json.dumps(first[kept.name] | {"probe": 0.0}))  # a record of this budget stays
    other.write_text(json.dumps(first[other.name] | {"budget": {}}))  # one of another does not
    run_missing(todo, tmp_path, BUDGET, splits, PACE)
    assert json.loads(kept.read_text())["probe"] == 0.0
    again = json.loads((tmp_path / "btl-ntxent-lr0.005-seed0.json").read_text())
    assert again["loss"] == first["btl-ntxent-lr0.005-seed0.json"]["loss"]
    assert again["probe"] == first["btl-ntxent-lr0.005-seed0.json"]["probe"]


def test_equal_time_is_more_steps_for_the_faster_method(splits):
    assert BUDGET.images(PACE["btl-ntxent"]) == 2 * BUDGET.images(PACE["ctl-ntxent"]) == 64
    with pytest.raises(InputError, match="there are 64"):
        measure(Cell("btl", "ntxent", 0.005, 0), BUDGET, splits, {"btl-ntxent": 0.01})


def test_the_pace_knows_every_method_and_pair_loss(splits):
    pace = measured_pace(BUDGET, splits.unlabelled, steps=1, rounds=1)
    asked = {cell.kind for cell in pretraining.cells({"barlow": 0.1, "ntxent": 0.1})}
    assert set(pace) == asked - {"random-none"}
    assert all(seconds > 0 for seconds in pace.values())


def test_the_learning_rate_is_the_one_with_the_best_held_out_probe():
    tried = [("barlow", 0.005, 0.3), ("barlow", 0.01, 0.4), ("ntxent", 0.005, 0.5)]
    records = [{"cell": {"pair": p, "lr": lr}, "probe": probe} for p, lr, probe in tried]
    assert chosen_rates(records) == {"barlow": 0.01, "ntxent": 0.005}


def test_overlapping_seeds_show_nothing():
    assert verdict([0.41, 0.42, 0.43], [0.38, 0.39, 0.40]) == "+3.0, above"
    assert verdict([0.35, 0.36, 0.37], [0.38, 0.39, 0.40]) == "-3.0, below"
    assert verdict([0.39, 0.42, 0.43], [0.38, 0.39, 0.40]).endswith("within the spread")
    assert verdict([0.41, 0.42], [0.38, 0.39]).endswith("too few seeds")


def test_the_page_counts_seeds_and_shows_what_differs(tmp_path):
    folder = tmp_path / "pretraining"
    folder.mkdir()
    for seed, (ours, base) in enumerate([(0.5, 0.4), (0.6, 0.3), (0.7, 0.2)]):
        for method, probe in (("ctl", ours), ("non_cross", base)):
            cell = Cell(method, "barlow", 0.005, seed)
            record = {
                "cell": asdict(cell),
                "budget": asdict(BUDGET),
                "probe": probe,
                "knn": 0.25,
                "steps": 7,
                "step_seconds": 0.32,
                "torch": "2",
            }
            (folder / f"{cell.name}.json").write_text(json.dumps(record))
    text = page.page(tmp_path)
    row = (
        "| dual path, CTL | Barlow Twins | 3 | 60.0 ± 10.0 | 25.0 ± 0.0 | +30.0, above | 7 | 100 |"
    )
    assert row in text


def test_the_page_shows_speeds_and_who_is_faster(tmp_path):
    speeds = {"ours": (200.0, 1.0), "snntorch plain": (50.0, 4.0)}
    rows = {name: {"images_per_s": speed, "ratio": r} for name, (speed, r) in speeds.items()}
    record = {
        "command": "python -m benchmarks.training --threads 1 --rounds 9",
        "machine": "a processor, 2 CPUs",
        "clock": "process_time",
        "network": {"widths": [8], "stem_stride": 1},
        "options": {"threads": 1, "batch": 4, "time_steps": 2},
        "same_spikes": {"snntorch": 1.0},
        "float32": rows,
        "bfloat16": rows,
    }
    lowered = {"big": {"weights_mib": 81, "cpu_seconds": 0.6, "limit_s": 5, "peak_over_weights": 2}}
    for folder, content in (("training", record), ("lowering", lowered)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "record.json").write_text(json.dumps(content))
    text = page.page(tmp_path)
    assert "1 thread, processor time:" in text and record["command"] in text
    assert "| snntorch plain | 50 | 50 | 4.00 × | 4.00 × |" in text
    assert "| `big` | 81 | 0.6 | 5 | 2.00 × |" in text


def test_a_checkpoint_trained_at_4_bits_predicts_as_its_integers(tmp_path):
    """On the packaged digits: the record tells of every image, the page of the record."""
    train, test = load("digits", limit=256), load("digits", "test", limit=40)
    options = SupervisedOptions(time_steps=2, loop=LoopOptions(epochs=1, batch=64))
    net = create("spiking_resnet_digits", time_steps=2)
    paths = [tmp_path / "net.safetensors", tmp_path / "net4.safetensors"]
    for path, bits in zip(paths, (None, 4), strict=True):
        lowering = api.lowering(bits=4, calibrate=train.x, scale="mse")
        train_supervised(Quantised(net, lowering) if bits else net, train, test, options)
        card = checkpoint.describe(
            net, train, recipe=RECIPE, command="train it", seed=0, accuracies={}
        )
        checkpoint.save(path, net, card)
    model, tuned = paths
    record = checkpoints.measure(str(model), train, test, str(tuned))
    assert record["qat"]["images_predicted_otherwise_in_training"] == 0
    assert record["verify"]["int8"]["equal"] and record["verify"]["int4_qat"]["equal"]
    text = page.checkpoints([record])
    assert "Training predicts 0 of 40 test images otherwise" in text
    assert record["qat"]["command"] in text and "--qat4 net-int4.safetensors" in text
