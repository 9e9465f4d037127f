"""Frozen facts about a device: all that templates and tuning may branch on.

For a present device the facts are probed by `bringup`; presets describe devices that are absent, so
that kernels can be rendered and dumped for them. No vendor names here: a kernel depends on what a
device can do, not on who made it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from clgrad.dtypes import DType, float64
from clgrad.errors import ClgradValueError, DTypeError


@dataclass(frozen=True, slots=True)
class DeviceTraits:
    """Probed facts of one device. Sizes are in bytes, counts in elements or work-items.

    Attributes:
        cl_std: the language level passed as `-cl-std`, such as `CL1.2` or `CL3.0`.
        is_cpu: kernels without local memory and barriers, one work-item per output tile.
        vector_bytes: width of the native vector registers (64 for AVX-512).
        compute_units: number of compute units.
        max_work_group: largest work-group that the device takes.
        preferred_work_group: work-group size to start from.
        local_bytes: local memory of one work-group.
        local_is_real: local memory is faster than global memory (not so on CPUs).
        max_allocation: largest single buffer.
        max_parameter_bytes: space for the arguments of one kernel.
        address_alignment: alignment of a sub-buffer's offset.
        fp64, fp16: arithmetic in double and in half was probed to work.
        int64_atomics, float_atomics: probed; nothing in the base variants needs them.
        sub_group: `none`, `khr` or `intel`; `sub_group_size` is what a kernel really gets, or 0.
        unaligned_vectors: pointers to vector types with the alignment of their element work.
        vector_math: transcendental built-ins are fast only on vector arguments.
        contract_by_pragma: `a * b + c` becomes one instruction under FP_CONTRACT ON, which is
            then preferred to calls of `fma` (a real function call on some CPU runtimes).
        correctly_rounded_divide: the build option for exact float32 division and sqrt is taken.
        cache_binaries: program binaries may be stored on disk (else the driver's cache is used).
        disabled: names of kernel variants that a canary found to miscompute here.
        tuned: (class of problems, choice) as `clgrad tune` measured them here; see
            `codegen.choice`.
    """

    cl_std: str = "CL1.2"
    is_cpu: bool = True
    vector_bytes: int = 64
    compute_units: int = 1
    max_work_group: int = 256
    preferred_work_group: int = 64
    local_bytes: int = 32768
    local_is_real: bool = False
    max_allocation: int = 1 << 30
    max_parameter_bytes: int = 1024
    address_alignment: int = 128
    fp64: bool = False
    fp16: bool = False
    int64_atomics: bool = False
    float_atomics: bool = False
    sub_group: str = "none"
    sub_group_size: int = 0
    unaligned_vectors: bool = False
    vector_math: bool = True
    contract_by_pragma: bool = True
    correctly_rounded_divide: bool = False
    cache_binaries: bool = False
    disabled: tuple[str, ...] = ()
    tuned: tuple[tuple[str, str], ...] = ()

    def vector_width(self, itemsize: int) -> int:
        """Return how many elements of `itemsize` bytes fill a native register, at most 16."""
        return max(1, min(16, self.vector_bytes // max(itemsize, 4)))

    def override(self, values: dict[str, Any]) -> DeviceTraits:
        """Return these traits with some replaced; raises `ClgradValueError` for unknown names."""
        known = {f.name for f in fields(self)}
        for key in values:
            if key not in known:
                raise ClgradValueError(
                    f"traits: there is no trait {key!r}. Known are {', '.join(sorted(known))}."
                )
        fixed: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return replace(self, **fixed)


_GPU = DeviceTraits(
    is_cpu=False,
    vector_bytes=16,
    compute_units=64,
    max_work_group=256,
    preferred_work_group=256,
    local_bytes=65536,
    local_is_real=True,
    max_allocation=4 << 30,
    max_parameter_bytes=4096,
    fp64=True,
    unaligned_vectors=False,
    vector_math=False,
    cache_binaries=True,
)

PRESETS: dict[str, DeviceTraits] = {
    "cpu-avx512": DeviceTraits(
        cl_std="CL3.0", vector_bytes=64, compute_units=16, max_work_group=4096, fp64=True,
        unaligned_vectors=True, max_parameter_bytes=3840, cache_binaries=True,
    ),
    "cpu-avx2": DeviceTraits(
        cl_std="CL3.0", vector_bytes=32, compute_units=8, max_work_group=4096, fp64=True,
        unaligned_vectors=True, cache_binaries=False,
    ),
    "cpu-neon": DeviceTraits(
        cl_std="CL3.0", vector_bytes=16, compute_units=8, max_work_group=4096, fp64=True,
    ),
    "gpu-32": replace(_GPU, cl_std="CL3.0", local_bytes=49152, max_work_group=1024),
    "gpu-64": replace(_GPU, cl_std="CL2.0", sub_group="khr", sub_group_size=64),
    "gpu-16": replace(_GPU, cl_std="CL3.0", fp64=False, fp16=True, sub_group="intel",
                      sub_group_size=16, max_work_group=512),
    "minimal": DeviceTraits(is_cpu=False, vector_bytes=16, local_is_real=True, local_bytes=16384),
}  # fmt: skip
"""Devices that need not be present: CPUs by vector unit, GPUs by the width of a sub-group, and
`minimal`, which has nothing that OpenCL C 1.2 does not promise."""


def preset(name: str) -> DeviceTraits:
    """Return the preset called `name`; raises `ClgradValueError` for an unknown one."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ClgradValueError(
            f"traits: no preset is called {name!r}. Expected one of {', '.join(PRESETS)}."
        ) from None


def check_dtype(op: str, dtype: DType, device: Any) -> None:
    """Raise `DTypeError` if `device` cannot hold and compute this dtype.

    Args:
        device: whatever has `traits`; one without them takes everything.
    """
    if dtype is float64:
        traits = getattr(device, "traits", None)
        if traits is not None and not traits.fp64:
            raise DTypeError(
                f"{op}: the device {device} has no float64. Expected float32 or a shorter float. "
                "Hint: pass dtype=clgrad.float32, or use another device; see clgrad.devices()."
            )
