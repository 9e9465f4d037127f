"""Small functions that PyTorch has beside the large families: twins of methods, norms of slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad import writing
from clgrad.dispatch import apply
from clgrad.errors import ClgradRuntimeError, ClgradTypeError, ClgradValueError, ShapeError
from clgrad.functional._arguments import numpy_names
from clgrad.functional._given import integer, integers
from clgrad.functional._out import with_out
from clgrad.functional.arithmetic import floor_divide, remainder
from clgrad.functional.finding import nonzero
from clgrad.functional.padding import constant_pad_nd
from clgrad.functional.shaping import clone, narrow, reshape
from clgrad.layout import wrap_dim
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor

__all__ = [
    "detach", "detach_", "fill", "fill_", "nonzero_static", "renorm", "unravel_index", "zero_",
]  # fmt: skip
METHODS = ("nonzero_static", "renorm", "renorm_", "sum_to_size")


def detach(input: Tensor) -> Tensor:
    """Return a tensor over the same memory that requires no gradient."""
    return input.detach()


def detach_(input: Tensor) -> Tensor:
    """Make a tensor a leaf that requires no gradient, and return it."""
    return input.detach_()


def fill(input: Tensor, value: Any) -> Tensor:
    """Return a tensor of the shape and dtype of `input` with one value everywhere."""
    return writing.fill_(clone(input), value)


def fill_(input: Tensor, value: Any) -> Tensor:
    """Write one value over `input`, and return it."""
    return writing.fill_(input, value)


def zero_(input: Tensor) -> Tensor:
    """Write zeros over `input`, and return it."""
    return writing.zero_(input)


def sum_to_size(input: Tensor, *args: Any, size: Any = None) -> Tensor:
    """Return `input` summed over what broadcasting from a size would repeat.

    Raises:
        ShapeError: that size does not broadcast to the shape of `input`.
    """
    want, have = integers("sum_to_size", args, size), input._meta.shape
    lead = len(have) - len(want)
    if lead < 0 or any(n not in (1, m) for n, m in zip(want, have[lead:], strict=True)):
        raise ShapeError(f"sum_to_size: size {list(want)} is not expandable to size {list(have)}.")
    if not want:
        total: Tensor = input.sum()
        return total
    dims = [*range(lead), *[lead + d for d, n in enumerate(want) if n != have[lead + d]]]
    made: Tensor = input.sum(dim=dims, keepdim=True) if dims else input
    return reshape(made, want) if lead else made


@with_out
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Return `input` with each entry along `dim` scaled down to a norm of at most `maxnorm`.

    Raises:
        ShapeError: fewer than two dims. ClgradRuntimeError: p or maxnorm is not positive.
    """
    if p <= 0 or maxnorm < 0:
        raise ClgradRuntimeError(f"renorm: non-positive-norm or negative maxnorm: {p}, {maxnorm}.")
    if input._meta.ndim < 2:
        raise ShapeError(
            f"renorm: input needs at least 2 dimensions, got {input._meta.ndim} dimensions."
        )
    d = wrap_dim(dim, input._meta.ndim, "renorm")
    others = [k for k in range(input._meta.ndim) if k != d]
    norms: Any = input.norm(p, dim=others, keepdim=True)
    made: Tensor = input * apply(OPS["where"], (norms > maxnorm, maxnorm / (norms + 1e-7), 1.0))
    return made


@numpy_names
def renorm_(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Do `renorm` in place."""
    return writing.copy_(input, renorm(clone(input), p, dim, maxnorm))


@with_out
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """Return `size` rows of coordinates at which `input` is not zero, filled up with a number.

    Raises:
        ClgradRuntimeError: a negative size.
    """
    if integer("nonzero_static", size) < 0:
        raise ClgradRuntimeError(f"nonzero_static: size must be non-negative, got {size}.")
    found = nonzero(input)
    rows = found._meta.shape[0]
    if rows >= size:
        return clone(narrow(found, 0, 0, size))
    return constant_pad_nd(found, (0, 0, 0, size - rows), fill_value)


def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Return the coordinates, an index per dim, of positions in a contiguous tensor of a shape.

    Raises:
        ClgradValueError: a position that the host knows to be out of range, or no sizes.
    """
    sizes = (shape,) if isinstance(shape, int) else integers("unravel_index", (shape,))
    if min(sizes, default=0) < 0:
        raise ClgradValueError(
            f"unravel_index: got shape {list(sizes)}. Expected sizes of 0 or more."
        )
    if indices._meta.dtype.is_floating_point or indices._meta.dtype.kind == "b":
        raise ClgradTypeError(
            f"unravel_index: expected 'indices' to be integer dtype, but got {indices.dtype.name}."
        )
    made: list[Tensor] = []
    for n in reversed(sizes):
        made.append(remainder(indices, n))
        indices = floor_divide(indices, n)
    return tuple(reversed(made))
