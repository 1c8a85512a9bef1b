"""Symbolic tracing: what a module does to its input, as a torch.fx graph of layers and functions.

Layers that the tables know are left whole; into all others, and through the hooks of all, it looks.
What does not depend on the input (weights standardised, masked, quantised, scaled) is computed here
and now, as the module computes it, and stands in the graph as a constant.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

from .foreign import is_foreign
from .ir import InputError, LoweringError, MissingPackageError
from .ir.errors import WITH_TORCH
from .overridden import describes_itself, overrides
from .time_first import copies, exchanges
from .torch_layers import rule_of

AROUND = "keep data-dependent branches and loops out of it; over time, take multi-step neurons, "
OVER_TIME = AROUND + "e.g. sw.MixedLIF"


def torch_for_tracing() -> Any:
    """Return torch.

    Raises:
        MissingPackageError: where it is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingPackageError.of("torch", "trace a torch module", WITH_TORCH) from None
    return torch


def is_whole(module: Any) -> bool:
    """Whether a layer stands in the graph as it is: it is described, and computes what is said."""
    if "forward" in vars(module) and not hasattr(module, "to_node"):
        return False
    if hasattr(module, "to_node"):
        return describes_itself(module)
    if is_foreign(module):
        return not overrides(module, type(module))
    return rule_of(module) is not None


def _is_torchs_own(module: Any) -> bool:
    """Whether a layer of torch that no table knows is to be refused by its name, not looked into.

    Those of quantisation-aware training are looked into: they compute weights and call functions.
    """
    package = type(module).__module__
    containers = {"Sequential", "ModuleList", "ModuleDict", "Module"}
    return (
        package.startswith("torch.nn.modules")
        and type(module).__name__ not in containers
        and "forward" not in vars(module)
    )


def symbolic(module: Any, sample: Any) -> Any:
    """Return the torch.fx.GraphModule of what `module` does to an input as large as `sample`.

    Raises:
        InputError: for a sample that is no tensor of finite values.
        LoweringError: naming the innermost layer that cannot be followed.
    """
    torch = torch_for_tracing()
    _refuse_example(torch, sample)
    _refuse_lazy(torch, module)
    root = _containing(torch, module)
    tracer = _tracer(torch, sample, _left_out(root))
    with _without_constants(root), torch.no_grad():
        try:
            graph = tracer.trace(root, concrete_args=_left_out(root))
            _first_by_place(graph)
            return torch.fx.GraphModule(root, graph)
        except Exception as error:  # fx raises many kinds, each for code that depends on data
            raise _cannot_follow(root, tracer.failed, error) from error


def _refuse_lazy(torch: Any, module: Any) -> None:
    """Refuse weights that are made, at random, in the first call of their layer."""
    for path, layer in module.named_modules():
        own = (*layer.parameters(recurse=False), *layer.buffers(recurse=False))
        if any(torch.nn.parameter.is_lazy(tensor) for tensor in own):
            raise LoweringError(
                f"the weights of {type(layer).__name__} are not made yet",
                node=path or type(layer).__name__,
                remedy="call the module once, and train it or load its weights",
            )


def _refuse_example(torch: Any, sample: Any) -> None:
    """Refuse an example input that no module can be run and compared on."""
    if not isinstance(sample, torch.Tensor):
        raise InputError(f"the example input is a {type(sample).__name__}, one tensor is needed")
    if sample.layout != torch.strided:
        kind, remedy = f"a tensor of layout {sample.layout}", "give sample.to_dense()"
        raise InputError(f"the example input is {kind}", node="sample", remedy=remedy)
    if sample.is_meta:
        reason, remedy = "the example input is on the device meta: it has no values", "give values"
        raise InputError(reason, node="sample", remedy=remedy)
    if not sample.numel():
        reason = f"the example input is empty: {list(sample.shape)}"
        raise InputError(reason, node="sample", remedy="give at least one sample")
    if beyond := int((~torch.isfinite(sample)).sum()):
        reason = f"{beyond} of {sample.numel()} values of the example input are NaN or infinite"
        raise InputError(reason, node="sample", remedy="give finite values")


def _first_by_place(graph: Any) -> None:
    """Hand the first tensor of torch's functions by place: ``torch.mean(input=x)``, too."""
    for node in graph.nodes:
        if node.op == "call_function" and not node.args and "input" in node.kwargs:
            rest = dict(node.kwargs)
            node.args = (rest.pop("input"),)
            node.kwargs = rest


def root_name(module: Any) -> str:
    """Return the source path of a module that is one layer and nothing else."""
    return type(module).__name__.lower()


def _containing(torch: Any, module: Any) -> Any:
    """Return a module in which a layer that the tables know is one of its layers."""
    if not is_whole(module):
        return module
    container = torch.nn.Sequential()
    container.add_module(root_name(module), module)
    return container


