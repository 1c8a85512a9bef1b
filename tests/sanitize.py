"""Builds the engine with sanitizers and runs its tests on it: `make sanitize`.

The interpreter itself is not instrumented: the sanitizer's runtime is loaded before it, and leaks
(which it has of its own) are not counted. Exit code 1 when a test fails or a sanitizer reports.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nanobind  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).resolve().parents[1]
TESTS = [
    "tests/sim/test_native.py",
    "tests/sim/test_native_blocks.py",
    "tests/sim/test_native_processes.py",
    "tests/sim/test_sessions.py",
    "tests/fuzz/test_fuzz.py",
]
KNOWN = ROOT / "tests" / "thread_sanitizer.supp"
FORKED = "fork or does_not_start"
SANITIZERS = {
    "address,undefined": ("libasan.so", {"ASAN_OPTIONS": "detect_leaks=0"}, []),
    "thread": (
        "libtsan.so",
        {"TSAN_OPTIONS": f"halt_on_error=1 report_signal_unsafe=0 suppressions={KNOWN}"},
        # This sanitizer cannot follow threads that a fork's child starts.
        ["-k", f"not ({FORKED})"],
    ),
}


def build(sanitizer: str) -> Path:
    """Return the extension built with this sanitizer."""
    folder = ROOT / "build" / f"sanitize-{sanitizer.replace(',', '-')}"
    tools = Path(sys.executable).parent
    configure = ["-G", "Ninja", "-S", str(ROOT), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release"]
    options = {
        "SPIKEWRIGHT_SANITIZE": sanitizer,
        "Python_EXECUTABLE": sys.executable,
        "nanobind_DIR": nanobind.cmake_dir(),
        "CMAKE_MAKE_PROGRAM": str(tools / "ninja"),
    }
    given = [f"-D{name}={value}" for name, value in options.items()]
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([str(tools / "cmake"), *configure, *given], **quiet)  # type: ignore[call-overload]
    subprocess.run([str(tools / "cmake"), "--build", str(folder), "--target", "_native"], **quiet)  # type: ignore[call-overload]
    return next(folder.glob("_native*.so"))


def library(name: str) -> str:
    """Return where the compiler keeps a library."""
    asked = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def run(sanitizer: str, tests: list[str]) -> int:
    """Return pytest's exit code on the build with this sanitizer."""
    runtime, options, left_out = SANITIZERS[sanitizer]
    # Beside the C++ library, which the interpreter has not: else no exception could be followed.
    preloaded = [library(runtime), library("libstdc++.so.6")]
    environment = {
        **os.environ,
        **options,
        "LD_PRELOAD": ":".join(preloaded),
        "SPIKEWRIGHT_TEST_NATIVE": str(build(sanitizer)),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        *(tests or TESTS),
        *left_out,
    ]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def main() -> int:
    """Run every sanitizer; return 1 if one found something."""
    tests = sys.argv[1:]
    found = 0
    for sanitizer in SANITIZERS:
        print(f"-fsanitize={sanitizer}", flush=True)
        found |= run(sanitizer, tests)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
