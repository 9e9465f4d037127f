"""Tensors as text, laid out as PyTorch does: values in columns, then what they do not tell.

What is large is shown by its corners; of a large tensor only these are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from clgrad import creation, host
from clgrad.batching import leave, own_of
from clgrad.dtypes import bool_, get_default_dtype, int64
from clgrad.errors import AutogradError, ClgradValueError
from clgrad.functional.joining import cat
from clgrad.tape.grad_mode import no_grad
from clgrad.tape.inplace import requires_grad_of
from clgrad.tape.tangents import forward, tangent_of
from clgrad.tensor import Tensor

Array = Any


@dataclass(frozen=True)
class Options:
    """How tensors are printed.

    Attributes:
        precision: digits after the point.
        threshold: elements from which on only corners are shown.
        edgeitems: how many at each end of a dimension.
        linewidth: columns.
        sci_mode: scientific notation always or never; None: where it is shorter.
    """

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": Options(),
    "short": Options(precision=2, edgeitems=2),
    "full": Options(threshold=math.inf),
}
_options = Options()


def set_printoptions(
    precision: int | None = None, threshold: float | None = None, edgeitems: int | None = None,
    linewidth: int | None = None, profile: str | None = None, sci_mode: bool | None = None,
) -> None:  # fmt: skip
    """Set how tensors are printed; see `Options`. What is None stays, but for `sci_mode`.

    Args:
        profile: `default`, `short` or `full`, which the others then change.

    Raises:
        ClgradValueError: there is no such profile.
    """
    global _options
    made = _options
    if profile is not None:
        if profile not in _PROFILES:
            raise ClgradValueError(
                f"set_printoptions: no profile is called {profile!r}. Expected one of "
                f"{', '.join(_PROFILES)}."
            )
        made = _PROFILES[profile]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems,
             "linewidth": linewidth}  # fmt: skip
    changed: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    _options = replace(made, sci_mode=sci_mode, **changed)


def get_printoptions() -> dict[str, Any]:
    """Return how tensors are printed, as a dictionary."""
    return asdict(_options)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Print otherwise inside a `with` block."""
    global _options
    former = _options
    set_printoptions(**options)
    try:
        yield
    finally:
        _options = former


# ---- numbers -------------------------------------------------------------------------------------


class _Column:
    """The one format of all numbers of a tensor.

    Attributes:
        width: of the longest, to which all are filled up.
    """

    def __init__(self, array: Array, options: Options) -> None:
        self.precision = options.precision
        self.floating = array.dtype.kind == "f"
        self.whole, self.scientific, self.width = True, False, 1
        values = array.reshape(-1)
        if not self.floating:
            self.width = max([len(str(v)) for v in values.tolist()], default=1)
            return
        values = values[np.isfinite(values) & (values != 0)].astype(np.float64)
        if values.size:
            sizes = np.abs(values)
            least, most = float(sizes.min()), float(sizes.max())
            self.whole = bool((values == np.ceil(values)).all())
            self.scientific = most / least > 1000 or most > 1e8 or (not self.whole and least < 1e-4)
            if options.sci_mode is not None:
                self.scientific = options.sci_mode
            self.width = max(len(self._number(v)) for v in values.tolist())

    def _number(self, value: float) -> str:
        if not self.floating:
            return str(value)
        if self.scientific:
            return f"{value:.{self.precision}e}"
        if self.whole:
            return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"
        return f"{value:.{self.precision}f}"

    def __call__(self, value: float) -> str:
        text: str = self._number(value).rjust(self.width)
        return text


