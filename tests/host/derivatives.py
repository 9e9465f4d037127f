"""Compare a function of tensors with PyTorch's: values, gradients, and gradients of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import clgrad

Call = Callable[..., Any]


def _leaf(m: Any, array: Any, device: Any) -> Any:
    array = np.asarray(array)
    named = {} if device is None else {"device": device}
    return m.tensor(array, requires_grad=array.dtype.kind == "f", **named)


def _sum(m: Any, outputs: Sequence[Any], seed: int) -> Any:
    """Return the sum of all elements of all outputs that have a gradient, weighted."""
    total = None
    for k, y in enumerate(outputs):
        if not y.requires_grad:
            continue
        rng = np.random.default_rng((seed, k))
        named = {"device": y.device} if m is clgrad else {}
        weight = m.tensor(rng.uniform(0.5, 1.5, tuple(y.shape)), dtype=y.dtype, **named)
        part = (y * weight).sum()
        total = part if total is None else total + part
    return total


def outputs(m: Any, call: Call, arrays: Sequence[Any], device: Any, second: bool) -> list[Any]:
    """Return the results of a call, the gradients of its inputs, and the gradients of those."""
    leaves = [_leaf(m, a, device) for a in arrays]
    made = call(m, *leaves)
    made = [made] if hasattr(made, "requires_grad") else list(made)
    found: list[Any] = [y.detach() for y in made]
    inputs = [x for x in leaves if x.requires_grad]
    total = _sum(m, made, 1)
    if total is not None and inputs:
        grads = m.autograd.grad(total, inputs, create_graph=second, allow_unused=True)
        found += [None if g is None else g.detach() for g in grads]
        if second:
            again = _sum(m, [g for g in grads if g is not None], 2)
            seconds = [None] * len(inputs)
            if again is not None and again.grad_fn is not None:
                seconds = m.autograd.grad(again, inputs, allow_unused=True)
            found += [np.zeros(tuple(x.shape)) if g is None else g.detach()
                      for g, x in zip(seconds, inputs, strict=True)]  # fmt: skip
    return [y if y is None or isinstance(y, np.ndarray) else y.numpy(force=True) for y in found]


def differences(
    call: Call, arrays: Sequence[Any], device: Any = None, second: bool = True, rtol: float = 1e-9,
) -> str:  # fmt: skip
    """Return how clgrad differs from PyTorch, or an empty string.

    Args:
        call: of a library and tensors; what it returns is a tensor or a sequence of them.
        arrays: for each tensor its elements; those of floats get a gradient.
        device: where clgrad computes; None for the device that is current.
        second: whether gradients of gradients are compared.
        rtol: relative difference that is allowed, of the largest element.
    """
    import torch

    theirs = outputs(torch, call, arrays, None, second)
    ours = outputs(clgrad, call, arrays, device, second)
    if len(ours) != len(theirs):
        return f"{len(ours)} results and gradients, expected {len(theirs)}"
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if (a is None) != (b is None):
            return f"item {k}: {a}, expected {b}"
        if a is None:
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"item {k}: {a.dtype}{a.shape}, expected {b.dtype}{b.shape}"
        scale = np.abs(b[np.isfinite(b)]).max(initial=0) if b.dtype.kind == "f" else 0
        if not np.allclose(a, b, rtol, rtol * scale, equal_nan=True):
            return f"item {k}:\n{a}\nexpected\n{b}"
    return ""
