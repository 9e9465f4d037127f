"""Distinct elements, where values belong in an order, and how many fall where."""

from __future__ import annotations

from typing import Any

from clgrad.creation import arange, tensor, zeros
from clgrad.dispatch import NUMBERS, apply
from clgrad.dtypes import float64, int32, int64, promote_types
from clgrad.errors import ClgradRuntimeError, ClgradTypeError, ShapeError, UnsupportedDTypeError
from clgrad.functional._out import with_out
from clgrad.functional.joining import cat
from clgrad.functional.sorting import positions
from clgrad.layout import wrap_dim
from clgrad.ops.registry import composite
from clgrad.ops.sorting import positions_in_order
from clgrad.tensor import Tensor

# ---- distinct elements ---------------------------------------------------------------------------


def _given(values: Any, inverse: Any, counts: Any, with_inverse: bool, with_counts: bool) -> Any:
    asked = [values, *([inverse] if with_inverse else []), *([counts] if with_counts else [])]
    return asked[0] if len(asked) == 1 else tuple(asked)


def _runs(differs: Any, n: int) -> tuple[Any, Any, Any]:
    """Return where runs of equal elements start, the number of each element's run, their lengths.

    Args:
        differs: for each element but the first, whether it differs from the one before.
    """
    first = cat([differs.new_full((1,), True), differs])
    starts = first.nonzero().reshape(-1)
    number = first.to(int64).cumsum(0) - 1
    ends = cat([starts.narrow(0, 1, starts.shape[0] - 1), starts.new_full((1,), n)])
    return starts, number, ends - starts


def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """Return the distinct elements in order; waits for the device, whose answer has any size.

    Args:
        input: any shape; every NaN is distinct.
        sorted: has no meaning here: they are always in order.
        return_inverse: also which of them each element is, int64, shape of `input`.
        return_counts: also how often each occurs.
        dim: compare whole slices along this dim.
    """
    if dim is not None:
        return apply(unique_dim, (input,), (dim, return_inverse, return_counts, False))
    return apply(unique2, (input,), (return_inverse, return_counts))


def _unique(x: Any, with_inverse: bool, with_counts: bool) -> Any:
    flat, n = x.reshape(-1), x.numel()
    if not n:
        none = zeros(0, dtype=int64, device=x.device)
        return _given(flat.clone(), none.reshape(x.shape), none, with_inverse, with_counts)
    order = positions(flat, 0)
    ordered = flat.gather(0, order)
    starts, number, counts = _runs(_changes(ordered), n)
    inverse = number.new_zeros((n,)).scatter(0, order, number) if with_inverse else None
    if inverse is not None:
        inverse = inverse.reshape(x.shape)
    return _given(ordered.gather(0, starts), inverse, counts, with_inverse, with_counts)


def _changes(ordered: Any) -> Any:
    n = ordered.shape[0]
    return ordered.narrow(0, 1, n - 1) != ordered.narrow(0, 0, n - 1)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """Return the first element of each run of equal ones; see `unique`."""
    if dim is not None:
        return apply(unique_dim, (input,), (dim, return_inverse, return_counts, True))
    return apply(unique_runs, (input,), (return_inverse, return_counts))


def _unique_consecutive(x: Any, with_inverse: bool, with_counts: bool) -> Any:
    flat, n = x.reshape(-1), x.numel()
    if not n:
        none = zeros(0, dtype=int64, device=x.device)
        return _given(flat.clone(), none.reshape(x.shape), none, with_inverse, with_counts)
    starts, number, counts = _runs(_changes(flat), n)
    values = flat.gather(0, starts)
    return _given(values, number.reshape(x.shape), counts, with_inverse, with_counts)


def _slices(x: Any, dim: int, with_inverse: bool, with_counts: bool, as_is: bool) -> Any:
    """Return distinct slices along a dim, ordered by their elements, first to last."""
    d = wrap_dim(dim, x.ndim, "unique")
    moved = x.movedim(d, 0)
    n = moved.shape[0]
    if not x.numel():
        if n:
            raise ClgradRuntimeError(
                "unique: There are 0 sized dimensions, and they aren't selected, so unique cannot "
                "be applied"
            )
        none = zeros(0, dtype=int64, device=x.device)
        return _given(x.clone(), none, none, with_inverse, with_counts)
    rows = moved.reshape((n, -1))
    order = arange(n, device=x.device)
    if not as_is:
        for column in range(rows.shape[1] - 1, -1, -1):  # stable: the first column decides
            order = order.gather(0, positions(rows.select(1, column).gather(0, order), 0))
    ordered = rows.index_select(0, order)
    differs = (ordered.narrow(0, 1, n - 1) != ordered.narrow(0, 0, n - 1)).any(dim=1)
    starts, number, counts = _runs(differs, n)
    values = ordered.index_select(0, starts).reshape((starts.shape[0], *moved.shape[1:]))
    inverse = number.new_zeros((n,)).scatter(0, order, number) if with_inverse else None
    return _given(values.movedim(0, d), inverse, counts, with_inverse, with_counts)