def first_line(error: Exception) -> str:
    """Return the first line of an error, or its class."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _cannot_follow(module: Any, path: str | None, error: Exception) -> LoweringError:
    layer = module.get_submodule(path) if path else module
    what = type(layer).__name__
    remedy = f"keep to layers that are known, and {OVER_TIME}"
    if hasattr(layer, "to_node") and not describes_itself(layer):
        remedy = f"give {what} a to_node() of its own, which says what its forward() computes"
    elif _hooked(layer):
        remedy = f"take the hooks of {what} off (handle.remove()), or {OVER_TIME}"
    reason = f"torch.fx cannot follow forward() of {what}: {first_line(error)}"
    return LoweringError(reason, node=path or what, remedy=remedy)


def _hooked(module: Any) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _left_out(module: Any) -> dict[str, Any]:
    """Return the arguments of forward() behind the first that may be left out, at their defaults.

    State is one; a number of steps, which a loop runs over, another.
    """
    given = list(signature(module.forward).parameters.values())[1:]
    plain = (type(None), bool, int, float, str)
    return {p.name: p.default for p in given if isinstance(p.default, plain)}


@contextmanager
def _without_constants(module: Any) -> Iterator[None]:
    """On leaving, take off the constants that fx has put into the module."""
    before = set(vars(module))
    try:
        yield
    finally:
        for name in [n for n in vars(module) if n not in before and "_constant" in n]:
            delattr(module, name)


def _tracer(torch: Any, sample: Any, left_out: dict[str, Any]) -> Any:
    class Sized(torch.fx.Proxy):  # type: ignore[misc]
        """The input, or a copy: its sizes are known, so that forward() may loop over its steps."""

        def __init__(self, node: Any, tracer: Any, shape: Any) -> None:
            super().__init__(node, tracer)
            self.shape = shape

        def size(self, dim: int | None = None) -> Any:
            return self.shape if dim is None else self.shape[dim]

        def __len__(self) -> int:
            return int(self.shape[0])

        def __iter__(self) -> Iterator[Any]:
            return (self[k] for k in range(len(self)))

        def unbind(self, dim: int = 0) -> Any:
            if dim not in (0, 1):
                return super().__getattr__("unbind")(dim)
            return tuple(self[(slice(None), k) if dim else k] for k in range(self.shape[dim]))

    class Tracer(torch.fx.Tracer):  # type: ignore[misc]
        shapes: dict[Any, Any]
        failed: str | None = None
        """The path of the innermost module that could not be followed."""
        record_stack_traces = True

        def is_leaf_module(self, m: Any, path: str) -> bool:
            return False  # `call_module` decides, and runs the hooks of leaves too

        def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
            return attr_val  # parameters are constants: what is made of them alone is computed

        def call_module(self, m: Any, forward: Any, args: Any, kwargs: Any) -> Any:
            known = m is not self.root and is_whole(m)
            if not known and not _depends(torch, (args, kwargs)):
                return m._call_impl(*args, **kwargs)  # a parametrization, a quantiser of weights
            leaf = known or (m is not self.root and _is_torchs_own(m))
            run = functools.partial(self.with_hooks, m) if leaf else m._call_impl
            try:
                return super().call_module(m, run, args, kwargs)
            except Exception:
                if self.failed is None:
                    self.failed = self.path_of_module(m)
                raise

        def with_hooks(self, m: Any, *args: Any, **kwargs: Any) -> Any:
            """Run a leaf's hooks on what stands for its values, and the leaf not at all."""
            forward = m.forward

            def leaf(*args: Any, **kwargs: Any) -> Any:
                if not args and (first := _first_argument(forward)) in kwargs:
                    args = (kwargs.pop(first),)
                return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)

            with in_place_of_forward(m, leaf):
                return m._call_impl(*args, **kwargs)

        def create_args_for_root(
            self, root_fn: Any, is_module: bool, concrete_args: Any = None
        ) -> Any:
            """Call the root as any module is called, with its hooks and its own forward()."""

            @functools.wraps(root_fn)
            def called(root: Any, *args: Any, **kwargs: Any) -> Any:
                names = list(signature(root_fn).parameters)[1:]
                given = [a for n, a in zip(names, args, strict=False) if n not in left_out]
                return root(*(given if len(args) <= len(names) else args), **kwargs)

            return super().create_args_for_root(called, is_module, concrete_args)

        def proxy(self, node: Any) -> Any:
            shape = self.shape_of(node)
            return super().proxy(node) if shape is None else Sized(node, self, shape)

        def shape_of(self, node: Any) -> Any:
            """Return the shape of the input, and of what only copies it or exchanges its axes."""
            if node.op == "placeholder" and node.prev.op == "root":
                self.shapes[node] = sample.shape
            source = next((n for n in node.all_input_nodes if n in self.shapes), None)
            if source is not None and copies(node, source):
                self.shapes[node] = self.shapes[source]
            elif source is not None and exchanges(node, source):
                first, second, *rest = self.shapes[source]
                self.shapes[node] = torch.Size([second, first, *rest])
            return self.shapes.get(node)

    tracer = Tracer()
    tracer.shapes = {}
    return tracer


def _first_argument(forward: Any) -> str:
    """Return the name under which a layer takes its input."""
    return next(iter(signature(forward).parameters), "")


def _depends(torch: Any, value: Any) -> bool:
    """Whether a value holds something that depends on the input."""
    if isinstance(value, (tuple, list)):
        return any(_depends(torch, item) for item in value)
    if isinstance(value, dict):
        return any(_depends(torch, item) for item in value.values())
    return isinstance(value, torch.fx.Proxy)


@contextmanager
def in_place_of_forward(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Within the context a module's hooks run around another forward()."""
    kept = vars(module).get("forward")
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        del vars(module)["forward"]
        if kept is not None:
            vars(module)["forward"] = kept
