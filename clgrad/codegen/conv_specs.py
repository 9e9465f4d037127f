"""Specs of the convolution kernels: what each template is told, and the order of its parameters.

A spec bakes dtypes and what is computed; sizes, strides and offsets are kernel arguments. Which
spec suits a problem is decided in `conv`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clgrad.codegen.matmul_specs import finish_kernel
from clgrad.codegen.source import KernelSource
from clgrad.dtypes import DType
from clgrad.traits import DeviceTraits

_LONG = np.dtype(np.int64).char
_INT = np.dtype(np.int32).char


@dataclass(frozen=True, slots=True)
class DirectSpec:
    """The kernel of one sum after the other (`conv.cl.j2`)."""

    what: str
    a: DType
    b: DType
    out: DType
    acc: DType
    wide_index: bool

    def render(self, traits: DeviceTraits) -> KernelSource:
        """Return the kernel."""
        index = _LONG if self.wide_index else _INT
        return finish_kernel(
            "conv.cl.j2", f"conv_{self.what}", traits,
            memory=(), stored=self.out, store_width=1, epilogue=None,
            args=("buffer", _LONG, "buffer", _LONG, "buffer", *(index,) * 32),
            what=self.what, a=self.a, b=self.b, out=self.out, acc=self.acc.cl,
            index="long" if self.wide_index else "int", is_cpu=traits.is_cpu,
            fused=self.acc.is_floating_point and not traits.contract_by_pragma,
        )  # fmt: skip
