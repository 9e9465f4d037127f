"""Matmul kernels on every device present, against NumPy in float64 (integers: exactly)."""

from __future__ import annotations

from dataclasses import replace
from math import gcd
from typing import Any

import numpy as np
import pytest

from clgrad import dtypes, expr
from clgrad.bringup.trial import Trial, stored
from clgrad.codegen.choice import valued
from clgrad.codegen.matmul import FAMILY, lower_matmul
from clgrad.codegen.matmul_form import MatmulProblem
from clgrad.codegen.matmul_tuning import Dot, Lanes, Slab
from clgrad.codegen.spec import Epilogue, ExtraOperand, Lowered, Prologue

FLOATS = [dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16]
INTS = [d for d in dtypes.ALL if d.is_integral]


def strides_of(view, batch):
    """Return element strides of a NumPy view of a matrix stack, broadcast over `batch`."""
    broadcast = np.broadcast_to(view, (*batch, *view.shape[-2:]))
    return tuple(s // view.itemsize for s in broadcast.strides)


def offset_of(view, base):
    address = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    return address // base.itemsize


def run(device, lowered: Lowered, arrays: dict[Any, Any], offsets: dict[Any, int], out):
    """Launch what was lowered, with the result poisoned before and its surroundings watched."""
    guard = 64
    buffers = {}
    for key, array in arrays.items():
        buffers[key] = device.allocate(max(array.nbytes, 1))
        if array.size:
            device.write(buffers[key], array)
    watched = np.full(out.size + guard, 77, out.dtype)
    buffers[("out",)] = device.allocate(watched.nbytes)
    device.write(buffers[("out",)], watched)
    for i, size in enumerate(lowered.temporaries):
        buffers[("temp", i)] = device.allocate(max(size, 1))
        device.fill(buffers[("temp", i)], np.uint8(0xFF), 0, size)  # NaN in every float type
    kernels = device.kernels([x.spec.render(device.traits) for x in lowered.launches])
    for kernel, launch in zip(kernels, lowered.launches, strict=True):
        args = []
        for arg in launch.args:
            if arg[0] == "int":
                args.append(arg[1])
            elif arg[0].endswith("offset"):
                args.append(offsets[arg])
            else:
                args.append(buffers[arg])
        kernel(tuple(args), launch.global_size, launch.local_size)
    device.read(buffers[("out",)], watched)
    assert (watched[out.size :] == 77).all(), "wrote past the end of the result"
    out[...] = watched[: out.size].reshape(out.shape)
    return out


def multiply(device, a, b, dtype, traits=None, bases=None):
    """Multiply two stored views (of `bases`) on the device; returns the stored result."""
    base_a, base_b = bases or (a, b)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    problem = MatmulProblem(
        a.shape[-2], b.shape[-1], a.shape[-1], batch, strides_of(a, batch), strides_of(b, batch),
        dtype, dtype, dtype,
        aligned=(gcd(offset_of(a, base_a), 4), gcd(offset_of(b, base_b), 4)),
    )  # fmt: skip
    lowered = lower_matmul(problem, traits or device.traits)
    out = np.empty((*batch, problem.m, problem.n), dtype.numpy)
    offsets = {("in_offset", 0): offset_of(a, base_a), ("in_offset", 1): offset_of(b, base_b)}
    return run(device, lowered, {("in", 0): base_a, ("in", 1): base_b}, offsets, out)


def check(device, a, b, dtype, traits=None, bases=None):
    """Multiply and compare: integers exactly, floats within a bound on their rounding errors."""
    got = valued(multiply(device, a, b, dtype, traits, bases), dtype)
    if dtype.is_integral:
        assert np.array_equal(got, np.matmul(a, b))
        return
    x, y = valued(a, dtype), valued(b, dtype)
    want = x @ y
    unit = 2.0**-53 if dtype is dtypes.float64 else 2.0**-24
    store = {dtypes.float16: 2.0**-11, dtypes.bfloat16: 2.0**-8}.get(dtype, unit)
    bound = (a.shape[-1] + 2) * unit * (np.abs(x) @ np.abs(y)) + store * np.abs(want) + 1e-7
    error = np.abs(got - want)
    assert (error <= bound).all(), f"off by {error.max()} where {bound.min()} was allowed"


def need(device, dtype):
    if dtype is dtypes.float64 and not device.traits.fp64:
        pytest.skip(f"{device} has no float64")


def gpu_flavour(device):
    """Return traits under which the GPU kernels are chosen for this device."""
    traits = device.traits
    return replace(traits, is_cpu=False, preferred_work_group=min(256, traits.max_work_group))


FLAVOURS = ["own", "gpu"]


def flavour_traits(device, flavour):
    return device.traits if flavour == "own" else gpu_flavour(device)


def matrices(rng, dtype, *shapes):
    if dtype.is_integral:
        info = np.iinfo(dtype.numpy)
        return [rng.integers(info.min, info.max, s, dtype.numpy, endpoint=True) for s in shapes]
    return [stored(rng.standard_normal(s), dtype) for s in shapes]


SHAPES = [
    (1, 1, 1), (33, 65, 17), (7, 1, 5), (1, 40, 1), (1, 9, 70), (70, 9, 1), (5, 0, 6), (12, 16, 32),
    (8, 100, 10), (100, 300, 257),
]  # fmt: skip
"""(m, k, n)"""


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_in_all_transpositions(device, flavour, shape):
    m, k, n = shape
    rng = np.random.default_rng(1)
    a, b, at, bt = matrices(rng, dtypes.float32, (m, k), (k, n), (k, m), (n, k))
    traits = flavour_traits(device, flavour)
    for x in (a, at.T):
        for y in (b, bt.T):
            bases = (a if x is a else at, b if y is b else bt)
            check(device, x, y, dtypes.float32, traits, bases)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTS], ids=lambda d: d.name)
