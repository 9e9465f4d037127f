"""Element types: names, sizes, how they are stored and computed, and PyTorch's promotion rules.

A dtype is what a tensor stores. float16 and bfloat16 are stored in 16 bits and computed in
float32; bool is stored as one byte that is 0 or 1. Nothing here knows OpenCL beyond type names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from clgrad.errors import ClgradRuntimeError, ClgradTypeError, DTypeError


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DType:
    """One element type.

    Attributes:
        name: as users write it, `float32`.
        kind: `b` bool, `u` unsigned, `i` signed, `f` floating point.
        itemsize: bytes of one stored element.
        numpy: the NumPy dtype of a host copy (bfloat16 travels as its uint16 bits).
        cl: OpenCL C type of one element in global memory.
        register: OpenCL C type in which one element is held while computing.
    """

    name: str
    kind: str
    itemsize: int
    numpy: Any
    cl: str
    register: str

    @property
    def is_floating_point(self) -> bool:
        return self.kind == "f"

    @property
    def is_integral(self) -> bool:
        """Whether this is an integer type; bool is not."""
        return self.kind in "ui"

    @property
    def is_signed(self) -> bool:
        return self.kind in "if"

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def compute(self) -> DType:
        """The dtype in which arithmetic on this one is done (float32 for the 16-bit floats)."""
        return float32 if self.kind == "f" and self.itemsize == 2 else self

    def __repr__(self) -> str:
        return f"clgrad.{self.name}"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return (by_name, (self.name,))


bool_ = DType("bool", "b", 1, np.dtype(np.bool_), "uchar", "int")
uint8 = DType("uint8", "u", 1, np.dtype(np.uint8), "uchar", "uchar")
uint16 = DType("uint16", "u", 2, np.dtype(np.uint16), "ushort", "ushort")
uint32 = DType("uint32", "u", 4, np.dtype(np.uint32), "uint", "uint")
uint64 = DType("uint64", "u", 8, np.dtype(np.uint64), "ulong", "ulong")
int8 = DType("int8", "i", 1, np.dtype(np.int8), "char", "char")
int16 = DType("int16", "i", 2, np.dtype(np.int16), "short", "short")
int32 = DType("int32", "i", 4, np.dtype(np.int32), "int", "int")
int64 = DType("int64", "i", 8, np.dtype(np.int64), "long", "long")
float16 = DType("float16", "f", 2, np.dtype(np.float16), "ushort", "float")
bfloat16 = DType("bfloat16", "f", 2, np.dtype(np.uint16), "ushort", "float")
float32 = DType("float32", "f", 4, np.dtype(np.float32), "float", "float")
float64 = DType("float64", "f", 8, np.dtype(np.float64), "double", "double")

ALL: tuple[DType, ...] = (
    bool_, uint8, int8, int16, int32, int64, uint16, uint32, uint64,
    float16, bfloat16, float32, float64,
)  # fmt: skip
_BY_NAME = {d.name: d for d in ALL} | {
    "half": float16, "float": float32, "double": float64,
    "char": int8, "short": int16, "int": int32, "long": int64,
}  # fmt: skip
TORCH_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16",
    "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte",
    "bool": "Bool", "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64",
}  # fmt: skip
"""What PyTorch's messages call them."""
_BY_NUMPY = {d.numpy: d for d in ALL if d is not bfloat16}
_BAREBONES = (uint16, uint32, uint64)


def by_name(name: str) -> DType:
    """Return the dtype called `name`; raises `ClgradTypeError` for an unknown one."""
    try:
        return _BY_NAME[name]
    except KeyError:
        known = ", ".join(d.name for d in ALL)
        raise ClgradTypeError(f"dtype: no dtype is called {name!r}. Known are {known}.") from None


def from_numpy(dtype: Any) -> DType:
    """Return the dtype of a NumPy dtype; raises `ClgradTypeError` where there is none."""
    try:
        return _BY_NUMPY[np.dtype(dtype).newbyteorder("=")]
    except (KeyError, TypeError):
        raise ClgradTypeError(
            f"dtype: NumPy's {dtype} has no counterpart in clgrad. "
            f"Expected one of {', '.join(d.name for d in ALL)}. Hint: array.astype(...) first."
        ) from None


def as_dtype(value: Any) -> DType:
    """Return `value` as a dtype: a `DType`, a name, a NumPy dtype, or Python's bool/int/float."""
    if isinstance(value, DType):
        return value
    if value is bool:
        return bool_
    if value is int:
        return int64
    if value is float:
        return float64
    if isinstance(value, str):
        return by_name(value)
    return from_numpy(value)


