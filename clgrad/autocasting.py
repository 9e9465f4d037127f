"""Automatic mixed precision: products in a short dtype, losses and decompositions in float32.

Which functions cast is PyTorch's list for CPUs, on every device: a short dtype is only how values
are stored, sums are kept in float32 in any case. `guarding` asks here before it calls one of them.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from clgrad.dtypes import DType, as_dtype, bfloat16, float16, float32
from clgrad.errors import ClgradRuntimeError, ClgradTypeError, ClgradValueError
from clgrad.tape.grad_mode import _Switch
from clgrad.tensor import Tensor

__all__ = [
    "autocast", "get_autocast_dtype", "is_autocast_available", "is_autocast_enabled",
    "set_autocast_dtype", "set_autocast_enabled",
]  # fmt: skip

_SHORT = (
    "linear matmul mm bmm addmm addbmm baddbmm einsum tensordot multi_dot chain_matmul vecdot "
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d prelu "
    "scaled_dot_product_attention multi_head_attention_forward"
)
_FLOAT32 = (
    "avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d max_unpool1d max_unpool2d "
    "max_unpool3d "
    "fractional_max_pool2d fractional_max_pool3d binary_cross_entropy "
    "binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy ctc_loss "
    "hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss multi_margin_loss "
    "multilabel_margin_loss nll_loss poisson_nll_loss smooth_l1_loss soft_margin_loss "
    "triplet_margin_loss grid_sample grid_sampler cdist prod quantile nanquantile trace cholesky "
    "cholesky_ex cholesky_inverse cholesky_solve cond eigh eigvalsh geqrf householder_product "
    "inv inv_ex inverse lstsq lu_solve matrix_rank orgqr ormqr pinverse qr solve svd svdvals "
    "tensorinv tensorsolve triangular_solve"
)
_WIDEST = "cat concat concatenate stack index_copy"

POLICIES = (
    dict.fromkeys(_SHORT.split(), "short")
    | dict.fromkeys(_FLOAT32.split(), "float32")
    | dict.fromkeys(_WIDEST.split(), "widest")
)
"""What the operands of a function are cast to, where it is not what they are."""


class _State(threading.local):
    def __init__(self) -> None:
        self.enabled: set[str] = set()
        self.dtypes: dict[str, DType] = {}
        self.paused = False


_state = _State()


class Switch:
    """How many threads have autocasting on for some kind of device: the common case is one test."""

    open = 0
    lock = threading.Lock()


def _set(kind: str, enabled: bool) -> None:
    before = bool(_state.enabled)
    (_state.enabled.add if enabled else _state.enabled.discard)(kind)
    with Switch.lock:
        Switch.open += bool(_state.enabled) - before


def cast_call(policy: str, function: Callable[..., Any], args: Any, named: Any) -> Any:
    """Call a function on operands that are cast as `policy` says; nothing inside casts again."""
    if _state.paused or not _state.enabled:
        return function(*args, **named)
    found: list[Tensor] = []
    _collect((args, tuple(named.values())), found)
    target = float32
    if policy == "short":
        target = next((_dtype(x.device.kind) for x in found), float32)
    elif policy == "widest":
        target = float32 if any(x.dtype is float32 for x in found) else target
        if all(x.dtype is not float32 for x in found) and len({x.dtype for x in found}) < 2:
            return function(*args, **named)
    if found:
        args = cast_to(args, target)
        named = {name: cast_to(value, target) for name, value in named.items()}
    _state.paused = True
    try:
        return function(*args, **named)
    finally:
        _state.paused = False


def _eligible(value: Any) -> bool:
    """Whether autocasting is about a value: a tensor of at most 32 bits where it is on."""
    return (
        isinstance(value, Tensor)
        and value.dtype in (float32, bfloat16, float16)
        and value.device.kind in _state.enabled
    )


def _collect(values: Sequence[Any], found: list[Tensor]) -> None:
    for value in values:
        if isinstance(value, list | tuple):
            _collect(value, found)
        elif _eligible(value):
            found.append(value)


def cast_to(value: Any, dtype: DType) -> Any:
    """Return tensors of at most 32 bits, also in lists and tuples, in `dtype`."""
    if _eligible(value):
        return value if value.dtype is dtype else value.to(dtype)
    if type(value) in (list, tuple):
        return type(value)([cast_to(v, dtype) for v in value])
    return value


def _kind(op: str, device_type: Any) -> str:
    """Return a kind of device as they are called here.

    Raises:
        ClgradValueError: it is no text. ClgradRuntimeError: there is no such kind.
    """
    if not isinstance(device_type, str):
        raise ClgradValueError(
            f"{op}: Expected `device_type` of type `str`, got: `{type(device_type)}`. "
            "Hint: x.device.type is one."
        )
    kind = device_type.partition(":")[0]
    if kind not in ("cpu", "gpu", "accelerator"):
        raise ClgradRuntimeError(
            f"{op}: unsupported autocast device_type '{device_type}'. Expected 'cpu', 'gpu' or "
            "'accelerator'. Hint: x.device.type is one of them."
        )
    return kind


def _dtype(kind: str) -> DType:
    return _state.dtypes.get(kind, bfloat16)


class autocast(_Switch):  # noqa: N801  # PyTorch's name
    """A `with` block, or decorator, in which products are computed in a short dtype.

    Operands of products, convolutions and attention that are float32 are cast to `dtype`; short
    operands of most losses and of linear algebra to float32; what is joined to the widest among it.
    float64 stays. Leave the block before `backward()`, which follows the dtypes of the forward.

    Args:
        device_type: `cpu`, `gpu` or `accelerator`, as `tensor.device.type` says: the kind of device
            on which tensors are cast.
        dtype: bfloat16 or float16; default: bfloat16, or what `set_autocast_dtype` was told.
        enabled: False: cast nothing, also inside another block.
        cache_enabled: taken for PyTorch's sake: casts fuse with what reads them.

    Raises:
        ClgradValueError: `device_type` is no text. ClgradRuntimeError: there is no such kind.
        ClgradTypeError: `dtype` is none.

    Example:
        >>> with clgrad.autocast("cpu"):
        ...     loss = nn.functional.mse_loss(layer(x), target)  # the product in bfloat16
        >>> loss.backward()
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:  # fmt: skip
        self.device_type = device_type
        self._kind = _kind("autocast", device_type)
        if dtype is not None and not isinstance(dtype, DType):
            raise ClgradTypeError(
                f"autocast: dtype is a {type(dtype).__name__}. Expected clgrad.bfloat16."
            )
        self.fast_dtype = _dtype(self._kind) if dtype is None else as_dtype(dtype)
        self._cache = cache_enabled
        self._enabled = enabled
        self._before: list[tuple[bool, DType | None]] = []
        if enabled and self.fast_dtype not in (bfloat16, float16):
            warnings.warn(
                f"In {self._kind} autocast, but the target dtype {self.fast_dtype} is not "
                "supported. Disabling autocast. Supported are bfloat16 and float16.",
                UserWarning,
                stacklevel=2,
            )
            self._enabled = False

    def _again(self) -> autocast:
        return autocast(self.device_type, self.fast_dtype, self._enabled, self._cache)

    def __enter__(self) -> autocast:  # noqa: PYI034  # Self needs Python 3.11
        self._before.append((self._kind in _state.enabled, _state.dtypes.get(self._kind)))
        _state.dtypes[self._kind] = self.fast_dtype
        _set(self._kind, self._enabled)
        return self

    def __exit__(self, *error: object) -> None:
        enabled, dtype = self._before.pop()
        _set(self._kind, enabled)
        if dtype is None:
            del _state.dtypes[self._kind]
        else:
            _state.dtypes[self._kind] = dtype


