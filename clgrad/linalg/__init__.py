"""Linear algebra on batches of matrices, under the names of `torch.linalg`."""

from __future__ import annotations

import sys

from clgrad.errors import LinAlgError
from clgrad.functional.determinants import linalg_det as det
from clgrad.functional.determinants import linalg_slogdet as slogdet
from clgrad.functional.factors import (
    cholesky,
    cholesky_ex,
    lu,
    lu_factor,
    lu_factor_ex,
    solve_triangular,
)
from clgrad.functional.least_squares import lstsq, matrix_rank, pinv
from clgrad.functional.matrix_functions import linalg_diagonal as diagonal
from clgrad.functional.matrix_functions import matrix_exp, matrix_power, vander, vecdot
from clgrad.functional.norms import linalg_norm as norm
from clgrad.functional.norms import matrix_norm, vector_norm
from clgrad.functional.products import linalg_cross as cross
from clgrad.functional.products import matmul, multi_dot
from clgrad.functional.reflections import householder_product, qr
from clgrad.functional.solving import (
    cond,
    inv,
    inv_ex,
    solve,
    solve_ex,
    tensorinv,
    tensorsolve,
)
from clgrad.functional.solving import linalg_lu_solve as lu_solve
from clgrad.functional.spectra import eigh, eigvalsh, svd, svdvals
from clgrad.guarding import guard

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eigh",
    "eigvalsh", "householder_product", "inv", "inv_ex", "lstsq", "lu", "lu_factor",
    "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power",
    "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex",
    "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot",
    "vector_norm",
]  # fmt: skip

guard(sys.modules[__name__], __all__)
