"""Datasets: what has samples by number, or yields them one after the other."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from clgrad.creation import tensor
from clgrad.errors import ClgradIndexError, ClgradValueError
from clgrad.functional.sampling import permutation
from clgrad.generator import Generator
from clgrad.tensor import Tensor

T = TypeVar("T")


class Dataset(Generic[T]):
    """Samples by number; a subclass defines `__getitem__`, and `__len__` where there is an end."""

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[T]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T], Iterable[T]):
    """Samples one after the other; a subclass defines `__iter__`."""

    def __add__(self, other: Dataset[T]) -> Any:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Samples are entries of tensors along their first dimension.

    A loader takes a batch by one gather from each tensor, not sample by sample.

    Args:
        tensors: shapes (N, *), with one N.

    Raises:
        AssertionError: the first sizes differ.
    """

    def __init__(self, *tensors: Tensor) -> None:
        if any(t.shape[0] != tensors[0].shape[0] for t in tensors):
            raise AssertionError("Size mismatch between tensors")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    def batch(self, indices: Sequence[int]) -> list[Tensor]:
        """Return what collating the samples of these numbers would give."""
        found = []
        chosen: dict[Any, Tensor] = {}
        for t in self.tensors:
            if t.device not in chosen:
                chosen[t.device] = tensor(list(indices), device=t.device)
            found.append(t[chosen[t.device]])
        return found


class StackDataset(Dataset[Any]):
    """Samples of several datasets side by side: as a tuple, or by the names that they are given.

    Raises:
        ClgradValueError: no datasets, positional ones beside named ones, different lengths.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ClgradValueError(
                "Supported either ``tuple``- (via ``args``) or ``dict``- (via ``kwargs``) like "
                "input/output, but both types are given."
            )
        if not args and not kwargs:
            raise ClgradValueError("At least one dataset should be passed")
        self.datasets: Any = args or kwargs
        parts = list(kwargs.values() if kwargs else args)
        self._length = len(parts[0])
        if any(len(part) != self._length for part in parts):
            raise ClgradValueError("Size mismatch between datasets")

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: part[index] for name, part in self.datasets.items()}
        return tuple(part[index] for part in self.datasets)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[Any]):
    """The samples of several datasets, one dataset after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        if index < 0:
            if -index > len(self):
                raise ClgradValueError("absolute value of index should not exceed dataset length")
            index += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        if which == len(self.datasets):
            raise ClgradIndexError(f"ConcatDataset: index {index} is out of range for {len(self)}.")
        before = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][index - before]


class ChainDataset(IterableDataset[Any]):
    """What several iterable datasets yield, one dataset after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(self.datasets)

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)


class Subset(Dataset[T]):
    """Some samples of a dataset, by their numbers in it."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, list):
            made: T = self.dataset[[self.indices[k] for k in index]]
            return made
        found: T = self.dataset[self.indices[index]]
        return found

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset[Any]]:
    """Return disjoint subsets of a dataset, with samples at random.

    Args:
        dataset: has a length.
        lengths: how many samples each gets, or which fractions, which sum to 1.
        generator: the stream to draw from.

    Raises:
        ClgradValueError: the lengths do not sum to the dataset's.
    """
    sizes = list(lengths)
    if math.isclose(sum(sizes), 1) and sum(sizes) <= 1:
        for k, part in enumerate(sizes):
            if not 0 <= part <= 1:
                raise ClgradValueError(f"Fraction at index {k} is not between 0 and 1")
        sizes = [math.floor(len(dataset) * part) for part in sizes]
        for k in range(len(dataset) - int(sum(sizes))):
            sizes[k % len(sizes)] += 1
        for k, size in enumerate(sizes):
            if not size:
                warnings.warn(
                    f"Length of split at index {k} is 0. This might result in an empty dataset.",
                    stacklevel=2,
                )
    if sum(sizes) != len(dataset):
        raise ClgradValueError(
            "Sum of input lengths does not equal the length of the input dataset! Got "
            f"{sum(sizes)} for {len(dataset)}."
        )
    order = permutation(len(dataset), generator)
    ends = list(itertools.accumulate(int(n) for n in sizes))
    return [Subset(dataset, order[end - int(n) : end]) for n, end in zip(sizes, ends, strict=True)]
