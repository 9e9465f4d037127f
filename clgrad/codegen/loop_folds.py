"""The folds of a loop kernel: accumulators, and the lines that combine them.

What it is not: the loops around them (templates), or the elements that are folded (`loop_body`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clgrad.codegen.loop_spec import FoldSpec
from clgrad.dtypes import DType
from clgrad.expr import render


def lanes(width: int) -> list[str]:
    """Return the component suffixes of a vector of `width`: s0 … sf."""
    return [f"s{k:x}" for k in range(width)]


def vector_type(base: str, width: int) -> str:
    return base if width == 1 else f"{base}{width}"


def splat(text: str, dtype: DType, width: int) -> str:
    """Return a scalar register value repeated in all lanes (bool becomes a mask)."""
    if width == 1:
        return text
    if dtype.kind == "b":
        return f"(int{width})(-({text}))"
    return f"({dtype.register}{width})({text})"


def combine(
    f: int, fold: FoldSpec, into: str, values: Sequence[str], width: int, fresh: str
) -> list[str]:
    """Return the lines that combine `values` into the accumulators `into`, all of them at once."""
    lines = []
    names = {}
    single = len(fold.dtypes) == 1
    for j, (dtype, value) in enumerate(zip(fold.dtypes, values, strict=True)):
        names[f"a{j}"] = f"{into}{f}_{j}"
        if value.isidentifier():
            names[f"b{j}"] = value
        else:
            lines.append(f"const {vector_type(dtype.register, width)} {fresh}{j} = {value};")
            names[f"b{j}"] = f"{fresh}{j}"
    rendered = render(list(fold.combine), names, width)
    body = list(rendered.statements)
    if single:
        body.append(f"{into}{f}_0 = {rendered.results[0]};")
    else:
        for j, dtype in enumerate(fold.dtypes):
            body.append(f"const {vector_type(dtype.register, width)} z{j} = {rendered.results[j]};")
        body += [f"{into}{f}_{j} = z{j};" for j in range(len(fold.dtypes))]
    return [*lines, "{", *(f"    {b}" for b in body), "}"] if len(body) > 1 else lines + body


def one_by_one(f: int, fold: FoldSpec, values: Sequence[str], width: int) -> list[str]:
    """Return the lines that combine the lanes of `values` into the scalar tail, in order."""
    lines = []
    for j, (dtype, value) in enumerate(zip(fold.dtypes, values, strict=True)):
        lines.append(f"const {vector_type(dtype.register, width)} e{f}_{j} = {value};")
    for k in lanes(width):
        elements = [
            f"-e{f}_{j}.{k}" if dtype.kind == "b" else f"e{f}_{j}.{k}"  # a mask becomes 0 or 1
            for j, dtype in enumerate(fold.dtypes)
        ]
        lines += combine(f, fold, "t", elements, 1, f"e{f}_{k}_")
    return lines


def across(f: int, fold: FoldSpec, vectors: Sequence[str], width: int) -> list[str]:
    """Return the lines that fold the lanes of a row's vectors, halves first, into its total."""
    lines: list[str] = []
    while width > 1:
        width //= 2
        low, high = ("lo", "hi") if width > 1 else ("s0", "s1")
        names: dict[str, str] = {}
        for j, (vector, dtype) in enumerate(zip(vectors, fold.dtypes, strict=True)):
            names |= {f"a{j}": f"{vector}.{low}", f"b{j}": f"{vector}.{high}"}
            if dtype.kind == "b" and width == 1:  # a mask becomes 0 or 1
                names |= {f"{x}{j}": f"(-{names[f'{x}{j}']})" for x in "ab"}
        rendered = render(list(fold.combine), names, width)
        vectors = [f"half{width}_{j}" for j in range(len(fold.dtypes))]
        types = [vector_type(d.register, width) for d in fold.dtypes]
        if rendered.statements:
            lines += [f"{t} {v};" for t, v in zip(types, vectors, strict=True)]
            body = [f"{v} = {r};" for v, r in zip(vectors, rendered.results, strict=True)]
            lines += ["{", *(f"    {x}" for x in [*rendered.statements, *body]), "}"]
        else:
            results = zip(types, vectors, rendered.results, strict=True)
            lines += [f"const {t} {v} = {r};" for t, v, r in results]
    lines += combine(f, fold, "t", vectors, 1, "lane")
    return ["{", *(f"    {x}" for x in lines), "}"]


def fold_parts(f: int, fold: FoldSpec, width: int, inner: bool) -> dict[str, Any]:
    """Return declarations and merges of one fold's accumulators.

    Accumulators: `v` over all blocks and `w` within one block (both vectors), `t` the scalar
    tail, `r` the result of the row.

    Args:
        inner: whether the vectors' lanes belong to one row.
    """
    accumulators = []
    for j, (dtype, init) in enumerate(zip(fold.dtypes, fold.init, strict=True)):
        (text,) = render([init], {}, 1).results
        accumulators.append(
            {
                "v": f"v{f}_{j}", "w": f"w{f}_{j}", "t": f"t{f}_{j}", "r": f"r{f}_{j}",
                "scalar": dtype.register,
                "vector": vector_type(dtype.register, width),
                "init": text,
                "start": splat(text, dtype, width),
                "local": f"local{f}_{j}",
            }
        )  # fmt: skip
    vectors = [a["v"] for a in accumulators] if inner and width > 1 else []
    return {
        "accumulators": accumulators,
        "merge": combine(f, fold, "v", [a["w"] for a in accumulators], width, "m"),
        "horizontal": across(f, fold, vectors, width) if vectors else [],
        "tree": combine(
            f, fold, "t", [f"{a['local']}[item + step]" for a in accumulators], 1, "other"
        ),
    }
