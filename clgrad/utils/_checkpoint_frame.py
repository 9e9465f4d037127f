"""One call of `checkpoint`: what it packs, and how the function is run again.

A tensor that the function would save is packed as a `_Place`, which holds nothing. When backward
reads the first of them, the function is run once more, and what it saves goes where the places say.
What was computed again belongs to one backward pass, and goes as soon as it was read or the pass
ends.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from clgrad.autocasting import SameCasting
from clgrad.autograd.graph import saved_tensors_hooks
from clgrad.autograd.running import Pass, current
from clgrad.creation import current as settings
from clgrad.errors import AutogradError, ClgradRuntimeError
from clgrad.generator import default_generator
from clgrad.graph.position import Position, caller, describe
from clgrad.tape import noting
from clgrad.tape.grad_mode import enable_grad
from clgrad.tape.inplace import edge_of
from clgrad.tape.saved import SavedTensor, save
from clgrad.tensor import Tensor
from clgrad.utils._checkpoint_log import Log

Contexts = tuple[contextlib.AbstractContextManager[Any], contextlib.AbstractContextManager[Any]]


class CheckpointError(AutogradError):
    """What was computed again is not what the forward pass computed."""


class _Group(threading.local):
    open: GraphExecGroup | None = None


_group = _Group()


class GraphExecGroup:
    """Inside the block, several backward passes share what checkpoints compute again.

    They must not read the same saved tensor.
    """

    def __enter__(self) -> GraphExecGroup:  # noqa: PYI034  # Self needs Python 3.11
        if _group.open is not None:
            raise ClgradRuntimeError(
                "GraphExecGroup contexts cannot be nested. Expected one at a time."
            )
        _group.open = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _group.open = None


class _Stop(BaseException):
    """Everything is there: leave the function. No `except Exception` of the user's holds it up."""


class _Place:
    """Stands in the graph for a saved tensor: the number of it within its checkpoint."""

    __slots__ = ("__weakref__", "number")

    def __init__(self, number: int) -> None:
        self.number = number


class _Seen:
    """What is known of a saved tensor: its kind, and which node saved it at which line."""

    __slots__ = ("meta", "node", "place")

    def __init__(self, meta: Any, node: str, place: Position | None) -> None:
        self.meta = meta
        self.node = node
        self.place = place

    def same(self, other: _Seen) -> bool:
        a, b = self.meta, other.meta
        return bool(a.shape == b.shape and a.dtype is b.dtype and a.device == b.device)

    def __str__(self) -> str:
        meta = self.meta
        kind = f"{{shape: {list(meta.shape)}, dtype: {meta.dtype.name}, device: {meta.device}}}"
        return f"{kind}, saved by {self.node} at {describe(self.place)}"


class _Again:
    """One repetition of the function, for one backward pass.

    Attributes:
        values: number of a saved tensor -> the tensor, until it is read.
        seen: what the repetition saved, in order.
    """

    __slots__ = ("seen", "values")

    def __init__(self) -> None:
        self.values: dict[int, Tensor] = {}
        self.seen: list[_Seen] = []


