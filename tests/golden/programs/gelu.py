"""GELU by tanh with bias and residual, written in primitives: one pointwise kernel."""

import clgrad

x, residual = clgrad.empty(64, 128), clgrad.empty(64, 128)
bias = clgrad.empty(128)

z = x + bias
y = 0.5 * z * (1 + (0.7978845608 * (z + 0.044715 * z * z * z)).tanh()) + residual
