"""From a list of samples to a batch: tensors are stacked, what holds them keeps its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clgrad.creation import get_default_device, tensor, wide_float
from clgrad.errors import ClgradRuntimeError, ClgradTypeError
from clgrad.functional.joining import stack
from clgrad.tensor import Tensor


def default_convert(data: Any) -> Any:
    """Return a sample with its NumPy arrays as tensors; what else it holds stays."""
    if isinstance(data, np.ndarray | np.generic) and data.dtype.kind in "biuf":
        return tensor(data)
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*[default_convert(value) for value in data])
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return [default_convert(value) for value in data]
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """Return a batch of samples that are alike.

    Tensors and arrays are stacked, numbers become a tensor (Python's floats one of float64, where
    the device has it), strings a list; dictionaries and sequences are gone through.

    Args:
        batch: samples, at least one.

    Raises:
        ClgradTypeError: samples of another type.
        ClgradRuntimeError: sequences of different lengths.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(list(batch))
    if isinstance(first, np.ndarray | np.generic) and first.dtype.kind in "biuf":
        return tensor(np.stack([np.asarray(sample) for sample in batch]))
    if isinstance(first, bool | int | float):
        wanted = wide_float(get_default_device()) if isinstance(first, float) else None
        return tensor(list(batch), dtype=wanted)
    if isinstance(first, str | bytes):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise ClgradRuntimeError(
                "default_collate: each element in list of batch should be of equal size"
            )
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise ClgradTypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found "
        f"{type(first)}. Hint: pass collate_fn."
    )
