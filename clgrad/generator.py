"""State of random number generation: a seed and how many numbers were drawn since.

Numbers are counter-based (Philox): element `i` of a call depends on the seed and on offset + i
alone. So the state is two integers, advanced at the call and not when kernels run.
"""

from __future__ import annotations

import secrets
import threading

from clgrad.errors import ClgradValueError

_LIMIT = 1 << 64


class Generator:
    """A stream of random numbers; threads may share it."""

    __slots__ = ("_lock", "_offset", "_seed")

    def __init__(self, seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self._seed = secrets.randbits(63) if seed is None else seed % _LIMIT
        self._offset = 0

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed` from its beginning; returns the generator."""
        with self._lock:
            self._seed, self._offset = int(seed) % _LIMIT, 0
        return self

    def seed(self) -> int:
        """Start a stream that nobody can foretell; returns its seed."""
        seed = secrets.randbits(63)
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """Return the seed of the present stream."""
        return self._seed

    def advance(self, count: int) -> tuple[int, int]:
        """Take `count` numbers: return the seed and the offset of the first."""
        with self._lock:
            offset = self._offset
            self._offset = (offset + count) % _LIMIT
            return self._seed, offset

    def get_state(self) -> tuple[int, int]:
        """Return (seed, offset), which `set_state` takes."""
        with self._lock:
            return self._seed, self._offset

    def set_state(self, state: tuple[int, int]) -> None:
        """Go on from a state that `get_state` returned.

        Raises:
            ClgradValueError: it is no such state.
        """
        try:
            seed, offset = state
            seed, offset = int(seed), int(offset)
        except (TypeError, ValueError):
            raise ClgradValueError(
                f"Generator.set_state: got {state!r}. Expected (seed, offset) of get_state()."
            ) from None
        with self._lock:
            self._seed, self._offset = seed % _LIMIT, offset % _LIMIT


default_generator = Generator()
"""What random functions use unless they are given another one."""
