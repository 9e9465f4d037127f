"""Making tensors: from data, from numbers; and the current device.

Data has been copied when a function here returns. What is computed from these is in
`functional.making`, what is random in `functional.sampling`.
"""

from __future__ import annotations

import functools
import importlib
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clgrad import dispatch, dtypes, intake
from clgrad.dispatch import apply, fresh
from clgrad.dtypes import DType, as_dtype, get_default_dtype
from clgrad.errors import (
    ClgradRuntimeError,
    ClgradTypeError,
    ClgradValueError,
    DTypeError,
    ShapeError,
)
from clgrad.formats import check_layout, check_memory_format
from clgrad.ops import creation as _ops
from clgrad.ops.meta import fresh_meta
from clgrad.ops.signature import extreme
from clgrad.outputs import store_out
from clgrad.tensor import Size, Tensor
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


# ---- arguments that all functions here share ----------------------------------------------------

Maker = Callable[..., Tensor]


def maker(make: Maker) -> Maker:
    """Return `make` with the arguments that PyTorch's functions of new tensors share.

    Args:
        make: takes, besides its own arguments, `dtype` and `device`.

    Returns:
        A function that takes also `out`, `requires_grad`, `layout`, `pin_memory` and, for what is
        made like another tensor, `memory_format`.
    """
    name = make.__name__

    @functools.wraps(make)
    def wrapped(
        *args: Any, out: Tensor | None = None, requires_grad: bool = False, layout: Any = None,
        pin_memory: bool = False, memory_format: Any = None, **named: Any,
    ) -> Tensor:  # fmt: skip
        if layout is not None or memory_format is not None:
            check_layout(name, layout)
            check_memory_format(name, memory_format)
        if out is not None:
            return _into(make, name, out, args, named)
        made = make(*args, **named)
        if requires_grad:
            require_grad(made)
        return made

    return wrapped


def _into(
    make: Maker, name: str, out: Tensor, args: tuple[Any, ...], named: dict[str, Any]
) -> Tensor:
    dtype = named.get("dtype")
    if dtype is not None and as_dtype(dtype) is not out.dtype:
        raise DTypeError(
            f"{name}: dtype {as_dtype(dtype).name} does not match dtype of out parameter "
            f"({out.dtype.name}). Hint: leave dtype out."
        )
    named = {**named, "dtype": out.dtype, "device": named.get("device") or out.device}
    return store_out(name, out, make(*args, **named))


def require_grad(made: Tensor) -> None:
    """Let a new tensor require grad; raises `DTypeError` for integers and bools."""
    if not made.dtype.is_floating_point:
        raise DTypeError(
            "Only Tensors of floating point and complex dtype can require gradients, this one has "
            f"dtype {made.dtype.name}. Hint: pass dtype=clgrad.float32."
        )
    made.requires_grad = True


def shape_of(size: tuple[Any, ...], op: str) -> tuple[int, ...]:
    """Return sizes given one by one or as one sequence as a tuple.

    Raises:
        ShapeError: a negative size.
        ClgradTypeError: something that is no integer, or no sizes at all.
    """
    if len(size) == 1 and isinstance(size[0], tuple | list):
        size = tuple(size[0])
    elif not size:
        raise ClgradTypeError(f'{op}() missing 1 required positional arguments: "size"')
    shape = tuple([n if type(n) is int else _size(n, op) for n in size])
    if shape and min(shape) < 0:
        raise ShapeError(f"{op}: Trying to create tensor with negative dimension in {list(shape)}.")
    return shape


def _size(value: Any, op: str) -> int:
    if not isinstance(value, bool | float | str) and hasattr(value, "__index__"):
        return int(value.__index__())
    raise ClgradTypeError(
        f"{op}(): argument 'size' must be tuple of ints, not {type(value).__name__}."
    )


def number_of(op: str, name: str, value: Any) -> bool | int | float:
    """Return an argument that is a number, or a tensor of shape () which is read.

    Raises:
        ClgradTypeError: it is neither. DTypeError: it is complex.
    """
    if isinstance(value, complex):
        raise intake.complex_refused(op)
    made = dispatch.as_operand(value)
    if isinstance(made, Tensor) and not made.ndim:
        read: bool | int | float = made.item()
        return read
    if made is NotImplemented or isinstance(made, Tensor):
        raise ClgradTypeError(
            f"{op}(): argument '{name}' must be Number, not {type(value).__name__}."
        )
    given: bool | int | float = made
    return given


