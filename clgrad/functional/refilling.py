"""Filling a tensor with random numbers in place.

The old elements have no gradient afterwards. Where PyTorch has it, bad settings are errors at the
call.
"""

from __future__ import annotations

import math
from typing import Any

from clgrad import writing
from clgrad.creation import number_of
from clgrad.dtypes import DType, bfloat16, bool_, float16, float32, int64, limits
from clgrad.errors import ClgradRuntimeError
from clgrad.functional.sampling import check_float, draw, integers, one, probability, span
from clgrad.generator import Generator, default_generator
from clgrad.ops import creation as _ops
from clgrad.ops.registry import Op
from clgrad.ops.signature import signature
from clgrad.tape.node import OverwriteNode
from clgrad.tensor import Tensor


def _node(name: str) -> type[OverwriteNode]:
    return type(name, (OverwriteNode,), {"__slots__": (), "__doc__": "See the module."})


_nodes = {
    name: _node(f"{name}0") for name in (
        "UniformBackward", "NormalBackward", "LogNormalBackward", "CauchyBackward",
        "ExponentialBackward", "GeometricBackward",
    )
}  # fmt: skip
_random = [_node(f"RandomBackward{k}") for k in range(3)]
_bernoulli_tensor, _bernoulli_number = _node("BernoulliBackward1"), _node("BernoulliBackward2")


def _refill(
    name: str, x: Tensor, op: Op, generator: Generator | None, node: Any, *numbers: Any
) -> Tensor:
    """Overwrite `x` with what a random op makes of the next numbers of a stream."""
    meta = x._meta
    given = (*(generator or default_generator).advance(meta.numel), *numbers)
    kinds = tuple([type(n) for n in given])
    source = signature(op, kinds, (meta.shape, meta.dtype), meta.device)
    return writing.overwrite(name, x, source, given, node)


def _above_zero(op: str, name: str, value: float, said: str = "") -> None:
    if not value > 0:
        raise ClgradRuntimeError(f"{op}_ expects {name} > 0.0, but found {said or name}={value}")


def uniform_(
    x: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None,
    **named: float,
) -> Tensor:  # fmt: skip
    """Overwrite `x` with uniform random numbers in [a, b), which are `from` and `to` by name."""
    a, b = named.pop("from", a), named.pop("to", b)
    if named:
        raise TypeError(f"uniform_() got an unexpected keyword argument {next(iter(named))!r}")
    check_float("uniform_", x.dtype)
    for name, value in (("from", a), ("to", b)):
        if not math.isfinite(value):
            raise ClgradRuntimeError(f"uniform_: {name} is out of bounds for {x.dtype.name}")
    if a > b:
        raise ClgradRuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}"
        )
    node = _nodes["UniformBackward"]
    if (a, b) == (0, 1):
        return _refill("uniform_", x, _ops.rand, generator, node)
    return _refill("uniform_", x, _ops.uniform, generator, node, float(a), float(b) - float(a))


