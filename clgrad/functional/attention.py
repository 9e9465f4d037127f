"""Attention of several heads, composed of maps and of scaled products.

Heads are views: queries, keys and values of all heads are computed by one product and never copied
apart.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from clgrad.calls import function
from clgrad.creation import zeros
from clgrad.dtypes import bool_
from clgrad.errors import ClgradRuntimeError
from clgrad.functional.dropout import dropout
from clgrad.functional.joining import cat
from clgrad.functional.linear import linear
from clgrad.functional.products import matmul
from clgrad.functional.scaled_products import scaled_dot_product_attention
from clgrad.functional.softmax import softmax
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor

_where = function(OPS["where"])


def canonical_mask(
    mask: Tensor | None, name: str, other: Tensor | None, other_name: str, dtype: Any
) -> Tensor | None:
    """Return a mask to be added to scores; booleans say what is masked.

    Raises:
        AssertionError: neither booleans nor floats.
    """
    if mask is None:
        return None
    if mask.dtype is not bool_ and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if other is not None and mask.dtype is not other.dtype:
        warnings.warn(
            f"Support for mismatched {name} and {other_name} is deprecated. Use same type for "
            "both instead.",
            UserWarning,
            stacklevel=3,
        )
    if mask.dtype is not bool_:
        return mask
    made: Tensor = _where(mask, -math.inf, zeros((), dtype=dtype, device=mask.device))
    return made


def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int,
    in_proj_weight: Tensor | None, in_proj_bias: Tensor | None, bias_k: Tensor | None,
    bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float, out_proj_weight: Tensor,
    out_proj_bias: Tensor | None, training: bool = True, key_padding_mask: Tensor | None = None,
    need_weights: bool = True, attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None, v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None, static_v: Tensor | None = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Return attention of several heads, and its weights.

    Args:
        query: shape (L, N, E) or (L, E).
        key, value: shapes (S, N, *) or (S, *).
        embed_dim_to_check: E.
        num_heads: into how many parts E is split.
        in_proj_weight: shape (3 E, E); query, key and value are mapped by a third each.
        in_proj_bias: shape (3 E).
        bias_k, bias_v: shape (1, 1, E), one more position of keys and values.
        add_zero_attn: one more position of zeros.
        dropout_p: share of weights that are dropped if `training`.
        out_proj_weight, out_proj_bias: of the map of the result.
        training: whether weights are dropped.
        key_padding_mask: shape (N, S), keys that do not count: booleans, or floats to add.
        need_weights: return the weights.
        attn_mask: shape (L, S) or (N * num_heads, L, S), as before.
        use_separate_proj_weight: take the next three instead of `in_proj_weight`.
        q_proj_weight, k_proj_weight, v_proj_weight: shapes (E, E), (E, K), (E, V).
        static_k, static_v: shape (N * num_heads, S, E / num_heads) instead of mapped ones.
        average_attn_weights: over the heads.
        is_causal: says that `attn_mask` is causal.

    Returns:
        Shape (L, N, E), and (N, L, S), (N, num_heads, L, S) or None.

    Raises:
        AssertionError: shapes that do not fit, as PyTorch.
        ClgradRuntimeError: a mask of a wrong shape.
    """
    batched = _check_dims(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        same = query is key and key is value
        query = query.unsqueeze(1)
        key, value = (query, query) if same else (key.unsqueeze(1), value.unsqueeze(1))
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    length, count, embed = query.shape
    if is_causal and attn_mask is None:
        raise ClgradRuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    padding = canonical_mask(key_padding_mask, "key_padding_mask", attn_mask, "attn_mask",
                             query.dtype)  # fmt: skip
    is_causal = is_causal and padding is None and not need_weights
    mask = None
    if not is_causal:
        mask = canonical_mask(attn_mask, "attn_mask", None, "", query.dtype)
    if embed != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed}"
        )
    if embed % num_heads:
        raise AssertionError(f"embed_dim {embed} not divisible by num_heads {num_heads}")
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias, weights)
    if mask is not None:
        mask = _of_heads(mask, count, num_heads, length, key.shape[0])
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k and bias_v must be set together")
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key or value.")
        k = cat([k, bias_k.expand(1, count, embed)])
        v = cat([v, bias_v.expand(1, count, embed)])
        mask, padding = _one_more(mask), _one_more(padding)
    q = _split(q, num_heads)
    k = _split(k, num_heads) if static_k is None else _static(static_k, "k", count, q)
    v = _split(v, num_heads) if static_v is None else _static(static_v, "v", count, q)
    if add_zero_attn:
        nothing = zeros(count, num_heads, 1, q.shape[-1], dtype=k.dtype, device=k.device)
        k, v = cat([k, nothing], 2), cat([v, nothing], 2)
        mask, padding = _one_more(mask), _one_more(padding)
    if padding is not None:
        if tuple(padding.shape) != (count, k.shape[2]):
            raise AssertionError(
                f"Expected key_padded_mask.shape to be {(count, k.shape[2])}, but got "
                f"{tuple(padding.shape)}"
            )
        spread = padding.reshape(count, 1, 1, k.shape[2])
        mask = spread if mask is None else mask + spread
    dropout_p = dropout_p if training else 0.0
    found = None
    if need_weights:
        scores: Any = matmul(q * (1 / math.sqrt(q.shape[-1])), k.mT)
        found = softmax(scores if mask is None else scores + mask, -1)
        if dropout_p:
            found = dropout(found, dropout_p)
        result = matmul(found, v)
        found = found.mean(dim=1) if average_attn_weights else found
    else:
        result = scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal)
    result = linear(
        result.permute(2, 0, 1, 3).reshape(length, count, embed), out_proj_weight, out_proj_bias
    )
    if batched:
        return result, found
    return result.squeeze(1), None if found is None else found.squeeze(0)