# ---- from data ---------------------------------------------------------------------------------


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Return a new tensor with a copy of `data`.

    Args:
        data: a number, nested sequences of numbers, a NumPy array or a tensor.
        dtype: default: the array's own, or what Python's bool, int or float stand for.
        device: default: the current one, or the tensor's own.
        requires_grad: whether operations on it are recorded.

    Raises:
        ClgradTypeError, ClgradValueError, ClgradRuntimeError: data without a dtype, sequences of
            different lengths, numbers that do not fit.
        DTypeError: complex numbers; integers that are to require grad.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(data, Tensor):
        made: Tensor = data.detach().to(wanted or data.dtype)
        if device is not None:
            made = made.to(resolve_device(device))
        if made._storage.value is data._storage.value:
            made = made.clone()
    else:
        array, found = intake.read("tensor", data, wanted)
        made = upload(array, found, resolve_device(device))
    if requires_grad:
        require_grad(made)
    return made


def upload(array: Any, dtype: DType, device: Any) -> Tensor:
    """Return a tensor with a copy of an array, cast to `dtype`."""
    flat = intake.stored(array, dtype)
    made = upload_stored(flat, dtype, array.shape, device)
    if flat.size and dtype.is_integral:
        made._storage.value.bounds = (int(flat.min()), int(flat.max()))
    return made


def upload_stored(flat: Any, dtype: DType, shape: tuple[int, ...], device: Any) -> Tensor:
    """Return a tensor with a copy of a flat array of the dtype that the device keeps."""
    value = dispatch.backend.from_host(device, flat, dtype)
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
        raise ClgradTypeError(
            f"from_numpy: expected np.ndarray (got {type(array).__name__}). "
            "Hint: clgrad.tensor() takes numbers and sequences."
        )
    return tensor(array, device=device)


# ---- from numbers ------------------------------------------------------------------------------


