"""Write typed formulas as OpenCL C statements in single-assignment form.

Every shared value is a temporary `t0, t1, ...`; what is used once is written into its reader while
the line stays short. What it is not: it neither loads nor stores memory and writes no loop; that
is `codegen`. Nothing here recurses, formulas may be thousands of nodes deep.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clgrad.dtypes import DType
from clgrad.errors import DTypeError, FormulaError
from clgrad.expr.emit import PRIMARY, Site, Text, literal, vector_type
from clgrad.expr.functions import TABLE
from clgrad.expr.helpers import helpers_in
from clgrad.expr.node import CONST, NAME, Expr, postorder

_LONGEST_INLINE = 60
_WIDTHS = (1, 2, 3, 4, 8, 16)
_SIMPLE = re.compile(r"[A-Za-z_]\w*(\.\w+)?(\[\w+\])?")
_TEMPORARY = re.compile(r"\bt(\d+)\b")


@dataclass(frozen=True, slots=True)
class Rendered:
    """Statements, one C expression per output, and the helpers that they call.

    Attributes:
        statements: declarations of temporaries, in order.
        results: register values of the outputs, of the whole vector type.
        helpers: keys for `helper_source`, each after those it calls itself.
    """

    statements: list[str]
    results: list[str]
    helpers: tuple[str, ...]


def render(outputs: Sequence[Expr], names: Mapping[str, str], width: int) -> Rendered:
    """Return OpenCL C that computes `outputs` for `width` elements at once.

    Args:
        outputs: typed formulas.
        names: for every leaf the C expression of its register value (see `DType.register`, with
            the width appended; bool is `int` 0/1, or `intW` 0/-1).
        width: 1, 2, 3, 4, 8 or 16.

    Raises:
        FormulaError: a leaf without an entry in `names`, or a width that OpenCL C lacks.
        DTypeError: an untyped node.
    """
    if width not in _WIDTHS:
        raise FormulaError(f"render: width {width}. Expected one of {_WIDTHS}.")
    order = list(postorder(outputs))
    uses = Counter(arg for node in order for arg in node.args)
    uses.update(outputs)
    texts: dict[Expr, Text] = {}
    statements: list[str] = []
    counter = _first_free(names)
    for node in order:
        text = _write(node, texts, names, width)
        shared = uses[node] > 1 or len(text.code) > _LONGEST_INLINE
        if node.args and shared and not text.scalar and not _SIMPLE.fullmatch(text.code):
            register = vector_type(_dtype(node).register, width)
            statements.append(f"const {register} t{counter} = {text.code};")
            text = Text(f"t{counter}")
            counter += 1
        texts[node] = text
    results = []
    for output in outputs:
        dtype = _dtype(output)
        results.append(Site(dtype, dtype, width).full(texts[output]))
    return Rendered(statements, results, helpers_in("\n".join((*statements, *results))))


def _dtype(node: Expr) -> DType:
    if node.dtype is None:
        raise DTypeError(f"render: {node!r} has no dtype. Expected a formula from typed().")
    return node.dtype


def _first_free(names: Mapping[str, str]) -> int:
    """Return a number for the first temporary that collides with no name of the caller."""
    taken = [int(n) for code in names.values() for n in _TEMPORARY.findall(code)]
    return max(taken, default=-1) + 1


def _write(node: Expr, texts: Mapping[Expr, Text], names: Mapping[str, str], width: int) -> Text:
    dtype = _dtype(node)
    if node.op == CONST:
        return literal(node.number, dtype, width)
    if node.op == NAME:
        code = names.get(str(node.value))
        if code is None:
            known = ", ".join(sorted(names)) or "(none)"
            raise FormulaError(f"render: no value for {node.value!r}. Expected one of {known}.")
        return Text(code if _SIMPLE.fullmatch(code) else f"({code})", PRIMARY)
    operands = tuple([_dtype(a) for a in node.args])
    # What a function computes in is the dtype of its last operand: where(c, a, b) has a bool first.
    site = Site(operands[-1], dtype, width, operands)
    return TABLE[node.op].emit(site, [texts[a] for a in node.args])
