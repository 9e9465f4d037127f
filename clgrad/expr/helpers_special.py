"""Texts of the error functions, their inverses, and gamma; the rules are those of
`helpers_exponential`.

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
# Below 1/2: x P(x*x), fit error 4.9e-11. Above: P(s), s = sqrt(-log(1 - x)), fit errors 5.9e-9 and
# 8.7e-9.
SPECIAL["erfinv_near:r"] = """
static T cg_erfinv_near(T x)
{
    T z = x * x;
    T p = T(0.095726550f);
    p = p * z + 0.014059051f;
    p = p * z + 0.058394507f;
    p = p * z + 0.064133525f;
    p = p * z + 0.086606815f;
    p = p * z + 0.12755442f;
    p = p * z + 0.23201369f;
    p = p * z + 0.88622695f;
    return p * x;
}
"""
SPECIAL["erfinv_far:r"] = """
static T cg_erfinv_far(T s)
{
    T t = s - 1.25f;
    T q = T(-0.0011978942f);
    q = q * t - 0.0015980698f;
    q = q * t + 0.0097180568f;
    q = q * t - 0.022851195f;
    q = q * t + 0.041171353f;
    q = q * t - 0.058883231f;
    q = q * t + 0.056256827f;
    q = q * t + 1.0202652f;
    q = q * t + 0.88716072f;
    T u = s - 2.875f;
    T r = T(-6.2740642e-06f);
    r = r * u + 2.0514643e-05f;
    r = r * u - 4.0262134e-05f;
    r = r * u + 0.00010753116f;
    r = r * u - 0.00027827929f;
    r = r * u + 0.00051253464f;
    r = r * u - 0.00014524226f;
    r = r * u - 0.0054307776f;
    r = r * u + 1.0431132f;
    r = r * u + 2.5844569f;
    return s < T(1.7320508f) ? q : r;
}
"""
SPECIAL["erfinv:f"] = """
static T cg_erfinv(T x)
{
    T size = cg_abs(x);
    T far = cg_erfinv_far(sqrt(-cg_log(T(1) - size)));
    T y = size < 0.5f ? cg_erfinv_near(size) : far;
    y = size == T(1) ? T(INFINITY) : y;
    y = size > T(1) ? T(NAN) : y;
    return copysign(y, x);
}
"""
# The fit is good to 17 = s*s; beyond, erfc(y) is about exp(-y*y) / (y sqrt(pi)). Then Halley's
# method.
SPECIAL["erfinv:d"] = """
static T cg_erfinv(T x)
{
    T size = cg_abs(x);
    T rest = T(1) - size;
    T w = -cg_log(rest);
    T y = size < C(0.5) ? cg_erfinv_near(size) : cg_erfinv_far(sqrt(w));
    y = w > T(17) ? sqrt(w - C(0.5) * cg_log(w * C(3.141592653589793))) : y;
    for (int k = 0; k < 3; ++k) {
        T error = size < C(0.5) ? cg_erf(y) - size : rest - cg_erfc(y);
        T step = error / (C(1.1283791670955126) * cg_exp(-(y * y)));
        y -= step / (T(1) + y * step);
    }
    y = size == T(1) ? T(INFINITY) : y;
    y = size > T(1) ? T(NAN) : y;
    return copysign(y, x);
}
"""
# erfc times e**(x*x): from 1/2 to 11 t P(t) as in erfc, asymptotically beyond.
SPECIAL["erfcx:f"] = """
static T cg_erfcx(T x)
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
    F z = 0.5f / (size * size);
    F far = (1.0f - z * (1.0f - z * (3.0f - z * 15.0f))) * (0.564189584f / size);
    F outer = size > 11.0f ? far : p * t;
    F head = cg_head(size);
    F grown = cg_exp(head * head) * cg_exp((size - head) * (size + head));
    F inner = grown * (1.0f - cg_erf(size));
    F y = size < 0.5f ? inner : outer;
    y = x < 0.0f ? 2.0f * grown - y : y;
    y = x < -9.5f ? F(INFINITY) : y;
    return x == x ? y : x;
}
"""
SPECIAL["erfcx:d"] = """
static T cg_erfcx(T x)
{
    T a = cg_abs(x);
    T b = a > T(8) ? T(8) : a;
    T near = cg_exp(b * b) * cg_erfc(b);
    T z = C(0.5) / (a * a);
    T far = T(1);
    for (int k = 24; k > 0; --k)
        far = T(1) - far * z * T(2 * k - 1);
    far = far * C(0.5641895835477563) / a;
    T y = a <= T(8) ? near : far;
    y = x < T(0) ? T(2) * cg_exp(a * a) - y : y;
    return x == x ? y : x;
}
"""
# The number below which a normal variable lies with probability p: erfcinv of what is nearer to 0.
# As in erfinv; the tail of float32 is s Q(1/s), fit error 8.2e-9.
SPECIAL["ndtri:f"] = """
static T cg_ndtri(T p)
{
    T rest = p < 0.5f ? 2.0f * p : 2.0f - 2.0f * p;
    T s = sqrt(-cg_log(rest));
    T v = 1.0f / s;
    T f = T(-11.22134972f);
    f = f * v + 15.07969475f;
    f = f * v - 9.384418488f;
    f = f * v + 4.050551891f;
    f = f * v - 1.492127299f;
    f = f * v - 0.03172584623f;
    f = f * v + 1.000410557f;
    T far = s < 4.09f ? cg_erfinv_far(s) : s * f;
    T y = rest > 0.5f ? cg_erfinv_near(1.0f - rest) : far;
    y = 1.41421356f * (p < 0.5f ? -y : y);
    y = rest == 0.0f ? (p < 0.5f ? T(-INFINITY) : T(INFINITY)) : y;
    return ((p >= 0.0f) & (p <= 1.0f)) ? y : T(NAN);
}
"""
SPECIAL["ndtri:d"] = """
static T cg_ndtri(T p)
{
    T rest = p < C(0.5) ? T(2) * p : T(2) - T(2) * p;
    T w = -cg_log(rest);
    T y = rest > C(0.5) ? cg_erfinv_near(T(1) - rest) : cg_erfinv_far(sqrt(w));
    y = w > T(17) ? sqrt(w - C(0.5) * cg_log(w * C(3.141592653589793))) : y;
    for (int k = 0; k < 3; ++k) {
        T error = rest > C(0.5) ? cg_erf(y) - (T(1) - rest) : rest - cg_erfc(y);
        T step = error / (C(1.1283791670955126) * cg_exp(-(y * y)));
        y -= step / (T(1) + y * step);
    }
    y = C(1.4142135623730951) * (p < C(0.5) ? -y : y);
    y = rest == T(0) ? (p < C(0.5) ? T(-INFINITY) : T(INFINITY)) : y;
    return ((p >= T(0)) & (p <= T(1))) ? y : T(NAN);
}
"""
# Built-ins of lgamma differ between widths. Below zero by reflection; there, and nowhere else, the
# error counts absolutely near the zeros.
_REFLECTED = """
    T s = cg_abs(cg_sin((x - rint(x)) * C(3.14159265358979324)));
    y = x < T(0) ? C(1.14472988584940017) - cg_log(a * s) - y : y;
    y = ((x <= T(0)) & (floor(x) == x)) ? T(INFINITY) : y;
    return a == T(INFINITY) ? T(INFINITY) : y;
}
"""
# To r = 2 + z with z in [-1/2, 1/2] by recurrence, then z P(z), fit error 2.7e-10; from 8 on
# Stirling's series.
SPECIAL["lgamma:f"] = (
    """
