"""npz files that a hostile or unlucky hand made: read right as far as wanted, or refused."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spikewright.export.formats import npy
from spikewright.export.formats.npz_in import Npz
from spikewright.export.ir import FormatError
from spikewright.trainer.data import load, load_splits, load_training
from spikewright.trainer.data.dataset import tenth_apart


def header(descr="<f4", order=False, shape=(4, 2), version=1):
    text = repr({"descr": descr, "fortran_order": order, "shape": shape}) + "\n"
    width = 2 if version == 1 else 4
    start = b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(width, "little")
    return start + text.encode()


def with_member(path, content, name="x.npy", method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr(name, content)
    return path


def read(path, samples=None, name="x"):
    with Npz(path) as file:
        return file.read(name, samples)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "|u1", "|b1", "<c8", "<U3"])
@pytest.mark.parametrize("samples", [None, 1, 3, 7, 9])
def test_arrays_are_those_that_numpy_reads(tmp_path, save, order, dtype, samples):
    values = np.random.default_rng(0).integers(0, 99, (7, 2, 3)).astype(dtype)
    save(tmp_path / "a.npz", x=np.asarray(values, order=order), scalar=np.array(5))
    found = read(tmp_path / "a.npz", samples)
    assert np.array_equal(found, values[:samples]) and found.flags.c_contiguous
    assert found.dtype == values.dtype.newbyteorder("=")
    assert read(tmp_path / "a.npz", None, "scalar") == 5


@pytest.mark.parametrize(("shape", "chunk"), [((50, 3, 4), 64), ((50, 3, 4), 450), ((3, 0, 2), 64)])
def test_the_first_samples_in_fortran_order(tmp_path, monkeypatch, shape, chunk):
    """Lines that are longer and shorter than a chunk: one is passed by, others are cut."""
    monkeypatch.setattr(npy, "CHUNK", chunk)
    values = np.arange(np.prod(shape), dtype="<i4").reshape(shape)
    np.savez_compressed(tmp_path / "a.npz", x=np.asfortranarray(values))
    assert np.array_equal(read(tmp_path / "a.npz", 2), values[:2])


def test_members_by_other_writers(tmp_path):
    values = np.arange(8, dtype="<f4").reshape(4, 2)
    python2 = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4L, 2L), }\n"
    start = b"\x93NUMPY\x01\x00" + len(python2).to_bytes(2, "little")
    for content in (start + python2, header(version=2), header(version=3)):
        assert np.array_equal(read(with_member(tmp_path / "a", content + values.tobytes())), values)
    bare = with_member(tmp_path / "b", header() + values.tobytes(), name="x")
    assert np.array_equal(read(bare), values)


BODY = bytes(32)
WRONG = {
    "raw": (b"four values of another program", "does not begin as a .npy array"),
    "empty": (b"", "it ends within the header"),
    "version": (b"\x93NUMPY\x09\x00" + header()[8:] + BODY, "version 9"),
    "cut": (header()[:20], "ends within the header"),
    "huge header": (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + BODY, "2147483647 characters"),
    "more than it holds": (header(shape=(1 << 40, 4)) + BODY, "17,592,186,044,416 bytes, and the"),
    "less than it holds": (header(shape=(2, 2)) + BODY, "16 bytes, and the file has 32"),
    "overflow": (header(shape=(1 << 61, 1 << 61)) + BODY, "and the file has 32"),
    "negative": (header(shape=(-4, 2)) + BODY, r"shape \(-4, 2\)|not \{descr"),
    "truth as length": (header(shape=(True, 2)) + BODY, r"shape \(True, 2\)"),
    "axes": (header(shape=(1,) * 40) + BODY, "40 axes"),
    "order": (header(order=3) + BODY, "fortran_order 3"),
    "objects": (header("|O", shape=(4,)) + BODY, "Python objects"),
    "records": (header([("a", "<f4"), ("b", "<f4")]) + BODY, "dtype"),
    "no bytes": (header("<U0", shape=(1 << 40,)), "dtype '<U0'"),
    "unknown": (header("<f3") + BODY, "dtype '<f3'"),
    "dates": (header("<M8[ns]") + BODY, "dtype"),
    "no literal": (b"\x93NUMPY\x01\x00\x08\x00__import" + BODY, "not {descr"),
    "deep": (b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10000 + BODY, "not {descr"),
    "escape": (header("\\d") + BODY, "not {descr"),
}


@pytest.mark.parametrize("what", WRONG)
def test_headers_that_lie_are_refused(tmp_path, what):
    content, message = WRONG[what]
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with pytest.raises(FormatError, match=message) as caught:
            read(with_member(tmp_path / "bad.npz", content, method=method))
        assert "bad.npz" in str(caught.value) and "\n" not in str(caught.value)


def patched(path, at, value):
    """Change a field of the one member in its local header and in the directory."""
    content = bytearray(path.read_bytes())
    for start, place in ((content.find(b"PK\x03\x04"), at), (content.find(b"PK\x01\x02"), at + 2)):
        content[start + place : start + place + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)
    return path


def test_encryption_and_methods_are_named(tmp_path):
    good = header() + BODY
    locked = patched(with_member(tmp_path / "a.npz", good), 6, 1)
    with pytest.raises(FormatError, match="'x' is encrypted"):
        read(locked)
    for method in (9, 14, 97, 65535):
        with pytest.raises(FormatError, match=f"compressed by method {method}"):
            read(patched(with_member(tmp_path / "b.npz", good), 8, method))
    with pytest.raises(FormatError, match="compressed by method 12"):
        read(with_member(tmp_path / "c.npz", good, method=zipfile.ZIP_BZIP2))


def test_a_name_that_is_there_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", header() + BODY)
        file.writestr("x", header() + BODY)
    with pytest.raises(FormatError, match="'x' is there 2 times"):
        Npz(tmp_path / "a.npz")


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (tmp_path / "pipe.npz", Path("/dev/zero"), tmp_path):
        with pytest.raises(FormatError, match="a folder, a pipe or a device"):
            Npz(path)
    with pytest.raises(FormatError, match="cannot be read"):
        Npz(Path("a\0b.npz"))


def accepted(path):
    try:
        with Npz(path) as file:
            return [file.read(name) for name in file.names]
    except FormatError:
        return []


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_changed_byte_is_refused_or_harmless(tmp_path, save):
    """Never another exception; what is accepted is what was written: checksums see the rest."""
    values = np.random.default_rng(1).random((4, 6)).astype("f4")
    save(tmp_path / "a.npz", x=values)
    whole = (tmp_path / "a.npz").read_bytes()
    for at in range(len(whole)):
        for value in (whole[at] ^ 1, whole[at] ^ 128, 255):
            content = bytearray(whole)
            content[at] = value
            (tmp_path / "b.npz").write_bytes(content)
            for array in accepted(tmp_path / "b.npz"):
                assert np.array_equal(array, values)
    for length in range(0, len(whole), 7):
        (tmp_path / "b.npz").write_bytes(whole[:length])
        with pytest.raises(FormatError):
            Npz(tmp_path / "b.npz")


def bomb(path, samples, mebibytes, **others):
    """Write an npz whose `x` [sample, 1024] unpacks to so many MiB of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("x.npy", "w", force_zip64=True) as member:
            member.write(header("|u1", shape=(samples, 1024)))
            for _ in range(mebibytes):
                member.write(bytes(1 << 20))
        for name, array in others.items():
            content = io.BytesIO()
            np.save(content, array)
            file.writestr(f"{name}.npy", content.getvalue())
    return path


