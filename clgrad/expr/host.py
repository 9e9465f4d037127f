"""What the table's functions are on the host: NumPy on arrays, the reference of every test.

What it is not: an execution path. Kernels compute; this says what they should have computed.
float32 transcendentals are computed in float64 and rounded once, so they are nearly exact; the
counter-based random numbers agree with the kernels bit for bit (bits and uniforms).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from clgrad.dtypes import DType

Array = Any
Host = Callable[..., Array]


def precise(fn: Host) -> Host:
    """Return `fn` computed in float64 and rounded to the dtype that its arguments have."""

    def wrapped(*args: Array) -> Array:
        target = np.result_type(*args)
        if target.kind != "f":
            target = np.dtype(np.float64)
        wide = [np.asarray(a, np.float64) for a in args]
        return np.asarray(fn(*wide), np.float64).astype(target)

    return wrapped


def elementwise(fn: Callable[[float], float]) -> Host:
    """Return a scalar function of Python floats as a function of arrays."""
    vectorized = np.frompyfunc(fn, 1, 1)
    return lambda x: np.asarray(vectorized(np.asarray(x, np.float64)), np.float64)


def lgamma(x: float) -> float:
    """Return log(|gamma(x)|), infinite at the poles."""
    if x != x:
        return x
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf
    return math.lgamma(x)


def erfinv(x: float) -> float:
    """Return y with erf(y) = x; infinite at -1 and 1, NaN beyond. By Halley's method."""
    size = abs(x)
    if not size < 1:
        return math.copysign(math.inf, x) if size == 1 else math.nan
    rest = 1 - size
    y = 0.9 * size if size < 0.5 else math.sqrt(-math.log(rest))
    for _ in range(12):
        error = math.erf(y) - size if size < 0.5 else rest - math.erfc(y)
        step = error / (1.1283791670955126 * math.exp(-y * y))
        y -= step / (1 + y * step)
    return math.copysign(y, x)


def erfcx(x: float) -> float:
    """Return erfc(x) * exp(x * x), far out by the continued fraction of DLMF 7.9.2."""
    if x < 8:
        return math.exp(min(x * x, 709.0)) * math.erfc(x) if x > -26 else math.inf
    fraction = x
    for k in range(60, 0, -1):
        fraction = x + k / 2 / fraction
    return 1 / (fraction * math.sqrt(math.pi))


def ndtri(p: float) -> float:
    """Return the number below which a normal variable lies with probability p; by Halley."""
    if not 0 < p < 1:
        return math.copysign(math.inf, p - 0.5) if p in (0, 1) else math.nan
    rest = 2 * min(p, 1 - p)
    y = 0.9 * (1 - rest) if rest > 0.5 else math.sqrt(-math.log(rest))
    for _ in range(20):
        error = math.erf(y) - (1 - rest) if rest > 0.5 else rest - math.erfc(y)
        step = error / (1.1283791670955126 * math.exp(-y * y))
        y -= step / (1 + y * step)
    return math.copysign(math.sqrt(2) * y, p - 0.5)


def _bessel(order: int, x: float) -> float:
    """Return e**-|x| times the modified Bessel function; DLMF 10.25.2 and 10.40.1."""
    a = abs(x)
    if a > 25:
        term = total = 1.0
        for k in range(1, 40):
            term *= ((2 * k - 1) ** 2 - 4 * order) / (8 * k * a)
            total += term
        return total / math.sqrt(2 * math.pi * a)
    term = total = (a / 2) ** order
    for k in range(1, 80):
        term *= a * a / 4 / (k * (k + order))
        total += term
    return total * math.exp(-a)


def i0e(x: float) -> float:
    return x if x != x else _bessel(0, x)


def i1e(x: float) -> float:
    return x if x != x else math.copysign(_bessel(1, x), x)


def mantissa(x: Array) -> Array:
    return np.frexp(x)[0]


def exponent(x: Array) -> Array:
    x = np.asarray(x)
    return np.where(np.isfinite(x), np.frexp(x)[1], 0).astype(x.dtype)


