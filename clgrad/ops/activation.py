"""Activation functions: pointwise ops of neural networks that PyTorch has one derivative for.

What PyTorch composes of others (softsign, tanhshrink) is composed in `nn.functional` too. Second
derivatives follow from the formulas of the first.
"""

from __future__ import annotations

from clgrad.ops.registry import pointwise

sigmoid = pointwise(
    "sigmoid", "x", "1 / (1 + exp(-x))", dx="g * ((1 - y) * y)", promote="float",
    doc="Logistic function.",
)  # fmt: skip
relu = pointwise(
    "relu", "x", "where(x <= 0, 0, x)", dx="where(y <= 0, 0, g)", takes="uif",
    refusal="Boolean inputs not supported for relu.", doc="The positive part of x; NaN stays NaN.",
)  # fmt: skip
leaky_relu = pointwise(
    "_leaky_relu", "x, *, negative_slope=0.01", "x if x > 0 else x * negative_slope",
    dx="g if x > 0 else g * negative_slope", takes="f", node_name="LeakyReluBackward0",
    doc="x, times `negative_slope` below zero.",
)  # fmt: skip
prelu = pointwise(
    "_prelu_kernel", "x, weight", "x if x > 0 else weight * x",
    dx="g if x > 0 else weight * g", dweight="0 if x > 0 else x * g", takes="f",
    node_name="PreluKernelBackward0", doc="x, times `weight` below zero.",
)  # fmt: skip
rrelu = pointwise(
    "_rrelu", "x, *, slope", "x if x > 0 else x * slope", dx="g if x > 0 else g * slope",
    takes="f", node_name="RreluWithNoiseBackward0", doc="x, times `slope` below zero.",
)  # fmt: skip
rrelu_with_noise = pointwise(
    "_rrelu_with_noise", "x, noise", "noise * x if x <= 0 else x",
    dx="noise * g if x <= 0 else g", takes="f", node_name="RreluWithNoiseBackward0",
    doc="x, times `noise` below zero.",
)  # fmt: skip
threshold = pointwise(
    "_threshold", "x, *, threshold, value", "value if x <= threshold else x",
    dx="0 if x <= threshold else g", takes="uif", node_name="ThresholdBackward0",
    doc="x where it is above `threshold`, else `value`.",
)  # fmt: skip
hardtanh = pointwise(
    "_hardtanh", "x, *, min_val=-1, max_val=1", "minimum(maximum(x, min_val), max_val)",
    dx="0 if x <= min_val or x >= max_val else g", takes="uif", node_name="HardtanhBackward0",
    doc="x between `min_val` and `max_val`.",
)  # fmt: skip
hardsigmoid = pointwise(
    "_hardsigmoid", "x", "minimum(maximum(x + 3, 0), 6) / 6",
    dx="g / 6 if x > -3 and x < 3 else 0", takes="f", node_name="HardsigmoidBackward0",
    doc="(x + 3) / 6 between 0 and 1.",
)  # fmt: skip
hardswish = pointwise(
    "_hardswish", "x", "x * minimum(maximum(x + 3, 0), 6) / 6",
    dx="0 if x <= -3 else (g * (x / 3 + 0.5) if x < 3 else g)", takes="f",
    node_name="HardswishBackward0", doc="x times hardsigmoid(x).",
)  # fmt: skip
hardshrink = pointwise(
    "_hardshrink", "x, *, lambd=0.5", "0 if x >= -lambd and x <= lambd else x",
    dx="0 if x >= -lambd and x <= lambd else g", takes="f", node_name="HardshrinkBackward0",
    doc="x, and 0 between -lambd and lambd.",
)  # fmt: skip
softshrink = pointwise(
    "_softshrink", "x, *, lambd=0.5",
    "x - lambd if x > lambd else (x + lambd if x < -lambd else x * 0)",
    dx="0 if x >= -lambd and x <= lambd else g", takes="f", node_name="SoftshrinkBackward0",
    doc="x moved towards 0 by `lambd`, not beyond.",
)  # fmt: skip
elu = pointwise(
    "_elu", "x, *, alpha=1, scale=1, input_scale=1",
    "x * scale if x > 0 else expm1(x * input_scale) * (alpha * scale)",
    dx="g * input_scale * (alpha * scale) * exp(x * input_scale) if x <= 0 else g * scale",
    takes="f", node_name="EluBackward0", doc="x, and alpha * (exp(x) - 1) below zero.",
)  # fmt: skip
celu = pointwise(
    "_celu", "x, *, alpha=1", "x if x > 0 else expm1(x / alpha) * alpha",
    dx="g * exp(x / alpha) if x <= 0 else g", takes="f", node_name="CeluBackward0",
    doc="x, and alpha * (exp(x / alpha) - 1) below zero.",
)  # fmt: skip
softplus = pointwise(
    "_softplus", "x, *, beta=1, threshold=20",
    "x if x * beta > threshold else log1p(exp(x * beta)) / beta",
    dx="g if x * beta > threshold else g * exp(x * beta) / (exp(x * beta) + 1)", takes="f",
    node_name="SoftplusBackward0", doc="log(1 + exp(beta x)) / beta, x where that is large.",
)  # fmt: skip
logsigmoid = pointwise(
    "_logsigmoid", "x", "minimum(0, x) - log1p(exp(-abs(x)))",
    dx="g * ((1 if x < 0 else 0) "
    "- (1 if x < 0 else -1) * (exp(-abs(x)) / (1 + exp(-abs(x)))))",
    takes="f", node_name="LogSigmoidBackward0", doc="log(sigmoid(x)), without overflow.",
)  # fmt: skip
silu = pointwise(
    "_silu", "x", "x / (1 + exp(-x))",
    dx="g * (1 / (1 + exp(-x)) * (1 + x * (1 - 1 / (1 + exp(-x)))))", takes="f",
    node_name="SiluBackward0", doc="x * sigmoid(x).",
)  # fmt: skip
mish = pointwise(
    "_mish", "x", "x * tanh(log1p(exp(x)))",
    dx="g * (tanh(log1p(exp(x))) "
    "+ x * (1 / (1 + exp(-x))) * (1 - tanh(log1p(exp(x))) * tanh(log1p(exp(x)))))",
    takes="f", node_name="MishBackward0", doc="x * tanh(softplus(x)).",
)  # fmt: skip

# 1 / sqrt(2), and 1 / sqrt(2 pi)
gelu = pointwise(
    "_gelu", "x", "x * 0.5 * (1 + erf(x * 0.7071067811865476))",
    dx="g * (0.5 * (1 + erf(x * 0.7071067811865476)) "
    "+ x * (0.3989422804014327 * exp(-0.5 * x * x)))",
    takes="f", node_name="GeluBackward0", doc="x times the normal distribution function of x.",
)  # fmt: skip
# sqrt(2 / pi); D. Hendrycks and K. Gimpel, "Gaussian error linear units", 2016
_inner = "0.7978845608028654 * (x + 0.044715 * (x * x * x))"
gelu_tanh = pointwise(
    "_gelu_tanh", "x", f"0.5 * x * (1 + tanh({_inner}))",
    dx=f"g * (0.5 * (1 + tanh({_inner})) + 0.5 * x * (1 - tanh({_inner}) * tanh({_inner})) "
    "* (0.7978845608028654 * (1 + 0.134145 * (x * x))))",
    takes="f", node_name="GeluBackward0", doc="gelu, approximated by tanh.",
)  # fmt: skip
