"""What functions of matrices share: checks of operands, and results laid out in one row."""

from __future__ import annotations

from math import prod
from typing import Any

from clgrad.batching import whole
from clgrad.dtypes import float32, float64
from clgrad.errors import DTypeError, LinAlgError, ShapeError
from clgrad.functional._given import check_tensor
from clgrad.functional.shaping import expand, unsafe_view
from clgrad.layout import broadcast_shapes
from clgrad.tensor import Tensor

Shape = tuple[int, ...]


def check_matrices(name: str, *given: Tensor) -> None:
    """Check that these are batches of matrices of float32 or float64, of one dtype.

    Raises:
        ShapeError: fewer than two dims. DTypeError: another dtype, or several.
    """
    for x in given:
        check_tensor(name, x, "A")
        if x.ndim < 2:
            raise ShapeError(
                f"{name}: The input tensor A must have at least 2 dimensions. Got {x.ndim}. "
                "Hint: x.unsqueeze(-1) makes a vector a matrix."
            )
    check_dtypes(name, *given)


def check_dtypes(name: str, *given: Tensor) -> None:
    """Check that these are of float32 or float64, all of one dtype; raises `DTypeError`."""
    for x in given:
        if x.dtype not in (float32, float64):
            what = "Low precision dtypes not supported" if x.is_floating_point() else (
                "Expected a floating point or complex tensor as input"
            )  # fmt: skip
            raise DTypeError(f"{name}: {what}. Got {x.dtype.name}. Hint: x.float().")
        if x.dtype is not given[0].dtype:
            raise DTypeError(
                f"{name}: Expected tensors of one dtype, got {given[0].dtype.name} and "
                f"{x.dtype.name}. Hint: cast one with .to()."
            )


def check_square(name: str, *given: Tensor) -> None:
    """Do `check_matrices`; raises `ShapeError` where the first is not square."""
    check_matrices(name, *given)
    m, n = given[0]._meta.shape[-2:]
    if m != n:
        raise ShapeError(
            f"{name}: A must be batches of square matrices, but they are {m} by {n} matrices."
        )


def is_vector(a: Tensor, b: Tensor) -> bool:
    """Return whether the right side `b` of `a x = b` is a batch of vectors."""
    return b.ndim == 1 or (a.ndim - 1 == b.ndim and a._meta.shape[:-1] == b._meta.shape)


def broadcast_batches(name: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return both with the same batch dims."""
    left, right = a._meta.shape, b._meta.shape
    batch = broadcast_shapes(left[:-2], right[:-2], op=name)
    return expand(a, (*batch, *left[-2:])), expand(b, (*batch, *right[-2:]))


def parts(packed: Tensor, *shapes: Shape) -> list[Any]:
    """Return the results that lie one after the other in the last dim, in shapes of their own."""
    batch = packed._meta.shape[:-1]
    found, at = [], 0
    for shape in shapes:
        size = prod(shape)
        found.append(unsafe_view(packed.narrow(-1, at, size).clone(), (*batch, *shape)))
        at += size
    return found


def first_failure(info: Tensor) -> tuple[str, int] | None:
    """Return which matrix of a batch failed, as text, and where in it; this waits for the device.

    `info` holds 0 for matrices that did not.
    """
    numbers = whole(info).reshape(-1).tolist()
    for k, number in enumerate(numbers):
        if number:
            return (f"(Batch element {k}): " if info.ndim else ""), int(number)
    return None


def check_finite(name: str, x: Tensor) -> None:
    """Raise `LinAlgError` where an element is inf or NaN; this waits for the device."""
    if bool(whole(x).isfinite().logical_not().any()):
        raise LinAlgError(
            f"{name}: The algorithm failed to converge because the input matrix contained "
            "non-finite values."
        )