unique2 = composite(
    "unique2", "x", _unique, backward=None, add=False,
    params=(("with_inverse", False), ("with_counts", False)),
)  # fmt: skip
unique_runs = composite(
    "unique_consecutive", "x", _unique_consecutive, backward=None, add=False,
    params=(("with_inverse", False), ("with_counts", False)),
)  # fmt: skip
unique_dim = composite(
    "unique_dim", "x", _slices, backward=None, add=False,
    params=(("dim", 0), ("with_inverse", False), ("with_counts", False), ("as_is", False)),
)  # fmt: skip


_FEW = 64
"""Up to so many elements are compared one by one, more are put in order first."""


@with_out
def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Return which elements occur in `test_elements`; one of both may be a number.

    Args:
        elements, test_elements: any shapes.
        assume_unique: has no meaning here.
        invert: return which do not.
    """
    given = next((x for x in (elements, test_elements) if isinstance(x, Tensor)), None)
    if given is None:
        raise ClgradTypeError("isin: got two numbers. Expected one tensor at least.")
    x, tests = (
        t.detach() if isinstance(t, Tensor) else tensor(t, device=given.device)
        for t in (elements, test_elements)
    )
    if x.dtype is not tests.dtype:
        wider = promote_types(x.dtype, tests.dtype)
        x, tests = x.to(wider), tests.to(wider)
    tests = tests.reshape(-1)
    n = tests.shape[0]
    found: Any
    if n <= _FEW:
        found = (x.unsqueeze(-1) == tests).any(dim=-1)
    else:
        tests = tests.gather(0, positions(tests, 0))
        place = apply(positions_in_order, (tests, x.reshape(-1).contiguous()), (int64, False))
        found = tests.gather(0, place.clamp(max=n - 1)).reshape(x.shape) == x
    return found.logical_not() if invert else found  # type: ignore[no-any-return]  # a Tensor


# ---- places in an order --------------------------------------------------------------------------


@with_out
def searchsorted(
    sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False,
    side: str | None = None, sorter: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return before which element of an ordered sequence each value belongs.

    Args:
        sorted_sequence: shape (*, n), in ascending order along the last dim, or (n).
        input: shape (*, m), or any shape where the sequence has one dim; or a number.
        out_int32: return int32 instead of int64.
        right: behind equal elements instead of before them; `side="right"` is the same.
        sorter: positions that put `sorted_sequence` in order.

    Raises:
        ShapeError: the leading dims differ.
    """
    if side not in (None, "left", "right"):
        raise ClgradRuntimeError(
            f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}"
        )
    if side == "left" and right:
        raise ClgradRuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left "
            "while right was True"
        )
    sequence = sorted_sequence
    if type(input) in NUMBERS:
        if sequence.ndim != 1:
            raise ShapeError(
                "torch.searchsorted(): input value can be a scalar only when boundaries tensor "
                f"dimension is 1, but we got boundaries tensor dim({sequence.ndim})."
            )
        input = tensor(input, dtype=sequence.dtype, device=sequence.device)
    if not sequence.ndim:
        raise ShapeError(
            "torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 "
            "dimension"
        )
    if sequence.ndim > 1 and tuple(sequence.shape[:-1]) != tuple(input.shape[:-1]):
        raise ShapeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 "
            "dimensions of boundaries tensor and input value tensor must match, but we got "
            f"boundaries tensor {list(sequence.shape)} and input value tensor {list(input.shape)}"
        )
    if sequence.dtype is not input.dtype:
        wider = promote_types(sequence.dtype, input.dtype)
        sequence, input = sequence.to(wider), input.to(wider)
    if sorter is not None:
        if tuple(sorter.shape) != tuple(sequence.shape):
            raise ShapeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got "
                f"boundary tensor {list(sequence.shape)} and got sorter tensor "
                f"{list(sorter.shape)}"
            )
        sequence = sequence.gather(-1, sorter)
    static = (int32 if out_int32 else int64, right or side == "right")
    made: Tensor = apply(positions_in_order, (sequence.detach(), input.detach()), static)
    return made


