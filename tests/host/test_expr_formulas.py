"""Reading, sharing, simplifying and typing formulas; nothing here runs a kernel."""

from __future__ import annotations

import gc
import math
import pickle
import threading
import weakref
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from clgrad.dtypes import bool_, float16, float32, float64, int8, int32, int64, uint8, uint32
from clgrad.errors import DTypeError, FormulaError
from clgrad.expr import (
    Expr,
    call,
    const,
    count_ops,
    diff,
    evaluate,
    free_names,
    name,
    parse,
    render,
    simplify,
    substitute,
    typed,
)

DEEP = 20_000


def test_equal_formulas_are_one_object() -> None:
    assert parse("x * exp(x) + 1") is parse("x*exp(x)+1")
    assert parse("exp(x)").args[0] is name("x")
    assert name("x") is not name("x", float32)


def test_constants_are_told_apart_by_type_and_sign() -> None:
    distinct = [const(0), const(0.0), const(-0.0), const(False), const(0, int32), const(0, int64)]
    assert len(set(distinct)) == len(distinct)
    assert const(math.nan) is const(-math.nan)


def test_a_typed_constant_holds_what_its_dtype_can() -> None:
    assert const(300, uint8).value == 44
    assert const(128, int8).value == -128
    assert const(0.1, float32).value == float(np.float32(0.1))
    assert const(2049, float16).value == 2048.0
    with pytest.raises(DTypeError, match=r"0\.5 is no int32"):
        const(0.5, int32)


def test_nodes_are_immutable_and_freed() -> None:
    node = call("add", name("only_here"), const(123456.75))
    with pytest.raises(AttributeError, match="immutable"):
        node.op = "sub"
    watched = weakref.ref(node)
    del node
    gc.collect()
    assert watched() is None


def test_threads_agree_on_one_object() -> None:
    found: list[set[Expr]] = [set() for _ in range(4)]
    ready = threading.Barrier(4)

    def work(k: int) -> None:
        ready.wait()
        found[k] = {call("mul", name("shared"), const(n)) for n in range(500)}

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == found[2] == found[3]


def test_formulas_pickle_to_the_same_object() -> None:
    expr = typed(parse("x ** 2 + float16(x)"), {"x": name("x", float32)}, float32)
    assert pickle.loads(pickle.dumps(expr)) is expr


def test_deep_formulas_do_not_recurse() -> None:
    expr = name("x")
    for _ in range(DEEP):
        expr = call("sin", expr)
    assert count_ops(expr) == 8 * DEEP
    assert free_names(expr) == {"x"}
    assert simplify(expr) is expr
    slope = diff(expr, "x")
    full = typed(expr, {"x": name("x", float32)}, float32)
    assert len(render([full], {"x": "x0"}, 4).statements) > DEEP / 10
    assert evaluate(full, {"x": np.float32([0.5])}).shape == (1,)
    assert count_ops(slope) < 40 * DEEP
    del expr, slope, full
    gc.collect()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * x", 7.0), ("-x ** 2", -9.0), ("2.0 ** -1", 0.5), ("7 // 2", 3), ("-7 // 2", -4),
        ("-7 % 3", 2), ("7 / 2", 3.5), ("1 if x > 2 else 0", 1), ("1 < x < 2", False),
        ("1 < x and x != 4", True), ("not x > 2 or x == 3", True), ("pi", math.pi),
        ("-inf", -math.inf),
        ("maximum(x, 5)", 5.0), ("where(x < 0, 1, 2)", 2), ("+x", 3.0), ("True", True),
        ("(5 & 3) + (5 | 3) + (5 ^ 3) + (1 << 4) + (-16 >> 2) + ~0", 1 + 7 + 6 + 16 - 4 - 1),
        ("float32(x) + uint8(300)", 47.0), ("hypot(x, 4)", 5.0), ("trunc_divide(-7, 2)", -3),
    ],
)  # fmt: skip
def test_the_language(text: str, value: Any) -> None:
    expr = parse(text)
    assert evaluate(expr, {"x": 3.0}) == value
    assert evaluate(simplify(expr), {"x": 3.0}) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x +", "cannot be read"), ("x = 1", "cannot be read"), ("z + 1", "unknown name 'z'"),
        ("foo(x)", "unknown function 'foo'"), ("exp(x, x)", "exp got 2 arguments"),
        ("x.real", "not in the language"), ("x[0]", "not in the language"), ("'a'", "not in the"),
        ("exp(x=x)", "keyword arguments"), ("x is x", "no comparison"), ("cast(x)", "unknown func"),
        ("lambda: x", "not in the language"), ("(" * 300 + "x" + ")" * 300, "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_formula_says_why(text: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        parse(text, {"x"})


def test_a_name_hides_a_constant_only_where_it_is_allowed() -> None:
    assert parse("pi", {"pi"}).op == "name"
    assert parse("pi", {"x"}).op == "const"


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("x * 1", "x"), ("1 * x", "x"), ("x / 1", "x"), ("x - 0", "x"), ("x + -0.0", "x"),
        ("x * -1", "-x"), ("--x", "x"), ("x - -w", "x + w"), ("x + -w", "x - w"),
        ("x ** 2", "x * x"),
        ("x ** 1", "x"), ("x ** 0", "1"), ("x ** 0.5", "sqrt(x)"), ("x ** 3", "x * x * x"),
        ("2 * 3 + x", "6 + x"), ("1 / 2 * x", "0.5 * x"), ("x if 1 < 2 else w", "x"),
        ("x if not x > 0 else w", "w if x > 0 else x"), ("where(x > 0, w, w)", "w"),
        ("x > 0 and True", "x > 0"), ("x > 0 or True", "True"), ("sqrt(4)", "2.0"),
        ("-(2 * x)", "-2 * x"),
    ],
)  # fmt: skip
def test_simplify(text: str, simple: str) -> None:
    assert simplify(parse(text)) is parse(simple)


