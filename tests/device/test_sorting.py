"""Sorting and what is made of it: values, positions and derivatives as PyTorch's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from derivatives import differences
from twin import close, outcome, plain

import clgrad
from clgrad.dispatch import apply
from clgrad.graph import recorder
from clgrad.ops.sorting import sorted_positions
from clgrad.testing.interpreter import interpreted
from clgrad.traits import PRESETS

RNG = np.random.default_rng(7)
# one and several runs; digits of a row by one work-item; rows in parts
SHAPES = ((7,), (3, 33), (17, 129), (2, 3, 200), (40000,), (1,), ())
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "uint8", "bool")


def _elements(shape: tuple[int, ...], dtype: str) -> Any:
    """Return a PyTorch tensor with many equal elements, NaN, infinities and both zeros."""
    values = np.asarray(np.round(RNG.standard_normal(shape) * 20))
    made = torch.from_numpy(values)
    if dtype == "bool":
        return made > 0
    if dtype == "uint8":
        return made.abs().to(torch.uint8)
    made = made.to(getattr(torch, dtype))
    if made.is_floating_point() and made.numel() > 4:
        flat = made.reshape(-1)
        flat[::7], flat[::5], flat[::11] = float("nan"), 0.0, -0.0
        flat[1], flat[2] = float("inf"), float("-inf")
    return made


def _ours(theirs: Any, device: Any) -> Any:
    dtype = getattr(clgrad, str(theirs.dtype).removeprefix("torch."))
    host = theirs.float() if theirs.dtype == torch.bfloat16 else theirs
    return clgrad.tensor(host.numpy(), device=device).to(dtype)


def _check(device: Any, shapes: Any, dtypes: Any) -> None:
    cases = []
    for dtype in dtypes:
        for shape in shapes:
            theirs = _elements(shape, dtype)
            ours = _ours(theirs, device)
            for dim in range(max(len(shape), 1)):
                for descending in (False, True):
                    want = theirs.sort(dim=dim, descending=descending, stable=True).indices.numpy()
                    got = apply(sorted_positions, (ours,), (dim, descending, None))
                    cases.append((f"{dtype} {shape} {dim} {descending}", want, got))
                    if shape and shape[dim] > 5:
                        few = apply(sorted_positions, (ours,), (dim, descending, 5))
                        cases.append((f"5 of {dtype} {shape} {dim}",
                                      np.take(want, range(5), dim), few))  # fmt: skip
    recorder.flush()
    wrong = [text for text, want, got in cases if not np.array_equal(got.numpy(), want)]
    assert not wrong, wrong


def test_order(device: Any) -> None:
    """Stable, NaN last, along every dim, for every dtype."""
    _check(device, SHAPES, DTYPES)


@pytest.fixture(params=["gpu-32", "minimal"])
def as_another(request: Any, device: Any) -> Iterator[Any]:
    """A device that believes to be a GPU."""
    own = device.traits
    recorder.flush()
    device.impersonate(
        replace(
            PRESETS[request.param],
            cl_std=own.cl_std,
            disabled=own.disabled,
            max_work_group=min(own.max_work_group, PRESETS[request.param].max_work_group),
        )
    )
    yield device
    recorder.flush()
    device.impersonate(own)


def test_order_as_a_gpu_finds_it(as_another: Any) -> None:
    dtypes = ("float32", "int64", "uint8") if as_another.traits.fp64 else ("float32", "uint8")
    _check(as_another, ((7,), (17, 129), (5000,), (3, 700)), dtypes)


def test_running_sums_as_a_gpu_finds_them(as_another: Any) -> None:
    for shape, dim in (((3, 33), 1), ((33, 3), 0), ((5000,), 0), ((3, 3000), 1)):
        values = RNG.standard_normal(shape).astype(np.float32)
        got = clgrad.tensor(values, device=as_another).cumsum(dim).numpy()
        np.testing.assert_allclose(got, values.astype(np.float64).cumsum(dim), 2e-6, 2e-5)


# ---- functions -----------------------------------------------------------------------------------

X = RNG.permutation(60).reshape(3, 4, 5) / 7.0
WITH_NAN = X.copy()
WITH_NAN[0, 1, 2] = WITH_NAN[2, 1:3, 0] = np.nan


def method(name: str, *rest: Any, **options: Any) -> Any:
    return lambda m, *x: getattr(m, name)(*x, *rest, **options)


GRADIENTS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "sort": (method("sort", 1), (X,)),
    "sort_descending": (method("sort", descending=True), (X,)),
    "msort": (method("msort"), (X,)),
    "topk": (method("topk", 2), (X,)),
    "topk_smallest": (method("topk", 3, 1, False), (X,)),
    "kthvalue": (method("kthvalue", 2, 1, True), (X,)),
    "median": (method("median"), (X,)),
    "median_dim": (method("median", 1), (WITH_NAN,)),
    "nanmedian": (method("nanmedian"), (WITH_NAN,)),
    "nanmedian_dim": (method("nanmedian", 1, True), (WITH_NAN,)),
    "mode": (method("mode", 1), (X,)),
    "quantile": (method("quantile", 0.3), (X,)),
    "quantiles": (
        lambda m, x, q: m.quantile(x, q.detach(), dim=1), (X, np.array([0.2, 0.55, 1.0]))
    ),
    "quantile_of_nan": (method("quantile", 0.4, 2, True), (WITH_NAN,)),
    "nanquantile": (method("nanquantile", 0.6, 1), (WITH_NAN,)),
}  # fmt: skip
for _between in ("lower", "higher", "nearest", "midpoint"):
    GRADIENTS[f"quantile_{_between}"] = (method("quantile", 0.35, 0, interpolation=_between), (X,))


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    call, arrays = GRADIENTS[name]
    with interpreted():
        fault = differences(call, arrays)
    assert not fault, fault


def _agree(device: Any, case: Any) -> None:
    """Assert that a program gives the same with both libraries, ours on `device`."""
    theirs = outcome(case, torch)
    before = clgrad.creation.current.device
    clgrad.creation.current.device = device
    try:
        ours = ("ok", plain(case(clgrad))) if theirs[0] == "ok" else outcome(case, clgrad)
    finally:
        clgrad.creation.current.device = before
    if theirs[0] == "error":
        assert ours[:2] == theirs[:2], f"clgrad {ours}\ntorch {theirs}"
    else:
        assert close(ours[1], theirs[1]), f"clgrad {ours[1]}\ntorch  {theirs[1]}"


def test_positions_and_counts(device: Any) -> None:
    def case(m: Any) -> Any:
        x = m.tensor([3, 1, 3, 0, 7, 1, 1], dtype=m.int64)
        rows = m.tensor([[1.0, 2.0], [0.0, 5.0], [1.0, 2.0], [0.0, 4.0]])
        seen: list[Any] = [
            m.argsort(x), x.argsort(descending=True, stable=True),
            m.argsort(rows, dim=0, stable=True),
            m.unique(x), *m.unique(x, return_inverse=True, return_counts=True),
            *rows.unique(dim=0, return_inverse=True, return_counts=True), rows.unique(dim=1),
            *m.unique_consecutive(x, return_inverse=True, return_counts=True),
            *m.unique_consecutive(rows, dim=0, return_counts=True), m.unique(rows),
            m.unique(m.tensor([1.0, float("nan"), float("nan")])), m.unique(m.zeros(0)),
            x.bincount(), m.bincount(x, minlength=12), m.bincount(x, x.float() / 2),
            m.mode(x), m.mode(rows, 0, True), m.median(x), m.median(rows, 1), x.kthvalue(3)[0],
            m.histc(rows, 4), rows.histc(5, 1, 3), m.histc(m.ones(3), 3),
            m.tensor(2.0).sort(), m.tensor(2.0).topk(1), m.tensor(2.0).median(0),
            m.topk(m.tensor([[1, 5, 2], [9, 0, 3]]), 2)[0], m.zeros(0, 3).sort(0), x.topk(0),
        ]  # fmt: skip
        return seen

    _agree(device, case)


def test_search(device: Any) -> None:
    def case(m: Any) -> Any:
        edges = m.tensor([1.0, 3.0, 3.0, 7.0])
        values = m.tensor([[0.0, 3.0, 5.0], [7.0, 9.0, float("nan")]])
        both = m.tensor([[1, 3, 5], [2, 4, 6]])
        return [
            m.searchsorted(edges, values), m.searchsorted(edges, values, right=True),
            m.searchsorted(edges, values, side="right", out_int32=True), m.searchsorted(edges, 3.0),
            m.bucketize(values, edges), m.bucketize(values.t().contiguous(), edges, right=True),
            m.searchsorted(both, m.tensor([[3, 9], [4, 0]])),
            m.searchsorted(m.tensor([5, 1, 3]), m.tensor([2, 4]), sorter=m.tensor([1, 2, 0])),
            m.searchsorted(edges[:0], values), m.searchsorted(edges.long(), values.double()),
            m.isin(values, edges), m.isin(values, edges, invert=True), m.isin(both, 3),
            m.isin(3, both), m.isin(both, edges), m.isin(both, both[:, :0]),
            m.isin(edges[:0], edges),
            m.isin(values * 50, m.arange(100).flip(0)), m.isin(values, m.arange(70).float() / 0),
        ]  # fmt: skip

    _agree(device, case)


@pytest.mark.parametrize(
    "case",
    [
        lambda m: m.ones(3).topk(4),
        lambda m: m.ones(3).kthvalue(4),
        lambda m: m.ones(3).sort(1),
        lambda m: m.zeros(0, 2).median(0),
        lambda m: m.ones(3).quantile(1.5),
        lambda m: m.ones(3).long().quantile(0.5),
        lambda m: m.ones(3).quantile(0.5, interpolation="cubic"),
        lambda m: m.ones(3).long().histc(3),
        lambda m: m.searchsorted(m.ones(2, 3), m.ones(3, 3)),
        lambda m: m.bucketize(m.ones(3), m.ones(3, 3)),
        lambda m: m.bincount(m.tensor([-1, 2])),
        lambda m: m.bincount(m.ones(3)),
        lambda m: m.ones(3).histc(0),
    ],
)
def test_mistakes(any_device: Any, case: Any) -> None:
    _agree(any_device, case)


def test_nodes(any_device: Any) -> None:
    def case(m: Any) -> Any:
        x = m.ones(2, 3, requires_grad=True)
        made = [
            x.sort(1)[0], x.topk(1)[0], x.kthvalue(1)[0], x.median(), x.median(1)[0], x.mode()[0],
            x.nanmedian(), x.msort(), x.cummax(0)[0],
        ]  # fmt: skip
        return [(y.grad_fn.name(), y.requires_grad) for y in made] + [x.sort(1)[1].requires_grad]

    _agree(any_device, case)
