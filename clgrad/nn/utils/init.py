"""Making modules without starting values."""

from __future__ import annotations

import inspect
from typing import Any

from clgrad.errors import ClgradRuntimeError
from clgrad.nn.init import skipped
from clgrad.nn.modules.module import Module


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """Return a module whose parameters have whatever values the memory held.

    Args:
        module_cls: a class whose constructor takes `device`.
        args, kwargs: of the constructor.

    Raises:
        ClgradRuntimeError: another class.
    """
    if not issubclass(module_cls, Module):
        raise ClgradRuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise ClgradRuntimeError("Module must support a 'device' arg to skip initialization")
    with skipped():
        return module_cls(*args, **kwargs)
