"""Reading through windows: what is padded, embedded or rolled fuses with its readers."""

from __future__ import annotations

from functools import lru_cache

from clgrad import dispatch
from clgrad.dispatch import fresh
from clgrad.layout import Layout
from clgrad.ops.meta import Meta, meta_of
from clgrad.ops.registry import OPS
from clgrad.ops.signature import Signature, signature
from clgrad.tensor import Tensor
from clgrad.windowed import Windowed, embedded, framed, rolled


def _through(x: Meta, layout: Windowed) -> Signature:
    return signature(OPS["copy"], (meta_of(x.dtype, layout, x.device),), ())


def _read(x: Tensor, sig: Signature, zeros: bool) -> Tensor:
    value = x._storage.value
    made = dispatch.backend.record(sig, (value,), ())
    if value.bounds is not None:
        low, high = value.bounds
        made.bounds = (min(low, 0), max(high, 0)) if zeros else (low, high)
    return fresh(made, sig.meta)


def roll(x: Tensor, starts: tuple[tuple[int, int], ...]) -> Tensor:
    """Return `x` from entry `start` of each dim `d` on, around its end: pairs (d, start)."""
    return _read(x, _rolled(x._meta, starts), zeros=False)


def frame(x: Tensor, shape: tuple[int, ...], before: tuple[int, ...]) -> Tensor | None:
    """Return `x` with zeros around it as `shape`; None where nothing of it is inside."""
    sig = _framed(x._meta, shape, before)
    return None if sig is None else _read(x, sig, zeros=True)


def embed(x: Tensor, place: Layout, shape: tuple[int, ...]) -> Tensor | None:
    """Return zeros of `shape` with `x` at `place`; None where that is no window."""
    sig = _embedded(x._meta, place, shape)
    return None if sig is None else _read(x, sig, zeros=True)


@lru_cache(maxsize=1024)
def _rolled(x: Meta, starts: tuple[tuple[int, int], ...]) -> Signature:
    return _through(x, rolled(x.layout, dict(starts)))


@lru_cache(maxsize=1024)
def _framed(x: Meta, shape: tuple[int, ...], before: tuple[int, ...]) -> Signature | None:
    layout = framed(x.layout, shape, before)
    return None if layout is None else _through(x, layout)


@lru_cache(maxsize=1024)
def _embedded(x: Meta, place: Layout, shape: tuple[int, ...]) -> Signature | None:
    layout = embedded(x.layout, place, shape)
    return None if layout is None else _through(x, layout)
