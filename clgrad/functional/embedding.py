"""Rows of a table by index: `embedding`, and sums, means and maxima over bags of them.

The gradient of a table is summed by rows in the order of the indices, without atomics.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from clgrad import writing
from clgrad.dispatch import apply
from clgrad.dtypes import int64
from clgrad.errors import ClgradError, ClgradRuntimeError, ClgradValueError, DTypeError, ShapeError
from clgrad.functional._at import INDEX_DTYPES, must_check, write_at
from clgrad.functional.scans import cumsum
from clgrad.functional.shaping import narrow, reshape, unsqueeze
from clgrad.layout import Layout
from clgrad.ops.indexing import Picking, pick_op
from clgrad.ops.indexing import picking as new_picking
from clgrad.ops.registry import OPS, Op
from clgrad.tape.grad_mode import mode
from clgrad.tensor import Tensor

__all__ = ["embedding", "embedding_renorm_"]
METHODS: tuple[str, ...] = ()


class PaddingIndexError(ClgradValueError, AssertionError):
    """A `padding_idx` outside of the table; PyTorch asserts."""


class PerSampleWeightsError(ClgradError, NotImplementedError):
    """Weights of samples where they are not summed."""


def _rows(index: Tensor, weight: Tensor, checked: bool) -> Picking:
    """Return the picking of a row of `weight` for each index."""
    ndim = index._meta.ndim
    space = (*index._meta.shape, weight._meta.shape[1])
    walk = (*(-1,) * ndim, 1)
    return new_picking(space, walk, (0,), (tuple(range(ndim)),), False, checked, "embedding")


@lru_cache(maxsize=64)
def _op(padding: int, by_frequency: bool) -> Op:
    """Return the op whose gradient leaves out a row, and shares those named repeatedly."""

    def backward(ctx: Any, g: Any) -> tuple[Any]:
        index, picking = ctx.saved("i0"), ctx.param("picking")
        shape = ctx.shape("x")
        if by_frequency:
            counts = _counts(g, index, picking, shape[0])
            g = g / unsqueeze(counts._pick([index], _flat_rows(picking)), -1)
        made = g._zeros(shape)._place(g, [index], picking, "add")
        if padding >= 0:
            whole = Layout.contiguous(shape)
            made = made._scatter(None, whole.select(0, padding), whole)
        return (made,)

    base = pick_op("embedding", 1)
    return Op(
        name=base.name, kind=base.kind, inputs=base.inputs, params=base.params, shape=base.shape,
        backward=backward, saves=base.saves, node_name="EmbeddingBackward0",
    )  # fmt: skip


def _flat_rows(picking: Picking) -> Picking:
    """Return a picking of rows as one of the elements of a vector with one for each row."""
    n = len(picking.space) - 1
    return new_picking(
        picking.space[:n], (-1,) * n, (0,), picking.axes, False, picking.checked, "embedding"
    )


def _counts(like: Tensor, index: Tensor, picking: Picking, rows: int) -> Tensor:
    """Return how often each row is named."""
    made: Tensor = like._zeros((rows,))
    write_at(made, 1, (index,), _flat_rows(picking), "add")
    return made


def _check(op: str, index: Tensor, weight: Tensor) -> None:
    if index._meta.dtype not in INDEX_DTYPES:
        raise DTypeError(
            f"{op}: Expected tensor for argument #1 'indices' to have one of the following scalar "
            f"types: Long, Int; but got {index.dtype.name} instead. Hint: .long()."
        )
    if weight._meta.ndim != 2:
        raise ShapeError(f"{op}: 'weight' must be 2-D, got shape {list(weight._meta.shape)}.")


def _padding(padding_idx: int | None, rows: int) -> int:
    if padding_idx is None:
        return -1
    if not -rows <= padding_idx < rows:
        raise PaddingIndexError(
            f"embedding: Padding_idx must be within num_embeddings, got {padding_idx} for {rows}."
        )
    return padding_idx % rows


def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:  # fmt: skip
    """Return the rows of `weight` at `indices`; see `clgrad.nn.functional.embedding`.

    Args:
        padding_idx: a row that gets no gradient; -1 for none.
    """
    _check("embedding", indices, weight)
    if sparse:
        raise ClgradRuntimeError(
            "embedding: sparse gradients are not there. Expected sparse=False. Hint: the dense "
            "gradient is written once; only rows that are named are read again."
        )
    checked = must_check("embedding", indices, weight._meta.shape[0], 0, wrap=False)
    picking = _rows(indices, weight, checked)
    made: Tensor = apply(_op(padding_idx, scale_grad_by_freq), (weight, indices), (picking,))
    return made


def embedding_renorm_(
    weight: Tensor, indices: Tensor, max_norm: float, norm_type: float = 2.0
) -> Tensor:
    """Scale down the rows at `indices` whose norm is larger than `max_norm`, in place."""
    _check("embedding_renorm_", indices, weight)
    checked = must_check("embedding_renorm_", indices, weight._meta.shape[0], 0, wrap=False)
    index = reshape(indices, -1)
    picking = _rows(index, weight, checked)
    before, mode.grad = mode.grad, False
    try:
        rows: Any = weight.detach()._pick([index], picking)
        norms = rows.norm(norm_type, dim=1, keepdim=True)
        scale = apply(OPS["where"], (norms > max_norm, max_norm / (norms + 1e-7), 1.0))
        write_at(weight, rows * scale, (index,), picking, "set")
    finally:
        mode.grad = before
    writing.count("embedding_renorm_", weight)
    return weight


def table_embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """Return the rows of a table at indices.

    Args:
        input: int64 or int32, shape (*).
        weight: the table, shape (V, D).
        padding_idx: a row that gets no gradient.
        max_norm: before, rows that are named are scaled down to this norm, in place.
        norm_type: p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often it is named.

    Returns:
        Shape (*, D).

    Raises:
        IndexValueError: an index out of range. DTypeError, ShapeError: operands that do not fit.
    """
    _check("embedding", input, weight)
    padding = _padding(padding_idx, weight._meta.shape[0])
    if max_norm is not None:
        embedding_renorm_(weight, input, max_norm, norm_type)
    return embedding(weight, input, padding, scale_grad_by_freq, sparse)


# ---- bags --------------------------------------------------------------------------------------


def _bag_numbers(index: Tensor, offsets: Tensor, bags: int) -> Tensor:
    """Return the bag of each index: how many offsets after the first are not beyond it."""
    count = index._meta.numel
    starts = narrow(offsets, 0, 1, bags - 1)
    checked = must_check("embedding_bag", starts, count + 1, 0, wrap=False)
    marks: Tensor = apply(OPS["full"], (0,), ((count + 1,), int64), index.device)
    write_at(marks, 1, (starts,), new_picking(
        starts._meta.shape, (-1,), (0,), ((0,),), False, checked, "embedding_bag"), "add",
    )  # fmt: skip
    return cumsum(narrow(marks, 0, 0, count), 0)


def _check_bags(
    input: Tensor, offsets: Tensor | None, weights: Tensor | None, mode_: str, frequency: bool
) -> None:
    ndim = input._meta.ndim
    if mode_ not in ("sum", "mean", "max"):
        raise ClgradValueError(
            f"embedding_bag: mode has to be one of sum, mean or max, got {mode_}."
        )
    if weights is not None and weights._meta.shape != input._meta.shape:
        raise ClgradValueError(
            "embedding_bag: If per_sample_weights is not None, then it must have the same shape as "
            f"the input, got {list(weights._meta.shape)} and {list(input._meta.shape)}."
        )
    if weights is not None and mode_ != "sum":
        raise PerSampleWeightsError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode_}')."
        )
    if ndim not in (1, 2):
        raise ClgradValueError(f"embedding_bag: input has to be 1D or 2D Tensor, but got {ndim}.")
    if ndim == 2 and offsets is not None:
        raise ClgradValueError(
            "embedding_bag: if input is 2D, then offsets has to be None, as input is treated as a "
            "mini-batch of fixed length sequences."
        )
    if ndim == 1 and (offsets is None or offsets._meta.ndim != 1):
        raise ClgradValueError("embedding_bag: offsets has to be a 1D Tensor, as input is 1D.")
    if mode_ == "max" and frequency:
        raise ClgradRuntimeError(
            "embedding_bag: max mode does not support scaling the gradient by the frequency."
        )


def embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None,
    norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean",
    sparse: bool = False, per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """Return sums, means or maxima of the rows of a table at bags of indices.

    Args:
        input: int64 or int32: bags of one size as (B, N), or all in a row as (N,) with `offsets`.
        weight: the table, shape (V, D).
        offsets: where each bag of a vector begins, the first at 0.
        mode: `sum`, `mean` or `max`; an empty bag gives zeros.
        per_sample_weights: for `sum`, a factor for each index.
        include_last_offset: the last offset is the end of the last bag.
        padding_idx: indices that are left out of their bags.
        max_norm, norm_type, scale_grad_by_freq: see `clgrad.nn.functional.embedding`.

    Returns:
        Shape (B, D).

    Raises:
        ClgradValueError: arguments that do not go together.
        IndexValueError: an index out of range.
    """
    _check_bags(input, offsets, per_sample_weights, mode, scale_grad_by_freq)
    _check("embedding_bag", input, weight)
    padding = _padding(padding_idx, weight._meta.shape[0])
    if max_norm is not None:
        embedding_renorm_(weight, input, max_norm, norm_type)
    rows: Any = embedding(weight, input, padding, scale_grad_by_freq, sparse)
    kept: Any = None if padding < 0 else unsqueeze(apply(OPS["ne"], (input, padding)), -1)
    if per_sample_weights is not None:
        rows = rows * unsqueeze(per_sample_weights, -1)
    if input._meta.ndim == 2:
        return _fixed_bags(rows, kept, mode)
    assert offsets is not None
    bags = offsets._meta.numel - include_last_offset
    if bags < 1:
        return rows.sum(0, keepdim=True)[:0]  # type: ignore[no-any-return]  # a Tensor
    return _cut_bags(rows, kept, _bag_numbers(input, offsets, bags), bags, mode)


def _fixed_bags(rows: Any, kept: Any, mode: str) -> Tensor:
    if not rows.shape[1]:
        return rows.sum(1)  # type: ignore[no-any-return]  # a Tensor
    if mode == "max":
        if kept is None:
            return rows.max(1)[0]  # type: ignore[no-any-return]  # a Tensor
        most = apply(OPS["where"], (kept, rows, float("-inf"))).max(1)[0]
        return apply(OPS["where"], (kept.any(1), most, 0.0))  # type: ignore[no-any-return]
    total: Tensor = (rows if kept is None else apply(OPS["where"], (kept, rows, 0.0))).sum(1)
    if mode == "sum":
        return total
    mean: Tensor = total / (rows.shape[1] if kept is None else kept.sum(1).clamp(min=1))
    return mean


def _cut_bags(rows: Any, kept: Any, bag: Tensor, bags: int, mode: str) -> Tensor:
    if kept is not None:
        rows = apply(OPS["where"], (kept, rows, float("-inf") if mode == "max" else 0.0))
    ones = rows._ones((rows.shape[0],)) if kept is None else kept.squeeze(-1).to(rows.dtype)
    count: Any = unsqueeze(rows._zeros((bags,)).index_add(0, bag, ones), -1)
    out: Tensor = rows._zeros((bags, rows.shape[1]))
    if mode == "max":
        wide = unsqueeze(bag, -1).expand(rows.shape)
        most = (out - float("inf")).scatter_reduce(0, wide, rows, "amax")
        made: Tensor = apply(OPS["where"], (count > 0, most, 0.0))
        return made
    total: Tensor = out.index_add(0, bag, rows)
    return total if mode == "sum" else total / count.clamp(min=1)
