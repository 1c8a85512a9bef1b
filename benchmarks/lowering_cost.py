"""Times `sw.lower` of live modules, of this tree or beside another, and the comparison's share.

    python benchmarks/lowering_cost.py [--old PYTHON] [--cases spiking_resnet18,…] [--runs 5]

The comparison is the module's own run, ours and what judges them; beside it stands one forward
pass of the module on its example, of which about two are allowed. PYTHON is the interpreter of an
environment whose spikewright is another version: the two lower in turns, each in a process of its
own. Medians of processor time on one thread, the first lowering left out. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

CASES = (
    "spiking_resnet18",
    "spiking_resnet34",
    "spiking_resnet34_imagenet",
    "spikformer_4_384",
    "digits.safetensors",
    "snntorch",
)


def case(name: str, folder: str) -> Callable[[], Any]:
    """Return what lowers a case once."""
    import shutil

    import numpy as np
    import torch

    import spikewright as sw

    torch.manual_seed(0)
    torch.set_num_threads(1)
    if name == "digits.safetensors":
        from spikewright.trainer import checkpoint

        file = Path(folder) / name  # away from the graph that ships beside it
        shutil.copy(checkpoint.resolve("digits"), file)
        return lambda: sw.lower(str(file))
    if name == "snntorch":
        module = _snntorch(torch)
        frames = torch.rand(20, 8, 784)
        return lambda: sw.lower(module, frames)
    from spikewright.trainer.models import create

    model = create(name).eval()
    count = 1 if name.endswith("imagenet") else 8
    pictures = np.random.default_rng(0).random((count, *model.input_shape), np.float32)
    return lambda: sw.lower(model, calibrate=pictures)


def _snntorch(torch: Any) -> Any:
    """A network of two layers that loops over time, as snntorch's tutorials write it."""
    import snntorch

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.lif1 = torch.nn.Linear(784, 1000), snntorch.Leaky(beta=0.95)
            self.fc2, self.lif2 = torch.nn.Linear(1000, 10), snntorch.Leaky(beta=0.95)

        def forward(self, x: Any) -> Any:
            first, second, spikes = self.lif1.init_leaky(), self.lif2.init_leaky(), []
            for t in range(x.shape[0]):
                hidden, first = self.lif1(self.fc1(x[t]), first)
                out, second = self.lif2(self.fc2(hidden), second)
                spikes.append(out)
            return torch.stack(spikes)

    return Net()


class Clock:
    """Adds up the processor time of `sources.agreement_of`, in whose place it stands.

    Attributes:
        compared: seconds within it. forward: those of one pass of the module that it was given.
    """

    def __init__(self, sources: Any) -> None:
        self.compared = self.forward = 0.0
        self.called = getattr(sources, "agreement_of", None)  # an older version compares nothing
        if self.called is not None:
            sources.agreement_of = self

    def __call__(self, graph: Any, module: Any, sample: Any, layout: Any, steps: int) -> Any:
        """Time one pass, then the comparison."""
        from torch import no_grad

        from spikewright.export.foreign_state import kept_state
        from spikewright.export.trace import eval_mode

        with eval_mode(module), kept_state(module), no_grad():
            began = process_time()
            for _ in range(1 if layout.is_one_call else steps):
                module(sample)
            self.forward = process_time() - began
        assert self.called is not None
        began = process_time()
        agreement = self.called(graph, module, sample, layout, steps)
        self.compared = process_time() - began
        return agreement


def serve(name: str) -> None:
    """Lower a case once for each line read; write the seconds of each."""
    import spikewright.sources as sources

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        lower = case(name, folder)
        clock = Clock(sources)
        lower()
        for _ in sys.stdin:
            clock.forward, began = 0.0, process_time()
            lower()
            seconds = process_time() - began - clock.forward
            found = {"s": seconds, "compared": clock.compared, "forward": clock.forward}
            print(json.dumps(found), flush=True)


def measured(name: str, pythons: list[str], runs: int) -> list[dict[str, float]]:
    """Return the medians of each interpreter's lowerings, which take turns."""
    command, environment = [str(Path(__file__).resolve()), "--one", name], dict(os.environ)
    environment |= {"OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [python, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for python in pythons
    ]
    rows: list[list[dict[str, float]]] = [[] for _ in workers]
    for _ in range(runs):
        for worker, row in zip(workers, rows, strict=True):
            assert worker.stdin is not None and worker.stdout is not None
            worker.stdin.write("again\n")
            worker.stdin.flush()
            row.append(json.loads(worker.stdout.readline()))
    for worker in workers:
        worker.communicate()
    return [{key: median(run[key] for run in row) for key in row[0]} for row in rows]


def main() -> int:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--old", help="the interpreter of another version's environment")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        serve(options.one)
        return 0
    pythons = [sys.executable] + ([options.old] if options.old else [])
    titles = ("network", "old s", "new s", "more s", "compared s", "rest s", "forward s", "ratio")
    print(f"{titles[0]:28}" + "".join(f"{title:>12}" for title in titles[1:]))
    for name in options.cases.split(","):
        new, *others = measured(name, pythons, options.runs)
        old, compared = others[0]["s"] if others else float("nan"), new["compared"]
        cells = (old, new["s"], new["s"] - old, compared, new["s"] - compared, new["forward"])
        ratio = compared / new["forward"]
        print(f"{name:28}" + "".join(f"{cell:12.3f}" for cell in (*cells, ratio)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
