"""What a command prints: tables or one JSON object on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import Any


def emit_json(command: str, fields: Mapping[str, Any]) -> None:
    """Print one object with its schema; NaN and infinity become null."""
    body = {"schema": f"spikewright/{command}/1", **fields}
    print(json.dumps(_plain(body), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    listed = getattr(value, "tolist", None)
    return str(value) if listed is None else _plain(listed())


def print_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str = "", pad: str = ""
) -> None:
    """Print rows as aligned columns, text to the left, numbers to the right, each after `pad`."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    numeric = [
        all(isinstance(row.get(c), (int, float, type(None))) for row in rows) for c in columns
    ]
    table = [list(columns), *cells]
    widths = [max(len(line[k]) for line in table) for k in range(len(columns))]
    if title:
        print(title)
    for line in table:
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        print(pad + "  ".join(parts).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    from ..export.ir.visible import visible

    return visible(str(value))


def say(message: str) -> None:
    """Print a line of progress or a warning on stderr."""
    from ..export.ir.visible import visible

    print(visible(message, keep="\n"), file=sys.stderr, flush=True)


def say_written(*files: object) -> None:
    """Print which files were written, each name on one line whatever it holds."""
    from ..export.ir.visible import visible

    for file in files:
        print(f"wrote {visible(str(file))}")


@contextmanager
def library_warnings_said() -> Iterator[None]:
    """Within the context the library's warnings are lines on stderr, each text once.

    Warnings of other packages are shown as Python shows them.
    """
    usual, lines = warnings.showwarning, set[str]()

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        # By name: the errors' module brings numpy, and --help is not to wait for it.
        if not any(parent.__name__ == "SpikewrightWarning" for parent in category.__mro__):
            usual(message, category, *where, **more)
        elif str(message) not in lines:
            lines.add(str(message))
            say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def percent(share: float | None) -> str:
    """Return a fraction as a percentage, or a dash."""
    return "-" if share is None else f"{100 * share:.2f} %"


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, shown on a terminal only; the callback takes the samples done."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)
