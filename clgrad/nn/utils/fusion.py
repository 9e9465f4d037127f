"""Folding batch normalisation into the layer before it, for evaluation."""

from __future__ import annotations

import copy
from typing import TypeVar

from clgrad.creation import ones_like, zeros_like
from clgrad.nn.modules.batchnorm import _BatchNorm
from clgrad.nn.modules.conv import _ConvNd
from clgrad.nn.modules.linear import Linear
from clgrad.nn.parameter import Parameter
from clgrad.tensor import Tensor

Conv = TypeVar("Conv", bound=_ConvNd)
Pair = tuple[Parameter, Parameter]


def _check(layer: _ConvNd | Linear, bn: _BatchNorm) -> tuple[Tensor, Tensor]:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    return bn.running_mean, bn.running_var


def fuse_conv_bn_eval(conv: Conv, bn: _BatchNorm, transpose: bool = False) -> Conv:
    """Return a convolution that does what `conv` and then `bn` do, both in evaluation.

    Args:
        conv: with or without bias.
        bn: with running statistics.
        transpose: whether `conv` is a transposed one.

    Raises:
        AssertionError: one of them is training, or has no statistics.
    """
    mean, var = _check(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, mean, var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_linear_bn_eval(linear: Linear, bn: _BatchNorm) -> Linear:
    """Return a map that does what `linear` and then `bn` do, both in evaluation.

    Raises:
        AssertionError: one of them is training, or their features differ.
    """
    mean, var = _check(linear, bn)
    if bn.num_features not in (1, linear.out_features):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"{linear.out_features} and {bn.num_features}"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, mean, var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float,
    bn_w: Tensor | None, bn_b: Tensor | None, transpose: bool = False,
) -> Pair:  # fmt: skip
    """Return weight and bias of a convolution with batch normalisation folded in."""
    bias = zeros_like(bn_rm) if conv_b is None else conv_b
    scale = (ones_like(bn_rm) if bn_w is None else bn_w) / (bn_rv + bn_eps).sqrt()
    shift = zeros_like(bn_rm) if bn_b is None else bn_b
    shape = [1, -1] if transpose else [-1, 1]
    weight = conv_w * scale.reshape(shape + [1] * (conv_w.ndim - 2))
    moved = (bias - bn_rm) * scale + shift
    return (
        Parameter(weight.to(conv_w.dtype), conv_w.requires_grad),
        Parameter(moved.to(bias.dtype), bias.requires_grad),
    )


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float,
    bn_w: Tensor | None, bn_b: Tensor | None,
) -> Pair:  # fmt: skip
    """Return weight and bias of a map with batch normalisation folded in."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


__all__ = [
    "fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights",
]  # fmt: skip