def normal_(
    x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite `x` with normal random numbers."""
    check_float("normal_", x.dtype)
    if not std >= 0:
        raise ClgradRuntimeError(f"normal expects std >= 0.0, but found std {std}")
    node = _nodes["NormalBackward"]
    if (mean, std) == (0, 1):
        return _refill("normal_", x, _ops.randn, generator, node)
    return _refill("normal_", x, _ops.normal, generator, node, float(mean), float(std))


def log_normal_(
    x: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite `x` with numbers whose logarithm has this mean and standard deviation."""
    check_float("log_normal_", x.dtype)
    _above_zero("log_normal", "std", std)
    node = _nodes["LogNormalBackward"]
    return _refill("log_normal_", x, _ops.log_normal, generator, node, float(mean), float(std))


def cauchy_(
    x: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite `x` with random numbers of a Cauchy distribution."""
    check_float("cauchy_", x.dtype)
    _above_zero("cauchy", "sigma", sigma)
    node = _nodes["CauchyBackward"]
    return _refill("cauchy_", x, _ops.cauchy, generator, node, float(median), float(sigma))


def exponential_(x: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite `x` with exponential random numbers of mean 1 / lambd; none is 0."""
    check_float("exponential_", x.dtype)
    _above_zero("exponential", "lambda", lambd)
    node = _nodes["ExponentialBackward"]
    return _refill("exponential_", x, _ops.exponential, generator, node, float(lambd))


def geometric_(x: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Overwrite `x` with how often something of probability `p` is tried until it happens."""
    if not 0 < p < 1:
        raise ClgradRuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    node, rate = _nodes["GeometricBackward"], -math.log1p(-p)
    if x.dtype.is_floating_point:
        return _refill("geometric_", x, _ops.geometric, generator, node, rate)
    drawn = draw(_ops.geometric, x._meta.shape, float32, x.device, generator, rate)
    return _written(x, drawn, node)


def _written(x: Tensor, drawn: Tensor, node: Any) -> Tensor:
    """Write floats, which were drawn in another dtype, over integers or bools."""
    return writing.copy_(x, drawn.to(x.dtype), node=node)


def bernoulli_(x: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Overwrite `x` with ones of probability `p`, a number or a tensor that broadcasts, or zeros.

    Raises:
        ClgradRuntimeError: the number is not in [0, 1]. DTypeError: the tensor has no floats.
    """
    meta = x._meta
    if isinstance(p, Tensor) and p.ndim:
        check_float("bernoulli_", p.dtype)
        drawn = draw(_ops.rand, meta.shape, p.dtype, meta.device, generator)
        wide = p.detach().expand(meta.shape)
        return _written(x, drawn < wide, _bernoulli_tensor)
    chance, value = probability("bernoulli", p), one(meta.dtype)
    if not meta.dtype.is_floating_point:
        drawn = draw(_ops.bernoulli, meta.shape, float32, meta.device, generator, chance, 1.0)
        return _written(x, drawn, _bernoulli_number)
    node = _bernoulli_number
    return _refill("bernoulli_", x, _ops.bernoulli, generator, node, chance, value)


_DIGITS = {float16: 11, bfloat16: 8, float32: 24}
"""Bits of an integer that a float holds exactly."""


def random_(x: Tensor, *args: Any, generator: Generator | None = None, **named: Any) -> Tensor:
    """Overwrite `x` with random integers: `random_()`, `random_(to)` or `random_(from, to)`.

    Without bounds they are all of [0, largest] of an integer dtype, and of a float those integers
    that it holds exactly. `to` itself is left out; None stands for the largest.

    Raises:
        ClgradRuntimeError: no integers between the bounds, or the dtype does not hold them.
    """
    kind = x.dtype
    low, high, node = _random_bounds(args, named)
    if high is None:
        low = 0 if low is None else low
        high = _end(kind)
        count = high - low
    else:
        low, count = span("random_", low or 0, high, kind)
    meta = x._meta
    drawn = integers(meta.shape, int64, meta.device, generator, low, count)
    return writing.copy_(x, drawn.to(kind), node=_random[node])


def _random_bounds(args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any, int]:
    """Return from, to, and which of PyTorch's three overloads this is."""
    given = dict(zip(("to",) if len(args) == 1 else ("from", "to"), args, strict=False)) | named
    if len(args) > 2 or not {*given} <= {"from", "to"}:
        raise TypeError("random_() takes no bounds, `to`, or `from` and `to`")
    low, high = (
        None if given.get(n) is None else int(number_of("random_", n, given[n]))
        for n in ("from", "to")
    )
    return low, high, 0 if "from" in given else 1 if "to" in given else 2


def _end(dtype: DType) -> int:
    if dtype.is_floating_point:
        return (1 << _DIGITS.get(dtype, 53)) + 1
    return 2 if dtype is bool_ else limits(dtype)[1] + 1


__all__: list[str] = []
METHODS = [
    "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_", "random_",
    "uniform_",
]  # fmt: skip