@with_out
def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """Return between which of the ordered `boundaries` (n) each value lies; see `searchsorted`."""
    if boundaries.ndim != 1:
        raise ShapeError(
            f"bucketize: boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})"
        )
    made: Tensor = searchsorted(boundaries, input, out_int32=out_int32, right=right)
    return made


# ---- counts --------------------------------------------------------------------------------------


def _counted(indices: Any, size: int) -> Any:
    """Return how often each of 0 … size - 1 occurs; others are passed over."""
    ordered = indices.gather(0, positions(indices, 0))
    edges = arange(size + 1, dtype=indices.dtype, device=indices.device)
    below = apply(positions_in_order, (ordered, edges), (int64, False))
    return below.narrow(0, 1, size) - below.narrow(0, 0, size)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Return how often each number from 0 on occurs; waits for the device.

    Args:
        input: shape (n), integers of 0 or more.
        weights: shape (n); what each adds instead of 1.
        minlength: least size of the result.

    Raises:
        ClgradRuntimeError: a negative number, or another shape.
    """
    if input.dtype.kind not in "ui":
        raise UnsupportedDTypeError(
            f"bincount: not implemented for {input.dtype.name}. Expected integers."
        )
    if input.ndim != 1:
        raise ClgradRuntimeError(
            "bincount only supports 1-d non-negative integral inputs, got "
            f"{input.dtype.name}{list(input.shape)}."
        )
    if weights is not None and tuple(weights.shape) != tuple(input.shape):
        raise ClgradRuntimeError(
            "bincount: weights should be 1-d and have the same length as input, got "
            f"{list(weights.shape)} for {list(input.shape)}."
        )
    if minlength < 0:
        raise ClgradRuntimeError(f"minlength should be >= 0, got {minlength}")
    x: Any = input.detach().to(int64)
    if not x.shape[0]:
        return zeros(minlength, dtype=int64, device=x.device)
    low, high = (int(v) for v in (x.amin(), x.amax()))
    if low < 0:
        raise ClgradRuntimeError(
            f"bincount only supports 1-d non-negative integral inputs, got {low}."
        )
    size = max(high + 1, minlength)
    if weights is None:
        return _counted(x, size)  # type: ignore[no-any-return]  # a Tensor
    return apply(weighted_counts, (x, weights), (size,))  # type: ignore[no-any-return]  # a Tensor


def _weighted_counts(x: Any, weights: Any, size: int) -> Any:
    dtype = weights.dtype if weights.dtype.name == "float32" else float64
    total: Any = zeros(size, dtype=dtype, device=x.device)
    return total.scatter_add(0, x, weights.to(dtype))


weighted_counts = composite(
    "bincount", "x, weights", _weighted_counts, backward=None, node_name="NotImplemented",
    params=(("size", 0),), add=False,
)  # fmt: skip


@with_out
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Return how many elements fall into each of `bins` equal bins, in the dtype of `input`.

    Args:
        input: floats, any shape; NaN and what lies outside is passed over.
        min, max: the ends of the first and the last bin; where equal, those of the elements.
    """
    x: Any = input.detach().reshape(-1)
    if not x.is_floating_point():
        raise UnsupportedDTypeError(f"histc: not implemented for {x.dtype.name}. Expected floats.")
    if bins <= 0:
        raise ClgradRuntimeError("bins must be > 0")
    low, high = float(min), float(max)
    if low == high and x.shape[0]:
        low, high = float(x.amin()), float(x.amax())
        if low == high:
            low, high = low - 1, high + 1
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise ClgradRuntimeError(f"range of [{low}, {high}] is not finite")
    if low > high:
        raise ClgradRuntimeError("max must be larger than min")
    inside = (x >= low) * (x <= high)
    place = ((x - low) * bins / (high - low)).to(int64)
    place = place.clamp(0, bins - 1)
    place = place + (bins - place) * (inside == False)  # noqa: E712  # of a tensor
    return _counted(place, bins).to(input.dtype)  # type: ignore[no-any-return]  # a Tensor


__all__ = [
    "bincount", "bucketize", "histc", "isin", "searchsorted", "unique", "unique_consecutive",
]  # fmt: skip
METHODS = ("bincount", "histc", "unique", "unique_consecutive")
