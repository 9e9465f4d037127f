"""Derivatives: against differences everywhere, against PyTorch at kinks, poles and NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from clgrad.errors import FormulaError
from clgrad.expr import call, diff, evaluate, free_names, name, parse
from clgrad.expr.functions import TABLE
from clgrad.expr.node import postorder

INTERVALS = {"acosh": (1.1, 4.0), "acos": (-0.9, 0.9), "asin": (-0.9, 0.9), "atanh": (-0.9, 0.9),
             "remainder": (0.5, 3.0), "fmod": (0.5, 3.0), "erfinv": (-0.9, 0.9),
             "trigamma": (0.3, 3.0)}  # fmt: skip
POSITIVE = {"log", "log2", "log10", "log1p", "sqrt", "rsqrt", "pow", "lgamma", "digamma"}
DIFFERENTIABLE = [
    n for n, f in TABLE.items()
    if "f" in f.takes and f.result == "same" and any(d != "0" for d in f.derivatives)
    and n not in ("zeta", "igamma", "igammac", "where", "nextafter_float16", "nextafter_bfloat16")
]  # fmt: skip


def _points(fn: str, rng: np.random.Generator) -> list[Any]:
    low, high = INTERVALS.get(fn, (0.1, 3.0) if fn in POSITIVE else (-3.0, 3.0))
    return [rng.uniform(low, high, 50) for _ in TABLE[fn].params]


@pytest.mark.parametrize("fn", DIFFERENTIABLE)
def test_derivatives_agree_with_differences(fn: str) -> None:
    params = TABLE[fn].params
    expr = call(fn, *[name(p) for p in params])
    point = dict(zip(params, _points(fn, np.random.default_rng(0)), strict=True))
    h = 1e-6
    for p in params:
        slope = evaluate(diff(expr, p), point)
        up, down = ({**point, p: point[p] + s * h} for s in (1, -1))
        with np.errstate(all="ignore"):
            numeric = (evaluate(expr, up) - evaluate(expr, down)) / (2 * h)
        smooth = np.abs(numeric) < 1e4  # not across a step of remainder or the like
        np.testing.assert_allclose(
            np.broadcast_to(slope, numeric.shape)[smooth], numeric[smooth], rtol=2e-5, atol=2e-6
        )


UNARY = ["abs", "sign", "sqrt", "rsqrt", "reciprocal", "exp", "exp2", "expm1", "log", "log2",
         "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
         "asinh", "acosh", "atanh", "erf", "erfc", "sigmoid", "lgamma", "floor", "ceil", "round",
         "trunc"]  # fmt: skip
BINARY = ["pow", "maximum", "minimum", "fmax", "fmin", "atan2", "hypot", "remainder", "fmod"]


@pytest.mark.parametrize("fn", UNARY)
def test_values_and_slopes_of_one_operand_are_pytorchs(fn: str) -> None:
    torch = pytest.importorskip("torch")
    x = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.0, -2.5, math.inf, -math.inf, math.nan])
    if fn == "lgamma":
        x = x[:-2]  # PyTorch's differs from C's at -inf
        x = x[(x > 0) | (x != np.floor(x))]
    t = torch.tensor(x, requires_grad=True)
    y = getattr(torch, fn)(t)
    (slope,) = torch.autograd.grad(y.sum(), t)
    expr = call(fn, name("x"))
    np.testing.assert_allclose(evaluate(expr, {"x": x}), y.detach().numpy(), rtol=1e-13, atol=1e-15)
    got = np.broadcast_to(evaluate(diff(expr, "x"), {"x": x}), x.shape)
    np.testing.assert_allclose(got, slope.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("fn", BINARY)
def test_values_and_slopes_of_two_operands_are_pytorchs(fn: str) -> None:
    torch = pytest.importorskip("torch")
    values = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, math.nan, math.inf]
    a, b = (g.ravel() for g in np.meshgrid(values, values))
    if fn in ("remainder", "fmod"):
        # PyTorch divides first and rounds then, which overflows elsewhere than the quotient does.
        keep = np.isfinite(a) & np.isfinite(b) & (b != 0)
        a, b = a[keep], b[keep]
    ta, tb = (torch.tensor(v, requires_grad=True) for v in (a, b))
    y = getattr(torch, fn)(ta, tb)
    slopes = torch.autograd.grad(y.sum(), (ta, tb))
    expr = call(fn, name("a"), name("b"))
    env = {"a": a, "b": b}
    np.testing.assert_allclose(evaluate(expr, env), y.detach().numpy(), rtol=1e-13)
    for p, slope in zip("ab", slopes, strict=True):
        got = np.broadcast_to(evaluate(diff(expr, p), env), a.shape)
        np.testing.assert_allclose(got, slope.numpy(), rtol=1e-12, err_msg=f"{fn} by {p}: {env}")


def test_derivatives_read_what_the_formula_has() -> None:
    expr = parse("exp(x * w)")
    slope = diff(expr, "x")
    assert expr in set(postorder([slope]))
    assert slope is parse("exp(x * w) * w") or slope is parse("w * exp(x * w)")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("w", "0"), ("x", "1"), ("3 * x", "3"), ("x + w", "1"), ("w - x", "-1"), ("x * x", "x + x"),
        ("-x", "-1"), ("x if w > 0 else 0", "1 if w > 0 else 0"), ("floor(x)", "0"), ("x > w", "0"),
        ("float16(x)", "1"), ("int32(x)", "0"), ("x ** 2", "2 * x"), ("log(x)", "1 / x"),
        ("log(x) if x > 0 else w", "1 / x if x > 0 else 0"), ("isnan(x)", "0"),
        ("random_uniform(x, 1, 2)", "0"),
    ],
)  # fmt: skip
def test_structural_zeros_and_ones_leave_no_trace(text: str, wanted: str) -> None:
    assert diff(parse(text), "x") is parse(wanted)


def test_names_of_the_formula_do_not_clash_with_those_of_the_table() -> None:
    slope = diff(parse("y * g / a"), "a")
    assert free_names(slope) == {"y", "g", "a"}
    assert evaluate(slope, {"y": 3.0, "g": 4.0, "a": 2.0}) == -3.0


def test_second_derivatives() -> None:
    second = diff(diff(parse("tanh(x)"), "x"), "x")
    x = np.linspace(-2, 2, 9)
    y = np.tanh(x)
    np.testing.assert_allclose(evaluate(second, {"x": x}), -2 * y * (1 - y * y), rtol=1e-12)


def test_a_function_without_a_derivative_says_so() -> None:
    with pytest.raises(FormulaError, match="zeta has no derivative"):
        diff(parse("zeta(x, 2)"), "x")
    assert diff(parse("zeta(w, 2) * x"), "x") is parse("zeta(w, 2)")
