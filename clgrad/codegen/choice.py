"""The choice between ways to compute one problem, as a kernel family offers it to the tuner.

A family lists its candidates for (problem, traits), the one of its cost model first. What was
measured on a device is part of its traits (`DeviceTraits.tuned`) and replaces that first one where
it names another candidate; anything else there is passed over, so that no file can make a kernel
that the family does not offer. Results are right whatever is chosen.

Problems and choices travel between processes and files as text that people read:

    matmul 128x784x512 NT float32  ->  tile rows=12 columns=2 width=16 pack_a=0 pack_b=1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from clgrad.codegen.spec import Lowered
from clgrad.dtypes import DType, bfloat16, float16, float64
from clgrad.traits import DeviceTraits

P = TypeVar("P")
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come out of a problem.

    Attributes:
        values: in float64, or exactly for integers.
        bound: the largest error of each element.
        dtype: as the result is stored.
    """

    values: NDArray[Any]
    bound: NDArray[Any]
    dtype: DType


@dataclass(frozen=True, slots=True)
class Family(Generic[P, C]):
    """What a family of kernels gives to the tuner.

    Attributes:
        name: the first word of a problem's text.
        describe: the text of a problem, or None for one that is not tuned.
        parse: a problem of dense operands from a text; raises `ClgradValueError`.
        key: the text of the class of sizes that a text belongs to; choices are kept by it.
        candidates: every choice that computes a problem, the family's own first, then those worth
            measuring before others; frozen dataclasses of numbers.
        lower: the launches for a choice.
        awkward: small problems of the same kind, with edges where kernels have theirs, on which a
            candidate is checked before it is measured.
        operands: random operands of a problem of dense ones, as stored.
        expected: what these operands must give.
        result: elements and dtype of the result.
        work: operations of a problem.
    """

    name: str
    describe: Callable[[P], str | None]
    parse: Callable[[str], P]
    key: Callable[[str], str]
    candidates: Callable[[P, DeviceTraits], list[C]]
    lower: Callable[[P, C, DeviceTraits], Lowered]
    awkward: Callable[[P, C], list[P]]
    operands: Callable[[P, np.random.Generator], list[NDArray[Any]]]
    expected: Callable[[P, list[NDArray[Any]]], Expected]
    result: Callable[[P], tuple[int, DType]]
    work: Callable[[P], float]


_families: dict[str, Family[Any, Any]] = {}
_noted: dict[str, int] | None = None


def register(family: Family[P, C]) -> Family[P, C]:
    """Let the tuner know a family."""
    _families[family.name] = family
    return family


def family_of(text: str) -> Family[Any, Any] | None:
    """Return the family that a problem's text belongs to."""
    return _families.get(text.partition(" ")[0])


def text_of(choice: Any) -> str:
    """Return a choice as text: its kind, then its fields."""
    kind = type(choice).__name__.lower()
    return " ".join([kind, *(f"{name}={int(value)}" for name, value in asdict(choice).items())])


def choose(family: Family[P, C], problem: P, traits: DeviceTraits) -> C | None:
    """Return the candidate that was measured to be best here, or None where nothing is known."""
    if _noted is None and not traits.tuned:
        return None
    text = family.describe(problem)
    if text is None:
        return None
    if _noted is not None:
        _noted[text] = _noted.get(text, 0) + 1
    wanted = _table(traits.tuned).get(family.key(text))
    return None if wanted is None else candidate_of(family, problem, wanted, traits)


def candidate_of(family: Family[P, C], problem: P, text: str, traits: DeviceTraits) -> C | None:
    """Return the candidate with this text, or None if the family offers none."""
    return next((c for c in family.candidates(problem, traits) if text_of(c) == text), None)


@lru_cache(maxsize=16)
def _table(tuned: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(tuned)


def note() -> dict[str, int]:
    """Begin to note the problems that are lowered; returns the counts, which go on growing."""
    global _noted
    _noted = {}
    return _noted


def forget() -> None:
    """Note problems no longer."""
    global _noted
    _noted = None


# ---- operands -----------------------------------------------------------------------------------


def random_operand(dtype: DType, count: int, generator: np.random.Generator) -> NDArray[Any]:
    """Return so many elements as stored: small integers, or floats between -1 and 1."""
    if dtype.is_integral:
        return generator.integers(-9 if dtype.is_signed else 0, 9, count).astype(dtype.numpy)
    values = generator.uniform(-1, 1, count)
    if dtype is bfloat16:
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(dtype.numpy)


def valued(array: NDArray[Any], dtype: DType) -> NDArray[Any]:
    """Return the numbers of a stored array: in float64, or as they are for integers."""
    if dtype is bfloat16:
        return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return array.astype(np.float64) if dtype.is_floating_point else array


def expect(
    values: NDArray[Any], magnitudes: NDArray[Any], terms: int, acc: DType, dtype: DType
) -> Expected:
    """Return sums of products with bounds of their errors.

    Args:
        values: the sums; `magnitudes` those of the absolute values of their terms.
        terms: how many terms each has.
        acc: the dtype in which they are made; `dtype` the one in which they are written.
    """
    if not dtype.is_floating_point:
        return Expected(values, np.zeros_like(values), dtype)
    unit = 2.0**-53 if acc is float64 else 2.0**-24
    store = {float16: 2.0**-11, bfloat16: 2.0**-8}.get(dtype, unit)
    sums = (terms + 2) * unit * magnitudes
    return Expected(values, sums + store * np.abs(values) + 1e-7, dtype)
