"""Products of matrices and vectors, made of `mm` and `bmm`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from clgrad.dispatch import NUMBERS, apply, operand
from clgrad.errors import ClgradRuntimeError, DTypeError, ShapeError
from clgrad.functional._given import tensors as as_list
from clgrad.functional._out import with_out
from clgrad.functional.joining import stack
from clgrad.functional.shaping import expand, reshape, select, unsafe_view, unsqueeze
from clgrad.layout import broadcast_shapes, wrap_dim
from clgrad.ops import contraction as _ops
from clgrad.ops.registry import REQUIRED, composite
from clgrad.tensor import Tensor

__all__ = [
    "bmm", "chain_matmul", "cross", "dot", "ger", "kron", "matmul", "mm", "mv", "outer",
    "vdot",
]  # fmt: skip
METHODS = (
    "bmm", "cross", "dot", "ger", "kron", "matmul", "mm", "mv", "outer", "vdot",
)  # fmt: skip


@with_out
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return the matrix product by PyTorch's rules.

    Args:
        input: shape (k,), (m, k) or (*, m, k).
        other: shape (k,), (k, n) or (*, k, n); batch dims broadcast.

    Returns:
        Shape (*, m, n); dims that a vector lacked are left out.

    Raises:
        ShapeError: a 0-d operand, inner sizes that differ, or batch dims that do not broadcast.
        DTypeError: the dtypes differ.
    """
    a, b = operand("matmul", input), operand("matmul", other)
    if type(a) in NUMBERS or type(b) in NUMBERS or not a.ndim or not b.ndim:
        raise ShapeError(
            "matmul: both arguments to matmul need to be at least 1D. Hint: use * for scalars."
        )
    if a.ndim == 2 and b.ndim == 2:
        product: Tensor = apply(_ops.mm, (a, b))
        return product
    if b.ndim == 1 and a.ndim < 3:
        return _dot("dot", a, b) if a.ndim == 1 else _times_vector(a, b)
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


def check_ndim(op: str, name: str, x: Any, ndim: int) -> None:
    """Raise `ShapeError` where an operand has another number of dims."""
    have = x._meta.ndim
    if have != ndim:
        what = {1: "a vector", 2: "a matrix", 3: "a 3D tensor"}[ndim]
        raise ShapeError(
            f"{op}: {name} must be {what}, got {have}D tensor. Hint: use matmul() where any number "
            "of dimensions may come."
        )


@with_out
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the product of two matrices; raises `ShapeError` for other shapes."""
    check_ndim("mm", "self", input, 2)
    check_ndim("mm", "mat2", mat2, 2)
    product: Tensor = apply(_ops.mm, (input, mat2))
    return product


def check_batches(op: str, a: Tensor, b: Tensor) -> None:
    """Raise `ShapeError` where these are no batches, of one size, of matrices."""
    check_ndim(op, "batch1", a, 3)
    check_ndim(op, "batch2", b, 3)
    if a._meta.shape[0] != b._meta.shape[0]:
        raise ShapeError(
            f"{op}: batch1 and batch2 must have same number of batches, got {a._meta.shape[0]} and "
            f"{b._meta.shape[0]}. Hint: matmul() broadcasts."
        )


@with_out
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the products of two batches of matrices.

    Args:
        input: shape (b, m, k). mat2: shape (b, k, n).
    """
    check_batches("bmm", input, mat2)
    product: Tensor = apply(_ops.bmm, (input, mat2))
    return product


# ---- vectors -----------------------------------------------------------------------------------


def _mv_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    matrix = outer(g, ctx.saved("v")) if ctx.needs("m") else None
    return matrix, ctx.saved("m").t().mv(g) if ctx.needs("v") else None


_mv_op = composite(
    "mv", "m, v", lambda m, v: unsafe_view(apply(_ops.mm, (m, unsqueeze(v, 1))), m._meta.shape[:1]),
    backward=_mv_back, saves={"m": ("v",), "v": ("m",)}, add=False,
)  # fmt: skip


