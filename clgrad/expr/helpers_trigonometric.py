"""Texts of the circular functions in float32, and of hypot; float64 calls the built-ins.

Same rules as in `helpers_exponential`: no `fma`, only operations that IEEE rounds exactly.

Source: polynomials after S. L. Moshier's Cephes library (sinf, cosf, tanf, asinf, atanf); the
reduction of huge arguments after M. Payne and R. Hanek, "Radian reduction for trigonometric
functions", SIGNUM Newsletter 18 (1983).
"""

from __future__ import annotations

TRIGONOMETRIC: dict[str, str] = {}

# x is m * 2**e with 24 bits of m. Bits of 2/pi that only add multiples of 4 to the product are
# left out; 96 bits of it from there on give two bits of quadrant and 94 of fraction, of which at
# most some 30 vanish in the worst float. One element at a time: such arguments are rare.
TRIGONOMETRIC["reduce_huge:f"] = """
__constant uint cg_two_over_pi[9] = {
    0x00000000u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u,
    0xdb629599u, 0x3c439041u, 0xfe5163abu, 0xdebbc561u
};
static float cg_reduce_huge(float x, int *quadrant)
{
    uint bits = as_uint(x);
    int exponent = (int)((bits >> 23) & 0xffu) - 150;
    exponent = exponent > 104 ? 104 : exponent;
    ulong m = (bits & 0x007fffffu) | 0x00800000u;
    int at = exponent + 30;
    int word = at >> 5, shift = at & 31;
    ulong w0 = cg_two_over_pi[word], w1 = cg_two_over_pi[word + 1];
    ulong w2 = cg_two_over_pi[word + 2], w3 = cg_two_over_pi[word + 3];
    w0 = (((w0 << 32) | w1) << shift) >> 32 & 0xffffffffUL;
    w1 = (((w1 << 32) | w2) << shift) >> 32 & 0xffffffffUL;
    w2 = (((w2 << 32) | w3) << shift) >> 32 & 0xffffffffUL;
    ulong p2 = m * w2;
    ulong p1 = m * w1 + (p2 >> 32);
    ulong p0 = m * w0 + (p1 >> 32);
    ulong top = (p0 << 32) | (p1 & 0xffffffffUL);
    int q = (int)(top >> 62);
    ulong fraction = (top << 2) | ((p2 & 0xffffffffUL) >> 30);
    q += (int)(fraction >> 63);
    // The fraction, nearest to zero, times pi/2 in fixed point (pi/4 * 2**64), rounded once.
    int negative = (int)(fraction >> 63);
    ulong size = negative ? 0UL - fraction : fraction;
    float r = (float)mul_hi(size << 1, 0xc90fdaa22168c234UL) * 5.42101086e-20f;
    *quadrant = (bits >> 31) ? -q : q;
    return negative ^ (int)(bits >> 31) ? -r : r;
}
"""

# x = n pi/2 + r. n has 17 bits at most: split in two halves of 9, so that its products with the
# first three parts of pi/2 (of 15 bits) are exact; what the later subtractions round off is added
# at the end. Beyond 2**17 the general reduction.
_REDUCTION = """
    F t = x * 0.636619772f + 12582912.0f;
    I quadrant = as_I(t) - 0x4b400000;
    t -= 12582912.0f;
    F high = (t + 3221225472.0f) - 3221225472.0f;
    F low = t - high;
    F r = x - high * 0x1.921cp+0f;
    r -= low * 0x1.921cp+0f;
    r -= high * 0x1.daap-15f;
    F part = low * 0x1.daap-15f;
    F next = r - part;
    F lost = (r - next) - part;
    part = high * 0x1.10b4p-30f;
    r = next - part;
    lost += (next - r) - part;
    part = low * 0x1.10b4p-30f;
    next = r - part;
    lost += (r - next) - part;
    r = next + (lost - t * 0x1.84698ap-48f);
"""

