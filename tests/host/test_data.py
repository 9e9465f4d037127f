"""Datasets, samplers, loaders: orders and batches as PyTorch's where chance has no part."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("torch")

from twin import same

import clgrad
from clgrad.testing.interpreter import interpreted
from clgrad.utils import data


class Point(NamedTuple):
    x: int
    y: int


def module(m: Any) -> Any:
    return importlib.import_module(f"{m.__name__}.utils.data")


def pairs(m: Any, n: int = 7) -> Any:
    return module(m).TensorDataset(m.arange(n * 2.0).reshape(n, 2), m.arange(n))


class Squares:
    def __len__(self) -> int:
        return 5

    def __getitem__(self, k: int) -> Any:
        if k >= 5:
            raise IndexError(k)
        return {"k": k, "square": float(k * k), "name": f"n{k}", "pair": (k, np.float32(k / 2))}


def counting(m: Any, n: int = 7) -> Any:
    class Count(module(m).IterableDataset):  # type: ignore[name-defined, misc]
        def __iter__(self) -> Iterator[int]:
            return iter(range(n))

    return Count()


PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {
    "batches": lambda m, d: [list(d.DataLoader(pairs(m), 3)), len(d.DataLoader(pairs(m), 3))],
    "drop last": lambda m, d: list(d.DataLoader(pairs(m), 3, drop_last=True)),
    "default": lambda m, d: list(d.DataLoader(pairs(m))),
    "without batches": lambda m, d: [[list(a), b] for a, b in d.DataLoader(pairs(m), None)],
    "collate": lambda m, d: list(d.DataLoader(pairs(m), 2, collate_fn=len)),
    "sampler": lambda m, d: list(d.DataLoader(pairs(m), 2, sampler=[3, 1, 1, 6, 0])),
    "batch sampler": lambda m, d: list(d.DataLoader(pairs(m), batch_sampler=[[0, 6], [2]])),
    "nested": lambda m, d: [
        [b["k"], b["square"], b["name"], b["pair"]] for b in d.DataLoader(Squares(), 2)
    ],
    "iterable": lambda m, d: list(d.DataLoader(counting(m), 3)),
    "iterable drop": lambda m, d: list(d.DataLoader(counting(m), 3, drop_last=True)),
    "iterable single": lambda m, d: list(d.DataLoader(counting(m), None)),
    "chain": lambda m, d: list(counting(m, 2) + counting(m, 3)),
    "lengths": lambda m, d: [
        len(d.DataLoader(pairs(m), n, drop_last=b)) for n in (1, 2, 7, 8) for b in (False, True)
    ],
    "tensors": lambda m, d: [len(pairs(m)), list(pairs(m)[3]), list(pairs(m)[1:3])],
    "subset": lambda m, d: [list(d.Subset(pairs(m), [5, 1])[0]), len(d.Subset(pairs(m), [5, 1]))],
    "joined": lambda m, d: [
        len(pairs(m, 2) + pairs(m, 3)), [(pairs(m, 2) + pairs(m, 3))[k][1] for k in (0, 1, 4, -1)],
    ],
    "stacked": lambda m, d: [
        d.StackDataset(a=[1, 2], b=[3, 4])[1], list(d.StackDataset([1, 2], "ab")[0]),
    ],
    "fractions": lambda m, d: [
        len(s) for s in d.random_split(range(17), [0.5, 0.25, 0.25])
    ],
    "sizes": lambda m, d: [len(s) for s in d.random_split(range(9), [4, 0, 5])],
    "batch lists": lambda m, d: [
        list(d.BatchSampler(d.SequentialSampler(range(7)), 3, drop)) for drop in (False, True)
    ],
    "collated": lambda m, d: [
        d.default_collate([1, 2]), d.default_collate([1.5, 2.0]), d.default_collate([True, False]),
        d.default_collate(["a", "b"]), d.default_collate([m.ones(2), m.zeros(2)]),
        d.default_collate([np.ones(2), np.zeros(2)]), d.default_collate([(1, "x"), (2, "y")]),
        d.default_collate([{"a": [1, 2]}, {"a": [3, 4]}])["a"],
        list(d.default_collate([Point(1, 2), Point(3, 4)])),
    ],
    "converted": lambda m, d: [
        d.default_convert(np.arange(3)), d.default_convert([np.ones(1), "a", 2])[1:],
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_torch(name: str) -> None:
    same(lambda m: PROGRAMS[name](m, module(m)))


MISTAKES: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("mutually exclusive with shuffle",
     lambda m, d: d.DataLoader(pairs(m), shuffle=True, sampler=[1])),
    ("mutually exclusive with batch_size",
     lambda m, d: d.DataLoader(pairs(m), 2, batch_sampler=[[1]])),
    ("mutually exclusive with drop_last",
     lambda m, d: d.DataLoader(pairs(m), None, drop_last=True)),
    ("unspecified shuffle", lambda m, d: d.DataLoader(counting(m), shuffle=True)),
    ("unspecified sampler", lambda m, d: d.DataLoader(counting(m), sampler=[1])),
    ("should be non-negative", lambda m, d: d.DataLoader(pairs(m), num_workers=-1)),
    ("batch_size should be a positive", lambda m, d: d.DataLoader(pairs(m), 0)),
    ("drop_last should be a boolean", lambda m, d: d.BatchSampler([1], 2, 3)),
    ("replacement should be a boolean", lambda m, d: d.RandomSampler([1], 3)),
    ("num_samples should be a positive", lambda m, d: d.RandomSampler([])),
    ("num_samples should be a positive", lambda m, d: d.WeightedRandomSampler([1.0], 0)),
    ("1d sequence", lambda m, d: d.WeightedRandomSampler([[1.0]], 1)),
    ("Sum of input lengths", lambda m, d: d.random_split([1, 2], [3, 4])),
    ("equal size", lambda m, d: d.default_collate([[1], [1, 2]])),
    ("batch must contain", lambda m, d: d.default_collate([object()])),
    ("At least one dataset", lambda m, d: d.StackDataset()),
    ("Size mismatch between datasets", lambda m, d: d.StackDataset([1], [1, 2])),
    ("absolute value of index", lambda m, d: (pairs(m) + pairs(m))[-15]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "case"), MISTAKES)
def test_mistakes(words: str, case: Callable[[Any, Any], Any]) -> None:
    same(lambda m: case(m, module(m)), words)


def test_mistakes_that_are_assertions() -> None:
    with interpreted():
        with pytest.raises(AssertionError, match="Size mismatch between tensors"):
            data.TensorDataset(clgrad.ones(2), clgrad.ones(3))
        with pytest.raises(AssertionError, match="empty iterable"):
            data.ConcatDataset([])
        with pytest.raises(NotImplementedError):
            data.Dataset()[0]


def test_shuffling_takes_every_sample_once_and_follows_the_seed() -> None:
    with interpreted():
        loader = data.DataLoader(pairs(clgrad, 50), 8, shuffle=True)
        clgrad.manual_seed(1)
        orders = [[int(k) for _, b in loader for k in b.tolist()] for _ in range(2)]
        assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))
        assert orders[0] != orders[1]
        clgrad.manual_seed(1)
        assert [int(k) for _, b in loader for k in b.tolist()] == orders[0]
        own = clgrad.Generator().manual_seed(1)
        loader = data.DataLoader(pairs(clgrad, 50), 8, shuffle=True, generator=own)
        assert [int(k) for _, b in loader for k in b.tolist()] == orders[0]


def test_random_samplers() -> None:
    clgrad.manual_seed(3)
    twice = list(data.RandomSampler(range(5), num_samples=13))
    assert sorted(twice[:5]) == sorted(twice[5:10]) == list(range(5))
    assert len(twice) == len(data.RandomSampler(range(5), num_samples=13)) == 13
    counts = Counter(data.RandomSampler(range(4), replacement=True, num_samples=4000))
    assert max(abs(n - 1000) for n in counts.values()) < 150
    assert sorted(data.SubsetRandomSampler([3, 5, 9])) == [3, 5, 9]
    first = Counter(next(iter(data.RandomSampler(range(3)))) for _ in range(3000))
    assert max(abs(n - 1000) for n in first.values()) < 130
    with interpreted():
        weighted = Counter(data.WeightedRandomSampler([1.0, 0.0, 3.0], 4000))
        assert sorted(data.WeightedRandomSampler([1.0, 2.0, 3.0], 3, False)) == [0, 1, 2]
    assert weighted[1] == 0
    assert abs(weighted[2] - 3000) < 150
    parts = data.random_split(range(10), [3, 7])
    assert sorted([*parts[0], *parts[1]]) == list(range(10))


def test_workers_are_announced_to_change_nothing() -> None:
    with interpreted(), pytest.warns(clgrad.ClgradWarning, match="num_workers"):
        assert len(data.DataLoader(pairs(clgrad), 2, num_workers=2)) == 4
    assert data.get_worker_info() is None
