"""Scaled products of queries and keys as weights of values.

Where a device has kernels for it and rows are long, scores are never in memory
(`clgrad.codegen.attention`). Else it is composed of two matrix products and a softmax between:
scores, masks and softmax are row kernels, the scale an epilogue of the first product. So are
dropout, the gradient of a mask and derivatives of derivatives.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from clgrad.calls import function
from clgrad.codegen.attention import offers
from clgrad.creation import arange, zeros
from clgrad.dispatch import apply
from clgrad.dtypes import bool_
from clgrad.errors import ClgradRuntimeError, DTypeError, ShapeError
from clgrad.functional.dropout import dropout
from clgrad.functional.products import matmul
from clgrad.functional.softmax import softmax
from clgrad.layout import Layout, broadcast_shapes
from clgrad.ops import attention as kernels
from clgrad.ops.meta import meta_of
from clgrad.ops.registry import OPS, REQUIRED, composite
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import requires_grad_of
from clgrad.tape.tangents import forward
from clgrad.tensor import Tensor, wrap

_where = function(OPS["where"])


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """Return averages of values, weighted by the softmax of products of queries and keys.

    Math: softmax(query @ key.T * scale + mask) @ value; rows that are masked altogether give 0.

    Args:
        query: shape (*, H, L, E).
        key: shape (*, H, S, E).
        value: shape (*, H, S, V).
        attn_mask: broadcasts to (*, H, L, S); booleans say what takes part, floats are added.
        dropout_p: share of weights that are dropped, whether training or not.
        is_causal: position i sees positions up to i alone.
        scale: 1 / sqrt(E) if None.
        enable_gqa: key and value may have fewer heads, each shared by several of the query.

    Returns:
        Shape (*, H, L, V).

    Raises:
        ShapeError: sizes that do not fit together.
        DTypeError: dtypes that differ, or that are no floats.
        ClgradRuntimeError: both a mask and `is_causal`.
    """
    _check(query, key, value, attn_mask, is_causal)
    factor = 1 / math.sqrt(query.shape[-1] or 1) if scale is None else float(scale)
    options = (dropout_p, bool(is_causal), factor)
    if enable_gqa:
        times = _sharing(query, key)
        if times != _sharing(query, value):
            value = value.repeat_interleave(_sharing(query, value), -3)
            key, times = key.repeat_interleave(times, -3), 1
        if times > 1:
            if attn_mask is not None and attn_mask.ndim > 2:
                heads = (-1, times) if attn_mask.shape[-3] > 1 else (1, 1)
                attn_mask = attn_mask.unflatten(-3, heads)
            query = query.unflatten(-3, (-1, times))
            key, value = key.unsqueeze(-3), value.unsqueeze(-3)
            made: Tensor = _attention(query, key, value, attn_mask, *options).flatten(-4, -3)
            return made
    result: Tensor = _attention(query, key, value, attn_mask, *options)
    return result


def _attention(
    query: Any, key: Any, value: Any, mask: Any, dropout_p: float, causal: bool, factor: float
) -> Any:
    """Compute attention by what is best for it; batch dims broadcast."""
    _check_sizes(query, key, value)
    batch = query.shape[:-2]
    if not batch == key.shape[:-2] == value.shape[:-2]:
        batch = broadcast_shapes(batch, broadcast_shapes(key.shape[:-2], value.shape[:-2]))
        query, key, value = (x.expand(*batch, *x.shape[-2:]) for x in (query, key, value))
    masks = () if mask is None else (mask,)
    if not dropout_p and _fits(query, key, value, mask):
        return apply(_fused_ops[len(masks)], (query, key, value, *masks, factor), (causal,))[0]
    if query.dtype.itemsize < 4:  # products of halves may leave their range
        query, factor = query * factor, 1.0
    if mask is None and not dropout_p:
        return apply(_attend_op, (query, key, value, factor), (causal,))
    weights = _weights(query, key, mask, factor, causal)
    if dropout_p:
        weights = dropout(weights, dropout_p)
    return matmul(weights, value)


def _scores(query: Any, key: Any, factor: float, causal: bool) -> Any:
    scores: Any = matmul(query, key.mT)
    if factor != 1:
        scores = scores * factor
    if not causal:
        return scores
    rows, columns = scores.shape[-2:]
    last = arange(rows, device=query.device).unsqueeze(1)
    return _where(arange(columns, device=query.device) <= last, scores, -math.inf)


def _weights(query: Any, key: Any, mask: Any, factor: float, causal: bool) -> Any:
    """Return the softmax of rows of scores; zeros where a mask leaves nothing of a row."""
    scores = _scores(query, key, factor, causal)
    if mask is None:
        return softmax(scores, -1)
    if mask.dtype is bool_:
        mask = _where(mask, zeros((), dtype=scores.dtype, device=mask.device), -math.inf)
    scores = scores + mask
    if not scores.numel():
        return scores
    top = scores.detach().amax(dim=-1, keepdim=True)
    powers = (scores - _where(top == -math.inf, 0, top)).exp()
    total = powers.sum(dim=-1, keepdim=True)
    return powers / _where(total == 0, 1, total)


def _attend(query: Any, key: Any, value: Any, factor: float, causal: bool) -> Any:
    return matmul(_weights(query, key, None, factor, causal), value)


def _composed_back(ctx: Any, g: Any, mask: Any = None) -> tuple[Any, Any, Any]:
    """Compute the weights again: they are larger than what they are made of."""
    query, key, value = (ctx.saved(name) for name in ("query", "key", "value"))
    factor = ctx.param("factor")
    half = query.dtype.itemsize < 4
    scaled = query * factor if half else query
    weights = _weights(scaled, key, mask, 1.0 if half else factor, ctx.param("causal"))
    up = matmul(g, value.mT)
    slope = weights * (up - (up * weights).sum(dim=-1, keepdim=True))
    if factor != 1:
        slope = slope * factor
    return matmul(slope, key), matmul(slope.mT, query), matmul(weights.mT, g)


_NODE = "ScaledDotProductFlashAttentionForCpuBackward0"
_PARAMS = (("factor", REQUIRED), ("causal", False))

_attend_op = composite(
    "_attend", "query, key, value", _attend, backward=_composed_back,
    saves=("query", "key", "value"), params=_PARAMS, numeric=("factor",), node_name=_NODE,
    add=False,
)  # fmt: skip


# ---- in one kernel -------------------------------------------------------------------------------


FEW_SCORES = 1.0
"""Scores per element of queries and keys up to which they are kept: one kernel takes about as long,
and its gradients, all made at once, take more memory than so few scores (a step of a transformer on
16 x 128 tokens: 144 MB against 127 MB)."""


def _fits(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    """Return whether there are kernels that keep no scores, and they are worth it."""
    traits = getattr(query.device, "traits", None)
    shape = (*query.shape[:-1], key.shape[-2])
    (rows, columns), size = shape[-2:], query.shape[-1]
    if rows * columns <= FEW_SCORES * (rows + columns) * size:
        return False
    if traits is None or not value.numel() or not math.prod((*shape, query.shape[-1])):
        return False
    if mask is not None:
        if mode.grad and requires_grad_of(mask):
            return False
        if mask.ndim > len(shape) or broadcast_shapes(mask.shape, shape) != shape:
            return False
    return offers(shape[-2], query.shape[-1], value.shape[-1], query.dtype, traits)


def _part(flat: Any, layout: Layout) -> Any:
    return wrap(flat._storage, meta_of(flat.dtype, layout, flat.device))


def _fused(masked: int, *given: Any) -> tuple[Any, Any]:
    """Return the result, and what its gradient needs to know of each row."""
    *operands, causal = given
    flat = apply(kernels.attention[masked], tuple(operands), (causal,))
    p = kernels.problem_of([x._meta for x in operands[:-1]], causal)
    return _part(flat, p.result), flat.narrow(0, p.result.numel, p.tail)


def _fused_back(masked: int, ctx: Any, grads: tuple[Any, Any]) -> tuple[Any, ...]:
    g = grads[0]
    names = ("query", "key", "value", "mask", "y", "result1")
    found = {n: ctx.saved(n) for n in names if n != "mask" or masked}
    y, total = found.pop("y"), found.pop("result1")
    if g is None:
        return (None,) * len(found)
    if mode.grad or (forward.open and mode.forward):  # formulas that have derivatives
        made = _composed_back(ctx, g, found.get("mask"))
        return (*made, None)[: len(found)]
    causal, operands = ctx.param("causal"), tuple(found.values())
    flat = apply(
        kernels.attention_back[masked], (*operands, g, y, total, ctx.param("factor")), (causal,)
    )
    p = kernels.problem_of([x._meta for x in operands], causal)
    return (*(_part(flat, x) for x in p.gradients), None)[: len(found)]


def _declare(masked: int, inputs: str) -> Any:
    operands = tuple(inputs.split(", "))
    return composite(
        "_attend_in_blocks", inputs, partial(_fused, masked), backward=partial(_fused_back, masked),
        saves=dict.fromkeys(operands[:3], (*operands, "y", "result1")), params=_PARAMS,
        numeric=("factor",), node_name=_NODE, add=False,
    )  # fmt: skip


_fused_ops = (_declare(0, "query, key, value"), _declare(1, "query, key, value, mask"))


# ---- arguments -----------------------------------------------------------------------------------


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> None:
    op = "scaled_dot_product_attention"
    ndims = [x.ndim for x in (query, key, value)]
    if min(ndims) < 2:
        raise ShapeError(
            f"{op}: Expected query, key, and value to all be at least 2 dimensional, but got "
            f"{ndims[0]}, {ndims[1]} and {ndims[2]} dimensions. Hint: shapes are (*, heads, "
            "length, size)."
        )
    names = [x.dtype.name for x in (query, key, value)]
    if len(set(names)) > 1:
        raise DTypeError(
            f"{op}: Expected query, key, and value to have the same dtype, but got {names[0]}, "
            f"{names[1]} and {names[2]}. Hint: cast them with .to()."
        )
    if not query.is_floating_point():
        raise DTypeError(f"{op}: got {names[0]}. Expected a floating-point dtype. Hint: .float().")
    if mask is not None and causal:
        raise ClgradRuntimeError(
            f"{op}: Explicit attn_mask should not be set when is_causal=True. Expected one of the "
            "two. Hint: attn_mask=mask.tril(), where mask is of bool."
        )
    if mask is not None and mask.dtype not in (bool_, query.dtype):
        raise DTypeError(
            f"{op}: Expected attn_mask dtype to be bool or to match query dtype, but got "
            f"{mask.dtype.name} for {names[0]}. Hint: mask.bool() for what takes part."
        )


def _check_sizes(query: Tensor, key: Tensor, value: Tensor) -> None:
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            f"scaled_dot_product_attention: query {list(query.shape)}, key {list(key.shape)} and "
            f"value {list(value.shape)} do not fit. Expected (*, L, E), (*, S, E) and (*, S, V)."
        )


def _sharing(query: Tensor, x: Tensor) -> int:
    """Return how many heads of the query share one of keys or values."""
    if x.ndim < 3 or query.ndim < 3 or query.shape[-3] % x.shape[-3]:
        raise ShapeError(
            "scaled_dot_product_attention: Number of heads in key and value must divide the "
            f"number of heads in query, got {list(x.shape)} for {list(query.shape)}."
        )
    times: int = query.shape[-3] // x.shape[-3]
    return times


__all__ = ["scaled_dot_product_attention"]
