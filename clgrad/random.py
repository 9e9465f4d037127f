"""Random tensors and in-place filling; the state of the stream is in `generator`."""

from __future__ import annotations

from typing import Any

from clgrad import writing
from clgrad.creation import resolve_device, shape_of
from clgrad.dispatch import apply
from clgrad.dtypes import DType, as_dtype, get_default_dtype
from clgrad.errors import DTypeError
from clgrad.generator import Generator, default_generator
from clgrad.ops import creation as _ops
from clgrad.ops.registry import Op
from clgrad.ops.signature import signature
from clgrad.tensor import Tensor


def manual_seed(seed: int) -> Generator:
    """Start the default generator's stream of `seed` from its beginning; returns the generator."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start a stream that nobody can foretell; returns its seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """Return the seed of the default generator's present stream."""
    return default_generator.initial_seed()


def _draw(
    op: Op, shape: tuple[int, ...], generator: Generator | None, dtype: DType, device: Any
) -> Tensor:
    if not dtype.is_floating_point:
        raise DTypeError(
            f"{op.name}: got dtype {dtype.name}. Expected a floating-point dtype. "
            "Hint: make floats and cast them."
        )
    count = 1
    for n in shape:
        count *= n
    numbers = (generator or default_generator).advance(count)
    made: Tensor = apply(op, numbers, (shape, dtype), device)
    return made


def _new(
    op: Op, size: tuple[Any, ...], generator: Generator | None, dtype: Any, device: Any, grad: bool
) -> Tensor:
    kind = get_default_dtype() if dtype is None else as_dtype(dtype)
    made = _draw(op, shape_of(size, op.name), generator, kind, resolve_device(device))
    if grad:
        made.requires_grad = True
    return made


def rand(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return uniform random numbers in [0, 1)."""
    return _new(_ops.rand, size, generator, dtype, device, requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return normal random numbers of mean 0 and variance 1."""
    return _new(_ops.randn, size, generator, dtype, device, requires_grad)


def rand_like(
    x: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return uniform random numbers in [0, 1) of the shape, dtype and device of `x`."""
    kind, where = x.dtype if dtype is None else dtype, x.device if device is None else device
    return rand(x.shape, dtype=kind, device=where, requires_grad=requires_grad)


def randn_like(
    x: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return normal random numbers of the shape, dtype and device of `x`."""
    kind, where = x.dtype if dtype is None else dtype, x.device if device is None else device
    return randn(x.shape, dtype=kind, device=where, requires_grad=requires_grad)


# ---- in place ----------------------------------------------------------------------------------


class UniformBackward0(writing.OverwriteNode):
    """Node of `uniform_`."""

    __slots__ = ()


class NormalBackward0(writing.OverwriteNode):
    """Node of `normal_`."""

    __slots__ = ()


def _refill(
    name: str, x: Tensor, op: Op, generator: Generator | None, node: Any, scale: float, shift: float
) -> Tensor:
    """Overwrite `x` with `draw * scale + shift`."""
    meta = x._meta
    numbers = (generator or default_generator).advance(meta.numel)
    if scale == 1 and shift == 0:
        source = signature(op, (int, int), (meta.shape, meta.dtype), meta.device)
        return writing.overwrite(name, x, source, numbers, node)
    drawn: Tensor = apply(op, numbers, (meta.shape, meta.dtype), meta.device)
    return writing.copy_(x, drawn * scale + shift, node=node)


def uniform_(
    x: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite `x` with uniform random numbers in [a, b)."""
    return _refill("uniform_", x, _ops.rand, generator, UniformBackward0, b - a, a)


def normal_(
    x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite `x` with normal random numbers."""
    return _refill("normal_", x, _ops.randn, generator, NormalBackward0, std, mean)
