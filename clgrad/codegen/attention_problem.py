"""What attention computes, and the arguments that its kernels share, whatever the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from clgrad.codegen.spec import Arg
from clgrad.dtypes import DType, float32, float64
from clgrad.expr import helper_source, name, parse, render, typed
from clgrad.layout import Layout


@dataclass(frozen=True, slots=True)
class AttentionProblem:
    """Attention of queries (batch…, L, E), keys (batch…, S, E) and values (batch…, S, V).

    Attributes:
        dtype: of all but the mask.
        mask_dtype: of the mask, or None.
        causal: query i sees keys up to i.
        q, k, v: layouts, with the same batch dims, broadcast by stride 0; `mask` that of the mask
            over (batch…, L, S).
    """

    dtype: DType
    mask_dtype: DType | None
    causal: bool
    q: Layout
    k: Layout
    v: Layout
    mask: Layout | None

    @property
    def batch(self) -> tuple[int, ...]:
        return self.q.shape[:-2]

    @property
    def mask_rows(self) -> bool:
        """Whether the mask differs from query to query."""
        return self.mask is not None and self.mask.strides[-2] != 0 and self.mask.shape[-2] > 1

    @property
    def acc(self) -> DType:
        """The dtype of sums."""
        return float64 if self.dtype is float64 else float32

    @property
    def result(self) -> Layout:
        """The layout of the result: its dims lie in memory as the query's do."""
        return dense_like(self.q, self.v.shape[-1])

    @property
    def tail(self) -> int:
        """How many elements follow the result: a number for each row (see `_attention.j2`)."""
        return prod(self.q.shape[:-1]) * (4 if self.dtype.itemsize == 2 else 1)

    @property
    def gradients(self) -> tuple[Layout, Layout, Layout]:
        """The layouts of the gradients, which lie one after the other."""
        made, at = [], 0
        for x in (self.q, self.k, self.v):
            layout = dense_like(x, x.shape[-1], at)
            made.append(layout)
            at += layout.numel
        return made[0], made[1], made[2]


def dense_like(x: Layout, size: int, offset: int = 0) -> Layout:
    """Return a dense layout of x's shape, but rows of `size`, with dims in memory as x has them."""
    shape = (*x.shape[:-1], size)
    strides = [1] * len(shape)
    step = size
    order = sorted(range(len(shape) - 1), key=lambda d: (x.strides[d] or 1 << 62, -d))
    for d in order:
        strides[d] = step
        step *= shape[d]
    return Layout(shape, tuple(strides), offset)


@dataclass(frozen=True, slots=True)
class Functions:
    """The exponential and the logarithm of registers: their names, and what they need."""

    power: str
    log: str
    helpers: tuple[str, ...]


def functions_of(acc: DType, width: int) -> Functions:
    """Return the functions of vectors of `width`."""
    names, helpers = {}, []
    for function in ("exp", "log"):
        formula = typed(parse(f"{function}(x)", None), {"x": name("x", acc)}, acc)
        made = render([formula], {"x": "x"}, width)
        names[function] = made.results[0].partition("(")[0]
        helpers += [helper_source(key, width) for key in made.helpers]
    return Functions(names["exp"], names["log"], tuple(dict.fromkeys(helpers)))


def ints(*values: int) -> tuple[Arg, ...]:
    """Return numbers as arguments."""
    return tuple(("int", value) for value in values)


def operand_arguments(k: int, layout: Layout) -> tuple[Arg, ...]:
    """Return operand k: buffer, offset, the strides of its rows and elements."""
    return (("in", k), ("in_offset", k), *ints(*layout.strides[-2:]))


def batch_arguments(sizes: Sequence[int], layouts: Sequence[Layout]) -> tuple[Arg, ...]:
    """Return the size of each batch dim, and its stride in each array."""
    return tuple(
        arg for d, n in enumerate(sizes) for arg in ints(n, *(x.strides[d] for x in layouts))
    )


def operands_of(p: AttentionProblem) -> tuple[tuple[Arg, ...], list[Layout]]:
    """Return the arguments of queries, keys, values and mask, and their layouts."""
    layouts = [p.q, p.k, p.v, *([] if p.mask is None else [p.mask])]
    return tuple(arg for k, x in enumerate(layouts) for arg in operand_arguments(k, x)), layouts
