"""Devices: two processes get the loss, gradient and weights that one gets of the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

CODE = """
import runpy, sys
import torch
from torch import nn

runpy.run_path(sys.argv[1] + "/conftest.py")
from lightning_fabric import Fabric

from spikewright.trainer.devices import gather_batch
from spikewright.export.ir.errors import InputError
from spikewright.trainer.loop import LoopOptions, fit
from spikewright.trainer.losses import ctl, pair_loss

VIEWS = torch.randn(2, 2, 16, 5, generator=torch.Generator().manual_seed(1))


def gradient(fabric, name):
    torch.manual_seed(0)
    net = fabric.setup(nn.Linear(5, 4))
    x = VIEWS[:, :, :8]
    share = 8 // fabric.world_size
    part = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
    z_a, z_b = (gather_batch(fabric, net(view[:, part])) for view in x)
    loss = ctl(z_a, z_b, pair_loss(name))
    fabric.backward(loss)
    return [loss.detach(), *(p.grad for p in net.parameters())]


def fitted(fabric, batch=8):
    torch.manual_seed(0)
    net, pair = nn.Linear(5, 4), pair_loss("ntxent")

    def loss(module, indices, one):
        z_a, z_b = (one.gather(z) for z in module(VIEWS[:, :, indices].flatten(0, 1)).chunk(2))
        return ctl(z_a, z_b, pair)

    options = LoopOptions(epochs=2, batch=batch, optimizer="sgd", lr=0.1, accumulate=1)
    generator = torch.Generator().manual_seed(0)
    record = fit(net, loss, 16, options, generator, progress=False, fabric=fabric)
    return [torch.tensor(record.losses), *(p.detach() for p in net.parameters())]


def refusal(fabric):
    try:
        fitted(fabric, batch=7)
    except InputError as error:
        return str(error)
    return ""


def work(fabric):
    found = {name: gradient(fabric, name) for name in ("barlow", "ntxent", "vicreg")}
    found |= {"fit": fitted(fabric), "uneven": refusal(fabric)}
    if fabric.global_rank == 0:
        torch.save(found, sys.argv[2])


devices = int(sys.argv[3])
kind = {"strategy": "ddp_fork"} if devices > 1 else {}
Fabric(accelerator="cpu", devices=devices, **kind).launch(work)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_two_devices_learn_what_one_does(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(CODE)
    found = []
    for devices in (1, 2):
        out = tmp_path / f"{devices}.pt"
        root = str(Path(__file__).parents[2])
        command = [sys.executable, str(tmp_path / "work.py"), root, str(out), str(devices)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=600
        )
        assert done.returncode == 0, done.stderr
        found.append(torch.load(out))
    refused = [one.pop("uneven") for one in found]
    assert refused[0] == "" and "7 samples a pass over 2 devices; give a batch" in refused[1]
    for name, values in found[0].items():
        assert float(values[1].abs().max()) > 1e-3
        for one, two in zip(values, found[1][name], strict=True):
            # The bias cancels in the variances: what is left of its gradient is rounding.
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