def _times_vector(m: Tensor, v: Tensor) -> Tensor:
    made: Tensor = apply(_mv_op, (m, v))
    return made


@with_out
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Return the product of a matrix (m, k) and a vector (k,)."""
    check_ndim("mv", "self", input, 2)
    check_ndim("mv", "vec", vec, 1)
    return _times_vector(input, vec)


def _dot_forward(a: Tensor, b: Tensor) -> Any:
    return (a * b).sum(dtype=a._meta.dtype)


def _dot_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    return (
        g * ctx.saved("b") if ctx.needs("a") else None,
        g * ctx.saved("a") if ctx.needs("b") else None,
    )


_DOTS = {
    name: composite(
        name, "a, b", _dot_forward, backward=_dot_back, saves={"a": ("b",), "b": ("a",)}, add=False
    )
    for name in ("dot", "vdot")
}


def _dot(name: str, a: Tensor, b: Tensor) -> Tensor:
    if a._meta.dtype is not b._meta.dtype:
        raise DTypeError(
            f"{name}: expected both vectors to have same dtype, but found {a.dtype.name} and "
            f"{b.dtype.name}. Hint: cast one with .to(dtype)."
        )
    if a._meta.shape != b._meta.shape:
        raise ShapeError(
            f"{name}: inconsistent tensor size, expected tensor {list(a._meta.shape)} and src "
            f"{list(b._meta.shape)} to have the same number of elements."
        )
    made: Tensor = apply(_DOTS[name], (a, b))
    return made


def _check_vectors(name: str, a: Tensor, b: Tensor) -> None:
    if a._meta.ndim != 1 or b._meta.ndim != 1:
        raise ShapeError(
            f"{name}: 1D tensors expected, but got {a._meta.ndim}D and {b._meta.ndim}D tensors."
        )


@with_out
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Return the sum of the products of the elements of two vectors of one length."""
    _check_vectors("dot", input, tensor)
    return _dot("dot", input, tensor)


@with_out
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """Return `dot(input, other)`: no dtype here is complex."""
    _check_vectors("vdot", input, other)
    return _dot("vdot", input, other)


@with_out
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Return the products of each element of a vector with each of another, shape (n, m)."""
    for name, one in (("self", input), ("vec2", vec2)):
        if one._meta.ndim != 1:
            raise ShapeError(f"outer: Expected 1-D argument {name}, but got {one._meta.ndim}-D.")
    return reshape(input, (input._meta.numel, 1)) * vec2


ger = outer


# ---- several -----------------------------------------------------------------------------------


@with_out
def chain_matmul(*matrices: Any) -> Tensor:
    """Return the product of matrices, in the order that takes the fewest multiplications."""
    found = as_list("chain_matmul", matrices)
    for one in found:
        check_ndim("chain_matmul", "each operand", one, 2)
    return found[0] if len(found) == 1 else multi_dot(found)


@with_out
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """Return the product of two or more matrices, in the order of fewest multiplications.

    Args:
        tensors: shapes (m, k), (k, n), …; the first and the last may be vectors.

    Raises:
        ClgradRuntimeError: fewer than two. ShapeError: shapes that cannot be multiplied.
    """
    found = list(tensors)
    if len(found) < 2:
        raise ClgradRuntimeError("multi_dot: expected at least 2 tensors but got fewer.")
    if len(found) == 2:
        return matmul(found[0], found[1])
    for k, one in enumerate(found):
        ends = k in (0, len(found) - 1)
        if one._meta.ndim != 2 and not (ends and one._meta.ndim == 1):
            raise ShapeError(
                f"multi_dot: tensor {k} must be {'1D or 2D' if ends else '2D'} but got "
                f"{one._meta.ndim}D."
            )
    left, right = found[0]._meta.ndim == 1, found[-1]._meta.ndim == 1
    shape = [n for n, drop in ((found[0]._meta.shape[0], left), (found[-1]._meta.shape[-1], right))
             if not drop]  # fmt: skip
    if left:
        found[0] = unsqueeze(found[0], 0)
    if right:
        found[-1] = unsqueeze(found[-1], 1)
    sizes = [found[0]._meta.shape[0], *[m._meta.shape[1] for m in found]]
    for k, (a, b) in enumerate(itertools.pairwise(found)):
        if a._meta.shape[1] != b._meta.shape[0]:
            raise ShapeError(
                f"multi_dot: tensors {k} and {k + 1} with shapes {list(a._meta.shape)} and "
                f"{list(b._meta.shape)} cannot be multiplied."
            )
    product = _chained(found, _splits(sizes), 0, len(found) - 1)
    return reshape(product, shape) if left or right else product


def _splits(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Return where to cut each run of matrices, `sizes[k]` by `sizes[k + 1]` each.

    Source: matrix-chain order by dynamic programming (Cormen et al., Introduction to Algorithms).
    """
    count = len(sizes) - 1
    cost: dict[tuple[int, int], int] = {(k, k): 0 for k in range(count)}
    best: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i, j], best[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )
    return best


