"""What programs ask a tensor: kind of dtype, where it lies, whether it holds something.

What every op needs to know, such as shape and dtype, is on `Tensor` itself.
"""

from __future__ import annotations

from typing import Any

from clgrad import creation, host
from clgrad.dispatch import NUMBERS, as_operand
from clgrad.dtypes import DType, as_dtype
from clgrad.errors import (
    ClgradRuntimeError,
    ClgradTypeError,
    ClgradValueError,
    DeviceError,
    DTypeError,
)
from clgrad.formats import strided
from clgrad.limits import finfo, iinfo
from clgrad.tensor import Tensor

_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16",
    "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte",
    "bool": "Bool", "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64",
}  # fmt: skip
_BY_NAME = {name: dtype for dtype, name in _NAMES.items()}


def _checked(op: str, x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        raise ClgradTypeError(
            f"{op}(): argument 'input' (position 1) must be Tensor, not {x.__class__.__name__}."
        )
    return x


def is_floating_point(input: Tensor) -> bool:
    """Return whether the dtype is a float."""
    return _checked("is_floating_point", input).is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Return False: there are no complex dtypes."""
    return _checked("is_complex", input).is_complex()


def is_signed(input: Tensor) -> bool:
    """Return whether the dtype has negative numbers."""
    return _checked("is_signed", input).is_signed()


def is_inference(input: Tensor) -> bool:
    """Return whether the tensor was made in inference mode."""
    return _checked("is_inference", input).is_inference()


def is_nonzero(input: Tensor) -> bool:
    """Return whether the only element is not zero; waits for the device.

    Raises:
        ShapeError: not exactly one element.
    """
    return host.to_bool(_checked("is_nonzero", input))


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have one shape."""
    return input._meta.shape == other._meta.shape


def can_cast(from_: Any, to: Any) -> bool:
    """Return whether an op may write a result of one dtype into another: no kind is lost."""
    source, target = as_dtype(from_), as_dtype(to)
    rank = {"b": 0, "u": 1, "i": 1, "f": 2}
    return rank[source.kind] <= rank[target.kind]


# ---- what complex numbers would be asked ---------------------------------------------------------


def is_conj(input: Tensor) -> bool:
    """Return False: real numbers are not conjugated."""
    return False


def is_neg(input: Tensor) -> bool:
    """Return False: nothing is negated lazily that way."""
    return False


def conj(input: Tensor) -> Tensor:
    """Return the tensor itself, as every tensor is real."""
    return _checked("conj", input)


conj_physical = resolve_conj = resolve_neg = conj


def real(input: Tensor) -> Tensor:
    """Return the tensor itself, as every tensor is real."""
    return _checked("real", input)


def imag(input: Tensor) -> Tensor:
    """Raise `DTypeError`: there are no complex dtypes."""
    raise DTypeError(
        "imag: imag is not implemented for tensors with non-complex dtypes. Expected a complex "
        "one, which are not there."
    )


# ---- methods -------------------------------------------------------------------------------------


def type(x: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Return the tensor's type as PyTorch's first years called it, or cast to such a type.

    Args:
        dtype: a dtype, or a name such as `clgrad.FloatTensor` (`torch.FloatTensor` will do).

    Raises:
        ClgradValueError: there is no such type.
    """
    if dtype is None:
        return f"clgrad.{_NAMES[x.dtype.name]}Tensor"
    if isinstance(dtype, str):
        name = dtype.rpartition(".")[2].removesuffix("Tensor")
        if name not in _BY_NAME:
            raise ClgradValueError(
                f"type: invalid type: {dtype!r}. Expected one such as clgrad.FloatTensor."
            )
        dtype = _BY_NAME[name]
    elif not isinstance(dtype, DType):
        dtype = _NAMES_OF_MAKERS.get(getattr(dtype, "__name__", ""), dtype)
    return x.to(as_dtype(dtype))


_NAMES_OF_MAKERS = {f"{name}Tensor": dtype for dtype, name in _NAMES.items()}


def data_ptr(x: Tensor) -> int:
    """Return a number that tells memory apart: equal for tensors that begin at one element.

    It is no address. Tensors over one storage differ by bytes between their first elements.
    """
    return (id(x._storage) << 40) + x._meta.layout.offset * x.dtype.itemsize if x.numel() else 0


def get_device(x: Tensor) -> int:
    """Return the number of the device."""
    return int(getattr(x.device, "index", 0))


def cuda(x: Tensor, *args: Any, **named: Any) -> Tensor:
    """Raise `DeviceError`: devices here are OpenCL's."""
    raise DeviceError(
        "cuda: there are no CUDA devices. Expected an OpenCL one. "
        "Hint: x.to('gpu') moves to the first GPU; clgrad.devices() lists all."
    )


def is_pinned(x: Tensor) -> bool:
    """Return False: memory is the device's."""
    return False


def pin_memory(x: Tensor, device: Any = None) -> Tensor:
    """Return the tensor as it is: there is no pinned memory to copy it to."""
    return x


def share_memory_(x: Tensor) -> Tensor:
    """Return the tensor as it is: other processes do not see a device's memory."""
    return x


def __contains__(x: Tensor, element: Any) -> bool:  # noqa: N807  # installed on Tensor
    """Whether some element equals a number or a tensor; waits for the device."""
    value = as_operand(element)
    if value is NotImplemented:
        raise ClgradRuntimeError(
            "Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
            f"{element.__class__}."
        )
    if not isinstance(value, Tensor) and value.__class__ not in NUMBERS:
        return False
    return bool((x == value).sum().item())  # type: ignore[attr-defined]  # a Tensor


def __reversed__(x: Tensor) -> Tensor:  # noqa: N807  # installed on Tensor
    """Return the entries of the first dimension from the last to the first."""
    return x.flip(0) if x.ndim else x


def __array_wrap__(  # noqa: N807  # installed on Tensor
    x: Tensor, array: Any, context: Any = None, return_scalar: bool = False
) -> Tensor:
    """Return what a NumPy function made of this tensor as a tensor."""
    return creation.tensor(array, device=x.device)


is_cuda = property(lambda x: False, doc="False: devices are OpenCL's.")
is_cpu = property(
    lambda x: getattr(x.device, "kind", "cpu") == "cpu", doc="Whether the device is a CPU."
)


def _never(why: str) -> property:
    return property(lambda x: False, doc=f"False: {why}.")


is_sparse = is_sparse_csr = is_nested = is_mkldnn = _never("every tensor is dense")
is_quantized = _never("there are no quantized dtypes")
is_meta = _never("every tensor has memory")
is_mps = is_xpu = is_xla = is_ipu = is_mtia = is_maia = is_vulkan = _never("devices are OpenCL's")
layout = property(lambda x: strided, doc="`clgrad.strided`.")

__all__ = [
    "can_cast", "conj", "conj_physical", "finfo", "get_device", "iinfo", "imag", "is_complex",
    "is_conj", "is_floating_point", "is_inference", "is_neg", "is_nonzero", "is_same_size",
    "is_signed", "real", "resolve_conj", "resolve_neg",
]  # fmt: skip
METHODS = [
    "__array_wrap__", "__contains__", "__reversed__", "conj", "conj_physical", "cuda", "data_ptr",
    "get_device", "is_conj", "is_cpu", "is_cuda", "is_ipu", "is_maia", "is_meta", "is_mkldnn",
    "is_mps", "is_mtia", "is_neg", "is_nested", "is_nonzero", "is_pinned", "is_quantized",
    "is_same_size", "is_sparse", "is_sparse_csr", "is_vulkan", "is_xla", "is_xpu", "layout",
    "pin_memory", "resolve_conj", "resolve_neg", "share_memory_", "type",
]  # fmt: skip
