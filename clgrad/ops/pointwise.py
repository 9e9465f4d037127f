"""Pointwise arithmetic, exponentials, extrema, choice, casts: a formula and derivatives each.

A formula reads the same arguments or the result as PyTorch's, because that decides which later
in-place writes are errors (`tanh` saves its result, `exp` too, `div` its operands). Values at kinks
and for NaN are PyTorch's.
"""

from __future__ import annotations

from clgrad.ops.registry import REQUIRED, pointwise

# ---- arithmetic --------------------------------------------------------------------------------

add = pointwise("add", "a, b", "a + b", da="g", db="g", doc="Sum of two tensors.")
sub = pointwise(
    "sub", "a, b", "a - b", da="g", db="-g", takes="uif", aliases=("subtract",),
    refusal="Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying "
    "to invert a mask, use the `~` or `logical_not()` operator instead.",
    doc="Difference of two tensors.",
)  # fmt: skip
rsub = pointwise(
    "rsub", "a, b", "b - a", numbers=("b",), da="-g", db="g", takes="uif", inplace=False,
    refusal=sub.refusal, node_names={"tn": "RsubBackward1"},
    doc="Difference of two tensors, the second one first.",
)  # fmt: skip
mul = pointwise(
    "mul", "a, b", "a * b", da="g * b", db="g * a", aliases=("multiply",), opmath=True,
    doc="Product of two tensors.",
)  # fmt: skip
div = pointwise(
    "div", "a, b", "a / b", da="g / b", db="-g * (a / b) / b", promote="float",
    aliases=("true_divide",), opmath=True, domain={"b": (0.5, 2)}, doc="Quotient.",
)  # fmt: skip
neg = pointwise(
    "neg", "x", "-x", dx="-g", takes="uif", aliases=("negative",),
    refusal="Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
    "invert a mask, use the `~` or `logical_not()` operator instead.",
    doc="Negative.",
)  # fmt: skip
abs_ = pointwise(
    "abs", "x", "abs(x)", dx="g * sign(x)", takes="uif", aliases=("absolute",),
    doc="Absolute value.",
)  # fmt: skip
reciprocal = pointwise(
    "reciprocal", "x", "reciprocal(x)", dx="-g * (y * y)", promote="float", domain={"x": (0.5, 2)},
    doc="1 / x.",
)  # fmt: skip
pow_ = pointwise(
    "pow", "x, exponent", "pow(x, exponent)",
    dx="where(exponent == 0, 0, g * (exponent * pow(x, exponent - 1)))",
    dexponent="g * where(x == 0 and exponent >= 0, 0, y * log(x))",
    domain={"x": (0.2, 2)}, takes="uif",
    node_names={"tt": "PowBackward1", "nt": "PowBackward2"},
    doc="`x` to the power of `exponent`.",
)  # fmt: skip
addcmul = pointwise(
    "addcmul", "x, tensor1, tensor2, *, value=1", "x + value * tensor1 * tensor2", numbers=(),
    dx="g", dtensor1="g * (tensor2 * value)", dtensor2="g * (tensor1 * value)", takes="uif",
    doc="`x + value * tensor1 * tensor2`.",
)  # fmt: skip
addcdiv = pointwise(
    "addcdiv", "x, tensor1, tensor2, *, value=1", "x + value * tensor1 / tensor2", numbers=(),
    dx="g", dtensor1="g * (value / tensor2)",
    dtensor2="-g * (value * tensor1 / (tensor2 * tensor2))",
    domain={"tensor2": (0.5, 2)}, takes="f", doc="`x + value * tensor1 / tensor2`.",
)  # fmt: skip
lerp = pointwise(
    "lerp", "x, end, weight",
    "x + weight * (end - x) if abs(weight) < 0.5 else end - (end - x) * (1 - weight)",
    numbers=("weight",), opmath=True,
    dx="g * (1 - weight)", dend="g * weight", dweight="g * (end - x)", takes="f",
    node_names={"ttt": "LerpBackward1"}, doc="From `x` to `end`, by the part `weight` of the way.",
)  # fmt: skip

# ---- powers, exponentials, logarithms ----------------------------------------------------------

