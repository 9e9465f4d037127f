"""Saved tensors: what a node keeps for its derivative, checked when it is read again.

A `SavedTensor` holds a value, never a tensor or a storage: these would hold whatever was written
later. Checked saves of one version share a `Pin`; an op that overwrites an operand that it needs
itself pins the old value alone and unchecked, where PyTorch clones.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from clgrad.errors import AutogradError, GraphFreedError, VersionError
from clgrad.graph.storage import Storage
from clgrad.tape.handed import handed
from clgrad.tape.version import Pin, VersionCounter, describe

_ref = weakref.ref
_new = object.__new__

Hooks = tuple[Callable[[Any], Any], Callable[[Any], Any]]


class _HookStack(threading.local):
    def __init__(self) -> None:
        self.stack: list[Hooks] = []
        self.forbidden: str | None = None


pack_hooks = _HookStack()
"""This thread's stack of (pack, unpack), and why pushing onto it is forbidden, if it is."""


class Switch:
    """Whether any thread ever pushed pack hooks; lets the common case skip the thread-local."""

    used = False


class SavedTensor:
    """One saved operand of a node, whose gradient goes somewhere.

    Attributes:
        pin: holder of the value; None once released.
        meta: dtype, layout and device of what was saved.
        counter, version: of its family, and when it was saved; counter None means unchecked.
        storage: weak reference to the storage it came from.
        edge: (node, output number) where its gradient goes; for a result it is found at unpack.
        leaf: weak reference to a leaf that did not require grad, which may come to do so.
        output: output number of the node itself, -1 for an input.
        view: for the result of an in-place op on a view: a function that makes the edge.
        packed: (object, unpack) where pack hooks took the tensor instead.

    The last four are constants here and slots in the subclasses that need them, which makes saving
    a third cheaper.
    """

    __slots__ = ("counter", "edge", "meta", "pin", "storage", "version")

    counter: VersionCounter | None
    edge: Any
    meta: Any
    pin: Pin | None
    storage: Any
    version: int
    leaf: Any = None
    output: int = -1
    view: Any = None
    packed: Any = None

    def release(self) -> None:
        """Let go of the value; unpacking raises from now on."""
        self.pin = self.edge = None

    def value(self, node: Any, name: str) -> Any:
        """Return the value after the same checks as `unpack`, but no tensor."""
        pin = self.pin
        if pin is None:
            raise freed(node)
        counter = self.counter
        if counter is not None and counter.version != self.version:
            raise overwritten(self, counter, node, name)
        return pin.value

    def unpack(self, node: Any = None, name: str = "") -> Any:
        """Return the saved tensor, as it was, with its place in the graph.

        Args:
            node: the node that saved it, for the edge of a result and for error texts.
            name: what the node calls it.

        Raises:
            GraphFreedError: a backward pass released it.
            VersionError: it was overwritten in place.
        """
        if self.packed is not None:
            return self._unpack_hooked(node)
        value, meta = self.value(node, name), self.meta
        edge = self.edge
        if edge is None:
            if self.output >= 0:
                edge = (node, self.output) if self.view is None else self.view()
            elif self.leaf is not None:
                leaf = self.leaf()
                if leaf is not None and leaf._storage.value is value and leaf._meta is meta:
                    return leaf
        elif edge[0].variable is not None:
            leaf = edge[0].variable
            if leaf._storage.value is value and leaf._meta is meta:
                return leaf
        storage = self.storage()
        if storage is None or storage.value is not value:
            storage = Storage(value)
        return with_edge(handed.wrap(storage, meta), edge, self.counter)

    def _unpack_hooked(self, node: Any) -> Any:
        obj, unpack = self.packed
        given = unpack(obj)
        if not isinstance(given, handed.tensor):
            raise AutogradError(
                f"saved_tensors_hooks: the unpack hook returned {type(given).__name__}. "
                "Expected a tensor."
            )
        result = handed.wrap(given._storage, given._meta)
        edge = self.edge
        if edge is None and self.output >= 0:
            edge = (node, self.output) if self.view is None else self.view()
        return with_edge(result, edge, given._counter)


class SavedLeaf(SavedTensor):
    """A saved operand that required no gradient."""

    __slots__ = ("leaf",)

    def release(self) -> None:
        self.pin = self.leaf = None

    def value(self, node: Any, name: str) -> Any:
        leaf = self.leaf and self.leaf()
        if leaf is not None and leaf._view is not None:
            _ = leaf.grad_fn  # raises for a forbidden view whose family was written
        return SavedTensor.value(self, node, name)


class SavedResult(SavedTensor):
    """A saved result of the node itself."""

    __slots__ = ("output", "view")

    def release(self) -> None:
        self.pin = self.view = None


class PackedTensor(SavedTensor):
    """What pack hooks made of a saved tensor."""

    __slots__ = ("output", "packed", "view")

    def release(self) -> None:
        self.pin = self.edge = self.view = self.packed = None

    def value(self, node: Any, name: str) -> Any:
        return self.unpack(node, name)._storage.value


