"""HDF5 export where the disk ends: one line, no file left, the same bytes once there is room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spikewright.export.formats.archive import write_archive

from .test_lava import network

EXPORT = """
import resource, sys
from pathlib import Path
from spikewright.export.formats.archive import read_archive
from spikewright.export.formats.writers import write
from spikewright.export.ir import FormatError
source, target = map(Path, sys.argv[1:])
graph, most = read_archive(source), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
write(graph, target)
content = target.read_bytes()
target.unlink()
for limit in (0, 1, 96, 2048, len(content) // 2, len(content) - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    try:
        write(graph, target)
    except FormatError as error:
        print(error)
    else:
        sys.exit(f"written within {limit} bytes")
    if [*target.parent.iterdir()] != [source]:
        sys.exit(f"left within {limit} bytes: {[*target.parent.iterdir()]}")
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
write(graph, target)
sys.exit(target.read_bytes() != content)
"""


@pytest.mark.parametrize("suffix", [".nir", ".net"])
def test_a_file_that_may_not_grow_is_one_line(suffix: str, tmp_path: Path) -> None:
    write_archive(network(), tmp_path / "n.spk")
    target = tmp_path / f"n{suffix}"
    call = [sys.executable, "-c", EXPORT, str(tmp_path / "n.spk"), str(target)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert all(line.startswith(f"{target}: cannot write: File too large, at") for line in lines)
