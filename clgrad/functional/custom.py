"""Ops of the user's own, from a kernel template."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clgrad.calls import function
from clgrad.dtypes import DType
from clgrad.ops.custom import declare
from clgrad.tensor import Tensor

__all__ = ["primitive"]
METHODS: tuple[str, ...] = ()


def primitive(
    name: str,
    inputs: str,
    source: str | Path,
    *,
    backward: Callable[..., Any] | None = None,
    saves: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    shape: Callable[..., tuple[int, ...]] | None = None,
    dtype: DType | Callable[..., DType] | None = None,
    size: Callable[..., Any] | None = None,
    local: tuple[int, ...] | None = None,
    doc: str = "",
) -> Callable[..., Tensor]:
    """Declare an op of your own by an OpenCL kernel, and return the function that computes it.

    Args:
        name: its name, which must be new.
        inputs: names of the operands, then after `*` parameters with their defaults. Numbers are
            arguments of the kernel (int, or float: double where a tensor is float64); others are
            variables of the template.
        source: the kernel, as Jinja2 over OpenCL C, or the file that holds it. What it is given is
            listed in `clgrad.codegen.custom`.
        backward: `(ctx, g) -> gradients`, one or None for each operand, made of ops. It may ask
            `ctx.saved(name)`, `ctx.param(name)`, `ctx.shape(name)`, `ctx.needs(name)`, and must not
            depend on the elements of tensors.
        saves: what `backward` reads with `ctx.saved`: names of operands, or `y` for the result; by
            operand whose gradient needs it, if a dictionary. Default all operands.
        shape: `(**shapes, **params) -> shape` of the result; default that of the first operand.
        dtype: of the result, or a function of the operands' dtypes; default the first's.
        size: `(y, **shapes, **params) -> work-items`, up to three dimensions; default one for each
            element of the result.
        local: work-items of a group; the number of work-items is rounded up to whole groups. By
            default the driver chooses.
        doc: one sentence.

    Returns:
        A function of the operands and parameters. Operands are made contiguous.

    Raises:
        ClgradValueError: the name is taken.
        FormulaError: at the call, of a template with a mistake. What does not build is a
            CompileError where the result is needed.

    Example:
        >>> plus = clgrad.primitive("plus2", "a, b", '''
        ... __kernel void {{ name }}({{ parameters }})
        ... {
        ...     const {{ index }} i = get_global_id(0);
        ...     {{ y.store("i", a.load("i") ~ " + " ~ b.load("i")) }}
        ... }
        ... ''', backward=lambda ctx, g: (g, g), saves=())
    """
    text = source.read_text() if isinstance(source, Path) else source
    op = declare(
        name, inputs, textwrap.dedent(text), backward=backward, saves=saves, shape=shape,
        dtype=dtype, size=size, local=local, doc=doc,
    )  # fmt: skip
    compute = function(op)
    operands = op.inputs

    def call(*args: Any, **named: Any) -> Tensor:
        args = tuple([a.contiguous() if isinstance(a, Tensor) else a for a in args])
        for one in operands:
            if isinstance(named.get(one), Tensor):
                named[one] = named[one].contiguous()
        made: Tensor = compute(*args, **named)
        return made

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return call
