"""Folders, pictures and parquet that a hostile or unlucky hand made: one line, little memory."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pytest

from spikewright.export.ir.errors import FormatError
from spikewright.trainer.data import decode, load, load_splits, parquet
from spikewright.trainer.data.decode import decode_pixels, picture_size

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("SPIKEWRIGHT_CACHE", str(tmp_path / "cache"))


def png(width, height, colour=0):
    """Return a PNG of one colour: it packs a thousandfold."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    row = b"\0" + bytes([colour]) * (width * 3)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def refusal(call):
    """Return the line of a refused call, an empty one where it is taken."""
    try:
        call()
    except FormatError as error:
        return str(error)
    return ""


def encoded(kind, size=(6, 5), **options):
    content = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(values).save(content, kind, **options)
    return content.getvalue(), values.transpose(2, 0, 1)


def one_class(root, **files):
    (root / "a").mkdir(parents=True)
    for name, content in files.items():
        (root / "a" / f"{name}.png").write_bytes(content)
    return f"imagefolder:{root}"


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_pictures_are_what_was_saved(kind):
    data, values = encoded(kind)
    assert np.array_equal(decode_pixels(data, "a", (6, 5)), values)
    assert picture_size(data, "a") == (6, 5)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_pictures_are_read(kind):
    data, values = encoded(kind)
    assert decode_pixels(data, "a").shape == values.shape


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM", "TGA", "PCX"])
def test_other_formats_are_not_tried(kind):
    data, _ = encoded(kind)
    with pytest.raises(FormatError, match="none of PNG, JPEG, BMP, WEBP"):
        decode_pixels(data, "a")


@pytest.mark.parametrize("width", [5000, 9500, 14000, 60000])
def test_the_size_is_judged_before_decoding(width):
    """Whether Pillow keeps silent about it, would warn, or refuses it."""
    data = png(8, 8)
    head = data[:16] + struct.pack(">II", width, width) + data[24:29]
    data = head + struct.pack(">I", zlib.crc32(head[12:29])) + data[33:]
    with pytest.raises(FormatError, match="pixels, at most 16,777,216 are decoded; resize it"):
        decode_pixels(data, "a")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_every_cut_and_changed_byte_is_one_line_or_a_picture(kind):
    data, _ = encoded(kind)
    changed = [data[:n] for n in range(0, len(data), 3)]
    for at in range(0, len(data), 2):
        for value in (0, 255, data[at] ^ 64):
            changed.append(data[:at] + bytes([value]) + data[at + 1 :])
    refused = 0
    for content in changed:
        said = refusal(lambda content=content: decode_pixels(content, "a"))
        refused += bool(said)
        assert "\n" not in said
    assert refused > len(data) // 6


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animated_pictures_are_refused(kind):
    frames = [Image.new("RGB", (4, 4), (n, 0, 0)) for n in (0, 99, 200)]
    content = io.BytesIO()
    frames[0].save(content, kind, save_all=True, append_images=frames[1:], duration=9)
    with pytest.raises(FormatError, match="animated, 3 frames; save one frame"):
        decode_pixels(content.getvalue(), "a")


def test_a_jpeg_of_a_thousand_scans_is_refused():
    data, _ = encoded("JPEG", (16, 16), progressive=True)
    assert 1 < data.count(b"\xff\xda") <= decode.MOST_SCANS
    assert decode_pixels(data, "a").shape == (3, 16, 16)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(FormatError, match="a JPEG of 1009 scans, at most 100"):
        decode_pixels(
            data[:-2] + data[last:-2] * (1010 - data.count(b"\xff\xda") - 1) + b"\xff\xd9", "a"
        )


def test_folders_of_one_size_only(tmp_path):
    spec = one_class(tmp_path, a=png(4, 4), b=png(5, 4))
    with pytest.raises(FormatError, match=r"b\.png: 4 x 5 pixels, all have 4 x 4; resize all"):
        load(spec)


