"""Layouts against PyTorch's: sizes, strides, offsets and which calls are errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clgrad.errors import ClgradError
from clgrad.layout import Layout

torch = pytest.importorskip("torch")

number = st.integers(-4, 5)
KINDS = (
    "select", "narrow", "slice", "permute", "transpose", "squeeze", "unsqueeze", "expand",
    "diagonal", "unfold", "view", "flatten",
)  # fmt: skip


def slice_torch(x: Any, dim: int, start: int | None, stop: int | None, step: int) -> Any:
    return torch.ops.aten.slice.Tensor(x, dim, start, stop, step)


@st.composite
def calls(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """One view as (call on a layout, call on a torch tensor), right or wrong."""
    kind = draw(st.sampled_from(KINDS))
    dim = draw(st.integers(-len(shape) - 1, len(shape)))
    a, b = draw(number), draw(number)
    if kind == "select":
        return (lambda x: x.select(dim, a)), (lambda t: t.select(dim, a))
    if kind == "narrow":
        return (lambda x: x.narrow(dim, a, b)), (lambda t: t.narrow(dim, a, b))
    if kind == "slice":
        start, stop = draw(st.none() | number), draw(st.none() | number)
        step = draw(st.integers(0, 3))
        return (lambda x: x.slice(dim, start, stop, step)), (
            lambda t: slice_torch(t, dim, start, stop, step)
        )
    if kind == "permute":
        order = draw(st.permutations(range(len(shape)))) or [a]
        return (lambda x: x.permute(order)), (lambda t: t.permute(order))
    if kind == "transpose":
        return (lambda x: x.transpose(dim, a)), (lambda t: t.transpose(dim, a))
    if kind == "squeeze":
        if draw(st.booleans()):
            return (lambda x: x.squeeze()), (lambda t: t.squeeze())
        return (lambda x: x.squeeze(dim)), (lambda t: t.squeeze(dim))
    if kind == "unsqueeze":
        return (lambda x: x.unsqueeze(dim)), (lambda t: t.unsqueeze(dim))
    if kind == "expand":
        sizes = tuple(draw(st.sampled_from((n, n, -1, 3))) for n in shape)
        sizes = (*draw(st.lists(st.integers(-1, 2), max_size=1)), *sizes)
        return (lambda x: x.expand(sizes)), (lambda t: t.expand(sizes))
    if kind == "diagonal":
        other = draw(st.integers(-len(shape), len(shape)))
        return (lambda x: x.diagonal(a, dim, other)), (lambda t: t.diagonal(a, dim, other))
    if kind == "unfold":
        return (lambda x: x.unfold(dim, a, b)), (lambda t: t.unfold(dim, a, b))
    if kind == "view":
        sizes = tuple(draw(st.lists(st.integers(-1, 4), max_size=3)))
        return (lambda x: x.view(sizes)), (lambda t: t.view(sizes))
    return (lambda x: x.reshape_dims(dim, a, (-1,))), (lambda t: t.flatten(dim, a))


def attempt(call: Callable[[Any], Any], tensor: Any) -> tuple[Any, Exception | None]:
    try:
        return call(tensor), None
    except (RuntimeError, IndexError) as error:
        return None, error


def moving(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """Return the strides that lead to an element; the others are nobody's business."""
    return [] if 0 in shape else [s for n, s in zip(shape, strides, strict=True) if n > 1]


@settings(max_examples=600)
@given(st.data())
def test_chains_of_views_are_those_of_torch(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=4)))
    layout, tensor = Layout.contiguous(shape), torch.zeros(shape)
    for _ in range(data.draw(st.integers(1, 4))):
        ours, theirs = data.draw(calls(layout.shape))
        expected, error = attempt(theirs, tensor)
        if error is not None:
            if "view size is not compatible" in str(error):
                assert ours(layout) is None
            else:
                # a step is written in an index by the user, where PyTorch has a ValueError too
                kind = ValueError if "step must be" in str(error) else type(error)
                with pytest.raises(kind) as info:
                    ours(layout)
                assert isinstance(info.value, ClgradError)
            return
        got = ours(layout)
        if got is None:  # flatten copies then
            assert expected.data_ptr() != tensor.data_ptr()
            return
        assert got.shape == tuple(expected.shape)
        assert moving(got.shape, got.strides) == moving(got.shape, expected.stride())
        if got.numel:
            assert got.offset == expected.storage_offset()
        assert got.is_contiguous == expected.is_contiguous()
        layout, tensor = got, expected
