"""Pooling as `torch.nn.functional` has it, where that differs from `clgrad.<name>`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clgrad.functional.pooling import adaptive_max_pool
from clgrad.tensor import Tensor


def _adaptive_max(rank: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    name = f"adaptive_max_pool{rank}d"

    def call(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        return adaptive_max_pool(rank, input, output_size, return_indices)

    def both(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        return adaptive_max_pool(rank, input, output_size, True)

    call.__name__ = call.__qualname__ = name
    both.__name__ = both.__qualname__ = f"{name}_with_indices"
    call.__doc__ = f"""Return the largest element of windows that divide an image evenly.

    Args:
        input: {rank} dimensions after (N, C) or (C).
        output_size: windows along each dimension, one number or one for each; None keeps a size.
        return_indices: also return where in its image each element is, int64.

    Raises:
        ShapeError: an input of another rank, or empty.
    """
    both.__doc__ = f"Return what `{name}` does with `return_indices=True`."
    return call, both


adaptive_max_pool1d, adaptive_max_pool1d_with_indices = _adaptive_max(1)
adaptive_max_pool2d, adaptive_max_pool2d_with_indices = _adaptive_max(2)
adaptive_max_pool3d, adaptive_max_pool3d_with_indices = _adaptive_max(3)