def test_a_bomb_costs_what_is_wanted_of_it(tmp_path):
    """A child with 250 MB more than it starts with reads the first samples of 500 MB."""
    path = bomb(tmp_path / "b.npz", 500 << 10, 500, y=np.arange(500 << 10) % 7)
    code = f"""
        import re, resource
        from spikewright.export.ir import FormatError
        from spikewright.trainer.data import load, load_splits, load_training
        load("digits")
        kilobytes = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1])
        room = (kilobytes << 10) + (250 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        few = load("npz:{path}", "train", 4)
        assert few.x.shape == (4, 1024) and few.labels.tolist() == [0, 1, 2, 3]
        assert [len(part) for part in load_splits("npz:{path}", 4)] == [4, 4]
        assert len(load_training("npz:{path}", 4)) == 4
        try:
            load("npz:{path}")
        except FormatError as error:
            print(error)
    """
    root = Path(__file__).parents[3]
    start = "import runpy; runpy.run_path('conftest.py')\n"
    command = [sys.executable, "-c", start + textwrap.dedent(code)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (
        "arrays up to 'x' of 524,288,000 bytes out of" in done.stdout and "--limit N" in done.stdout
    )
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1 << 20


def test_many_members_share_one_allowance(tmp_path):
    content = header("|u1", shape=(50 << 20,)) + bytes(50 << 20)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
        for name in "abcd":
            file.writestr(f"{name}.npy", content)
    with Npz(tmp_path / "a.npz") as file:
        taken = [file.read(name).nbytes for name in "abc"]
        with pytest.raises(FormatError, match="arrays up to 'd' of 209,715,200 bytes"):
            file.read("d")
    assert taken == [50 << 20] * 3


def test_parts_under_a_limit_are_the_first_of_the_whole_parts(tmp_path):
    x = np.arange(300, dtype=np.float32)[:, None]
    np.savez_compressed(
        tmp_path / "a.npz", x=np.asfortranarray(np.hstack([x, x])), y=np.arange(300)
    )
    spec = f"npz:{tmp_path / 'a.npz'}"
    rest, held = tenth_apart(300, spec)
    for limit in (1, 5, 29, 31, None):
        train, test = load_splits(spec, limit)
        assert np.array_equal(train.x[:, 1], rest[:limit]) and np.array_equal(
            train.labels, rest[:limit]
        )
        assert np.array_equal(test.x[:, 0], held[:limit]) and test.split == "held-out"
        assert np.array_equal(load_training(spec, limit).x, train.x)
    assert load(spec, "test", 3).labels.tolist() == [0, 1, 2] and load(spec).undivided
