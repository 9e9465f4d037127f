"""PyTorch's switches for determinism and exact products: remembered, and always satisfied.

No kernel adds in an order that is left to chance, so a program that asks for deterministic
algorithms has them already, and none that there is refuses to run.
"""

from __future__ import annotations

from clgrad.errors import ClgradRuntimeError, ClgradTypeError

_PRECISIONS = ("highest", "high", "medium")
_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Allow products of float32 to be less exact; here they are exact whatever is allowed.

    For convolutions there is a choice: `set_float32_conv_precision`.

    Args:
        precision: `highest`, `high` or `medium`.

    Raises:
        ClgradRuntimeError: it is another one.
    """
    global _precision
    if precision not in _PRECISIONS:
        raise ClgradRuntimeError(
            f"set_float32_matmul_precision: got {precision!r}. Expected one of "
            f"{', '.join(map(repr, _PRECISIONS))}."
        )
    _precision = precision


def get_float32_matmul_precision() -> str:
    """Return what `set_float32_matmul_precision` was told last."""
    return _precision


_MODES = ("default", "warn", "error")
_enabled = _warn_only = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for the same bits in every run; clgrad gives them whether asked or not.

    Args:
        mode: whether they are asked for.
        warn_only: in PyTorch, warn instead of refusing an op that has no such algorithm.
    """
    global _enabled, _warn_only
    _enabled, _warn_only = bool(mode), bool(warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """Return whether deterministic algorithms were asked for."""
    return _enabled


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Return whether they were asked for with `warn_only`."""
    return _warn_only


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """Ask by number or name: 0 or `default`, 1 or `warn`, 2 or `error`.

    Raises:
        ClgradTypeError: the mode is neither a number nor a text.
        ClgradRuntimeError: it is another one.
    """
    if isinstance(debug_mode, bool) or not isinstance(debug_mode, int | str):
        raise ClgradTypeError(
            f"debug_mode must be str or int, but got {type(debug_mode).__name__}. "
            f"Expected one of {', '.join(_MODES)}."
        )
    if debug_mode not in _MODES and debug_mode not in (0, 1, 2):
        raise ClgradRuntimeError(
            f"invalid value of debug_mode, expected one of {', '.join(_MODES)} or 0, 1, 2, "
            f"but got {debug_mode!r}."
        )
    mode = _MODES.index(debug_mode) if isinstance(debug_mode, str) else debug_mode
    use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


def get_deterministic_debug_mode() -> int:
    """Return the number of the mode: 0 where nothing was asked for, 1 with `warn_only`, else 2."""
    return (1 if _warn_only else 2) if _enabled else 0
