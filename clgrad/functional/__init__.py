"""Functions of tensors that are no records: compositions of ops, calls with shapes to work out.

Each module lists in `__all__` the names that become `clgrad.<name>`, and in `METHODS` those that
are methods of `Tensor` too, with the tensor as first argument. Where `nn.functional` has more than
`clgrad` itself, `EXPORTS` are the names for the latter.
"""

from __future__ import annotations

from types import ModuleType

from clgrad.functional import (
    activation,
    adding,
    arithmetic,
    arranging,
    convolution,
    deprecated,
    diagonals,
    distances,
    dropping,
    einsum,
    embedding,
    finding,
    grids,
    imaging,
    inspecting,
    joining,
    making,
    memory_forms,
    normalization,
    norms,
    padding,
    picking,
    placing,
    pooling,
    products,
    reductions,
    refilling,
    remaining,
    sampling,
    scans,
    shaping,
    softmax,
    splitting,
    statistics,
    view_forms,
    windows,
)

FAMILIES: tuple[ModuleType, ...] = (
    activation,
    adding,
    arithmetic,
    arranging,
    convolution,
    deprecated,
    diagonals,
    distances,
    dropping,
    einsum,
    embedding,
    finding,
    grids,
    imaging,
    inspecting,
    joining,
    making,
    memory_forms,
    normalization,
    norms,
    padding,
    picking,
    placing,
    pooling,
    products,
    reductions,
    refilling,
    remaining,
    sampling,
    scans,
    shaping,
    softmax,
    splitting,
    statistics,
    view_forms,
    windows,
)
"""The modules whose functions users see."""
