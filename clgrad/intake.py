"""What users hand over, as an array: numbers, nested sequences, NumPy arrays, buffers.

Which dtype a tensor gets is PyTorch's rule: arrays and NumPy scalars keep theirs, Python's bool,
int and float stand for bool, int64 and the default float, and what a sequence holds is promoted.
Nothing here makes a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from clgrad import dtypes
from clgrad.dtypes import DType, bfloat16, bool_, int64
from clgrad.errors import ClgradRuntimeError, ClgradTypeError, ClgradValueError, DTypeError
from clgrad.expr.evaluate import bfloat16_bits
from clgrad.tensor import Tensor

Array = Any

_PLAIN = frozenset((bool, int, float))


def complex_refused(op: str) -> DTypeError:
    """Return the error for complex numbers, which are not there."""
    return DTypeError(
        f"{op}: complex numbers are not supported. Expected real ones. "
        "Hint: keep real and imaginary parts in two tensors."
    )


def read(op: str, data: Any, wanted: DType | None) -> tuple[Array, DType]:
    """Return `data` as an array and the dtype of the tensor to make of it.

    Args:
        op: the function, for error texts.
        data: anything but a tensor.
        wanted: the dtype that the user asked for, or None.

    Raises:
        ClgradTypeError: strings, arrays of objects, numbers beside sequences.
        ClgradRuntimeError: something else that has no dtype; a number that overflows `wanted`.
        ClgradValueError: sequences of different lengths, integers of more than 64 bits.
        DTypeError: complex numbers.
    """
    if not isinstance(data, np.ndarray | np.generic) and hasattr(data, "__array__"):
        data = np.asarray(data)
    if isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
        found = _array_dtype(op, array)
        return array, wanted or found
    found_in: set[DType] = set()
    listed = _scan(op, data, found_in)
    array = _rectangle(op, listed)
    if wanted is None and array.dtype.kind in "Ouf" and found_in and found_in <= {int64, bool_}:
        raise ClgradValueError(
            f"{op}: Overflow when unpacking long long: an integer has more than 64 bits. "
            "Hint: pass dtype=clgrad.float32, or uint64."
        )
    dtype = wanted
    if dtype is None:
        dtype = dtypes.get_default_dtype()
        if array.size and found_in:
            first, *others = found_in
            dtype = first
            for other in others:
                dtype = dtypes.promote_types(dtype, other)
    elif array.dtype.kind in "iufO":
        array = _fitting(array, dtype)
    return array, dtype


def _array_dtype(op: str, array: Array) -> DType:
    if array.dtype.kind == "c":
        raise complex_refused(op)
    if array.dtype.kind not in "biuf":
        raise ClgradTypeError(
            f"{op}: can't convert np.ndarray of type numpy.{array.dtype.type.__name__}. The only "
            f"supported types are: {', '.join(d.name for d in dtypes.ALL if d is not bfloat16)}."
        )
    return dtypes.from_numpy(array.dtype)


def _scan(op: str, data: Any, found: set[DType], depth: int = 0) -> Any:
    """Return nested sequences as lists, tensors among them as numbers; enter dtypes in `found`."""
    if type(data) in _PLAIN:
        found.add(_of_type(type(data)))
        return data
    if isinstance(data, Tensor):
        if data.numel() != 1:
            raise ClgradValueError(
                "only one element tensors can be converted to Python scalars, this one has shape "
                f"{list(data.shape)}. Hint: clgrad.stack() joins tensors."
            )
        found.add(data.dtype)
        return data.detach().item()
    if isinstance(data, np.ndarray | np.generic):
        found.add(_array_dtype(op, np.asarray(data)))
        return data
    if isinstance(data, complex):
        raise complex_refused(op)
    if isinstance(data, bool | int | float):
        found.add(_of_type(int if isinstance(data, int) else float))
        return data
    if isinstance(data, str | bytes):
        if depth:
            raise ClgradValueError(
                f"{op}: too many dimensions '{type(data).__name__}'. Expected numbers."
            )
        raise ClgradTypeError(
            f"{op}(): invalid data type '{type(data).__name__}'. Expected numbers."
        )
    if not _is_sequence(data):
        raise ClgradRuntimeError(
            f"{op}: Could not infer dtype of {type(data).__name__}. Expected numbers in nested "
            "sequences of equal lengths, an array or a tensor."
        )
    listed = data if isinstance(data, list | tuple) else list(data)
    kinds = {*map(type, listed)}
    if kinds <= _PLAIN:  # the usual innermost list, without a call for each number
        found.update(map(_of_type, kinds))
        return listed
    return [_scan(op, item, found, depth + 1) for item in listed]


def _of_type(kind: type) -> DType:
    return bool_ if kind is bool else int64 if kind is int else dtypes.get_default_dtype()


def _is_sequence(data: Any) -> bool:
    if isinstance(data, Sequence | bytearray | memoryview):
        return True
    return (
        hasattr(data, "__len__") and hasattr(data, "__getitem__")
        and not hasattr(data, "keys") and not isinstance(data, type)
    )  # fmt: skip


def _rectangle(op: str, listed: Any) -> Array:
    try:
        array = np.asarray(listed)
    except ValueError:
        array = None
    if array is None or (array.dtype.kind == "O" and not _whole(listed, array.ndim)):
        raise _ragged(op, listed, 0)
    return array


def _whole(listed: Any, ndim: int) -> bool:
    """Whether an array of objects holds integers too large for NumPy, and nothing else."""
    for _ in range(ndim):
        listed = [item for part in listed for item in part] if ndim > 1 else listed
        ndim -= 1
    return all(isinstance(v, int | float) for v in (listed if isinstance(listed, list) else [0]))


def _ragged(op: str, listed: Any, dim: int) -> ClgradValueError | ClgradTypeError:
    """Return the error that says where nested sequences are not rectangular."""
    first = listed[0]
    deep = isinstance(first, list | tuple | np.ndarray)
    for item in listed:
        if isinstance(item, list | tuple | np.ndarray) != deep:
            return ClgradTypeError(
                f"{op}: a number beside a sequence at dim {dim}: not a sequence. Expected "
                "sequences of equal lengths."
            )
        if deep and len(item) != len(first):
            return ClgradValueError(
                f"{op}: expected sequence of length {len(first)} at dim {dim + 1} "
                f"(got {len(item)}). Sequences beside each other must be of equal lengths."
            )
    if not deep:
        return ClgradValueError(f"{op}: expected numbers at dim {dim}.")
    inner = [part for item in listed for part in item]
    return _ragged(op, inner, dim + 1)


def _fitting(array: Array, dtype: DType) -> Array:
    """Return Python numbers as an array that can be cast; those too large for integers raise."""
    if not dtype.is_integral:
        return array.astype(np.float64) if array.dtype.kind == "O" else array
    if not array.size:
        return array
    low, high = dtypes.limits(dtype)
    least, most = (v.item() if hasattr(v, "item") else v for v in (array.min(), array.max()))
    if array.dtype.kind == "f" and not (math.isfinite(least) and math.isfinite(most)):
        raise dtypes.overflow(dtype)
    # as in PyTorch, numbers below zero may wrap around in unsigned integers
    if most > high or least < (-high if dtype.kind == "u" else low):
        raise dtypes.overflow(dtype)
    if array.dtype.kind == "O":
        wrapped = np.frompyfunc(lambda v: int(v) % (1 << 64), 1, 1)(array)
        return wrapped.astype(np.uint64).astype(dtype.numpy)
    return array


def stored(array: Array, dtype: DType) -> Array:
    """Return an array flat and contiguous in the NumPy dtype that a device keeps for `dtype`."""
    if dtype is bfloat16:
        array = bfloat16_bits(array.astype(np.float32))
    elif dtype.kind == "b" and array.dtype.kind != "b":
        array = array != 0
    with np.errstate(invalid="ignore", over="ignore"):  # as a cast in C: it does not look
        return np.ascontiguousarray(array, dtype.numpy).reshape(-1)
