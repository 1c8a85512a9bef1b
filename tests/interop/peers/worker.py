"""Runs inside a peer's own environment: the peer loads our files, or exports networks of its own.

    python worker.py read PEER FOLDER     each FOLDER/NAME.nir with NAME.x.npy -> NAME.spikes.npz
    python worker.py write PEER FOLDER    the peer's own networks, exported -> the same three

x is [time, batch, ...]; the spikes of each neuron node, [time, batch, ...], stand under its name.
What the peer raises becomes NAME.error, one line. Nothing of ours is imported here.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

DT = 1e-4
NEURONS = ("IF", "LIF", "CubaLIF")
Spikes = dict[str, list[Any]]


def first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def plain_name(name: str) -> str:
    """A node's name as nirtorch's sanitised submodule names have it."""
    return re.sub(r"[^0-9a-zA-Z_]", "_", name)


def recorded(module: Any, names: list[str], seen: Spikes) -> None:
    """Note what the submodules called `names` return, at every call."""
    by_plain = {plain_name(name): name for name in names}
    for path, layer in module.named_modules():
        name = by_plain.get(plain_name(path))
        if name is not None:
            layer.register_forward_hook(
                lambda _m, _i, out, name=name: seen[name].append(first(out).detach().clone())
            )


# How each peer loads a NIR graph, and whether it sets a batch axis apart (its Flatten says so).


def _norse(graph: Any, batch: int) -> Any:
    import norse.torch

    return norse.torch.from_nir(graph, dt=DT)


def _snntorch(graph: Any, batch: int) -> Any:
    from snntorch.import_nir import import_from_nir

    return import_from_nir(graph)


def _spikingjelly(graph: Any, batch: int) -> Any:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return import_from_nir(graph, dt=DT)


def _sinabs(graph: Any, batch: int) -> Any:
    from sinabs.nir import from_nir

    return from_nir(graph, batch_size=batch, num_timesteps=1)


LOADERS: dict[str, Callable[[Any, int], Any]] = {
    "norse": _norse,
    "snntorch": _snntorch,
    "spikingjelly": _spikingjelly,
    "sinabs": _sinabs,
}
BATCHED = ("spikingjelly", "sinabs")


def run_file(peer: str, path: Path) -> dict[str, np.ndarray]:
    """Load a NIR file with the peer's own importer and step it over the file's input."""
    x = torch.from_numpy(np.load(path.with_suffix(".x.npy")))
    if peer in BATCHED:
        return _run(peer, path, x)
    samples = [_run(peer, path, x[:, k]) for k in range(x.shape[1])]
    return {name: np.stack([s[name] for s in samples], 1) for name in samples[0]}


def _run(peer: str, path: Path, x: Any) -> dict[str, np.ndarray]:
    import nir

    graph = nir.read(str(path))
    names = [n for n, node in graph.nodes.items() if type(node).__name__ in NEURONS]
    module = LOADERS[peer](graph, x.shape[1])
    seen: Spikes = {name: [] for name in names}
    recorded(module, names, seen)
    state = None
    with torch.no_grad():
        for frame in x:
            found = module(frame, state)
            state = found[1] if isinstance(found, tuple) else None
    short = [name for name, steps in seen.items() if len(steps) != len(x)]
    if short:
        raise RuntimeError(f"{short[0]} was not called once a step")
    return {name: torch.stack(steps).numpy() for name, steps in seen.items()}


def main(verb: str, peer: str, folder: Path) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    if verb == "write":
        from peer_networks import write_all

        write_all(peer, folder)
        return
    for path in sorted(folder.glob("*.nir")):
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found = run_file(peer, path)
            np.savez(path.with_suffix(".spikes.npz"), **found)
        except Exception as error:  # whatever a peer raises is its answer
            line = " ".join(f"{type(error).__name__}: {error}".split())
            path.with_suffix(".error").write_text(line[:300])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
