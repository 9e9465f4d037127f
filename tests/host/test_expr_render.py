"""The OpenCL C that formulas become, and the helpers it needs."""

from __future__ import annotations

import re

import pytest

from clgrad.dtypes import (
    ALL,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
    uint16,
)
from clgrad.errors import DTypeError, FormulaError
from clgrad.expr import (
    call,
    const,
    helper_source,
    helpers_in,
    load_conversion,
    name,
    parse,
    render,
    store_conversion,
    typed,
)
from clgrad.expr.functions import TABLE


def _render(text: str, dtype: DType, width: int) -> str:
    env = {n: name(n, dtype) for n in "abcx"}
    done = render([typed(parse(text), env, dtype)], {n: n for n in "abcx"}, width)
    return "\n".join([*done.statements, done.results[0]])


@pytest.mark.parametrize(
    ("text", "dtype", "width", "code"),
    [
        ("a + b * c", float32, 1, "a + b * c"),
        ("(a + b) * c", float32, 1, "(a + b) * c"),
        ("a - (b - c)", float32, 1, "a - (b - c)"),
        ("a - b - c", float32, 1, "a - b - c"),
        ("a * (b / c)", float32, 1, "a * (b / c)"),
        ("-a * -b", float32, 1, "-a * -b"),
        ("-(-(a * b))", float32, 1, "-(-(a * b))"),
        ("2 * a", float32, 16, "2.0f * a"),
        ("2 * a", float64, 8, "2.0 * a"),
        ("a if a > 0 else 0.1 * a", float32, 1, "a > 0.0f ? a : 0.1f * a"),
        ("a if a > 0 else 1", float32, 4, "a > 0.0f ? a : (float4)(1.0f)"),
        ("a if a > 0 else 1", float64, 4,
         "convert_long4(convert_int4(a > 0.0)) ? a : (double4)(1.0)"),
        ("exp(a)", float32, 16, "cg_exp_float16(a)"),
        ("exp(a)", float64, 8, "exp(a)"),
        ("exp(a)", float64, 1, "cg_exp_double(a)"),
        ("a + b", int8, 1, "(char)((uint)a + b)"),
        ("a + b", int8, 16, "as_char16(as_uchar16(a) + as_uchar16(b))"),
        ("a * b", int32, 1, "(int)((uint)a * (uint)b)"),
        ("a * b", uint16, 1, "(ushort)((uint)a * b)"),
        ("a + 1", uint8, 16, "a + (uchar)1"),
        ("a < b", float32, 8, "a < b"),
        ("a < b", bool_, 8, "~a & b"),
        ("a < b", int64, 2, "convert_int2(a < b)"),
        ("a < b and not (b < c)", float32, 1, "(a < b) & !(b < c)"),
        ("a + b", bool_, 4, "a | b"),
        ("a < inf", float32, 1, "a < INFINITY"),
        ("a - -2", float32, 1, "a - -2.0f"),
        ("nan", float32, 2, "(float2)(NAN)"),
    ],
)  # fmt: skip
def test_code(text: str, dtype: DType, width: int, code: str) -> None:
    assert _render(text, dtype, width) == code


@pytest.mark.parametrize(
    ("value", "dtype", "code"),
    [
        (-(2**31), int32, "(-2147483647 - 1)"), (-(2**63), int64, "(-9223372036854775807L - 1)"),
        (0.1, float32, "0.1f"), (0.1, float64, "0.1"), (1e-45, float32, "1e-45f"),
        (-0.0, float32, "-0.0f"),
        (1e30, float32, "1e+30f"), (16777217, float32, "16777216.0f"), (7, int64, "7L"),
        (True, bool_, "1"), (-float("inf"), float32, "-INFINITY"),
    ],
)  # fmt: skip
def test_literals(value: float, dtype: DType, code: str) -> None:
    assert render([const(value, dtype)], {}, 1).results == [code]


def test_shared_values_are_temporaries_and_statements_stay_short() -> None:
    code = _render(
        "exp(a) * exp(a) + exp(a) / (b + exp(a) * c) + a * b * c * a * b * c * a", float32, 1
    )
    assert code.count("cg_exp_float(a)") == 1
    assert code.startswith("const float t0 = cg_exp_float(a);")
    assert max(len(line) for line in code.splitlines()) < 140


def test_temporaries_avoid_the_names_of_the_caller() -> None:
    x = name("x", float32)
    doubled = call("exp", x, dtype=float32)
    done = render([call("add", doubled, doubled, dtype=float32)], {"x": "t3"}, 1)
    assert done.statements == ["const float t4 = cg_exp_float(t3);"]


def test_several_outputs_share_statements() -> None:
    env = {"x": name("x", float32)}
    outputs = [typed(parse(t), env, float32) for t in ("exp(x) + 1", "exp(x) * 2", "x", "3")]
    done = render(outputs, {"x": "x0"}, 4)
    assert done.statements == ["const float4 t0 = cg_exp_float4(x0);"]
    assert done.results == ["t0 + 1.0f", "t0 * 2.0f", "x0", "(float4)(3.0f)"]
    assert done.helpers == ("cg_exp_float4",)


def test_render_says_what_is_missing() -> None:
    with pytest.raises(FormulaError, match="no value for 'x'"):
        render([name("x", float32)], {}, 1)
    with pytest.raises(DTypeError, match="has no dtype"):
        render([parse("x + 1")], {"x": "x"}, 1)
    with pytest.raises(FormulaError, match="width 5"):
        render([name("x", float32)], {"x": "x"}, 5)


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16])
def test_every_function_of_every_dtype_has_its_helpers(width: int) -> None:
    for dtype in ALL:
        if dtype.compute is not dtype:
            continue
        for fn, record in TABLE.items():
            if dtype.kind not in record.takes or fn == "cast":
                continue
            env = {p: name(p, dtype) for p in record.params}
            expr = typed(call(fn, *[name(p) for p in record.params]), env, dtype)
            done = render([expr], {p: p for p in record.params}, width)
            known: set[str] = set()
            for key in done.helpers:
                text = helper_source(key, width)
                assert set(helpers_in(text)) - {key} <= known, key
                assert not re.search(
                    r"\b[TFDIULKHSVP]\b|ANY\(|SAME\(|BITS|WIDTH|LOAD\(|STORE\(", text
                )
                assert text.count("FP_CONTRACT OFF") == 1
                known.add(key)


def test_helpers_are_found_in_conversions_and_kernels() -> None:
    code = f"__kernel void cg_pointwise_0a1b2c() {{ {store_conversion(bfloat16, 4, 'x')}; }}"
    assert helpers_in(code) == ("cg_round_bfloat16_float4", "cg_store_bfloat16_float4")
    assert helpers_in(load_conversion(float16, 1, "x[i]")) == ("cg_load_half_float",)
    assert load_conversion(bool_, 8, "v") == "convert_int8(v != (uchar)0)"
    assert load_conversion(float32, 8, "v") == store_conversion(float32, 8, "v") == "v"


def test_unknown_helpers_are_errors() -> None:
    with pytest.raises(FormulaError, match="there is no nonsense"):
        helper_source("cg_nonsense_float4", 4)
    with pytest.raises(FormulaError, match="no key"):
        helper_source("exp", 1)
    with pytest.raises(FormulaError, match="is for width 4"):
        helper_source("cg_exp_float4", 8)
