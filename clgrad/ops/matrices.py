"""Factors of matrices as ops: each reads contiguous matrices (*, m, n) and makes one row of numbers
for each, in which a template (`matrix_*`) lays out several results one after the other.

Values alone: gradients belong to the functions that are made of them (`functional.factors`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

from clgrad.codegen.matrices import MatrixProblem, MatrixSpec
from clgrad.codegen.spec import Epilogue, Lowered
from clgrad.dtypes import DType, int64
from clgrad.ops.meta import Meta, fresh_meta
from clgrad.ops.registry import REQUIRED, Op, primitive
from clgrad.ops.signature import Signature
from clgrad.traits import DeviceTraits

Sizes = dict[str, int]


def _signature(
    what: str, sizes: Callable[..., Sizes], length: Callable[[Sizes], int], out: DType | None,
    op: Op, metas: tuple[Meta, ...], static: dict[str, Any], device: Any,
) -> Signature:  # fmt: skip
    batch = metas[0].shape[: -1 if what == "rows" else -2]
    flags = tuple((k, v) for k, v in static.items() if isinstance(v, bool))
    named = sizes(*(m.shape for m in metas), **{k: v for k, v in static.items() if type(v) is int})
    shape = (*batch, length(named))
    dtype = out or metas[0].dtype
    spec = MatrixSpec(
        what, tuple((n, m.dtype) for n, m in zip(op.inputs, metas, strict=True)), dtype,
        tuple(named), flags,
    )  # fmt: skip
    problem = MatrixProblem(spec, prod(batch), tuple(named.values()))
    return Signature(
        op, "kernel", space=shape, reads=tuple(m.layout for m in metas),
        dtypes=tuple(m.dtype for m in metas), meta=fresh_meta(dtype, shape, device),
        lower=partial(_lower, problem),
    )  # fmt: skip


def _lower(
    problem: MatrixProblem, sig: Signature, traits: DeviceTraits, epilogue: Epilogue | None
) -> Lowered:
    return problem.lower(traits) if sig.meta.numel else Lowered((), ())


def _kernel(
    what: str, inputs: str, sizes: Callable[..., Sizes], length: Callable[[Sizes], int], doc: str,
    out: DType | None = None, params: tuple[str, ...] = (),
) -> Op:  # fmt: skip
    return primitive(
        f"_matrix_{what}", inputs, partial(_signature, what, sizes, length, out),
        params=tuple((p, REQUIRED) for p in params), doc=doc,
    )  # fmt: skip


def _mn(x: tuple[int, ...]) -> Sizes:
    return {"m": x[-2], "n": x[-1]}


def _least(s: Sizes) -> int:
    return min(s["m"], s["n"])


lu = _kernel(
    "lu", "x", _mn, lambda s: s["m"] * s["n"] + _least(s) + 1,
    "LU factors, pivots, the first zero on the diagonal.", params=("pivoting",),
)  # fmt: skip
rows = _kernel(
    "rows", "x", lambda x, m: {"count": x[-1], "m": m}, lambda s: s["m"],
    "The order of rows that exchanges make.", out=int64, params=("m",),
)  # fmt: skip
cholesky = _kernel(
    "cholesky", "x", lambda x: {"n": x[-1]}, lambda s: s["n"] * s["n"] + 1,
    "Cholesky factors, the first minor that is not positive.",
)  # fmt: skip
solve = _kernel(
    "solve", "x, b", lambda x, b: {"n": x[-1], "columns": b[-1]}, lambda s: s["n"] * s["columns"],
    "Solutions of triangular systems.", params=("upper", "unit"),
)  # fmt: skip
qr = _kernel(
    "qr", "x", _mn, lambda s: s["m"] * s["n"] + _least(s) + s["n"],
    "Householder's reflections, their factors.",
)  # fmt: skip
reflect = _kernel(
    "reflect", "x, b",
    lambda x, b, columns: {**_mn(x), "count": b[-1], "columns": columns},
    lambda s: s["m"] * s["columns"] + s["columns"], "Columns of a product of reflections.",
    params=("columns",),
)  # fmt: skip
eigh = _kernel(
    "eigh", "x", lambda x: {"n": x[-1]}, lambda s: 2 * (s["n"] * s["n"] + s["n"] + 1),
    "Eigenvalues and vectors of symmetric matrices.",
)  # fmt: skip
svd = _kernel(
    "svd", "x", _mn, lambda s: s["m"] + s["m"] * s["m"] + s["m"] * s["n"] + 1,
    "Singular values, rotations and rotated rows of matrices with m <= n.",
)  # fmt: skip