def _row(values: Array, cut: bool, indent: int, column: _Column, options: Options) -> str:
    """Write one dimension, in as many lines as it needs."""
    edge = options.edgeitems
    words = [column(v) for v in values.tolist()]
    if cut:
        words[edge:edge] = [" ..."] if edge else ["..."]
    per_line = max(1, (options.linewidth - indent) // (column.width + 2))
    lines = [", ".join(words[k : k + per_line]) for k in range(0, len(words), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _block(values: Array, cut: list[bool], indent: int, column: _Column, options: Options) -> str:
    if not values.ndim:
        return str(column(values.item()))
    if values.ndim == 1:
        return _row(values, cut[0], indent, column, options)
    parts = [_block(v, cut[1:], indent + 1, column, options) for v in values]
    if cut[0]:
        parts.insert(options.edgeitems, "...")
    between: str = "," + "\n" * (values.ndim - 1) + " " * (indent + 1)
    return f"[{between.join(parts)}]"


_READ = 1 << 20
"""Elements up to which a tensor is read as a whole, which is quicker than to gather its corners."""


def _corners(x: Tensor, cut: list[bool], edge: int) -> Array:
    """Return the elements near the ends of the dimensions that are cut."""
    if x.numel() > _READ:
        with no_grad():
            x = x.detach()
            for d, short in enumerate(cut):
                if short:
                    n = x.shape[d]
                    x = cat([x.narrow(d, 0, edge), x.narrow(d, n - edge, edge)], d)
        return host.array_of(x)
    array = host.array_of(x)
    for d, short in enumerate(cut):
        if short:
            n = array.shape[d]
            array = array.take([*range(edge), *range(n - edge, n)], axis=d)
    return array


def _values(x: Tensor, indent: int, options: Options) -> str:
    large = x.numel() > options.threshold
    cut = [large and n > 2 * options.edgeitems for n in x._meta.shape]
    array = _corners(x, cut, options.edgeitems) if large else host.array_of(x)
    array = array.reshape([2 * options.edgeitems if c else n
                           for c, n in zip(cut, x._meta.shape, strict=True)])  # fmt: skip
    return _block(array, cut, indent, _Column(array, options), options)


# ---- the whole -----------------------------------------------------------------------------------


def shown(x: Tensor) -> str:
    """Return a tensor as text: its values, and of size, dtype, device and history what is unusual.

    Waits for the device.
    """
    samples = own_of(x._storage.value)
    if samples:
        level = samples[-1]
        with no_grad():
            value = shown(leave(x, level))
        return f"BatchedTensor(lvl={level.number}, bdim=0, value=\n{value}\n)"
    meta, options = x._meta, _options
    kind = type(x).__name__
    prefix = "tensor(" if kind in ("Tensor", "Parameter") else f"{kind}("
    suffixes = []
    if meta.device != creation.get_default_device():
        suffixes.append(f"device='{getattr(meta.device, 'id', meta.device)}'")
    usual = meta.dtype is get_default_dtype()
    if meta.numel:
        text = _values(x, len(prefix), options)
        usual = usual or meta.dtype in (int64, bool_)
    else:
        text = "[]"
        if meta.ndim != 1:
            suffixes.append(f"size={tuple(meta.shape)}")
    if not usual:
        suffixes.append(f"dtype={meta.dtype!r}")
    try:
        node = x.grad_fn
    except AutogradError:
        suffixes.append("grad_fn=<Invalid>")
    else:
        if node is not None:
            suffixes.append(f"grad_fn=<{type(node).__name__}>")
        elif requires_grad_of(x):
            suffixes.append("requires_grad=True")
    tangent = tangent_of(x) if forward.open else None
    if tangent is not None:
        suffixes.append(f"tangent={shown(tangent)}")
    made = _joined(prefix + text, suffixes, len(prefix), options.linewidth)
    return f"Parameter containing:\n{made}" if kind == "Parameter" else made


def _joined(text: str, suffixes: list[str], indent: int, linewidth: int) -> str:
    """Append suffixes, each on a new line where the last one is full."""
    length = len(text) - text.rfind("\n") + 1
    parts = [text]
    for suffix in suffixes:
        if length + len(suffix) + 2 > linewidth:
            parts.append(",\n" + " " * indent + suffix)
            length = indent + len(suffix)
        else:
            parts.append(", " + suffix)
            length += len(suffix) + 2
    return "".join(parts) + ")"
