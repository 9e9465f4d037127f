"""Interfering with what the graph saves: pack and unpack hooks, and what is made of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from clgrad.errors import AutogradError
from clgrad.graph.storage import Storage
from clgrad.tape.handed import handed
from clgrad.tape.inplace import edge_of
from clgrad.tape.saved import SavedTensor, Switch, pack_hooks, save
from clgrad.tensor import Tensor


class saved_tensors_hooks:  # noqa: N801  # PyTorch's name
    """Inside the block, saved tensors pass through `pack` when saved and `unpack` when read.

    Args:
        pack_hook: gets the tensor, returns anything.
        unpack_hook: gets what `pack_hook` returned, returns a tensor with the same content.
    """

    def __init__(
        self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]
    ) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if pack_hooks.forbidden is not None:
            raise AutogradError(pack_hooks.forbidden)
        Switch.used = True
        pack_hooks.stack.append((self.pack_hook, self.unpack_hook))

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if pack_hooks.stack:
            pack_hooks.stack.pop()


class save_on_cpu(saved_tensors_hooks):  # noqa: N801  # PyTorch's name
    """Inside the block, what is saved for backward waits on the host.

    Args:
        pin_memory, device_type: taken for PyTorch's sake; the host's memory is what it is.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "") -> None:
        def pack(tensor: Tensor) -> Any:
            return tensor.device, tensor.dtype, tensor.numpy(force=True)

        def unpack(packed: Any) -> Tensor:
            device, dtype, array = packed
            made: Tensor = Tensor._construct(array, dtype=dtype, device=device)
            return made

        super().__init__(pack, unpack)


class disable_saved_tensors_hooks:  # noqa: N801  # PyTorch's name
    """Inside the block, `saved_tensors_hooks` may not be used: it raises `error_message`.

    Raises:
        AutogradError: hooks are in use where the block begins.
    """

    def __init__(self, error_message: str) -> None:
        self.error_message = error_message

    def __enter__(self) -> None:
        if pack_hooks.stack:
            raise AutogradError(self.error_message)
        self._before, pack_hooks.forbidden = pack_hooks.forbidden, self.error_message

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pack_hooks.forbidden = self._before


def _make_saved_tensor(tensor: Tensor, is_output: bool = False) -> SavedTensor:
    """Save a tensor as a node saves its input, under the hooks that are open."""
    return save(tensor.detach() if is_output else tensor, None if is_output else edge_of(tensor))


def _unsafe_set_version_counter(tensors: Sequence[Tensor], versions: Sequence[int]) -> None:
    """Set how often each of some tensors counts as written; for who knows what was."""
    for tensor, version in zip(tensors, versions, strict=True):
        if version < 0:
            raise AutogradError(f"Cannot set a version_counter to a value below 0: {version}")
        tensor._family().version = version


class _unsafe_preserve_version_counter:  # noqa: N801  # PyTorch's name
    """Inside the block, writes to some tensors do not count: saved values become what was written.

    For who knows that no derivative reads what is written, such as communication between devices.
    """

    def __init__(self, tensors: Tensor | tuple[Tensor, ...]) -> None:
        self.tensors = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)

    def __enter__(self) -> None:
        self._before = []
        for tensor in self.tensors:
            counter = tensor._family()
            pin = None if counter.pin is None else counter.pin()
            self._before.append((tensor, counter, counter.version, pin))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for tensor, counter, version, pin in self._before:
            counter.version = version
            if pin is not None:
                pin.value = tensor._storage.value
                counter.pin = weakref.ref(pin)
        self._before = []


class _OutOfContextError(AutogradError, AssertionError):
    """A backward outside of the block in which the graph was recorded."""


class _Kept:
    """A saved tensor that may be overwritten: its value, which is immutable."""

    __slots__ = ("__weakref__", "counter", "meta", "value", "version")

    def __init__(self, tensor: Tensor) -> None:
        self.value = tensor._storage.value
        self.meta = tensor._meta
        self.counter = tensor._family()
        self.version = self.counter.version

    def tensor(self) -> Tensor:
        made: Tensor = handed.wrap(Storage(self.value), self.meta)
        return made


class _Kepts:
    """What `allow_mutation_on_saved_tensors` keeps; for looking at.

    Attributes:
        handles: of what is still saved, by tensor family, version and layout.
    """

    def __init__(self) -> None:
        self.handles: weakref.WeakValueDictionary[Any, _Kept] = weakref.WeakValueDictionary()

    tid_to_weakhandle = property(lambda self: self.handles)

    @property
    def original(self) -> dict[_Kept, Tensor]:
        """What is saved and unchanged."""
        return {h: h.tensor() for h in self.handles.values() if h.version == h.counter.version}

    @property
    def cloned(self) -> dict[_Kept, Tensor]:
        """What is saved and was overwritten since: the old content."""
        return {h: h.tensor() for h in self.handles.values() if h.version != h.counter.version}

    def clear(self) -> None:
        """Forget everything."""
        self.handles.clear()


class allow_mutation_on_saved_tensors:  # noqa: N801  # PyTorch's name
    """Inside the block, what is saved for backward may be overwritten: backward sees the old.

    Nothing is copied for that: a write makes a new value, and the old one lives as long as the
    graph needs it. Forward and backward belong into the same block.
    """

    _open: _Kepts | None = None

    def __init__(self) -> None:
        self.kept = kept = _Kepts()

        def pack(tensor: Tensor) -> _Kept:
            counter = tensor._family()
            key = id(counter), counter.version, tensor._meta
            found = kept.handles.get(key)
            if found is None or found.value is not tensor._storage.value:
                found = kept.handles[key] = _Kept(tensor)
            return found

        def unpack(handle: _Kept) -> Tensor:
            if allow_mutation_on_saved_tensors._open is not kept:
                raise _OutOfContextError(
                    "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context "
                    "in which the graph was originally recorded. Hint: move it into the block."
                )
            return handle.tensor()

        self._hooks = saved_tensors_hooks(pack, unpack)

    def __enter__(self) -> _Kepts:
        cls = allow_mutation_on_saved_tensors
        if cls._open is not None:
            raise AutogradError(
                "allow_mutation_on_saved_tensors contexts cannot be nested. "
                "Hint: the outer block is enough."
            )
        self._hooks.__enter__()
        cls._open = self.kept
        return self.kept

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.__exit__()
        allow_mutation_on_saved_tensors._open = None
        self.kept.clear()
