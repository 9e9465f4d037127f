"""Running sums, products and extrema along a dim, and what is made of neighbours."""

from __future__ import annotations

from typing import Any

from clgrad.batching import whole
from clgrad.calls import function
from clgrad.dispatch import apply
from clgrad.dtypes import as_dtype, bool_
from clgrad.errors import ClgradRuntimeError, ShapeError, UnsupportedDTypeError
from clgrad.functional._arguments import numpy_names
from clgrad.functional._out import with_out
from clgrad.functional._selection import ValuesAndIndices
from clgrad.functional.joining import cat, stack
from clgrad.layout import wrap_dim
from clgrad.ops.registry import OPS, REQUIRED, Op, composite
from clgrad.ops.scan import scan
from clgrad.tensor import Tensor

_where = function(OPS["where"])


def _run(op: Op, x: Any, dim: int, reverse: bool = False) -> Any:
    return apply(op, (x,), (dim, None, reverse))


def _cumsum_backward(ctx: Any, g: Any) -> tuple[Any]:
    return (_run(_cumsum, g, ctx.param("dim"), not ctx.param("reverse")),)


_cumsum = scan(
    "_cumsum", init="0", combine="a + b", promote="integer", precise=True,
    backward=_cumsum_backward, node_name="CumsumBackward0", doc="Sums of all elements up to each.",
)  # fmt: skip


def _cumprod_backward(ctx: Any, g: Any) -> tuple[Any]:
    x, y, dim, reverse = ctx.saved("x"), ctx.saved("y"), ctx.param("dim"), ctx.param("reverse")
    if not x.ndim:
        return (g,)
    zero = x == 0
    if ctx.recording:
        if not bool(whole(zero).any()):
            return (_run(_cumsum, g * y, dim, not reverse) / x,)
        return (_cumprod_gradient(g, x.to(g.dtype), wrap_dim(dim, x.ndim, "cumprod"), reverse),)
    # before the first zero as without any; there, the products of the others up to the second
    count = _run(_cumsum, zero, dim, reverse)
    first = zero * (count == 1)
    others = _run(_cumprod, _where(first, 1, x).to(g.dtype), dim, reverse)
    none = _run(_cumsum, _where(count == 0, g * y, 0), dim, not reverse)
    one = _run(_cumsum, _where(count == 1, g * others, 0), dim, not reverse)
    return (_where(count == 0, none / x, _where(first, one, 0)),)


def _cumprod_gradient(g: Any, x: Any, d: int, reverse: bool) -> Any:
    """Return the gradient without a division, for derivatives where elements are zero."""
    if reverse:
        return _cumprod_gradient(g.flip(d), x.flip(d), d, False).flip(d)
    n = x.shape[d]
    parts, before = [], None
    for k in range(n):
        if k + 1 < n:
            after = _run(_cumprod, x.narrow(d, k + 1, n - k - 1), d)
            products = cat([x.narrow(d, k, 1).detach() * 0 + 1, after], d)
        else:
            products = x.narrow(d, k, 1).detach() * 0 + 1
        if before is not None:
            products = products * before
        parts.append((g.narrow(d, k, n - k) * products).sum(dim=d))
        before = x.narrow(d, k, 1) if before is None else before * x.narrow(d, k, 1)
    return stack(parts, d)


_cumprod = scan(
    "_cumprod", init="1", combine="a * b", promote="integer", precise=True,
    backward=_cumprod_backward, saves=("x", "y"), node_name="CumprodBackward0",
    doc="Products of all elements up to each.",
)  # fmt: skip


def product_of_others(x: Any, d: int) -> Any:
    """Return for each element along a dim the product of the others."""
    n = x.shape[d]
    if n == 1:
        return x * 0 + 1
    one = x.narrow(d, 0, 1).detach() * 0 + 1
    before = cat([one, _run(_cumprod, x.narrow(d, 0, n - 1), d)], d)
    return before * cat([_run(_cumprod, x.narrow(d, 1, n - 1), d, True), one], d)


