"""Reductions and normalisations of the elements that a mask lets through, as `torch.masked`.

Everywhere `mask` is a tensor of bools, True for the elements that count, that broadcasts to the
shape of `input`; None counts all. What no element remains of is the value of a fold of nothing: 0
for a sum, 1 for a product, infinities for extrema, NaN for means.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from clgrad.calls import function
from clgrad.dtypes import as_dtype, float32, int64
from clgrad.errors import ClgradIndexError, ClgradValueError
from clgrad.functional.inspecting import iinfo
from clgrad.functional.norms import vector_norm
from clgrad.functional.softmax import log_softmax as _log_softmax
from clgrad.functional.softmax import softmax as _softmax
from clgrad.ops.registry import OPS
from clgrad.ops.signature import reduced_dims
from clgrad.tensor import Tensor

_where = function(OPS["where"])


def _mask_of(input: Any, mask: Any) -> Any:
    """Return `mask` as bools of the shape of `input`.

    Raises:
        ClgradIndexError: it has more dims than `input`.
    """
    if mask.ndim > input.ndim:
        raise ClgradIndexError(
            "masked: expected broadcastable mask (got mask dimensionality higher than of the "
            f"input): {list(mask.shape)} for {list(input.shape)}."
        )
    return mask.bool().expand(input.shape)


def _filled(input: Any, mask: Any, value: Any) -> Any:
    """Return `input` with `value` where `mask` says no."""
    return input if mask is None else _where(_mask_of(input, mask), input, value)


def _dims(name: str, input: Any, dim: Any) -> tuple[int, ...]:
    return reduced_dims(name, dim, input.ndim) if input.ndim else ()


def _least(dtype: Any) -> Any:
    return -math.inf if dtype.is_floating_point else iinfo(dtype).min


def _most(dtype: Any) -> Any:
    return math.inf if dtype.is_floating_point else iinfo(dtype).max


def sum(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return sums along dims; integers are added in int64."""
    x: Any = input
    made: Tensor = _filled(x, mask, 0).sum(_dims("sum", x, dim), bool(keepdim), dtype=dtype)
    return made