@pytest.mark.parametrize(
    "text",
    ["x + 0", "0 * x", "x - x", "x / x", "-(x - w)", "x + 0.0", "not x < w", "-(0 * w)", "1 // 0"],
)
def test_what_ieee_does_not_allow_stays(text: str) -> None:
    assert simplify(parse(text)) is parse(text)


LEAVES = st.sampled_from(["x", "w", "0", "1", "-1", "2", "0.5", "-0.0", "3"])
FORMULAS = st.recursive(
    LEAVES,
    lambda e: st.one_of(
        st.builds("({} {} {})".format, e, st.sampled_from(["+", "-", "*", "/"]), e),
        st.builds("(-{})".format, e),
        st.builds("({} if {} < {} else {})".format, e, e, e, e),
        st.builds("({} ** {})".format, st.sampled_from(["x", "w"]), st.sampled_from("0123")),
        st.builds("maximum({}, {})".format, e, e),
    ),
    max_leaves=12,
)
VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, math.inf, -math.inf, math.nan, 1e-300])


@given(FORMULAS, VALUES, VALUES)
def test_simplify_changes_no_value(text: str, x: float, w: float) -> None:
    expr = parse(text)
    env = {"x": name("x", float64), "w": name("w", float64)}
    data = {"x": np.float64(x), "w": np.float64(w)}
    before = evaluate(typed(expr, env, float64), data)
    after = evaluate(typed(simplify(expr), env, float64), data).astype(np.float64)
    np.testing.assert_array_equal(before, after)
    if not np.isnan(before):
        assert np.signbit(before) == np.signbit(after)


def test_substitute_is_simultaneous() -> None:
    swapped = substitute(parse("x - w"), {"x": name("w"), "w": name("x")})
    assert swapped is parse("w - x")


def test_typed_computes_in_one_dtype_and_casts_leaves() -> None:
    env = {"x": name("x", float16), "n": name("n", int64)}
    expr = typed(parse("x * n + 1"), env, float32)
    assert expr.dtype is float32
    product, one = expr.args
    assert [a.op for a in product.args] == ["cast", "cast"]
    assert one is const(1.0, float32)
    comparison = typed(parse("x < n"), env, float32)
    assert comparison.dtype is bool_
    assert comparison.args[0].dtype is float32
    assert typed(parse("x"), env, float32) is env["x"]
    assert typed(parse("where(x > 0, x > 1, n > 1)"), env, float32).dtype is bool_
    assert typed(parse("random_bits(n, 1, 2) + 1"), env, int64).args[0].args[0].dtype is uint32


def test_only_floats_differ_from_themselves() -> None:
    formula = parse("a > b or (a != a and b == b)")
    for dtype, left in ((int32, "a > b"), (float32, "a > b or (a != a and b == b)")):
        env = {key: name(key, dtype) for key in "ab"}
        assert typed(formula, env, dtype) is typed(parse(left), env, dtype)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x / 2", "div: cannot compute in int32"),
        ("exp(x)", "exp: cannot"),
        ("x * 0.5", "0.5 is no"),
    ],
)
def test_functions_refuse_dtypes_in_which_they_do_not_compute(text: str, message: str) -> None:
    with pytest.raises(DTypeError, match=message):
        typed(parse(text), {"x": name("x", int32)}, int32)


def test_typed_refuses_storage_dtypes_and_unbound_names() -> None:
    with pytest.raises(DTypeError, match="cannot compute in float16"):
        typed(parse("x"), {"x": name("x", float16)}, float16)
    with pytest.raises(FormulaError, match="'w' is not bound"):
        typed(parse("x + w"), {"x": name("x", float32)}, float32)
    with pytest.raises(FormulaError, match="'x' has no value"):
        evaluate(parse("x"), {})


def test_a_shared_node_costs_once() -> None:
    assert count_ops(parse("exp(x) * exp(x)")) == 9
    assert count_ops(parse("x")) == 0
