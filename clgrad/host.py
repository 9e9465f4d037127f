"""Reading tensors on the host, printing and copying them: what waits for the device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from clgrad import dispatch
from clgrad.dtypes import bfloat16, float32, int64
from clgrad.errors import AutogradError, ClgradTypeError, ClgradValueError, ShapeError
from clgrad.graph.storage import Storage
from clgrad.tape.inplace import requires_grad_of
from clgrad.tensor import Tensor, wrap


def array_of(x: Tensor) -> Any:
    """Return the elements as a new array; bfloat16 comes as float32, which NumPy has."""
    meta = x._meta
    if not meta.numel:
        return np.empty(meta.shape, np.float32 if meta.dtype is bfloat16 else meta.dtype.numpy)
    flat = dispatch.backend.to_host(x._storage.value)
    layout = meta.layout
    strides = [s * flat.itemsize for s in layout.strides]
    array = as_strided(flat[layout.offset :], layout.shape, strides)
    if meta.dtype is bfloat16:
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array if meta.contiguous and flat.size == meta.numel else np.ascontiguousarray(array)


def numpy(x: Tensor, *, force: bool = False) -> Any:
    """Return a copy of the elements as a NumPy array; waits for the device.

    Raises:
        AutogradError: the tensor requires grad and `force` is not set.
        ClgradTypeError: bfloat16, which NumPy lacks.
    """
    if requires_grad_of(x) and not force:
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
    return bool(item(x))


def to_float(x: Tensor) -> float:
    """Return the only element as a float."""
    _single(x)
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
    if not x._meta.ndim and spec:
        return format(item(x), spec)
    return object.__format__(x, spec) if spec else repr(x)


# ---- printing ----------------------------------------------------------------------------------


def shown(x: Tensor) -> str:
    """Print as PyTorch does: values, then what is not to be guessed from them."""
    meta = x._meta
    name = "Parameter containing:\ntensor" if type(x).__name__ == "Parameter" else "tensor"
    prefix = "tensor("
    body = _numbers(x, len(prefix)) if meta.numel else "[]" if meta.ndim else "?"
    extra = []
    if not meta.numel and meta.ndim != 1:
        extra.append(f"size={meta.shape}")
    known = meta.dtype in (float32, int64) or meta.dtype.kind == "b"  # from how numbers look
    if not known or (not meta.numel and meta.dtype is not float32):
        extra.append(f"dtype={meta.dtype!r}")
    extra.append(f"device='{getattr(meta.device, 'id', meta.device)}'")
    try:
        node = x.grad_fn
    except AutogradError:
        extra.append("grad_fn=<Invalid>")
    else:
        if node is not None:
            extra.append(f"grad_fn=<{node.name()}>")
        elif requires_grad_of(x):
            extra.append("requires_grad=True")
    last = body.rsplit("\n", 1)[-1]
    tail = ", ".join(extra)
    join = ",\n" + " " * len(prefix) if len(last) + len(tail) + 10 > 100 else ", "
    return f"{name}({body}{join}{tail})"


def _numbers(x: Tensor, indent: int) -> str:
    array = array_of(x)
    whole = array.dtype.kind == "f" and bool(
        np.all(np.isfinite(array) & (abs(array) < 1e8)) and np.all(array == np.floor(array))
    )
    options: dict[str, Any] = {
        "precision": 4,
        "threshold": 1000,
        "edgeitems": 3,
        "max_line_width": 80,
    }
    if whole:
        options["formatter"] = {"float_kind": lambda v: f"{v:.0f}."}
    text: str = np.array2string(
        array, separator=", ", prefix=" " * indent, suffix="",
        floatmode="fixed", **options,
    )  # fmt: skip
    return text.replace("True", " True") if array.dtype.kind == "b" else text


# ---- copies ------------------------------------------------------------------------------------


def deep_copy(x: Tensor, memo: dict[int, Any]) -> Any:
    """Copy a leaf, with its class, grad and attributes; views keep their layout."""
    if not x.is_leaf:
        raise AutogradError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
            "protocol at the moment. Hint: detach() first."
        )
    if id(x) in memo:
        return memo[id(x)]
    storage = memo.get(id(x._storage))
    if storage is None:
        storage = memo[id(x._storage)] = Storage(x._storage.value)
    made = wrap(storage, x._meta, type(x))
    memo[id(x)] = made
    made._requires_grad = x._requires_grad
    made._inference = x._inference
    if x._grad is not None:
        made._grad = deep_copy(x._grad.detach(), memo)
    _copy_attributes(x, made, memo)
    return made


def _copy_attributes(x: Tensor, made: Tensor, memo: dict[int, Any]) -> None:
    import copy

    for name, value in x.__dict__.items():
        made.__dict__[name] = copy.deepcopy(value, memo)


def _rebuild(cls: type[Tensor], flat: Any, dtype: Any, layout: Any, requires_grad: bool) -> Any:
    """Make a tensor from what `__reduce__` stored, on the default device."""
    from clgrad.creation import get_default_device
    from clgrad.ops.meta import meta_of

    device = get_default_device()
    value = dispatch.backend.from_host(device, flat, dtype)
    made = wrap(Storage(value), meta_of(dtype, layout, device), cls)
    made._requires_grad = requires_grad
    return made


def reduced(x: Tensor, protocol: Any) -> Any:
    """Pickle by a copy on the host; it is loaded onto the default device."""
    if not x.is_leaf:
        raise AutogradError("pickle: a tensor with history. Expected a leaf. Hint: detach() first.")
    flat = dispatch.backend.to_host(x._storage.value)
    state = (type(x), flat, x.dtype, x._meta.layout, x._requires_grad)
    return (_rebuild, state, x.__dict__ or None)