# powers with an exponent for which PyTorch does not call pow; it is kept for who looks at the node
square = pointwise(
    "square", "x, *, exponent=2", "x * x", dx="g * (2 * x)", node_name="PowBackward0", takes="uif",
    doc="x * x.",
)  # fmt: skip
cube = pointwise(
    "_cube", "x, *, exponent=3", "x * x * x", dx="g * (3 * (x * x))", node_name="PowBackward0",
    doc="x * x * x.",
)  # fmt: skip
root = pointwise(
    "_root", "x, *, exponent=0.5", "sqrt(x)", dx="g * (0.5 * rsqrt(x))", takes="f",
    domain={"x": (0.5, 4)},
    node_name="PowBackward0", doc="Square root, as a power.",
)  # fmt: skip
inverse_root = pointwise(
    "_inverse_root", "x, *, exponent=-0.5", "rsqrt(x)", dx="g * (-0.5 * pow(x, -1.5))", takes="f",
    domain={"x": (0.5, 4)},
    node_name="PowBackward0", doc="1 / sqrt(x), as a power.",
)  # fmt: skip
inverse = pointwise(
    "_inverse", "x, *, exponent=-1", "reciprocal(x)", dx="g * -reciprocal(x * x)", takes="f",
    node_name="PowBackward0", doc="1 / x, as a power.",
)  # fmt: skip
inverse_square = pointwise(
    "_inverse_square", "x, *, exponent=-2", "reciprocal(x * x)", dx="g * (-2 * pow(x, -3))",
    takes="f", node_name="PowBackward0", doc="1 / (x * x), as a power.",
)  # fmt: skip
sqrt = pointwise(
    "sqrt", "x", "sqrt(x)", dx="g / (2 * y)", promote="float", domain={"x": (0.1, 4)},
    doc="Square root; NaN below zero.",
)  # fmt: skip
rsqrt = pointwise(
    "rsqrt", "x", "rsqrt(x)", dx="-0.5 * g * (y * y * y)", promote="float", domain={"x": (0.5, 4)},
    doc="1 / sqrt(x).",
)  # fmt: skip
exp = pointwise("exp", "x", "exp(x)", dx="g * y", promote="float", doc="e to the power of x.")
exp2 = pointwise(
    "exp2", "x", "exp2(x)", dx="g * (y * 0.6931471805599453)", promote="float",
    doc="2 to the power of x.",
)  # fmt: skip
expm1 = pointwise(
    "expm1", "x", "expm1(x)", dx="g * (y + 1)", promote="float", doc="exp(x) - 1, exact near zero."
)
log = pointwise(
    "log", "x", "log(x)", dx="g / x", promote="float", domain={"x": (0.1, 4)},
    doc="Natural logarithm.",
)  # fmt: skip
log2 = pointwise(
    "log2", "x", "log2(x)", dx="g / (x * 0.6931471805599453)", promote="float",
    domain={"x": (0.1, 4)}, doc="Logarithm to the base 2.",
)  # fmt: skip
log10 = pointwise(
    "log10", "x", "log10(x)", dx="g / (x * 2.3025850929940456)", promote="float",
    domain={"x": (0.1, 4)}, doc="Logarithm to the base 10.",
)  # fmt: skip
log1p = pointwise(
    "log1p", "x", "log1p(x)", dx="g / (x + 1)", promote="float", domain={"x": (-0.8, 4)},
    node_name="Log1PBackward0",
    doc="log(1 + x), exact near zero.",
)  # fmt: skip
logaddexp = pointwise(
    "logaddexp", "a, b",
    "where(a == b and isinf(a), a, maximum(a, b) + log1p(exp(-abs(a - b))))", numbers=(),
    da="g / (1 + exp(b - a))", db="g / (1 + exp(a - b))", takes="f", inplace=False,
    doc="log(exp(a) + exp(b)), without overflow.",
)  # fmt: skip
logaddexp2 = pointwise(
    "logaddexp2", "a, b", "where(a == b and isinf(a), a, "
    "maximum(a, b) + log1p(exp2(-abs(a - b))) * 1.4426950408889634)", numbers=(),
    da="g / (1 + exp2(b - a))", db="g / (1 + exp2(a - b))", takes="f", inplace=False,
    doc="log2(2**a + 2**b), without overflow.",
)  # fmt: skip
xlogy = pointwise(
    "xlogy", "a, b", "where(isnan(b), nan, where(a == 0, 0, a * log(b)))",
    da="where(a == 0 and b <= 0, 0, where(isnan(b), nan, where(g == 0, 0, g * log(b))))",
    db="g * a / b", promote="float", domain={"b": (0.1, 4)},
    node_names={"nt": "XlogyBackward1", "tn": "XlogyBackward2"},
    doc="a * log(b), and 0 where a is 0 and b is not NaN.",
)  # fmt: skip

ldexp = pointwise(
    "ldexp", "a, b", "a * pow(2, b)", da="g * pow(2, b)", db="g * y * 0.6931471805599453",
    promote="float", numbers=(), doc="a times 2 to the power of b.",
)  # fmt: skip

# ---- extrema and choice ------------------------------------------------------------------------

