"""State dicts in files: what training scripts save goes into the module, all else is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

from spikewright.export.ir import FormatError  # noqa: E402
from spikewright.trainer.state_dicts import _inner, load_weights, read_state_dict  # noqa: E402

nn = torch.nn


def network(seed: int) -> Any:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


WANTED = network(1).state_dict()
PREFIXED = {
    "plain": dict(WANTED),
    "data parallel": {f"module.{k}": v for k, v in WANTED.items()},
    "compiled": {f"_orig_mod.{k}": v for k, v in WANTED.items()},
    "both": {f"module._orig_mod.{k}": v for k, v in WANTED.items()},
    "a part compiled": {k.replace("0.", "0._orig_mod."): v for k, v in WANTED.items()},
    "of a training class": {f"net.{k}": v for k, v in WANTED.items()},
}
AROUND = {
    "nothing": lambda tensors: tensors,
    "state_dict": lambda tensors: {"epoch": 3, "state_dict": tensors},
    "model": lambda tensors: {"model": tensors, "optimizer": {"lr": 0.1, "state": {}}},
    "model_state_dict": lambda tensors: {"model_state_dict": tensors, "loss": 0.5},
    "tensors beside": lambda tensors: {
        "epoch": torch.tensor(3),
        "loss": torch.tensor(0.5),
        "state_dict": tensors,
    },
    "two": lambda tensors: {"model": {"state_dict": tensors}},
}


@pytest.mark.parametrize("prefix", PREFIXED)
@pytest.mark.parametrize("around", AROUND)
def test_torch_files(prefix: str, around: str, tmp_path: Path) -> None:
    torch.save(AROUND[around](PREFIXED[prefix]), tmp_path / "w.pt")
    module = network(2)
    load_weights(module, tmp_path / "w.pt")
    assert all(torch.equal(v, WANTED[k]) for k, v in module.state_dict().items())


@pytest.mark.parametrize("prefix", PREFIXED)
def test_safetensors(prefix: str, tmp_path: Path) -> None:
    save_file(dict(PREFIXED[prefix]), tmp_path / "w.safetensors")
    module = network(2)
    load_weights(module, tmp_path / "w.safetensors")
    assert all(torch.equal(v, WANTED[k]) for k, v in module.state_dict().items())


def test_an_older_file_of_torch(tmp_path: Path) -> None:
    torch.save(dict(WANTED), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_state_dict(tmp_path / "w.pth")["0.weight"], WANTED["0.weight"])


def test_tensors_of_a_gpu_come_to_the_cpu(tmp_path: Path, monkeypatch: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(dict(WANTED), tmp_path / "w.pt")
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(tmp_path / "w.pt", weights_only=True)
    found = read_state_dict(tmp_path / "w.pt")
    assert found["0.weight"].device.type == "cpu"
    assert torch.equal(found["0.weight"], WANTED["0.weight"])


def test_a_prefix_that_the_module_has_is_kept(tmp_path: Path) -> None:
    module = nn.Module()
    module.module = network(2)
    torch.save({f"module.{k}": v for k, v in WANTED.items()}, tmp_path / "w.pt")
    load_weights(module, tmp_path / "w.pt")
    assert torch.equal(module.module[0].weight, WANTED["0.weight"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"0.bias": None}, "it lacks 0.bias"),
        ({"3.weight": torch.ones(2, 2)}, "the module has no 3.weight"),
        ({"0.weight": torch.ones(5, 4)}, r"0.weight is \[5, 4\], the module's \[3, 4\]"),
        ({"0.bias": None, "0.b": torch.ones(3)}, "it lacks 0.bias; the module has no 0.b"),
        (dict.fromkeys(list(WANTED)[:6]), "it lacks 0.weight, 0.bias, 1.weight and 3 more"),
    ],
)
def test_weights_of_another_module_are_refused(change: Any, says: str, tmp_path: Path) -> None:
    tensors = {**WANTED, **change}
    torch.save({k: v for k, v in tensors.items() if v is not None}, tmp_path / "w.pt")
    module = network(2)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(FormatError, match=says):
        load_weights(module, tmp_path / "w.pt")
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_files_that_hold_more_than_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(network(1), path)
    with pytest.raises(FormatError, match=r"a pickled torch\.nn\.\S+\.Sequential") as caught:
        read_state_dict(path)
    assert "torch.save(model.state_dict(), PATH)" in str(caught.value)
    torch.jit.trace(nn.Linear(4, 3), torch.ones(1, 4)).save(str(path))
    with pytest.raises(FormatError, match="TorchScript"):
        read_state_dict(path)
    torch.save(torch.ones(3), path)
    with pytest.raises(FormatError, match="holds a Tensor, not a state dict"):
        read_state_dict(path)
    torch.save({"epoch": 3, "lr": 0.1}, path)
    with pytest.raises(FormatError, match="a dictionary of epoch, lr, not a state dict"):
        read_state_dict(path)


def test_a_file_that_holds_itself_ends() -> None:
    around: dict[str, Any] = {"loss": torch.ones(())}
    around["state_dict"] = around
    assert list(_inner(around, Path("w.pt"))) == ["loss", "state_dict"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"\x80\x02cut", b"hello world"])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(FormatError):
        read_state_dict(tmp_path / "w.pt")
    with pytest.raises(FormatError, match="no such file"):
        read_state_dict(tmp_path / "none.pt")


def test_states_that_sinabs_saves_are_left_out(tmp_path: Path) -> None:
    layers = pytest.importorskip("sinabs.layers", reason="pip install --no-deps sinabs==3.1.3")

    def built() -> Any:
        return nn.Sequential(nn.Linear(4, 3), layers.LIF(tau_mem=10.0))

    trained, module = built(), built()
    trained[1](trained[0](torch.ones(2, 5, 4)))
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    load_weights(module, tmp_path / "w.pt")
    assert torch.equal(module[0].weight, trained[0].weight) and not module[1].v_mem.any()
