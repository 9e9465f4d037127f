"""Making tensors: from data, from numbers, from random numbers; and the current device.

Data has been copied when a function here returns. Nothing random happens on the host: an op gets
the seed and an offset into the generator's stream, which is advanced at the call.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from clgrad import dispatch, dtypes
from clgrad.dispatch import apply, fresh
from clgrad.dtypes import DType, as_dtype, bfloat16, get_default_dtype
from clgrad.errors import ClgradTypeError, ClgradValueError, ShapeError
from clgrad.expr.evaluate import bfloat16_bits
from clgrad.ops import creation as _ops
from clgrad.ops.meta import fresh_meta
from clgrad.tensor import Tensor
from clgrad.writing import forget_targets


class _Current(threading.local):
    """The device of new tensors, of this thread; None until one is needed or set."""

    device: Any = None


current = _Current()
_default: Any = None


def get_default_device() -> Any:
    """Return the device on which new tensors are made."""
    global _default
    if current.device is not None:
        return current.device
    if _default is None:
        _default = importlib.import_module("clgrad.runtime.discovery").device(None)
    return _default


def set_default_device(device: Any) -> None:
    """Make new tensors on `device` (a name, a number or a device; None: the first)."""
    global _default
    _default = None if device is None else resolve_device(device)


def resolve_device(device: Any) -> Any:
    """Return the device that `device` means: a name, a number, a device, or None for the default.

    Raises:
        DeviceError: there is no such device.
    """
    if device is None:
        return get_default_device()
    if not isinstance(device, str | int):
        return device
    return importlib.import_module("clgrad.runtime.discovery").device(device)


def set_default_dtype(dtype: DType) -> None:
    """Set the floating-point dtype of new tensors made from Python numbers."""
    dtypes.set_default_dtype(as_dtype(dtype))
    dispatch.forget_plans()
    forget_targets()


def _finish(made: Tensor, requires_grad: bool) -> Tensor:
    if requires_grad:
        made.requires_grad = True
    return made


# ---- from data ---------------------------------------------------------------------------------


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a new tensor with a copy of `data`.

    Args:
        data: a number, nested sequences of numbers, a NumPy array or a tensor.
        dtype: default: the array's own, or what Python's bool, int or float stand for.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(data, Tensor):
        made = data.detach().to(wanted or data.dtype)
        if device is not None:
            made = made.to(resolve_device(device))
        if made._storage.value is data._storage.value:
            made = made.clone()
        return _finish(made, requires_grad)
    array = _as_array(data, wanted)
    found = wanted or dtypes.from_numpy(array.dtype)
    return _finish(_upload(array, found, resolve_device(device)), requires_grad)


def _as_array(data: Any, wanted: DType | None) -> Any:
    if isinstance(data, np.ndarray | np.generic):
        return np.asarray(data)
    data = _listed(data)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ClgradValueError(
            f"tensor: the sequences are not of equal lengths ({error}). Expected a rectangle."
        ) from None
    if array.dtype.kind not in "biuf":
        raise ClgradTypeError(
            f"tensor: got data of type {array.dtype}. Expected numbers in nested sequences of "
            "equal lengths, an array or a tensor."
        )
    if array.dtype.kind == "f" or array.size == 0:
        default = get_default_dtype()
        target = np.float64 if wanted is not None or default is bfloat16 else default.numpy
        return array.astype(target) if wanted or default is not bfloat16 else array
    return array.astype(np.int64) if array.dtype.kind in "iu" and wanted is None else array


def _listed(data: Any) -> Any:
    """Return nested sequences with the tensors among them read."""
    if isinstance(data, Tensor):
        return data.detach().numpy()
    if isinstance(data, list | tuple):
        return [_listed(item) for item in data]
    return data


def _upload(array: Any, dtype: DType, device: Any) -> Tensor:
    shape = array.shape
    if dtype is bfloat16:
        array = bfloat16_bits(array.astype(np.float32))
    elif dtype.kind == "b" and array.dtype.kind != "b":
        array = array != 0
    stored = np.ascontiguousarray(array, dtype.numpy).reshape(-1)
    value = dispatch.backend.from_host(device, stored, dtype)
    if stored.size and dtype.is_integral:
        value.bounds = (int(stored.min()), int(stored.max()))
    return fresh(value, fresh_meta(dtype, shape, device))


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return `data` itself if it is such a tensor already, else a tensor with a copy."""
    if isinstance(data, Tensor):
        made = data if device is None else data.to(resolve_device(device))
        return made if dtype is None else made.to(as_dtype(dtype))
    return tensor(data, dtype=dtype, device=device)