TRIGONOMETRIC["reduce:f"] = f"""
static T cg_reduce(T x, I *where)
{{{_REDUCTION}
    if (ANY(cg_abs(x) > 131072.0f)) {{
        float xs[WIDTH], rs[WIDTH];
        int qs[WIDTH];
        STORE(x, xs);
        STORE(r, rs);
        STORE(quadrant, qs);
        for (int k = 0; k < WIDTH; ++k) {{
            if (fabs(xs[k]) > 131072.0f)
                rs[k] = cg_reduce_huge_float(xs[k], &qs[k]);
        }}
        LOAD(r, rs);
        LOAD(quadrant, qs);
    }}
    *where = quadrant;
    return x - x == 0.0f ? r : F(NAN);
}}
"""
TRIGONOMETRIC["sine_part:f"] = """
static T cg_sine_part(T r)
{
    F z = r * r;
    F p = -1.9515295891e-4f;
    p = p * z + 8.3321608736e-3f;
    p = p * z - 1.6666654611e-1f;
    return (p * z) * r + r;
}
"""
TRIGONOMETRIC["cosine_part:f"] = """
static T cg_cosine_part(T r)
{
    F z = r * r;
    F p = 2.443315711809948e-5f;
    p = p * z - 1.388731625493765e-3f;
    p = p * z + 4.166664568298827e-2f;
    return (p * (z * z) - 0.5f * z) + 1.0f;
}
"""
TRIGONOMETRIC["sin:f"] = """
static T cg_sin(T x)
{
    I n;
    F r = cg_reduce(x, &n);
    F y = (n & 1) != 0 ? cg_cosine_part(r) : cg_sine_part(r);
    y = as_F(as_I(y) ^ ((n & 2) << 30));
    return x == 0.0f ? x : y;
}
"""
TRIGONOMETRIC["cos:f"] = """
static T cg_cos(T x)
{
    I n;
    F r = cg_reduce(x, &n);
    F y = (n & 1) != 0 ? cg_sine_part(r) : cg_cosine_part(r);
    return as_F(as_I(y) ^ (((n + 1) & 2) << 30));
}
"""
# Intel's compiler makes one call of sin(x) and cos(x), with other last bits, and dies where a sine
# is an argument of such a pair in turn (2026.22: sin(y), cos(y), cos(x) of y = sin(x), as in the
# gradient of sin(sin(x))). The cosine is even: of -|x| it is the same, and no pair.
TRIGONOMETRIC["cos:d"] = """
static T cg_cos(T x)
{
    T apart = -fabs(x);
    return SAME(cos, apart);
}
"""
TRIGONOMETRIC["tan:f"] = """
static T cg_tan(T x)
{
    I n;
    F r = cg_reduce(x, &n);
    F z = r * r;
    F p = 9.38540185543e-3f;
    p = p * z + 3.11992232697e-3f;
    p = p * z + 2.44301354525e-2f;
    p = p * z + 5.34112807005e-2f;
    p = p * z + 1.33387994085e-1f;
    p = p * z + 3.33331568548e-1f;
    F y = (p * z) * r + r;
    y = (n & 1) != 0 ? -1.0f / y : y;
    return x == 0.0f ? x : y;
}
"""

# ---- inverse ----------------------------------------------------------------------------------

