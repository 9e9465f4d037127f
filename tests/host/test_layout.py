"""Layouts against NumPy's strided views and against brute force over every coordinate."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clgrad.errors import ClgradIndexError, ClgradValueError, ShapeError
from clgrad.layout import (
    Layout,
    broadcast_shapes,
    collapse,
    compose,
    infer_size,
    permuted_collapse,
    relation,
    wrap_dim,
)


def elements(layout: Layout) -> np.ndarray[Any, Any]:
    """Return the element number at every coordinate, by definition."""
    flat = [
        layout.offset + sum(c * s for c, s in zip(at, layout.strides, strict=True))
        for at in itertools.product(*map(range, layout.shape))
    ]
    return np.array(flat, dtype=np.int64).reshape(layout.shape)


shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
solid = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@st.composite
def anything(draw: st.DrawFn, shape: tuple[int, ...] | None = None) -> Layout:
    """Any layout at all, of `shape` where one is given."""
    sizes = draw(solid) if shape is None else shape
    strides = tuple(draw(st.integers(0, 9)) for _ in sizes)
    return Layout(sizes, strides, draw(st.integers(0, 5)))


@st.composite
def views(draw: st.DrawFn, base: tuple[int, ...] | None = None) -> Layout:
    """A chain of views of a contiguous tensor, as a program would make them."""
    layout = Layout.contiguous(draw(solid) if base is None else base)
    for _ in range(draw(st.integers(0, 4))):
        if not layout.shape:
            break
        dim = draw(st.integers(0, layout.ndim - 1))
        size = layout.shape[dim]
        kind = draw(st.sampled_from(["slice", "select", "permute", "unsqueeze", "expand", "view"]))
        if kind == "slice":
            start = draw(st.integers(0, size - 1))
            stop = draw(st.integers(start + 1, size))
            layout = layout.slice(dim, start, stop, draw(st.integers(1, 3)))
        elif kind == "select":
            layout = layout.select(dim, draw(st.integers(-size, size - 1)))
        elif kind == "permute":
            layout = layout.permute(draw(st.permutations(range(layout.ndim))))
        elif kind == "unsqueeze" and layout.ndim < 5:
            layout = layout.unsqueeze(dim)
        elif kind == "expand" and size == 1:
            sizes = (*layout.shape[:dim], 3, *layout.shape[dim + 1 :])
            layout = layout.expand(sizes)
        elif kind == "view":
            layout = layout.view((-1,)) or layout
    return layout


def test_contiguous_counts_rows() -> None:
    assert Layout.contiguous((2, 3, 4)) == Layout((2, 3, 4), (12, 4, 1), 0)
    assert Layout.contiguous(()) == Layout((), (), 0)
    assert Layout.contiguous((2, 0, 3)).strides == (3, 3, 1)
    assert Layout.contiguous([5]) is Layout.contiguous((5,))


@given(anything())
def test_facts_agree_with_the_elements(layout: Layout) -> None:
    at = elements(layout)
    assert layout.numel == at.size
    assert layout.ndim == at.ndim
    assert layout.span == (at.min(), at.max() + 1)
    assert layout.is_contiguous == bool(
        (at.ravel() == layout.offset + np.arange(at.size, dtype=np.int64)).all()
    )
    hit_twice = len(np.unique(at)) < at.size
    if hit_twice:
        assert layout.has_overlap
    elif sum(n > 1 for n in layout.shape) <= 2:
        assert not layout.has_overlap


@given(views())
def test_overlap_is_exact_for_views(layout: Layout) -> None:
    at = elements(layout)
    assert layout.has_overlap == (len(np.unique(at)) < at.size)


def test_empty_layouts() -> None:
    empty = Layout((2, 0), (7, 3), 5)
    assert empty.is_contiguous
    assert empty.span == (5, 5)
    assert not Layout((2, 0), (0, 0)).has_overlap
    assert relation(empty, Layout.contiguous((9,))) == "disjoint"
    view = empty.view((0, 5))
    assert view is not None and view.shape == (0, 5)


@given(solid, st.data())
def test_views_match_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    layout = Layout.contiguous(shape)
    array = elements(layout)
    order = data.draw(st.permutations(range(len(shape))))
    layout, array = layout.permute(order), array.transpose(order)
    np.testing.assert_array_equal(elements(layout), array)

    dim = data.draw(st.integers(0, len(shape) - 1))
    edge = st.none() | st.integers(-6, 6)
    start, stop, step = data.draw(edge), data.draw(edge), data.draw(st.integers(1, 3))
    index = (slice(None),) * dim + (slice(start, stop, step),)
    np.testing.assert_array_equal(elements(layout.slice(dim, start, stop, step)), array[index])

    size = layout.shape[dim]
    one = data.draw(st.integers(-size, size - 1))
    np.testing.assert_array_equal(elements(layout.select(dim, one)), array.take(one, axis=dim))
    low = data.draw(st.integers(0, size))
    length = data.draw(st.integers(0, size - low))
    index = (slice(None),) * dim + (slice(low, low + length),)
    np.testing.assert_array_equal(elements(layout.narrow(dim, low, length)), array[index])
    if low:
        assert layout.narrow(dim, low - size, 0) == layout.narrow(dim, low % size, 0)

    other = data.draw(st.integers(-len(shape), len(shape) - 1))
    np.testing.assert_array_equal(
        elements(layout.transpose(dim, other)), array.swapaxes(dim, other)
    )
    np.testing.assert_array_equal(elements(layout.unsqueeze(dim)), np.expand_dims(array, dim))
    np.testing.assert_array_equal(elements(layout.unsqueeze(-1)), np.expand_dims(array, -1))
    np.testing.assert_array_equal(elements(layout.squeeze()), array.squeeze())
    if size == 1:
        np.testing.assert_array_equal(elements(layout.squeeze(dim)), array.squeeze(dim))
    else:
        assert layout.squeeze(dim) == layout

    if len(shape) >= 2 and dim != other % len(shape):
        k = data.draw(st.integers(-5, 5))
        got = layout.diagonal(k, dim, other)
        np.testing.assert_array_equal(elements(got), array.diagonal(k, dim, other))

    width = data.draw(st.integers(1, size))
    windows = np.lib.stride_tricks.sliding_window_view(array, width, axis=dim)
    picked = windows[(slice(None),) * dim + (slice(None, None, step),)]
    np.testing.assert_array_equal(elements(layout.unfold(dim, width, step)), picked)


@given(shapes, shapes)
def test_broadcasting_matches_numpy(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(ShapeError, match="must match the size of tensor b"):
            broadcast_shapes(a, b)
        return
    assert broadcast_shapes(a, b) == expected
    layout = Layout.contiguous(a)
    np.testing.assert_array_equal(
        elements(layout.broadcast_to(expected)), np.broadcast_to(elements(layout), expected)
    )


@given(views(), st.data())
def test_view_is_exact(layout: Layout, data: st.DataObject) -> None:
    """A view exists exactly where NumPy can reshape without a copy."""
    numel = layout.numel
    divisors = [d for d in range(1, numel + 1) if numel % d == 0]
    first = data.draw(st.sampled_from(divisors))
    second = data.draw(st.sampled_from([d for d in divisors if (numel // first) % d == 0]))
    target = data.draw(st.permutations([first, second, numel // first // second]))
    target = tuple(target)
    got = layout.view(target)
    memory = np.zeros(layout.span[1], dtype=np.int8)
    array = np.lib.stride_tricks.as_strided(
        memory[layout.offset :], layout.shape, layout.strides, writeable=False
    )
    try:
        expected = np.reshape(array, target, copy=False)
    except ValueError:
        assert got is None
        return
    assert got is not None and got.shape == target
    np.testing.assert_array_equal(elements(got), elements(layout).reshape(target))
    assert [s for s, n in zip(got.strides, target, strict=True) if n > 1] == [
        s for s, n in zip(expected.strides, target, strict=True) if n > 1
    ]


def test_reshape_dims_flattens_and_splits() -> None:
    layout = Layout.contiguous((2, 3, 4))
    assert layout.reshape_dims(1, -1, (-1,)) == Layout.contiguous((2, 12))
    assert layout.reshape_dims(2, 2, (2, -1)) == Layout.contiguous((2, 3, 2, 2))
    assert layout.transpose(0, 1).reshape_dims(0, 1, (6,)) is None
    assert Layout.contiguous(()).reshape_dims(0, -1, (-1,)) == Layout.contiguous((1,))
    with pytest.raises(ShapeError, match="start_dim cannot come after end_dim"):
        layout.reshape_dims(2, 1, (-1,))


@settings(max_examples=500)
@given(st.data())
def test_compose_is_right_or_none(data: st.DataObject) -> None:
    inner = data.draw(views() | anything())
    outer = data.draw(views(base=inner.shape))
    assume(outer.span[1] <= inner.numel)
    storage = elements(inner).ravel()
    got = compose(outer, inner)
    if got is not None:
        assert got.shape == outer.shape
        np.testing.assert_array_equal(elements(got), storage[elements(outer)])


@settings(max_examples=300)
@given(st.data())
def test_compose_finds_every_layout_of_one_long_dimension(data: st.DataObject) -> None:
    """Along one dimension the answer is known: the elements must have equal steps."""
    inner = data.draw(views())
    assume(inner.numel > 2)
    start = data.draw(st.integers(0, inner.numel - 1))
    step = data.draw(st.integers(1, inner.numel))
    outer = Layout.contiguous((inner.numel,)).slice(0, start, None, step)
    read = elements(inner).ravel()[elements(outer)]
    steps = np.diff(read)
    got = compose(outer, inner)
    if got is not None:
        np.testing.assert_array_equal(elements(got), read)
    elif len(steps):
        # two coordinates are always affine, unless the step goes down
        assert len(steps) > 1 or steps[0] < 0


def test_compose_merges_splits_and_permutes() -> None:
    t = Layout.contiguous((4, 6)).transpose(0, 1)
    plain = Layout.contiguous(t.shape)
    assert compose(plain, t) == t
    assert compose(Layout.contiguous((3, 2, 4)), t) == Layout((3, 2, 4), (2, 1, 6))
    assert compose(plain.transpose(0, 1), t) == Layout.contiguous((4, 6))
    rows = Layout((0, 6, 4), (0, 4, 1))  # the first dim is folded away: to zeros, at each point
    assert compose(rows, t) == Layout((0, 6, 4), (0, 1, 6))
    assert compose(Layout.contiguous((24,)), t) is None
    row = Layout.contiguous((6,)).broadcast_to((4, 6))
    assert compose(Layout.contiguous((4, 6)).narrow(1, 2, 3), row) == Layout((4, 3), (0, 1), 2)
    assert compose(Layout((4,), (3,), 3), Layout((4, 4), (10, 1))) == Layout((4,), (9,), 3)
    assert compose(Layout((5,), (5,)), Layout((5, 5), (7, 1), 2)) == Layout((5,), (7,), 2)


@given(st.data())
def test_collapse_keeps_every_pairing(data: st.DataObject) -> None:
    shape = data.draw(shapes)
    layouts = [data.draw(anything(shape)) for _ in range(data.draw(st.integers(1, 3)))]
    layouts.append(Layout.contiguous(shape))
    for merge in (collapse, permuted_collapse):
        merged, strides = merge(layouts)
        assert 1 not in merged
        before = np.stack([elements(a).ravel() for a in layouts])
        after = np.stack([
            elements(Layout(merged, s, a.offset)).ravel()
            for s, a in zip(strides, layouts, strict=True)
        ])  # fmt: skip
        if merge is permuted_collapse:
            before, after = (x[:, np.lexsort(x)] for x in (before, after))
            assert list(strides[0]) == sorted(strides[0], reverse=True)
        np.testing.assert_array_equal(after, before)


def test_collapse_merges_what_steps_as_one() -> None:
    a = Layout.contiguous((2, 1, 3, 4))
    assert collapse([a]) == ((24,), [(1,)])
    assert collapse([a, a.select(0, 0).unsqueeze(0).broadcast_to(a.shape)]) == (
        (2, 12),
        [(12, 1), (0, 1)],
    )
    t = Layout.contiguous((3, 4)).transpose(0, 1)
    assert collapse([t]) == ((4, 3), [(1, 4)])
    assert permuted_collapse([t]) == ((12,), [(1,)])
    assert permuted_collapse([t, Layout.contiguous((4, 3))]) == ((3, 4), [(4, 1), (1, 3)])
    assert collapse([Layout.contiguous(())]) == ((), [()])


@settings(max_examples=500)
@given(st.data())
def test_relation_never_lies(data: st.DataObject) -> None:
    base = data.draw(solid)
    kind = views(base=base) | anything()
    a, b = data.draw(kind), data.draw(kind)
    one, two = elements(a), elements(b)
    got = relation(a, b)
    assert got == relation(b, a)
    if got == "identical":
        np.testing.assert_array_equal(one, two)
    elif got == "disjoint":
        assert not np.intersect1d(one, two).size
    else:
        assert not (one.shape == two.shape and (one == two).all())


@given(solid, st.data())
def test_relation_separates_boxes_of_one_base(shape: tuple[int, ...], data: st.DataObject) -> None:
    """Slices that part along any one dimension, by range or by residue, are disjoint."""
    base = Layout.contiguous(shape)
    dim = data.draw(st.integers(0, len(shape) - 1))
    cut = data.draw(st.integers(0, shape[dim]))
    a, b = base.slice(dim, 0, cut), base.slice(dim, cut)
    assert relation(a, b) == "disjoint"
    step = data.draw(st.integers(2, 3))
    assert relation(base.slice(dim, 0, None, step), base.slice(dim, 1, None, step)) == "disjoint"
    other = data.draw(st.integers(0, len(shape) - 1))
    if other != dim:
        low = data.draw(st.integers(0, shape[other]))
        narrow_a, narrow_b = a.slice(other, low), b.slice(other, 0, low + 1)
        assert relation(narrow_a, narrow_b) == "disjoint"


def test_relation_of_equal_and_shuffled_coordinates() -> None:
    base = Layout.contiguous((3, 3))
    assert relation(base, Layout((3, 3), (3, 1))) == "identical"
    assert relation(base, base.transpose(0, 1)) == "overlapping"
    assert relation(Layout((2, 2), (0, 3)), Layout((2, 2), (3, 0))) == "overlapping"
    assert relation(Layout((1, 3), (9, 1)), Layout((1, 3), (3, 1))) == "identical"
    assert relation(base.select(1, 0), base.select(1, 2)) == "disjoint"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: wrap_dim(2, 2, "sum"), ClgradIndexError,
         r"sum: Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)"),
        (lambda x: wrap_dim(1, 0, "sum"), ClgradIndexError, r"range of \[-1, 0\], but got 1"),
        (lambda x: x.expand((3,)), ShapeError, "must be greater or equal to the number"),
        (lambda x: x.expand((2, 4)), ShapeError,
         r"tensor \(4\) must match the existing size \(3\) at non-singleton dimension 1"),
        (lambda x: x.expand((-1, 2, 3)), ShapeError, "isn't allowed in dimension 0"),
        (lambda x: x.broadcast_to((-1, 3)), ShapeError, "broadcast_to: size -1"),
        (lambda x: x.permute((0,)), ShapeError, r"input.dim\(\) = 2 is not equal to len\(dims\)"),
        (lambda x: x.permute((0, -2)), ShapeError, "duplicate dims are not allowed"),
        (lambda x: x.select(0, 2), ClgradIndexError, "index 2 out of range for tensor of size"),
        (lambda x: x.squeeze((0, -2)), ShapeError, "dim appears multiple times"),
        (lambda x: x.narrow(0, 3, 0), ClgradIndexError, r"range of \[-2, 2\], but got 3"),
        (lambda x: x.narrow(0, 1, 2), ShapeError, r"start \(1\) \+ length \(2\) exceeds dimension"),
        (lambda x: x.narrow(0, 1, -1), ShapeError, "length must be non-negative"),
        (lambda x: x.slice(0, 0, 2, 0), ClgradValueError, "step must be greater than zero"),
        (lambda x: x.diagonal(0, 1, -1), ShapeError, "dimensions cannot be identical 1, -1"),
        (lambda x: x.unfold(0, 3, 1), ShapeError, "maximum size for tensor at dimension 0 is 2"),
        (lambda x: x.as_strided((2,), (-1,)), ShapeError, "Negative strides"),
        (lambda x: x.view((4, 2)), ShapeError, r"shape '\[4, 2\]' is invalid for input of size 6"),
        (lambda x: x.view((-1, 4)), ShapeError, "is invalid for input of size 6"),
        (lambda x: x.view((-1, -1)), ShapeError, "only one dimension can be inferred"),
        (lambda x: x.view((-2, 3)), ShapeError, "invalid shape dimension -2"),
        (lambda x: infer_size((0, -1), 0), ShapeError, "is ambiguous"),
        (lambda x: infer_size((0, -1), 3), ShapeError, "is invalid for input of size 3"),
        (lambda x: x.select(0, 0).select(0, 0).select(0, 0), ClgradIndexError, "0-dim tensor"),
        (lambda x: x.select(0, 0).select(0, 0).slice(0), ClgradIndexError, "0-dim tensor"),
        (lambda x: x.select(0, 0).select(0, 0).narrow(0, 0, 1), ShapeError, "0-dim tensor"),
    ],
)  # fmt: skip
def test_errors_name_the_values(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(Layout.contiguous((2, 3)))


def test_zero_dim_views() -> None:
    scalar = Layout.contiguous(())
    assert scalar.transpose(0, -1) == scalar
    assert scalar.unsqueeze(0) == Layout((1,), (1,))
    assert scalar.unfold(0, 1, 1) == Layout((1,), (1,))
    assert scalar.view((1, 1)) == Layout.contiguous((1, 1))
    assert scalar.squeeze() == scalar
    assert broadcast_shapes() == ()
    assert infer_size((-1,), 0) == (0,)
