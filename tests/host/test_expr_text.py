"""Formulas as text: what parse reads, to_text writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clgrad.dtypes import float16, float32, float64
from clgrad.expr import call, const, name, parse, typed
from clgrad.expr.text import ELLIPSIS, to_text
from clgrad.ops import pointwise, reduction  # noqa: F401  # they enter the table
from clgrad.ops.registry import OPS

ROUND_TRIPS = [
    "g * ((1 - y) * y)", "a - (b - c) - d", "a if c else 0.5", "(a if c else b) + 1", "-(x + 1)",
    "-x * y", "-(a * b)", "not a < b and c", "(a < b) == c", "a if c else b if d else e",
    "(a if c else b) if d else e", "pow(a, b - 1)", "float16(x) + 1", "a // b % c", "-(-x)",
    "~(a & b) | c ^ d << 2", "-1.5 * x", "a / (b * c)", "(a or b) and c", "isnan(x)", "inf", "nan",
]  # fmt: skip


@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_writes_what_was_read(text):
    assert to_text(parse(text), None) == text


FORMULAS = st.recursive(
    st.sampled_from([name("a"), name("b"), const(2), const(0.25)]),
    lambda inner: st.one_of(
        st.builds(call, st.sampled_from(["add", "sub", "mul", "div", "remainder"]), inner, inner),
        st.builds(call, st.sampled_from(["lt", "eq", "and", "or", "bitand", "shl"]), inner, inner),
        st.builds(call, st.sampled_from(["not", "bitnot", "exp"]), inner),
        st.builds(call, st.just("where"), inner, inner, inner),
    ),
    max_leaves=12,
)


@given(FORMULAS)
def test_reading_what_was_written_gives_the_same_formula(formula):
    assert parse(to_text(formula, None)) is formula


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.formula], ids=lambda op: op.name)
def test_ops_of_the_table_round_trip(op):
    for formula in (op.formula, *op.derivatives.values()):
        assert parse(to_text(formula, None)) is formula


def test_numbers_are_the_shortest_that_mean_the_same():
    x = name("x", float32)
    assert to_text(typed(parse("x * 0.1 + 1"), {"x": x}, float32)) == "x * 0.1 + 1"
    assert to_text(typed(parse("x * 0.1"), {"x": name("x", float64)}, float64)) == "x * 0.1"
    assert to_text(call("cast", x, dtype=float16)) == "float16(x)"


@pytest.mark.parametrize("limit", [20, 60, 200])
def test_long_formulas_lose_inner_parts_only(limit):
    x = name("x")
    for k in range(3000):  # as a tree it has 2 ** 3000 leaves
        x = call("add", call("mul", x, name(f"a{k}")), x)
    text = to_text(x, limit)
    assert ELLIPSIS in text
    assert len(text) < 2 * limit + 20
    assert text.count("(") == text.count(")")
    assert text == to_text(x, limit)


def test_a_short_part_stays_whole_beside_a_long_one():
    long = parse(" + ".join(f"a{k}" for k in range(100)))
    assert to_text(call("mul", long, parse("b - 1")), 60).endswith("* (b - 1)")


def test_named_parts_are_written_by_their_names():
    y = parse("1 / (1 + exp(-x))")
    assert to_text(call("mul", y, parse("1 - 1 / (1 + exp(-x))")), names={y: "y"}) == "y * (1 - y)"
