"""Samplers: in which order samples are taken, and in which groups."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

from clgrad.creation import as_tensor, wide_float
from clgrad.errors import ClgradTypeError, ClgradValueError
from clgrad.functional.sampling import chosen, permutation
from clgrad.generator import Generator

T = TypeVar("T")


class Sampler(Generic[T]):
    """Base of samplers: a subclass defines `__iter__`, and `__len__` where there is an end."""

    def __init__(self, data_source: Any = None) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """The numbers of all samples, in order."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Numbers of samples at random.

    Args:
        data_source: has a length.
        replacement: whether a number may come again before all others came.
        num_samples: how many; default: as many as there are.
        generator: the stream to draw from.

    Raises:
        ClgradTypeError: `replacement` is no bool.
        ClgradValueError: `num_samples` is no positive integer.
    """

    def __init__(
        self, data_source: Sized, replacement: Any = False, num_samples: Any = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise ClgradTypeError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ClgradValueError(
                "num_samples should be a positive integer value, but got "
                f"num_samples={self.num_samples}"
            )

    @property
    def num_samples(self) -> Any:
        """How many numbers are drawn."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, left = len(self.data_source), self.num_samples
        if self.replacement:
            yield from chosen(n, left, self.generator)
            return
        while left > 0 and n:
            taken = permutation(n, self.generator)[:left]
            yield from taken
            left -= len(taken)

    def __len__(self) -> int:
        return int(self.num_samples)


class SubsetRandomSampler(Sampler[int]):
    """Given numbers, at random."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for k in permutation(len(self.indices), self.generator):
            yield self.indices[k]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Numbers at random, each as often as its weight says.

    Args:
        weights: not below 0; they need not sum to 1.
        num_samples: how many numbers.
        replacement: whether a number may come again.
        generator: the stream to draw from.

    Raises:
        ClgradValueError: a setting of another kind, or weights that are no vector.
    """

    def __init__(
        self, weights: Any, num_samples: Any, replacement: Any = True,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ClgradValueError(
                f"num_samples should be a positive integer value, but got num_samples={num_samples}"
            )
        if not isinstance(replacement, bool):
            raise ClgradValueError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        made = as_tensor(weights)
        self.weights = made.to(wide_float(made.device))
        if self.weights.ndim != 1:
            raise ClgradValueError(
                "weights should be a 1d sequence but given weights have shape "
                f"{tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        drawn = self.weights.multinomial(
            self.num_samples, self.replacement, generator=self.generator
        )
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of what another sampler yields.

    Args:
        sampler: yields numbers.
        batch_size: how many of them make a list.
        drop_last: leave out a last list that is shorter.

    Raises:
        ClgradValueError: a setting of another kind.
    """

    def __init__(self, sampler: Iterable[int], batch_size: Any, drop_last: Any) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ClgradValueError(
                f"batch_size should be a positive integer value, but got batch_size={batch_size}"
            )
        if not isinstance(drop_last, bool):
            raise ClgradValueError(
                f"drop_last should be a boolean value, but got drop_last={drop_last}"
            )
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        numbers = iter(self.sampler)
        while batch := list(itertools.islice(numbers, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]  # an error where it has no length
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
