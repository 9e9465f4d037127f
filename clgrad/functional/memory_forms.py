"""A tensor's memory: what it is a part of, another size in place, elements changed by the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad import creation, writing
from clgrad.creation import shape_of, tensor
from clgrad.errors import AutogradError, ClgradTypeError, ShapeError
from clgrad.formats import check_memory_format
from clgrad.graph.storage import Storage
from clgrad.host import array_of
from clgrad.layout import Layout
from clgrad.ops.meta import fresh_meta, meta_of
from clgrad.tape.grad_mode import no_grad
from clgrad.tape.inplace import check_inference, requires_grad_of
from clgrad.tensor import Tensor, wrap


class UntypedStorage:
    """The memory of a tensor and of its views, in bytes; for asking, not for writing."""

    __slots__ = ("_storage",)

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def nbytes(self) -> int:
        """Return the bytes that it has."""
        return self._storage.value.nbytes

    size = __len__ = nbytes

    def data_ptr(self) -> int:
        """Return a number that tells memory apart; see `Tensor.data_ptr`."""
        return id(self._storage) << 40 if self.nbytes() else 0

    @property
    def device(self) -> Any:
        return self._storage.device

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and other._storage is self._storage

    def __hash__(self) -> int:
        return id(self._storage)

    def __repr__(self) -> str:
        return f"<UntypedStorage of {self.nbytes()} bytes on {self.device}>"


def untyped_storage(x: Tensor) -> UntypedStorage:
    """Return the memory that the tensor shares with its views."""
    return UntypedStorage(x._storage)


def dim_order(x: Tensor) -> tuple[int, ...]:
    """Return the dimensions from the outermost to the innermost in memory."""
    strides = x.stride()
    return tuple(sorted(range(x.ndim), key=lambda d: (-strides[d], d)))


# ---- another size --------------------------------------------------------------------------------


def resize_(x: Tensor, *sizes: Any, size: Any = None, memory_format: Any = None) -> Tensor:
    """Give the tensor another size, from its first element on; memory grows where it must.

    Elements that come into being are whatever the memory holds.

    Args:
        sizes, size: the new shape, one by one or as one sequence.
        memory_format: `contiguous_format`, if given.

    Raises:
        AutogradError: the tensor requires grad.
    """
    check_memory_format("resize_", memory_format)
    shape = shape_of(sizes if size is None else (size,), "resize_")
    check_inference(x)
    if requires_grad_of(x) and not x._inference:
        raise AutogradError(
            "resize_: cannot resize variables that require grad. Hint: detach() it first."
        )
    if shape == tuple(x.shape):
        return x
    layout = Layout.contiguous(shape)
    layout = Layout(shape, layout.strides, x._meta.layout.offset)
    have, want = x._storage.numel, layout.span[1]
    if want > have:
        with no_grad():
            grown = creation.empty(want, dtype=x.dtype, device=x.device)
            if have:
                flat = wrap(x._storage, fresh_meta(x.dtype, (have,), x.device))
                writing.copy_(grown.narrow(0, 0, have), flat)
            x._storage.replace(grown._storage.value)
    x._meta = meta_of(x.dtype, layout, x.device)
    writing.count("resize_", x)
    return x


def resize_as_(x: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """Give the tensor the size of another one; see `resize_`."""
    return resize_(x, the_template.shape, memory_format=memory_format)


# ---- as functions --------------------------------------------------------------------------------


def detach(input: Tensor) -> Tensor:
    """Return a tensor over the same memory that requires no gradient."""
    return input.detach()


def detach_(input: Tensor) -> Tensor:
    """Make the tensor a leaf that requires no gradient, and return it."""
    return input.detach_()


def fill(input: Tensor, value: Any) -> Tensor:
    """Return a tensor of the size of `input` with one number, or a 0-d tensor's, everywhere."""
    return writing.fill_(input.clone(), value)


def fill_(input: Tensor, value: Any) -> Tensor:
    """Write one number, or a 0-d tensor's, over `input`, and return it."""
    return writing.fill_(input, value)


def zero_(input: Tensor) -> Tensor:
    """Write zeros over `input`, and return it."""
    return writing.zero_(input)


# ---- by the host ---------------------------------------------------------------------------------


def _changeable(op: str, x: Tensor, others: tuple[Tensor, ...]) -> None:
    if requires_grad_of(x):
        raise AutogradError(
            f"Can't call {op}() on Variable that requires grad. Use var.detach().{op}() instead."
        )
    for other in others:
        if not isinstance(other, Tensor):
            raise ClgradTypeError(f"{op}: got {type(other).__name__}. Expected a tensor.")
        if other.shape != x.shape:
            raise ShapeError(
                f"{op}: got a tensor of shape {list(other.shape)}. Expected {list(x.shape)}."
            )


def apply_(x: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace each element by what a Python function makes of it; slow, on the host."""
    return _mapped("apply_", x, (), callable)


def map_(x: Tensor, other: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace each element by a Python function of it and another tensor's; slow, on the host."""
    return _mapped("map_", x, (other,), callable)


def map2_(x: Tensor, y: Tensor, z: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Replace each element by a Python function of it and two other tensors'; on the host."""
    return _mapped("map2_", x, (y, z), callable)


def _mapped(op: str, x: Tensor, others: tuple[Tensor, ...], call: Callable[..., Any]) -> Tensor:
    _changeable(op, x, others)
    columns = [array_of(t.detach()).reshape(-1).tolist() for t in (x, *others)]
    values = [call(*row) for row in zip(*columns, strict=True)]
    if values:
        made = tensor(values, dtype=x.dtype, device=x.device)
        writing.copy_(x, made.reshape(x.shape))
    return x


__all__ = ["detach", "detach_", "fill", "fill_", "resize_as_", "zero_"]
METHODS = [
    "apply_", "dim_order", "map2_", "map_", "resize_", "resize_as_", "untyped_storage",
]  # fmt: skip
