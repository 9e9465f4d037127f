"""The workloads, by name. A new one is an entry in the list of the module of its kind."""

from __future__ import annotations

from records import Workload

from work import (
    chains,
    convolutions,
    folds,
    heat,
    lookups,
    models,
    pointwise,
    products,
    rows,
    start,
)

MODULES = (
    pointwise, rows, products, convolutions, models, chains, lookups, folds, heat, start,
)  # fmt: skip
WORKLOADS: dict[str, Workload] = {one.name: one for module in MODULES for one in module.WORKLOADS}
assert len(WORKLOADS) == sum(len(module.WORKLOADS) for module in MODULES), "two of one name"
