"""The pool over a driver made of Python, which can be told to run out."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clgrad import config
from clgrad.errors import OutOfMemoryError
from clgrad.runtime.memory import MemoryPool, format_bytes, size_class


class RefusedError(Exception):
    pass


class Handle:
    def __init__(self, driver: Driver, size: int) -> None:
        self.driver, self.size = driver, size

    def release(self) -> None:
        self.driver.used -= self.size


class Driver:
    """Hands out `capacity` bytes, and counts what is asked of it."""

    def __init__(self, capacity: int = 1 << 40) -> None:
        self.capacity = capacity
        self.used = self.calls = self.finished = 0

    def create(self, size: int) -> Handle:
        self.calls += 1
        if self.used + size > self.capacity:
            raise RefusedError
        self.used += size
        return Handle(self, size)

    def finish(self) -> None:
        self.finished += 1

    def pool(self) -> MemoryPool:
        return MemoryPool("toy", self.create, is_refusal, self.finish)


def is_refusal(error: BaseException) -> bool:
    return isinstance(error, RefusedError)


@pytest.fixture
def driver() -> Iterator[Driver]:
    with config.override(memory_limit=None):
        yield Driver()


@given(st.integers(0, 1 << 36))
def test_a_size_class_holds_what_is_asked_and_little_more(nbytes: int) -> None:
    size = size_class(nbytes)
    assert size >= max(nbytes, 1)
    assert size % 64 == 0
    assert size_class(size) == size
    assert size - nbytes <= max(64, nbytes // 32, 0 if nbytes <= 64 << 20 else 2 << 20)


@given(st.integers(0, 1 << 30), st.integers(0, 1 << 30))
def test_size_classes_are_ordered(a: int, b: int) -> None:
    assert (a <= b) <= (size_class(a) <= size_class(b))


def test_there_are_few_classes_per_power_of_two() -> None:
    assert sorted({size_class(n) for n in range(1025, 2049)}) == list(range(1088, 2049, 64))
    assert len({size_class(n) for n in range((1 << 20) + 1, (1 << 21) + 1, 64)}) == 32
    assert size_class((64 << 20) + 1) == 66 << 20


def test_a_dead_buffer_is_used_again(driver: Driver) -> None:
    pool = driver.pool()
    first = pool.allocate(1000)
    handle = first.handle
    del first
    second = pool.allocate(1001)
    assert second.handle is handle
    assert second.nbytes == 1001
    assert driver.calls == 1
    assert pool.stats()["cache_hits"] == 1


def test_nothing_still_is_a_buffer(driver: Driver) -> None:
    buffer = driver.pool().allocate(0)
    assert buffer.nbytes == 0
    assert buffer.handle.size == 64


def test_current_and_peak(driver: Driver) -> None:
    pool = driver.pool()
    held = [pool.allocate(1024) for _ in range(4)]
    assert pool.stats()["allocated.current"] == 4096
    del held[1:]
    stats = pool.stats()
    assert (stats["allocated.current"], stats["allocated.peak"]) == (1024, 4096)
    assert (stats["reserved.current"], stats["reserved.peak"]) == (4096, 4096)
    assert stats["live_buffers"] == 1
    pool.reset_peak()
    assert pool.stats()["allocated.peak"] == 1024
    assert pool.empty_cache() == 3072
    assert driver.used == 1024
    pool.reset_peak()
    assert pool.stats()["reserved.peak"] == 1024
    assert "1.0 KiB" in pool.summary()


def test_the_cache_is_given_back_before_memory_runs_out(driver: Driver) -> None:
    driver.capacity = 4096
    pool = driver.pool()
    del [pool.allocate(1024) for _ in range(4)][:]
    buffer = pool.allocate(4096)
    assert buffer.handle.size == 4096
    assert driver.used == 4096
    assert driver.finished == 1
    assert pool.stats()["trims"] == 1


def test_exhaustion_says_who_holds_what(driver: Driver) -> None:
    driver.capacity = 10_000
    pool = driver.pool()
    kept = [pool.allocate(1024, "weights"), pool.allocate(4096, "activations"), pool.allocate(64)]
    with pytest.raises(OutOfMemoryError) as caught:
        pool.allocate(1 << 20, "gradients")
    text = str(caught.value)
    assert text.startswith("memory: toy has no room for 1.0 MiB for gradients (")
    assert "5.1 KiB are in use" in text
    assert "largest of 3 live buffers are 4.0 KiB activations, 1.0 KiB weights, 64 B." in text
    assert "Hint:" in text
    assert pool.allocate(1024).nbytes == 1024, "the pool goes on after it was exhausted"
    assert len(kept) == 3


def test_the_limit_counts_what_is_reserved() -> None:
    driver = Driver()
    with config.override(memory_limit=4096):
        pool = driver.pool()
    held = pool.allocate(3072)
    with pytest.raises(OutOfMemoryError, match=r"limit is 4\.0 KiB, set by CLGRAD_MEMORY_LIMIT"):
        pool.allocate(2048)
    del held
    assert pool.allocate(2048).nbytes == 2048, "what was cached made room"
    assert driver.used == 2048


def test_beyond_the_soft_limit_the_cache_is_given_back(driver: Driver) -> None:
    pool = MemoryPool("toy", driver.create, is_refusal, driver.finish, soft_limit=4096)
    del [pool.allocate(1024) for _ in range(3)][:]
    assert pool.allocate(1024).nbytes == 1024, "what is cached is used"
    held = pool.allocate(2048)
    assert pool.stats()["trims"] == 1
    more = pool.allocate(8192)
    assert driver.used == 2048 + 8192, "what is needed is given all the same"
    assert held.nbytes + more.nbytes == driver.used


def test_errors_that_are_not_about_memory_pass_through(driver: Driver) -> None:
    def broken(size: int) -> Handle:
        raise ZeroDivisionError

    pool = MemoryPool("toy", broken, lambda error: False, driver.finish)
    with pytest.raises(ZeroDivisionError):
        pool.allocate(1)
    assert pool.stats()["live_buffers"] == 0
    assert driver.finished == 0


def test_buffers_may_die_within_an_allocation(driver: Driver) -> None:
    """The collector may run anywhere, also while the pool's lock is held."""
    pool = driver.pool()
    create = pool._create

    def create_with_collection(size: int) -> Handle:
        cycle: list[object] = [pool_buffers.pop()] if pool_buffers else []
        cycle.append(cycle)
        del cycle
        gc.collect()
        return create(size)

    pool_buffers = [pool.allocate(128) for _ in range(8)]
    pool._create = create_with_collection
    held = [pool.allocate(4096) for _ in range(8)]
    stats = pool.stats()
    assert stats["live_buffers"] == 8
    assert stats["allocated.current"] == 8 * 4096
    assert len(held) == 8


def test_threads_share_a_pool(driver: Driver) -> None:
    pool = driver.pool()
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            held = []
            for step in range(400):
                held.append(pool.allocate((seed * 37 + step * 101) % 5000))
                if step % 3:
                    held.pop(0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    stats = pool.stats()
    assert stats["live_buffers"] == 0
    assert stats["allocated.current"] == 0
    assert stats["allocations"] == 1600
    assert driver.used == stats["reserved.current"]


@pytest.mark.parametrize(
    ("nbytes", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5120.0 GiB")]
)
def test_sizes_are_readable(nbytes: int, text: str) -> None:
    assert format_bytes(nbytes) == text
