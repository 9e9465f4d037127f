"""Layouts with windows: what they show, and what one shows through another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clgrad.layout import Layout
from clgrad.windowed import Windowed, compose, embedded, framed, read_array, rolled

FLAT = np.arange(1.0, 71.0)
PLAIN = [Layout.contiguous((5, 12)), Layout.contiguous((12, 5)).permute((1, 0)),
         Layout((5, 12), (0, 1), 7), Layout((5, 6), (12, 2), 3)]  # fmt: skip


def shown(layout: Layout) -> np.ndarray:
    found: np.ndarray = read_array(FLAT, layout)
    return found


@pytest.mark.parametrize("x", PLAIN)
def test_a_rolled_layout_shows_what_roll_makes(x: Layout) -> None:
    for starts in ({0: 2}, {1: 5}, {0: 4, 1: 1}):
        shifts = [-starts.get(d, 0) for d in (0, 1)]
        expected = np.roll(shown(x), shifts, (0, 1))
        np.testing.assert_array_equal(shown(rolled(x, starts)), expected)


@pytest.mark.parametrize("x", PLAIN)
@pytest.mark.parametrize("pads", [((1, 2), (3, 0)), ((0, 0), (-2, 3)), ((-1, -1), (4, -4))])
def test_a_framed_layout_shows_what_pad_makes(x: Layout, pads: tuple[tuple[int, int], ...]) -> None:
    values = shown(x)
    for d, (before, after) in enumerate(pads):
        values = np.take(values, range(max(-before, 0), values.shape[d] - max(-after, 0)), d)
    expected = np.pad(values, [(max(a, 0), max(b, 0)) for a, b in pads])
    made = framed(x, expected.shape, [a for a, _ in pads])
    assert made is not None
    np.testing.assert_array_equal(shown(made), expected)


def test_nothing_inside_is_no_window() -> None:
    assert framed(PLAIN[0], (3, 12), (-5, 0)) is None


@pytest.mark.parametrize(
    "part", [(slice(1, 3), slice(2, 9)), (3, slice(1, 2)), (slice(None), 11), (0, 0)]
)
def test_an_embedded_layout_shows_zeros_and_the_part(part: tuple[int | slice, ...]) -> None:
    place = Layout.contiguous((5, 12))
    for d in (1, 0):
        at = part[d]
        place = place.select(d, at) if isinstance(at, int) else place.slice(d, at.start, at.stop)
    expected = np.zeros((5, 12))
    part_of = Layout.contiguous(place.shape)
    expected[part] = shown(part_of)
    made = embedded(part_of, place, (5, 12))
    assert made is not None
    np.testing.assert_array_equal(shown(made), expected)


def test_steps_and_other_orders_are_no_windows() -> None:
    x = Layout.contiguous((5, 6))
    assert embedded(x, Layout((5, 6), (12, 2), 0), (5, 12)) is None
    assert embedded(Layout.contiguous((12, 5)), Layout((12, 5), (1, 12), 0), (5, 12)) is None


@st.composite
def windowed(draw: st.DrawFn, x: Layout) -> Layout:
    kind = draw(st.sampled_from(["plain", "roll", "frame"]))
    if kind == "roll":
        starts = {d: draw(st.integers(0, n - 1)) for d, n in enumerate(x.shape)}
        return rolled(x, {d: s for d, s in starts.items() if s})
    if kind == "frame":
        before = [draw(st.integers(-2, 3)) for _ in x.shape]
        shape = tuple(
            n + b + draw(st.integers(-1, 3)) for n, b in zip(x.shape, before, strict=True)
        )
        return (framed(x, shape, before) if min(shape) > 1 else None) or x
    return x


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_one_through_another(data: st.DataObject) -> None:
    inner = data.draw(windowed(data.draw(st.sampled_from(PLAIN))))
    outer = data.draw(windowed(Layout.contiguous(inner.shape)))
    made = compose(outer, inner)
    if made is None:
        assert isinstance(inner, Windowed) or isinstance(outer, Windowed)
        return
    between = np.ascontiguousarray(shown(inner)).ravel()
    np.testing.assert_array_equal(shown(made), read_array(between, outer))


def test_a_window_is_read_in_its_own_order() -> None:
    made = rolled(Layout.contiguous((1, 5, 1, 12)), {1: 2})
    assert made.view((5, 12)) == rolled(Layout.contiguous((5, 12)), {0: 2})
    assert made.view((60,)) is None
    assert not made.is_contiguous
