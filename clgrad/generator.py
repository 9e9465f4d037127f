"""State of random number generation: a seed and how many numbers were drawn since.

Numbers are counter-based (Philox): element `i` of a call depends on the seed and on offset + i
alone. So the state is two integers, advanced at the call and not when kernels run.
"""

from __future__ import annotations

import secrets
import struct
import threading
from typing import Any

from clgrad.errors import ClgradValueError

_LIMIT = 1 << 64


DEFAULT_SEED = 67280421310721
"""What a generator starts from that nobody has seeded; PyTorch's number."""


class Generator:
    """A stream of random numbers; threads may share it, and so may all devices.

    Args:
        device: kept as an attribute, for PyTorch's sake.
        seed: default: the same for every generator.
    """

    __slots__ = ("_lock", "_offset", "_seed", "device")

    def __init__(self, device: Any = None, *, seed: int = DEFAULT_SEED) -> None:
        self._lock = threading.Lock()
        self._seed = int(seed) % _LIMIT
        self._offset = 0
        self.device = device

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as another generator that goes on from where this one is."""
        return _restored, (self.device, self.get_state())

    def initial_seed(self) -> int:
        """Return the seed of the present stream."""
        return self._seed

    def advance(self, count: int) -> tuple[int, int]:
        """Take `count` numbers: return the seed and the offset of the first."""
        with self._lock:
            offset = self._offset
            self._offset = (offset + count) % _LIMIT
            return self._seed, offset

    def clone_state(self) -> Generator:
        """Return another generator that goes on from where this one is."""
        return _restored(self.device, self.get_state())

    def get_state(self) -> tuple[int, int]:
        """Return (seed, offset), which `set_state` takes."""
        with self._lock:
            return self._seed, self._offset

    def set_state(self, state: Any) -> Generator:
        """Go on from a state that `get_state` returned.

        Raises:
            ClgradValueError: it is no such state.
        """
        try:
            if hasattr(state, "tolist"):  # the bytes that `clgrad.get_rng_state` returns
                state = struct.unpack("<QQ", bytes(state.tolist()))
            seed, offset = state
            seed, offset = int(seed), int(offset)
        except (TypeError, ValueError, struct.error):
            raise ClgradValueError(
                f"Generator.set_state: got {state!r}. Expected (seed, offset) of get_state()."
            ) from None
        with self._lock:
            self._seed, self._offset = seed % _LIMIT, offset % _LIMIT
        return self


def _restored(device: Any, state: tuple[int, int]) -> Generator:
    return Generator(device).set_state(state)


default_generator = Generator(seed=secrets.randbits(63))
"""What random functions use unless they are given another one."""
