"""Gradients on devices against PyTorch: first and second ones in float64, first in shorter floats.

Derivatives of the pointwise ops are checked numerically, and at kinks, in `host`, because they are
formulas. Here their kernels are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad import dtypes
from clgrad.ops.registry import OPS
from clgrad.testing.samples import arrange, shape_of, smooth
from tests.device.against_torch import arrays, recorded
from tests.device.family import Check, Family
from tests.device.op_cases import (
    EPS,
    bits_of,
    pointwise_names,
    read,
    same_tensor,
    takes_number,
    torch_function,
    torch_tensor,
)

torch = pytest.importorskip("torch")

POINTWISE = [n for n in pointwise_names() if OPS[n].differentiable and OPS[n].result != "bool"]
REDUCTIONS = sorted(
    n for n, op in OPS.items() if op.kind == "reduction" and op.differentiable and n[0] != "_"
)


@pytest.fixture(autouse=True)
def on_device(device: Any) -> Any:
    clgrad.set_default_device(device)
    yield
    clgrad.set_default_device(None)


def test_reductions_in_float64() -> None:
    family = Family()
    for name in [*REDUCTIONS, "var"]:
        values = smooth(OPS[name], "x", (2, 3)) if name in OPS else smooth(OPS["sum"], "x", (2, 3))
        for dim, keepdim in ((-1, False), (None, False), (0, True)):

            def case(m: Any, x: Any, n: str = name, d: Any = dim, k: bool = keepdim) -> Any:
                return getattr(x, n)() if d is None else getattr(x, n)(d, keepdim=k)

            family.add((name, dim), lambda case=case, x=values: recorded(case, [x]))
    family.check()


PRODUCTS = {
    "mm": ((2, 3), (3, 2)), "bmm": ((2, 2, 3), (2, 3, 1)), "dot": ((3,), (3,)),
    "row": ((3,), (3, 2)), "column": ((2, 3), (3,)), "batch": ((2, 1, 2, 2), (2, 2, 1)),
    "tall": ((2, 2, 3), (3, 2)),
}  # fmt: skip


def test_products_in_float64() -> None:
    family = Family()
    for name, shapes in PRODUCTS.items():
        operands = arrays(*shapes)
        family.add(name, lambda x=operands: recorded(lambda m, *given: m.matmul(*given), x))
    family.check()


def _views() -> dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]]:
    return {
        "alias": ((3,), lambda x: x.alias() if hasattr(x, "alias") else x.view_as(x)),
        "as_strided": ((2, 3), lambda x: x.as_strided((2, 2), (1, 2), 1)),
        "diagonal": ((3, 3), lambda x: x.diagonal(1)),
        "expand": ((1, 3), lambda x: x.expand(2, 3)),
        "narrow": ((3, 2), lambda x: x.narrow(0, 1, 2)),
        "permute": ((1, 2, 3), lambda x: x.permute(2, 0, 1)),
        "select": ((2, 3), lambda x: x.select(1, -1)),
        "slice": ((4, 2), lambda x: x[1::2]),
        "squeeze": ((1, 3, 1), lambda x: x.squeeze()),
        "squeeze_dim": ((1, 3, 1), lambda x: x.squeeze(0)),
        "squeeze_dims": ((1, 3, 1), lambda x: x.squeeze((0, 2))),
        "t": ((2, 3), lambda x: x.t()),
        "transpose": ((2, 3), lambda x: x.transpose(0, -1)),
        "unfold": ((5,), lambda x: x.unfold(0, 3, 1)),
        "unsqueeze": ((3,), lambda x: x.unsqueeze(1)),
        "view": ((2, 3), lambda x: x.view(3, -1)),
    }


def test_every_view_is_tried() -> None:
    assert set(_views()) == {n for n, op in OPS.items() if op.kind == "view"}


OTHERS: dict[str, tuple[tuple[int, ...], Callable[[Any, Any], Any]]] = {
    "add with alpha": ((2, 2), lambda m, x: m.add(x, x * x, alpha=2.5)),
    "sub with alpha": ((2, 2), lambda m, x: m.sub(x * x, x, alpha=2.5)),
    "cat": ((2, 2), lambda m, x: m.cat([x, x * 2], 1)),
    "stack": ((2, 2), lambda m, x: m.stack([x, x * 2])),
    "split": ((3, 2), lambda m, x: x.split(2)),
    "unbind": ((2, 2), lambda m, x: x.unbind(1)),
    "reshape": ((2, 3), lambda m, x: x.t().reshape(6)),
    "contiguous": ((2, 3), lambda m, x: x.t().contiguous()),
    "clone": ((3,), lambda m, x: x.clone()),
    "to": ((3,), lambda m, x: x.to(m.float64, copy=True)),
    "write a row": ((2, 3), lambda m, x: _written(x)),
    "write a whole": ((2, 3), lambda m, x: (x * 1).mul_(x)),
}


def _written(x: Any) -> Any:
    out = x.clone()
    out[0] = x[1] * x[0]
    out[:, 1:].mul_(x[:, :2])
    return out


def test_moves_in_float64() -> None:
    """Views, joins and writes are linear in what they move; the square makes them differ."""
    cases = {name: (shape, lambda m, x, f=f: f(x)) for name, (shape, f) in _views().items()}
    family = Family()
    for name, (shape, function) in (cases | OTHERS).items():

        def squared(m: Any, x: Any, function: Any = function) -> Any:
            made = function(m, x)
            return tuple(p * p for p in made) if isinstance(made, tuple) else made * made

        operands = arrays(shape)
        family.add(name, lambda case=squared, x=operands: recorded(case, x))
    family.check()


# ---- shorter floats against PyTorch -------------------------------------------------------------

SHORT = (dtypes.float16, dtypes.bfloat16, dtypes.float32)
LAYOUTS = ("contiguous", "transposed", "sliced", "step", "expanded", "scalar", "odd")
PATTERNS = ("same", "row", "column", "number", "zero-d")


def _rows() -> list[dict[str, Any]]:
    """Return every op with every dtype; layouts and patterns of operands take turns."""
    rows = []
    turns = itertools.cycle(itertools.product(LAYOUTS, PATTERNS))
    for dtype, op in itertools.product(SHORT, POINTWISE):
        for layout, pattern in turns:
            if len(OPS[op].inputs) == 1:
                pattern = "same"
            alone = pattern in ("row", "column") and layout == "scalar"
            if not alone and (pattern != "number" or takes_number(op)):
                break
        rows.append({"op": op, "dtype": dtype, "layout": layout, "pattern": pattern})
    return rows


def test_gradients_in_short_floats(device: Any) -> None:
    """Against PyTorch in float64 on the same rounded numbers.

    PyTorch's own 16-bit gradients round after every step of a formula, ours once at its end, so
    neither is the other's reference.
    """
    rows = list(enumerate(_rows()))
    # what has one dtype and one layout shares kernels
    rows.sort(key=lambda r: (r[1]["dtype"].name, r[1]["layout"], r[1]["pattern"]))
    family = Family()
    for seed, row in rows:
        family.add(row, lambda row=row, seed=seed: _gradients(row, seed, device))
    family.check()


def _gradients(row: dict[str, Any], seed: int, device: Any) -> Check:
    op, dtype = OPS[row["op"]], row["dtype"]
    shape = shape_of(row["layout"])
    theirs, ours, leaves = [], [], []
    last = len(op.inputs) - 1
    for k, name in enumerate(op.inputs):
        size, layout = shape, row["layout"]
        if k == last and last and row["pattern"] == "number":
            theirs.append(1.5)
            ours.append(1.5)
            continue
        if k == last and last and row["pattern"] != "same":
            size = {"row": shape[-1:], "column": (*shape[:1], 1), "zero-d": ()}[row["pattern"]]
            layout = "contiguous"
        values = np.asarray(smooth(op, name, size, seed))
        if name in op.masks:
            theirs.append(torch.from_numpy(np.asarray(values > 0)))
            ours.append(clgrad.tensor(values > 0, device=device))
            continue
        stored, view = arrange(bits_of(torch_tensor(values, dtype)), layout)
        rounded = torch_tensor(stored, dtype)
        a, b = rounded.double(), same_tensor(rounded, device)
        if name in op.derivatives:
            leaves.append((a.requires_grad_(), b.requires_grad_()))
        theirs.append(view(a))
        ours.append(view(b))
    want = torch_function(row["op"])(*theirs)
    got = getattr(clgrad, row["op"])(*ours)
    seeds = torch_tensor(np.random.default_rng(seed).uniform(-1, 1, want.shape), dtype)
    wanted = torch.autograd.grad(want, [a for a, _ in leaves], seeds.double())
    given = clgrad.autograd.grad(got, [b for _, b in leaves], same_tensor(seeds, device))

    def check() -> str | None:
        for (a, b), w, g in zip(leaves, wanted, given, strict=True):
            assert g.dtype is b.dtype
            assert tuple(g.shape) == tuple(a.shape)
            x, y = read(g).astype(np.float64), w.numpy(force=True)
            # results that are read (tanh's y) are rounded, which 1 - y*y multiplies by up to 14
            # in this domain; the rest is a rounding of each formula. Terms of which many are
            # summed for one element of a broadcast operand are about 1 and may cancel.
            summed = want.numel() // max(y.size, 1)
            scale = max(np.abs(y).max(initial=0), 0.25 * summed)
            bound = 4 * EPS[dtype.name] * scale
            if x.size and not np.abs(x - y).max() <= bound:
                return f"off by {np.abs(x - y).max():.3g}, more than {bound:.3g}"
        return None

    return check


# ---- where derivatives are a matter of convention -----------------------------------------------


def test_ties_of_reductions(device: Any) -> None:
    values = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, np.nan, 1.0]])
    for name in ("amax", "amin"):
        x = torch.from_numpy(values.copy()).requires_grad_()
        getattr(x, name)(1).backward(torch.ones(3, dtype=torch.float64))
        ours = clgrad.tensor(values, device=device, requires_grad=True)
        getattr(ours, name)(1).backward(clgrad.ones(3, dtype=dtypes.float64, device=device))
        np.testing.assert_allclose(read(ours.grad), x.grad.numpy())
