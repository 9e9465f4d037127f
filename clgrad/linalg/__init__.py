"""Linear algebra: norms, products."""

from __future__ import annotations

from clgrad.functional.norms import linalg_norm as norm
from clgrad.functional.norms import matrix_norm, vector_norm
from clgrad.functional.products import linalg_cross as cross
from clgrad.functional.products import matmul, multi_dot

__all__ = ["cross", "matmul", "matrix_norm", "multi_dot", "norm", "vector_norm"]
