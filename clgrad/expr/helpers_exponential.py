"""Texts of exp, log, pow and the hyperbolic functions in float32; float64 calls the built-ins.

Written without `fma` (a slow call on some CPU runtimes), without branches, and from operations that
IEEE rounds exactly, so that every width and every device gives the same bits. Accuracy is stated
per function as measured, over the whole range, against float64: see `tests/device`.

Source: argument reductions and polynomials of exp, expm1, log, log1p, tanh and sinh after
S. L. Moshier's Cephes library (expf, logf, tanhf, sinhf); the double-single logarithm of pow after
Sun's fdlibm (e_powf); the rest is derived in the comments.
"""

from __future__ import annotations

EXPONENTIAL: dict[str, str] = {}

_BUILTINS = (
    "exp exp2 expm1 log log2 log10 log1p sinh cosh tanh asinh acosh atanh "
    "sin tan asin acos atan erf erfc"
)
for _name in _BUILTINS.split():
    EXPONENTIAL[f"{_name}:d"] = f"""
static T cg_{_name}(T x)
{{
    return SAME({_name}, x);
}}
"""
# A lane that is zero, infinite or NaN spoils its neighbours in PoCL 3.1's vector forms.
EXPONENTIAL["pow:d"] = """
static T cg_pow(T a, T b)
{
    T size = cg_abs(a), extent = cg_abs(b);
    S plain = (size > T(0)) & (size < T(INFINITY)) & (extent < T(INFINITY));
    T base = plain ? a : T(1), exponent = plain ? b : T(1);
    T y = SAME(pow, base, exponent);
    T edge = ((size > T(1)) == (b > T(0))) ? T(INFINITY) : T(0);
    T middle = b * C(0.5);
    edge = ((floor(b) == b) & (floor(middle) != middle)) ? copysign(edge, a) : edge;
    edge = ((a != a) | (b != b)) ? a + b : edge;
    edge = ((b == T(0)) | (a == T(1)) | ((size == T(1)) & (extent == T(INFINITY)))) ? T(1) : edge;
    return plain ? y : edge;
}
"""
for _name in ("atan2", "hypot"):
    EXPONENTIAL[f"{_name}:d"] = f"""
static T cg_{_name}(T a, T b)
{{
    return SAME({_name}, a, b);
}}
"""

# e**r - 1 - r over r*r for |r| <= ln(2)/2.
_EXP_POLYNOMIAL = """
    F p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;"""

# x = n ln 2 + r. Adding 1.5 * 2**23 rounds to an integer and leaves it in the low bits, without
# a conversion; ln 2 is split so that n times its head is exact (Cody and Waite).
_EXP_REDUCTION = """
    F t = x * 1.44269504f + 12582912.0f;
    I n = as_I(t) - 0x4b400000;
    t -= 12582912.0f;
    F r = (x - t * 0.693359375f) - t * -2.12194440e-4f;"""

# 2**n in two factors, so that results near overflow and below the normal range come out right.
_EXP_SCALE = """
    I half_n = n >> 1;
    return (p * as_F((half_n + 127) << 23)) * as_F((n - half_n + 127) << 23);"""

EXPONENTIAL["exp:f"] = f"""
static T cg_exp(T x)
{{
    x = x > 89.0f ? F(89.0f) : x;
    x = x < -104.0f ? F(-104.0f) : x;{_EXP_REDUCTION}{_EXP_POLYNOMIAL}
    p = (p * (r * r) + r) + 1.0f;{_EXP_SCALE}
}}
"""
EXPONENTIAL["exp2:f"] = f"""
static T cg_exp2(T x)
{{
    x = x > 129.0f ? F(129.0f) : x;
    x = x < -151.0f ? F(-151.0f) : x;
    F t = x + 12582912.0f;
    I n = as_I(t) - 0x4b400000;
    F r = (x - (t - 12582912.0f)) * 0.693147181f;{_EXP_POLYNOMIAL}
    p = (p * (r * r) + r) + 1.0f;{_EXP_SCALE}
}}
"""
# 2**n (e**r - 1) + (2**n - 1), half of it first so that n = 128 does not overflow too early.
EXPONENTIAL["expm1:f"] = f"""
static T cg_expm1(T x)
{{
    F whole = x;
    x = x > 89.0f ? F(89.0f) : x;
    x = x < -20.0f ? F(-20.0f) : x;{_EXP_REDUCTION}{_EXP_POLYNOMIAL}
    p = p * (r * r) + r;
    F scale = as_F((n + 126) << 23);
    p = (p * scale + (scale - 0.5f)) * 2.0f;
    return cg_abs(whole) < 5.9e-8f ? whole : p;
}}
"""

