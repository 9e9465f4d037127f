"""Convolutions as the tuner's texts, with operands and what they must give.

    conv forward 8x64x56x56 128x64x3x3 stride=2 padding=1 float32

names the pass (`forward`, `input`, `weight`), the shapes of the images and of the weight, then
stride, padding, dilation and groups where they are not 1, 0, 1 and 1 (`stride=2x1` for each dim),
then the dtype, then the precision where it is `high` or `medium` and makes a difference
(`clgrad.set_float32_conv_precision`). Operands are contiguous.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clgrad.codegen.choice import Expected, expect, random_operand, valued
from clgrad.codegen.conv_choice import Channels, Choice, Groups, Planes, Points, Taps, Winograd
from clgrad.codegen.conv_problem import ConvProblem, Three, output_size
from clgrad.codegen.conv_winograd import suits
from clgrad.codegen.matmul_tuning import size_class
from clgrad.dtypes import ALL, DType, by_name
from clgrad.errors import ClgradValueError

_TEXT = re.compile(
    r"conv (forward|input|weight) (\d+(?:x\d+){2,4}) (\d+(?:x\d+){2,4})"
    r"((?: \w+=\d+(?:x\d+)*)*) (\w+)(?: (high|medium))?"
)
_DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}


def describe(p: ConvProblem) -> str | None:
    """Return the text of a problem, or None for one that is empty, strided or of two dtypes."""
    x = (p.batch, p.groups * p.in_channels, *p.size)
    w = (p.groups * p.out_channels, p.in_channels, *p.kernel)
    y = (p.batch, p.groups * p.out_channels, *p.out_size)
    a, b = {"forward": (x, w), "input": (y, w), "weight": (y, x)}[p.what]
    plain = _is_dense(a, p.a_strides) and _is_dense(b, p.b_strides)
    if not plain or p.a_dtype is not p.b_dtype or p.a_dtype is not p.out_dtype:
        return None
    if min(prod(x), prod(w), prod(y)) == 0 or p.out_size != output_size(p):
        return None
    first = next((d for d in range(2) if not _is_absent(p, d)), 2)
    settings = [
        f" {name}={_per_dim(getattr(p, name)[first:])}"
        for name, default in _DEFAULTS.items()
        if name != "groups" and set(getattr(p, name)[first:]) != {default}
    ]
    settings += [f" groups={p.groups}"] if p.groups > 1 else []
    image, weight = _joined((*x[:2], *x[2 + first :])), _joined((*w[:2], *w[2 + first :]))
    settings.append(f" {p.a_dtype.name}")
    settings += [f" {p.precision}"] if suits(p) else []
    return f"conv {p.what} {image} {weight}{''.join(settings)}"


def _is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    step = 1
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n > 1 and stride != step:
            return False
        step *= n
    return True


def _is_absent(p: ConvProblem, d: int) -> bool:
    """Whether a dim is one that only three-dimensional convolutions have."""
    found = (p.size[d], p.kernel[d], p.stride[d], p.padding[d], p.dilation[d])
    return found == (1, 1, 1, 0, 1)


def _joined(values: tuple[int, ...]) -> str:
    return "x".join(map(str, values))


def _per_dim(values: tuple[int, ...]) -> str:
    return _joined(values if len(set(values)) > 1 else values[:1])


def parse(text: str) -> ConvProblem:
    """Return the problem of a text."""
    found = _TEXT.fullmatch(text)
    if found is None or found[5] not in {dtype.name for dtype in ALL if dtype.kind != "b"}:
        raise ClgradValueError(
            f"tune: {text!r} is no convolution. Expected `conv forward 8x64x56x56 64x64x3x3 "
            "padding=1 float32`: the pass (forward, input or weight), the images, the weight, "
            "settings, the dtype."
        )
    x, w = (tuple(int(n) for n in found[k].split("x")) for k in (2, 3))
    settings: dict[str, tuple[int, ...]] = {name: (n,) for name, n in _DEFAULTS.items()}
    for setting in found[4].split():
        name, _, values = setting.partition("=")
        settings[name] = tuple(int(n) for n in values.split("x"))
    dims, groups = len(x) - 2, settings.pop("groups")[0]
    unknown = sorted(settings.keys() - _DEFAULTS.keys())
    if unknown or any(len(v) not in (1, dims) for v in settings.values()) or len(w) != len(x):
        raise ClgradValueError(
            f"tune: {text!r} has settings that do not fit. Expected {', '.join(_DEFAULTS)}, with "
            f"one number or one for each of {dims} dims, and a weight of as many dims."
        )
    stride, padding, dilation = (
        _three(v * (dims if len(v) == 1 else 1), _DEFAULTS[name]) for name, v in settings.items()
    )
    dtype = by_name(found[5])
    p = ConvProblem(
        found[1], x[0], groups, w[0] // max(groups, 1), w[1], _three(x[2:], 1), (0, 0, 0),
        _three(w[2:], 1), stride, padding, dilation, (), (), dtype, dtype, dtype,
        precision=found[6] or "highest",
    )  # fmt: skip
    fits = groups > 0 and x[1] == groups * w[1] and w[0] % groups == 0
    if not fits or min(*x, *w, *p.stride, *p.dilation) < 1 or min(output_size(p)) < 1:
        raise ClgradValueError(
            f"tune: {text!r} has shapes that do not fit or are empty. Expected as many channels "
            "of the images as groups times those of the weight, and windows that fit."
        )
    return _dense(p)


def _three(values: tuple[int, ...], fill: int) -> Three:
    a, b, c = (*(fill,) * (3 - len(values)), *values)
    return a, b, c


def _dense(p: ConvProblem) -> ConvProblem:
    """Return a problem with the result that its sizes give, and contiguous operands."""
    p = replace(p, out_size=output_size(p))
    a, b = _shapes(p)
    return replace(p, a_strides=_strides(a), b_strides=_strides(b))


def _shapes(p: ConvProblem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the operands."""
    shapes = {what: replace(p, what=what).shape for what in ("forward", "input", "weight")}
    y, x, w = shapes.values()
    return {"forward": (x, w), "input": (y, w), "weight": (y, x)}[p.what]


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[d + 1 :]) for d in range(len(shape)))


