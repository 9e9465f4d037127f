"""Starting values of parameters; all are drawn on the device from the default generator.

Each function fills a tensor in place without a history and returns it.
"""

from __future__ import annotations

import math

from clgrad.errors import ClgradValueError
from clgrad.generator import Generator
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

_GAINS = {
    "linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0, "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0), "selu": 3.0 / 4.0,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return by how much weights before a nonlinearity are scaled up.

    Args:
        nonlinearity: the function's name, as in `clgrad.nn.functional`.
        param: the negative slope of `leaky_relu`, 0.01 if None.

    Raises:
        ClgradValueError: no gain is known for it.

    Source: He et al. 2015 (relu, leaky_relu); the values for tanh and selu are PyTorch's.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2.0 / (1 + slope * slope))
    if nonlinearity not in _GAINS:
        raise ClgradValueError(
            f"calculate_gain: Unsupported nonlinearity {nonlinearity}. "
            f"Expected leaky_relu or one of {', '.join(_GAINS)}."
        )
    return _GAINS[nonlinearity]


def fans(x: Tensor) -> tuple[int, int]:
    """Return how many inputs feed one output of a weight, and how many outputs one input.

    Raises:
        ClgradValueError: fewer than two dimensions.
    """
    if x.ndim < 2:
        raise ClgradValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, this "
            f"one has shape {list(x.shape)}."
        )
    field = x.shape[2:].numel()
    return x.shape[1] * field, x.shape[0] * field


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform numbers in [a, b)."""
    with no_grad():
        filled: Tensor = tensor.uniform_(a, b, generator=generator)
    return filled


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers."""
    with no_grad():
        filled: Tensor = tensor.normal_(mean, std, generator=generator)
    return filled


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    with no_grad():
        filled: Tensor = tensor.fill_(val)
    return filled


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform numbers of variance 2 gain² / (fan in + fan out). Source: Glorot 2010."""
    inputs, outputs = fans(tensor)
    bound = gain * math.sqrt(6.0 / (inputs + outputs))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of variance 2 gain² / (fan in + fan out). Source: Glorot 2010."""
    inputs, outputs = fans(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / (inputs + outputs)), generator)


def _he(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ClgradValueError(
            f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']."
        )
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Fill with uniform numbers of variance gain² / fan. Source: He et al. 2015.

    Args:
        tensor: a weight of two dimensions or more; one without elements is left as it is.
        a: negative slope, for `leaky_relu`.
        mode: keep the size of values (`fan_in`) or of gradients (`fan_out`).
        nonlinearity: see `calculate_gain`.
        generator: the default one if None.
    """
    if 0 in tensor.shape:
        return tensor
    bound = math.sqrt(3.0) * _he(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Fill with normal numbers of variance gain² / fan; see `kaiming_uniform_`."""
    if 0 in tensor.shape:
        return tensor
    return normal_(tensor, 0.0, _he(tensor, a, mode, nonlinearity), generator)
