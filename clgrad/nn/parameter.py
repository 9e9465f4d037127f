"""`Parameter`: the tensor that a module owns and an optimizer changes; `Buffer`: one it keeps."""

from __future__ import annotations

from typing import Any

from clgrad.creation import empty
from clgrad.errors import ClgradTypeError
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
