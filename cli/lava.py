"""`lava`: the worker environment of Intel's Lava, and networks run in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import arguments as a
from .output import emit_json, print_table, progress, say

if TYPE_CHECKING:
    from ..export.ir import Graph
    from ..hw_targets.lava.program import Program
    from ..sim.run import Run

app = typer.Typer(
    help="Run networks on Intel's Lava, in an environment of its own.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
PRICED_ON = "loihi1"
"""The one Loihi with published energies of its events."""
Prefix = Annotated[
    Path | None,
    typer.Option("--prefix", help="Folder of the environment; default: the user's cache folder."),
]
Rebuild = Annotated[bool, typer.Option("--force", help="Rebuild it if it exists.")]
Python = Annotated[
    str | None, typer.Option("--python", help="Interpreter, 3.10 to 3.12; default: this, or found.")
]
MemoryLimit = Annotated[
    int,
    typer.Option("--memory-limit", min=100, help="MB of address space for each of its processes."),
]
TimeLimit = Annotated[
    float,
    typer.Option(
        "--time-limit", min=1, help="Seconds until a worker is ended; every batch has its own."
    ),
]
Netx = Annotated[bool, typer.Option("--netx", help="Through an HDF5 file and lava-dl's netx.")]
Networks = Annotated[int, typer.Option("--networks", min=1, help="How many random networks.")]


@app.command(short_help="Build the worker environment.")
def install(
    prefix: Prefix = None, python: Python = None, force: Rebuild = False, json: a.Json = False
) -> None:
    """Build the environment: a pinned, hash-checked list; about 450 MB, needs a package index."""
    from ..hw_targets.lava.environment import install as build

    found = build(prefix, force=force, python=python, say=say)
    if json:
        emit_json("lava-install", _described(found))
        return
    print(
        f"Lava {found.marker['versions']['lava-nc']} on Python {found.marker['python']} in "
        f"{found.prefix}: {found.marker['seconds']:.1f} s, {found.marker['megabytes']} MB"
    )


@app.command(short_help="Is the worker environment there and whole?")
def status(json: a.Json = False) -> None:
    """Import Lava in the worker environment; exit code 1 if it is missing or broken."""
    from ..export.ir.errors import SpikewrightError
    from ..hw_targets.lava.environment import default_prefix, find
    from ..hw_targets.lava.runner import run_job

    fields: dict[str, Any] = {"prefix": str(default_prefix()), "python": None, "versions": {}}
    reason = None
    try:
        found = find()
        fields |= _described(found)
        run_job(found, {"kind": "status"}, {}, time_limit_s=120)
    except SpikewrightError as error:
        reason = str(error)
    fields |= {"ready": reason is None, "reason": reason}
    if json:
        emit_json("lava-status", fields)
    elif reason is not None:
        print(f"not ready: {reason} (looked in {fields['prefix']})")
    else:
        print(f"ready: {fields['prefix']}, Python {fields['python']}")
        print_table(
            [{"package": k, "version": v} for k, v in fields["versions"].items()],
            ("package", "version"),
        )
    if reason is not None:
        raise typer.Exit(1)


def _described(found: Any) -> dict[str, Any]:
    kept = ("python", "versions", "seconds", "megabytes")
    return {"prefix": str(found.prefix), **{key: found.marker.get(key) for key in kept}}


@app.command(short_help="Run a network on Lava.")
@a.with_groups
def run(
    request: a.Request,
    samples: a.Samples,
    time_limit: TimeLimit = 1800.0,
    memory_limit: MemoryLimit = 16_384,
    netx: Netx = False,
    json: a.Json = False,
) -> None:
    """Run a network on Lava; say what it became there: processes, delay lines, steps.

    With --netx its HDF5 file is run by lava-dl's netx, as that reads it, and every spike, u and v
    is compared with ours; exit code 1 if any differs.
    """
    if netx:
        limits = {"time_limit_s": time_limit, "memory_limit_mb": memory_limit}
        _by_netx(request, samples, limits, json)
        return
    from .. import api
    from ..hw_targets.lava.build import build
    from ..hw_targets.lava.executor import Lava
    from ..hw_targets.lava.sdk import LavaCpu
    from ..sim.run import run as run_batches

    graph = request.graph(samples, ["lava"])
    program = build(graph)
    data = samples.of(graph)
    with progress("lava", len(data)) as done:
        found = run_batches(
            graph,
            data.x,
            api.steps_for(graph, data.x, request.time_steps),
            executor_name=Lava(LavaCpu(time_limit, memory_limit)),
            encoding=request.encode,
            seed=samples.seed,
            batch=samples.batch,
            progress=done,
        )
    _tell(graph, program, found, data.y, json)


def _tell(graph: Graph, program: Program, found: Run, labels: Any, json: bool) -> None:
    """Say what a run found, what the graph became on Lava, and what the chip is too narrow for."""
    from ..hw_targets.lava.relay_cost import relay_cost
    from ..hw_targets.lava.silicon import silicon_limits
    from ..hw_targets.target import load_target
    from .run import show

    limits = silicon_limits(graph)
    cost = relay_cost(graph, found.counters, load_target(PRICED_ON))
    if json:
        fields = {
            "samples": len(found.predictions),
            "accuracy": found.accuracy(labels),
            "predictions": found.predictions,
            "layers": found.counters.rows(),
            "totals": found.counters.totals(),
            "samples_per_s": found.samples_per_s,
            "program": {**program.to_json(), "delay_line_cost": cost.to_json()},
            "silicon": [limit.to_json() for limit in limits],
        }
        emit_json("lava-run", fields)
        return
    show(found, labels, False)
    print(program)
    if program.relays:
        print(cost)
    if limits:
        print("Lava's CPU models let pass what the chip does not:")
    for limit in limits:
        print(f"  {limit}")


def _by_netx(request: a.Request, samples: a.Samples, limits: Any, json: bool) -> None:
    from tempfile import TemporaryDirectory

    from .. import api
    from ..export.formats.lava import write_lava
    from ..export.formats.lava_in import read_lava
    from ..hw_targets.lava.netx import compare_with_netx
    from ..sim.encode import encode
    from ..sim.encoding import entered

    graph = request.graph(samples, ["lava"])
    data = samples.of(graph)
    graph = entered(graph, data.x, request.encode)
    steps = api.steps_for(graph, data.x, request.time_steps)
    with TemporaryDirectory() as folder:
        path, held = Path(request.source), graph
        if path.suffix != ".net":
            path = Path(folder) / "network.net"
            write_lava(graph, path)
            held = read_lava(path, graph.input)
        x = encode(held, data.x, steps, request.encode, samples.seed)
        found = compare_with_netx(path, held, x, batch=samples.batch, **limits)
    difference = found.first_difference
    if json:
        fields: dict[str, Any] = {"equal": found.equal, "layers": found.layers}
        fields |= {"samples": len(data), "values_compared": found.values_compared}
        fields["first_difference"] = None if difference is None else difference.to_json()
        emit_json("lava-netx", fields)
    elif found.equal:
        count, layers = found.values_compared, found.layers
        print(f"equal: netx = reference in {count:,} values of {layers} layers")
    else:
        print(f"not equal: {difference}")
    if not found.equal:
        raise typer.Exit(1)


@app.command(short_help="Compare Lava with our rules on random networks.")
def selftest(networks: Networks = 200, seed: a.Seed = 0, json: a.Json = False) -> None:
    """Run random networks on Lava and compare every spike, u and v; exit code 1 if any differs.

    In turn feed-forward graphs, graphs with loops, and bare processes with odd weights, each sign
    mode, exponents from -3 to 3 and 3 to 8 bits.
    """
    from ..hw_targets.lava.selftest import selftest as compare

    with progress("lava selftest", networks) as done:
        found = compare(networks, seed, progress=done)
    if json:
        emit_json("lava-selftest", found.to_json())
    else:
        print(found)
    if not found.equal:
        raise typer.Exit(1)
