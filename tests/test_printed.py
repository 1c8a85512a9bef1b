"""Results print as short tables: by print, at a prompt, and in a notebook."""

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import Graph, Input, Linear, Neuron, Output

GRAPH = Graph.chain(
    {
        "in": Input((3,), "direct"),
        "a<b>": Linear(np.eye(3, dtype=np.float32)),
        "n<i>": Neuron((3,), np.float64(1.0), beta=np.float64(0.5)),
        "out": Output("spike_count"),
    },
    "float",
)
X = np.random.default_rng(0).random((4, 3), dtype=np.float32)
INTEGER = sw.lower(GRAPH, calibrate=X, time_steps=2)


def session() -> sw.Session:
    live = sw.Session(INTEGER)
    live.step(X)
    return live


RESULTS = {
    "Trace": (lambda: sw.run(INTEGER, 3 * X), ["4 samples, 2 steps", "n<i>", "spike rate"]),
    "Verification": (lambda: sw.verify(INTEGER, X), ["equal: reference", "values"]),
    "FitReport": (lambda: sw.check(INTEGER, "loihi2"), ["loihi2:"]),
    "Estimate": (lambda: sw.estimate(INTEGER, X, "generic-45nm"), ["uJ per inference", "SOPs"]),
    "Comparison": (lambda: sw.compare(INTEGER, X), ["break-even", "SNN uJ", "ANN"]),
    "Target": (lambda: sw.targets()[0], ["number format", "cost tables"]),
    "Session": (session, ["1 steps of 4 samples", "integer graph"]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_a_short_table(name):
    make, parts = RESULTS[name]
    result = make()
    assert type(result).__name__ == name
    text = repr(result)
    assert text == str(result) and all(part in text for part in parts)
    assert max(map(len, text.splitlines())) < 400 and len(text.splitlines()) < 60
    page = result._repr_html_()
    assert page.startswith("<pre>") and page.count("\n") == text.count("\n")
    assert "<b>" not in page and "<i>" not in page and "\\n" not in page


def test_an_agreement_too():
    torch = pytest.importorskip("torch")
    snntorch = pytest.importorskip("snntorch")
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.5, init_hidden=True))
    found = sw.agreement(module, torch.rand(4, 3))
    assert repr(found) == str(found) and "spike" in repr(found)
    assert found._repr_html_().startswith("<pre>")


def test_predictions_are_a_property_like_their_neighbours():
    trace = sw.run(INTEGER, X)
    assert trace.predictions.shape == (trace.samples,)
