"""Texts of the exact helpers: signs, extrema, integer arithmetic, 16-bit floats, Philox.

See `helpers` for the letters. A name may have versions by kind: `:f` float, `:d` double, `:r` both,
`:i` signed, `:u` unsigned, `:n` both.
"""

from __future__ import annotations

BASIC: dict[str, str] = {}

BASIC["abs:f"] = """
static T cg_abs(T x)
{
    return as_T(as_V(x) & 0x7fffffffu);
}
"""
BASIC["abs:d"] = """
static T cg_abs(T x)
{
    return as_T(as_V(x) & 0x7fffffffffffffffUL);
}
"""
BASIC["abs:i"] = """
static T cg_abs(T x)
{
    return x < T(0) ? convert_T(V(0) - as_V(x)) : x;
}
"""
BASIC["abs:u"] = """
static T cg_abs(T x)
{
    return x;
}
"""
# Zero for NaN, as in PyTorch.
BASIC["sign"] = """
static T cg_sign(T x)
{
    T up = x > T(0) ? T(1) : T(0);
    return x < T(0) ? T(-1) : up;
}
"""
BASIC["sign:u"] = """
static T cg_sign(T x)
{
    return x > T(0) ? T(1) : T(0);
}
"""
# The built-in rsqrt may be an estimate; a quotient of exact parts has the same bits everywhere.
BASIC["rsqrt"] = """
static T cg_rsqrt(T x)
{
    return T(1) / sqrt(x);
}
"""
BASIC["reciprocal"] = """
static T cg_reciprocal(T x)
{
    return T(1) / x;
}
"""

# ---- extrema: maximum and minimum hand a NaN on, fmax and fmin prefer the number ---------------

for _name, _sign, _unordered in (
    ("maximum", ">", "a"), ("minimum", "<", "a"), ("fmax", ">", "b"), ("fmin", "<", "b"),
):  # fmt: skip
    BASIC[f"{_name}:r"] = f"""
static T cg_{_name}(T a, T b)
{{
    return ((a {_sign} b) | ({_unordered} != {_unordered})) ? a : b;
}}
"""
    BASIC[f"{_name}:n"] = f"""
static T cg_{_name}(T a, T b)
{{
    return a {_sign} b ? a : b;
}}
"""

# ---- division: guarded for integers (by zero gives 0, the smallest by -1 wraps) ----------------

BASIC["fmod:f"] = """
static T cg_fmod(T a, T b)
{
    return fmod(a, b);
}
"""
# One by one: fmod of double8 is wrong on PoCL 3.1 for large quotients (-8.4e22 by 15 gave -0.19).
BASIC["fmod:d"] = """
static T cg_fmod(T a, T b)
{
    double as[WIDTH], bs[WIDTH];
    STORE(a, as);
    STORE(b, bs);
    for (int k = 0; k < WIDTH; ++k)
        as[k] = fmod(as[k], bs[k]);
    LOAD(a, as);
    return a;
}
"""
BASIC["floor_divide:r"] = """
static T cg_floor_divide(T a, T b)
{
    T rest = cg_fmod(a, b);
    T exact = (a - rest) / b;
    exact = ((rest != T(0)) & ((b < T(0)) != (rest < T(0)))) ? exact - T(1) : exact;
    T down = floor(exact);
    down = exact - down > T(0.5f) ? down + T(1) : down;
    T quotient = a / b;
    down = exact == T(0) ? copysign(T(0), quotient) : down;
    return b == T(0) ? quotient : down;
}
"""
BASIC["remainder:r"] = """
static T cg_remainder(T a, T b)
{
    T rest = cg_fmod(a, b);
    return ((rest != T(0)) & ((b < T(0)) != (rest < T(0)))) ? rest + b : rest;
}
"""
BASIC["trunc_divide:r"] = """
static T cg_trunc_divide(T a, T b)
{
    return trunc(a / b);
}
"""
BASIC["trunc_divide:i"] = """
static T cg_trunc_divide(T a, T b)
{
    T divisor = ((b == T(0)) | (b == T(-1))) ? T(1) : b;
    T quotient = convert_T(a / divisor);
    quotient = b == T(-1) ? convert_T(V(0) - as_V(a)) : quotient;
    return b == T(0) ? T(0) : quotient;
}
"""
BASIC["trunc_divide:u"] = """
static T cg_trunc_divide(T a, T b)
{
    T divisor = b == T(0) ? T(1) : b;
    return b == T(0) ? T(0) : convert_T(a / divisor);
}
"""
BASIC["floor_divide:i"] = """
static T cg_floor_divide(T a, T b)
{
    T quotient = cg_trunc_divide(a, b);
    T rest = cg_fmod(a, b);
    return ((rest != T(0)) & ((rest < T(0)) != (b < T(0)))) ? convert_T(quotient - T(1)) : quotient;
}
"""
BASIC["floor_divide:u"] = """
static T cg_floor_divide(T a, T b)
{
    return cg_trunc_divide(a, b);
}
"""
BASIC["fmod:i"] = """
static T cg_fmod(T a, T b)
{
    T divisor = ((b == T(0)) | (b == T(-1))) ? T(1) : b;
    return convert_T(a % divisor);
}
"""
BASIC["fmod:u"] = """
static T cg_fmod(T a, T b)
{
    T divisor = b == T(0) ? T(1) : b;
    return convert_T(a % divisor);
}
"""
BASIC["remainder:i"] = """
static T cg_remainder(T a, T b)
{
    T rest = cg_fmod(a, b);
    return ((rest != T(0)) & ((rest < T(0)) != (b < T(0)))) ? convert_T(rest + b) : rest;
}
"""
BASIC["remainder:u"] = """
static T cg_remainder(T a, T b)
{
    return cg_fmod(a, b);
}
"""