maximum = pointwise(
    "maximum", "a, b", "maximum(a, b)", numbers=(), inplace=False,
    da="where(a == b, g / 2, where(a < b, 0, g))",
    db="where(a == b, g / 2, where(b < a, 0, g))",
    doc="The larger of two; NaN wins. The gradient of a tie is halved.",
)  # fmt: skip
minimum = pointwise(
    "minimum", "a, b", "minimum(a, b)", numbers=(), inplace=False,
    da="where(a == b, g / 2, where(a > b, 0, g))",
    db="where(a == b, g / 2, where(b > a, 0, g))",
    doc="The smaller of two; NaN wins. The gradient of a tie is halved.",
)  # fmt: skip
fmax = pointwise(
    "fmax", "a, b", "fmax(a, b)", numbers=(), inplace=False,
    da="where(a >= b or isnan(b), g, 0)", db="where(a >= b or isnan(b), 0, g)",
    doc="The larger of two; a number wins over NaN.",
)  # fmt: skip
fmin = pointwise(
    "fmin", "a, b", "fmin(a, b)", numbers=(), inplace=False,
    da="where(a <= b or isnan(b), g, 0)", db="where(a <= b or isnan(b), 0, g)",
    doc="The smaller of two; a number wins over NaN.",
)  # fmt: skip
clamp = pointwise(
    "clamp", "x, min, max", "minimum(maximum(x, min), max)", takes="uif",
    dx="where(x >= min and x <= max, g, 0)",
    dmin="where(min < max and x < min, g, 0)",
    dmax="where(x > max or max < min, g, 0)",
    node_name="ClampBackward0", node_names={"tnn": "ClampBackward1"},
    doc="x, but not below `min` nor above `max`, which wins.",
)  # fmt: skip
clamp_from = pointwise(
    "_clamp_from", "x, min", "maximum(x, min)",
    dx="where(x >= min, g, 0)", dmin="where(x < min, g, 0)",
    node_name="ClampBackward0", node_names={"tn": "ClampBackward1"}, doc="x, but not below `min`.",
)  # fmt: skip
clamp_to = pointwise(
    "_clamp_to", "x, max", "minimum(x, max)",
    dx="where(x <= max, g, 0)", dmax="where(x > max, g, 0)",
    node_name="ClampBackward0", node_names={"tn": "ClampBackward1"}, doc="x, but not above `max`.",
)  # fmt: skip
clamp_min = pointwise(
    "clamp_min", "x, min", "maximum(x, min)", numbers=("min",),
    dx="where(x >= min, g, 0)", dmin="where(x < min, g, 0)",
    node_names={"tt": "ClampMinBackward1"}, doc="x, but not below `min`.",
)  # fmt: skip
clamp_max = pointwise(
    "clamp_max", "x, max", "minimum(x, max)", numbers=("max",),
    dx="where(x <= max, g, 0)", dmax="where(x > max, g, 0)",
    node_names={"tt": "ClampMaxBackward1"}, doc="x, but not above `max`.",
)  # fmt: skip
where = pointwise(
    "where", "condition, input, other", "where(condition, input, other)", masks=("condition",),
    dinput="where(condition, g, 0)", dother="where(condition, 0, g)", inplace=False,
    doc="`input` where the mask `condition` is true, else `other`.",
)  # fmt: skip
nan_to_num = pointwise(
    "nan_to_num", "x, *, zero=0, high, low",
    "where(isnan(x), zero, where(x == inf, high, where(x == -inf, low, x)))",
    dx="g * where(isfinite(x), 1, 0)", node_name="NanToNumBackward0",
    doc="x with other numbers in place of NaN and the infinities.",
)  # fmt: skip
copysign = pointwise(
    "copysign", "a, b", "copysign(a, b)", numbers=("b",), da="g * where(a == 0, 0, y / a)", db="0",
    promote="float", node_names={"tn": "CopysignBackward1"},
    doc="The size of `a` with the sign of `b`, zeros and NaN included.",
)  # fmt: skip
nextafter = pointwise(
    "nextafter", "a, b", "nextafter(a, b)", numbers=(), da="where(a != b, g, 0)", db="0", takes="f",
    doc="The next number after `a` towards `b`.",
)  # fmt: skip
nextafter_float16 = pointwise(
    "_nextafter_float16", "a, b", "nextafter_float16(a, b)", da="where(a != b, g, 0)", db="0",
    takes="f", node_name="NextafterBackward0", doc="The same among the numbers of float16.",
)  # fmt: skip
nextafter_bfloat16 = pointwise(
    "_nextafter_bfloat16", "a, b", "nextafter_bfloat16(a, b)", da="where(a != b, g, 0)", db="0",
    takes="f", node_name="NextafterBackward0", doc="The same among the numbers of bfloat16.",
)  # fmt: skip
heaviside = pointwise(
    "heaviside", "x, values", "where(x == 0, values, where(x > 0, 1, 0))", numbers=(),
    node_name="NotImplemented", doc="0 below zero, 1 above, `values` at zero.",
)  # fmt: skip

# ---- casts -------------------------------------------------------------------------------------

to = pointwise(
    "to", "x", "x", dx="g", static=(("dtype", REQUIRED),), result="param:dtype",
    inplace=False, node_name="ToCopyBackward0", doc="The same values in another dtype.",
)  # fmt: skip
copy = pointwise(
    "copy", "x", "x", dx="g", inplace=False, node_name="CloneBackward0",
    doc="The same values in new memory.",
)  # fmt: skip
