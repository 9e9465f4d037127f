"""Every scalar function on every device: against float64 or NumPy, and the same bits per width."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from clgrad import dtypes
from clgrad.codegen.source import KernelSource, digest
from clgrad.dtypes import DType, bool_, float16, float32, float64, int32, int64, uint64
from clgrad.expr import (
    Expr,
    call,
    const,
    evaluate,
    free_names,
    helper_source,
    helpers_in,
    load_conversion,
    name,
    parse,
    render,
    store_conversion,
    typed,
)
from clgrad.expr.accuracy import ULP
from clgrad.expr.emit import vector_type
from clgrad.expr.functions import TABLE
from clgrad.expr.node import postorder

Array = Any
WIDTHS = (1, 4, 16)
COUNT = 16384
INTEGERS = tuple(d for d in dtypes.ALL if d.is_integral)


@pytest.fixture(autouse=True)
def _host_arithmetic_is_silent() -> Iterator[None]:
    """Infinities and NaN are what is tested here."""
    with np.errstate(all="ignore"):
        yield


@dataclass(frozen=True)
class Job:
    """One typed formula over stored leaves."""

    expr: Expr
    leaves: tuple[tuple[str, DType], ...]

    def parameters(self, tag: str, width: int) -> list[str]:
        target = self.expr.dtype
        assert target is not None
        reads = [f"__global const {vector_type(d.cl, width)} *in{tag}_{x}" for x, d in self.leaves]
        return [*reads, f"__global {vector_type(target.cl, width)} *out{tag}"]

    def lines(self, tag: str, width: int) -> list[str]:
        """Return the lines that compute element `n`, in a block of their own."""
        lines = []
        for label, dtype in self.leaves:
            register = vector_type(dtype.register, width)
            raw = load_conversion(dtype, width, f"in{tag}_{label}[n]")
            lines.append(f"const {register} {label} = {raw};")
        rendered = render([self.expr], {label: label for label, _ in self.leaves}, width)
        lines += rendered.statements
        target = self.expr.dtype
        assert target is not None
        lines.append(f"out{tag}[n] = {store_conversion(target, width, rendered.results[0])};")
        return ["{", *lines, "}"]


TOGETHER = 24
"""Functions of one kernel: building kernels is what these tests spend their time on."""


def source(jobs: list[Job], width: int) -> KernelSource:
    """Return one kernel that runs several jobs, each in a block of its own."""
    tagged = [(str(k), job) for k, job in enumerate(jobs)]
    body = "\n    ".join(line for tag, job in tagged for line in job.lines(tag, width))
    params = [p for tag, job in tagged for p in job.parameters(tag, width)]
    label = f"cg_test_{digest(body, *params)}"
    text = f"__kernel void {label}({', '.join(params)})\n{{\n"
    text += f"    const int n = get_global_id(0);\n    {body}\n}}\n"
    helpers = tuple(helper_source(k, width) for k in helpers_in(body))
    return KernelSource(label, text, helpers, args=("buffer",) * len(params))


def run(device: Any, jobs: list[Job], inputs: list[tuple[Array, ...]], width: int) -> list[Array]:
    """Return the stored results of all jobs, built as one program."""
    batches: list[list[int]] = []
    for k, arrays in enumerate(inputs):
        fits = batches and inputs[batches[-1][0]][0].size == arrays[0].size
        if not fits or len(batches[-1]) == TOGETHER:
            batches.append([])
        batches[-1].append(k)
    kernels = device.kernels([source([jobs[k] for k in batch], width) for batch in batches])
    results: list[Array] = []
    for batch, kernel in zip(batches, kernels, strict=True):
        count = inputs[batch[0]][0].size
        assert count % width == 0
        buffers, outs = [], []
        for k in batch:
            for array in inputs[k]:
                buffer = device.allocate(array.nbytes)
                device.write(buffer, np.ascontiguousarray(array))
                buffers.append(buffer)
            target = jobs[k].expr.dtype
            assert target is not None
            result = np.empty(count, target.numpy)
            out = device.allocate(result.nbytes)
            buffers.append(out)
            outs.append((out, result))
        kernel(tuple(buffers), (count // width,), None)
        for out, result in outs:
            device.read(out, result)
            results.append(result)
    return results


def job(fn: str, dtype: DType, *stored: DType) -> Job:
    """Return the job of one function of the table with operands of `dtype`, stored as such."""
    params = TABLE[fn].params
    kept = stored or (dtype,) * len(params)
    leaves = tuple(zip(params, kept, strict=True))
    env = {p: name(p, d) for p, d in leaves}
    return Job(typed(call(fn, *[name(p) for p in params]), env, dtype), leaves)


def assert_same_bits(label: str, a: Array, b: Array) -> None:
    unequal = (a != b) & ~((a != a) & (b != b))
    assert not unequal.any(), f"{label}: {unequal.sum()} differ: {a[unequal][:3]}, {b[unequal][:3]}"


def has_float64(device: Any) -> bool:
    return bool(device.context.devices[0].double_fp_config)


def samples(rng: np.random.Generator, dtype: np.dtype[Any], count: int = COUNT) -> Array:
    """Return floats from everywhere: bends, whole numbers, all exponents, special values."""
    quarter = count // 4
    if dtype == np.float32:
        anything = rng.integers(0, 2**32, quarter, dtype=np.uint32).view(np.float32)
    else:
        anything = rng.normal(size=quarter) * 10.0 ** rng.uniform(-30, 30, quarter)
    parts = (rng.normal(size=quarter) * 3, rng.uniform(-1, 1, quarter), anything,
             rng.uniform(-110, 110, quarter))  # fmt: skip
    values = np.concatenate([np.asarray(p, dtype) for p in parts])
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0]
    values[: len(special)] = special
    rng.shuffle(values[: len(special)])
    return values


def ulps(got: Array, exact: Array) -> Array:
    """Return errors in units in the last place, where both are normal numbers."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(got.dtype)
        tiny = np.finfo(got.dtype).tiny
        normal = np.isfinite(rounded) & np.isfinite(got) & (np.abs(exact) > tiny)
        error = np.abs(got.astype(np.float64) - exact) / np.spacing(np.abs(rounded))
    return np.where(normal, error, 0.0)


