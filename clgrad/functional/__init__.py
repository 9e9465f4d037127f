"""Functions of tensors that are no records: compositions of ops, calls with shapes to work out.

Each module lists in `__all__` the names that become `clgrad.<name>`, and in `METHODS` those that
are methods of `Tensor` too, with the tensor as first argument. Where `nn.functional` has more than
`clgrad` itself, `EXPORTS` are the names for the latter.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from clgrad.guarding import guard

_NAMES = """
    activation adding arithmetic arranging convolution custom deprecated determinants diagonals
    distances distinct dropping einsum embedding events finding grids histograms imaging inspecting
    joining low_rank making matrix_functions matrix_names memory_forms native_norms normalization
    norms order_statistics padding parts picking placing pooling products reductions refilling
    remaining sampling scans shaping slopes softmax sorting special splitting statistics view_forms
    windows
"""

FAMILIES: tuple[ModuleType, ...] = tuple(
    import_module(f"{__name__}.{name}") for name in _NAMES.split()
)
"""The modules whose functions users see."""

for _family in FAMILIES:
    guard(_family, dict.fromkeys((*_family.__all__, *getattr(_family, "EXPORTS", ()))))
