"""Checkpointing: save the inputs of a part of the model and compute the rest again in backward.

The usual kind is built on the pack hooks of saved tensors (`_checkpoint_frame`): what would be
saved is not, and the function is run once more when backward reads it. Inputs are saved as any node
saves its own, so that a checkpoint within another one has nothing in memory either, and so that an
input that was overwritten is an error. The older kind, which runs a backward pass within another
one, is in `_reentrant`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

from clgrad.autograd.graph import saved_tensors_hooks
from clgrad.errors import ClgradRuntimeError, ClgradValueError
from clgrad.tape import noting
from clgrad.tape.grad_mode import mode
from clgrad.utils._checkpoint_frame import CheckpointError, Contexts, Frame, GraphExecGroup
from clgrad.utils._checkpoint_log import Log
from clgrad.utils._reentrant import run as run_reentrant
from clgrad.utils._selective import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    create_selective_checkpoint_contexts,
)

__all__ = [
    "CheckpointError",
    "CheckpointPolicy",
    "GraphExecGroup",
    "SelectiveCheckpointContext",
    "checkpoint",
    "checkpoint_sequential",
    "create_selective_checkpoint_contexts",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
]

CHECKS = ("default", "none")


def noop_context_fn() -> Contexts:
    """Return two context managers that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


class _Settings:
    """What context managers of this module override, for all threads; None leaves it to calls."""

    early_stop: bool | None = None
    debug: bool | None = None


class _Override(contextlib.ContextDecorator):
    """Sets one of `_Settings` for a `with` block."""

    _name: str

    def __init__(self, value: bool | None) -> None:
        self._value = value

    def __enter__(self) -> None:
        self._before = getattr(_Settings, self._name)
        setattr(_Settings, self._name, self._value)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        setattr(_Settings, self._name, self._before)


class set_checkpoint_early_stop(_Override):  # noqa: N801  # PyTorch's name
    """Inside the block, checkpoints stop as soon as all is there (True), or run to their end.

    It counts when the forward pass runs; backward may be outside of the block.
    """

    _name = "early_stop"


class set_checkpoint_debug_enabled(_Override):  # noqa: N801  # PyTorch's name
    """Inside the block, checkpoints have `debug=True` or False, whatever they are passed."""

    _name = "debug"


# ---- what users call ---------------------------------------------------------------------------


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], Contexts] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """Run `function(*args, **kwargs)` without keeping what its backward will read.

    Args:
        function: is run once more in backward, and must then do the same; the state of the default
            generator is put back before and after (`preserve_rng_state=False`: it is not).
        use_reentrant: False is what to pass. True runs a backward pass within the other one, as
            PyTorch once did: it does not work with `autograd.grad`, tensors within containers or
            keyword arguments. Without it there is a warning, and True is meant.
        context_fn: returns two context managers, for the first run and for the repetition.
        determinism_check: `default` compares shapes, dtypes and devices of what both runs save;
            `none` does not.
        debug: have the errors list the ops of both runs with their lines.
        early_stop: end the repetition as soon as everything is there.

    Returns:
        What `function` returns.

    Raises:
        CheckpointError: in backward, if the repetition did something else.
        ClgradValueError: an argument that this kind of checkpoint does not take.

    Example:
        >>> from clgrad.utils.checkpoint import checkpoint
        >>> x = clgrad.tensor([0.5, 1.0], requires_grad=True)
        >>> y = checkpoint(lambda t: t.sin().exp(), x, use_reentrant=False)
        >>> y.sum().backward()
    """
    if use_reentrant is None:
        warnings.warn(
            "clgrad.utils.checkpoint: the use_reentrant parameter should be passed explicitly. "
            "use_reentrant=False is recommended; without it True is meant, as in PyTorch.",
            UserWarning,
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ClgradValueError(f"Unexpected keyword arguments: {','.join(kwargs)}")
        if context_fn is not noop_context_fn or debug:
            raise ClgradValueError(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
        return run_reentrant(function, preserve, args)
    if determinism_check not in CHECKS:
        raise ClgradValueError(
            f"determinism_check should be one of {list(CHECKS)}, but got {determinism_check}"
        )
    log = None
    if debug if _Settings.debug is None else _Settings.debug:
        if context_fn is not noop_context_fn:
            raise ClgradValueError("debug=True is incompatible with non-default context_fn")
        log = Log()
        context_fn = log.contexts
    contexts = context_fn()
    if not mode.grad:
        return function(*args, **kwargs)
    frame = Frame(
        function, contexts, preserve=preserve, check=determinism_check != "none",
        early_stop=early_stop if _Settings.early_stop is None else _Settings.early_stop,
    )  # fmt: skip
    frame.log = log
    frame.save_inputs(args, kwargs)
    stop = noting.listen(frame.note)
    try:
        with saved_tensors_hooks(frame.pack, frame.unpack), contexts[0]:
            result = function(*args, **kwargs)
            frame.complete = True
    finally:
        stop()
    if not frame.complete:
        raise ClgradRuntimeError(
            "clgrad.utils.checkpoint: the forward context provided by context_fn suppressed an "
            "exception raised during the checkpointed forward. This is not supported because "
            "checkpoint cannot return a value for a failed forward."
        )
    return result


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Run functions one after the other, in segments of which all but the last are checkpointed.

    Args:
        functions: an `nn.Sequential`, or a sequence of functions of one argument.
        segments: number of segments.
        input: what the first function gets.
        use_reentrant: see `checkpoint`.
        kwargs: `preserve_rng_state`.

    Raises:
        ClgradValueError: another keyword argument.
    """
    if use_reentrant is None:
        warnings.warn(
            "clgrad.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be "
            "passed explicitly. use_reentrant=False is recommended; without it True is meant, as "
            "in PyTorch.",
            UserWarning,
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ClgradValueError(f"Unexpected keyword arguments: {','.join(kwargs)}")
    if hasattr(functions, "children"):
        functions = functions.children()
    parts = list(functions)
    if segments < 1 or segments > max(len(parts), 1):
        raise ClgradValueError(
            f"checkpoint_sequential: got {segments} segments. Expected 1 to {len(parts)}, the "
            "number of functions."
        )

    def run(first: int, last: int) -> Callable[[Any], Any]:
        def forward(value: Any) -> Any:
            for part in parts[first:last]:
                value = part(value)
            return value

        return forward

    size = len(parts) // segments
    for k in range(segments - 1):
        input = checkpoint(
            run(k * size, (k + 1) * size), input, use_reentrant=use_reentrant,
            preserve_rng_state=preserve,
        )  # fmt: skip
    return run((segments - 1) * size, len(parts))(input)