static T cg_lgamma(T x)
{
    T a = cg_abs(x);
    T z = a < 0.5f ? a : (a < 1.5f ? a - 1.0f : a - 2.0f);
    T below = a < 0.5f ? a * (a + 1.0f) : (a < 1.5f ? a : T(1));
    T above = T(1);
    for (int k = 0; k < 6; ++k) {
        above = z >= 0.5f ? above * (z + 1.0f) : above;
        z = z >= 0.5f ? z - 1.0f : z;
    }
    T p = T(0.00012236441f);
    p = p * z - 0.00025361861f;
    p = p * z + 0.00050151651f;
    p = p * z - 0.0011859593f;
    p = p * z + 0.0028917326f;
    p = p * z - 0.0073861587f;
    p = p * z + 0.020580735f;
    p = p * z - 0.067352280f;
    p = p * z + 0.32246703f;
    p = p * z + 0.42278433f;
    T y = z * p + (cg_log(above) - cg_log(below));
    T w = 1.0f / a;
    T series = (0.083333333f - (w * w) * (0.0027777778f - (w * w) * 0.00079365079f)) * w;
    T large = (a - 0.5f) * (cg_log(a) - 1.0f) + (0.41893853f + series);
    y = a >= 8.0f ? large : y;
"""
    + _REFLECTED
)
# Eight steps of the recurrence as one product, then Stirling's series.
SPECIAL["lgamma:d"] = (
    """
static T cg_lgamma(T x)
{
    T a = cg_abs(x);
    T product = T(1), b = a;
    for (int k = 0; k < 9; ++k) {
        product = b < T(9) ? product * b : product;
        b = b < T(9) ? b + T(1) : b;
    }
    T z = T(1) / (b * b);
    T series = z * C(3617.0 / 122400.0);
    series = z * (C(1.0 / 156.0) - series);
    series = z * (C(691.0 / 360360.0) - series);
    series = z * (C(1.0 / 1188.0) - series);
    series = z * (C(1.0 / 1680.0) - series);
    series = z * (C(1.0 / 1260.0) - series);
    series = z * (C(1.0 / 360.0) - series);
    series = (C(1.0 / 12.0) - series) / b;
    T y = (b - C(0.5)) * (cg_log(b) - T(1)) + (C(0.418938533204672742) + series);
    y -= cg_log(product);
"""
    + _REFLECTED
)
# Nine steps of the recurrence, without a branch, then the series; below zero by reflection.
SPECIAL["digamma:r"] = """
static T cg_digamma(T x)
{
    T a = x < T(0) ? T(1) - x : x;
    T shift = T(0);
    for (int k = 0; k < 9; ++k) {
        shift += T(1) / a;
        a += T(1);
    }
    T z = T(1) / (a * a);
    T series = z * C(3617.0 / 8160.0);
    series = z * (C(1.0 / 12.0) - series);
    series = z * (C(691.0 / 32760.0) - series);
    series = z * (C(1.0 / 132.0) - series);
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
    for (int k = 0; k < 9; ++k) {
        sum += T(1) / (a * a);
        a += T(1);
    }
    T z = T(1) / (a * a);
    T series = z * C(3617.0 / 510.0);
    series = z * (C(7.0 / 6.0) - series);
    series = z * (C(691.0 / 2730.0) - series);
    series = z * (C(5.0 / 66.0) - series);
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
# Hurwitz' zeta of s > 1 by Euler and Maclaurin (DLMF 25.11.5), terms B_2j / (2j)!. At or below zero
# as many terms are added as it takes to get above; 1000 are the most.
SPECIAL["zeta:r"] = """
static T cg_zeta(T s, T q)
{
    T a = q, sum = T(0);
    for (int k = 0; ANY(a < T(9)) & (k < 1000); ++k) {
        sum = a < T(9) ? sum + cg_pow(a, -s) : sum;
        a = a < T(9) ? a + T(1) : a;
    }
    T power = cg_pow(a, -s);
    T y = sum + (power * a / (s - T(1)) + C(0.5) * power);
    T w = T(1) / (a * a);
    T factor = s * power / a;
    y += factor * C(1.0 / 12.0);
    factor *= (s + T(1)) * (s + T(2)) * w;
    y -= factor * C(1.0 / 720.0);
    factor *= (s + T(3)) * (s + T(4)) * w;
    y += factor * C(1.0 / 30240.0);
    factor *= (s + T(5)) * (s + T(6)) * w;
    y -= factor * C(1.0 / 1209600.0);
    factor *= (s + T(7)) * (s + T(8)) * w;
    y += factor * C(1.0 / 47900160.0);
    factor *= (s + T(9)) * (s + T(10)) * w;
    y -= factor * C(691.0 / 1307674368000.0);
    factor *= (s + T(11)) * (s + T(12)) * w;
    y += factor * C(1.0 / 74724249600.0);
    y = sum == T(INFINITY) ? sum : y;
    y = a < T(9) ? T(NAN) : y;
    y = ((q <= T(0)) & (floor(q) != q) & (floor(s) != s)) ? T(NAN) : y;
    y = ((q <= T(0)) & (floor(q) == q)) ? T(INFINITY) : y;
    y = q == T(INFINITY) ? T(0) : y;
    y = s == T(1) ? T(INFINITY) : y;
    return ((s >= T(1)) & (q == q)) ? y : T(NAN);
}
"""