def test_float32_functions_are_as_exact_as_stated_and_equal_at_every_width(device: Any) -> None:
    rng = np.random.default_rng(1)
    names = list(ULP)
    jobs = [job(fn, float32) for fn in names]
    data = []
    for fn in names:
        a, b = samples(rng, np.dtype(np.float32)), samples(rng, np.dtype(np.float32))
        b[::7] = np.round(b[::7])
        data.append((a, b)[: TABLE[fn].arity])
    results = {width: run(device, jobs, data, width) for width in WIDTHS}
    for k, fn in enumerate(names):
        got = results[1][k]
        for width in WIDTHS[1:]:
            assert_same_bits(f"{fn} at width {width}", got, results[width][k])
        with np.errstate(all="ignore"):
            exact = np.asarray(TABLE[fn].numpy(*[x.astype(np.float64) for x in data[k]]))
            rounded = exact.astype(np.float32)
        error = ulps(got, exact)
        worst = int(error.argmax())
        at = tuple(x[worst] for x in data[k])
        assert error[worst] <= ULP[fn] + 0.5, f"{fn}{at}: {error[worst]} ulp"
        assert np.array_equal(np.isnan(got), np.isnan(rounded)), fn
        # Overflow may set in within the last ulps of the range, nowhere else.
        edge = np.isinf(got) != np.isinf(rounded)
        assert (np.abs(exact[edge]) > 3.4028e38).all(), fn
        zero = (exact == 0) & (got == 0)
        assert np.array_equal(np.signbit(got[zero]), np.signbit(exact[zero])), fn
        small = (np.abs(exact) < np.finfo(np.float32).tiny) & ~np.isnan(exact)
        assert (np.abs(got[small]) <= 1.2e-38).all(), fn


def test_gamma_functions_are_close_in_the_absolute(device: Any) -> None:
    x = np.random.default_rng(2).uniform(-8, 60, 4096).astype(np.float32)
    x = x[np.abs(x - np.round(x)) > 1e-3][:4064]
    names = ["lgamma", "digamma", "trigamma"]
    jobs = [job(fn, float32) for fn in names]
    at_one, at_16 = (run(device, jobs, [(x,)] * 3, w) for w in (1, 16))
    for k, fn in enumerate(names):
        assert_same_bits(fn, at_one[k], at_16[k])
        exact = TABLE[fn].numpy(x.astype(np.float64))
        np.testing.assert_allclose(at_one[k], exact, rtol=4e-6, atol=1e-6, err_msg=fn)


