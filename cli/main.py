"""`spikewright`: the commands, and how an error becomes one line and an exit code.

0 done, 1 a check said no, 2 the input or the request is wrong.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

import typer

from .. import __version__
from ..export.spelling import command_line
from . import (
    check,
    compare,
    demo,
    doctor,
    estimate,
    export,
    inspect,
    lava,
    lower,
    models,
    report,
    run,
    targets,
    train,
    verify,
)
from .output import library_warnings_said
from .usage import CLICK_ERROR, one_line

# Plain help: rich's boxes would take longer to import than everything else.
app = typer.Typer(
    name="spikewright",
    help="Bring a trained spiking network to neuromorphic hardware, and prove it arrived.",
    epilog="--version prints the version.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
COMMANDS = {
    demo: "The whole line on packaged data.",
    models: "Architectures and shipped checkpoints.",
    lower: "Trace, fold, quantise; write a .spk.",
    inspect: "The layer table of a network.",
    export: "Write NIR, ONNX or Lava HDF5.",
    run: "Run on data; count spikes and SOPs.",
    verify: "Prove executors equal, bit for bit.",
    check: "Does it fit a chip?",
    estimate: "Energy and latency on a chip.",
    compare: "Beside a quantised ANN, memory included.",
    report: "Write one page of all of it.",
    targets: "Chips: limits, constants, sources.",
    doctor: "What this installation can do.",
}
for module, summary in COMMANDS.items():
    app.command(module.__name__.rpartition(".")[2], short_help=summary)(module.command)
app.add_typer(train.app, name="train")
app.add_typer(lava.app, name="lava")
INTERRUPTED = 130


def main() -> None:
    with command_line():
        _main()


def _main() -> None:
    """Run the command line; a refusal is one line on stderr and exit code 2."""
    # An option of the group would be parsed before every command, and its parser is slow to import.
    if sys.argv[1:] == ["--version"]:
        print(__version__)
        return
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `spikewright ... | head` ends quietly
    # OpenMP threads that wait for each other give up the core instead of spinning: on a machine
    # whose two cores were busy the demo took 65 s so, and over 250 s otherwise.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _refuse_deleted_folder()
    try:
        with library_warnings_said():
            code = app(standalone_mode=False)
        if code == INTERRUPTED:
            print("interrupted: what was not finished is not written", file=sys.stderr)
        if code:
            raise SystemExit(code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _refuse(f"{where}{error.strerror or error}")
    except MemoryError:
        _refuse("memory: out of it; use a smaller --batch or --limit")
    except ModuleNotFoundError as error:
        install = doctor.optional().get((error.name or "").partition(".")[0])
        if install is None:
            raise
        _refuse(f"{error.name}: needed here, not installed; run: {install}")
    except Exception as error:
        if isinstance(error, CLICK_ERROR):
            _refuse_usage(error)
        from ..export.ir.errors import SpikewrightError  # here, so that --help stays fast

        if not isinstance(error, SpikewrightError):
            raise
        _refuse(str(error))


def _refuse_deleted_folder() -> None:
    """Refuse what needs torch, whose libraries end the process in a folder that is gone.

    Other commands work with absolute paths there.
    """
    if not (sys.argv[1:2] in (["train"], ["demo"]) or any(".py:" in word for word in sys.argv)):
        return
    try:
        os.getcwd()
    except FileNotFoundError:
        _refuse("the working folder is gone, torch needs one; cd to a folder that is there")


def _refuse_usage(error: Any) -> NoReturn:
    if not len(sys.argv) > 1 or type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # the help of a command that was given nothing
        raise SystemExit(2)
    _refuse(one_line(error))


def _refuse(message: str) -> NoReturn:
    from ..export.ir.visible import visible

    line = " ".join(message.split())
    print(f"error: {visible(line)}", file=sys.stderr)
    raise SystemExit(2)
