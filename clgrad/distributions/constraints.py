"""What values a parameter or a sample may have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clgrad.tensor import Tensor

Check = Callable[[Any], Any]


@dataclass(frozen=True)
class Constraint:
    """A set of values: its name, which elements of a tensor are in it, dims of one element."""

    text: str
    inside: Check
    event_dim: int = 0

    def check(self, value: Tensor) -> Any:
        """Return a bool for each element, which has `event_dim` dims."""
        return self.inside(value)

    def __repr__(self) -> str:
        return self.text


real = Constraint("Real()", lambda x: x == x)
real_vector = Constraint("IndependentConstraint(Real(), 1)", lambda x: (x == x).all(-1), 1)
positive = Constraint("GreaterThan(lower_bound=0.0)", lambda x: x > 0)
nonnegative = Constraint("GreaterThanEq(lower_bound=0.0)", lambda x: x >= 0)
nonnegative_integer = Constraint(
    "IntegerGreaterThan(lower_bound=0)", lambda x: (x % 1 == 0) & (x >= 0)
)
unit_interval = Constraint(
    "Interval(lower_bound=0.0, upper_bound=1.0)", lambda x: (x >= 0) & (x <= 1)
)
boolean = Constraint("Boolean()", lambda x: (x == 0) | (x == 1))
simplex = Constraint("Simplex()", lambda x: (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6), 1)
one_hot = Constraint("OneHot()", lambda x: ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1), 1)
lower_cholesky = Constraint(
    "LowerCholesky()",
    lambda x: (x.tril() == x).flatten(-2).all(-1) & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1),
    2,
)
positive_definite = Constraint(
    "PositiveDefinite()",
    lambda x: (x.mT - x).abs().flatten(-2).amax(-1).lt(1e-6) & (_cholesky_info(x) == 0),
    2,
)


def _cholesky_info(x: Tensor) -> Any:
    from clgrad.linalg import cholesky_ex

    return cholesky_ex(x).info


def interval(low: Any, high: Any) -> Constraint:
    """Return the numbers from `low` to `high`."""
    text = f"Interval(lower_bound={low}, upper_bound={high})"
    return Constraint(text, lambda x: (x >= low) & (x <= high))


def integer_interval(low: int, high: int) -> Constraint:
    """Return the whole numbers from `low` to `high`."""
    text = f"IntegerInterval(lower_bound={low}, upper_bound={high})"
    return Constraint(text, lambda x: (x % 1 == 0) & (x >= low) & (x <= high))


def independent(base: Constraint, count: int) -> Constraint:
    """Return `base` for each of the last `count` dims at once."""
    if not count:
        return base
    return Constraint(
        f"IndependentConstraint({base}, {count})",
        lambda x: base.check(x).flatten(-count).all(-1),
        base.event_dim + count,
    )
