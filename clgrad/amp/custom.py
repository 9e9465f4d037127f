"""Decorators for the methods of custom functions that are used under `autocast`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from clgrad.autocasting import SameCasting, autocast, cast_to, is_autocast_enabled
from clgrad.dtypes import DType

__all__ = ["custom_bwd", "custom_fwd"]


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: DType | None = None
) -> Any:
    """Decorate `forward` of a custom function: how it computes under `autocast`.

    Args:
        fwd: the method; without it, a decorator is returned.
        device_type: `cpu`, `gpu` or `accelerator`.
        cast_inputs: under `autocast`, floating tensors come in this dtype, and nothing inside is
            cast; None: as it is outside.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **named: Any) -> Any:
        enabled = is_autocast_enabled(device_type)
        if cast_inputs is None or not enabled:
            ctx._casting = SameCasting()
            return fwd(ctx, *args, **named)
        args = cast_to(args, cast_inputs)
        named = {name: cast_to(value, cast_inputs) for name, value in named.items()}
        with autocast(device_type, enabled=False):
            ctx._casting = SameCasting()
            return fwd(ctx, *args, **named)

    return forward


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Any:
    """Decorate `backward` of a custom function: it casts as its `forward` did.

    Args:
        bwd: the method; without it, a decorator is returned.
        device_type: as `custom_fwd` was given it, which must decorate `forward`.
    """
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *grads: Any) -> Any:
        with ctx._casting:
            return bwd(ctx, *grads)

    return backward
