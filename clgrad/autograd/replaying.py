"""Views of another base: `_view_func` and its reverse, for libraries that wrap tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.dispatch import apply_view
from clgrad.errors import AutogradError
from clgrad.ops.registry import OPS
from clgrad.tape.inplace import replayed
from clgrad.tensor import Tensor

_DIMS = frozenset(("dim", "dim0", "dim1", "dims", "first", "second", "order"))


def view_func(view: Tensor, new_base: Tensor, **visitors: Any) -> Tensor | None:
    """Make of `new_base` what `view` is of its base; None if its shape or strides are not those."""
    layout, base = new_base._meta.layout, _info(view).base._meta.layout
    return view_func_unsafe(view, new_base, **visitors) if layout == base else None


def view_func_unsafe(
    view: Tensor,
    new_base: Tensor,
    symint_visitor_fn: Callable[[int], int] | None = None,
    tensor_visitor_fn: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Make of `new_base` what `view` is of its base.

    Args:
        new_base: of the shape and strides of the base, unless the ops that made the view are known
            (`autograd._force_original_view_tracking`).
        symint_visitor_fn: is called with sizes and positions among those ops' arguments, and
            returns what to put in their place.
        tensor_visitor_fn: no view op has tensors among its arguments.

    Raises:
        AutogradError: `view` is no view.
    """
    info = _info(view)
    if info.chain is not None and symint_visitor_fn is not None:
        made: Any = new_base
        for op, static in info.chain:
            named = zip((name for name, _ in op.params), static, strict=True)
            changed = [v if n in _DIMS else _visited(v, symint_visitor_fn) for n, v in named]
            made = apply_view(op, made, tuple(changed))
        return made  # type: ignore[no-any-return]  # a Tensor
    again = replayed(view, new_base)
    if again is None:
        layout, base = view._meta.layout, info.base._meta.layout
        again = _strided(new_base, layout, layout.offset - base.offset + new_base.storage_offset())
    return again  # type: ignore[no-any-return]  # a Tensor


def reverse_view_func(view: Tensor, new_view: Tensor) -> Tensor:
    """Make of `new_view` what the base is of `view`."""
    layout, base = view._meta.layout, _info(view).base._meta.layout
    return _strided(new_view, base, new_view.storage_offset() + base.offset - layout.offset)


def _info(view: Tensor) -> Any:
    if view._view is None:
        raise AutogradError("_view_func: this tensor is no view. Hint: _is_view() tells.")
    return view._view


def _visited(value: Any, visit: Callable[[int], int]) -> Any:
    if isinstance(value, tuple):
        return tuple([_visited(v, visit) for v in value])
    return visit(value) if type(value) is int else value


def _strided(tensor: Tensor, layout: Any, offset: int) -> Tensor:
    static = (tuple(layout.shape), tuple(layout.strides), offset)
    made = apply_view(OPS["as_strided"], tensor, static)
    assert made is not None
    return made