def digamma(x: float) -> float:
    """Return the derivative of lgamma; -inf at 0 (inf at -0.0), NaN at the negative poles.

    Source: the recurrence and the asymptotic series of DLMF 5.5.2 and 5.11.2.
    """
    if x == 0:
        return -math.copysign(math.inf, x)
    if x != x or x == -math.inf or (x < 0 and x == math.floor(x)):
        return math.nan
    if x < 0:
        return digamma(1 - x) - math.pi / math.tan(math.pi * (x - math.floor(x)))
    shift = 0.0
    while x < 10:
        shift -= 1 / x
        x += 1
    z = 1 / (x * x)
    series = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z / 132))))
    return shift + math.log(x) - 0.5 / x - series


def trigamma(x: float) -> float:
    """Return the derivative of digamma; infinite at the poles.

    Source: the recurrence and the asymptotic series of DLMF 5.15.
    """
    if x != x or x == -math.inf:
        return math.nan
    if x <= 0 and x == math.floor(x):
        return math.inf
    if x == math.inf:
        return 0.0
    if x < 0.5:
        return (math.pi / math.sin(math.pi * (x - math.floor(x)))) ** 2 - trigamma(1 - x)
    total = 0.0
    while x < 10:
        total += 1 / (x * x)
        x += 1
    z = 1 / (x * x)
    series = z * (1 / 6 - z * (1 / 30 - z * (1 / 42 - z * (1 / 30 - z * 5 / 66))))
    return total + 1 / x + z / 2 + series / x


def _zeta(s: float, q: float) -> float:
    if math.isnan(s + q) or s < 1:
        return math.nan
    if s == 1 or (q <= 0 and q == np.floor(q)):
        return math.inf
    if q == math.inf:
        return 0.0
    if (q <= 0 and s != np.floor(s)) or q < -990:
        return math.nan
    total = 0.0
    while q < 12:
        try:
            total += q**-s
        except OverflowError:
            total = math.inf
        q += 1
    rest, factor = q**-s * (q / (s - 1) + 0.5), s * q ** (-s - 1)
    for j, term in enumerate((12, -720, 30240, -1209600, 47900160, -1307674368000 / 691)):
        rest += factor / term
        factor *= (s + 2 * j + 1) * (s + 2 * j + 2) / (q * q)
    return float(total + rest) if total < math.inf else total


def zeta(s: Array, q: Array) -> Array:
    """Return Hurwitz' zeta function, the sum of (q + k)**-s over all k.

    Source: Euler and Maclaurin's formula, DLMF 25.11.5.
    """
    made = np.frompyfunc(_zeta, 2, 1)(np.asarray(s, np.float64), np.asarray(q, np.float64))
    return np.asarray(made, np.float64)


def power(a: Array, b: Array) -> Array:
    """Return a ** b; integers wrap and a negative exponent truncates, as in PyTorch."""
    target = np.result_type(a, b)
    if target.kind == "f":
        return precise(np.power)(a, b)
    base, exponent = np.broadcast_arrays(np.asarray(a, target), np.asarray(b, target))
    positive = np.power(base, np.where(exponent < 0, 0, exponent).astype(target))
    odd = (exponent & 1).astype(bool)
    minus_one = np.asarray(-1 if target.kind == "i" else 0, target)
    alternating = np.where(base == minus_one, np.where(odd, minus_one, 1), 0)
    negative = np.where(base == 1, 1, alternating).astype(target)
    return np.where(exponent < 0, negative, positive)


def sign(x: Array) -> Array:
    """Return -1, 0 or 1; 0 for NaN, as PyTorch."""
    x = np.asarray(x)
    if x.dtype.kind == "b":
        return x
    return (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype)


def negative(x: Array) -> Array:
    return np.negative(x)


def divide(a: Array, b: Array) -> Array:
    return np.true_divide(a, b)


