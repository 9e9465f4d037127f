"""From spec and traits to kernel source, cached: the one door to generated code."""

from __future__ import annotations

from clgrad.codegen.source import KernelSource
from clgrad.codegen.spec import Spec
from clgrad.traits import DeviceTraits

LIMIT = 4096
"""Kernel texts kept in memory."""

_cache: dict[tuple[Spec, DeviceTraits], KernelSource] = {}


def generate(spec: Spec, traits: DeviceTraits) -> KernelSource:
    """Return the kernel that `spec` asks for, as a device with `traits` wants it."""
    key = (spec, traits)
    found = _cache.get(key)
    if found is None:
        if len(_cache) > LIMIT:
            _cache.clear()
        found = _cache.setdefault(key, spec.render(traits))
    return found
