"""Custom functions: forward and backward written by the user, recorded as one node."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from clgrad.autograd.context import FunctionCtx, FunctionNode
from clgrad.autograd.custom_tangents import CustomTangents
from clgrad.batching import active, enter, leave, own_of
from clgrad.errors import AutogradError
from clgrad.graph.position import stacklevel
from clgrad.tape import noting
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import (
    CUSTOM,
    DEFAULT,
    MULTI_OUTPUT,
    accumulator,
    check_view,
    edge_of,
    make_view,
    rebase,
    requires_grad_of,
)
from clgrad.tape.node import NAMESPACE, Edge, Grads, Node
from clgrad.tape.saved import SavedTensor, save, save_nothing, save_result
from clgrad.tape.tangents import forward as levels
from clgrad.tensor import Tensor

__all__ = [
    "BackwardCFunction",
    "Function",
    "FunctionCtx",
    "InplaceFunction",
    "once_differentiable",
]

BackwardCFunction = FunctionNode
"""PyTorch's name of the class of custom functions' nodes."""


class Function:
    """Base of custom functions: write `forward` and `backward` as static methods, call `apply`.

    Either `forward(ctx, *args)`, or `forward(*args)` and `setup_context(ctx, inputs, output)`.

    Attributes:
        clear_saved_tensors_on_access: let go of what was saved the first time it is read.
        boxed_grads_call: give `backward` a list of gradients instead of one argument for each, so
            that it can let go of them one by one.
        generate_vmap_rule: taken for PyTorch's sake.
    """

    _backward_cls: type[FunctionNode]
    _signature: inspect.Signature | None = None
    clear_saved_tensors_on_access = False
    boxed_grads_call = False
    generate_vmap_rule = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._signature = None
        cls._backward_cls = type(f"{cls.__name__}Backward", (FunctionNode,), {"_forward_cls": cls})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all "
            f"static. Hint: call {type(self).__name__}.apply(...).",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AutogradError(
            "Legacy autograd function with non-static forward method is deprecated. Expected a "
            f"static forward and a call of the class. Hint: {type(self).__name__}.apply(...)."
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; not recorded."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function. "
            "Hint: a static method forward(ctx, *args)."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what backward needs, if `forward` takes no `ctx`."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Return a gradient, or None, for each argument of `apply`."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD. "
            "Hint: a static method backward(ctx, *grads)."
        )

    vjp = backward

    @classmethod
    def _derivative(cls) -> Callable[..., Any]:
        """Return whichever of `backward` and `vjp` was written."""
        if cls.vjp is Function.vjp:
            return cls.backward
        if cls.backward is not Function.backward:
            raise AutogradError(
                f"Implementing both 'backward' and 'vjp' for a custom Function is not allowed: "
                f"{cls.__name__} has both. Expected one of them; they mean the same."
            )
        return cls.vjp

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Return the tangents of the outputs, given those of the inputs."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with "
            "forward mode AD. Hint: a static method jvp(ctx, *tangents)."
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
        """Return (outputs, where their samples are), given all samples of the arguments.

        A Function that is made of ops needs no such rule.

        Args:
            info: `batch_size` and `randomness`.
            in_dims: for each argument the dim of its samples, or None.
        """
        raise NotImplementedError(
            "vmap: this Function has no rule of its own, and needs none. Hint: clgrad.vmap(f.apply)"
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`, and record one node if an argument requires grad."""
        if active.levels and cls.vmap is not Function.vmap:
            return _by_own_rule(cls, args)
        apart = cls.setup_context is not Function.setup_context
        if apart:
            if cls._signature is None:
                cls._signature = inspect.signature(cls.forward)
            bound = cls._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        node = cls._backward_cls()
        grad = mode.grad
        tensors = [(k, a) for k, a in enumerate(args) if isinstance(a, Tensor)]
        edges: list[Edge | None] = [edge_of(t) if grad else None for _, t in tensors]
        recorded = any(edge is not None for edge in edges)
        by_place = dict(zip((k for k, _ in tensors), edges, strict=True))
        node.needs_input_grad = tuple([by_place.get(k) is not None for k in range(len(args))])
        node._places = tuple([k for k, _ in tensors])
        if noting.Switch.open:
            noting.event("enter")
        pushing = mode.forward
        mode.grad = mode.forward = False
        try:
            if apart:
                results = cls.forward(*args, **kwargs)
                cls.setup_context(node, args, results)
            else:
                results = cls.forward(node, *args, **kwargs)
        finally:
            mode.grad, mode.forward = grad, pushing
            if noting.Switch.open:
                noting.event("leave")
        if noting.Switch.open and recorded:
            noting.event("inside", (node, [t for _, t in tensors], edges))
        single = not isinstance(results, tuple)
        outputs = [results] if single else list(results)
        node._edges = tuple(edges)
        tangents = CustomTangents(node, args, outputs) if levels.open and pushing else None
        _Wrapping(node, [t for _, t in tensors], recorded, apart).outputs(outputs)
        if tangents is not None:
            tangents.push(outputs)
        return outputs[0] if single else tuple(outputs)


