"""Writes docs/ops.md, the list of ops, from the records; with --check says whether it is current.

python ci/op_list.py [--check]
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import clgrad
from clgrad.expr import free_names
from clgrad.expr.text import to_text
from clgrad.functional import FAMILIES
from clgrad.nn import functional as nn_functional
from clgrad.ops.registry import OPS, Op

PAGE = Path(__file__).resolve().parent.parent / "docs" / "ops.md"
HEAD = """# The ops

Made from the records by `python ci/op_list.py`; not written by hand.

`g` is the incoming gradient, `y` the op's own result, `n` the number of elements folded. What a
derivative reads is saved for backward, and nothing else. Numbers after `*` are kernel arguments.
Each op takes strided, broadcast, empty and 0-d operands. `default` promotes as PyTorch does,
`float` turns integers into the default float, `integer` adds integers up in int64.
"""
KINDS = {
    "pointwise": "Pointwise",
    "reduction": "Reductions",
    "view": "Views",
    "primitive": "Kernel families",
    "composite": "Composed, with a gradient of their own",
    "creation": "Made from numbers",
}


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return " ".join(text.replace("|", "\\|").split())


def code(text: str) -> str:
    """Return text as code in a cell."""
    return f"`{cell(text)}`" if text else ""


def signature(op: Op) -> str:
    """Return the operands and the parameters, with their defaults."""
    parts = list(op.inputs)
    named = [p if callable(d) or type(d) is object else f"{p}={d!r}" for p, d in op.params]
    return ", ".join([*parts, *(["*", *named] if named else [])])


def derivative(op: Op) -> str:
    """Return what the gradient for each operand is."""
    if op.derivatives:
        return "; ".join(
            f"d{name} = {to_text(op.derivatives[name])}"
            for name in op.inputs
            if op.derivatives.get(name) is not None
        )
    return "by a host function" if op.backward is not None else ""


def saved(op: Op) -> str:
    """Return what its derivatives read of operands and result."""
    names: set[str] = set()
    if op.derivatives:
        for name in op.inputs:
            formula = op.derivatives.get(name)
            if formula is not None:
                names |= free_names(formula)
    else:
        for read in op.saves.values():
            names |= set(read)
    return ", ".join(n for n in (*op.inputs, "y") if n in names)


def records() -> Iterator[str]:
    """Yield the tables of the records."""
    for kind, title in KINDS.items():
        ops = [op for op in OPS.values() if op.kind == kind and not op.name.startswith("_")]
        if not ops:
            continue
        yield f"\n## {title}\n"
        yield "| op | computes | derivative | saves | dtypes | |"
        yield "| --- | --- | --- | --- | --- | --- |"
        for op in ops:
            call = code(f"{op.name.strip('_')}({signature(op)})")
            dtypes = op.promote if kind in ("pointwise", "reduction") else ""
            if op.result != "same" and not op.result.startswith("param"):
                dtypes += f" → {op.result}"
            made = [call, code(op.source), code(derivative(op)), saved(op), dtypes, cell(op.doc)]
            yield f"| {' | '.join(made)} |"


def functions() -> Iterator[str]:
    """Yield the lists of functions that are compositions of these."""
    yield "\n## Functions composed of these\n"
    yield "They fuse as their parts do.\n"
    for family in FAMILIES:
        subject = inspect.getdoc(family).splitlines()[0]
        yield f"- {subject} {', '.join(code(name) for name in sorted(family.__all__))}"
    names = sorted(
        name
        for name, value in vars(nn_functional).items()
        if callable(value) and not name.startswith("_") and not inspect.isclass(value)
        and getattr(value, "__module__", "").startswith("clgrad.nn")
    )  # fmt: skip
    yield f"\n`clgrad.nn.functional`: {', '.join(code(name) for name in names)}"


def text() -> str:
    """Return the page."""
    assert clgrad.__version__
    return "\n".join([HEAD.rstrip(), *records(), *functions()]) + "\n"


def main() -> int:
    """Write the page, or compare it."""
    made = text()
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made:
            print("docs/ops.md is not what the records say. Hint: python ci/op_list.py")
            return 1
        print("docs/ops.md is current")
        return 0
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