def test_dtypes(device, flavour, dtype):
    need(device, dtype)
    rng = np.random.default_rng(2)
    traits = flavour_traits(device, flavour)
    a, b, bt = matrices(rng, dtype, (14, 70), (70, 140), (9, 70))
    check(device, a, b, dtype, traits)
    if flavour == "own":  # packed, and by inner products; the GPU kernel is the same one
        check(device, a, bt.T, dtype, traits, (a, bt))
        check(device, a[:, ::2], b[:70:2, ::2], dtype, traits, (a, b))


def test_vectors_through_functions(device):
    """Where pointers to unaligned vectors do not work, vloadN and vstoreN take their place."""
    rng = np.random.default_rng(12)
    traits = replace(device.traits, unaligned_vectors=False)
    for dtype in (dtypes.float32, dtypes.bfloat16):
        a, b, bt = matrices(rng, dtype, (30, 40), (40, 50), (50, 40))
        check(device, a, b, dtype, traits)
        check(device, a, bt.T, dtype, traits, (a, bt))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_packed_operands(device, flavour):
    rng = np.random.default_rng(3)
    traits = flavour_traits(device, flavour)
    a, b, bt = matrices(rng, dtypes.float32, (101, 513), (513, 259), (259, 513))
    check(device, a, b, dtypes.float32, traits)
    check(device, a, bt.T, dtypes.float32, traits, (a, bt))
    half_a, half_b = matrices(rng, dtypes.float16, (45, 130), (130, 131))
    check(device, half_a, half_b, dtypes.float16, traits)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("steps", [(1, 2), (2, 1), (3, 5)], ids=str)
def test_strided_views_with_offsets(device, flavour, steps):
    rng = np.random.default_rng(4)
    down, across = steps
    base_a, base_b = matrices(rng, dtypes.float32, (120, 110), (120, 110))
    a = base_a[5:, 3:][: 19 * down : down, : 20 * across : across]
    b = base_b[7:, 2:][: 20 * down : down, : 21 * across : across]
    check(device, a, b, dtypes.float32, flavour_traits(device, flavour), (base_a, base_b))