def test_pictures_that_unpack_to_far_more_than_their_files(tmp_path):
    """A child lacks the address space for 40 x 12 MB of floats, and for one of 1.7 GB."""
    spec = one_class(tmp_path / "many", **{str(n): png(1000, 1000) for n in range(40)})
    one = one_class(tmp_path / "one", huge=png(12000, 12000))
    code = f"""
        import re, resource
        from spikewright.export.ir import FormatError
        from spikewright.trainer.data import load
        load("digits")
        kilobytes = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1])
        room = (kilobytes << 10) + (200 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        assert load("{spec}", "train", 2).x.shape == (2, 3, 1000, 1000)
        for spec in ("{spec}", "{one}"):
            try:
                load(spec)
            except FormatError as error:
                print(error)
    """
    root = Path(__file__).parents[2]
    start = "import runpy; runpy.run_path('conftest.py')\n"
    command = [sys.executable, "-c", start + textwrap.dedent(code)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    many, single = done.stdout.splitlines()
    assert "40 pictures of 1000 x 1000 pixels of 480,000,000 bytes" in many and "--limit" in many
    assert "huge.png: a picture of 12000 x 12000 = 144,000,000 pixels" in single


def test_links_and_devices_are_not_followed(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(4, 4, 9))
    root = tmp_path / "data"
    spec = one_class(root, a=png(4, 4))
    inside = root / "a" / "again.png"
    inside.symlink_to("a.png")
    assert len(load(spec)) == 2  # a link to a file of the same folder is that file

    bad = root / "a" / "z.png"
    for target, message in ((tmp_path / "secret.png", "leads out"), ("/dev/zero", "leads out")):
        bad.symlink_to(target)
        with pytest.raises(FormatError, match=rf"z.png: a link that {message} of .*cp -rL"):
            load(spec)
        bad.unlink()
    bad.symlink_to("..")
    with pytest.raises(FormatError, match="a link to a folder, which is not followed"):
        load(spec)
    bad.unlink()
    (root / "b").symlink_to(tmp_path)
    with pytest.raises(FormatError, match="b: a link to a folder"):
        load(spec)
    (root / "b").unlink()
    os.mkfifo(bad)
    with pytest.raises(FormatError, match="a folder, a pipe or a device"):
        load(spec)
    bad.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(bad))
        with pytest.raises(FormatError, match=r"z.png: cannot be read"):
            load(spec)
    bad.unlink()
    bad.symlink_to("absent.png")
    with pytest.raises(FormatError, match=r"z.png: no such file"):
        load(spec)


def test_what_the_user_names_may_be_a_link_but_not_its_splits(tmp_path):
    spec = one_class(tmp_path / "data" / "train", a=png(4, 4))
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert len(load(f"imagefolder:{tmp_path / 'link'}")) == 1
    (tmp_path / "data" / "test").symlink_to("train")
    with pytest.raises(FormatError, match="test: a link to a folder"):
        load(f"imagefolder:{tmp_path / 'data'}")
    assert spec


def test_names_that_steer_a_terminal_are_shown_as_text(tmp_path):
    spec = one_class(tmp_path, **{"\x1b[31m\u202e": b"no picture"})
    with pytest.raises(FormatError, match=r"\\x1b\[31m\\u202e.png: not a readable picture"):
        load(spec)
    os.rename(tmp_path / "a" / "\x1b[31m\u202e.png", os.fsencode(tmp_path) + b"/a/\xff.png")
    with pytest.raises(FormatError, match=r"\\udcff.png"):
        load(spec)


def table(path, kind=None, **columns):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    schema = None if kind is None else pa.schema(kind)
    pq.write_table(pa.table(columns, schema=schema), path / "train-0.parquet", compression="zstd")
    return f"cifar10:{path}"


def struct_of(*contents):
    return [{"bytes": content, "path": None} for content in contents]