def key_of(text: str) -> str:
    """Return the text of the class of sizes: another number of images seldom is another class."""
    p = parse(text)
    found = describe(_dense(replace(p, batch=size_class(p.batch))))
    assert found is not None
    return found


# ---- checking -----------------------------------------------------------------------------------


def awkward(p: ConvProblem, choice: Choice) -> list[ConvProblem]:
    """Return problems with edges where the kernels of a choice have theirs."""
    rows, columns = getattr(choice, "rows", 0) or 6, getattr(choice, "columns", 0) or 2
    lanes = 16
    if isinstance(choice, Groups):
        points, channels = choice.breadth * rows, choice.height * columns
    elif isinstance(choice, Channels | Taps):
        points, channels = rows, columns * lanes
    elif isinstance(choice, Points):
        points, channels = columns * lanes, rows
    elif isinstance(choice, Winograd):
        points, channels = 4 * choice.tile, 9
    else:
        points, channels = lanes, rows if isinstance(choice, Planes) else 2
    found = []
    for batch, wide, deep in ((1, points + 1, 5), (3, 2 * points, 12), (2, points // 2 + 3, 17)):
        out_channels = channels + batch - 2
        in_channels = points + batch - 2 if p.what == "weight" else deep
        if p.what == "input":
            out_channels, in_channels = in_channels, out_channels
        size = (
            min(p.size[0], _reaching(p, 0, 2)),
            min(p.size[1], _reaching(p, 1, 3 + 2 * batch)),
            min(p.size[2], _reaching(p, 2, min(wide, 40))),
        )
        small = replace(
            p, epilogue=None, size=size, batch=min(p.batch, batch), groups=min(p.groups, 3),
            out_channels=max(1, min(p.out_channels, out_channels)),
            in_channels=max(1, min(p.in_channels, in_channels)),
        )  # fmt: skip
        found.append(_dense(small))
    return found


def _reaching(p: ConvProblem, d: int, points: int) -> int:
    """Return a size that has so many points, with a remainder where the stride leaves one."""
    window = (p.kernel[d] - 1) * p.dilation[d] + 1
    return max(1, (points - 1) * p.stride[d] + window - 2 * p.padding[d] + (p.stride[d] > 1))


def operands(p: ConvProblem, generator: np.random.Generator) -> list[NDArray[Any]]:
    """Return random operands."""
    a, b = _shapes(p)
    return [
        random_operand(p.a_dtype, prod(a), generator),
        random_operand(p.b_dtype, prod(b), generator),
    ]


def expected(p: ConvProblem, arrays: list[NDArray[Any]]) -> Expected:
    """Return the result, and bounds of the errors of its sums and of their rounding."""
    a, b = (
        valued(array, dtype).reshape(shape)
        for array, dtype, shape in zip(arrays, (p.a_dtype, p.b_dtype), _shapes(p), strict=True)
    )
    terms = {
        "forward": p.in_channels * prod(p.kernel),
        "input": p.out_channels * prod(p.kernel),
        "weight": p.batch * prod(p.out_size),
    }[p.what]
    magnitudes = _sums(p, np.abs(a), np.abs(b))
    if suits(p):  # a tile's errors are those of its largest terms, which its transforms enlarge
        magnitudes = np.full_like(magnitudes, 8 * magnitudes.max())
    return expect(_sums(p, a, b), magnitudes, terms, p.acc, p.out_dtype)


def _sums(p: ConvProblem, a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Compute a problem tap by tap, on images with zeros around them."""
    x_shape = (
        p.batch,
        p.groups,
        p.in_channels,
        *(n + 2 * q for n, q in zip(p.size, p.padding, strict=True)),
    )
    y_shape = (p.batch, p.groups, p.out_channels, *p.out_size)
    w_shape = (p.groups, p.out_channels, p.in_channels, *p.kernel)
    inner: Any = (..., *(slice(q, q + n) for q, n in zip(p.padding, p.size, strict=True)))
    x, y, w = np.zeros(x_shape, a.dtype), np.zeros(y_shape, a.dtype), np.zeros(w_shape, a.dtype)
    if p.what != "input":
        x[inner] = (a if p.what == "forward" else b).reshape(x[inner].shape)
    if p.what != "forward":
        y[:] = a.reshape(y_shape)
    if p.what != "weight":
        w[:] = b.reshape(w_shape)
    for tap in product(*map(range, p.kernel)):
        reads = tuple(
            slice(k * d, k * d + (n - 1) * s + 1, s)
            for k, d, n, s in zip(tap, p.dilation, p.out_size, p.stride, strict=True)
        )
        at: Any = (..., *reads)
        of: Any = (..., *tap)
        if p.what == "forward":
            y += np.einsum("bgi...,goi->bgo...", x[at], w[of])
        elif p.what == "input":
            x[at] += np.einsum("bgo...,goi->bgi...", y, w[of])
        else:
            w[of] = np.einsum("bgoxyz,bgixyz->goi", y, x[at])
    made: NDArray[Any] = {"forward": y, "input": x[inner], "weight": w}[p.what]
    return made.reshape(p.shape)


def result(p: ConvProblem) -> tuple[int, DType]:
    """Return the number of elements of the result, and their dtype."""
    return prod(p.shape), p.out_dtype


def work(p: ConvProblem) -> float:
    """Return the multiplications and additions, those with zeros included."""
    return 2.0 * p.products
