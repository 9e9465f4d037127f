"""Tests of values for NaN inside kernels: no pass over memory of their own, one flag per value.

A kernel that tests something ends its parameters with `__global int *checks, const int check`, and
its arguments with ("checks",), ("check",): a buffer of flags, and the place of its first one there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clgrad.expr import Expr

NAN, NOT_FINITE = "nan", "not finite"
"""What is looked for."""
PARAMETERS = (("__global int *checks", "buffer"), ("const int check", "i"))
"""Declarations, and types of the arguments."""

_TESTS = {
    NAN: ("isnan({})", "any(isnan({}))"),
    NOT_FINITE: ("!isfinite({})", "!all(isfinite({}))"),
}


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One value that is tested where it is computed.

    Attributes:
        expr: the value, a part of what the kernel computes in any case.
        kind: what is looked for, as above.
        phase: of a loop kernel, the pass in which it is tested.
    """

    expr: Expr
    kind: str
    phase: int = 0


def test(spec: CheckSpec, number: int, value: str, width: int) -> str:
    """Return the statement that sets flag `number` of a kernel if `value` is bad in some lane."""
    condition = _TESTS[spec.kind][width > 1].format(value)
    return f"if ({condition}) checks[check + {number}] = 1;"


def tests(specs: Sequence[CheckSpec], values: Sequence[str], width: int) -> list[str]:
    """Return the statements for several values, numbered from 0."""
    return [test(spec, k, v, width) for k, (spec, v) in enumerate(zip(specs, values, strict=True))]
