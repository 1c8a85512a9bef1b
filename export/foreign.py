"""Neurons of other frameworks as ours: a table from class to rule. Data: no framework is imported.

Read in the source of snntorch 1.0.0, norse 1.1.0, spikingjelly 2.0.0 and sinabs 3.1.3. A rule takes
the live layer and the shape it works on (without time and batch) and returns the nodes that compute
what the layer computes, step by step. Subclasses are not taken for their parents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

from .containers import CONTAINERS, Looped, Part, connected
from .ir import Array, AvgPool, Conv2d, Linear, Neuron, Node, Output, Scale, Shape, SumPool
from .overridden import overrides
from .torch_layers import Refused, array

Time: TypeAlias = Literal["step", "steps", "batch first", "squeezed"]
MANY_SPIKES = 1 << 15


Rule: TypeAlias = Callable[[Any, Shape], list[Node] | Looped]


def number(name: str, value: Any, shape: Shape) -> Array:
    """Return a parameter as float64 that broadcasts against the shape of a layer.

    Raises:
        Refused: for one that does not.
    """
    found = array(value) if hasattr(value, "detach") else np.asarray(value)
    values: Array = np.asarray(found, np.float64)
    while values.ndim and values.shape[0] == 1 and values.ndim > len(shape):
        values = values[0]
    values = values.reshape(()) if values.size == 1 else values
    try:
        np.broadcast_to(values, shape)
    except ValueError:
        reason = f"{name} has shape {values.shape}, the layer {shape}"
        raise Refused(reason, "give one value, or one a neuron") from None
    return values


def started(nodes: list[Node], start: Any, shape: Shape) -> list[Node]:
    """Return the neuron with the membrane potential [batch, *shape] that it starts from.

    Raises:
        Refused: for one that differs between samples, is above threshold, or has another shape
            (which snntorch puts zeros in the place of).
    """
    (neuron,) = nodes
    assert isinstance(neuron, Neuron)
    if tuple(start.shape[1:]) != shape or bool((start != start[:1]).any()):
        raise Refused(
            "a first state that is not alike for every sample of the batch",
            "give it the shape of what enters, or start at rest",
        )
    same = bool((start == start.flatten()[0]).all())
    v_init = number("the first state", start.flatten()[0] if same else start[:1], shape)
    if (v_init > neuron.v_threshold).any():
        raise Refused("starts from a state above threshold", "start at the threshold or below")
    return [replace(neuron, v_init=v_init)]


# snntorch: v = beta v + x (- reset), spike where v - threshold > 0


def _snntorch_common(m: Any, shape: Shape) -> dict[str, Any]:
    if m.inhibition:
        raise Refused("inhibition lets one neuron fire", "build it without inhibition")
    if m.state_quant:
        raise Refused("state_quant rounds the state", "leave it out: lowering quantises")
    if float(m.graded_spikes_factor) != 1:
        raise Refused("graded_spikes_factor scales spikes", "scale the next weights instead")
    beta = np.clip(number("beta", m.beta, shape), 0, 1)
    return {"shape": shape, "beta": beta, "v_threshold": number("threshold", m.threshold, shape)}


def _snntorch_kind(m: Any) -> str:
    return ("subtract", "zero", "none")[int(m.reset_mechanism_val)]


def _snntorch_reset(m: Any) -> str:
    kind = _snntorch_kind(m)
    if kind == "none":
        raise Refused("reset_mechanism 'none'", "reset by 'subtract' or 'zero'")
    if kind == "zero":
        return "hard"
    if not m.reset_delay:
        raise Refused(
            "reset_mechanism 'subtract' with reset_delay=False withholds the spike of a potential "
            "that is above threshold still after its reset",
            "build it with reset_delay=True",
        )
    return "soft_after_decay"


def _leaky(m: Any, shape: Shape) -> list[Node]:
    """One that is never reset integrates: its potential is a readout, its spikes have no node."""
    if _snntorch_kind(m) == "none":
        return [Output("leaky", beta=_snntorch_common(m, shape)["beta"])]
    return [Neuron(**_snntorch_common(m, shape), reset=_snntorch_reset(m))]  # type: ignore[arg-type]


def _synaptic(m: Any, shape: Shape) -> list[Node]:
    reset = _snntorch_reset(m)
    if reset == "hard" and m.reset_delay:
        raise Refused(
            "reset_mechanism 'zero' with reset_delay also drops the step after a spike",
            "build it with reset_delay=False",
        )
    alpha = np.clip(number("alpha", m.alpha, shape), 0, 1)
    return [Neuron(**_snntorch_common(m, shape), alpha=alpha, reset=reset)]  # type: ignore[arg-type]


def _recurrent_leaky(m: Any, shape: Shape) -> Looped:
    neuron = Neuron(**_snntorch_common(m, shape), reset=_snntorch_reset(m))  # type: ignore[arg-type]
    if neuron.reset == "hard" and m.reset_delay:
        raise Refused(
            "reset_mechanism 'zero' with reset_delay also drops the step after a spike",
            "build it with reset_delay=False",
        )
    return Looped([Part("", neuron)], [_recurrent_weights(m.recurrent, shape)], shape)


def _recurrent_synaptic(m: Any, shape: Shape) -> Looped:
    neuron = _synaptic(m, shape)[0]
    assert isinstance(neuron, Neuron)
    return Looped([Part("", neuron)], [_recurrent_weights(m.recurrent, shape)], shape)


def _recurrent_weights(recurrent: Any, shape: Shape) -> Node:
    if not hasattr(recurrent, "weight"):
        return Scale(number("V", recurrent.V, shape))
    weight, bias = array(recurrent.weight), array(recurrent.bias)
    assert weight is not None
    if weight.ndim == 2:
        return Linear(weight, bias)
    return Conv2d(weight, bias, padding=tuple(int(p) for p in recurrent.padding))


# norse: v += dt / tau (v_leak - v + i) from v_leak on, spike where v - v_th > 0, v = v_reset


def _norse_membrane(m: Any, shape: Shape) -> tuple[Array, dict[str, Any]]:
    """Return what multiplies the current, and the neuron's fields."""
    gain = m.dt * number("tau_mem_inv", m.p.tau_mem_inv, shape)
    leak = gain * number("v_leak", m.p.v_leak, shape)
    return gain, {
        "shape": shape,
        "beta": 1 - gain,
        "bias": leak if leak.any() else None,
        "v_threshold": number("v_th", m.p.v_th, shape),
        "v_reset": number("v_reset", m.p.v_reset, shape),
        "v_init": number("v_leak", m.p.v_leak, shape),
    }


