"""A piece of device memory with an owner; not a tensor's storage, which knows dtype and versions.

A `Buffer` gives its memory back to the pool when its last reference drops. That may happen in any
thread and inside any allocation, so it only appends to a deque, which is atomic; the pool looks
there at its next call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Buffer:
    """Device memory of `nbytes` bytes.

    Attributes:
        handle: the `cl.Buffer`; at least `nbytes` long.
        nbytes: how many bytes were asked for.
        tag: what it is for, in words, shown when memory runs out; or None.
    """

    __slots__ = ("__weakref__", "_block", "_give_back", "handle", "nbytes", "tag")

    def __init__(
        self,
        handle: Any,
        nbytes: int,
        tag: str | None = None,
        give_back: Callable[[Any], None] | None = None,
        block: Any = None,
    ) -> None:
        """Take ownership of `handle`.

        Args:
            handle: a `cl.Buffer`.
            nbytes: bytes that its user may touch.
            tag: what it is for.
            give_back: called with `block` when the buffer dies; None for memory that belongs to
                somebody else.
            block: the pool's own record of this memory.
        """
        self.handle = handle
        self.nbytes = nbytes
        self.tag = tag
        self._give_back = give_back
        self._block = block

    @property
    def is_external(self) -> bool:
        """Whether the memory belongs to the outside and not to a pool."""
        return self._give_back is None

    def __del__(self) -> None:
        give_back = self._give_back
        if give_back is not None:
            give_back(self._block)

    def __repr__(self) -> str:
        tag = f" {self.tag!r}" if self.tag else ""
        return f"<Buffer of {self.nbytes} bytes{tag}>"