def _chained(found: Sequence[Tensor], best: dict[tuple[int, int], int], i: int, j: int) -> Tensor:
    if i == j:
        return found[i]
    k = best[i, j]
    made: Tensor = mm(_chained(found, best, i, k), _chained(found, best, k + 1, j))
    return made


def _cross(a: Tensor, b: Tensor, dim: int) -> Tensor:
    x, y, z = (select(a, dim, k) for k in range(3))
    u, v, w = (select(b, dim, k) for k in range(3))
    return stack([y * w - z * v, z * u - x * w, x * v - y * u], dim)


def _cross_back(ctx: Any, g: Any) -> tuple[Any, Any]:
    d = ctx.param("dim")
    return (
        linalg_cross(ctx.saved("b"), g, dim=d) if ctx.needs("a") else None,
        linalg_cross(g, ctx.saved("a"), dim=d) if ctx.needs("b") else None,
    )


_cross_op = composite(
    "linalg_cross", "a, b", _cross, backward=_cross_back, params=(("dim", REQUIRED),), add=False,
    saves={"a": ("b",), "b": ("a",)},
)  # fmt: skip


@with_out
def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Return the cross products of vectors of three elements along `dim`; other dims broadcast.

    Raises:
        ShapeError: a size other than 3, or numbers of dims that differ.
    """
    a, b = input._meta.shape, other._meta.shape
    if len(a) != len(b):
        raise ShapeError(
            "cross: inputs must have the same number of dimensions, got shapes "
            f"{list(a)} and {list(b)}."
        )
    d = wrap_dim(dim, len(a), "cross")
    if not a or a[d] != 3 or b[d] != 3:
        raise ShapeError(
            f"cross: inputs dimension {dim} must have length 3. Got shapes {list(a)} and {list(b)}."
        )
    shape = broadcast_shapes(a, b, op="cross")
    made: Tensor = apply(_cross_op, (expand(input, shape), expand(other, shape)), (d - len(a),))
    return made


@with_out
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """Return cross products along `dim`, by default the first dim of size 3; see `linalg.cross`."""
    if dim is None:
        shape = input._meta.shape
        dim = next((d for d, n in enumerate(shape) if n == 3), None)
        if dim is None:
            raise ShapeError(f"cross: no dimension of size 3 in input, shape {list(shape)}.")
    return linalg_cross(input, other, dim=dim)


@with_out
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Return the Kronecker product: `other` scaled by each element of `input`, side by side."""
    a, b = input._meta.shape, other._meta.shape
    ndim = max(len(a), len(b))
    left, right = (1,) * (ndim - len(a)) + a, (1,) * (ndim - len(b)) + b
    product = reshape(input, [n for size in left for n in (size, 1)]) * reshape(
        other, [n for size in right for n in (1, size)]
    )
    return unsafe_view(product, tuple([n * m for n, m in zip(left, right, strict=True)]))