def _check_dims(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None,
    heads: int,
) -> bool:  # fmt: skip
    """Return whether there is a batch."""
    if query.ndim not in (2, 3):
        raise AssertionError(
            "query should be unbatched 2D or batched 3D tensor but received "
            f"{query.ndim}-D query tensor"
        )
    batched = query.ndim == 3
    what = f"For {'' if batched else 'un'}batched ({query.ndim}-D) `query`, expected"
    if key.ndim != query.ndim or value.ndim != query.ndim:
        raise AssertionError(
            f"{what} `key` and `value` to be {query.ndim}-D but found {key.ndim}-D and "
            f"{value.ndim}-D tensors respectively"
        )
    if padding is not None and padding.ndim != query.ndim - 1:
        raise AssertionError(
            f"{what} `key_padding_mask` to be `None` or {query.ndim - 1}-D but found "
            f"{padding.ndim}-D tensor instead"
        )
    if mask is not None:
        if mask.ndim not in (2, 3):
            raise AssertionError(
                f"{what} `attn_mask` to be `None`, 2-D or 3-D but found {mask.ndim}-D tensor "
                "instead"
            )
        expected = (heads, query.shape[0], key.shape[0])
        if not batched and mask.ndim == 3 and tuple(mask.shape) != expected:
            raise AssertionError(
                f"Expected `attn_mask` shape to be {expected} but got {tuple(mask.shape)}"
            )
    return batched


def _projected(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor | None, bias: Tensor | None,
    separate: tuple[Tensor | None, Tensor | None, Tensor | None] | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return queries, keys and values, mapped; by one product where they are of one tensor."""
    biases = (None, None, None) if bias is None else bias.chunk(3)
    if separate is not None:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's "
                f"{value.shape[:2]}"
            )
        made = []
        given = zip(("q", "k", "v"), (query, key, value), separate, biases, strict=True)
        for name, x, w, b in given:
            if w is None:
                raise AssertionError(
                    f"use_separate_proj_weight is True but {name}_proj_weight is None"
                )
            if tuple(w.shape) != (query.shape[-1], x.shape[-1]):
                raise AssertionError(
                    f"expecting {name}_proj_weight of shape {(query.shape[-1], x.shape[-1])}, but "
                    f"got {tuple(w.shape)}"
                )
            made.append(linear(x, w, b))
        return made[0], made[1], made[2]
    if key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
    if weight is None:
        raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
    size = query.shape[-1]
    if query is key and key is value:
        q, k, v = linear(query, weight, bias).chunk(3, -1)
    elif key is value:
        b_q, b_kv = (None, None) if bias is None else bias.split([size, 2 * size])
        w_q, w_kv = weight.split([size, 2 * size])
        q = linear(query, w_q, b_q)
        k, v = linear(key, w_kv, b_kv).chunk(2, -1)
    else:
        parts = zip((query, key, value), weight.chunk(3), biases, strict=True)
        q, k, v = [linear(x, w, b) for x, w, b in parts]
    return q, k, v


def _split(x: Tensor, heads: int) -> Tensor:
    """Return (S, N, E) as (N, heads, S, E / heads), a view."""
    made: Tensor = x.unflatten(-1, (heads, x.shape[-1] // heads)).permute(1, 2, 0, 3)
    return made


def _static(x: Tensor, name: str, count: int, q: Tensor) -> Tensor:
    _, heads, _, size = q.shape
    if x.shape[0] != count * heads:
        raise AssertionError(
            f"expecting static_{name}.size(0) of {count * heads}, but got {x.shape[0]}"
        )
    if x.shape[2] != size:
        raise AssertionError(f"expecting static_{name}.size(2) of {size}, but got {x.shape[2]}")
    made: Tensor = x.unflatten(0, (count, heads))
    return made


def _of_heads(mask: Tensor, count: int, heads: int, length: int, keys: int) -> Tensor:
    """Return a mask that broadcasts over (N, heads, L, S)."""
    expected = (length, keys) if mask.ndim == 2 else (count * heads, length, keys)
    if tuple(mask.shape) != expected:
        raise ClgradRuntimeError(
            f"The shape of the {mask.ndim}D attn_mask is {mask.shape}, but should be {expected}."
        )
    made: Tensor = mask if mask.ndim == 2 else mask.unflatten(0, (count, heads))
    return made


def _one_more(mask: Tensor | None) -> Tensor | None:
    """Return a mask for one more key, which counts."""
    if mask is None:
        return None
    return cat([mask, zeros(*mask.shape[:-1], 1, dtype=mask.dtype, device=mask.device)], -1)


__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]
