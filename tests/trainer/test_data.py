"""Readers: the split, what a file holds, and one line for each way it can be wrong."""

import io
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from spikewright.export.ir.errors import (
    FormatError,
    InputError,
    SpikewrightError,
    UnknownNameError,
)
from spikewright.trainer.data import load, load_splits
from spikewright.trainer.data.dataset import tenth_apart


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("SPIKEWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return f"npz:{path}"


def png(colour, size=32):
    image = pytest.importorskip("PIL.Image")
    data = io.BytesIO()
    image.new("RGB", (size, size), colour).save(data, "PNG")
    return data.getvalue()


def test_digits_are_split_once_and_for_all():
    train, test = load("digits"), load("digits", "test")
    assert (train.x.shape, test.x.shape) == ((1347, 1, 8, 8), (450, 1, 8, 8))
    assert train.x.dtype == np.float32
    assert train.labels.dtype == np.int64
    assert (float(train.x.min()), float(train.x.max())) == (0.0, 1.0)
    assert train.classes == 10
    everything = np.concatenate([train.x, test.x]).reshape(1797, -1)
    assert len(np.unique(everything, axis=0)) == 1797, "a picture stands in both splits"
    assert np.bincount(test.labels, minlength=10).min() >= 30
    assert "CC BY 4.0" in train.licence
    # The split is part of the file: these sums change if it ever does.
    assert (int(train.x.sum() * 16), int(test.labels.sum())) == (421370, 2091)


def test_limit_keeps_the_first():
    whole, few = load("digits", "test"), load("digits", "test", limit=7)
    assert np.array_equal(few.x, whole.x[:7])
    assert np.array_equal(few.labels, whole.labels[:7])


def test_npz_keeps_integers_and_narrows_floats(tmp_path):
    floats = load(write_npz(tmp_path / "f.npz", x=np.ones((3, 2, 4)), y=np.array([0, 1, 2])))
    assert (floats.x.dtype, floats.sample_shape, floats.classes) == (np.float32, (2, 4), 3)
    integers = load(write_npz(tmp_path / "i.npz", x=np.arange(6, dtype=np.int16).reshape(2, 3)))
    assert (integers.x.dtype, integers.y) == (np.int16, None)
    with pytest.raises(InputError, match="no labels"):
        _ = integers.labels


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"x": np.full((2, 2), 1e300)}, "beyond float32"),
        ({"x": np.ones((2, 2)), "y": np.array([0, 2**63], np.uint64)}, "holds 9223372036854775808"),
        ({"z": np.ones((2, 2))}, "no array 'x'"),
        ({"x": np.ones(3)}, "needs \\[sample"),
        ({"x": np.array([[1.0, np.nan]])}, "NaN"),
        ({"x": np.array([["a"]])}, "dtype <U1"),
        ({"x": np.ones((2, 2)), "y": np.array([0, 1, 2])}, "needs integer \\[2\\]"),
        ({"x": np.ones((2, 2)), "y": np.array([0.5, 1.0])}, "needs integer \\[2\\]"),
        ({"x": np.ones((2, 2)), "y": np.array([-1, 1])}, "holds -1"),
    ],
)
def test_npz_with_wrong_arrays_is_refused(tmp_path, arrays, text):
    with pytest.raises(FormatError, match=text) as caught:
        load(write_npz(tmp_path / "bad.npz", **arrays))
    assert "\n" not in str(caught.value)
    assert "bad.npz" in str(caught.value)


