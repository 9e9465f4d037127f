"""Texts of the incomplete gamma functions P and Q, and of quantiles of Poisson's distribution.

Below a + 1 by the power series (DLMF 8.11.4), above by the continued fraction (DLMF 8.9.2); their
common factor x**a e**-x / gamma(a) from a = 20 on by Stirling's series (DLMF 5.11.1), so that
nothing large cancels. A lane that has enough terms takes no more, whatever its neighbours do.
"""

from __future__ import annotations

GAMMA: dict[str, str] = {}

_BODY = """
static T cg_{name}(T a, T x)
{{
    T b = (a > T(0)) & (a < T(INFINITY)) ? a : T(1);
    T z = (x > T(0)) & (x < T(INFINITY)) ? x : T(1);
    T d = (z - b) / b;
    T w = T(1) / (b * b);
    T series = C(1.0 / 1188.0) - w * C(691.0 / 360360.0);
    series = C(1.0 / 1260.0) - w * (C(1.0 / 1680.0) - w * series);
    series = (C(1.0 / 12.0) - w * (C(1.0 / 360.0) - w * series)) / b;
    T large = C(0.5) * cg_log(b * C(0.15915494309189535)) - b * (d - cg_log1p(d)) - series;
    T small = b * cg_log(z) - z - cg_lgamma(b);
    T factor = cg_exp(b < T(20) ? small : large);
    T near = z < b + T(1) ? T(1) : T(0);
    T n = b, term = T(1), sum = T(1);
    T on = near;
    for (int k = 0; ANY(on > T(0)) & (k < 5000); ++k) {{
        n += T(1);
        term *= on > T(0) ? z / n : T(1);
        sum += on * term;
        on = term > sum * T({epsilon}) ? on : T(0);
    }}
    T lower = factor * sum / b;
    T e = near > T(0) ? T(3) : z + T(1) - b;
    T c = T({large}), f = T(1) / e, h = f;
    on = T(1) - near;
    for (int k = 1; ANY(on > T(0)) & (k < 5000); ++k) {{
        T t = T(k) * (b - T(k));
        e += T(2);
        f = t * f + e;
        f = T(1) / (f == T(0) ? T({tiny}) : f);
        c = e + t / c;
        c = c == T(0) ? T({tiny}) : c;
        T change = f * c;
        h *= on > T(0) ? change : T(1);
        on = cg_abs(change - T(1)) > T({epsilon}) ? on : T(0);
    }}
    T upper = factor * h;
    T y = {choice};
    T none = T({at_zero}), all = T({at_infinity});
    y = x == T(0) ? none : y;
    y = x == T(INFINITY) ? all : y;
    y = a == T(0) ? (x > T(0) ? all : T(NAN)) : y;
    y = a == T(INFINITY) ? (x == T(INFINITY) ? T(NAN) : none) : y;
    return (x >= T(0)) & (a >= T(0)) ? y : T(NAN);
}}
"""
_KINDS = {
    "f": {"epsilon": "6e-8f", "tiny": "1e-30f", "large": "1e30f"},
    "d": {"epsilon": "1.1e-16", "tiny": "1e-300", "large": "1e300"},
}
for _kind, _numbers in _KINDS.items():
    GAMMA[f"igamma:{_kind}"] = _BODY.format(
        name="igamma", at_zero="0", at_infinity="1",
        choice="near > T(0) ? lower : T(1) - upper", **_numbers,
    )  # fmt: skip
    GAMMA[f"igammac:{_kind}"] = _BODY.format(
        name="igammac", at_zero="1", at_infinity="0",
        choice="near > T(0) ? T(1) - lower : upper", **_numbers,
    )  # fmt: skip

# The least k with probability u or more of k events or fewer, by bisection.
GAMMA["poisson:r"] = """
static T cg_poisson(T rate, T u)
{
    T r = (rate > T(0)) & (rate < T(INFINITY)) ? rate : T(1);
    T low = T(-1), high = ceil(r + T(12) * sqrt(r) + T(30));
    for (int k = 0; ANY(high - low > T(1)) & (k < 64); ++k) {
        T middle = floor((low + high) * C(0.5));
        T found = cg_igammac(middle + T(1), r);
        T enough = found >= u ? T(1) : T(0);
        T on = high - low > T(1) ? T(1) : T(0);
        high = on * enough > T(0) ? middle : high;
        low = on * (T(1) - enough) > T(0) ? middle : low;
    }
    T y = (rate == T(0)) | (rate == T(INFINITY)) ? rate : high;
    return rate >= T(0) ? y : T(NAN);
}
"""
