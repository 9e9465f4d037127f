"""Looking at and interfering with the graph: saved-tensor hooks, edges, node utilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from clgrad.errors import AutogradError
from clgrad.tape.hooks import RemovableHandle
from clgrad.tape.inplace import edge_of
from clgrad.tape.node import Node
from clgrad.tape.saved import Switch, pack_hooks
from clgrad.tensor import Tensor

__all__ = [
    "GradientEdge",
    "Node",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class GradientEdge(NamedTuple):
    """Where a tensor's gradient goes."""

    node: Node
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Return where the gradient of `tensor` goes; raises `AutogradError` if it requires none."""
    edge = edge_of(tensor)
    if edge is None:
        raise AutogradError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients."
        )
    return GradientEdge(*edge)


class saved_tensors_hooks:  # noqa: N801  # PyTorch's name
    """Inside the block, saved tensors pass through `pack` when saved and `unpack` when read.

    Args:
        pack: gets the tensor, returns anything.
        unpack: gets what `pack` returned, returns a tensor with the same content.
    """

    def __init__(self, pack: Callable[[Tensor], Any], unpack: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack
        self.unpack_hook = unpack

    def __enter__(self) -> None:
        if pack_hooks.forbidden is not None:
            raise AutogradError(pack_hooks.forbidden)
        Switch.used = True
        pack_hooks.stack.append((self.pack_hook, self.unpack_hook))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pack_hooks.stack.pop()


class save_on_cpu(saved_tensors_hooks):  # noqa: N801  # PyTorch's name
    """Inside the block, what is saved for backward waits on the host."""

    def __init__(self, pin_memory: bool = False, device_type: str = "") -> None:
        def pack(tensor: Tensor) -> Any:
            return tensor.device, tensor.dtype, tensor.numpy(force=True)

        def unpack(packed: Any) -> Tensor:
            device, dtype, array = packed
            made: Tensor = Tensor._construct(array, dtype=dtype, device=device)
            return made

        super().__init__(pack, unpack)


class disable_saved_tensors_hooks:  # noqa: N801  # PyTorch's name
    """Inside the block, `saved_tensors_hooks` may not be used: it raises `message`."""

    def __init__(self, message: str) -> None:
        self.message = message

    def __enter__(self) -> None:
        self._before, pack_hooks.forbidden = pack_hooks.forbidden, self.message

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pack_hooks.forbidden = self._before


def register_multi_grad_hook(
    tensors: Sequence[Tensor], hook: Callable[..., None], *, mode: str = "all"
) -> RemovableHandle:
    """Call `hook` when the gradients of all of `tensors` are there (`any`: of the first one).

    Args:
        hook: with `all` it gets a list of gradients, with `any` one gradient.

    Returns:
        A handle that removes all of it.
    """
    if mode not in ("all", "any"):
        raise AutogradError(f"register_multi_grad_hook: mode {mode!r}. Expected 'all' or 'any'.")
    buffer: list[Any] = [None] * len(tensors)
    left = len(tensors)

    def collect(place: int) -> Callable[[Tensor], None]:
        def inner(grad: Tensor) -> None:
            nonlocal left
            left -= 1
            if mode == "any":
                if left == len(tensors) - 1:
                    hook(grad)
            else:
                buffer[place] = grad
            if left == 0:
                if mode == "all":
                    hook(list(buffer))
                buffer[:] = [None] * len(tensors)
                left = len(tensors)

        return inner

    handles = [t.register_hook(collect(k)) for k, t in enumerate(tensors)]
    return _Handles(handles)


class _Handles(RemovableHandle):
    """One handle for several hooks."""

    __slots__ = ("_handles",)

    def __init__(self, handles: list[RemovableHandle]) -> None:
        self.id = handles[0].id if handles else -1
        self._handles = handles

    def remove(self) -> None:
        """Remove all of them."""
        for handle in self._handles:
            handle.remove()
