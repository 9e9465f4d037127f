"""Texts of what takes numbers apart: the next number, exponent and mantissa, common divisors.

See `helpers` for the letters.
"""

from __future__ import annotations

PARTS: dict[str, str] = {}

# The bits of a float, without the sign, count in its own order.
PARTS["nextafter:r"] = """
static T cg_nextafter(T a, T b)
{
    S step = ((b > a) == (a > T(0))) ? S(1) : S(-1);
    T next = as_T(as_S(a) + step);
    next = a == T(0) ? copysign(as_T(S(1)), b) : next;
    next = a == b ? b : next;
    return ((a != a) | (b != b)) ? a + b : next;
}
"""

# The same among the numbers of a 16-bit float, held in a float.
PARTS["nextafter_bfloat16:f"] = """
static T cg_nextafter_bfloat16(T a, T b)
{
    I step = ((b > a) == (a > 0.0f)) ? I(0x10000) : I(-0x10000);
    F next = as_F(as_I(a) + step);
    next = a == 0.0f ? copysign(as_F(I(0x10000)), b) : next;
    next = a == b ? b : next;
    return ((a != a) | (b != b)) ? a + b : next;
}
"""
PARTS["nextafter_float16:f"] = """
static T cg_nextafter_float16(T a, T b)
{
    I step = ((b > a) == (a > 0.0f)) ? I(0x2000) : I(-0x2000);
    F size = cg_abs(a);
    F next = as_F(as_I(a) + step);
    F tiny = b > a ? a + 5.9604644775390625e-08f : a - 5.9604644775390625e-08f;
    next = ((size < 6.103515625e-05f) | ((size == 6.103515625e-05f) & (step < 0))) ? tiny : next;
    next = tiny == 0.0f ? copysign(F(0.0f), a) : next;
    next = size == F(INFINITY) ? copysign(F(65504.0f), a) : next;
    next = a == b ? b : next;
    return ((a != a) | (b != b)) ? a + b : next;
}
"""

for _name in ("nextafter_float16", "nextafter_bfloat16"):
    PARTS[f"{_name}:d"] = f"""
static T cg_{_name}(T a, T b)
{{
    return convert_T(cg_{_name}<float>(convert_F(a), convert_F(b)));
}}
"""

# ---- greatest common divisors by Euclid, and the parts of a float ------------------------------

PARTS["gcd:n"] = """
static T cg_gcd(T a, T b)
{
    V x = as_V(cg_abs(a)), y = as_V(cg_abs(b));
    while (ANY(y != V(0))) {
        V divisor = y == V(0) ? V(1) : y;
        V rest = convert_V(x % divisor);
        x = y != V(0) ? y : x;
        y = y != V(0) ? rest : y;
    }
    return as_T(x);
}
"""
PARTS["exponent:r"] = """
static T cg_exponent(T x)
{
    T e = convert_T(ilogb(x)) + T(1);
    return ((x == T(0)) | (cg_abs(x) == T(INFINITY)) | (x != x)) ? T(0) : e;
}
"""
PARTS["mantissa:f"] = """
static T cg_mantissa(T x)
{
    F m = ldexp(x, -(ilogb(x) + 1));
    return ((x == 0.0f) | (cg_abs(x) == F(INFINITY)) | (x != x)) ? x : m;
}
"""
PARTS["mantissa:d"] = PARTS["mantissa:f"].replace("F(", "D(").replace("F m", "D m")
