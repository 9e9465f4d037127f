"""Scalar formulas: parse, differentiate, type, render to OpenCL C, evaluate on the host.

    from clgrad.expr import diff, parse, simplify
    simplify(diff(parse("x * exp(x)"), "x"))

What it is not: no device, no arrays on devices, no templates. A formula says what happens to one
element; who reads and stores the elements is `codegen`'s business. Floor: above `traits`, below
`codegen` and `runtime`.
"""

from clgrad.expr.conversion import load_conversion, store_conversion
from clgrad.expr.cost import count_ops
from clgrad.expr.diff import diff
from clgrad.expr.evaluate import evaluate
from clgrad.expr.functions import TABLE, Function
from clgrad.expr.helpers import helper_source, helpers_in
from clgrad.expr.leaves import leaves_of, replace_parts
from clgrad.expr.node import (
    Expr,
    call,
    const,
    free_names,
    name,
    substitute,
    substitute_all,
)
from clgrad.expr.parse import parse
from clgrad.expr.render import Rendered, render
from clgrad.expr.simplify import simplify
from clgrad.expr.typed import typed

__all__ = [
    "TABLE",
    "Expr",
    "Function",
    "Rendered",
    "call",
    "const",
    "count_ops",
    "diff",
    "evaluate",
    "free_names",
    "helper_source",
    "helpers_in",
    "leaves_of",
    "load_conversion",
    "name",
    "parse",
    "render",
    "replace_parts",
    "simplify",
    "store_conversion",
    "substitute",
    "substitute_all",
    "typed",
]
