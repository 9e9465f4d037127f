"""New random tensors.

Every number comes from the seed and its position in the generator's stream, which is advanced at
the call: results do not depend on the device, on fusion, or on when kernels run. Integers and
uniform numbers are the same on all devices, bit for bit. Gradients of what is drawn are zero, as in
PyTorch.
"""

from __future__ import annotations

import math
from operator import index
from typing import Any

import numpy as np

from clgrad.batching import whole
from clgrad.creation import (
    arange,
    bounded,
    like,
    maker,
    number_of,
    resolve_device,
    shape_of,
    wide_float,
    zeros,
)
from clgrad.dispatch import apply
from clgrad.dtypes import DType, as_dtype, bool_, get_default_dtype, int64, limits
from clgrad.dtypes import number as as_number
from clgrad.errors import ClgradRuntimeError, ClgradTypeError, DTypeError
from clgrad.expr.host import random_integer
from clgrad.functional._out import with_out
from clgrad.functional.distinct import searchsorted
from clgrad.generator import Generator, default_generator
from clgrad.ops import creation as _ops
from clgrad.ops.registry import Op
from clgrad.ops.registry import composite as _composite
from clgrad.ops.signature import fresh_numel
from clgrad.shapes import broadcast_shapes
from clgrad.tensor import Tensor


def draw(
    op: Op, shape: tuple[int, ...], dtype: DType, device: Any, generator: Generator | None,
    *numbers: Any,
) -> Tensor:  # fmt: skip
    """Return what a random op makes of the next numbers of a stream."""
    start = (generator or default_generator).advance(fresh_numel(shape))
    made: Tensor = apply(op, (*start, *numbers), (shape, dtype), device)
    return made


def check_float(op: str, dtype: DType) -> None:
    """Raise `DTypeError` for what is no float."""
    if not dtype.is_floating_point:
        raise DTypeError(
            f"{op}: not implemented for dtype {dtype.name}. Expected a floating-point dtype. "
            "Hint: make floats and cast them."
        )


def _float(op: str, dtype: Any) -> DType:
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    check_float(op, kind)
    return kind


# ---- uniform and normal --------------------------------------------------------------------------


@maker
def rand(
    *args: Any, size: Any = None, generator: Generator | None = None, dtype: Any = None,
    device: Any = None,
) -> Tensor:  # fmt: skip
    """Return uniform random numbers in [0, 1); sizes one by one or as one sequence."""
    shape = shape_of(args if size is None else (size,), "rand")
    return draw(_ops.rand, shape, _float("rand", dtype), resolve_device(device), generator)


@maker
def randn(
    *args: Any, size: Any = None, generator: Generator | None = None, dtype: Any = None,
    device: Any = None,
) -> Tensor:  # fmt: skip
    """Return normal random numbers of mean 0 and variance 1."""
    shape = shape_of(args if size is None else (size,), "randn")
    return draw(_ops.randn, shape, _float("randn", dtype), resolve_device(device), generator)


