"""What a number is made of: mantissa and exponent; and what complex numbers would have.

All dtypes here are real, so conjugates and real parts are the tensor itself, as in PyTorch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from clgrad import writing
from clgrad.dispatch import apply
from clgrad.errors import ClgradRuntimeError, DTypeError
from clgrad.functional._forms import choice
from clgrad.functional._given import check_tensor
from clgrad.functional._out import with_out
from clgrad.tensor import Tensor

__all__ = [
    "conj", "conj_physical", "conj_physical_", "fill", "fill_", "frexp", "imag", "is_conj",
    "is_neg", "real", "resolve_conj", "resolve_neg", "zero_",
]  # fmt: skip
METHODS = (
    "conj", "conj_physical", "conj_physical_", "frexp", "is_conj", "is_neg", "resolve_conj",
    "resolve_neg",
)  # fmt: skip


class Frexp(NamedTuple):
    """Mantissas and exponents."""

    mantissa: Tensor
    exponent: Tensor


@with_out
def frexp(input: Tensor) -> Frexp:
    """Return mantissas in [0.5, 1), with the sign, and int32 exponents of two.

    Raises:
        DTypeError: `input` is not floating-point.
    """
    check_tensor("frexp", input)
    if input._meta.dtype.kind != "f":
        raise DTypeError(
            f"frexp: torch.frexp() only supports floating-point dtypes, got {input.dtype.name}. "
            "Hint: cast with .float()."
        )
    return Frexp(apply(*choice("_mantissa", input)), apply(*choice("_exponent", input)))


def real(input: Tensor) -> Tensor:
    """Return `input` itself."""
    return input


def imag(input: Tensor) -> Tensor:
    """Raise `ClgradRuntimeError`: real numbers have no imaginary part to look at."""
    raise ClgradRuntimeError("imag: imag is not implemented for tensors with non-complex dtypes.")


@with_out
def conj_physical(input: Tensor) -> Tensor:
    """Return `input` itself."""
    return real(input)


conj = conj_physical_ = resolve_conj = resolve_neg = real


def is_conj(input: Tensor) -> bool:
    """Return whether `input` is a conjugate view: never."""
    return False


is_neg = is_conj


def fill(input: Tensor, value: Any) -> Tensor:
    """Return a tensor like `input` full of `value`, a number or a tensor of one element."""
    return writing.fill_(input.clone(), value)


def fill_(input: Tensor, value: Any) -> Tensor:
    """Write `value` over `input`."""
    return writing.fill_(input, value)


def zero_(input: Tensor) -> Tensor:
    """Write zeros over `input`."""
    return writing.zero_(input)
