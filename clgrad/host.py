"""Reading tensors on the host: what waits for the device."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from clgrad import dispatch
from clgrad.batching import own_of
from clgrad.dtypes import bfloat16
from clgrad.errors import AutogradError, ClgradTypeError, ClgradValueError, ShapeError
from clgrad.graph.position import stacklevel
from clgrad.tape import noting
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import requires_grad_of
from clgrad.tensor import Tensor


def stored_array(x: Tensor) -> Any:
    """Return the elements as the device stores them: bfloat16 as 16 bits, in a uint16."""
    meta = x._meta
    if not meta.numel:
        return np.empty(meta.shape, meta.dtype.numpy)
    if noting.Switch.open:
        noting.event("host", x)
    flat = dispatch.backend.to_host(x._storage.value)
    layout = meta.layout
    strides = [s * flat.itemsize for s in layout.strides]
    array = as_strided(flat[layout.offset :], layout.shape, strides)
    whole = meta.contiguous and flat.size == meta.numel
    return array if whole else np.array(array, order="C")  # a 0-d one stays so


def array_of(x: Tensor) -> Any:
    """Return the elements as a new array; bfloat16 comes as float32, which NumPy has."""
    array = stored_array(x)
    if x._meta.dtype is bfloat16:
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array


def numpy(x: Tensor, *, force: bool = False) -> Any:
    """Return a copy of the elements as a NumPy array; waits for the device.

    Raises:
        AutogradError: the tensor requires grad and `force` is not set.
        ClgradTypeError: bfloat16, which NumPy lacks.
    """
    if requires_grad_of(x) and not force and mode.grad:
        raise AutogradError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    if x._meta.dtype is bfloat16 and not force:
        raise ClgradTypeError(
            "numpy: Got unsupported ScalarType BFloat16. Expected a dtype that NumPy has. "
            "Hint: x.float().numpy()."
        )
    array = array_of(x)
    return array.reshape(x._meta.shape)


def to_array(x: Tensor, dtype: Any = None, copy: bool | None = None) -> Any:
    """Return the elements for NumPy, which may ask for a dtype; always a copy.

    Raises:
        ClgradValueError: it asked for the memory itself.
    """
    if copy is False:
        raise ClgradValueError(
            "__array__: the elements are on a device. Expected copy=None or True: a copy cannot be "
            "avoided."
        )
    array = numpy(x)
    return array if dtype is None else array.astype(dtype)


def item(x: Tensor) -> bool | int | float:
    """Return the only element as a Python number; waits for the device."""
    if x._meta.numel != 1:
        raise AutogradError(
            f"a Tensor with {x._meta.numel} elements cannot be converted to Scalar. Expected one "
            "element. Hint: tolist() or numpy() read all of them."
        )
    number: bool | int | float = array_of(x).reshape(()).item()
    return number


def tolist(x: Tensor) -> Any:
    """Return the elements as nested lists of Python numbers."""
    return array_of(x).tolist()


def to_bool(x: Tensor) -> bool:
    if x._meta.numel != 1:
        what = "no values" if not x._meta.numel else "more than one value"
        raise ShapeError(
            f"Boolean value of Tensor with {what} is ambiguous. Expected one element. "
            "Hint: compare with == and reduce, or test .numel()."
        )
    if own_of(x._storage.value):
        raise AutogradError(
            "vmap: It looks like you're attempting to use a Tensor in some data-dependent control "
            "flow. We don't support that yet. Hint: where() chooses for each sample."
        )
    return bool(item(x))


class _Warned:
    """Whether the user was told that numbers have no history: one time is enough."""

    yet = False

    @classmethod
    def once(cls) -> None:
        if not cls.yet:
            cls.yet = True
            warnings.warn(
                "Converting a tensor with requires_grad=True to a scalar may lead to unexpected "
                "behavior. Hint: tensor.item(), or tensor.detach() first.",
                UserWarning,
                stacklevel=stacklevel(),
            )


def to_float(x: Tensor) -> float:
    """Return the only element as a float."""
    _single(x)
    if mode.grad and requires_grad_of(x):
        _Warned.once()
    return float(item(x))


def to_int(x: Tensor) -> int:
    """Return the only element as an int."""
    _single(x)
    return int(item(x))


def _single(x: Tensor) -> None:
    if x._meta.numel != 1:
        raise ClgradValueError(
            "only one element tensors can be converted to Python scalars, this one has "
            f"{x._meta.numel}. Hint: tolist() or numpy() read all of them."
        )


def to_index(x: Tensor) -> int:
    if x._meta.dtype.kind == "f" or x._meta.numel != 1:
        raise ClgradTypeError(
            "only integer tensors of a single element can be converted to an index"
        )
    return int(item(x))


def formatted(x: Tensor, spec: str) -> str:
    """Format the number of a 0-d tensor; others take no format."""
    if not x._meta.ndim and type(x) is Tensor:
        return format(item(x), spec)
    return object.__format__(x, spec)