# Source of the formula: the identity log(exp(a) + exp(b)) = max + log1p(exp(min - max)).
_LOW, _HIGH = "minimum(a, b)", "maximum(a, b)"


def _logcumsumexp_backward(ctx: Any, g: Any) -> tuple[Any]:
    """Sum exponentials of both signs apart, in logarithms, so that nothing overflows."""
    x, y, dim = ctx.saved("x"), ctx.saved("y"), ctx.param("dim")
    lowest = -65504.0 if g.dtype.name == "float16" else -3.3e38
    size = g.abs().log()

    def part(mask: Any) -> Any:
        found = _run(_logcumsumexp, _where(mask, size, lowest) - y, dim, not ctx.param("reverse"))
        return (found + x).exp()

    return (part(g > 0) - part(g < 0),)


_logcumsumexp = scan(
    "_logcumsumexp", init="lowest",
    combine=f"({_HIGH} + log1p(exp({_LOW} - {_HIGH}))) if {_LOW} != {_HIGH} or isfinite({_LOW}) "
    f"else {_LOW}",
    precise=True, backward=_logcumsumexp_backward, saves=("x", "y"),
    node_name="LogcumsumexpBackward0", doc="Logarithms of sums of exponentials up to each.",
)  # fmt: skip


def _extremum(name: str, compare: str, start: str, best: str) -> tuple[Any, Any]:
    """Return the scans of values and of positions: the last NaN, or the last of equals."""
    taken = f"isnan(b0) or (not isnan(a0) and b0 {compare} a0)"
    values = scan(f"_{name}_value", init=start, combine=f"{best}(a, b)", doc="Extrema so far.")
    indices = scan(
        f"_{name}_index", init=(start, "0"), element=("x", "i"),
        combine=(f"b0 if {taken} else a0", f"b1 if {taken} else a1"),
        accumulate=("acc", "int64"), finish="a1", result="int64", doc="Where they are.",
    )  # fmt: skip
    return values, indices


def _cumulative(name: str, compare: str, start: str, best: str) -> Any:
    values, indices = _extremum(name, compare, start, best)

    def forward(x: Any, dim: int) -> tuple[Any, Any]:
        return _run(values, x, dim), _run(indices, x, dim)

    def backward(ctx: Any, grads: tuple[Any, ...]) -> tuple[Any]:
        g, dim = grads[0], ctx.param("dim")
        if g is None or not g.ndim:
            return (g,)
        return (_sum_of_runs(g, ctx.saved("result1"), dim),)

    return composite(
        name, "x", forward, backward=backward, saves=("x", "result1"), params=(("dim", REQUIRED),),
        doc="Extrema of all elements up to each, and where they are.",
    )  # fmt: skip


def _sum_of_runs(g: Any, indices: Any, dim: int) -> Any:
    """Return for each position the sum of `g` where `indices`, which never fall, name it."""
    return g.new_zeros(g.shape).scatter_add(dim, indices, g)


_cummax = _cumulative("cummax", ">=", "lowest", "maximum")
_cummin = _cumulative("cummin", "<=", "highest", "minimum")


def _scanned(op: Any, input: Tensor, dim: int, dtype: Any) -> Any:
    wanted = None if dtype is None else as_dtype(dtype)
    if wanted is not None and input.dtype is bool_:
        input = input.to(wanted)
    return apply(op, (input,), (wrap_dim(dim, input.ndim, op.name.strip("_")), wanted, False))


@with_out
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the sums of all elements up to each along `dim`; integers are summed in int64.

    Args:
        input: any shape.
        dim: along which sums run.
        dtype: cast `input` to this first.
    """
    made: Tensor = _scanned(_cumsum, input, dim, dtype)
    return made


@with_out
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the products of all elements up to each along `dim`; see `cumsum`."""
    made: Tensor = _scanned(_cumprod, input, dim, dtype)
    return made


