"""Kernels of the shapes that drivers are known to miscompile, with NumPy as the judge.

A canary that fails puts its name into `traits.disabled`, which tuning and templates consult:

    reduction       tree over local memory with barriers, halving strides
    scan            prefix sum over local memory
    argmax          two accumulators that move together
    padded_groups   the last group is partly outside, barriers notwithstanding
    nan_max         maximum that propagates NaN, written out
    half_rounding   `vstore_half_rte`
    index64         64-bit index arithmetic
    int64_multiply  64-bit products
    strided_copy    gather by division and remainder
    matmul          33 x 65 x 17 product in tiles of local memory
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clgrad.bringup.check import Check, Data

_GROUP = 64
_N = 1000  # no multiple of the group


def _random(shape: int | tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _integers(size: int) -> NDArray[Any]:
    return np.random.default_rng(1).integers(-50, 50, size).astype(np.int32)


def _groups(values: NDArray[Any]) -> NDArray[Any]:
    """Return `values`, padded with zeros, as rows of one group each."""
    rows = -(-len(values) // _GROUP)
    padded = np.zeros(rows * _GROUP, values.dtype)
    padded[: len(values)] = values
    return padded.reshape(rows, _GROUP)


def _reduction() -> Data:
    x = _integers(_N)
    return [x], _groups(x).sum(1, dtype=np.int32)


def _scan() -> Data:
    x = _integers(_N)
    return [x], np.cumsum(_groups(x), 1, dtype=np.int32).reshape(-1)[:_N].copy()


def _argmax() -> Data:
    x = np.random.default_rng(2).permutation(_N).astype(np.float32) + 1
    return [x], _groups(x).argmax(1).astype(np.int32)


def _padded_groups() -> Data:
    x = _integers(_N)
    reversed_rows = _groups(x)[:, ::-1].reshape(-1)
    return [x], reversed_rows[:_N].copy()


def _nan_max() -> Data:
    a = np.array([1, np.nan, 2, np.nan, -np.inf, np.inf, np.nan, 0], np.float32)
    b = np.array([np.nan, 1, 3, np.nan, np.nan, np.nan, np.inf, -1], np.float32)
    return [a, b], np.maximum(a, b)


def _half_rounding() -> Data:
    # ties to even both ways, near ties, the largest half, what rounds to infinity, infinities
    x = np.concatenate(
        [
            np.array(
                [1 + 2.0**-11, 1 + 3 * 2.0**-11, 2049, 2051, 65504, 65519.9, 65520, 1e9, -1e9]
            ),
            np.array([np.inf, -np.inf, 0.0, -0.0, 1 / 3, -2 / 3]),
            _random(49, 3) * 100,
        ]
    ).astype(np.float32)
    with np.errstate(over="ignore"):
        return [x], x.astype(np.float16).view(np.uint16)


def _index64() -> Data:
    x = _random(64, 4)
    order = ((np.arange(64, dtype=np.uint64) * 37 + 11) % 64).astype(np.int64)
    return [x], x[order]


def _int64_multiply() -> Data:
    a = np.random.default_rng(5).integers(-(2**62), 2**62, 64, dtype=np.int64)
    b = np.random.default_rng(6).integers(-(2**62), 2**62, 64, dtype=np.int64)
    return [a, b], a * b


def _strided_copy() -> Data:
    x = _random((5, 7, 11), 7)
    return [x], np.ascontiguousarray(x[::-1].transpose(2, 0, 1))


def _matmul() -> Data:
    a, b = _random((33, 17), 8), _random((17, 65), 9)
    return [a, b], (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)


_WHOLE = (-(-_N // _GROUP) * _GROUP,)
_LOCAL = (_GROUP,)

CANARIES: tuple[Check, ...] = (
    Check("reduction", """(__global const int *x, const int n) {
    __local int part[64];
    const int l = get_local_id(0), i = get_global_id(0);
    part[l] = i < n ? x[i] : 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int s = 32; s > 0; s >>= 1) {
        if (l < s) part[l] += part[l + s];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (l == 0) y[get_group_id(0)] = part[0];
}""", _reduction, "int", scalars=(("i", _N),), global_size=_WHOLE, local_size=_LOCAL),
    Check("scan", """(__global const int *x, const int n) {
    __local int part[64];
    const int l = get_local_id(0), i = get_global_id(0);
    part[l] = i < n ? x[i] : 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int s = 1; s < 64; s <<= 1) {
        const int left = l >= s ? part[l - s] : 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        part[l] += left;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (i < n) y[i] = part[l];
}""", _scan, "int", scalars=(("i", _N),), global_size=_WHOLE, local_size=_LOCAL),
    Check("argmax", """(__global const float *x, const int n) {
    __local float best[64];
    __local int where[64];
    const int l = get_local_id(0), i = get_global_id(0);
    best[l] = i < n ? x[i] : 0.0f;
    where[l] = l;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int s = 32; s > 0; s >>= 1) {
        if (l < s) {
            const float other = best[l + s];
            const int at = where[l + s];
            if (other > best[l] || (other == best[l] && at < where[l])) {
                best[l] = other;
                where[l] = at;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (l == 0) y[get_group_id(0)] = where[0];
}""", _argmax, "int", scalars=(("i", _N),), global_size=_WHOLE, local_size=_LOCAL),
    Check("padded_groups", """(__global const int *x, const int n) {
    __local int tile[64];
    const int l = get_local_id(0), i = get_global_id(0);
    if (i < n) tile[l] = x[i];
    else tile[l] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (i < n) y[i] = tile[63 - l];
}""", _padded_groups, "int", scalars=(("i", _N),), global_size=_WHOLE, local_size=_LOCAL),
    Check("nan_max", """(__global const float *a, __global const float *b) {
    const int i = get_global_id(0);
    const float p = a[i], q = b[i];
    y[i] = isnan(p) ? p : isnan(q) ? q : p > q ? p : q;
}""", _nan_max, global_size=(8,), tolerance=0.0,
          accept=lambda y: bool(np.array_equal(y, _nan_max()[1], equal_nan=True))),
    Check("half_rounding", """(__global const float *x) {
    const int i = get_global_id(0);
    vstore_half_rte(x[i], i, (__global half *)y);
}""", _half_rounding, "ushort"),
    Check("index64", """(__global const float *x, const long stride) {
    const ulong i = get_global_id(0);
    const ulong far = (i * 37UL + 11UL) * (ulong)stride;
    y[i] = x[(far / (ulong)stride) % 64UL];
}""", _index64, scalars=(("q", 1 << 40),)),
    Check("int64_multiply", """(__global const long *a, __global const long *b) {
    const int i = get_global_id(0);
    y[i] = a[i] * b[i];
}""", _int64_multiply, "long"),
    Check("strided_copy", """(__global const float *x, const int n) {
    const int i = get_global_id(0);
    if (i < n) {
        const int q = i % 7, r = (i / 7) % 5, s = i / 35;
        y[i] = x[308 - 77 * r + 11 * q + s];
    }
}""", _strided_copy, scalars=(("i", 385),), global_size=(448,)),
    Check("matmul", """(__global const float *a, __global const float *b) {
    __local float p[8][8], q[8][8];
    const int c = get_local_id(0), r = get_local_id(1);
    const int col = get_global_id(0), row = get_global_id(1);
    float sum = 0.0f;
    for (int k = 0; k < 17; k += 8) {
        p[r][c] = row < 33 && k + c < 17 ? a[row * 17 + k + c] : 0.0f;
        q[r][c] = col < 65 && k + r < 17 ? b[(k + r) * 65 + col] : 0.0f;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int j = 0; j < 8; j++) sum += p[r][j] * q[j][c];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (row < 33 && col < 65) y[row * 65 + col] = sum;
}""", _matmul, global_size=(72, 40), local_size=(8, 8), tolerance=1e-5),
)  # fmt: skip
"""Every canary; none needs more than OpenCL C 1.2 and groups of 64."""
