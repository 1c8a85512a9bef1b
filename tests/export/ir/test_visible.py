"""Names of files are shown, never obeyed: on a terminal, on a page, in an error."""

import numpy as np
import pytest

from spikewright.cli.output import print_table, say
from spikewright.export.ir import Graph, Input, InputError, Linear, Output
from spikewright.export.ir.visible import escaped, visible

NAMES = {
    "\x1b[31mred\x1b[0m": "\\x1b[31mred\\x1b[0m",
    "a\rb\bc\x07": "a\\rb\\x08c\\x07",
    "\u202egnp.exe": "\\u202egnp.exe",
    "zero\u200bwidth": "zero\\u200bwidth",
    "half\ud800": "half\\ud800",
    "\x9b2J": "\\x9b2J",
    "µ θ 層 é": "µ θ 層 é",
}


@pytest.mark.parametrize(("name", "shown"), NAMES.items())
def test_what_has_no_shape_is_written_out_everywhere(name, shown, capsys):
    assert visible(name) == shown
    one_line = visible(" ".join(name.split()))
    assert str(InputError("reason", node=name)) == f"{one_line}: reason"
    say(name)
    assert capsys.readouterr().err == f"{shown}\n"
    print_table([{"name": name}], ["name"])
    assert capsys.readouterr().out.splitlines()[1] == shown
    graph = Graph.chain(
        {"in": Input((1,), "direct"), name: Linear(np.ones((1, 1), np.float32)), "o": Output()},
        "float",
    )
    assert shown in str(graph) and shown in graph._repr_html_()


def test_markup_is_escaped():
    assert escaped("<b>\x1b") == "&lt;b&gt;\\x1b"
