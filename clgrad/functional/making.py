"""New tensors computed from numbers: even spacing, identity, grids, indices of triangles.

The plain ones (`zeros`, `full`, `arange`, `tensor`) are in `creation`.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from clgrad import creation, dtypes
from clgrad.creation import (
    as_tensor,
    maker,
    number_of,
    require_grad,
    resolve_device,
    shape_of,
    tensor,
    upload,
    upload_stored,
    wide_float,
)
from clgrad.dispatch import apply
from clgrad.dtypes import as_dtype, get_default_dtype, int64
from clgrad.errors import (
    ClgradRuntimeError,
    ClgradTypeError,
    ClgradValueError,
    DTypeError,
    ShapeError,
)
from clgrad.functional._given import integer
from clgrad.functional.joining import stack
from clgrad.layout import Layout
from clgrad.ops import creation as _ops
from clgrad.ops.meta import meta_of
from clgrad.tensor import Tensor, wrap


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:  # fmt: skip
    """Return `obj` as a tensor: a tensor as it is where possible, anything else as a copy.

    Args:
        obj: a tensor, an array, a number, nested sequences, or bytes.
        dtype, device: default: as `obj` has it.
        copy: whether it must (True) or must not (False) be one.
        requires_grad: whether the result requires grad; default: as `obj`. False detaches it.

    Raises:
        ClgradValueError: `copy=False`, but only a copy is possible.
    """
    if isinstance(obj, Tensor):
        made = as_tensor(obj, dtype, device)
        if copy is False and made is not obj:
            raise ClgradValueError(
                "asarray: can't alias tensor with another dtype or device. Hint: copy=None."
            )
        if copy:
            made = made.clone() if made is obj else made
        if requires_grad is False and made.requires_grad:
            return made.detach()
        if requires_grad and not made.requires_grad:
            require_grad(made)
        return made
    if copy is False:
        raise ClgradValueError(
            "asarray: can't alias arbitrary sequence into a tensor: data is copied to the device. "
            "Hint: copy=None."
        )
    if isinstance(obj, bytes | bytearray | memoryview):
        return frombuffer(
            obj, dtype=dtype or get_default_dtype(), requires_grad=bool(requires_grad)
        )
    return tensor(obj, dtype=dtype, device=device, requires_grad=bool(requires_grad))


def frombuffer(
    buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False,
    device: Any = None,
) -> Tensor:  # fmt: skip
    """Return a tensor of one dimension with a copy of the bytes of a buffer.

    Args:
        buffer: bytes, or what has Python's buffer interface.
        dtype: how its bytes are read.
        count: number of elements; all if negative.
        offset: bytes that are skipped.

    Raises:
        ClgradValueError: the buffer is too short, or its length no multiple of an element.
    """
    kind = as_dtype(dtype)
    view = memoryview(buffer).cast("B")
    size, rest = kind.itemsize, len(view) - offset
    if offset < 0 or rest <= 0:
        raise ClgradValueError(
            f"frombuffer: offset ({offset} bytes) must be non-negative and no greater than buffer "
            f"length ({len(view)} bytes) minus 1"
        )
    if count < 0 and rest % size:
        raise ClgradValueError(
            f"frombuffer: buffer length ({rest} bytes) after offset ({offset} bytes) must be a "
            f"multiple of element size ({size})"
        )
    count = rest // size if count < 0 else count
    if not count or count * size > rest:
        raise ClgradValueError(
            f"frombuffer: requested buffer length ({count} * {size} bytes) after offset ({offset} "
            f"bytes) must not be greater than actual buffer length ({len(view)} bytes), nor 0"
        )
    flat = np.frombuffer(view, kind.numpy, count, offset)
    made = upload_stored(flat.copy(), kind, (count,), resolve_device(device))
    if requires_grad:
        require_grad(made)
    return made


@maker
def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a tensor of shape () with one number, of the default dtype if none is given."""
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    return creation.constant((), number_of("scalar_tensor", "s", s), kind, resolve_device(device))


