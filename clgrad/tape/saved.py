"""Saved tensors: what a node keeps for its derivative, checked when it is read again.

A `SavedTensor` holds a value, never a tensor or a storage: these would hold whatever was written
later. Checked saves of one version share a `Pin`; an op that overwrites an operand that it needs
itself pins the old value alone and unchecked, where PyTorch clones.

The nodes of ops keep bare pins where they can (`keep`): nearly all graphs are walked once and
dropped, and never need the rest of a `SavedTensor`, which `opened` adds when somebody asks.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from clgrad.errors import AutogradError, ClgradTypeError, GraphFreedError
from clgrad.graph.storage import Storage
from clgrad.tape.complaints import detached, freed, inference_saved, overwritten
from clgrad.tape.grad_mode import mode
from clgrad.tape.handed import handed
from clgrad.tape.version import Pin, VersionCounter

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
    """What any thread ever did that the common case need not look for.

    Attributes:
        used: pushed pack hooks.
        detached: called `detach_` on a tensor with history.
    """

    used = False
    detached = False


class Packed(Pin):
    """What pack hooks made of a saved tensor, in the place of its value."""

    __slots__ = ("obj", "unpack")

    def __init__(self, obj: Any, unpack: Callable[[Any], Any]) -> None:
        self.value = None
        self.obj = obj
        self.unpack = unpack


def _gone() -> None:
    """Stand for a weak reference to a tensor that is no more."""


class SavedTensor:
    """One saved operand of a node, whose gradient goes somewhere.

    Attributes:
        pin: holder of the value; None once released.
        meta: dtype, layout and device of what was saved.
        counter, version: of its family, and when it was saved; counter None means unchecked.
        tensor: weak reference to what was saved, which is returned as long as it is unchanged.
        edge: (node, output number) where its gradient goes; for a result it is found at unpack.
        leaf: whether it required no gradient, which it may have come to do since.
        output: output number of the node itself, -1 for an input.
        view: for the result of an in-place op on a view: a function that makes the edge.

    The last three are constants here and slots in the subclasses that need them, which makes saving
    a third cheaper.
    """

    __slots__ = ("counter", "edge", "meta", "pin", "tensor", "version")

    counter: VersionCounter | None
    edge: Any
    meta: Any
    pin: Pin | None
    tensor: Callable[[], Any]
    version: int
    leaf = False
    output: int = -1
    view: Any = None

    def __init__(self) -> None:
        raise AutogradError(
            "Trying to create a SavedTensor object from Python is forbidden. "
            "Hint: ops make them; grad_fn._raw_saved_self is one."
        )

    def release(self) -> None:
        """Let go of the value; unpacking raises from now on."""
        self.pin = self.edge = None

    def value(self, node: Any, name: str) -> Any:
        """Return the value after the same checks as `unpack`, but no tensor.

        None stands for a value that only unpack hooks can say.
        """
        pin = self.pin
        if pin is None:
            raise freed(node)
        counter = self.counter
        if counter is not None and counter.version != self.version:
            raise overwritten(self, counter, node, name)
        if Switch.detached and self.is_detached():
            raise detached(self, node, name)
        return pin.value

    def is_detached(self) -> bool:
        """Whether what was saved, with history, was cut off from it by `detach_`."""
        edge = self.edge
        if edge is None or edge[0]._leaf is not None:
            return False
        tensor = self.tensor()
        return tensor is not None and not tensor._requires_grad

    def unpack(self, node: Any = None, name: str = "") -> Any:
        """Return the saved tensor, as it was, with its place in the graph.

        Args:
            node: the node that saved it, for the edge of a result and for error texts.
            name: what the node calls it.

        Raises:
            GraphFreedError: a backward pass released it.
            VersionError: it was overwritten in place.
        """
        pin = self.pin
        if pin.__class__ is Packed:
            return self._unpack_hooked(node, pin)
        value, meta = self.value(node, name), self.meta
        edge = self._place(node)
        tensor = self.tensor()
        if tensor is not None and tensor._storage.value is value and tensor._meta is meta:
            if self.output >= 0:
                pass  # a result is given back as another tensor, as PyTorch does
            elif edge is None:
                if self.leaf:
                    return tensor
            elif edge[0]._leaf is not None:
                if edge[0]._leaf is tensor:
                    return tensor
            elif tensor._node is edge[0] and tensor._output_nr == edge[1]:
                return tensor
            storage = tensor._storage
        else:
            storage = Storage(value)
        return with_edge(handed.wrap(storage, meta), edge, self.counter)

    @property
    def data(self) -> Any:
        """What the pack hook made of it; without one the tensor, of a result without history."""
        if self.pin.__class__ is Packed:
            return self.pin.obj
        made = self.unpack()
        return made if self.output < 0 else _cut(made, self.meta)

    @property
    def unpack_hook(self) -> Callable[[Any], Any] | None:
        """The hook that unpacks it, if it has one."""
        pin = self.pin
        return pin.unpack if isinstance(pin, Packed) else None

    def _place(self, node: Any) -> Any:
        """Return the edge of what is unpacked."""
        if self.edge is None and self.output >= 0:
            if node is None:
                return None
            return (node, self.output) if self.view is None else self.view()
        return self.edge

    def _unpack_hooked(self, node: Any, packed: Any) -> Any:
        given = packed.unpack(packed.obj)
        if not isinstance(given, handed.tensor):
            raise ClgradTypeError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                f"{type(given).__name__}."
            )
        edge = self._place(node)
        if edge is None and self.leaf and not given._requires_grad:
            return given
        return with_edge(handed.wrap(given._storage, given._meta), edge, given._family())

    def register_hooks(self, *hooks: Callable[[Any], Any]) -> None:
        """Let `pack_hook(tensor)` take what is saved, and `unpack_hook(object)` give it back.

        Raises:
            ClgradTypeError: that are not two functions.
            AutogradError: it has hooks, nothing is there to be packed, or `pack_hook` wrote it.
        """
        if len(hooks) != 2 or not all(callable(hook) for hook in hooks):
            raise ClgradTypeError(
                "register_hooks(): incompatible function arguments: got "
                f"({', '.join(type(hook).__name__ for hook in hooks)}). Expected (pack_hook, "
                "unpack_hook), two functions of one argument."
            )
        if self.pin.__class__ is Packed:
            raise AutogradError(
                "Calling register_hooks on a saved tensor whose hooks have already been set. "
                "Expected one pair of hooks. Hint: compose them into one."
            )
        if self.pin is None:
            raise GraphFreedError(
                "Calling register_hooks on a saved tensor after it has been freed. Expected it "
                "before the first backward. Hint: retain_graph=True keeps it."
            )
        value = self.value(None, "")
        tensor = self.tensor()
        if tensor is None or tensor._storage.value is not value:
            tensor = handed.wrap(Storage(value), self.meta)
            tensor._counter = self.counter
        self.pin = _pack(_cut(tensor, self.meta), (hooks[0], hooks[1]))
        self.counter = None


class SavedLeaf(SavedTensor):
    """A saved operand that required no gradient."""

    __slots__ = ()

    leaf = True

    def value(self, node: Any, name: str) -> Any:
        tensor = self.tensor()
        if tensor is not None and tensor._view is not None and self.pin is not None:
            _ = tensor.grad_fn  # raises for a forbidden view whose family was written
        return SavedTensor.value(self, node, name)


class SavedResult(SavedTensor):
    """A saved result of the node itself."""

    __slots__ = ("output", "view")

    def release(self) -> None:
        self.pin = self.view = None


class SavedNothing(SavedTensor):
    """The None among the tensors that a custom function saved."""

    __slots__ = ()

    def release(self) -> None:
        """Do nothing: there is nothing."""

    def unpack(self, node: Any = None, name: str = "") -> Any:
        return None

    def register_hooks(self, *hooks: Callable[[Any], Any]) -> None:
        raise AutogradError(
            "Calling register_hooks on a saved tensor with value None is forbidden. "
            "Expected one that holds a tensor."
        )


def with_edge(tensor: Any, edge: Any, counter: VersionCounter | None) -> Any:
    """Give a fresh tensor its version counter and its place in the graph; return it."""
    tensor._counter = counter
    if edge is not None:
        node, number = edge
        tensor._requires_grad = True
        if node._leaf is not None:
            tensor._accumulate = _ref(node)
        else:
            tensor._node = node
            tensor._output_nr = number
    return tensor


def save(tensor: Any, edge: Any) -> SavedTensor:
    """Save an input; `edge` is where its gradient goes, or None if it requires none."""
    saved: SavedTensor = _new(SavedLeaf if edge is None else SavedTensor)
    saved.edge = edge
    if Switch.used and pack_hooks.stack:
        return _packed(saved, tensor)
    _fill(saved, tensor)
    return saved


def keep(tensor: Any, edge: Any) -> Pin | SavedTensor:
    """Save an input for a node that knows its edge and meta: a pin is enough, if it is its own."""
    if edge is None or (Switch.used and pack_hooks.stack):
        return save(tensor, edge)
    pin = _pin(tensor)
    return pin if pin.tensor() is tensor else save(tensor, edge)


def keep_result(tensor: Any, view: Any) -> Pin | SavedTensor:
    """Save the first result of a node that knows its meta; `view` as in `save_result`."""
    if view is not None or (Switch.used and pack_hooks.stack):
        return save_result(tensor, 0, view)
    pin = _pin(tensor)
    return pin if pin.tensor() is tensor else save_result(tensor, 0)


def opened(pin: Pin, edge: Any, meta: Any, result: bool) -> SavedTensor:
    """Return what `save` or `save_result` would have made where only the pin was kept."""
    saved: Any = _new(SavedResult if result else SavedTensor)
    saved.edge = edge
    if result:
        saved.output = 0
        saved.view = None
    saved.pin = pin
    saved.meta = meta
    saved.counter = pin.counter
    saved.version = pin.version
    saved.tensor = pin.tensor
    made: SavedTensor = saved
    return made


def _pin(tensor: Any) -> Pin:
    """Return the pin of a tensor's present version; of a family, all tensors share one."""
    counter = tensor._counter
    value = tensor._storage.value
    pin: Pin | None
    if counter is None:
        if tensor._inference:
            raise inference_saved()
        counter = tensor._counter = _new(VersionCounter)  # `__init__` here and below: 0.1 µs
        counter.version = 0
        counter.writes = None
    elif counter.pin is not None:
        pin = counter.pin()
        if pin is not None and pin.value is value:
            return pin
    pin = _new(Pin)
    pin.value = value
    pin.counter = counter
    pin.version = counter.version
    pin.tensor = _ref(tensor)
    counter.pin = _ref(pin)
    return pin


