"""Networks that each peer builds, runs and exports itself (imported by `worker.py`).

Weights are multiples of 1/32 and thresholds stand between the values that potentials can take, as
in our own corpus. A peer's parameters are as its documentation uses them, with hard reset (the one
that NIR can say; sinabs subtracts, always).
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

TIME_STEPS, BATCH = 20, 4
GRID = 1 / 32
NEAR = GRID / 3 + GRID / 1024
DT = 1e-4
Network = tuple[Any, tuple[int, ...]]


def filled(module: nn.Module, seed: int) -> nn.Module:
    """Return the module with weights and biases on the grid."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.Conv1d)):
            for values, size in ((layer.weight, 1), (layer.bias, 4)):
                if values is not None:
                    codes = torch.randint(-24, 33, values.shape, generator=generator)
                    values.data = codes.float() * GRID / size
    return module


def named(*layers: nn.Module) -> OrderedDict[str, nn.Module]:
    return OrderedDict((f"m{k}", layer) for k, layer in enumerate(layers))


def sequential(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(named(*layers))


def spikes_of(shape: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(11)
    x = (rng.random((TIME_STEPS, BATCH, *shape)) < 0.3).astype(np.float32)
    return torch.from_numpy(x)


def threshold(level: float) -> float:
    return round(level / GRID) * GRID + NEAR


class Stepped:
    """Calls a module step by step and notes what its neurons return."""

    def __init__(self, module: nn.Module, neurons: tuple[type[Any], ...]) -> None:
        self.module = module
        self.seen: dict[str, list[Any]] = {}
        for path, layer in module.named_modules():
            if isinstance(layer, neurons):
                self.seen[path] = []
                layer.register_forward_hook(
                    lambda _m, _i, out, path=path: self.seen[path].append(
                        (out[0] if isinstance(out, tuple) else out).detach().clone()
                    )
                )

    def clear(self) -> None:
        for steps in self.seen.values():
            steps.clear()

    def spikes(self) -> dict[str, np.ndarray]:
        return {path: torch.stack(steps).numpy() for path, steps in self.seen.items()}


# norse


def _norse_networks() -> dict[str, Network]:
    import norse.torch as norse
    from norse.torch.module.lif_box import LIFBoxCell, LIFBoxParameters

    def lif(shape: tuple[int, ...], level: float, steps: float = 2) -> Any:
        full = torch.ones(shape)
        p = LIFBoxParameters(
            tau_mem_inv=full / (steps * 1e-3), v_th=threshold(level) * full, v_leak=0 * full
        )
        return LIFBoxCell(p, dt=1e-3)

    def integrate(shape: tuple[int, ...], level: float) -> Any:
        return norse.IAFCell(norse.IAFParameters(v_th=threshold(level) * torch.ones(shape)))

    def net(*layers: nn.Module) -> Any:
        return norse.SequentialState(*layers)

    line, conv = nn.Linear, nn.Conv2d
    return {
        "mlp": (net(line(20, 24), lif((24,), 0.3), line(24, 8), lif((8,), 0.2)), (20,)),
        "mlp, slow leak": (
            net(line(20, 24), lif((24,), 0.2, 8), line(24, 8), lif((8,), 0.1, 8)),
            (20,),
        ),
        "mlp, IF": (
            net(line(20, 24), integrate((24,), 2), line(24, 8), integrate((8,), 2)),
            (20,),
        ),
        "conv": (
            net(conv(3, 6, 3, padding=1), lif((6, 6, 6), 0.4), conv(6, 4, 3), lif((4, 4, 4), 0.3)),
            (3, 6, 6),
        ),
        "conv, stride 2, IF": (
            net(
                conv(3, 6, 3, padding=1),
                integrate((6, 6, 6), 1.5),
                conv(6, 4, 3, 2),
                integrate((4, 2, 2), 1),
            ),
            (3, 6, 6),
        ),
    }


def _norse_export(module: Any, x: Any) -> Any:
    import norse.torch

    graph = norse.torch.to_nir(module, x[0, 0], dt=1e-3)
    graph.infer_types()
    return graph


def _norse_run(module: Any, x: Any) -> dict[str, np.ndarray]:
    from norse.torch.module.iaf import IAFCell
    from norse.torch.module.lif_box import LIFBoxCell

    stepped, state = Stepped(module, (IAFCell, LIFBoxCell)), None
    for frame in x:
        _, state = module(frame, state)
    return stepped.spikes()


# snntorch


def _snntorch_networks() -> dict[str, Network]:
    import snntorch as snn

    zero = {"reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}

    def lif(shape: tuple[int, ...], level: float, beta: float = 0.5) -> Any:
        return snn.Leaky(
            beta=torch.full(shape, beta), threshold=torch.full(shape, threshold(level)), **zero
        )

    def synaptic(shape: tuple[int, ...], level: float) -> Any:
        full = torch.full(shape, 0.5)
        return snn.Synaptic(
            alpha=full, beta=full, threshold=torch.full(shape, threshold(level)), **zero
        )

    def recurrent(count: int, level: float) -> Any:
        return snn.RLeaky(beta=0.5, linear_features=count, threshold=threshold(level), **zero)

    net = sequential
    line, conv = nn.Linear, nn.Conv2d
    return {
        "mlp": (net(line(20, 24), lif((24,), 0.8), line(24, 8), lif((8,), 0.6)), (20,)),
        "mlp, slow leak": (
            net(line(20, 24), lif((24,), 1.5, 0.875), line(24, 8), lif((8,), 1, 0.875)),
            (20,),
        ),
        "mlp, synaptic current": (
            net(line(20, 24), synaptic((24,), 1.5), line(24, 8), synaptic((8,), 1)),
            (20,),
        ),
        "conv": (
            net(conv(3, 6, 3, padding=1), lif((6, 6, 6), 0.8), conv(6, 4, 3), lif((4, 4, 4), 0.6)),
            (3, 6, 6),
        ),
        "conv, pool, flatten": (
            net(
                conv(3, 6, 3, padding=1),
                lif((6, 6, 6), 0.8),
                nn.AvgPool2d(2),
                nn.Flatten(),
                line(54, 8),
                lif((8,), 0.5),
            ),
            (3, 6, 6),
        ),
        "conv, 3 groups, stride 2": (
            net(
                conv(3, 6, 3, 2, 1, groups=3),
                lif((6, 3, 3), 0.4),
                nn.Flatten(),
                line(54, 8),
                lif((8,), 0.5),
            ),
            (3, 6, 6),
        ),
        "recurrent": (
            net(line(20, 12), recurrent(12, 0.8), line(12, 8), lif((8,), 0.4)),
            (20,),
        ),
    }


def _snntorch_export(module: Any, x: Any) -> Any:
    from snntorch.export_nir import export_to_nir

    return export_to_nir(module, x[0], ignore_dims=[0])


def _snntorch_run(module: Any, x: Any) -> dict[str, np.ndarray]:
    import snntorch as snn
    from snntorch import utils

    stepped = Stepped(module, (snn.Leaky, snn.Synaptic, snn.RLeaky))
    utils.reset(module)
    for frame in x:
        module(frame)
    return stepped.spikes()


# spikingjelly


def _spikingjelly_networks() -> dict[str, Network]:
    from spikingjelly.activation_based import layer, neuron

    def lif(level: float, tau: float = 2.0, decay_input: bool = False) -> Any:
        return neuron.LIFNode(
            tau=tau, decay_input=decay_input, v_threshold=threshold(level), v_reset=0.0
        )

    def integrate(level: float) -> Any:
        return neuron.IFNode(v_threshold=threshold(level), v_reset=0.0)

    def current(level: float) -> Any:
        return neuron.CUBALIFNode(
            c_decay=0.5, v_decay=0.5, v_threshold=threshold(level), v_reset=0.0
        )

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c0, self.n0 = layer.Conv2d(3, 4, 3, padding=1), lif(0.8)
            self.c1, self.n1 = layer.Conv2d(4, 4, 3, padding=1), lif(0.8)
            self.c2, self.n2 = layer.Conv2d(4, 4, 3), lif(0.8)

        def forward(self, x: Any) -> Any:
            s = self.n0(self.c0(x))
            return self.n2(self.c2(s + self.n1(self.c1(s))))

    net = sequential
    line, conv = layer.Linear, layer.Conv2d
    return {
        "mlp": (net(line(20, 24), lif(0.8), line(24, 8), lif(0.6)), (20,)),
        "mlp, decay_input": (
            net(line(20, 24), lif(0.4, 2.0, True), line(24, 8), lif(0.2, 4.0, True)),
            (20,),
        ),
        "mlp, IF": (net(line(20, 24), integrate(2), line(24, 8), integrate(2)), (20,)),
        "mlp, synaptic current": (
            net(line(20, 24), current(1.5), line(24, 8), current(1)),
            (20,),
        ),
        "conv": (
            net(conv(3, 6, 3, padding=1), lif(0.8), conv(6, 4, 3), lif(0.6)),
            (3, 6, 6),
        ),
        "conv, pool, flatten": (
            net(
                conv(3, 6, 3, padding=1),
                integrate(2),
                layer.AvgPool2d(2, 2),
                layer.Flatten(),
                line(54, 8),
                lif(0.5),
            ),
            (3, 6, 6),
        ),
        "conv, stride 2, dilation 2": (
            net(conv(3, 6, 3, 2, 1), lif(0.8), conv(6, 4, 3, 1, 2, 2), lif(0.6)),
            (3, 8, 8),
        ),
        "residual of spikes": (Residual(), (3, 6, 6)),
    }


def _spikingjelly_export(module: Any, x: Any) -> Any:
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    return export_to_nir(module, x[0], dt=DT)


def _spikingjelly_run(module: Any, x: Any) -> dict[str, np.ndarray]:
    from spikingjelly.activation_based import functional, neuron

    stepped = Stepped(module, (neuron.BaseNode,))
    functional.reset_net(module)
    for frame in x:
        module(frame)
    return stepped.spikes()


# sinabs


def _sinabs_networks() -> dict[str, Network]:
    import sinabs.layers as sl

    def lif(level: float, beta: float = 0.5) -> Any:
        return sl.LIFSqueeze(
            tau_mem=torch.tensor([-1 / np.log(beta)], dtype=torch.float32),
            spike_threshold=torch.tensor([threshold(level)]),
            batch_size=BATCH,
            norm_input=False,
        )

    def integrate(level: float) -> Any:
        th = torch.tensor(threshold(level))
        return sl.IAFSqueeze(spike_threshold=th, min_v_mem=-th, batch_size=BATCH)

    net = sequential
    line, conv = nn.Linear, nn.Conv2d
    return {
        "mlp": (net(line(20, 24), lif(0.8), line(24, 8), lif(0.6)), (20,)),
        "mlp, slow leak": (
            net(line(20, 24), lif(1.5, 0.875), line(24, 8), lif(1, 0.875)),
            (20,),
        ),
        "mlp, IF": (net(line(20, 24), integrate(2), line(24, 8), integrate(2)), (20,)),
        "conv, IF": (
            net(conv(3, 6, 3, padding=1), integrate(2), conv(6, 4, 3), integrate(2)),
            (3, 6, 6),
        ),
        "conv, sum pool, flatten, IF": (
            net(
                conv(3, 6, 3, padding=1),
                integrate(2),
                sl.SumPool2d(2),
                nn.Flatten(),
                line(54, 8),
                integrate(2),
            ),
            (3, 6, 6),
        ),
        "conv, 3 groups, stride 2, IF": (
            net(
                conv(3, 6, 3, 2, 1, groups=3), integrate(1), nn.Flatten(), line(54, 8), integrate(2)
            ),
            (3, 6, 6),
        ),
    }


def _sinabs_export(module: Any, x: Any) -> Any:
    from sinabs.nir import to_nir

    flat = x.transpose(0, 1).flatten(0, 1)
    graph = to_nir(module, flat)
    graph.infer_types()
    return graph


def _sinabs_run(module: Any, x: Any) -> dict[str, np.ndarray]:
    import sinabs.layers as sl

    stepped = Stepped(module, (sl.IAFSqueeze, sl.LIFSqueeze))
    for layer in module.modules():
        if hasattr(layer, "reset_states"):
            layer.reset_states()
    module(x.transpose(0, 1).flatten(0, 1))
    found = stepped.spikes()
    shape = (BATCH, TIME_STEPS)
    return {k: np.swapaxes(v[0].reshape(*shape, *v.shape[2:]), 0, 1) for k, v in found.items()}


PEERS: dict[str, tuple[Any, Any, Any]] = {
    "norse": (_norse_networks, _norse_export, _norse_run),
    "snntorch": (_snntorch_networks, _snntorch_export, _snntorch_run),
    "spikingjelly": (_spikingjelly_networks, _spikingjelly_export, _spikingjelly_run),
    "sinabs": (_sinabs_networks, _sinabs_export, _sinabs_run),
}


def write_all(peer: str, folder: Path) -> None:
    """Write each network: the peer's NIR file, the input and the peer's own spikes."""
    import nir

    networks, export, run = PEERS[peer]
    for k, (name, (module, shape)) in enumerate(networks().items()):
        path = folder / f"{k:02d}.nir"
        path.with_suffix(".name").write_text(name)
        try:
            filled(module, k)
            x = spikes_of(shape)
            np.save(path.with_suffix(".x.npy"), x.numpy())
            with torch.no_grad():
                found = run(module, x)
                np.savez(path.with_suffix(".spikes.npz"), **found)
                nir.write(str(path), export(module, x))
        except Exception as error:  # whatever a peer raises is its answer
            line = " ".join(f"{type(error).__name__}: {error}".split())
            path.with_suffix(".error").write_text(line[:300])
