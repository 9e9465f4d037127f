"""What is known of a tensor without its values: dtype, layout, device; interned.

Interning makes a `Meta` a key that costs one identity hash, which is what lets recording be one
dictionary lookup. It is not a tensor: it holds no storage and no autograd state.
"""

from __future__ import annotations

from typing import Any

from clgrad.dtypes import DType
from clgrad.layout import Layout

LIMIT = 1 << 16
"""Entries after which an intern table starts anew (old metas stay valid, sharing is lost)."""


class Meta:
    """Dtype, layout and device of a tensor. Compare by identity; make with `meta_of`.

    `device` is opaque here (anything hashable); `contiguous` means row-major from offset 0.
    """

    __slots__ = ("contiguous", "device", "dtype", "layout", "ndim", "numel", "shape")

    def __init__(self, dtype: DType, layout: Layout, device: Any) -> None:
        self.dtype = dtype
        self.layout = layout
        self.device = device
        self.shape = layout.shape
        self.ndim = len(layout.shape)
        self.numel = layout.numel
        self.contiguous = layout.offset == 0 and layout.is_contiguous

    def __repr__(self) -> str:
        return f"Meta({self.dtype.name}, {self.layout}, {self.device})"


_table: dict[tuple[DType, Layout, Any], Meta] = {}


def meta_of(dtype: DType, layout: Layout, device: Any) -> Meta:
    """Return the one `Meta` for these three."""
    key = (dtype, layout, device)
    found = _table.get(key)
    if found is None:
        if len(_table) > LIMIT:
            _table.clear()
        found = _table.setdefault(key, Meta(dtype, layout, device))
    return found


def fresh_meta(dtype: DType, shape: tuple[int, ...], device: Any) -> Meta:
    """Return the meta of a new contiguous tensor."""
    return meta_of(dtype, Layout.contiguous(shape), device)
