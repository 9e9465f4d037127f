"""clgrad: PyTorch's autograd on any OpenCL device.

    import clgrad
    x = clgrad.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()

Importing it finds no device and compiles nothing; the first tensor does.
"""

from __future__ import annotations

import math
from typing import Any

from clgrad import autograd, dispatch, errors, methods
from clgrad import random as random
from clgrad.autocasting import (
    autocast,
    get_autocast_dtype,
    is_autocast_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
)
from clgrad.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from clgrad.calls import function as _function
from clgrad.calls import inplace as _inplace
from clgrad.creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    from_numpy,
    full,
    full_like,
    get_default_device,
    ones,
    ones_like,
    set_default_device,
    set_default_dtype,
    tensor,
    zeros,
    zeros_like,
)
from clgrad.creation import resolve_device as _resolve
from clgrad.creation import resolve_device as device
from clgrad.determinism import (
    are_deterministic_algorithms_enabled,
    get_deterministic_debug_mode,
    get_float32_matmul_precision,
    is_deterministic_algorithms_warn_only_enabled,
    set_deterministic_debug_mode,
    set_float32_matmul_precision,
    use_deterministic_algorithms,
)
from clgrad.dtypes import (
    DType,
    bfloat16,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    promote_types,
    uint8,
    uint16,
    uint32,
    uint64,
)
from clgrad.dtypes import DType as dtype  # noqa: N813  # PyTorch's name
from clgrad.dtypes import bool_ as bool
from clgrad.dtypes import float16 as half
from clgrad.dtypes import float32 as float
from clgrad.dtypes import float64 as double
from clgrad.dtypes import int16 as short
from clgrad.dtypes import int32 as int
from clgrad.dtypes import int64 as long
from clgrad.errors import (
    AutogradError,
    ClgradError,
    ClgradIndexError,
    ClgradNotImplementedError,
    ClgradRuntimeError,
    ClgradTypeError,
    ClgradValueError,
    ClgradWarning,
    CompileError,
    DeviceError,
    DTypeError,
    ExecutionError,
    FormulaError,
    GraphFreedError,
    OutOfMemoryError,
    ShapeError,
    StateDictError,
    UnsupportedDTypeError,
    VersionError,
)
from clgrad.formats import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    preserve_format,
    strided,
)
from clgrad.functional import FAMILIES as _FAMILIES
from clgrad.generator import Generator, default_generator
from clgrad.memory import (
    empty_cache,
    memory_stats,
    memory_summary,
    reset_peak_memory_stats,
)
from clgrad.ops.registry import OPS as _OPS
from clgrad.ops.registry import Op
from clgrad.ops.registry import pointwise as _declare_pointwise
from clgrad.ops.registry import reduction as _declare_reduction
from clgrad.printing import get_printoptions, printoptions, set_printoptions
from clgrad.random import get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from clgrad.serialization import load, save
from clgrad.tape.anomaly import is_anomaly_check_nan_enabled, is_anomaly_enabled
from clgrad.tensor import Size, Tensor

e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None

_BY_HAND = frozenset(("to", "copy", "full", "arange", "clone", "rand", "randn", "mm", "bmm"))

_WRITING = frozenset(("gcd", "lcm", "ldexp", "xlogy"))
"""Ops of two tensors whose in-place forms are functions too."""

__version__ = "0.1.0"


def _install() -> list[str]:
    """Enter the functions of the table, and those of `functional`, under their names."""
    made: list[str] = []
    for op in list(_OPS.values()):
        name = op.name.strip("_")
        if op.kind in ("view", "creation") or op.name in _BY_HAND or op.name[0] == "_":
            continue
        calls = dict.fromkeys((name, *op.aliases), _function(op))
        if op.inplace and (len(op.inputs) == 1 or op.name in _WRITING):
            calls |= dict.fromkeys((f"{n}_" for n in tuple(calls)), _inplace(op))
        globals().update(calls)
        made += calls
    for family in _FAMILIES:
        for name in getattr(family, "EXPORTS", family.__all__):
            globals()[name] = getattr(family, name)
            made.append(name)
    return list(dict.fromkeys(made))


def __getattr__(name: str) -> Any:
    if name in (
        "nn", "optim", "utils", "linalg", "fft", "special", "profiler", "testing", "func", "models",
        "accelerator", "amp", "distributions", "masked", "signal",
    ):  # fmt: skip
        import importlib
        from importlib.util import find_spec

        if find_spec(f"clgrad.{name}") is not None:
            return importlib.import_module(f"clgrad.{name}")
    if name == "vmap":
        from clgrad.func import vmap

        return vmap
    from clgrad.absent import missing
    from clgrad.nn import native

    if name in native.__all__:
        return getattr(native, name)
    raise missing("clgrad", name)


def devices() -> list[Any]:
    """Return every usable device, best first."""
    from clgrad.runtime import discovery

    return list(discovery.devices())


def synchronize(device: Any = None) -> None:
    """Enqueue what is pending and wait for it, on one device or on all."""
    dispatch.backend.synchronize(None if device is None else _resolve(device))


