"""What is done with the parameters of a module from outside: clipping gradients, flattening,
normalising weights, folding layers, calling with other parameters.
"""

from __future__ import annotations

from clgrad.nn.utils import parametrizations, parametrize, rnn, stateless
from clgrad.nn.utils.clip_grad import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from clgrad.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from clgrad.nn.utils.fusion import (
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
)
from clgrad.nn.utils.init import skip_init
from clgrad.nn.utils.spectral_norm import remove_spectral_norm, spectral_norm
from clgrad.nn.utils.weight_norm import remove_weight_norm, weight_norm

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "fuse_conv_bn_eval",
    "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights", "get_total_norm",
    "parameters_to_vector", "parametrizations", "parametrize", "remove_spectral_norm",
    "remove_weight_norm", "rnn", "skip_init", "spectral_norm", "stateless",
    "vector_to_parameters", "weight_norm",
]  # fmt: skip
