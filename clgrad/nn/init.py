"""Starting values of parameters; all are drawn on the device from the default generator.

Each function fills a tensor in place without a history and returns it. Two use the host: the QR
factorisation of `orthogonal_`, and the order of random numbers in `sparse_`.
"""

from __future__ import annotations

import functools
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from clgrad.calls import function
from clgrad.creation import arange, empty_like, tensor, zeros
from clgrad.dtypes import float64
from clgrad.errors import ClgradValueError
from clgrad.functional.sampling import randn
from clgrad.generator import Generator
from clgrad.host import array_of
from clgrad.ops.registry import OPS
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

_where = function(OPS["where"])

_GAINS = {
    "linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0, "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0), "selu": 3.0 / 4.0,
}  # fmt: skip


class _Skipping(threading.local):
    depth = 0


_skipping = _Skipping()


@contextmanager
def skipped() -> Iterator[None]:
    """Leave tensors as they are inside the block: for modules whose state is loaded next."""
    _skipping.depth += 1
    try:
        yield
    finally:
        _skipping.depth -= 1


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
        if param is not None and (isinstance(param, bool) or not isinstance(param, int | float)):
            raise ClgradValueError(f"calculate_gain: negative_slope {param} not a valid number")
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
    if _skipping.depth:
        return tensor
    with no_grad():
        filled: Tensor = tensor.uniform_(a, b, generator=generator)
    return filled


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers."""
    if _skipping.depth:
        return tensor
    with no_grad():
        filled: Tensor = tensor.normal_(mean, std, generator=generator)
    return filled


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    if _skipping.depth:
        return tensor
    with no_grad():
        filled: Tensor = tensor.fill_(val)
    return filled


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Fill with normal numbers, those outside of [a, b] drawn anew.

    Math: where little of the bell lies inside, candidates are uniform and accepted with the
        probability density / its largest value, which takes fewer draws.

    Args:
        tensor: what to fill.
        mean, std: of the normal distribution.
        a, b: bounds.
        generator: the default one if None.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of "
            "values may be incorrect.",
            UserWarning,
            stacklevel=2,
        )

    def below(x: float) -> float:
        return (1 + math.erf((x - mean) / std / math.sqrt(2))) / 2

    peak = ((max(a, min(mean, b)) - mean) / std) ** 2

    def draw() -> tuple[Tensor, Tensor]:
        """Return candidates, and which of them are to be drawn again."""
        made = empty_like(tensor)
        if below(b) - below(a) > 0.3:
            made.normal_(mean, std, generator=generator)
            return made, (made < a) + (made > b)
        made.uniform_(a, b, generator=generator)
        chance = empty_like(tensor).uniform_(generator=generator)
        z = (made - mean) / std
        return made, chance > ((peak - z * z) * 0.5).exp()

    with no_grad():
        made, again = draw()
        while again.sum().item():
            fresh, wrong = draw()
            made, again = _where(again, fresh, made), again * wrong
        tensor.copy_(made)
    return tensor


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity, as far as it goes.

    Raises:
        ClgradValueError: no matrix.
    """
    if tensor.ndim != 2:
        raise ClgradValueError(
            f"eye_: Only tensors with 2 dimensions are supported, got {tensor.ndim}."
        )
    rows, columns = (arange(n, device=tensor.device) for n in tensor.shape)
    with no_grad():
        tensor.copy_(rows.unsqueeze(1).eq(columns))
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weight of a convolution so that it hands as many channels through as it can.

    Args:
        tensor: shape (out, in, *kernel) with one to three kernel dims.
        groups: each hands its channels through.

    Raises:
        ClgradValueError: other dims, or groups that do not divide `out`.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ClgradValueError(
            f"dirac_: Only tensors with 3, 4, or 5 dimensions are supported, got {tensor.ndim}."
        )
    out, into = tensor.shape[:2]
    if out % groups:
        raise ClgradValueError(
            f"dirac_: dim 0 must be divisible by groups, got {out} and {groups}."
        )
    device = tensor.device
    channel = zeros(groups, 1, dtype=int, device=device) + arange(out // groups, device=device)
    mask = channel.reshape(-1, 1).eq(arange(into, device=device))
    for size in tensor.shape[2:]:
        middle = arange(size, device=device).eq(size // 2)
        mask = mask.unsqueeze(-1) * middle
    with no_grad():
        tensor.copy_(mask)
    return tensor


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill with a (semi-)orthogonal matrix; dims after the first count as columns.

    The factorisation is NumPy's, in float64 on the host: this is initialisation alone.

    Args:
        tensor: two dims or more.
        gain: factor of the matrix.
        generator: the default one if None.

    Raises:
        ClgradValueError: fewer than two dims.

    Source: Saxe et al. 2013; uniform over all such matrices by Mezzadri 2007.
    """
    if tensor.ndim < 2:
        raise ClgradValueError(
            f"orthogonal_: Only tensors with 2 or more dimensions are supported, got {tensor.ndim}."
        )
    if not tensor.numel():
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    shape = max(rows, columns), min(rows, columns)
    drawn = array_of(randn(shape, generator=generator, device=tensor.device))
    q, r = np.linalg.qr(drawn.astype(np.float64))
    q *= np.sign(np.diagonal(r))
    q = q.T if rows < columns else q
    return _put(tensor, q.reshape(tuple(tensor.shape)) * gain)


def _put(x: Tensor, array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    """Fill a tensor with an array, in its own precision."""
    exact = x.dtype is float64
    with no_grad():
        x.copy_(tensor(array if exact else array.astype(np.float32), device=x.device))
    return x


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Fill a matrix with normal numbers, and a share of each column, chosen at random, with zeros.

    Args:
        tensor: two dims.
        sparsity: the share of zeros, 0 to 1.
        std: of the normal distribution.
        generator: the default one if None.

    Raises:
        ClgradValueError: no matrix.

    Source: Martens 2010.
    """
    if tensor.ndim != 2:
        raise ClgradValueError(
            f"sparse_: Only tensors with 2 dimensions are supported, got {tensor.ndim}."
        )
    zeros_each = math.ceil(sparsity * tensor.shape[0])
    order = array_of(empty_like(tensor).uniform_(generator=generator)).argsort(axis=0)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(order.shape[0])[:, None], axis=0)
    normal_(tensor, 0.0, std, generator)
    with no_grad():
        tensor.copy_(_where(_upload(rank >= zeros_each, tensor), tensor, 0))
    return tensor


def _upload(array: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], like: Tensor) -> Tensor:
    return tensor(array, device=like.device)


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


