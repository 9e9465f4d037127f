"""Affine maps of the last dimension; found in `clgrad.nn.functional`."""

from __future__ import annotations

from clgrad.errors import DTypeError, ShapeError
from clgrad.functional.products import matmul
from clgrad.tensor import Tensor


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `input @ weight.T + bias`.

    Args:
        input: shape (*, in_features).
        weight: shape (out_features, in_features) or (in_features).
        bias: shape (out_features) or ().

    Raises:
        ShapeError: the last sizes of input and weight differ.
        DTypeError: the dtypes differ.
    """
    have, want = input._meta.shape, weight._meta.shape
    if not have or not want or have[-1] != want[-1]:
        raise ShapeError(
            f"linear: mat1 and mat2 shapes cannot be multiplied: input has shape {list(have)}, "
            f"weight {list(want)}. Expected equal last sizes. Hint: in_features of the layer must "
            "be the size of the input's last dimension."
        )
    if input._meta.dtype is not weight._meta.dtype:
        raise DTypeError(
            f"linear: mat1 and mat2 must have the same dtype, but got {input.dtype.name} and "
            f"{weight.dtype.name}. Hint: cast the input with .to(), or the layer."
        )
    product = matmul(input, weight.t() if len(want) == 2 else weight)
    return product if bias is None else product + bias
