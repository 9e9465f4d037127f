"""Evaluate formulas with NumPy: the reference that kernels are compared with.

What it is not: a way to run anything for a user; there is no silent fallback to the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from clgrad.dtypes import DType, bfloat16, bool_, uint32
from clgrad.errors import FormulaError
from clgrad.expr.functions import TABLE
from clgrad.expr.node import CONST, NAME, Expr, postorder

Array = Any


def evaluate(expr: Expr, env: Mapping[str, Array]) -> Array:
    """Return the value of `expr` as an array.

    Args:
        expr: typed or untyped. In an untyped formula NumPy's promotion decides.
        env: arrays (or numbers) that broadcast together. A bfloat16 leaf takes uint16 bits, or
            floats, which are taken as they are.

    Returns:
        An array of the formula's dtype. bfloat16, which NumPy lacks, comes as rounded float32.

    Raises:
        FormulaError: a name that `env` lacks.
    """
    values: dict[Expr, Array] = {}
    with np.errstate(all="ignore"):
        for node in postorder((expr,)):
            values[node] = _value(node, [values[a] for a in node.args], env)
    return np.asarray(values[expr])


def _value(node: Expr, args: list[Array], env: Mapping[str, Array]) -> Array:
    if node.op == CONST:
        return node.number if node.dtype is None else _to_dtype(np.asarray(node.value), node.dtype)
    if node.op == NAME:
        if node.value not in env:
            known = ", ".join(sorted(env)) or "(none)"
            raise FormulaError(
                f"evaluate: the name {node.value!r} has no value. Expected one of {known}."
            )
        found = np.asarray(env[str(node.value)]) if node.dtype else env[str(node.value)]
        return found if node.dtype is None else _to_dtype(_decoded(found, node.dtype), node.dtype)
    function = TABLE[node.op]
    if node.op == "cast":
        assert node.dtype is not None  # a cast always has one
        return _to_dtype(np.asarray(args[0]), node.dtype)
    if node.op == "where":
        args = [np.asarray(args[0]) != 0, *args[1:]]
    if function.result == "float":
        return function.numpy(*args, dtype=node.dtype)
    result = function.numpy(*args)
    return result if node.dtype is None else _to_dtype(np.asarray(result), node.dtype)


def _decoded(array: Array, dtype: DType) -> Array:
    if dtype is bfloat16 and array.dtype == np.uint16:
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array


def _to_dtype(array: Array, dtype: DType) -> Array:
    """Return `array` converted as the kernels convert; see `emit.cast`."""
    if dtype is bfloat16:
        return round_bfloat16(array.astype(np.float32))
    if array.dtype == dtype.numpy:
        return array
    if dtype is bool_:
        return array != 0
    if array.dtype.kind == "f":
        if dtype.is_integral and dtype.itemsize < 4:
            array = array.astype(np.int32)
        elif dtype is uint32:
            array = array.astype(np.int64)
        elif dtype.is_floating_point and dtype.itemsize == 2:
            array = array.astype(np.float32)
    elif dtype.is_floating_point and dtype.itemsize == 2:
        array = array.astype(np.float32)
    return array.astype(dtype.numpy)


def round_bfloat16(x: Array) -> Array:
    """Return float32 values rounded to bfloat16 (to nearest, ties to even; NaN stays NaN)."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    up = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    rounded = (up & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.isnan(x), np.float32(np.nan), rounded).astype(np.float32)


def bfloat16_bits(x: Array) -> Array:
    """Return float32 values as the uint16 bits in which bfloat16 is stored."""
    rounded = round_bfloat16(x).view(np.uint32) >> np.uint32(16)
    return np.where(np.isnan(x), 0x7FC0, rounded).astype(uint32.numpy).astype(np.uint16)