def _nothing(tensor: Tensor) -> bool:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", UserWarning, stacklevel=3)
        return True
    return False


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
    if _nothing(tensor):
        return tensor
    bound = math.sqrt(3.0) * _he(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Fill with normal numbers of variance gain² / fan; see `kaiming_uniform_`."""
    if _nothing(tensor):
        return tensor
    return normal_(tensor, 0.0, _he(tensor, a, mode, nonlinearity), generator)


def _deprecated(now: Callable[..., Tensor]) -> Callable[..., Tensor]:
    name = now.__name__
    old = name[:-1]

    @functools.wraps(now)
    def call(*args: object, **named: object) -> Tensor:
        warnings.warn(
            f"`nn.init.{old}` is now deprecated in favor of `nn.init.{name}`.",
            FutureWarning,
            stacklevel=2,
        )
        return now(*args, **named)

    call.__name__ = old
    return call


uniform, normal, constant = _deprecated(uniform_), _deprecated(normal_), _deprecated(constant_)
eye, dirac, sparse = _deprecated(eye_), _deprecated(dirac_), _deprecated(sparse_)
orthogonal = _deprecated(orthogonal_)
xavier_uniform, xavier_normal = _deprecated(xavier_uniform_), _deprecated(xavier_normal_)
kaiming_uniform, kaiming_normal = _deprecated(kaiming_uniform_), _deprecated(kaiming_normal_)
