"""Views in PyTorch's other forms: `name_` changes what a tensor shows, `name_copy` copies, and
`unsafe_name` makes parts that are not known to be views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.dispatch import apply_views
from clgrad.functional import shaping, splitting
from clgrad.functional._out import with_out
from clgrad.functional.shaping import clone
from clgrad.ops.meta import meta_of
from clgrad.tape.grad_mode import mode
from clgrad.tape.inplace import (
    check_inference,
    check_inplace,
    requires_grad_of,
    take_retained,
)
from clgrad.tape.tangents import adopt, forward
from clgrad.tensor import Tensor
from clgrad.writing import count

Call = Callable[..., Any]

_INPLACE = ("squeeze", "swapaxes", "swapdims", "t", "transpose", "unsqueeze", "as_strided")
_COPIED: dict[str, Call] = {
    **{
        name: getattr(shaping, name)
        for name in (
            "alias", "as_strided", "diagonal", "expand", "narrow", "permute", "select", "squeeze",
            "t", "transpose", "unfold", "unsqueeze", "view",
        )
    },
    "slice": shaping.slice_,
    **{name: getattr(splitting, name) for name in ("split", "split_with_sizes", "unbind")},
}  # fmt: skip
_UNSAFE: dict[str, tuple[Call, str]] = {
    "unsafe_chunk": (splitting.chunk, "UnsafeSplitBackward0"),
    "unsafe_split": (splitting.split, "UnsafeSplitBackward0"),
    "unsafe_split_with_sizes": (splitting.split_with_sizes, "UnsafeSplitWithSizesBackward0"),
}


def _inplace(name: str, view: Call) -> Call:
    def call(input: Tensor, *args: Any, **named: Any) -> Tensor:
        check_inference(input)
        if mode.grad and requires_grad_of(input):
            check_inplace(input)
        retained = take_retained(input) if mode.grad else None
        made = view(input, *args, **named)
        if forward.open:
            adopt(input, made)
        input._meta = made._meta
        count(name, input)
        if made._node is not None:
            input._node, input._output_nr = made._node, made._output_nr
        if retained is not None and input._node is not None:
            input._node._own_hooks().retain[input._output_nr] = retained
        if input._view is not None:
            input._view.version = input._family().version
        return input

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Let the tensor show what `{name[:-1]}` of it shows, and return it."
    return call


def _copied(name: str, view: Call) -> Call:
    def call(input: Tensor, *args: Any, **named: Any) -> Any:
        made = view(input, *args, **named)
        return tuple([clone(x) for x in made]) if isinstance(made, tuple) else clone(made)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Return a copy of what `{name[: -len('_copy')]}` shows."
    return with_out(call)


def _untracked(name: str, view: Call, node: str) -> Call:
    def call(input: Tensor, *args: Any, **named: Any) -> tuple[Tensor, ...]:
        before, mode.grad = mode.grad, False
        try:
            metas = [meta_of(input.dtype, x._meta.layout, input.device)
                     for x in view(input, *args, **named)]  # fmt: skip
        finally:
            mode.grad = before
        parts = apply_views(node, input, metas)
        for part in parts:
            part._view = part._counter = None
        return parts

    call.__name__ = call.__qualname__ = name
    call.__doc__ = (
        f"Return what `{name.removeprefix('unsafe_')}` does, as tensors that may be written in "
        "place although they share memory: only for results that nobody else reads."
    )
    return call


for _name in _INPLACE:
    globals()[f"{_name}_"] = _inplace(f"{_name}_", getattr(shaping, _name))
for _name, _view in _COPIED.items():
    globals()[f"{_name}_copy"] = _copied(f"{_name}_copy", _view)
for _name, (_view, _node) in _UNSAFE.items():
    globals()[_name] = _untracked(_name, _view, _node)


def detach_copy(input: Tensor) -> Tensor:
    """Return a copy that requires no gradient."""
    return clone(input.detach())


__all__ = [  # noqa: PLE0604  # names, from the tables
    *[f"{_name}_copy" for _name in _COPIED], *_UNSAFE, *["as_strided_"], "detach_copy",
]  # fmt: skip
METHODS = (
    *[f"{_name}_" for _name in _INPLACE], "narrow_copy", "unsafe_chunk", "unsafe_split",
    "unsafe_split_with_sizes",
)  # fmt: skip
