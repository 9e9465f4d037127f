"""Limits of dtypes: `finfo` and `iinfo`, as PyTorch's."""

from __future__ import annotations

from typing import Any

from clgrad import dtypes
from clgrad.dtypes import DType
from clgrad.errors import ClgradTypeError

_MANTISSA = {"float16": (10, 15), "bfloat16": (7, 127), "float32": (23, 127), "float64": (52, 1023)}
"""Bits behind the point, and the largest exponent. Source: IEEE 754; bfloat16 cuts float32."""
_RESOLUTION = {"float16": 1e-3, "bfloat16": 1e-2, "float32": 1e-6, "float64": 1e-15}


class _Info:
    """What is known of one dtype."""

    __slots__ = ("bits", "dtype")

    def __init__(self, name: str, kinds: str, dtype: Any) -> None:
        if not isinstance(dtype, DType):
            raise ClgradTypeError(
                f"{name}(): argument 'type' (position 1) must be a dtype, not "
                f"{type(dtype).__name__}."
            )
        if dtype.kind not in kinds:
            other = "iinfo" if name == "finfo" else "finfo"
            wanted = "a floating point" if name == "finfo" else "an integer"
            raise ClgradTypeError(
                f"clgrad.{name}() requires {wanted} input type, got {dtype.name}. Use "
                f"clgrad.{other} for that."
            )
        self.dtype = dtype.name
        self.bits = 8 * dtype.itemsize

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.dtype == self.dtype

    def __hash__(self) -> int:
        return hash((type(self), self.dtype))


class finfo(_Info):  # noqa: N801  # PyTorch's name
    """Limits of a floating-point dtype.

    Args:
        type: the dtype; default: the default one.

    Attributes:
        bits, dtype: size and name.
        max, min: largest number, and the same below zero.
        eps: distance from 1 to the next larger number.
        tiny, smallest_normal: least positive number of full precision.
        resolution: least decimal step that every number of this size tells apart.

    Raises:
        ClgradTypeError: no floating-point dtype.
    """

    __slots__ = ("eps", "max", "min", "resolution", "smallest_normal", "tiny")

    def __init__(self, type: Any = None) -> None:
        super().__init__("finfo", "f", dtypes.get_default_dtype() if type is None else type)
        digits, exponent = _MANTISSA[self.dtype]
        self.eps = 2.0**-digits
        self.max = (2.0 - self.eps) * 2.0**exponent
        self.min = -self.max
        self.tiny = self.smallest_normal = 2.0 ** (1 - exponent)
        self.resolution = _RESOLUTION[self.dtype]

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        listed = ", ".join(f"{n}={getattr(self, n):g}" for n in names)
        return f"finfo({listed}, dtype={self.dtype})"


class iinfo(_Info):  # noqa: N801  # PyTorch's name
    """Limits of an integer dtype.

    Attributes:
        bits, dtype: size and name.
        max, min: largest and least number.

    Raises:
        ClgradTypeError: no integer dtype.
    """

    __slots__ = ("max", "min")

    def __init__(self, type: Any) -> None:
        super().__init__("iinfo", "ui", type)
        self.min, self.max = dtypes.limits(type)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