# ---- integer powers by squaring; a negative exponent truncates 1 / a**|b| ---------------------

BASIC["ipow:u"] = """
static T cg_ipow(T a, T b)
{
    P result = P(1), square = convert_P(a), left = convert_P(b);
    while (ANY(left != P(0))) {
        result = (left & P(1)) != P(0) ? result * square : result;
        square *= square;
        left >>= P(1);
    }
    return convert_T(result);
}
"""
BASIC["ipow:i"] = """
static T cg_ipow(T a, T b)
{
    P result = P(1), square = convert_P(as_V(a));
    P left = b < T(0) ? P(0) : convert_P(as_V(b));
    while (ANY(left != P(0))) {
        result = (left & P(1)) != P(0) ? result * square : result;
        square *= square;
        left >>= P(1);
    }
    T alternating = (b & T(1)) != T(0) ? T(-1) : T(1);
    T inverse = a == T(-1) ? alternating : T(0);
    inverse = a == T(1) ? T(1) : inverse;
    return b < T(0) ? inverse : as_T(convert_V(result));
}
"""

# ---- shifts: a count out of range shifts everything out, as in PyTorch ------------------------

BASIC["shl:u"] = """
static T cg_shl(T a, T b)
{
    return b >= T(BITS) ? T(0) : convert_T(a << b);
}
"""
BASIC["shl:i"] = """
static T cg_shl(T a, T b)
{
    return ((b < T(0)) | (b >= T(BITS))) ? T(0) : convert_T(as_V(a) << as_V(b));
}
"""
BASIC["shr:u"] = """
static T cg_shr(T a, T b)
{
    return b >= T(BITS) ? T(0) : convert_T(a >> b);
}
"""
BASIC["shr:i"] = """
static T cg_shr(T a, T b)
{
    T count = ((b < T(0)) | (b >= T(BITS))) ? T(BITS - 1) : b;
    return convert_T(a >> count);
}
"""

# ---- 16-bit floats, to nearest with ties to even, in integer arithmetic -----------------------
# Below 2**-14 half has the fixed step 2**-24, the step of float32 in [0.5, 1): adding 0.5 rounds.

BASIC["round_float16:f"] = """
static T cg_round_float16(T x)
{
    U sign = as_U(x) & 0x80000000u;
    U size = as_U(x) ^ sign;
    U rounded = (size + 0xfffu + ((size >> 13) & 1u)) & 0xffffe000u;
    rounded = rounded >= 0x47800000u ? U(0x7f800000u) : rounded;
    U tiny = as_U((as_F(size) + 0.5f) - 0.5f);
    rounded = size < 0x38800000u ? tiny : rounded;
    rounded = size > 0x7f800000u ? U(0x7fc00000u) : rounded;
    return as_F(rounded | sign);
}
"""
BASIC["store_half:f"] = """
static H cg_store_half(F x)
{
    U sign = as_U(x) & 0x80000000u;
    U size = as_U(x) ^ sign;
    U bits = (size + 0xfffu + ((size >> 13) & 1u) - 0x38000000u) >> 13;
    bits = size >= 0x477ff000u ? U(0x7c00u) : bits;
    U tiny = as_U(as_F(size) + 0.5f) - 0x3f000000u;
    bits = size < 0x38800000u ? tiny : bits;
    bits = size > 0x7f800000u ? U(0x7e00u) : bits;
    return convert_H(bits | (sign >> 16));
}
"""
# Subnormal halves: give the fraction the exponent of 2**-14, then take the implied one away.
BASIC["load_half:f"] = """
static F cg_load_half(H h)
{
    U bits = convert_U(h);
    U size = (bits & 0x7fffu) << 13;
    U normal = size + 0x38000000u;
    normal = size >= 0x0f800000u ? normal + 0x38000000u : normal;
    U tiny = as_U(as_F(size + 0x38800000u) - 6.103515625e-05f);
    U value = size < 0x00800000u ? tiny : normal;
    return as_F(value | ((bits & 0x8000u) << 16));
}
"""
BASIC["round_bfloat16:f"] = """
static T cg_round_bfloat16(T x)
{
    U bits = as_U(x);
    U rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
    return as_F((bits & 0x7fffffffu) > 0x7f800000u ? U(0x7fc00000u) : rounded);
}
"""
BASIC["store_bfloat16:f"] = """
static H cg_store_bfloat16(F x)
{
    return convert_H(as_U(cg_round_bfloat16(x)) >> 16);
}
"""

