"""Nested dicts, lists and tuples of tensors: taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clgrad.errors import AutogradError
from clgrad.tensor import Tensor

Rebuild = Callable[[Sequence[Any]], Any]


def flatten(tree: Any) -> tuple[list[Any], Rebuild]:
    """Return the leaves of a tree, and what makes the tree of other leaves."""
    leaves: list[Any] = []
    shape = _shape(tree, leaves)

    def rebuild(others: Sequence[Any]) -> Any:
        return _build(shape, iter(others))

    return leaves, rebuild


def _shape(tree: Any, leaves: list[Any]) -> Any:
    if isinstance(tree, dict):
        return dict, list(tree), [_shape(v, leaves) for v in tree.values()], type(tree)
    if isinstance(tree, list | tuple):
        return list, None, [_shape(v, leaves) for v in tree], type(tree)
    leaves.append(tree)
    return None


def _build(shape: Any, leaves: Any) -> Any:
    if shape is None:
        return next(leaves)
    kind, keys, parts, made = shape
    values = [_build(part, leaves) for part in parts]
    if kind is dict:
        return dict(zip(keys, values, strict=True))
    if hasattr(made, "_fields"):
        return made(*values)
    return values if made is list else tuple(values)


def tensors(tree: Any, what: str) -> tuple[list[Tensor], Rebuild]:
    """Return the leaves of a tree of nothing but tensors.

    Raises:
        AutogradError: something else is among them.
    """
    leaves, rebuild = flatten(tree)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise AutogradError(
                f"{what}: Expected tensors, got unsupported type {type(leaf)}. Hint: nested dicts, "
                "lists and tuples of tensors will do."
            )
    return leaves, rebuild


def same_structure(tree: Any, other: Any, what: str) -> None:
    """Raise `AutogradError` unless two trees differ in their leaves alone."""
    first: list[Any] = []
    second: list[Any] = []
    if _shape(tree, first) != _shape(other, second):
        raise AutogradError(
            f"{what}: got trees of {len(first)} and of {len(second)} leaves. Expected them to have "
            "the same python structure: the same nesting of dicts, lists and tuples."
        )
