"""Attention and its gradients, each one kernel that makes its results in one flat tensor.

    _attention        the result, then for each row the logarithm of its sum of powers
    _attention_back   the gradients of queries, keys and values, one after the other

Layouts in the flat tensor are those of `AttentionProblem`; `functional.attention` cuts it apart and
composes what these do not do: dropout, a mask's gradient, derivatives of derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from clgrad.codegen.attention import lower_attention, lower_attention_back
from clgrad.codegen.attention_problem import AttentionProblem
from clgrad.codegen.spec import Epilogue, Lowered
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import REQUIRED, Op, primitive
from clgrad.ops.signature import Signature, common_device, fresh_numel
from clgrad.traits import DeviceTraits


def problem_of(metas: Sequence[Meta], causal: bool) -> AttentionProblem:
    """Return the problem of queries, keys, values and perhaps a mask, which broadcasts."""
    q, k, v = metas[:3]
    mask = metas[3] if len(metas) > 3 else None
    over = (*q.shape[:-1], k.shape[-2])
    return AttentionProblem(
        q.dtype, mask.dtype if mask else None, causal, q.layout, k.layout, v.layout,
        mask.layout.broadcast_to(over) if mask else None,
    )  # fmt: skip


def _signature(
    masked: bool, back: bool, op: Op, operands: tuple[Any, ...], static: dict[str, Any], device: Any
) -> Signature:
    count = 3 + masked
    metas = operands[: len(op.inputs)]
    p = problem_of(metas[:count], static["causal"])
    layouts = [p.q, p.k, p.v, *([p.mask] if p.mask is not None else [])]
    numel = sum(x.numel for x in p.gradients) if back else p.result.numel + p.tail
    products = p.q.shape[-1] * (3 if back else 1) + p.v.shape[-1] * (2 if back else 1)
    work = 2 * fresh_numel(p.q.shape[:-1]) * p.k.shape[-2] * products
    return Signature(
        op, "kernel", space=(numel,), reads=(*layouts, *(m.layout for m in metas[count:])),
        dtypes=tuple(m.dtype for m in metas), scalars=(p.acc,),
        meta=fresh_meta(p.dtype, (numel,), common_device(op, metas, device)),
        lower=partial(_lower, p, back), work=work // (2 if p.causal else 1),
    )  # fmt: skip


def _lower(
    p: AttentionProblem, back: bool, sig: Signature, traits: DeviceTraits, tail: Epilogue | None
) -> Lowered:
    if back:
        return lower_attention_back(p, sig.reads[-3], sig.reads[-2], traits)
    return lower_attention(p, traits)


def _declare(name: str, inputs: str, masked: bool, back: bool) -> Op:
    return primitive(
        name, inputs, partial(_signature, masked, back),
        params=(("scale", REQUIRED), ("causal", False)), numeric=("scale",),
    )  # fmt: skip


attention = (
    _declare("_attention", "query, key, value", False, False),
    _declare("_attention_masked", "query, key, value, mask", True, False),
)
attention_back = (
    _declare("_attention_back", "query, key, value, g, y, total", False, True),
    _declare("_attention_back_masked", "query, key, value, mask, g, y, total", True, True),
)
"""Without and with a mask."""