# ---- counter-based random numbers -------------------------------------------------------------
# Source: J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011
# (Philox4x32 with 10 rounds; counter (offset + i, 0), key seed; words 0 and 1).

BASIC["philox:u"] = """
static void cg_philox(L i, K seed, K offset, U *word0, U *word1)
{
    K counter = as_K(i) + offset;
    U c0 = convert_U(counter & 0xffffffffUL), c1 = convert_U(counter >> 32);
    U c2 = U(0), c3 = U(0);
    U k0 = convert_U(seed & 0xffffffffUL), k1 = convert_U(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        // Products by way of ulong: mul_hi is a slow call on some runtimes.
        K p0 = convert_K(c0) * 0xd2511f53UL, p1 = convert_K(c2) * 0xcd9e8d57UL;
        U high0 = convert_U(p0 >> 32), low0 = c0 * 0xd2511f53u;
        U high1 = convert_U(p1 >> 32), low1 = c2 * 0xcd9e8d57u;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    *word0 = c0;
    *word1 = c1;
}
"""
BASIC["random_bits:u"] = """
static T cg_random_bits(L i, K seed, K offset)
{
    U word0, word1;
    cg_philox(i, seed, offset, &word0, &word1);
    return word0;
}
"""
BASIC["random_uniform:f"] = """
static T cg_random_uniform(L i, K seed, K offset)
{
    U word0, word1;
    cg_philox<uint>(i, seed, offset, &word0, &word1);
    return convert_T(word0 >> 8) * 5.9604644775390625e-08f;
}
"""
BASIC["random_uniform:d"] = """
static T cg_random_uniform(L i, K seed, K offset)
{
    U word0, word1;
    cg_philox<uint>(i, seed, offset, &word0, &word1);
    K bits = (convert_K(word0) << 32) | convert_K(word1);
    return convert_T(bits >> 11) * 1.1102230246251565e-16;
}
"""
# floor(bits * count / 2**64): the bias is count / 2**64. Counts of up to 32 bits take the 64 random
# bits in two halves, so that no product overflows; 0 stands for 2**64.
BASIC["random_integer:u"] = """
static T cg_random_integer(L i, K seed, K offset, K count)
{
    U word0, word1;
    cg_philox<uint>(i, seed, offset, &word0, &word1);
    K high = convert_K(word0), low = convert_K(word1);
    K small = (high * count + ((low * count) >> 32)) >> 32;
    if (ANY((count - 1UL) >= 0xffffffffUL)) {
        K bits = (high << 32) | low;
        K large = count == 0UL ? bits : mul_hi(bits, count);
        small = (count - 1UL) < 0xffffffffUL ? small : large;
    }
    return small;
}
"""
# -log of a uniform number: from the end of (0, 1) that is nearer, so that neither small nor large
# results are coarse, and none is 0.
BASIC["random_exponential:f"] = """
static T cg_random_exponential(L i, K seed, K offset)
{
    U word0, word1;
    cg_philox<uint>(i, seed, offset, &word0, &word1);
    F u = convert_F(word0) * 2.3283064365386963e-10f + 1.1641532182693481e-10f;
    F v = convert_F(~word0) * 2.3283064365386963e-10f + 1.1641532182693481e-10f;
    return u < 0.5f ? -cg_log(u) : -cg_log1p(-v);
}
"""
BASIC["random_exponential:d"] = """
static T cg_random_exponential(L i, K seed, K offset)
{
    U word0, word1;
    cg_philox<uint>(i, seed, offset, &word0, &word1);
    K bits = (convert_K(word0) << 32) | convert_K(word1);
    D u = convert_D(bits) * 5.421010862427522e-20 + 2.710505431213761e-20;
    D v = convert_D(~bits) * 5.421010862427522e-20 + 2.710505431213761e-20;
    return u < 0.5 ? -cg_log(u) : -cg_log1p(-v);
}
"""
# Box and Muller. The first word is used whole and off zero, so that tails reach 6.7 sigma.
BASIC["random_normal:f"] = """
static T cg_random_normal(L i, K seed, K offset)
{
    U word0, word1;
    cg_philox<uint>(i, seed, offset, &word0, &word1);
    F u = convert_F(word0) * 2.3283064365386963e-10f + 1.1641532182693481e-10f;
    F angle = (convert_F(word1 >> 8) * 5.9604644775390625e-08f) * 6.283185307f;
    return sqrt(-2.0f * cg_log(u)) * cg_cos(angle);
}
"""
BASIC["random_normal:d"] = """
static T cg_random_normal(L i, K seed, K offset)
{
    U word0, word1;
    cg_philox<uint>(i, seed, offset, &word0, &word1);
    D u = convert_D(word0) * 2.3283064365386963e-10 + 1.1641532182693481e-10;
    D angle = (convert_D(word1) * 2.3283064365386963e-10) * 6.283185307179586;
    return sqrt(-2.0 * cg_log(u)) * cg_cos(angle);
}
"""
