"""Losses over devices: two processes get the gradient that one gets from the whole batch."""

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
from spikewright.trainer.losses import ctl, pair_loss


def gradient(fabric, name):
    torch.manual_seed(0)
    net = fabric.setup(nn.Linear(5, 4))
    x = torch.randn(2, 2, 8, 5, generator=torch.Generator().manual_seed(1))
    share = 8 // fabric.world_size
    part = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
    z_a, z_b = (gather_batch(fabric, net(view[:, part])) for view in x)
    fabric.backward(ctl(z_a, z_b, pair_loss(name)))
    return [p.grad for p in net.parameters()]


def work(fabric):
    found = {name: gradient(fabric, name) for name in ("barlow", "ntxent", "vicreg")}
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
            command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=240
        )
        assert done.returncode == 0, done.stderr
        found.append(torch.load(out))
    for name, gradients in found[0].items():
        assert float(gradients[0].abs().max()) > 1e-3
        for one, two in zip(gradients, found[1][name], strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6, msg=name)
