"""The op table: data and host functions; no kernels, no tensors."""

from clgrad.ops import aten

__all__ = ["aten"]
