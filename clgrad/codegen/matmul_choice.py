"""How a matrix product may be computed, the cost model's choice first; problems as text.

A text says sizes, layout and dtype: `matmul 64*128x64x512 NT float32` stands for 64 products of
(128, 64) with (64, 512), where A has neighbours along k (`N`; rows adjacent: `T`; neither: `S`) and
B along k (`T`; columns adjacent: `N`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clgrad.codegen import matmul_tuning as tuning
from clgrad.codegen.choice import Expected, expect, random_operand, valued
from clgrad.codegen.matmul_form import Form, MatmulProblem, small_form
from clgrad.codegen.matmul_specs import sum_dtype
from clgrad.codegen.matmul_tuning import Dot, Lanes, Slab, Tile
from clgrad.dtypes import ALL, DType, by_name, float32
from clgrad.errors import ClgradValueError
from clgrad.traits import DeviceTraits

Choice = Tile | Dot | Slab | Lanes
_FIRST = 8
"""Tiles that are worth measuring before others."""
_TEXT = re.compile(r"matmul (?:(\d+)\*)?(\d+)x(\d+)x(\d+) ([NTS])([NTS]) (\w+)")


# ---- choices ------------------------------------------------------------------------------------


def candidates(problem: MatmulProblem, traits: DeviceTraits) -> list[Choice]:
    """Return the ways to compute a problem that is not empty, the one estimated best first."""
    form = small_form(problem)
    m, n, k, batch, size = form.m, form.n, form.k, form.batches, form.acc.itemsize
    if not traits.is_cpu and "matmul" not in traits.disabled:
        slabs = tuning.ordered_slabs(m, n, batch, size, traits)
        unrolled = [replace(x, unroll=u) for x in slabs for u in (2, 8) if u <= x.tile_k]
        first: list[Choice] = [*slabs[:_FIRST], *_lanes(form, traits), *unrolled[:_FIRST]]
        return [*first, *slabs[_FIRST:], *unrolled[_FIRST:]]
    tiles, others = _tiles(form, traits)
    dots = _dots(form, traits)
    if dots and tuning.dot_wins(m, n, k, batch) and (not dots[0].pack_a or m <= n):
        return [*dots, *tiles, *others]
    return [*tiles[:_FIRST], *dots, *others, *tiles[_FIRST:]]


def _tiles(form: Form, traits: DeviceTraits) -> tuple[list[Tile], list[Tile]]:
    """Return register tiles with what the cost model packs, and with what it does not."""
    m, n, k, size = form.m, form.n, form.k, form.acc.itemsize
    pack_b = not form.columns_adjacent or tuning.pack_b(m, n, k, size)
    crowded = form.a.first == 1 and form.a.second * form.a.dtype.itemsize % tuning.PAGE == 0
    pack_a = tuning.pack_a(n, k, form.a.dtype.cl != form.acc.cl, crowded and m > 1)
    tiles = tuning.register_tiles(m, n, form.batches, size, traits)
    found = [replace(x, pack_a=pack_a, pack_b=pack_b) for x in tiles]
    others = []
    for x in found if k > 0 else []:
        others.append(replace(x, pack_a=not pack_a))
        if form.columns_adjacent:
            others += [replace(x, pack_b=not pack_b),
                       replace(x, pack_a=not pack_a, pack_b=not pack_b)]  # fmt: skip
    return found, others


def _lanes(form: Form, traits: DeviceTraits) -> list[Lanes]:
    """Sub-groups read A along k and B along its columns, and hand round float32 alone."""
    adjacent = form.a.second == 1 and form.b.second == 1 and form.n > 1
    return tuning.lanes(traits) if adjacent and form.acc is float32 else []


def _dots(form: Form, traits: DeviceTraits) -> list[Dot]:
    """Inner products need neighbours along k: in B they must be there, A can be packed."""
    if form.b.first != 1 or (form.b.second == 1 and form.n > 1) or form.k == 0:
        return []
    pack_a = form.a.second != 1 and form.k > 1
    tiles = tuning.dot_tiles(form.m, form.n, form.k, form.batches, form.acc.itemsize, traits)
    return [replace(x, pack_a=pack_a) for x in tiles]


# ---- text ---------------------------------------------------------------------------------------


def describe(problem: MatmulProblem) -> str | None:
    """Return the text of a problem, or None for an empty one or one of several dtypes."""
    form = small_form(problem)
    if min(form.m, form.n, form.k, form.batches) == 0 or form.a.dtype is not form.b.dtype:
        return None
    a = "N" if form.a.second == 1 else "T" if form.a.first == 1 else "S"
    b = "N" if form.b.second == 1 else "T" if form.b.first == 1 else "S"
    return _text(form.batches, form.m, form.k, form.n, a + b, form.a.dtype)


def _text(batch: int, m: int, k: int, n: int, layout: str, dtype: DType) -> str:
    stack = f"{batch}*" if batch > 1 else ""
    return f"matmul {stack}{m}x{k}x{n} {layout} {dtype.name}"


def _parsed(text: str) -> tuple[int, int, int, int, str, str, DType]:
    found = _TEXT.fullmatch(text)
    if found is None or found[7] not in {dtype.name for dtype in ALL}:
        raise ClgradValueError(
            f"tune: {text!r} is no product. Expected `matmul MxKxN NN float32`, with `BATCH*` "
            "before M for several and N or T for each operand."
        )
    batch, m, k, n = (int(x or 1) for x in found.groups()[:4])
    if min(batch, m, k, n) == 0:
        raise ClgradValueError(f"tune: {text!r} is empty. Expected sizes of 1 or more.")
    return batch, m, k, n, found[5], found[6], by_name(found[7])


def key_of(text: str) -> str:
    """Return the text of the class of sizes."""
    batch, m, k, n, a, b, dtype = _parsed(text)
    b_, m, k, n = (tuning.size_class(x) for x in (batch, m, k, n))
    return _text(b_, m, k, n, a + b, dtype)


def parse(text: str) -> MatmulProblem:
    """Return the problem of a text; strided operands are every second element of a dense one."""
    batch, m, k, n, a, b, dtype = _parsed(text)
    return _dense(batch, m, k, n, a, b, dtype)


def _dense(batch: int, m: int, k: int, n: int, a: str, b: str, dtype: DType) -> MatmulProblem:
    stack = (batch,) if batch > 1 else ()
    return MatmulProblem(
        m, n, k, stack, _strides(a, m, k, bool(stack)), _strides(b, k, n, bool(stack)),
        dtype, dtype, dtype, aligned=(4, 4),
    )  # fmt: skip


def _strides(layout: str, rows: int, columns: int, stacked: bool) -> tuple[int, ...]:
    step = 2 if layout == "S" else 1
    matrix = (1, rows) if layout == "T" else (step * columns, step)
    return (step * rows * columns, *matrix) if stacked else matrix


# ---- checking -----------------------------------------------------------------------------------


def awkward(problem: MatmulProblem, choice: Choice) -> list[MatmulProblem]:
    """Return problems with edges where the kernels of a choice have theirs."""
    text = describe(problem)
    assert text is not None
    batch, m, k, n, a, b, dtype = _parsed(text)
    if isinstance(choice, Slab):
        rows, columns, depth = choice.tile_m, choice.tile_n, choice.tile_k
    elif isinstance(choice, Lanes):
        rows, columns = choice.rows * choice.height, choice.columns * choice.width
        depth = choice.width
    else:
        lanes = choice.width if isinstance(choice, Tile) else 1
        rows, columns, depth = choice.rows, choice.columns * lanes, choice.width
    batch = min(batch, 3)
    sizes = {
        (min(m, rows + 1), min(k, 2 * depth + 3), min(n, columns + 1)),
        (min(m, 2 * rows), min(k, 4 * depth), min(n, 2 * columns)),
        # not one column, which would be a problem of another kind
        (min(m, 2 * rows + 3), min(k, depth + 1), min(n, max(2 * columns - 1, 2))),
    }
    return [_dense(batch, *size, a, b, dtype) for size in sorted(sizes)]


def operands(problem: MatmulProblem, generator: np.random.Generator) -> list[NDArray[Any]]:
    """Return random operands of a problem that is dense but for every second element."""
    return [
        random_operand(
            dtype, 1 + sum(t * (n - 1) for t, n in zip(strides, shape, strict=True)), generator
        )
        for dtype, strides, shape in _sides(problem)
    ]


def _sides(problem: MatmulProblem) -> list[tuple[DType, tuple[int, ...], tuple[int, ...]]]:
    return [
        (problem.a_dtype, problem.a_strides, (*problem.batch, problem.m, problem.k)),
        (problem.b_dtype, problem.b_strides, (*problem.batch, problem.k, problem.n)),
    ]


def expected(problem: MatmulProblem, arrays: list[NDArray[Any]]) -> Expected:
    """Return the product, and bounds of the errors of its sums and of the rounding to its dtype."""
    views = []
    for (dtype, strides, shape), array in zip(_sides(problem), arrays, strict=True):
        value = valued(array, dtype)
        steps = tuple(stride * value.itemsize for stride in strides)
        views.append(np.lib.stride_tricks.as_strided(value, shape, steps))
    a, b = views
    acc = sum_dtype(problem.a_dtype, problem.b_dtype)
    return expect(np.matmul(a, b), np.abs(a) @ np.abs(b), problem.k, acc, problem.out_dtype)


def result(problem: MatmulProblem) -> tuple[int, DType]:
    """Return the number of elements of the result, and their dtype."""
    return prod(problem.batch) * problem.m * problem.n, problem.out_dtype


def work(problem: MatmulProblem) -> float:
    """Return the multiplications and additions of a problem."""
    return 2.0 * prod(problem.batch) * problem.m * problem.n * problem.k
