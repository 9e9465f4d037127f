"""Backward hooks of modules: identity nodes around a call of `forward` that the engine passes.

The node on the outputs sees the gradients come in, the node on the inputs sees them leave; both are
custom functions, so that `forward` and the caller get views of what they would have got.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from clgrad.autograd.function import Function
from clgrad.errors import ClgradRuntimeError
from clgrad.tape.grad_mode import mode
from clgrad.tensor import Tensor


class BackwardHookFunction(Function):
    """Hands tensors through; gradients too."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Return the arguments."""
        ctx.mark_non_differentiable(*[arg for arg in args if not arg.requires_grad])
        return args

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Return the gradients."""
        return grads


class BackwardHook:
    """The backward hooks of one call of a module.

    Args:
        module: whose call it is.
        hooks: called with (module, grad_input, grad_output); may return another grad_input.
        pre_hooks: called with (module, grad_output); may return another.
    """

    def __init__(self, module: Any, hooks: Sequence[Any], pre_hooks: Sequence[Any]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs: tuple[Any, ...] | None = None
        self.input_places: list[int] | None = None
        self.output_places: list[int] = []
        self.input_count = 0
        self.output_count = 0

    def around_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments with a node before them."""
        self.input_count = len(args)
        found = _through(args)
        if found is None:
            return args
        args, self.input_places, node = found
        node.register_hook(self._leaving)
        return args

    def around_outputs(self, result: Any) -> Any:
        """Return the result with a node behind it."""
        results = result if isinstance(result, tuple) else (result,)
        self.output_count = len(results)
        found = _through(results)
        if found is None:
            return result
        results, self.output_places, node = found
        node.register_hook(self._arriving)
        return results if isinstance(result, tuple) else results[0]

    def _arriving(self, _: Any, grads: tuple[Any, ...]) -> Any:
        given = self.grad_outputs = _spread(self.output_places, grads, self.output_count)
        for hook in self.pre_hooks:
            changed = hook(self.module, given)
            if changed is None:
                continue
            given = self.grad_outputs = _checked(
                changed, self.output_count, "Backward pre hook", "grad_output"
            )
        if self.input_places is None:
            self._without_inputs()
        return tuple([given[k] for k in self.output_places])

    def _without_inputs(self) -> None:
        """Run the hooks now, as no gradient will leave the module by its inputs."""
        warnings.warn(
            "Full backward hook is firing when gradients are computed with respect to module "
            "outputs since no inputs require gradients.",
            UserWarning,
            stacklevel=5,
        )
        nothing = (None,) * self.input_count
        for hook in self.hooks:
            changed = hook(self.module, nothing, self.grad_outputs)
            if changed is not None and not (
                isinstance(changed, tuple) and all(g is None for g in changed)
            ):
                raise ClgradRuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
        self.grad_outputs = None

    def _leaving(self, grads: tuple[Any, ...], _: Any) -> Any:
        if self.grad_outputs is None:  # backward did not come through the outputs
            return None
        assert self.input_places is not None
        given = _spread(self.input_places, grads, self.input_count)
        for hook in self.hooks:
            changed = hook(self.module, given, self.grad_outputs)
            if changed is not None:
                given = _checked(changed, self.input_count, "Backward hook", "grad_input")
        self.grad_outputs = None
        return tuple([given[k] for k in self.input_places])


def _spread(places: Sequence[int], grads: Sequence[Any], count: int) -> tuple[Any, ...]:
    """Return gradients at their places among all arguments, None elsewhere."""
    found: list[Any] = [None] * count
    for place, grad in zip(places, grads, strict=True):
        found[place] = grad
    return tuple(found)


def _checked(changed: Any, count: int, who: str, what: str) -> Any:
    if len(changed) != count:
        raise ClgradRuntimeError(
            f"{who} returned an invalid number of {what}, got {len(changed)}, but expected {count}"
        )
    return changed


def _through(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[int], Any] | None:
    """Return values with their tensors behind one node, their places, and the node."""
    places = [k for k, v in enumerate(values) if isinstance(v, Tensor)]
    if not mode.grad or not any(values[k].requires_grad for k in places):
        return None
    passed = BackwardHookFunction.apply(*[values[k] for k in places])
    node = next(t.grad_fn for t in passed if t.grad_fn is not None)
    changed = list(values)
    for place, tensor in zip(places, passed, strict=True):
        changed[place] = tensor
    made = tuple(changed)
    return (made if type(values) is tuple else type(values)(*changed)), places, node


def warn_of_node_hooks(args: Any, result: Any, node: Any) -> None:
    """Warn where a hook of the last node alone does not see all gradients of a module."""
    results = (result,) if isinstance(result, Tensor) else result
    inputs = (args,) if isinstance(args, Tensor) else args
    if not _all_tensors(results):
        fault = "on a Module that does not return a single Tensor or a tuple of Tensors"
    elif not _all_tensors(inputs):
        fault = "on a Module that does not take as input a single Tensor or a tuple of Tensors"
    else:
        nodes = {r.grad_fn for r in results if r.grad_fn is not None}
        before = {i.grad_fn for i in inputs if i.grad_fn is not None}
        if node not in nodes and len(nodes) < 2:
            fault = "when outputs are nested in python data structure"
        elif len(nodes) > 1:
            fault = "when outputs are generated by different autograd Nodes"
        elif before != {n for n, _ in node.next_functions}:
            fault = "when the forward contains multiple autograd Nodes"
        else:
            return
    warnings.warn(
        f"Using a non-full backward hook {fault} is deprecated and will be removed in future "
        "versions. This hook will be missing some gradients. Please use "
        "register_full_backward_hook to get the documented behavior.",
        FutureWarning,
        stacklevel=4,
    )


def _all_tensors(values: Any) -> bool:
    return isinstance(values, tuple) and all(isinstance(v, Tensor) for v in values)
