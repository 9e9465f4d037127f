"""Texts of the modified Bessel functions of order 0 and 1, times e**-|x|.

The power series (DLMF 10.25.2), whose terms are all positive, up to 9 in float32 and 20 in float64;
the asymptotic series (DLMF 10.40.1) beyond, whose smallest term is below rounding there.
"""

from __future__ import annotations

BESSEL: dict[str, str] = {}

for _kind, _split, _terms, _far in (("f", "9.0f", 26, 14), ("d", "20.0", 56, 30)):
    BESSEL[f"i0e:{_kind}"] = f"""
static T cg_i0e(T x)
{{
    T a = cg_abs(x);
    T b = a > {_split} ? T({_split}) : a;
    T z = b * b * C(0.25);
    T term = T(1), sum = T(1);
    for (int k = 1; k < {_terms}; ++k) {{
        term = term * z / T(k * k);
        sum += term;
    }}
    T near = sum * cg_exp(-b);
    T w = C(0.125) / (a > {_split} ? a : T({_split}));
    term = T(1);
    sum = T(1);
    for (int k = 1; k < {_far}; ++k) {{
        term = term * w * T((2 * k - 1) * (2 * k - 1)) / T(k);
        sum += term;
    }}
    T far = sum * C(0.3989422804014327) / sqrt(a);
    return a <= {_split} ? near : (x == x ? far : x);
}}
"""
    BESSEL[f"i1e:{_kind}"] = f"""
static T cg_i1e(T x)
{{
    T a = cg_abs(x);
    T b = a > {_split} ? T({_split}) : a;
    T z = b * b * C(0.25);
    T term = T(1), sum = T(1);
    for (int k = 1; k < {_terms}; ++k) {{
        term = term * z / T(k * (k + 1));
        sum += term;
    }}
    T near = b * C(0.5) * sum * cg_exp(-b);
    T w = C(0.125) / (a > {_split} ? a : T({_split}));
    term = T(1);
    sum = T(1);
    for (int k = 1; k < {_far}; ++k) {{
        term = term * w * T((2 * k - 1) * (2 * k - 1) - 4) / T(k);
        sum += term;
    }}
    T far = sum * C(0.3989422804014327) / sqrt(a);
    T y = a <= {_split} ? near : far;
    return x == x ? copysign(y, x) : x;
}}
"""
