"""Matrix products of any number of dimensions, made of `mm` and `bmm`."""

from __future__ import annotations

from clgrad.dispatch import NUMBERS, apply, operand
from clgrad.errors import ShapeError
from clgrad.functional.shaping import unsafe_view
from clgrad.ops import contraction as _ops
from clgrad.tensor import Tensor

__all__ = ["bmm", "matmul", "mm"]
METHODS = ("bmm", "matmul", "mm")


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return the matrix product by PyTorch's rules.

    Args:
        a: shape (k,), (m, k) or (*, m, k).
        b: shape (k,), (k, n) or (*, k, n); batch dims broadcast.

    Returns:
        Shape (*, m, n); dims that a vector lacked are left out.

    Raises:
        ShapeError: a 0-d operand, inner sizes that differ, or batch dims that do not broadcast.
        DTypeError: the dtypes differ.
    """
    a, b = operand("matmul", a), operand("matmul", b)
    if type(a) in NUMBERS or type(b) in NUMBERS or not a.ndim or not b.ndim:
        raise ShapeError(
            "matmul: both arguments to matmul need to be at least 1D. Hint: use * for scalars."
        )
    if a.ndim == 2 and b.ndim == 2:
        product: Tensor = apply(_ops.mm, (a, b))
        return product
    left = a.unsqueeze(0) if a.ndim == 1 else a
    right = b.unsqueeze(1) if b.ndim == 1 else b
    if left.ndim == 2 and right.ndim == 2:
        product = apply(_ops.mm, (left, right))
    elif right.ndim == 2 and left.shape[-1] == right.shape[0]:
        # one tall matrix instead of a batch that all multiplies by the same one
        rows = apply(_ops.mm, (left.reshape(left.shape[:-1].numel(), left.shape[-1]), right))
        product = unsafe_view(rows, (*left.shape[:-1], right.shape[1]))
    else:
        product = apply(_ops.bmm, (left, right))
    shape = tuple(product.shape)
    if b.ndim == 1:
        shape = shape[:-1]
    if a.ndim == 1:
        shape = shape[:-1] if b.ndim == 1 else (*shape[:-2], shape[-1])
    return product if len(shape) == product.ndim else unsafe_view(product, shape)


def mm(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of two matrices; raises `ShapeError` for other shapes."""
    if a.ndim != 2 or b.ndim != 2:
        raise ShapeError(
            f"mm: self must be a matrix and mat2 too, got {a.ndim}D and {b.ndim}D tensors. "
            "Hint: use matmul()."
        )
    product: Tensor = apply(_ops.mm, (a, b))
    return product


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """Return the products of two batches of matrices; batch dims broadcast."""
    if a.ndim < 2 or b.ndim < 2:
        raise ShapeError(
            f"bmm: got tensors of {a.ndim} and {b.ndim} dimensions. Expected matrices or batches "
            "of them. Hint: use matmul() where vectors take part."
        )
    product: Tensor = apply(_ops.bmm, (a, b))
    return product