BATCHES = [
    ((4,), (4,)), ((4,), ()), ((), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((2, 1, 2), (3, 1)),
    ((1,), (5,)), ((2, 3), (2, 1)),
]  # fmt: skip


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("batches", BATCHES, ids=str)
def test_batches_with_broadcast(device, flavour, batches):
    rng = np.random.default_rng(5)
    traits = flavour_traits(device, flavour)
    for m, k, n in ((6, 9, 18), (1, 33, 20), (20, 33, 1)):
        a, b = matrices(rng, dtypes.float32, (*batches[0], m, k), (*batches[1], k, n))
        check(device, a, b, dtypes.float32, traits)
        (bt,) = matrices(rng, dtypes.float32, (*batches[1], n, k))
        check(device, a, np.swapaxes(bt, -1, -2), dtypes.float32, traits, (a, bt))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_permuted_batch_of_heads(device, flavour):
    """Attention's layout: (batch, token, head, feature) seen as (batch, head, token, feature)."""
    rng = np.random.default_rng(6)
    q, key = matrices(rng, dtypes.float32, (2, 19, 3, 8), (2, 19, 3, 8))
    a, b = q.transpose(0, 2, 1, 3), key.transpose(0, 2, 3, 1)
    check(device, a, b, dtypes.float32, flavour_traits(device, flavour), (q, key))


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 5), (4, 24)])
def test_long_sums_are_cut_and_merged(device, flavour, m, n):
    rng = np.random.default_rng(7)
    traits = replace(flavour_traits(device, flavour), compute_units=64)
    a, b, bt = matrices(rng, dtypes.float32, (m, 5001), (5001, n), (n, 5001))
    for y, base in ((b, b), (bt.T, bt)):
        problem = MatmulProblem(
            m, n, 5001, (), strides_of(a, ()), strides_of(y, ()), *[dtypes.float32] * 3
        )
        assert len(lower_matmul(problem, traits).launches) >= 2
        check(device, a, y, dtypes.float32, traits, (a, base))
        first = multiply(device, a, y, dtypes.float32, traits, (a, base))
        again = multiply(device, a, y, dtypes.float32, traits, (a, base))
        assert np.array_equal(first, again)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("shape", [(13, 33, 35), (5, 70, 9), (100, 300, 257)], ids=str)
def test_nan_and_inf_stay_in_their_row_and_column(device, flavour, shape):
    m, k, n = shape
    rng = np.random.default_rng(8)
    traits = flavour_traits(device, flavour)
    a, b, bt = matrices(rng, dtypes.float32, (m, k), (k, n), (n, k))
    a[m - 1, k - 1] = np.inf
    a[0, 0] = np.nan
    b[k - 1, n - 1] = np.nan
    bt[n - 1, k - 1] = -np.inf
    for y, base in ((b, b), (bt.T, bt)):
        got = multiply(device, a, y, dtypes.float32, traits, (a, base))
        want = a.astype(np.float64) @ y.astype(np.float64)
        assert np.array_equal(np.isnan(got), np.isnan(want))
        assert np.array_equal(np.isinf(got), np.isinf(want))


