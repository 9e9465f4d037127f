"""What layers compute, as functions of tensors. All are composed of ops of the table; they fuse.

Losses are in `class_losses`, `regression_losses` and `margin_losses`, normalizations in
`clgrad.functional`; they are found here too.
"""

from __future__ import annotations

import sys

from clgrad.creation import arange
from clgrad.dtypes import int64
from clgrad.errors import ClgradRuntimeError, DTypeError
from clgrad.functional import activation, attention, fractional
from clgrad.functional import dropout as _dropout
from clgrad.functional.activation import *  # noqa: F403  # its __all__ is the list
from clgrad.functional.attention import *  # noqa: F403  # as above
from clgrad.functional.batch_norm import batch_norm, instance_norm
from clgrad.functional.distances import (
    cdist,
    cosine_similarity,
    normalize,
    pairwise_distance,
    pdist,
)
from clgrad.functional.dropout import *  # noqa: F403  # as above
from clgrad.functional.embedding import embedding_bag
from clgrad.functional.embedding import table_embedding as embedding
from clgrad.functional.fractional import *  # noqa: F403  # as above
from clgrad.functional.linear import bilinear, linear
from clgrad.functional.normalization import group_norm, layer_norm, rms_norm
from clgrad.functional.padding import pad
from clgrad.guarding import guard
from clgrad.host import array_of
from clgrad.nn import image_functions
from clgrad.nn.class_losses import (
    cross_entropy,
    linear_cross_entropy,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
)
from clgrad.nn.classes import known_bounds
from clgrad.nn.image_functions import *  # noqa: F403  # its __all__ is the list
from clgrad.nn.margin_losses import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from clgrad.nn.regression_losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    gaussian_nll_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
)
from clgrad.nn.sequence_losses import ctc_loss
from clgrad.nn.softmax_functions import gumbel_softmax, log_softmax, softmax, softmin
from clgrad.tensor import Tensor


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
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cdist",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "embedding",
    "embedding_bag",
    "gaussian_nll_loss",
    "group_norm",
    "gumbel_softmax",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "log_softmax",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pdist",
    "poisson_nll_loss",
    "rms_norm",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
__all__ += activation.__all__
__all__ += attention.__all__
__all__ += _dropout.__all__
__all__ += fractional.__all__
__all__ += image_functions.__all__
guard(sys.modules[__name__], __all__)