def floor_divide(a: Array, b: Array) -> Array:
    """Return the floored quotient; a / b by a float zero, 0 by an integer zero."""
    target = np.result_type(a, b)
    if target.kind != "f":
        return np.floor_divide(a, b)
    a, b = np.asarray(a, target), np.asarray(b, target)
    rest = np.fmod(a, b)
    exact = (a - rest) / b
    exact = np.where((rest != 0) & ((b < 0) != (rest < 0)), exact - 1, exact).astype(target)
    down = np.floor(exact)
    down = np.where(exact - down > 0.5, down + 1, down)
    signed_zero = np.copysign(np.zeros_like(exact), a / b)
    return np.where(b == 0, a / b, np.where(exact == 0, signed_zero, down)).astype(target)


def remainder(a: Array, b: Array) -> Array:
    """Return a modulo b with the sign of b; NaN by a float zero, 0 by an integer zero."""
    target = np.result_type(a, b)
    if target.kind != "f":
        return np.remainder(a, b)
    a, b = np.asarray(a, target), np.asarray(b, target)
    rest = np.fmod(a, b)
    return np.where((rest != 0) & ((b < 0) != (rest < 0)), rest + b, rest).astype(target)


def truncated_divide(a: Array, b: Array) -> Array:
    """Return the quotient rounded towards zero; 0 by an integer zero."""
    target = np.result_type(a, b)
    if target.kind == "f":
        return np.trunc(np.true_divide(a, b))
    down = np.floor_divide(a, b)
    return np.where((np.remainder(a, b) != 0) & (down < 0), down + 1, down).astype(target)


def shift_left(a: Array, b: Array) -> Array:
    """Return a << b; 0 where the count is negative or not below the number of bits."""
    a, b = np.broadcast_arrays(np.asarray(a), np.asarray(b))
    bits = 8 * a.dtype.itemsize
    inside = (b >= 0) & (b < bits)
    return np.where(inside, np.left_shift(a, np.where(inside, b, 0).astype(a.dtype)), 0).astype(
        a.dtype
    )


def shift_right(a: Array, b: Array) -> Array:
    """Return a >> b; counts out of range leave only the sign."""
    a, b = np.broadcast_arrays(np.asarray(a), np.asarray(b))
    bits = 8 * a.dtype.itemsize
    inside = (b >= 0) & (b < bits)
    shifted = np.right_shift(a, np.where(inside, b, bits - 1).astype(a.dtype))
    none = np.zeros_like(a)
    return np.where(inside, shifted, np.where(a < 0, ~none, none))


def next_float(a: Array, b: Array) -> Array:
    return np.nextafter(a, b)


def next_float16(a: Array, b: Array) -> Array:
    """Return the float16 after `a` towards `b`, in the dtype of `a`."""
    a = np.asarray(a)
    with np.errstate(all="ignore"):
        next_ = np.nextafter(a.astype(np.float16), np.asarray(b).astype(np.float16))
    return next_.astype(a.dtype)


def next_bfloat16(a: Array, b: Array) -> Array:
    """Return the bfloat16 after `a` towards `b`, as float32: a step in its upper 16 bits."""
    a, b = np.broadcast_arrays(np.asarray(a, np.float32), np.asarray(b, np.float32))
    step = np.where((b > a) == (a > 0), 0x10000, -0x10000).astype(np.int32)
    moved = (a.view(np.int32) + step).view(np.float32)
    moved = np.where(a == 0, np.copysign(np.int32(0x10000).view(np.float32), b), moved)
    return np.where((a != a) | (b != b), np.float32(np.nan), np.where(a == b, b, moved))


def negative_sign(x: Array) -> Array:
    """Return whether x has a minus sign; -0.0 has one."""
    x = np.asarray(x)
    return np.signbit(x) if x.dtype.kind == "f" else x < 0


def predicate(fn: Host, of_integer: bool) -> Host:
    """Return a float predicate that has a constant answer for integers and bools."""

    def wrapped(x: Array) -> Array:
        x = np.asarray(x)
        return fn(x) if x.dtype.kind == "f" else np.full(x.shape, of_integer)

    return wrapped


