"""Matmul kernels as text, and lowerings as data: no OpenCL here."""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clgrad import dtypes, expr
from clgrad.codegen import matmul_tuning as tuning
from clgrad.codegen.matmul import lower_matmul
from clgrad.codegen.matmul_form import MatmulProblem
from clgrad.codegen.matmul_specs import DotSpec, GroupSpec, MergeSpec, PackSpec, TileSpec
from clgrad.codegen.spec import ExtraOperand, Prologue
from clgrad.errors import DTypeError, ShapeError
from clgrad.traits import PRESETS, preset

CPU = preset("cpu-avx512")
GPU = preset("gpu-32")


def problem(m, k, n, batch=(), *, ta=False, tb=False, dtype=dtypes.float32, out=None):
    """Return a problem of dense operands; `ta` and `tb` say which are transposed views."""
    outer, strides = prod(batch), []
    for size in batch:
        outer //= size
        strides.append(outer)
    a = (1, m) if ta else (k, 1)
    b = (1, k) if tb else (n, 1)
    return MatmulProblem(
        m, n, k, batch, (*(s * m * k for s in strides), *a), (*(s * k * n for s in strides), *b),
        dtype, dtype, out or dtype,
    )  # fmt: skip


def specs(lowered):
    return [type(launch.spec) for launch in lowered.launches]


def names(text):
    """Return the names of a kernel's parameters."""
    parameters = text[text.index("(\n") : text.index(")\n{")]
    return re.findall(r"(\w+)(?:,|\)|$)", parameters, re.MULTILINE)


SCALED = Prologue(
    expr.typed(expr.parse("x * x0 * s0"), {"x": expr.name("x", dtypes.int8),
               "x0": expr.name("x0", dtypes.float16), "s0": expr.name("s0", dtypes.float32)},
               dtypes.float32),
    dtypes.int8, (ExtraOperand(dtypes.float16, (0, 1)),), (dtypes.float32,),
)  # fmt: skip
CASES = [
    problem(1, 1, 1), problem(33, 65, 17), problem(33, 65, 17, tb=True), problem(5, 0, 6),
    problem(300, 600, 700), problem(300, 600, 700, tb=True, ta=True), problem(1, 100000, 1),
    problem(3, 100000, 4), problem(20, 9, 30, (2, 3)), problem(1, 64, 500),
    problem(200, 300, 400, dtype=dtypes.float16), problem(20, 30, 40, dtype=dtypes.bfloat16),
    problem(20, 30, 40, dtype=dtypes.int8), problem(20, 30, 40, dtype=dtypes.int64),
    problem(20, 30, 40, dtype=dtypes.float64), problem(300, 200, 400, tb=True, dtype=dtypes.uint16),
    replace(problem(33, 65, 17), prologues=(SCALED, SCALED)),
    replace(problem(300, 65, 170), prologues=(SCALED, None)),
    replace(problem(1, 640, 33, tb=True), prologues=(None, SCALED)),
    replace(problem(65, 640, 1), prologues=(SCALED, None)),
]  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("case", CASES, ids=lambda p: f"{p.m}x{p.k}x{p.n}-{p.a_dtype.name}")
def test_renders_for_every_preset(name, case):
    traits = preset(name)
    lowered = lower_matmul(case, traits)
    assert lowered.launches
    for launch in lowered.launches:
        source = launch.spec.render(traits)
        assert re.fullmatch(r"cg_matmul\w*_[0-9a-f]{10}", source.name)
        assert source.source.count(source.name) == 1
        assert source.source.startswith("/* ")
        assert len(source.args) == len(launch.args) == len(names(source.source))
        for kind, arg, parameter in zip(
            source.args, launch.args, names(source.source), strict=True
        ):
            pointer = re.search(rf"\*{parameter}\b", source.source) is not None
            assert pointer == (kind == "buffer")
            assert (kind == "buffer") == (arg[0] in ("in", "out", "temp", "extra", "fed"))
        assert source.source.count("{") == source.source.count("}")
        assert source.source.count("(") == source.source.count(")")
        assert not re.search(r"[ \t]$", source.source, re.MULTILINE)
        assert launch.spec == launch.spec
        assert hash(launch.spec) == hash(replace(launch.spec))
        if launch.local_size is not None:
            pairs = zip(launch.global_size, launch.local_size, strict=True)
            assert all(total % group == 0 for total, group in pairs)
            assert prod(launch.local_size) <= traits.max_work_group


def test_rendering_is_a_pure_function_of_spec_and_traits():
    spec = lower_matmul(problem(33, 65, 17), CPU).launches[0].spec
    assert spec.render(CPU) == spec.render(CPU)
    assert spec.render(CPU).name != spec.render(replace(CPU, unaligned_vectors=False)).name