@maker
def rand_like(
    input: Tensor, *, generator: Generator | None = None, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return uniform random numbers in [0, 1) of the shape, dtype and device of `input`."""
    kind, where = like("rand_like", input, dtype, device)
    check_float("rand_like", kind)
    return draw(_ops.rand, input._meta.shape, kind, where, generator)


@maker
def randn_like(
    input: Tensor, *, generator: Generator | None = None, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return normal random numbers of the shape, dtype and device of `input`."""
    kind, where = like("randn_like", input, dtype, device)
    check_float("randn_like", kind)
    return draw(_ops.randn, input._meta.shape, kind, where, generator)


def _normal_backward(ctx: Any, g: Any) -> tuple[Any, ...]:
    return tuple(g._zeros(ctx.shape(n)) if ctx.needs(n) else None for n in ctx.inputs())


_normals = [
    _composite(
        name, inputs, forward, backward=_normal_backward, node_name=f"NormalBackward{k}",
        doc="Normal random numbers around `mean`.",
    )
    for k, name, inputs, forward in (
        (1, "_normal_mean", "drawn, mean, std", lambda z, m, s: m + z * s),
        (2, "_normal_std", "drawn, mean, std", lambda z, m, s: z * s + m),
        (3, "_normal_both", "drawn, mean, std", lambda z, m, s: m + z * s),
    )
]  # fmt: skip


@with_out
def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
    dtype: Any = None, device: Any = None, requires_grad: bool = False, layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Return normal random numbers.

    Args:
        mean, std: tensors, which broadcast, or numbers; two numbers need `size`.
        size: the shape where both are numbers.
        generator: the stream to draw from.
        dtype, device, requires_grad: as in `randn`, where both are numbers.

    Raises:
        ClgradRuntimeError: a `std` below 0; where it is a tensor, this waits for it.
        DTypeError: `mean`, or where it is a number `std`, has no floating-point dtype.
    """
    tensors = [t for t in (mean, std) if isinstance(t, Tensor)]
    if not tensors:
        if size is None:
            raise ClgradTypeError(
                "normal() received an invalid combination of arguments: two numbers. Expected a "
                "tensor, or size=(…) too."
            )
        middle, width = number_of("normal", "mean", mean), number_of("normal", "std", std)
        _check_std(width)
        kind, shape = _float("normal", dtype), shape_of((size,), "normal")
        made = draw(
            _ops.normal, shape, kind, resolve_device(device), generator, float(middle), float(width)
        )
        if requires_grad:
            made.requires_grad = True
        return made
    first = tensors[0]
    check_float("normal", first.dtype)
    if isinstance(std, Tensor):
        if std.numel() and whole(std).amin().item() < 0:
            raise ClgradRuntimeError("normal expects all elements of std >= 0.0")
    else:
        std = float(number_of("normal", "std", std))
        _check_std(std)
    if not isinstance(mean, Tensor):
        mean = float(number_of("normal", "mean", mean))
    shape = broadcast_shapes(*(t._meta.shape for t in tensors), op="normal")
    drawn = draw(_ops.randn, shape, first.dtype, first.device, generator)
    which = 2 if len(tensors) == 2 else 0 if isinstance(mean, Tensor) else 1
    result: Tensor = apply(_normals[which], (drawn, mean, std))
    return result


def _check_std(std: float) -> None:
    if not std >= 0:
        raise ClgradRuntimeError(f"normal expects std >= 0.0, but found std {std}")


# ---- integers ------------------------------------------------------------------------------------


def span(op: str, low: int, high: int, dtype: DType) -> tuple[int, int]:
    """Return the first integer and the count of those from `low` to below `high`.

    Raises:
        ClgradRuntimeError: there are none, or `dtype` does not hold them.
    """
    if low >= high:
        raise ClgradRuntimeError(
            f"{op}: random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    if not dtype.is_floating_point:
        least, most = (0, 1) if dtype is bool_ else limits(dtype)
        for name, value in (("from", low), ("to - 1", high - 1)):
            if not least <= value <= most:
                raise ClgradRuntimeError(
                    f"{op}: {name} is out of bounds for {dtype.name}: {value}. Expected {least} to "
                    f"{most}."
                )
    return low, high - low


def integers(
    shape: tuple[int, ...], dtype: DType, device: Any, generator: Generator | None,
    low: int, count: int,
) -> Tensor:  # fmt: skip
    """Return `count` integers (2**64 at most) from `low` on, at random."""
    made = draw(_ops.randint, shape, int64, device, generator, _signed(low), count % (1 << 64))
    made = made if dtype is int64 else made.to(dtype)
    return bounded(made, low, low + count - 1) if made._meta.numel else made


def _signed(value: int) -> int:
    """Return a 64-bit integer as the kernel's signed argument."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _whole(op: str, name: str, value: Any) -> int:
    number = number_of(op, name, value)
    if isinstance(number, float):
        raise ClgradTypeError(f"{op}(): argument '{name}' must be int, not float.")
    return int(number)


def _bounds(op: str, args: tuple[Any, ...], low: Any, high: Any) -> tuple[int, int]:
    """Return `low` and `high` given by position (high alone, or both) or by name."""
    given = list(args)
    if low is None and (len(given) > 1 or (given and high is not None)):
        low = given.pop(0)
    if high is None and given:
        high = given.pop(0)
    if high is None or given:
        raise ClgradTypeError(
            f"{op}() received an invalid combination of arguments. Expected (high, …) or "
            "(low, high, …)."
        )
    return 0 if low is None else _whole(op, "low", low), _whole(op, "high", high)


@maker
def randint(
    *args: Any, low: Any = None, high: Any = None, size: Any = None,
    generator: Generator | None = None, dtype: Any = None, device: Any = None,
) -> Tensor:  # fmt: skip
    """Return random integers of [low, high): `randint(high, size)` or `randint(low, high, size)`.

    Args:
        low: the first; default: 0.
        high: the first that is too large.
        size: the shape, a sequence.
        dtype: default: int64.

    Raises:
        ClgradRuntimeError: no integers between, or `dtype` does not hold them.
    """
    if size is None:
        if not args:
            raise ClgradTypeError('randint() missing 1 required positional arguments: "size"')
        *given, size = args
        args = tuple(given)
    if not isinstance(size, tuple | list):
        raise ClgradTypeError(
            f"randint(): argument 'size' must be tuple of ints, not {type(size).__name__}."
        )
    kind = int64 if dtype is None else as_dtype(dtype)
    first, count = span("randint", *_bounds("randint", args, low, high), kind)
    shape = shape_of((size,), "randint")
    return integers(shape, kind, resolve_device(device), generator, first, count)


@maker
def randint_like(
    input: Tensor, *args: Any, low: Any = None, high: Any = None,
    generator: Generator | None = None, dtype: Any = None, device: Any = None,
) -> Tensor:  # fmt: skip
    """Return random integers of [low, high) of the shape, dtype and device of `input`."""
    kind, where = like("randint_like", input, dtype, device)
    first, count = span("randint_like", *_bounds("randint_like", args, low, high), kind)
    return integers(input._meta.shape, kind, where, generator, first, count)


def permutation(count: int, generator: Generator | None = None) -> list[int]:
    """Return the numbers below `count` in a random order, on the host: an order of samples."""
    seed, offset = (generator or default_generator).advance(count)
    place = np.arange(count, dtype=np.int64)
    keys = random_integer(place, np.uint64(seed), np.uint64(offset), np.uint64(0))
    order: list[int] = np.argsort(keys, kind="stable").tolist()
    return order


def chosen(count: int, number: int, generator: Generator | None = None) -> list[int]:
    """Return `number` numbers below `count`, on the host, each at random."""
    seed, offset = (generator or default_generator).advance(number)
    place = np.arange(number, dtype=np.int64)
    drawn = random_integer(place, np.uint64(seed), np.uint64(offset), np.uint64(count))
    listed: list[int] = drawn.tolist()
    return listed


# ---- outcomes ------------------------------------------------------------------------------------


def _outcome(x: Tensor, drawn: Tensor) -> Tensor:
    made: Tensor = (drawn < x).to(x.dtype)
    return made


_bernoulli = _composite(
    "_bernoulli", "x, drawn", _outcome, node_name="BernoulliBackward0",
    backward=lambda ctx, g: (g._zeros(ctx.shape("x")), None), doc="Outcomes of probability x.",
)  # fmt: skip


@with_out
def bernoulli(input: Tensor, p: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Return ones with the probability that `input` says, or with `p`, else zeros.

    Args:
        input: probabilities, floats; where `p` is given, only shape and dtype count.
        p: one probability for all elements.

    Raises:
        ClgradRuntimeError: `p` is not in [0, 1]. (Elements of `input` are not looked at.)
        DTypeError: `input` has no floating-point dtype, and `p` is not given.
    """
    meta = input._meta
    if p is not None:
        chance = probability("bernoulli", p)
        kind = meta.dtype
        return draw(_ops.bernoulli, meta.shape, kind, meta.device, generator, chance, one(kind))
    check_float("bernoulli", meta.dtype)
    drawn = draw(_ops.rand, meta.shape, meta.dtype, meta.device, generator)
    made: Tensor = apply(_bernoulli, (input, drawn))
    return made


def one(dtype: DType) -> bool | int | float:
    """Return 1 as a number of `dtype`."""
    return True if dtype.kind == "b" else 1.0 if dtype.kind == "f" else 1


def probability(op: str, p: Any) -> float:
    """Return a probability; raises `ClgradRuntimeError` outside of [0, 1]."""
    chance = float(number_of(op, "p", p))
    if not 0 <= chance <= 1:
        raise ClgradRuntimeError(f"{op}_ expects p to be in [0, 1], but got p={p}")
    return chance


# ---- choices -------------------------------------------------------------------------------------


@maker
def randperm(
    n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None
) -> Tensor:
    """Return the integers below `n` in a random order.

    Each gets a random key of 64 bits, and they are sorted by these.

    Args:
        n: how many.
        dtype: default: int64.

    Raises:
        ClgradRuntimeError: `dtype` does not hold `n`. ShapeError: `n` is negative.
    """
    kind = int64 if dtype is None else as_dtype(dtype)
    shape = shape_of((n,), "randperm")
    as_number(n, kind)
    keys = integers(shape, int64, resolve_device(device), generator, -(1 << 63), 0)
    made: Tensor = keys.argsort(stable=True).to(kind)
    return bounded(made, 0, n - 1)


_AT_ONCE = 1 << 26
"""Random numbers up to which each sample compares all categories, which needs no memory."""


@with_out
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Return indices of categories, drawn with the probabilities of each row; waits to check them.

    Args:
        input: weights, not below 0, shape (n,) or (rows, n); rows need not sum to 1.
        num_samples: how many indices for each row.
        replacement: whether an index may come again.

    Returns:
        int64, shape (num_samples,) or (rows, num_samples); in the order in which they were drawn.

    Raises:
        ClgradRuntimeError: another number of dimensions, too many samples, or weights that are no
            distribution. DTypeError: no floats.

    Source: the largest of p / E with E exponential is drawn with probability p, and so are the next
        ones of what is left (Efraimidis and Spirakis 2006).
    """
    num_samples = index(num_samples)
    _check_multinomial(input, num_samples, replacement)
    weights = input.detach()
    rows, count = weights.shape[:-1], weights.shape[-1]
    if not weights.numel():
        return zeros(*rows, num_samples, dtype=int64, device=weights.device)
    made: Tensor
    if not replacement or num_samples == 1:
        scores = weights / _exponentials(weights, weights.shape, generator)
        if num_samples == 1:
            return scores.argmax(dim=-1, keepdim=True)  # type: ignore[no-any-return]  # a Tensor
        return scores.topk(num_samples, dim=-1)[1]  # type: ignore[no-any-return]  # as above
    if fresh_numel(rows) * num_samples * count <= _AT_ONCE:
        drawn = _exponentials(weights, (*rows, num_samples, count), generator)
        made = (weights.unsqueeze(-2) / drawn).argmax(dim=-1)
        return made
    wide = wide_float(weights.device)
    sums = weights.to(wide).cumsum(-1)
    place = draw(_ops.rand, (*rows, num_samples), wide, weights.device, generator)
    made = searchsorted(sums, place * sums.narrow(-1, count - 1, 1), right=True)
    last = (arange(count, device=weights.device) * (weights > 0)).amax(dim=-1, keepdim=True)
    return made.minimum(last)  # type: ignore[no-any-return]  # a Tensor


def _exponentials(like_: Tensor, shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    kind = like_.dtype.compute  # 16 bits would make ties
    return draw(_ops.exponential, tuple(shape), kind, like_.device, generator, 1.0)


def _check_multinomial(input: Tensor, num_samples: int, replacement: bool) -> None:
    if not input.dtype.is_floating_point:
        raise DTypeError(
            "multinomial only supports floating-point dtypes for input, got: "
            f"{input.dtype.name}. Hint: .float()."
        )
    fault = ""
    if input.ndim not in (1, 2):
        fault = f"prob_dist must be 1 or 2 dim, got {input.ndim}"
    elif num_samples <= 0:
        fault = f"cannot sample n_sample <= 0 samples, got {num_samples}"
    elif not replacement and num_samples > input.shape[-1]:
        fault = (
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
            f"{num_samples} of {input.shape[-1]}"
        )
    elif input.numel():
        given = whole(input)
        bad = ((given >= 0) & (given < math.inf)).logical_not().any()
        none = (given.sum(dim=-1) <= 0).any()
        code = (bad.to(int64) + none.to(int64) * 2).item()
        if code & 1:
            fault = "probability tensor contains either `inf`, `nan` or element < 0"
        elif code:
            fault = "invalid multinomial distribution (sum of probabilities <= 0)"
    if fault:
        raise ClgradRuntimeError(f"multinomial: {fault}.")


__all__ = [
    "bernoulli", "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm",
]  # fmt: skip
METHODS = ["bernoulli", "multinomial"]