def test_neighbours_in_memory_are_not_read_into_sums(device):
    """A view inside of NaNs: whatever a kernel reads beyond its operand must not count."""
    rng = np.random.default_rng(9)
    base_a, base_b = (np.full((64, 64), np.nan, np.float32) for _ in range(2))
    a, b = base_a[3:20, 5:28], base_b[2:25, 7:38]
    a[...], b[...] = rng.standard_normal(a.shape), rng.standard_normal(b.shape)
    for flavour in FLAVOURS:
        check(device, a, b, dtypes.float32, flavour_traits(device, flavour), (base_a, base_b))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_empty_sum_is_zero(device, flavour):
    traits = flavour_traits(device, flavour)
    a, b = np.zeros((4, 0), np.float32), np.zeros((0, 21), np.float32)
    got = multiply(device, a, b, dtypes.float32, traits)
    assert got.shape == (4, 21)
    assert not got.any()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_sixteen_bit_results_are_rounded_once(device, flavour):
    """2048 + 1 + 1 is 2050 when summed in float32, and 2048 when each sum is rounded."""
    traits = flavour_traits(device, flavour)
    a = stored(np.array([[2048.0, 1.0, 1.0]] * 3), dtypes.float16)
    b = stored(np.ones((3, 18)), dtypes.float16)
    got = valued(multiply(device, a, b, dtypes.float16, traits), dtypes.float16)
    assert (got == 2050).all()
    a = stored(np.array([[256.0, 1.0, 1.0]] * 3), dtypes.bfloat16)
    b = stored(np.ones((3, 18)), dtypes.bfloat16)
    got = valued(multiply(device, a, b, dtypes.bfloat16, traits), dtypes.bfloat16)
    assert (got == 258).all()
    nan = stored(np.array([[np.nan, 1.0, 1.0]] * 3), dtypes.bfloat16)
    assert np.isnan(
        valued(multiply(device, nan, b, dtypes.bfloat16, traits), dtypes.bfloat16)
    ).all()


def leaf(name, dtype):
    return expr.name(name, dtype)


def epilogue_of(text, leaves, compute=dtypes.float32):
    """Return the typed expression of a formula over these leaves."""
    env = {name: leaf(name, dtype) for name, dtype in leaves.items()}
    return expr.typed(expr.parse(text, set(leaves)), env, compute)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    "shape", [(20, 33, 40), (6, 90, 7), (1, 20, 33), (33, 20, 1), (3, 5000, 4)], ids=str
)
def test_epilogue_reads_bias_and_residual(device, flavour, shape):
    m, k, n = shape
    rng = np.random.default_rng(10)
    traits = flavour_traits(device, flavour)
    if k > 1000:
        traits = replace(traits, compute_units=64)
    dtype = dtypes.float32
    a, b, bt, bias, residual = matrices(rng, dtype, (m, k), (k, n), (n, k), (n + 3,), (n, m))
    formula = epilogue_of(
        "(acc + x0 if acc + x0 > 0 else 0.25 * (acc + x0)) - x1",
        {"acc": dtype, "x0": dtype, "x1": dtype},
    )
    # the residual is a transposed view, the bias starts three elements in
    extras = (ExtraOperand(dtype, (0, 1)), ExtraOperand(dtype, (1, m)))
    for y, base in ((b, b), (bt.T, bt)):
        problem = MatmulProblem(
            m, n, k, (), strides_of(a, ()), strides_of(y, ()), dtype, dtype, dtype,
            Epilogue(formula, extras),
        )  # fmt: skip
        arrays = {("in", 0): a, ("in", 1): base, ("extra", 0): bias, ("extra", 1): residual}
        offsets = {("in_offset", 0): 0, ("in_offset", 1): 0}
        offsets |= {("extra_offset", 0): 3, ("extra_offset", 1): 0}
        got = run(
            device, lower_matmul(problem, traits), arrays, offsets, np.empty((m, n), np.float32)
        )
        total = a.astype(np.float64) @ y.astype(np.float64) + bias[3:]
        want = np.where(total > 0, total, 0.25 * total) - residual.T
        assert np.allclose(got, want, rtol=1e-5, atol=1e-4)


