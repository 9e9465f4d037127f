"""In which dtype a pointwise op computes, and whether it is defined there."""

from __future__ import annotations

from collections.abc import Sequence

from clgrad.dtypes import (
    TORCH_NAMES,
    DType,
    bool_,
    by_name,
    get_default_dtype,
    of_number,
    result_type,
)
from clgrad.errors import DTypeError, UnsupportedDTypeError
from clgrad.ops.meta import Meta
from clgrad.ops.registry import Op

_KINDS = {"b": "bool", "u": "unsigned", "i": "integer", "f": "floating-point"}


def computing_dtype(op: Op, operands: Sequence[tuple[str, Meta | type]]) -> DType:
    """Return the dtype in which `op` computes.

    Args:
        operands: (name, meta of a tensor or type of a Python number) of each input.

    Raises:
        DTypeError: there is no common dtype. UnsupportedDTypeError: the op is not defined for it.
    """
    if op.promote == "none":
        return by_name(op.result)
    ranks = []
    for name, operand in operands:
        if name in op.masks:
            continue
        if isinstance(operand, Meta):
            ranks.append((operand.dtype, "dim" if operand.ndim else "zero"))
        else:
            ranks.append((of_number(operand()), "number"))
    dtype = result_type(ranks)
    if op.promote == "float" and not dtype.is_floating_point:
        dtype = get_default_dtype()
    if op.refusal and any(d is bool_ for d, _ in ranks):
        raise DTypeError(f"{op.label}: {op.refusal} Expected {_taken(op)} operands.")
    if dtype.kind not in op.takes:
        hint = "float()" if "f" in op.takes else "long()"
        raise UnsupportedDTypeError(
            f"{op.label}: \"{op.label}\" not implemented for '{TORCH_NAMES[dtype.name]}'. "
            f"Expected {_taken(op)} operands. Hint: cast one with .{hint}."
        )
    return dtype


def _taken(op: Op) -> str:
    return ", ".join(_KINDS[k] for k in op.takes)
