"""The one place where pyopencl is imported, once the loader has been told where runtimes are.

Everything else in this package takes `cl` from here. Importing this module loads the OpenCL loader
(about 80 ms); it does not start a runtime. Programs are built by `raw._Program`, because pyopencl's
own class adds a cache on disk, an include path, and a warning for each build log that is not empty
(Intel's never is).
"""

from __future__ import annotations

import re

from clgrad.runtime import icd

SEARCH = icd.prepare()
"""What `icd.prepare` found; the loader reads it when the platforms are first asked for."""

import pyopencl as cl  # noqa: E402 - the search path must stand before the library is loaded
from pyopencl import _cl as raw  # noqa: E402 - as above

_MEMORY = frozenset(
    {
        cl.status_code.MEM_OBJECT_ALLOCATION_FAILURE,
        cl.status_code.OUT_OF_RESOURCES,
        cl.status_code.OUT_OF_HOST_MEMORY,
        cl.status_code.INVALID_BUFFER_SIZE,
    }
)
_BUILD = frozenset(
    {
        cl.status_code.BUILD_PROGRAM_FAILURE,
        cl.status_code.COMPILE_PROGRAM_FAILURE,
        cl.status_code.LINK_PROGRAM_FAILURE,
        cl.status_code.INVALID_PROGRAM_EXECUTABLE,
        cl.status_code.INVALID_BINARY,
        cl.status_code.COMPILER_NOT_AVAILABLE,
    }
)


def is_memory_error(error: BaseException) -> bool:
    """Return whether a driver said that memory ran out, in any of the ways drivers say it."""
    return isinstance(error, cl.Error) and error.code in _MEMORY


def is_build_error(error: BaseException) -> bool:
    """Return whether a driver said that a program cannot be had from its source."""
    return isinstance(error, cl.Error) and error.code in _BUILD


def status_name(code: int) -> str:
    """Return the name of a status code, such as `OUT_OF_RESOURCES`."""
    for name, value in vars(cl.status_code).items():
        if name.isupper() and value == code:
            return name
    return f"status {code}"


def describe(error: BaseException) -> str:
    """Return what a driver said in one line, without pyopencl's repetitions."""
    if isinstance(error, cl.Error):
        routine = getattr(error, "routine", None) or "OpenCL"
        return f"{routine} failed with {status_name(error.code)}"
    return re.sub(r"\s+", " ", str(error)).strip()


__all__ = ["SEARCH", "cl", "describe", "is_build_error", "is_memory_error", "raw"]
