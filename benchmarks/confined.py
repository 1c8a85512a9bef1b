"""A process in which every tool sees a smaller CPU: for ratios at equal instruction sets.

Where one of our lower tables is forced, the peers keep the whole CPU: oneDNN can be told to leave
instructions out (ONEDNN_MAX_CPU_ISA), onnxruntime's own kernels cannot. So the CPU itself is made
smaller: a small library, loaded before the interpreter, lets CPUID trap and answers without
AVX-512 and AMX (`avx2`), or without AMX (`avx512vnni`). Linux on x86-64, and a CPU with CPUID
faulting.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("confined.c")
CONFINED = "SPIKEWRIGHT_CONFINED"
NO_TRAP = 3
"""The exit code of a process that cannot be confined."""
SETS = ("avx512vnni", "avx2")
"""What a process can be confined to."""


def confined(isa: str, module: str, arguments: list[str]) -> int:
    """Run `python -m module arguments` on a CPU with no more than `isa`; return its exit code.

    Raises:
        subprocess.CalledProcessError: where there is no C compiler.
    """
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "confined.so"
        command = ["cc", "-O2", "-fPIC", "-shared", str(SOURCE), "-o", str(library)]
        subprocess.run(command, check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library), CONFINED: isa}
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, env=environment).returncode
