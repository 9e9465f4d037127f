"""Convolutions with what follows them: of many channels, depthwise, and both gradients."""

import clgrad

x, w = clgrad.empty(2, 24, 14, 14), clgrad.empty(40, 24, 3, 3)
bias = clgrad.empty(40)
x.requires_grad = w.requires_grad = True
y = clgrad.nn.functional.conv2d(x, w, bias, stride=2, padding=1).relu()
z = clgrad.nn.functional.conv2d(y, clgrad.empty(40, 1, 3, 3), padding=1, groups=40)
z.backward(clgrad.empty(2, 40, 7, 7))