class Frame:
    """One call of `checkpoint`: what it takes to run the function again.

    Attributes:
        places: of what the forward pass saved, weakly: the graph holds them.
        seen: what the forward pass saved.
        again: backward pass -> what was computed again for it.
        complete: whether the forward pass has ended.
    """

    def __init__(
        self, function: Callable[..., Any], again: Contexts, *, preserve: bool, early_stop: bool,
        check: bool,
    ) -> None:  # fmt: skip
        self.function = function
        self.context = again[1]
        self.random = default_generator.get_state() if preserve else None
        self.device = settings.device
        self.casting = SameCasting()
        self.early_stop = early_stop
        self.check = check
        self.log: Log | None = None
        self.places: list[weakref.ref[_Place]] = []
        self.seen: list[_Seen] = []
        self.again: weakref.WeakKeyDictionary[Any, _Again] = weakref.WeakKeyDictionary()
        self.complete = False
        self.node = ""
        self.args: list[Any] = []
        self.named: dict[str, Any] = {}

    def save_inputs(self, args: Sequence[Any], named: dict[str, Any]) -> None:
        """Save the tensors among the arguments as a node would, under the hooks outside."""
        self.args = [_kept(a) for a in args]
        self.named = {name: _kept(a) for name, a in named.items()}

    def note(self, node: Any) -> None:
        """Remember which node is about to save."""
        self.node = type(node).__name__

    # ---- the forward pass ----------------------------------------------------------------------

    def pack(self, tensor: Tensor) -> _Place:
        place = _Place(len(self.places))
        self.places.append(weakref.ref(place))
        self.seen.append(_Seen(tensor._meta, self.node, caller()))
        return place

    def unpack(self, place: _Place) -> Tensor:
        key: Any = _group.open or current() or Pass()
        again = self.again.get(key)
        if again is None:
            again = self.again[key] = _Again()
            self.repeat(again)
        found = again.values.pop(place.number, None)
        if found is None:
            raise CheckpointError(self._twice())
        return found

    # ---- once more -----------------------------------------------------------------------------

    def repeat(self, again: _Again) -> None:
        """Run the function again, until everything that the graph holds a place for is there."""
        args = [_given(a) for a in self.args]
        named = {name: _given(a) for name, a in self.named.items()}
        device, settings.device = settings.device, self.device
        random = default_generator.get_state()
        if self.random is not None:
            default_generator.set_state(self.random)
        extra = self._too_many if self.complete else None
        stop = noting.listen(self.note)
        try:
            with _Repeating(self, again, extra), enable_grad(), self.casting, self.context:
                self.function(*args, **named)
        except _Stop:
            pass
        finally:
            stop()
            settings.device = device
            if self.random is not None:
                default_generator.set_state(random)
        self._compare(again)

    def _compare(self, again: _Again) -> None:
        if len(again.seen) < len(self.seen):
            raise CheckpointError(self._text(again, self._too_few(again)))
        if not self.check:
            return
        different = [
            (k, a, b)
            for k, (a, b) in enumerate(zip(self.seen, again.seen, strict=False))
            if not a.same(b) and self.places[k]() is not None
        ]
        if different:
            lines = "".join(
                f"tensor at position {k}:\nsaved metadata: {a}\nrecomputed metadata: {b}\n"
                for k, a, b in different
            )
            raise CheckpointError(
                self._text(
                    again,
                    "clgrad.utils.checkpoint: Recomputed values for the following tensors have "
                    f"different metadata than during the forward pass.\n{lines}",
                )
            )

    # ---- texts ---------------------------------------------------------------------------------

    def _text(self, again: _Again, fact: str) -> str:
        """Add where the two runs part, and what to do."""
        pairs = zip(self.seen, again.seen, strict=False)
        for k, (a, b) in enumerate(pairs):
            if a.node != b.node or not a.same(b):
                fact += f"They first differ at tensor {k}: {a}; then {b}.\n"
                break
        fact += (
            "Expected the function to do the same both times. Hint: what it depends on (global "
            "state, a counter, a random choice on the host) must not change between forward and "
            "backward."
        )
        if self.log is None:
            return f"{fact} Pass debug=True to checkpoint() to see all ops of both runs."
        return f"{fact}\n{self.log.text()}"

    def _too_few(self, again: _Again) -> str:
        text = (
            "clgrad.utils.checkpoint: A different number of tensors was saved during the original "
            f"forward and recomputation.\nNumber of tensors saved during forward: {len(self.seen)}"
            f"\nNumber of tensors saved during recomputation: {len(again.seen)}.\n"
        )
        missing = self.seen[len(again.seen)]
        return f"{text}The first that is missing: {missing}.\n"

    def _too_many(self, again: _Again) -> CheckpointError:
        return CheckpointError(
            self._text(
                again,
                "clgrad.utils.checkpoint: trying to save more tensors during recomputation than "
                f"during the original forward pass, which saved {len(self.seen)}.\n",
            )
        )

    def _twice(self) -> str:
        overlap = ""
        if _group.open is not None:
            overlap = (
                "Performing two backward calls that overlap (i.e. require the same saved "
                "activation in order to compute gradients) is not allowed while under the "
                "clgrad.utils.checkpoint.GraphExecGroup context. "
            )
        return (
            "clgrad.utils.checkpoint: Unpack is being triggered for a tensor that was already "
            f"unpacked once. {overlap}Expected ctx.saved_tensors to be read once in backward. "
            "Hint: assign it to names and use these."
        )


class _Repeating(saved_tensors_hooks):
    """While a function is run again: what it saves is put where the places say."""

    def __init__(
        self, frame: Frame, again: _Again, extra: Callable[[_Again], CheckpointError] | None
    ) -> None:
        wanted = len(frame.places)

        def pack(tensor: Tensor) -> Tensor:
            plain = tensor.detach() if tensor.requires_grad else tensor
            number = len(again.seen)
            again.seen.append(_Seen(plain._meta, frame.node, caller()))
            if number >= wanted:
                if extra is not None:
                    raise extra(again)
                return plain
            if frame.places[number]() is not None:  # else a backward within the function was there
                again.values[number] = plain
            if frame.early_stop and number + 1 == wanted:
                raise _Stop
            return plain  # the function may itself run backward on what it does

        super().__init__(pack, lambda tensor: tensor)


def _kept(arg: Any) -> Any:
    return save(arg, edge_of(arg)) if isinstance(arg, Tensor) else arg


def _given(kept: Any) -> Any:
    return kept.unpack(None, "an argument") if isinstance(kept, SavedTensor) else kept