def test_float64_functions_use_the_same_form_of_a_built_in_at_every_width(device: Any) -> None:
    if not has_float64(device):
        pytest.skip("the device has no float64")
    rng = np.random.default_rng(3)
    names = [f for f, r in TABLE.items() if r.takes == "f" and "float16" not in f]
    names += ["pow", "abs", "sign", "maximum"]
    names += ["minimum", "fmax", "fmin", "remainder", "floor_divide", "fmod", "trunc_divide"]
    jobs = [job(fn, float64) for fn in names]
    data = []
    for fn in names:
        a = rng.uniform(-20, 20, 4096)
        a[: a.size // 2] = rng.uniform(-1, 1, a.size // 2)
        a[:5] = [0.0, np.inf, -np.inf, np.nan, 1.0]
        b = np.round(rng.uniform(-20, 20, 4096) * 2) / 2
        data.append((a, b)[: TABLE[fn].arity])
    at_one, at_8 = (run(device, jobs, data, w) for w in (1, 8))
    for k, fn in enumerate(names):
        assert_same_bits(fn, at_one[k], at_8[k])
        with np.errstate(all="ignore"):
            exact = TABLE[fn].numpy(*data[k])
        loose = 1e-12 if fn in ("lgamma", "digamma", "trigamma", "zeta") else 2e-14
        np.testing.assert_allclose(at_one[k], exact, rtol=loose, atol=loose, err_msg=fn)


@pytest.mark.parametrize("width", [1, 16])
@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
def test_integer_functions_are_exact_and_wrap(device: Any, dtype: DType, width: int) -> None:
    rng = np.random.default_rng(4)
    info = np.iinfo(dtype.numpy)
    # NumPy has no integer power of a negative exponent; ours is tested with small ones too.
    a = rng.integers(info.min, info.max, 1024, dtype.numpy, endpoint=True)
    b = rng.integers(info.min, info.max, 1024, dtype.numpy, endpoint=True)
    a[:6] = [info.min, info.min, info.max, 0, 1, info.max]
    b[:6] = [info.max, 0, info.max, 0, 0, 1]
    if dtype.is_signed:
        b[6:20] = -1
        a[6] = info.min
    b[20:700] = rng.integers(0 if dtype.kind == "u" else -9, 9, 680)
    names = [f for f, r in TABLE.items() if dtype.kind in r.takes and not f.startswith("random")]
    names = [f for f in names if f not in ("cast", "where")]
    jobs = [job(fn, dtype) for fn in names]
    data = [(a, b)[: TABLE[fn].arity] for fn in names]
    results = run(device, jobs, data, width)
    for fn, one, got, arrays in zip(names, jobs, results, data, strict=True):
        wanted = evaluate(one.expr, dict(zip(TABLE[fn].params, arrays, strict=True)))
        assert got.dtype == wanted.dtype
        wrong = got != wanted
        shown = [x[wrong][:3] for x in (*arrays, got, wanted)]
        assert not wrong.any(), f"{fn} of {dtype.name}: {shown}"


@pytest.mark.parametrize("width", [1, 16])
def test_bool_functions(device: Any, width: int) -> None:
    a = np.array([False, False, True, True] * 4)
    b = np.array([False, True] * 8)
    names = [f for f, r in TABLE.items() if "b" in r.takes and f not in ("cast", "where")]
    names = [f for f in names if not f.startswith("random")]
    jobs = [job(fn, bool_) for fn in names]
    data = [(a, b)[: TABLE[fn].arity] for fn in names]
    for fn, got, arrays in zip(names, run(device, jobs, data, width), data, strict=True):
        with np.errstate(all="ignore"):
            wanted = np.asarray(TABLE[fn].numpy(*arrays), bool)
        assert np.array_equal(got, wanted), fn


@pytest.mark.parametrize("width", [1, 16])
def test_float_selections_and_predicates(device: Any, width: int) -> None:
    rng = np.random.default_rng(5)
    names = ["abs", "sign", "neg", "floor", "ceil", "round", "trunc", "isnan", "isinf", "isfinite",
             "maximum", "minimum", "fmax", "fmin", "lt", "le", "gt", "ge", "eq", "ne", "fmod",
             "remainder", "floor_divide", "trunc_divide", "add", "sub", "mul"]  # fmt: skip
    a, b = (rng.integers(-6, 6, (2, 256)) / 2).astype(np.float32)
    a[:8] = [np.nan, np.nan, 1, np.inf, -np.inf, np.inf, 3e9, -1e-45]
    b[:8] = [1, np.nan, np.nan, 1, np.inf, np.nan, 7, 2]
    data = [(a, b)[: TABLE[fn].arity] for fn in names]
    jobs = [job(fn, float32) for fn in names]
    for fn, got, arrays in zip(names, run(device, jobs, data, width), data, strict=True):
        with np.errstate(all="ignore"):
            wanted = TABLE[fn].numpy(*arrays)
        np.testing.assert_array_equal(got, wanted, err_msg=fn)


def castable(source: DType, target: DType) -> Array:
    """Return stored values of `source` that `target` is defined for (C leaves the rest open)."""
    rng = np.random.default_rng(6)
    if source is bool_:
        return rng.integers(0, 2, 256).astype(bool)
    if source.is_integral:
        info = np.iinfo(source.numpy)
        return rng.integers(info.min, info.max, 256, source.numpy, endpoint=True)
    values = np.concatenate([rng.normal(size=128) * 50, rng.normal(size=128) * 1e-6])
    if target.kind == "u":
        values = np.abs(values)
    if target.is_floating_point or target is bool_:
        values[:4] = [np.nan, np.inf, 1e30, -0.0]
    else:
        values = np.clip(values, -100, 100)
    if source is dtypes.bfloat16:
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    with np.errstate(over="ignore"):
        return values.astype(source.numpy)


@pytest.mark.parametrize("width", [1, 16])
def test_every_conversion(device: Any, width: int) -> None:
    known = [d for d in dtypes.ALL if d is not float64 or has_float64(device)]
    pairs = [(s, t) for s in known for t in known]
    jobs = [Job(call("cast", name("x", s), dtype=t), (("x", s),)) for s, t in pairs]
    data = [(castable(s, t),) for s, t in pairs]
    results = run(device, jobs, data, width)
    for (s, t), one, got, (x,) in zip(pairs, jobs, results, data, strict=True):
        wanted = evaluate(one.expr, {"x": x})
        if t is dtypes.bfloat16:
            got = (got.astype(np.uint32) << 16).view(np.float32)
        np.testing.assert_array_equal(got, wanted, err_msg=f"{s.name} to {t.name}")


@pytest.mark.parametrize("width", [1, 16])
def test_every_half_survives_and_every_tie_rounds_to_even(device: Any, width: int) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    halves = bits.view(np.float16)
    number = ~np.isnan(halves)
    load = Job(call("cast", name("x", float16), dtype=float32), (("x", float16),))
    (loaded,) = run(device, [load], [(halves,)], width)
    np.testing.assert_array_equal(loaded, halves.astype(np.float32))
    # Between neighbours: the middle, and the floats on both sides of it.
    with np.errstate(all="ignore"):
        middle = (loaded.astype(np.float64) + np.roll(loaded, 1).astype(np.float64)) / 2
        middle = middle.astype(np.float32)
    near = np.concatenate([np.nextafter(middle, np.float32(s)) for s in (-np.inf, np.inf)])
    values = np.concatenate([loaded[number], middle, near])
    values = values[: values.size // 16 * 16]
    store = Job(call("cast", name("x", float32), dtype=float16), (("x", float32),))
    inner = call("cast", store.expr, dtype=float32)
    stored, rounded = run(device, [store, Job(inner, store.leaves)], [(values,)] * 2, width)
    with np.errstate(over="ignore"):
        wanted = values.astype(np.float16)
    np.testing.assert_array_equal(stored, wanted)
    ok = ~np.isnan(wanted)
    assert np.array_equal(stored.view(np.uint16)[ok], wanted.view(np.uint16)[ok])
    np.testing.assert_array_equal(rounded, wanted.astype(np.float32))


@pytest.mark.parametrize("width", [1, 8])
def test_random_numbers_equal_the_host_bit_for_bit(device: Any, width: int) -> None:
    i = np.arange(4096, dtype=np.int64)
    seed = np.full(i.size, 0x1234_5678_9ABC_DEF0, np.uint64)
    offset = np.full(i.size, 2**32 - 100, np.uint64)
    leaves = (("i", int64), ("seed", uint64), ("offset", uint64))
    env = {label: name(label, d) for label, d in leaves}
    computes = [float32, float64] if has_float64(device) else [float32]
    jobs = [Job(typed(parse("random_bits(i, seed, offset)"), env, int32), leaves)]
    for dtype in computes:
        for kind in ("uniform", "normal", "exponential"):
            jobs += [Job(typed(parse(f"random_{kind}(i, seed, offset)"), env, dtype), leaves)]
    # one count is as good as 2**64, and one is more than 32 bits
    for count in (1, 7, 2**32 - 1, 2**32, 2**32 + 1, 3 * 2**61, 0):
        text = "random_integer(i, seed, offset, count)"
        counted = {**env, "count": const(count, uint64)}
        jobs += [Job(typed(parse(text), counted, int64), leaves)]
    results = run(device, jobs, [(i, seed, offset)] * len(jobs), width)
    for one, got in zip(jobs, results, strict=True):
        wanted = evaluate(one.expr, {"i": i, "seed": seed, "offset": offset})
        if one.expr.op in ("random_normal", "random_exponential"):
            tolerance = 1e-5 if one.expr.dtype is float32 else 1e-12
            np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
            mean = 0 if one.expr.op == "random_normal" else 1
            assert abs(got.mean() - mean) < 0.06
            assert abs(got.std() - 1) < 0.04
        else:
            np.testing.assert_array_equal(got, wanted)
            assert got.dtype == wanted.dtype


FORMULAS = {
    "gelu": "0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x ** 3)))",
    "clamped": "where(isnan(x), 0, minimum(maximum(x, -1), w)) if x != w and not (x > 2) else -x",
    "logic": "(x > 0 or w > 0) + (x < w) * (x >= -1) - (not (x == w))",
    "constants": "exp(-pi) * x + (2 if 1 < 2 else 3) + (3 > 2) + where(True, w, x) - (-pi)",
    "turned": "sin(x) - w * cos(x) + sin(abs(w)) * cos(abs(w))",
    "mixed": "float16(x) * w + bfloat16(w) / (1 + abs(x))",
}


@pytest.mark.parametrize("stored", [float32, float16, float64], ids=lambda d: d.name)
def test_fused_formulas_give_the_bits_of_their_parts(device: Any, stored: DType) -> None:
    if stored is float64 and not has_float64(device):
        pytest.skip("the device has no float64")
    rng = np.random.default_rng(7)
    x, w = (rng.normal(size=(2, 512)) * 2).astype(stored.numpy)
    leaves = (("x", stored), ("w", stored))
    env = {p: name(p, d) for p, d in leaves}
    exprs = [typed(parse(text), env, stored.compute) for text in FORMULAS.values()]
    jobs = [Job(expr, leaves) for expr in exprs]
    whole = [run(device, jobs, [(x, w)] * len(jobs), width) for width in WIDTHS]
    parts = stepwise(device, exprs, {"x": x, "w": w})
    for k, label in enumerate(FORMULAS):
        assert_same_bits(label, whole[0][k], whole[1][k])
        assert_same_bits(label, whole[0][k], whole[2][k])
        assert_same_bits(label, whole[0][k], parts[k])
        wanted = evaluate(exprs[k], {"x": x, "w": w})
        np.testing.assert_allclose(whole[0][k], wanted, rtol=3e-6, atol=3e-6, err_msg=label)


def stepwise(device: Any, exprs: list[Expr], data: dict[str, Array]) -> list[Array]:
    """Compute node by node through memory, at another width each time: what fusion must not change.

    Nodes of one depth share a kernel, each in a block of its own.
    """
    values: dict[Expr, Array] = {}
    depth: dict[Expr, int] = {}
    for node in postorder(tuple(exprs)):
        if node.op == "name":
            values[node] = data[str(node.value)]
        if node.op == "name" or not free_names(node):
            depth[node] = 0
        else:
            depth[node] = 1 + max(depth[arg] for arg in node.args)
    for level in range(1, max(depth.values()) + 1):
        nodes = [node for node in depth if depth[node] == level]
        steps = [_step(node) for node in nodes]
        jobs = [one for one, _ in steps]
        arrays = [tuple(values[arg] for arg in args) for _, args in steps]
        values.update(zip(nodes, run(device, jobs, arrays, WIDTHS[level % 3]), strict=True))
    return [values[expr] for expr in exprs]


def _step(node: Expr) -> tuple[Job, list[Expr]]:
    """Return the job of one node, and the nodes whose values it reads."""
    read = [arg for arg in node.args if free_names(arg)]
    operands, leaves = [], []
    for n, arg in enumerate(node.args):
        if free_names(arg):
            assert arg.dtype is not None
            leaves.append((f"p{n}", arg.dtype))
            operands.append(name(f"p{n}", arg.dtype))
        else:
            operands.append(arg)
    return Job(call(node.op, *operands, dtype=node.dtype), tuple(leaves)), read


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_a_sine_beside_its_cosines(device: Any, dtype: DType) -> None:
    """The compiler joins each pair to one call; a pair inside of a pair is what it must survive."""
    if dtype is float64 and not device.traits.fp64:
        pytest.skip("no float64")
    x = np.linspace(-3, 3, 64, dtype=dtype.numpy)
    expr = typed(parse("sin(sin(x)) - cos(sin(x)) * cos(x)", ["x"]), {"x": name("x", dtype)}, dtype)
    for width in WIDTHS:
        (made,) = run(device, [Job(expr, (("x", dtype),))], [(x,)], width)
        np.testing.assert_allclose(made, evaluate(expr, {"x": x}), rtol=1e-5, atol=1e-6)