def _norse_box(m: Any, shape: Shape) -> list[Node]:
    method = getattr(m.p.reset_method, "__name__", "")
    reset = {"reset_value": "hard", "reset_subtract": "soft"}.get(method)
    if reset is None:
        raise Refused(f"reset_method {method or m.p.reset_method}", "reset_value or reset_subtract")
    gain, fields = _norse_membrane(m, shape)
    return [Scale(gain), Neuron(**fields, reset=reset)]  # type: ignore[arg-type]


def _norse_lif(m: Any, shape: Shape) -> list[Node]:
    """The synaptic current jumps before it drives v and decays after: i = alpha i + x."""
    gain, fields = _norse_membrane(m, shape)
    alpha = 1 - m.dt * number("tau_syn_inv", m.p.tau_syn_inv, shape)
    return [Scale(gain), Neuron(**fields, alpha=alpha)]


def _norse_iaf(m: Any, shape: Shape) -> list[Node]:
    threshold, reset = number("v_th", m.p.v_th, shape), number("v_reset", m.p.v_reset, shape)
    return [Neuron(shape, threshold, beta=np.ones(()), v_reset=reset, v_init=reset)]


def _norse_li_box(m: Any, shape: Shape) -> list[Node]:
    gain = m.dt * number("tau_mem_inv", m.p.tau_mem_inv, shape)
    if number("v_leak", m.p.v_leak, shape).any():
        raise Refused("a readout that starts at v_leak", "v_leak=0, and add it to what comes out")
    return [Scale(gain), Output("leaky", beta=1 - gain)]


def _norse_recurrent(m: Any, shape: Shape) -> Looped:
    """LIF of W_in x and W_rec times its own spikes of the step before."""
    weights = [Linear(_weight(w)) for w in (m.input_weights, m.recurrent_weights)]
    body = [Part("", node) for node in _norse_lif(m, shape)]
    return Looped(body, [weights[1]], shape, into=[weights[0]])


