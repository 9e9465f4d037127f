"""Checkpointing as PyTorch did it first: a custom function that runs backward within backward."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from clgrad.autocasting import SameCasting
from clgrad.autograd import Function, backward
from clgrad.autograd.running import current
from clgrad.errors import AutogradError
from clgrad.generator import default_generator
from clgrad.tape.grad_mode import enable_grad
from clgrad.tensor import Tensor


class CheckpointFunction(Function):
    """Runs a function without recording it, and again, with recording, in backward."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        ctx.function = function
        ctx.casting = SameCasting()
        ctx.random = default_generator.get_state() if preserve else None
        ctx.places = [k for k, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.args = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*(args[k] for k in ctx.places))
        return function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        running = current()
        if running is None or running.limited:
            raise AutogradError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or "
                "passing an `inputs` parameter to .backward(), and so is clgrad's. Hint: "
                "use_reentrant=False."
            )
        args = list(ctx.args)
        for k, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[k] = tensor.detach()
            args[k].requires_grad = tensor.requires_grad
        random = default_generator.get_state()
        if ctx.random is not None:
            default_generator.set_state(ctx.random)
        try:
            with enable_grad(), ctx.casting:
                outputs = ctx.function(*args)
        finally:
            if ctx.random is not None:
                default_generator.set_state(random)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        pairs = [
            (out, grad)
            for out, grad in zip(outputs, grads, strict=True)
            if isinstance(out, Tensor) and out.requires_grad
        ]
        if not pairs:
            raise AutogradError(
                "none of output has requires_grad=True, this checkpoint() is not necessary. "
                "Hint: use_reentrant=False bears it."
            )
        backward([out for out, _ in pairs], [grad for _, grad in pairs])
        given = [a.grad if isinstance(a, Tensor) else None for a in args]
        return (None, None, *given)


def run(function: Callable[..., Any], preserve: bool, args: tuple[Any, ...]) -> Any:
    """Run `function(*args)` and let its backward run it again."""
    if not any(isinstance(a, Tensor) and a.requires_grad for a in args):
        warnings.warn(
            "None of the inputs have requires_grad=True. Gradients will be None",
            UserWarning,
            stacklevel=3,
        )
    return CheckpointFunction.apply(function, preserve, *args)