def test_cpu_kernels_have_no_local_memory_and_no_barrier():
    for case in CASES:
        for launch in lower_matmul(case, CPU).launches:
            text = launch.spec.render(CPU).source
            assert "barrier" not in text
            assert "__local" not in text


def test_contraction_is_on_in_kernels_that_multiply():
    for traits in (CPU, GPU):
        for case in CASES:
            for launch in lower_matmul(case, traits).launches:
                text = launch.spec.render(traits).source
                multiplies = isinstance(launch.spec, TileSpec | DotSpec | GroupSpec)
                assert ("#pragma OPENCL FP_CONTRACT ON" in text) == multiplies


def test_fma_replaces_contraction_where_the_device_wants_it():
    traits = replace(CPU, contract_by_pragma=False)
    text = lower_matmul(problem(40, 50, 60), traits).launches[0].spec.render(traits).source
    assert "fma((float16)(x), y0, c0_0)" in text
    integers = problem(40, 50, 60, dtype=dtypes.int32)
    assert "fma(" not in lower_matmul(integers, traits).launches[0].spec.render(traits).source


def test_local_memory_fits_and_barriers_are_not_under_a_condition():
    for name in ("gpu-16", "gpu-32", "gpu-64", "minimal"):
        traits = preset(name)
        for case in CASES:
            for launch in lower_matmul(case, traits).launches:
                if not isinstance(launch.spec, GroupSpec):
                    continue
                text = launch.spec.render(traits).source
                sizes = re.findall(r"__local (\w+) \w+\[(\d+) \* (\d+)\]", text)
                itemsize = {"float": 4, "uint": 4, "double": 8, "ulong": 8}
                used = sum(itemsize[t] * int(x) * int(y) for t, x, y in sizes)
                assert 0 < used <= traits.local_bytes
                assert text.count("barrier(CLK_LOCAL_MEM_FENCE);") == 2
                assert "return" not in text


def test_structure_of_the_tile_kernel():
    spec = TileSpec(*[dtypes.float32] * 4, 2, 2, 16, "strided", "rows", 0)
    text = spec.render(CPU).source
    inner = text[text.index("for (long p = 0") : text.index("*(__global cg_unaligned_float16 *)(c")]
    assert inner.count("+= x * y") == 4
    assert inner.count("cg_unaligned_float16") == 2
    assert "c1_1 += x * y1;" in inner
    assert spec.render(replace(CPU, unaligned_vectors=False)).source.count("vload16(0, ") == 2


def test_sizes_do_not_reach_the_text():
    kinds = {lower_matmul(problem(m, 200, 300), CPU).launches[0].spec for m in range(193, 256)}
    (spec,) = kinds
    for size in ("193", "200", "300"):
        assert size not in spec.render(CPU).source


def test_few_kernels_serve_all_sizes():
    """Whatever m comes, at most one kernel per class of m is built."""
    built = {lower_matmul(problem(m, 784, 512), CPU).launches[-1].spec for m in range(1, 600)}
    assert len(built) <= 10


def test_empty_results_launch_nothing():
    for case in (problem(0, 3, 4), problem(3, 4, 0)):
        assert lower_matmul(case, CPU).launches == ()
    case = MatmulProblem(2, 2, 2, (0, 3), (12, 4, 2, 1), (12, 4, 2, 1), *[dtypes.float32] * 3)
    assert lower_matmul(case, GPU).launches == ()


def test_choice_of_variants():
    def kinds(case, traits=CPU):
        return specs(lower_matmul(case, traits))

    assert kinds(problem(16, 16, 16)) == [TileSpec]
    assert kinds(problem(8, 784, 512)) == [TileSpec]
    assert kinds(problem(8, 784, 512, tb=True)) == [DotSpec]
    assert kinds(problem(128, 784, 512, tb=True)) == [PackSpec, TileSpec]
    assert kinds(problem(1024, 1024, 1024)) == [PackSpec, TileSpec]
    assert kinds(problem(512, 512, 512, dtype=dtypes.float16)) == [PackSpec, TileSpec]
    assert kinds(problem(1024, 512, 512, ta=True)) == [PackSpec, TileSpec]
    assert kinds(problem(1000, 512, 512, ta=True)) == [TileSpec]
    assert kinds(problem(8, 784, 512, ta=True, tb=True)) == [PackSpec, DotSpec]
    assert kinds(problem(1, 10**6, 1)) == [DotSpec, MergeSpec]
    assert kinds(problem(1024, 1024, 1024), GPU) == [GroupSpec]
    assert kinds(problem(4, 10**6, 4), GPU) == [GroupSpec, MergeSpec]
    distrusted = replace(GPU, disabled=("matmul",))
    assert kinds(problem(512, 512, 512), distrusted) == [TileSpec]


