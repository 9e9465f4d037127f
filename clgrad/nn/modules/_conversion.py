"""Moving and casting modules: other memory, the same parameters.

Identities stay, so that optimizers need not be made anew. A base of `Module`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from clgrad import dtypes
from clgrad.creation import empty_like, resolve_device
from clgrad.dtypes import DType, as_dtype
from clgrad.errors import ClgradTypeError, DeviceError
from clgrad.tape.grad_mode import no_grad
from clgrad.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self


class Converting:
    """What changes where the members of a tree live, and their dtype."""

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    children: Callable[[], Iterator[Any]]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the memory of every parameter, gradient and buffer; identities stay."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            grad = parameter.grad
            with no_grad():
                made = fn(parameter.data)
                if made.dtype is not parameter.dtype or made.device is not parameter.device:
                    parameter.grad = None
                parameter.data = made
                if grad is not None:
                    parameter.grad = fn(grad).requires_grad_(grad.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **named: Any) -> Self:
        """Move the module to a device, and its floats to a dtype; returns the module.

        Takes `(device)`, `(dtype)`, `(device, dtype)` or `(tensor)`, which has both.

        Raises:
            ClgradTypeError: a dtype that is no float.
        """
        device, dtype = named.pop("device", None), named.pop("dtype", None)
        other = named.pop("tensor", None)
        named.pop("non_blocking", None)
        if named:
            raise ClgradTypeError(f"to() got an unexpected keyword argument {next(iter(named))!r}.")
        for arg in (*args, other):
            if isinstance(arg, Tensor):
                device, dtype = arg.device, arg.dtype
            elif isinstance(arg, DType):
                dtype = arg
            elif arg is not None and not isinstance(arg, bool):
                device = arg
        wanted = None if dtype is None else as_dtype(dtype)
        if wanted is not None and not wanted.is_floating_point:
            raise ClgradTypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={wanted!r}. Hint: cast single tensors with .to()."
            )
        where = None if device is None else resolve_device(device)

        def convert(x: Tensor) -> Tensor:
            made: Tensor = x.to(device=where, dtype=wanted if x.is_floating_point() else None)
            return made

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move the module to a device without its values; returns the module."""
        where = None if device is None else resolve_device(device)
        return self._apply(lambda x: empty_like(x, device=where), recurse)

    def type(self, dst_type: DType) -> Self:
        """Cast every parameter and buffer; returns the module."""
        return self._apply(lambda x: x.to(as_dtype(dst_type)))

    def float(self) -> Self:
        """Cast floats to float32; returns the module."""
        return self.to(dtypes.float32)

    def cuda(self, device: Any = None) -> Self:
        """Raise `DeviceError`: devices here are OpenCL's; `to` moves."""
        raise DeviceError(
            "cuda: there are no CUDA devices. Expected an OpenCL one. "
            "Hint: model.to('gpu') moves to the first GPU; clgrad.devices() lists all."
        )

    def double(self) -> Self:
        """Cast floats to float64; returns the module."""
        return self.to(dtypes.float64)

    def half(self) -> Self:
        """Cast floats to float16; returns the module."""
        return self.to(dtypes.float16)

    def bfloat16(self) -> Self:
        """Cast floats to bfloat16; returns the module."""
        return self.to(dtypes.bfloat16)

    def cpu(self) -> Self:
        """Move the module to the first CPU device; returns the module."""
        return self.to("cpu")
