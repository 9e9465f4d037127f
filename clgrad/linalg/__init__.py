"""Linear algebra: norms."""

from __future__ import annotations

from clgrad.functional.norms import linalg_norm as norm
from clgrad.functional.norms import matrix_norm, vector_norm

__all__ = ["matrix_norm", "norm", "vector_norm"]
