"""How an option is spelled: texts are written as on the command line, and read as in Python.

A remedy names what its reader can type. Shared code writes ``--encode spikes``; whoever calls from
Python reads ``encoding="spikes"``, and the command line, which declares itself, what was
written. It stands outside `ir`, whose import brings numpy: ``--help`` is not to wait for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

ARGUMENTS = {
    "-T": "time_steps",
    "--time-steps": "time_steps",
    "--encode": "encoding",
    "--input": "input_shape",
    **{
        f"--{name.replace('_', '-')}": name
        for name in (
            "bits", "target", "targets", "calibrate", "scale", "level", "seed", "batch", "executor",
            "executors", "weights", "dialect", "dt", "convert", "cost", "method", "differences",
            "first_layer", "integer_inputs", "arithmetic", "tau", "pair", "threads",
        )
    },
}  # fmt: skip
"""Options of the command line, and the arguments of Python that say the same."""
SWITCHES = {"--force": "force=True", "--strict": "strict=True", "--inline": "inline=True"}
_WORDS = (
    "direct", "rate", "latency", "frames", "spikes", "reference", "native", "onnxruntime", "lava",
    "float", "folded", "integer", "generic", "loihi1", "loihi2", "relu", "warn", "error",
    "portable", "norse", "snntorch", "spikingjelly", "sinabs", "subtract", "exponential",
    "each_step", "once", "max", "percentile", "mse", "ac", "mac",
)  # fmt: skip
_WORD = rf"(?:{'|'.join(_WORDS)})(?:,[a-z0-9]+)*"
_VALUE = rf"(?: (?P<value>[\d.]*\d|[a-z0-9]+:[A-Z]+|[A-Z][A-Z,:]*|{_WORD})(?![\w-]))?"
_OPTION = re.compile(rf"(?<![\w-])(?P<option>--[a-z][a-z-]*|-T)(?![\w-]){_VALUE}")
_on_command_line = False


@contextmanager
def command_line() -> Iterator[None]:
    """Within the context texts are read as they were written, by a user of the command line."""
    global _on_command_line
    before, _on_command_line = _on_command_line, True
    try:
        yield
    finally:
        _on_command_line = before


def spelled(text: str) -> str:
    """Return a text with its options as the interface in use spells them."""
    return text if _on_command_line else _OPTION.sub(_argument, text)


def _argument(match: re.Match[str]) -> str:
    option, value = match["option"], match["value"]
    if "spikewright " in match.string[: match.start()].rpartition(";")[2]:
        return match[0]  # of a command that is to be typed in a shell
    if option in SWITCHES:
        return SWITCHES[option] + (f" {value}" if value else "")
    if option not in ARGUMENTS:
        return match[0]
    name = ARGUMENTS[option]
    if value is None:
        return name
    if value == "DATA":
        return f"{name}=samples"
    return f"{name}={value}" if value[0].isdigit() or value.isupper() else f'{name}="{value}"'
