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


class Halved(nn.DataParallel):
    def forward(self, x: Any) -> Any:
        return self.module(x / 2)


class HalvedAverage(torch.optim.swa_utils.AveragedModel):
    def forward(self, x: Any) -> Any:
        return super().forward(x) * 0.5


class Passing(nn.DataParallel):
    """Adds names only: what many training scripts have."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.module, name)


def with_hook(module: Any) -> Any:
    module.register_forward_hook(lambda _, __, out: 0.5 * out)
    return module


def with_pre_hook(module: Any) -> Any:
    module.register_forward_pre_hook(lambda _, args: (0.5 * args[0],))
    return module


def with_forward(module: Any) -> Any:
    before = module.forward
    module.forward = lambda x: 0.5 * before(x)
    return module


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_hook, "hooks"),
        (with_pre_hook, "hooks"),
        (with_forward, r"forward\(\) of its own"),
    ],
)
@pytest.mark.parametrize("how", ["compile", "data parallel", "averaged"])
def test_what_a_wrapper_computes_itself_is_not_lost(change: Any, reason: str, how: str) -> None:
    module = change(wrap(nn.Sequential(nn.Linear(6, 2)), how))
    for source in (module, nn.Sequential(module, nn.Linear(2, 2))):
        for door in (sw.lower, sw.agreement):
            with pytest.raises(InputError, match=f"a wrapper with {reason}") as caught:
                door(source, X, time_steps=1)
            caught.match("give the module inside")


@pytest.mark.parametrize("wrapper", [Halved, HalvedAverage])
def test_a_subclass_of_a_wrapper_with_its_own_forward_is_refused(wrapper: Any) -> None:
    with pytest.raises(InputError, match=rf"{wrapper.__name__}.*forward\(\) of its own"):
        sw.lower(wrapper(nn.Sequential(nn.Linear(6, 2))), X, time_steps=1)


def test_a_subclass_of_a_wrapper_that_computes_nothing_is_taken_off() -> None:
    inside = nn.Sequential(nn.Linear(6, 2))
    assert unwrapped(Passing(inside)) is inside


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
