"""Layout: how the coordinates of a tensor map to the elements of its storage.

A layout is shape, strides and offset, counted in elements; a stride may be 0, and negative only in
what an op reads (`flip`), never in a tensor. Views are functions from layout to layout, and what
the scheduler must know of memory (do two layouts touch, may dimensions be merged, is a view of a
view one view) is decided here too. It is not memory: nothing here knows dtypes, storages, their
sizes, or devices. Floor: above `errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Literal

from clgrad.errors import ClgradIndexError, ClgradValueError, ShapeError
from clgrad.shapes import (
    Shape,
    broadcast_shapes,
    contiguous_strides,
    digits_of,
    infer_size,
    is_contiguous_strides,
    may_overlap,
    merge_dims,
    merge_dims_cached,
    never_meet,
    view_strides,
    wrap_dim,
)

__all__ = [
    "Layout",
    "Relation",
    "Shape",
    "broadcast_shapes",
    "collapse",
    "compose",
    "infer_size",
    "permuted_collapse",
    "relation",
    "wrap_dim",
]

Relation = Literal["identical", "disjoint", "overlapping"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Shape, strides and offset of a tensor within its storage, in elements.

    Attributes:
        shape: sizes, 0 or more each.
        strides: elements between neighbours along each dimension.
        offset: the element at coordinates (0, …, 0).
    """

    shape: Shape
    strides: Shape
    offset: int = 0

    @staticmethod
    def contiguous(shape: Sequence[int]) -> Layout:
        """Return the row-major layout of `shape` at offset 0."""
        return _contiguous(tuple(shape))

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def is_contiguous(self) -> bool:
        """Whether elements lie in row-major order without gaps, wherever they begin."""
        return is_contiguous_strides(self.shape, self.strides)

    @property
    def span(self) -> tuple[int, int]:
        """First element touched and one past the last; equal for an empty layout."""
        if 0 in self.shape:
            return self.offset, self.offset
        steps = [(n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)]
        low = sum([s for s in steps if s < 0])
        return self.offset + low, self.offset + 1 + sum(steps) - low

    @property
    def has_overlap(self) -> bool:
        """Whether two coordinates may hit the same element.

        Exact for layouts whose sorted strides nest (all views of a contiguous tensor but those
        made by `unfold` and `as_strided`) and wherever at most two dimensions interleave;
        beyond that `True` may be too careful.
        """
        return may_overlap(self.shape, self.strides)

    # ---- views --------------------------------------------------------------------------------

    def expand(self, sizes: Sequence[int], op: str = "expand") -> Layout:
        """Return this layout broadcast to `sizes`, where -1 keeps a size.

        Raises:
            ShapeError: a size other than 1 would change, or -1 stands for a new dimension.
        """
        sizes = tuple(sizes)
        new = len(sizes) - self.ndim
        if new < 0:
            raise ShapeError(
                f"{op}: the number of sizes provided ({len(sizes)}) must be greater or equal to "
                f"the number of dimensions in the tensor ({self.ndim}), for sizes {sizes} and "
                f"shape {self.shape}."
            )
        shape, strides = list(sizes), [0] * new + list(self.strides)
        for d, size in enumerate(sizes):
            old = self.shape[d - new] if d >= new else None
            if size == -1 and old is not None:
                shape[d] = old
            elif size < 0:
                raise ShapeError(
                    f"{op}: The expanded size of the tensor ({size}) isn't allowed in "
                    f"dimension {d} of {sizes} for shape {self.shape}. Expected 0 or more, "
                    "or -1 for a dimension that exists."
                )
            elif old is not None and size != old:
                if old != 1:
                    raise ShapeError(
                        f"{op}: The expanded size of the tensor ({size}) must match the existing "
                        f"size ({old}) at non-singleton dimension {d}. Target sizes: {sizes}. "
                        f"Tensor sizes: {self.shape}."
                    )
                strides[d] = 0
        return Layout(tuple(shape), tuple(strides), self.offset)

    def broadcast_to(self, shape: Sequence[int]) -> Layout:
        """Return this layout read as `shape`; raises `ShapeError` where it does not broadcast."""
        shape = tuple(shape)
        if shape == self.shape:
            return self
        if -1 in shape:
            raise ShapeError(f"broadcast_to: size -1 in {shape}. Expected sizes of 0 or more.")
        return self.expand(shape, "broadcast_to")

    def permute(self, dims: Sequence[int], op: str = "permute") -> Layout:
        """Return the layout whose dimension `i` is this one's `dims[i]`.

        Raises:
            ShapeError: `dims` is not a permutation.
            ClgradIndexError: one of `dims` is out of range.
        """
        if len(dims) != self.ndim:
            raise ShapeError(
                f"{op}: {len(dims)} dimensions given for a tensor of shape {self.shape}, "
                f"input.dim() = {self.ndim} is not equal to len(dims) = {len(dims)}. "
                "Expected each dimension once."
            )
        order = [wrap_dim(d, self.ndim, op) for d in dims]
        if len(set(order)) != len(order):
            raise ShapeError(f"{op}: duplicate dims are not allowed, got {tuple(dims)}.")
        shape, strides = self.shape, self.strides
        return Layout(
            tuple([shape[d] for d in order]), tuple([strides[d] for d in order]), self.offset
        )

    def transpose(self, a: int, b: int) -> Layout:
        """Return the layout with dimensions `a` and `b` swapped."""
        a, b = wrap_dim(a, self.ndim, "transpose"), wrap_dim(b, self.ndim, "transpose")
        order = list(range(self.ndim))
        if order:
            order[a], order[b] = order[b], order[a]
        return self.permute(order)

    def _without(self, dim: int, offset: int) -> Layout:
        shape, strides = self.shape, self.strides
        return Layout(shape[:dim] + shape[dim + 1 :], strides[:dim] + strides[dim + 1 :], offset)

    def _with(self, dim: int, size: int, stride: int, offset: int) -> Layout:
        shape, strides = self.shape, self.strides
        return Layout(
            (*shape[:dim], size, *shape[dim + 1 :]),
            (*strides[:dim], stride, *strides[dim + 1 :]),
            offset,
        )

    def select(self, dim: int, index: int) -> Layout:
        """Return the layout of entry `index` along `dim`, which goes away.

        Raises:
            ClgradIndexError: `dim` or `index` is out of range, or there is no dimension.
        """
        if not self.shape:
            raise ClgradIndexError(
                "select: select() cannot be applied to a 0-dim tensor. Expected a dimension. "
                "Hint: use item() for its value."
            )
        dim = wrap_dim(dim, self.ndim, "select")
        size = self.shape[dim]
        if not -size <= index < size:
            raise ClgradIndexError(
                f"select: index {index} out of range for tensor of size {list(self.shape)} at "
                f"dimension {dim}. Expected {-size} to {size - 1}."
            )
        return self._without(dim, self.offset + index % size * self.strides[dim])

    def narrow(self, dim: int, start: int, length: int) -> Layout:
        """Return the layout of entries `start` to `start + length - 1` along `dim`.

        Raises:
            ShapeError: the range leaves the dimension, `length` is negative, or 0-d.
            ClgradIndexError: `dim` or `start` is out of range.
        """
        if not self.shape:
            raise ShapeError("narrow: narrow() cannot be applied to a 0-dim tensor.")
        if length < 0:
            raise ShapeError(f"narrow: length must be non-negative, got {length}.")
        dim = wrap_dim(dim, self.ndim, "narrow")
        size, stride = self.shape[dim], self.strides[dim]
        where = f"at dimension {dim} of shape {self.shape}"
        if not -size <= start <= size:
            raise ClgradIndexError(
                f"narrow: start out of range (expected to be in range of [{-size}, {size}], "
                f"but got {start}) {where}."
            )
        start = start + size if start < 0 else start
        if start + length > size:
            raise ShapeError(
                f"narrow: start ({start}) + length ({length}) exceeds dimension size ({size}) "
                f"{where}."
            )
        return self._with(dim, length, stride, self.offset + start * stride)

    def slice(
        self, dim: int, start: int | None = None, stop: int | None = None, step: int = 1
    ) -> Layout:
        """Return the layout of `[start:stop:step]` along `dim`, with Python's clamping.

        Raises:
            ClgradValueError: `step` is not positive.
            ClgradIndexError: `dim` is out of range, or there is no dimension.
        """
        if not self.shape:
            raise ClgradIndexError("slice: slice() cannot be applied to a 0-dim tensor.")
        dim = wrap_dim(dim, self.ndim, "slice")
        if step <= 0:
            raise ClgradValueError(
                f"slice: step must be greater than zero, got {step}. "
                "Hint: flip(dim) reverses a dimension."
            )
        picked = range(self.shape[dim])[start:stop:step]
        stride = self.strides[dim]
        return self._with(dim, len(picked), stride * step, self.offset + picked.start * stride)

    def flip(self, dims: Sequence[int]) -> Layout:
        """Return the layout that goes backwards along `dims`; only to read through.

        Raises:
            ShapeError: a dimension is named twice. ClgradIndexError: one is out of range.
        """
        turned = [wrap_dim(d, self.ndim, "flip") for d in dims]
        if len(set(turned)) != len(turned):
            raise ShapeError(f"flip: dim appears multiple times in the list of dims {list(dims)}.")
        strides, offset = list(self.strides), self.offset
        for d in turned:
            if self.shape and self.shape[d] > 1:
                offset += (self.shape[d] - 1) * strides[d]
                strides[d] = -strides[d]
        return Layout(self.shape, tuple(strides), offset)

    def squeeze(self, dim: int | Sequence[int] | None = None) -> Layout:
        """Return the layout without the dimensions of size 1 among `dim` (default: all)."""
        if dim is None:
            drop = set(range(self.ndim))
        else:
            dims = (dim,) if isinstance(dim, int) else tuple(dim)
            drop = {wrap_dim(d, self.ndim, "squeeze") for d in dims}
            if len(drop) != len(dims):
                raise ShapeError(f"squeeze: dim appears multiple times in the list {dims}.")
        keep = [d for d, n in enumerate(self.shape) if n != 1 or d not in drop]
        return Layout(
            tuple([self.shape[d] for d in keep]),
            tuple([self.strides[d] for d in keep]),
            self.offset,
        )

    def unsqueeze(self, dim: int) -> Layout:
        """Return the layout with a dimension of size 1 inserted before `dim`."""
        dim = wrap_dim(dim, self.ndim + 1, "unsqueeze")
        shape, strides = self.shape, self.strides
        stride = shape[dim] * strides[dim] if dim < len(shape) else 1
        return Layout(
            (*shape[:dim], 1, *shape[dim:]), (*strides[:dim], stride, *strides[dim:]), self.offset
        )

    def diagonal(self, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Layout:
        """Return the layout of a diagonal, which becomes the last dimension.

        Raises:
            ShapeError: `dim1` and `dim2` are the same dimension.
            ClgradIndexError: `dim1` or `dim2` is out of range.
        """
        a, b = wrap_dim(dim1, self.ndim, "diagonal"), wrap_dim(dim2, self.ndim, "diagonal")
        if a == b:
            raise ShapeError(f"diagonal: diagonal dimensions cannot be identical {dim1}, {dim2}.")
        rows, columns = max(-offset, 0), max(offset, 0)
        size = max(min(self.shape[a] - rows, self.shape[b] - columns), 0)
        stride = self.strides[a] + self.strides[b]
        start = self.offset
        if size:
            start += rows * self.strides[a] + columns * self.strides[b]
        rest = self._without(max(a, b), start)._without(min(a, b), start)
        return Layout((*rest.shape, size), (*rest.strides, stride), start)

    def unfold(self, dim: int, size: int, step: int) -> Layout:
        """Return windows of `size` every `step` along `dim`; the window is the last dimension.

        Raises:
            ShapeError: a negative `size`, one larger than the dimension, or a `step` below 1.
            ClgradIndexError: `dim` is out of range.
        """
        dim = wrap_dim(dim, self.ndim, "unfold")
        limit, stride = (self.shape[dim], self.strides[dim]) if self.shape else (1, 1)
        if not 0 <= size <= limit or step <= 0:
            raise ShapeError(
                f"unfold: maximum size for tensor at dimension {dim} is {limit} but size is "
                f"{size}; step is {step} but must be > 0. Expected 0 <= size <= {limit}."
            )
        if not self.shape:
            return Layout((size,), (1,), self.offset)
        windows = self._with(dim, (limit - size) // step + 1, stride * step, self.offset)
        return Layout((*windows.shape, size), (*windows.strides, stride), self.offset)

    def as_strided(
        self, shape: Sequence[int], strides: Sequence[int], offset: int | None = None
    ) -> Layout:
        """Return any layout over the same storage; `offset` counts from the storage's start.

        Whether the storage is large enough is its owner's check (see `span`).

        Raises:
            ShapeError: lengths differ, or a number is negative.
        """
        shape, strides = tuple(shape), tuple(strides)
        offset = self.offset if offset is None else offset
        if len(shape) != len(strides) or min((offset, *shape, *strides)) < 0:
            raise ShapeError(
                f"as_strided: got size {shape}, stride {strides}, storage_offset {offset}. "
                "Expected as many strides as sizes. Negative strides, sizes and offsets are "
                "not supported."
            )
        return Layout(shape, strides, offset)

    def view(self, shape: Sequence[int], op: str = "view") -> Layout | None:
        """Return the layout that reads these elements, in order, as `shape`.

        One size may be -1. None where no strides can do it and a copy is needed.

        Raises:
            ShapeError: `shape` does not hold `numel` elements.
        """
        if shape == self.shape:
            return self
        shape = infer_size(shape, self.numel, op)
        if shape == self.shape:
            return self
        strides = view_strides(self.shape, self.strides, shape)
        return None if strides is None else Layout(shape, strides, self.offset)

    def reshape_dims(
        self, start: int, end: int, sizes: Sequence[int], op: str = "reshape"
    ) -> Layout | None:
        """Return the layout with dimensions `start` to `end` (included) read as `sizes`.

        This is `flatten` for one size and `unflatten` for one dimension; one size may be -1.
        None where a copy is needed.
        """
        start, end = wrap_dim(start, self.ndim, op), wrap_dim(end, self.ndim, op)
        if start > end:
            raise ShapeError(f"{op}: start_dim cannot come after end_dim, got {start} and {end}.")
        sizes = infer_size(sizes, prod(self.shape[start : end + 1]), op)
        return self.view((*self.shape[:start], *sizes, *self.shape[end + 1 :]), op)


@lru_cache(maxsize=4096)
def _contiguous(shape: Shape) -> Layout:
    return Layout(shape, contiguous_strides(shape))


# ---- several layouts at once ------------------------------------------------------------------


def collapse(layouts: Sequence[Layout]) -> tuple[Shape, list[Shape]]:
    """Merge neighbouring dimensions that all `layouts`, of one shape, step through as one.

    Dimensions of size 1 are dropped, the order is kept; an empty shape gives `(0,)`.

    Returns:
        The merged shape and, for each layout, its strides.
    """
    shape, strides = merge_dims_cached(
        layouts[0].shape, tuple([one.strides for one in layouts]), False
    )
    return shape, list(strides)


def permuted_collapse(layouts: Sequence[Layout]) -> tuple[Shape, list[Shape]]:
    """Do the same after sorting dimensions so that the first layout's strides descend.

    Ties are broken by the strides of the later layouts. Only for readers to whom the order of
    coordinates does not matter.
    """
    shape, strides = merge_dims_cached(
        layouts[0].shape, tuple([one.strides for one in layouts]), True
    )
    return shape, list(strides)


@lru_cache(maxsize=8192)
def compose(outer: Layout, inner: Layout) -> Layout | None:
    """Return the layout that reads through `outer` what `inner` lays out, if strides can say it.

    Args:
        outer: maps a reader's coordinates to flat indices into a contiguous tensor of
            `inner.shape`.
        inner: maps coordinates of that tensor to elements of a storage.

    Returns:
        The layout from the reader's coordinates straight to the storage, or None.

    Math:
        Each flat index is a number in the mixed radix of `inner.shape` (after merging). Stepping
        along a dimension of `outer` adds a signed digit vector; the sum is affine, hence a
        layout, if no digit can leave its range over the whole of `outer`. A dimension without
        elements counts as one of size 1: once it is folded away, what is left has elements.
    """
    if inner.is_contiguous:
        return Layout(outer.shape, outer.strides, outer.offset + inner.offset)
    if outer.shape == inner.shape and outer.offset == 0 and outer.is_contiguous:
        return inner
    radix, (steps,) = merge_dims(inner.shape, (inner.strides,))
    origin = digits_of(outer.offset, radix)
    if origin is None:
        return None
    low, high = list(origin), list(origin)
    strides: list[int] = []
    for size, stride in zip(outer.shape, outer.strides, strict=True):
        if size < 2 or stride == 0:
            strides.append(0)
            continue
        there = digits_of(outer.offset + stride, radix)
        if there is None:
            return None
        total = 0
        for d, step in enumerate(steps):
            delta = there[d] - origin[d]
            total += delta * step
            if delta < 0:
                low[d] += (size - 1) * delta
            else:
                high[d] += (size - 1) * delta
        strides.append(total)
    if min(low) < 0 or any(h >= n for h, n in zip(high, radix, strict=True)):
        return None
    offset = inner.offset + sum(c * s for c, s in zip(origin, steps, strict=True))
    return Layout(outer.shape, tuple(strides), offset)


def relation(a: Layout, b: Layout) -> Relation:
    """Say how two layouts over one storage touch.

    Returns:
        `identical`: equal coordinates hit equal elements; `disjoint`: no element is in both,
        proven by spans and residues within each period (this finds all range and step slices of
        one base that part along a dimension); else `overlapping`.
    """
    if a.offset == b.offset and a.shape == b.shape:
        triples = zip(a.shape, a.strides, b.strides, strict=True)
        if a.strides == b.strides or all(n == 1 or s == t for n, s, t in triples):
            return "identical"
    if 0 in a.shape or 0 in b.shape:
        return "disjoint"
    if never_meet(_steps(a), _steps(b), b.span[0] - a.span[0]):
        return "disjoint"
    return "overlapping"


def _steps(layout: Layout) -> tuple[tuple[int, int], ...]:
    """Return (stride, size) of each dimension along which the element changes."""
    dims = zip(layout.strides, layout.shape, strict=True)
    return tuple([(abs(s), n) for s, n in dims if s and n != 1])