def _fill(saved: SavedTensor, tensor: Any) -> None:
    """Enter what is saved of a tensor's present version."""
    pin = _pin(tensor)
    saved.pin = pin
    saved.meta = tensor._meta
    saved.counter = pin.counter
    saved.version = pin.counter.version
    saved.tensor = _ref(tensor)


def save_old(tensor: Any, edge: Any) -> SavedTensor:
    """Save an operand that the op is about to overwrite: its old value, unchecked."""
    saved: SavedTensor = _new(SavedTensor)
    saved.edge = edge
    if Switch.used and pack_hooks.stack:  # which may keep the tensor that is about to change
        return _packed(saved, handed.wrap(Storage(tensor._storage.value), tensor._meta))
    saved.meta = tensor._meta
    saved.counter = None
    saved.version = 0
    saved.pin = Pin(tensor._storage.value)
    saved.tensor = _gone
    return saved


def save_result(tensor: Any, output: int, view: Any = None) -> SavedTensor:
    """Save a result of the node itself, without holding the node (that would be a cycle)."""
    saved: SavedResult = _new(SavedResult)
    saved.edge = None
    saved.output = output
    saved.view = view
    if Switch.used and pack_hooks.stack:
        return _packed(saved, tensor)
    _fill(saved, tensor)
    return saved


