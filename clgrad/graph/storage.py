"""Values and storages: logical device memory.

A `Value` is the handle of one immutable result: pending on a tape, held in a buffer, or a recipe
that computes it again. A `Storage` is what tensors share; its current value changes with every
in-place op, the values themselves never do. Nothing here knows gradients.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from typing import Any, ClassVar

from clgrad.dtypes import DType
from clgrad.errors import AutogradError


def _counted(things: Sequence[Any]) -> int:
    (thing,) = things
    return sys.getrefcount(thing)


KNOWN = _counted([object()])
"""References to what one container and one local name have, as this Python counts them."""


class Value:
    """Handle of one result: `numel` elements of `dtype` on `device`, flat and contiguous.

    That somebody besides the tape has a handle means that the value is needed: by a storage
    (`held`), or by something saved for backward.

    Attributes:
        buffer: device memory, once realised.
        tape, index: the tape on which it is pending and its entry there, or that reads it and ~k
            for its leaf k; else None and -1.
        recipe: how to compute it again, if it was left unrealised (see `recipes`).
        shared: memory that somebody outside may read or write.
        holder: the storage whose current value this is: itself while the value is pending, so that
            the flush can count who else has it, then weakly; a tuple of weak references where
            clones share the value.
        bounds: least and largest element of integers that came from the host: what indexes by
            them can be checked without waiting.
        own, levels: see `batching`; nothing but for samples of `vmap`.
        looked_at, origin: notes of anomaly mode and of `explain`; not there unless these are used.
    """

    __slots__ = (
        "__weakref__", "bounds", "buffer", "device", "dtype", "error", "holder", "index",
        "looked_at", "numel", "origin", "recipe", "shared", "tape",
    )  # fmt: skip

    own: ClassVar[Any] = ()
    levels: ClassVar[Any] = frozenset()
    buffer: Any
    recipe: Any
    shared: bool
    holder: Any
    bounds: tuple[int, int] | None
    error: BaseException | None
    looked_at: str
    origin: Any

    def __init__(
        self, numel: int, dtype: DType, device: Any, tape: Any = None, index: int = -1
    ) -> None:
        self.numel = numel
        self.dtype = dtype
        self.device = device
        self.tape = tape
        self.index = index
        self.buffer = self.recipe = self.holder = self.bounds = self.error = None
        self.shared = False

    @property
    def held(self) -> bool:
        """Whether it is the current value of a storage."""
        holder = self.holder
        if holder is None:
            return False
        if type(holder) is Storage:
            return sys.getrefcount(holder) > KNOWN
        if type(holder) is tuple:
            return any((s := h()) is not None and s.value is self for h in holder)
        storage = holder()
        return storage is not None and storage.value is self

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize


class Storage:
    """Memory that tensors share: the current value of a base, its views and detached twins."""

    __slots__ = ("__weakref__", "value")

    def __init__(self, value: Value) -> None:
        self.value = value
        holder = value.holder
        if holder is None:
            value.holder = weakref.ref(self) if value.index < 0 else self
        else:  # clones share; those that are gone or went on must not pile up
            mine = weakref.ref(self)
            if type(holder) is Storage:
                holder = weakref.ref(holder)
            known = holder if type(holder) is tuple else (holder,)
            alive = [h for h in known if (s := h()) is not None and s.value is value]
            value.holder = (*alive, mine) if alive else mine

    def replace(self, value: Value) -> None:
        """Make `value` the current one (an in-place op wrote).

        Raises:
            AutogradError: it has samples of a `vmap` in which this storage was not made.
        """
        if value.own and not self.value.levels.issuperset(value.own):
            raise AutogradError(
                "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists "
                "a Tensor `other` in extra_args that has more elements than `self`. This happened "
                "due to `other` being vmapped over but `self` not being vmapped over in a vmap. "
                "Hint: use out-of-place operators instead."
            )
        if self.value.holder is self:
            self.value.holder = None
        self.value = value
        value.holder = weakref.ref(self)

    @property
    def numel(self) -> int:
        return self.value.numel

    @property
    def device(self) -> Any:
        return self.value.device

    @property
    def dtype(self) -> DType:
        return self.value.dtype
