"""What losses share: reductions, PyTorch's older arguments, losses that are a formula each."""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

from clgrad.dispatch import apply
from clgrad.errors import AutogradError, ClgradValueError
from clgrad.expr import free_names
from clgrad.layout import broadcast_shapes
from clgrad.ops.registry import REQUIRED, Op, composite, derived, pointwise
from clgrad.tensor import Tensor


def check_reduction(reduction: str) -> None:
    """Raise `ClgradValueError` where `reduction` is none."""
    if reduction not in ("mean", "sum", "none"):
        raise ClgradValueError(f"{reduction} is not a valid value for reduction")


def chosen(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """Return the reduction that PyTorch's older arguments mean, with its warning."""
    if size_average is None and reduce is None:
        check_reduction(reduction)
        return reduction
    meant = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{meant}' instead.",
        UserWarning,
        stacklevel=3,
    )
    return meant


def reduced(loss: Any, reduction: str) -> Any:
    """Return the mean or the sum of the terms of a loss, or these."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def elementwise(name: str, inputs: str, formula: str, *, like: str = "", **derivatives: str) -> Op:
    """Declare a loss whose terms are a formula of the elements at one place.

    It is one node, whatever the reduction: it saves what the derivatives read.

    Args:
        inputs: names of the operands, the first of which has the shape of all, then after `*`
            numeric parameters.
        like: the op whose name the node has, where that is another one.
        derivatives: `d<input>="..."`, as `pointwise` takes them.
    """
    options: dict[str, Any] = {"inplace": False, "node_name": f"_{name}", **derivatives}
    each = pointwise(f"_{name}_term", inputs, formula, **options)
    numeric = tuple(p for p, _ in each.params)
    reads = {n: tuple(sorted(free_names(f) & {*each.inputs})) for n, f in each.derivatives.items()}

    def forward(*given: Any) -> Any:
        *operands, reduction = given
        return reduced(apply(each, tuple(operands)), reduction)

    def backward(ctx: Any, g: Any) -> tuple[Any, ...]:
        if ctx.param("reduction") == "mean":
            g = g / max(prod(ctx.shape(each.inputs[0])), 1)
        found: list[Any] = []
        for n in each.inputs:
            if not ctx.needs(n):
                found.append(None)
                continue
            if n not in reads:
                raise AutogradError(
                    f"{name}: the derivative for {n} is not implemented. Hint: detach() it."
                )
            op, sources = derived(each, n)
            values = [
                g if s == "g" else ctx.param(s) if s in numeric else ctx.saved(s) for s in sources
            ]
            found.append(apply(op, tuple(values)))
        return tuple(found)

    return composite(
        f"_{name}", inputs.partition("*")[0].rstrip(" ,"), forward, backward=backward, saves=reads,
        params=(*((p, REQUIRED) for p in numeric), ("reduction", REQUIRED)),
        numeric=numeric, node_name=f"{_camel(like or name)}Backward0",
    )  # fmt: skip


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def expanded(name: str, input: Tensor, target: Tensor, stacklevel: int = 3) -> Any:
    """Return both operands in one shape; where they differ, with PyTorch's warning."""
    if target.shape != input.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            UserWarning,
            stacklevel=stacklevel,
        )
        shape = broadcast_shapes(tuple(input.shape), tuple(target.shape), op=name)
        return input.expand(shape), target.expand(shape)
    return input, target


def weighted(terms: Any, weight: Tensor | None, input: Tensor, reduction: str) -> Any:
    """Reduce terms that have weights: the mean is divided by the sum of these."""
    if weight is None:
        return reduced(terms, reduction)
    if weight.shape != input.shape:
        raise ClgradValueError("Inputs and weights must have the same size.")
    terms = terms * weight
    return terms.sum() / weight.sum() if reduction == "mean" else reduced(terms, reduction)