def _weight(tensor: Any) -> Array:
    found = array(tensor)
    assert found is not None
    return found


def _norse_li(m: Any, shape: Shape) -> Looped:
    """A readout behind a synaptic current i = alpha i + x, which is a loop of its own."""
    alpha = 1 - m.dt * number("tau_syn_inv", m.p.tau_syn_inv, shape)
    into: list[Node] = [Linear(_weight(m.input_weights))] if hasattr(m, "input_weights") else []
    return Looped([], [Scale(alpha)], shape, into, behind=_norse_li_box(m, shape))


# spikingjelly: v += x or v += (v_reset - v (+ x)) / tau, spike where v - v_threshold >= 0


def _jelly_common(m: Any, shape: Shape) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "shape": shape,
        "v_threshold": number("v_threshold", m.v_threshold, shape),
        "compare": ">=",
    }
    if m.v_reset is None:
        return {**fields, "reset": "soft"}
    start = number("v_reset", m.v_reset, shape)
    return {**fields, "v_reset": start, "v_init": start}


def _jelly_if(m: Any, shape: Shape) -> list[Node]:
    return [Neuron(**_jelly_common(m, shape), beta=np.ones(()))]


def _jelly_lif(m: Any, shape: Shape) -> list[Node]:
    tau = 1 / float(m.w.detach().sigmoid()) if hasattr(m, "w") else float(m.tau)
    fields = _jelly_common(m, shape)
    leak = np.asarray(0.0 if m.v_reset is None else float(m.v_reset))
    if m.decay_input:
        return [Neuron(**fields, tau=np.asarray(tau), bias=leak if leak.any() else None)]
    return [Neuron(**fields, beta=np.asarray(1 - 1 / tau), bias=leak / tau if leak.any() else None)]


def _jelly_cuba(m: Any, shape: Shape) -> list[Node]:
    fields = _jelly_common(m, shape)
    return [Neuron(**fields, alpha=np.asarray(m.c_decay), beta=np.asarray(m.v_decay))]


# sinabs: v = alpha v + x, as many spikes as v holds thresholds (or one, or some), v -= spikes th


def _sinabs_neuron(m: Any, shape: Shape) -> list[Node]:
    if m.spike_fn is None:
        return _sinabs_leaky(m, shape)
    keeps = not m.train_alphas and m.tau_mem is None
    beta = np.ones(()) if keeps else number("tau_mem", m.alpha_mem_calculated, shape)
    nodes: list[Node] = [] if keeps else _sinabs_gain(m, beta, shape)
    fields: dict[str, Any] = {"beta": beta, "compare": ">=", **_sinabs_reset(m)}
    if m.alpha_syn_calculated is not None:
        fields["alpha"] = number("tau_syn", m.alpha_syn_calculated, shape)
        nodes.append(Scale(fields["alpha"]))  # i = alpha (i + x)
    if m.min_v_mem is not None:
        fields["v_min"] = number("min_v_mem", m.min_v_mem, shape)
        if (fields["v_min"] > 0).any():
            raise Refused("min_v_mem above 0, which also lifts resets", "min_v_mem of 0 or less")
    fields["max_spikes_per_step"] = _sinabs_spikes(m)
    threshold = number("spike_threshold", m.spike_threshold, shape)
    return [*nodes, Neuron(shape, threshold, **fields)]


def _sinabs_recurrent(m: Any, shape: Shape) -> Looped:
    return connected(_sinabs_neuron(m, shape), m.rec_connect, shape, plain_nodes)


def _sinabs_gain(m: Any, beta: Array, shape: Shape) -> list[Node]:
    return [Scale(1 - beta)] if m.norm_input else []


def _sinabs_reset(m: Any) -> dict[str, Any]:
    name = type(m.reset_fn).__name__
    if name == "MembraneSubtract" and m.reset_fn.subtract_value is None:
        return {"reset": "soft"}
    if name == "MembraneReset" and m.reset_fn.reset_value == 0:
        return {"reset": "hard"}
    raise Refused(f"reset_fn {m.reset_fn}", "MembraneSubtract() or MembraneReset()")


def _sinabs_spikes(m: Any) -> int:
    name = getattr(m.spike_fn, "__name__", type(m.spike_fn).__name__)
    if name == "MaxSpike":
        most = m.spike_fn.max_num_spikes_per_bin
        return MANY_SPIKES if most is None else int(most)
    found = {"SingleSpike": 1, "MultiSpike": MANY_SPIKES}.get(name)
    if found is None:
        raise Refused(f"spike_fn {name}", "SingleSpike, MultiSpike or MaxSpike")
    return found


