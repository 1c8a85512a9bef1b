"""Where torch is not installed: all commands on shipped names but `train`, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from spikewright.export.ir.errors import TORCH, WITH_TORCH

ROOT = Path(__file__).parents[2]
START = f"""
import json, runpy, sys
runpy.run_path({str(ROOT / "conftest.py")!r})
from spikewright.cli.main import main
"""
NONE_INSTALLED = """
sys.modules.update(torch=None, lightning_fabric=None)
"""
CALLS = """
codes = {}
for line in json.loads(sys.argv[1]):
    sys.argv = ["spikewright", *line.split()]
    codes[line] = 0
    try:
        main()
    except SystemExit as end:
        codes[line] = end.code
print("CODES", json.dumps(codes))
"""
FEW = "--data digits --limit 10"
DONE = [
    "lower digits --bits 4 --target loihi1 -o four.spk",
    "lower digits-if --target odin -o odin.spk",
    "lower digits-if-conv --target speck2f -o speck.spk",
    "lower digits-if-soft --target xylo-a3 -o xylo.spk",
    "lower digits --level float -o float.spk",
    "inspect digits",
    f"run digits {FEW}",
    f"run digits --level float {FEW}",
    f"run digits -T 8 --encode rate {FEW}",
    f"verify digits {FEW}",
    "check digits --target loihi1",
    f"estimate digits --target loihi1 {FEW}",
    f"compare digits {FEW}",
    f"report digits --targets loihi1,generic-45nm {FEW} -o page.html",
    "export digits --to nir -o net.nir",
    "export digits --to onnx -o net.onnx",
    "export digits-if --to lava --target loihi2 -o net.net",
    "models",
    "models digits",
    "doctor",
    "targets",
]
REFUSED = [
    "lower cifar10-resnet -o c.spk",
    "models cifar10-resnet",
    "models spiking_resnet18",
    "train probe digits --data digits",
]


def called(code: str, lines: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run commands one after another in one process."""
    command = [sys.executable, "-c", code, json.dumps(lines)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)


def codes(out: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(out.rpartition("CODES ")[2])
    return found


def test_shipped_names_need_none(tmp_path: Path) -> None:
    done = called(START + NONE_INSTALLED + CALLS, DONE, tmp_path)
    assert codes(done.stdout) == dict.fromkeys(DONE, 0), done.stderr


@pytest.mark.parametrize("line", REFUSED)
def test_refused_in_one_line_that_installs_the_cpu_build(tmp_path: Path, line: str) -> None:
    done = called(START + NONE_INSTALLED + CALLS, [line], tmp_path)
    assert codes(done.stdout) == {line: 2}
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: torch: needed")
    assert done.stderr.endswith(f"run: {WITH_TORCH}\n")


def test_the_demo_leaves_out_the_training_alone(tmp_path: Path) -> None:
    done = called(START + NONE_INSTALLED + CALLS, ["demo -o demo"], tmp_path)
    assert codes(done.stdout) == {"demo -o demo": 0}, done.stderr
    said = [line for line in done.stdout.splitlines() if "left out" in line]
    assert len(said) == 1 and "torch is not installed" in said[0] and WITH_TORCH in said[0]
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert names == {
        "digits.spk", "digits.nir", "digits.onnx", "digits.scan.onnx", "digits-if.net",
        "report.html", "report.json",
    }  # fmt: skip


def test_inspect_imports_no_torch_where_it_is_installed(tmp_path: Path) -> None:
    code = START + CALLS + "print('torch' in sys.modules)"
    done = called(code, ["inspect digits"], tmp_path)
    assert done.stdout.endswith("False\n")


def test_every_remedy_that_installs_torch_installs_the_cpu_build() -> None:
    """The one constant aside, no line of the sources names the extra that brings torch."""
    assert WITH_TORCH.startswith(f"{TORCH} && ")
    rooms = ("trainer", "export", "sim", "hw_targets", "cli")
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    naming = [
        path.relative_to(ROOT).as_posix()
        for path in [*files, *ROOT.glob("*.py")]
        if "spikewright[train]" in path.read_text(encoding="utf-8")
        or "pip install torch" in path.read_text(encoding="utf-8")
    ]
    assert naming == ["export/ir/errors.py"]