# x = 2**e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); subnormal x is scaled up first.
EXPONENTIAL["split:f"] = """
static T cg_split(T x, T *f)
{
    F y = x < 1.17549435e-38f ? x * 8388608.0f : x;
    I bits = as_I(y) - 0x3f3504f3;
    *f = as_F((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
    F e = as_F((bits >> 23) + 0x4b400000) - 12582912.0f;
    return x < 1.17549435e-38f ? e - 23.0f : e;
}
"""
# log(1 + f) - f + f*f/2.
EXPONENTIAL["log_tail:f"] = """
static T cg_log_tail(T f)
{
    F p = 7.0376836292e-2f;
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    return p * f * (f * f);
}
"""
EXPONENTIAL["log_ends:f"] = """
static T cg_log_ends(T x, T y)
{
    y = x < INFINITY ? y : x;
    y = x > 0.0f ? y : F(NAN);
    return x == 0.0f ? F(-INFINITY) : y;
}
"""
EXPONENTIAL["log:f"] = """
static T cg_log(T x)
{
    F f;
    F e = cg_split(x, &f);
    F tail = cg_log_tail(f) + e * -2.12194440e-4f;
    tail -= 0.5f * (f * f);
    return cg_log_ends(x, (f + tail) + e * 0.693359375f);
}
"""
# log2(e) = 1 + 0.44269504: the head of the product is f + tail itself.
EXPONENTIAL["log2:f"] = """
static T cg_log2(T x)
{
    F f;
    F e = cg_split(x, &f);
    F tail = cg_log_tail(f) - 0.5f * (f * f);
    F y = tail * 0.44269504f + f * 0.44269504f;
    return cg_log_ends(x, ((y + tail) + f) + e);
}
"""
# log10(e) = 0.43359375 + 7.007319e-4 and log10(2) = 0.30078125 + 2.4874566e-4.
EXPONENTIAL["log10:f"] = """
static T cg_log10(T x)
{
    F f;
    F e = cg_split(x, &f);
    F tail = cg_log_tail(f) - 0.5f * (f * f);
    F y = (f + tail) * 7.00731903e-4f + e * 2.48745663e-4f;
    y += tail * 0.43359375f;
    y += f * 0.43359375f;
    return cg_log_ends(x, y + e * 0.30078125f);
}
"""
# 1 + x is rounded; what it lost, relative to 1 + x, is added to the logarithm.
EXPONENTIAL["log1p:f"] = """
static T cg_log1p(T x)
{
    F u = 1.0f + x;
    F f;
    F e = cg_split(u, &f);
    F lost = x > 1.0f ? 1.0f - (u - x) : x - (u - 1.0f);
    F correction = e == 0.0f ? F(0.0f) : lost / u;
    f = e == 0.0f ? x : f;
    F tail = (cg_log_tail(f) + e * -2.12194440e-4f) + correction;
    tail -= 0.5f * (f * f);
    F y = cg_log_ends(u, (f + tail) + e * 0.693359375f);
    return cg_abs(x) < 5.9e-8f ? x : y;
}
"""

# log2|a| = e + (2 / ln 2) atanh(s), s = f / (2 + f), in two floats of which the heads have 12 bits,
# so that products of heads are exact; times b, head and rest; then 2**(n + r).
EXPONENTIAL["head:f"] = """
static T cg_head(T x)
{
    return as_F(as_U(x) & 0xfffff000u);
}
"""
EXPONENTIAL["pow:f"] = f"""
static T cg_pow(T a, T b)
{{
    F size = cg_abs(a);
    F f;
    F e = cg_split(size, &f);
    F m = 1.0f + f;
    F d = 1.0f + m;
    F s = f / d;
    F s_head = cg_head(s);
    F d_head = cg_head(d);
    F s_rest = ((f - s_head * d_head) - s_head * (m - (d_head - 1.0f))) / d;
    F z = s * s;
    F series = 2.3076923e-1f;
    series = series * z + 2.7272727e-1f;
    series = series * z + 3.3333333e-1f;
    series = series * z + 4.2857143e-1f;
    series = series * z + 6.0000000e-1f;
    series = series * (z * z) + s_rest * (s_head + s);
    F s_square = s_head * s_head;
    F c_head = cg_head(3.0f + s_square + series);
    F c_rest = series - ((c_head - 3.0f) - s_square);
    F u = s_head * c_head;
    F v = s_rest * c_head + c_rest * s;
    F p_head = cg_head(u + v);
    F p_rest = v - (p_head - u);
    F l_high = p_head * 0.9619140625f;
    F l_low = p_head * -1.17368574e-4f + p_rest * 0.961796701f;
    F l_head = cg_head((l_high + l_low) + e);
    F l_rest = l_low - ((l_head - e) - l_high);

    F y = b > 8.589934592e9f ? F(8.589934592e9f) : b;
    y = y < -8.589934592e9f ? F(-8.589934592e9f) : y;
    F y_head = cg_head(y);
    F high = y_head * l_head;
    F low = (y - y_head) * l_head + y * l_rest;
    F sum = high + low;
    low = sum > 129.0f ? F(0.0f) : low;
    high = sum > 129.0f ? F(129.0f) : high;
    low = sum < -151.0f ? F(0.0f) : low;
    high = sum < -151.0f ? F(-151.0f) : high;
    F t = (high + low) + 12582912.0f;
    I n = as_I(t) - 0x4b400000;
    F r = ((high - (t - 12582912.0f)) + low) * 0.693147181f;{_EXP_POLYNOMIAL}
    p = (p * (r * r) + r) + 1.0f;
    I half_n = n >> 1;
    F result = (p * as_F((half_n + 127) << 23)) * as_F((n - half_n + 127) << 23);

    F at_zero = b < 0.0f ? F(INFINITY) : F(0.0f);
    F at_infinity = b < 0.0f ? F(0.0f) : F(INFINITY);
    result = size == 0.0f ? at_zero : result;
    result = size == INFINITY ? at_infinity : result;
    F half_b = 0.5f * b;
    F signed_result = ((floor(b) == b) & (floor(half_b) != half_b)) ? -result : result;
    I undefined = (floor(b) != b) & (size != 0.0f) & (size != INFINITY);
    signed_result = undefined ? F(NAN) : signed_result;
    result = as_I(a) < 0 ? signed_result : result;
    result = ((size == 1.0f) & (cg_abs(b) == INFINITY)) ? F(1.0f) : result;
    result = ((a != a) | (b != b)) ? a + b : result;
    return ((a == 1.0f) | (b == 0.0f)) ? F(1.0f) : result;
}}
"""

