"""How kernels that copy or sum reach vectors in memory, and how many work-items are launched."""

from __future__ import annotations

from clgrad.traits import DeviceTraits

CPU_ITEMS = 64
"""Work-items on a CPU, each looping: enough to balance two to 64 cores, few enough to be cheap."""
GPU_GROUPS = 1 << 13
"""Work-groups on a GPU at most; what is left over is looped over."""


def vector_access(traits: DeviceTraits) -> str:
    """Return how a vector at any element is reached: by `pointer` or by `function`."""
    return "pointer" if traits.unaligned_vectors else "function"


def unaligned_helper(cl: str, itemsize: int, width: int) -> str:
    """Return the typedef of a vector that may lie at any element."""
    guard = f"CG_UNALIGNED_{cl.upper()}{width}"
    return (
        f"#ifndef {guard}\n#define {guard}\n"
        f"typedef {cl}{width} __attribute__((aligned({itemsize}))) cg_unaligned_{cl}{width};\n"
        "#endif\n"
    )


def work_sizes(items: int, traits: DeviceTraits) -> tuple[tuple[int], tuple[int]]:
    """Return global and local size for `items` that work-items share (see `_index.j2`)."""
    if traits.is_cpu:
        return (max(1, min(items, CPU_ITEMS)),), (1,)
    local = min(traits.preferred_work_group, traits.max_work_group)
    groups = max(1, min(-(-items // local), GPU_GROUPS))
    return (groups * local,), (local,)