@with_out
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """Return the logarithms of the sums of exponentials of all elements up to each.

    Raises:
        UnsupportedDTypeError: integers.
    """
    if not input.is_floating_point():
        raise UnsupportedDTypeError(
            f"logcumsumexp: not implemented for {input.dtype.name}. Expected a floating-point "
            "dtype. Hint: input.float()."
        )
    made: Tensor = _scanned(_logcumsumexp, input, dim, None)
    return made


@with_out
def cummax(input: Tensor, dim: int) -> ValuesAndIndices:
    """Return the largest of all elements up to each along `dim`, and where it is last."""
    d = wrap_dim(dim, input.ndim, "cummax")
    return ValuesAndIndices(*apply(_cummax, (input,), (d,)))


@with_out
def cummin(input: Tensor, dim: int) -> ValuesAndIndices:
    """Return the smallest of all elements up to each along `dim`, and where it is last."""
    d = wrap_dim(dim, input.ndim, "cummin")
    return ValuesAndIndices(*apply(_cummin, (input,), (d,)))


@numpy_names
def cumsum_(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Overwrite `input` with its running sums."""
    made: Tensor = input.copy_(cumsum(input, dim, dtype=dtype))
    return made


@numpy_names
def cumprod_(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Overwrite `input` with its running products."""
    made: Tensor = input.copy_(cumprod(input.clone(), dim, dtype=dtype))
    return made


# ---- neighbours --------------------------------------------------------------------------------


@with_out
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return differences of neighbours along `dim`, taken `n` times.

    Args:
        input: at least one dim.
        prepend, append: what to put before and after it first.
    """
    if not input.ndim:
        raise ShapeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise ClgradRuntimeError(f"order must be non-negative but got {n}")
    d = wrap_dim(dim, input.ndim, "diff")
    if not n:
        return input.clone()  # type: ignore[no-any-return]  # a Tensor
    parts = [t for t in (prepend, input, append) if t is not None]
    x = cat(parts, d) if len(parts) > 1 else input
    for _ in range(min(n, x.shape[d])):
        count = x.shape[d] - 1
        a, b = x.narrow(d, 1, count), x.narrow(d, 0, count)
        x = a.logical_xor(b) if x.dtype is bool_ else a - b
    return x


def _areas(name: str, y: Tensor, x: Tensor | None, dx: float, dim: int) -> Any:
    d = wrap_dim(dim, y.ndim, name)
    count = y.shape[d] - 1
    if count < 0:
        return y.narrow(d, 0, 0) * 1.0
    pairs = y.narrow(d, 1, count) + y.narrow(d, 0, count)
    if x is None:
        return pairs * (0.5 * dx)
    if x.ndim == 1 and y.ndim > 1:
        if x.shape[0] != y.shape[d]:
            raise ShapeError(
                f"{name}: There must be one `x` value for each sample point, got "
                f"{x.shape[0]} for {y.shape[d]}."
            )
        x = x.reshape([-1 if k == d else 1 for k in range(y.ndim)])
    at = wrap_dim(d - y.ndim, x.ndim, name)
    return pairs * diff(x, dim=at) * 0.5


@numpy_names
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """Return the integral along `dim` by the trapezoidal rule.

    Args:
        y: values.
        x: where they are: shape of `y`, or (n).
        dx: their distance, where `x` is not given.
    """
    made: Tensor = _areas("trapezoid", y, x, dx, dim).sum(dim=dim)
    return made


trapz = trapezoid


@numpy_names
def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1
) -> Tensor:
    """Return the running integral along `dim` by the trapezoidal rule; see `trapezoid`."""
    made: Tensor = cumsum(_areas("cumulative_trapezoid", y, x, dx, dim), dim)
    return made


__all__ = [
    "cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid", "diff", "logcumsumexp",
    "trapezoid", "trapz",
]  # fmt: skip
METHODS = ("cummax", "cummin", "cumprod", "cumprod_", "cumsum", "cumsum_", "diff", "logcumsumexp")