def test_batch_over_one_matrix_becomes_rows():
    case = MatmulProblem(8, 64, 32, (4, 3), (768, 256, 32, 1), (0, 0, 64, 1), *[dtypes.float32] * 3)
    (launch,) = lower_matmul(case, CPU).launches
    assert launch.spec.batch_rank == 0
    assert launch.global_size[2] == 1
    assert ("int", 96) in launch.args


def test_dense_batches_merge_and_permuted_ones_do_not():
    (launch,) = lower_matmul(problem(20, 9, 30, (2, 3)), CPU).launches
    assert launch.spec.batch_rank == 1
    heads = MatmulProblem(
        19, 19, 8, (2, 3), (456, 8, 24, 1), (456, 8, 1, 24), *[dtypes.float32] * 3
    )
    assert lower_matmul(heads, CPU).launches[-1].spec.batch_rank == 2


def test_broadcast_batches_are_packed_once():
    case = MatmulProblem(
        64, 200, 300, (5, 4), (4 * 64 * 300, 64 * 300, 300, 1), (200 * 300, 0, 1, 300),
        *[dtypes.float32] * 3,
    )  # fmt: skip
    lowered = lower_matmul(case, CPU)
    # the inner batch dimension meets one B: 5 matrices, of 256 rows each
    assert lowered.launches[0].global_size[2] == 5
    assert lowered.temporaries[0] >= 5 * 200 * 300 * 4


def test_wide_indices_only_where_a_matrix_needs_them():
    assert not lower_matmul(problem(100, 100, 100), GPU).launches[0].spec.wide_index
    big = MatmulProblem(60000, 8, 40000, (), (40000, 1), (8, 1), *[dtypes.float32] * 3)
    (launch, *_) = lower_matmul(big, GPU).launches
    assert launch.spec.wide_index
    assert "const long m" in launch.spec.render(GPU).source


def test_refuses_what_it_cannot_multiply():
    with pytest.raises(DTypeError, match="bool has no product"):
        lower_matmul(problem(2, 2, 2, dtype=dtypes.bool_), CPU)
    with pytest.raises(DTypeError, match="cannot be written as int32"):
        lower_matmul(problem(2, 2, 2, out=dtypes.int32), CPU)
    with pytest.raises(ShapeError, match="2 batch dimensions"):
        lower_matmul(replace(problem(2, 2, 2), batch=(2, 2)), CPU)
    with pytest.raises(ShapeError, match="A has strides"):
        lower_matmul(replace(problem(2, 2, 2), a_strides=(-2, 1)), CPU)


sizes = st.integers(1, 5000)


@given(sizes, sizes, sizes, st.integers(1, 40), st.sampled_from(sorted(PRESETS)))
@settings(deadline=None, max_examples=150)
def test_tiles_keep_their_limits(m, n, k, batch, name):
    traits = preset(name)
    for itemsize in (4, 8):
        for tile in tuning.register_tiles(m, n, batch, itemsize, traits):
            assert tile.rows <= m
            assert tile.width <= n
            assert (tile.columns - 1) * tile.width < n
            strip = tuning.strip_tiles(
                m, n, k, batch, tile.rows, tile.columns * tile.width, itemsize, traits
            )
            assert 1 <= strip <= tuning.ceil_div(m, tile.rows)
        for dot in tuning.dot_tiles(m, n, k, batch, itemsize, traits):
            assert dot.rows <= m
            assert dot.columns <= n
            assert dot.width <= k
        for slab in tuning.ordered_slabs(m, n, batch, itemsize, traits):
            assert slab.rows * slab.tile_k % slab.breadth == 0
            assert slab.columns * slab.tile_k % slab.height == 0
            assert slab.local_bytes(itemsize) <= traits.local_bytes
            for along_k in (False, True):
                width = slab.copy_width(slab.tile_m, along_k, 4)
                copied = slab.height * slab.breadth * width
                assert slab.tile_m * slab.tile_k % copied == 0
                assert (slab.tile_k if along_k else slab.tile_m) % width == 0


@given(sizes, sizes, sizes, st.integers(1, 40))
@settings(deadline=None, max_examples=100)
def test_strips_are_of_about_one_length(m, n, k, batch):
    """A driver that gives half of the strips to each of two cores must not give one of them air."""
    length = tuning.strip_tiles(m, n, k, batch, 12, 32, 4, CPU)
    tiles = tuning.ceil_div(m, 12)
    strips = tuning.ceil_div(tiles, length)
    assert strips * length - tiles < strips


@given(st.integers(1, 100), sizes, sizes, st.integers(1, 10**7), st.sampled_from(sorted(PRESETS)))
@settings(deadline=None, max_examples=100)
def test_parts_of_k_cover_it_once(items, m, n, k, name):
    parts = tuning.k_parts(items, m, n, k, preset(name))
    length = tuning.part_length(k, parts)
    count = tuning.ceil_div(k, length)
    assert 1 <= count <= parts
    assert (count - 1) * length < k <= count * length