def is_autocast_available(device_type: str) -> bool:
    """Return whether there is autocasting for a kind of device: for all that there are."""
    return device_type in ("cpu", "gpu", "accelerator")


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Return whether autocasting is on in this thread, for a kind of device or for any."""
    if device_type is None:
        return bool(_state.enabled)
    return _kind("is_autocast_enabled", device_type) in _state.enabled


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Switch autocasting on or off in this thread; `autocast` does it for a block."""
    _set(_kind("set_autocast_enabled", device_type), bool(enabled))


def get_autocast_dtype(device_type: str) -> DType:
    """Return the dtype that products are computed in under `autocast`."""
    return _dtype(_kind("get_autocast_dtype", device_type))


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """Set the dtype that products are computed in under `autocast`."""
    _state.dtypes[_kind("set_autocast_dtype", device_type)] = as_dtype(dtype)


class SameCasting:
    """A block that casts as it was done where this was made: for what is computed again later."""

    def __init__(self) -> None:
        self._blocks = [
            autocast(kind, _dtype(kind), kind in _state.enabled)
            for kind in sorted({*_state.enabled, *_state.dtypes})
        ]

    def __enter__(self) -> None:
        for block in self._blocks:
            block.__enter__()

    def __exit__(self, *error: object) -> None:
        for block in reversed(self._blocks):
            block.__exit__(None, None, None)
