"""Every writer where there is no room, and that every writer stands in the table."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import spikewright as sw
from tests.kills.writers import WRITERS, WRITING

ROOT = Path(__file__).parents[2]
ROOMS = ("api.py", "sources.py", "cli", "export", "sim", "hw_targets", "trainer")
PLACES = {
    "export/formats/archive.py": "write .spk",
    "export/formats/nir_out.py": "write .nir",
    "export/formats/onnx.py": "write .onnx",
    "export/formats/lava.py": "write .net",
    "hw_targets/report/write.py": "report()",
    "sim/trace_file.py": "write_trace",
    "trainer/checkpoint.py": "train probe",
    "trainer/resume.py": "train pretrain",
    "trainer/journal.py": "train pretrain",
    "cli/demo.py": "demo",
}
"""The modules that place, append or make what a user asked for, and a writer of the table."""
OTHERS = {
    "export/formats/atomic.py": "places",
    "export/formats/writing_folder.py": "the folder in which is written",
    "trainer/data/cache.py": "a copy; where it cannot be kept there is none",
    "hw_targets/lava/job_folder.py": "a job's folder, removed behind it",
    "hw_targets/lava/runner.py": "what a job is given, within its folder; a failed job's log",
    "hw_targets/lava/environment.py": "the worker's environment, built aside",
    "hw_targets/lava/worker/main.py": "in the worker: within the job's folder",
    "hw_targets/lava/worker/shared_memory.py": "in the worker: within the job's folder",
    "hw_targets/lava/worker/recording.py": "in the worker: within the job's folder",
    "trainer/data/make_digits.py": "the packaged digits, when the package is made",
    "cli/lava.py": "a file for netx, in a temporary folder",
}
"""Other modules that write, and what."""
CALLS = {
    "write_text", "write_bytes", "mkdir", "makedirs", "mkdtemp", "mkstemp", "touch", "savez",
    "savez_compressed", "save_file", "copyfile", "copytree", "symlink", "symlink_to", "link",
    "TemporaryDirectory", "NamedTemporaryFile", "atomic_path", "atomic_paths", "append_whole",
    "made_folder", "open_memmap", "rename",
}  # fmt: skip


def test_every_writer_without_room_ends_in_one_line_and_leaves_nothing() -> None:
    """A limit of files' sizes, a full disk, a disk without names, over old files and without."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills.full", "--quick"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert all(f"{writer.name}: " in done.stdout for writer in WRITERS)


def test_every_option_that_names_a_file_to_write_is_one_of_a_writer() -> None:
    used = set()
    for words in (writer.words for writer in WRITERS if writer.words):
        command = " ".join(words[:2] if words[0] == "train" else words[:1])
        options = {"out" if word == "-o" else word.lstrip("-") for word in words if word[0] == "-"}
        used |= {(command, option) for option in options} & WRITING
    assert used == WRITING


def test_every_call_that_takes_force_is_one_of_a_writer() -> None:
    calls = {name: getattr(sw, name) for name in sw.__all__ if callable(getattr(sw, name))}
    forced = {n for n, call in calls.items() if "force" in inspect.signature(call).parameters}
    assert forced == {"write", "report"}
    assert {"write .spk", "report()"} <= {writer.name for writer in WRITERS if writer.call}


def test_every_module_that_writes_stands_in_a_table() -> None:
    writing = {module for module, path in _modules() if _writes(ast.parse(path.read_text()))}
    assert writing == PLACES.keys() | OTHERS.keys()
    assert set(PLACES.values()) <= {writer.name for writer in WRITERS}


def _modules() -> Iterator[tuple[str, Path]]:
    for room in ROOMS:
        paths = [ROOT / room] if room.endswith(".py") else (ROOT / room).rglob("*.py")
        yield from ((path.relative_to(ROOT).as_posix(), path) for path in paths)


def _writes(tree: ast.AST) -> bool:
    """Return whether a module calls what makes files: by name, or opens one for writing."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(_name(call) in CALLS or _opens_to_write(call) for call in calls)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _opens_to_write(call: ast.Call) -> bool:
    """Return whether a mode with w, a, x or + stands among the arguments of an open()."""
    given = [*call.args, *(word.value for word in call.keywords)]
    texts = [arg.value for arg in given if isinstance(arg, ast.Constant)]
    modes = [text for text in texts if isinstance(text, str) and text.strip("rwaxbt+") == ""]
    return _name(call) == "open" and any(set(mode) & set("wax+") for mode in modes)
