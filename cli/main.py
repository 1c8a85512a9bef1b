"""`spikewright`: the commands, and how an error becomes one line and an exit code.

0 done, 1 a check said no, 2 the input or the request is wrong.
"""

from __future__ import annotations

import os
import sys

import typer

from .. import __version__
from . import (
    check,
    demo,
    doctor,
    estimate,
    export,
    inspect,
    lower,
    models,
    report,
    run,
    targets,
    train,
    verify,
)

app = typer.Typer(
    name="spikewright",
    help="Bring a trained spiking network to neuromorphic hardware, and prove it arrived.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    demo,
    models,
    lower,
    inspect,
    export,
    run,
    verify,
    check,
    estimate,
    report,
    targets,
    doctor,
):
    app.command(name=command.__name__.rsplit(".", 1)[-1])(command.command)
app.add_typer(train.app, name="train")


def _version(show: bool) -> None:
    if show:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and leave."
    ),
) -> None:
    """Bring a trained spiking network to neuromorphic hardware, and prove it arrived."""


def main() -> None:
    """Run the command line; a refusal is one line on stderr and exit code 2."""
    try:
        app()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        _refuse("interrupted")
    except OSError as error:
        _refuse(f"{error.filename or 'file'}: {error.strerror or error}")
    except MemoryError:
        _refuse("out of memory; use --batch or --limit")
    except Exception as error:
        from ..export.ir.errors import SpikewrightError  # here, so that --help stays fast

        if not isinstance(error, SpikewrightError):
            raise
        _refuse(str(error))


def _refuse(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