@maker
def full(size: Sequence[int], fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a tensor with one number everywhere.

    Args:
        size: its shape.
        fill_value: a number, or a tensor of shape ().
        dtype: default: bool, int64 or the default float, as the number is.

    Raises:
        ClgradRuntimeError: the number overflows `dtype`.
    """
    if isinstance(size, int):
        raise ClgradTypeError("full(): argument 'size' must be tuple of ints, not int.")
    value = number_of("full", "fill_value", fill_value)
    kind = dtypes.of_number(value) if dtype is None else as_dtype(dtype)
    return constant(shape_of((size,), "full"), value, kind, resolve_device(device))


def constant(shape: tuple[int, ...], value: float, dtype: DType, device: Any) -> Tensor:
    """Return a tensor with one number everywhere."""
    made: Tensor = apply(_ops.full, (dtypes.number(value, dtype),), (shape, dtype), device)
    return made


def _filled(
    op: str, args: tuple[Any, ...], size: Any, value: float, dtype: Any, device: Any
) -> Tensor:
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    shape = shape_of(args if size is None else (size,), op)
    return constant(shape, value, kind, resolve_device(device))


@maker
def zeros(*args: Any, size: Any = None, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a tensor of zeros; sizes one by one or as one sequence."""
    return _filled("zeros", args, size, 0, dtype, device)


@maker
def ones(*args: Any, size: Any = None, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a tensor of ones; sizes one by one or as one sequence."""
    return _filled("ones", args, size, 1, dtype, device)


@maker
def empty(*args: Any, size: Any = None, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a tensor whose elements are whatever the memory holds."""
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    shape = shape_of(args if size is None else (size,), "empty")
    where = resolve_device(device)
    meta = fresh_meta(kind, shape, where)
    return fresh(dispatch.backend.empty(where, meta.numel, kind), meta)


@maker
def arange(
    start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return `start`, `start + step`, … as long as they are before `end`.

    Args:
        start: the first; if it is alone, the end, and the first is 0.
        step: their distance.
        dtype: default: int64 if all three are integers, else the default float.

    Returns:
        Shape (ceil((end - start) / step),).

    Raises:
        ClgradRuntimeError: the step is 0 or leads away from the end.
    """
    if end is None:
        start, end = 0, start
    first, last, width = (
        number_of("arange", n, v) for n, v in (("start", start), ("end", end), ("step", step))
    )
    whole = all(isinstance(v, int) for v in (first, last, width))
    kind = (dtypes.int64 if whole else get_default_dtype()) if dtype is None else as_dtype(dtype)
    if kind.kind == "b":
        raise DTypeError("\"arange\" not implemented for 'Bool'. Expected a number dtype.")
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ClgradRuntimeError(f"arange: unsupported range: {first} -> {last}")
    places = None  # PyTorch counts in double but for int64
    if kind.is_integral and kind is not dtypes.int64 and not whole and width:
        places = math.ceil((last - first) / width)
    if kind.is_integral:
        first, last, step, width = int(first), int(last), width, int(width)
        if step and not width:
            raise ClgradValueError(f"arange: step must be nonzero, and {step} is 0 as an integer")
    if width == 0:
        raise ClgradRuntimeError("arange: step must be nonzero")
    if (last - first) * width < 0:
        raise ClgradRuntimeError(
            "arange: upper bound and lower bound inconsistent with step sign: from "
            f"{first} to {last} by {width}."
        )
    whole = whole or kind.is_integral
    count = int(-((first - last) // width)) if whole else math.ceil((last - first) / width)
    count = count if places is None else max(places, 0)
    where = resolve_device(device)
    numbers = (dtypes.number(first, kind), width if kind.is_integral else float(width))
    if kind is dtypes.float32 and not (float(first).is_integer() and float(width).is_integer()):
        # as PyTorch, which counts in double, where the device can
        wide = apply(_ops.arange, numbers, ((count,), wide_float(where)), where)
        return wide.to(dtypes.float32)  # type: ignore[no-any-return]  # a Tensor
    if kind.is_integral and (first, width) == (0, 1):
        made: Tensor = apply(_ops.positions, (), ((count,), kind), where)
    else:
        made = apply(_ops.arange, numbers, ((count,), kind), where)
    if kind.is_integral and count:
        ends = sorted((int(first), int(first) + (count - 1) * int(width)))
        bounded(made, ends[0], ends[1])
    return made


def bounded(made: Tensor, low: int, high: int) -> Tensor:
    """Note the bounds of new integers, so that indexing by them needs no check on the device."""
    dtype = made._meta.dtype
    if dtype.is_integral and extreme(dtype, False) <= low <= high <= extreme(dtype, True):
        made._storage.value.bounds = (low, high)
    return made


def wide_float(device: Any) -> DType:
    """Return the longest float that a device computes with."""
    traits = getattr(device, "traits", None)
    return dtypes.float64 if traits is None or traits.fp64 else dtypes.float32


# ---- like another tensor -------------------------------------------------------------------------


def like(op: str, x: Any, dtype: Any, device: Any) -> tuple[DType, Any]:
    """Return dtype and device of what is made like `x`; raises `ClgradTypeError` for no tensor."""
    if not isinstance(x, Tensor):
        raise ClgradTypeError(
            f"{op}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}."
        )
    return (
        x.dtype if dtype is None else as_dtype(dtype),
        x.device if device is None else resolve_device(device),
    )


@maker
def zeros_like(input: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return zeros of the shape, dtype and device of `input`."""
    kind, where = like("zeros_like", input, dtype, device)
    return constant(input._meta.shape, 0, kind, where)


@maker
def ones_like(input: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return ones of the shape, dtype and device of `input`."""
    kind, where = like("ones_like", input, dtype, device)
    return constant(input._meta.shape, 1, kind, where)


@maker
def full_like(input: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return one number everywhere, of the shape, dtype and device of `input`."""
    kind, where = like("full_like", input, dtype, device)
    value = number_of("full_like", "fill_value", fill_value)
    return constant(input._meta.shape, value, kind, where)


@maker
def empty_like(input: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return uninitialised memory of the shape, dtype and device of `input`."""
    kind, where = like("empty_like", input, dtype, device)
    meta = fresh_meta(kind, input._meta.shape, where)
    return fresh(dispatch.backend.empty(where, meta.numel, kind), meta)


# ---- Tensor(…) ----------------------------------------------------------------------------------


def construct(*args: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Do what `Tensor(…)` does: sizes make uninitialised memory, a sequence is copied.

    The dtype is the default float; a tensor keeps its own and shares its memory.
    """
    first = args[0] if args else 0
    if isinstance(first, Tensor) and len(args) == 1:
        same = dtype is None or first.dtype is dtype
        return first.detach() if same else tensor(first, dtype=dtype)
    if isinstance(first, float):
        raise ClgradTypeError("new(): data must be a sequence (got float)")
    kind = get_default_dtype() if dtype is None else dtype
    if isinstance(first, int | Size):
        return empty(*(args or (0,)), dtype=kind, device=device)
    array, _ = intake.read("new", first, None)
    return upload(array, kind, resolve_device(device))


Tensor._construct = tensor
Tensor._make = construct
