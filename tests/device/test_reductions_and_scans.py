"""Reductions that are no plain fold, and scans: values and derivatives as PyTorch's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from derivatives import differences
from twin import same

import clgrad
from clgrad.graph import recorder
from clgrad.testing.interpreter import interpreted

RNG = np.random.default_rng(3)
X = RNG.standard_normal((3, 4, 5))
ONE_ZERO, TWO_ZEROS, NAN, TIES = X.copy(), X.copy(), X.copy(), np.round(X)
ONE_ZERO[:, 1, 2] = 0
TWO_ZEROS[:, 1:3, 2] = 0
NAN[0, :, 2] = np.nan
NAN[1, 2, 3] = np.nan


def method(name: str, *rest: Any, **options: Any) -> Any:
    return lambda m, *x: getattr(m, name)(*x, *rest, **options)


REDUCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "max": (method("max"), (X,)),
    "max_of_ties": (method("max"), (TIES,)),
    "max_of_nan": (method("max"), (NAN,)),
    "min_of_ties": (method("min"), (TIES,)),
    "max_dim": (method("max", 1), (TIES,)),
    "max_dim_keepdim": (method("max", -1, True), (NAN,)),
    "min_dim": (method("min", 0), (TIES,)),
    "max_other": (method("max"), (X, X[:, ::-1].copy())),
    "aminmax": (method("aminmax"), (TIES,)),
    "aminmax_dim": (method("aminmax", dim=1, keepdim=True), (TIES,)),
    "amax_of_dims": (method("amax", (0, 2)), (TIES,)),
    "nansum": (method("nansum", 1), (NAN,)),
    "nanmean": (method("nanmean", (0, 1), True), (NAN,)),
    "var": (method("var"), (X,)),
    "var_dims": (method("var", (0, 2), correction=0, keepdim=True), (X,)),
    "var_biased": (method("var", 1, False), (X,)),
    "std": (method("std", -1), (X,)),
    "std_of_equals": (method("std", 1), (np.ones((2, 3)),)),
    "var_mean": (method("var_mean", 1), (X,)),
    "std_mean": (method("std_mean", (0, 1), correction=2), (X,)),
    "cov": (method("cov"), (X[0],)),
    "cov_of_one": (method("cov", correction=0), (X[0, 0],)),
    "sum_of_dims": (method("sum", (0, 2), True), (X,)),
    "mean_of_dims": (method("mean", (-1, 0)), (X,)),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str) -> None:
    call, arrays = REDUCTIONS[name]
    with interpreted():
        fault = differences(call, arrays)
    assert not fault, fault


def test_reductions_without_a_gradient() -> None:
    def call(m: Any) -> Any:
        seen: list[Any] = []
        x = m.tensor([[0.0, 2.0, float("nan")], [0.0, 0.0, -1.0]])
        whole = m.tensor([[1, 0, 3], [0, 0, 255]], dtype=m.uint8)
        for t in (x, whole, whole != 0):
            for dim in (None, 0, (0, 1), ()):
                seen += [m.all(t, dim), m.any(t, dim)]
            seen += [m.all(t, 1, True), m.count_nonzero(t), m.count_nonzero(t, (0, 1)),
                     t.count_nonzero(1), m.sum(t, 0), m.prod(t, 1), t.max(0), t.min(1)]  # fmt: skip
        for t in (x, whole):
            seen += [t.argmax(), t.argmin(1, keepdim=True), t.argmax(0), t.argmax(keepdim=True)]
        seen += [
            x.sum(axis=1, keepdims=True),
            x.mean(1, dtype=m.float64),
            whole.mean(dtype=m.float32),
        ]
        seen += [m.std(x, unbiased=False)]
        empty = m.zeros(0, 3)
        seen += [empty.all(0), empty.any(), empty.prod(), empty.prod(1), empty.max(1)]
        seen += [empty.nansum(0), empty.count_nonzero(), empty.argmax(1), empty.mean(0)]
        scalar = m.tensor(2.5)
        seen += [scalar.max(0), scalar.sum(-1), scalar.prod(0), scalar.argmax(0)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # PyTorch's, of no degree of freedom
            seen += [empty.std(), empty.var(0), scalar.std(), m.std(x[:1], 0)]
            seen += [m.var(m.ones(3), correction=3)]
        return seen

    same(call)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (lambda m: m.zeros(0).max(), "Expected reduction dim to be specified"),
        (lambda m: m.zeros(0).argmax(), "Expected reduction dim"),
        (lambda m: m.zeros(0, 2).max(0), "Expected reduction dim"),
        (lambda m: m.zeros(0).aminmax(), "cannot compute aminmax over an empty dimension"),
        (lambda m: m.zeros(2).max(1), "Dimension out of range"),
        (lambda m: m.zeros(2).max(dim=None), "invalid combination of arguments"),
        (lambda m: m.zeros(2).argmax(()), "must be int"),
        (lambda m: (m.zeros(2) > 0).argmax(), "does not support bool input"),
        (lambda m: m.zeros(2).long().std(), "only support floating point and complex dtypes"),
        (lambda m: m.zeros(2).long().nanmean(), "expected input to have floating point"),
        (lambda m: m.zeros(2, 2).var(0, 1), "invalid combination of arguments"),
        (lambda m: m.zeros(2).logcumsumexp(1), "Dimension out of range"),
    ],
)  # fmt: skip
def test_mistakes(case: Any, words: str) -> None:
    same(case, words)


def test_names_of_nodes() -> None:
    def call(m: Any) -> Any:
        x = m.ones(2, 3, requires_grad=True)
        made = [
            x.sum(), x.sum(0), x.mean(), x.mean(1), x.prod(), x.prod(0), x.max(), x.max(0)[0],
            x.min(1)[0], x.amax(0), m.aminmax(x)[0], x.std(), x.var(0), m.std_mean(x)[1],
            m.var_mean(x)[0], x.nansum(),
        ]  # fmt: skip
        return [y.grad_fn.name() for y in made]

    same(call)


def test_results_have_names(any_device: Any) -> None:
    found = clgrad.tensor([1.0, 3.0], device=any_device).max(0)
    assert (found.values.item(), found.indices.item()) == (3.0, 1)
    out = (
        clgrad.zeros((), device=any_device),
        clgrad.zeros((), dtype=clgrad.int64, device=any_device),
    )
    clgrad.max(clgrad.tensor([1.0, 3.0], device=any_device), 0, out=out)
    assert (out[0].item(), out[1].item()) == (3.0, 1)


# ---- scans --------------------------------------------------------------------------------------

LENGTHS = ((7,), (2, 83), (83, 2), (3, 4, 70), (150001,), (1,), (), (2, 0, 3))
DTYPES = ("float32", "float16", "int32", "uint8", "bool")
SCANS = ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")


def _equal(got: Any, want: Any) -> bool:
    if got.dtype != want.dtype or got.shape != want.shape:
        return False
    if want.dtype.kind != "f":
        return np.array_equal(got, want)
    a, b = got.astype(np.float64), want.astype(np.float64)
    eps = {2: 2e-3, 4: 3e-6, 8: 1e-13}[want.itemsize]
    scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
    return bool(np.allclose(a, b, eps, eps * scale, equal_nan=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scans(device: Any, dtype: str) -> None:
    """Along every dim of strange lengths, of every layout, in one flush."""
    cases = []
    for shape in LENGTHS:
        values = RNG.standard_normal(shape)
        whole = torch.from_numpy(np.asarray(values * 2 if dtype != "bool" else values > 0))
        whole = whole.abs() if dtype == "uint8" else whole
        whole = whole.to(getattr(torch, dtype))
        ours = clgrad.tensor(whole.numpy(), device=device)
        for dim in range(max(len(shape), 1)):
            for view in (lambda t: t, lambda t: t.t()) if len(shape) == 2 else (lambda t: t,):
                for name in SCANS:
                    if (name == "logcumsumexp" and "float" not in dtype) or (
                        name == "cumprod" and whole.numel() > 1000
                    ):
                        continue
                    want, got = getattr(view(whole), name)(dim), getattr(view(ours), name)(dim)
                    pairs = [(want, got)] if hasattr(want, "dtype") else zip(want, got, strict=True)
                    cases += [(f"{name} {shape} {dim}", w, g) for w, g in pairs]
    recorder.flush()
    wrong = [text for text, w, g in cases if not _equal(g.numpy(), w.numpy())]
    assert not wrong, wrong


GRADIENTS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "cumsum": (method("cumsum", 1), (X,)),
    "cumprod": (method("cumprod", 1), (X,)),
    "cumprod_one_zero": (method("cumprod", 1), (ONE_ZERO,)),
    "cumprod_two_zeros": (method("cumprod", 1), (TWO_ZEROS,)),
    "logcumsumexp": (method("logcumsumexp", 2), (X,)),
    "cummax": (method("cummax", 1), (TIES,)),
    "cummin": (method("cummin", 0), (NAN,)),
    "prod": (method("prod"), (X[0],)),
    "prod_one_zero": (method("prod", 1), (ONE_ZERO,)),
    "prod_two_zeros": (method("prod", 1, True), (TWO_ZEROS,)),
    "prod_of_all_with_a_zero": (method("prod"), (ONE_ZERO[0],)),
    "diff": (method("diff", 2, 1), (X,)),
    "diff_joined": (lambda m, x, y: m.diff(x, prepend=y, append=y), (X, X[:, :, :2].copy())),
    "trapezoid": (method("trapezoid", dim=1), (X,)),
    "trapezoid_at": (lambda m, y, x: m.trapezoid(y, x), (X, X[0, 0])),
    "cumulative_trapezoid": (method("cumulative_trapezoid", dx=0.5), (X,)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_scans(name: str) -> None:
    call, arrays = GRADIENTS[name]
    with interpreted():
        fault = differences(call, arrays)
    assert not fault, fault


def test_scans_in_place(device: Any) -> None:
    x = clgrad.tensor([1.0, 2.0, 3.0], device=device, requires_grad=True)
    y = x * 2
    assert y.cumprod_(0) is y
    y.sum().backward()
    want = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (want * 2).cumprod_(0).sum().backward()
    assert x.grad.tolist() == want.grad.tolist()


def test_a_long_sum_is_exact_enough(device: Any) -> None:
    """A million equal numbers: added one by one in float32 the last would be off by 1 %."""
    x = clgrad.full((1 << 20,), 0.1, device=device)
    assert abs(x.cumsum(0)[-1].item() / (0.1 * (1 << 20)) - 1) < 2e-6