def _sinabs_leaky(m: Any, shape: Shape) -> list[Node]:
    if m.alpha_syn_calculated is not None or m.min_v_mem is not None:
        raise Refused("ExpLeak with tau_syn or min_v_mem", "build it without")
    beta = number("tau_mem", m.alpha_mem_calculated, shape)
    return [*_sinabs_gain(m, beta, shape), Output("leaky", beta=beta)]


def _sum_pool(m: Any, shape: Shape) -> list[Node]:
    kernel = (m.kernel_size,) * 2 if isinstance(m.kernel_size, int) else tuple(m.kernel_size)
    stride = kernel if m.stride is None else m.stride
    stride = (stride,) * 2 if isinstance(stride, int) else tuple(stride)
    if m.norm_type != 1 or m.ceil_mode:
        raise Refused("a pool that does not add", "norm_type=1 and ceil_mode=False")
    return [SumPool(kernel, stride, (0, 0))]


def _voting(m: Any, shape: Shape) -> list[Node]:
    return [AvgPool((m.voting_size,), (m.voting_size,), (0,))]


def _nothing(m: Any, shape: Shape) -> list[Node]:
    return []


NEURONS: dict[str, Rule] = {
    "snntorch.Leaky": _leaky,
    "snntorch.Synaptic": _synaptic,
    "snntorch.RLeaky": _recurrent_leaky,
    "snntorch.RSynaptic": _recurrent_synaptic,
    "norse.LIFBoxCell": _norse_box,
    "norse.LIFCell": _norse_lif,
    "norse.LIF": _norse_lif,
    "norse.IAFCell": _norse_iaf,
    "norse.IAF": _norse_iaf,
    "norse.LIFRecurrentCell": _norse_recurrent,
    "norse.LIFRecurrent": _norse_recurrent,
    "norse.LIBoxCell": _norse_li_box,
    "norse.LICell": _norse_li,
    "norse.LI": _norse_li,
    "norse.LILinearCell": _norse_li,
    "spikingjelly.IFNode": _jelly_if,
    "spikingjelly.LIFNode": _jelly_lif,
    "spikingjelly.ParametricLIFNode": _jelly_lif,
    "spikingjelly.CUBALIFNode": _jelly_cuba,
    "sinabs.LIF": _sinabs_neuron,
    "sinabs.LIFSqueeze": _sinabs_neuron,
    "sinabs.IAF": _sinabs_neuron,
    "sinabs.IAFSqueeze": _sinabs_neuron,
    "sinabs.LIFRecurrent": _sinabs_recurrent,
    "sinabs.IAFRecurrent": _sinabs_recurrent,
    "sinabs.ExpLeak": _sinabs_neuron,
    "sinabs.ExpLeakSqueeze": _sinabs_neuron,
}
LAYERS: dict[str, Rule] = {
    "spikingjelly.Dropout": _nothing,
    "spikingjelly.Dropout2d": _nothing,
    "spikingjelly.VotingLayer": _voting,
    "sinabs.SumPool2d": _sum_pool,
}
"""By package and class. What is not here and has no rule as torch's is refused by name."""

_SINABS_RECURRENT = ("sinabs.LIFRecurrent", "sinabs.IAFRecurrent")
PACKAGES = ("snntorch", "norse", "spikingjelly", "sinabs")
OVER_TIME = (
    *("norse.LIF", "norse.IAF", "norse.LIFRecurrent", "norse.LI", "norse.Lift"),
    *("spikingjelly.MultiStepContainer", "spikingjelly.SeqToANNContainer"),
)
BATCH_FIRST = ("sinabs.LIF", "sinabs.IAF", "sinabs.ExpLeak", *_SINABS_RECURRENT)
SQUEEZED = ("sinabs.LIFSqueeze", "sinabs.IAFSqueeze", "sinabs.ExpLeakSqueeze")


UNRESET = ("snntorch.Leaky",)
"""Neurons whose second value, the potential, is a readout where they are never reset."""


def value_place(module: Any) -> int:
    """Return which of the values that a neuron returns the nodes of its rule compute."""
    unreset = class_name(module) in UNRESET and _snntorch_kind(module) == "none"
    return int(unreset)