def test_npz_never_unpickles(tmp_path):
    spec = write_npz(tmp_path / "p.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FormatError, match="not a readable npz"):
        load(spec)


def test_truncated_npz_is_refused(tmp_path):
    path = tmp_path / "t.npz"
    write_npz(path, x=np.ones((50, 50)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FormatError, match="truncated"):
        load(f"npz:{path}")


def test_an_empty_npz_is_refused(tmp_path):
    with pytest.raises(InputError, match="0 samples"):
        load(write_npz(tmp_path / "e.npz", x=np.ones((0, 4))))


def test_cifar10_binary_release(tmp_path):
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (20, 3073), np.uint8)
    records[:, 0] %= 10
    for batch in (1, 2):
        half = records[10 * batch - 10 : 10 * batch]
        (tmp_path / f"data_batch_{batch}.bin").write_bytes(half.tobytes())
    data = load(f"cifar10:{tmp_path}", limit=15)
    assert data.x.shape == (15, 3, 32, 32)
    assert np.array_equal(data.labels, records[:15, 0])
    assert np.array_equal(np.rint(data.x[11].ravel() * 255), records[11, 1:])


def test_cifar10_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    pictures = [{"bytes": png(c), "path": None} for c in colours]
    table = pa.table({"img": pictures, "label": [3, 1, 9]})
    parquet.write_table(table, tmp_path / "test-00000-of-00001.parquet")
    data = load(f"cifar10:{tmp_path}", "test", limit=2)
    assert data.labels.tolist() == [3, 1]
    assert data.x[:, :, 5, 5].tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def write_parquet(path, labels=(3, 1, 9)):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pictures = [{"bytes": png((20 * n, 255, 0)), "path": None} for n in labels]
    parquet.write_table(pa.table({"img": pictures, "label": list(labels)}), path)


def test_parquet_is_decoded_once_and_again_when_it_changes(tmp_path, cache, monkeypatch):
    from spikewright.trainer.data import cifar10

    path = tmp_path / "train-00000-of-00001.parquet"
    write_parquet(path)
    first = load(f"cifar10:{tmp_path}")
    (kept,) = cache.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(cifar10, "decode_pixels", None)
        again = load(f"cifar10:{tmp_path}")
        few = load(f"cifar10:{tmp_path}", limit=2)
    assert np.array_equal(first.x, again.x) and np.array_equal(first.labels, again.labels)
    assert np.array_equal(few.x, first.x[:2])
    kept.write_bytes(kept.read_bytes()[:90])
    assert np.array_equal(load(f"cifar10:{tmp_path}").x, first.x)
    write_parquet(path, (2, 2))
    assert load(f"cifar10:{tmp_path}").labels.tolist() == [2, 2]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SPIKEWRIGHT_CACHE", str(tmp_path / "file" / "cache"))
    write_parquet(tmp_path / "train-0.parquet")
    assert len(load(f"cifar10:{tmp_path}")) == 3


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data_batch_1", "python release"),
        ("train/cat/a.png", "imagefolder:"),
        ("readme.txt", "binary release"),
    ],
)
def test_a_folder_of_another_kind_is_named(tmp_path, file, text):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(FormatError, match=text):
        load(f"cifar10:{tmp_path}")


def ordered(count):
    """Samples that are their own number, classes in order."""
    return {"x": np.arange(count, dtype=np.float32)[:, None], "y": np.arange(count) * 4 // count}


def test_an_npz_with_a_test_split_gives_each(tmp_path):
    spec = write_npz(tmp_path / "a.npz", **ordered(8), x_test=np.ones((3, 1)), y_test=np.arange(3))
    train, test = load_splits(spec)
    assert (len(train), len(test), test.split) == (8, 3, "test")
    assert np.array_equal(load(spec, "test").labels, [0, 1, 2])
    assert len(load_splits(spec, 2)[0]) == len(load_splits(spec, 2)[1]) == 2
    spec = write_npz(tmp_path / "b.npz", **ordered(8), y_test=np.arange(3))
    with pytest.raises(FormatError, match="'y_test' without 'x_test'"):
        load(spec)
    spec = write_npz(tmp_path / "c.npz", **ordered(8), x_test=np.ones(3))
    with pytest.raises(FormatError, match="'x_test' has shape"):
        load(spec, "test")


def test_of_an_npz_without_a_test_split_a_tenth_is_held_out(tmp_path):
    spec = write_npz(tmp_path / "a.npz", **ordered(200))
    train, test = load_splits(spec)
    assert (len(train), len(test), test.split) == (180, 20, "held-out")
    both = np.concatenate([train.x, test.x]).ravel()
    assert np.array_equal(np.sort(both), np.arange(200)) and test.classes == 4
    assert np.array_equal(test.x, load_splits(spec)[1].x)
    few = load_splits(spec, 10)
    assert np.array_equal(few[0].x, train.x[:10]) and np.array_equal(few[1].x, test.x[:10])
    assert len(load(spec, "test")) == 200  # to run on, all of them
    small = write_npz(tmp_path / "b.npz", **ordered(9))
    with pytest.raises(InputError, match="9 samples and no test split, at least 10"):
        load_splits(small)


def test_of_an_imagefolder_without_splits_a_tenth_is_held_out(tmp_path):
    for name, shade in (("dark", 0), ("light", 200)):
        (tmp_path / name).mkdir()
        for index in range(10):
            (tmp_path / name / f"{index}.png").write_bytes(png((shade + index,) * 3, 4))
    train, test = load_splits(f"imagefolder:{tmp_path}", 12)
    assert (len(train), len(test)) == (12, 2)
    assert not {x.tobytes() for x in train.x} & {x.tobytes() for x in test.x}


def test_samples_held_out_and_shares_of_labels_are_fixed():
    data = load("digits")
    rest, held = data.split_off(300)
    assert (len(rest), len(held), held.split) == (1047, 300, "validation")
    whole = np.concatenate([rest.x, held.x]).reshape(1347, -1)
    assert len(np.unique(whole, axis=0)) == 1347
    assert np.array_equal(held.x, data.split_off(300)[1].x)
    few, more = data.labelled_share(0.01), data.labelled_share(0.1)
    assert np.bincount(few.labels).tolist() == [1] * 10
    assert 130 <= len(more) <= 140 and np.bincount(more.labels).min() >= 12
    assert {p.tobytes() for p in few.x} < {p.tobytes() for p in more.x}
    for wrong in (0.0, 1.5):
        with pytest.raises(InputError, match="share of labels"):
            data.labelled_share(wrong)
    with pytest.raises(InputError, match=r"is 0\.012 of a label.*give a share of 0\.0082"):
        data.labelled_share(0.0001)
    with pytest.raises(InputError, match=r"allowed 1\.\.1346"):
        data.split_off(1347)


def test_cifar10_parquet_with_other_columns_is_refused(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"text": ["a"]}), tmp_path / "train-0.parquet")
    with pytest.raises(FormatError, match="columns text"):
        load(f"cifar10:{tmp_path}")
    (tmp_path / "train-0.parquet").write_bytes(b"PAR1 no parquet")
    with pytest.raises(FormatError, match="not a readable parquet"):
        load(f"cifar10:{tmp_path}")


