"""The peak memory of a PyTorch program: the largest sum of live storages.

It is looked at after every op of forward and backward: each op's result is entered with a weak
reference to its storage, and what has expired no longer counts. What an op holds inside while it
runs is not seen, in its favour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def live_peak(torch: Any, call: Callable[[], Any]) -> int:
    """Return by how many bytes storages that a call makes grow at most."""
    from torch.multiprocessing.reductions import StorageWeakRef
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    live: dict[int, tuple[Any, int]] = {}
    before: set[int] = set()
    peak = 0

    def key_of(tensor: Any) -> int:
        return int(tensor.untyped_storage()._cdata)

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal peak
            for leaf in tree_leaves((args, kwargs)):  # what is there without our seeing it made
                if isinstance(leaf, torch.Tensor) and key_of(leaf) not in live:
                    before.add(key_of(leaf))
            result = func(*args, **(kwargs or {}))
            for key in [k for k, (ref, _) in live.items() if ref.expired()]:
                del live[key]
            for leaf in tree_leaves(result):
                if isinstance(leaf, torch.Tensor) and key_of(leaf) not in before:
                    storage = leaf.untyped_storage()
                    live[key_of(leaf)] = (StorageWeakRef(storage), storage.nbytes())
            peak = max(peak, sum(n for _, n in live.values()))
            return result

    with Watch():
        call()
    return peak
