"""Every command and Python call that writes, and the files that it makes.

`tests/kills/test_kills.py` compares this table with the options of the command line: a new option
that takes a path stands here or fails there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SOURCE, FOR_LAVA = "source.spk", "loihi2.spk"
SOURCES = {SOURCE: "generic", FOR_LAVA: "loihi2"}
"""The networks that writers read, beside what they write, and their targets."""
TINY = ("--limit", "64", "-T", "2")
EIGHT = ("--data", "digits", "--limit", "8")
TRAINED = ("--epochs", "1", "--batch", "32", "--save-every", "1", "--log-every", "1")


@dataclass(frozen=True, slots=True)
class Writer:
    """Something that writes.

    Attributes:
        words: the command line; or `call`, which takes `force`.
        files: what it makes, in groups of files that appear together or not at all.
        again: what is added to go on after it was killed. passing: files that may stand there
            after a kill, made while it works. early: files that are whole before the work is done:
            `lower` writes the network, measures it, and writes it with its accuracies.
    """

    name: str
    files: tuple[tuple[str, ...], ...]
    words: tuple[str, ...] = ()
    call: Callable[[bool], object] | None = None
    again: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()
    early: tuple[str, ...] = ()

    def __call__(self, *, force: bool, again: bool = False) -> int:
        """Run it in this process and this folder; return the exit code."""
        if self.call is not None:
            return _called(self.call, force)
        return _commanded([*self.words, *(self.again if again else ()), *["--force"] * force])


def _called(call: Callable[[bool], object], force: bool) -> int:
    from spikewright import SpikewrightError

    try:
        call(force)
    except SpikewrightError as error:
        print(f"error: {error}", flush=True)
        return 2
    return 0


def _commanded(words: list[str]) -> int:
    import sys

    from spikewright.cli.main import main

    sys.argv = ["spikewright", *words]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _lowered(force: bool) -> None:
    import spikewright as sw

    sw.write(sw.lower("digits-if"), "call.spk", force=force)


def _written(name: str, source: str = SOURCE) -> Callable[[bool], object]:
    def write(force: bool) -> None:
        import spikewright as sw

        sw.write(sw.read(source), name, force=force)

    return write


def _reported(force: bool) -> None:
    import numpy as np

    import spikewright as sw

    x = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
    sw.report(sw.read(SOURCE), x, "page.html", targets=("generic-45nm",), force=force)


def _traced(force: bool) -> None:
    import numpy as np

    import spikewright as sw
    from spikewright.sim.trace_file import write_trace

    x = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
    write_trace(sw.run(sw.read(SOURCE), x), Path("call.npz"), force=force)


def _export(suffix: str, *files: str) -> Writer:
    name = f"net{suffix}"
    to = {".nir": "nir", ".onnx": "onnx", ".net": "lava"}[suffix]
    source = FOR_LAVA if to == "lava" else SOURCE
    words = ("export", source, "--to", to, "-o", name)
    return Writer(f"export {suffix}", ((name, *files),), words)


def _train(verb: str, source: tuple[str, ...], *options: str) -> Writer:
    out = "net.safetensors"
    words = ("train", verb, *source, *options, *TINY, *TRAINED, "-o", out, "--metrics", "m.jsonl")
    passing = (f"{out}.state",)
    return Writer(f"train {verb}", ((out,), ("m.jsonl",)), words, None, ("--resume",), passing)


PROBE = ("train", "probe", "digits", "--data", "digits", *TINY, "-o", "net.safetensors")
DEMO = (
    ("demo/digits.spk",),
    ("demo/digits.nir",),
    ("demo/digits.onnx", "demo/digits.scan.onnx"),
    ("demo/digits-if.net",),
    ("demo/report.html", "demo/report.json"),
)
WRITERS = (
    _export(".nir"),
    _export(".onnx", "net.scan.onnx"),
    _export(".net"),
    Writer("run --trace", (("t.npz",),), ("run", SOURCE, *EIGHT, "--trace", "t.npz")),
    Writer(
        "report",
        (("r.html", "r.json"),),
        ("report", SOURCE, *EIGHT, "--targets", "generic-45nm", "-o", "r.html"),
    ),
    Writer(
        "lower",
        (("net.spk",),),
        ("lower", "digits-if", "-o", "net.spk"),
        again=("--force",),
        early=("net.spk",),
    ),
    _train("pretrain", (), "--data", "digits"),
    _train("finetune", ("digits",), "--data", "digits"),
    Writer("train probe", (("net.safetensors",),), PROBE),
    Writer("demo", DEMO, ("demo", "-o", "demo"), None, ("--force",)),
    Writer("write .spk", (("call.spk",),), call=_written("call.spk")),
    Writer("write .nir", (("call.nir",),), call=_written("call.nir")),
    Writer("write .onnx", (("call.onnx", "call.scan.onnx"),), call=_written("call.onnx")),
    Writer("write .net", (("call.net",),), call=_written("call.net", FOR_LAVA)),
    Writer("lower, write", (("call.spk",),), call=_lowered),
    Writer("report()", (("page.html", "page.json"),), call=_reported),
    Writer("write_trace", (("call.npz",),), call=_traced),
)
QUICK = ("export .nir", "export .onnx", "export .net", "run --trace", "report", "write .spk")
"""Writers of a fraction of a second."""

WRITING = {
    ("demo", "out"),
    ("lower", "out"),
    ("export", "out"),
    ("run", "trace"),
    ("report", "out"),
    ("train pretrain", "out"),
    ("train pretrain", "metrics"),
    ("train finetune", "out"),
    ("train finetune", "metrics"),
    ("train probe", "out"),
}
"""The options of these writers: command and parameter."""
OTHERS = {
    ("train pretrain", "tensorboard"): "TensorBoard's own writer appends to its own folder",
    ("train finetune", "tensorboard"): "TensorBoard's own writer appends to its own folder",
    ("lava install", "prefix"): "an environment; one that is not whole is built anew",
}
"""Options that take a path and make files that are not placed whole, and why."""
READ = {"weights"}
"""Options that take a path which is read."""