@maker
def empty_strided(size: Any, stride: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a tensor with these strides, whose elements are whatever the memory holds.

    Args:
        size: its shape.
        stride: elements between neighbours along each dimension, 0 or more.
    """
    shape, strides = shape_of((size,), "empty_strided"), shape_of((stride,), "empty_strided")
    if len(shape) != len(strides):
        raise ShapeError(
            f"empty_strided: mismatch in length of strides and shape: {list(strides)} and "
            f"{list(shape)}."
        )
    layout = Layout(shape, strides)
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    made = creation.empty(layout.span[1], dtype=kind, device=device)
    return wrap(made._storage, meta_of(kind, layout, made.device))


@maker
def empty_permuted(
    size: Any, physical_layout: Any, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return a dense tensor whose dimensions lie in memory in the order of `physical_layout`.

    Args:
        size: its shape.
        physical_layout: the dimensions from the outermost to the innermost in memory.
    """
    shape = shape_of((size,), "empty_permuted")
    order = [int(d) for d in physical_layout]
    if sorted(order) != list(range(len(shape))):
        raise ShapeError(
            f"empty_permuted: got physical layout {order} for {len(shape)} dimensions. Expected "
            "each of them once."
        )
    strides, step = [0] * len(shape), 1
    for d in reversed(order):
        strides[d] = step
        step *= max(shape[d], 1)
    return empty_strided(shape, strides, dtype=dtype, device=device)


# ---- even spacing --------------------------------------------------------------------------------


def _ends(op: str, start: Any, end: Any, steps: Any) -> tuple[float, float, int]:
    for name, value in (("start", start), ("end", end)):
        if isinstance(value, Tensor) and value.ndim:
            raise ShapeError(
                f"{op}: only supports 0-dimensional start and end tensors, but got {name} with "
                f"{value.ndim} dimension(s)."
            )
    if isinstance(steps, bool | float) or not hasattr(steps, "__index__"):
        raise ClgradTypeError(f"{op}(): argument 'steps' must be int, not {type(steps).__name__}.")
    count = int(steps.__index__())
    if count < 0:
        raise ClgradRuntimeError(f"{op}: number of steps must be non-negative, got {count}.")
    return number_of(op, "start", start), number_of(op, "end", end), count


def _spaced(start: float, end: float, steps: int, kind: Any, where: Any) -> Tensor:
    if steps == 1:
        end = start
    real = kind.compute.numpy.type  # the step as the device would have computed it
    step = (real(end) - real(start)) / real(max(steps - 1, 1))
    numbers = (float(start), float(end), float(step), steps - 1)
    made: Tensor = apply(_ops.linspace, numbers, ((steps,), kind), where)
    return made


def _spaced_dtype(op: str, dtype: Any) -> Any:
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    if kind.kind == "b":
        raise DTypeError(f"{op}: \"{op}\" not implemented for 'Bool'. Expected a number dtype.")
    return kind


@maker
def linspace(start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return numbers evenly spaced from `start` to `end`, both included.

    Args:
        start, end: numbers, or tensors of shape ().
        steps: how many numbers.
        dtype: default: the default float; integers are rounded towards zero.

    Returns:
        Shape (steps,).
    """
    kind, where = _spaced_dtype("linspace", dtype), resolve_device(device)
    first, last, count = _ends("linspace", start, end, steps)
    if kind.is_integral:
        first, last = dtypes.number(first, kind), dtypes.number(last, kind)
        return _spaced(first, last, count, wide_float(where), where).to(kind)  # type: ignore[no-any-return]  # a Tensor
    return _spaced(first, last, count, kind, where)


@maker
def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return `base` to powers evenly spaced from `start` to `end`, both included.

    Args:
        start, end: numbers, or tensors of shape ().
        steps: how many powers.
        dtype: default: the default float; integers are rounded towards zero.

    Returns:
        Shape (steps,).
    """
    kind, where = _spaced_dtype("logspace", dtype), resolve_device(device)
    first, last, count = _ends("logspace", start, end, steps)
    computed = kind if kind.is_floating_point else wide_float(where)
    if kind.is_integral:
        first, last = int(first), int(last)
    if computed.compute is dtypes.float32:
        computed = wide_float(where)  # an error of the exponent is one of the result, times log(x)
    powers = _spaced(first, last, count, computed, where)
    root: Any = number_of("logspace", "base", base)
    return (root**powers).to(kind)  # type: ignore[no-any-return]  # a Tensor


# ---- matrices ------------------------------------------------------------------------------------


@maker
def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return ones on the diagonal, zeros elsewhere.

    Args:
        n: number of rows.
        m: number of columns; default: as many.

    Returns:
        Shape (n, m).
    """
    kind, where = get_default_dtype() if dtype is None else as_dtype(dtype), resolve_device(device)
    columns = n if m is None else m
    for name, value in (("n", n), ("m", columns)):
        if value < 0:
            raise ClgradRuntimeError(f"eye: {name} must be greater or equal to 0, got {value}")
    row, column = creation.arange(n, device=where), creation.arange(columns, device=where)
    return row.unsqueeze(1).eq(column).to(kind)  # type: ignore[no-any-return]  # a Tensor


def _triangle(op: str, row: int, col: int, offset: int, dtype: Any, device: Any) -> Tensor:
    kind = int64 if dtype is None else as_dtype(dtype)
    row, col, offset = integer(op, row), integer(op, col), integer(op, offset)
    for name, value in (("row", row), ("col", col)):
        if value < 0:
            raise ClgradRuntimeError(f"{op}: {name} must be non-negative, got {value}")
    if not kind.is_integral:
        raise DTypeError(f'{op}: "{op}" not implemented for {kind.name}. Expected integers.')
    find = np.tril_indices if op == "tril_indices" else np.triu_indices
    return upload(np.stack(find(row, offset, col)), kind, resolve_device(device))


@maker
def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return rows and columns of what is on and below a diagonal of a matrix (row, col).

    They are known without the device, so indexing by them is checked at the call.

    Returns:
        Shape (2, number of elements), in the order of rows.
    """
    return _triangle("tril_indices", row, col, offset, dtype, device)


@maker
def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return rows and columns of what is on and above a diagonal of a matrix (row, col).

    They are known without the device, so indexing by them is checked at the call.

    Returns:
        Shape (2, number of elements), in the order of rows.
    """
    return _triangle("triu_indices", row, col, offset, dtype, device)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return the matrix of powers of `x`.

    Args:
        x: shape (n,).
        N: number of columns; default: n.
        increasing: whether powers rise from column to column; else they fall.

    Returns:
        Shape (n, N).
    """
    if x.ndim != 1:
        raise ShapeError(f"vander: x must be a one-dimensional tensor, got {x.ndim} dimensions.")
    count = x.shape[0] if N is None else N
    if count < 0:
        raise ClgradRuntimeError(f"vander: N must be non-negative, got {count}")
    one = creation.ones_like(x)
    powers = list(itertools.accumulate([x] * (count - 1), lambda a, b: a * b, initial=one))[:count]
    if not powers:
        return creation.empty(x.shape[0], 0, dtype=x.dtype, device=x.device)
    return stack(powers if increasing else powers[::-1], 1)


# ---- names of PyTorch's first years --------------------------------------------------------------


def _typed(name: str, dtype: dtypes.DType) -> Any:
    def make(*args: Any, device: Any = None) -> Tensor:
        return creation.construct(*args, dtype=dtype, device=device)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"Return what `Tensor(…)` would make, in {dtype.name}."
    return make


FloatTensor = _typed("FloatTensor", dtypes.float32)
DoubleTensor = _typed("DoubleTensor", dtypes.float64)
HalfTensor = _typed("HalfTensor", dtypes.float16)
BFloat16Tensor = _typed("BFloat16Tensor", dtypes.bfloat16)
LongTensor = _typed("LongTensor", dtypes.int64)
IntTensor = _typed("IntTensor", dtypes.int32)
ShortTensor = _typed("ShortTensor", dtypes.int16)
CharTensor = _typed("CharTensor", dtypes.int8)
ByteTensor = _typed("ByteTensor", dtypes.uint8)
BoolTensor = _typed("BoolTensor", dtypes.bool_)


# ---- grids ---------------------------------------------------------------------------------------


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Return each vector as a view that varies along a dimension of its own.

    Args:
        tensors: shapes (n,) or (), one by one or as a list; one dtype.
        indexing: `ij` for the dimensions in the order of the vectors, `xy` for the second before
            the first.

    Returns:
        As many tensors, all of the shape of the grid.

    Raises:
        ShapeError: a tensor of more dimensions. DTypeError: the dtypes differ.
    """
    given = (
        list(tensors[0]) if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
    )
    if not given:
        raise ClgradRuntimeError("meshgrid expects a non-empty TensorList")
    for one in given:
        if one.ndim > 1:
            raise ShapeError(
                "meshgrid: Expected 0D or 1D tensor in the tensor list but got shape "
                f"{list(one.shape)}."
            )
        if one.dtype is not given[0].dtype:
            raise DTypeError(
                "meshgrid expects all tensors to have the same dtype, got "
                f"{given[0].dtype.name} and {one.dtype.name}."
            )
    if indexing not in ("ij", "xy"):
        raise ClgradRuntimeError(
            f'meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    swap = indexing == "xy" and len(given) > 1
    flat = [one.reshape(-1) for one in given]
    if swap:
        flat[0], flat[1] = flat[1], flat[0]
    shape = [one.shape[0] for one in flat]
    grids = []
    for d, one in enumerate(flat):
        wide = one.view([-1 if k == d else 1 for k in range(len(flat))]).expand(shape)
        grids.append(wide)
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Return every combination of an element of each vector, one in a row.

    Args:
        tensors: shapes (n₁,), (n₂,), …

    Returns:
        Shape (n₁ n₂ ⋯, number of vectors); one vector is returned as it is.
    """
    for one in tensors:
        if one.ndim != 1:
            raise ShapeError(f"cartesian_prod: Expect a 1D vector, but got shape {list(one.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([grid.reshape(-1) for grid in meshgrid(*tensors)], 1)


__all__ = [
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor",
    "HalfTensor", "IntTensor", "LongTensor", "ShortTensor", "asarray", "cartesian_prod",
    "empty_permuted", "empty_strided", "eye", "frombuffer", "linspace", "logspace", "meshgrid",
    "scalar_tensor", "tril_indices", "triu_indices", "vander",
]  # fmt: skip
METHODS: list[str] = []