_default = float32


def get_default_dtype() -> DType:
    """Return the floating-point dtype of new tensors made from Python numbers."""
    return _default


def set_default_dtype(dtype: DType) -> None:
    """Set the floating-point dtype of new tensors made from Python numbers.

    Raises:
        ClgradTypeError: `dtype` is not a floating-point dtype.
    """
    global _default
    if dtype not in ALL or not dtype.is_floating_point:
        raise ClgradTypeError(
            f"set_default_dtype: got {dtype!r}. Expected a floating-point dtype such as "
            "clgrad.float32 or clgrad.float64."
        )
    _default = dtype


def _promote(a: DType, b: DType) -> DType:
    if a is b:
        return a
    if a.kind == "b":
        return b
    if b.kind == "b":
        return a
    if a.kind == "f" or b.kind == "f":
        if a.kind != "f":
            return b
        if b.kind != "f":
            return a
        if a.itemsize == b.itemsize:  # float16 with bfloat16
            return float32
        return a if a.itemsize > b.itemsize else b
    if a in _BAREBONES or b in _BAREBONES:
        raise DTypeError(
            f"promotion: {a.name} and {b.name} have no common dtype. uint16, uint32 and uint64 "
            "combine only with floats, bool and themselves. Hint: cast one side with .to(dtype)."
        )
    if a.kind == b.kind:
        return a if a.itemsize > b.itemsize else b
    signed, unsigned = (a, b) if a.kind == "i" else (b, a)
    if signed.itemsize > unsigned.itemsize:
        return signed
    return by_name(f"int{min(unsigned.itemsize * 16, 64)}")


def promote_types(a: DType, b: DType) -> DType:
    """Return the smallest dtype that holds both, by PyTorch's table."""
    return _promote(a, b)


_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def result_type(operands: list[tuple[DType, str]]) -> DType:
    """Return the dtype in which an op with these operands computes.

    Args:
        operands: (dtype, rank class) of each, the class being `dim` for a tensor with
            dimensions, `zero` for a 0-d tensor, `number` for a Python number.

    A class later in that list matters only where its category (bool, integer, float) is higher
    than that of the classes before it. Source: PyTorch's `torch.result_type`.
    """
    result: DType | None = None
    for rank in ("dim", "zero", "number"):
        here: DType | None = None
        for dtype, klass in operands:
            if klass == rank:
                here = dtype if here is None else _promote(here, dtype)
        if here is None:
            continue
        if result is None:
            result = here
        elif _CATEGORY[here.kind] > _CATEGORY[result.kind]:
            # a number of a higher category brings the default dtype of that category
            result = here if rank != "number" else _number_dtype(here)
    assert result is not None
    return result


def _number_dtype(dtype: DType) -> DType:
    return _default if dtype.kind == "f" else dtype


def of_number(value: bool | int | float) -> DType:
    """Return the dtype that a Python number stands for in promotion."""
    if isinstance(value, bool | np.bool_):
        return bool_
    if isinstance(value, int | np.integer):
        return int64
    return _default


def limits(dtype: DType) -> tuple[int, int]:
    """Return the least and the largest value of an integer dtype."""
    bits = 8 * dtype.itemsize
    return (0, (1 << bits) - 1) if dtype.kind == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)


def overflow(dtype: DType) -> ClgradRuntimeError:
    """Return the error for a number that does not fit into an integer dtype."""
    return ClgradRuntimeError(
        f"value cannot be converted to type {dtype.name} without overflow. Expected numbers from "
        f"{limits(dtype)[0]} to {limits(dtype)[1]}."
    )


_LARGEST = {float16: 65504.0, bfloat16: 3.3895313892515355e38, float32: 3.4028234663852886e38}


def number(value: Any, dtype: DType) -> bool | int | float:
    """Return a Python number as one of `dtype`, which a kernel argument must be.

    Raises:
        ClgradRuntimeError: `dtype` does not hold a number of this size.
    """
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind == "f":
        given = float(value)
        if math.isfinite(given) and abs(given) > _LARGEST.get(dtype, math.inf):
            raise ClgradRuntimeError(
                f"value cannot be converted to type {dtype.name} without overflow: {given}. "
                f"Expected at most {_LARGEST[dtype]}, or inf."
            )
        return given
    low, high = limits(dtype)
    if isinstance(value, float) and not math.isfinite(value):
        raise overflow(dtype)
    whole = int(value)
    if whole > high or whole < (-high if dtype.kind == "u" else low):
        raise overflow(dtype)
    return whole % (high + 1) if dtype.kind == "u" else whole
