"""What `forward` and `backward` of a custom function call `ctx`: the node itself.

What the user stores on it lives as long as the graph does. How a custom function is called, and how
its outputs get their history, is in `function`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from clgrad import dispatch
from clgrad.errors import AutogradError, ClgradTypeError
from clgrad.ops.registry import OPS
from clgrad.tape.complaints import freed
from clgrad.tape.grad_mode import mode
from clgrad.tape.node import Grads, Node
from clgrad.tape.saved import SavedTensor
from clgrad.tape.tangents import forward
from clgrad.tensor import Tensor


class FunctionCtx:
    """What `forward` may ask of its context.

    Attributes:
        needs_input_grad: for each argument of `apply`, whether its gradient is asked for.
        to_save, saved_for_forward, dirty_tensors, non_differentiable, materialize_grads: what the
            methods below have set.
    """

    needs_input_grad: tuple[bool, ...]
    to_save: tuple[Any, ...]
    saved_for_forward: tuple[Any, ...]
    dirty_tensors: tuple[Any, ...]
    non_differentiable: tuple[Any, ...]
    materialize_grads: bool

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Save inputs or outputs for `backward`, which reads them as `saved_tensors`."""
        for k, tensor in enumerate(tensors):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise ClgradTypeError(
                    f"save_for_backward can only save variables, but argument {k} is of type "
                    f"{type(tensor).__name__}. Hint: store other things as attributes of ctx."
                )
        self.to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Save tensors for `jvp`."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise ClgradTypeError(
                    "save_for_forward expects all arguments to be tensors or None, but got "
                    f"{type(tensor).__name__}. Hint: store other things as attributes of ctx."
                )
        self.saved_for_forward = tensors

    def mark_dirty(self, *args: Tensor) -> None:
        """Say which inputs `forward` wrote in place; all of them must be among the outputs."""
        self.dirty_tensors = _tensors("mark_dirty", args)

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Say which outputs have no gradient."""
        self.non_differentiable = _tensors("mark_non_differentiable", args)

    def mark_shared_storage(self, *pairs: Any) -> None:
        """Do nothing: which tensors share memory is always known."""
        warnings.warn(
            "mark_shared_storage is deprecated. Tensors with shared storages are tracked "
            "automatically. Hint: leave the call out.",
            FutureWarning,
            stacklevel=2,
        )

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether `backward` gets zeros (the default) or None where nothing flowed."""
        self.materialize_grads = value


def _tensors(what: str, given: Sequence[Any]) -> tuple[Tensor, ...]:
    for k, one in enumerate(given):
        if not isinstance(one, Tensor):
            raise AutogradError(
                f"{what} can only accept variables, but argument {k} is of type "
                f"{type(one).__name__}. Expected tensors."
            )
    return tuple(given)


class FunctionNode(Node, FunctionCtx):
    """The node of a custom function, and its `ctx`."""

    __slots__ = (
        "_accessed", "_differentiable", "_places", "_pushing", "_released", "_saved",
        "dirty_tensors", "materialize_grads", "needs_input_grad", "non_differentiable",
        "saved_for_forward", "to_save",
    )  # fmt: skip

    _forward_cls: Any
    _materialize_non_diff_grads = True
    _is_pure_view = False  # set by a forward that returns a view of its input and does nothing else

    def __init__(self) -> None:
        super().__init__((), ())
        self.needs_input_grad = ()
        self.to_save = self.saved_for_forward = ()
        self.dirty_tensors = self.non_differentiable = ()
        self.materialize_grads = True
        self._saved: tuple[SavedTensor, ...] = ()
        self._released = False
        self._accessed = False
        self._pushing = False  # whether `jvp` runs
        self._places: tuple[int, ...] = ()  # of the tensors among the arguments
        self._differentiable: tuple[bool | None, ...] = ()  # each output; None is no tensor

    # ---- what backward reads ------------------------------------------------------------------

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors that `forward` saved.

        Raises:
            GraphFreedError: a backward released them.
            VersionError: one was overwritten in place.
        """
        if self._pushing:
            return self.saved_for_forward
        if self._released:
            raise freed(self)
        if self._forward_cls.clear_saved_tensors_on_access:
            if self._accessed:
                raise AutogradError(
                    "saved_tensors can only be accessed once when "
                    "clear_saved_tensors_on_access=True is set on the autograd.Function. Hint: "
                    "keep what it returned, or leave that attribute out."
                )
            self._accessed = True
        found = tuple([one.unpack(self) for one in self._saved])
        if forward.open and mode.forward:
            forward.level.give(self, found)
        if self._accessed:
            for one in self._saved:
                one.release()
            self._saved = ()
        return found

    @property
    def saved_variables(self) -> tuple[Tensor | None, ...]:
        """The old name of `saved_tensors`."""
        warnings.warn(
            "'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2
        )
        return self.saved_tensors

    @property
    def _raw_saved_tensors(self) -> tuple[SavedTensor, ...]:
        if self._released:
            raise freed(self)
        return self._saved

    def _saved_items(self) -> Iterator[tuple[str, Any]]:
        for k, one in enumerate(self._saved):
            if one.meta is not None:
                yield f"saved_tensors[{k}]", one
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                yield f"ctx.{name}", value

    # ---- what the engine asks -----------------------------------------------------------------

    def apply(self, grads: Grads, wanted: Sequence[bool] | None) -> Grads:
        given = list(grads)
        if self.materialize_grads:
            for k, kind in enumerate(self._differentiable):
                if kind is False:
                    kind = self._materialize_non_diff_grads
                if kind and given[k] is None:
                    given[k] = _zeros(self._metas[k])
        function = self._forward_cls._derivative()
        if self._forward_cls.boxed_grads_call:
            results = function(self, given)
        else:
            results = function(self, *given)
        del given
        if not isinstance(results, tuple):
            results = (results,)
        return self._checked(results)

    def _checked(self, results: tuple[Any, ...]) -> Grads:
        """Return the gradients of the tensors among the arguments, or say what is wrong."""
        name = type(self).__name__
        count = len(self.needs_input_grad)
        if len(results) > count and all(r is None for r in results[count:]):
            results = results[:count]
        if len(results) != count:
            raise AutogradError(
                f"function {name} returned an incorrect number of gradients (expected {count}, "
                f"got {len(results)}). Hint: return one, or None, for each argument of forward."
            )
        for k, result in enumerate(results):
            if result is None:
                continue
            if not isinstance(result, Tensor):
                raise AutogradError(
                    f"function {name}: expected Variable or None (got {type(result).__name__}) as "
                    f"gradient {k}. Hint: several gradients are returned as a tuple."
                )
            if k not in self._places:
                raise AutogradError(
                    f"function {name} returned a gradient different than None at position "
                    f"{k + 1}, but the corresponding forward input was not a Variable. "
                    "Hint: return None there."
                )
        return [results[k] for k in self._places]

    def _release(self) -> None:
        self._released = True
        for one in self._saved:
            one.release()


def _zeros(meta: Any) -> Tensor:
    number = False if meta.dtype.kind == "b" else 0
    made: Tensor = dispatch.apply(OPS["full"], (number,), (meta.shape, meta.dtype), meta.device)
    return made
