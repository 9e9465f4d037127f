"""Affine maps of the last dimension; found in `clgrad.nn.functional`."""

from __future__ import annotations

import math

from clgrad.errors import DTypeError, ShapeError
from clgrad.functional._out import with_out
from clgrad.functional.adding import addmm
from clgrad.functional.products import matmul
from clgrad.functional.shaping import unsafe_view
from clgrad.tensor import Tensor


@with_out
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
    if bias is None or len(want) != 2 or (len(have) != 2 and not bias._meta.shape):
        product = matmul(input, weight.t() if len(want) == 2 else weight)
        return product if bias is None else product + bias
    rows = input if len(have) == 2 else input.reshape(math.prod(have[:-1]), have[-1])
    made: Tensor = addmm(bias, rows, weight.t())
    return made if len(have) == 2 else unsafe_view(made, (*have[:-1], want[0]))


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `input1 @ weight[k] @ input2` for each k, plus a bias.

    Args:
        input1: shape (*, n). input2: shape (*, m).
        weight: shape (out, n, m). bias: shape (out,).

    Returns:
        Shape (*, out).

    Raises:
        ShapeError: sizes that do not fit.
        DTypeError: dtypes that differ.
    """
    a, b, w = input1._meta.shape, input2._meta.shape, weight._meta.shape
    if len(w) != 3:
        raise ShapeError(f"bilinear: weight has shape {list(w)}. Expected (out, in1, in2).")
    if a[:-1] != b[:-1]:
        raise ShapeError(
            f"bilinear: input batch dimensions do not match, got {list(a)} and {list(b)}."
        )
    for name, have, want in (("input1", a[-1], w[1]), ("input2", b[-1], w[2])):
        if have != want:
            raise ShapeError(
                f"bilinear: {name} size does not match weight size: got {have} but expected {want}."
            )
    if bias is not None and bias._meta.shape != (w[0],):
        raise ShapeError(
            f"bilinear: bias size does not match weight size: got {list(bias._meta.shape)} but "
            f"expected [{w[0]}]."
        )
    kinds = [t.dtype.name for t in (input1, input2, weight, bias) if t is not None]
    if len(set(kinds)) > 1:
        raise DTypeError(
            f"bilinear: All tensors must have the same dtype, got {', '.join(kinds)} for inputs, "
            "weight and bias. Hint: cast the inputs with .to(), or the layer."
        )
    left = matmul(input1, weight.permute(1, 0, 2).reshape(w[1], w[0] * w[2]))
    made: Tensor = (left.reshape(*a[:-1], w[0], w[2]) * input2.unsqueeze(-2)).sum(dim=-1)
    return made if bias is None else made + bias
