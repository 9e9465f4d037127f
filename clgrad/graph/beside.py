"""What kernels of a family do beside their own work: the prologues of operands, the epilogue.

Expressions of a group become what a family is told, over leaves numbered by first use, with the
arguments behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clgrad.codegen.spec import Epilogue, ExtraOperand, Prologue
from clgrad.dtypes import DType
from clgrad.expr import Expr, leaves_of, substitute
from clgrad.expr import name as leaf
from clgrad.graph.checks import Found, Tested
from clgrad.graph.group import Group, Ref
from clgrad.layout import Layout

StepArg = tuple[Any, ...]
"""`("ref", ref)` a buffer, `("temp", k)` scratch of this step, `("scalar", entry, k)` a number of
an entry, `("int", value)`, `("flags",)` and `("flag", entry)` for its errors."""


@dataclass(slots=True)
class Beside:
    """What an epilogue reads beside the sums: operands (ref None for an index), and numbers.

    Or what the prologues read beside the elements.
    """

    operands: list[tuple[Ref | None, Layout]] = field(default_factory=list)
    numbers: list[StepArg] = field(default_factory=list)


def prologue_of(
    group: Group, expr: Expr, over: Layout, beside: Beside
) -> tuple[Prologue, tuple[Ref | None, Layout]]:
    """Return how an operand is made, and of which array in its place; the rest goes to `beside`."""
    rename: dict[str, Expr] = {}
    extras: list[ExtraOperand] = []
    numbers: list[DType] = []
    main: tuple[Ref | None, Layout] | None = None
    stored = expr.dtype
    for item in leaves_of([expr]):
        assert item.dtype is not None
        if item.label[0] == "s":
            rename[item.label] = leaf(f"s{len(numbers)}", item.dtype)
            numbers.append(item.dtype)
            beside.numbers.append(_number(group, item))
            continue
        ref, layout = group.leaves[item.label]
        if layout.strides == over.strides:
            rename[item.label], main, stored = leaf("x", item.dtype), (ref, layout), item.dtype
            continue
        rename[item.label] = leaf(f"x{len(extras)}", item.dtype)
        beside.operands.append((ref, layout))
        extras.append(ExtraOperand(item.dtype, layout.strides))
    assert main is not None and stored is not None
    return Prologue(substitute(expr, rename), stored, tuple(extras), tuple(numbers)), main


def _number(group: Group, item: Expr) -> StepArg:
    entry, position, _ = group.scalars[int(item.label[1:])]
    return ("int", position) if entry is None else ("scalar", entry, position)


def epilogue_of(
    group: Group, tail: Ref, tested: Tested | None, found: Sequence[Found]
) -> tuple[Epilogue, Beside]:
    """Return what is applied to the sums, and what it reads beside them."""
    beside = Beside()
    operands: list[ExtraOperand] = []
    numbers: list[DType] = []
    rename: dict[str, Expr] = {}
    expr = group.members[tail].expr
    for item in leaves_of([expr]):
        if item.label == "acc":
            continue
        assert item.dtype is not None
        if item.label[0] == "s":
            rename[item.label] = leaf(f"s{len(numbers)}", item.dtype)
            numbers.append(item.dtype)
            beside.numbers.append(_number(group, item))
            continue
        ref, layout = group.leaves[item.label]
        rename[item.label] = leaf(f"x{len(operands)}", item.dtype)
        beside.operands.append((ref, layout))
        operands.append(ExtraOperand(item.dtype, layout.strides, ref is None))
    checks = () if tested is None else tested.specs(found, rename)
    epilogue = Epilogue(substitute(expr, rename), tuple(operands), tuple(numbers), checks)
    return epilogue, beside
