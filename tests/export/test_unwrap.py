"""What is handed over as a module: wrappers taken off in every door, other things refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import InputError
from spikewright.export.unwrap import unwrapped

torch = pytest.importorskip("torch")
nn = torch.nn
snn = pytest.importorskip("snntorch", reason="pip install snntorch==1.0.0")
X = torch.rand(3, 6, generator=torch.Generator().manual_seed(1))


def network() -> Any:
    torch.manual_seed(0)
    leaky = [snn.Leaky(beta=0.5, threshold=0.37, init_hidden=True) for _ in range(2)]
    return nn.Sequential(nn.Linear(6, 8), leaky[0], nn.Linear(8, 4), leaky[1])


@pytest.fixture
def process_group() -> Iterator[None]:
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def wrap(module: Any, how: str) -> Any:
    if how == "compile":
        return torch.compile(module)
    if how == "data parallel":
        return nn.DataParallel(module)
    if how == "distributed":
        return nn.parallel.DistributedDataParallel(module)
    if how == "compiled, then distributed":
        return nn.parallel.DistributedDataParallel(torch.compile(module))
    return torch.optim.swa_utils.AveragedModel(module)


WRAPPERS = ["compile", "data parallel", "distributed", "compiled, then distributed", "averaged"]


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("how", WRAPPERS)
def test_a_wrapped_module_is_lowered_as_what_it_wraps(how: str) -> None:
    plain, wrapped = network(), wrap(network(), how)
    expected = sw.lower(plain, X, time_steps=5)
    found = sw.lower(wrapped, X, time_steps=5)
    assert list(found.nodes) == list(expected.nodes)
    for name in found.neurons:
        assert np.array_equal(found.neurons[name].v_threshold, expected.neurons[name].v_threshold)
    assert sw.agreement(wrapped, X, time_steps=5).equal
    floats = sw.lower(wrapped, X, level="float", time_steps=5)
    assert floats.metadata["agreement"]["differ"] == 0


def test_a_wrapper_inside_is_taken_off_and_left_in_place() -> None:
    module = nn.Sequential(network(), nn.Linear(4, 2))
    expected = list(sw.lower(module, X, level="float", time_steps=5).nodes)
    module[0] = torch.compile(module[0])
    inside = module[0]
    assert list(sw.lower(module, X, level="float", time_steps=5).nodes) == expected
    assert module[0] is inside
    assert unwrapped(module)[1] is module[1]


def test_a_module_in_two_places_stays_one() -> None:
    shared = torch.compile(nn.Linear(4, 4))
    found = unwrapped(nn.Sequential(shared, nn.ReLU(), shared))
    assert found[0] is found[2] and isinstance(found[0], nn.Linear)


@pytest.mark.parametrize(
    ("given", "reason", "remedy"),
    [
        (lambda: nn.Linear(6, 2).state_dict(), "a state dict", "load_state_dict"),
        (lambda: {"state_dict": nn.Linear(6, 2).state_dict()}, "a state dict", "load_state_dict"),
        (lambda: nn.Linear, "the class Linear", r"give Linear\(...\)"),
        (lambda: network, "function", "give what it returns"),
        (lambda: torch.jit.trace(nn.Linear(6, 2), X), "TopLevelTracedModule", "ONNX"),
        (lambda: torch.export.export(nn.Linear(6, 2), (X,)), "ExportedProgram", "ONNX"),
        (lambda: 3, "int 3", "torch.nn.Module"),
        (lambda: [nn.Linear(6, 2)], "list", "torch.nn.Module"),
    ],
)
def test_what_is_no_module_is_refused(given: Any, reason: str, remedy: str) -> None:
    source = given()
    for door in (lambda: sw.lower(source, X), lambda: sw.lower(source)):
        with pytest.raises(InputError, match=reason) as caught:
            door()
        assert caught.value.remedy is not None
    with pytest.raises(InputError, match=reason) as caught:
        sw.agreement(source, X)
    caught.match(remedy)