def with_edge(tensor: Any, edge: Any, counter: VersionCounter | None) -> Any:
    """Give a fresh tensor its version counter and its place in the graph; return it."""
    tensor._counter = counter
    if edge is not None:
        node, number = edge
        tensor._requires_grad = True
        if node.variable is not None:
            tensor._accumulate = _ref(node)
        else:
            tensor._grad_fn = node
            tensor._output_nr = number
    return tensor


def save(tensor: Any, edge: Any) -> SavedTensor:
    """Save an input; `edge` is where its gradient goes, or None if it requires none."""
    if Switch.used and pack_hooks.stack:
        return _packed(tensor, edge, -1, None)
    saved: SavedTensor
    if edge is None:
        leaf: SavedLeaf = _new(SavedLeaf)
        leaf.leaf = _ref(tensor)
        saved = leaf
    else:
        saved = _new(SavedTensor)
    saved.edge = edge
    _fill(saved, tensor)
    return saved


def _fill(saved: SavedTensor, tensor: Any) -> None:
    """Enter what is saved of a tensor's present version, sharing the pin of other saves."""
    counter = tensor._counter
    storage = tensor._storage
    value = storage.value
    if counter is None:
        if tensor._inference:
            raise _inference()
        counter = tensor._counter = _new(VersionCounter)  # `__init__` here and below: 0.1 µs
        counter.version = 0
        counter.writes = None
        pin = None
    else:
        pin = counter.pin
        if pin is not None:
            pin = pin()
    if pin is None or pin.value is not value:
        pin = _new(Pin)
        pin.value = value
        counter.pin = _ref(pin)
    saved.pin = pin
    saved.meta = tensor._meta
    saved.counter = counter
    saved.version = counter.version
    saved.storage = _ref(storage)


def save_old(tensor: Any, edge: Any) -> SavedTensor:
    """Save an operand that the op is about to overwrite: its old value, unchecked."""
    if Switch.used and pack_hooks.stack:
        return _packed(tensor, edge, -1, None)
    saved: SavedTensor = _new(SavedTensor)
    saved.meta = tensor._meta
    saved.counter = None
    saved.version = 0
    saved.edge = edge
    saved.pin = Pin(tensor._storage.value)
    saved.storage = _ref(tensor._storage)
    return saved


def save_result(tensor: Any, output: int, view: Any = None) -> SavedTensor:
    """Save a result of the node itself, without holding the node (that would be a cycle)."""
    if Switch.used and pack_hooks.stack:
        return _packed(tensor, None, output, view)
    saved: SavedResult = _new(SavedResult)
    saved.edge = None
    saved.output = output
    saved.view = view
    _fill(saved, tensor)
    return saved


def _packed(tensor: Any, edge: Any, output: int, view: Any) -> PackedTensor:
    """Let the innermost pack hook take a tensor."""
    if tensor._inference:
        raise _inference()
    pack, unpack = pack_hooks.stack[-1]
    twin = with_edge(handed.wrap(tensor._storage, tensor._meta), None, tensor._counter)
    stack, pack_hooks.stack = pack_hooks.stack, []  # what the hook itself saves is left alone
    try:
        packed = pack(twin)
    finally:
        pack_hooks.stack = stack
    saved: PackedTensor = _new(PackedTensor)
    saved.packed = (packed, unpack)
    saved.output, saved.view, saved.edge = output, view, edge
    saved.meta = tensor._meta
    saved.counter = None  # what the hook returned is a copy, or the hook's own concern
    saved.version = 0
    saved.pin = Pin(None)
    saved.storage = None
    return saved


def _inference() -> AutogradError:
    return AutogradError(
        "save: Inference tensors cannot be saved for backward. Expected a normal tensor. "
        "Hint: clone() outside of inference_mode makes one."
    )


def freed(node: Any) -> GraphFreedError:
    """Return the error for reading what a backward pass has released."""
    who = "a node" if node is None else node.name()
    return GraphFreedError(
        "Trying to backward through the graph a second time (or directly access saved tensors "
        f"after they have already been freed): the saved values of {who} were released by the "
        "first backward. Expected one backward per graph. Hint: pass retain_graph=True to the "
        "first backward, or compute the forward again."
    )


def overwritten(saved: SavedTensor, counter: VersionCounter, node: Any, name: str) -> VersionError:
    """Return the error for a saved tensor whose family was written in place since."""
    meta = saved.meta
    what = f"[{meta.dtype!r} {list(meta.shape)}]"
    producer, number = (node, saved.output) if saved.output >= 0 else (saved.edge or (None, 0))
    if producer is not None and producer.variable is None:
        what += f", which is output {number} of {producer.name()},"
    text = (
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: {what} is at version {counter.version}; expected version {saved.version} "
        "instead."
    )
    if node is not None:
        role = "its result" if saved.output >= 0 else f"its input {name!r}" if name else "an input"
        text += f" {node.name()} had saved it as {role}."
    writer = counter.writer(saved.version)
    if writer is not None:
        text += f" It was then written by {writer[0]} at {describe(writer[1])}."
    return VersionError(
        f"{text} Hint: write out of place (x = x + 1 instead of x += 1), or overwrite a clone()."
    )
