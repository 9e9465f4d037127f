"""`DataLoader`: goes through a dataset in batches, in this process."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from clgrad.errors import ClgradValueError, ClgradWarning
from clgrad.generator import Generator
from clgrad.utils.data.collate import default_collate, default_convert
from clgrad.utils.data.dataset import IterableDataset, TensorDataset
from clgrad.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler


def get_worker_info() -> None:
    """Return None: samples are made in this process."""


class DataLoader:
    """Yields batches of a dataset, once each time that it is gone through.

    Args:
        dataset: has `__getitem__` and a length, or is an `IterableDataset`.
        batch_size: samples in a batch; None: each sample by itself.
        shuffle: take samples at random.
        sampler: yields the numbers of samples; instead of `shuffle`.
        batch_sampler: yields lists of numbers; instead of `batch_size`, `shuffle`, `sampler` and
            `drop_last`.
        num_workers: taken for PyTorch's sake: samples are made in this process.
        collate_fn: makes a batch of a list of samples; default: `default_collate`.
        drop_last: leave out a last batch that is smaller.
        generator: the stream that `shuffle` draws from.
        pin_memory, timeout, worker_init_fn, multiprocessing_context, prefetch_factor,
            persistent_workers, pin_memory_device, in_order: taken for PyTorch's sake.

    Raises:
        ClgradValueError: settings that exclude one another.
    """

    def __init__(
        self, dataset: Any, batch_size: int | None = 1, shuffle: bool | None = None,
        sampler: Iterable[int] | None = None, batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0, collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False, drop_last: bool = False, timeout: float = 0,
        worker_init_fn: Any = None, multiprocessing_context: Any = None,
        generator: Generator | None = None, *, prefetch_factor: int | None = None,
        persistent_workers: bool = False, pin_memory_device: str = "", in_order: bool = True,
    ) -> None:  # fmt: skip
        if num_workers < 0:
            raise ClgradValueError(
                "num_workers option should be non-negative; use num_workers=0 to disable "
                "multiprocessing."
            )
        if num_workers:
            warnings.warn(
                f"DataLoader: num_workers={num_workers} changes nothing: samples are made in this "
                "process.",
                ClgradWarning,
                stacklevel=2,
            )
        self.dataset = dataset
        self.num_workers = num_workers
        self.generator = generator
        self._iterable = isinstance(dataset, IterableDataset)
        self._check(batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size, drop_last = None, False
        elif sampler is None and not self._iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else None
            sampler = SequentialSampler(dataset) if sampler is None else sampler
        if batch_size is not None and batch_sampler is None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        batched = batch_size is not None or batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)

    def _check(
        self, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
    ) -> None:
        if self._iterable:
            for name, value in (("shuffle", shuffle), ("sampler", sampler),
                                ("batch_sampler", batch_sampler)):  # fmt: skip
                if value not in (None, False):
                    raise ClgradValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, but "
                        f"got {name}={value}"
                    )
        if sampler is not None and shuffle:
            raise ClgradValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ClgradValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                    "and drop_last"
                )
        elif batch_size is None and drop_last:
            raise ClgradValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )

    def __iter__(self) -> Iterator[Any]:
        if self._iterable:
            yield from self._streamed()
        elif self.batch_sampler is not None:
            for numbers in self.batch_sampler:
                yield self._fetched(numbers)
        else:
            assert self.sampler is not None
            for number in self.sampler:
                yield self.collate_fn(self.dataset[number])

    def _fetched(self, numbers: list[int]) -> Any:
        """Return the batch of some samples."""
        dataset = self.dataset
        if self.collate_fn is default_collate and type(dataset) is TensorDataset:
            return dataset.batch(numbers)
        if hasattr(dataset, "__getitems__"):
            return self.collate_fn(dataset.__getitems__(numbers))
        return self.collate_fn([dataset[k] for k in numbers])

    def _streamed(self) -> Iterator[Any]:
        samples = iter(self.dataset)
        if self.batch_size is None:
            yield from map(self.collate_fn, samples)
            return
        while batch := list(itertools.islice(samples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.collate_fn(batch)

    def __len__(self) -> int:
        if self._iterable:
            count = len(self.dataset)
            if self.batch_size is None:
                return count
            return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
        steps: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
        return len(steps)
