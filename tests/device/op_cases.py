"""From samples to tensors of both libraries, and how close two results must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import clgrad
from clgrad import dtypes
from clgrad.dtypes import DType
from clgrad.expr.accuracy import ULP
from clgrad.ops.registry import OPS

TORCH = {d: getattr(torch, d.name) for d in dtypes.ALL}
FLOATS = (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)
# PyTorch itself computes next to nothing in uint16, uint32 and uint64
COMMON = tuple(d for d in dtypes.ALL if d.name not in ("uint16", "uint32", "uint64"))


def torch_tensor(array: Any, dtype: DType) -> Any:
    """Return a PyTorch tensor of an array, rounded to `dtype`."""
    return torch.from_numpy(np.array(array)).to(TORCH[dtype])


def torch_function(name: str) -> Any:
    """Return PyTorch's function of an op's name, wherever it keeps it."""
    for place in (torch, torch.nn.functional, torch.special):
        found = getattr(place, name, None)
        if found is not None:
            return found
    raise AssertionError(
        f"PyTorch has no function {name!r}. Hint: what PyTorch lacks needs a test of its own, "
        "and a name that begins with _ if users do not call it."
    )


def pointwise_names() -> list[str]:
    """Return the pointwise ops that users call by a function of the table.

    Those whose names begin with _ are reached by other functions, as are `to` and `copy`.
    """
    return sorted(
        n for n, op in OPS.items()
        if op.kind == "pointwise" and n[0] != "_" and n not in ("to", "copy")
    )  # fmt: skip


def takes_number(name: str) -> bool:
    """Return whether the last operand may be a number while the others are tensors."""
    op = OPS[name]
    if name == "clamp":
        return False  # its bounds are both numbers or both tensors
    return op.numbers is None or op.inputs[-1] in op.numbers


def bits_of(tensor: Any) -> Any:
    """Return a PyTorch tensor's elements in an array that clgrad takes; bfloat16 as float32."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).contiguous().numpy()


def same_tensor(tensor: Any, device: Any) -> Any:
    """Return clgrad's tensor of the elements of a contiguous one of PyTorch."""
    dtype = getattr(clgrad, str(tensor.dtype).removeprefix("torch."))
    return clgrad.tensor(bits_of(tensor), dtype=dtype, device=device)


def read(tensor: Any) -> Any:
    """Return the elements of clgrad's tensor; bfloat16 as float32."""
    return tensor.detach().numpy(force=True)


EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
TINY = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}


STEPS = {
    "addcdiv": 3, "addcmul": 3, "ldexp": 2, "lerp": 3, "logaddexp": 3, "logaddexp2": 4, "sinc": 5,
    "xlogy": 2, "i0": 8, "lgamma": 8, "digamma": 8, "igamma": 8, "igammac": 8,
}  # fmt: skip
"""Ops that round several times on the way, in another order than PyTorch or exacter than it."""


def scale_of(name: str) -> float:
    """Return the size of what an op adds up, to which its error is relative."""
    sizes = {"addcdiv": 9.0, "addcmul": 9.0, "lerp": 9.0, "logaddexp2": 4.0}
    return (sizes | {"digamma": 4.0, "lgamma": 4.0}).get(name, 0.0)


def ulps_of(name: str, dtype: DType) -> float:
    """Return how many units in the last place an op may be from PyTorch's result.

    Half a unit is PyTorch's own error; the rest is what `expr.accuracy` has measured. In 16 bits
    both round an almost exact float32, which near the middle of two numbers makes one unit.
    """
    if name in STEPS:
        gammas = ("digamma", "lgamma", "igamma", "igammac")
        in_double = 8.0 if name in gammas and dtype.itemsize == 8 else 1.0
        return 1.0 if dtype.itemsize == 2 else STEPS[name] * in_double
    if name in ULP:
        return 1.0 if dtype.itemsize == 2 else 1.0 + ULP[name]
    return 0.0


def check_close(got: Any, want: Any, dtype: DType, ulps: float, scale: float = 0.0) -> str | None:
    """Return how two arrays differ, or None: NaN, infinities and shape must agree exactly.

    Args:
        ulps: allowed difference in units in the last place of each element.
        scale: size of what was summed, where that is larger than the elements.
    """
    if got.shape != want.shape:
        return f"shape {got.shape}, expected {want.shape}"
    if dtype.kind != "f":
        return None if np.array_equal(got, want) else f"{got}\nexpected\n{want}"
    a, b = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(b)
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.maximum(np.maximum(np.abs(b), scale), TINY[dtype.name])
        unit = EPS[dtype.name] * 2.0 ** np.floor(np.log2(np.where(finite, size, 1.0)))
        bad = np.abs(a - b) > ulps * unit
    # denormals may be flushed on some devices
    bad &= ~((np.abs(b) < TINY[dtype.name]) & (np.abs(a) <= TINY[dtype.name]))
    bad = np.where(finite, bad | ~np.isfinite(a), ~((a == b) | (np.isnan(a) & np.isnan(b))))
    if not bad.any():
        return None
    where = np.argwhere(bad)[:4]
    return "; ".join(f"at {w.tolist()} {a[tuple(w)]!r}, expected {b[tuple(w)]!r}" for w in where)
