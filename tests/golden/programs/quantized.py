"""A linear layer whose weights are int8, scaled by rows: the product makes them as it reads."""

import clgrad

x = clgrad.empty(4, 128)
weight, scale = clgrad.empty(64, 128, dtype=clgrad.int8), clgrad.empty(64, 1)

y = x @ (weight.float() * scale).T
