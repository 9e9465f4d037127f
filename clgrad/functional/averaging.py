"""Images at another size, where each new element is a weighted mean of all that it covers."""

from __future__ import annotations

from typing import Any

from clgrad.calls import function
from clgrad.creation import arange
from clgrad.dispatch import apply
from clgrad.functional.products import matmul
from clgrad.ops.registry import OPS, REQUIRED, Op, composite
from clgrad.tensor import Tensor

_where = function(OPS["where"])
_WORDS = {"bilinear": "Bilinear", "bicubic": "Bicubic", "lanczos": "Lanczos"}
_REACH = {"bilinear": 1, "bicubic": 2, "lanczos": 3}


def _height(mode: str, t: Any) -> Any:
    """Return a kernel's height at distance `t`, as far as it reaches.

    Source: R. Keys, IEEE Trans. ASSP 29 (1981), 1153-1160, with a = -0.5; C. Duchon, J. Appl.
    Meteorol. 18 (1979), 1016-1022, with a = 3.
    """
    if mode == "bilinear":
        return 1 - t
    if mode == "lanczos":
        return t.sinc() * (t / 3).sinc()
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return _where(t < 1, near, far)


def _weights(mode: str, size: int, new: int, scale: float, like: Any) -> Any:
    """Return the share of each old element in each new one, shape (new, size)."""
    dtype = like.dtype.compute
    centre = (arange(new, dtype=dtype, device=like.device) + 0.5) * scale
    place = arange(size, dtype=dtype, device=like.device) + 0.5
    t = (place - centre.unsqueeze(-1)).abs() * (1 / max(scale, 1.0))
    height = _where(t < _REACH[mode], _height(mode, t), 0)
    return height / height.sum(-1, keepdim=True)


def _forward(x: Any, size: Any, scales: Any, mode: str) -> Any:
    rows = _weights(mode, x.shape[-2], size[0], scales[0], x)
    columns = _weights(mode, x.shape[-1], size[1], scales[1], x)
    return matmul(rows, matmul(x.to(rows.dtype), columns.mT)).to(x.dtype)


def _backward(ctx: Any, g: Any) -> tuple[Any]:
    mode, size, scales = ctx.param("mode"), ctx.param("size"), ctx.param("scales")
    return (apply(_BACK[mode], (g,), (tuple(ctx.shape("x")[-2:]), size, scales, mode)),)


def _spread(g: Any, old: Any, size: Any, scales: Any, mode: str) -> Any:
    rows = _weights(mode, old[0], size[0], scales[0], g)
    columns = _weights(mode, old[1], size[1], scales[1], g)
    return matmul(rows.mT, matmul(g.to(rows.dtype), columns)).to(g.dtype)


def _spread_backward(ctx: Any, g: Any) -> tuple[Any]:
    mode = ctx.param("mode")
    return (apply(_RECORDS[mode], (g,), (ctx.param("size"), ctx.param("scales"), mode)),)


def _record(mode: str) -> Op:
    return composite(
        f"_upsample_{mode}2d_aa", "x", _forward, backward=_backward,
        params=tuple((name, REQUIRED) for name in ("size", "scales", "mode")),
        node_name=f"Upsample{_WORDS[mode]}2DAaBackward0", doc=f"Means of images, {mode}.",
    )  # fmt: skip


def _back_record(mode: str) -> Op:
    return composite(
        f"_upsample_{mode}2d_aa_backward", "x", _spread, backward=_spread_backward,
        params=tuple((name, REQUIRED) for name in ("old", "size", "scales", "mode")),
        node_name=f"Upsample{_WORDS[mode]}2DAaBackwardBackward0", doc=f"Means, spread, {mode}.",
    )  # fmt: skip


_RECORDS = {mode: _record(mode) for mode in _WORDS}
_BACK = {mode: _back_record(mode) for mode in _WORDS}


def averaged(input: Tensor, mode: str, size: tuple[int, ...], scales: tuple[float, ...]) -> Tensor:
    """Return images (N, C, H, W) at another size; `scales` are old elements per new one."""
    made: Tensor = apply(_RECORDS[mode], (input,), (size, scales, mode))
    return made
