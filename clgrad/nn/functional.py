"""What layers compute, as functions of tensors. All are composed of ops of the table; they fuse.

Losses are in `loss_functions` and found here too.
"""

from __future__ import annotations

from typing import Any

from clgrad.creation import arange
from clgrad.dispatch import apply, unary
from clgrad.dtypes import int64
from clgrad.errors import ClgradRuntimeError, DTypeError
from clgrad.functional.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from clgrad.functional.linear import linear
from clgrad.functional.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from clgrad.host import array_of
from clgrad.nn.classes import known_bounds
from clgrad.nn.image_functions import (
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
)
from clgrad.nn.loss_functions import cross_entropy, log_softmax, mse_loss, nll_loss, stable
from clgrad.ops.registry import OPS
from clgrad.tensor import Tensor
from clgrad.writing import apply_

_relu, _sigmoid, _tanh = unary(OPS["relu"]), unary(OPS["sigmoid"]), unary(OPS["tanh"])


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return the positive part; NaN stays NaN."""
    return apply_(OPS["relu"], (input,)) if inplace else _relu(input)


def relu_(input: Tensor) -> Tensor:
    """Overwrite `input` with its positive part."""
    return relu(input, inplace=True)


def sigmoid(input: Tensor) -> Tensor:
    """Return the logistic function."""
    return _sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return _tanh(input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return `input * sigmoid(input)`."""
    if inplace:
        return apply_(OPS["mul"], (input, _sigmoid(input)))
    made: Tensor = apply(OPS["mul"], (input, _sigmoid(input)))
    return made


def softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """Return exponentials that sum to 1 along `dim`.

    Args:
        input: any shape.
        dim: where they sum to 1; must be given.
        dtype: cast `input` to this first.
    """
    shifted, d = stable("softmax", input, dim, dtype)
    powers = shifted.exp()
    return powers / powers.sum(dim=d, keepdim=True)  # type: ignore[no-any-return]  # a Tensor


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return int64 zeros with a one at each class, in a new last dimension.

    Args:
        tensor: class indices, int64, shape (*).
        num_classes: size of the new dimension; the largest class + 1 if -1.

    Raises:
        ClgradRuntimeError: a class below 0, or not below `num_classes`.
    """
    if tensor.dtype is not int64:
        raise DTypeError(
            f"one_hot: one_hot is only applicable to index tensor, got {tensor.dtype.name}. "
            "Expected int64. Hint: .long()."
        )
    bounds = known_bounds(tensor)
    if bounds is None or bounds[0] < 0 or num_classes < 0 or bounds[1] >= num_classes:
        array = array_of(tensor)
        if not array.size and num_classes <= 0:
            raise ClgradRuntimeError(
                "one_hot: Can not infer total number of classes from empty tensor. "
                "Hint: pass num_classes."
            )
        low, high = (int(array.min()), int(array.max())) if array.size else (0, -1)
        if low < 0:
            raise ClgradRuntimeError(f"one_hot: Class values must be non-negative, got {low}.")
        if num_classes < 0:
            num_classes = high + 1
        if high >= num_classes:
            raise ClgradRuntimeError(
                f"one_hot: Class values must be smaller than num_classes, got {high} for "
                f"{num_classes}."
            )
    return (tensor.unsqueeze(-1) == arange(num_classes, device=tensor.device)).to(int64)  # type: ignore[no-any-return]  # a Tensor


__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "linear",
    "log_softmax",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "relu_",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]  # fmt: skip
