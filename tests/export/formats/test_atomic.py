"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikewright.export.formats.atomic import atomic_path
from spikewright.export.ir import FormatError


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(UnicodeEncodeError),
        atomic_path(tmp_path / "net.spk") as temporary,
        temporary.open("w", encoding="ascii") as file,
    ):
        file.write("half \N{GREEK SMALL LETTER ALPHA}")
    assert list(tmp_path.iterdir()) == []


def test_what_stood_there_stays_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "net.spk"
    path.write_text("old")
    with pytest.raises(FormatError, match="exists already; give force=True"), atomic_path(path):
        pass
    with atomic_path(path, force=True) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.name == path.name
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["absent/net.spk", "x" * 300, "folder"])
def test_a_place_that_cannot_be_written_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(FormatError, match=r"cannot write: \w+"),
        atomic_path(tmp_path / name, force=True) as temporary,
    ):
        temporary.write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