def not_taken(module: Any, place: Any) -> Refused:
    """Return the refusal of a value that no node computes: spikes without reset, or a state."""
    name = type(module).__name__
    if value_place(module) == 1 and place == 0:
        return Refused(
            f"the spikes of a {name} with reset_mechanism 'none'",
            "reset by 'subtract' or 'zero', or return its potential",
        )
    readout = {
        "snntorch": "snntorch.Leaky(..., reset_mechanism='none')",
        "norse": "LIBoxCell",
        "sinabs": "ExpLeak",
    }.get(class_name(module).split(".")[0], "an integrator")
    return Refused(
        f"reads a state of {name}, which fires", f"return its spikes, or read out with {readout}"
    )


def class_name(module: Any) -> str:
    """Return package and class of a layer, ``snntorch.Leaky``.

    A user's subclass of a framework's layer is that layer, if what it computes is.
    """
    cls: Any = type(module)
    base = _framework_class(module)
    if base is not None and base is not cls and not overrides(module, base):
        cls = base
    return f"{cls.__module__.split('.')[0]}.{cls.__name__}"


def _framework_class(module: Any) -> Any | None:
    """Return the nearest class of a layer that a framework defines."""
    classes = type(module).__mro__
    return next((c for c in classes if c.__module__.split(".")[0] in PACKAGES), None)


def foreign_rule(module: Any) -> Rule | None:
    """Return the rule of a framework's layer, or None."""
    name = class_name(module)
    return NEURONS.get(name) or LAYERS.get(name)


def is_neuron(module: Any) -> bool:
    """Whether a layer is a framework's neuron that has a rule."""
    return class_name(module) in NEURONS


def is_listed(module: Any) -> bool:
    """Whether a layer of a framework has a rule."""
    return foreign_rule(module) is not None or class_name(module) in CONTAINERS


def is_stateful(module: Any) -> bool:
    """Whether a layer is a framework's that may hold state: a neuron, or a container of some."""
    return is_neuron(module) or class_name(module) in CONTAINERS


def is_foreign(module: Any) -> bool:
    """Whether a layer is one of a framework's that the tracer must not look into.

    A user's own subclass of one of its neurons is one, too: it holds state as that does.
    """
    base = _framework_class(module)
    if base is None:
        return False
    if base is not type(module):
        return _listed(base) or is_listed(module)
    name, place = class_name(module), f"{base.__module__}."
    return name not in LOOKED_INTO and not place.startswith(NETWORKS)


def _listed(cls: type) -> bool:
    name = f"{cls.__module__.split('.')[0]}.{cls.__name__}"
    return name in NEURONS or name in CONTAINERS


def plain_nodes(module: Any, shape: Shape) -> list[Node]:
    """Return the nodes of a framework's layer within a container.

    Raises:
        Refused: for one that has no rule, or recurrence of its own.
    """
    rule = foreign_rule(module)
    found = None if rule is None else rule(module, shape)
    if not isinstance(found, list):
        name = type(module).__name__
        raise Refused(f"no rule for {name} within a container", "put it beside the container")
    return found


LOOKED_INTO = ("norse.SequentialState", "sinabs.Network")
"""Containers of theirs whose forward() the tracer follows."""
NETWORKS = ("spikingjelly.activation_based.model.", "norse.torch.models.")
"""Where they keep whole networks, which are followed like a user's."""


def known_classes(module: Any) -> str | None:
    """Return the classes of a layer's framework that have a rule, as a list; None for others."""
    base = _framework_class(module)
    package = None if base is None else base.__module__.split(".")[0]
    every = (*NEURONS, *LAYERS, *CONTAINERS, *LOOKED_INTO)
    names = [name.rsplit(".", 1)[-1] for name in every if name.split(".")[0] == package]
    return ", ".join(names) if names else None


def time_of(module: Any) -> Time:
    """Return how a framework's layer takes time: one step a call, or an axis of its input."""
    name = class_name(module)
    stateful = name in NEURONS or name in CONTAINERS
    if name in OVER_TIME or (stateful and getattr(module, "step_mode", "s") == "m"):
        return "steps"
    if name in BATCH_FIRST:
        return "batch first"
    return "squeezed" if name in SQUEEZED else "step"
