"""Arithmetic on shapes and strides: broadcasting, sizes left open, merging dimensions.

Plain tuples of ints go in and come out; `layout` gives them a name and an offset. Floor: above
`errors`, below `layout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import gcd, prod
from operator import index
from typing import Any

from clgrad.errors import ClgradIndexError, ShapeError

Shape = tuple[int, ...]


def wrap_dim(dim: int, ndim: int, op: str) -> int:
    """Return `dim` counted from the front; a 0-d tensor takes 0 and -1, as in PyTorch.

    Raises:
        ClgradIndexError: `dim` is not in `[-ndim, ndim - 1]`.
    """
    bound = max(ndim, 1)
    if -bound <= dim < bound:
        return dim % bound
    raise ClgradIndexError(
        f"{op}: Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], "
        f"but got {dim}). The tensor has {ndim} dimension{'' if ndim == 1 else 's'}."
    )


def dims_of(dim: Any) -> Any:
    """Return one dim or several as numbers: an int, a tuple of them, or None.

    Raises:
        TypeError: what is given stands for no integer.
    """
    if dim is None or type(dim) is int:
        return dim
    if hasattr(dim, "__index__"):  # of NumPy, or a tensor of one integer
        return index(dim)
    return tuple([index(d) for d in dim])


@lru_cache(maxsize=4096)
def _broadcast(shapes: tuple[Shape, ...], op: str) -> Shape:
    ndim = max((len(s) for s in shapes), default=0)
    result = [1] * ndim
    owner: list[Shape] = [()] * ndim  # the shape that fixed each size
    for shape in shapes:
        for d, size in enumerate(shape, ndim - len(shape)):
            if size == 1 or size == result[d]:
                continue
            if result[d] != 1:
                raise ShapeError(
                    f"{op}: The size of tensor a ({result[d]}) must match the size of tensor b "
                    f"({size}) at non-singleton dimension {d}, for shapes {owner[d]} and {shape}. "
                    "Expected sizes, aligned from the right, to be equal or 1. "
                    "Hint: insert dimensions of size 1 with unsqueeze."
                )
            result[d], owner[d] = size, shape
    return tuple(result)


def broadcast_shapes(*shapes: Shape, op: str = "broadcast_shapes") -> Shape:
    """Return the shape to which all `shapes` broadcast.

    Raises:
        ShapeError: two sizes of one dimension differ and neither is 1.
    """
    return _broadcast(shapes, op)


def infer_size(shape: Sequence[int], numel: int, op: str = "view") -> Shape:
    """Return `shape` with its -1, if it has one, replaced so that it holds `numel` elements.

    Raises:
        ShapeError: more than one -1, another negative size, an ambiguous -1, or a wrong total.
    """
    shape = tuple(shape)
    holes = shape.count(-1)
    negative = [s for s in shape if s < -1]
    if holes > 1 or negative:
        fact = f"invalid shape dimension {negative[0]}" if negative else "more than one -1"
        raise ShapeError(
            f"{op}: {fact} in shape {list(shape)}: only one dimension can be inferred. "
            "Expected sizes of 0 or more and at most one -1."
        )
    known = prod(s for s in shape if s != -1)
    if holes and known == 0 and numel == 0:
        raise ShapeError(
            f"{op}: cannot reshape tensor of 0 elements into shape {list(shape)} because the "
            "unspecified dimension size -1 can be any value and is ambiguous. Expected every "
            "size. Hint: write the size instead of -1."
        )
    if known != numel and not (holes and known and numel % known == 0):
        raise ShapeError(
            f"{op}: shape '{list(shape)}' is invalid for input of size {numel}. "
            f"Expected sizes whose product is {'a divisor of ' if holes else ''}{numel}."
        )
    return tuple(numel // known if s == -1 else s for s in shape) if holes else shape


@lru_cache(maxsize=4096)
def contiguous_strides(shape: Shape) -> Shape:
    """Return row-major strides; a dimension of size 0 counts as 1, as in PyTorch."""
    strides = [1] * len(shape)
    for d in range(len(shape) - 2, -1, -1):
        strides[d] = strides[d + 1] * max(shape[d + 1], 1)
    return tuple(strides)


@lru_cache(maxsize=4096)
def is_contiguous_strides(shape: Shape, strides: Shape) -> bool:
    """Whether `strides` are row-major where it matters: size 1 may have any, empty may all."""
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size == 0:
            return True
        if size != 1 and stride != expected:
            # an empty tensor is contiguous whatever its strides are
            return 0 in shape
        expected *= size
    return True


@lru_cache(maxsize=4096)
def may_overlap(shape: Shape, strides: Shape) -> bool:
    """Whether two coordinates may hit one element; see `Layout.has_overlap`."""
    dims = sorted((abs(s), n) for n, s in zip(shape, strides, strict=True) if n > 1)
    if 0 in shape or not dims:
        return False
    if dims[0][0] == 0:
        return True
    reach = 0
    for stride, size in dims:
        if stride <= reach:
            break
        reach += (size - 1) * stride
    else:
        return False
    if len(dims) > 2:
        return True
    (s, n), (t, m) = dims
    # i steps of s first meet j steps of t at i = t/g, j = s/g
    g = gcd(s, t)
    return t // g < n and s // g < m


def merge_dims(shape: Shape, strides: tuple[Shape, ...]) -> tuple[Shape, tuple[Shape, ...]]:
    """Merge neighbouring dimensions that all rows of `strides` step through as one.

    Dimensions of size 1 are dropped; an empty shape gives `(0,)`.
    """
    if 0 in shape:
        return (0,), ((0,),) * len(strides)
    sizes: list[int] = []
    kept: list[Shape] = []  # one column of strides for each size
    for size, *column in zip(shape, *strides, strict=True):
        if size == 1:
            continue
        if sizes and all(o == i * size for o, i in zip(kept[-1], column, strict=True)):
            sizes[-1] *= size
            kept[-1] = tuple(column)
        else:
            sizes.append(size)
            kept.append(tuple(column))
    rows = tuple(zip(*kept, strict=True)) if kept else ((),) * len(strides)
    return tuple(sizes), rows


@lru_cache(maxsize=8192)
def merge_dims_cached(
    shape: Shape, strides: tuple[Shape, ...], descending: bool
) -> tuple[Shape, tuple[Shape, ...]]:
    """Do `merge_dims`, first sorting by falling strides if `descending`."""
    if descending and 0 not in shape:
        columns = [c for c in zip(shape, *strides, strict=True) if c[0] != 1]
        columns.sort(key=lambda c: c[1:], reverse=True)
        shape = tuple(c[0] for c in columns)
        strides = tuple(tuple(c[i + 1] for c in columns) for i in range(len(strides)))
    return merge_dims(shape, strides)


@lru_cache(maxsize=4096)
def view_strides(shape: Shape, strides: Shape, new: Shape) -> Shape | None:
    """Return strides that read the same elements as shape `new`, or None if none do."""
    if 0 in shape:
        return contiguous_strides(new)
    merged, (steps,) = merge_dims(shape, (strides,))
    result = [1] * len(new)
    d = len(new) - 1
    # each run of memory, from the right, must be filled by whole new dimensions
    for count, step in zip(reversed(merged), reversed(steps), strict=True):
        filled = 1
        while d >= 0 and (filled < count or new[d] == 1):
            result[d] = filled * step
            filled *= new[d]
            d -= 1
        if filled != count:
            return None
    return tuple(result)


def digits_of(value: int, radix: Shape) -> list[int] | None:
    """Return the digits of `value`, most significant first; None where it does not fit."""
    digits = [0] * len(radix)
    for d in range(len(radix) - 1, -1, -1):
        value, digits[d] = divmod(value, radix[d])
    return None if value else digits


Steps = tuple[tuple[int, int], ...]


@lru_cache(maxsize=8192)
def never_meet(a: Steps, b: Steps, distance: int) -> bool:
    """Prove that two sets of elements share none; False where no proof is found.

    Args:
        a: (stride, size) of each dimension of the first set, which begins at element 0.
        b: the same of the second set, which begins at element `distance`.

    Math:
        Modulo a period, dimensions that step by its multiples stand still, and what remains of
        the sets can only meet at shifts congruent to `distance`. If the remains never meet at
        any of these, the sets do not. Each level drops a dimension, so the depth is bounded.
    """
    reach_a, reach_b = _reach(a), _reach(b)
    if not -reach_b <= distance <= reach_a:
        return True
    strides = {s for s, _ in a + b}
    if not strides or distance % gcd(*strides):
        return bool(strides)
    for period in sorted(strides, reverse=True):
        rest_a = tuple([d for d in a if d[0] % period])
        rest_b = tuple([d for d in b if d[0] % period])
        arc_a, arc_b = _reach(rest_a), _reach(rest_b)
        if arc_a + arc_b >= 4 * period:  # too many shifts: another period may say it shorter
            continue
        first = (distance + arc_b) % period - arc_b
        if all(never_meet(rest_a, rest_b, s) for s in range(first, arc_a + 1, period)):
            return True
    return False


def _reach(steps: Steps) -> int:
    return sum((n - 1) * s for s, n in steps)