# ---- hyperbolic -------------------------------------------------------------------------------

EXPONENTIAL["tanh:f"] = """
static T cg_tanh(T x)
{
    F size = cg_abs(x);
    F z = x * x;
    F p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    F small = (p * z) * x + x;
    F large = 1.0f - 2.0f / (cg_exp(size + size) + 1.0f);
    F y = size < 0.625f ? small : large;
    y = as_F((as_U(y) & 0x7fffffffu) | (as_U(x) & 0x80000000u));
    return x == x ? y : x;
}
"""
# e**|x| / 2 without overflow: |x| - c is exact, c near ln 2, and e**(c - ln 2) = 1 - 1.4286068e-6.
EXPONENTIAL["half_exp:f"] = """
static T cg_half_exp(T size)
{
    F t = cg_exp(size - 0.693145751953125f);
    return t < INFINITY ? t + t * -1.42860677e-6f : t;
}
"""
EXPONENTIAL["sinh:f"] = """
static T cg_sinh(T x)
{
    F z = x * x;
    F p = 2.03721912945e-4f;
    p = p * z + 8.33028376239e-3f;
    p = p * z + 1.66667160211e-1f;
    F small = (p * z) * x + x;
    F half_exp = cg_half_exp(cg_abs(x));
    F large = half_exp - 0.25f / half_exp;
    large = as_F(as_U(large) ^ (as_U(x) & 0x80000000u));
    return cg_abs(x) <= 1.0f ? small : large;
}
"""
EXPONENTIAL["cosh:f"] = """
static T cg_cosh(T x)
{
    F half_exp = cg_half_exp(cg_abs(x));
    return half_exp + 0.25f / half_exp;
}
"""
# log(a + sqrt(a*a + 1)) as log1p of a sum without cancellation; large a overflow in a*a.
EXPONENTIAL["asinh:f"] = """
static T cg_asinh(T x)
{
    F a = cg_abs(x);
    F z = a * a;
    F y = cg_log1p(a + z / (1.0f + sqrt(z + 1.0f)));
    y = a > 16384.0f ? cg_log(a) + 0.693147181f : y;
    return as_F(as_U(y) ^ (as_U(x) & 0x80000000u));
}
"""
EXPONENTIAL["acosh:f"] = """
static T cg_acosh(T x)
{
    F t = x - 1.0f;
    F y = cg_log1p(t + sqrt(t * (t + 2.0f)));
    y = x > 16384.0f ? cg_log(x) + 0.693147181f : y;
    return x < 1.0f ? F(NAN) : y;
}
"""
EXPONENTIAL["atanh:f"] = """
static T cg_atanh(T x)
{
    F a = cg_abs(x);
    F twice = a + a;
    F y = 0.5f * cg_log1p(a < 0.5f ? twice + twice * a / (1.0f - a) : twice / (1.0f - a));
    return as_F(as_U(y) ^ (as_U(x) & 0x80000000u));
}
"""
EXPONENTIAL["sigmoid"] = """
static T cg_sigmoid(T x)
{
    return T(1) / (T(1) + cg_exp(-x));
}
"""