def _by_own_rule(cls: type[Function], args: tuple[Any, ...]) -> Any:
    """Run a custom function in the innermost `vmap` by the rule that it has for that."""
    level = active.levels.pop()
    try:
        dims = tuple([
            0 if isinstance(a, Tensor) and level in own_of(a._storage.value) else None for a in args
        ])  # fmt: skip
        given = [a if d is None else leave(a, level) for a, d in zip(args, dims, strict=True)]
        info = SimpleNamespace(batch_size=level.size, randomness=level.randomness)
        outputs, out_dims = cls.vmap(info, dims, *given)
    finally:
        active.levels.append(level)
    if not isinstance(outputs, tuple):
        return outputs if out_dims is None else enter(outputs, out_dims, level)
    every = out_dims if isinstance(out_dims, tuple) else (out_dims,) * len(outputs)
    return tuple([
        o if d is None else enter(o, d, level) for o, d in zip(outputs, every, strict=True)
    ])  # fmt: skip


Function._backward_cls = type("FunctionBackward", (FunctionNode,), {"_forward_cls": Function})


class InplaceFunction(Function):
    """The old base of functions that write in place; `ctx.mark_dirty` is what counts."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class _Wrapping:
    """Gives the outputs of a custom function their history."""

    def __init__(
        self, node: FunctionNode, inputs: list[Tensor], recorded: bool, apart: bool
    ) -> None:
        self.node = node
        self.inputs = inputs
        self.recorded = recorded
        self.apart = apart
        self.renamed: dict[int, tuple[Tensor, int, Any]] = {}  # id of an output -> what it became

    def outputs(self, outputs: list[Any]) -> None:
        node = self.node
        dirty = {id(t) for t in node.dirty_tensors}
        plain = {id(t) for t in node.non_differentiable}
        for tensor in node.dirty_tensors:
            if not any(tensor is out for out in outputs):
                raise AutogradError(
                    "Some elements marked as dirty during the forward method were not returned as "
                    "output. The inputs that are modified inplace must all be outputs of the "
                    "Function."
                )
        metas: list[Any] = [getattr(o, "_meta", None) for o in outputs]
        known = next((m for m in metas if m is not None), None)
        node._metas = tuple([known if m is None else m for m in metas])
        node._differentiable = tuple(
            [
                id(o) not in plain and o._meta.dtype.kind == "f" if isinstance(o, Tensor) else None
                for o in outputs
            ]
        )
        given = list(outputs)
        pure = self.recorded and node._is_pure_view
        if pure and (len(self.inputs), sum(m is not None for m in metas)) != (1, 1):
            raise AutogradError(
                "Pure view custom Function can only have one input Tensor and one output Tensor, "
                f"but {type(node).__name__} has {len(self.inputs)} and {len(outputs)}. Hint: leave "
                "ctx._is_pure_view out."
            )
        for k, out in enumerate(given):
            if isinstance(out, Tensor):
                kind = self.recorded and bool(node._differentiable[k])
                outputs[k] = self.one(out, k, id(out) in dirty, kind, len(given))
                if out._view is not None or outputs[k]._view is not None:
                    self.as_view(outputs[k], out, id(out) in dirty)
        if self.recorded and sum(map(bool, node._differentiable)) > 1:
            for out in outputs:
                if isinstance(out, Tensor) and out._view is not None:
                    out._view.creation = MULTI_OUTPUT
        if self.recorded:
            node._saved = tuple([self.saved(t) for t in node.to_save])
        node.to_save = node.dirty_tensors = node.non_differentiable = ()

    def one(self, out: Tensor, k: int, dirty: bool, differentiable: bool, count: int) -> Tensor:
        is_input = any(out is t for t in self.inputs)
        if not differentiable:
            if not requires_grad_of(out):
                return self.known(out, self.alias(out) if is_input and not dirty else out, k, None)
            if is_input:
                return self.known(out, out.detach(), k, None)
            if out._view is None:
                out._requires_grad, out._node, out._output_nr = False, None, 0
            return out
        if dirty:
            if not is_input:
                text = (
                    "ctx.mark_dirty() received a tensor that was not an input. Only input Tensors "
                    "that have been mutated should be passed to ctx.mark_dirty()."
                )
                if out._view is not None:
                    raise AutogradError(text)
                warnings.warn(text, UserWarning, stacklevel=stacklevel())
            self.check_dirty(out, count)
            out._family().bump("mark_dirty")  # forward may have written by other means than ops
            return self.known(out, out, k, rebase(out, self.node, k))
        if is_input:
            if self.apart and any(out is t for t in self.node.to_save):
                raise AutogradError(
                    "An input that has been returned as-is as output is being saved for backward. "
                    "This is not supported if you override setup_context. Hint: return and save a "
                    "view of it, x.view_as(x), or save it in a forward that takes ctx."
                )
            return self.known(out, self.attached(self.alias(out), k), k, None)
        return self.known(out, self.attached(out, k), k, None)

    def check_dirty(self, out: Tensor, count: int) -> None:
        """Raise if what `forward` wrote may not be written."""
        if out._node is None and out._requires_grad and out._view is None:
            raise AutogradError(
                "a leaf Variable that requires grad has been used in an in-place operation. "
                "Expected a leaf to keep its value. Hint: clone() it before the call."
            )
        view = out._view
        if view is None:
            return
        check_view(out)
        if view.base._requires_grad and view.base._node is None:
            raise AutogradError(
                "a view of a leaf Variable that requires grad has been used in an in-place "
                "operation. Expected a leaf to keep its value. Hint: clone() it before the call."
            )
        if count > 1:
            raise AutogradError(
                "If your Function modifies inplace an input that is a view of another Tensor, your "
                "Function cannot return more than one Tensor. Hint: clone() the input, or do the "
                "in-place part in a Function of its own."
            )

    def alias(self, out: Tensor) -> Tensor:
        """Return what stands for an input that is returned as it is: a view of it."""
        made: Tensor = make_view(out, out._meta, CUSTOM)
        return made

    def as_view(self, became: Tensor, out: Tensor, dirty: bool) -> None:
        """Note that a view came out of a custom function, which forbids in-place ops on it."""
        if dirty and any(out is t for t in self.inputs):
            return
        view = became._view
        if view is not None:
            if self.node._is_pure_view:
                view.creation = DEFAULT
                if not any(
                    view.base is (t if t._view is None else t._view.base) for t in self.inputs
                ):
                    view.base._requires_grad = True  # nobody else has it: it may not be written
            else:
                view.creation = CUSTOM
            view.version = became._family().version

    def attached(self, tensor: Tensor, k: int) -> Tensor:
        tensor._node = self.node
        tensor._output_nr = k
        tensor._requires_grad = True
        return tensor

    def known(self, out: Tensor, became: Tensor, k: int, view: Any) -> Tensor:
        self.renamed[id(out)] = (became, k, view)
        return became

    def saved(self, tensor: Tensor | None) -> SavedTensor:
        if tensor is None:
            return save_nothing()
        found = self.renamed.get(id(tensor))
        if found is not None:
            became, k, view = found
            if not became._requires_grad:
                return save(became, None)
            is_input = any(tensor is t for t in self.inputs)
            if is_input and became is not tensor:
                return save(tensor, edge_of(tensor))
            return save_result(became, k, view)
        return save(tensor, edge_of(tensor) if requires_grad_of(tensor) else None)


class Error(Node):
    """Ends the graph behind a backward that may not be differentiated again."""

    __slots__ = ("function",)

    _namespace = NAMESPACE
    function: str

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        raise AutogradError(
            "trying to differentiate twice a function that was marked with @once_differentiable: "
            f"{self.function}. Hint: write its backward with differentiable ops."
        )


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a custom `backward` that cannot be differentiated again; it runs without grad mode."""

    @functools.wraps(backward)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        recording = mode.grad
        mode.grad = False
        try:
            results = backward(ctx, *grads)
        finally:
            mode.grad = recording
        if not recording or not any(isinstance(g, Tensor) and requires_grad_of(g) for g in grads):
            return results
        outputs = results if isinstance(results, tuple) else (results,)
        fresh = [o.detach() if isinstance(o, Tensor) else o for o in outputs]
        known = next((o._meta for o in fresh if isinstance(o, Tensor)), None)
        edges: list[Edge | None] = []
        for out in fresh:
            if isinstance(out, Tensor):
                leaf = out.detach()
                leaf._requires_grad = True
                edges.append((accumulator(leaf), 0))
            else:
                edges.append(None)
        node = Error(edges, [getattr(o, "_meta", known) for o in fresh])
        node.function = type(ctx).__name__
        for k, out in enumerate(fresh):
            if isinstance(out, Tensor):
                out._node, out._requires_grad, out._output_nr = node, True, k
        return tuple(fresh) if isinstance(results, tuple) else fresh[0]

    return wrapped
