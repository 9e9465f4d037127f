"""Random programs that read and write at lists of indices, among everything else they do."""

from __future__ import annotations

import os
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.device.program_check import check
from tests.device.program_generator import Generator, meets_itself
from tests.device.program_language import Step, listing

PROGRAMS = int(os.environ.get("RANDOM_PROGRAMS", "60"))
LENGTH = 14
BATCH = 10


class Indexing(Generator):
    """Programs in which a good part of the steps picks or puts elements at indices."""

    KINDS = (
        ("leaf", 4), ("unary", 8), ("binary", 10), ("reduction", 3), ("view", 14), ("write", 10),
        ("pick", 14), ("put", 20), ("backward", 8), ("train", 4), ("other", 12),
    )  # fmt: skip

    def places(self, shape: tuple[int, ...], once: bool) -> Any:
        """Return an index of lists, slices and numbers; `once` names no element twice."""
        rnd = self.random
        dims = [d for d, n in enumerate(shape) if n]
        if len(dims) < len(shape) or not dims:
            return None
        first = rnd.choice(dims)
        count = rnd.randint(1, min(3, shape[first]) if once else 4)

        def chosen(n: int) -> list[int]:
            given = rnd.sample(range(n), count) if once and n >= count else None
            given = given or [rnd.randrange(n) for _ in range(count)]
            return [k - n if rnd.random() < 0.3 else k for k in given]

        index: list[Any] = []
        for d, n in enumerate(shape):
            if d == first or (d > first and rnd.random() < 0.25):
                index.append(chosen(n))
            elif rnd.random() < 0.2:
                index.append(rnd.randrange(n))
            elif rnd.random() < 0.3:
                index.append(slice(rnd.randint(0, n - 1), None, rnd.choice((None, 2))))
            elif d > first and rnd.random() < 0.3:
                break
            else:
                index.append(slice(None))
        return tuple(index)

    def pick(self) -> None:
        x = self.some(lambda t: t.ndim > 0)
        if x is None:
            return
        index = self.places(tuple(self.env[x].shape), once=False)
        if index is not None:
            self.emit(Step("index", (self.fresh(),), (x, index)))

    def put(self) -> None:
        x = self.some(lambda t: t.ndim > 0 and 0 not in t.stride() and not meets_itself(t))
        if x is None:
            return
        tensor, rnd = self.env[x], self.random
        index = self.places(tuple(tensor.shape), once=True)
        if index is None or not tensor.detach()[index].numel():
            return
        memory = tensor.untyped_storage().data_ptr()
        part = self.fitting(tuple(tensor.detach()[index].shape), True)
        if part is not None and self.env[part].untyped_storage().data_ptr() == memory:
            part = None  # PyTorch reads what it has written by then
        grad = rnd.random() > (0.9 if x in self.run.leaves else 0.15)
        value: Any = part if part is not None and rnd.random() < 0.8 else 0.125
        self.emit(Step("setindex", (), (x, index, value), grad))


@pytest.mark.parametrize("first", range(0, PROGRAMS, BATCH))
@pytest.mark.filterwarnings("ignore")  # of .grad and of retained graphs: programs do all of that
def test_programs(device: Any, first: int) -> None:
    for seed in range(first, min(first + BATCH, PROGRAMS)):
        program = Indexing(seed, LENGTH).make()
        wrong = check(program, device, "float32")
        assert wrong is None, f"seed {seed}: {wrong}\n{listing(program)}"
