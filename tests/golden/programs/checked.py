"""What anomaly mode adds to kernels: tests of values that they have in registers."""

import clgrad
from clgrad.autograd import set_detect_anomaly

x = clgrad.empty(64, 128)
w = clgrad.empty(128, 32)

with set_detect_anomaly(True, forward=True):
    y = (x @ w + 1.0).log()
    z = (x * x).sum(dim=1).sqrt()