def test_cifar10_of_the_wrong_size_is_refused(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(b"\x00" * 3000)
    with pytest.raises(FormatError, match="3000 bytes"):
        load(f"cifar10:{tmp_path}", "test")


def test_imagefolder_covers_all_classes_under_a_limit(tmp_path):
    for name, colour in (("red", (255, 0, 0)), ("green", (0, 255, 0))):
        (tmp_path / "train" / name).mkdir(parents=True)
        for index in range(3):
            (tmp_path / "train" / name / f"{index}.png").write_bytes(png(colour, 16))
    data = load(f"imagefolder:{tmp_path}", limit=2)
    assert data.x.shape == (2, 3, 16, 16)
    assert data.labels.tolist() == [0, 1]  # green, red
    (tmp_path / "train" / "red" / "0.png").write_bytes(b"no picture")
    with pytest.raises(FormatError, match="not a readable picture"):
        load(f"imagefolder:{tmp_path}")


@pytest.mark.parametrize(
    ("spec", "split", "limit", "error", "text"),
    [
        ("digit", "train", None, UnknownNameError, "did you mean digits"),
        ("digits", "validation", None, UnknownNameError, "known: test, train"),
        ("digits", "train", 0, InputError, "limit 0"),
        ("digits:x", "train", None, InputError, "takes no path"),
        ("npz", "train", None, InputError, "write npz:PATH"),
        ("npz:/no/such.npz", "train", None, FormatError, "no such file"),
        ("cifar10:/no/such", "train", None, FormatError, "no train-"),
        ("imagefolder:/no/such", "train", None, FormatError, "no such folder"),
    ],
)
def test_bad_requests_are_one_line(spec, split, limit, error, text):
    with pytest.raises(error, match=text) as caught:
        load(spec, split, limit)
    assert isinstance(caught.value, SpikewrightError)
    assert "\n" not in str(caught.value)


def test_reading_data_imports_no_torch():
    code = """
        import sys
        from spikewright.trainer.data import load, load_splits
        import spikewright.trainer
        load("digits")
        assert "torch" not in sys.modules
    """
    # conftest.py makes the package importable where it is not installed.
    start = "import runpy; runpy.run_path('conftest.py')\n"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", start + textwrap.dedent(code)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_class_has_one_number_in_both_splits(tmp_path):
    for place in ("train/a", "train/b", "train/c", "test/b", "test/c"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "p.png").write_bytes(png((9, 9, 9)))
    train, test = load_splits(f"imagefolder:{tmp_path}")
    assert train.labels.tolist() == [0, 1, 2] and test.labels.tolist() == [1, 2]


def test_a_limit_bounds_what_is_decoded_of_undivided_pictures(tmp_path, monkeypatch):
    from spikewright.trainer.data import imagefolder

    (tmp_path / "one").mkdir()
    for index in range(40):
        (tmp_path / "one" / f"{index:02}.png").write_bytes(png((index, 0, 0), 4))
    spec, decoded, decode = f"imagefolder:{tmp_path}", [], imagefolder.decode_rgb
    rest, held = load(spec).parted(*tenth_apart(40, spec))

    def counted(content, where, size):
        decoded.append(where)
        return decode(content, where, size)

    monkeypatch.setattr(imagefolder, "decode_rgb", counted)
    train, test = load_splits(spec, 3)
    assert len(decoded) == 6 and (train.split, test.split) == ("train", "held-out")
    assert np.array_equal(train.x, rest.x[:3]) and np.array_equal(test.x, held.x[:3])