def prod(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return products along dims; integers are multiplied in int64."""
    x: Any = input
    made = _filled(x, mask, 1)
    if not x.ndim:
        return made.prod(dtype=dtype)  # type: ignore[no-any-return]  # a Tensor
    for d in reversed(_dims("prod", x, dim)):
        made = made.prod(d, bool(keepdim), dtype=dtype)
    return made  # type: ignore[no-any-return]  # a Tensor


def _extremum(name: str, identity: Callable[[Any], Any]) -> Callable[..., Tensor]:
    def call(
        input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None,
        mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        kept = _filled(input, mask, identity(input.dtype))
        made = getattr(kept, name)(_dims(name, input, dim), bool(keepdim))
        return made if dtype is None else made.to(dtype)  # type: ignore[no-any-return]  # a Tensor

    call.__name__ = call.__qualname__ = name
    return call


amax = _extremum("amax", _least)
amax.__doc__ = "Return the largest elements along dims; -inf or the dtype's least of none."
amin = _extremum("amin", _most)
amin.__doc__ = "Return the smallest elements along dims; inf or the dtype's largest of none."


def _position(name: str, identity: Callable[[Any], Any]) -> Callable[..., Tensor]:
    def call(
        input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: Any = None,
        mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        kept = _filled(input, mask, identity(input.dtype))
        made: Tensor = getattr(kept, name)(dim, bool(keepdim)).to(dtype or input.dtype)
        return made

    call.__name__ = call.__qualname__ = name
    return call


argmax = _position("argmax", _least)
argmax.__doc__ = "Return where the largest elements along a dim are, in the dtype of `input`."
argmin = _position("argmin", _most)
argmin.__doc__ = "Return where the smallest elements along a dim are, in the dtype of `input`."


def cumsum(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Return running sums along a dim."""
    made: Tensor = _filled(input, mask, 0).cumsum(dim, dtype=dtype or input.dtype)
    return made


def cumprod(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Return running products along a dim."""
    made: Tensor = _filled(input, mask, 1).cumprod(dim, dtype=dtype or input.dtype)
    return made


def _count(input: Any, dims: tuple[int, ...], keepdim: bool, mask: Any) -> Any:
    """Return how many elements count along dims."""
    seen = input.new_ones((), dtype=int64) if mask is None else mask.to(int64)
    return _mask_of(input, seen).sum(dims, keepdim)


def mean(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return means along dims.

    Raises:
        ClgradValueError: the dtype is not floating-point.
    """
    kind = input.dtype if dtype is None else as_dtype(dtype)
    if not kind.is_floating_point:
        raise ClgradValueError(
            "mean(): Could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {kind.name}. Hint: dtype=clgrad.float32."
        )
    total: Any = sum(input, dim, keepdim=keepdim, dtype=kind, mask=mask)
    made: Tensor = total / _count(input, _dims("mean", input, dim), bool(keepdim), mask)
    return made


def median(
    input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return medians along a dim, the lower ones of even counts.

    Raises:
        ClgradValueError: integers of which none are left.
    """
    x: Any = input if input.dtype.is_floating_point else input.to(float32)
    made = _filled(x, mask, math.nan).nanmedian(dim, keepdim).values
    if x is input:
        return made  # type: ignore[no-any-return]  # a Tensor
    if made.isnan().any():
        raise ClgradValueError(
            "masked median expects no fully masked out rows if dtype is not floating point"
        )
    return made.to(dtype or input.dtype)  # type: ignore[no-any-return]  # a Tensor


def logsumexp(
    input: Tensor, dim: Any = None, *, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return logarithms of sums of exponentials along dims."""
    kept = _filled(input, mask, _least(input.dtype))
    made: Tensor = kept.logsumexp(_dims("logsumexp", input, dim), bool(keepdim))
    return made.to(dtype or input.dtype)  # type: ignore[no-any-return]  # a Tensor


def logaddexp(
    input: Tensor, other: Tensor, *, dtype: Any = None, input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return `log(exp(input) + exp(other))`, without what the masks keep out of each."""
    a = _filled(input, input_mask, _least(input.dtype))
    b = _filled(other, other_mask, _least(other.dtype))
    made: Tensor = a.logaddexp(b).to(dtype or input.dtype)
    return made


def norm(
    input: Tensor, ord: float | None = 2.0, dim: Any = None, *, keepdim: bool = False,
    dtype: Any = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return norms along dims; see `linalg.vector_norm`."""
    order = 2.0 if ord is None else ord
    kept = _filled(input, mask, math.inf if order == -math.inf else 0)
    made: Tensor = vector_norm(kept, order, _dims("norm", input, dim), bool(keepdim), dtype=dtype)
    return made


def var(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, *,
    correction: float | None = None, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return variances along dims; `correction` is taken from the count, 1 unless said.

    Raises:
        ClgradValueError: both `unbiased` and `correction` are given.
    """
    if unbiased is not None and correction is not None:
        raise ClgradValueError("var: Only one of unbiased and correction may be given")
    less = (1.0 if unbiased in (None, True) else 0.0) if correction is None else float(correction)
    kind = input.dtype if dtype is None else as_dtype(dtype)
    if dtype is None and not kind.is_floating_point:
        kind = float32
    folded = kind if kind.is_floating_point else float32
    x: Any = input
    dims = _dims("var", x, dim)
    count = _count(x, dims, True, mask)
    middle: Any = sum(x, dims, keepdim=True, dtype=kind, mask=mask)
    away = x - middle / count
    total: Any = sum(away * away, dims, keepdim=keepdim, dtype=folded, mask=mask)
    count = count.reshape(total.shape)
    if less:
        count = (count.to(folded) - less).clamp(min=0)
    return (total / count).to(kind)  # type: ignore[no-any-return]  # a Tensor


def std(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, *,
    correction: float | None = None, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return standard deviations along dims; see `var`."""
    spread: Any = var(
        input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask
    )
    return spread.sqrt()  # type: ignore[no-any-return]  # a Tensor


def softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Return `exp(input)` over its sum along a dim; 0 where the mask says no."""
    made: Tensor = _softmax(_filled(input, mask, _least(input.dtype)), dim, dtype=dtype)
    return made


def log_softmax(
    input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Return the logarithm of `softmax`; -inf where the mask says no."""
    made: Tensor = _log_softmax(_filled(input, mask, _least(input.dtype)), dim, dtype=dtype)
    return made


def softmin(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Return `softmax` of what is negated; 0 where the mask says no."""
    made: Tensor = _softmax(-_filled(input, mask, _most(input.dtype)), dim, dtype=dtype)
    return made


def normalize(
    input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return `input` over its norms along a dim, at least `eps`; 0 where the mask says no."""
    size: Any = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    made: Tensor = _filled(input, mask, 0) / size.maximum(size.new_full((), eps))
    return made


__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp",
    "logsumexp", "mean", "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum",
    "var",
]  # fmt: skip