GOOD = png(32, 32, 7)
COLUMNS = {
    "text for bytes": ({"img": struct_of("text"), "label": [1]}, "needs encoded pictures"),
    "plain text": ({"img": ["text"], "label": [1]}, "column img is string, needs encoded"),
    "no bytes": ({"img": [{"path": "a"}], "label": [1]}, "needs encoded pictures"),
    "label text": ({"img": struct_of(GOOD), "label": ["7"]}, "column label is string, needs whole"),
    "label NaN": ({"img": struct_of(GOOD), "label": [float("nan")]}, "column label is double"),
    "label 1.5": ({"img": struct_of(GOOD), "label": [1.5]}, "column label is double"),
    "label missing": ({"img": struct_of(GOOD, GOOD), "label": [1, None]}, "row without a picture"),
    "picture missing": ({"img": struct_of(GOOD, None), "label": [1, 2]}, "row without a picture"),
    "row missing": ({"img": [*struct_of(GOOD), None], "label": [1, 2]}, "row without a picture"),
    "label 10": ({"img": struct_of(GOOD), "label": [10]}, "label 10, allowed 0..9"),
    "label -1": ({"img": struct_of(GOOD), "label": [-1]}, "label -1, allowed 0..9"),
    "large": ({"img": struct_of(png(33, 32)), "label": [1]}, "32 x 33 pixels, all have 32 x 32"),
    "no picture": ({"img": struct_of(b"none"), "label": [1]}, "row 0: not a readable picture"),
    "long": ({"img": struct_of(GOOD + bytes(2 << 20)), "label": [1]}, "bytes, at most 1,048,576"),
}


@pytest.mark.parametrize("what", COLUMNS)
def test_columns_of_the_wrong_kind_are_refused(tmp_path, what):
    columns, message = COLUMNS[what]
    with pytest.raises(FormatError, match=message) as caught:
        load(table(tmp_path, **columns))
    assert "\n" not in str(caught.value)


def test_rows_that_share_one_picture_are_taken_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_BYTES", 5000)
    spec = table(tmp_path, img=struct_of(*[GOOD + bytes(900)] * 200), label=[3] * 200)
    with parquet._opened(tmp_path / "train-0.parquet") as opened:
        assert 1 <= opened.batch <= 5
    assert load(spec, limit=3).labels.tolist() == [3] * 3 and len(load(spec)) == 200


def test_row_groups_and_rows_are_judged_before_they_are_read(tmp_path):
    contents = [bytes([n]) * (1 << 20) for n in range(160)]
    spec = table(tmp_path, img=struct_of(*contents), label=[1] * 160)
    with pytest.raises(FormatError, match=r"row group 0 of 16\d,\d+,\d+ bytes out of \d+"):
        load(spec)
    many = tmp_path / "many"
    many.mkdir()
    spec = table(many, img=struct_of(*[GOOD] * 20000), label=[1] * 20000)
    with pytest.raises(FormatError, match=r"20,000 pictures of 307,220,000 bytes.*--limit N"):
        load(spec)
    assert len(load(spec, limit=2)) == 2


def test_parquet_and_binary_links_are_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    table(elsewhere, img=struct_of(GOOD), label=[1])
    (elsewhere / "test_batch.bin").write_bytes(bytes(3073))
    root = tmp_path / "data"
    root.mkdir()
    (root / "train-0.parquet").symlink_to(elsewhere / "train-0.parquet")
    with pytest.raises(FormatError, match="a link that leads out of"):
        load(f"cifar10:{root}")
    (root / "train-0.parquet").unlink()
    os.mkfifo(root / "test_batch.bin")
    with pytest.raises(FormatError, match="a folder, a pipe or a device"):
        load(f"cifar10:{root}", "test")
    (root / "test_batch.bin").unlink()
    os.mkfifo(root / "train-0.parquet")
    with pytest.raises(FormatError, match="a folder, a pipe or a device"):
        load_splits(f"cifar10:{root}")


def test_changed_bytes_of_a_parquet_are_one_line(tmp_path):
    spec = table(tmp_path, img=struct_of(GOOD, GOOD), label=[3, 4])
    path = tmp_path / "train-0.parquet"
    whole = path.read_bytes()
    for at in range(0, len(whole), 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        assert "\n" not in refusal(lambda: load(spec, limit=2))


def test_no_byte_of_a_parquet_footer_ends_the_process(tmp_path):
    """pyarrow's own accessor of a damaged column's metadata ends it, with no exception."""
    pytest.importorskip("pyarrow")
    script = Path(__file__).with_name("damaged_parquet.py")
    command = [sys.executable, str(script), str(tmp_path / "a.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) > 100
