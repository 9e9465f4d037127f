"""The state of random number generation: seeds, and what is saved to go on from.

What draws numbers is in `functional.sampling` and `functional.refilling`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from clgrad.creation import tensor
from clgrad.generator import Generator, default_generator
from clgrad.tensor import Tensor


def manual_seed(seed: int) -> Generator:
    """Start the default generator's stream of `seed` from its beginning; returns the generator."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start a stream that nobody can foretell; returns its seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """Return the seed of the default generator's present stream."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Return the default generator's state: seed and offset as 16 bytes."""
    state = np.array(default_generator.get_state(), np.dtype("<u8"))
    return tensor(state.view(np.uint8))


def set_rng_state(new_state: Any) -> None:
    """Go on from a state that `get_rng_state`, or a generator's `get_state`, returned.

    Raises:
        ClgradValueError: it is no such state.
    """
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices: Iterable[Any] | None = None, enabled: bool = True) -> Iterator[None]:
    """Let the default generator go on, after a `with` block, from where it was before.

    Args:
        devices: taken for PyTorch's sake: one generator serves all devices.
        enabled: whether anything is done at all.
    """
    state = default_generator.get_state()
    try:
        yield
    finally:
        if enabled:
            default_generator.set_state(state)
