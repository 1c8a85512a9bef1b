"""A share of the campaign of kills, and the table of writers against the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from typer.testing import CliRunner

from spikewright.cli.main import app
from tests.kills.writers import OTHERS, READ, WRITING

ROOT = Path(__file__).parents[2]


def commands(command: Any, *words: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command."""
    below = getattr(command, "commands", None)
    if below is None:
        yield words
    for word, sub in (below or {}).items():
        yield from commands(sub, *words, word)


def test_every_option_that_takes_a_path_stands_in_the_table() -> None:
    taken = set()
    for words in commands(typer.main.get_command(app)):
        text = CliRunner().invoke(app, [*words, "--help"]).output
        options = re.findall(r"--(\w+) +<?path>?\b", text, re.IGNORECASE)
        taken |= {(" ".join(words), option) for option in options if option not in READ}
    assert taken == WRITING | OTHERS.keys()


def test_a_killed_writer_leaves_what_was_or_what_comes() -> None:
    """Quick writers, killed at a few events each; `make kills` does all of it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills.run", "--quick", "--kills", "24"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
