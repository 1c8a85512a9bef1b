"""Random weights are said, from Python and from the command line; trained ones are not."""

import copy
import warnings

import pytest

import spikewright as sw
from spikewright.export.ir.errors import DoubtWarning

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from spikewright.cli.main import main  # noqa: E402
from spikewright.trainer import checkpoint  # noqa: E402
from spikewright.trainer.neurons import LIF  # noqa: E402


def doubts_of(module, **options) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DoubtWarning)
        sw.lower(module, level="float", **options)
    return [str(w.message) for w in caught if issubclass(w.category, DoubtWarning)]


def test_an_architecture_is_random_until_something_is_written_to_it():
    model = sw.models.create("if_mlp_digits")
    (line,) = doubts_of(model)
    assert "has random weights" in line
    trained = copy.deepcopy(model)
    optimizer = torch.optim.SGD(trained.parameters(), 0.1)
    trained(torch.rand(2, 3, 1, 8, 8)).sum().backward()
    optimizer.step()
    assert doubts_of(trained) == []
    loaded = sw.models.create("if_mlp_digits")
    loaded.load_state_dict(trained.state_dict())
    assert doubts_of(loaded) == []


def test_a_checkpoint_is_trained():
    assert doubts_of(checkpoint.load("digits")[0]) == []


def test_a_batchnorm_that_saw_no_data_is_named():
    module = nn.Sequential(nn.Linear(3, 4), LIF(), nn.Linear(4, 2))
    assert doubts_of(module, sample=torch.rand(2, 1, 3)) == []
    fresh = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    (line,) = doubts_of(fresh, sample=torch.rand(1, 1, 4, 4))
    assert "the BatchNorm 1 saw no data" in line
    fresh.train()(torch.rand(4, 1, 4, 4))
    assert doubts_of(fresh, sample=torch.rand(1, 1, 4, 4)) == []


def test_the_command_line_says_it_of_own_code(tmp_path, capsys, monkeypatch):
    (tmp_path / "net.py").write_text(
        "import spikewright as sw\n\ndef make():\n    return sw.models.create('if_mlp_digits')\n"
    )
    out = str(tmp_path / "a.spk")
    words = ["lower", f"{tmp_path}/net.py:make", "--level", "float", "-o", out]
    monkeypatch.setattr("sys.argv", ["spikewright", *words])
    main()
    assert "warning: IFNet has random weights" in capsys.readouterr().err