# asin(a) - a for 0 <= a <= 1/2.
TRIGONOMETRIC["asin_tail:f"] = """
static T cg_asin_tail(T a)
{
    F z = a * a;
    F p = 4.2163199048e-2f;
    p = p * z + 2.4181311049e-2f;
    p = p * z + 4.5470025998e-2f;
    p = p * z + 7.4953002686e-2f;
    p = p * z + 1.6666752422e-1f;
    return (p * z) * a;
}
"""
TRIGONOMETRIC["asin:f"] = """
static T cg_asin(T x)
{
    F size = cg_abs(x);
    F root = sqrt(0.5f * (1.0f - size));
    F a = size > 0.5f ? root : size;
    F tail = cg_asin_tail(a);
    F y = (1.57079637f - (a + a)) - ((tail + tail) + 4.37113883e-8f);
    y = size > 0.5f ? y : a + tail;
    return as_F(as_U(y) ^ (as_U(x) & 0x80000000u));
}
"""
TRIGONOMETRIC["acos:f"] = """
static T cg_acos(T x)
{
    F size = cg_abs(x);
    F root = sqrt(0.5f * (1.0f - size));
    F a = size > 0.5f ? root : x;
    F tail = cg_asin_tail(a);
    F twice = 2.0f * (a + tail);
    F outer = x < 0.0f ? 3.14159274f - (twice + 8.74227766e-8f) : twice;
    F inner = 1.57079637f - (a + (tail + 4.37113883e-8f));
    return size > 0.5f ? outer : inner;
}
"""
# Reduced by tan(pi/8) and tan(3 pi/8); the constants added are pi/2 and pi/4 with their rests.
TRIGONOMETRIC["atan_positive:f"] = """
static T cg_atan_positive(T a)
{
    F inverse = -1.0f / a;
    F middle = (a - 1.0f) / (a + 1.0f);
    F b = a > 0.414213562f ? middle : a;
    b = a > 2.41421356f ? inverse : b;
    F base = a > 0.414213562f ? F(0.785398185f) : F(0.0f);
    base = a > 2.41421356f ? F(1.57079637f) : base;
    F rest = a > 0.414213562f ? F(-2.18556941e-8f) : F(0.0f);
    rest = a > 2.41421356f ? F(-4.37113883e-8f) : rest;
    F z = b * b;
    F p = 8.05374449538e-2f;
    p = p * z - 1.38776856032e-1f;
    p = p * z + 1.99777106478e-1f;
    p = p * z - 3.33329491539e-1f;
    return base + (((p * z) * b + rest) + b);
}
"""
TRIGONOMETRIC["atan:f"] = """
static T cg_atan(T x)
{
    F y = cg_atan_positive(cg_abs(x));
    return as_F(as_U(y) | (as_U(x) & 0x80000000u));
}
"""
# The quotient of the smaller by the larger, then the octant; signs of zeros count, as in C.
TRIGONOMETRIC["atan2:f"] = """
static T cg_atan2(T a, T b)
{
    F p = cg_abs(a), q = cg_abs(b);
    F large = p > q ? p : q;
    F small = p > q ? q : p;
    F ratio = small / large;
    ratio = large == 0.0f ? F(0.0f) : ratio;
    ratio = small == INFINITY ? F(1.0f) : ratio;
    F y = cg_atan_positive(ratio);
    y = p > q ? 1.57079637f - (y + 4.37113883e-8f) : y;
    y = as_I(b) < 0 ? 3.14159274f - (y + 8.74227766e-8f) : y;
    y = as_F(as_U(y) | (as_U(a) & 0x80000000u));
    return ((a != a) | (b != b)) ? a + b : y;
}
"""
TRIGONOMETRIC["hypot:f"] = """
static T cg_hypot(T a, T b)
{
    F p = cg_abs(a), q = cg_abs(b);
    F large = p > q ? p : q;
    F small = p > q ? q : p;
    // A power of two near the larger: scaling by it is exact.
    U exponent = as_U(large) & 0x7f800000u;
    exponent = exponent < 0x02000000u ? U(0x02000000u) : exponent;
    exponent = exponent > 0x7e000000u ? U(0x7e000000u) : exponent;
    F down = as_F(0x7f000000u - exponent);
    F up = as_F(exponent);
    F x = large * down, y = small * down;
    F result = sqrt(x * x + y * y) * up;
    result = ((a != a) | (b != b)) ? a + b : result;
    return ((p == INFINITY) | (q == INFINITY)) ? F(INFINITY) : result;
}
"""
