"""Between what memory holds and what registers hold: the texts around loads and stores.

Loads and stores themselves are `codegen`'s. float16 and bfloat16 are 16 bits in memory and a float
in a register, converted by integer arithmetic, so that no device needs half types; bool is a byte
in memory and a mask in a vector register.
"""

from __future__ import annotations

from clgrad.dtypes import DType, bfloat16, bool_, float16
from clgrad.expr.emit import vector_type


def load_conversion(dtype: DType, width: int, c_expr: str) -> str:
    """Return the register value of what was loaded.

    Args:
        dtype: what the memory holds.
        width: elements at once.
        c_expr: a value of the stored type, such as `ushort16` for float16.

    The text may call helpers; `helpers_in(text)` gives their keys.
    """
    floats = vector_type("float", width)
    if dtype is bool_:
        if width == 1:
            return f"({c_expr} != 0)"
        return f"convert_int{width}({c_expr} != (uchar)0)"
    if dtype is float16:
        return f"cg_load_half_{floats}({c_expr})"
    if dtype is bfloat16:
        if width == 1:
            return f"as_float((uint)({c_expr}) << 16)"
        return f"as_{floats}(convert_uint{width}({c_expr}) << 16)"
    return c_expr


def store_conversion(dtype: DType, width: int, c_expr: str) -> str:
    """Return the stored form of the register value `c_expr`; the inverse of `load_conversion`.

    float16 and bfloat16 are rounded to nearest, ties to even, with NaN kept a NaN.
    """
    floats = vector_type("float", width)
    if dtype is bool_:
        return f"(uchar)({c_expr})" if width == 1 else f"convert_uchar{width}(({c_expr}) & 1)"
    if dtype is float16:
        return f"cg_store_half_{floats}({c_expr})"
    if dtype is bfloat16:
        return f"cg_store_bfloat16_{floats}({c_expr})"
    return c_expr
