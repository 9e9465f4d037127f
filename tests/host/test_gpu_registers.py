"""GPU kernels compiled offline for devices that are not here: they build, and spill nothing.

clang translates them for two AMD devices and to PTX; where `ptxas` is at hand it translates that
for NVIDIA's. What the defaults of the local-memory product take of registers and how many waves of
a SIMD unit that leaves are expectations: a change of the template that costs either shows here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from clgrad import dtypes
from clgrad.codegen.attention import lower_attention, lower_attention_back
from clgrad.codegen.attention_problem import AttentionProblem
from clgrad.codegen.conv import FAMILY as CONV
from clgrad.codegen.conv_choice import Winograd
from clgrad.codegen.matmul import FAMILY, lower_matmul
from clgrad.codegen.matmul_specs import GroupSpec
from clgrad.codegen.matmul_tuning import Slab, slabs
from clgrad.codegen.source import program_text
from clgrad.layout import Layout
from clgrad.traits import preset

CLANG = next(filter(None, map(shutil.which, ("clang-16", "clang-15", "clang-14", "clang"))), None)
LIBCLC = Path("/usr/lib/clc")
PTXAS = shutil.which("ptxas")
TRAITS = preset("gpu-32")
COMMON = [
    "-x", "cl", "-cl-std=CL1.2", "-O3", "-Xclang", "-finclude-default-header", "-S", "-o", "-", "-",
]  # fmt: skip

pytestmark = pytest.mark.skipif(
    CLANG is None or not (LIBCLC / "amdgcn--amdhsa.bc").exists(),
    reason="no clang with libclc. Hint: apt install clang-16 libclc-16",
)


def compiled(text: str, *options: str) -> str:
    assert CLANG is not None
    found = subprocess.run(
        [CLANG, *options, *COMMON], input=text, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[:2000]
    return found.stdout


def on_amd(text: str, chip: str) -> tuple[int, int, int]:
    """Return vector registers, bytes of scratch, and waves that a SIMD unit holds."""
    assembly = compiled(
        text, "-target", "amdgcn-amd-amdhsa", f"-mcpu={chip}", "-nogpulib",
        "-Xclang", "-mlink-builtin-bitcode", "-Xclang", str(LIBCLC / "amdgcn--amdhsa.bc"),
    )  # fmt: skip
    return tuple(
        int(re.findall(rf"; {name}: (\d+)", assembly)[-1])
        for name in ("NumVgprs", "ScratchSize", "Occupancy")
    )  # type: ignore[return-value]


def as_ptx(text: str, chip: str) -> str:
    return compiled(
        text, "-target", "nvptx64-nvidia-nvcl", "-Xclang", "-target-cpu", "-Xclang", chip,
        "-Xclang", "-mlink-builtin-bitcode", "-Xclang", str(LIBCLC / "nvptx64--nvidiacl.bc"),
    )  # fmt: skip


def on_nvidia(ptx: str, chip: str, folder: Path) -> tuple[int, int]:
    """Return registers and bytes spilled."""
    assert PTXAS is not None
    path = folder / "kernel.ptx"
    path.write_text(ptx)
    found = subprocess.run(
        [PTXAS, f"-arch={chip}", "-v", str(path), "-o", str(folder / "kernel.cubin")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = found.stdout + found.stderr
    registers = re.search(r"Used (\d+) registers", said)
    spilled = re.search(r"(\d+) bytes spill stores", said)
    assert registers is not None
    assert spilled is not None
    return int(registers[1]), int(spilled[1])


def group_kernel(text: str, slab: Slab | None = None) -> tuple[Slab, str]:
    problem = FAMILY.parse(text)
    spec = (
        (lower_matmul(problem, TRAITS) if slab is None else FAMILY.lower(problem, slab, TRAITS))
        .launches[0]
        .spec
    )
    assert isinstance(spec, GroupSpec)
    return spec.slab, program_text([spec.render(TRAITS)], TRAITS.fp64, TRAITS.fp16)


# text; tile of a group; most registers and least waves on gfx1030, on gfx1100; registers on sm_80
DEFAULTS = [
    ("matmul 4096x4096x4096 NN float32", (128, 128, 8), (112, 9), (112, 12), 128),
    ("matmul 4096x4096x4096 NT float32", (128, 128, 8), (112, 9), (112, 12), 128),
    ("matmul 4096x4096x4096 TN float32", (128, 128, 8), (112, 9), (112, 12), 128),
    ("matmul 4095x4095x4095 TT float32", (128, 128, 8), (120, 8), (120, 12), 152),
    ("matmul 4096x4096x4096 NN float16", (128, 128, 8), (112, 9), (112, 12), 128),
    ("matmul 256x256x256 NN float32", (32, 32, 32), (48, 14), (48, 14), 48),
    ("matmul 4096x4096x4096 NN float64", (128, 128, 8), (208, 4), (208, 6), 224),
]


@pytest.mark.parametrize(("text", "tile", "rdna2", "rdna3", "ampere"), DEFAULTS)
def test_registers_of_the_defaults(text, tile, rdna2, rdna3, ampere, tmp_path):
    slab, program = group_kernel(text)
    assert (slab.tile_m, slab.tile_n, slab.tile_k) == tile
    for chip, (most, least) in (("gfx1030", rdna2), ("gfx1100", rdna3)):
        registers, scratch, waves = on_amd(program, chip)
        assert scratch == 0
        assert registers <= most
        assert waves >= least
    ptx = as_ptx(program, "sm_80")
    if PTXAS is not None:
        registers, spilled = on_nvidia(ptx, "sm_80", tmp_path)
        assert spilled == 0
        assert registers <= ampere


@pytest.mark.parametrize("slab", slabs(4, TRAITS)[::3], ids=lambda s: f"{s.tile_m}x{s.tile_n}")
def test_no_candidate_spills(slab, tmp_path):
    """What the tuner may choose: tiles with most steps written out, on operands without vectors."""
    slab = replace(slab, unroll=min(8, slab.tile_k))
    _, program = group_kernel("matmul 1001x1001x1001 NN float32", slab)
    assert on_amd(program, "gfx1100")[1] == 0
    if PTXAS is not None:
        assert on_nvidia(as_ptx(program, "sm_80"), "sm_80", tmp_path)[1] == 0


def test_vectors_are_loaded_as_vectors():
    """Operands whose lines start at multiples of four elements are fetched 16 bytes at a time."""
    _, program = group_kernel("matmul 512x512x512 NN float32")
    assert "ld.global.v4.f32" in as_ptx(program, "sm_80")
    _, program = group_kernel("matmul 511x511x511 NN float32")
    assert "ld.global.v4.f32" not in as_ptx(program, "sm_80")


# kernel: most registers for tiles of 2 x 2, of 4 x 4 points, on gfx1100; all waves are there
TRANSFORMS = {
    "winograd_weight": (44, 96),
    "winograd_image": (32, 48),
    "winograd_result": (40, 56),
}


@pytest.mark.parametrize("tile", [2, 4])
def test_transforms_of_winograd_tiles_stay_in_registers(tile, tmp_path):
    problem = CONV.parse("conv forward 32x128x28x28 128x128x3x3 padding=1 float32 medium")
    found = {}
    for launch in CONV.lower(problem, Winograd(tile), TRAITS).launches:
        source = launch.spec.render(TRAITS)
        program = program_text([source], TRAITS.fp64, TRAITS.fp16)
        name = source.name.removeprefix("cg_").rpartition("_")[0]
        if name not in TRANSFORMS or name in found:
            continue
        registers, scratch, waves = on_amd(program, "gfx1100")
        assert scratch == 0
        found[name] = registers, waves
        if PTXAS is not None:
            assert on_nvidia(as_ptx(program, "sm_80"), "sm_80", tmp_path)[1] == 0
    assert found.keys() == TRANSFORMS.keys()
    for name, (registers, waves) in found.items():
        assert registers <= TRANSFORMS[name][tile == 4], found
        assert waves == 16, found


# dtype and size; for each kernel the most registers on gfx1030, gfx1100, gfx90a, sm_80
ATTENTION = {
    ("float32", 64): {
        "forward": (104, 104, 128, 72), "queries": (120, 120, 128, 80),
        "keys": (128, 144, 160, 128),
    },
    ("float32", 128): {
        "forward": (128, 128, 144, 96), "queries": (136, 136, 144, 128),
        "keys": (192, 192, 200, 168),
    },
    ("float32", 256): {
        "forward": (184, 184, 224, 128), "queries": (184, 184, 208, 168),
        "keys": (216, 216, 216, 128),
    },
    ("float16", 64): {
        "forward": (104, 104, 128, 72), "queries": (120, 120, 128, 80),
        "keys": (128, 144, 160, 128),
    },
    ("float64", 64): {
        "forward": (136, 112, 192, 96), "queries": (136, 168, 160, 136),
        "keys": (168, 208, 240, 168),
    },
}  # fmt: skip


@pytest.mark.parametrize(("dtype", "size"), ATTENTION, ids=str)
def test_attention_stays_in_registers(dtype, size, tmp_path):
    x = Layout.contiguous((64, 2048, size))
    problem = AttentionProblem(getattr(dtypes, dtype), None, True, x, x, x, None)
    lowered = (lower_attention(problem, TRAITS), lower_attention_back(problem, x, x, TRAITS))
    for launch in (y for z in lowered for y in z.launches):
        program = program_text([launch.spec.render(TRAITS)], TRAITS.fp64, TRAITS.fp16)
        *amd, nvidia = ATTENTION[dtype, size][launch.spec.kind]
        for chip, most in zip(("gfx1030", "gfx1100", "gfx90a"), amd, strict=True):
            registers, scratch, _ = on_amd(program, chip)
            assert (registers <= most, scratch) == (True, 0), (launch.spec.kind, chip, registers)
        ptx = as_ptx(program, "sm_80")
        if PTXAS is not None:
            registers, spilled = on_nvidia(ptx, "sm_80", tmp_path)
            assert (registers <= nvidia, spilled) == (True, 0), (launch.spec.kind, registers)
