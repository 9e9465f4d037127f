"""Hooks: tables of user functions with handles that remove them again."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

_ids = itertools.count()


class Table(dict[int, Any]):
    """Hooks in the order in which they were registered; weakly referenced by their handles."""

    __slots__ = ("__weakref__",)

    def prepend(self, handle: RemovableHandle) -> None:
        """Put the hook of `handle` before all others."""
        others = [(k, v) for k, v in self.items() if k != handle.id]
        for key, _ in others:
            del self[key]
        self.update(others)


class RemovableHandle:
    """Removes a hook: by `remove()`, or at the end of a `with` block.

    Args:
        table: where the hook is entered.
        hook: what is entered.
        flags: tables that say something of the hook and forget it with the hook.
    """

    __slots__ = ("_flags", "_table", "id")

    def __init__(self, table: Table, hook: Callable[..., Any], *flags: Table) -> None:
        self.id = next(_ids)
        self._table = weakref.ref(table)
        self._flags = tuple([weakref.ref(flag) for flag in flags])
        table[self.id] = hook
        for flag in flags:
            flag[self.id] = True

    def remove(self) -> None:
        """Remove the hook; a second call does nothing."""
        for reference in (self._table, *self._flags):
            table = reference()
            if table is not None:
                table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:  # noqa: PYI034  # Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()


def hook_name(hook: Any) -> str:
    """Return what to call a hook in an error."""
    name: str = getattr(hook, "__name__", None) or type(hook).__name__
    return name


OWN: Any = object()


class NodeHooks:
    """The hooks of one node, in the order in which the engine runs them.

    Attributes:
        tensor: per output number, hooks of the tensor that is that output.
        retain: per output number, a function that keeps the gradient (`retain_grad`).
        pre, post: hooks of the node: `(grad_outputs)`, and `(grad_inputs, grad_outputs)`.
        accumulated: of a leaf, called with it after its `.grad` was added to.
        dtype: of a leaf, to what its gradients are cast: None for nothing, `OWN` for its own dtype.
        metadata: the user's dictionary.
    """

    __slots__ = ("accumulated", "dtype", "metadata", "post", "pre", "retain", "tensor")

    def __init__(self) -> None:
        self.tensor: dict[int, Table] = {}
        self.retain: dict[int, Callable[[Any], None]] = {}
        self.pre = Table()
        self.post = Table()
        self.accumulated = Table()
        self.dtype: Any = OWN
        self.metadata: dict[Any, Any] = {}

    def dtype_for(self, meta: Any) -> Any:
        """Return the dtype of gradients of a leaf with that meta, None for any."""
        return meta.dtype if self.dtype is OWN else self.dtype