def flush(device: Any = None) -> None:
    """Enqueue what is pending, without waiting, on one device or on all."""
    dispatch.backend.flush(None if device is None else _resolve(device))


def dump_kernels(path: Any) -> Any:
    """Return a `with` block that writes every kernel launched in it to the folder `path`.

    `index.md` there lists them; each file says from which ops and lines of the program its kernel
    came, and can be compiled as it is.
    """
    from clgrad.graph.dump import dump_kernels as context

    return context(path)


def launch_count() -> Any:
    """Return how many kernels this process has launched so far."""
    from clgrad.runtime.profile import counters

    return counters.launches


def is_tensor(value: Any) -> Any:
    """Return whether `value` is a tensor."""
    return isinstance(value, Tensor)


def numel(x: Tensor) -> Any:
    """Return the number of elements."""
    return x.numel()


def result_type(a: Any, b: Any) -> DType:
    """Return the dtype in which an op of these two computes."""
    from clgrad.dtypes import of_number
    from clgrad.dtypes import result_type as rule

    def operand(v: Any) -> tuple[DType, str]:
        if isinstance(v, Tensor):
            return v.dtype, "dim" if v.ndim else "zero"
        return of_number(v), "number"

    return rule([operand(a), operand(b)])


def pointwise(name: str, inputs: str, formula: str, **options: Any) -> Any:
    """Declare an op of your own by formulas, and return the function that computes it.

    Args:
        name: its name, which must be new.
        inputs: names of the operands, then after `*` numeric parameters with their defaults.
        formula: value of one element.
        options: `d<input>="..."` for derivatives, and what `ops.registry.pointwise` takes.

    Example:
        >>> swish = clgrad.pointwise("swish2", "x", "x / (1 + exp(-x))",
        ...     dx="g * (y + (1 - y) / (1 + exp(-x)))")
    """
    return _function(_declare_pointwise(name, inputs, formula, **options))


def reduction(name: str, inputs: str = "x", **options: Any) -> Any:
    """Declare a reduction of your own by formulas, and return the function that computes it.

    Args:
        name: its name, which must be new.
        inputs: name of the operand.
        options: `init` and `combine` (over `a`, what was folded, and `b`), `element` (over the
            operand and its position `i`), `finish` (over `a` and the count `n`), the derivative
            `dx` (over `g`, `y`, `x`, `n`), and what else `ops.registry.reduction` takes.

    Returns:
        A function of a tensor, `dim=None` and `keepdim=False`.

    Example:
        >>> power = clgrad.reduction("power2", init="0", element="x * x", combine="a + b",
        ...     finish="a / n", dx="g * 2 * x / n")
    """
    return _function(_declare_reduction(name, inputs, **options))


__all__ = [
    "AutogradError",
    "ClgradError",
    "ClgradIndexError",
    "ClgradNotImplementedError",
    "ClgradRuntimeError",
    "ClgradTypeError",
    "ClgradValueError",
    "ClgradWarning",
    "CompileError",
    "DType",
    "DTypeError",
    "DeviceError",
    "ExecutionError",
    "FormulaError",
    "Generator",
    "GraphFreedError",
    "Op",
    "OutOfMemoryError",
    "ShapeError",
    "Size",
    "StateDictError",
    "Tensor",
    "UnsupportedDTypeError",
    "VersionError",
    "arange",
    "are_deterministic_algorithms_enabled",
    "as_tensor",
    "autocast",
    "autograd",
    "bfloat16",
    "bool",
    "channels_last",
    "channels_last_3d",
    "contiguous_format",
    "default_generator",
    "device",
    "devices",
    "double",
    "dtype",
    "dump_kernels",
    "empty",
    "empty_cache",
    "empty_like",
    "enable_grad",
    "errors",
    "float",
    "float16",
    "float32",
    "float64",
    "flush",
    "from_numpy",
    "full",
    "full_like",
    "get_autocast_dtype",
    "get_default_device",
    "get_default_dtype",
    "get_deterministic_debug_mode",
    "get_float32_matmul_precision",
    "get_printoptions",
    "get_rng_state",
    "half",
    "inference_mode",
    "initial_seed",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "is_autocast_enabled",
    "is_deterministic_algorithms_warn_only_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "is_tensor",
    "launch_count",
    "load",
    "long",
    "manual_seed",
    "memory_stats",
    "memory_summary",
    "methods",
    "no_grad",
    "numel",
    "ones",
    "ones_like",
    "pointwise",
    "preserve_format",
    "printoptions",
    "promote_types",
    "random",
    "reduction",
    "reset_peak_memory_stats",
    "result_type",
    "save",
    "seed",
    "set_autocast_dtype",
    "set_autocast_enabled",
    "set_default_device",
    "set_default_dtype",
    "set_deterministic_debug_mode",
    "set_float32_matmul_precision",
    "set_grad_enabled",
    "set_printoptions",
    "set_rng_state",
    "short",
    "strided",
    "synchronize",
    "tensor",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "use_deterministic_algorithms",
    "zeros",
    "zeros_like",
]  # fmt: skip
__all__ += _install()  # noqa: PLE0605  # a list of names, from the table
