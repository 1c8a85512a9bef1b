"""The guarded opening of HDF5: what it hands back, what it refuses unread, and files that hang."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikewright.export.formats import hdf5
from spikewright.export.formats.hdf5 import read_hdf5, top_names
from spikewright.export.formats.hdf5_worker import FREE_ELEMENTS
from spikewright.export.formats.lava import write_lava
from spikewright.export.formats.lava_in import read_lava
from spikewright.export.ir import FormatError

from .nir_files import chain_file, lif
from .test_lava import network


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.h5"


def made(path: Path, fill: Callable[[Any], None]) -> Path:
    with h5py.File(path, "w") as file:
        fill(file)
    return path


VALUES: dict[str, Any] = {
    "float": np.linspace(0, 1, 7, dtype=np.float32),
    "big": np.arange(6, dtype=">i4").reshape(2, 3),
    "bool": np.array([True, False]),
    "half": np.ones((2, 0, 3), np.float16),
    "one": np.int64(-5),
}


def test_values_come_back_as_they_were_written(path: Path) -> None:
    made(path, lambda file: file.create_group("a/b").update(VALUES))
    tree = read_hdf5(path, ["a"])["a"]["b"]
    assert list(tree) == sorted(VALUES)
    for name, value in VALUES.items():
        assert np.array_equal(tree[name], value)
        assert tree[name].dtype == value.dtype and tree[name].shape == value.shape


def test_texts_come_back_as_str(path: Path) -> None:
    def fill(file: Any) -> None:
        file["word"] = "spïke"
        file.create_dataset("short", data=np.bytes_(b"LIF"))
        file.create_dataset("pairs", data=np.array([["a", "b"]], object), dtype=h5py.string_dtype())
        file["fixed"] = np.array([b"x", b"yz"])

    tree = read_hdf5(made(path, fill), ["word", "short", "pairs", "fixed"])
    assert tree["word"] == "spïke" and tree["short"] == "LIF"
    assert tree["pairs"].tolist() == [["a", "b"]]
    assert tree["fixed"].tolist() == [b"x", b"yz"]


@pytest.mark.parametrize("packed", [{"compression": "gzip", "shuffle": True}, {"fletcher32": True}])
def test_filters_that_nir_writes_are_unpacked(packed: dict[str, Any], path: Path) -> None:
    values = np.random.default_rng(0).random((30, 40))
    made(path, lambda file: file.create_dataset("v", data=values, chunks=(7, 9), **packed))
    assert np.array_equal(read_hdf5(path, ["v"])["v"], values)


def test_only_wanted_names_are_read_and_all_are_told(path: Path) -> None:
    made(path, lambda file: file.update({"a": 1, "b": np.zeros(3, [("x", "f4")])}))
    assert read_hdf5(path, ["a", "c"]) == {"a": 1}
    assert top_names(path) == ["a", "b"]


def scaled(file: Any) -> None:
    file.create_dataset("v", data=np.zeros((4, 4), "i4"), chunks=(4, 4), scaleoffset=0)


def wide_chunk(file: Any) -> None:
    """Ten values, of which each lies in a chunk of 2^24."""
    file.create_dataset(
        "v", (10, 1), "i1", chunks=(1, 1 << 24), maxshape=(10, None), compression="gzip"
    )
    file["v"][:] = 1


def constants(file: Any) -> None:
    """Much of nothing: more elements than so few bytes may stand for."""
    for name in range(5):
        file.create_dataset(
            f"v/{name}", data=np.zeros(FREE_ELEMENTS // 4, np.int8), compression="gzip"
        )


def own_type(file: Any) -> None:
    file["t"] = np.dtype("f4")
    file.create_dataset("v", (4,), file["t"])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "v", (4,))
    file.create_virtual_dataset("v", layout)


def external(file: Any) -> None:
    file.create_dataset("v", (4,), "f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "external storage": (external, "v: its values lie in another file"),
    "virtual": (virtual, "v: its values lie in another file"),
    "external link": (lambda f: f.update(v=h5py.ExternalLink("o.h5", "/v")), "v: a link, perhaps"),
    "soft link": (lambda f: f.update(w=1, v=h5py.SoftLink("/w")), "v: a link, perhaps"),
    "link beside": (lambda f: f.update(v=1, z=h5py.SoftLink("/v")), "z: a link, perhaps"),
    "references": (
        lambda f: f.create_dataset("v", data=f.ref, dtype=h5py.ref_dtype),
        "v: dtype object, numbers or text",
    ),
    "compound": (lambda f: f.update(v=np.zeros(4, [("a", "f4")])), "v: dtype "),
    "wide floats": (lambda f: f.update(v=np.zeros(4, np.longdouble)), "v: dtype float128"),
    "lists of any length": (
        lambda f: f.create_dataset("v", (4,), h5py.vlen_dtype(np.int32)),
        "v: dtype object",
    ),
    "a type of its own": (own_type, "t: a type by itself"),
    "another filter": (scaled, "v: packed by filter 6, gzip, shuffle, fletcher32, lzf"),
    "chunks beyond it": (wide_chunk, "v: declares 167772160 elements, at most 134217728"),
    "much of nothing": (constants, "v.4: 41943040 elements or more in the file, at most"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_names_the_object(case: str, path: Path) -> None:
    fill, says = REFUSED[case]
    made(path, fill)
    with pytest.raises(FormatError) as raised:
        read_hdf5(path, ["v"])
    assert says in str(raised.value), raised.value


@pytest.mark.parametrize("what", ["missing.h5", ".", "/dev/null", "a\0b"])
def test_what_is_no_file_is_not_opened(what: str) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_hdf5(what, ["v"])


def hanging(path: Path) -> Path:
    """A file that libhdf5 reads for ever: the last object of its global heap has size 0."""
    raw = bytearray(chain_file(path, n=lif((4,))).read_bytes())
    heap = raw.find(b"GCOL")
    size, place, last = struct.unpack_from("<Q", raw, heap + 8)[0], heap + 16, 0
    while place < heap + size:
        index, length = struct.unpack_from("<H", raw, place)[0], raw[place + 8 : place + 16]
        last = place
        if index == 0:
            break
        place += 16 + -(-int.from_bytes(length, "little") // 8) * 8
    struct.pack_into("<Q", raw, last + 8, 0)
    path.write_bytes(raw)
    return path


def test_a_file_that_never_ends_is_given_up(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "FEWEST_SECONDS", 0.5)
    with pytest.raises(FormatError, match=r"NIR file \(not read within"):
        read_hdf5(hanging(path), ["node"], "NIR")
    good = chain_file(tmp_path / "good.nir", n=lif((4,)))
    monkeypatch.undo()
    assert "n" in read_hdf5(good, ["node"])["node"]["nodes"]


def worker() -> int:
    assert hdf5._READER.process is not None
    return hdf5._READER.process.pid


def test_a_reader_that_was_killed_starts_again(path: Path) -> None:
    made(path, lambda file: file.update(v=1))
    read_hdf5(path, ["v"])
    first = worker()
    os.kill(first, signal.SIGKILL)
    assert hdf5._READER.process is not None
    hdf5._READER.process.wait()
    assert read_hdf5(path, ["v"]) == {"v": 1}
    assert worker() != first


def test_one_process_reads_many_files(path: Path) -> None:
    made(path, lambda file: file.update(v=1))
    read_hdf5(path, ["v"])
    first = worker()
    with pytest.raises(FormatError):
        read_hdf5(__file__, ["v"])
    assert read_hdf5(path, ["v"]) == {"v": 1}
    assert worker() == first


def test_an_interrupted_read_leaves_nothing_for_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path, lambda file: file.update(v=1, w=np.arange(1000)))

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hdf5, "_value", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_hdf5(path, ["w"])
    monkeypatch.undo()
    assert read_hdf5(path, ["v"]) == {"v": 1}


def test_a_fork_reads_by_a_process_of_its_own(path: Path) -> None:
    made(path, lambda file: file.update(v=1))
    read_hdf5(path, ["v"])
    first = worker()
    child = os.fork()
    if child == 0:
        right = hdf5._READER.process is None and read_hdf5(path, ["v"]) == {"v": 1}
        hdf5._READER.close()
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert read_hdf5(path, ["v"]) == {"v": 1} and worker() == first


READ_AND_TELL = """
import os, signal, sys
from spikewright.export.formats import hdf5
hdf5.read_hdf5(sys.argv[1], ["v"])
worker = hdf5._READER.process
print(worker.pid, open(f"/proc/{worker.pid}/environ").read().replace(chr(0), " "), flush=True)
os.kill(os.getpid(), int(sys.argv[2])) if int(sys.argv[2]) else None
"""


@pytest.mark.parametrize("end", [0, signal.SIGKILL])
def test_the_process_ends_with_ours(end: int, path: Path) -> None:
    """Also with one that is killed: its pipe closes. Nothing of our environment went to it."""
    made(path, lambda file: file.update(v=1))
    call = [sys.executable, "-c", READ_AND_TELL, str(path), str(int(end))]
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, "SECRET": "42"})
    assert done.returncode == -end and not done.stderr
    number, environment = done.stdout.split(" ", 1)
    assert "SECRET" not in environment and "OPENBLAS_NUM_THREADS=1" in environment
    for _ in range(1000):
        if not Path(f"/proc/{number}/cmdline").exists():
            return
        signal.sigtimedwait([], 0.01)
    pytest.fail("it still runs")


def replaced(path: Path, change: Callable[[Any], Any]) -> Path:
    """A .net file of ours, changed."""
    write_lava(network(), path)
    with h5py.File(path, "r+") as file:
        del file["layer/1/weight"]
        change(file["layer/1"])
    return path


NET: dict[str, tuple[Callable[[Any], Any], str]] = {
    "external": (
        lambda layer: layer.create_dataset(
            "weight", (4, 4), "i4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
        ),
        "layer.1.weight: its values lie in another file",
    ),
    "link": (
        lambda layer: layer.update(weight=h5py.ExternalLink("o.net", "/w")),
        "layer.1.weight: a link",
    ),
    "bomb": (
        lambda layer: layer.create_dataset("weight", (60000, 20000), "i1", compression="gzip"),
        "layer.1.weight: declares 1202561024 elements",
    ),
    "a name that is no number": (
        lambda layer: layer.parent.create_group("one"),
        "a layer of the name 'one'",
    ),
}


@pytest.mark.parametrize("case", NET)
def test_net_files_pass_the_same_guard(case: str, tmp_path: Path) -> None:
    change, says = NET[case]
    path = replaced(tmp_path / "bad.net", change)
    with pytest.raises(FormatError) as raised:
        read_lava(path)
    assert says in str(raised.value) and str(path) in str(raised.value), raised.value


def test_objects_are_counted_before_they_are_opened(path: Path) -> None:
    def fill(file: Any) -> None:
        group = file.create_group("v")
        for number in range(100_000):
            file.id.links.create_hard(b"v/%d" % number, group.id, b".")

    with pytest.raises(FormatError, match="v: more than 100000 objects"):
        read_hdf5(made(path, fill), ["v"])