def from_numpy(array: Any, device: Any = None) -> Tensor:
    """Return a tensor with a copy of a NumPy array, of its dtype."""
    if not isinstance(array, np.ndarray):
        raise ClgradTypeError(f"from_numpy: got {type(array).__name__}. Expected a NumPy array.")
    return tensor(array, device=device)


# ---- from numbers ------------------------------------------------------------------------------


def shape_of(size: tuple[Any, ...], op: str) -> tuple[int, ...]:
    """Return sizes given one by one or as one sequence as a tuple.

    Raises:
        ShapeError: a negative size.
    """
    if len(size) == 1 and not isinstance(size[0], int | np.integer):
        size = tuple(size[0])
    shape = tuple([int(n) for n in size])
    if shape and min(shape) < 0:
        raise ShapeError(f"{op}: Trying to create tensor with negative dimension in {list(shape)}.")
    return shape


def full(
    size: Sequence[int], fill_value: Any, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return a tensor with one number everywhere."""
    value = dispatch.operand("full", fill_value)
    if isinstance(value, Tensor):
        value = value.item()
    kind = dtypes.of_number(value) if dtype is None else as_dtype(dtype)
    made = apply(_ops.full, (value,), (shape_of((size,), "full"), kind), resolve_device(device))
    return _finish(made, requires_grad)


def _constant(size: tuple[Any, ...], value: float, op: str, dtype: Any, device: Any) -> Tensor:
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    made: Tensor = apply(_ops.full, (value,), (shape_of(size, op), kind), resolve_device(device))
    return made


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of zeros."""
    return _finish(_constant(size, 0, "zeros", dtype, device), requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of ones."""
    return _finish(_constant(size, 1, "ones", dtype, device), requires_grad)


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor whose elements are whatever the memory holds."""
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    where, shape = resolve_device(device), shape_of(size, "empty")
    meta = fresh_meta(kind, shape, where)
    return _finish(fresh(dispatch.backend.empty(where, meta.numel, kind), meta), requires_grad)


def arange(
    start: float, end: float | None = None, step: float = 1, *, dtype: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return `start`, `start + step`, … as long as they are before `end`."""
    if end is None:
        start, end = 0, start
    if step == 0:
        raise ClgradValueError("arange: step must be nonzero.")
    if (end - start) * step < 0:
        raise ClgradValueError(
            f"arange: upper bound and lower bound inconsistent with step sign: start {start}, end "
            f"{end}, step {step}."
        )
    if dtype is None:
        whole = all(isinstance(v, int | np.integer) for v in (start, end, step))
        kind = dtypes.int64 if whole else get_default_dtype()
    else:
        kind = as_dtype(dtype)
    count = int(np.ceil((end - start) / step))
    made = apply(_ops.arange, (start, step), ((count,), kind), resolve_device(device))
    return _finish(made, requires_grad)


def _like(x: Tensor, dtype: Any, device: Any) -> tuple[DType, Any]:
    return (
        x.dtype if dtype is None else as_dtype(dtype),
        x.device if device is None else resolve_device(device),
    )


def zeros_like(
    x: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return zeros of the shape, dtype and device of `x`."""
    kind, where = _like(x, dtype, device)
    return zeros(x.shape, dtype=kind, device=where, requires_grad=requires_grad)


def ones_like(
    x: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return ones of the shape, dtype and device of `x`."""
    kind, where = _like(x, dtype, device)
    return ones(x.shape, dtype=kind, device=where, requires_grad=requires_grad)


def full_like(
    x: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return one number everywhere, of the shape, dtype and device of `x`."""
    kind, where = _like(x, dtype, device)
    return full(x.shape, fill_value, dtype=kind, device=where, requires_grad=requires_grad)


def empty_like(
    x: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return uninitialised memory of the shape, dtype and device of `x`."""
    kind, where = _like(x, dtype, device)
    return empty(x.shape, dtype=kind, device=where, requires_grad=requires_grad)


Tensor._construct = tensor
