"""Texts of erf, erfc, lgamma, digamma and trigamma; same rules as in `helpers_exponential`.

Source: polynomials fitted for this library by iteratively reweighted least squares (Lawson) on
Chebyshev nodes against float64 references, rounded to float32; digamma and trigamma by recurrence,
reflection and the asymptotic series of DLMF 5.11 and 5.15.
"""

from __future__ import annotations

SPECIAL: dict[str, str] = {}

# Below 1: x + x P(x*x), fit error 1.2e-9. Above: 1 - e**Q(x), fit error 1.6e-9 of the result; past
# 4 the result rounds to 1.
SPECIAL["erf:f"] = """
static T cg_erf(T x)
{
    F size = cg_abs(x);
    F z = x * x;
    F p = 7.853896386222914e-05f;
    p = p * z - 0.000801020534709096f;
    p = p * z + 0.005188329145312309f;
    p = p * z - 0.026853812858462334f;
    p = p * z + 0.1128358542919159f;
    p = p * z - 0.3761262595653534f;
    p = p * z + 0.1283791065216064f;
    F small = p * x + x;
    F a = size > 4.0f ? F(4.0f) : size;
    F q = 0.00019718165276572108f;
    q = q * a - 0.003055606735870242f;
    q = q * a + 0.02227708511054516f;
    q = q * a - 0.10403735190629959f;
    q = q * a - 0.63705974817276f;
    q = q * a - 1.1277495622634888f;
    q = q * a - 0.00017749550170265138f;
    F large = 1.0f - cg_exp(q);
    large = as_F(as_U(large) | (as_U(x) & 0x80000000u));
    return size <= 1.0f ? small : (x == x ? large : x);
}
"""
# From 1/2 on: e**(-x*x) t P(t), t = 1 / (x + 2), fit error 8.4e-9. x*x is taken apart so that the
# exponent is exact: the head of x has 12 bits, its square is no rounding; the rest is small.
SPECIAL["erfc:f"] = """
static T cg_erfc(T x)
{
    F size = cg_abs(x);
    F a = size > 11.0f ? F(11.0f) : size;
    F t = 1.0f / (a + 2.0f);
    F p = -31.495441436767578f;
    p = p * t + 76.129150390625f;
    p = p * t - 65.78337860107422f;
    p = p * t + 19.688562393188477f;
    p = p * t - 1.4628981351852417f;
    p = p * t + 3.361234426498413f;
    p = p * t + 1.9314160346984863f;
    p = p * t + 1.1303168535232544f;
    p = p * t + 0.5641524791717529f;
    F head = cg_head(a);
    F u = (head - a) * (head + a);
    F e = 8.3333333e-3f;
    e = e * u + 4.1666667e-2f;
    e = e * u + 1.6666667e-1f;
    e = e * u + 0.5f;
    e = (e * (u * u) + u) + 1.0f;
    F tail = cg_exp(-(head * head)) * e;
    F outer = tail * (p * t);
    outer = x < 0.0f ? 2.0f - outer : outer;
    F inner = 1.0f - cg_erf(x);
    return size < 0.5f ? inner : (x == x ? outer : x);
}
"""
# Built-ins of lgamma differ between widths. Eight steps of the recurrence as one product, then
# Stirling's series; below 1/2 by reflection. Near the zeros at 1 and 2 the absolute error counts.
SPECIAL["lgamma:r"] = """
static T cg_lgamma(T x)
{
    T a = x < C(0.5) ? T(1) - x : x;
    T product = T(1);
    for (int k = 0; k < 8; ++k) {
        product = a < T(8) ? product * a : product;
        a = a < T(8) ? a + T(1) : a;
    }
    T z = T(1) / (a * a);
    T series = (C(1.0 / 1260.0) - z * C(1.0 / 1680.0)) * z;
    series = (C(1.0 / 12.0) - z * (C(1.0 / 360.0) - series)) / a;
    T y = (a - C(0.5)) * (cg_log(a) - T(1)) + (C(0.418938533204672742) + series);
    y -= cg_log(product);
    T s = cg_abs(cg_sin((x - rint(x)) * C(3.14159265358979324)));
    y = x < C(0.5) ? C(1.14472988584940017) - cg_log(s) - y : y;
    y = ((x <= T(0)) & (floor(x) == x)) ? T(INFINITY) : y;
    return cg_abs(x) == T(INFINITY) ? T(INFINITY) : y;
}
"""
# Eight steps of the recurrence, without a branch, then the series; below zero by reflection.
SPECIAL["digamma:r"] = """
static T cg_digamma(T x)
{
    T a = x < T(0) ? T(1) - x : x;
    T shift = T(0);
    for (int k = 0; k < 8; ++k) {
        shift += T(1) / a;
        a += T(1);
    }
    T z = T(1) / (a * a);
    T series = z * C(1.0 / 132.0);
    series = z * (C(1.0 / 240.0) - series);
    series = z * (C(1.0 / 252.0) - series);
    series = z * (C(1.0 / 120.0) - series);
    series = z * (C(1.0 / 12.0) - series);
    T y = ((cg_log(a) - C(0.5) / a) - series) - shift;
    T turn = (x - rint(x)) * C(3.14159265358979324);
    y = x < T(0) ? y - C(3.14159265358979324) / cg_tan(turn) : y;
    y = ((x < T(0)) & (floor(x) == x)) ? T(NAN) : y;
    y = x == T(INFINITY) ? x : y;
    return x == T(0) ? copysign(T(INFINITY), -x) : y;
}
"""
SPECIAL["trigamma:r"] = """
static T cg_trigamma(T x)
{
    T a = x < C(0.5) ? T(1) - x : x;
    T sum = T(0);
    for (int k = 0; k < 8; ++k) {
        sum += T(1) / (a * a);
        a += T(1);
    }
    T z = T(1) / (a * a);
    T series = z * C(5.0 / 66.0);
    series = z * (C(1.0 / 30.0) - series);
    series = z * (C(1.0 / 42.0) - series);
    series = z * (C(1.0 / 30.0) - series);
    series = z * (C(1.0 / 6.0) - series);
    T y = ((T(1) + series) / a + C(0.5) * z) + sum;
    T s = C(3.14159265358979324) / cg_sin((x - rint(x)) * C(3.14159265358979324));
    y = x < C(0.5) ? s * s - y : y;
    y = ((x <= T(0)) & (floor(x) == x)) ? T(INFINITY) : y;
    y = x == T(INFINITY) ? T(0) : y;
    return x == T(-INFINITY) ? T(NAN) : y;
}
"""