def rounding(fn: Host) -> Host:
    """Return `fn` on floats, the argument itself on integers."""
    return lambda x: fn(x) if np.asarray(x).dtype.kind == "f" else np.asarray(x)


def hypot(a: Array, b: Array) -> Array:
    return precise(np.hypot)(a, b)


_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85


def philox(i: Array, seed: Array, offset: Array) -> tuple[Array, Array]:
    """Return words 0 and 1 of Philox4x32-10 with counter offset + i and key seed, as uint32.

    Source: J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    low32, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    index = np.asarray(i).astype(np.int64).astype(np.uint64)
    counter = index + np.asarray(offset).astype(np.uint64)
    seed = np.asarray(seed).astype(np.uint64)
    c0, c1 = counter & low32, counter >> half
    c2, c3 = np.zeros_like(counter), np.zeros_like(counter)
    k0, k1 = seed & low32, seed >> half
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ k0, p1 & low32, (p0 >> half) ^ c3 ^ k1, p0 & low32
        k0, k1 = (k0 + np.uint64(_W0)) & low32, (k1 + np.uint64(_W1)) & low32
    return c0.astype(np.uint32), c1.astype(np.uint32)


def random_bits(i: Array, seed: Array, offset: Array) -> Array:
    return philox(i, seed, offset)[0]


def random_uniform(i: Array, seed: Array, offset: Array, dtype: DType | None = None) -> Array:
    """Return uniforms of [0, 1): 24 bits in float32, 53 bits of two words in float64."""
    w0, w1 = philox(i, seed, offset)
    if dtype is not None and dtype.itemsize == 8:
        wide = (w0.astype(np.uint64) << np.uint64(32)) | w1.astype(np.uint64)
        return (wide >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (w0 >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def random_normal(i: Array, seed: Array, offset: Array, dtype: DType | None = None) -> Array:
    """Return standard normal numbers by Box and Muller's method from two words."""
    w0, w1 = philox(i, seed, offset)
    u = w0.astype(np.float64) * 2.0**-32 + 2.0**-33
    angle = w1.astype(np.float64) * 2.0**-32
    if dtype is None or dtype.itemsize < 8:
        # As the kernel: both words are rounded to float32 first.
        u = w0.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)
        angle = (w1 >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    wide = np.sqrt(-2 * np.log(u.astype(np.float64)))
    result = wide * np.cos(2 * math.pi * angle.astype(np.float64))
    return result if dtype is not None and dtype.itemsize == 8 else result.astype(np.float32)


def random_exponential(i: Array, seed: Array, offset: Array, dtype: DType | None = None) -> Array:
    """Return exponential numbers of mean 1, positive: -log of a uniform number of (0, 1)."""
    w0, w1 = philox(i, seed, offset)
    if dtype is not None and dtype.itemsize == 8:
        bits = (w0.astype(np.uint64) << np.uint64(32)) | w1.astype(np.uint64)
        u, v = (b.astype(np.float64) * 2.0**-64 + 2.0**-65 for b in (bits, ~bits))
        return np.where(u < 0.5, -np.log(u), -np.log1p(-v))
    # As the kernel: the word is rounded to float32 first.
    scale, half = np.float32(2.0**-32), np.float32(2.0**-33)
    u, v = ((b.astype(np.float32) * scale + half).astype(np.float64) for b in (w0, ~w0))
    with np.errstate(divide="ignore"):  # of the branch that is not taken
        return np.where(u < 0.5, -np.log(u), -np.log1p(-v)).astype(np.float32)


def random_integer(i: Array, seed: Array, offset: Array, count: Array) -> Array:
    """Return integers of [0, count): the upper half of 64 random bits times `count`, or the bits.

    A count of 0 stands for 2**64.
    """
    high, low = (w.astype(np.uint64) for w in philox(i, seed, offset))
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    count = np.asarray(count).astype(np.uint64)
    upper, lower = count >> half, count & mask
    middle = high * lower + ((low * lower) >> half)
    other = low * upper + (middle & mask)
    product = high * upper + (middle >> half) + (other >> half)
    return np.where(count == 0, (high << half) | low, product)
