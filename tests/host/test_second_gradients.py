"""First and second derivatives of functions that are no records, against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import clgrad
from clgrad.autograd import gradcheck, gradgradcheck
from clgrad.nn import functional as F
from clgrad.testing.interpreter import interpreted

Case = tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]


def _at(*index: Any) -> Any:
    return clgrad.tensor(index)


M = np.array([[True, False, True], [False, True, True]])


def _written(x: Any, index: Any, value: Any) -> Any:
    y = x.clone()
    y[index] = value
    return y * y


CASES: dict[str, Case] = {
    "index": (lambda x: x[_at(1, 0, 1)] ** 2, ((2, 3),)),
    "index apart": (lambda x: x[_at(1, 0), :, _at(0, 0)] ** 2, ((2, 2, 2),)),
    "mask": (lambda x: x[clgrad.tensor(M)] ** 2, ((2, 3),)),
    "write": (lambda x, v: _written(x, _at(1, 0), v), ((3, 2), (2, 2))),
    "write a mask": (lambda x, v: _written(x, clgrad.tensor(M), v), ((2, 3), (4,))),
    "write one value": (lambda x, v: _written(x, clgrad.tensor(M), v), ((2, 3), ())),
    "gather": (lambda x: x.gather(1, _at([0, 0], [2, 1])) ** 2, ((2, 3),)),
    "index_select": (lambda x: x.index_select(1, _at(2, 0, 2)) ** 2, ((2, 3),)),
    "take": (lambda x: x.take(_at(5, 0, 5)) ** 2, ((2, 3),)),
    "masked_select": (lambda x: x.masked_select(clgrad.tensor(M)) ** 2, ((2, 3),)),
    "scatter": (lambda x, y: x.scatter(1, _at([0, 2], [1, 0]), y) ** 2, ((2, 3), (2, 2))),
    "scatter_add": (lambda x, y: x.scatter_add(0, _at([0, 0]), y) ** 2, ((2, 2), (1, 2))),
    "index_add": (lambda x, y: x.index_add(0, _at(1, 1), y, alpha=3) ** 2, ((2, 2), (2, 2))),
    "index_copy": (lambda x, y: x.index_copy(1, _at(2, 0), y) ** 2, ((2, 3), (2, 2))),
    "index_fill": (lambda x, v: x.index_fill(0, _at(1, 1), v) ** 2, ((2, 2), ())),
    "index_put": (
        lambda x, v: x.index_put((_at(1, 1), _at(0, 0)), v, accumulate=True) ** 2, ((2, 2), (2,)),
    ),
    "put": (lambda x, v: x.put(_at(3, 1), v) ** 2, ((2, 2), (2,))),
    "masked_fill": (lambda x, v: x.masked_fill(clgrad.tensor(M), v) ** 2, ((2, 3), ())),
    "masked_scatter": (lambda x, v: x.masked_scatter(clgrad.tensor(M), v) ** 2, ((2, 3), (5,))),
    "embedding": (lambda w: F.embedding(_at(1, 0, 1), w, 2) ** 2, ((3, 2),)),
    "flip": (lambda x: x.flip(0, 1) ** 2, ((2, 3),)),
    "roll": (lambda x: x.roll((1, 2), (0, 1)) ** 2, ((2, 3),)),
    "rot90": (lambda x: x.rot90() ** 2, ((2, 3),)),
    "repeat": (lambda x: x.repeat(2, 1, 2) ** 2, ((2, 2),)),
    "tril": (lambda x: x.tril(1) ** 2, ((2, 3),)),
    "diag_embed": (lambda x: x.diag_embed(1) ** 2, ((2, 2),)),
    "diag": (lambda x: x.diag() ** 2, ((2, 3),)),
    "trace": (lambda x: x.trace() ** 2, ((2, 3),)),
    "select_scatter": (lambda x, v: x.select_scatter(v, 1, 0) ** 2, ((2, 2), (2,))),
    "pad": (lambda x: F.pad(x, (1, -1, 0, 2), value=2.0) ** 2, ((2, 3),)),
    "pad, mirrored": (lambda x: F.pad(x, (2, 1, 1, 0), "reflect") ** 2, ((1, 2, 3),)),
    "pad, repeated": (lambda x: F.pad(x, (2, 1, 1, 0), "replicate") ** 2, ((1, 2, 2),)),
    "pad, around": (lambda x: F.pad(x, (2, 1), "circular") ** 2, ((1, 3),)),
    "block_diag": (lambda x, y: clgrad.block_diag(x, y) ** 2, ((2, 1), (2,))),
    "einsum": (lambda x, y: clgrad.einsum("bij,kj->bik", x, y), ((2, 1, 2), (3, 2))),
    "einsum of a diagonal": (lambda x, y: clgrad.einsum("ii,i->i", x, y), ((2, 2), (2,))),
    "tensordot": (lambda x, y: clgrad.tensordot(x, y, ([0], [1])), ((2, 2), (1, 2))),
    "addmm": (
        lambda x, a, b: clgrad.addmm(x, a, b, beta=2, alpha=3), ((2,), (2, 2), (2, 2)),
    ),
    "addmv": (lambda x, a, b: clgrad.addmv(x, a, b, alpha=3), ((2,), (2, 3), (3,))),
    "addr": (lambda x, a, b: clgrad.addr(x, a, b, beta=2), ((2, 3), (2,), (3,))),
    "addbmm": (lambda x, a, b: clgrad.addbmm(x, a, b), ((2, 2), (2, 2, 1), (2, 1, 2))),
    "baddbmm": (lambda x, a, b: clgrad.baddbmm(x, a, b), ((2, 1), (2, 2, 1), (2, 1, 1))),
    "dot": (lambda a, b: clgrad.dot(a, b), ((3,), (3,))),
    "mv": (lambda a, b: clgrad.mv(a, b), ((2, 3), (3,))),
    "cross": (lambda a, b: clgrad.linalg.cross(a, b), ((2, 3), (1, 3))),
    "kron": (lambda a, b: clgrad.kron(a, b), ((2, 1), (2,))),
    "multi_dot": (lambda a, b, c: clgrad.linalg.multi_dot([a, b, c]), ((2, 2), (2, 1), (1, 2))),
    "bilinear": (lambda a, b, w: F.bilinear(a, b, w), ((2, 2), (2, 1), (2, 2, 1))),
}  # fmt: skip
for _how in ("sum", "mean", "prod", "amax"):
    for _own in (True, False):
        CASES[f"scatter_reduce {_how} {_own}"] = (
            lambda x, y, how=_how, own=_own: x.scatter_reduce(
                0, _at(0, 2, 0), y, how, include_self=own
            ) ** 2,
            ((4,), (3,)),
        )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name: str) -> None:
    function, shapes = CASES[name]
    rng = np.random.default_rng(0)
    with interpreted():
        operands = [
            clgrad.tensor(rng.uniform(0.5, 2, shape), requires_grad=True) for shape in shapes
        ]
        assert gradcheck(function, operands)
        assert gradgradcheck(function, operands)