def save_nothing() -> SavedTensor:
    """Save a None."""
    saved: SavedTensor = _new(SavedNothing)
    saved.pin = saved.edge = saved.meta = saved.counter = None
    saved.version = 0
    saved.tensor = _gone
    return saved


def released() -> SavedTensor:
    """Return what stands for a tensor that a backward pass has let go of."""
    saved: SavedTensor = _new(SavedTensor)
    saved.pin = saved.edge = saved.meta = saved.counter = None
    saved.version = 0
    saved.tensor = _gone
    return saved


def _packed(saved: SavedTensor, tensor: Any) -> SavedTensor:
    """Let the innermost pack hook take a tensor."""
    saved.meta = tensor._meta
    saved.counter = None  # what the hook returned is a copy, or the hook's own concern
    saved.version = 0
    saved.tensor = _gone
    if tensor._inference:
        raise inference_saved()
    if saved.output >= 0:  # with its history it would hold its own node
        tensor = _cut(tensor, tensor._meta)
    saved.pin = _pack(tensor, pack_hooks.stack[-1])
    return saved


def _cut(tensor: Any, meta: Any) -> Any:
    """Return a tensor of the same family without history."""
    return with_edge(handed.wrap(tensor._storage, meta), None, tensor._family())


def _pack(tensor: Any, hooks: Hooks) -> Packed:
    """Hand a pack hook what is to be saved; return what it made of it."""
    counter = tensor._family()
    version = counter.version
    stack, pack_hooks.stack = pack_hooks.stack, []  # what the hook itself saves is left alone
    grad, mode.grad = mode.grad, False
    try:
        packed = Packed(hooks[0](tensor), hooks[1])
    finally:
        pack_hooks.stack = stack
        mode.grad = grad
    if counter.version != version:
        raise AutogradError(
            "A saved tensor pack hook is modifying its input in place. Tensors provided as input "
            "to pack hook cannot be modified by in-place operations: they are what the program "
            "goes on with. Hint: return a modified clone()."
        )
    return packed
