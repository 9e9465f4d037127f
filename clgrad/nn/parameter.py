"""`Parameter`: the tensor that a module owns and an optimizer changes; `Buffer`: one it keeps."""

from __future__ import annotations

from typing import Any

from clgrad.creation import empty
from clgrad.errors import ClgradRuntimeError, ClgradTypeError
from clgrad.serialization import objects as _objects
from clgrad.tensor import Tensor


class Parameter(Tensor):
    """A leaf that is entered in the parameters of the module that it is assigned to.

    It shares the memory of `data` and has no history; results of computing with it are plain
    tensors.

    Args:
        data: any shape; an empty tensor if None.
        requires_grad: whether `backward` fills its `.grad`.

    Raises:
        ClgradTypeError: `data` is no tensor.
        DTypeError: it is to require grad and is no float.
    """

    __slots__ = ()

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Any:
        if data is None:
            data = empty(0)
        if not isinstance(data, Tensor):
            raise ClgradTypeError(
                f"Parameter: got {type(data).__name__}. Expected a tensor. "
                "Hint: clgrad.tensor(...) makes one."
            )
        return Tensor._make_subclass(cls, data, requires_grad)


class Buffer(Tensor):
    """A tensor that is entered in the buffers of the module that it is assigned to.

    Args:
        data: any shape; an empty tensor if None.
        persistent: whether the module's `state_dict` holds it.

    Raises:
        ClgradTypeError: `data` is no tensor.
    """

    __slots__ = ()

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Any:
        if data is None:
            data = empty(0)
        if not isinstance(data, Tensor):
            raise ClgradTypeError(
                f"Buffer: got {type(data).__name__}. Expected a tensor. "
                "Hint: clgrad.tensor(...) makes one."
            )
        made = Tensor._make_subclass(cls, data, data.requires_grad)
        made.persistent = persistent
        return made


_objects.classes["Parameter"] = Parameter  # what is saved as one is loaded as one


class _Uninitialized(Tensor):
    """What has a dtype and a device, and no shape yet."""

    __slots__ = ()

    cls_to_become: type[Tensor]

    @property
    def shape(self) -> Any:
        """Raise `ClgradRuntimeError`: there is none."""
        raise ClgradRuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized one. Hint: call the module once on an input."
        )

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Take a shape, and become an ordinary parameter or buffer with arbitrary values.

        Args:
            shape: of the tensor from now on.
            device, dtype: those it has if None.
        """
        self.data = empty(
            shape,
            device=self.device if device is None else device,
            dtype=self.dtype if dtype is None else dtype,
        )
        self.__class__ = self.cls_to_become  # type: ignore[assignment]  # of the same layout

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape is found at the first call of its module.

    Args:
        requires_grad: whether `backward` fills its `.grad`.
        device, dtype: of the parameter.
    """

    __slots__ = ()

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:
        return Tensor._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)


class UninitializedBuffer(_Uninitialized):
    """A buffer whose shape is found at the first call of its module.

    Args:
        requires_grad: usually not.
        device, dtype: of the buffer.
    """

    __slots__ = ()

    cls_to_become = Tensor

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: Any = None) -> Any:
        return Tensor._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)


def is_lazy(value: Any) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(value, _Uninitialized)
