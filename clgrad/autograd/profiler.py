"""The profiler where PyTorch had it first; it is on a floor above, in `clgrad.profiler.legacy`."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module 'clgrad.autograd.profiler' has no attribute {name!r}")
    for module in ("clgrad.profiler.legacy", "clgrad.profiler"):
        found = importlib.import_module(module)
        if hasattr(found, name):
            return getattr(found, name)
    raise AttributeError(f"module 'clgrad.autograd.profiler' has no attribute {name!r}")