def test_epilogue_in_batches_with_sixteen_bit_operands(device):
    rng = np.random.default_rng(11)
    half = dtypes.float16
    a, b, scale = matrices(rng, half, (2, 3, 9, 20), (3, 20, 24), (3, 1, 1))
    formula = epilogue_of("acc * x0", {"acc": dtypes.float32, "x0": half})
    for flavour in FLAVOURS:
        problem = MatmulProblem(
            9, 24, 20, (2, 3), strides_of(a, (2, 3)), strides_of(b, (2, 3)), half, half, half,
            Epilogue(formula, (ExtraOperand(half, (0, 1, 0, 0)),)),
        )  # fmt: skip
        arrays = {("in", 0): a, ("in", 1): b, ("extra", 0): scale}
        offsets = {("in_offset", 0): 0, ("in_offset", 1): 0, ("extra_offset", 0): 0}
        lowered = lower_matmul(problem, flavour_traits(device, flavour))
        got = run(device, lowered, arrays, offsets, np.empty((2, 3, 9, 24), np.float16))
        want = (a.astype(np.float64) @ b.astype(np.float64)) * scale
        assert np.allclose(got, want, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_epilogue_gives_the_bits_of_its_formula_alone(device, flavour):
    """`acc * x0 + x1` is rounded after the product, though contraction is on in the loop before."""
    rng = np.random.default_rng(13)
    traits = flavour_traits(device, flavour)
    dtype = dtypes.float32
    a, b, scale, shift = matrices(rng, dtype, (24, 33), (33, 40), (40,), (40,))
    plain = multiply(device, a, b, dtype, traits)
    problem = MatmulProblem(
        24, 40, 33, (), (33, 1), (40, 1), dtype, dtype, dtype,
        Epilogue(
            epilogue_of("acc * x0 + x1", {"acc": dtype, "x0": dtype, "x1": dtype}),
            (ExtraOperand(dtype, (0, 1)), ExtraOperand(dtype, (0, 1))),
        ),
    )  # fmt: skip
    arrays = {("in", 0): a, ("in", 1): b, ("extra", 0): scale, ("extra", 1): shift}
    offsets = dict.fromkeys([("in_offset", 0), ("in_offset", 1)], 0)
    offsets |= {("extra_offset", 0): 0, ("extra_offset", 1): 0}
    got = run(device, lower_matmul(problem, traits), arrays, offsets, np.empty_like(plain))
    assert np.array_equal(got, plain * scale + shift)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("layout", ["NN", "NT", "TN"])
def test_prologues_of_both_operands(device, flavour, layout):
    """A is int8 with a scale per row, B is rounded to float16 and has a scale per step of k."""
    rng = np.random.default_rng(15)
    traits = flavour_traits(device, flavour)
    single, half, byte = dtypes.float32, dtypes.float16, dtypes.int8
    made = [
        Prologue(epilogue_of("x * x0", {"x": byte, "x0": single}), byte,
                 (ExtraOperand(single, (1, 0)),)),
        Prologue(epilogue_of("x * x0 + 1", {"x": half, "x0": single}), half,
                 (ExtraOperand(single, (1, 0)),)),
    ]  # fmt: skip
    for m, k, n in ((37, 20, 45), (4, 70, 36), (130, 64, 68)):
        a = rng.integers(-127, 128, (m, k)).astype(np.int8)
        b = rng.standard_normal((k, n)).astype(np.float16)
        rows, steps = (rng.standard_normal(size).astype(np.float32) for size in (m, k))
        a_base = np.ascontiguousarray(a.T) if layout[0] == "T" else a
        b_base = np.ascontiguousarray(b.T) if layout[1] == "T" else b
        problem = MatmulProblem(
            m, n, k, (), (1, m) if layout[0] == "T" else (k, 1),
            (1, k) if layout[1] == "T" else (n, 1), single, single, single,
            prologues=(made[0], made[1]),
        )  # fmt: skip
        arrays = {("in", 0): a_base, ("in", 1): b_base, ("fed", 0): rows, ("fed", 1): steps}
        offsets = dict.fromkeys(
            [(f"{what}_offset", i) for what in ("in", "fed") for i in range(2)], 0
        )
        got = run(device, lower_matmul(problem, traits), arrays, offsets, np.empty((m, n), "f"))
        x = a * rows[:, None]
        y = b.astype(np.float32) * steps[:, None] + np.float32(1)
        assert np.allclose(got, x.astype(float) @ y, rtol=1e-5, atol=2e-3)


def trial_error(device, problem, choice, traits):
    """Return by how much the largest error exceeds its bound, inf for what else is wrong."""
    arrays = FAMILY.operands(problem, np.random.default_rng(14))
    trial = Trial(device, FAMILY.lower(problem, choice, traits), arrays, *FAMILY.result(problem))
    return trial.excess(FAMILY.expected(problem, arrays))


SLABS = [
    Slab(8, 8, 4, 4, 16, 16, 8, 4), Slab(4, 8, 4, 4, 16, 16, 8, 2), Slab(4, 4, 4, 4, 16, 16, 32, 8),
    Slab(2, 4, 2, 4, 16, 16, 8, 4), Slab(1, 1, 1, 1, 8, 8, 8, 4),
]  # fmt: skip


@pytest.mark.parametrize("slab", SLABS, ids=lambda s: f"{s.tile_m}x{s.tile_n}x{s.tile_k}")
def test_local_memory_tiles_with_and_without_vectors(device, slab):
    """Aligned operands are copied by vectors; 3 bands of tiles with a ragged last one."""
    traits = gpu_flavour(device)
    rows = 9 * slab.tile_m + 4 if slab.tile_m <= 32 else slab.tile_m + 4
    for text in (
        f"matmul {rows}x{2 * slab.tile_k + 4}x{2 * slab.tile_n + 4} NN float32",
        f"matmul {slab.tile_m + 3}x{slab.tile_k + 3}x{slab.tile_n + 5} TT float32",
        "matmul 2*20x24x36 TT float16",
    ):
        assert trial_error(device, FAMILY.parse(text), slab, traits) <= 0


@pytest.mark.parametrize(
    ("k", "vector_bytes"), [(16, 64), (35, 64), (64, 64), (2500, 64), (3, 4), (2500, 4)]
)
def test_inner_products_of_packed_rows(device, k, vector_bytes):
    """A transposed A is copied to panels along k, the last of them moved back; also cut along k.

    Without vectors a panel is one step of all rows.
    """
    traits = replace(device.traits, compute_units=64, vector_bytes=vector_bytes)
    problem = FAMILY.parse(f"matmul 7x{k}x9 TT float32")
    choice = next(c for c in FAMILY.candidates(problem, traits) if isinstance(c, Dot))
    assert choice.pack_a
    assert trial_error(device, problem, choice, traits) <= 0
    stack = FAMILY.parse(f"matmul 3*7x{k}x9 TT float32")
    assert trial_error(device, stack, choice, traits) <= 0


@pytest.mark.parametrize("tile", [(8, 2, 4), (16, 1, 1)], ids=str)
def test_sub_groups_hand_rows_round(device, tile):
    if device.traits.sub_group != "intel":
        pytest.skip(f"{device} has no sub-groups whose size a kernel can say")
    rows, columns, height = tile
    width = device.traits.sub_group_size
    choice = Lanes(rows, columns, width, height)
    traits = replace(gpu_flavour(device), compute_units=64)
    for text in (
        f"matmul {rows * height + 3}x{2 * width + 5}x{columns * width + 7} NN float32",
        f"matmul 3*5x{width - 1}x9 NN float16",
        "matmul 4x2500x24 NN float32",
    ):
        problem = FAMILY.parse(text)
        assert choice in FAMILY.candidates(problem, traits)
        assert trial_error(device, problem, choice, traits) <= 0


def test_crowded_columns_are_packed(device):
    """Columns of A a page apart share a set of the cache: A is packed, its rows being adjacent."""
    problem = FAMILY.parse("matmul 1024x257x130 TN float32")
    choice = FAMILY.candidates(problem, device.traits)[0]
    assert choice.pack_a
    assert trial_error(device, problem, choice, device.traits) <= 0
